/** Integers of C in bytes: numbers, pointers, enumerations, bit-fields. */
import { sizeOf, stripped } from "../types/c-type.js";
import type { Place } from "../types/member-path.js";

/**
 * The integer of a place, of which `at` is the first byte that holds a bit of it. Up to 32 bits it is a number, beyond a bigint.
 * What is no integer is taken for an unsigned one of its size, of up to 8 bytes.
 */
export function integerAt(
  bytes: Uint8Array,
  at: number,
  place: Place,
  littleEndian: boolean,
): number | bigint {
  const type = stripped(place.type);
  const signed = "signed" in type && type.signed;
  if (place.bitSize !== 0) return bitsAt(bytes, at, place.bitOffset % 8, place.bitSize, signed, littleEndian);
  const size = Math.min(8, sizeOf(type));
  if (size > 4) return wideAt(bytes, at, size, signed, littleEndian);
  let value = 0;
  for (let i = 0; i < size; i++) {
    value = value * 256 + (bytes[littleEndian ? at + size - 1 - i : at + i] as number);
  }
  return signed && value >= 2 ** (8 * size - 1) ? value - 2 ** (8 * size) : value;
}

function wideAt(bytes: Uint8Array, at: number, size: number, signed: boolean, littleEndian: boolean): bigint {
  let value = 0n;
  for (let i = 0; i < size; i++) {
    value = (value << 8n) | BigInt(bytes[littleEndian ? at + size - 1 - i : at + i] as number);
  }
  return signed ? BigInt.asIntN(8 * size, value) : value;
}

/** Bit-fields are counted from the lowest bit on little-endian machines, and from the highest on others. */
function bitsAt(
  bytes: Uint8Array,
  at: number,
  first: number,
  count: number,
  signed: boolean,
  littleEndian: boolean,
): number | bigint {
  // (Types that are damaged may say up to 255.)
  const bits = Math.min(count, 64);
  const size = Math.ceil((first + bits) / 8);
  const all = wideAt(bytes, at, size, false, littleEndian);
  const shift = littleEndian ? first : 8 * size - first - bits;
  const value = BigInt.asUintN(bits, all >> BigInt(shift));
  const result = signed ? BigInt.asIntN(bits, value) : value;
  return count <= 32 ? Number(result) : result;
}
