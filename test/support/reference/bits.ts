/** Bits of an entry or an address, written the way the manuals write them: `field(entry, 51, 12)` is "bits 51:12". */

/** Bit `n`. */
export const bit = (value: bigint, n: number): boolean => ((value >> BigInt(n)) & 1n) === 1n;

/** Bits `high:low` (inclusive) as a number of their own. */
export const bits = (value: bigint, high: number, low: number): bigint =>
  (value >> BigInt(low)) & ((1n << BigInt(high - low + 1)) - 1n);

/** Bits `high:low` (inclusive) left where they are, all others zero. */
export const field = (value: bigint, high: number, low: number): bigint =>
  bits(value, high, low) << BigInt(low);
