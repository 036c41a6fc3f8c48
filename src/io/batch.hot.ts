/**
 * A batch of rows for a connector: structure of arrays, no object per row.
 *
 * Reads come ascending by address, with rows merged that continue each other both in the source and in the caller's
 * memory; writes and exchanges come in the order of their submission.
 */
import { HIGH } from "./address.js";
import { type Fault, UNANSWERED } from "./fault.js";
import type { Direction } from "./packet.js";
import type { BoundView } from "./view.js";

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

/** What a connector's `transfer` and `transferSync` get. Columns are valid up to `length` rows. */
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
  /** Column: the caller's memory, to move bytes straight into or out of. */
  memory: Uint8Array[] = [];
  /** Set by `failRange`. */
  faults: RowFault[] = [];
  /** Number of fragments before merging. @internal */
  fragments = 0;

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

  /** Empties it for `rows` rows to come. @internal */
  reset(direction: Direction, rows: number): void {
    this.direction = direction;
    this.length = 0;
    this.fragments = 0;
    if (this.faults.length !== 0) this.faults = [];
    if (rows > this.offsets.length) {
      const capacity = Math.max(rows, this.offsets.length * 2);
      this.addresses = new BigUint64Array(capacity);
      this.words = new Uint32Array(this.addresses.buffer);
      this.offsets = new Float64Array(capacity);
      this.lengths = new Float64Array(capacity);
      this.status = new Int32Array(capacity);
    }
  }

  /** Lets go of the callers' memory. @internal */
  release(): void {
    this.memory.length = 0;
    this.length = 0;
  }
}

/** Views that wait to be sent, with their addresses as `[lo, hi]` words. @internal */
export class FragmentQueue {
  readonly views: BoundView[] = [];
  words = new Uint32Array(2 * FIRST_CAPACITY);
  /** Index of the batch row that carries each view; set by `fillBatch`. */
  rows = new Uint32Array(FIRST_CAPACITY);

  get length(): number {
    return this.views.length;
  }

  push(lo: number, hi: number, view: BoundView): void {
    const i = this.views.length;
    if (2 * i === this.words.length) this.#grow();
    this.words[2 * i] = lo;
    this.words[2 * i + 1] = hi;
    this.views.push(view);
  }

  /** Lets go of the views. */
  release(): void {
    this.views.length = 0;
  }

  #grow(): void {
    const words = new Uint32Array(this.words.length * 2);
    words.set(this.words);
    this.words = words;
    this.rows = new Uint32Array(words.length / 2);
  }
}

/**
 * Makes a batch of queued views, and notes in `queue.rows` which row carries each.
 *
 * @param sort  Ascending by address (reads), or in the order of submission (writes).
 * @param merge Whether rows that continue each other become one.
 * @returns how many rows merging saved.
 */
export function fillBatch(
  batch: Batch,
  queue: FragmentQueue,
  direction: Direction,
  sort: boolean,
  merge: boolean,
): number {
  const { views, words } = queue;
  const count = views.length;
  batch.reset(direction, count);
  batch.fragments = count;
  const order = sort ? ascendingOrder(words, count) : undefined;
  let row = -1;
  // Where the current row ends, in the source and in memory.
  let endLo = 0;
  let endHi = 0;
  let endOffset = 0;
  for (let k = 0; k < count; k++) {
    const i = order === undefined ? k : (order[k] as number);
    const view = views[i] as BoundView;
    const bytes = view.packet.bytes;
    const lo = words[2 * i] as number;
    const hi = words[2 * i + 1] as number;
    const start = view.start;
    const length = view.length;
    if (
      merge &&
      row >= 0 &&
      lo === endLo &&
      hi === endHi &&
      start === endOffset &&
      batch.memory[row] === bytes
    ) {
      (batch.lengths[row] as number) += length;
    } else {
      row++;
      batch.words[2 * row] = lo;
      batch.words[2 * row + 1] = hi;
      batch.offsets[row] = start;
      batch.lengths[row] = length;
      batch.status[row] = ROW_UNANSWERED;
      batch.memory[row] = bytes;
    }
    queue.rows[i] = row;
    const sum = lo + length;
    endLo = sum >>> 0;
    endHi = hi + (sum - endLo) / HIGH;
    endOffset = start + length;
  }
  batch.length = row + 1;
  batch.memory.length = row + 1;
  return count - batch.length;
}

let orderA = new Uint32Array(FIRST_CAPACITY);
let orderB = new Uint32Array(FIRST_CAPACITY);
const counts = new Uint32Array(256);

/**
 * The order that sorts addresses ascending (stable), or `undefined` if they are so already.
 * Radix sort, eight bits a pass; passes over bytes that all addresses share are skipped.
 */
function ascendingOrder(words: Uint32Array, count: number): Uint32Array | undefined {
  let sorted = true;
  let differLo = 0;
  let differHi = 0;
  const firstLo = words[0] as number;
  const firstHi = words[1] as number;
  for (let i = 1; i < count; i++) {
    const lo = words[2 * i] as number;
    const hi = words[2 * i + 1] as number;
    const beforeHi = words[2 * i - 1] as number;
    if (hi < beforeHi || (hi === beforeHi && lo < (words[2 * i - 2] as number))) sorted = false;
    differLo |= lo ^ firstLo;
    differHi |= hi ^ firstHi;
  }
  if (sorted) return undefined;
  if (orderA.length < count) {
    orderA = new Uint32Array(Math.max(count, 2 * orderA.length));
    orderB = new Uint32Array(orderA.length);
  }
  let from = orderA;
  let to = orderB;
  for (let i = 0; i < count; i++) from[i] = i;
  for (let byte = 0; byte < 8; byte++) {
    const shift = (byte & 3) * 8;
    const word = byte >> 2;
    const differ = word === 0 ? differLo : differHi;
    if (((differ >>> shift) & 255) === 0) continue;
    counts.fill(0);
    for (let i = 0; i < count; i++) {
      const digit = ((words[2 * i + word] as number) >>> shift) & 255;
      (counts[digit] as number)++;
    }
    let at = 0;
    for (let digit = 0; digit < 256; digit++) {
      const here = counts[digit] as number;
      counts[digit] = at;
      at += here;
    }
    for (let k = 0; k < count; k++) {
      const i = from[k] as number;
      const digit = ((words[2 * i + word] as number) >>> shift) & 255;
      const slot = counts[digit] as number;
      counts[digit] = slot + 1;
      to[slot] = i;
    }
    const swap = from;
    from = to;
    to = swap;
  }
  return from;
}
