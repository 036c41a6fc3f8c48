/** What is done again and again until somebody ends it. */
import { setImmediate as turn, setTimeout as wait } from "node:timers/promises";
import { parseDuration } from "../../connectors/option-value.js";
import { UsageError } from "../errors.js";

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

/**
 * Does a step every so many milliseconds, until one is the last, or SIGINT, SIGTERM or SIGHUP comes. A step that takes longer than the
 * period is followed by the next one at once; none is made up for.
 *
 * @param step Returns whether there is to be another one.
 */
export async function repeat(period: number, step: () => Promise<boolean>): Promise<void> {
  const stop = new AbortController();
  const end = () => stop.abort();
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  for (const name of signals) process.on(name, end);
  try {
    let next = performance.now();
    while (!stop.signal.aborted && (await step())) {
      next = Math.max(next + period, performance.now());
      // (A signal is seen in a turn of the event loop only.)
      if (next - performance.now() < 1) await turn();
      else await wait(next - performance.now(), undefined, { signal: stop.signal }).catch(() => {});
    }
  } finally {
    for (const name of signals) process.off(name, end);
  }
}
