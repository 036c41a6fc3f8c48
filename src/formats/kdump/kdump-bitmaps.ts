/**
 * The bitmaps of a kdump file: the first marks pages that are RAM, the second those of them that the dump has.
 *
 * A bit a page, least significant first, on every machine (makedumpfile's `set_bitmap`). Old diskdump files have one,
 * of the pages that are there. Each file of a dump that was split has all of both, so that what can't be read of one is
 * taken from another; where they differ, the files are of different dumps.
 */
import { hex, type Routine, readPartial } from "../../io/index.js";
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
  /** Whether `ram` says the same as `anywhere`, as far as that could be read. */
  readonly alike: boolean;
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
  // Of diskdump, a dump that left out nothing has one (crash's `dump_is_partial`); kdump has two, whatever it left out.
  const two = !header.isDiskdump || (bitmapBlocks >= 2 * needed && bitmapBlocks >= 2);
  const room = (two ? Math.floor(bitmapBlocks / 2) : bitmapBlocks) * blockSize * 8;
  if (pages > room) {
    warnings.add(`max_mapnr says ${pages} pages, and the bitmap has room for ${room}: the rest is ignored`);
    pages = room;
  }
  const bytes = Math.ceil(pages / 8);
  if (bytes > MAX_BITMAP) {
    throw new FormatError(
      "UNSUPPORTED_FORMAT",
      { file: first.file.name, offset: header.places.max_mapnr.at, field: "max_mapnr" },
      `${pages} pages: memtool reads dumps of up to ${MAX_BITMAP * 8} pages`,
    );
  }
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
  const readable = yield* readBitmap(files, secondAt, bytes, "second", builders, warnings);
  const storedPages = stored.build();
  const anywhere = all?.build() ?? storedPages;
  let ram: PageBitmap | undefined;
  let alike = false;
  if (two) {
    const builder = new PageBitmapBuilder(pages);
    const same = new PageBitmapBuilder(pages, [{ start: 0, end: 8 * readable }]);
    yield* readBitmap(files, at, bytes, "first", readable < bytes ? [builder, same] : [builder], warnings);
    ram = builder.build();
    const compared = readable < bytes ? same.build() : ram;
    // Of nothing nothing is known.
    alike = compared.equals(anywhere) && (readable === bytes || compared.count > 0);
  }
  return { stored: storedPages, anywhere, ram, alike, complete: readable === bytes };
}

/**
 * Reads a bitmap in pieces into builders.
 *
 * What of the first bitmap can't be read is clear. The second one ends there: where a page lies depends on how many bits are
 * set before its own, so that those behind can't be found.
 *
 * @returns how many bytes of it went into the builders.
 */
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
    const { bytes, holes } = yield* readPiece(files, offset + at, size);
    const [hole] = holes;
    if (hole === undefined) {
      for (let i = 1; i < files.length; i++) {
        yield* compare(files[0] as FileOfPages, files[i] as FileOfPages, offset, at, bytes);
      }
    } else if (which === "second") {
      for (const builder of builders) builder.push(bytes.subarray(0, hole.start));
      const readable = at + hole.start;
      warnings.add(
        `bytes of the second bitmap are missing, from file offset ${hex(offset + readable)} on: ` +
          `pages from ${hex(8 * readable)} on can't be found`,
      );
      return readable;
    }
    for (const { start, end } of holes) missing += end - start;
    for (const builder of builders) builder.push(bytes);
  }
  if (missing > 0)
    warnings.add(`${missing} bytes of the first bitmap are missing: their pages are not shown`);
  return length;
}

/** A stretch of all files alike, of which what one lacks is taken from another; what all lack is zeros, and a hole. */
function* readPiece(
  files: readonly FileOfPages[],
  offset: number,
  length: number,
): Routine<{ readonly bytes: Uint8Array; readonly holes: readonly Hole[] }> {
  const { bytes, holes } = yield* readPartial((files[0] as FileOfPages).file, offset, length);
  let left: readonly Hole[] = holes;
  for (let i = 1; i < files.length && left.length > 0; i++) {
    const still: Hole[] = [];
    for (const { start, end } of left) {
      const other = yield* readPartial((files[i] as FileOfPages).file, offset + start, end - start);
      for (const good of other.good)
        bytes.set(other.bytes.subarray(good.start, good.end), start + good.start);
      for (const hole of other.holes) still.push({ start: start + hole.start, end: start + hole.end });
    }
    left = still;
  }
  for (const { start, end } of left) bytes.fill(0, start, end);
  return { bytes, holes: left };
}

/** Bytes from `start` to `end` (exclusive). */
interface Hole {
  readonly start: number;
  readonly end: number;
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
