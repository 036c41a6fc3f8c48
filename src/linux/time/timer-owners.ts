/**
 * Whose a timer is, where the function that it calls says what structure it is in.
 *
 * Facts: include/linux/hrtimer.h (`struct hrtimer_sleeper`), kernel/time/hrtimer.c (`hrtimer_wakeup`), kernel/time/timer.c (`struct
 * process_timer`, since 4.15; `process_timeout`), kernel/time/posix-timers.c (`posix_timer_fn`), include/linux/posix-timers.h (`struct
 * k_itimer`: `it_pid` is whom the signal goes to), kernel/time/itimer.c (`it_real_fn`), include/linux/sched/signal.h (`real_timer`, `pids`, since
 * 4.19), kernel/workqueue.c (`delayed_work_timer_fn`), include/linux/workqueue.h (`struct delayed_work`).
 */
import type { Routine } from "../../io/index.js";
import { type KernelData, nameOfFunction } from "../kernel-data.js";
import { damage, type OnDamage } from "../objects/damage.js";
import { readEach } from "../objects/read-each.js";
import { hasStruct, int, maybe, needStruct, type RecordPlan, record, text, word } from "../objects/record.js";
import { taskLinkOffset } from "../tasks/by-number.js";
import { findPlace } from "../types/member-path.js";

const TASK = record("task_struct", { pid: int("pid"), tgid: int("tgid"), comm: text("comm") });
const PID = record("pid", { number: int("numbers[0].nr"), firstTask: maybe(word("tasks[0].first")) });

/** What is known of a timer's owner. What could not be read is `undefined`; what it does not have is null. */
export interface TimerOwner {
  /** Number and name of the thread that it wakes, or that its signal goes to. */
  readonly pid: number | null | undefined;
  readonly comm: string | null | undefined;
  /** Number of the process that the thread is of; null too if it has ended. */
  readonly tgid: number | null | undefined;
  /** The function of the work that it begins; null too if no symbol begins there. */
  readonly work: string | null | undefined;
}

/** Of a timer whose function says nothing. */
export const NO_OWNER: TimerOwner = { pid: null, comm: null, tgid: null, work: null };

/** Of a task that is not there. */
const NOT_READ = { comm: undefined, tgid: undefined };

/** Where the timer is in what structure, and which pointer there says more: to a task, to a number, to a function. */
interface Rule {
  readonly struct: string;
  readonly timer: string;
  readonly pointer: string;
  readonly to: "task" | "pid" | "function";
}

/** By the symbol of the timer's function. */
const RULES: Readonly<Record<string, Rule>> = {
  hrtimer_wakeup: { struct: "hrtimer_sleeper", timer: "timer", pointer: "task", to: "task" },
  process_timeout: { struct: "process_timer", timer: "timer", pointer: "task", to: "task" },
  posix_timer_fn: { struct: "k_itimer", timer: "it.real.timer", pointer: "it_pid", to: "pid" },
  // PIDTYPE_TGID is 1.
  it_real_fn: { struct: "signal_struct", timer: "real_timer", pointer: "pids[1]", to: "pid" },
  delayed_work_timer_fn: { struct: "delayed_work", timer: "timer", pointer: "work.func", to: "function" },
};

/** Owners of some timers, by their addresses and the symbols of their functions. */
export function* readTimerOwners(
  data: KernelData,
  timers: readonly { readonly address: bigint; readonly function: string | null | undefined }[],
  report: OnDamage,
): Routine<TimerOwner[]> {
  const owners = timers.map(() => NO_OWNER);
  for (const [name, rule] of Object.entries(RULES)) {
    const mine = [...timers.keys()].filter((i) => timers[i]?.function === name);
    const plan = mine.length === 0 ? undefined : planOf(data, rule);
    if (plan === undefined) continue;
    const rows = yield* plan.record.on(data.types).read(
      data.memory,
      mine.map((i) => BigInt.asUintN(64, (timers[i]?.address as bigint) - plan.offset)),
    );
    for (const { address, fault } of rows) {
      if (fault !== 0) report(damage(`a ${rule.struct}`, address, "unreadable", fault));
    }
    const pointers = rows.map(({ value }) => value?.pointer);
    const found = yield* resolved(data, rule.to, pointers, report);
    for (const [k, i] of mine.entries()) owners[i] = found[k] as TimerOwner;
  }
  return owners;
}

interface RulePlan {
  readonly record: RecordPlan<{ pointer: ReturnType<typeof word> }>;
  /** Bytes from the structure to the timer. */
  readonly offset: bigint;
}

/** Where both members are, of this kernel; `undefined` if it has not got them. */
function planOf({ types }: KernelData, { struct, timer, pointer }: Rule): RulePlan | undefined {
  if (!hasStruct(types, struct)) return undefined;
  const type = needStruct(types, struct);
  const place = findPlace(type, timer);
  if (place === undefined || findPlace(type, pointer) === undefined) return undefined;
  return { record: record(struct, { pointer: word(pointer) }), offset: BigInt(place.bitOffset / 8) };
}

function* resolved(
  data: KernelData,
  to: Rule["to"],
  pointers: readonly (bigint | undefined)[],
  report: OnDamage,
): Routine<TimerOwner[]> {
  const owners: TimerOwner[] = [];
  if (to === "function") {
    for (const pointer of pointers) {
      const work = pointer === undefined ? undefined : ((yield* nameOfFunction(data, pointer)) ?? null);
      owners.push({ ...NO_OWNER, work });
    }
    return owners;
  }
  let tasks: readonly (bigint | undefined)[] = pointers;
  let numbers: readonly (number | undefined)[] = [];
  if (to === "pid") {
    const link = taskLinkOffset(data);
    const pids = yield* readEach(data, PID, pointers, "the number of a timer's owner", report);
    numbers = pids.map((each) => each?.number);
    // (One that has ended has a number still.)
    tasks = pids.map((each) => {
      const first = each?.firstTask;
      if (first === 0n) return 0n;
      return first === undefined || link === undefined ? undefined : BigInt.asUintN(64, first - link);
    });
  }
  const read = yield* readEach(data, TASK, tasks, "the task of a timer", report);
  for (const [i, pointer] of pointers.entries()) {
    if (pointer === 0n) owners.push(NO_OWNER);
    else {
      const { comm, tgid } = tasks[i] === 0n ? NO_OWNER : (read[i] ?? NOT_READ);
      owners.push({ pid: numbers[i] ?? read[i]?.pid, comm, tgid, work: null });
    }
  }
  return owners;
}
