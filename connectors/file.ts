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
import { copyBytes } from "../src/io/copy.hot.js";
import { AddressRanges, type Batch, type Fault, fault, type Source, withDetail } from "../src/io/index.js";
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

/** The file has become shorter than it was when it was opened. @internal */
export const SHRUNK: Fault = fault("gone", "file", "connector");
/** A call of the system failed; the errno is the detail. @internal */
export const FAILED: Fault = fault("io", "file", "connector");

/**
 * Rows near each other are read in one call, through memory of ours, where a call of its own costs a row more than the
 * second copy of it and of the gap before it: up to this many bytes of both. Measured with Node 20 on a cached file, CPU
 * time of a call each against one for all: rows of 4 KiB with no gap 810 against 580 ns, with gaps of 1 KiB 970 against
 * 750, of 2 KiB 900 against 930; rows of 6 KiB 1,160 against 1,040, of 8 KiB 1,490 against 1,510; rows of 100 bytes with
 * gaps of 4,000 490 against 330. (`readvSync`, which needs no second copy, saves another fifth without gaps and loses as
 * much with small rows.)
 */
const MAX_JOIN = 6144;
/** Bytes of one such call: with 256 KiB the memory no longer fits the second-level cache, and a row costs a tenth more. */
const MAX_RUN = 65_536;
/** One call moves less than 2 GiB. */
const MAX_CALL = 2 ** 30;

/**
 * Opens a regular file, to be read with a call of the system for each place (`mapFile` maps it instead).
 *
 * Holes of the file system read as zeros. Bytes that are gone because the file was truncated meanwhile fail as `gone`;
 * other failures are `io`, with the errno as the detail.
 *
 * @throws {ConnectorError} for what is missing, unreadable, or no regular file.
 */
export function openFile(path: string, options: FileOptions = {}): FileSource {
  const write = options.write ?? false;
  const { name, fd, size } = openRegular(path, write);
  return new OpenFile(name, path, fd, size, write);
}

/** A regular file's descriptor and size. @throws {ConnectorError} as {@link openFile} does. @internal */
export function openRegular(
  path: string,
  write: boolean,
): { readonly name: string; readonly fd: number; readonly size: number } {
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
    return { name, fd, size: stats.size };
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

/** Where the rows that are read together with `row` end (exclusive); rows of reads are ascending. */
function runEnd(batch: Batch, row: number): number {
  const { lengths } = batch;
  if ((lengths[row] as number) > MAX_JOIN) return row + 1;
  const start = batch.address(row);
  let stop = start + (lengths[row] as number);
  let next = row + 1;
  while (next < batch.length) {
    const address = batch.address(next);
    const length = lengths[next] as number;
    if (address - stop + length > MAX_JOIN || length > MAX_JOIN || address + length - start > MAX_RUN) break;
    stop = Math.max(stop, address + length);
    next++;
  }
  return next;
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
      writeRows(this.#fd, batch);
      return;
    }
    for (let row = 0; row < batch.length; ) {
      const end = runEnd(batch, row);
      if (end === row + 1) this.#readRow(batch, row);
      else this.#readRun(batch, row, end);
      row = end;
    }
  }

  /** Straight into the caller's memory. */
  #readRow(batch: Batch, row: number): void {
    const length = batch.lengths[row] as number;
    try {
      const memory = batch.memory[row] as Uint8Array;
      const got = this.#read(memory, batch.offsets[row] as number, length, batch.address(row));
      if (got === length) batch.status[row] = 0;
      else batch.failRange(row, got, length, SHRUNK);
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
    if (this.#scratch.length === 0) this.#scratch = new Uint8Array(MAX_RUN);
    let got: number;
    try {
      got = this.#read(this.#scratch, 0, stop - start, start);
    } catch {
      // Which of them failed? One at a time.
      for (let row = first; row < end; row++) this.#readRow(batch, row);
      return;
    }
    for (let row = first; row < end; row++) {
      const at = batch.address(row) - start;
      const length = batch.lengths[row] as number;
      const here = Math.min(length, Math.max(0, got - at));
      copyBytes(this.#scratch, at, batch.memory[row] as Uint8Array, batch.offsets[row] as number, here);
      if (here === length) batch.status[row] = 0;
      else batch.failRange(row, here, length, SHRUNK);
    }
  }

  /** @returns how many bytes there were: fewer only at the end of the file. */
  #read(into: Uint8Array, at: number, length: number, position: number): number {
    let got = 0;
    while (got < length) {
      // Of Node's documented calls the cheapest: with an options object, a bigint position or a Buffer it costs 0.1 µs
      // more; `readvSync` with one buffer costs the same.
      const count = readSync(this.#fd, into, at + got, Math.min(MAX_CALL, length - got), position + got);
      if (count === 0) break;
      got += count;
    }
    return got;
  }

  close(): void {
    closeSync(this.#fd);
  }
}

/** Writes the rows of a batch where they belong in a file, without making it longer. @internal */
export function writeRows(fd: number, batch: Batch): void {
  for (let row = 0; row < batch.length; row++) writeRow(fd, batch, row);
}

function writeRow(fd: number, batch: Batch, row: number): void {
  const bytes = batch.bytes(row);
  const position = batch.address(row);
  // A file that shrank would grow again, with zeros where nobody wrote.
  const room = Math.max(0, Math.min(bytes.length, fstatSync(fd).size - position));
  let done = 0;
  try {
    while (done < room) {
      done += writeSync(fd, bytes, done, Math.min(MAX_CALL, room - done), position + done);
    }
    batch.done(row);
    batch.failRange(row, done, bytes.length, SHRUNK);
  } catch (error) {
    batch.failRange(row, done, bytes.length, withDetail(FAILED, errnoOf(error)));
  }
}
