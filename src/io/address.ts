/**
 * Addresses of 64 bits without bigint arithmetic: a column of them is a `BigUint64Array` and a `Uint32Array` over
 * one buffer, so that people see u64 and loops see `[lo, hi]`. Measurements: docs/decisions/0001-addresses.md.
 */
import { MemtoolError } from "./errors.js";
import type { Address } from "./packet-io.js";

/** 2^32, the weight of an address's high word. */
export const HIGH = 4294967296;

const one = new BigUint64Array(1);
const words = new Uint32Array(one.buffer);
one[0] = 1n;
if (words[0] !== 1) {
  throw new MemtoolError(
    "BIG_ENDIAN_HOST",
    "memtool needs a little-endian host: it reads u64 columns as [lo, hi]",
  );
}

/** The last split address; read at once, before anything else splits another. */
export const split = { lo: 0, hi: 0 };

/** Splits an address into `split.lo` and `split.hi`. @returns false if it is no address of 64 bits. */
export function splitAddress(address: Address): boolean {
  if (typeof address === "number") {
    if (!(address >= 0 && address <= Number.MAX_SAFE_INTEGER && Math.floor(address) === address))
      return false;
    split.lo = address >>> 0;
    split.hi = (address - split.lo) / HIGH;
    return true;
  }
  one[0] = address;
  if (one[0] !== address) return false;
  split.lo = words[0] as number;
  split.hi = words[1] as number;
  return true;
}

/** As {@link splitAddress}, of what is known to be an unsigned bigint of 64 bits: a sixth of its cost. */
export function splitVirtual(address: bigint): void {
  one[0] = address;
  split.lo = words[0] as number;
  split.hi = words[1] as number;
}

/** The unsigned bigint of two words. */
export function joinAddress(lo: number, hi: number): bigint {
  words[0] = lo;
  words[1] = hi;
  return one[0] as bigint;
}

/**
 * A virtual address as people write it to its unsigned bigint.
 *
 * @throws {RangeError} for what is no address of 64 bits (negative, fractional, beyond 2^64, an unsafe number).
 */
export function toVirtual(address: Address): bigint {
  if (!splitAddress(address)) {
    throw new RangeError(`not an address of 64 bits: ${String(address)}`);
  }
  return typeof address === "bigint" ? address : joinAddress(split.lo, split.hi);
}

/**
 * A physical address, file offset or size: a safe, non-negative integer.
 *
 * @throws {RangeError} otherwise.
 */
export function toPhysical(address: Address, what = "physical address"): number {
  const number = typeof address === "bigint" ? Number(address) : address;
  if (!(Number.isSafeInteger(number) && number >= 0)) {
    throw new RangeError(`not a ${what}: ${String(address)} (0 to 2^53 - 1)`);
  }
  return number;
}

/** `address + delta`, wrapped to 64 bits as C does. */
export function offsetAddress(address: Address, delta: Address): bigint {
  return BigInt.asUintN(64, BigInt(address) + BigInt(delta));
}
