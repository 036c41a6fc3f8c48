/**
 * Tasks wherever they lie in memory, found by what they look like: what no list has is found too, and what has ended.
 *
 * Facts: kernel/exit.c (`release_task`, `__exit_signal`: a task that has ended is EXIT_DEAD, has no `sighand`, and is on no list; its memory is free after the
 * next grace period of RCU), include/linux/sched.h (TASK_NEW, EXIT_DEAD, PF_EXITING), kernel/fork.c (`copy_process`: a task is TASK_NEW until it
 * is on the lists).
 */
import { type ByteRange, IoSequence, type Routine, type Sink } from "../../io/index.js";
import type { LinuxKernel } from "../kernel.js";
import { type KernelData, kernelData } from "../kernel-data.js";
import { DamageLog, type DamageOptions, damage, type OnDamage, once } from "../objects/damage.js";
import { attempt } from "../owners/attempt.js";
import { type PerCpu, perCpuAreas } from "../per-cpu.js";
import { findCandidates, MAX_CANDIDATES } from "../scan/find-candidates.js";
import { type ObjectHome, objectHomes } from "../scan/object-homes.js";
import { linearOffset, presentRanges } from "../scan/scanned-memory.js";
import { readCaches } from "../slab/slab-caches.js";
import { readTasksAt, type Task } from "../tasks/task.js";
import { type Weighed, weigh } from "./task-evidence.js";
import { taskPlaces } from "./task-layout.js";
import {
  type GlobalLists,
  globalLists,
  type ListPlaces,
  listPlaces,
  type Membership,
  type OwnLists,
  ownLists,
  type QueuedTasks,
  queuedTasks,
  type TaskList,
} from "./task-lists.js";

/**
 * What a task that was found is.
 *
 * - `listed`: on every list that it should be on.
 * - `hidden`: it lives, and a list that should have it does not.
 * - `idle`: what a CPU runs when there is nothing to do; on no list, ever.
 * - `new`: being made, on no list yet.
 * - `exited`: it has ended and was taken off the lists, and its memory is not free yet.
 * - `freed`: what is left of one in memory that is free, or that belongs to something else now.
 * - `copy`: in memory that is in use, but its lists lead elsewhere: somebody's copy of a task.
 */
export type TaskStatus = "listed" | "hidden" | "idle" | "new" | "exited" | "freed" | "copy";

/** A task that was found in memory. What is freed may have been written over in part. */
export interface ScannedTask extends Task {
  /** Physical address of its `task_struct`. */
  readonly physical: number;
  readonly status: TaskStatus;
  /** The lists that have it. */
  readonly listedBy: readonly TaskList[];
  /** The lists that should have it, could be read to their end, and have not. */
  readonly missedBy: readonly TaskList[];
  /** Name of the slab cache that it lies in; `undefined` outside of slabs. */
  readonly cache: string | undefined;
  /** Facts that speak for a task, in a few words each; empty for one that a list has and that looks like none. */
  readonly evidence: readonly string[];
  /** Facts that speak against it. */
  readonly against: readonly string[];
}

/** Options of {@link scanTasks}. */
export interface ScanTasksOptions extends DamageOptions {
  /** Physical addresses to look at, half-open and ascending; default all memory that is there. */
  readonly ranges?: readonly ByteRange[] | undefined;
  /** Is told how far it is, in bytes. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/**
 * Goes through physical memory for tasks, by the shape that the kernel's own types give them, and says of each which lists have it.
 * Tasks that lists have, and that are not found so (a page is missing), are given too. In the order of their physical addresses.
 *
 * @throws {TypesError} for a kernel without types.
 * @example
 * for await (const task of linux.scanTasks()) {
 *   if (task.status === "hidden") console.log(task.pid, task.comm, task.missedBy);
 * }
 */
export function scanTasks(kernel: LinuxKernel, options: ScanTasksOptions = {}): IoSequence<ScannedTask> {
  return IoSequence.of(kernel.memory.scheduler, scanRoutine, kernel, options);
}

function* scanRoutine(
  sink: Sink<ScannedTask>,
  kernel: LinuxKernel,
  options: ScanTasksOptions,
): Routine<void> {
  const log = new DamageLog(options);
  const report = once(log.report);
  const data = yield* kernelData(kernel);
  const global = yield* globalLists(data, report);
  const listed = [...global.tasks.members, ...(global.numbers?.members ?? [])];
  const linear = yield* linearOffset(data, listed, "task", report);
  const places = taskPlaces(data, kernelBase(global.init));
  const ranges = options.ranges ?? (yield* presentRanges(data, report));
  const step = yield* taskAlignment(data);
  const { physical } = kernel.memory;
  const pass = yield* findCandidates(physical, ranges, places.shape, step, options.onProgress);
  if (pass.stopped !== undefined) {
    const more = `more than ${MAX_CANDIDATES} places look like tasks; the rest of memory was not looked at`;
    report(damage("physical memory", BigInt(pass.stopped), "too long", 0, more));
  }
  const known = new Set([global.init, ...global.tasks.members, ...(global.numbers?.members ?? [])]);
  const weighed = yield* weigh(data, pass.found, places, linear, known);
  const cpus = yield* attempt("the CPUs", report, perCpuAreas(data, report));
  const homes = yield* objectHomes(data, weighed, cpus, linear, report);
  const judge = yield* Judge.make(data, global, weighed, homes, cpus, report);
  const shown = weighed.map((each, i) => judge.of(each, homes[i] as ObjectHome));
  const found = new Set(weighed.map(({ address }) => address));
  const others = [...known].filter((address) => address !== global.init && !found.has(address));
  yield* emitAll(sink, data, weighed, shown, others, global, report);
  log.end();
}

/** What is told of a task beside what its structure holds. */
type Told = Pick<
  ScannedTask,
  "physical" | "status" | "listedBy" | "missedBy" | "cache" | "evidence" | "against"
>;

function* emitAll(
  sink: Sink<ScannedTask>,
  data: KernelData,
  weighed: readonly Weighed[],
  told: readonly Told[],
  others: readonly bigint[],
  global: GlobalLists,
  report: OnDamage,
): Routine<void> {
  const lives = ({ status }: Told) => status !== "freed" && status !== "copy";
  const alive = weighed.filter((_, i) => lives(told[i] as Told)).map(({ address }) => address);
  const dead = weighed.filter((_, i) => !lives(told[i] as Told)).map(({ address }) => address);
  const tasks = new Map<bigint, Task>();
  for (const task of yield* readTasksAt(data, [...alive, ...others], report)) tasks.set(task.address, task);
  // (What they point to is no longer theirs.)
  for (const task of yield* readTasksAt(data, dead, () => {})) {
    tasks.set(task.address, {
      ...task,
      uid: undefined,
      gid: undefined,
      root: undefined,
      nspid: undefined,
      name: task.comm,
    });
  }
  const rows = weighed.map(({ address }, i) => ({ address, told: told[i] as Told }));
  for (const address of others) {
    const place = yield* data.memory.translate(address);
    if (!("physical" in place)) continue;
    const listedBy: TaskList[] = [];
    if (global.tasks.members.has(address)) listedBy.push("tasks");
    if (global.numbers?.members.has(address) === true) listedBy.push("numbers");
    const rest = { missedBy: [], cache: undefined, evidence: [], against: ["it does not look like a task"] };
    rows.push({ address, told: { physical: Number(place.physical), status: "listed", listedBy, ...rest } });
  }
  rows.sort((a, b) => a.told.physical - b.told.physical);
  for (const row of rows) {
    const task = tasks.get(row.address);
    if (task !== undefined) yield sink.emit({ ...task, ...row.told });
  }
}

/** TASK_NEW. */
const NEW = 0x800;
/** EXIT_DEAD. */
const DEAD = 0x10;
/** PF_EXITING. */
const EXITING = 0x4;

/** Says what each is. */
class Judge {
  readonly #global: GlobalLists;
  readonly #places: ListPlaces;
  readonly #own: OwnLists;
  readonly #queues: QueuedTasks;

  private constructor(global: GlobalLists, places: ListPlaces, own: OwnLists, queues: QueuedTasks) {
    this.#global = global;
    this.#places = places;
    this.#own = own;
    this.#queues = queues;
  }

  static *make(
    data: KernelData,
    global: GlobalLists,
    weighed: readonly Weighed[],
    homes: readonly ObjectHome[],
    cpus: PerCpu | undefined,
    report: OnDamage,
  ): Routine<Judge> {
    const places = listPlaces(data);
    const alive = weighed.filter((each, i) => isInUse(each, homes[i] as ObjectHome));
    // (The lists of one that has ended lead nowhere, and that is no damage.)
    const sound = alive.filter((each) => !hasEnded(each));
    const own = yield* ownLists(data, places, sound, report);
    return new Judge(global, places, own, yield* queuedTasks(data, cpus, report));
  }

  of(task: Weighed, home: ObjectHome): Told {
    const { address, physical, evidence, against } = task;
    const rest = { physical, cache: home.cache, evidence, against };
    const inUse = isInUse(task, home);
    const { listed, missed } = inUse ? this.#listsOf(task) : { listed: [], missed: [] };
    const told = (status: TaskStatus) => ({ ...rest, status, listedBy: listed, missedBy: missed });
    const none = { ...rest, listedBy: [], missedBy: [] };
    if (address === this.#global.init || this.#queues.idle.has(address)) return { ...none, status: "idle" };
    if (task.isOwn === false) return { ...none, status: home.kind === "free" ? "freed" : "copy" };
    const isKnown =
      this.#global.tasks.members.has(address) || this.#global.numbers?.members.has(address) === true;
    // What a list has lives, whatever free lists say.
    if (!inUse && !isKnown) return { ...none, status: home.kind === "other" ? "copy" : "freed" };
    if (listed.length === 0 && hasEnded(task)) return { ...none, status: "exited" };
    if (listed.length === 0 && (task.fields.state & NEW) !== 0) return { ...none, status: "new" };
    return told(missed.length === 0 ? "listed" : "hidden");
  }

  #listsOf({ address, fields }: Weighed): { listed: TaskList[]; missed: TaskList[] } {
    const listed: TaskList[] = [];
    const missed: TaskList[] = [];
    const note = (name: TaskList, ...lists: readonly Membership[]) => {
      if (lists.some(({ members }) => members.has(address))) listed.push(name);
      else if (lists.every(({ isWhole }) => isWhole)) missed.push(name);
    };
    const { tasks, numbers } = this.#global;
    const isFirst = fields.leader === address;
    if (isFirst || tasks.members.has(address)) note("tasks", tasks);
    if (numbers !== undefined) note("numbers", numbers);
    const children = this.#own.of(fields.realParent + this.#places.children);
    if (isFirst && children !== undefined) note("children", children);
    const threads = this.#own.of(fields.signal + this.#places.threadHead);
    if (threads !== undefined) note("threads", threads);
    const { cgroups = 0n, flags, exitState } = fields;
    const groups = this.#places.cgroupHeads.flatMap((head) => this.#own.of(cgroups + head) ?? []);
    if (groups.length > 0 && (flags & EXITING) === 0 && exitState === 0) note("cgroup", ...groups);
    if (this.#queues.queued.has(address)) listed.push("run queue");
    return { listed, missed };
  }
}

function hasEnded({ fields }: Weighed): boolean {
  return (fields.exitState & DEAD) !== 0 && fields.sighand === 0n && fields.mm === 0n && fields.onQueue === 0;
}

/** Whether the memory is a task's now, as far as that can be told. */
function isInUse({ isOwn }: Weighed, { kind, isFree }: ObjectHome): boolean {
  if (isFree === true || isOwn === false) return false;
  // A structure that leads to itself in memory that is in use is one, wherever that is.
  return kind === "slab" || kind === "image" || kind === "unknown" || isOwn === true;
}

/** The first address that can be the kernel's, where pointers have 32 bits: PAGE_OFFSET is a multiple of 2^30, or not far above one. */
function kernelBase(init: bigint): bigint {
  return (init >> 30n) << 30n;
}

/** What tasks' addresses are multiples of. */
function* taskAlignment(data: KernelData): Routine<number> {
  const caches = yield* attempt(
    "the slab caches",
    () => {},
    readCaches(data, () => {}),
  );
  const align = caches?.find(({ name }) => name === "task_struct")?.row.partial.align ?? 0;
  const isPower = align >= 4 && align <= 4096 && (align & (align - 1)) === 0;
  // (L1_CACHE_BYTES, the least that `fork_init` asks for; a larger one would miss init_task and what lies in other caches.)
  return isPower ? Math.min(align, CACHE_LINE) : CACHE_LINE;
}

const CACHE_LINE = 64;
