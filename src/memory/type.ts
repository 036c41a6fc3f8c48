/** The base class of types of memory: size, alignment, and values to and from bytes. */

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
  #solid: boolean | undefined;

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

  /** Whether `set` sets every bit of every byte, so that writing needs neither a read nor a gap. @internal */
  get solid(): boolean {
    if (this.#solid === undefined) {
      const runs: number[] = [];
      if (!this.bitwise) this.touched(0, runs);
      this.#solid = runs.length === 2 && runs[0] === 0 && runs[1] === this.size;
    }
    return this.#solid;
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

/** @throws {RangeError} for what is no number of elements or bytes. */
export function checkCount(count: number, what: string): void {
  if (!(Number.isSafeInteger(count) && count >= 0))
    throw new RangeError(`${what}: ${String(count)} is not a count`);
}
