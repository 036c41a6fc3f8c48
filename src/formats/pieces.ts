/** A file put together from pieces of another: the layer under ELF segments and flattened dumps. */
import { HIGH } from "../io/address.js";
import { addressAt, type Column, type ColumnIo, sendColumn } from "../io/column.js";
import {
  type BoundView,
  EXCLUDED_REASONS,
  type ExcludedReason,
  type Fault,
  fault,
  type PacketIo,
  READ_ONLY,
  type Scheduler,
} from "../io/index.js";
import { ascendingOrder } from "../io/radix-order.hot.js";
import { firstEndingAfter } from "../io/ranges.js";
import { type PhysicalMap, PhysicalMapBuilder } from "../memory/physical-map.js";

/** The fault of RAM that has no bytes in the dump, for this reason. */
export function excluded(reason: ExcludedReason): Fault {
  const subject = reason === "truncated" ? "file" : "page";
  return fault("excluded", subject, "format", EXCLUDED_REASONS.indexOf(reason));
}

/** No bytes there because the file ends too early. */
export const TRUNCATED: Fault = excluded("truncated");
/** The dump left these bytes out and does not say why. */
export const LEFT_OUT: Fault = excluded("unknown");
/** No memory at this physical address. */
export const NO_MEMORY: Fault = fault("outside", "address", "format");

/** Where the bytes of an interval are: a file offset, or one of these. */
export const AT_LEFT_OUT = -1;
export const AT_TRUNCATED = -2;
/** They are zero, and the file has no bytes for them. */
export const AT_ZERO = -3;
/** They are not in the file, which can't tell whether they were RAM. */
export const AT_OR_OUTSIDE = -4;

/** Why there are no bytes, by the negative of `AT_…`; `undefined`: they are zero. */
const REASONS: readonly (ExcludedReason | undefined)[] = [
  "unknown",
  "unknown",
  "truncated",
  undefined,
  "or outside",
];

/** Growing columns of intervals: `start`, `end` (exclusive), and the file offset of its first byte (or `AT_…`). */
export class Intervals {
  starts = new Float64Array(64);
  ends = new Float64Array(64);
  targets = new Float64Array(64);
  length = 0;

  push(start: number, end: number, target: number): void {
    if (this.length === this.starts.length) {
      this.starts = grown(this.starts);
      this.ends = grown(this.ends);
      this.targets = grown(this.targets);
    }
    this.starts[this.length] = start;
    this.ends[this.length] = end;
    this.targets[this.length] = target;
    this.length++;
  }

  /** Index of the first interval that ends above `address`, in ascending, disjoint intervals. */
  indexAfter(address: number): number {
    return firstEndingAfter(this.ends, address, this.length);
  }
}

function grown(column: Float64Array): Float64Array<ArrayBuffer> {
  const larger = new Float64Array(column.length * 2);
  larger.set(column);
  return larger;
}

/**
 * Ascending, disjoint intervals of intervals in any order that may overlap.
 *
 * @param wins Where several cover an address: the `first` or the `last` of them. (With `first`, one that has bytes
 * beats those that say why there are none.)
 */
export function layIntervals(all: Intervals, wins: "first" | "last"): Intervals {
  const { starts, ends, targets, length } = all;
  const words = new Uint32Array(2 * length);
  for (let i = 0; i < length; i++) {
    const start = starts[i] as number;
    words[2 * i] = start >>> 0;
    words[2 * i + 1] = Math.floor(start / HIGH);
  }
  // Nobody else sorts before this is done with it.
  const order = ascendingOrder(words, length);
  let disjoint = true;
  for (let k = 1; k < length && disjoint; k++) {
    disjoint = (starts[order[k] as number] as number) >= (ends[order[k - 1] as number] as number);
  }
  const laid = new Intervals();
  if (disjoint) {
    for (let k = 0; k < length; k++) {
      const i = order[k] as number;
      append(laid, starts[i] as number, ends[i] as number, targets[i] as number);
    }
    return laid;
  }
  // A sweep over the bounds: the best interval that covers each stretch is on top of a heap.
  const better = (a: number, b: number) => {
    if (wins === "last") return a > b;
    const missingA = isMissing(targets[a] as number);
    const missingB = isMissing(targets[b] as number);
    return missingA === missingB ? a < b : missingB;
  };
  const bounds = new Float64Array(2 * length);
  bounds.set(starts.subarray(0, length), 0);
  bounds.set(ends.subarray(0, length), length);
  bounds.sort();
  const heap: number[] = [];
  let next = 0;
  for (let k = 0; k + 1 < bounds.length; k++) {
    const from = bounds[k] as number;
    const to = bounds[k + 1] as number;
    while (next < length && (starts[order[next] as number] as number) <= from) {
      pushHeap(heap, order[next] as number, better);
      next++;
    }
    if (from === to) continue;
    while (heap.length > 0 && (ends[heap[0] as number] as number) <= from) popHeap(heap, better);
    const best = heap[0];
    if (best === undefined) continue;
    const target = targets[best] as number;
    append(laid, from, to, target < 0 ? target : target + (from - (starts[best] as number)));
  }
  return laid;
}

function isMissing(target: number): boolean {
  return target < 0 && target !== AT_ZERO;
}

/** Adds an interval behind the last one, merged with it if it continues it. */
function append(laid: Intervals, start: number, end: number, target: number): void {
  if (end <= start) return;
  const last = laid.length - 1;
  if (last >= 0 && laid.ends[last] === start) {
    const before = laid.targets[last] as number;
    if (
      target < 0
        ? before === target
        : before >= 0 && before + (start - (laid.starts[last] as number)) === target
    ) {
      laid.ends[last] = end;
      return;
    }
  }
  laid.push(start, end, target);
}

type Better = (a: number, b: number) => boolean;

function pushHeap(heap: number[], item: number, better: Better): void {
  let at = heap.length;
  heap.push(item);
  while (at > 0) {
    const parent = (at - 1) >> 1;
    if (!better(item, heap[parent] as number)) break;
    heap[at] = heap[parent] as number;
    at = parent;
  }
  heap[at] = item;
}

function popHeap(heap: number[], better: Better): void {
  const item = heap.pop() as number;
  if (heap.length === 0) return;
  let at = 0;
  for (;;) {
    let child = 2 * at + 1;
    if (child >= heap.length) break;
    if (child + 1 < heap.length && better(heap[child + 1] as number, heap[child] as number)) child++;
    if (!better(heap[child] as number, item)) break;
    heap[at] = heap[child] as number;
    at = child;
  }
  heap[at] = item;
}

const FAULTS: readonly Fault[] = REASONS.map((reason) => (reason === undefined ? 0 : excluded(reason)));

/** A source of zeros, for what reads as such. */
const ZEROS = new Uint8Array(65_536);

/**
 * What laid intervals say of physical memory; gaps are `outside`.
 *
 * @param tellZeros Whether those that are `AT_ZERO` are marked as zero.
 */
export function mapOfPieces(pieces: Intervals, tellZeros = false): PhysicalMap {
  const map = new PhysicalMapBuilder();
  for (let i = 0; i < pieces.length; i++) {
    const target = pieces.targets[i] as number;
    const reason = target >= 0 ? undefined : REASONS[-target];
    map.push(
      pieces.starts[i] as number,
      pieces.ends[i] as number,
      reason === undefined ? "present" : "excluded",
      reason,
      tellZeros && target === AT_ZERO,
    );
  }
  return map.build();
}

/** A layer over laid intervals. Views are split at their bounds and forwarded, so no byte is copied. */
export class PieceIo implements PacketIo<number>, ColumnIo {
  readonly #file: PacketIo<number>;
  readonly #pieces: Intervals;
  readonly #gap: Fault;
  readonly #end: number;

  /**
   * @param gap What addresses between intervals fail with; 0: they read as zeros.
   * @param end From here on everything fails as `outside`.
   */
  constructor(file: PacketIo<number>, pieces: Intervals, gap: Fault, end = Number.POSITIVE_INFINITY) {
    this.#file = file;
    this.#pieces = pieces;
    this.#gap = gap;
    this.#end = end;
  }

  get scheduler(): Scheduler | undefined {
    return this.#file.scheduler;
  }

  sendIo(address: number, view: BoundView): void {
    const { starts, ends, targets, length } = this.#pieces;
    let at = address;
    let rest: BoundView | undefined = view;
    let i = this.#pieces.indexAfter(at);
    while (rest !== undefined) {
      const piece: BoundView = rest;
      const start = i < length ? (starts[i] as number) : Number.POSITIVE_INFINITY;
      const inside = start <= at;
      const stop = inside ? (ends[i] as number) : at >= this.#end ? start : Math.min(start, this.#end);
      const room = stop - at;
      rest = piece.length > room ? piece.split(room) : undefined;
      const moved = piece.length;
      if (inside) {
        const target = targets[i] as number;
        // The sum of two addresses may be more than a double can tell from the next one; their difference never is.
        if (target >= 0) this.#file.sendIo(target + (at - start), piece);
        else if (target === AT_ZERO) answerZeros(piece);
        else piece.fail(FAULTS[-target] as Fault);
        i++;
      } else if (at >= this.#end || !(at >= 0)) {
        piece.fail(NO_MEMORY);
      } else if (this.#gap !== 0) {
        piece.fail(this.#gap);
      } else {
        answerZeros(piece);
      }
      at += moved;
    }
  }

  /** Forwards runs of records that lie in one piece each, at their file offsets; the others one by one. */
  sendColumn(column: Column, from: number, view: BoundView): void {
    const { size } = column;
    const count = view.length / size;
    const words = new Uint32Array(2 * count);
    const moved: Column = { words, size };
    let rest: BoundView | undefined = view;
    for (let first = 0; rest !== undefined; ) {
      const piece: BoundView = rest;
      const end = this.#moveRecords(column, from, first, count, words);
      rest = undefined;
      if (end > first) {
        if (end < count) rest = piece.split((end - first) * size);
        sendColumn(this.#file, moved, first, piece);
      } else {
        if (end + 1 < count) rest = piece.split(size);
        this.sendIo(addressAt(column, from + end) as number, piece);
      }
      first = Math.max(end, first + 1);
    }
  }

  /** @returns the first record (from `first` on) that does not lie in one piece, or has no bytes in the file. */
  #moveRecords(column: Column, from: number, first: number, count: number, moved: Uint32Array): number {
    const { starts, ends, targets } = this.#pieces;
    const { words, size } = column;
    // Half open: an address in it is `shift` further on in the file.
    let start = 0;
    let end = 0;
    let shift = 0;
    for (let i = first; i < count; i++) {
      const word = 2 * (from + i);
      const address = (words[word + 1] as number) * HIGH + (words[word] as number);
      if (!(address >= start && address + size <= end)) {
        const piece = this.#pieces.indexAfter(address);
        const target = piece < this.#pieces.length ? (targets[piece] as number) : -1;
        start = starts[piece] as number;
        end = ends[piece] as number;
        shift = target - start;
        if (!(target >= 0 && address >= start && address + size <= end)) return i;
      }
      const at = address + shift;
      const low = at >>> 0;
      moved[2 * i] = low;
      moved[2 * i + 1] = (at - low) / HIGH;
    }
    return count;
  }
}

/** Answers a read with zeros. */
export function answerZeros(view: BoundView): void {
  if (view.direction !== "read") return view.fail(READ_ONLY);
  let rest = view;
  while (rest.length > ZEROS.length) {
    const tail = rest.split(ZEROS.length);
    rest.transfer(ZEROS);
    rest = tail;
  }
  rest.transfer(ZEROS);
}
