/**
 * The conformance suite for sources: what every connector must do, tried on its `Source` (and, through the core, as a
 * `PacketIo`). It needs vitest.
 */
import { describe, it } from "vitest";
import { packetIoSuite } from "../packet-io.js";
import { LIVING } from "./living.js";
import { READING } from "./reading.js";
import type { SourceRule } from "./rule.js";
import type { SourceSubject } from "./subject.js";
import { Trial } from "./trial.js";
import { WRITING } from "./writing.js";

/** The rules that {@link sourceSuite} tries, one test each. */
export const SOURCE_RULES: readonly SourceRule[] = [...READING, ...WRITING, ...LIVING];

/**
 * Tries one rule on a fresh subject, and closes it.
 *
 * @returns what the subject lacks for it, if it could not be tried. @throws if the source breaks the rule.
 */
export async function trySourceRule(
  rule: SourceRule,
  make: () => SourceSubject | Promise<SourceSubject>,
): Promise<string | undefined> {
  let lacking: string | undefined;
  await Trial.run(make, async (trial) => {
    lacking = rule.lacks?.(trial.subject);
    if (lacking === undefined) await rule.check(trial);
  });
  return lacking;
}

/** Runs the suite over what `make` gives; a fresh subject for each test. What it can't try is skipped, with the reason. */
export function sourceSuite(name: string, make: () => SourceSubject | Promise<SourceSubject>): void {
  describe(`${name} is a conforming source`, () => {
    for (const rule of SOURCE_RULES) {
      it(rule.name, async (context) => {
        const lacking = await trySourceRule(rule, make);
        if (lacking !== undefined) context.skip(`not tried, it needs ${lacking}`);
      });
    }
  });

  packetIoSuite(name, async () => {
    const subject = await make();
    const trial = await Trial.of(subject);
    const first = trial.bad[0];
    const good = Math.min(first?.start ?? trial.truth.length, trial.truth.length);
    return {
      io: trial.io,
      base: subject.base,
      truth: async () => (await trial.now()).subarray(0, good),
      writable: subject.writable ?? false,
      exchangeable: subject.exchangeable ?? false,
      asyncOnly: subject.source.transferSync === undefined,
      ...(first === undefined
        ? {}
        : { missing: { bytes: Math.min(12, first.end - first.start), state: first.state } }),
      close: () => trial.close(),
    };
  });
}
