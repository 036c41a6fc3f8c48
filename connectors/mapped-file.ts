/** A file that is mapped into memory: random reads cost a copy, no call of the system. */
import { closeSync } from "node:fs";
import { addressAt, type Column, type ColumnIo, sendRecords } from "../src/io/column.js";
import { copyBytes } from "../src/io/copy.hot.js";
import {
  type Address,
  AddressRanges,
  type Batch,
  type BoundView,
  OUTSIDE,
  type PacketIo,
  type Scheduler,
  type Source,
  type SourceIo,
} from "../src/io/index.js";
import { ConnectorError } from "./errors.js";
import { type FileOptions, type FileSource, failClosed, NO_FILE, openRegular, writeRows } from "./file.js";
import { type Holes, holesOf } from "./file-holes.js";
import { FileWindows, type WindowOptions } from "./file-windows.js";
import { loadMapper, type Mapper } from "./mmap.js";

/** A source that is memory of this program, so that it needs no batches to be read. */
export interface InlineSource extends Source {
  /**
   * A layer that answers reads at once, and sends all else on to `io`, which is over this source.
   *
   * What it answers is in no batch, so `io.counters` don't count it.
   */
  inline(io: SourceIo): PacketIo<Address>;
}

/** A mapped file, as {@link mapFile} opens it. */
export interface MappedFileSource extends FileSource, InlineSource {}

/** Whether a source can be read without batches. */
export function isInline(source: Source): source is InlineSource {
  return "inline" in source;
}

/**
 * Opens a regular file and maps it into memory, through the optional package `ffi-rs`.
 *
 * Random reads take a tenth (8 bytes) to two thirds (pages) of the time that positioned reads take. But **a file that becomes shorter while
 * it is mapped can end this program with SIGBUS**, which JavaScript can't catch: map what nobody writes to. To catch the
 * ordinary case, the file's size is asked before each batch, and by the inline layer before the first read in a turn of
 * the event loop and after every MiB; what is then beyond the end fails as `gone`, as it does with positioned reads.
 * Between that question and the read, there is no protection.
 *
 * The file is mapped when it is read, in windows of 1 GiB, at most 1,024 at a time: a file
 * of more than 1 TiB that is read at random is better left to positioned reads. What is mapped counts as resident
 * memory, but it is the system's page cache, which takes it back when it needs to.
 *
 * Writes (`write: true`) are ordinary positioned writes, which the mapping shows.
 *
 * @throws {ConnectorError} as `openFile` does; `NO_FFI` without the package `ffi-rs`; `NO_MMAP` on Windows, and for files
 * that can't be mapped.
 */
export function mapFile(path: string, options: FileOptions = {}): Promise<MappedFileSource> {
  return mapFileWith(path, options, {});
}

/** {@link mapFile} with its parts exchanged, for tests. @internal */
export async function mapFileWith(
  path: string,
  options: FileOptions,
  parts: WindowOptions & { readonly mapper?: Mapper },
): Promise<MappedFileSource> {
  const write = options.write ?? false;
  const { name, fd, size } = openRegular(path, write);
  try {
    const mapper = parts.mapper ?? (await loadMapper(name));
    if (size > 0) tryMapping(name, mapper, fd);
    return new MappedFile(name, path, fd, size, write, new FileWindows(mapper, fd, size, parts));
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

function tryMapping(name: string, mapper: Mapper, fd: number): void {
  try {
    mapper.try(fd);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new ConnectorError(
      "NO_MMAP",
      name,
      `this file can't be mapped (${why}): leave out the option map, and it is read with positioned reads`,
      { cause },
    );
  }
}

class MappedFile implements MappedFileSource {
  readonly supports: { readonly write: boolean; readonly live: boolean };
  #fd: number;
  readonly #windows: FileWindows;
  readonly #ranges: AddressRanges;

  constructor(
    readonly name: string,
    readonly path: string,
    fd: number,
    readonly size: number,
    write: boolean,
    windows: FileWindows,
  ) {
    this.#fd = fd;
    this.#windows = windows;
    this.supports = { write, live: false };
    this.#ranges = AddressRanges.single(0, size);
  }

  ranges(): AddressRanges {
    return this.#ranges;
  }

  findHoles(): Promise<Holes | undefined> {
    return holesOf(this.#fd);
  }

  inline(io: SourceIo): PacketIo<Address> {
    return new MappedIo(io, this.#windows, this.size);
  }

  transferSync(batch: Batch): void {
    if (this.#fd === NO_FILE) return failClosed(batch);
    if (batch.direction === "write") {
      writeRows(this.#fd, batch);
      return;
    }
    this.#windows.check();
    for (let row = 0; row < batch.length; row++) this.#readRow(batch, row);
  }

  #readRow(batch: Batch, row: number): void {
    const windows = this.#windows;
    const address = batch.address(row);
    const length = batch.lengths[row] as number;
    for (let at = 0; at < length; ) {
      const offset = address + at;
      if (!(offset >= windows.start && offset < windows.end)) {
        const fault = windows.seek(offset);
        if (fault !== 0) return batch.failRange(row, at, length, fault);
      }
      const here = Math.min(length - at, windows.end - offset);
      if (here >= LONG) loadFirstLines(windows.bytes, offset - windows.start);
      copyBytes(
        windows.bytes,
        offset - windows.start,
        batch.memory[row] as Uint8Array,
        (batch.offsets[row] as number) + at,
        here,
      );
      at += here;
    }
    batch.done(row);
  }

  close(): void {
    const fd = this.#fd;
    if (fd === NO_FILE) return;
    this.#fd = NO_FILE;
    this.#windows.close();
    closeSync(fd);
  }
}

/** Copies from this many bytes on begin with a few loads. */
const LONG = 1024;
/** So that the loads are not optimised away. */
const loaded = { sum: 0 };

/**
 * Loads the first cache lines of what is to be copied next, all at once: memmove alone waits for each in turn where they
 * are in no cache. Measured with random pages of 4 KiB: 570 ns instead of 710, 690 instead of 830 into memory that is in
 * no cache either.
 * (That was an Intel Xeon. An AMD EPYC with AVX-512 does better without: 490 to 530 ns instead of 590 to 600 a page of a
 * gather. Nothing here tells one from the other.)
 *
 * @param at At least `LONG` bytes before the end.
 */
function loadFirstLines(bytes: Uint8Array, at: number): void {
  loaded.sum =
    (bytes[at] as number) +
    (bytes[at + 64] as number) +
    (bytes[at + 128] as number) +
    (bytes[at + 192] as number) +
    (bytes[at + 256] as number) +
    (bytes[at + 320] as number) +
    (bytes[at + 384] as number) +
    (bytes[at + 448] as number);
}

/**
 * Bytes that are read at most between two looks at the file's size in one turn of the event loop. A look costs 0.5 µs:
 * as much as copying two pages.
 */
const CHECK_EVERY = 2 ** 20;
/** What a read counts for besides its bytes. */
const READ_COSTS = 4096;
const NOWHERE = new Uint8Array(0);

/** The inline layer of a mapped file. Copies before it answers, so windows may come and go in between. */
class MappedIo implements PacketIo<Address>, ColumnIo {
  readonly scheduler: Scheduler;
  readonly #io: SourceIo;
  readonly #windows: FileWindows;
  readonly #size: number;
  /** Bytes that may be read before the next look at the file's size. */
  #budget = 0;
  #turnEnds = false;

  constructor(io: SourceIo, windows: FileWindows, size: number) {
    this.#io = io;
    this.scheduler = io.scheduler;
    this.#windows = windows;
    this.#size = size;
  }

  sendIo(address: Address, view: BoundView): void {
    const { length } = view;
    this.#budget -= length + READ_COSTS;
    if (this.#budget < 0) this.#check();
    const windows = this.#windows;
    const at = typeof address === "number" ? address - windows.start : -1;
    // A window's offsets are small integers, so this tells those from all other numbers.
    if (
      at >= 0 &&
      (at | 0) === at &&
      at + length <= windows.end - windows.start &&
      view.direction === "read"
    ) {
      if (length >= LONG) loadFirstLines(windows.bytes, at);
      view.transfer(windows.bytes, at);
    } else {
      this.#sendSlowly(address, view);
    }
  }

  /** Answers runs of records that lie in one window each; the others one by one. */
  sendColumn(column: Column, from: number, view: BoundView): void {
    const { size } = column;
    let into = view.direction === "read" ? view.claim() : undefined;
    if (into === undefined) {
      sendRecords(this, column, from, view);
      return;
    }
    const count = view.length / size;
    this.#budget -= view.length + READ_COSTS * count;
    if (this.#budget < 0) this.#check();
    let rest: BoundView | undefined = view;
    for (let first = 0; rest !== undefined; ) {
      const piece: BoundView = rest;
      const end = this.#copyRecords(column, from + first, count - first, into) + first;
      rest = undefined;
      if (end > first) {
        if (end < count) rest = piece.split((end - first) * size);
        piece.complete();
      } else {
        if (end + 1 < count) rest = piece.split(size);
        this.#sendSlowly(addressAt(column, from + end), piece);
      }
      first = Math.max(end, first + 1);
      // Whoever was told of a part may have given up the others.
      into = rest?.claim();
      if (rest !== undefined && into === undefined) return sendRecords(this, column, from + first, rest);
      into ??= NOWHERE;
    }
  }

  /** @returns how many records, from that at `from` on, lie in one window each. */
  #copyRecords({ words, size }: Column, from: number, count: number, into: Uint8Array): number {
    const windows = this.#windows;
    for (let i = 0; i < count; i++) {
      const word = 2 * (from + i);
      const address = (words[word + 1] as number) * 2 ** 32 + (words[word] as number);
      if (!(address >= windows.start && address + size <= windows.end)) {
        if (address + size > this.#size || windows.closed || windows.seek(address) !== 0) return i;
        if (address + size > windows.end) return i;
      }
      const at = address - windows.start;
      if (size >= LONG) loadFirstLines(windows.bytes, at);
      copyBytes(windows.bytes, at, into, i * size, size);
    }
    return count;
  }

  /** What is not inside the window that was read last. */
  #sendSlowly(address: Address, view: BoundView): void {
    const inside =
      typeof address === "number" && address >= 0 && address < this.#size && Number.isInteger(address);
    // The source knows what to say of all else, and whether it is closed.
    if (!inside || view.direction !== "read" || view.length === 0 || this.#windows.closed) {
      this.#io.sendIo(address, view);
      return;
    }
    let at = address;
    let rest: BoundView | undefined = view;
    if (at + rest.length > this.#size) view.split(this.#size - at).fail(OUTSIDE);
    while (rest !== undefined) {
      const piece: BoundView = rest;
      const fault = this.#windows.seek(at);
      if (fault !== 0) return piece.fail(fault);
      const { start, end } = this.#windows;
      rest = end - at < piece.length ? piece.split(end - at) : undefined;
      const offset = at - start;
      at += piece.length;
      piece.transfer(this.#windows.bytes, offset);
    }
  }

  #check(): void {
    this.#windows.check();
    this.#budget = CHECK_EVERY;
    if (this.#turnEnds) return;
    this.#turnEnds = true;
    setImmediate(() => {
      this.#turnEnds = false;
      this.#budget = 0;
    });
  }
}
