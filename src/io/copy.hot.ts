/** Copies between byte arrays; `set` with `subarray` costs 50 to 80 ns before the first byte, so short runs loop. */
const SHORT = 64;

/** Copies `length` bytes; the caller has checked the ranges. */
export function copyBytes(
  from: Uint8Array,
  fromAt: number,
  to: Uint8Array,
  toAt: number,
  length: number,
): void {
  if (length > SHORT) {
    to.set(from.subarray(fromAt, fromAt + length), toAt);
    return;
  }
  for (let i = 0; i < length; i++) to[toAt + i] = from[fromAt + i] as number;
}

/** Trades `length` bytes; the caller has checked the ranges, and that they do not overlap. */
export function swapBytes(a: Uint8Array, aAt: number, b: Uint8Array, bAt: number, length: number): void {
  for (let i = 0; i < length; i++) {
    const byte = a[aAt + i] as number;
    a[aAt + i] = b[bAt + i] as number;
    b[bAt + i] = byte;
  }
}
