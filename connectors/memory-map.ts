/** Memory maps of raw images as a person gives them: ranges, or a file of them. */
import { closeSync, openSync, readSync } from "node:fs";
import { FormatError, parseRawMap, type RawRange } from "../src/formats/index.js";
import { errnoName } from "./errors.js";

/** More than any machine's ranges take. */
const MAX_BYTES = 64 * 2 ** 20;
/** What begins like a range; a file whose name does is written with an `@` in front. */
const RANGES = /^\s*(0x[0-9a-f_]+|[0-9][0-9_]*)([kmgt](i?b)?)?\s*-\s*[0-9]/i;

/**
 * A memory map by what was given: ranges (`0-3G@0,4G-5G@3G`), or the path of a file of ranges or of the text of
 * /proc/iomem, with or without an `@` in front. See `parseRawMap` for both forms.
 *
 * @throws {FormatError} `BAD_MEMORY_MAP` for a file that can't be read and a text that is no map.
 */
export function readMemoryMap(given: string): RawRange[] {
  if (RANGES.test(given)) return parseRawMap(given);
  const path = given.startsWith("@") ? given.slice(1) : given;
  return parseRawMap(readText(path), path);
}

function readText(path: string): string {
  const bytes = Buffer.allocUnsafe(65_536);
  const decoder = new TextDecoder();
  let text = "";
  let fd: number;
  try {
    fd = openSync(path, "r");
  } catch (cause) {
    throw refused(path, `it is neither ranges (start-end@offset,…) nor a file that can be read`, cause);
  }
  try {
    // A length that the system tells is 0 for files below /proc.
    for (let got = 0; ; ) {
      const count = readSync(fd, bytes, 0, bytes.length, null);
      if (count === 0) return text + decoder.decode();
      got += count;
      if (got > MAX_BYTES)
        throw refused(path, `the file has more than ${MAX_BYTES} bytes: it is no memory map`);
      text += decoder.decode(bytes.subarray(0, count), { stream: true });
    }
  } catch (cause) {
    throw cause instanceof FormatError
      ? cause
      : refused(path, "the file of the memory map can't be read", cause);
  } finally {
    closeSync(fd);
  }
}

function refused(path: string, problem: string, cause?: unknown): FormatError {
  const why = errnoName(cause);
  return new FormatError(
    "BAD_MEMORY_MAP",
    { file: path === "" ? '""' : path },
    why === undefined ? problem : `${problem} (${why})`,
    { cause },
  );
}
