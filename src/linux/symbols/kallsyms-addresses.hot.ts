/**
 * The loops that make addresses of kallsyms' tables, as pairs of 32-bit words (low, high): no bigint a symbol.
 *
 * The forms are those of kernel/kallsyms.c, `kallsyms_sym_address`; see kallsyms-tables.ts.
 */

/** Whether 64-bit addresses ascend. */
export function areAscending(addresses: BigUint64Array): boolean {
  const words = wordsOf(addresses);
  let low = 0;
  let high = 0;
  for (let i = 0; i < words.length; i += 2) {
    const nextLow = words[i] as number;
    const nextHigh = words[i + 1] as number;
    if (nextHigh < high || (nextHigh === high && nextLow < low)) return false;
    low = nextLow;
    high = nextHigh;
  }
  return true;
}

/** A column's words: low, high, low … */
export function wordsOf(addresses: BigUint64Array): Uint32Array {
  return new Uint32Array(addresses.buffer, addresses.byteOffset, addresses.length * 2);
}

/** Offsets from a base: unsigned, so that what goes beyond 4 GiB carries into the high word (not of 32-bit kernels). */
export function fromBase(offsets: Int32Array, base: bigint, wide: boolean): BigUint64Array {
  const addresses = new BigUint64Array(offsets.length);
  const words = wordsOf(addresses);
  const low = Number(BigInt.asUintN(32, base));
  const high = Number(base >> 32n);
  for (let i = 0; i < offsets.length; i++) {
    const sum = low + ((offsets[i] as number) >>> 0);
    words[2 * i] = sum;
    if (wide) words[2 * i + 1] = sum > 0xffff_ffff ? high + 1 : high;
  }
  return addresses;
}

/** Absolute where they are not negative, else `base - 1 - offset` (CONFIG_KALLSYMS_ABSOLUTE_PERCPU). */
export function fromBasePerCpu(offsets: Int32Array, base: bigint): BigUint64Array {
  const addresses = new BigUint64Array(offsets.length);
  const words = wordsOf(addresses);
  const low = Number(BigInt.asUintN(32, base));
  const high = Number(base >> 32n);
  for (let i = 0; i < offsets.length; i++) {
    const offset = offsets[i] as number;
    if (offset >= 0) {
      words[2 * i] = offset;
      continue;
    }
    const sum = low + ~offset;
    words[2 * i] = sum;
    words[2 * i + 1] = sum > 0xffff_ffff ? high + 1 : high;
  }
  return addresses;
}

/** Signed distances from each entry's own address; the first entry is at `start`. */
export function fromOwnPlace(offsets: Int32Array, start: bigint, wide: boolean): BigUint64Array {
  const addresses = new BigUint64Array(offsets.length);
  const words = wordsOf(addresses);
  const low = Number(BigInt.asUintN(32, start));
  const high = Number(BigInt.asUintN(32, start >> 32n));
  for (let i = 0; i < offsets.length; i++) {
    // From -2^31 to less than 2^34: exact, and the high word moves by its quotient.
    const sum = low + 4 * i + (offsets[i] as number);
    words[2 * i] = sum;
    if (wide) words[2 * i + 1] = high + Math.floor(sum / 2 ** 32);
  }
  return addresses;
}

/** Moves every address at or above a bound by a distance, modulo 2^64. */
export function slideAddresses(addresses: BigUint64Array, from: bigint, by: bigint): void {
  const words = wordsOf(addresses);
  const fromLow = Number(BigInt.asUintN(32, from));
  const fromHigh = Number(BigInt.asUintN(32, from >> 32n));
  const byLow = Number(BigInt.asUintN(32, by));
  const byHigh = Number(BigInt.asUintN(32, by >> 32n));
  for (let i = 0; i < words.length; i += 2) {
    const low = words[i] as number;
    const high = words[i + 1] as number;
    if (high < fromHigh || (high === fromHigh && low < fromLow)) continue;
    const sum = low + byLow;
    words[i] = sum;
    words[i + 1] = high + byHigh + (sum > 0xffff_ffff ? 1 : 0);
  }
}

/** The lowest `PAGE_OFFSET` of a 32-bit kernel (arch/x86/Kconfig, `VMSPLIT_1G`; arch/arm has no lower one). */
const LOWEST_PAGE_OFFSET = 0x4000_0000n;

/** Where those of a kernel of 64 bits begin: in the upper half. */
const UPPER_HALF = 1n << 63n;

/** The lowest address that can be in the image of the kernel whose symbols these are. */
export function lowestImage(addresses: BigUint64Array): bigint {
  const words = wordsOf(addresses);
  for (let i = 1; i < words.length; i += 2) if (words[i] !== 0) return UPPER_HALF;
  return LOWEST_PAGE_OFFSET;
}

/** Moves the addresses in the kernel's image, in place: modulo 2^64, or 2^32 where none is larger. */
export function moveImage(addresses: BigUint64Array, by: bigint): void {
  const lowest = lowestImage(addresses);
  slideAddresses(addresses, lowest, by);
  if (lowest !== LOWEST_PAGE_OFFSET) return;
  const words = wordsOf(addresses);
  for (let i = 1; i < words.length; i += 2) words[i] = 0;
}

/**
 * What `moveImage` makes of one address.
 *
 * @param highest The highest of all addresses: a kernel of 32 bits has none above 2^32.
 */
export function movedAddress(address: bigint, highest: bigint, by: bigint): bigint {
  const isWide = highest >> 32n !== 0n;
  if (address < (isWide ? UPPER_HALF : LOWEST_PAGE_OFFSET)) return address;
  return BigInt.asUintN(isWide ? 64 : 32, address + by);
}
