/**
 * What the scan reads of a task, and where that is in this kernel's.
 *
 * Facts: include/linux/sched.h (`struct task_struct`), kernel/fork.c (`fork_init`: tasks are aligned to a cache line at least).
 */
import type { KernelData } from "../kernel-data.js";
import { int, maybe, needStruct, raw, record, type Values, word } from "../objects/record.js";
import type { CandidateShape } from "../scan/find-candidates.js";
import { sizeOf } from "../types/c-type.js";
import { findPlace } from "../types/member-path.js";
import { findShapes, type TaskShape } from "./task-shape.hot.js";

/** @internal */
export const SCANNED = record("task_struct", {
  state: int("__state", "state"),
  stack: word("stack"),
  flags: int("flags"),
  onQueue: int("on_rq"),
  prio: int("prio"),
  staticPrio: int("static_prio"),
  normalPrio: int("normal_prio"),
  policy: int("policy"),
  schedClass: word("sched_class"),
  mm: word("mm"),
  activeMm: word("active_mm"),
  exitState: int("exit_state"),
  pid: int("pid"),
  tgid: int("tgid"),
  realParent: word("real_parent"),
  parent: word("parent"),
  leader: word("group_leader"),
  // Since 4.19 (2c4704756cab) in a place of its own.
  numbers: maybe(word("thread_pid", "pids[0].pid")),
  start: word("start_time"),
  realCred: word("real_cred"),
  cred: word("cred"),
  comm: raw("comm"),
  signal: word("signal"),
  sighand: word("sighand"),
  cgroups: maybe(word("cgroups")),
});

/** Fields of a place that looks like a task. @internal */
export type ScannedFields = Values<typeof SCANNED.fields>;

/** Lists whose heads or nodes lead to themselves in most tasks, whatever became of these. */
const RINGS = [
  "children",
  "ptraced",
  "ptrace_entry",
  "thread_group",
  "pi_state_list",
  "perf_event_list",
  "rcu_tasks_holdout_list",
  "trc_holdout_list",
] as const;

/** Pointers to the kernel that every task has. */
const POINTERS = [
  "group_leader",
  "real_parent",
  "parent",
  "children.next",
  "children.prev",
  "ptraced.next",
  "signal",
  "real_cred",
] as const;

/** Where everything is. @internal */
export interface TaskPlaces {
  readonly shape: CandidateShape;
  /** Bytes from the beginning to lists that may be rings. */
  readonly rings: readonly number[];
}

/** @throws {TypesError} for a `task_struct` that is not as any known kernel has it. @internal */
export function taskPlaces({ types, memory }: KernelData, base: bigint): TaskPlaces {
  const task = needStruct(types, "task_struct");
  const layout = SCANNED.on(types);
  const wide = memory.pointerSize === 8;
  const at = (path: string) => {
    const found = findPlace(task, path);
    return found === undefined ? undefined : Math.floor(found.bitOffset / 8);
  };
  const word32 = (path: string, high = 0) => {
    const offset = at(path);
    return offset === undefined ? [] : [offset / 4 + high];
  };
  const rings = RINGS.flatMap((name) => at(name) ?? []);
  const ends = Object.keys(SCANNED.fields).map((name) => {
    const offset = layout.offsetOf(name as keyof ScannedFields) ?? 0;
    return offset + (name === "comm" ? COMM : 8);
  });
  const span = Math.min(Math.max(...ends, ...rings.map((offset) => offset + 16)), sizeOf(task));
  const shape: TaskShape = {
    pointers: Int32Array.from(POINTERS.flatMap((path) => word32(path, wide ? 1 : 0))),
    low: wide ? -1 : 0,
    // (Of 64 bits, all kernels' halves are within these.)
    least: wide ? 0xff00_0000 : Number(base),
    numbers: Int32Array.from([...word32("pid"), ...word32("tgid")]),
    priorities: Int32Array.from([...word32("prio"), ...word32("static_prio"), ...word32("normal_prio")]),
    start: (word32("start_time", 1)[0] ?? 0) as number,
    comm: (word32("comm")[0] ?? 0) as number,
  };
  return {
    shape: {
      length: 4 * Math.ceil(span / 4),
      find: (words, from, until, step, found) => findShapes(words, from, until, step, shape, found),
    },
    rings,
  };
}

/** TASK_COMM_LEN. */
const COMM = 16;
