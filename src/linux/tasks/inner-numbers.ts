/**
 * Numbers of tasks in the namespaces that they are in: NSpid of /proc/PID/status.
 *
 * Facts: include/linux/pid.h (`struct pid`, `upid`), include/linux/pid_namespace.h (MAX_PID_NS_LEVEL).
 */
import type { Routine } from "../../io/index.js";
import type { KernelData } from "../kernel-data.js";
import { damage, type OnDamage, once } from "../objects/damage.js";
import { readEach } from "../objects/read-each.js";
import { hasStruct, int, needStruct, offsetOf, record } from "../objects/record.js";
import { sizeOf } from "../types/c-type.js";

const PID = record("pid", { level: int("level"), first: int("numbers[0].nr") });
const NUMBER = record("upid", { number: int("nr") });
/** MAX_PID_NS_LEVEL: namespaces within the first. User namespaces have the same limit. */
export const MAX_LEVEL = 32;
/** What reports call them, wherever they are read: who reads a structure a second time must not tell its damage twice. */
export const STRUCT_PID = "a struct pid";
export const NUMBER_OF_PID = "a number of a struct pid";

/** How deep the namespace of a `struct pid` lies; `undefined`, which is told, if it can't be as deep. */
export function checkLevel(pid: bigint, level: number | undefined, report: OnDamage): number | undefined {
  if (level === undefined || (level >= 0 && level <= MAX_LEVEL)) return level;
  report(damage(STRUCT_PID, pid, "invalid", 0, `${level} namespaces within one another can't be`));
  return undefined;
}

/**
 * The numbers of what each `struct pid` stands for, from the first namespace to its own; `undefined` for null, and where one
 * can't be read.
 */
export function* readNumbers(
  data: KernelData,
  pids: readonly (bigint | undefined)[],
  report: OnDamage,
): Routine<(readonly number[] | undefined)[]> {
  const { types } = data;
  if (!hasStruct(types, "pid") || !hasStruct(types, "upid")) return pids.map(() => undefined);
  const rows = yield* readEach(data, PID, pids, STRUCT_PID, report);
  const reportOnce = once(report);
  const levels = rows.map((row, i) => checkLevel(pids[i] as bigint, row?.level, reportOnce));
  // What has a number in the first namespace only, as most have, was read with it.
  const first = BigInt(offsetOf(types, "pid", "numbers"));
  const step = BigInt(sizeOf(needStruct(types, "upid")));
  const deeper = levels.flatMap((count = 0, i) =>
    Array.from({ length: count }, (_, k) => (pids[i] as bigint) + first + BigInt(k + 1) * step),
  );
  const numbers = (yield* readEach(data, NUMBER, deeper, NUMBER_OF_PID, report)).values();
  return rows.map((row, i) => {
    const count = levels[i];
    const all = [row?.first, ...Array.from({ length: count ?? 0 }, () => numbers.next().value?.number)];
    return count === undefined || all.includes(undefined) ? undefined : (all as number[]);
  });
}
