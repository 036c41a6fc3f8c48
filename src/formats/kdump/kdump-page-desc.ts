/**
 * `struct page_desc` (makedumpfile's diskdump_mod.h): offset (64 bits) and size of the page's bytes in the file, flags
 * that say how they are compressed, and page flags (64 bits), which are 0. The same under every ABI, in the machine's
 * byte order.
 */
import { type Routine, readPartial } from "../../io/index.js";
import type { KdumpLayout, KdumpPart } from "./kdump-layout.js";

/** Bytes of a descriptor. */
export const DESCRIPTOR_SIZE = 24;
/** Descriptors read at a time when all are looked at: 1.5 MiB. */
const PIECE = 65_536;

/** File offset of a page's bytes, from its descriptor at `at`; inexact, and beyond every file, from 2^53 on. */
export function offsetOf(bytes: Uint8Array, at: number, littleEndian: boolean): number {
  return littleEndian
    ? u32(bytes, at + 4, true) * 2 ** 32 + u32(bytes, at, true)
    : u32(bytes, at, false) * 2 ** 32 + u32(bytes, at + 4, false);
}

/** Bytes of the page in the file. */
export function sizeOf(bytes: Uint8Array, at: number, littleEndian: boolean): number {
  return u32(bytes, at + 8, littleEndian);
}

/** How it is compressed: see `kdump-codecs.ts`. */
export function flagsOf(bytes: Uint8Array, at: number, littleEndian: boolean): number {
  return u32(bytes, at + 12, littleEndian);
}

function u32(bytes: Uint8Array, at: number, littleEndian: boolean): number {
  const a = bytes[at] as number;
  const b = bytes[at + 1] as number;
  const c = bytes[at + 2] as number;
  const d = bytes[at + 3] as number;
  return (littleEndian ? a | (b << 8) | (c << 16) | (d << 24) : d | (c << 8) | (b << 16) | (a << 24)) >>> 0;
}

/** Is shown a page's descriptor, in `bytes` at `at`. */
export type DescriptorVisitor = (pfn: number, bytes: Uint8Array, at: number) => void;

/** Descriptors that were read. */
export interface DescriptorRows {
  /** Of those that the file lacks: zeros. */
  readonly bytes: Uint8Array;
  /** Whether a row, of what was read, could not be read though the file has it. */
  isUnreadable(row: number): boolean;
}

/**
 * Reads rows of a file's descriptors. What a file that was cut lacks is zeros; what could not be read says nothing of what
 * the file holds.
 */
export function* readDescriptors(part: KdumpPart, first: number, count: number): Routine<DescriptorRows> {
  const { bytes, holes } = yield* readPartial(
    part.file,
    part.descriptorsAt + first * DESCRIPTOR_SIZE,
    count * DESCRIPTOR_SIZE,
  );
  const unreadable = holes.filter(({ state }) => state !== "excluded");
  for (const { start, end } of holes) bytes.fill(0, start, end);
  const isUnreadable = (row: number) => {
    const at = row * DESCRIPTOR_SIZE;
    return unreadable.some(({ start, end }) => start < at + DESCRIPTOR_SIZE && end > at);
  };
  return { bytes, isUnreadable: unreadable.length === 0 ? () => false : isUnreadable };
}

/** Shows all descriptors of a file that are of pages read from it, in their order, but for those that can't be read. */
export function* visitDescriptors(
  layout: KdumpLayout,
  part: KdumpPart,
  visit: DescriptorVisitor,
): Routine<void> {
  const { stored } = layout;
  const { firstRank } = part;
  if (part.start >= stored.length) return;
  let row = stored.rank(part.start) - firstRank;
  const end = part.describedEnd < stored.length ? stored.rank(part.describedEnd) : stored.count;
  const rows = Math.min(part.described, end - firstRank);
  let page = part.start;
  while (row < rows) {
    const count = Math.min(PIECE, rows - row);
    const { bytes, isUnreadable } = yield* readDescriptors(part, row, count);
    for (let i = 0; i < count; i++) {
      if (!stored.has(page)) page = stored.runEnd(page);
      if (!isUnreadable(i)) visit(page, bytes, i * DESCRIPTOR_SIZE);
      page++;
    }
    row += count;
  }
}
