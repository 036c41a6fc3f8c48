/** A System.map, or a saved /proc/kallsyms. */
import { readFileSync, statSync } from "node:fs";
import { SystemMapError } from "../src/linux/index.js";
import { errnoName } from "./errors.js";

/** Larger ones are no kernel's: Debian's have some 8 MB. */
const MAX_FILE = 256 * 2 ** 20;

/** Reads the file. @throws {SystemMapError} naming it. */
export function readSymbolsFile(path: string): Uint8Array {
  try {
    const { size } = statSync(path);
    if (size > MAX_FILE)
      throw new SystemMapError(`${path} has ${size} bytes: too many for a table of symbols`);
    return readFileSync(path);
  } catch (error) {
    if (error instanceof SystemMapError) throw error;
    throw new SystemMapError(`${path} can't be read (${errnoName(error) ?? String(error)})`);
  }
}
