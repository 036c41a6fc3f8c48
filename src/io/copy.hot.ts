/**
 * Copies between byte arrays; `set` with `subarray` costs 50 to 80 ns before the first byte, so short runs loop: eight
 * bytes at a time, loads before stores (32 bytes take 32 ns so, and 50 to 70 byte by byte; 8 bytes 12 and 13).
 */
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
  let i = 0;
  for (; i + 8 <= length; i += 8) {
    const at = fromAt + i;
    const a = from[at] as number;
    const b = from[at + 1] as number;
    const c = from[at + 2] as number;
    const d = from[at + 3] as number;
    const e = from[at + 4] as number;
    const f = from[at + 5] as number;
    const g = from[at + 6] as number;
    const h = from[at + 7] as number;
    const put = toAt + i;
    to[put] = a;
    to[put + 1] = b;
    to[put + 2] = c;
    to[put + 3] = d;
    to[put + 4] = e;
    to[put + 5] = f;
    to[put + 6] = g;
    to[put + 7] = h;
  }
  for (; i < length; i++) to[toAt + i] = from[fromAt + i] as number;
}

/**
 * Copies records of `size` bytes from addresses (as `[lo, hi]` words, from index `first` on) to one place, one after
 * the other; the caller has checked the ranges.
 */
export function copyRecords(
  from: Uint8Array,
  addresses: Uint32Array,
  first: number,
  count: number,
  size: number,
  to: Uint8Array,
): void {
  const words = size <= SHORT && size % 4 === 0 && (from.byteOffset | to.byteOffset) % 4 === 0;
  if (!words) {
    for (let i = 0; i < count; i++) copyBytes(from, addressOf(addresses, first + i), to, i * size, size);
    return;
  }
  const source = new Uint32Array(from.buffer, from.byteOffset, Math.floor(from.length / 4));
  const target = new Uint32Array(to.buffer, to.byteOffset, (count * size) >>> 2);
  const length = size >>> 2;
  for (let i = 0, at = 0; i < count; i++, at += length) {
    const address = addressOf(addresses, first + i);
    if (address % 4 === 0) {
      const word = address / 4;
      for (let k = 0; k < length; k++) target[at + k] = source[word + k] as number;
    } else {
      for (let k = 0; k < size; k++) to[at * 4 + k] = from[address + k] as number;
    }
  }
}

function addressOf(addresses: Uint32Array, i: number): number {
  return (addresses[2 * i + 1] as number) * 4294967296 + (addresses[2 * i] as number);
}

/** Trades `length` bytes; the caller has checked the ranges, and that they do not overlap. */
export function swapBytes(a: Uint8Array, aAt: number, b: Uint8Array, bAt: number, length: number): void {
  for (let i = 0; i < length; i++) {
    const byte = a[aAt + i] as number;
    a[aAt + i] = b[bAt + i] as number;
    b[bAt + i] = byte;
  }
}
