/**
 * Pages of a kdump dump that have descriptors but no data: they would lie behind the end of a file that was cut, or
 * makedumpfile ran out of space and left their descriptors empty.
 */
import type { Routine } from "../../io/index.js";
import { type PageBitmap, PageBitmapBuilder } from "../bitmap.hot.js";
import type { KdumpLayout, KdumpPart } from "./kdump-layout.js";
import {
  DESCRIPTOR_SIZE,
  flagsOf,
  offsetOf,
  readDescriptors,
  sizeOf,
  visitDescriptors,
} from "./kdump-page-desc.js";

/** Descriptors that are looked at first. */
const LAST = 256;
/** Those before them, at a time and at most: of 16 GiB of zeros that end a dump. */
const PIECE = 65_536;
const MOST = 4 * 2 ** 20;

/** What was found. */
export interface LostPages {
  /** `undefined` if all files seem whole. */
  readonly pages: PageBitmap | undefined;
  /** How many, by file, where there are any. */
  readonly counts: ReadonlyMap<KdumpPart, number>;
  /** Flags of the descriptors that were looked at. */
  readonly flags: ReadonlySet<number>;
}

/**
 * Looks at the last descriptors of each file, and only if their data are not in the file at all of them.
 *
 * @param incomplete Whether a file's header says that it is: then all are looked at.
 */
export function* findLostPages(
  layout: KdumpLayout,
  incomplete: (part: KdumpPart) => boolean,
): Routine<LostPages> {
  const { stored } = layout;
  const flags = new Set<number>();
  const counts = new Map<KdumpPart, number>();
  const broken: KdumpPart[] = [];
  for (const part of layout.parts.list) {
    const isWhole = yield* seemsWhole(layout, part, flags);
    if (!isWhole || incomplete(part)) broken.push(part);
  }
  if (broken.length === 0) return { pages: undefined, counts, flags };
  const lost = new PageBitmapBuilder(stored.length);
  for (const part of broken) {
    const { size } = part.file;
    let count = 0;
    yield* visitDescriptors(layout, part, (pfn, bytes, at) => {
      if (!isLost(bytes, at, layout.littleEndian, size)) return;
      lost.set(pfn);
      count++;
    });
    if (count > 0) counts.set(part, count);
  }
  return { pages: lost.build(), counts, flags };
}

/**
 * Whether the pages are there that the last descriptors name: writers append, so they name the end of the file. But pages
 * of zeros share a body, an early one, so of a dump that ends with those the last other page is looked for.
 */
function* seemsWhole(layout: KdumpLayout, part: KdumpPart, flags: Set<number>): Routine<boolean> {
  const { littleEndian } = layout;
  const { size } = part.file;
  const stop = Math.max(0, part.described - MOST);
  let body = -1;
  for (let end = part.described; end > stop; ) {
    const first = Math.max(stop, end - (end === part.described ? LAST : PIECE));
    const { bytes, isUnreadable } = yield* readDescriptors(part, first, end - first);
    let isWhole = true;
    let differ = false;
    for (let row = 0; row < end - first; row++) {
      if (isUnreadable(row)) continue;
      const at = row * DESCRIPTOR_SIZE;
      if (isLost(bytes, at, littleEndian, size)) {
        isWhole = false;
        continue;
      }
      if (end === part.described) flags.add(flagsOf(bytes, at, littleEndian));
      const offset = offsetOf(bytes, at, littleEndian);
      differ ||= body >= 0 && offset !== body;
      body = offset;
    }
    if (!isWhole || differ) return isWhole;
    end = first;
  }
  return true;
}

/** Offsets above 2^53 are inexact here, and beyond every file. */
function isLost(bytes: Uint8Array, at: number, littleEndian: boolean, fileSize: number): boolean {
  const offset = offsetOf(bytes, at, littleEndian);
  return offset === 0 || offset + sizeOf(bytes, at, littleEndian) > fileSize;
}
