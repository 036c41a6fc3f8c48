/** Rows near each other, read in one call of the system: through memory of ours, with a second copy to each. */

import { HIGH } from "../src/io/address.js";
import type { Batch } from "../src/io/batch.hot.js";
import { copyBytes } from "../src/io/copy.hot.js";

/** Bytes of one call, and of one run of rows: with 256 KiB the memory no longer fits the second-level cache, and a row costs a tenth more. */
export const MAX_RUN = 65_536;
/** High words from here on make addresses that a double does not hold exactly. */
const SAFE_HIGH = 0x20_0000;

/** Reads into the first `length` bytes of `into`. @returns how many it could; may throw. */
export type ReadAt = (into: Uint8Array, at: number, length: number, position: number) => number;

/** See the module's comment. */
export class NearRows {
  readonly #maxJoin: number;
  readonly #read: ReadAt;
  #scratch = new Uint8Array(0);

  /**
   * @param maxJoin Bytes of a row and of the gap before it up to which the second copy of both is cheaper than a call.
   */
  constructor(maxJoin: number, read: ReadAt) {
    this.#maxJoin = maxJoin;
    this.#read = read;
  }

  /** Where the rows that are read together with `row` end (exclusive). Rows are ascending. */
  end(batch: Batch, row: number): number {
    const { lengths, words } = batch;
    const most = this.#maxJoin;
    if ((lengths[row] as number) > most || (words[2 * row + 1] as number) >= SAFE_HIGH - 1) return row + 1;
    const start = batch.address(row);
    let stop = start + (lengths[row] as number);
    let next = row + 1;
    while (next < batch.length) {
      const address = (words[2 * next + 1] as number) * HIGH + (words[2 * next] as number);
      const length = lengths[next] as number;
      // (A row below the first would be copied from before the memory.)
      if (address < start || address - stop + length > most) break;
      if (length > most || address + length - start > MAX_RUN) break;
      stop = Math.max(stop, address + length);
      next++;
    }
    return next;
  }

  /** Reads rows together. Those that did not come whole are left without an answer: to be read by themselves. */
  read(batch: Batch, first: number, end: number): void {
    const { lengths } = batch;
    const start = batch.address(first);
    let stop = start;
    for (let row = first; row < end; row++) {
      stop = Math.max(stop, batch.address(row) + (lengths[row] as number));
    }
    if (this.#scratch.length === 0) this.#scratch = new Uint8Array(MAX_RUN);
    const scratch = this.#scratch;
    let got = 0;
    try {
      got = this.#read(scratch, 0, stop - start, start);
    } catch {
      return;
    }
    copyRows(batch, first, end, scratch, 0, got);
  }
}

/**
 * Copies rows out of memory that holds what lies from the first one's address on, from `at` on, `got` bytes of it. Those that
 * are not there whole are left without an answer.
 */
export function copyRows(
  batch: Batch,
  first: number,
  end: number,
  from: Uint8Array,
  at: number,
  got: number,
): void {
  const { lengths, memory, offsets, status } = batch;
  const start = batch.address(first);
  for (let row = first; row < end; row++) {
    const place = batch.address(row) - start;
    const length = lengths[row] as number;
    if (place + length > got) continue;
    copyBytes(from, at + place, memory[row] as Uint8Array, offsets[row] as number, length);
    status[row] = 0;
  }
}
