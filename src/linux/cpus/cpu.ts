/**
 * CPUs: what /proc/cpuinfo and `lscpu` tell, what each was running, and its registers where the dump has them.
 *
 * Facts: kernel/sched/sched.h (`struct rq`); arch/x86/include/asm/current.h: the current task is a per-CPU variable `current_task`,
 * from 6.2 (e57ef2ed97c1) to 6.14 a member of `pcpu_hot`. Elsewhere a register holds it, and the run queue of the CPU names it.
 */
import { IoSequence, type Routine, type Sink } from "../../io/index.js";
import type { LinuxKernel } from "../kernel.js";
import { type KernelData, kernelData } from "../kernel-data.js";
import { DamageLog, type DamageOptions, damage, type OnDamage } from "../objects/damage.js";
import { pointersAt } from "../objects/pointers.js";
import { readEach } from "../objects/read-each.js";
import { hasStruct, int, maybe, offsetOf, record, text, word } from "../objects/record.js";
import { type PerCpu, perCpuAreas } from "../per-cpu.js";
import type { NamedAddress } from "../symbols/symbol.js";
import { type Arm64Processor, readArm64 } from "./cpu-arm64.js";
import { type CpuFacts, readCpuFacts } from "./cpu-sets.js";
import { assignStates, type CpuRegisters } from "./cpu-states.js";
import { readX86, type X86Processor } from "./cpu-x86.js";

const QUEUE = record("rq", {
  current: word("curr"),
  idle: word("idle"),
  running: maybe(int("nr_running")),
  online: maybe(int("online")),
});
const TASK = record("task_struct", { pid: int("pid"), comm: text("comm") });

/** A CPU. What could not be read, or nothing tells, is `undefined`. */
export interface Cpu {
  readonly number: number;
  readonly online: boolean | undefined;
  readonly present: boolean | undefined;
  /** Where its per-CPU variables begin. */
  readonly perCpu: bigint | undefined;
  /** What is added to the symbol of a per-CPU variable for its own one (`__per_cpu_offset`). */
  readonly perCpuOffset: bigint | undefined;
  /** What it was running; of one that is not online, its idle task. */
  readonly current: CpuTask | undefined;
  /** Whether that is its idle task. */
  readonly idle: boolean | undefined;
  /** Tasks in its run queue. */
  readonly running: number | undefined;
  /**
   * What the kernel knows of the processor; `undefined` for architectures of which memtool knows nothing, and of a CPU that never
   * came up.
   */
  readonly processor: X86Processor | Arm64Processor | undefined;
  /** By their names, as `CpuState.registers`; `undefined` for a dump without. */
  readonly registers: Readonly<Record<string, bigint>> | undefined;
  /** Of these, where it was, and its stack. */
  readonly pc: bigint | undefined;
  /** The kernel's function that `pc` lies in. */
  readonly symbol: NamedAddress | undefined;
  readonly sp: bigint | undefined;
}

/** The task of a CPU. */
export interface CpuTask {
  /** Address of its `task_struct`. */
  readonly address: bigint;
  readonly pid: number | undefined;
  readonly comm: string | undefined;
}

/** Options of {@link listCpus}. */
export interface CpuOptions extends DamageOptions {
  /** Registers, as the dump's notes have them: `machine.image?.notes.cpus`. */
  readonly registers?: readonly CpuRegisters[] | undefined;
}

/** Every CPU that the kernel can have, ascending. Those that never came up have a number, and little else. */
export function listCpus(kernel: LinuxKernel, options: CpuOptions = {}): IoSequence<Cpu> {
  return IoSequence.of(kernel.memory.scheduler, cpusRoutine, kernel, options);
}

function* cpusRoutine(sink: Sink<Cpu>, kernel: LinuxKernel, options: CpuOptions): Routine<void> {
  const log = new DamageLog(options);
  const data = yield* kernelData(kernel);
  const perCpu = yield* perCpuAreas(data, log.report);
  const facts = yield* readCpuFacts(data, perCpu, log.report);
  const running = yield* readRunning(data, perCpu, facts, log.report);
  const processors = yield* readProcessors(data, perCpu, log.report);
  const candidates = facts.map((cpu, i) => ({
    ...cpu,
    online: cpu.online ?? running[i]?.online,
    pid: running[i]?.current?.pid,
  }));
  const states = assignStates(candidates, options.registers ?? [], log.report);
  for (const [i, { number, online, present, offset, start }] of candidates.entries()) {
    const registers = states.get(number)?.registers;
    const pc = registers?.rip ?? registers?.eip ?? registers?.pc;
    yield sink.emit({
      number,
      online,
      present,
      perCpu: start,
      perCpuOffset: offset,
      current: running[i]?.current,
      idle: running[i]?.idle,
      running: running[i]?.running,
      processor: processors[i],
      registers,
      pc,
      symbol: pc === undefined || !isKernels(data, pc) ? undefined : yield* kernel.nameOf(pc),
      sp: registers?.rsp ?? registers?.esp ?? registers?.sp,
    });
  }
  log.end();
}

/** Whether an address is in the upper half, where kernels are (of 32 bits: above the first GiB, as the split can be moved). */
function isKernels({ memory }: KernelData, address: bigint): boolean {
  return memory.pointerSize === 8 ? address >> 63n === 1n : address >= 0x4000_0000n;
}

interface Running {
  readonly current: CpuTask | undefined;
  readonly idle: boolean | undefined;
  readonly running: number | undefined;
  readonly online: boolean | undefined;
}

/** Where each CPU has a variable. */
function* copiesOf(perCpu: PerCpu, name: string): Routine<(bigint | undefined)[]> {
  const copies = new Map((yield* perCpu.copiesIf(name))?.map(({ cpu, address }) => [cpu, address]));
  return perCpu.areas.map(({ cpu }) => copies.get(cpu));
}

/** What each CPU was running. */
function* readRunning(
  data: KernelData,
  perCpu: PerCpu,
  facts: readonly CpuFacts[],
  report: OnDamage,
): Routine<Running[]> {
  const queues = yield* copiesOf(perCpu, "runqueues");
  const rows = yield* readEach(data, QUEUE, queues, "the run queue of a CPU", report);
  const own = yield* currentTasks(data, perCpu, report);
  // (Before a CPU first comes up, its own variable names the kernel's first task, which it does not run.)
  const tasks = rows.map((row, i) => (isOff(row, facts[i]) ? row?.current : (own[i] ?? row?.current)));
  const known = yield* readEach(data, TASK, tasks, "the task of a CPU", report);
  return rows.map((row, i) => {
    const address = tasks[i];
    const isThere = address !== undefined && address !== 0n;
    return {
      current: isThere ? { address, pid: known[i]?.pid, comm: known[i]?.comm } : undefined,
      idle: row === undefined || !isThere ? undefined : row.idle === address,
      running: row?.running,
      online: isOnline(row),
    };
  });
}

function isOnline(row: { readonly online?: number | undefined } | undefined): boolean | undefined {
  return row?.online === undefined ? undefined : row.online !== 0;
}

function isOff(row: Parameters<typeof isOnline>[0], facts: CpuFacts | undefined): boolean {
  return (facts?.online ?? isOnline(row)) === false;
}

/** The tasks that CPUs themselves say are their current ones. */
function* currentTasks(data: KernelData, perCpu: PerCpu, report: OnDamage): Routine<(bigint | undefined)[]> {
  let places = yield* copiesOf(perCpu, "current_task");
  if (hasStruct(data.types, "pcpu_hot")) {
    const offset = BigInt(offsetOf(data.types, "pcpu_hot", "current_task"));
    places = (yield* copiesOf(perCpu, "pcpu_hot")).map((hot) =>
      hot === undefined ? undefined : hot + offset,
    );
  }
  const found: (bigint | undefined)[] = [];
  for (const place of places) {
    const pointer = place === undefined ? undefined : yield* pointersAt(data.memory, place, 1);
    if (typeof pointer === "number")
      report(damage("the current task of a CPU", place as bigint, "unreadable", pointer));
    found.push(typeof pointer === "object" ? pointer[0] : undefined);
  }
  return found;
}

function* readProcessors(
  data: KernelData,
  perCpu: PerCpu,
  report: OnDamage,
): Routine<(X86Processor | Arm64Processor | undefined)[]> {
  if (hasStruct(data.types, "cpuinfo_x86"))
    return yield* readX86(data, yield* copiesOf(perCpu, "cpu_info"), report);
  if (hasStruct(data.types, "cpuinfo_arm64"))
    return yield* readArm64(data, yield* copiesOf(perCpu, "cpu_data"), report);
  return [];
}
