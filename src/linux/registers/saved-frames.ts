/**
 * The registers that a thread had when it entered the kernel: `struct pt_regs`, at the top of its kernel stack.
 *
 * Facts: arch/x86/include/asm/ptrace.h and asm/thread_info.h (TOP_OF_KERNEL_STACK_PADDING: none on x86-64, 16 bytes since 6.9,
 * ad41a14cc2d6, with FRED), asm/processor.h (`task_pt_regs`); arch/arm64/include/asm/ptrace.h, asm/processor.h;
 * arch/riscv/include/asm/ptrace.h, asm/processor.h (ALIGN(…, STACK_ALIGN)). The names are those of `CpuState.registers`.
 */
import { decodeWords } from "../core/bytes.js";
import type { LinuxKernel } from "../kernel.js";
import { hasStruct, maybe, needStruct, raw, record, type Values, word } from "../objects/record.js";
import { sizeOf } from "../types/c-type.js";
import type { TypeTable } from "../types/type-table.js";
import type { ThreadFields } from "./thread-fields.js";

/** Registers by their names. */
export type NamedRegisters = Readonly<Record<string, bigint>>;

/** How an architecture saves a thread's registers. @internal */
export interface SavedFrame {
  /** Bytes of `struct pt_regs`. */
  size(types: TypeTable): number;
  /** Bytes that may lie between it and the top of the stack. */
  readonly padding: readonly number[];
  /** Reads what lies at these addresses. */
  readonly plan: typeof X86_64 | typeof I386 | typeof ARM64 | typeof RISCV64;
  /** @returns `undefined` for what no thread that entered from user mode can have saved. */
  decode(value: Readonly<Record<string, unknown>>, thread: ThreadFields): NamedRegisters | undefined;
  /** Whether a CPU with these registers was in user mode. */
  isUser(registers: NamedRegisters): boolean;
}

const X86_64 = record("pt_regs", {
  r15: word("r15"),
  r14: word("r14"),
  r13: word("r13"),
  r12: word("r12"),
  rbp: word("bp"),
  rbx: word("bx"),
  r11: word("r11"),
  r10: word("r10"),
  r9: word("r9"),
  r8: word("r8"),
  rax: word("ax"),
  rcx: word("cx"),
  rdx: word("dx"),
  rsi: word("si"),
  rdi: word("di"),
  orig_rax: word("orig_ax"),
  rip: word("ip"),
  cs: word("cs"),
  rflags: word("flags"),
  rsp: word("sp"),
  ss: word("ss"),
});

const I386 = record("pt_regs", {
  ebx: word("bx"),
  ecx: word("cx"),
  edx: word("dx"),
  esi: word("si"),
  edi: word("di"),
  ebp: word("bp"),
  eax: word("ax"),
  ds: word("ds"),
  es: word("es"),
  fs: word("fs"),
  // Until 5.18 (3a24a60854d2) it could be the processor's only.
  gs: maybe(word("gs")),
  orig_eax: word("orig_ax"),
  eip: word("ip"),
  cs: word("cs"),
  eflags: word("flags"),
  esp: word("sp"),
  ss: word("ss"),
});

const ARM64 = record("pt_regs", { user: raw("user_regs") });
const ARM64_NAMES = [...Array.from({ length: 31 }, (_, i) => `x${i}`), "sp", "pc", "pstate"];

const RISCV64_NAMES =
  "ra sp gp tp t0 t1 t2 s0 s1 a0 a1 a2 a3 a4 a5 a6 a7 s2 s3 s4 s5 s6 s7 s8 s9 s10 s11 t3 t4 t5 t6".split(" ");
const RISCV64 = record("pt_regs", {
  pc: word("epc"),
  ...(Object.fromEntries(RISCV64_NAMES.map((name) => [name, word(name)])) as Record<
    string,
    ReturnType<typeof word>
  >),
  status: word("status"),
});

/** x86: interrupts are on in user mode, and a bit that is always set. */
const EFLAGS = 0x202n;

const isX86User = (registers: NamedRegisters) => ((registers.cs ?? 0n) & 3n) === 3n;

const FRAMES: Readonly<Record<LinuxKernel["architecture"], SavedFrame>> = {
  x86_64: {
    size: sizeOfFrame,
    padding: [0, 16],
    plan: X86_64,
    isUser: isX86User,
    decode(value, thread) {
      const saved = value as Values<typeof X86_64.fields>;
      const { cs, ss, rflags } = saved;
      if ((cs & 3n) !== 3n || (ss & 3n) !== 3n || cs > 0xffffn || (rflags & EFLAGS) !== EFLAGS)
        return undefined;
      const { fsBase = 0n, gsBase = 0n, ds = 0, es = 0, fs = 0, gs = 0 } = thread;
      return {
        ...saved,
        fs_base: fsBase,
        gs_base: gsBase,
        ds: BigInt(ds),
        es: BigInt(es),
        fs: BigInt(fs),
        gs: BigInt(gs),
      };
    },
  },
  i386: {
    size: sizeOfFrame,
    padding: [0, 8, 16],
    plan: I386,
    isUser: isX86User,
    decode(value) {
      const saved = value as Values<typeof I386.fields>;
      const { cs, ss, eflags, gs = 0n } = saved;
      if ((cs & 3n) !== 3n || (ss & 3n) !== 3n || (eflags & EFLAGS) !== EFLAGS) return undefined;
      // (The upper half of a segment's place may hold anything.)
      const selector = (word: bigint) => word & 0xffffn;
      return {
        ...saved,
        ds: selector(saved.ds),
        es: selector(saved.es),
        fs: selector(saved.fs),
        gs: selector(gs),
        cs: selector(cs),
        ss: selector(ss),
      };
    },
  },
  aarch64: {
    size: sizeOfFrame,
    padding: [0],
    plan: ARM64,
    // EL0.
    isUser: ({ pstate }) => pstate !== undefined && (pstate & 0xfn) === 0n,
    decode({ user }) {
      const words = decodeWords(user as Uint8Array);
      const found = Object.fromEntries(ARM64_NAMES.map((name, i) => [name, words[i] as bigint]));
      return words.length >= ARM64_NAMES.length && ((found.pstate as bigint) & 0xfn) === 0n
        ? found
        : undefined;
    },
  },
  riscv64: {
    size: (types) => Math.ceil(sizeOfFrame(types) / 16) * 16,
    padding: [0],
    plan: RISCV64,
    isUser: () => false,
    decode({ status, ...saved }) {
      // SR_SPP: it came from the supervisor's mode.
      return ((status as bigint) & 0x100n) === 0n ? (saved as NamedRegisters) : undefined;
    },
  },
};

/** The frame of a kernel's architecture; `undefined` where its types lack it. @internal */
export function frameOf(kernel: LinuxKernel, types: TypeTable): SavedFrame | undefined {
  return hasStruct(types, "pt_regs") ? FRAMES[kernel.architecture] : undefined;
}

function sizeOfFrame(types: TypeTable): number {
  return sizeOf(needStruct(types, "pt_regs"));
}
