/**
 * Where each task is in the kernel: the functions on its kernel stack, as /proc/PID/stack shows them.
 *
 * Facts: arch/x86/include/asm/switch_to.h (`struct inactive_task_frame`, which lies where `thread.sp` points), arch/x86/kernel/unwind_orc.c
 * (`__unwind_start`), arch/arm64/include/asm/processor.h (`struct cpu_context`), arch/riscv/include/asm/processor.h.
 */
import { IoSequence, MemtoolError, type Routine, type Sink } from "../../io/index.js";
import { type CpuOptions, listCpus } from "../cpus/cpu.js";
import type { CpuRegisters } from "../cpus/cpu-states.js";
import type { LinuxKernel } from "../kernel.js";
import { type KernelData, kernelData } from "../kernel-data.js";
import { DamageLog, damage, type OnDamage } from "../objects/damage.js";
import { readEach } from "../objects/read-each.js";
import { hasStruct, int, maybe, record, word } from "../objects/record.js";
import { needTasks, readTasks, type Task } from "../tasks/task.js";
import { walkByFramePointer } from "./frame-pointer-walk.js";
import type { Frame, FrameStart, FrameWalk } from "./frames.js";
import { OrcTables } from "./orc-tables.js";
import { walkByOrc } from "./orc-walk.js";

const TASK = record("task_struct", {
  stack: word("stack"),
  running: maybe(int("on_cpu")),
  // x86-64; AArch64; RISC-V.
  sp: maybe(word("thread.sp", "thread.cpu_context.sp")),
  fp: maybe(word("thread.cpu_context.fp", "thread.s[0]")),
  pc: maybe(word("thread.cpu_context.pc", "thread.ra")),
});
/** What a task of x86-64 left on its stack. */
const LEFT = record("inactive_task_frame", { fp: word("bp"), pc: word("ret_addr") });

/** All of the kernel's code is above it: of addresses that are signed, the bits above are the signature. */
const AARCH64_CODE = 0xffff_8000_0000_0000n;
/** Where stacks of RISC-V begin. */
const RISCV_ENTRIES: ReadonlySet<string> = new Set([
  "handle_exception",
  "ret_from_exception",
  "ret_from_fork",
  // Since 6.15.
  "ret_from_fork_kernel",
  "ret_from_fork_kernel_asm",
  "ret_from_fork_user",
  "ret_from_fork_user_asm",
]);
/** Of AArch64 and RISC-V: 16 KiB, or a page if that is more. */
const STACK_BYTES = 16_384;

/** A function on a kernel stack. */
export interface StackFrame {
  /** Where it was: behind its call, or, of one that was interrupted, the very instruction. */
  readonly pc: bigint;
  /** Its stack pointer. */
  readonly sp: bigint;
  /** Name of the function; `undefined` if no symbol is near. */
  readonly symbol: string | undefined;
  /** Bytes from the function's beginning to `pc`. */
  readonly offset: bigint | undefined;
  /** The module that it is in, or "bpf"; null for the kernel itself. */
  readonly module: string | null | undefined;
}

/** The kernel stack of a task. */
export interface KernelStack {
  readonly task: Task;
  /**
   * What it was begun at. "saved": the task does not run. "registers": it ran in the kernel, by its CPU's registers. "user": it ran in
   * user mode, and has nothing on its kernel stack. "unknown": it ran, and the dump has no registers.
   */
  readonly from: "saved" | "registers" | "user" | "unknown";
  /** The innermost first. */
  readonly frames: readonly StackFrame[];
  /** Whether they go up to where the stack begins. */
  readonly complete: boolean;
}

/** Options of {@link listKernelStacks}. */
export interface KernelStackOptions extends CpuOptions {
  /** Only the threads of the process of this number. */
  readonly pid?: number | undefined;
}

/**
 * The kernel stack of every thread, in the order of the tasks.
 *
 * @throws {MemtoolError} `NO_UNWINDER` for a kernel whose stacks nothing tells how to walk. `NO_PROCESS` for `pid`.
 */
export function listKernelStacks(
  kernel: LinuxKernel,
  options: KernelStackOptions = {},
): IoSequence<KernelStack> {
  return IoSequence.of(kernel.memory.scheduler, stacksRoutine, kernel, options);
}

type Walk = (start: FrameStart, stack: bigint) => Routine<FrameWalk>;

function* stacksRoutine(
  sink: Sink<KernelStack>,
  kernel: LinuxKernel,
  options: KernelStackOptions,
): Routine<void> {
  const log = new DamageLog(options);
  const data = yield* kernelData(kernel);
  const walk = yield* walkerOf(data, log.report);
  const running = yield* registersByTask(kernel, options.registers, log.report);
  const { pid } = options;
  const [first] = pid === undefined ? [] : yield* needTasks(data, pid, log.report);
  const tasks = yield* readTasks(data, { pid: first?.tgid ?? pid, threads: true }, log.report);
  const rows = yield* readEach(
    data,
    TASK,
    tasks.map(({ address }) => address),
    "the stack of a task",
    log.report,
  );
  const left = hasStruct(data.types, "inactive_task_frame")
    ? yield* readEach(
        data,
        LEFT,
        rows.map((row, i) => (isRunning(row, running.get(tasks[i]?.address ?? 0n)) ? undefined : row?.sp)),
        "what a task left on its stack",
        log.report,
      )
    : [];
  const size = BigInt(hasStruct(data.types, "inactive_task_frame") ? LEFT.on(data.types).size : 0);
  for (const [i, task] of tasks.entries()) {
    const row = rows[i];
    // (A zombie whose parent has not asked yet has given its stack back.)
    if (row?.stack === undefined || row.stack === 0n) continue;
    const registers = running.get(task.address);
    let start: FrameStart | undefined;
    let from: KernelStack["from"] = "saved";
    if (isRunning(row, registers)) {
      start = startOf(registers);
      from = registers === undefined ? "unknown" : start === undefined ? "user" : "registers";
    } else {
      const { sp } = row;
      const { fp, pc } = left[i] ?? row;
      if (sp !== undefined && fp !== undefined && pc !== undefined)
        start = { pc, fp, sp: sp + size, exact: yield* isBeginning(data, pc) };
    }
    if (start === undefined) {
      yield sink.emit({ task, from, frames: [], complete: from === "user" });
      continue;
    }
    const { frames, broken } = yield* walk(start, row.stack);
    if (broken !== undefined) {
      const what = `the kernel stack of ${task.pid ?? "?"} (${task.comm ?? "?"}): ${broken.why}`;
      const reason = broken.fault === 0 ? "invalid" : "unreadable";
      log.report(damage(what, broken.address, reason, broken.fault, "the frames behind it are missing"));
    }
    yield sink.emit({ task, from, frames: yield* named(data, frames), complete: broken === undefined });
  }
  log.end();
}

/** How stacks of this kernel are walked. */
function* walkerOf(data: KernelData, report: OnDamage): Routine<Walk> {
  const { architecture } = data.kernel;
  if (architecture === "x86_64") {
    const tables = yield* OrcTables.read(data, report);
    if (tables !== undefined) return (start) => walkByOrc(data, tables, start);
    throw new MemtoolError(
      "NO_UNWINDER",
      "this kernel has no tables that tell how to walk its stacks (CONFIG_UNWINDER_ORC, since Linux 4.14), or no symbols of them",
    );
  }
  if (architecture === "aarch64" || architecture === "riscv64") {
    const offset = architecture === "aarch64" ? 0n : -16n;
    const high = architecture === "aarch64" ? AARCH64_CODE : 0n;
    const entries = architecture === "riscv64" ? RISCV_ENTRIES : undefined;
    const size = BigInt(Math.max(STACK_BYTES, data.kernel.vmcoreinfo.pageSize ?? 0));
    return (start, stack) =>
      walkByFramePointer(data, { offset, high, stack: { start: stack, end: stack + size }, entries }, start);
  }
  throw new MemtoolError("NO_UNWINDER", `kernel stacks of ${architecture} can't be walked yet`);
}

/** Registers of the CPUs by the task that each runs. */
function* registersByTask(
  kernel: LinuxKernel,
  registers: readonly CpuRegisters[] | undefined,
  report: OnDamage,
): Routine<ReadonlyMap<bigint, Readonly<Record<string, bigint>>>> {
  const found = new Map<bigint, Readonly<Record<string, bigint>>>();
  const cpus = yield* listCpus(kernel, { registers, onDamage: report }).toArray();
  for (const { current, registers: own } of cpus) {
    if (current !== undefined && own !== undefined) found.set(current.address, own);
  }
  return found;
}

function isRunning(
  row: { readonly running?: number | undefined } | undefined,
  registers: Readonly<Record<string, bigint>> | undefined,
): boolean {
  return registers !== undefined || (row?.running ?? 0) !== 0;
}

/** Where a CPU is in the kernel; `undefined` in user mode. */
function startOf(registers: Readonly<Record<string, bigint>> | undefined): FrameStart | undefined {
  if (registers === undefined) return undefined;
  const pc = registers.rip ?? registers.pc;
  const sp = registers.rsp ?? registers.sp;
  const fp = registers.rbp ?? registers.x29 ?? registers.fp ?? registers.s0;
  if (pc === undefined || sp === undefined || fp === undefined || pc >> 63n === 0n) return undefined;
  const all = new Map(
    Object.entries(registers).map(([name, value]) => [name.replace(/^r(?!\d)/, ""), value]),
  );
  return { pc, sp, fp, exact: true, registers: all };
}

/** Whether a function begins there: what never ran yet is to run from there. */
function* isBeginning({ kernel }: KernelData, pc: bigint): Routine<boolean> {
  return (yield* kernel.nameOf(pc))?.offset === 0n;
}

function* named({ kernel }: KernelData, frames: readonly Frame[]): Routine<StackFrame[]> {
  const found: StackFrame[] = [];
  for (const { pc, sp, exact } of frames) {
    const back = exact ? 0n : 1n;
    const name = yield* kernel.nameOf(pc - back);
    found.push({
      pc,
      sp,
      symbol: name?.name,
      offset: name === undefined ? undefined : name.offset + back,
      module: name === undefined ? undefined : (name.module ?? null),
    });
  }
  return found;
}
