/** AVML files of version 2 for tests, written from AVML's src/image.rs and snappy's specifications; shares nothing with the reader. */
import { ByteWriter } from "./bytes.js";

export interface AvmlBlock {
  readonly start: number | bigint;
  readonly bytes: Uint8Array;
  /** Only the header is there: a block of zeros, as AVML wrote it for a year. */
  readonly headerOnly?: boolean;
  /** What the header and the size behind the stream say instead. */
  readonly last?: number | bigint;
  readonly trailer?: number | bigint;
}

export interface AvmlOptions {
  readonly version?: number;
  /** Decompressed bytes of a chunk; default 65,536, as AVML writes. */
  readonly chunk?: number;
  /** Chunks of padding, and of kinds to skip, between the others. */
  readonly padding?: boolean;
}

export function writeAvml(blocks: readonly AvmlBlock[], options: AvmlOptions = {}): Uint8Array {
  const out = new ByteWriter();
  for (const { start, bytes, headerOnly, last, trailer } of blocks) {
    out.text("AVML").u32(options.version ?? 2);
    out
      .u64(start)
      .u64(last ?? BigInt(start) + BigInt(bytes.length) - 1n)
      .u64(0);
    if (headerOnly) continue;
    const stream = snappyFrames(bytes, options);
    out.bytes(stream).u64(trailer ?? stream.length);
  }
  return out.done();
}

/** A stream in snappy's framing format; chunks that do not get smaller are stored as they are. */
export function snappyFrames(bytes: Uint8Array, options: AvmlOptions = {}): Uint8Array {
  const { chunk = 65_536, padding = false } = options;
  const out = new ByteWriter();
  const header = (type: number, length: number) =>
    out
      .u8(type)
      .u16(length & 0xffff)
      .u8(length >> 16);
  header(0xff, 6).text("sNaPpY");
  for (let at = 0; at < bytes.length; at += chunk) {
    const data = bytes.subarray(at, at + chunk);
    const packed = snappyBlock(data);
    const small = packed.length < data.length - data.length / 8;
    if (padding && at > 0) {
      header(0xfe, 5).text("", 5);
      header(0x80, 3).text("abc");
      header(0xff, 6).text("sNaPpY");
    }
    const body = small ? packed : data;
    header(small ? 0 : 1, 4 + body.length)
      .u32(maskedSum(data))
      .bytes(body);
  }
  return out.done();
}

/** A snappy block: bytes as they are, and runs of one byte as copies of it. */
export function snappyBlock(data: Uint8Array): Uint8Array {
  const out = new ByteWriter();
  for (let length = data.length; ; length = Math.floor(length / 128)) {
    out.u8(length < 128 ? length : 128 + (length % 128));
    if (length < 128) break;
  }
  const literal = (from: number, to: number) => {
    const less = to - from - 1;
    if (less < 0) return;
    if (less < 60) out.u8(less * 4);
    else if (less < 256) out.u8(60 * 4).u8(less);
    else out.u8(61 * 4).u16(less);
    out.bytes(data.subarray(from, to));
  };
  let done = 0;
  for (let at = 0; at < data.length; ) {
    let end = at + 1;
    while (end < data.length && data[end] === data[at]) end++;
    if (end - at < 8) {
      at = end;
      continue;
    }
    literal(done, at + 1);
    for (let left = end - at - 1; left > 0; left -= 64) out.u8((Math.min(64, left) - 1) * 4 + 2).u16(1);
    done = end;
    at = end;
  }
  literal(done, data.length);
  return out.done();
}

/** CRC-32C a bit at a time, masked. */
function maskedSum(data: Uint8Array): number {
  let sum = 0xffffffff;
  for (const byte of data) {
    sum ^= byte;
    for (let bit = 0; bit < 8; bit++) sum = sum & 1 ? (sum >>> 1) ^ 0x82f63b78 : sum >>> 1;
  }
  sum = ~sum >>> 0;
  return (Math.floor(sum / 2 ** 15) + (sum % 2 ** 15) * 2 ** 17 + 0xa282ead8) % 2 ** 32;
}
