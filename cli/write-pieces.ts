/** Files that the program writes piece by piece: whole, or not at all. */
import {
  createWriteStream,
  existsSync,
  linkSync,
  lstatSync,
  realpathSync,
  renameSync,
  rmSync,
} from "node:fs";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import { MemtoolError } from "../src/io/index.js";
import { describeSystemError } from "./errors.js";

/**
 * Writes texts as UTF-8 under a temporary name beside the file, packed by gzip if its name ends with `.gz`; the file gets its
 * name when it is complete.
 *
 * @returns its bytes.
 * @throws {MemtoolError} `WRITE_FAILED` if it is there already and `force` is not set, or is no regular file, or can't be written.
 */
export async function writePieces(
  path: string,
  pieces: Iterable<string>,
  { force }: { readonly force: boolean },
): Promise<number> {
  let temporary: string | undefined;
  try {
    if (existsSync(path)) {
      if (!force) throw new MemtoolError("WRITE_FAILED", "it is there already (--force replaces it)");
      if (!lstatSync(realpathSync(path)).isFile()) {
        throw new MemtoolError("WRITE_FAILED", "it is there, and no regular file");
      }
    }
    // Where a link leads, so that the file is replaced and not the link.
    const target = existsSync(path) ? realpathSync(path) : path;
    temporary = `${target}.partial-${process.pid}-${crypto.randomUUID().slice(0, 8)}`;
    const file = createWriteStream(temporary, { flags: "wx" });
    const texts = Readable.from(pieces);
    await (path.endsWith(".gz") ? pipeline(texts, createGzip(), file) : pipeline(texts, file));
    const { size } = lstatSync(temporary);
    if (force) renameSync(temporary, target);
    else nameAnew(temporary, target);
    return size;
  } catch (cause) {
    if (temporary !== undefined) rmSync(temporary, { force: true });
    const why = cause instanceof MemtoolError ? cause.message : describeSystemError(cause);
    throw new MemtoolError("WRITE_FAILED", `${path} could not be written: ${why}`, { cause });
  }
}

/** Renames unless there is a file of the new name, also one that was made meanwhile. */
function nameAnew(from: string, to: string): void {
  try {
    linkSync(from, to);
    rmSync(from);
  } catch (error) {
    // File systems without links: the next best.
    if ((error as NodeJS.ErrnoException).code === "EEXIST" || existsSync(to)) throw error;
    renameSync(from, to);
  }
}
