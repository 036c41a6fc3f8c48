/** Files that were kept for the next time, where something else may lie by now. */
import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";

/** (Windows has no such flag, nor pipes among its files.) */
const { O_RDONLY, O_NONBLOCK = 0 } = constants;

/**
 * A whole file. Pipes are not waited for, and of devices nothing is read.
 *
 * @returns `undefined` for what is no file, for one that is larger than `maxBytes`, and for one that has become shorter meanwhile.
 * @throws what Node throws if it can't be opened or read.
 */
export function readRegularFile(path: string, maxBytes: number): Buffer | undefined {
  const file = openSync(path, O_RDONLY | O_NONBLOCK);
  try {
    const status = fstatSync(file);
    if (!status.isFile() || status.size > maxBytes) return undefined;
    const bytes = Buffer.alloc(status.size);
    let at = 0;
    while (at < bytes.length) {
      const count = readSync(file, bytes, at, bytes.length - at, at);
      if (count === 0) return undefined;
      at += count;
    }
    return bytes;
  } finally {
    closeSync(file);
  }
}
