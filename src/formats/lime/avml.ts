/**
 * AVML (Acquire Volatile Memory for Linux) with compression: version 2 of its format. Without, it is LiME's (`lime.ts`).
 *
 * Layout: `avml-blocks.ts`, `snappy-chunks.ts`. Blocks hold at most 16 MiB since 2019; each is a stream of its own, of chunks
 * that hold 64 KiB. Which chunk lies where is found out when a block is first read. The sum of a chunk is checked before any
 * of it is given out.
 *
 * AVML leaves out blocks that are all zero, so that gaps may have been RAM: `excluded` ("or outside"). Where blocks of zeros
 * have a header, or blocks are larger, it is a version that leaves out none: gaps are `outside`.
 */
import { fault, hex, type Routine } from "../../io/index.js";
import { PAGE_SIZE, PageSlab } from "../../io/page-slab.hot.js";
import { firstEndingAfter } from "../../io/ranges.js";
import { ChunkIo } from "../containers/chunk-io.js";
import type { ChunkGroups, ChunkTable } from "../containers/chunk-table.js";
import { FormatError, Warnings } from "../errors.js";
import { Fields, hasText, readStructure } from "../fields.js";
import { AT_LEFT_OUT, AT_TRUNCATED, AT_ZERO, Intervals, NO_MEMORY, PieceIo } from "../pieces.js";
import type { Decoder, DumpFile, DumpImage, Format, FormatContext } from "../types.js";
import { AVML_KIND, findBlocks, NO_STREAM } from "./avml-blocks.js";
import { AVML_BLOCK, AVML_VERSION, isRangeHeader, RANGE_HEADER } from "./lime-header.js";
import { layRanges, mapsOf } from "./lime-ranges.js";
import { decodeChunk, walkSnappy } from "./snappy-chunks.js";

/** Decompressed pages kept: as many as a page cache keeps by default, since it shares them. */
const CACHE_BYTES = 32 * 2 ** 20;
/** An element of 3 bytes makes 64 at most: a stream can't decompress to more than this times its bytes. */
const MOST_PER_BYTE = 22;

const BAD_BLOCK = fault("malformed", "page", "format");

/** AVML files with compression. */
export const avml: Format = {
  name: "avml",
  detect: (head) => hasText(head, "AVML"),
  open: openAvml,
};

export function* openAvml(file: DumpFile, context: FormatContext): Routine<DumpImage> {
  const warnings = new Warnings();
  yield* checkVersion(file);
  const { blocks, part } = yield* findBlocks(file, warnings);
  const ranges = new Intervals();
  const streams = new Streams(file, context.decoders?.snappy);
  let zeros = 0;
  let largest = 0;
  for (let i = 0; i < blocks.length; i++) {
    const start = blocks.starts[i] as number;
    const end = blocks.ends[i] as number;
    const size = blocks.sizes[i] as number;
    if (size === NO_STREAM) {
      zeros++;
      ranges.push(start, end, AT_ZERO);
    } else if (end - start > size * MOST_PER_BYTE) {
      warnings.add(
        `the AVML header at file offset ${hex(blocks.headers[i] as number)} says ${hex(start)} to ${hex(end - 1)}, which ` +
          `${size} bytes can't hold`,
      );
      ranges.push(start, end, AT_LEFT_OUT);
    } else {
      largest = Math.max(largest, end - start);
      ranges.push(start, end, streams.add((blocks.headers[i] as number) + RANGE_HEADER, size, end - start));
    }
  }
  if (part !== undefined) {
    const { start, until, end, header, size } = part;
    if (until > start) ranges.push(start, until, streams.add(header + RANGE_HEADER, size, until - start));
    ranges.push(until, end, part.truncated ? AT_TRUNCATED : AT_LEFT_OUT);
  }
  if (ranges.length === 0) {
    throw new FormatError(
      "MALFORMED_DUMP",
      { file: file.name, offset: 0, field: "AVML header" },
      `no block of memory${warnings.suffix}`,
    );
  }
  const pieces = layRanges(ranges, zeros === 0 && largest <= AVML_BLOCK, warnings);
  const slab = new PageSlab(context.cacheBytes ?? CACHE_BYTES, PAGE_SIZE);
  const [byAddress, byPosition] = splitPieces(pieces);
  return {
    format: "avml",
    description: `AVML dump, version ${AVML_VERSION} (snappy), ${blocks.length} blocks`,
    io: new PieceIo(new ChunkIo(file, streams, byPosition, slab), byAddress, NO_MEMORY),
    slab,
    ...mapsOf(file, pieces, zeros),
    notes: { cpus: [] },
    warnings: warnings.list(),
    details: {
      version: AVML_VERSION,
      blocks: blocks.length,
      compression: "snappy",
      ...(zeros > 0 ? { zeroBlocks: zeros } : {}),
    },
  };
}

function* checkVersion(file: DumpFile): Routine<void> {
  const bytes = yield* readStructure(file, 0, RANGE_HEADER, "AVML header");
  if (isRangeHeader(bytes, 0, AVML_KIND)) return;
  const version = new Fields(file.name, 0, bytes).u32(4);
  throw new FormatError(
    "UNSUPPORTED_FORMAT",
    { file: file.name, offset: 4, field: "version" },
    `an AVML header of version ${version}; memtool knows version ${AVML_VERSION}`,
  );
}

/** The pieces with addresses in place of positions; and of those that have bytes, with the positions. */
function splitPieces({ starts, ends, targets, length }: Intervals): [Intervals, Intervals] {
  const all = new Intervals();
  const stored = new Intervals();
  for (let i = 0; i < length; i++) {
    const start = starts[i] as number;
    const end = ends[i] as number;
    const target = targets[i] as number;
    all.push(start, end, target < 0 ? target : start);
    if (target >= 0) stored.push(start, end, target);
  }
  return [all, stored];
}

/** The blocks' streams, one group of chunks each. */
class Streams implements ChunkGroups {
  readonly name = "AVML";
  readonly #file: DumpFile;
  readonly #decoder: Decoder | undefined;
  /** Positions of a stream's bytes, and its file offset. */
  readonly #rows = new Intervals();
  /** Bytes of each stream. */
  readonly #sizes: number[] = [];

  constructor(file: DumpFile, decoder: Decoder | undefined) {
    this.#file = file;
    this.#decoder = decoder;
  }

  /** Adds a stream. @returns the position of its first byte. */
  add(offset: number, size: number, length: number): number {
    const { ends, length: count } = this.#rows;
    const position = count === 0 ? 0 : (ends[count - 1] as number);
    this.#rows.push(position, position + length, offset);
    this.#sizes.push(size);
    return position;
  }

  groupAt(position: number): number {
    return firstEndingAfter(this.#rows.ends, position, this.#rows.length);
  }

  endOf(group: number): number {
    return this.#rows.ends[group] as number;
  }

  *load(group: number): Routine<ChunkTable> {
    const { starts, ends, targets } = this.#rows;
    const offset = targets[group] as number;
    const position = starts[group] as number;
    const walk = yield* walkSnappy(this.#file, {
      offset,
      limit: offset + (this.#sizes[group] as number),
      exact: true,
      position,
      length: (ends[group] as number) - position,
    });
    return walk.chunks.build(BAD_BLOCK, walk.certain);
  }

  decode(stored: Uint8Array, length: number): Uint8Array {
    return decodeChunk(stored, length, this.#decoder);
  }
}
