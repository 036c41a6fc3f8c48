/** Memory that lies in pieces of other sources under other addresses: a guest's RAM in its emulator's process. */
import { Batch } from "../src/io/batch.hot.js";
import { AddressRanges, type Direction, type Fault, fault, type Source } from "../src/io/index.js";
import { ascendingOrder } from "../src/io/radix-order.hot.js";

/** Where a piece of it lies. */
export interface RemappedPiece {
  readonly start: number;
  /** Exclusive. */
  readonly end: number;
  /** Which of the sources. */
  readonly source: number;
  /** Address of the first byte there. */
  readonly at: number;
}

const UNMAPPED: Fault = fault("outside", "address", "connector");
const UNDONE: Fault = fault("unanswered", "memory", "connector");
const HIGH = 2 ** 32;
const PARTIAL = -2;
const UNANSWERED = -1;

/** Rows for a source, and the rows that they are parts of. */
class Rows {
  readonly batch = new Batch();
  /** Column: the row that each is a part of, and from which byte on. */
  rows = new Int32Array(64);
  starts = new Float64Array(64);

  push(
    row: number,
    start: number,
    lo: number,
    hi: number,
    memory: Uint8Array,
    offset: number,
    length: number,
  ) {
    const i = this.batch.length;
    if (i === this.rows.length) {
      const { rows, starts } = this;
      this.rows = new Int32Array(2 * i);
      this.rows.set(rows);
      this.starts = new Float64Array(2 * i);
      this.starts.set(starts);
    }
    this.rows[i] = row;
    this.starts[i] = start;
    this.batch.push(lo, hi, memory, offset, length);
  }
}

/** What one source is asked for. Kept, so that a batch makes nothing anew. */
class Part {
  /** As they came, and in order. */
  #given = new Rows();
  #sorted = new Rows();
  #last = 0;
  #ascends = true;

  /** Those to answer. */
  get rows(): Rows {
    return this.#given;
  }

  reset(direction: Direction): void {
    this.#given.batch.reset(direction, 0);
    this.#last = 0;
    this.#ascends = true;
  }

  add(row: number, start: number, address: number, memory: Uint8Array, offset: number, length: number): void {
    if (address < this.#last) this.#ascends = false;
    this.#last = address;
    const lo = address >>> 0;
    this.#given.push(row, start, lo, (address - lo) / HIGH, memory, offset, length);
  }

  /** Reads ascend, as sources may take for granted, also where a higher piece lies below a lower one. Writes keep their order. */
  sort(): void {
    const { batch, rows, starts } = this.#given;
    if (this.#ascends || batch.direction !== "read") return;
    const sorted = this.#sorted;
    const { words, memory, offsets, lengths, length } = batch;
    sorted.batch.reset("read", length);
    const order = ascendingOrder(words, length);
    for (let i = 0; i < length; i++) {
      const k = order[i] as number;
      sorted.push(
        rows[k] as number,
        starts[k] as number,
        words[2 * k] as number,
        words[2 * k + 1] as number,
        memory[k] as Uint8Array,
        offsets[k] as number,
        lengths[k] as number,
      );
    }
    batch.release();
    this.#sorted = this.#given;
    this.#given = sorted;
  }
}

/** Hands rows on to the sources that they lie in: of each batch, one to each source. All of them answer synchronously. */
export class Remapping {
  readonly ranges: AddressRanges;
  readonly #pieces: readonly RemappedPiece[];
  readonly #sources: readonly Source[];
  readonly #parts: readonly Part[];
  /** Ends of the pieces, for the search. */
  readonly #ends: Float64Array;

  /**
   * @param pieces Disjoint, in any order. @param sources Each has `transferSync`.
   * @throws {RangeError} for pieces that overlap, or reach to 2^53.
   */
  constructor(pieces: readonly RemappedPiece[], sources: readonly Source[]) {
    this.#pieces = [...pieces].sort((a, b) => a.start - b.start);
    let end = 0;
    for (const piece of this.#pieces) {
      const last = Math.max(piece.end, piece.at + piece.end - piece.start);
      if (piece.start < end || piece.end <= piece.start || last > Number.MAX_SAFE_INTEGER || piece.at < 0) {
        throw new RangeError(`pieces overlap, or are none, at 0x${piece.start.toString(16)}`);
      }
      end = piece.end;
    }
    this.#ends = Float64Array.from(this.#pieces, (piece) => piece.end);
    this.#sources = sources;
    this.#parts = sources.map(() => new Part());
    this.ranges = AddressRanges.from(this.#pieces);
  }

  /** As `Source.transferSync`. */
  transfer(batch: Batch): void {
    const parts = this.#parts;
    for (const part of parts) part.reset(batch.direction);
    try {
      for (let row = 0; row < batch.length; row++) this.#split(batch, row);
      for (let i = 0; i < parts.length; i++) {
        const part = parts[i] as Part;
        part.sort();
        const inner = part.rows.batch;
        if (inner.length > 0) this.#sources[i]?.transferSync?.(inner);
      }
      for (let row = 0; row < batch.length; row++) batch.done(row);
      for (const part of parts) answer(batch, part.rows);
      for (let row = 0; row < batch.length; row++) this.#failOutside(batch, row);
    } finally {
      for (const part of parts) part.rows.batch.release();
    }
  }

  /** Index of the first piece that ends above the address. */
  #indexAfter(address: number): number {
    const ends = this.#ends;
    let low = 0;
    let high = ends.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((ends[middle] as number) > address) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  #split(batch: Batch, row: number): void {
    const address = batch.address(row);
    const length = batch.lengths[row] as number;
    const memory = batch.memory[row] as Uint8Array;
    const offset = batch.offsets[row] as number;
    if (address + length > Number.MAX_SAFE_INTEGER) return;
    for (let i = this.#indexAfter(address); i < this.#pieces.length; i++) {
      const piece = this.#pieces[i] as RemappedPiece;
      const from = Math.max(address, piece.start);
      const to = Math.min(address + length, piece.end);
      if (from >= to) return;
      const start = from - address;
      const part = this.#parts[piece.source] as Part;
      part.add(row, start, piece.at + (from - piece.start), memory, offset + start, to - from);
    }
  }

  #failOutside(batch: Batch, row: number): void {
    const address = batch.address(row);
    const end = address + (batch.lengths[row] as number);
    // (No piece is there, and sums are not exact.)
    if (end > Number.MAX_SAFE_INTEGER) return batch.fail(row, UNMAPPED);
    let at = address;
    for (let i = this.#indexAfter(address); at < end; i++) {
      const piece = this.#pieces[i];
      const next = Math.min(end, piece?.start ?? end);
      if (next > at) batch.failRange(row, at - address, next - address, UNMAPPED);
      at = Math.max(next, piece?.end ?? end);
    }
  }
}

/** What a source said of its rows, for the rows that they are parts of. */
function answer(batch: Batch, { batch: inner, rows, starts }: Rows): void {
  for (let i = 0; i < inner.length; i++) {
    const status = inner.status[i] as number;
    if (status === 0 || status === PARTIAL) continue;
    const start = starts[i] as number;
    const why = status === UNANSWERED ? UNDONE : status;
    batch.failRange(rows[i] as number, start, start + (inner.lengths[i] as number), why);
  }
  for (const { row, start, end, fault: why } of inner.faults) {
    if (inner.status[row] !== PARTIAL) continue;
    const from = starts[row] as number;
    batch.failRange(rows[row] as number, from + start, from + end, why);
  }
}
