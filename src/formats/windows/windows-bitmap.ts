/**
 * Where a Windows crash dump with a bitmap keeps it: behind the header lies another, "SDMP" or "FDMP" and "DUMP", then a
 * bit for each page of physical memory, then the pages whose bits are set.
 *
 * Two layouts of that second header. The later one has 64-bit counts (DumpType 5 and 6, since Windows 8, 32-bit machines
 * too): `_SUMMARY_DUMP` of Volatility 3's crash_common.json, `BMP_HEADER64` of kdmp-parser. The earlier one has 32-bit
 * counts (DumpType 2, kernel dumps): `SUMMARY_DUMP32` and `SUMMARY_DUMP64` of the Windows SDK.
 */
import { hex, type Routine, readPartial } from "../../io/index.js";
import { type PageBitmap, PageBitmapBuilder } from "../bitmap.hot.js";
import { FormatError, type Warnings } from "../errors.js";
import { Fields, hasText, readStructure } from "../fields.js";
import type { DumpFile } from "../types.js";
import { WINDOWS_PAGE } from "./windows-header.js";

const HEADER_SIZE = 0x38;
/** 32 TiB of RAM in 4 KiB pages. */
const MAX_BITMAP = 2 ** 30;
/** Bytes of a bitmap read at once: 128 GiB of RAM. */
const BITMAP_PIECE = 4 * 2 ** 20;

/** What the second header says, by one of its layouts. */
interface BitmapHeader {
  /** Names of its fields, for messages, and where in the file they are. */
  readonly first: { readonly name: string; readonly at: number };
  readonly bits: { readonly name: string; readonly at: number };
  /** File offset of the first page; `undefined` if it is 2^53 or more, as with the counts. */
  readonly firstPage: number | undefined;
  /** Bits of the bitmap. */
  readonly length: number | undefined;
  /** Bits that are set. */
  readonly count: number | undefined;
  /** File offset of the bitmap. */
  readonly bitmapAt: number;
}

/** A dump's bitmap, and where the pages are. */
export interface WindowsBitmap {
  readonly stored: PageBitmap;
  readonly dataAt: number;
  /** "SDMP" (kernel) or "FDMP" (full). */
  readonly signature: string;
}

/**
 * Finds and reads the bitmap.
 *
 * @param at       File offset of the second header: the size of the first.
 * @param bits     Of the machine: the earlier layout has a pointer in it.
 * @param dumpType Which layout is tried first.
 * @throws {FormatError}
 */
export function* readWindowsBitmap(
  file: DumpFile,
  at: number,
  bits: 32 | 64,
  dumpType: number,
  warnings: Warnings,
): Routine<WindowsBitmap> {
  const fields = new Fields(file.name, at, yield* readStructure(file, at, HEADER_SIZE, "bitmap header"));
  const signature = fields.text(0, 4);
  if (!((signature === "SDMP" || signature === "FDMP") && hasText(fields.bytes, "DUMP", 4))) {
    fields.malformed(
      0,
      "Signature",
      `"SDMPDUMP" or "FDMPDUMP" should be here, where a dump of type ${dumpType} has its bitmap`,
    );
  }
  const later = laterLayout(fields, at);
  const earlier = earlierLayout(fields, at, bits);
  const [first, second] = dumpType === 2 ? [earlier, later] : [later, earlier];
  const header = fits(first, file) || !fits(second, file) ? first : second;
  return { ...(yield* readBits(file, fields, at, header, warnings)), signature };
}

function laterLayout(fields: Fields, at: number): BitmapHeader {
  return {
    first: { name: "FirstPage (HeaderSize)", at: 0x20 },
    bits: { name: "Pages (BitmapSize)", at: 0x30 },
    firstPage: fields.safe(0x20),
    count: fields.safe(0x28),
    length: fields.safe(0x30),
    bitmapAt: at + 0x38,
  };
}

function earlierLayout(fields: Fields, at: number, bits: 32 | 64): BitmapHeader {
  // BitmapSize is there twice: the second time as a part of the bitmap, written as it lay in memory.
  const length = fields.u32(0x10);
  return {
    first: { name: "HeaderSize", at: 0xc },
    bits: { name: "BitmapSize", at: 0x10 },
    firstPage: fields.u32(0xc),
    count: fields.u32(0x14),
    length: length === fields.u32(0x18) ? length : undefined,
    bitmapAt: at + (bits === 64 ? 0x28 : 0x20),
  };
}

/** Whether what a layout says can be. */
function fits({ firstPage, length, count, bitmapAt }: BitmapHeader, file: DumpFile): boolean {
  if (firstPage === undefined || length === undefined || count === undefined) return false;
  return (
    length > 0 && count <= length && bitmapAt + Math.ceil(length / 8) <= firstPage && firstPage <= file.size
  );
}

function* readBits(
  file: DumpFile,
  fields: Fields,
  at: number,
  header: BitmapHeader,
  warnings: Warnings,
): Routine<{ stored: PageBitmap; dataAt: number }> {
  const { first, bits, firstPage, count, bitmapAt } = header;
  if (firstPage === undefined || firstPage <= bitmapAt) {
    fields.malformed(
      first.at,
      first.name,
      `the pages can't begin ${place(firstPage)}: the bitmap begins at ${hex(bitmapAt)}`,
    );
  }
  if (firstPage > file.size) {
    throw new FormatError(
      "TRUNCATED_DUMP",
      { file: file.name, offset: at + first.at, field: first.name },
      `the pages begin at ${hex(firstPage)}, and the file ends at ${hex(file.size)}; copy the dump again`,
    );
  }
  const room = (firstPage - bitmapAt) * 8;
  const { length } = header;
  const tooLong = length === undefined || length > room;
  const pages = tooLong ? room : length;
  if (pages === 0) fields.malformed(bits.at, bits.name, "0: a dump without a bitmap has no pages");
  if (pages > MAX_BITMAP * 8) {
    throw new FormatError(
      "UNSUPPORTED_FORMAT",
      { file: file.name, offset: at + bits.at, field: bits.name },
      `a bitmap of ${pages} pages: memtool reads those of up to ${MAX_BITMAP * 8}`,
    );
  }
  const stored = yield* readBitmap(file, bitmapAt, pages, warnings);
  if (tooLong && stored.count !== count) {
    fields.malformed(
      bits.at,
      bits.name,
      `what it says is no length of a bitmap that fits before the first page, at ${hex(firstPage)}: one of the two is ` +
        "wrong, and no page can be found",
    );
  }
  if (tooLong) {
    warnings.add(
      `${bits.name} is ${length ?? "no length of a bitmap"}, and there is room for ${room} pages: the rest is ignored`,
    );
  } else if (stored.count !== count) {
    warnings.add(
      `${stored.count} bits of the bitmap are set, and its header says ${count ?? "2^53 or more"}: pages may be missing, or ` +
        "be others than they seem",
    );
  }
  return { stored, dataAt: firstPage };
}

function place(offset: number | undefined): string {
  return offset === undefined ? "beyond 2^53" : `at ${hex(offset)}`;
}

/** Reads the bitmap in pieces. Behind a piece that can't be read no page can be found, so no bit counts there. */
function* readBitmap(file: DumpFile, offset: number, pages: number, warnings: Warnings): Routine<PageBitmap> {
  const builder = new PageBitmapBuilder(pages);
  const length = Math.ceil(pages / 8);
  for (let at = 0; at < length; at += BITMAP_PIECE) {
    const { bytes, holes } = yield* readPartial(file, offset + at, Math.min(BITMAP_PIECE, length - at));
    const hole = holes[0];
    builder.push(hole === undefined ? bytes : bytes.subarray(0, hole.start));
    if (hole !== undefined) {
      const page = (at + hole.start) * 8;
      warnings.add(
        `the bitmap can't be read from file offset ${hex(offset + at + hole.start)} on: physical memory from ` +
          `${hex(page * WINDOWS_PAGE)} on can't be found`,
      );
      break;
    }
  }
  return builder.build();
}
