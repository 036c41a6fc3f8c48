/**
 * Where the registers are in an NT_PRSTATUS note, by architecture.
 *
 * `struct elf_prstatus` of linux/elfcore.h, with the register order of the kernel's ptrace ABI:
 * - x86: `struct user_regs_struct` of asm/user_64.h and asm/user_32.h
 * - arm64: `struct user_pt_regs`; arm: `struct pt_regs` (`ARM_r0` … `ARM_ORIG_r0`); riscv: `struct user_regs_struct`;
 *   powerpc: `struct pt_regs`; all of asm/ptrace.h
 * - s390: `s390_regs` of asm/ptrace.h (PSW, general registers, access registers, `orig_gpr2`)
 *
 * QEMU writes the same (its target/ARCH/arch_dump.c).
 */
import type { Fields } from "../fields.js";
import type { Architecture, DumpNotes } from "../types.js";

/** Consecutive registers of one size in bytes. */
interface RegisterGroup {
  readonly size: 4 | 8;
  readonly names: readonly string[];
}

/** The layout of a `struct elf_prstatus`. */
interface PrstatusLayout {
  /** Offset of `pr_pid`. */
  readonly pid: number;
  /** Offset of `pr_reg`. */
  readonly registers: number;
  readonly groups: readonly RegisterGroup[];
}

const words = (text: string) => text.split(" ");
const numbered = (prefix: string, count: number) => Array.from({ length: count }, (_, i) => `${prefix}${i}`);
const of64 = (...groups: RegisterGroup[]): PrstatusLayout => ({ pid: 32, registers: 112, groups });
const of32 = (...names: string[]): PrstatusLayout => ({
  pid: 24,
  registers: 72,
  groups: [{ size: 4, names }],
});

const PRSTATUS: Readonly<Record<Architecture, PrstatusLayout>> = {
  x86_64: of64({
    size: 8,
    names: words(
      "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs rflags rsp ss fs_base gs_base ds es fs gs",
    ),
  }),
  i386: of32(...words("ebx ecx edx esi edi ebp eax ds es fs gs orig_eax eip cs eflags esp ss")),
  aarch64: of64({ size: 8, names: [...numbered("x", 31), "sp", "pc", "pstate"] }),
  arm: of32(...numbered("r", 13), ...words("sp lr pc cpsr orig_r0")),
  ppc64: of64({
    size: 8,
    names: [...numbered("r", 32), ...words("nip msr orig_r3 ctr link xer ccr softe trap dar dsisr result")],
  }),
  s390x: of64(
    { size: 8, names: ["psw_mask", "psw_addr", ...numbered("r", 16)] },
    { size: 4, names: numbered("a", 16) },
    { size: 8, names: ["orig_r2"] },
  ),
  riscv64: of64({
    size: 8,
    names: words(
      "pc ra sp gp tp t0 t1 t2 s0 s1 a0 a1 a2 a3 a4 a5 a6 a7 s2 s3 s4 s5 s6 s7 s8 s9 s10 s11 t3 t4 t5 t6",
    ),
  }),
};

/** No process number of Linux is larger (`PID_MAX_LIMIT`, linux/threads.h). */
const MAX_PID = 4 * 2 ** 20;

/** Registers, by name. */
export type Registers = Record<string, bigint>;

/** The registers of an NT_PRSTATUS note; `undefined` if it is too short for them. */
export function parsePrstatus(
  fields: Fields,
  architecture: Architecture,
): { readonly pid: number; readonly registers: Registers } | undefined {
  const { pid, registers, groups } = PRSTATUS[architecture];
  const size = groups.reduce((sum, group) => sum + group.size * group.names.length, registers);
  if (fields.bytes.length < size) return undefined;
  const found: Registers = {};
  let at = registers;
  for (const group of groups) {
    for (const name of group.names) {
      found[name] = group.size === 4 ? BigInt(fields.u32(at)) : fields.u64(at);
      at += group.size;
    }
  }
  return { pid: processNumber(fields.u32(pid)), registers: found };
}

/** QEMU writes that of s390x in the byte order of the host (target/s390x/arch_dump.c). */
function processNumber(value: number): number {
  if (value <= MAX_PID) return value;
  const swapped =
    ((value & 0xff) << 24) | ((value & 0xff00) << 8) | ((value >>> 8) & 0xff00) | (value >>> 24);
  return swapped >>> 0 <= MAX_PID ? swapped >>> 0 : value;
}

/** Bytes of a pointer on that architecture; 8 for an unknown one. */
export function pointerSizeOf(architecture: Architecture | undefined): 4 | 8 {
  return architecture === "i386" || architecture === "arm" ? 4 : 8;
}

/** How the machine of a dump lays out values, as address spaces take it. */
export function abiOf(notes: DumpNotes): { readonly littleEndian: boolean; readonly pointerSize: 4 | 8 } {
  const { architecture, byteOrder, pointerSize = pointerSizeOf(architecture) } = notes;
  return { littleEndian: byteOrder !== "big", pointerSize };
}
