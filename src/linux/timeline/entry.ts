/** What a timeline is made of. */
import type { DamageOptions } from "../objects/damage.js";

/** What a time is of, in the order in which `TIMELINE_KINDS` lists them. */
export const TIMELINE_KINDS = [
  "boot",
  "now",
  "process",
  "thread",
  "run",
  "log",
  "file",
  "bpf",
  "timer",
] as const;

/**
 * `boot`: the kernel began. `now`: what time it was. `process`, `thread`: one began. `run`: a thread was last given a CPU. `log`: a record
 * of the kernel's log. `file`: a time of an inode. `bpf`: a program was loaded. `timer`: one is to expire.
 */
export type TimelineKind = (typeof TIMELINE_KINDS)[number];

/**
 * By which clock the kernel has the time. `realtime`: the time of day itself, as it was set then. Others are converted by what the
 * timekeeper says they are off the time of day now: `boottime` and `monotonic` exactly; `scheduler` (the processor's own clock, which the
 * log and the scheduler stamp with) runs beside the monotonic one, from a second or so before it began on, and is taken for that.
 */
export type TimelineClock = "realtime" | "boottime" | "monotonic" | "tai" | "scheduler";

/** Something that has a time. */
export interface TimelineEntry {
  /** Nanoseconds since 1970, UTC. `isoTime` writes it. */
  readonly time: bigint;
  readonly kind: TimelineKind;
  readonly clock: TimelineClock;
  /** What the kernel has, in nanoseconds of that clock. */
  readonly stamp: bigint;
  /** What it is the time of. */
  readonly text: string;
  /** The process or thread; null where there is none. */
  readonly pid: number | null;
  /** Address of the structure that has it; null where none has. */
  readonly address: bigint | null;
  /** Why the time can't be true; null where it can. Such entries come last. */
  readonly doubt: string | null;
}

/** Options of {@link listTimeline}. */
export interface TimelineOptions extends DamageOptions {
  /** Only these; default all of them. */
  readonly kinds?: readonly TimelineKind[] | undefined;
  /** Only what is not before this, in nanoseconds since 1970. */
  readonly since?: bigint | undefined;
  /** Only what is before this, in nanoseconds since 1970. */
  readonly until?: bigint | undefined;
  /** Timers that are still to expire; default false. */
  readonly future?: boolean | undefined;
  /** Is told what has no times here, and why. */
  readonly onNote?: ((note: string) => void) | undefined;
}
