/**
 * Tasks by their numbers: another way to them, where their list can't be followed.
 *
 * Facts: include/linux/pid.h (`struct pid`, PIDTYPE_PID), include/linux/pid_namespace.h (`idr`, since 4.15, 95846ecf9dac),
 * include/linux/sched.h (`pid_links`, since 4.19, 2c4704756cab; `pids[].node` before).
 */
import type { Routine } from "../../io/index.js";
import { type KernelData, symbolAddress } from "../kernel-data.js";
import type { OnDamage } from "../objects/damage.js";
import { hasStruct, maybe, needStruct, place, record, word } from "../objects/record.js";
import { walkXarray } from "../objects/xarray.js";
import { findPlace } from "../types/member-path.js";

const PID = record("pid", { firstTask: word("tasks[0].first") });
const FIRST = record("pid", { namespace: word("numbers[0].ns") });
const INIT = record("task_struct", { numbers: maybe(word("thread_pid", "pids[0].pid")) });
const NAMESPACE = record("pid_namespace", { numbers: place("idr.idr_rt") });

/** Addresses of the tasks of all numbers of the first namespace, threads among them; none for a kernel that keeps them otherwise. */
export function* tasksByNumber(data: KernelData, report: OnDamage): Routine<bigint[]> {
  const { types, memory } = data;
  const first = yield* firstNamespace(data);
  const link = taskLinkOffset(data);
  if (
    first === undefined ||
    link === undefined ||
    findPlace(needStruct(types, "pid_namespace"), "idr.idr_rt") === undefined
  ) {
    return [];
  }
  const [namespace] = yield* NAMESPACE.on(types).read(memory, [first]);
  const root = namespace?.value?.numbers;
  if (root === undefined) return [];
  const entries = yield* walkXarray(memory, types, root, "the numbers of tasks", report);
  const rows = yield* PID.on(types).read(
    memory,
    entries.map(({ entry }) => entry),
  );
  return rows.flatMap(({ value }) =>
    value === undefined || value.firstTask === 0n ? [] : [value.firstTask - link],
  );
}

/** The first namespace of numbers: by its symbol, else by the number of the first task, which is in it. */
function* firstNamespace(data: KernelData): Routine<bigint | undefined> {
  const known = yield* symbolAddress(data, "init_pid_ns");
  if (known !== undefined || !hasStruct(data.types, "upid")) return known;
  const init = yield* data.kernel.findInitTask();
  const [task] = yield* INIT.on(data.types).read(data.memory, [init]);
  const [pid] = yield* FIRST.on(data.types).read(data.memory, [task?.value?.numbers ?? 0n]);
  const found = pid?.value?.namespace ?? 0n;
  return found === 0n ? undefined : found;
}

/** Bytes from a task to what its number is linked by. @internal */
export function taskLinkOffset({ types }: KernelData): bigint | undefined {
  const task = needStruct(types, "task_struct");
  const found = findPlace(task, "pid_links[0]") ?? findPlace(task, "pids[0].node");
  return found === undefined ? undefined : BigInt(Math.floor(found.bitOffset / 8));
}
