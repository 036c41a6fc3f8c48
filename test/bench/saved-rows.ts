/** Rows that an earlier run wrote with `--json`. */
import { readFileSync } from "node:fs";
import type { Measured } from "./row.js";

/**
 * Lines that don't begin as an object does are passed over: `npm run` without `-s` says what it runs on standard output too.
 *
 * @throws {Error} which names the file, and the line if there is one, where it can't be read, a row is broken (a run that
 * was interrupted), or there is none.
 */
export function readRows(path: string): Measured[] {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new Error(`${path}: ${error instanceof Error ? error.message : String(error)}`);
  }
  const rows: Measured[] = [];
  for (const [i, line] of text.split("\n").entries()) {
    if (!line.startsWith("{")) continue;
    let row: Partial<Measured>;
    try {
      row = JSON.parse(line);
    } catch (error) {
      throw new Error(`${path}:${i + 1}: not a whole row of --json: ${(error as Error).message}`);
    }
    if (typeof row.group !== "string" || typeof row.name !== "string" || !Array.isArray(row.against)) {
      throw new Error(`${path}:${i + 1}: not a row of --json`);
    }
    rows.push(row as Measured);
  }
  if (rows.length === 0) throw new Error(`${path}: has no row of --json`);
  return rows;
}
