/** Types of many values of one kind: arrays, raw bytes, strings in a field. */
import { copyBytes } from "../io/copy.hot.js";
import { decodeText, encodeText, type TextEncoding } from "./text.js";
import { checkCount, Type } from "./type.js";

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
