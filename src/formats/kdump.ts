/**
 * kdump-compressed dumps (makedumpfile, QEMU) and their ancestor diskdump.
 *
 * Layout: makedumpfile's IMPLEMENTATION ("The kdump-compressed format") and diskdump_mod.h; fields of later header
 * versions in its tools' output and QEMU's include/sysemu/dump.h. Offsets are those of 64-bit little-endian writers.
 *
 * Two bitmaps say which pages are RAM and which of them are in the file, so `outside` and `excluded` are told apart.
 * QEMU writes both alike although it says that it filters: then what is missing is `excluded` ("or outside").
 */
import { type ExcludedReason, hex, type Routine } from "../io/index.js";
import { PAGE_SIZE, PageSlab } from "../io/page-slab.hot.js";
import { type PageBitmap, PageBitmapBuilder } from "./bitmap.hot.js";
import { FormatError, Warnings } from "./errors.js";
import { Fields, hasText, readLeniently, readStructure } from "./fields.js";
import { type Codec, DESCRIPTOR_SIZE, type KdumpLayout } from "./kdump-layout.js";
import { findLostPages } from "./kdump-lost.js";
import { KdumpMap } from "./kdump-map.js";
import { KdumpPages } from "./kdump-pages.js";
import { NoteCollector } from "./notes.js";
import type {
  Architecture,
  CodecName,
  Decoders,
  DumpFile,
  DumpImage,
  Format,
  FormatContext,
} from "./types.js";

/** `struct disk_dump_header` without the task pointers. */
const HEADER_SIZE = 464;
/** `struct kdump_sub_header` of each header version (64-bit); later ones only add. */
const SUB_HEADER_SIZES = [8, 16, 32, 48, 64, 80, 104];
const UTSNAME_AT = 12;
const UTSNAME_FIELD = 65;

/** Page flags and header status: how pages are compressed. */
const CODECS: readonly { readonly flag: number; readonly name: string; readonly decoder: CodecName }[] = [
  { flag: 1, name: "zlib", decoder: "inflate" },
  { flag: 2, name: "LZO", decoder: "lzo" },
  { flag: 4, name: "snappy", decoder: "snappy" },
  { flag: 0x20, name: "zstd", decoder: "zstd" },
];
const STATUS_INCOMPLETE = 8;

/** Bits of `dump_level`, and the reason that pages are missing if it is the only one. */
const LEVELS: Readonly<Record<number, ExcludedReason>> = {
  1: "zero",
  2: "cache",
  4: "cache",
  6: "cache",
  8: "user",
  16: "free",
};

/** 32 TiB of RAM in 4 KiB pages. */
const MAX_BITMAP = 2 ** 30;
/** Bytes of a bitmap read at once: 128 GiB of RAM. */
const BITMAP_PIECE = 4 * 2 ** 20;
const MAX_NOTES = 64 * 2 ** 20;
/** Decompressed pages kept: as many as a page cache keeps by default, since it shares them. */
const CACHE_BYTES = 32 * 2 ** 20;

/** kdump-compressed dumps. */
export const kdump: Format = {
  name: "kdump",
  detect: (head) => hasText(head, "KDUMP   ") || hasText(head, "DISKDUMP"),
  open: openKdump,
};

/** What the header and sub-header say. */
interface Header {
  readonly signature: string;
  readonly version: number;
  readonly release: string;
  readonly architecture: Architecture | undefined;
  readonly status: number;
  readonly blockSize: number;
  readonly subBlocks: number;
  readonly bitmapBlocks: number;
  /** Page numbers end here. */
  readonly maxPages: number;
  readonly physBase: bigint | undefined;
  readonly dumpLevel: number;
  /** Pages of a split dump that this file holds. */
  readonly part: { readonly start: number; readonly end: number } | undefined;
  readonly vmcoreinfo: { readonly offset: number; readonly size: number };
  readonly notes: { readonly offset: number; readonly size: number };
}

export function* openKdump(file: DumpFile, context: FormatContext): Routine<DumpImage> {
  const warnings = new Warnings();
  const header = yield* readHeader(file, warnings);
  const layout = yield* readLayout(file, header, context.decoders ?? {}, warnings);
  const collector = new NoteCollector(file.name, header.architecture, warnings);
  const text = yield* readPart(file, header.vmcoreinfo, "vmcoreinfo", warnings);
  if (text.length > 0) collector.vmcoreinfo = text;
  collector.add(yield* readPart(file, header.notes, "note", warnings), header.notes.offset);
  warnOfCodec(header, context.decoders ?? {}, warnings);
  const lost = yield* findLostPages(file, layout, (header.status & STATUS_INCOMPLETE) !== 0);
  if (lost !== undefined && lost.count !== 0) {
    warnings.add(
      `${lost.count} of the dump's pages have no data in the file, which ends at ${hex(file.size)}: ` +
        "they are excluded; copy the dump again if it was cut",
    );
  }
  const slab = new PageSlab(context.cacheBytes ?? CACHE_BYTES, Math.min(PAGE_SIZE, header.blockSize));
  let map: KdumpMap | undefined;
  const physBase = header.physBase === undefined ? undefined : Number(header.physBase);
  return {
    format: "kdump",
    description: `kdump-compressed dump, version ${header.version}, ${layout.stored.count} pages of ${header.blockSize} bytes`,
    io: new KdumpPages(file, layout, slab),
    slab,
    get map() {
      map ??= new KdumpMap(layout, lost);
      return map;
    },
    notes: collector.notes(Number.isSafeInteger(physBase) ? physBase : undefined),
    warnings: warnings.list(),
    details: {
      headerVersion: header.version,
      release: header.release,
      blockSize: header.blockSize,
      pages: layout.stored.count,
      maxPages: header.maxPages,
      dumpLevel: header.dumpLevel,
      compression: codecNames(header.status).join(", ") || "none",
      incomplete: (header.status & STATUS_INCOMPLETE) !== 0,
      split: header.part !== undefined,
      tellsOutsideFromExcluded: layout.ram !== undefined,
    },
  };
}

function* readHeader(file: DumpFile, warnings: Warnings): Routine<Header> {
  const header = new Fields(file.name, 0, yield* readStructure(file, 0, HEADER_SIZE, "disk_dump_header"));
  const signature = header.text(0, 8);
  const version = header.i32(8);
  if (version < 0 || version > 0xffff) {
    if (version !== 0 && (version & 0xffff) === 0) {
      unsupported(
        file,
        8,
        "header_version",
        "written by a big-endian machine, which memtool does not read yet",
      );
    }
    header.malformed(8, "header_version", `${version} is none`);
  }
  const blockSize = header.i32(428);
  if (!isBlockSize(blockSize)) {
    if (isBlockSize(header.i32(416))) {
      unsupported(
        file,
        416,
        "block_size",
        "the header of a 32-bit machine's dump, which memtool does not read yet",
      );
    }
    header.malformed(428, "block_size", `${blockSize}: must be a power of two from 512 to 1048576`);
  }
  const subBlocks = header.i32(432);
  const bitmapBlocks = header.u32(436);
  if (subBlocks < 0) header.malformed(432, "sub_hdr_size", `${subBlocks} blocks`);
  if (bitmapBlocks === 0) header.malformed(436, "bitmap_blocks", "0: a dump without a bitmap has no pages");
  const machine = header.text(UTSNAME_AT + 4 * UTSNAME_FIELD, UTSNAME_FIELD);
  const base = {
    signature,
    version,
    release: header.text(UTSNAME_AT + 2 * UTSNAME_FIELD, UTSNAME_FIELD),
    // QEMU leaves the utsname empty; the layout is then that of x86-64 or arm64, and notes tell no more.
    architecture: architectureOf(machine),
    status: header.u32(424),
    blockSize,
    subBlocks,
    bitmapBlocks,
  };
  const nothing = { offset: 0, size: 0 };
  const maxPages = header.u32(440);
  if (signature !== "KDUMP   " || subBlocks === 0) {
    return {
      ...base,
      maxPages,
      physBase: undefined,
      dumpLevel: 0,
      part: undefined,
      vmcoreinfo: nothing,
      notes: nothing,
    };
  }
  const subSize = Math.min(SUB_HEADER_SIZES[Math.min(version, 6)] ?? 0, subBlocks * blockSize);
  const sub = new Fields(
    file.name,
    blockSize,
    yield* readStructure(file, blockSize, subSize, "kdump_sub_header"),
  );
  if (version > 6) warnings.add(`header_version ${version} is newer than 6: its later fields are ignored`);
  const wide = version >= 6;
  let part: Header["part"];
  if (version >= 2 && sub.i32(12) !== 0) {
    part = {
      start: wide ? sub.size(80, "start_pfn_64") : sub.size(16, "start_pfn"),
      end: wide ? sub.size(88, "end_pfn_64") : sub.size(24, "end_pfn"),
    };
    warnings.add(
      `this is one file of a split dump, with pages ${hex(part.start)} to ${hex(part.end)}: the others' pages are ` +
        "excluded; join them with makedumpfile --reassemble",
    );
  }
  return {
    ...base,
    maxPages: (wide ? sub.size(96, "max_mapnr_64") : 0) || maxPages,
    physBase: sub.i64(0),
    dumpLevel: version >= 1 ? sub.i32(8) : 0,
    part,
    vmcoreinfo:
      version >= 3
        ? { offset: sub.size(32, "offset_vmcoreinfo"), size: sub.size(40, "size_vmcoreinfo") }
        : nothing,
    notes: version >= 4 ? { offset: sub.size(48, "offset_note"), size: sub.size(56, "size_note") } : nothing,
  };
}

function isBlockSize(size: number): boolean {
  return size >= 512 && size <= 2 ** 20 && (size & (size - 1)) === 0;
}

function architectureOf(machine: string): Architecture | undefined {
  if (machine === "x86_64" || machine === "aarch64") return machine;
  if (/^i[3-6]86$/.test(machine)) return "i386";
  return undefined;
}

function unsupported(file: DumpFile, offset: number, field: string, problem: string): never {
  throw new FormatError("UNSUPPORTED_FORMAT", { file: file.name, offset, field }, problem);
}

/** Reads the bitmaps, and finds what the file has descriptors of. */
function* readLayout(
  file: DumpFile,
  header: Header,
  decoders: Decoders,
  warnings: Warnings,
): Routine<KdumpLayout> {
  const { blockSize, bitmapBlocks, subBlocks } = header;
  const bitmapAt = (1 + subBlocks) * blockSize;
  const descriptorsAt = bitmapAt + bitmapBlocks * blockSize;
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
    unsupported(
      file,
      440,
      "max_mapnr",
      `${pages} pages: memtool reads dumps of up to ${MAX_BITMAP * 8} pages`,
    );
  }
  // Older writers have one bitmap, of the pages that are there.
  const two = bitmapBlocks >= 2 * needed && bitmapBlocks >= 2;
  const storedAt = two ? bitmapAt + Math.floor(bitmapBlocks / 2) * blockSize : bitmapAt;
  if (storedAt + bytes > file.size || descriptorsAt > file.size) {
    throw new FormatError(
      "TRUNCATED_DUMP",
      { file: file.name, offset: 436, field: "bitmap_blocks" },
      `the bitmaps end at ${hex(descriptorsAt)} and the file at ${hex(file.size)}, so no page can be found; ` +
        "copy the dump again",
    );
  }
  const all = new PageBitmapBuilder(pages);
  const part = new PageBitmapBuilder(pages, header.part?.start, header.part?.end);
  const builders = header.part === undefined ? [part] : [part, all];
  const missing = yield* readBitmap(file, storedAt, bytes, "second bitmap", builders, warnings);
  const stored = part.build();
  let ram: PageBitmap | undefined;
  if (two) {
    const builder = new PageBitmapBuilder(pages);
    yield* readBitmap(file, bitmapAt, bytes, "first bitmap", [builder], warnings);
    ram = builder.build();
    // With dump level 0 nothing was filtered, so what is not there is no RAM. Else it tells nothing if both are alike.
    if (header.dumpLevel !== 0 && ram.equals(header.part === undefined ? stored : all.build()))
      ram = undefined;
  }
  // The filter says why a page is not in the dump; not why it is not in this file of it, or not in what could be read.
  const filtered = header.part === undefined && missing === 0;
  const inFile = Math.max(0, Math.floor((file.size - descriptorsAt) / DESCRIPTOR_SIZE));
  let truncatedFrom = Number.POSITIVE_INFINITY;
  if (inFile < stored.count) {
    truncatedFrom = stored.select(inFile);
    warnings.add(
      `the file ends at ${hex(file.size)}, inside its page descriptors: physical memory from ` +
        `${hex(truncatedFrom * blockSize)} on is missing; copy the dump again`,
    );
  }
  if ((header.status & STATUS_INCOMPLETE) !== 0) {
    warnings.add(
      "makedumpfile marked this dump incomplete (no space left?): pages that it lacks are excluded",
    );
  }
  const byFlags = new Map<number, Codec>();
  for (const { flag, decoder } of CODECS) {
    const decode = decoders[decoder];
    if (decode !== undefined) byFlags.set(flag, { name: decoder, decode });
  }
  return {
    blockSize,
    descriptorsAt,
    stored,
    ram,
    truncatedFrom,
    reason:
      ram === undefined ? "or outside" : ((filtered ? LEVELS[header.dumpLevel] : undefined) ?? "unknown"),
    codec: (flags) => byFlags.get(flags),
    many: decoders.many,
  };
}

/** Reads a bitmap in pieces into one or more of ours. @returns how many bytes of it could not be read. */
function* readBitmap(
  file: DumpFile,
  offset: number,
  length: number,
  what: string,
  builders: readonly PageBitmapBuilder[],
  warnings: Warnings,
): Routine<number> {
  let missing = 0;
  for (let at = 0; at < length; at += BITMAP_PIECE) {
    const piece = yield* readLeniently(file, offset + at, Math.min(BITMAP_PIECE, length - at));
    missing += piece.missing;
    for (const builder of builders) builder.push(piece.bytes);
  }
  if (missing > 0) warnings.add(`${missing} bytes of the ${what} are missing: their pages are not shown`);
  return missing;
}

function* readPart(
  file: DumpFile,
  part: { readonly offset: number; readonly size: number },
  field: string,
  warnings: Warnings,
): Routine<Uint8Array> {
  const { offset, size } = part;
  if (offset === 0 || size === 0) return new Uint8Array(0);
  if (size > MAX_NOTES) warnings.add(`size_${field} is ${size}: only the first ${MAX_NOTES} bytes are read`);
  const { bytes, missing } = yield* readLeniently(file, offset, Math.min(size, MAX_NOTES));
  if (missing > 0) {
    warnings.add(
      `offset_${field} ${hex(offset)}, size_${field} ${size}: ${missing} bytes of it are not in the file`,
    );
  }
  return missing > 0 && field === "vmcoreinfo"
    ? bytes.subarray(0, Math.max(0, bytes.length - missing))
    : bytes;
}

function codecNames(status: number): string[] {
  return CODECS.filter(({ flag }) => (status & flag) !== 0).map(({ name }) => name);
}

function warnOfCodec(header: Header, decoders: Decoders, warnings: Warnings): void {
  for (const { flag, name, decoder } of CODECS) {
    if ((header.status & flag) !== 0 && decoders[decoder] === undefined) {
      warnings.add(
        `pages compressed with ${name} can't be read (unsupported); write the dump anew with zlib: makedumpfile -c OLD NEW`,
      );
    }
  }
}
