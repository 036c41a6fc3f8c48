/** Rows side by side, read in one call of the system straight into the memory of each. */
import { HIGH } from "../src/io/address.js";
import type { Batch } from "../src/io/batch.hot.js";

/**
 * Rows from this many bytes on: shorter ones are read through memory in between (`near-rows.ts`), which costs less than
 * naming the place of each.
 */
const MIN_ROW = 4096;
/** Places in one call (Linux: IOV_MAX). */
const MAX_ROWS = 1024;

/** Reads into the memory of each in turn. @returns how many bytes it could; may throw. */
export type ReadPlaces = (places: readonly Uint8Array[], position: number) => number;

/**
 * Where the rows end (exclusive) that lie side by side from `row` on, without a gap. Rows are ascending, of a source
 * whose addresses stay below 2^53.
 *
 * @param maxBytes In all; the first row alone may have more.
 */
export function adjacentEnd(batch: Batch, row: number, maxBytes: number): number {
  const { lengths, words } = batch;
  const most = Math.min(batch.length, row + MAX_ROWS);
  let length = lengths[row] as number;
  let total = length;
  let next = row + 1;
  if (next >= most || length < MIN_ROW) return next;
  let end = batch.address(row) + length;
  for (; next < most; next++) {
    if ((words[2 * next + 1] as number) * HIGH + (words[2 * next] as number) !== end) break;
    length = lengths[next] as number;
    total += length;
    if (length < MIN_ROW || total > maxBytes) break;
    end += length;
  }
  return next;
}

/** Reads rows that lie side by side. Those that did not come whole are left without an answer: to be read by themselves. */
export function readAdjacent(batch: Batch, first: number, end: number, read: ReadPlaces): void {
  const places: Uint8Array[] = [];
  for (let row = first; row < end; row++) places.push(batch.bytes(row));
  let left: number;
  try {
    left = read(places, batch.address(first));
  } catch {
    return;
  }
  for (let row = first; row < end; row++) {
    left -= batch.lengths[row] as number;
    if (left < 0) return;
    batch.status[row] = 0;
  }
}
