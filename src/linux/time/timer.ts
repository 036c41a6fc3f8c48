/**
 * Timers: the high-resolution ones, as /proc/timer_list shows them, and those of the timer wheel, which nothing in /proc shows.
 *
 * Facts: see `hrtimers.ts`, `timer-wheel.ts`; include/linux/timer.h (TIMER_DEFERRABLE and the others, since 4.8).
 */
import { IoSequence, type Routine, type Sink } from "../../io/index.js";
import type { LinuxKernel } from "../kernel.js";
import { type KernelData, kernelData, nameOfFunction } from "../kernel-data.js";
import { DamageLog, type DamageOptions } from "../objects/damage.js";
import { perCpuAreas } from "../per-cpu.js";
import { type KernelTime, readTime } from "./clock.js";
import { type Hrtimer, readHrtimers } from "./hrtimers.js";
import { readTimerOwners, type TimerOwner } from "./timer-owners.js";
import { readWheel, type WheelTimer } from "./timer-wheel.js";

/** TIMER_MIGRATING is a state of the kernel's own, and the rest are numbers. */
const FLAGS: readonly (readonly [number, string])[] = [
  [0x8_0000, "deferrable"],
  [0x10_0000, "pinned"],
  [0x20_0000, "irqsafe"],
];

/** A timer that is to expire. What could not be read of it is `undefined`; what it does not have is null. */
export interface KernelTimer extends TimerOwner {
  /** Times of a `high-resolution` one are in nanoseconds, those of one of the `wheel` in jiffies. */
  readonly kind: "high-resolution" | "wheel";
  readonly cpu: number;
  /** Number of its clock, or of its base in the wheel. */
  readonly index: number;
  /** `monotonic`, `realtime`, `boottime`, `tai`; or of the wheel `standard`, `local`, `global`, `deferrable`. */
  readonly clock: string;
  /** Whether it is run by a softirq rather than by the interrupt; null for the wheel's, which all are. */
  readonly soft: boolean | null;
  /** Of its clock's `struct hrtimer_clock_base`, or of its `struct timer_base`. */
  readonly base: bigint;
  /** Of its `struct hrtimer` or `timer_list`. */
  readonly address: bigint;
  /** What it calls; null if no symbol begins there. */
  readonly function: string | null | undefined;
  readonly functionAddress: bigint | undefined;
  /** From when on it may expire, if the CPU is awake anyway; null for the wheel's. */
  readonly softExpires: bigint | null | undefined;
  /** When it expires at the latest, by its clock. */
  readonly expires: bigint | undefined;
  /** What its clock showed when the kernel last set it forward; null if nothing tells it. */
  readonly now: bigint | null | undefined;
  /** How long it has still to wait then: less than 0 if it is late; null if it isn't known what time it was. */
  readonly remaining: bigint | null | undefined;
  /** HRTIMER_STATE_…: 1 is queued; null for the wheel's. */
  readonly state: number | null | undefined;
  /** Of the wheel's: `deferrable`, `pinned`, `irqsafe`. */
  readonly flags: readonly string[] | undefined;
}

/** Options of {@link listTimers}. */
export interface TimerOptions extends DamageOptions {
  /** Only those of this process's threads: that they sleep by, or whose signal goes to them. */
  readonly pid?: number | undefined;
}

/** Timers of every CPU: the high-resolution ones of each clock, by expiry; then those of the wheel. */
export function listTimers(kernel: LinuxKernel, options: TimerOptions = {}): IoSequence<KernelTimer> {
  return IoSequence.of(kernel.memory.scheduler, timersRoutine, kernel, options);
}

function* timersRoutine(sink: Sink<KernelTimer>, kernel: LinuxKernel, options: TimerOptions): Routine<void> {
  const log = new DamageLog(options);
  const data = yield* kernelData(kernel);
  const perCpu = yield* perCpuAreas(data, log.report);
  const time = yield* readTime(data, log.report);
  const precise = yield* readHrtimers(data, perCpu, log.report);
  const wheel = yield* readWheel(data, perCpu, log.report);
  const bits = 8 * data.memory.pointerSize;
  const read = [
    ...precise.map((each) => ofHrtimer(each, time)),
    ...wheel.map((each) => ofWheel(each, time, bits)),
  ];
  const names = yield* namesOfFunctions(
    data,
    read.map(({ functionAddress }) => functionAddress),
  );
  const named = read.map((each, i) => ({ ...each, function: names[i] }));
  const owners = yield* readTimerOwners(data, named, log.report);
  const { pid } = options;
  for (const [i, each] of named.entries()) {
    const owner = owners[i] as TimerOwner;
    if (pid === undefined || owner.tgid === pid || owner.pid === pid) yield sink.emit({ ...each, ...owner });
  }
  log.end();
}

type Unnamed = Omit<KernelTimer, "function" | keyof TimerOwner>;

function ofHrtimer(timer: Hrtimer, { monotonic }: KernelTime): Unnamed {
  const { clock, expires } = timer;
  const now =
    monotonic === undefined ? null : clock.offset === undefined ? undefined : monotonic + clock.offset;
  return {
    kind: "high-resolution",
    cpu: clock.cpu,
    index: clock.index,
    clock: clock.name,
    soft: clock.soft,
    base: clock.address,
    address: timer.address,
    functionAddress: timer.function,
    softExpires: timer.softExpires,
    expires,
    now,
    remaining: remaining(expires, now),
    state: timer.state,
    flags: [],
  };
}

function ofWheel({ flags, ...timer }: WheelTimer, { jiffies }: KernelTime, bits: number): Unnamed {
  const { expires } = timer;
  const now = jiffies ?? null;
  const left = remaining(expires, now);
  return {
    kind: "wheel",
    cpu: timer.cpu,
    index: timer.index,
    clock: timer.name,
    soft: null,
    base: timer.base,
    address: timer.address,
    functionAddress: timer.function,
    softExpires: null,
    expires,
    now,
    // (Jiffies are a word, and wrap around.)
    remaining: typeof left === "bigint" ? BigInt.asIntN(bits, left) : left,
    state: null,
    flags:
      flags === undefined ? undefined : FLAGS.filter(([bit]) => (flags & bit) !== 0).map(([, name]) => name),
  };
}

function remaining(expires: bigint | undefined, now: bigint | null | undefined): bigint | null | undefined {
  if (now === null) return null;
  return expires === undefined || now === undefined ? undefined : expires - now;
}

/** Most timers call one of few functions. */
function* namesOfFunctions(
  data: KernelData,
  addresses: readonly (bigint | undefined)[],
): Routine<(string | null | undefined)[]> {
  const names = new Map<bigint, string | null>();
  for (const address of addresses) {
    if (address === undefined || names.has(address)) continue;
    names.set(address, (yield* nameOfFunction(data, address)) ?? null);
  }
  return addresses.map((address) => (address === undefined ? undefined : names.get(address)));
}
