/** Order of addresses and offsets, for which `Math.min` and its like have no bigints. */

/** For `sort`. */
export function compare(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** The smaller of two. */
export function lesser(a: bigint, b: bigint): bigint {
  if (a < b) return a;
  return b;
}

/** The larger of two. */
export function greater(a: bigint, b: bigint): bigint {
  if (a > b) return a;
  return b;
}
