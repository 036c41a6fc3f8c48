/** Plain loops over the same bytes: what the same job costs with nothing in between. */

// The yardsticks close over their arrays: bundled, constants of a module become variables, and V8, which can't know any more
// how long such an array is, is a quarter slower.

/** The yardstick `gather`: adds up `n` reads of 8 bytes (two words) at (i * 8) & 0xffff8 of 1 MiB. */
export const gatherYardstick: (n: number) => number = (() => {
  const words = new Uint32Array(1 << 18).fill(1);
  return (n: number) => {
    let sum = 0;
    for (let i = 0; i < n; i++) {
      const at = (i * 2) & 0x3fffe;
      sum = (sum + (words[at] as number) + (words[at + 1] as number)) >>> 0;
    }
    return sum;
  };
})();

/** The yardstick `pages`: copies 4 KiB from `n` random pages of 16 MiB to one place. */
export const pagesYardstick: (n: number) => number = (() => {
  const bytes = new Uint8Array(16 << 20).fill(1);
  const page = new Uint8Array(4096);
  return (n: number) => {
    let state = 88172645;
    let sum = 0;
    for (let i = 0; i < n; i++) {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      const at = ((state >>> 0) & 4095) * 4096;
      page.set(bytes.subarray(at, at + 4096));
      sum += page[i & 4095] as number;
    }
    return sum;
  };
})();

/** A four-level walk (Intel SDM vol. 3A, 4.5) over RAM in one array; physical address or -1. No checks but "present". */
function walkPlain(ram: Uint32Array, root: number, lo: number, hi: number): number {
  let at = (root + ((hi >>> 7) & 511) * 8) >>> 2;
  let entry = ram[at] as number;
  if ((entry & 1) === 0) return -1;
  at = ((entry & 0xfffff000) + (((hi << 2) | (lo >>> 30)) & 511) * 8) >>> 2;
  entry = ram[at] as number;
  if ((entry & 1) === 0) return -1;
  if ((entry & 128) !== 0)
    return ((ram[at + 1] as number) & 0xfffff) * 2 ** 32 + ((entry & 0xc0000000) >>> 0) + (lo & 0x3fffffff);
  at = ((entry & 0xfffff000) + ((lo >>> 21) & 511) * 8) >>> 2;
  entry = ram[at] as number;
  if ((entry & 1) === 0) return -1;
  if ((entry & 128) !== 0)
    return ((ram[at + 1] as number) & 0xfffff) * 2 ** 32 + ((entry & 0xffe00000) >>> 0) + (lo & 0x1fffff);
  at = ((entry & 0xfffff000) + ((lo >>> 12) & 511) * 8) >>> 2;
  entry = ram[at] as number;
  if ((entry & 1) === 0) return -1;
  return ((ram[at + 1] as number) & 0xfffff) * 2 ** 32 + ((entry & 0xfffff000) >>> 0) + (lo & 0xfff);
}

/** Where addresses (as `[lo, hi]` words) lead, into a column; -1 where nowhere. Tables lie below 2 GiB. */
export function translatePlain(
  ram: Uint32Array,
  root: number,
  addresses: Uint32Array,
  physical: Float64Array,
): void {
  for (let i = 0; i < physical.length; i++) {
    physical[i] = walkPlain(ram, root, addresses[2 * i] as number, addresses[2 * i + 1] as number);
  }
}

/** Copies the u64 at these addresses into a column. */
export function gatherPlain(ram: Uint32Array, addresses: Float64Array, into: Uint32Array): void {
  for (let i = 0; i < addresses.length; i++) {
    const at = (addresses[i] as number) / 4;
    into[2 * i] = ram[at] as number;
    into[2 * i + 1] = ram[at + 1] as number;
  }
}

/** Copies blocks of `size` bytes from these addresses into one place; gives the sum of one byte of each. */
export function copyPlain(ram: Uint8Array, addresses: Float64Array, size: number, into: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < addresses.length; i++) {
    const at = addresses[i] as number;
    into.set(ram.subarray(at, at + size));
    sum += into[(i * 8) % size] as number;
  }
  return sum;
}

/** The sum of 32-bit words modulo 2^32: proves that all of a result was looked at. */
export function sumWords(words: Uint32Array): number {
  let sum = 0;
  for (let i = 0; i < words.length; i++) sum = (sum + (words[i] as number)) >>> 0;
  return sum;
}

/** The sum of numbers, each modulo 2^32, as the C programs make it. */
export function sumNumbers(numbers: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < numbers.length; i++) sum = (sum + ((numbers[i] as number) >>> 0)) >>> 0;
  return sum;
}

/** What a walk of all tables under a root finds: leaf entries, and the 4 KiB pages that they map. */
export function countPlain(ram: Uint32Array, root: number): { leaves: number; pages: number } {
  const count = { leaves: 0, pages: 0 };
  countTable(ram, root, 4, count);
  return count;
}

function countTable(
  ram: Uint32Array,
  table: number,
  level: number,
  count: { leaves: number; pages: number },
): void {
  for (let i = 0; i < 512; i++) {
    const at = table / 4 + 2 * i;
    const entry = ram[at] as number;
    if ((entry & 1) === 0) continue;
    if (level === 1 || (level < 4 && (entry & 128) !== 0)) {
      count.leaves++;
      count.pages += 512 ** (level - 1);
    } else {
      const next = ((ram[at + 1] as number) & 0xfffff) * 2 ** 32 + ((entry & 0xfffff000) >>> 0);
      if (next / 4 < ram.length) countTable(ram, next, level - 1, count);
    }
  }
}
