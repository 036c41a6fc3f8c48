/** What becomes of an error that ends a command: a message on standard error, and the exit status. */
import { CommanderError } from "commander";
import { TargetGoneError, YaraError } from "../connectors/connectors.js";
import { describeError, EXIT, isUsage } from "./errors.js";
import { escapeText } from "./render/escape.js";
import type { Environment } from "./session.js";

/** Tells of it, behind what was written before. @returns the exit status. */
export async function endWithError(error: unknown, { out, style, stderr }: Environment): Promise<number> {
  // (Its message was written already.)
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  if (error instanceof YaraError) {
    const lines = error.problems.map(({ message }) => `  ${escapeText(message)}\n`);
    stderr.write(`${style.error("memtool:")} the rules do not compile:\n${lines.join("")}`);
    return EXIT.usage;
  }
  await out.flush();
  stderr.write(`${style.error("memtool:")} ${escapeText(describeError(error))}\n`);
  // (What was told before it went stays told.)
  if (error instanceof TargetGoneError && out.isWritten) return EXIT.partial;
  return isUsage(error) ? EXIT.usage : EXIT.failed;
}
