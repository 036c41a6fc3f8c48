/** LiME files for tests, written from LiME's `lime_mem_range_header`; shares nothing with the reader. */
import { ByteWriter } from "./bytes.js";

export interface LimeRange {
  readonly start: number | bigint;
  readonly bytes: Uint8Array;
  /** What the header says instead. */
  readonly magic?: number;
  readonly version?: number;
  readonly last?: number | bigint;
}

/** @param bigEndian As LiME writes on a big-endian machine. */
export function writeLime(ranges: readonly LimeRange[], bigEndian = false): Uint8Array {
  const out = new ByteWriter(bigEndian);
  for (const { start, bytes, magic = 0x4c694d45, version = 1, last } of ranges) {
    out
      .u32(magic)
      .u32(version)
      .u64(start)
      .u64(last ?? BigInt(start) + BigInt(bytes.length) - 1n)
      .text("", 8)
      .bytes(bytes);
  }
  return out.done();
}
