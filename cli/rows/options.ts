/** The options of commands that list rows. */
import type { Command } from "commander";
import { UsageError } from "../errors.js";
import { OUTPUT_HELP, parseRowChoice, type RowChoice } from "./choice.js";

/** Adds them. */
export function addRowOptions(command: Command): Command {
  return command
    .option("-o, --output <format|file>", OUTPUT_HELP)
    .option("--force", "replace the file of --output if it is there");
}

/**
 * What they say.
 *
 * @param program Whose `--json` it is that `--output` stands against.
 * @throws {UsageError}
 */
export function rowsOf(program: Command, table: string, options: object): RowChoice | undefined {
  const { output, force } = options as { readonly output?: string; readonly force?: boolean };
  const rows = parseRowChoice(table, output, force === true);
  if (rows !== undefined && program.opts<{ json?: boolean }>().json === true) {
    throw new UsageError("--json and --output exclude each other (--output ndjson is --json)");
  }
  return rows;
}
