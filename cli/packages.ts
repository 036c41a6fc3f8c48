/**
 * Packages of the command line that few runs need, loaded when they are.
 *
 * CPU milliseconds that importing each took on Node 20: string-width 32 (its regular expressions of emoji), chalk 7; all
 * that memtool itself is takes about as long as these two. They are ES modules, and who needs them can't wait: `require`
 * takes such modules since Node 20.19.
 */
import { createRequire } from "node:module";
import { MemtoolError } from "../src/io/index.js";

const require = createRequire(import.meta.url);

let width: ((text: string) => number) | undefined;

/**
 * Characters of one column each, whatever stands beside them, as nearly all texts have them: Latin, Greek, Cyrillic and Armenian
 * letters, and signs that are neither wide, nor emoji, nor join others. (An escape sequence has its first character outside.) The
 * test asks string-width about each of them.
 */
const NARROW =
  /^[ -~\u00a0-\u00ac\u00ae-\u02ff\u0370-\u0482\u048a-\u058f\u2010-\u2027\u2030-\u205e\u20a0-\u20bf\u2190-\u2319\u2400-\u25fc\u2600-\u2613]*$/;

/** Columns that a text takes on a terminal; colours take none. */
export function displayWidth(text: string): number {
  if (NARROW.test(text)) return text.length;
  width ??= (require("string-width") as typeof import("string-width")).default;
  return width(text);
}

/** Colours. */
export function loadChalk(): typeof import("chalk") {
  return require("chalk") as typeof import("chalk");
}

/** What writes Parquet. @throws {MemtoolError} `NO_PACKAGE`. */
export function loadParquet(): typeof import("hyparquet-writer") {
  try {
    return require("hyparquet-writer") as typeof import("hyparquet-writer");
  } catch (cause) {
    throw missing("Parquet files", "npm install hyparquet-writer@0.17.0", cause);
  }
}

/** A database of SQLite, as both that there are for Node have it. */
export interface SqliteDatabase {
  exec(sql: string): void;
  prepare(sql: string): { run(...values: (string | number | bigint | null)[]): unknown };
  close(): void;
}

/** Opens a database: with what Node has itself (since 22.13), else with the package better-sqlite3. @throws {MemtoolError} `NO_PACKAGE`. */
export function openSqlite(path: string): SqliteDatabase {
  const node = nodeSqlite();
  if (node !== undefined) return new node.DatabaseSync(path);
  let Database: new (path: string) => SqliteDatabase;
  try {
    Database = require("better-sqlite3") as typeof Database;
  } catch (cause) {
    const how = "take Node 22.13 or later, which has it, or npm install better-sqlite3@12.11.1";
    throw missing("SQLite files on this Node", how, cause);
  }
  return new Database(path);
}

function nodeSqlite(): { readonly DatabaseSync: new (path: string) => SqliteDatabase } | undefined {
  const { emitWarning } = process;
  try {
    // (It says that it is experimental, to whoever only wants a file.)
    process.emitWarning = () => {};
    return require("node:sqlite") as ReturnType<typeof nodeSqlite>;
  } catch {
    return undefined;
  } finally {
    process.emitWarning = emitWarning;
  }
}

/** What Capstone's module gives, as far as it is needed. */
export interface Capstone {
  readonly Capstone: new (
    architecture: number,
    mode: number,
  ) => {
    /** Addresses come back signed. */
    disasm(
      bytes: Uint8Array,
      address: bigint,
      max?: number,
    ): readonly {
      readonly address: bigint | number;
      readonly size: number;
      readonly mnemonic: string;
      readonly op_str: string;
    }[];
    close(): void;
  };
  readonly [constant: string]: unknown;
}

/** The disassembler. @throws {MemtoolError} `NO_PACKAGE`. */
export async function loadCapstone(): Promise<Capstone> {
  let make: () => Promise<Capstone>;
  try {
    make = require("@alexaltea/capstone-js") as typeof make;
  } catch (cause) {
    throw missing("disassemblies", "npm install @alexaltea/capstone-js@5.0.9", cause);
  }
  return await make();
}

function missing(what: string, how: string, cause: unknown): MemtoolError {
  const text = `${what} need a package that is not installed: ${how}`;
  // (That it is not there says no more than this; that it is there and fails, does.)
  const isAbsent = (cause as NodeJS.ErrnoException).code === "MODULE_NOT_FOUND";
  return new MemtoolError("NO_PACKAGE", text, isAbsent ? {} : { cause });
}

/** What runs scripts: a module of ours that is built with the library, not with the command. */
export function loadScripts(): typeof import("./script/run-script.js") {
  const path = "./run-script.js";
  return require(path) as typeof import("./script/run-script.js");
}

/** The interactive session: as `loadScripts`. */
export function loadRepl(): typeof import("./repl/repl.js") {
  const path = "./repl.js";
  return require(path) as typeof import("./repl/repl.js");
}
