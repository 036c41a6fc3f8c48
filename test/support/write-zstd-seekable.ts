/**
 * Files in zstd's seekable format for tests, written from its specification and RFC 8878; shares nothing with the reader.
 * Frames have blocks that are stored as they are, or repeat one byte.
 */
import { ByteWriter } from "./bytes.js";

export interface SeekableOptions {
  /** Decompressed bytes of a frame. */
  readonly frame: number;
  /** A frame that says to be of no bytes and is skipped, before the table. */
  readonly skippable?: boolean;
  readonly checksums?: boolean;
  /** What the table says of one frame instead. */
  readonly lie?: { readonly frame: number; readonly stored?: number; readonly length?: number };
}

export function writeZstdSeekable(bytes: Uint8Array, options: SeekableOptions): Uint8Array {
  const frames: { stored: Uint8Array; length: number }[] = [];
  for (let at = 0; at < bytes.length; at += options.frame) {
    const data = bytes.subarray(at, at + options.frame);
    frames.push({ stored: zstdFrame(data), length: data.length });
  }
  const skippable = new ByteWriter().u32(0x184d2a50).u32(3).text("abc").done();
  if (options.skippable) frames.push({ stored: skippable, length: 0 });
  const out = new ByteWriter();
  for (const { stored } of frames) out.bytes(stored);
  out.u32(0x184d2a5e).u32(frames.length * (options.checksums ? 12 : 8) + 9);
  for (const [i, { stored, length }] of frames.entries()) {
    const lie = options.lie?.frame === i ? options.lie : undefined;
    out.u32(lie?.stored ?? stored.length).u32(lie?.length ?? length);
    if (options.checksums) out.u32(0xdeadbeef);
  }
  return out
    .u32(frames.length)
    .u8(options.checksums ? 0x80 : 0)
    .u32(0x8f92eab1)
    .done();
}

/** A single segment with its size in 4 bytes, without a checksum. */
export function zstdFrame(data: Uint8Array): Uint8Array {
  const out = new ByteWriter().u32(0xfd2fb528).u8(0xa0).u32(data.length);
  for (let at = 0; at < data.length || at === 0; at += 1000) {
    const block = data.subarray(at, at + 1000);
    const last = at + 1000 >= data.length ? 1 : 0;
    const repeats = block.length > 1 && block.every((byte) => byte === block[0]);
    const header = last + (repeats ? 2 : 0) + block.length * 8;
    out.u16(header & 0xffff).u8(header >> 16);
    out.bytes(repeats ? block.subarray(0, 1) : block);
  }
  return out.done();
}
