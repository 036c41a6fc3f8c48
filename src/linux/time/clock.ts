/**
 * What time it was: that of the kernel's clocks when it last set them forward, which it does with nearly every tick.
 *
 * Facts: include/linux/timekeeper_internal.h (`struct timekeeper`, `tk_read_base`), kernel/time/timekeeping.c (`tk_core`: a sequence
 * counter, then the timekeeper; since 6.13 a `struct tk_data`, and since 6.17 the first of `timekeeper_data`; `timekeeping_get_ns`: the time of
 * the last update is `base` and `xtime_nsec`, of which the low `shift` bits are a fraction), kernel/time/timer.c (`jiffies_64`).
 */
import type { Routine } from "../../io/index.js";
import { type KernelData, symbolAddress } from "../kernel-data.js";
import { damage, type OnDamage } from "../objects/damage.js";
import { pointersAt } from "../objects/pointers.js";
import { hasStruct, int, offsetOf, record, word } from "../objects/record.js";
import { sizeOf } from "../types/c-type.js";

const TIMEKEEPER = record("timekeeper", {
  clock: word("tkr_mono.clock"),
  shift: int("tkr_mono.shift"),
  fraction: word("tkr_mono.xtime_nsec"),
  base: word("tkr_mono.base"),
});

/** Clocks are set up with shifts of at most 32 (include/linux/clocksource.h). */
export const MAX_SHIFT = 32;

/** The kernel's time; `undefined` for what nothing tells. */
export interface KernelTime {
  /** Nanoseconds of CLOCK_MONOTONIC. */
  readonly monotonic: bigint | undefined;
  /** Ticks since shortly before boot (INITIAL_JIFFIES), as many bits of them as `jiffies` has. */
  readonly jiffies: bigint | undefined;
}

/** Reads it. */
export function* readTime(data: KernelData, report: OnDamage): Routine<KernelTime> {
  return {
    monotonic: yield* monotonicTime(data, report),
    jiffies: yield* jiffiesNow(data, report),
  };
}

function* monotonicTime(data: KernelData, report: OnDamage): Routine<bigint | undefined> {
  const { types, memory } = data;
  const at = yield* timekeeperAddress(data);
  if (at === undefined) return undefined;
  const [row] = yield* TIMEKEEPER.on(types).read(memory, [at]);
  if (row?.value === undefined) {
    report(damage("the timekeeper", at, "unreadable", row?.fault));
    return undefined;
  }
  const { clock, shift, fraction, base } = row.value;
  if (clock === 0n || shift > MAX_SHIFT || base < 0n) {
    report(damage("the timekeeper", at, "invalid", 0, `its clock's shift is ${shift}`));
    return undefined;
  }
  return base + (fraction >> BigInt(shift));
}

/** Where the timekeeper is; `undefined` if nothing names it. */
export function* timekeeperAddress(data: KernelData): Routine<bigint | undefined> {
  const core = yield* symbolAddress(data, "timekeeper_data", "tk_core");
  return core === undefined || !hasStruct(data.types, "timekeeper")
    ? undefined
    : core + timekeeperOffset(data);
}

function timekeeperOffset({ types, kernel }: KernelData): bigint {
  if (hasStruct(types, "tk_data")) return BigInt(offsetOf(types, "tk_data", "timekeeper"));
  // A structure without a name: the counter, and what aligns the timekeeper. (seqcount_t until 5.10.)
  const counter = types.find("name", "seqcount_raw_spinlock_t") ?? types.find("name", "seqcount_t");
  const size = counter === undefined ? 4 : sizeOf(counter);
  // (The System V ABI of i386 aligns numbers of 64 bits in structures to 4 bytes; no other architecture here does.)
  const align = kernel.architecture === "i386" ? 4 : 8;
  return BigInt(Math.ceil(size / align) * align);
}

function* jiffiesNow(data: KernelData, report: OnDamage): Routine<bigint | undefined> {
  const at = yield* symbolAddress(data, "jiffies");
  if (at === undefined) return undefined;
  const words = yield* pointersAt(data.memory, at, 1);
  if (typeof words !== "number") return words[0];
  report(damage("jiffies", at, "unreadable", words));
  return undefined;
}
