/** What to do about programs and libraries that a test needs and this machine lacks. */
import type { TestContext } from "vitest";
import { MissingError } from "../../fixtures/vm/tools.mjs";

/** Whether tests may be left out for want of a package: not where all of them are installed first. */
const MUST_RUN = process.env.CI === "true";

/**
 * Ends a test as skipped, with the reason printed, if the error is that of a missing package; CI has them all, so there it
 * fails. Other errors are thrown again.
 */
export function skipIfMissing(context: TestContext, error: unknown): never {
  if (!(error instanceof MissingError) || MUST_RUN) throw error;
  console.log(`skipped: ${context.task.name}: ${error.message}`);
  return context.skip(error.message);
}
