/** Where a dump is written to, and the small tools that every writer needs. */

/** A file that is written in any order. What is never written reads as zeros, and takes no room where the platform can. */
export interface DumpSink {
  /**
   * Writes bytes at a file offset.
   *
   * May return before they are written: the memory must not change until whoever owns the sink says so (at the next
   * `flush` of the writer, everything before it has been written).
   */
  write(offset: number, bytes: Uint8Array): void;
}

/** Blocks of a file that are left out where they are zero. */
const BLOCK = 4096;

/** Writes bytes, but not the blocks of the file that they fill with zeros. */
export function writeSparse(sink: DumpSink, offset: number, bytes: Uint8Array): void {
  let from = 0;
  let at = (BLOCK - (offset % BLOCK)) % BLOCK;
  for (; at + BLOCK <= bytes.length; at += BLOCK) {
    if (!isZero(bytes, at, at + BLOCK)) continue;
    if (at > from) sink.write(offset + from, bytes.subarray(from, at));
    from = at + BLOCK;
  }
  if (from < bytes.length) sink.write(offset + from, bytes.subarray(from));
}

/** Whether the bytes from `start` to `end` (exclusive) are all zero. */
export function isZero(bytes: Uint8Array, start: number, end: number): boolean {
  let at = start;
  if ((bytes.byteOffset + start) % 4 === 0) {
    const words = new Int32Array(bytes.buffer, bytes.byteOffset + start, (end - start) >>> 2);
    for (let i = 0; i < words.length; i++) if (words[i] !== 0) return false;
    at += words.length * 4;
  }
  for (; at < end; at++) if (bytes[at] !== 0) return false;
  return true;
}

/** Structures of a known size, field by field in the order of their declaration. */
export class StructWriter {
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  readonly #littleEndian: boolean;
  #at = 0;

  /** @param size Bytes in all; more than that can't be written. */
  constructor(size: number, littleEndian = true) {
    this.bytes = new Uint8Array(size);
    this.#view = new DataView(this.bytes.buffer);
    this.#littleEndian = littleEndian;
  }

  /** Bytes so far. */
  get length(): number {
    return this.#at;
  }

  u8(value: number): this {
    this.#view.setUint8(this.#at, value);
    this.#at += 1;
    return this;
  }

  u16(value: number): this {
    this.#view.setUint16(this.#at, value, this.#littleEndian);
    this.#at += 2;
    return this;
  }

  /** Its low 32 bits: also for a signed value. */
  u32(value: number): this {
    this.#view.setUint32(this.#at, value, this.#littleEndian);
    this.#at += 4;
    return this;
  }

  /** A double that is a whole number, 0 to 2^53. */
  u64(value: number): this {
    const low = value >>> 0;
    const high = (value - low) / 2 ** 32;
    return this.#littleEndian ? this.u32(low).u32(high) : this.u32(high).u32(low);
  }

  /** Its low 64 bits: also for a signed value. */
  big(value: bigint): this {
    this.#view.setBigUint64(this.#at, BigInt.asUintN(64, value), this.#littleEndian);
    this.#at += 8;
    return this;
  }

  /** One byte a character, cut or padded with NULs to `length`; the last byte is always a NUL. */
  text(value: string, length: number): this {
    for (let i = 0; i < Math.min(value.length, length - 1); i++)
      this.bytes[this.#at + i] = value.charCodeAt(i);
    this.#at += length;
    return this;
  }

  append(bytes: Uint8Array): this {
    this.bytes.set(bytes, this.#at);
    this.#at += bytes.length;
    return this;
  }

  /** Zeros up to a multiple of `size`, or up to an offset. */
  align(size: number): this {
    return this.upTo(Math.ceil(this.#at / size) * size);
  }

  /** Zeros up to an offset. */
  upTo(offset: number): this {
    this.#at = offset;
    return this;
  }

  /** What has been written. */
  done(): Uint8Array {
    return this.bytes.subarray(0, this.#at);
  }
}
