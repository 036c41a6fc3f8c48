/** What is there of each block of an address space: the numbers under the pictures of `memtool coverage`. */
import type { PhysicalRange } from "../src/memory/index.js";
import { UsageError } from "./errors.js";
import { bytesText } from "./render/numbers.js";

/** The least block: bounds of ranges up to 2^64 are exact only as multiples of a page. */
export const LEAST_BLOCK = 4096;
const LEAST_EXPONENT = 12;
/** No address space needs larger ones. */
const EXPONENTS = 64;

/** What is there of a block. Bytes; what is neither present nor excluded is outside. */
export interface Block {
  readonly start: number;
  /** Exclusive; of the last block where the address space ends, not beyond it. */
  readonly end: number;
  readonly present: number;
  /** Of those present. */
  readonly zero: number;
  readonly excluded: number;
}

/** How a block is drawn: `most`, `some` and `few` are partly present: over two thirds, over one third, less. */
export type BlockKind = "present" | "zero" | "most" | "some" | "few" | "excluded" | "outside";

/** See {@link BlockKind}. What is partly zero counts as what is there. */
export function kindOf({ start, end, present, zero, excluded }: Block): BlockKind {
  const size = end - start;
  if (present === 0) return excluded === 0 ? "outside" : "excluded";
  if (present === size) return zero === size ? "zero" : "present";
  return 3 * present > 2 * size ? "most" : 3 * present > size ? "some" : "few";
}

/** Blocks of an address space: columns, a row for each that is not all `outside`. */
export class Coverage {
  /** Bytes, a power of two. */
  readonly blockSize: number;
  /** Where the last range ends, exclusive. */
  readonly end: number;
  /** Blocks that are not all outside, ascending. */
  length = 0;
  #numbers = new Float64Array(64);
  #present = new Float64Array(64);
  #zero = new Float64Array(64);
  #excluded = new Float64Array(64);

  /**
   * @param ranges    Ascending and disjoint.
   * @param limit     Blocks at most.
   * @throws {UsageError} for more than that.
   */
  constructor(ranges: Iterable<PhysicalRange>, end: number, blockSize: number, limit = 2 ** 20) {
    this.blockSize = blockSize;
    this.end = end;
    for (const { start, end: stop, state, zero = false } of ranges) {
      const last = Math.ceil(stop / blockSize) - 1;
      for (let block = Math.floor(start / blockSize); block <= last; block++) {
        const row = this.#rowOf(block, limit);
        const from = Math.max(start, block * blockSize);
        const bytes = Math.min(stop, (block + 1) * blockSize) - from;
        const column = state === "excluded" ? this.#excluded : this.#present;
        column[row] = (column[row] as number) + bytes;
        if (zero) this.#zero[row] = (this.#zero[row] as number) + bytes;
      }
    }
  }

  #rowOf(block: number, limit: number): number {
    if (this.length > 0 && this.#numbers[this.length - 1] === block) return this.length - 1;
    if (this.length === limit) {
      throw new UsageError(
        `more than ${limit} blocks of ${bytesText(this.blockSize)}: choose larger ones (--block SIZE)`,
      );
    }
    if (this.length === this.#numbers.length) {
      this.#numbers = grown(this.#numbers);
      this.#present = grown(this.#present);
      this.#zero = grown(this.#zero);
      this.#excluded = grown(this.#excluded);
    }
    this.#numbers[this.length] = block;
    return this.length++;
  }

  /** The blocks that are not all outside, ascending. */
  *blocks(): Generator<Block, void, void> {
    for (let i = 0; i < this.length; i++) yield this.#block(i);
  }

  #block(i: number): Block {
    const start = (this.#numbers[i] as number) * this.blockSize;
    return {
      start,
      end: Math.min(start + this.blockSize, this.end),
      present: this.#present[i] as number,
      zero: this.#zero[i] as number,
      excluded: this.#excluded[i] as number,
    };
  }

  /**
   * Rows of `perRow` blocks each, ascending. A row begins at a multiple of its size; the last one ends with the address
   * space. Rows that are all outside come as one gap.
   */
  *rows(perRow: number): Generator<Row, void, void> {
    const rowSize = this.blockSize * perRow;
    let at = 0;
    for (let i = 0; i < this.length; ) {
      const start = Math.floor(((this.#numbers[i] as number) * this.blockSize) / rowSize) * rowSize;
      if (start > at) yield { start: at, end: start, blocks: undefined };
      const end = Math.min(start + rowSize, this.end);
      const blocks: Block[] = [];
      for (let from = start; from < end; from += this.blockSize) {
        if (i < this.length && (this.#numbers[i] as number) * this.blockSize === from)
          blocks.push(this.#block(i++));
        else {
          const until = Math.min(from + this.blockSize, end);
          blocks.push({ start: from, end: until, present: 0, zero: 0, excluded: 0 });
        }
      }
      yield { start, end, blocks };
      at = start + rowSize;
    }
  }
}

/** A row of blocks, or a gap of such rows that are all outside. */
export interface Row {
  readonly start: number;
  /** Exclusive. */
  readonly end: number;
  readonly blocks: readonly Block[] | undefined;
}

function grown(column: Float64Array): Float64Array<ArrayBuffer> {
  const larger = new Float64Array(2 * column.length);
  larger.set(column);
  return larger;
}

/**
 * The least power of two as a block's size with which a picture has at most `maxRows` lines: those of {@link Coverage.rows}.
 *
 * @param ranges Ascending and disjoint. Looked at once.
 */
export function chooseBlock(
  ranges: Iterable<{ readonly start: number; readonly end: number }>,
  perRow: number,
  maxRows: number,
): number {
  // Lines, and the row behind the last one with something in it, for each exponent; larger blocks never need more lines.
  const lines = new Float64Array(EXPONENTS);
  const next = new Float64Array(EXPONENTS);
  let least = LEAST_EXPONENT;
  for (const { start, end } of ranges) {
    for (let exponent = least; exponent < EXPONENTS; exponent++) {
      const rowSize = perRow * 2 ** exponent;
      const before = next[exponent] as number;
      const after = Math.ceil(end / rowSize);
      // In a row that has something already; so are the larger rows around it.
      if (after <= before) break;
      const first = Math.floor(start / rowSize);
      const gap = first > before ? 1 : 0;
      lines[exponent] = (lines[exponent] as number) + gap + after - Math.max(first, before);
      next[exponent] = after;
      if ((lines[exponent] as number) > maxRows) least = exponent + 1;
    }
  }
  return 2 ** Math.min(least, EXPONENTS - 1);
}
