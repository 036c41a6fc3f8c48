/** Bytes of notes and headers, field by field. Everything is little-endian: the kernels are. */

/** The bytes as 64-bit words; what is left at their end is dropped. @internal */
export function decodeWords(bytes: Uint8Array): bigint[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return Array.from({ length: Math.floor(bytes.length / 8) }, (_, i) => view.getBigUint64(8 * i, true));
}

/** Zeros of a known size, into which fields are put. @internal */
export class FieldBytes {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly #view: DataView;

  constructor(size: number) {
    this.bytes = new Uint8Array(size);
    this.#view = new DataView(this.bytes.buffer);
  }

  u8(at: number, value: number): this {
    this.#view.setUint8(at, value);
    return this;
  }

  u16(at: number, value: number): this {
    this.#view.setUint16(at, value, true);
    return this;
  }

  /** Its low 32 bits: also for a signed value. */
  u32(at: number, value: number): this {
    this.#view.setUint32(at, value, true);
    return this;
  }

  /** Its low 64 bits, or with a size of 4 its low 32. */
  word(at: number, value: bigint, size: 4 | 8 = 8): this {
    if (size === 8) this.#view.setBigUint64(at, BigInt.asUintN(64, value), true);
    else this.#view.setUint32(at, Number(BigInt.asUintN(32, value)), true);
    return this;
  }

  /** @param limit Bytes that there is room for. */
  put(at: number, bytes: Uint8Array, limit = bytes.length): this {
    this.bytes.set(bytes.subarray(0, limit), at);
    return this;
  }
}
