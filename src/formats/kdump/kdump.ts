/**
 * kdump-compressed dumps (makedumpfile, QEMU) and their ancestor diskdump.
 *
 * Layout: makedumpfile's IMPLEMENTATION ("The kdump-compressed format") and diskdump_mod.h, QEMU's
 * include/sysemu/dump.h: a header and a sub-header in a block each (`kdump-header.ts`), two bitmaps (`kdump-bitmaps.ts`),
 * a descriptor for each page that is in the file (`kdump-page-desc.ts`), and the pages' bytes. A dump may be split over
 * several files (`kdump-parts.ts`).
 *
 * Two bitmaps say which pages are RAM and which of them are in the file, so `outside` and `excluded` are told apart.
 * QEMU writes both alike although it says that it filters: then what is missing is `excluded` ("or outside").
 */
import { defaultScheduler, type ExcludedReason, hex, Io, type Routine } from "../../io/index.js";
import { PAGE_SIZE, PageSlab } from "../../io/page-slab.hot.js";
import type { PhysicalMap } from "../../memory/physical-map.js";
import type { PageBitmap, PageWindow } from "../bitmap.hot.js";
import { Warnings } from "../errors.js";
import { NoteCollector } from "../notes/notes.js";
import type { DumpFile, DumpImage, Format, FormatContext } from "../types.js";
import { architectureOf, otherMachineOf } from "./kdump-architecture.js";
import { descriptorsAt, type KdumpBitmaps, readBitmaps } from "./kdump-bitmaps.js";
import { codecFinder, codecsNamed, codecsUsed, warnOfCodecs } from "./kdump-codecs.js";
import { isKdump, type KdumpHeader } from "./kdump-header.js";
import { type KdumpLayout, type KdumpPart, KdumpParts } from "./kdump-layout.js";
import { findLostPages, type LostPages } from "./kdump-lost.js";
import { KdumpMap } from "./kdump-map.js";
import { DESCRIPTOR_SIZE } from "./kdump-page-desc.js";
import { KdumpPages } from "./kdump-pages.js";
import { filesOfPages, type OpenedFile, openKdumpFile, openParts } from "./kdump-parts.js";
import { findZeroPages, storesZeros } from "./kdump-zeros.js";

/** Bits of `dump_level`, and the reason that pages are missing if it is the only one. */
const LEVELS: Readonly<Record<number, ExcludedReason>> = {
  1: "zero",
  2: "cache",
  4: "cache",
  6: "cache",
  8: "user",
  16: "free",
};

/** Decompressed pages kept: as many as a page cache keeps by default, since it shares them. */
const CACHE_BYTES = 32 * 2 ** 20;

/** kdump-compressed dumps. */
export const kdump: Format = {
  name: "kdump",
  takesParts: true,
  detect: isKdump,
  open: openKdump,
};

/**
 * Opens a kdump dump: reads headers, bitmaps, notes, and the last page descriptors of each file; all descriptors only
 * where those show that pages are lost.
 *
 * @throws {FormatError} for headers or bitmaps that can't be read, and for `parts` that are not of the same dump.
 */
export function* openKdump(file: DumpFile, context: FormatContext): Routine<DumpImage> {
  const warnings = new Warnings();
  const decoders = context.decoders ?? {};
  const first = yield* openKdumpFile(file, warnings);
  const { header, vmcoreinfo, notes } = first;
  const { files, ranges } = yield* openParts(first, context.parts, warnings);
  const layout = yield* readLayout(first, files, ranges, context, warnings);
  const architecture = architectureOf(header, notes);
  const collector = new NoteCollector(file.name, architecture, warnings, header.littleEndian);
  if (vmcoreinfo.length > 0) collector.vmcoreinfo = vmcoreinfo;
  collector.add(notes, header.notes.offset);
  const incomplete = layout.parts.list.filter((part) => part.lack === "incomplete");
  const lost = yield* findLostPages(layout, (part) => part.lack === "incomplete");
  warnOfCodecs(header.status, lost.flags, decoders, warnings);
  warnOfMissing(layout, lost, header.part, warnings);
  const slab = new PageSlab(context.cacheBytes ?? CACHE_BYTES, Math.min(PAGE_SIZE, header.blockSize));
  const { physBase } = header;
  let map: KdumpMap | undefined;
  const { length: count } = layout.parts.list;
  return {
    format: "kdump",
    description:
      `kdump-compressed dump, version ${header.version}, ${layout.stored.count} pages of ${header.blockSize} bytes` +
      (count === 1 ? "" : `, in ${count} files`),
    io: new KdumpPages(file, layout, slab, lost.pages),
    slab,
    get map() {
      map ??= new KdumpMap(layout, lost.pages);
      return map;
    },
    mapWithZeros: () => Io.of(file.scheduler ?? defaultScheduler, mapWithZeros, layout, lost.pages),
    notes: {
      ...collector.notes(Number.isSafeInteger(physBase) ? physBase : undefined),
      otherMachine: otherMachineOf(header),
      byteOrder: header.littleEndian ? "little" : "big",
    },
    warnings: warnings.list(),
    details: {
      headerVersion: header.version,
      layout: `${header.abi.name}, ${header.littleEndian ? "little" : "big"}-endian`,
      release: header.release,
      blockSize: header.blockSize,
      pages: layout.stored.count,
      maxPages: header.maxPages,
      dumpLevel: header.dumpLevel,
      compression: codecsNamed(header.status),
      compressionOfLastPages: codecsUsed(lost.flags),
      incomplete: incomplete.length > 0,
      split: header.part !== undefined,
      ...(header.part === undefined ? {} : { files: count, filesMissing: layout.anywhere !== undefined }),
      tellsOutsideFromExcluded: layout.ram !== undefined,
    },
  };
}

function* mapWithZeros(layout: KdumpLayout, lost: PageBitmap | undefined): Routine<PhysicalMap> {
  return new KdumpMap(layout, lost, yield* findZeroPages(layout, lost));
}

/** Reads the bitmaps, and finds what the files have descriptors of. */
function* readLayout(
  first: OpenedFile,
  files: readonly OpenedFile[],
  ranges: readonly PageWindow[],
  context: FormatContext,
  warnings: Warnings,
): Routine<KdumpLayout> {
  const { header } = first;
  const windows = header.part === undefined ? undefined : ranges;
  const bitmaps = yield* readBitmaps(header, filesOfPages(files), windows, warnings);
  const { stored, anywhere } = bitmaps;
  // With dump level 0 nothing was filtered, so what is not there is no RAM. Else it tells nothing if both are alike.
  const ram = header.dumpLevel !== 0 && bitmaps.alike ? undefined : bitmaps.ram;
  const parts = new KdumpParts(
    files.map((opened, i) => partOf(opened, ranges[i] as PageWindow, stored, warnings)),
  );
  const layout: KdumpLayout = {
    blockSize: header.blockSize,
    base: baseOf(header),
    littleEndian: header.littleEndian,
    parts,
    stored,
    anywhere: anywhere.count === stored.count ? undefined : anywhere,
    ram,
    reason: ram === undefined ? "or outside" : reasonOf(bitmaps, header, parts),
    codec: codecFinder(context.decoders ?? {}),
    many: context.decoders?.many,
  };
  // Whoever stores pages of zeros has left others out.
  if (layout.reason === "zero" && (yield* storesZeros(layout, parts.list[0] as KdumpPart))) {
    return { ...layout, reason: "unknown" };
  }
  return layout;
}

/**
 * Physical address of page 0. makedumpfile counts pages of 32-bit arm from the lowest RAM on (`ARCH_PFN_OFFSET` in
 * makedumpfile.h; `paddr_to_pfn` in crash's diskdump.c); QEMU, which leaves the release empty, does not.
 */
function baseOf({ machine, release, abi, physBase = 0, blockSize }: KdumpHeader): number {
  if (!machine.startsWith("arm") || abi.long !== 4 || release === "") return 0;
  // Negative where the highest bit of 32 is set.
  const base = physBase < 0 ? physBase + 2 ** 32 : physBase;
  return base - (base % blockSize);
}

/**
 * Why pages that are RAM were left out, as far as the dump level tells. It tells nothing of pages that are in no bitmap
 * because this could not be read, or was not written. Pages are said to be zero only where nothing else can be.
 */
function reasonOf(bitmaps: KdumpBitmaps, header: KdumpHeader, parts: KdumpParts): ExcludedReason {
  if (!bitmaps.complete || header.withoutVmemmap) return "unknown";
  if (parts.list.some((part) => part.lack === "incomplete")) {
    return header.dumpLevel === 0 ? "incomplete" : "unknown";
  }
  const reason = LEVELS[header.dumpLevel] ?? "unknown";
  return reason === "zero" && header.part !== undefined ? "unknown" : reason;
}

/** A file of the dump. @param range Pages that are read from it. */
function partOf(
  { file, header }: OpenedFile,
  range: PageWindow,
  stored: PageBitmap,
  warnings: Warnings,
): KdumpPart {
  const { length } = stored;
  const start = Math.min(range.start, length);
  const end = Math.min(range.end, length);
  const rankOf = (page: number) => (page < length ? stored.rank(page) : stored.count);
  const firstRank = rankOf(header.part?.start ?? 0);
  const at = descriptorsAt(header);
  const inFile = Math.max(0, Math.floor((file.size - at) / DESCRIPTOR_SIZE));
  const count = rankOf(end) - firstRank;
  const described = Math.min(count, inFile);
  const describedEnd = described < count ? Math.max(start, stored.select(firstRank + described)) : end;
  if (header.incomplete) {
    warnings.add(
      `makedumpfile marked ${header.part === undefined ? "this dump" : file.name} incomplete (no space left?): ` +
        "pages that it lacks are excluded",
    );
  }
  if (described < count) {
    warnings.add(
      `${header.part === undefined ? "the file" : file.name} ends at ${hex(file.size)}, inside its page descriptors: ` +
        `physical memory from ${hex(baseOf(header) + describedEnd * header.blockSize)} on is missing; copy the dump again`,
    );
  }
  const lack = header.incomplete ? "incomplete" : "truncated";
  const bodiesAt = at + count * DESCRIPTOR_SIZE;
  return { file, start, end, descriptorsAt: at, bodiesAt, firstRank, described, describedEnd, lack };
}

function warnOfMissing(
  { anywhere, parts, stored }: KdumpLayout,
  lost: LostPages,
  split: PageWindow | undefined,
  warnings: Warnings,
): void {
  for (const [{ file }, count] of lost.counts) {
    warnings.add(
      `${count} of the dump's pages have no data in ${split === undefined ? "the file" : file.name}, which ends at ` +
        `${hex(file.size)}: they are excluded; copy the dump again if it was cut`,
    );
  }
  if (anywhere === undefined) return;
  const ranges = parts.list.map(({ start, end }) => `${hex(start)} to ${hex(end)}`);
  const [many, more] = [ranges.slice(0, 8).join(", "), ranges.length > 8 ? " and more" : ""];
  warnings.add(
    (ranges.length === 1
      ? `this is one file of a split dump, with pages ${many}`
      : `these are ${ranges.length} files of a split dump, with pages ${many}${more}`) +
      `: the others' pages (${anywhere.count - stored.count}) are excluded; give all of its files (-f A -f B), or ` +
      "join them with makedumpfile --reassemble",
  );
}
