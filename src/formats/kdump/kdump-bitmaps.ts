/**
 * The bitmaps of a kdump file: the first marks pages that are RAM, the second those of them that the dump has.
 *
 * A bit a page, least significant first, on every machine (makedumpfile's `set_bitmap`). Old diskdump files have one,
 * of the pages that are there. Each file of a dump that was split has all of both, so that what can't be read of one is
 * taken from another; where they differ, the files are of different dumps.
 */
import { hex, type Routine } from "../../io/index.js";
import { type PageBitmap, PageBitmapBuilder, type PageWindow } from "../bitmap.hot.js";
import { FormatError, type Warnings } from "../errors.js";
import { readLeniently } from "../fields.js";
import type { DumpFile } from "../types.js";
import type { KdumpHeader } from "./kdump-header.js";

/** Bytes of a bitmap at most: 32 TiB of RAM in 4 KiB pages. */
const MAX_BITMAP = 2 ** 30;
/** Bytes of a bitmap read at once: 128 GiB of RAM. */
const PIECE = 4 * 2 ** 20;

/** A file of the dump, and the pages that it holds. */
export interface FileOfPages {
  readonly file: DumpFile;
  readonly range: PageWindow;
}

/** What the bitmaps say. */
export interface KdumpBitmaps {
  /** Pages that the given files have descriptors of. */
  readonly stored: PageBitmap;
  /** Pages that the dump has, in whatever file of it; the same as `stored` if those are all of them. */
  readonly anywhere: PageBitmap;
  /** Pages that are RAM; `undefined` if there is no bitmap of them. */
  readonly ram: PageBitmap | undefined;
  /** Whether every byte of the second bitmap could be read. */
  readonly complete: boolean;
}

/** File offset at which the page descriptors begin: behind the bitmaps. */
export function descriptorsAt({ blockSize, subBlocks, bitmapBlocks }: KdumpHeader): number {
  return (1 + subBlocks + bitmapBlocks) * blockSize;
}

/**
 * Reads the bitmaps.
 *
 * @param header Of the first file; what it says of bitmaps holds for all.
 * @param files  At least one.
 * @param windows Pages of these files, ascending and disjoint; `undefined`: all.
 * @throws {FormatError} if a file ends before them, or if they are of different dumps.
 */
export function* readBitmaps(
  header: KdumpHeader,
  files: readonly FileOfPages[],
  windows: readonly PageWindow[] | undefined,
  warnings: Warnings,
): Routine<KdumpBitmaps> {
  const { blockSize, bitmapBlocks, subBlocks } = header;
  const first = files[0] as FileOfPages;
  const at = (1 + subBlocks) * blockSize;
  let pages = header.maxPages;
  const needed = Math.ceil(Math.ceil(pages / 8) / blockSize);
  if (needed > bitmapBlocks) {
    warnings.add(
      `max_mapnr says ${pages} pages, and the bitmap has room for ${bitmapBlocks * blockSize * 8}: the rest is ignored`,
    );
    pages = bitmapBlocks * blockSize * 8;
  }
  const bytes = Math.ceil(pages / 8);
  if (bytes > MAX_BITMAP) {
    throw new FormatError(
      "UNSUPPORTED_FORMAT",
      { file: first.file.name, offset: header.places.max_mapnr.at, field: "max_mapnr" },
      `${pages} pages: memtool reads dumps of up to ${MAX_BITMAP * 8} pages`,
    );
  }
  const two = bitmapBlocks >= 2 * needed && bitmapBlocks >= 2;
  const secondAt = two ? at + Math.floor(bitmapBlocks / 2) * blockSize : at;
  const end = descriptorsAt(header);
  for (const { file } of files) {
    if (secondAt + bytes <= file.size && end <= file.size) continue;
    throw new FormatError(
      "TRUNCATED_DUMP",
      { file: file.name, offset: header.places.bitmap_blocks.at, field: "bitmap_blocks" },
      `the bitmaps end at ${hex(end)} and the file at ${hex(file.size)}, so no page can be found; copy the dump again`,
    );
  }
  const stored = new PageBitmapBuilder(pages, windows);
  const all = windows === undefined ? undefined : new PageBitmapBuilder(pages);
  const builders = all === undefined ? [stored] : [stored, all];
  const missing = yield* readBitmap(files, secondAt, bytes, "second", builders, warnings);
  let ram: PageBitmap | undefined;
  if (two) {
    const builder = new PageBitmapBuilder(pages);
    yield* readBitmap(files, at, bytes, "first", [builder], warnings);
    ram = builder.build();
  }
  const storedPages = stored.build();
  return { stored: storedPages, anywhere: all?.build() ?? storedPages, ram, complete: missing === 0 };
}

/** Reads a bitmap in pieces into builders. @returns how many bytes of it could not be read. */
function* readBitmap(
  files: readonly FileOfPages[],
  offset: number,
  length: number,
  which: "first" | "second",
  builders: readonly PageBitmapBuilder[],
  warnings: Warnings,
): Routine<number> {
  let missing = 0;
  for (let at = 0; at < length; at += PIECE) {
    const size = Math.min(PIECE, length - at);
    let piece = yield* readLeniently((files[0] as FileOfPages).file, offset + at, size);
    for (let i = 1; i < files.length && piece.missing > 0; i++) {
      const other = yield* readLeniently((files[i] as FileOfPages).file, offset + at, size);
      if (other.missing < piece.missing) piece = other;
    }
    missing += piece.missing;
    if (piece.missing === 0) {
      for (let i = 1; i < files.length; i++) {
        yield* compare(files[0] as FileOfPages, files[i] as FileOfPages, offset, at, piece.bytes);
      }
    }
    for (const builder of builders) builder.push(piece.bytes);
  }
  if (missing > 0)
    warnings.add(`${missing} bytes of the ${which} bitmap are missing: their pages are not shown`);
  return missing;
}

/** Compares a piece of a bitmap with what another file has of its own pages there. @throws {FormatError} */
function* compare(
  first: FileOfPages,
  other: FileOfPages,
  offset: number,
  at: number,
  bytes: Uint8Array,
): Routine<void> {
  const from = Math.max(at, Math.floor(other.range.start / 8));
  const to = Math.min(at + bytes.length, Math.ceil(other.range.end / 8));
  if (to <= from) return;
  const theirs = yield* readLeniently(other.file, offset + from, to - from);
  if (theirs.missing > 0) return;
  for (let i = 0; i < to - from; i++) {
    if (theirs.bytes[i] === bytes[from - at + i]) continue;
    throw new FormatError(
      "MALFORMED_DUMP",
      { file: other.file.name, offset: offset + from + i, field: "bitmap" },
      `it is not the same as in ${first.file.name}, so these are files of different dumps; leave it out`,
    );
  }
}
