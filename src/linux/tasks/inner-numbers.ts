/**
 * Numbers of tasks in the namespaces that they are in: NSpid of /proc/PID/status.
 *
 * Facts: include/linux/pid.h (`struct pid`, `upid`), include/linux/pid_namespace.h (MAX_PID_NS_LEVEL).
 */
import type { Routine } from "../../io/index.js";
import type { KernelData } from "../kernel-data.js";
import { damage, type OnDamage } from "../objects/damage.js";
import { readEach } from "../objects/read-each.js";
import { hasStruct, int, needStruct, offsetOf, record } from "../objects/record.js";
import { sizeOf } from "../types/c-type.js";

const PID = record("pid", { level: int("level"), first: int("numbers[0].nr") });
const NUMBER = record("upid", { number: int("nr") });
/** MAX_PID_NS_LEVEL: namespaces within the first. */
const MAX_LEVEL = 32;

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
  const rows = yield* readEach(data, PID, pids, "a struct pid", report);
  const levels = rows.map((row, i) => {
    const level = row?.level;
    if (level === undefined || (level >= 0 && level <= MAX_LEVEL)) return level;
    const more = `${level} namespaces within one another can't be`;
    report(damage("a struct pid", pids[i] as bigint, "invalid", 0, more));
    return undefined;
  });
  // What has a number in the first namespace only, as most have, was read with it.
  const first = BigInt(offsetOf(types, "pid", "numbers"));
  const step = BigInt(sizeOf(needStruct(types, "upid")));
  const deeper = levels.flatMap((count = 0, i) =>
    Array.from({ length: count }, (_, k) => (pids[i] as bigint) + first + BigInt(k + 1) * step),
  );
  const numbers = (yield* readEach(data, NUMBER, deeper, "a number of a struct pid", report)).values();
  return rows.map((row, i) => {
    const count = levels[i];
    const all = [row?.first, ...Array.from({ length: count ?? 0 }, () => numbers.next().value?.number)];
    return count === undefined || all.includes(undefined) ? undefined : (all as number[]);
  });
}
