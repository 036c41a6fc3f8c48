/**
 * Pages of zeros in kallsyms' table of addresses, as dumps have for pages that they lost without saying so. As offsets, they would
 * be the image's beginning, or an address of 0. A symbol that is there has zeros only where a table begins, with what lies lowest.
 */
import type { Names } from "./kallsyms.js";

/** Rows of the table: from the first to the one before `to`. */
export interface BlankRows {
  readonly from: number;
  readonly to: number;
}

/** Symbols of the lowest address there may be: some ten are (`_text`, `startup_64` and such, or the per-CPU area's first). */
const MOST_LOWEST = 64;
const PAGE = 4096n;

/**
 * The rows of a table that are blank: zeros from one page's beginning to the end of that or another one, as far as the table is there.
 *
 * @param table Its entries: offsets or pointers.
 * @param start Where it is.
 * @param size  Bytes of an entry.
 */
export function blankRows(
  table: Int32Array | BigUint64Array,
  start: bigint,
  size: number,
): readonly BlankRows[] {
  const zero = typeof table[0] === "bigint" ? 0n : 0;
  const next = (from: number) =>
    (table as { indexOf(value: unknown, from: number): number }).indexOf(zero, from);
  const endOf = (from: number) => {
    let to = from;
    while (to < table.length && table[to] === zero) to++;
    return to;
  };
  const isEdge = (row: number) => (start + BigInt(row * size)) % PAGE === 0n;
  const rows: BlankRows[] = [];
  const lowest = endOf(0);
  if (lowest > MOST_LOWEST || (lowest > 0 && isEdge(lowest))) rows.push({ from: 0, to: lowest });
  for (let from = next(lowest); from >= 0; ) {
    const to = endOf(from);
    if (isEdge(from) && (to === table.length || isEdge(to))) rows.push({ from, to });
    from = next(to);
  }
  return rows;
}

/** The columns without some rows. */
export function withoutRows(
  addresses: BigUint64Array,
  { bytes, starts, lengths, hashes }: Names,
  rows: readonly BlankRows[],
): { addresses: BigUint64Array; names: Names; gaps: ReadonlySet<number> } {
  const kept = rows.reduce((count, { from, to }) => count - (to - from), addresses.length);
  const left = {
    addresses: new BigUint64Array(kept),
    names: {
      bytes,
      starts: new Uint32Array(kept),
      lengths: new Uint16Array(kept),
      hashes: new Int32Array(kept),
    },
    gaps: new Set<number>(),
  };
  let at = 0;
  let begin = 0;
  for (const { from, to } of [...rows, { from: addresses.length, to: addresses.length }]) {
    left.addresses.set(addresses.subarray(begin, from), at);
    left.names.starts.set(starts.subarray(begin, from), at);
    left.names.lengths.set(lengths.subarray(begin, from), at);
    left.names.hashes.set(hashes.subarray(begin, from), at);
    at += from - begin;
    begin = to;
    if (to > from) left.gaps.add(at - 1);
  }
  return left;
}
