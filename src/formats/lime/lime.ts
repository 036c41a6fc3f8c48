/**
 * LiME (Linux Memory Extractor) in its own format, and AVML without compression, which is the same.
 *
 * Layout: `lime-header.ts`; the bytes of a range follow its header, and then comes the next header, to the end of the
 * file. LiME writes in its machine's byte order. It stores all that /proc/iomem calls "System RAM", so there is nothing
 * between ranges; AVML since 2026 leaves out blocks of 16 MiB that are all zero.
 *
 * LiME's formats `padded` and `raw` have no headers: they are raw images.
 */
import { hex, type Routine } from "../../io/index.js";
import { FormatError, Warnings } from "../errors.js";
import { Fields, hasText, readStructure } from "../fields.js";
import { AT_TRUNCATED, AT_ZERO, Intervals, NO_MEMORY, PieceIo } from "../pieces.js";
import type { DumpFile, DumpImage, Format } from "../types.js";
import { HeaderWindow } from "./header-window.js";
import {
  AVML_BLOCK,
  type HeaderKind,
  isRangeHeader,
  LIME_MAGIC,
  LIME_VERSION,
  parseRange,
  RANGE_HEADER,
} from "./lime-header.js";
import { layRanges, mapsOf } from "./lime-ranges.js";

/** In AVML's blocks of 16 MiB, this many are 64 TiB. */
const MAX_RANGES = 4 * 2 ** 20;

/** LiME files. */
export const lime: Format = {
  name: "lime",
  detect: (head) => hasText(head, "EMiL") || hasText(head, "LiME\0\0\0"),
  open: openLime,
};

export function* openLime(file: DumpFile): Routine<DumpImage> {
  const warnings = new Warnings();
  const kind = yield* readKind(file);
  const { ranges, zeros, largest } = yield* readRanges(file, kind, warnings);
  if (ranges.length === 0) {
    throw new FormatError(
      "MALFORMED_DUMP",
      { file: file.name, offset: 0, field: "LiME header" },
      `no range of memory${warnings.suffix}`,
    );
  }
  const count = ranges.length;
  const pieces = layRanges(ranges, largest === AVML_BLOCK, warnings);
  const { littleEndian } = kind;
  return {
    format: "lime",
    description: `LiME dump, ${count} ranges${littleEndian ? "" : ", big-endian"}`,
    io: new PieceIo(file, pieces, NO_MEMORY),
    ...mapsOf(file, pieces, zeros),
    notes: { cpus: [], byteOrder: littleEndian ? "little" : "big" },
    warnings: warnings.list(),
    details: { version: LIME_VERSION, ranges: count, ...(zeros > 0 ? { zeroRanges: zeros } : {}) },
  };
}

/** The byte order of the first header. */
function* readKind(file: DumpFile): Routine<HeaderKind> {
  const bytes = yield* readStructure(file, 0, RANGE_HEADER, "LiME header");
  const littleEndian = hasText(bytes, "EMiL");
  const header = new Fields(file.name, 0, bytes, littleEndian);
  if (header.u32(0) !== LIME_MAGIC) header.malformed(0, "magic", `${hex(header.u32(0))} is not LiME's`);
  const version = header.u32(4);
  if (version !== LIME_VERSION) {
    throw new FormatError(
      "UNSUPPORTED_FORMAT",
      { file: file.name, offset: 4, field: "version" },
      `a LiME header of version ${version}; memtool knows version ${LIME_VERSION}`,
    );
  }
  return { magic: LIME_MAGIC, version: LIME_VERSION, littleEndian };
}

interface Ranges {
  readonly ranges: Intervals;
  /** Ranges that have a header and no bytes. */
  readonly zeros: number;
  /** Bytes of the largest range. */
  readonly largest: number;
}

function* readRanges(file: DumpFile, kind: HeaderKind, warnings: Warnings): Routine<Ranges> {
  const window = new HeaderWindow(file, "LiME header");
  const ranges = new Intervals();
  let zeros = 0;
  let largest = 0;
  let headers = 0;
  let empty = 0;
  let at = 0;
  /** Where the last range's bytes begin, if it may turn out to have none; else -1. */
  let before = -1;
  const isHeaderAt = function* (offset: number): Routine<boolean> {
    const index = yield* window.tryLoad(offset, RANGE_HEADER);
    return index >= 0 && isRangeHeader(window.bytes, index, kind);
  };
  /** Whether the last range has no bytes: AVML of 2025 writes only the header of a small range that is all zero. */
  const isEmpty = function* (): Routine<boolean> {
    return before >= 0 && (yield* isHeaderAt(before));
  };
  const stop = (why: string): Ranges => {
    warnings.add(`${why}; what comes before is readable; copy the dump again if it was cut`);
    return { ranges, zeros, largest };
  };
  while (at < file.size) {
    if (at + RANGE_HEADER > file.size) {
      return stop(`the file ends at ${hex(file.size)}, inside the LiME header at ${hex(at)}`);
    }
    const index = yield* window.tryLoad(at, RANGE_HEADER);
    if (index < 0) return stop(`the LiME header at file offset ${hex(at)} could not be read`);
    if (!isRangeHeader(window.bytes, index, kind)) {
      if (yield* isEmpty()) {
        ranges.targets[ranges.length - 1] = AT_ZERO;
        zeros++;
        at = before;
        before = -1;
        continue;
      }
      return stop(`there is no LiME header at file offset ${hex(at)}, where one should be`);
    }
    const range = parseRange(window.bytes, index, kind);
    if (range === undefined)
      return stop(`the LiME header at file offset ${hex(at)} reaches to 2^53 or beyond`);
    if (headers++ === MAX_RANGES) return stop(`the file has more than ${MAX_RANGES} LiME headers`);
    const { start, end } = range;
    const size = end - start;
    if (size < 0) {
      return stop(`the LiME header at file offset ${hex(at)} says ${hex(start)} to ${hex(end - 1)}`);
    }
    at += RANGE_HEADER;
    before = size > 0 && size <= AVML_BLOCK && at + RANGE_HEADER <= file.size ? at : -1;
    if (size === 0 && empty++ === 0) {
      warnings.add(`the LiME header at file offset ${hex(at - RANGE_HEADER)} is of no bytes`);
    }
    const inFile = Math.min(size, file.size - at);
    // Where one had no bytes, or there is no room for them, what looks like the next header is one.
    if ((zeros > 0 || inFile < size) && (yield* isEmpty())) {
      ranges.push(start, end, AT_ZERO);
      zeros++;
      continue;
    }
    if (inFile > 0) ranges.push(start, start + inFile, at);
    if (inFile < size) {
      ranges.push(start + inFile, end, AT_TRUNCATED);
      return stop(
        `the file ends at ${hex(file.size)}: physical memory ${hex(start + inFile)} to ${hex(end)} is missing`,
      );
    }
    largest = Math.max(largest, size);
    at += size;
  }
  return { ranges, zeros, largest };
}
