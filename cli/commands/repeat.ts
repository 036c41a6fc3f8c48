/** What is done again and again until somebody ends it. */
import { setImmediate as turn, setTimeout as wait } from "node:timers/promises";
import { parseDuration } from "../../connectors/option-value.js";
import { UsageError } from "../errors.js";
import type { Session } from "../session.js";

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
/** Where no period is given. */
const DEFAULT_PERIOD = 100;

/** `--every`: milliseconds. @throws {UsageError} */
export function parseEvery(text: string | undefined): number {
  if (text === undefined) return DEFAULT_PERIOD;
  const period = parseDuration(text);
  if (period !== undefined) return period;
  throw new UsageError(
    `--every ${text.slice(0, 80)}: no period (100, 100ms, 500us, 2s; 0 is as often as can be)`,
  );
}

/** `--count`: a number from 1 on; without one, there is no end. @throws {UsageError} */
export function parseCount(text: string | undefined): number {
  if (text === undefined) return Number.POSITIVE_INFINITY;
  if (/^[1-9]\d{0,14}$/.test(text)) return Number(text);
  throw new UsageError(`--count ${text.slice(0, 80)}: no number from 1 on`);
}

/** Milliseconds that a step has to end by itself once it was interrupted. */
const GRACE = 500;

/**
 * Does a step every so many milliseconds, until one is the last, or SIGINT, SIGTERM or SIGHUP comes. A step that takes longer than the
 * period is followed by the next one at once; none is made up for.
 *
 * A step that is interrupted has a moment to end; then the session's source is closed below it, whose reads may hang: the peer is
 * silent. Another signal ends the program.
 *
 * @param step Returns whether there is to be another one. What it reads once the signal is aborted is not to be told.
 */
export async function repeat(
  session: Session,
  period: number,
  step: (signal: AbortSignal) => Promise<boolean>,
): Promise<void> {
  const stop = new AbortController();
  const { signal } = stop;
  let interrupt = () => {};
  const end = () => {
    for (const name of SIGNALS) process.off(name, end);
    stop.abort();
    interrupt();
  };
  for (const name of SIGNALS) process.on(name, end);
  try {
    let next = performance.now();
    for (;;) {
      const done = step(signal);
      // (A promise for each step: what waits for one that never settles is kept.)
      const more = await new Promise<boolean>((resolve, reject) => {
        interrupt = () => resolve(false);
        done.then(resolve, reject);
      });
      if (signal.aborted) return await endStep(session, done);
      if (!more) return;
      next = Math.max(next + period, performance.now());
      // (A signal is seen in a turn of the event loop only.)
      if (next - performance.now() < 1) await turn();
      else await wait(next - performance.now(), undefined, { signal }).catch(() => {});
      if (signal.aborted) return;
    }
  } finally {
    for (const name of SIGNALS) process.off(name, end);
  }
}

/** Waits for a step that was interrupted, and lets go of what it waits for. */
async function endStep(session: Session, step: Promise<boolean>): Promise<void> {
  const ended = step.then(
    () => true,
    () => true,
  );
  if (await Promise.race([ended, wait(GRACE, false)])) return;
  await session.letGo();
}
