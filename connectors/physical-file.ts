/** Physical memory in a file of the system's that may refuse single pages: ranges of addresses, each at an offset of the file. */
import { readSync, writeSync } from "node:fs";
import { AddressRanges, type Batch, type Fault, fault, withDetail } from "../src/io/index.js";
import { errnoOf } from "./errors.js";
import { NearRows } from "./near-rows.js";

/** A range of physical addresses, `end` exclusive, and where its first byte is in the file. */
export interface FilePiece {
  readonly start: number;
  readonly end: number;
  readonly offset: number;
}

const NOWHERE: Fault = fault("outside", "address", "connector");
const FAILED: Fault = fault("io", "memory", "connector");
/** EIO: also for what ends too early without saying why. */
const EIO = 5;
const PAGE = 4096;
const MAX_CALL = 2 ** 30;
/** As for processes (`proc/memory-file.ts`): no page is touched that nobody asked for. */
const MAX_JOIN = 4096;

/** See the module's comment. */
export class PhysicalFile {
  #fd: number;
  #pieces: readonly FilePiece[] = [];
  #ranges: AddressRanges = AddressRanges.none;
  readonly #near = new NearRows(MAX_JOIN, (into, at, length, position) =>
    this.#readInside(into, at, length, position),
  );

  constructor(fd: number, pieces: readonly FilePiece[]) {
    this.#fd = fd;
    this.use(fd, pieces);
  }

  get fd(): number {
    return this.#fd;
  }

  get ranges(): AddressRanges {
    return this.#ranges;
  }

  /** @param pieces Ascending and disjoint. */
  use(fd: number, pieces: readonly FilePiece[]): void {
    this.#fd = fd;
    this.#pieces = pieces;
    this.#ranges = AddressRanges.from(pieces);
  }

  /** Reads or writes all rows. */
  transfer(batch: Batch): void {
    const near = batch.direction === "read" ? this.#near : undefined;
    for (let row = 0; row < batch.length; ) {
      const end = near === undefined ? row + 1 : near.end(batch, row);
      if (end > row + 1) near?.read(batch, row, end);
      for (; row < end; row++) if (batch.status[row] !== 0) this.#move(batch, row);
    }
  }

  #readInside(into: Uint8Array, at: number, length: number, position: number): number {
    const piece = this.#pieces[this.#indexOf(position)];
    if (piece === undefined || piece.start > position || position + length > piece.end) return 0;
    return readSync(this.#fd, into, at, length, piece.offset + position - piece.start);
  }

  #move(batch: Batch, row: number): void {
    const length = batch.lengths[row] as number;
    const memory = batch.memory[row] as Uint8Array;
    const offset = batch.offsets[row] as number;
    const start = batch.address(row);
    batch.done(row);
    for (let at = 0; at < length; ) {
      const address = start + at;
      const piece = this.#pieces[this.#indexOf(address)];
      if (piece === undefined || piece.start > address) {
        const end = piece === undefined ? length : Math.min(length, piece.start - start);
        batch.failRange(row, at, end, NOWHERE);
        at = end;
        continue;
      }
      const most = Math.min(MAX_CALL, length - at, piece.end - address);
      const position = piece.offset + address - piece.start;
      const moved = this.#call(batch.direction === "write", memory, offset + at, most, position);
      if (moved > 0) {
        at += moved;
        continue;
      }
      // The page, as far as it is this piece's: firmware leaves RAM that ends within one.
      const end = at + Math.min(most, PAGE - (address % PAGE));
      batch.failRange(row, at, end, withDetail(FAILED, moved === 0 ? EIO : -moved));
      at = end;
    }
  }

  /** Index of the first piece that ends above an address. */
  #indexOf(address: number): number {
    const pieces = this.#pieces;
    let low = 0;
    let high = pieces.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((pieces[middle] as FilePiece).end > address) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /** @returns bytes moved; below 0 the errno, negative. */
  #call(write: boolean, memory: Uint8Array, at: number, length: number, position: number): number {
    try {
      if (write) return writeSync(this.#fd, memory, at, length, position);
      return readSync(this.#fd, memory, at, length, position);
    } catch (error) {
      const errno = errnoOf(error);
      return errno === 0 ? -EIO : -errno;
    }
  }
}
