/** Dumps of a guest whose pages are compressed. What the tile holds is compressed once. */
import { crc32c } from "../../../src/codecs/crc32c.hot.js";
import { ByteWriter } from "../../support/bytes.js";
import { writeAvml } from "../../support/write-avml.js";
import { writeKdump } from "../../support/write-kdump.js";
import { type Guest, PAGE } from "./guest.js";
import { FileSink } from "./sink.js";
import { compressSnappy } from "./snappy-encoder.js";

/** How pages of a kdump are compressed: the flag of their descriptors. */
export interface PageCodec {
  readonly flag: number;
  readonly encode: (page: Uint8Array) => Uint8Array;
}

/** Blocks of the headers in front of the bitmaps. */
const HEADER = 2 * PAGE;

/**
 * As makedumpfile writes it: zeros are one page for all, and what does not get smaller is stored as it is.
 *
 * @param codec `undefined`: all pages are stored as they are.
 */
export function writeKdumpFile(guest: Guest, path: string, codec: PageCodec | undefined): void {
  const maxPages = guest.end / PAGE;
  const head = writeKdump([], { maxPages });
  const perBitmap = Math.ceil(maxPages / 8 / PAGE) * PAGE;
  const pages = guest.ranges.flatMap(({ start, end, from }) =>
    Array.from({ length: (end - start) / PAGE }, (_, i) => {
      for (const bitmap of [HEADER, HEADER + perBitmap]) {
        const at = bitmap + ((start / PAGE + i) >>> 3);
        head[at] = (head[at] as number) | (1 << ((start / PAGE + i) & 7));
      }
      return from + i * PAGE;
    }),
  );
  const stored = guest.chunks(PAGE, (page) => {
    if (page.every((byte) => byte === 0)) return undefined;
    const encoded = codec?.encode(page);
    return encoded === undefined || encoded.length >= PAGE
      ? { bytes: page, flag: 0 }
      : { bytes: encoded, flag: codec?.flag ?? 0 };
  });
  const sink = new FileSink(path);
  sink.write(head);
  const zerosAt = head.length + 24 * pages.length;
  let at = zerosAt + PAGE;
  const descriptor = Buffer.alloc(24);
  for (const byte of pages) {
    const body = stored(byte);
    descriptor.writeBigUInt64LE(BigInt(body === undefined ? zerosAt : at));
    descriptor.writeUInt32LE(body?.bytes.length ?? PAGE, 8);
    descriptor.writeUInt32LE(body?.flag ?? 0, 12);
    sink.write(descriptor);
    at += body?.bytes.length ?? 0;
  }
  sink.write(new Uint8Array(PAGE));
  for (const byte of pages) {
    const body = stored(byte);
    if (body !== undefined) sink.write(body.bytes);
  }
  sink.close();
}

/** Bytes of a block, and of a chunk in it, as AVML writes. */
const AVML_BLOCK = 16 * 2 ** 20;
const AVML_CHUNK = 64 * 1024;

export function writeAvmlFile(guest: Guest, path: string): void {
  const sink = new FileSink(path);
  const chunk = guest.chunks(AVML_CHUNK, (bytes) => {
    const packed = compressSnappy(bytes);
    const body = packed.length < bytes.length - bytes.length / 8 ? packed : bytes;
    const sum = crc32c(bytes);
    const length = 4 + body.length;
    return new ByteWriter()
      .u8(body === packed ? 0 : 1)
      .u16(length & 0xffff)
      .u8(length >> 16)
      .u32((((sum >>> 15) | (sum << 17)) + 0xa282ead8) >>> 0)
      .bytes(body)
      .done();
  });
  const identifier = new ByteWriter().u8(0xff).u16(6).u8(0).text("sNaPpY").done();
  for (const { start, end, from } of guest.ranges) {
    for (let block = start; block < end; block += AVML_BLOCK) {
      const last = block + AVML_BLOCK - 1;
      sink.write(writeAvml([{ start: block, bytes: new Uint8Array(0), last, headerOnly: true }]));
      const streamAt = sink.length;
      sink.write(identifier);
      for (let at = block; at < block + AVML_BLOCK; at += AVML_CHUNK) sink.write(chunk(from + at - start));
      sink.write(new ByteWriter().u64(sink.length - streamAt).done());
    }
  }
  sink.close();
}

/** A raw image in zstd's seekable format. @param frame Bytes of a frame, a part of a MiB. */
export function writeSeekable(
  guest: Guest,
  path: string,
  frame: number,
  encode: (bytes: Uint8Array) => Uint8Array,
): void {
  const sink = new FileSink(path);
  const chunk = guest.chunks(frame, encode);
  const zeros = encode(new Uint8Array(frame));
  const table = new ByteWriter();
  let count = 0;
  for (let at = 0; at < guest.end; at += frame, count++) {
    const range = guest.ranges.find(({ start, end }) => at >= start && at < end);
    const stored = range === undefined ? zeros : chunk(range.from + at - range.start);
    sink.write(stored);
    table.u32(stored.length).u32(frame);
  }
  sink.write(
    new ByteWriter()
      .u32(0x184d2a5e)
      .u32(8 * count + 9)
      .bytes(table.done())
      .u32(count)
      .u8(0)
      .u32(0x8f92eab1)
      .done(),
  );
  sink.close();
}
