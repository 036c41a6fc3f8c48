/** A file as a source of bytes: address = offset. Dump formats are layers over it. */
import {
  closeSync,
  constants,
  fstatSync,
  openSync,
  readSync,
  type Stats,
  statSync,
  writeSync,
} from "node:fs";
import { AddressRanges, type Batch, fault, type Source, withDetail } from "../src/io/index.js";
import { ConnectorError, errnoName, errnoOf } from "./errors.js";

/** Options of {@link openFile}. */
export interface FileOptions {
  /** Opens the file for writing too. It never grows. Default: false. */
  readonly write?: boolean | undefined;
}

/** A file source; `size` is that at the time of opening. */
export interface FileSource extends Source {
  readonly path: string;
  /** Bytes. */
  readonly size: number;
}

/** The file has become shorter than it was when it was opened. */
const SHRUNK = fault("gone", "file", "connector");
const FAILED = fault("io", "file", "connector");

/**
 * Rows up to this far apart are read in one call. Measured with Node 20 on a cached file: a call of its own costs a row
 * 0.5 µs and more, a share of a larger one 0.4 µs with gaps of 4 KiB, 0.9 µs with gaps of 8 KiB.
 */
const MAX_GAP = 4096;
/**
 * Bytes that one call brings for several rows (larger ones measured no faster); a row of its own is read straight into
 * the caller's memory.
 */
const MAX_RUN = 256 * 1024;
/** One call moves less than 2 GiB. */
const MAX_CALL = 2 ** 30;

/**
 * Opens a regular file.
 *
 * Holes of the file system read as zeros. Bytes that are gone because the file was truncated meanwhile fail as `gone`;
 * other failures are `io`, with the errno as the detail.
 *
 * @throws {ConnectorError} for what is missing, unreadable, or no regular file.
 */
export function openFile(path: string, options: FileOptions = {}): FileSource {
  const write = options.write ?? false;
  const name = `file:${path}`;
  let fd: number;
  try {
    checkKind(name, statSync(path));
    // Not blocking, should the path have become a FIFO since.
    fd = openSync(path, (write ? constants.O_RDWR : constants.O_RDONLY) | constants.O_NONBLOCK);
  } catch (error) {
    throw error instanceof ConnectorError ? error : explain(name, error, write);
  }
  try {
    const stats = fstatSync(fd);
    checkKind(name, stats);
    return new OpenFile(name, path, fd, stats.size, write);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

function checkKind(name: string, stats: Stats): void {
  if (stats.isFile()) return;
  const kind = stats.isDirectory()
    ? "a directory"
    : stats.isFIFO()
      ? "a FIFO"
      : stats.isSocket()
        ? "a socket"
        : stats.isCharacterDevice()
          ? "a character device"
          : stats.isBlockDevice()
            ? "a block device"
            : "no regular file";
  const advice = stats.isDirectory()
    ? "name the file in it"
    : "memory is read in any order: copy it to a file first";
  throw new ConnectorError("NOT_A_FILE", name, `this is ${kind}; ${advice}`);
}

function explain(name: string, error: unknown, write: boolean): ConnectorError {
  const code = errnoName(error);
  if (code === "ENOENT" || code === "ENOTDIR") {
    return new ConnectorError("NO_SUCH_FILE", name, "there is no such file", { cause: error });
  }
  if (code === "EACCES" || code === "EPERM" || code === "EROFS") {
    const what = write ? "open it for writing" : "read it";
    return new ConnectorError("NO_PERMISSION", name, `no permission to ${what} (${code})`, { cause: error });
  }
  return new ConnectorError("OPEN_FAILED", name, `could not be opened (${code ?? String(error)})`, {
    cause: error,
  });
}

class OpenFile implements FileSource {
  readonly supports: { readonly write: boolean; readonly live: boolean };
  readonly #fd: number;
  readonly #ranges: AddressRanges;
  #scratch = new Uint8Array(0);

  constructor(
    readonly name: string,
    readonly path: string,
    fd: number,
    readonly size: number,
    write: boolean,
  ) {
    this.#fd = fd;
    this.supports = { write, live: false };
    this.#ranges = AddressRanges.single(0, size);
  }

  ranges(): AddressRanges {
    return this.#ranges;
  }

  transferSync(batch: Batch): void {
    if (batch.direction === "write") {
      for (let row = 0; row < batch.length; row++) this.#writeRow(batch, row);
      return;
    }
    for (let row = 0; row < batch.length; ) {
      const end = batch.runEnd(row, MAX_GAP, MAX_RUN);
      if (end === row + 1) this.#readRow(batch, row);
      else this.#readRun(batch, row, end);
      row = end;
    }
  }

  #readRow(batch: Batch, row: number): void {
    const bytes = batch.bytes(row);
    try {
      const got = this.#read(bytes, bytes.length, batch.address(row));
      if (got === bytes.length) batch.done(row);
      else batch.failRange(row, got, bytes.length, SHRUNK);
    } catch (error) {
      batch.fail(row, withDetail(FAILED, errnoOf(error)));
    }
  }

  /** Rows near each other: one call into a buffer of ours, and a copy to each. */
  #readRun(batch: Batch, first: number, end: number): void {
    const start = batch.address(first);
    let stop = start;
    for (let row = first; row < end; row++) {
      stop = Math.max(stop, batch.address(row) + (batch.lengths[row] as number));
    }
    const length = stop - start;
    if (this.#scratch.length < length) this.#scratch = new Uint8Array(Math.max(MAX_RUN, length));
    let got: number;
    try {
      got = this.#read(this.#scratch, length, start);
    } catch {
      // Which of them failed? One at a time.
      for (let row = first; row < end; row++) this.#readRow(batch, row);
      return;
    }
    for (let row = first; row < end; row++) {
      const at = batch.address(row) - start;
      const bytes = batch.bytes(row);
      const here = Math.min(bytes.length, Math.max(0, got - at));
      bytes.set(this.#scratch.subarray(at, at + here));
      if (here === bytes.length) batch.done(row);
      else batch.failRange(row, here, bytes.length, SHRUNK);
    }
  }

  /** @returns how many bytes there were: fewer only at the end of the file. */
  #read(into: Uint8Array, length: number, position: number): number {
    let got = 0;
    while (got < length) {
      const count = readSync(this.#fd, into, got, Math.min(MAX_CALL, length - got), position + got);
      if (count === 0) break;
      got += count;
    }
    return got;
  }

  #writeRow(batch: Batch, row: number): void {
    const bytes = batch.bytes(row);
    const position = batch.address(row);
    // A file that shrank would grow again, with zeros where nobody wrote.
    const room = Math.max(0, Math.min(bytes.length, fstatSync(this.#fd).size - position));
    let done = 0;
    try {
      while (done < room) {
        done += writeSync(this.#fd, bytes, done, Math.min(MAX_CALL, room - done), position + done);
      }
      batch.done(row);
      batch.failRange(row, done, bytes.length, SHRUNK);
    } catch (error) {
      batch.failRange(row, done, bytes.length, withDetail(FAILED, errnoOf(error)));
    }
  }

  close(): void {
    closeSync(this.#fd);
  }
}
