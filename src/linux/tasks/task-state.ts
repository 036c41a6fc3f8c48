/**
 * What a task's state bits mean: the letter that /proc/PID/stat shows.
 *
 * Facts: include/linux/sched.h (`task_state_index`, TASK_REPORT, TASK_IDLE), fs/proc/array.c (`task_state_array`). The order of
 * these bits is that of Linux 4.14 and later (8ef9925b02c2, 06eb61844d84).
 */

/** TASK_RUNNING is no bit; the others, from bit 0 on: S, D, T, t, X, Z, P. */
const LETTERS = "RSDTtXZP";
/** TASK_REPORT: bits that are shown. */
const REPORTED = 0x7f;
const UNINTERRUPTIBLE = 0x2;
/** TASK_NOLOAD with TASK_UNINTERRUPTIBLE is an idle task: since 4.2 (80ed87c8a9ca), shown as I since 4.14. */
const NO_LOAD = 0x400;
/** TASK_RTLOCK_WAIT, since 5.15 (2f064a59a11f's series), and TASK_FROZEN, since 6.1 (f5d39b020809): shown as D. */
const RTLOCK_WAIT = 0x1000;
const FROZEN = 0x8000;

/** States by their letter, as /proc/PID/status writes them. */
export const TASK_STATES: Readonly<Record<string, string>> = {
  R: "running",
  S: "sleeping",
  D: "disk sleep",
  T: "stopped",
  t: "tracing stop",
  X: "dead",
  Z: "zombie",
  P: "parked",
  I: "idle",
};

/** The letter for a task's `__state` and `exit_state`. */
export function stateLetter(state: number, exitState: number): string {
  if ((state & (NO_LOAD | UNINTERRUPTIBLE)) === (NO_LOAD | UNINTERRUPTIBLE)) return "I";
  let bits = (state | exitState) & REPORTED;
  if ((state & (RTLOCK_WAIT | FROZEN)) !== 0) bits |= UNINTERRUPTIBLE;
  const highest = bits === 0 ? 0 : 32 - Math.clz32(bits);
  return LETTERS[highest] as string;
}
