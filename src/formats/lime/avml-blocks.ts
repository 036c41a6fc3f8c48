/**
 * Blocks of an AVML file of version 2: where they lie.
 *
 * Layout: AVML's src/image.rs and src/io/snappy.rs: the header (`lime-header.ts`), a stream in snappy's framing format, and
 * the bytes of that stream (u64). So a block's end is not known where it begins, but its beginning where it ends: blocks are
 * found from the last to the first, in a read of a few bytes each. Where the end of the file is not that of a block (a dump
 * that was cut), the last one that is whole is searched for in the bytes before, and what comes behind it is gone through
 * chunk by chunk: that is the whole file only if nothing is found.
 *
 * AVML from March 2025 to March 2026 writes only the header of a block that is all zero.
 */
import { hex, type Routine } from "../../io/index.js";
import { FormatError, type Warnings } from "../errors.js";
import { readLeniently } from "../fields.js";
import type { DumpFile } from "../types.js";
import { HeaderWindow } from "./header-window.js";
import {
  AVML_BLOCK,
  AVML_MAGIC,
  AVML_VERSION,
  type HeaderKind,
  type HeaderRange,
  isRangeHeader,
  parseRange,
  RANGE_HEADER,
} from "./lime-header.js";
import { type SnappyWalk, walkSnappy } from "./snappy-chunks.js";

export const AVML_KIND: HeaderKind = { magic: AVML_MAGIC, version: AVML_VERSION, littleEndian: true };

/** The size of the stream, behind it. */
const TRAILER = 8;
/** A stream's identifier, and a chunk with a byte of data. */
const LEAST_STREAM = 10 + 9;
/** 64 TiB in blocks of 16 MiB. */
const MAX_BLOCKS = 4 * 2 ** 20;
/** A block that does not compress, with its chunks' headers, and one that was cut. */
const SEARCHED = 2 * (AVML_BLOCK + 64 * 1024);
const SEARCH_PIECE = 2 ** 20;
const ZERO_PIECE = 65_536;
/** What looks like a header may be memory that holds one. */
const MAX_CANDIDATES = 64;

/** `sizes` of a block that has only a header: it is zero. */
export const NO_STREAM = 0;

/** Growing columns, one row a block. */
export class AvmlBlocks {
  /** Physical addresses; `ends` exclusive. */
  starts = new Float64Array(64);
  ends = new Float64Array(64);
  /** File offset of the header. */
  headers = new Float64Array(64);
  /** Bytes of the stream, or `NO_STREAM`. */
  sizes = new Float64Array(64);
  length = 0;

  push({ start, end }: HeaderRange, header: number, size: number): void {
    if (this.length === this.starts.length) {
      this.starts = grown(this.starts);
      this.ends = grown(this.ends);
      this.headers = grown(this.headers);
      this.sizes = grown(this.sizes);
    }
    this.starts[this.length] = start;
    this.ends[this.length] = end;
    this.headers[this.length] = header;
    this.sizes[this.length] = size;
    this.length++;
  }

  reverse(): void {
    for (const column of [this.starts, this.ends, this.headers, this.sizes]) {
      column.subarray(0, this.length).reverse();
    }
  }

  /** Adds the blocks of another whose headers are at `from` or behind it. */
  add(others: AvmlBlocks, from: number): void {
    for (let i = 0; i < others.length; i++) {
      const header = others.headers[i] as number;
      if (header < from) continue;
      const range = { start: others.starts[i] as number, end: others.ends[i] as number };
      this.push(range, header, others.sizes[i] as number);
    }
  }
}

function grown(column: Float64Array): Float64Array<ArrayBuffer> {
  const larger = new Float64Array(2 * column.length);
  larger.set(column);
  return larger;
}

/** A block of which only the first bytes can be had. */
export interface PartOfBlock extends HeaderRange {
  /** Address behind the last byte that is there. */
  readonly until: number;
  readonly header: number;
  /** Bytes of the stream up to there. */
  readonly size: number;
  /** Whether the rest is missing because the file ends. */
  readonly truncated: boolean;
}

/** What was found. */
export interface FoundBlocks {
  /** In the order of the file. */
  readonly blocks: AvmlBlocks;
  readonly part: PartOfBlock | undefined;
}

/** Finds the blocks; what is wrong with them, or can't be read, becomes warnings. */
export function* findBlocks(file: DumpFile, warnings: Warnings): Routine<FoundBlocks> {
  const budget = { left: MAX_BLOCKS };
  const last = yield* walkBack(file, file.size, budget);
  if (last.from === 0) return { blocks: last.blocks, part: undefined };
  const first = yield* search(file, last.from === file.size ? yield* endOfData(file) : last.from, budget);
  const { at, part } = yield* walkOn(file, first, last.from, budget, warnings);
  if (at < last.from && last.blocks.length > 0) {
    warnings.add(
      `what lies from file offset ${hex(at)} to ${hex(last.from)} is damaged: only blocks around it are there`,
    );
  }
  first.blocks.add(last.blocks, at);
  return { blocks: first.blocks, part };
}

/** Blocks that lie side by side from `from` to `to` (file offsets). */
interface Chain {
  readonly from: number;
  readonly to: number;
  readonly blocks: AvmlBlocks;
}

/** Blocks before a file offset, for as long as they follow each other. */
function* walkBack(file: DumpFile, to: number, budget: { left: number }): Routine<Chain> {
  const window = new HeaderWindow(file, "AVML block", true);
  const blocks = new AvmlBlocks();
  let at = to;
  while (at >= RANGE_HEADER && budget.left-- > 0) {
    let index = yield* window.tryLoad(at - RANGE_HEADER, RANGE_HEADER);
    if (index < 0) break;
    let header = at - RANGE_HEADER;
    let size = NO_STREAM;
    // A header ends with zeros, and the size behind a stream is not 0: so memory that ends in a header is not taken for one.
    const trailer = sizeAt(window.bytes, index + RANGE_HEADER - TRAILER);
    if (trailer !== 0 || !isRangeHeader(window.bytes, index, AVML_KIND)) {
      size = trailer;
      header = at - TRAILER - size - RANGE_HEADER;
      if (!(size >= LEAST_STREAM && header >= 0)) break;
      index = yield* window.tryLoad(header, RANGE_HEADER);
      if (index < 0 || !isRangeHeader(window.bytes, index, AVML_KIND)) break;
    } else if (at === file.size) {
      // A block of zeros, or one that was cut right behind its header.
      break;
    }
    const range = parseRange(window.bytes, index, AVML_KIND);
    if (range === undefined || range.end <= range.start) break;
    blocks.push(range, header, size);
    at = header;
  }
  blocks.reverse();
  return { from: at, to, blocks };
}

/** Inexact from 2^53 on. */
function sizeAt(bytes: Uint8Array, at: number): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  return view.getUint32(at + 4, true) * 2 ** 32 + view.getUint32(at, true);
}

/**
 * Where the zeros begin with which the file ends, to a piece: a copy that stopped, in a file that was made as long as it
 * should become, leaves gigabytes of them. Compressed bytes are never zero for the length of a piece.
 */
function* endOfData(file: DumpFile): Routine<number> {
  let low = 0;
  let high = Math.ceil(file.size / ZERO_PIECE);
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    const { bytes } = yield* readLeniently(file, middle * ZERO_PIECE, ZERO_PIECE);
    if (bytes.every((byte) => byte === 0)) high = middle;
    else low = middle + 1;
  }
  return Math.min(file.size, low * ZERO_PIECE);
}

/** The last block's end before a file offset from which blocks follow each other back to the first; else none. */
function* search(file: DumpFile, before: number, budget: { left: number }): Routine<Chain> {
  const lowest = Math.max(0, before - SEARCHED);
  let candidates = 0;
  for (let end = before; end > lowest && candidates < MAX_CANDIDATES; end -= SEARCH_PIECE) {
    const start = Math.max(lowest, end - SEARCH_PIECE);
    // A header may lie across the piece's end.
    const { bytes } = yield* readLeniently(file, start, Math.min(before, end + RANGE_HEADER - 1) - start);
    for (let i = bytes.length - RANGE_HEADER; i >= 0 && candidates < MAX_CANDIDATES; i--) {
      if (bytes[i] !== 0x41 || !isRangeHeader(bytes, i, AVML_KIND)) continue;
      candidates++;
      const chain = yield* walkBack(file, start + i, budget);
      if (chain.from === 0) return chain;
    }
  }
  return { from: 0, to: 0, blocks: new AvmlBlocks() };
}

/** Goes on behind a chain, chunk by chunk, and adds what it finds to it. @returns where it stopped. */
function* walkOn(
  file: DumpFile,
  { blocks, to }: Chain,
  until: number,
  budget: { left: number },
  warnings: Warnings,
): Routine<{ at: number; part: PartOfBlock | undefined }> {
  const window = new HeaderWindow(file, "AVML header");
  const isEnd = until === file.size;
  let at = to;
  const stop = (why: string, part?: PartOfBlock) => {
    warnings.add(`${why}; what comes before is readable; copy the dump again if it was cut`);
    return { at, part };
  };
  while (at < until) {
    if (at + RANGE_HEADER > until) return stop(cutAt(file, "AVML header", at));
    if (budget.left-- <= 0) return stop(`the file has more than ${MAX_BLOCKS} blocks`);
    const index = yield* window.tryLoad(at, Math.min(2 * RANGE_HEADER, until - at));
    if (index < 0) return stop(`the AVML header at file offset ${hex(at)} could not be read`);
    if (!isRangeHeader(window.bytes, index, AVML_KIND)) {
      return stop(`there is no AVML header at file offset ${hex(at)}, where one should be`);
    }
    const range = parseRange(window.bytes, index, AVML_KIND);
    if (range === undefined || range.end <= range.start) {
      return stop(`the AVML header at file offset ${hex(at)} is of an impossible range`);
    }
    const stream = at + RANGE_HEADER;
    if (isRangeHeader(window.bytes, index + RANGE_HEADER, AVML_KIND) || (stream === until && !isEnd)) {
      blocks.push(range, at, NO_STREAM);
      at = stream;
      continue;
    }
    const length = range.end - range.start;
    let walk: SnappyWalk;
    try {
      walk = yield* walkSnappy(file, { offset: stream, limit: until, exact: false, position: 0, length });
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      return stop(`the block at file offset ${hex(at)} could not be read through (${error.message})`);
    }
    if (walk.state !== "whole") {
      const part = partOf(range, at, walk, isEnd);
      const where = `physical memory ${hex(part.until)} to ${hex(part.end)} is missing`;
      return part.truncated
        ? stop(`${cutAt(file, "block", at)}: ${where}`, part)
        : stop(`the block at file offset ${hex(at)} is damaged (${walk.problem}): ${where}`, part);
    }
    const size = walk.end - stream;
    blocks.push(range, at, size);
    if (walk.end + TRAILER > until) {
      at = until;
      return stop(cutAt(file, "size behind the block", walk.end));
    }
    const trailer = yield* window.tryLoad(walk.end, TRAILER);
    if (trailer >= 0 && sizeAt(window.bytes, trailer) !== size) {
      warnings.add(`the size behind the block at file offset ${hex(at)} is not that of its stream, ${size}`);
    }
    at = walk.end + TRAILER;
  }
  return { at, part: undefined };
}

function cutAt(file: DumpFile, what: string, at: number): string {
  return `the file ends at ${hex(file.size)}, inside the ${what} at ${hex(at)}`;
}

function partOf({ start, end }: HeaderRange, header: number, walk: SnappyWalk, isEnd: boolean): PartOfBlock {
  const { chunks, certain, state } = walk;
  const table = chunks.build(0, certain);
  const stream = header + RANGE_HEADER;
  const last = certain - 1;
  const streamEnd = certain === 0 ? stream : (table.offsets[last] as number) + (table.sizes[last] as number);
  return {
    start,
    end,
    until: start + (certain === 0 ? 0 : (table.ends[last] as number)),
    header,
    size: streamEnd - stream,
    truncated: isEnd && state === "cut",
  };
}
