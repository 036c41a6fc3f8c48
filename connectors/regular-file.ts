/** Files that were kept for the next time, where something else may lie by now. */
import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";

/** (Windows has no such flag, nor pipes among its files.) */
const { O_RDONLY, O_NONBLOCK = 0 } = constants;

/** A file that is open. Who has it closes it. */
export interface RegularFile {
  readonly descriptor: number;
  /** Bytes, when it was opened. */
  readonly size: number;
}

/**
 * Opens a file. Pipes are not waited for.
 *
 * @returns `undefined` for what is no file, and for one that is larger than `maxBytes`.
 * @throws what Node throws if it can't be opened.
 */
export function openRegularFile(path: string, maxBytes: number): RegularFile | undefined {
  const descriptor = openSync(path, O_RDONLY | O_NONBLOCK);
  const status = fstatSync(descriptor);
  if (status.isFile() && status.size <= maxBytes) return { descriptor, size: status.size };
  closeSync(descriptor);
  return undefined;
}

/** Fills `into` with the bytes from `at` on. Gives whether there are so many. @throws what Node throws if it can't be read. */
export function readAt({ descriptor }: RegularFile, into: Uint8Array, at: number): boolean {
  for (let done = 0; done < into.length; ) {
    const count = readSync(descriptor, into, done, into.length - done, at + done);
    if (count === 0) return false;
    done += count;
  }
  return true;
}

/**
 * A whole file.
 *
 * @param before Bytes that are left free before it, and `behind` it.
 * @returns      `undefined` as `openRegularFile`, and for one that has become shorter meanwhile.
 * @throws       what Node throws if it can't be opened or read.
 */
export function readRegularFile(path: string, maxBytes: number, before = 0, behind = 0): Buffer | undefined {
  const file = openRegularFile(path, maxBytes);
  if (file === undefined) return undefined;
  try {
    const bytes = Buffer.alloc(before + file.size + behind);
    return readAt(file, bytes.subarray(before, before + file.size), 0) ? bytes : undefined;
  } finally {
    closeSync(file.descriptor);
  }
}
