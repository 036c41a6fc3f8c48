/** Sorting addresses without an object or a comparison each. */

const FIRST_CAPACITY = 64;

let orderA = new Uint32Array(FIRST_CAPACITY);
let orderB = new Uint32Array(FIRST_CAPACITY);
const counts = new Uint32Array(256);

/**
 * The order that sorts addresses ascending (stable). Radix sort, eight bits a pass; passes over bytes that all
 * addresses share are skipped.
 *
 * @param words Addresses as `[lo, hi]`.
 * @param lowest The first byte of an address that counts (0 to 7); lower ones are taken for equal.
 * @returns indices; valid up to `count`, and until the next call.
 */
export function ascendingOrder(words: Uint32Array, count: number, lowest = 0): Uint32Array {
  let differLo = 0;
  let differHi = 0;
  const firstLo = words[0] as number;
  const firstHi = words[1] as number;
  for (let i = 1; i < count; i++) {
    differLo |= (words[2 * i] as number) ^ firstLo;
    differHi |= (words[2 * i + 1] as number) ^ firstHi;
  }
  if (orderA.length < count) {
    orderA = new Uint32Array(Math.max(count, 2 * orderA.length));
    orderB = new Uint32Array(orderA.length);
  }
  let from = orderA;
  let to = orderB;
  for (let i = 0; i < count; i++) from[i] = i;
  for (let byte = lowest; byte < 8; byte++) {
    const shift = (byte & 3) * 8;
    const word = byte >> 2;
    const differ = word === 0 ? differLo : differHi;
    if (((differ >>> shift) & 255) === 0) continue;
    counts.fill(0);
    for (let i = 0; i < count; i++) {
      const digit = ((words[2 * i + word] as number) >>> shift) & 255;
      (counts[digit] as number)++;
    }
    let at = 0;
    for (let digit = 0; digit < 256; digit++) {
      const here = counts[digit] as number;
      counts[digit] = at;
      at += here;
    }
    for (let k = 0; k < count; k++) {
      const i = from[k] as number;
      const digit = ((words[2 * i + word] as number) >>> shift) & 255;
      const slot = counts[digit] as number;
      counts[digit] = slot + 1;
      to[slot] = i;
    }
    const swap = from;
    from = to;
    to = swap;
  }
  return from;
}
