/** Large dumps that take little space: files with holes. */
import { closeSync, ftruncateSync, openSync, writeSync } from "node:fs";
import { ByteWriter } from "../support/bytes.js";
import { FIRST_FRAME, SYNTHETIC_BYTES, type SyntheticTables, syntheticTables } from "./synthetic-tables.js";
import { lazy, workPath } from "./work-folder.js";

const tables = lazy((): SyntheticTables => syntheticTables(4096));

/** A dump, and the root of page tables in it that map 4 GiB. */
export interface SparseFile {
  readonly path: string;
  readonly root: number;
}

/** A raw dump of 5 GiB, all zeros but for the tables; the frames that they map reach up to its end. */
export const sparseRaw: () => SparseFile = lazy(() => {
  const { bytes, root } = tables();
  const path = workPath("sparse.raw");
  const file = openSync(path, "w");
  writeSync(file, bytes, 0, bytes.length, 0);
  ftruncateSync(file, FIRST_FRAME + SYNTHETIC_BYTES);
  closeSync(file);
  return { path, root };
});

/** Present in the large dumps. */
export const PAGES = 1_000_000;
const BLOCK = 4096;

/**
 * A kdump, its pages spread over all of its physical memory: the tables, which are stored one by one, and others that
 * share one stored page. Written from makedumpfile's structures.
 *
 * @param bits Of physical memory: 40 for 1 TiB.
 * @param pages How many pages are present; at least the tables'.
 */
export function sparseKdump(bits: 38 | 40, pages: number): SparseFile {
  const { bytes, root } = tables();
  const maxPages = 2 ** (bits - 12);
  const tablePages = bytes.length / 4096;
  const path = workPath(`sparse-${bits}-${pages}.kdump`);
  const file = openSync(path, "w");
  const bitmapBlocks = Math.ceil(maxPages / 8 / BLOCK);
  writeSync(file, kdumpHeader(maxPages, pages, bitmapBlocks), 0, undefined, 0);

  // Frame numbers ascending: the tables first, then evenly up to the end.
  const others = pages - tablePages;
  const step = Math.floor((maxPages - tablePages) / others);
  const frameOf = (i: number) => (i < tablePages ? i : tablePages + (i - tablePages) * step);
  const bitmap = new Uint8Array(bitmapBlocks * BLOCK);
  for (let i = 0; i < pages; i++) {
    const frame = frameOf(i);
    bitmap[frame >>> 3] = (bitmap[frame >>> 3] as number) | (1 << (frame & 7));
  }
  for (const k of [0, 1]) writeSync(file, bitmap, 0, bitmap.length, (2 + k * bitmapBlocks) * BLOCK);

  const descriptorsAt = (2 + 2 * bitmapBlocks) * BLOCK;
  const dataAt = descriptorsAt + pages * 24;
  const descriptors = new DataView(new ArrayBuffer(pages * 24));
  for (let i = 0; i < pages; i++) {
    const stored = Math.min(i, tablePages);
    descriptors.setBigUint64(24 * i, BigInt(dataAt + stored * 4096), true);
    descriptors.setUint32(24 * i + 8, 4096, true);
  }
  writeSync(file, descriptors, 0, descriptors.byteLength, descriptorsAt);
  writeSync(file, bytes, 0, bytes.length, dataAt);
  writeSync(file, new Uint8Array(4096).fill(7), 0, 4096, dataAt + bytes.length);
  closeSync(file);
  return { path, root };
}

/**
 * An ELF core of 1 TiB of physical memory with a million pages present: the tables, and a thousand segments of a thousand
 * pages each, spread over all of it. Their bytes in the file are holes.
 */
export const sparseElf: () => SparseFile = lazy(() => {
  const { bytes, root } = tables();
  const each = 1000 * 4096;
  const spread = 2 ** 30;
  const segments = [{ physical: 0, length: bytes.length }];
  for (let i = 1; i <= PAGES / 1000; i++) segments.push({ physical: i * spread, length: each });
  const out = new ByteWriter().text("\x7fELF").u8(2).u8(1).u8(1).upTo(16);
  out.u16(4).u16(62).u32(1).u64(0).u64(64).u64(0).u32(0);
  out.u16(64).u16(56).u16(segments.length).u16(64).u16(0).u16(0);
  const dataAt = Math.ceil((64 + 56 * segments.length) / 4096) * 4096;
  let at = dataAt;
  for (const { physical, length } of segments) {
    out.u32(1).u32(0).u64(at).u64(0).u64(physical).u64(length).u64(length).u64(0);
    at += length;
  }
  const path = workPath("sparse.elf");
  const file = openSync(path, "w");
  writeSync(file, out.done());
  writeSync(file, bytes, 0, bytes.length, dataAt);
  ftruncateSync(file, at);
  closeSync(file);
  return { path, root };
});

/** `disk_dump_header` and `kdump_sub_header`, version 6. */
function kdumpHeader(maxPages: number, pages: number, bitmapBlocks: number): Uint8Array {
  const out = new ByteWriter().text("KDUMP   ").u32(6);
  for (const text of ["Linux", "sparse", "6.1.0", "#1", "x86_64", "(none)"]) out.text(text, 65);
  out.alignTo(8).u64(1700000000).u64(0);
  out
    .u32(0)
    .u32(BLOCK)
    .u32(1)
    .u32(2 * bitmapBlocks);
  out.u32(maxPages).u32(0).u32(0).u32(pages).u32(0).u32(1);
  out.upTo(BLOCK);
  out.u64(0).u32(1).u32(0).u64(0).u64(0).u64(0).u64(0).u64(0).u64(0).u64(0).u64(0);
  out.u64(0).u64(0).u64(maxPages);
  return out.upTo(2 * BLOCK).done();
}
