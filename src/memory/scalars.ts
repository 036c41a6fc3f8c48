/** Types of one value: integers, floats, pointers, booleans; and their byte order. */
import { Type } from "./type.js";

/** `true`, `false`, or open. */
type Order = boolean | undefined;

const scratch = new Uint8Array(8);
const scratchWords = new Uint32Array(scratch.buffer);
const scratchU64 = new BigUint64Array(scratch.buffer);
const scratchI64 = new BigInt64Array(scratch.buffer);
const scratchF32 = new Float32Array(scratch.buffer);
const scratchF64 = new Float64Array(scratch.buffer);

/** Loads `size` bytes into the scratch, first byte lowest. The host is little-endian (checked in src/io). */
function load(bytes: Uint8Array, at: number, size: number, big: boolean): void {
  for (let i = 0; i < size; i++) scratch[i] = bytes[big ? at + size - 1 - i : at + i] as number;
}

function store(bytes: Uint8Array, at: number, size: number, big: boolean): void {
  for (let i = 0; i < size; i++) bytes[big ? at + size - 1 - i : at + i] = scratch[i] as number;
}

function word(bytes: Uint8Array, at: number, big: boolean): number {
  const a = bytes[at] as number;
  const b = bytes[at + 1] as number;
  const c = bytes[at + 2] as number;
  const d = bytes[at + 3] as number;
  return big ? (a << 24) | (b << 16) | (c << 8) | d : a | (b << 8) | (c << 16) | (d << 24);
}

/** A type of one value with a byte order. */
abstract class Scalar<T> extends Type<T> {
  readonly order: Order;
  readonly big: boolean;
  #little: Type<T> | undefined;
  #big: Type<T> | undefined;

  constructor(name: string, size: number, order: Order) {
    super(name + (order === undefined || size === 1 ? "" : order ? "le" : "be"), size, size);
    this.order = order;
    this.big = order === false;
  }

  resolve(little: boolean | undefined): Type<T> {
    if (little === undefined || this.order !== undefined || this.size === 1) return this;
    // One object for each order, so that bit-fields can tell that they share a unit.
    if (little) {
      this.#little ??= this.ordered(true);
      return this.#little;
    }
    this.#big ??= this.ordered(false);
    return this.#big;
  }

  abstract ordered(little: boolean): Type<T>;
}

/** An integer of 8, 16 or 32 bits. */
export class Integer extends Scalar<number> {
  readonly #base: string;
  readonly signed: boolean;
  readonly #min: number;
  readonly #max: number;

  constructor(name: string, size: 1 | 2 | 4, signed: boolean, order?: Order) {
    super(name, size, order);
    this.#base = name;
    this.signed = signed;
    this.#min = signed ? -(2 ** (size * 8 - 1)) : 0;
    this.#max = 2 ** (size * 8 - (signed ? 1 : 0)) - 1;
  }

  get(bytes: Uint8Array, at: number): number {
    const { size, signed } = this;
    if (size === 4) {
      const value = word(bytes, at, this.big);
      return signed ? value : value >>> 0;
    }
    if (size === 2) {
      const a = bytes[at] as number;
      const b = bytes[at + 1] as number;
      const value = this.big ? (a << 8) | b : a | (b << 8);
      return signed ? (value << 16) >> 16 : value;
    }
    const value = bytes[at] as number;
    return signed ? (value << 24) >> 24 : value;
  }

  set(bytes: Uint8Array, at: number, value: number): void {
    if (!(Number.isInteger(value) && value >= this.#min && value <= this.#max)) {
      throw new RangeError(
        `${this.name}: ${String(value)} is not an integer from ${this.#min} to ${this.#max}`,
      );
    }
    scratchWords[0] = value;
    store(bytes, at, this.size, this.big);
  }

  ordered(little: boolean): Integer {
    return new Integer(this.#base, this.size as 1 | 2 | 4, this.signed, little);
  }
}

/** An integer of 64 bits. */
export class BigInteger extends Scalar<bigint> {
  readonly #base: string;
  readonly signed: boolean;

  constructor(name: string, signed: boolean, order?: Order) {
    super(name, 8, order);
    this.#base = name;
    this.signed = signed;
  }

  get(bytes: Uint8Array, at: number): bigint {
    const { big } = this;
    scratchWords[0] = word(bytes, big ? at + 4 : at, big);
    scratchWords[1] = word(bytes, big ? at : at + 4, big);
    return (this.signed ? scratchI64[0] : scratchU64[0]) as bigint;
  }

  set(bytes: Uint8Array, at: number, value: bigint): void {
    if (typeof value !== "bigint") throw new RangeError(`${this.name}: ${String(value)} is not a bigint`);
    const view = this.signed ? scratchI64 : scratchU64;
    view[0] = value;
    if (view[0] !== value) throw new RangeError(`${this.name}: ${value} does not fit 64 bits`);
    store(bytes, at, 8, this.big);
  }

  ordered(little: boolean): BigInteger {
    return new BigInteger(this.#base, this.signed, little);
  }
}

class Float extends Scalar<number> {
  readonly #base: string;

  constructor(name: string, size: 4 | 8, order?: Order) {
    super(name, size, order);
    this.#base = name;
  }

  get(bytes: Uint8Array, at: number): number {
    load(bytes, at, this.size, this.big);
    return (this.size === 4 ? scratchF32[0] : scratchF64[0]) as number;
  }

  set(bytes: Uint8Array, at: number, value: number): void {
    if (typeof value !== "number") throw new RangeError(`${this.name}: ${String(value)} is not a number`);
    if (this.size === 4) scratchF32[0] = value;
    else scratchF64[0] = value;
    store(bytes, at, this.size, this.big);
  }

  ordered(little: boolean): Float {
    return new Float(this.#base, this.size as 4 | 8, little);
  }
}

/** An address: an unsigned bigint, of 4 or 8 bytes. */
class Pointer extends Type<bigint> {
  readonly #order: Order;
  readonly #bytes: 4 | 8 | undefined;
  readonly #integer: Type<number> | Type<bigint>;

  constructor(bytes?: 4 | 8, order?: Order) {
    const size = bytes ?? 8;
    super(
      `pointer${bytes === undefined ? "" : bytes * 8}${order === undefined ? "" : order ? "le" : "be"}`,
      size,
      size,
    );
    this.#order = order;
    this.#bytes = bytes;
    this.#integer = size === 4 ? new Integer("u32", 4, false, order) : new BigInteger("u64", false, order);
  }

  get(bytes: Uint8Array, at: number): bigint {
    return BigInt(this.#integer.get(bytes, at));
  }

  set(bytes: Uint8Array, at: number, value: bigint): void {
    if (typeof value !== "bigint" || value < 0n || BigInt.asUintN(this.size * 8, value) !== value) {
      throw new RangeError(
        `${this.name}: ${String(value)} is not an address of ${this.size * 8} bits (a bigint)`,
      );
    }
    if (this.size === 4) (this.#integer as Integer).set(bytes, at, Number(value));
    else (this.#integer as BigInteger).set(bytes, at, value);
  }

  resolve(little: boolean | undefined, pointerSize: 4 | 8 | undefined): Type<bigint> {
    const order = this.#order ?? little;
    const bytes = this.#bytes ?? pointerSize;
    return order === this.#order && bytes === this.#bytes ? this : new Pointer(bytes, order);
  }
}

class Bool8 extends Type<boolean> {
  constructor() {
    super("bool8", 1, 1);
  }

  get(bytes: Uint8Array, at: number): boolean {
    return bytes[at] !== 0;
  }

  set(bytes: Uint8Array, at: number, value: boolean): void {
    if (typeof value !== "boolean") throw new RangeError(`bool8: ${String(value)} is not true or false`);
    bytes[at] = value ? 1 : 0;
  }

  resolve(): Type<boolean> {
    return this;
  }
}

/** Unsigned, 1 byte; a `number`. */
export const u8: Type<number> = new Integer("u8", 1, false);
/** Signed, 1 byte; a `number`. */
export const i8: Type<number> = new Integer("i8", 1, true);
/** Unsigned, 2 bytes, in the address space's byte order; a `number`. */
export const u16: Type<number> = new Integer("u16", 2, false);
/** Signed, 2 bytes, in the address space's byte order; a `number`. */
export const i16: Type<number> = new Integer("i16", 2, true);
/** Unsigned, 4 bytes, in the address space's byte order; a `number`. */
export const u32: Type<number> = new Integer("u32", 4, false);
/** Signed, 4 bytes, in the address space's byte order; a `number`. */
export const i32: Type<number> = new Integer("i32", 4, true);
/** Unsigned, 8 bytes, in the address space's byte order; a `bigint`. */
export const u64: Type<bigint> = new BigInteger("u64", false);
/** Signed, 8 bytes, in the address space's byte order; a `bigint`. */
export const i64: Type<bigint> = new BigInteger("i64", true);
/** IEEE 754 binary32, 4 bytes, in the address space's byte order; a `number`. */
export const f32: Type<number> = new Float("f32", 4);
/** IEEE 754 binary64, 8 bytes, in the address space's byte order; a `number`. */
export const f64: Type<number> = new Float("f64", 8);
/** A byte: zero is `false`, anything else `true` (written as 1); a `boolean`. */
export const bool8: Type<boolean> = new Bool8();
/**
 * An address of the size that the address space has (8 bytes unless it says otherwise), in its byte order; an unsigned
 * `bigint`.
 */
export const pointer: Type<bigint> = new Pointer();
/** An address of 4 bytes, in the address space's byte order; an unsigned `bigint`. */
export const pointer32: Type<bigint> = new Pointer(4);
/** An address of 8 bytes, in the address space's byte order; an unsigned `bigint`. */
export const pointer64: Type<bigint> = new Pointer(8);

/** The type in big-endian byte order, whatever the address space's; parts that have one of their own keep it. */
export function bigEndian<T>(type: Type<T>): Type<T> {
  return type.resolve(false, undefined);
}

/** The type in little-endian byte order, whatever the address space's; parts that have one of their own keep it. */
export function littleEndian<T>(type: Type<T>): Type<T> {
  return type.resolve(true, undefined);
}

/** Unsigned, 2 bytes, big-endian; a `number`. */
export const u16be: Type<number> = bigEndian(u16);
/** Signed, 2 bytes, big-endian; a `number`. */
export const i16be: Type<number> = bigEndian(i16);
/** Unsigned, 4 bytes, big-endian; a `number`. */
export const u32be: Type<number> = bigEndian(u32);
/** Signed, 4 bytes, big-endian; a `number`. */
export const i32be: Type<number> = bigEndian(i32);
/** Unsigned, 8 bytes, big-endian; a `bigint`. */
export const u64be: Type<bigint> = bigEndian(u64);
/** Signed, 8 bytes, big-endian; a `bigint`. */
export const i64be: Type<bigint> = bigEndian(i64);
/** IEEE 754 binary32, 4 bytes, big-endian; a `number`. */
export const f32be: Type<number> = bigEndian(f32);
/** IEEE 754 binary64, 8 bytes, big-endian; a `number`. */
export const f64be: Type<number> = bigEndian(f64);
/** Unsigned, 2 bytes, little-endian; a `number`. */
export const u16le: Type<number> = littleEndian(u16);
/** Signed, 2 bytes, little-endian; a `number`. */
export const i16le: Type<number> = littleEndian(i16);
/** Unsigned, 4 bytes, little-endian; a `number`. */
export const u32le: Type<number> = littleEndian(u32);
/** Signed, 4 bytes, little-endian; a `number`. */
export const i32le: Type<number> = littleEndian(i32);
/** Unsigned, 8 bytes, little-endian; a `bigint`. */
export const u64le: Type<bigint> = littleEndian(u64);
/** Signed, 8 bytes, little-endian; a `bigint`. */
export const i64le: Type<bigint> = littleEndian(i64);
/** IEEE 754 binary32, 4 bytes, little-endian; a `number`. */
export const f32le: Type<number> = littleEndian(f32);
/** IEEE 754 binary64, 8 bytes, little-endian; a `number`. */
export const f64le: Type<number> = littleEndian(f64);
