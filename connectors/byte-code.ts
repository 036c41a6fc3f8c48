/**
 * Numbers as bytes, for files and messages of our own. A number is written seven bits a byte, the lowest first; every byte but the last
 * has its highest bit set (LEB128).
 */
import { FAULT_CODES, FAULT_LOCATIONS, FAULT_STATES, FAULT_SUBJECTS, type Fault } from "../src/io/index.js";

/** Bytes that are not what they should be: cut off, or a number out of its bounds. */
export class MalformedError extends Error {}

/** Appends to memory that grows. */
export class ByteWriter {
  #bytes: Uint8Array;
  #length = 0;

  constructor(capacity = 256) {
    this.#bytes = new Uint8Array(capacity);
  }

  get length(): number {
    return this.#length;
  }

  /** @param value An integer from 0 to 2^53 - 1. */
  number(value: number): void {
    this.#reserve(8);
    let rest = value;
    while (rest >= 128) {
      this.#bytes[this.#length++] = (rest % 128) | 128;
      rest = Math.floor(rest / 128);
    }
    this.#bytes[this.#length++] = rest;
  }

  /** An integer of 64 bits, as two words. */
  words(low: number, high: number): void {
    this.#reserve(10);
    let lo = low;
    let hi = high;
    while (hi !== 0 || lo >= 128) {
      this.#bytes[this.#length++] = (lo & 127) | 128;
      lo = ((lo >>> 7) | (hi << 25)) >>> 0;
      hi >>>= 7;
    }
    this.#bytes[this.#length++] = lo;
  }

  bytes(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  /** What was written: a view, until more is. */
  get written(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  #reserve(count: number): void {
    const needed = this.#length + count;
    if (needed <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
    grown.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = grown;
  }
}

/** Reads what {@link ByteWriter} wrote. Every method throws {@link MalformedError} where there is no such thing. */
export class ByteReader {
  readonly #bytes: Uint8Array;
  #at = 0;
  /** The words that `words()` read last. */
  lo = 0;
  hi = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** Bytes that are left. */
  get left(): number {
    return this.#bytes.length - this.#at;
  }

  /** An integer from 0 to `most`. */
  number(most = Number.MAX_SAFE_INTEGER): number {
    let value = 0;
    let weight = 1;
    for (let i = 0; i < 8; i++) {
      const byte = this.#byte();
      value += (byte & 127) * weight;
      if (byte < 128) {
        if (value > most) throw new MalformedError(`${value} is more than ${most}`);
        return value;
      }
      weight *= 128;
    }
    throw new MalformedError("a number has too many bytes");
  }

  /** An integer of 64 bits, to `lo` and `hi`. */
  words(): void {
    let lo = 0;
    let hi = 0;
    for (let i = 0; i < 10; i++) {
      const byte = this.#byte();
      const bits = byte & 127;
      if (i < 4) lo |= bits << (7 * i);
      else if (i === 4) {
        lo |= bits << 28;
        hi = bits >>> 4;
      } else if (i < 9) hi |= bits << (7 * i - 32);
      else if (bits > 1) break;
      else hi |= bits << 31;
      if (byte < 128) {
        this.lo = lo >>> 0;
        this.hi = hi >>> 0;
        return;
      }
    }
    throw new MalformedError("a number has more than 64 bits");
  }

  /** So many bytes: a view of them. */
  bytes(count: number): Uint8Array {
    if (count > this.left) throw new MalformedError(`${count} bytes, and ${this.left} are left`);
    this.#at += count;
    return this.#bytes.subarray(this.#at - count, this.#at);
  }

  /** A fault, or 0 for none. */
  fault(): Fault {
    const value = this.number(2 ** 30 - 1);
    if (value !== 0 && !isFault(value)) throw new MalformedError(`${value} is no fault`);
    return value;
  }

  #byte(): number {
    const byte = this.#bytes[this.#at];
    if (byte === undefined) throw new MalformedError("it is cut off");
    this.#at++;
    return byte;
  }
}

/** Whether an integer is a fault as `fault()` packs them: five bits each of state, subject, location and code, ten of detail. */
export function isFault(value: number): boolean {
  return (
    (value & 31) !== 0 &&
    (value & 31) < FAULT_STATES.length &&
    ((value >>> 5) & 31) < FAULT_SUBJECTS.length &&
    ((value >>> 10) & 31) < FAULT_LOCATIONS.length &&
    ((value >>> 15) & 31) < FAULT_CODES.length
  );
}
