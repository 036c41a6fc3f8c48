/**
 * Packets of GDB's remote serial protocol (GDB manual, appendix E.1): `$data#sum`, `%notification#sum`, `+` and `-`.
 *
 * In the data, `}` begins an escape (the byte behind it with bit 5 turned over), and `*` a run (the byte before it, as many times more
 * as the byte behind it is above 28).
 */

/** What came of a connection. */
export type Received =
  | { readonly kind: "packet"; readonly data: Uint8Array }
  | { readonly kind: "ack" }
  | { readonly kind: "nak" }
  /** A packet whose sum is wrong, or whose data do not decode. */
  | { readonly kind: "damaged" };

const DOLLAR = 0x24;
const PERCENT = 0x25;
const HASH = 0x23;
const STAR = 0x2a;
const PLUS = 0x2b;
const MINUS = 0x2d;
const ESCAPE = 0x7d;
const TURN = 0x20;
/** A run's length byte stands for this many less. */
const RUN_BASE = 29;

/** A stub that sends what no stub sends. */
export class GdbProtocolError extends Error {}

/** Takes a stub's bytes apart. Holds what came of a packet that is not complete yet. */
export class PacketReader {
  readonly #limit: number;
  #held: Uint8Array;
  #length = 0;
  /** 0 outside of packets; else the byte that began it. */
  #inside = 0;
  /** Digits of the sum that are still to come; their value. */
  #digits = 0;
  #sum = 0;
  #told = 0;
  #junk = 0;

  /** @param limit Bytes that a packet's data may have, before and after decoding. */
  constructor(limit: number) {
    this.#limit = limit;
    this.#held = new Uint8Array(Math.min(limit, 8192));
  }

  /** Bytes since the last packet that are in none. */
  get junk(): number {
    return this.#junk;
  }

  /**
   * What these bytes complete.
   *
   * @throws {GdbProtocolError} for a packet beyond the limit, and for as many bytes that are in no packet.
   */
  push(bytes: Uint8Array): Received[] {
    const found: Received[] = [];
    for (const byte of bytes) {
      if (this.#digits > 0) this.#digit(byte, found);
      else if (this.#inside !== 0) this.#data(byte);
      else this.#outside(byte, found);
    }
    return found;
  }

  #outside(byte: number, found: Received[]): void {
    if (byte === DOLLAR || byte === PERCENT) {
      this.#begin(byte);
      this.#junk = 0;
    } else if (byte === PLUS) found.push({ kind: "ack" });
    else if (byte === MINUS) found.push({ kind: "nak" });
    else if (++this.#junk > this.#limit) {
      throw new GdbProtocolError(`more than ${this.#limit} bytes came that are in no packet`);
    }
  }

  #begin(byte: number): void {
    this.#inside = byte;
    this.#length = 0;
    this.#sum = 0;
  }

  #data(byte: number): void {
    if (byte === HASH) {
      this.#digits = 2;
      this.#told = 0;
      return;
    }
    // (One that was cut off: a `$` is never in the data.)
    if (byte === DOLLAR) return this.#begin(byte);
    if (this.#length === this.#limit) {
      throw new GdbProtocolError(`a packet is longer than ${this.#limit} bytes`);
    }
    if (this.#length === this.#held.length) {
      const longer = new Uint8Array(Math.min(this.#limit, 2 * this.#length));
      longer.set(this.#held);
      this.#held = longer;
    }
    this.#held[this.#length++] = byte;
    this.#sum = (this.#sum + byte) & 0xff;
  }

  #digit(byte: number, found: Received[]): void {
    this.#digits--;
    this.#told = this.#told * 16 + hexDigit(byte);
    if (this.#digits > 0) return;
    const isPacket = this.#inside === DOLLAR;
    this.#inside = 0;
    // (A sum with what is no digit is NaN, and equal to none.)
    const data =
      this.#told === this.#sum ? decodeData(this.#held.subarray(0, this.#length), this.#limit) : undefined;
    if (!isPacket) return;
    found.push(data === undefined ? { kind: "damaged" } : { kind: "packet", data });
  }
}

function hexDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : Number.NaN;
}

/**
 * Data without escapes and runs, in memory of its own.
 *
 * @returns `undefined` for what does not decode. @throws {GdbProtocolError} for what would be longer than the limit.
 */
export function decodeData(data: Uint8Array, limit: number): Uint8Array | undefined {
  if (!data.includes(ESCAPE) && !data.includes(STAR)) return data.slice();
  let out = new Uint8Array(Math.min(limit, 2 * data.length + 256));
  let length = 0;
  const put = (byte: number, times: number) => {
    if (length + times > limit) throw new GdbProtocolError(`a packet stands for more than ${limit} bytes`);
    if (length + times > out.length) {
      const longer = new Uint8Array(Math.min(limit, 2 * (length + times)));
      longer.set(out);
      out = longer;
    }
    out.fill(byte, length, length + times);
    length += times;
  };
  for (let i = 0; i < data.length; i++) {
    const byte = data[i] as number;
    if (byte !== ESCAPE && byte !== STAR) {
      put(byte, 1);
      continue;
    }
    const next = data[++i];
    if (next === undefined) return undefined;
    if (byte === ESCAPE) put(next ^ TURN, 1);
    else if (length === 0 || next < RUN_BASE + 3) return undefined;
    else put(out[length - 1] as number, next - RUN_BASE);
  }
  return out.slice(0, length);
}

/** A packet of these bytes; those that have a meaning of their own are escaped. */
export function encodePacket(data: Uint8Array): Uint8Array {
  const packet = new Uint8Array(2 * data.length + 4);
  packet[0] = DOLLAR;
  let length = 1;
  let sum = 0;
  const put = (byte: number) => {
    packet[length++] = byte;
    sum = (sum + byte) & 0xff;
  };
  for (const byte of data) {
    if (byte === DOLLAR || byte === HASH || byte === ESCAPE || byte === STAR) {
      put(ESCAPE);
      put(byte ^ TURN);
    } else put(byte);
  }
  packet[length++] = HASH;
  const digits = sum.toString(16).padStart(2, "0");
  packet[length++] = digits.charCodeAt(0);
  packet[length++] = digits.charCodeAt(1);
  return packet.subarray(0, length);
}

/** Text of single bytes. */
export function textOf(data: Uint8Array): string {
  let text = "";
  for (let i = 0; i < data.length; i += 4096) text += String.fromCharCode(...data.subarray(i, i + 4096));
  return text;
}

/** Its bytes. */
export function bytesOf(text: string): Uint8Array {
  return Uint8Array.from(text, (char) => char.charCodeAt(0));
}

/**
 * Reads digits into memory.
 *
 * @returns bytes read: as many as `into` takes; -1 for what is no pairs of digits.
 */
export function decodeHex(data: Uint8Array, into: Uint8Array): number {
  const length = Math.min(data.length >> 1, into.length);
  if ((data.length & 1) !== 0) return -1;
  for (let i = 0; i < length; i++) {
    const value = (HEX[data[2 * i] as number] as number) * 16 + (HEX[data[2 * i + 1] as number] as number);
    if (!(value >= 0)) return -1;
    into[i] = value;
  }
  return length;
}

const HEX = Float64Array.from({ length: 256 }, (_, byte) => hexDigit(byte));

/** Digits of bytes. */
export function encodeHex(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += byte.toString(16).padStart(2, "0");
  return text;
}
