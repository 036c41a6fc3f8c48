/**
 * Pages of a kdump dump that have descriptors but no data: they would lie behind the end of a file that was cut, or
 * makedumpfile ran out of space and left their descriptors empty.
 */
import type { Routine } from "../../io/index.js";
import { type PageBitmap, PageBitmapBuilder } from "../bitmap.hot.js";
import { readLeniently } from "../fields.js";
import type { KdumpLayout, KdumpPart } from "./kdump-layout.js";
import { DESCRIPTOR_SIZE, flagsOf, offsetOf, sizeOf, visitDescriptors } from "./kdump-page-desc.js";

/** Writers append, so the last descriptors name the end of the file; zero pages share an early one. */
const LAST = 256;

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
  const { stored, littleEndian } = layout;
  const flags = new Set<number>();
  const counts = new Map<KdumpPart, number>();
  const broken: KdumpPart[] = [];
  for (const part of layout.parts.list) {
    const { file, described, descriptorsAt } = part;
    const last = Math.min(LAST, described);
    const at = descriptorsAt + (described - last) * DESCRIPTOR_SIZE;
    const { bytes } = yield* readLeniently(file, at, last * DESCRIPTOR_SIZE);
    let whole = !incomplete(part);
    for (let row = 0; row < bytes.length; row += DESCRIPTOR_SIZE) {
      if (isLost(bytes, row, littleEndian, file.size)) whole = false;
      else flags.add(flagsOf(bytes, row, littleEndian));
    }
    if (!whole) broken.push(part);
  }
  if (broken.length === 0) return { pages: undefined, counts, flags };
  const lost = new PageBitmapBuilder(stored.length);
  for (const part of broken) {
    const { size } = part.file;
    let count = 0;
    yield* visitDescriptors(layout, part, (pfn, bytes, at) => {
      if (!isLost(bytes, at, littleEndian, size)) return;
      lost.set(pfn);
      count++;
    });
    if (count > 0) counts.set(part, count);
  }
  return { pages: lost.build(), counts, flags };
}

/** Offsets above 2^53 are inexact here, and beyond every file. */
function isLost(bytes: Uint8Array, at: number, littleEndian: boolean, fileSize: number): boolean {
  const offset = offsetOf(bytes, at, littleEndian);
  return offset === 0 || offset + sizeOf(bytes, at, littleEndian) > fileSize;
}
