/**
 * What of a core file each kind of program has its own: sizes, and the order of the registers in its notes.
 *
 * Facts: include/linux/elfcore.h and include/linux/compat.h (`elf_prstatus`, `elf_prpsinfo`, the 32-bit ones), arch/x86/include/asm/user_64.h
 * and user_32.h (`user_regs_struct`), arch/arm64/include/uapi/asm/ptrace.h (`user_pt_regs`), arch/riscv/include/uapi/asm/ptrace.h
 * (`user_regs_struct`); elf(5) for `e_machine`.
 */
import { MemtoolError } from "../../io/index.js";
import type { LinuxKernel } from "../kernel.js";
import type { NamedRegisters } from "../registers/saved-frames.js";

/** How programs of one kind are described. @internal */
export interface CoreAbi {
  /** `e_machine`. */
  readonly machine: number;
  /** `e_flags`. */
  readonly flags: number;
  /** Bytes of a pointer: the class of the file. */
  readonly word: 4 | 8;
  /** Of the registers in NT_PRSTATUS, in their order. */
  readonly registers: readonly string[];
  /** Registers of a process of this kind, where the kernel has them by other names. */
  readonly rename?: (registers: NamedRegisters) => NamedRegisters;
}

const names = (text: string) => text.split(" ");

const X86_64: CoreAbi = {
  machine: 62,
  flags: 0,
  word: 8,
  registers: names(
    "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs rflags rsp ss fs_base gs_base ds es fs gs",
  ),
};

const I386: CoreAbi = {
  machine: 3,
  flags: 0,
  word: 4,
  registers: names("ebx ecx edx esi edi ebp eax ds es fs gs orig_eax eip cs eflags esp ss"),
};

/** A 32-bit program of x86-64: `eax` is the low half of `rax`. */
const I386_ON_64: CoreAbi = {
  ...I386,
  rename: (registers) =>
    Object.fromEntries(
      I386.registers.map((name) => [
        name,
        BigInt.asUintN(32, registers[name.replace(/^(orig_)?e(?!s$)/, "$1r")] ?? 0n),
      ]),
    ),
};

const AARCH64: CoreAbi = {
  machine: 183,
  flags: 0,
  word: 8,
  registers: [...Array.from({ length: 31 }, (_, i) => `x${i}`), "sp", "pc", "pstate"],
};

const RISCV64: CoreAbi = {
  machine: 243,
  // EF_RISCV_RVC, EF_RISCV_FLOAT_ABI_DOUBLE: what Linux distributions are built for.
  flags: 5,
  word: 8,
  registers: names(
    "pc ra sp gp tp t0 t1 t2 s0 s1 a0 a1 a2 a3 a4 a5 a6 a7 s2 s3 s4 s5 s6 s7 s8 s9 s10 s11 t3 t4 t5 t6",
  ),
};

const ABIS: Readonly<Record<LinuxKernel["architecture"], CoreAbi>> = {
  x86_64: X86_64,
  i386: I386,
  aarch64: AARCH64,
  riscv64: RISCV64,
};

/**
 * The kind of a process.
 *
 * @param auxv What the kernel told the program when it started: pairs of words, whose width is the program's.
 * @throws {MemtoolError} `UNSUPPORTED` for 32-bit programs of a 64-bit kernel that is not x86-64's, and for x32.
 * @internal
 */
export function abiOfProcess(
  kernel: LinuxKernel,
  auxv: Uint8Array | undefined,
  cs: bigint | undefined,
): CoreAbi {
  const own = ABIS[kernel.architecture];
  if (own.word === 4) return own;
  const [narrow, wide] = [hasKeys(auxv, 4), hasKeys(auxv, 8)];
  // (What is damaged tells nothing: then the code segment does.)
  const isNarrow = narrow === wide ? cs === USER32_CS : narrow;
  if (!isNarrow) return own;
  if (own === X86_64 && (cs === undefined || cs === USER32_CS)) return I386_ON_64;
  throw new MemtoolError(
    "UNSUPPORTED",
    `a 32-bit process of ${kernel.architecture}${own === X86_64 ? " in 64-bit mode (x32)" : ""}: no core of such is written (--format raw writes its memory)`,
  );
}

/** Keys of the vector are some dozens (include/uapi/linux/auxvec.h). */
const MAX_KEY = 127;

/** Whether the vector, as pairs of words of this size, has a key at least and an end, and all keys are such that there are. */
function hasKeys(auxv: Uint8Array | undefined, word: 4 | 8): boolean {
  if (auxv === undefined) return false;
  const view = new DataView(auxv.buffer, auxv.byteOffset, auxv.length);
  for (let at = 0; at + 2 * word <= auxv.length; at += 2 * word) {
    const [low, high] = [view.getUint32(at, true), word === 8 ? view.getUint32(at + 4, true) : 0];
    if (low === 0 && high === 0) return at > 0;
    if (low > MAX_KEY || high !== 0) return false;
  }
  return false;
}

/** x86-64's code segment of 32-bit programs (arch/x86/include/asm/segment.h). */
const USER32_CS = 0x23n;
