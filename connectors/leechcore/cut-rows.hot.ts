/** Cuts the rows of a batch into MEMs, a block's worth at a time. */
import type { Batch } from "../../src/io/batch.hot.js";
import { type Fault, fault } from "../../src/io/fault.js";
import type { AddressRanges } from "../../src/io/ranges.js";
import type { ScatterBlock } from "./scatter-block.hot.js";

const PAGE = 4096;
const OUTSIDE: Fault = fault("outside", "address", "connector");

/** How a device wants its MEMs. */
export interface MemForm {
  /** MEMs begin and end at multiples of this; a power of 2, at most a page. */
  readonly unit: number;
  /** No two MEMs of a call may touch the same bytes: the device may move them in any order. */
  readonly disjoint: boolean;
}

/** Where the next MEM begins. */
export class RowCutter {
  readonly #batch: Batch;
  readonly #ranges: AddressRanges;
  readonly #form: MemForm;
  #row = 0;
  /** Of the row. */
  #at = 0;
  /** Of each page in the block, the first and the last byte that is moved. */
  readonly #touched = new Map<number, { start: number; end: number }>();

  constructor(batch: Batch, ranges: AddressRanges, form: MemForm) {
    this.#batch = batch;
    this.#ranges = ranges;
    this.#form = form;
  }

  /** MEMs that the rest takes at least, up to `most`. */
  estimate(most: number): number {
    const { lengths, length } = this.#batch;
    let mems = 0;
    for (let row = this.#row; row < length && mems < most; row++) {
      mems += Math.ceil((lengths[row] as number) / PAGE) + 1;
    }
    return Math.min(mems, most);
  }

  /** Fills a block that is empty. What is in no range fails at once. @returns whether there is anything in it. */
  fill(block: ScatterBlock): boolean {
    const batch = this.#batch;
    const { unit, disjoint } = this.#form;
    if (disjoint) this.#touched.clear();
    while (this.#row < batch.length) {
      const row = this.#row;
      const length = batch.lengths[row] as number;
      const address = batch.address(row);
      while (this.#at < length) {
        if (block.isFull) return true;
        const at = this.#at;
        const start = address + at;
        const inside = this.#insideFrom(start);
        if (inside <= 0) {
          const end = Math.min(length, at - inside);
          batch.failRange(row, at, end, OUTSIDE);
          this.#at = end;
          continue;
        }
        const inPage = start % PAGE;
        const bytes = Math.min(length - at, PAGE - inPage, inside);
        const lead = inPage % unit;
        const over = (inPage + bytes) % unit;
        const tail = over === 0 ? 0 : unit - over;
        if (disjoint && !this.#isFree(start - lead, bytes + lead + tail)) return true;
        block.add(row, at, start, bytes, lead, tail);
        this.#at = at + bytes;
      }
      this.#row++;
      this.#at = 0;
    }
    return block.count > 0;
  }

  /** Bytes from there to the end of its range; 0 or below: minus those to the next range. */
  #insideFrom(address: number): number {
    const ranges = this.#ranges;
    const i = ranges.indexAfter(address);
    const start = ranges.starts[i] ?? Number.POSITIVE_INFINITY;
    return start <= address ? (ranges.ends[i] as number) - address : address - start;
  }

  #isFree(start: number, bytes: number): boolean {
    const page = Math.floor(start / PAGE);
    const end = start + bytes;
    const touched = this.#touched.get(page);
    if (touched === undefined) {
      this.#touched.set(page, { start, end });
      return true;
    }
    if (start < touched.end && end > touched.start) return false;
    touched.start = Math.min(touched.start, start);
    touched.end = Math.max(touched.end, end);
    return true;
  }
}
