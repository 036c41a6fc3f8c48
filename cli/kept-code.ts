/** Runs a CommonJS module with compiled code that an earlier run has kept, where Node doesn't do that itself (before 22.1). */
import { readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { Script } from "node:vm";
import { crc32 } from "node:zlib";
import { readRegularFile } from "../connectors/regular-file.js";

/** The CRC-32 of the code, in front of it. V8 compares its own version, its options and the source's length. */
const SUM_BYTES = 4;
/** Code of other versions of memtool or Node that is left beside a new one. */
const MOST_FILES = 8;
/** The command has some 1 MiB, and so has its code. */
const MAX_BYTES = 64 << 20;
const SUFFIX = ".code";

/**
 * Runs a module. Its code is written when the process ends, if there was none that fits.
 *
 * @param path    The module: in ASCII and without `import()`, as the build writes it.
 * @param folder  Where code is kept; nothing is said if nothing can be.
 * @param require What it gets as `require`.
 */
export function runKept(path: string, folder: string, require: NodeJS.Require): void {
  const { bytes, text } = readWrapped(path);
  const { version, arch } = process;
  // (Code has the name of its file in it, which stacks show: another copy of the same module has its own.)
  const file = join(folder, `${version}-${arch}-${crc32(path, crc32(bytes)).toString(16)}${SUFFIX}`);
  const kept = readCode(file);
  const script = new Script(text, { filename: path, ...(kept === undefined ? {} : { cachedData: kept }) });
  if (kept === undefined || script.cachedDataRejected === true) {
    process.once("exit", () => writeCode(folder, file, script.createCachedData()));
  }
  const module = { exports: {} };
  script.runInThisContext()(module.exports, require, module, path, dirname(path));
}

/** What CommonJS has around a module. */
const BEFORE = Buffer.from("(function(exports,require,module,__filename,__dirname){");
const BEHIND = Buffer.from("\n})");

/** A module, and its text as a function. The file is read to its place in that: it has a megabyte. */
function readWrapped(path: string): { bytes: Uint8Array; text: string } {
  const whole = readRegularFile(path, MAX_BYTES, BEFORE.length, BEHIND.length);
  if (whole === undefined) throw new Error(`${path} is no file, or was changed while it was read`);
  BEFORE.copy(whole);
  BEHIND.copy(whole, whole.length - BEHIND.length);
  const bytes = whole.subarray(BEFORE.length, whole.length - BEHIND.length);
  return { bytes, text: whole.toString("latin1") };
}

/** The code of a file; `undefined` for one that is not there, not whole, or no file. */
function readCode(file: string): Buffer | undefined {
  try {
    const bytes = readRegularFile(file, MAX_BYTES);
    const code = bytes?.subarray(SUM_BYTES);
    if (bytes === undefined || code === undefined) return undefined;
    return bytes.length > SUM_BYTES && bytes.readUInt32LE(0) === crc32(code) ? code : undefined;
  } catch {
    return undefined;
  }
}

function writeCode(folder: string, file: string, code: Buffer): void {
  const written = `${file}.${process.pid}.tmp`;
  const sum = Buffer.alloc(SUM_BYTES);
  sum.writeUInt32LE(crc32(code));
  try {
    const others = readdirSync(folder).filter((name) => /\.code(\.\d+\.tmp)?$/.test(name));
    if (others.length >= MOST_FILES) for (const name of others) rmSync(join(folder, name), { force: true });
    writeFileSync(written, Buffer.concat([sum, code]), { mode: 0o600, flag: "wx" });
    renameSync(written, file);
  } catch {
    removeIfThere(written);
  }
}

function removeIfThere(path: string): void {
  try {
    rmSync(path, { force: true });
  } catch {
    // Such as in a folder that is none, or not ours.
  }
}
