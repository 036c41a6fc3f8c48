/** Files that the program writes: whole, or not at all. */
import { lstatSync, realpathSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { MemtoolError } from "../src/io/index.js";
import { describeSystemError } from "./errors.js";

/**
 * Writes a file under a temporary name beside it, and gives it its own when it is complete: one that was there before is
 * replaced then, and kept if anything fails.
 *
 * @param rename Gives it its name; for tests.
 * @throws {MemtoolError} `WRITE_FAILED`, saying why; for what is there and no regular file (a device, a directory).
 */
export function writeWhole(path: string, text: string, rename = renameSync): void {
  let temporary: string | undefined;
  try {
    const target = realTarget(path);
    temporary = `${target}.partial-${process.pid}-${crypto.randomUUID().slice(0, 8)}`;
    writeFileSync(temporary, text, { flag: "wx" });
    rename(temporary, target);
  } catch (cause) {
    if (temporary !== undefined) rmSync(temporary, { force: true });
    const why = cause instanceof MemtoolError ? cause.message : describeSystemError(cause);
    throw new MemtoolError("WRITE_FAILED", `${path} could not be written: ${why}`, { cause });
  }
}

/** Where a link leads, so that the file is replaced and not the link. */
function realTarget(path: string): string {
  let target: string;
  try {
    lstatSync(path);
    target = realpathSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return path;
    throw error;
  }
  if (!lstatSync(target).isFile()) throw new MemtoolError("WRITE_FAILED", "it is there, and no regular file");
  return target;
}
