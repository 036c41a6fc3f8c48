/**
 * The kernel's clocks, and what lies between them: what turns a stamp of any of them into a time of day.
 *
 * Facts: include/linux/timekeeper_internal.h (`struct timekeeper`: `xtime_sec`, `offs_real`, `offs_boot`, `offs_tai`),
 * kernel/time/timekeeping.c (`tk_xtime`: the nanoseconds beside `xtime_sec` are `tkr_mono.xtime_nsec` without its fraction;
 * `tk_set_wall_to_mono`; `ktime_get_with_offset`: a clock is the monotonic one and its offset).
 */
import { Io, type Routine } from "../../io/index.js";
import type { LinuxKernel } from "../kernel.js";
import { type KernelData, kernelData } from "../kernel-data.js";
import { DamageLog, type DamageOptions, damage, type OnDamage } from "../objects/damage.js";
import { int, record, word } from "../objects/record.js";
import { MAX_SHIFT, timekeeperAddress } from "./clock.js";

const TIMEKEEPER = record("timekeeper", {
  clock: word("tkr_mono.clock"),
  shift: int("tkr_mono.shift"),
  fraction: word("tkr_mono.xtime_nsec"),
  base: word("tkr_mono.base"),
  seconds: word("xtime_sec"),
  // Until 4.10, a ktime_t was a union of one member.
  offsetReal: word("offs_real.tv64", "offs_real"),
  offsetBoot: word("offs_boot.tv64", "offs_boot"),
  offsetTai: word("offs_tai.tv64", "offs_tai"),
});

/** The kernel's clocks when it last set them forward. All in nanoseconds. */
export interface KernelClocks {
  /** Since 1970, UTC: CLOCK_REALTIME, the time of day. */
  readonly realtime: bigint;
  /** Since boot, without what the machine slept: CLOCK_MONOTONIC. */
  readonly monotonic: bigint;
  /** Since boot, time asleep included: CLOCK_BOOTTIME. */
  readonly boottime: bigint;
  /** What the time of day is ahead of the monotonic clock: a stamp of that one and this is a time of day, as the clock is set now. */
  readonly realOffset: bigint;
  /** What CLOCK_BOOTTIME is ahead of the monotonic clock. */
  readonly bootOffset: bigint;
  /** What CLOCK_TAI is ahead of the monotonic clock. */
  readonly taiOffset: bigint;
}

/**
 * What time it was in the kernel, as its timekeeper has it, which it sets forward with nearly every tick.
 *
 * @returns `undefined` if nothing tells it.
 */
export function readClocks(kernel: LinuxKernel, options: DamageOptions = {}): Io<KernelClocks | undefined> {
  return Io.of(kernel.memory.scheduler, clocksRoutine, kernel, options);
}

function* clocksRoutine(kernel: LinuxKernel, options: DamageOptions): Routine<KernelClocks | undefined> {
  const log = new DamageLog(options);
  const clocks = yield* clocksOf(yield* kernelData(kernel), log.report);
  log.end();
  return clocks;
}

/** @internal */
export function* clocksOf(data: KernelData, report: OnDamage): Routine<KernelClocks | undefined> {
  const at = yield* timekeeperAddress(data);
  if (at === undefined) return undefined;
  const [row] = yield* TIMEKEEPER.on(data.types).read(data.memory, [at]);
  if (row?.value === undefined) {
    report(damage("the timekeeper", at, "unreadable", row?.fault));
    return undefined;
  }
  const { clock, shift, fraction, base, seconds, offsetReal, offsetBoot, offsetTai } = row.value;
  const nanoseconds = shift > MAX_SHIFT ? SECOND : fraction >> BigInt(shift);
  // (The part of a second is less than two: the seconds are set forward with the next tick.)
  if (clock === 0n || nanoseconds >= 2n * SECOND || base < 0n) {
    report(damage("the timekeeper", at, "invalid", 0, `its clock's shift is ${shift}`));
    return undefined;
  }
  const signed = (value: bigint) => BigInt.asIntN(64, value);
  const monotonic = base + nanoseconds;
  return {
    realtime: signed(seconds) * SECOND + nanoseconds,
    monotonic,
    boottime: monotonic + signed(offsetBoot),
    realOffset: signed(offsetReal),
    bootOffset: signed(offsetBoot),
    taiOffset: signed(offsetTai),
  };
}

/** In nanoseconds. */
export const SECOND = 1_000_000_000n;

/** Times that a year of four digits can tell, in seconds. */
const FIRST = -62_167_219_200n;
const LAST = 253_402_300_799n;

/** Nanoseconds since 1970 as ISO 8601 in UTC, with all nine digits; beyond the years 0 to 9999 as "@" and seconds. */
export function isoTime(nanoseconds: bigint): string {
  let seconds = nanoseconds / SECOND;
  let rest = nanoseconds % SECOND;
  if (rest < 0n) {
    rest += SECOND;
    seconds -= 1n;
  }
  const fraction = rest.toString().padStart(9, "0");
  if (seconds < FIRST || seconds > LAST) return `@${seconds}.${fraction}`;
  return `${new Date(Number(seconds) * 1000).toISOString().slice(0, 19)}.${fraction}Z`;
}
