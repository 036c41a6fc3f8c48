/** Cuts the rows of a batch into MEMs, a block's worth at a time. */
import type { Batch } from "../../src/io/batch.hot.js";
import { type Fault, fault } from "../../src/io/fault.js";
import type { AddressRanges } from "../../src/io/ranges.js";
import type { MemoryBases } from "../memory-bases.hot.js";
import { hasMemory, NO_MEMORY } from "./row-memory.js";
import type { ScatterBlock } from "./scatter-block.hot.js";

const PAGE = 4096;
/** Fewer bytes are copied for less than it takes to find out where they belong. */
const MIN_DIRECT = 1024;
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
  /** The range that was found last. */
  #start = 0;
  #end = 0;
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

  /**
   * Fills a block that is empty. What is in no range fails at once.
   *
   * @param bases For a read whose bytes may go straight to the rows' memory.
   * @returns whether there is anything in it.
   */
  fill(block: ScatterBlock, bases?: MemoryBases): boolean {
    const batch = this.#batch;
    const { unit, disjoint } = this.#form;
    if (disjoint) this.#touched.clear();
    while (this.#row < batch.length) {
      const row = this.#row;
      const length = batch.lengths[row] as number;
      const address = batch.address(row);
      if (!hasMemory(batch, row, length)) {
        batch.failRange(row, this.#at, length, NO_MEMORY);
        this.#at = length;
      }
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
        const inPage = start & (PAGE - 1);
        const bytes = Math.min(length - at, PAGE - inPage, inside);
        const lead = inPage & (unit - 1);
        const tail = -(inPage + bytes) & (unit - 1);
        if (disjoint && !this.#isFree(start - lead, bytes + lead + tail)) return true;
        const place =
          bases !== undefined && bytes >= MIN_DIRECT && (lead | tail) === 0 ? placeOf(batch, row, bases) : 0;
        block.add(row, at, start, bytes, lead, tail, place === 0 ? 0 : place + at);
        this.#at = at + bytes;
      }
      this.#row++;
      this.#at = 0;
    }
    return block.count > 0;
  }

  /** Bytes from there to the end of its range; 0 or below: minus those to the next range. */
  #insideFrom(address: number): number {
    if (address >= this.#start && address < this.#end) return this.#end - address;
    const ranges = this.#ranges;
    const i = ranges.indexAfter(address);
    const start = ranges.starts[i] ?? Number.POSITIVE_INFINITY;
    if (start > address) return address - start;
    this.#start = start;
    this.#end = ranges.ends[i] as number;
    return this.#end - address;
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

/** Where a row's first byte belongs, or 0. */
function placeOf({ memory, offsets }: Batch, row: number, bases: MemoryBases): number {
  const base = bases.of(memory[row] as Uint8Array);
  return base === 0 ? 0 : base + (offsets[row] as number);
}
