/**
 * makedumpfile's flattened form (`makedumpfile -F`, and what QEMU writes as kdump): a stream of blocks, each with
 * the offset where it belongs. Read where it lies, through an index; nothing is rearranged on disk.
 *
 * Layout: makedumpfile's makedumpfile.h (`struct makedumpfile_header`, `struct makedumpfile_data_header`): a header
 * of 4096 bytes that begins with "makedumpfile", type and version (both 1); then, for each block, its offset and
 * size (big-endian, 64 bits) and its bytes; at the end both are -1. A later block overrides what came before.
 */
import { hex, type PacketIo, type Routine } from "../../io/index.js";
import { FormatError, Warnings } from "../errors.js";
import { hasText, readStructure } from "../fields.js";
import { Intervals, layIntervals, PieceIo, TRUNCATED } from "../pieces.js";
import type { DumpFile, DumpImage, Format, FormatContext } from "../types.js";

const HEADER_SIZE = 4096;
/** What of the header is not empty: signature, type, version. */
const HEADER_FIELDS = 32;
const BLOCK_HEADER_SIZE = 16;
/** Blocks are mostly larger than this: a window holds the next header, seldom the one after it. */
const SMALL_WINDOW = 512;
/** Where blocks turn out small, several headers are read at once. */
const LARGE_WINDOW = 65_536;
/** A 4 TiB dump in blocks of 64 KiB; the columns of this many take 1.5 GiB. */
const MAX_BLOCKS = 64 * 2 ** 20;

/** The flattened form: a container, whose content is detected again. */
export const flattened: Format = {
  name: "flattened",
  takesParts: true,
  detect: isFlattened,
  open: openFlattened,
};

/** Whether a file begins as a flattened one. */
export function isFlattened(head: Uint8Array): boolean {
  return hasText(head, "makedumpfile\0");
}

export function* openFlattened(file: DumpFile, context: FormatContext): Routine<DumpImage> {
  const inner = yield* rearrange(file);
  // The other files of a dump that was split may be flattened or not: kdump sees to that.
  const image = yield* context.reopen(inner, context.parts);
  return {
    format: image.format,
    description: `${image.description}, flattened`,
    io: image.io,
    slab: image.slab,
    get map() {
      return image.map;
    },
    mapWithZeros: image.mapWithZeros,
    notes: image.notes,
    warnings: [...inner.warnings, ...image.warnings],
    details: { ...image.details, flattened: true, flattenedBlocks: inner.blocks },
  };
}

/** The file that a flattened one stands for. */
export interface RearrangedFile extends DumpFile {
  readonly warnings: readonly string[];
  /** Number of blocks in the stream. */
  readonly blocks: number;
}

/** Reads the index of a flattened file. @throws {FormatError} if not even one block is there. */
export function* rearrange(file: DumpFile): Routine<RearrangedFile> {
  const warnings = new Warnings();
  yield* checkHeader(file);
  const index = new Intervals();
  const { blocks, complete } = yield* readBlocks(file, index, warnings);
  if (index.length === 0) {
    throw new FormatError(
      "TRUNCATED_DUMP",
      { file: file.name, offset: HEADER_SIZE, field: "flattened block" },
      `no block of the flattened dump is there${warnings.suffix}; copy the dump again`,
    );
  }
  const pieces = layIntervals(index, "last");
  const size = pieces.ends[pieces.length - 1] as number;
  // What a complete stream skipped is a hole of zeros; in one that was cut, nobody knows.
  const io: PacketIo<number> = new PieceIo(file, pieces, complete ? 0 : TRUNCATED, size);
  return {
    name: `${file.name} (flattened)`,
    size,
    scheduler: file.scheduler,
    warnings: warnings.list(),
    blocks,
    sendIo: (offset, view) => io.sendIo(offset, view),
  };
}

function* checkHeader(file: DumpFile): Routine<void> {
  const header = yield* readStructure(file, 0, HEADER_FIELDS, "flattened header");
  const view = new DataView(header.buffer, header.byteOffset);
  for (const [offset, field] of [
    [16, "type"],
    [24, "version"],
  ] as const) {
    const value = view.getBigInt64(offset);
    if (value !== 1n) {
      throw new FormatError(
        "UNSUPPORTED_FORMAT",
        { file: file.name, offset, field },
        `${value}, where makedumpfile writes 1; rearrange the dump with makedumpfile -R`,
      );
    }
  }
}

/** A block header, and what lies behind it, up to `length` bytes, if that can be read. @throws {FormatError} */
function* readBlockHeaders(file: DumpFile, at: number, length: number): Routine<Uint8Array> {
  const what = "flattened block header";
  try {
    return yield* readStructure(file, at, length, what);
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    return yield* readStructure(file, at, BLOCK_HEADER_SIZE, what);
  }
}

function* readBlocks(
  file: DumpFile,
  index: Intervals,
  warnings: Warnings,
): Routine<{ blocks: number; complete: boolean }> {
  let at = HEADER_SIZE;
  let blocks = 0;
  let window: Uint8Array = new Uint8Array(0);
  let view = new DataView(window.buffer);
  let windowAt = 0;
  let sizes = 0;
  const cut = (why: string) => {
    warnings.add(
      `the flattened dump is cut short: ${why}; what comes before is readable; copy the dump again`,
    );
    return { blocks, complete: false };
  };
  for (;;) {
    if (at + BLOCK_HEADER_SIZE > file.size) return cut(`it ends at ${hex(file.size)}, before its end marker`);
    if (at < windowAt || at + BLOCK_HEADER_SIZE > windowAt + window.length) {
      const small = blocks > 16 && sizes / blocks < LARGE_WINDOW / 16;
      const length = Math.min(small ? LARGE_WINDOW : SMALL_WINDOW, file.size - at);
      try {
        window = yield* readBlockHeaders(file, at, length);
      } catch (error) {
        if (!(error instanceof FormatError) || blocks === 0) throw error;
        return cut(`the block header at ${hex(at)} could not be read`);
      }
      view = new DataView(window.buffer, window.byteOffset);
      windowAt = at;
    }
    const offset = view.getBigInt64(at - windowAt);
    const size = view.getBigInt64(at - windowAt + 8);
    if (offset === -1n && size === -1n) return { blocks, complete: true };
    // A copy that stopped in a file of the full length leaves zeros, gigabytes of them.
    if (offset === 0n && size === 0n) return cut(`the block header at ${hex(at)} is all zeros`);
    const target = Number(offset);
    const length = Number(size);
    if (!(target >= 0 && length >= 0 && target + length <= Number.MAX_SAFE_INTEGER)) {
      return cut(`the block header at ${hex(at)} says offset ${offset}, size ${size}`);
    }
    at += BLOCK_HEADER_SIZE;
    const inFile = Math.min(length, file.size - at);
    if (blocks === MAX_BLOCKS) return cut(`it has more than ${MAX_BLOCKS} blocks`);
    if (inFile > 0) index.push(target, target + inFile, at);
    blocks++;
    sizes += length;
    if (inFile < length) return cut(`it ends at ${hex(file.size)}, inside a block of ${length} bytes`);
    at += length;
  }
}
