/** Bit-fields: some bits of an integer. */
import { BigInteger, Integer } from "./scalars.js";
import { Type } from "./type.js";

/** A bit-field; see {@link bits}. */
export class Bits<T extends number | bigint> extends Type<T> {
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
