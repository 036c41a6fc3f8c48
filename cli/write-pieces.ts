/** Files that the program writes piece by piece: whole, or not at all. */
import { createWriteStream } from "node:fs";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import { NewFile } from "./new-file.js";

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
  const made = new NewFile(path, force);
  try {
    const file = createWriteStream(made.temporary, { flags: "wx" });
    const texts = Readable.from(pieces);
    await (path.endsWith(".gz") ? pipeline(texts, createGzip(), file) : pipeline(texts, file));
  } catch (cause) {
    made.discard();
    throw made.failure(cause);
  }
  return made.place();
}
