/** Files of YARA rules. */
import { readFileSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { compileYara, type YaraRules } from "../../connectors/connectors.js";
import { describeSystemError, UsageError } from "../errors.js";

/** Bytes of a file: big collections of rules have some MiB. */
const MAX_FILE = 1 << 26;
const MAX_FILES = 1000;

/** Reads and compiles them. @throws {UsageError} for files that can't be read, {YaraError}, {MemtoolError} `NO_PACKAGE`. */
export async function loadRules(files: readonly string[]): Promise<YaraRules> {
  if (files.length > MAX_FILES) throw new UsageError(`${files.length} files of rules: at most ${MAX_FILES}`);
  const sources = files.map((name) => ({ name, text: readRules(name), folder: dirname(name) }));
  return await compileYara(sources);
}

function readRules(name: string): string {
  try {
    const facts = statSync(name);
    if (!facts.isFile()) throw new UsageError(`${name}: no regular file of rules`);
    if (facts.size > MAX_FILE)
      throw new UsageError(`${name}: ${facts.size} bytes of rules: at most ${MAX_FILE}`);
    return readFileSync(name, "utf8");
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(`can't read the rules in ${name}: ${describeSystemError(error)}`);
  }
}
