/** Sorting addresses without an object or a comparison each. */

const FIRST_CAPACITY = 64;
/** Up to so many are sorted by insertion: the counts of a pass over a byte alone take longer. */
const FEW = 24;
/** Memory for more (16 MiB) is let go by the next sort that needs less. */
const MANY = 2 ** 20;

let orderA = new Uint32Array(FIRST_CAPACITY);
let orderB = new Uint32Array(FIRST_CAPACITY);
let keysA = new Uint32Array(FIRST_CAPACITY);
let keysB = new Uint32Array(FIRST_CAPACITY);
const counts = new Uint32Array(256);

/**
 * The order that sorts addresses ascending (stable). Radix sort, eight bits a pass; passes over bytes that all
 * addresses share are skipped. Keys travel with their indices, so that passes read ahead instead of here and there.
 *
 * @param words Addresses as `[lo, hi]`.
 * @param lowest The first byte of an address that counts (0 to 3); lower ones are taken for equal.
 * @returns indices; valid up to `count`, and until the next call.
 */
export function ascendingOrder(words: Uint32Array, count: number, lowest = 0): Uint32Array {
  if (orderA.length < count || (orderA.length > MANY && count <= MANY)) {
    const capacity = Math.max(count, Math.min(2 * orderA.length, MANY));
    orderA = new Uint32Array(capacity);
    orderB = new Uint32Array(capacity);
    keysA = new Uint32Array(capacity);
    keysB = new Uint32Array(capacity);
  }
  if (count <= FEW) return insert(words, count, lowest);
  let differLo = 0;
  let differHi = 0;
  const firstLo = words[0] as number;
  const firstHi = words[1] as number;
  for (let i = 0; i < count; i++) {
    const lo = words[2 * i] as number;
    differLo |= lo ^ firstLo;
    differHi |= (words[2 * i + 1] as number) ^ firstHi;
    orderA[i] = i;
    keysA[i] = lo;
  }
  sortBytes(count, differLo, lowest);
  if (differHi === 0) return orderA;
  for (let k = 0; k < count; k++) keysA[k] = words[2 * (orderA[k] as number) + 1] as number;
  sortBytes(count, differHi, 0);
  return orderA;
}

/** Sorts `orderA` by `keysA`, as far as bytes of `differ` from `lowest` on tell. */
function sortBytes(count: number, differ: number, lowest: number): void {
  for (let byte = lowest; byte < 4; byte++) {
    const shift = byte * 8;
    if (((differ >>> shift) & 255) === 0) continue;
    pass(orderA, keysA, orderB, keysB, count, shift);
    const order = orderA;
    orderA = orderB;
    orderB = order;
    const keys = keysA;
    keysA = keysB;
    keysB = keys;
  }
}

function pass(
  fromOrder: Uint32Array,
  fromKeys: Uint32Array,
  toOrder: Uint32Array,
  toKeys: Uint32Array,
  count: number,
  shift: number,
): void {
  counts.fill(0);
  for (let k = 0; k < count; k++) (counts[((fromKeys[k] as number) >>> shift) & 255] as number)++;
  let at = 0;
  for (let digit = 0; digit < 256; digit++) {
    const here = counts[digit] as number;
    counts[digit] = at;
    at += here;
  }
  for (let k = 0; k < count; k++) {
    const key = fromKeys[k] as number;
    const digit = (key >>> shift) & 255;
    const slot = counts[digit] as number;
    counts[digit] = slot + 1;
    toOrder[slot] = fromOrder[k] as number;
    toKeys[slot] = key;
  }
}

function insert(words: Uint32Array, count: number, lowest: number): Uint32Array {
  const shift = lowest * 8;
  for (let i = 0; i < count; i++) {
    const lo = (words[2 * i] as number) >>> shift;
    const hi = words[2 * i + 1] as number;
    let at = i;
    while (at > 0) {
      const before = orderA[at - 1] as number;
      const high = words[2 * before + 1] as number;
      if (high < hi || (high === hi && (words[2 * before] as number) >>> shift <= lo)) break;
      orderA[at] = before;
      at--;
    }
    orderA[at] = i;
  }
  return orderA;
}
