/** A file as a source of bytes: address = offset. Dump formats are layers over it. */
import {
  closeSync,
  constants,
  fstatSync,
  openSync,
  readSync,
  readvSync,
  type Stats,
  statSync,
  writeSync,
} from "node:fs";
import {
  AddressRanges,
  type Batch,
  CLOSED,
  type Fault,
  fault,
  type Source,
  withDetail,
} from "../src/io/index.js";
import { adjacentEnd, readAdjacent } from "./adjacent-rows.js";
import { ConnectorError, errnoName, errnoOf } from "./errors.js";
import { type Holes, holesOf } from "./file-holes.js";
import { NearRows } from "./near-rows.js";

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
  /**
   * Finds what tells the holes of the file system in it, ranges that are zero: loads `ffi-rs`. `undefined` where nobody
   * can tell.
   */
  findHoles?(): Promise<Holes | undefined>;
}

/** The file has become shorter than it was when it was opened. @internal */
export const SHRUNK: Fault = fault("gone", "file", "connector");
/** A call of the system failed; the errno is the detail. @internal */
export const FAILED: Fault = fault("io", "file", "connector");

/**
 * Rows are read together where a row and the gap before it have up to this many bytes. Measured with Node 20 on a cached file, CPU
 * time of a call each against one for all: rows of 4 KiB with no gap 810 against 580 ns, with gaps of 1 KiB 970 against
 * 750, of 2 KiB 900 against 930; rows of 6 KiB 1,160 against 1,040, of 8 KiB 1,490 against 1,510; rows of 100 bytes with
 * gaps of 4,000 490 against 330. Rows without gaps that are no shorter than a page are read before that by `readvSync`, which
 * needs no second copy: on one machine it saved another fifth, on another as much as this did, and it has no bound: of rows of
 * 64 KiB, eight at once saved a tenth.
 */
const MAX_JOIN = 6144;
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

class OpenFile implements FileSource {
  readonly supports: { readonly write: boolean; readonly live: boolean };
  #fd: number;
  readonly #ranges: AddressRanges;
  readonly #near = new NearRows(MAX_JOIN, (into, at, length, position) =>
    this.#read(into, at, length, position),
  );

  readonly #readPlaces = (places: readonly Uint8Array[], position: number) =>
    readvSync(this.#fd, places, position);

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

  findHoles(): Promise<Holes | undefined> {
    return holesOf(this.#fd);
  }

  transferSync(batch: Batch): void {
    if (this.#fd === NO_FILE) return failClosed(batch);
    if (batch.direction === "write") {
      writeRows(this.#fd, batch);
      return;
    }
    for (let row = 0; row < batch.length; ) {
      let end = adjacentEnd(batch, row, MAX_CALL);
      if (end > row + 1) {
        readAdjacent(batch, row, end, this.#readPlaces);
      } else {
        end = this.#near.end(batch, row);
        if (end > row + 1) this.#near.read(batch, row, end);
      }
      for (; row < end; row++) if (batch.status[row] !== 0) this.#readRow(batch, row);
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

  /** Once: its descriptor may be another file's by the second time. */
  close(): void {
    const fd = this.#fd;
    this.#fd = NO_FILE;
    if (fd !== NO_FILE) closeSync(fd);
  }
}

/** In place of a descriptor. @internal */
export const NO_FILE = -1;

/** Of a file that is closed, nothing is read by its descriptor's number. @internal */
export function failClosed(batch: Batch): void {
  for (let row = 0; row < batch.length; row++) batch.fail(row, CLOSED);
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
