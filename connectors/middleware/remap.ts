/** Memory that lies elsewhere: ranges of physical addresses, each at an address of a source. */
import type { RawRange } from "../../src/formats/index.js";
import {
  AddressRanges,
  Batch,
  type Fault,
  OUTSIDE,
  ROW_UNANSWERED,
  type Source,
} from "../../src/io/index.js";
import { MovedParts } from "./moved.js";
import { wrapSource } from "./wrap-source.js";

/**
 * A source of physical memory whose ranges lie at addresses of another source: a guest's RAM in the process that runs it, or what
 * a probe shows at other addresses.
 *
 * What a range has no memory for in the other source fails as that one says; what is in no range is `outside`.
 *
 * @param map `start` and `end` are physical; `offset` is the other source's address of `start`, below 2^53.
 * @throws {RangeError} for ranges that overlap.
 *
 * @example
 * const guest = withMap(openProcess(pid), [{ start: 0, end: 0x8000_0000, offset: 0x7f12_0000_0000 }]);
 */
export function withMap<S extends Source>(source: S, map: readonly RawRange[]): S {
  const ranges = [...map].filter(({ start, end }) => start < end).sort((a, b) => a.start - b.start);
  ranges.forEach(({ start }, i) => {
    if (i > 0 && start < (ranges[i - 1] as RawRange).end) throw new RangeError("withMap: ranges overlap");
  });
  const { transfer, transferSync } = source;
  return wrapSource(source, {
    // They are of other addresses.
    maps: undefined,
    findHoles: undefined,
    size: undefined,
    ranges: () => mappedRanges(ranges, source.ranges()),
    transferSync:
      transferSync === undefined
        ? undefined
        : (batch) => {
            const pieces = new Pieces(batch, ranges, false);
            let thrown = true;
            try {
              transferSync.call(source, pieces.batch);
              thrown = false;
            } finally {
              pieces.answer(thrown);
            }
          },
    transfer:
      transfer === undefined
        ? undefined
        : async (batch) => {
            const pieces = new Pieces(batch, ranges, transferSync !== undefined);
            let thrown = true;
            try {
              await transfer.call(source, pieces.batch);
              thrown = false;
            } finally {
              pieces.answer(thrown);
            }
          },
  });
}

/** What exists of the ranges. */
function mappedRanges(ranges: readonly RawRange[], below: AddressRanges): AddressRanges {
  const found: { start: number; end: number }[] = [];
  for (const { start, end, offset } of ranges) {
    const last = offset + (end - start);
    for (let i = below.indexAfter(offset); i < below.length; i++) {
      const from = Math.max(offset, below.starts[i] as number);
      const to = Math.min(last, below.ends[i] as number);
      if (from >= last) break;
      found.push({ start: start + (from - offset), end: start + (to - offset) });
    }
  }
  return AddressRanges.from(found);
}

/** A batch's rows, cut where the ranges end, and under the other source's addresses. */
class Pieces {
  readonly batch = new Batch();
  readonly #outer: Batch;
  /** Of each row of `batch`: the row that it is of, and where in that one it begins. */
  readonly #rows: number[] = [];
  readonly #starts: number[] = [];
  /** Parts of the outer rows that are in no range. */
  readonly #outside: { row: number; start: number; end: number }[] = [];
  readonly #copied: boolean;

  /**
   * @param copied Reads go through memory of our own: the outer batch's may be exchanged meanwhile (see `Source.transfer`).
   */
  constructor(outer: Batch, ranges: readonly RawRange[], copied: boolean) {
    this.#outer = outer;
    this.#copied = copied && outer.direction === "read";
    const pieces: { row: number; start: number; length: number; address: number }[] = [];
    for (let row = 0; row < outer.length; row++) this.#cut(row, ranges, pieces);
    // Reads are ascending for whoever gets them, writes in their order.
    if (outer.direction === "read") pieces.sort((a, b) => a.address - b.address);
    this.batch.reset(outer.direction, pieces.length);
    for (const { row, start, length, address } of pieces) {
      const lo = address >>> 0;
      const memory = this.#copied ? new Uint8Array(length) : (outer.memory[row] as Uint8Array);
      const offset = this.#copied ? 0 : (outer.offsets[row] as number) + start;
      this.batch.push(lo, (address - lo) / 2 ** 32, memory, offset, length);
      this.#rows.push(row);
      this.#starts.push(start);
    }
  }

  #cut(
    row: number,
    ranges: readonly RawRange[],
    pieces: { row: number; start: number; length: number; address: number }[],
  ): void {
    const from = this.#outer.address(row);
    const length = this.#outer.lengths[row] as number;
    let at = 0;
    for (let i = firstBehind(ranges, from); at < length; i++) {
      const range = ranges[i];
      const start = Math.min(length, (range?.start ?? Number.POSITIVE_INFINITY) - from);
      if (start > at) {
        this.#outside.push({ row, start: at, end: start });
        at = start;
      }
      if (range === undefined || at >= length) return;
      const end = Math.min(length, range.end - from);
      if (end <= at) continue;
      pieces.push({ row, start: at, length: end - at, address: range.offset + (from + at - range.start) });
      at = end;
    }
  }

  /**
   * Brings the answers back to the rows that the pieces are of.
   *
   * @param thrown Whether the other source threw: rows without an answer are then for whoever catches it.
   */
  answer(thrown: boolean): void {
    const outer = this.#outer;
    const open = new Set<number>();
    for (let i = 0; i < this.batch.length; i++) {
      if (thrown && this.batch.status[i] === ROW_UNANSWERED) open.add(this.#rows[i] as number);
    }
    for (let row = 0; row < outer.length; row++) if (!open.has(row)) outer.done(row);
    for (const { row, start, end } of this.#outside) {
      if (!open.has(row)) outer.failRange(row, start, end, OUTSIDE);
    }
    const parts = new MovedParts(this.batch);
    for (let i = 0; i < this.batch.length; i++) {
      if (!this.#copied && this.batch.status[i] === 0) continue;
      const row = this.#rows[i] as number;
      if (open.has(row)) continue;
      const origin = this.#starts[i] as number;
      for (const { start, end, fault } of parts.of(i)) this.#answerPart(i, row, origin, start, end, fault);
    }
  }

  #answerPart(i: number, row: number, origin: number, start: number, end: number, fault: Fault): void {
    if (fault !== 0) this.#outer.failRange(row, origin + start, origin + end, fault);
    else if (this.#copied)
      this.#outer.bytes(row).set(this.batch.bytes(i).subarray(start, end), origin + start);
  }
}

/** Index of the first range that ends behind an address. */
function firstBehind(ranges: readonly RawRange[], address: number): number {
  let low = 0;
  let high = ranges.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((ranges[middle] as RawRange).end > address) high = middle;
    else low = middle + 1;
  }
  return low;
}
