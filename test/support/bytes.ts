/** Writes binary structures field by field, in the order of their declaration: no tables of offsets. */
export class ByteWriter {
  #bytes = new Uint8Array(1024);
  length = 0;
  readonly bigEndian: boolean;

  constructor(bigEndian = false) {
    this.bigEndian = bigEndian;
  }

  #room(count: number): DataView {
    if (this.length + count > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(this.#bytes.length * 2, this.length + count));
      larger.set(this.#bytes);
      this.#bytes = larger;
    }
    return new DataView(this.#bytes.buffer);
  }

  u8(value: number): this {
    this.#room(1).setUint8(this.length, value);
    this.length += 1;
    return this;
  }

  u16(value: number): this {
    this.#room(2).setUint16(this.length, value, !this.bigEndian);
    this.length += 2;
    return this;
  }

  u32(value: number): this {
    this.#room(4).setUint32(this.length, value, !this.bigEndian);
    this.length += 4;
    return this;
  }

  u64(value: number | bigint): this {
    this.#room(8).setBigUint64(this.length, BigInt.asUintN(64, BigInt(value)), !this.bigEndian);
    this.length += 8;
    return this;
  }

  /** Characters below 256, padded with zeros or cut to `length`. */
  text(value: string, length = value.length): this {
    for (let i = 0; i < length; i++) this.u8(i < value.length ? value.charCodeAt(i) : 0);
    return this;
  }

  bytes(value: Uint8Array): this {
    this.#room(value.length);
    this.#bytes.set(value, this.length);
    this.length += value.length;
    return this;
  }

  /** Zeros up to an offset. */
  upTo(offset: number): this {
    if (offset < this.length) throw new RangeError(`already at ${this.length}, past ${offset}`);
    return this.bytes(new Uint8Array(offset - this.length));
  }

  alignTo(size: number): this {
    return this.upTo(Math.ceil(this.length / size) * size);
  }

  done(): Uint8Array {
    return this.#bytes.slice(0, this.length);
  }
}

/** A small generator of numbers for tests that need many: the same for the same seed (xorshift32). */
export function random(seed: number): (below: number) => number {
  let state = seed >>> 0 || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

/** Bytes that depend on the seed; half of the seeds give runs that compress well. */
export function pattern(length: number, seed: number): Uint8Array {
  const next = random(seed * 2654435761 + 1);
  const bytes = new Uint8Array(length);
  if (seed % 2 === 0) bytes.fill(1 + (seed % 250));
  const changes = seed % 2 === 0 ? 8 : length;
  for (let i = 0; i < changes && length > 0; i++) bytes[seed % 2 === 0 ? next(length) : i] = next(256);
  return bytes;
}
