/**
 * Who is on which of the kernel's lists of tasks.
 *
 * Facts: include/linux/sched.h (`tasks`, `sibling`, `thread_node`, `cg_list`, `se.group_node`), kernel/fork.c (`copy_process`: only first threads are in
 * the list of tasks and among their parent's children), kernel/exit.c (`__unhash_process`), kernel/cgroup/cgroup.c (`css_set_move_task`,
 * `cgroup_exit`; first threads that ended are in `dying_tasks` since 5.2), kernel/sched/sched.h (`struct rq`).
 */
import type { Routine } from "../../io/index.js";
import type { KernelData } from "../kernel-data.js";
import { damage, type OnDamage } from "../objects/damage.js";
import { walkList } from "../objects/list.js";
import { maybe, needStruct, offsetOf, place, record, word } from "../objects/record.js";
import type { PerCpu } from "../per-cpu.js";
import { tasksByNumber } from "../tasks/by-number.js";
import { findPlace } from "../types/member-path.js";
import type { Weighed } from "./task-evidence.js";

/**
 * A list that has tasks. `tasks`: that of all processes, which `ps` follows. `numbers`: by their numbers (`pidof`, /proc/PID). `children`: of
 * the parent. `threads`: of the process. `cgroup`: of its control groups. `run queue`: what runs, or is ready to.
 */
export type TaskList = "tasks" | "numbers" | "children" | "threads" | "cgroup" | "run queue";

/** A list, or those of one kind. @internal */
export interface Membership {
  readonly members: ReadonlySet<bigint>;
  /** Whether it could be followed to its end: what it lacks is then missing. */
  readonly isWhole: boolean;
}

/** The lists of all. @internal */
export interface GlobalLists {
  readonly init: bigint;
  readonly tasks: Membership;
  readonly numbers: Membership | undefined;
}

/** The list of processes and that of numbers. @internal */
export function* globalLists(data: KernelData, report: OnDamage): Routine<GlobalLists> {
  const { types, memory } = data;
  const init = yield* data.kernel.findInitTask();
  const offset = BigInt(offsetOf(types, "task_struct", "tasks"));
  const tasks = new Watch(report);
  const nodes = yield* walkList(memory, init + offset, "the list of tasks", tasks.report);
  const numbers = new Watch(report);
  const numbered = yield* tasksByNumber(data, numbers.report);
  return {
    init,
    tasks: { members: new Set(nodes.map((node) => node - offset)), isWhole: tasks.isWhole },
    numbers: numbered.length === 0 ? undefined : { members: new Set(numbered), isWhole: numbers.isWhole },
  };
}

/** Notices damage, and tells it on. */
class Watch {
  isWhole = true;
  readonly report: OnDamage;

  constructor(report: OnDamage) {
    this.report = (found) => {
      this.isWhole = false;
      report(found);
    };
  }
}

/** Tasks that may not have been found, and are on lists all the same: their pages are missing. */
const UNFOUND = 1 << 17;

/** Each task's own lists: by what they hang from. @internal */
export class OwnLists {
  readonly #lists = new Map<bigint, Membership>();
  readonly #tasks: number;

  /** @param tasks How many there are: of lists of one kind, each task is on one. */
  constructor(tasks: number) {
    this.#tasks = tasks;
  }

  /** The list from a head. */
  of(head: bigint): Membership | undefined {
    return this.#lists.get(head);
  }

  /**
   * Follows lists, each once, until they have more members than there can be: whoever makes tasks may let all of them share one ring, which
   * each would then be followed through.
   *
   * @param node Bytes from a task to its node.
   */
  *load(
    { memory }: KernelData,
    heads: Iterable<bigint>,
    node: bigint,
    what: string,
    report: OnDamage,
  ): Routine<void> {
    let left = 2 * this.#tasks + UNFOUND;
    for (const head of heads) {
      if (this.#lists.has(head)) continue;
      if (left < 0) {
        report(
          damage(
            what,
            head,
            "too long",
            0,
            "such lists have more tasks than there are; no more are followed",
          ),
        );
        return;
      }
      const watch = new Watch(report);
      const nodes = yield* walkList(memory, head, what, watch.report);
      const members = new Set(nodes.map((each) => BigInt.asUintN(8 * memory.pointerSize, each - node)));
      this.#lists.set(head, { members, isWhole: watch.isWhole });
      left -= members.size;
    }
  }
}

/** Where the heads and nodes of tasks' own lists are. @internal */
export interface ListPlaces {
  readonly children: bigint;
  readonly sibling: bigint;
  readonly threadHead: bigint;
  readonly threadNode: bigint;
  /** In a `css_set`. */
  readonly cgroupHeads: readonly bigint[];
  readonly cgroupNode: bigint | undefined;
}

/** @internal */
export function listPlaces({ types }: KernelData): ListPlaces {
  const at = (struct: string, path: string) => {
    const type = types.find("struct", struct);
    const found =
      type === undefined || type.kind === "forward" ? undefined : findPlace(needStruct(types, struct), path);
    return found === undefined ? undefined : BigInt(Math.floor(found.bitOffset / 8));
  };
  const need = (struct: string, path: string) => BigInt(offsetOf(types, struct, path));
  return {
    children: need("task_struct", "children"),
    sibling: need("task_struct", "sibling"),
    threadHead: need("signal_struct", "thread_head"),
    threadNode: need("task_struct", "thread_node"),
    cgroupHeads: ["tasks", "mg_tasks", "dying_tasks"].flatMap((name) => at("css_set", name) ?? []),
    cgroupNode: at("task_struct", "cg_list"),
  };
}

/** Reads the lists that some tasks should be on. @internal */
export function* ownLists(
  data: KernelData,
  places: ListPlaces,
  tasks: readonly Weighed[],
  report: OnDamage,
): Routine<OwnLists> {
  const lists = new OwnLists(tasks.length);
  const fields = tasks.map((task) => task.fields);
  const parents = fields.map(({ realParent }) => realParent + places.children);
  yield* lists.load(data, parents, places.sibling, "the children of a task", report);
  const signals = fields.filter(({ signal }) => signal !== 0n);
  const heads = signals.map(({ signal }) => signal + places.threadHead);
  yield* lists.load(data, heads, places.threadNode, "the threads of a process", report);
  if (places.cgroupNode !== undefined) {
    const sets = fields.flatMap(({ cgroups = 0n }) => (cgroups === 0n ? [] : [cgroups]));
    const all = sets.flatMap((set) => places.cgroupHeads.map((head) => set + head));
    yield* lists.load(data, all, places.cgroupNode, "the tasks of a control group", report);
  }
  return lists;
}

const QUEUE = record("rq", {
  current: word("curr", "donor"),
  idle: word("idle"),
  fair: maybe(place("cfs_tasks")),
});

/** What CPUs run, or have ready. @internal */
export interface QueuedTasks {
  readonly queued: ReadonlySet<bigint>;
  /** The task that each CPU has for when there is nothing to do. On no list. */
  readonly idle: ReadonlySet<bigint>;
}

/** Reads the run queues of all CPUs: their current tasks, and those of the fair class (with SMP). @internal */
export function* queuedTasks(
  data: KernelData,
  cpus: PerCpu | undefined,
  report: OnDamage,
): Routine<QueuedTasks> {
  const queued = new Set<bigint>();
  const idle = new Set<bigint>();
  const layout = QUEUE.onIf(data.types);
  const copies = cpus === undefined ? undefined : yield* cpus.copiesIf("runqueues");
  if (layout === undefined || copies === undefined) return { queued, idle };
  const node = findPlace(needStruct(data.types, "task_struct"), "se.group_node");
  const rows = yield* layout.read(
    data.memory,
    copies.map(({ address }) => address),
  );
  for (const { partial } of rows) {
    if (partial.idle !== undefined) idle.add(partial.idle);
    if (partial.current !== undefined) queued.add(partial.current);
    if (partial.fair === undefined || node === undefined) continue;
    const offset = BigInt(Math.floor(node.bitOffset / 8));
    for (const each of yield* walkList(data.memory, partial.fair, "the tasks of a run queue", report)) {
      queued.add(each - offset);
    }
  }
  return { queued, idle };
}
