/**
 * A batch of rows for a connector: structure of arrays, no object per row.
 *
 * Reads come ascending by address, with rows merged that continue each other both in the source and in the caller's
 * memory; writes and exchanges come in the order of their submission.
 */
import { HIGH } from "./address.js";
import { type Fault, UNANSWERED } from "./fault.js";
import type { Direction } from "./packet.js";

/** A row's status before the connector sets one; left so, the row fails as `unanswered`. */
export const ROW_UNANSWERED = -1;
/** A row of which some ranges failed, see {@link Batch.failRange}. */
export const ROW_PARTIAL = -2;

/** A range of a row that did not move; `start` and `end` (exclusive) count from the row's first byte. */
export interface RowFault {
  readonly row: number;
  readonly start: number;
  readonly end: number;
  readonly fault: Fault;
}

const FIRST_CAPACITY = 64;
const NOTHING = new Uint8Array(0);

/**
 * What a connector's `transfer` and `transferSync` get. Columns are valid up to `length` rows. A row that was answered,
 * be it with a fault, must not be written any more: its memory goes to others.
 */
export class Batch {
  direction: Direction = "read";
  /** Number of rows. */
  length = 0;
  /** Column: address of each row. */
  addresses = new BigUint64Array(FIRST_CAPACITY);
  /** The same column as `[lo, hi]` words: row i is at 2i and 2i + 1. */
  words = new Uint32Array(this.addresses.buffer);
  /** Column: where in `memory[i]` the row's bytes begin. */
  offsets = new Float64Array(FIRST_CAPACITY);
  /** Column: bytes of the row. */
  lengths = new Float64Array(FIRST_CAPACITY);
  /** Column: the connector sets 0 (every byte moved) or a fault. */
  status = new Int32Array(FIRST_CAPACITY);
  /**
   * Column: the caller's memory, to move bytes straight into or out of: `lengths[row]` bytes from `offsets[row]` on, and
   * no other, since the rest may be other operations'. (Valid up to `length` rows, as the other columns are.)
   */
  memory: Uint8Array[] = [];
  /** Set by `failRange`. */
  faults: RowFault[] = [];

  /** Address of a row of a source whose addresses stay below 2^53 (files, physical memory). */
  address(row: number): number {
    return (this.words[2 * row + 1] as number) * HIGH + (this.words[2 * row] as number);
  }

  /** A row's slice of the caller's memory. */
  bytes(row: number): Uint8Array {
    const offset = this.offsets[row] as number;
    return (this.memory[row] as Uint8Array).subarray(offset, offset + (this.lengths[row] as number));
  }

  /** Every byte of the row moved, but for ranges that `failRange` names. */
  done(row: number): void {
    if (this.status[row] !== ROW_PARTIAL) this.status[row] = 0;
  }

  /** No byte of the row moved. */
  fail(row: number, fault: Fault): void {
    this.status[row] = fault === 0 ? UNANSWERED : fault;
  }

  /**
   * Bytes `from` to `to` (exclusive) of the row did not move; those that no call names did (unless the row failed
   * whole before).
   */
  failRange(row: number, from: number, to: number, fault: Fault): void {
    const start = Math.floor(from);
    const end = Math.ceil(to);
    if (end <= start || (this.status[row] as number) > 0) return;
    if (start <= 0 && end >= (this.lengths[row] as number)) {
      this.fail(row, fault);
      return;
    }
    this.status[row] = ROW_PARTIAL;
    this.faults.push({ row, start, end, fault });
  }

  /**
   * Where the run that begins at `row` ends (exclusive): rows each of which begins where the last one ends. A gap of
   * up to `maxGap` bytes is bridged; a run spans at most `maxBytes`, unless its first row alone does.
   */
  runEnd(row: number, maxGap = 0, maxBytes = Number.POSITIVE_INFINITY): number {
    // Relative to the first row, so that addresses from 2^53 on are exact, too.
    const { words } = this;
    const lo = words[2 * row] as number;
    const hi = words[2 * row + 1] as number;
    let end = this.lengths[row] as number;
    let next = row + 1;
    while (next < this.length) {
      const address = ((words[2 * next + 1] as number) - hi) * HIGH + ((words[2 * next] as number) - lo);
      if (address < 0 || address > end + maxGap) break;
      const nextEnd = address + (this.lengths[next] as number);
      if (nextEnd > maxBytes) break;
      if (nextEnd > end) end = nextEnd;
      next++;
    }
    return next;
  }

  /** Empties it for `rows` rows to come, and forgets what it held. @internal */
  reset(direction: Direction, rows: number): void {
    this.release();
    this.direction = direction;
    if (rows > this.offsets.length) this.#allocate(Math.max(rows, this.offsets.length * 2));
  }

  /** Appends a row; `bytes` is the memory that holds its bytes from `offset` on. @internal */
  push(lo: number, hi: number, bytes: Uint8Array, offset: number, length: number): void {
    const row = this.length;
    if (row === this.offsets.length) this.#grow();
    this.words[2 * row] = lo;
    this.words[2 * row + 1] = hi;
    this.offsets[row] = offset;
    this.lengths[row] = length;
    this.status[row] = ROW_UNANSWERED;
    this.memory[row] = bytes;
    this.length = row + 1;
  }

  #grow(): void {
    const { words, offsets, lengths, status } = this;
    this.#allocate(this.offsets.length * 2);
    this.words.set(words);
    this.offsets.set(offsets);
    this.lengths.set(lengths);
    this.status.set(status);
  }

  #allocate(capacity: number): void {
    this.addresses = new BigUint64Array(capacity);
    this.words = new Uint32Array(this.addresses.buffer);
    this.offsets = new Float64Array(capacity);
    this.lengths = new Float64Array(capacity);
    this.status = new Int32Array(capacity);
  }

  /** The same rows of the same memory, none of them answered. @internal */
  again(): Batch {
    const batch = new Batch();
    batch.reset(this.direction, this.length);
    for (let row = 0; row < this.length; row++) {
      const bytes = this.memory[row] as Uint8Array;
      batch.push(
        this.words[2 * row] as number,
        this.words[2 * row + 1] as number,
        bytes,
        this.offsets[row] as number,
        this.lengths[row] as number,
      );
    }
    return batch;
  }

  /** Gives the rows other memory: what they were for was brought by other means. @internal */
  divert(): void {
    let longest = 0;
    for (let row = 0; row < this.length; row++) longest = Math.max(longest, this.lengths[row] as number);
    this.memory.fill(new Uint8Array(longest));
    this.offsets.fill(0);
  }

  /** Lets go of the callers' memory. The array stays: growing it anew costs more than a small batch. @internal */
  release(): void {
    const { memory, length } = this;
    for (let row = 0; row < length; row++) memory[row] = NOTHING;
    this.length = 0;
    if (this.faults.length !== 0) this.faults = [];
  }
}
