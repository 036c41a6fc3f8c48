/**
 * What of a `task_struct` tells a thread's registers.
 *
 * Facts: include/linux/sched.h (`task_struct.stack`, `thread`); arch/x86/include/asm/processor.h, arch/arm64/include/asm/processor.h,
 * arch/riscv/include/asm/processor.h (`struct thread_struct`); arch/x86/include/asm/fpu/types.h (`struct fpu`, `fpstate`).
 */
import { int, maybe, place, raw, record, type Values, word } from "../objects/record.js";

/** @internal */
export const THREAD = record("task_struct", {
  stack: word("stack"),
  // Whether a CPU runs it (CONFIG_SMP), which the CPU's own variables say too.
  onCpu: maybe(int("on_cpu")),
  // x86-64: the bases of fs and gs (until 4.7, 296f781a4b7e, `fs` and `gs`), and what the segment registers held.
  fsBase: maybe(word("thread.fsbase", "thread.fs")),
  gsBase: maybe(word("thread.gsbase", "thread.gs")),
  ds: maybe(int("thread.ds")),
  es: maybe(int("thread.es")),
  fs: maybe(int("thread.fsindex")),
  gs: maybe(int("thread.gsindex")),
  // 32-bit x86: where the kernel's stack begins, right behind the registers.
  stackTop: maybe(word("thread.sp0")),
  // x86: since 5.16 (87d0e5be0fac) a pointer; before, the state lay in the structure.
  fpstate: maybe(word("thread.fpu.fpstate")),
  fpuState: maybe(place("thread.fpu.state")),
  // x86: since 5.13 (954436989cc5) not in that state.
  pkru: maybe(int("thread.pkru")),
  // arm64.
  fpsimd: maybe(raw("thread.uw.fpsimd_state")),
  tls: maybe(word("thread.uw.tp_value")),
  // Since 6.2 (baa8515281b3): 2 where the state is SVE's.
  fpType: maybe(int("thread.fp_type")),
  // riscv64.
  fstate: maybe(raw("thread.fstate")),
});

/** What could be read of a thread. @internal */
export type ThreadFields = Partial<Values<typeof THREAD.fields>>;
