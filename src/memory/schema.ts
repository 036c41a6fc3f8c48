/**
 * Types of memory as values, with the TypeScript type of what they decode to inferred:
 *
 * @example
 * const entry = struct({ first: u64, second: u32, third: u8 });
 * type Entry = Infer<typeof entry>;                     // { first: bigint; second: number; third: number }
 * const value = await memory.read(entry, 0x1000);
 *
 * Integers of at most 32 bits and floats are `number`; 64-bit integers and pointers are `bigint`.
 *
 * Byte order: a type without one in its name takes that of the address space it is read through (little-endian by
 * default, also for a bare `decode`); `u32be` and its like, `bigEndian(type)` and `littleEndian(type)` fix it.
 * `pointer` likewise takes the address space's size.
 */
import { copyBytes } from "../io/copy.hot.js";
import { decodeText, encodeText, type TextEncoding } from "./text.js";

/** What a type may leave open until it is read: byte order, and the size of `pointer`. */
export interface Abi {
  readonly littleEndian: boolean;
  /** Bytes of `pointer`. */
  readonly pointerSize: 4 | 8;
}

/** The largest type, in bytes: what one buffer holds on every runtime. */
export const MAX_TYPE_SIZE = 4294967296;

/** A type of memory that decodes to `T`. Make them with the functions and constants of this module. */
export abstract class Type<T> {
  /** For messages, in C's manner. */
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /** Bytes; addresses of it in a struct are multiples of this. */
  readonly align: number;
  /** Whether `set` changes only some bits of a byte, so that writing has to read first. */
  readonly bitwise: boolean = false;
  #variants: Type<T>[] | undefined;

  /** @internal */
  constructor(name: string, size: number, align: number) {
    if (!(Number.isSafeInteger(size) && size >= 0 && size <= MAX_TYPE_SIZE)) {
      throw new RangeError(`${name}: ${size} bytes are no size of a type (0 to 2^32)`);
    }
    this.name = name;
    this.size = size;
    this.align = align;
  }

  /**
   * Decodes the value at offset `at`. Allocates nothing but the value (and, for a `DataView`, one object).
   *
   * @throws {RangeError} if the bytes end before the value does.
   */
  decode(from: Uint8Array | DataView, at = 0): T {
    const bytes = bytesOf(from);
    this.#check(bytes, at);
    return this.get(bytes, at);
  }

  /**
   * Encodes `value` at offset `at` of `into` (default: new memory, zeroed), which it returns. Padding and gaps of
   * structs keep what they hold.
   *
   * @throws {RangeError} if `into` is too short, or a value does not fit its type.
   */
  encode(value: T, into: Uint8Array | DataView = new Uint8Array(this.size), at = 0): Uint8Array {
    const bytes = bytesOf(into);
    this.#check(bytes, at);
    this.set(bytes, at, value);
    return bytes;
  }

  /** This type as it lies in memory under an ABI; kept, so that asking again is cheap. */
  under(abi: Abi): Type<T> {
    const index = (abi.littleEndian ? 0 : 1) + (abi.pointerSize === 8 ? 0 : 2);
    // What a type leaves open is little-endian and 64 bits wide of itself.
    if (index === 0) return this;
    this.#variants ??= [];
    let variant = this.#variants[index];
    if (variant === undefined) {
      variant = this.resolve(abi.littleEndian, abi.pointerSize);
      this.#variants[index] = variant;
    }
    return variant;
  }

  #check(bytes: Uint8Array, at: number): void {
    if (!(Number.isSafeInteger(at) && at >= 0 && at + this.size <= bytes.length)) {
      throw new RangeError(`${this.name}: ${this.size} bytes at offset ${at} of ${bytes.length}`);
    }
  }

  /** Decodes without checks. @internal */
  abstract get(bytes: Uint8Array, at: number): T;
  /** Encodes without a check of the bounds. @internal */
  abstract set(bytes: Uint8Array, at: number, value: T): void;
  /** The type with what it leaves open set; `undefined` leaves it open. @internal */
  abstract resolve(little: boolean | undefined, pointerSize: 4 | 8 | undefined): Type<T>;

  /** Appends `[start, end)` pairs of the bytes that `set` touches, ascending for what does not overlap. @internal */
  touched(base: number, out: number[]): void {
    if (this.size === 0) return;
    const last = out.length - 1;
    if (last > 0 && out[last] === base) out[last] = base + this.size;
    else out.push(base, base + this.size);
  }
}

/** The TypeScript type that a memory type decodes to. */
export type Infer<S> = S extends Type<infer T> ? T : never;

function bytesOf(memory: Uint8Array | DataView): Uint8Array {
  return memory instanceof DataView
    ? new Uint8Array(memory.buffer, memory.byteOffset, memory.byteLength)
    : memory;
}

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
class Integer extends Scalar<number> {
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
class BigInteger extends Scalar<bigint> {
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

export const u8: Type<number> = new Integer("u8", 1, false);
export const i8: Type<number> = new Integer("i8", 1, true);
export const u16: Type<number> = new Integer("u16", 2, false);
export const i16: Type<number> = new Integer("i16", 2, true);
export const u32: Type<number> = new Integer("u32", 4, false);
export const i32: Type<number> = new Integer("i32", 4, true);
export const u64: Type<bigint> = new BigInteger("u64", false);
export const i64: Type<bigint> = new BigInteger("i64", true);
export const f32: Type<number> = new Float("f32", 4);
export const f64: Type<number> = new Float("f64", 8);
/** A byte: zero is `false`, anything else `true`. */
export const bool8: Type<boolean> = new Bool8();
/** An address of the size that the address space has (8 bytes unless it says otherwise). */
export const pointer: Type<bigint> = new Pointer();
export const pointer32: Type<bigint> = new Pointer(4);
export const pointer64: Type<bigint> = new Pointer(8);

/** The type in big-endian byte order, whatever the address space's; parts that have one of their own keep it. */
export function bigEndian<T>(type: Type<T>): Type<T> {
  return type.resolve(false, undefined);
}

/** The type in little-endian byte order, whatever the address space's; parts that have one of their own keep it. */
export function littleEndian<T>(type: Type<T>): Type<T> {
  return type.resolve(true, undefined);
}

export const u16be: Type<number> = bigEndian(u16);
export const i16be: Type<number> = bigEndian(i16);
export const u32be: Type<number> = bigEndian(u32);
export const i32be: Type<number> = bigEndian(i32);
export const u64be: Type<bigint> = bigEndian(u64);
export const i64be: Type<bigint> = bigEndian(i64);
export const f32be: Type<number> = bigEndian(f32);
export const f64be: Type<number> = bigEndian(f64);
export const u16le: Type<number> = littleEndian(u16);
export const i16le: Type<number> = littleEndian(i16);
export const u32le: Type<number> = littleEndian(u32);
export const i32le: Type<number> = littleEndian(i32);
export const u64le: Type<bigint> = littleEndian(u64);
export const i64le: Type<bigint> = littleEndian(i64);
export const f32le: Type<number> = littleEndian(f32);
export const f64le: Type<number> = littleEndian(f64);

class ArrayType<T> extends Type<T[]> {
  readonly element: Type<T>;
  readonly count: number;
  override readonly bitwise: boolean;

  constructor(element: Type<T>, count: number) {
    checkCount(count, "array");
    super(`${element.name}[${count}]`, element.size * count, element.align);
    this.element = element;
    this.count = count;
    this.bitwise = element.bitwise && count > 0;
  }

  get(bytes: Uint8Array, at: number): T[] {
    const { element, count } = this;
    const { size } = element;
    const values: T[] = [];
    for (let i = 0; i < count; i++) values.push(element.get(bytes, at + i * size));
    return values;
  }

  set(bytes: Uint8Array, at: number, value: T[]): void {
    if (!Array.isArray(value) || value.length !== this.count) {
      throw new RangeError(`${this.name}: needs an array of ${this.count}`);
    }
    const { size } = this.element;
    for (let i = 0; i < this.count; i++) this.element.set(bytes, at + i * size, value[i] as T);
  }

  resolve(little: boolean | undefined, pointerSize: 4 | 8 | undefined): Type<T[]> {
    const element = this.element.resolve(little, pointerSize);
    return element === this.element ? this : new ArrayType(element, this.count);
  }

  override touched(base: number, out: number[]): void {
    for (let i = 0; i < this.count; i++) this.element.touched(base + i * this.element.size, out);
  }
}

/** `count` values one after the other. For raw bytes, `bytes(n)` is far cheaper than `array(u8, n)`. */
export function array<T>(type: Type<T>, count: number): Type<T[]> {
  return new ArrayType(type, count);
}

class Bytes extends Type<Uint8Array> {
  constructor(length: number) {
    checkCount(length, "bytes");
    super(`bytes[${length}]`, length, 1);
  }

  get(bytes: Uint8Array, at: number): Uint8Array {
    const copy = new Uint8Array(this.size);
    copyBytes(bytes, at, copy, 0, this.size);
    return copy;
  }

  set(bytes: Uint8Array, at: number, value: Uint8Array): void {
    if (value.length !== this.size) throw new RangeError(`${this.name}: got ${value.length} bytes`);
    bytes.set(value, at);
  }

  resolve(): Type<Uint8Array> {
    return this;
  }
}

/** `length` bytes as they are; decodes to a copy. */
export function bytes(length: number): Type<Uint8Array> {
  return new Bytes(length);
}

class CString extends Type<string> {
  readonly #encoding: TextEncoding;

  constructor(length: number, encoding: TextEncoding) {
    checkCount(length, "cString");
    super(`char[${length}]`, length, 1);
    this.#encoding = encoding;
  }

  get(bytes: Uint8Array, at: number): string {
    const limit = at + this.size;
    let end = at;
    while (end < limit && bytes[end] !== 0) end++;
    return decodeText(bytes, at, end, this.#encoding);
  }

  set(bytes: Uint8Array, at: number, value: string): void {
    const text = encodeText(value, this.#encoding);
    if (text.length > this.size) throw new RangeError(`${this.name}: the string has ${text.length} bytes`);
    if (text.includes(0)) throw new RangeError(`${this.name}: a NUL inside the string would end it`);
    bytes.fill(0, at, at + this.size);
    bytes.set(text, at);
  }

  resolve(): Type<string> {
    return this;
  }
}

/**
 * A string in a field of `length` bytes: ends at the first NUL, or with the field. Bytes that are no UTF-8 decode to
 * U+FFFD. Encodes with NULs after it up to the field's end, and none if it fills the field.
 */
export function cString(length: number, encoding: TextEncoding = "utf-8"): Type<string> {
  return new CString(length, encoding);
}

function checkCount(count: number, what: string): void {
  if (!(Number.isSafeInteger(count) && count >= 0))
    throw new RangeError(`${what}: ${String(count)} is not a count`);
}

class Bits<T extends number | bigint> extends Type<T> {
  override readonly bitwise: boolean;
  readonly storage: Type<T>;
  readonly shift: number;
  readonly width: number;
  readonly #signed: boolean;
  /** The storage's bytes as an unsigned integer. */
  readonly #unit: Integer | BigInteger;

  constructor(type: Type<T>, shift: number, width: number) {
    const storage: unknown = type;
    if (!(storage instanceof Integer || storage instanceof BigInteger)) {
      throw new RangeError(`bits: ${type.name} is not an integer type`);
    }
    const room = storage.size * 8;
    if (
      !(
        Number.isInteger(shift) &&
        Number.isInteger(width) &&
        shift >= 0 &&
        width > 0 &&
        shift + width <= room
      )
    ) {
      throw new RangeError(`bits: ${width} bits at ${shift} of ${storage.name}`);
    }
    super(`${storage.name}:${width}`, storage.size, storage.align);
    this.storage = type;
    this.shift = shift;
    this.width = width;
    this.bitwise = width < room;
    this.#signed = storage.signed;
    this.#unit =
      storage instanceof Integer
        ? new Integer("u", storage.size as 1 | 2 | 4, false, storage.order)
        : new BigInteger("u", false, storage.order);
  }

  get(bytes: Uint8Array, at: number): T {
    const { shift, width } = this;
    const unit = this.#unit.get(bytes, at);
    if (typeof unit === "number") {
      const top = unit << (32 - shift - width);
      return (this.#signed ? top >> (32 - width) : top >>> (32 - width)) as T;
    }
    const value = unit >> BigInt(shift);
    return (this.#signed ? BigInt.asIntN(width, value) : BigInt.asUintN(width, value)) as T;
  }

  set(bytes: Uint8Array, at: number, value: T): void {
    const { shift, width } = this;
    const low = this.#signed ? -(2 ** (width - 1)) : 0;
    const high = 2 ** (this.#signed ? width - 1 : width);
    const kind = this.size === 8 ? "bigint" : "number";
    // biome-ignore lint/suspicious/noDoubleEquals: a mixed comparison of bigint and number is exact, and meant.
    const whole = typeof value === kind && (typeof value === "bigint" || Math.floor(value) == value);
    if (!(whole && value >= low && value < high)) {
      throw new RangeError(`${this.name}: ${String(value)} does not fit ${width} bits (a ${kind})`);
    }
    const unit = this.#unit;
    if (unit instanceof Integer) {
      const mask = (width === 32 ? -1 : (1 << width) - 1) << shift;
      const kept = unit.get(bytes, at) & ~mask;
      unit.set(bytes, at, (kept | ((Number(value) << shift) & mask)) >>> 0);
    } else {
      const mask = BigInt.asUintN(width, -1n) << BigInt(shift);
      const kept = unit.get(bytes, at) & ~mask;
      unit.set(bytes, at, kept | (BigInt.asUintN(width, BigInt(value)) << BigInt(shift)));
    }
  }

  resolve(little: boolean | undefined, pointerSize: 4 | 8 | undefined): Type<T> {
    const storage = this.storage.resolve(little, pointerSize);
    return storage === this.storage ? this : new Bits(storage, this.shift, this.width);
  }
}

/**
 * A bit-field: `width` bits of an integer, of which the lowest is bit `shift` (0 is the integer's least significant,
 * in either byte order). Signed storage makes it signed. In a struct, bit-fields that follow each other, have the
 * same storage type and ascend without overlap share one unit; otherwise the next unit begins.
 */
export function bits<T extends number | bigint>(storage: Type<T>, shift: number, width: number): Type<T> {
  return new Bits(storage, shift, width);
}

/** Bytes of a struct that mean nothing: no member of the decoded value, kept by `encode`. */
export class Padding extends Type<undefined> {
  /** Tells it from other types. */
  readonly isPadding = true;

  /** @internal */
  constructor(length: number) {
    checkCount(length, "padding");
    super(`padding[${length}]`, length, 1);
  }

  get(): undefined {
    return undefined;
  }

  set(): void {}

  resolve(): Padding {
    return this;
  }

  override touched(): void {}
}

/** `length` bytes of a struct that mean nothing. */
export function padding(length: number): Padding {
  return new Padding(length);
}

/** A struct's member with an offset of its own; made by `at`. */
export class Placed<T> {
  /** Bytes from the struct's first. */
  readonly offset: number;
  readonly type: Type<T>;

  /** @internal */
  constructor(offset: number, type: Type<T>) {
    checkCount(offset, "at");
    this.offset = offset;
    this.type = type;
  }
}

/** A member at a known offset, in bytes. Members may overlap (a union), and need not ascend. */
export function at<T>(offset: number, type: Type<T>): Placed<T> {
  return new Placed(offset, type);
}

/** What `struct` takes: member names, each with a type, or `at` an offset. */
export type Members = Readonly<Record<string, Type<unknown> | Placed<unknown>>>;

type MemberValue<M> = M extends Placed<infer T> ? T : M extends Type<infer T> ? T : never;

/** What a struct of these members decodes to. */
export type StructValue<M> = {
  -readonly [K in keyof M as M[K] extends Padding ? never : K]: MemberValue<M[K]>;
};

/** Options of {@link struct}. */
export interface StructOptions {
  /** No padding between members and alignment 1, as `__attribute__((packed))`. */
  readonly packed?: boolean;
  /** Alignment of the whole in bytes, a power of two; raises the members', as `__attribute__((aligned))`. */
  readonly align?: number;
  /** Size in bytes, where it is more than the members need. */
  readonly size?: number;
  /** For messages. */
  readonly name?: string;
}

interface Field {
  readonly name: string;
  readonly offset: number;
  readonly type: Type<unknown>;
}

/** A struct; see {@link struct}. */
export class Struct<M extends Members> extends Type<StructValue<M>> {
  override readonly bitwise: boolean;
  readonly #members: M;
  readonly #options: StructOptions;
  /** Without padding. */
  readonly #fields: readonly Field[];

  /** @internal */
  constructor(members: M, options: StructOptions) {
    const { fields, size, align } = layOut(members, options);
    super(options.name ?? "struct", size, align);
    this.#members = members;
    this.#options = options;
    this.#fields = fields;
    this.bitwise = fields.some((field) => field.type.bitwise);
  }

  /** Names of the members, in their order, without padding. */
  get names(): readonly (keyof StructValue<M> & string)[] {
    return this.#fields.map((field) => field.name as keyof StructValue<M> & string);
  }

  /** Offset of a member in bytes; of a bit-field, that of its unit. @throws {RangeError} if there is none. */
  offsetOf(name: keyof StructValue<M> & string): number {
    const field = this.#fields.find((candidate) => candidate.name === name);
    if (field === undefined) throw new RangeError(`${this.name} has no member ${name}`);
    return field.offset;
  }

  get(bytes: Uint8Array, at: number): StructValue<M> {
    const value: Record<string, unknown> = {};
    const fields = this.#fields;
    for (let i = 0; i < fields.length; i++) {
      const field = fields[i] as Field;
      value[field.name] = field.type.get(bytes, at + field.offset);
    }
    return value as StructValue<M>;
  }

  set(bytes: Uint8Array, at: number, value: StructValue<M>): void {
    for (const field of this.#fields) {
      try {
        field.type.set(bytes, at + field.offset, (value as Record<string, unknown>)[field.name]);
      } catch (error) {
        if (!(error instanceof RangeError)) throw error;
        throw new RangeError(`${this.name}.${field.name}: ${error.message}`, { cause: error });
      }
    }
  }

  resolve(little: boolean | undefined, pointerSize: 4 | 8 | undefined): Type<StructValue<M>> {
    let changed = false;
    const members: Record<string, Type<unknown> | Placed<unknown>> = {};
    for (const [name, member] of Object.entries(this.#members)) {
      const type = member instanceof Placed ? member.type : member;
      const resolved = type.resolve(little, pointerSize);
      if (resolved !== type) changed = true;
      members[name] = member instanceof Placed ? new Placed(member.offset, resolved) : resolved;
    }
    return changed ? new Struct(members as unknown as M, this.#options) : this;
  }

  override touched(base: number, out: number[]): void {
    const own: number[] = [];
    for (const field of this.#fields) field.type.touched(base + field.offset, own);
    // Members may overlap and need not ascend.
    const pairs: { start: number; end: number }[] = [];
    for (let i = 0; i < own.length; i += 2)
      pairs.push({ start: own[i] as number, end: own[i + 1] as number });
    pairs.sort((a, b) => a.start - b.start);
    for (const { start, end } of pairs) {
      const last = out.length - 1;
      if (last > 0 && start <= (out[last] as number)) out[last] = Math.max(out[last] as number, end);
      else out.push(start, end);
    }
  }
}

function layOut(members: Members, options: StructOptions): { fields: Field[]; size: number; align: number } {
  const what = options.name ?? "struct";
  const least = options.align ?? 1;
  if (!(Number.isSafeInteger(least) && least > 0 && Number.isInteger(Math.log2(least)))) {
    throw new RangeError(`${what}: alignment ${least} is not a power of two`);
  }
  const packed = options.packed === true;
  const fields: Field[] = [];
  let align = least;
  let next = 0;
  let end = 0;
  // The unit that bit-fields share: its storage, offset, and the bits that are taken.
  let unit: { storage: Type<unknown>; offset: number; taken: number } | undefined;
  for (const [name, member] of Object.entries(members)) {
    if (name === "__proto__") throw new RangeError(`${what}: a member cannot be called __proto__`);
    const placed = member instanceof Placed;
    const type = placed ? member.type : member;
    const memberAlign = packed ? 1 : type.align;
    if (memberAlign > align) align = memberAlign;
    let offset: number;
    if (placed) {
      offset = member.offset;
      unit = undefined;
    } else if (type instanceof Bits) {
      if (unit === undefined || unit.storage !== type.storage || type.shift < unit.taken) {
        unit = { storage: type.storage, offset: roundUp(next, memberAlign), taken: 0 };
      }
      unit.taken = type.shift + type.width;
      offset = unit.offset;
    } else {
      offset = roundUp(next, memberAlign);
      unit = undefined;
    }
    next = offset + type.size;
    if (next > end) end = next;
    if (!(type instanceof Padding)) fields.push({ name, offset, type });
  }
  const natural = roundUp(end, align);
  const size = options.size ?? natural;
  if (!(Number.isSafeInteger(size) && size >= end)) {
    throw new RangeError(
      `${what}: size ${String(options.size)} is less than the ${end} bytes of its members`,
    );
  }
  return { fields, size, align };
}

function roundUp(value: number, align: number): number {
  return Math.ceil(value / align) * align;
}

/**
 * A struct, laid out as C does: members in their order, each at a multiple of its alignment, the whole padded to a
 * multiple of the largest (64-bit integers are aligned to 8, as everywhere but on i386).
 *
 * @throws {RangeError} for an alignment or a size that can't be.
 */
export function struct<const M extends Members>(members: M, options: StructOptions = {}): Struct<M> {
  return new Struct(members, options);
}
