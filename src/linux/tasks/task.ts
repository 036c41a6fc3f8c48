/**
 * Processes and threads.
 *
 * Facts: include/linux/sched.h (`struct task_struct`), include/linux/sched/signal.h (`thread_head`, `for_each_thread`),
 * include/linux/cred.h, include/linux/mm_types.h, init/init_task.c; fs/proc/array.c (`do_task_stat`) for what is shown.
 */
import { Io, IoSequence, MemtoolError, type Routine, type Sink } from "../../io/index.js";
import type { MmuDef } from "../../paging/index.js";
import { alignRoot } from "../../paging/roots/registers-paging.js";
import { rootEnd } from "../../paging/tables/root.js";
import type { VirtualMemory } from "../../paging/virtual-memory.js";
import type { LinuxKernel } from "../kernel.js";
import { type KernelData, kernelData } from "../kernel-data.js";
import { type Damage, DamageLog, type DamageOptions, damage, type OnDamage } from "../objects/damage.js";
import { DisjointLists, walkList } from "../objects/list.js";
import { readEach } from "../objects/read-each.js";
import { int, maybe, offsetOf, type Row, record, text, type Values, word } from "../objects/record.js";
import { TypesError } from "../types/type-table.js";
import { tasksByNumber } from "./by-number.js";
import { readNumbers } from "./inner-numbers.js";
import { stateLetter } from "./task-state.js";
import { KERNEL_THREAD, readNames } from "./thread-names.js";

/** What is read of a task. */
const TASK = record("task_struct", {
  pid: int("pid"),
  tgid: int("tgid"),
  comm: text("comm"),
  // Since 5.14 (2f064a59a11f) with underscores.
  state: int("__state", "state"),
  exitState: maybe(int("exit_state")),
  flags: int("flags"),
  mm: word("mm"),
  activeMm: word("active_mm"),
  realParent: word("real_parent"),
  tracer: word("parent"),
  cred: word("cred"),
  realCred: word("real_cred"),
  // Nanoseconds since boot, also of what it slept: renamed in 5.5 (cf25e24db61c).
  start: maybe(word("start_boottime", "real_start_time")),
  signal: word("signal"),
  fs: word("fs"),
  files: word("files"),
  nsproxy: word("nsproxy"),
  cpu: maybe(int("thread_info.cpu", "cpu", "on_cpu")),
  ptrace: maybe(int("ptrace")),
  // Its `struct pid`: since 4.19 (2c4704756cab) in a place of its own.
  numbers: maybe(word("thread_pid", "pids[0].pid")),
  // Of kernel threads, their `struct kthread`: since 5.17 (e32cf5dfbe22) in a place of its own.
  thread: maybe(word("worker_private", "set_child_tid")),
});

type TaskRow = Row<Values<typeof TASK.fields>>;

const CRED = record("cred", { uid: int("uid"), gid: int("gid"), euid: int("euid"), egid: int("egid") });

const MM = record("mm_struct", {
  pgd: word("pgd"),
  argStart: word("arg_start"),
  argEnd: word("arg_end"),
  envStart: word("env_start"),
  envEnd: word("env_end"),
});

/** Options of {@link listTasks}. */
export interface TaskOptions extends DamageOptions {
  /** Every thread, not only the first of each process; default false. */
  readonly threads?: boolean | undefined;
  /** Only the process of this number (with `threads`: and its threads). */
  readonly pid?: number | undefined;
}

/** A process or thread. What could not be read of it is `undefined`; `OnDamage` was told why. */
export interface Task {
  /** Address of its `task_struct`. */
  readonly address: bigint;
  /** The thread's own number, in the first namespace. */
  readonly pid: number | undefined;
  /**
   * Its numbers in the namespaces that it is in, from the first to its own: NSpid of /proc/PID/status. `undefined` too for
   * what has ended so far that it has none.
   */
  readonly nspid: readonly number[] | undefined;
  /** The process's number: that of its first thread. */
  readonly tgid: number | undefined;
  /** The parent process's number; 0 if it has none. */
  readonly ppid: number | undefined;
  /** Real user and group. */
  readonly uid: number | undefined;
  readonly gid: number | undefined;
  /** The letter that `ps` shows: see `TASK_STATES`. */
  readonly state: string | undefined;
  /** At most 15 bytes. */
  readonly comm: string | undefined;
  /**
   * As /proc/PID/comm shows it: of kernel threads, all of it, and what a worker does (`+`) or did last (`-`). It may be longer than
   * there, where it is cut behind 63 bytes.
   */
  readonly name: string | undefined;
  /** Seconds since boot, time asleep included. */
  readonly start: number | undefined;
  readonly kernelThread: boolean | undefined;
  /** Physical address of its top page table; `undefined` for what has none of its own. */
  readonly root: number | undefined;
  /** Address of its `mm_struct`; 0n for kernel threads and zombies. */
  readonly mm: bigint | undefined;
  /** Other members of its `task_struct`, for whoever reads on. @internal */
  readonly raw: Partial<Values<typeof TASK.fields>>;
  /** Its `mm_struct`'s members. @internal */
  readonly mmRaw: Partial<Values<typeof MM.fields>> | undefined;
}

/** Processes of a kernel; those of all namespaces, zombies among them. In the order of their list: as they were made. */
export function listTasks(kernel: LinuxKernel, options: TaskOptions = {}): IoSequence<Task> {
  return IoSequence.of(kernel.memory.scheduler, tasksRoutine, kernel, options);
}

/** One process. @throws {MemtoolError} `NO_PROCESS` if there is none of that number. */
export function findProcess(kernel: LinuxKernel, pid: number, options: DamageOptions = {}): Io<Task> {
  return Io.of(kernel.memory.scheduler, processRoutine, kernel, pid, options);
}

/** @throws {MemtoolError} `NO_MEMORY` for what has no address space: kernel threads and zombies. */
export function memoryOfTask(kernel: LinuxKernel, task: Task): VirtualMemory {
  if (task.root !== undefined) return kernel.addressSpace(task.root);
  const why =
    task.kernelThread === true
      ? "it is a kernel thread, and has no address space of its own"
      : task.mm === 0n
        ? "it has ended (a zombie), and its memory is gone"
        : "its page table can't be read";
  throw new MemtoolError("NO_MEMORY", `process ${task.pid ?? "?"} (${task.comm ?? "?"}): ${why}`);
}

function* tasksRoutine(sink: Sink<Task>, kernel: LinuxKernel, options: TaskOptions): Routine<void> {
  const log = new DamageLog(options);
  const data = yield* kernelData(kernel);
  for (const task of yield* readTasks(data, options, log.report)) yield sink.emit(task);
  log.end();
}

function* processRoutine(kernel: LinuxKernel, pid: number, options: DamageOptions): Routine<Task> {
  const data = yield* kernelData(kernel);
  return yield* needTask(data, pid, options.onDamage ?? (() => {}));
}

/** The process of a number, or of a thread's. @throws {MemtoolError} `NO_PROCESS`. @internal */
export function* needTask(data: KernelData, pid: number, report: OnDamage): Routine<Task> {
  const [task] = yield* needTasks(data, pid, report);
  return task as Task;
}

/** As `readTasks` of one number. @throws {MemtoolError} `NO_PROCESS`, with what was damaged on the way. @internal */
export function* needTasks(data: KernelData, pid: number | undefined, report: OnDamage): Routine<Task[]> {
  let first: Damage | undefined;
  const tasks = yield* readTasks(data, { pid }, (found) => {
    first ??= found;
    report(found);
  });
  if (tasks.length > 0 || pid === undefined) return tasks;
  const damaged =
    first === undefined
      ? "memtool ps lists them"
      : `or it is not found, as there is damage: ${first.message}`;
  throw new MemtoolError("NO_PROCESS", `there is no process ${pid} (${damaged})`);
}

/**
 * Every task that is asked for. A thread's number stands for its process. What is damaged on the way to one process is told only if
 * that was not found, or is its own. @internal
 */
export function* readTasks(
  data: KernelData,
  { threads = false, pid }: TaskOptions,
  report: OnDamage,
): Routine<Task[]> {
  const leaders = yield* leaderAddresses(data, report);
  const layout = TASK.on(data.types);
  let rows = yield* layout.read(data.memory, leaders);
  const names = new Map(rows.map(({ address, partial }) => [address, partial]));
  if (pid !== undefined) rows = yield* rowsOfProcess(data, rows, pid);
  if (threads) rows = yield* withThreads(data, rows, report);
  for (const { address, fault } of rows) {
    if (fault !== 0) report(damage("a task_struct", address, "unreadable", fault));
  }
  return yield* tasksOf(data, rows, names, report);
}

/** Tasks by the addresses of their structures, whoever has these. @internal */
export function* readTasksAt(
  data: KernelData,
  addresses: readonly bigint[],
  report: OnDamage,
): Routine<Task[]> {
  const rows = yield* TASK.on(data.types).read(data.memory, addresses);
  for (const { address, fault } of rows) {
    if (fault !== 0) report(damage("a task_struct", address, "unreadable", fault));
  }
  return yield* tasksOf(data, rows, new Map(rows.map(({ address, partial }) => [address, partial])), report);
}

/** The first thread of the process that has a number, or that has a thread of that number. */
function* rowsOfProcess(data: KernelData, leaders: readonly TaskRow[], pid: number): Routine<TaskRow[]> {
  const own = leaders.filter(({ partial }) => partial.pid === pid);
  if (own.length > 0) return own;
  // (What is damaged is nothing new, or of other processes.)
  const threads = yield* withThreads(data, leaders, () => {});
  const tgid = threads.find(({ partial }) => partial.pid === pid)?.partial.tgid;
  return tgid === undefined ? [] : leaders.filter(({ partial }) => partial.pid === tgid);
}

/**
 * Addresses of the first thread of each process but the idle one, which /proc does not show. Where their list is damaged, those
 * that are missing in it are looked for by their numbers. @internal
 */
export function* leaderAddresses(data: KernelData, report: OnDamage): Routine<bigint[]> {
  const { types, memory } = data;
  const init = yield* data.kernel.findInitTask();
  const offset = BigInt(offsetOf(types, "task_struct", "tasks"));
  let damaged = false;
  const nodes = yield* walkList(memory, init + offset, "the list of tasks", (found) => {
    damaged = true;
    report(found);
  });
  const listed = nodes.map((node) => node - offset);
  return damaged ? [...listed, ...(yield* unlisted(data, listed, report))] : listed;
}

/** First threads that a damaged list lacks. */
function* unlisted(data: KernelData, listed: readonly bigint[], report: OnDamage): Routine<bigint[]> {
  const known = new Set(listed);
  let numbered: bigint[] = [];
  try {
    numbered = yield* tasksByNumber(data, report);
  } catch (error) {
    // (Types of what the numbers are kept in are damaged: that must not take along what is listed.)
    if (!(error instanceof TypesError)) throw error;
    report(damage("the numbers of tasks", 0n, "invalid", 0, error.message));
  }
  const others = numbered.filter((address) => !known.has(address));
  const rows = yield* TASK.on(data.types).read(data.memory, others);
  // (Whose numbers can't be read may be a thread.)
  return rows
    .filter(({ partial }) => partial.pid !== undefined && partial.pid === partial.tgid)
    .map(({ address }) => address);
}

/** Each process's threads behind it. */
function* withThreads(data: KernelData, leaders: readonly TaskRow[], report: OnDamage): Routine<TaskRow[]> {
  const { types, memory } = data;
  // Since 3.14 (0c740d0afc3b).
  const node = BigInt(offsetOf(types, "task_struct", "thread_node"));
  const head = BigInt(offsetOf(types, "signal_struct", "thread_head"));
  const addresses: bigint[] = [];
  const walked = new Set<bigint>();
  const lists = new DisjointLists(memory, "the list of threads of a process", report);
  for (const { address, partial } of leaders) {
    // (A list that several processes claim is one's.)
    if (partial.signal === undefined || partial.signal === 0n || walked.has(partial.signal)) {
      addresses.push(address);
      continue;
    }
    walked.add(partial.signal);
    const what = `the list of threads of process ${partial.pid ?? "?"}`;
    const nodes = yield* lists.walk(partial.signal + head, what);
    const found = nodes.map((each) => each - node);
    // A list that can't be read must not take the process along.
    if (!found.includes(address)) found.unshift(address);
    for (const each of found) addresses.push(each);
  }
  // (One process's list may lead through another's.)
  return yield* TASK.on(types).read(memory, [...new Set(addresses)]);
}

/** Reads what tasks point to. */
function* tasksOf(
  data: KernelData,
  rows: readonly TaskRow[],
  known: ReadonlyMap<bigint, Partial<Values<typeof TASK.fields>>>,
  report: OnDamage,
): Routine<Task[]> {
  const creds = yield* readEach(
    data,
    CRED,
    rows.map(({ partial }) => partial.realCred),
    "a cred",
    report,
  );
  const mms = yield* readEach(
    data,
    MM,
    rows.map(({ partial }) => partial.mm),
    "an mm_struct",
    report,
  );
  const parents = yield* parentNumbers(data, rows, known);
  const roots = yield* rootsOf(data, rows, mms, report);
  const names = yield* readNames(
    data,
    rows.map(({ partial }) => partial),
    report,
  );
  const numbers = yield* readNumbers(
    data,
    rows.map(({ partial }) => partial.numbers),
    report,
  );
  return rows.map(({ address, partial }, i) => {
    const cred = creds[i];
    const { flags, state, exitState, start } = partial;
    return {
      address,
      pid: partial.pid,
      nspid: numbers[i],
      tgid: partial.tgid,
      ppid: parents[i],
      uid: cred?.uid,
      gid: cred?.gid,
      state: state === undefined ? undefined : stateLetter(state, exitState ?? 0),
      comm: partial.comm,
      name: names[i],
      start: start === undefined ? undefined : Number(start) / 1e9,
      kernelThread: flags === undefined ? undefined : (flags & KERNEL_THREAD) !== 0,
      root: roots[i],
      mm: partial.mm,
      raw: partial,
      mmRaw: mms[i],
    };
  });
}

/** The processes' numbers of the parents: mostly known already. */
function* parentNumbers(
  { types, memory }: KernelData,
  rows: readonly TaskRow[],
  known: ReadonlyMap<bigint, Partial<Values<typeof TASK.fields>>>,
): Routine<(number | undefined)[]> {
  const pointers = rows.map(({ partial }) => partial.realParent);
  const others = [...new Set(pointers)].filter((each) => each !== undefined && !known.has(each)) as bigint[];
  const read = new Map(
    (yield* TASK.on(types).read(memory, others)).map(({ address, partial }) => [address, partial]),
  );
  return pointers.map((each) => (each === undefined ? undefined : (known.get(each) ?? read.get(each))?.tgid));
}

/** Physical addresses of the top tables. One where no top table can be is told, and is none. */
function* rootsOf(
  { memory }: KernelData,
  rows: readonly TaskRow[],
  mms: readonly ({ readonly pgd?: bigint } | undefined)[],
  report: OnDamage,
): Routine<(number | undefined)[]> {
  const cache = new Map<bigint, number | undefined>();
  for (const [i, { partial }] of rows.entries()) {
    const pgd = mms[i]?.pgd;
    if (pgd === undefined || cache.has(pgd)) continue;
    const found = yield* memory.translate(pgd);
    const root = "physical" in found ? found.physical : undefined;
    const isOne = root === undefined || canBeRoot(root, memory.mmu);
    cache.set(pgd, isOne ? root : undefined);
    if (isOne) continue;
    const what = `the page table of process ${partial.tgid ?? "?"}`;
    report(damage(what, partial.mm ?? 0n, "invalid", 0, `0x${root.toString(16)} is no root`));
  }
  return mms.map((mm) => (mm?.pgd === undefined ? undefined : cache.get(mm.pgd)));
}

function canBeRoot(root: number, mmu: MmuDef): boolean {
  return root < rootEnd(mmu) && alignRoot(root, mmu, mmu.halves === undefined ? undefined : "lower") === root;
}
