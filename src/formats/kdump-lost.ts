/**
 * Pages of a kdump file that have descriptors but no data: they would lie behind the end of a file that was cut, or
 * makedumpfile ran out of space and left their descriptors empty.
 */
import type { Routine } from "../io/index.js";
import { type PageBitmap, PageBitmapBuilder } from "./bitmap.hot.js";
import { readLeniently } from "./fields.js";
import { DESCRIPTOR_SIZE, type KdumpLayout } from "./kdump-layout.js";
import type { DumpFile } from "./types.js";

/** Writers append, so the last descriptors name the end of the file; zero pages share an early one. */
const LAST = 256;
/** Descriptors read at a time: 24 bytes each. */
const PIECE = 65_536;

/**
 * Looks at the last descriptors, and only if their data are not in the file at all of them.
 *
 * @param incomplete The header says so: then all are looked at.
 * @returns the pages that are lost, or `undefined` if the file seems whole.
 */
export function* findLostPages(
  file: DumpFile,
  layout: KdumpLayout,
  incomplete: boolean,
): Routine<PageBitmap | undefined> {
  const { stored, descriptorsAt } = layout;
  const inFile = Math.max(0, Math.floor((file.size - descriptorsAt) / DESCRIPTOR_SIZE));
  const count = Math.min(stored.count, inFile);
  const last = Math.min(LAST, count);
  const at = descriptorsAt + (count - last) * DESCRIPTOR_SIZE;
  const { bytes } = yield* readLeniently(file, at, last * DESCRIPTOR_SIZE);
  let whole = !incomplete;
  for (let i = 0; i < last; i++) whole &&= !isLost(bytes, i, file.size);
  return whole ? undefined : yield* lostPages(file, layout, count);
}

function* lostPages(file: DumpFile, layout: KdumpLayout, count: number): Routine<PageBitmap> {
  const { stored, descriptorsAt } = layout;
  const lost = new PageBitmapBuilder(stored.length);
  let page = 0;
  for (let from = 0; from < count; from += PIECE) {
    const rows = Math.min(PIECE, count - from);
    const { bytes } = yield* readLeniently(
      file,
      descriptorsAt + from * DESCRIPTOR_SIZE,
      rows * DESCRIPTOR_SIZE,
    );
    for (let i = 0; i < rows; i++) {
      if (!stored.has(page)) page = stored.runEnd(page);
      if (isLost(bytes, i, file.size)) lost.set(page);
      page++;
    }
  }
  return lost.build();
}

/** Offsets and sizes above 2^53 are inexact here, and beyond every file. */
function isLost(bytes: Uint8Array, row: number, fileSize: number): boolean {
  const view = new DataView(bytes.buffer, bytes.byteOffset + row * DESCRIPTOR_SIZE, DESCRIPTOR_SIZE);
  const offset = view.getUint32(4, true) * 2 ** 32 + view.getUint32(0, true);
  return offset === 0 || offset + view.getUint32(8, true) > fileSize;
}
