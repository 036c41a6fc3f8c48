/**
 * Which guest page each page of a Xen core is: the sections `.xen_p2m` (`struct xen_dumpcore_p2m`: pfn, gmfn) and
 * `.xen_pfn` (pfn alone), 64 bits each (Xen, tools/libs/ctrl/xc_core.h; docs/misc/dump-core-format.txt: in any order).
 *
 * What is contiguous in the guest and in the file becomes one interval, so memory goes with their number.
 */
import { hex, type Routine, readPartial } from "../../io/index.js";
import type { ElfSection } from "../elf/elf-sections.js";
import type { Warnings } from "../errors.js";
import { AT_TRUNCATED, Intervals } from "../pieces.js";
import type { DumpFile } from "../types.js";

/** Bytes of the table that are read at once. */
const TABLE_CHUNK = 2 ** 20;
/** Pages of a guest: 4 TiB of 4 KiB each, whose table takes 16 GiB. */
const MAX_PAGES = 2 ** 30;
/** Intervals, whose columns take 24 bytes each. */
const MAX_RUNS = 2 ** 23;

/** What {@link readFrames} needs. */
export interface FrameTable {
  readonly table: ElfSection;
  /** Bytes of an entry: 16 (pfn and gmfn) or 8. */
  readonly entrySize: 8 | 16;
  readonly pages: ElfSection;
  readonly pageSize: number;
  readonly littleEndian: boolean;
}

/** Where the pages are. */
export interface Frames {
  /** Physical addresses and file offsets, in the order of the table. */
  readonly loads: Intervals;
  /** Pages of the file that the table names, whoever they belong to. */
  readonly total: number;
  /** Those that belong to the guest. */
  readonly pages: number;
  /** Those that belong to nobody (`XC_CORE_INVALID_PFN`: the guest gave memory back meanwhile). */
  readonly unused: number;
}

/** Reads the table. What of it is not in the file, or has no page, is a warning. */
export function* readFrames(file: DumpFile, from: FrameTable, warnings: Warnings): Routine<Frames> {
  const { table, entrySize, pages, pageSize, littleEndian } = from;
  const entries = Math.floor(table.size / entrySize);
  const stored = Math.floor(pages.size / pageSize);
  if (entries !== stored) {
    warnings.add(
      `${table.name || "the table of frames"} has ${entries} entries, and ${pages.name || "the section of pages"} ` +
        `room for ${stored} pages: what has no counterpart is ignored`,
    );
  }
  let count = Math.min(entries, stored);
  if (count > MAX_PAGES) {
    warnings.add(`${count} pages: memtool reads the first ${MAX_PAGES}, the others are not shown`);
    count = MAX_PAGES;
  }
  const inFile = Math.max(0, Math.floor((file.size - table.offset) / entrySize));
  if (inFile < count) {
    warnings.add(
      `the file ends at ${hex(file.size)}, inside the table of frames: ${count - inFile} pages have no address; ` +
        "copy the dump again",
    );
    count = inFile;
  }
  const runs = new Runs(file, pages, pageSize);
  let unused = 0;
  let beyond = 0;
  let unread = 0;
  for (let first = 0; first < count && !runs.full; first += TABLE_CHUNK / entrySize) {
    const size = Math.min(TABLE_CHUNK, (count - first) * entrySize);
    const { bytes, holes } = yield* readPartial(file, table.offset + first * entrySize, size);
    // An entry of which a part can't be read is no entry, not page 0.
    for (const { start, end } of holes) {
      bytes.fill(0xff, start - (start % entrySize), Math.ceil(end / entrySize) * entrySize);
      unread += end - start;
    }
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const [low, high] = littleEndian ? [0, 4] : [4, 0];
    for (let at = 0; at + entrySize <= size && !runs.full; at += entrySize) {
      const upper = view.getUint32(at + high, littleEndian);
      const lower = view.getUint32(at + low, littleEndian);
      const pfn = upper * 2 ** 32 + lower;
      if (upper === 0xffffffff && lower === 0xffffffff) {
        unused++;
        runs.skip();
      } else if (!((pfn + 1) * pageSize <= Number.MAX_SAFE_INTEGER)) {
        beyond++;
        runs.skip();
      } else {
        runs.add(pfn);
      }
    }
  }
  runs.finish();
  if (unread > 0)
    warnings.add(`${unread} bytes of the table of frames could not be read: their pages are not shown`);
  if (beyond > 0) warnings.add(`${beyond} pages have frame numbers beyond 2^53 bytes: they are ignored`);
  if (runs.full) {
    warnings.add(
      `pages lie in more than ${MAX_RUNS} pieces: those from page ${runs.index} of the file on are not shown`,
    );
  }
  if (runs.truncated > 0) {
    warnings.add(
      `the file ends at ${hex(file.size)}, and ${runs.truncated} bytes of its pages are missing; copy the dump again`,
    );
  }
  return { loads: runs.loads, total: runs.index, pages: runs.pages, unused };
}

/** Joins pages, as they come in the file, into intervals. */
class Runs {
  readonly loads = new Intervals();
  /** The next page of the file. */
  index = 0;
  pages = 0;
  /** Bytes beyond the end of the file. */
  truncated = 0;
  #first = 0;
  #length = 0;
  readonly #file: DumpFile;
  readonly #section: ElfSection;
  readonly #pageSize: number;

  constructor(file: DumpFile, section: ElfSection, pageSize: number) {
    this.#file = file;
    this.#section = section;
    this.#pageSize = pageSize;
  }

  get full(): boolean {
    return this.loads.length >= MAX_RUNS;
  }

  add(pfn: number): void {
    if (this.#length === 0 || pfn !== this.#first + this.#length) {
      this.finish();
      this.#first = pfn;
    }
    this.#length++;
    this.index++;
    this.pages++;
  }

  skip(): void {
    this.finish();
    this.index++;
  }

  finish(): void {
    if (this.#length === 0) return;
    const size = this.#pageSize;
    const start = this.#first * size;
    const end = start + this.#length * size;
    const offset = this.#section.offset + (this.index - this.#length) * size;
    const inFile = Math.max(0, Math.min(end - start, this.#file.size - offset));
    if (inFile > 0) this.loads.push(start, start + inFile, offset);
    if (inFile < end - start) {
      this.loads.push(start + inFile, end, AT_TRUNCATED);
      this.truncated += end - start - inFile;
    }
    this.#length = 0;
  }
}
