/**
 * Zstandard's seekable format: a container of frames that decompress alone, with a table of their sizes at the end. Read
 * where it lies: what it holds is opened as a dump of its own.
 *
 * Layout: zstd's contrib/seekable_format/zstd_seekable_compression_format.md: the table is a skippable frame (magic
 * 0x184D2A5E, size), an entry for each frame (compressed and decompressed size, u32 each, and a checksum, u32, if there
 * are any), and a footer: number of frames (u32), descriptor (u8, bit 7: checksums), magic 0x8F92EAB1.
 *
 * The table's checksums are not looked at: a frame's own is, by the decoder. Other zstd files are refused, with the command
 * that unpacks them.
 */
import { fault, hex, type Routine } from "../../io/index.js";
import { PAGE_SIZE, PageSlab } from "../../io/page-slab.hot.js";
import { Fields, hasText, readStructure } from "../fields.js";
import { Intervals } from "../pieces.js";
import type { Decoder, DumpFile, DumpImage, Format, FormatContext } from "../types.js";
import { ChunkIo } from "./chunk-io.js";
import { type ChunkGroups, type ChunkTable, ChunkTableBuilder } from "./chunk-table.js";
import { compressionOf, refuseCompressed, ZSTD } from "./compressed-files.js";

const TABLE_MAGIC = 0x184d2a5e;
const SEEKABLE_MAGIC = 0x8f92eab1;
const FRAME_HEADER = 8;
const FOOTER = 9;
const HAS_CHECKSUMS = 0x80;
/** Reserved bits, which must be 0. */
const RESERVED = 0x7c;
/** 512 GiB in frames of 64 KiB; the columns of this many take 160 MiB. */
const MAX_FRAMES = 8 * 2 ** 20;
/** A frame is decompressed whole, for each read of a part of it that is not kept; the decoder takes no larger ones. */
const MAX_FRAME = 16 * 2 ** 20;
/** No encoder makes more of a frame than this. */
const MAX_STORED = 2 * MAX_FRAME;
/** Bytes of a table read at once. */
const TABLE_PIECE = 2 ** 20;
const CACHE_BYTES = 32 * 2 ** 20;

const BEYOND = fault("outside", "address", "format");

/** Zstd files: those that are seekable are containers, whose content is detected again. */
export const zstdSeekable: Format = {
  name: "zstd-seekable",
  takesMap: true,
  detect: (head) => hasText(head, "\x28\xb5\x2f\xfd") || compressionOf(head) === ZSTD,
  open: openZstd,
};

export function* openZstd(file: DumpFile, context: FormatContext): Routine<DumpImage> {
  const table = yield* readTable(file);
  const decode = context.decoders?.zstd;
  if (decode === undefined) refuseCompressed(file, ZSTD, ", seekable, and there is no decoder for zstd here");
  const size = table.ends[table.ends.length - 1] ?? 0;
  const slab = new PageSlab(context.cacheBytes ?? CACHE_BYTES, PAGE_SIZE);
  const pieces = new Intervals();
  pieces.push(0, size, 0);
  const io = new ChunkIo(file, new Frames(table, size, decode), pieces, slab);
  const image = yield* context.reopen({
    name: `${file.name} (unpacked)`,
    size,
    scheduler: file.scheduler,
    sendIo: (offset, view) => io.sendIo(offset, view),
  });
  return {
    format: image.format,
    description: `${image.description}, in seekable zstd`,
    io: image.io,
    get map() {
      return image.map;
    },
    mapWithZeros: image.mapWithZeros,
    slab: image.slab,
    notes: image.notes,
    warnings: image.warnings,
    details: { ...image.details, container: "zstd-seekable", frames: table.ends.length },
  };
}

function* readTable(file: DumpFile): Routine<ChunkTable> {
  const least = FRAME_HEADER + FOOTER;
  if (file.size < least) refuseCompressed(file, ZSTD);
  const footerAt = file.size - FOOTER;
  const footer = new Fields(
    file.name,
    footerAt,
    yield* readStructure(file, footerAt, FOOTER, "seek table footer"),
  );
  if (footer.u32(5) !== SEEKABLE_MAGIC) refuseCompressed(file, ZSTD);
  const count = footer.u32(0);
  const descriptor = footer.u8(4);
  if ((descriptor & RESERVED) !== 0) refuseCompressed(file, ZSTD, " (seekable, of an unknown kind)");
  const entrySize = (descriptor & HAS_CHECKSUMS) !== 0 ? 12 : 8;
  if (count > MAX_FRAMES) refuseCompressed(file, ZSTD, ` (seekable, of ${count} frames)`);
  const entriesAt = footerAt - count * entrySize;
  const damaged: (what: string) => never = (what) =>
    refuseCompressed(file, ZSTD, ` (seekable, but its seek table ${what})`);
  if (entriesAt < FRAME_HEADER) damaged(`of ${count} frames does not fit in the file`);
  const tableAt = entriesAt - FRAME_HEADER;
  const header = new Fields(
    file.name,
    tableAt,
    yield* readStructure(file, tableAt, FRAME_HEADER, "seek table"),
  );
  if (header.u32(0) !== TABLE_MAGIC || header.u32(4) !== count * entrySize + FOOTER) {
    damaged(`does not begin at ${hex(tableAt)}, where it should`);
  }
  const frames = new ChunkTableBuilder(0);
  let offset = 0;
  const perPiece = Math.floor(TABLE_PIECE / entrySize);
  for (let first = 0; first < count; first += perPiece) {
    const entries = Math.min(perPiece, count - first);
    const at = entriesAt + first * entrySize;
    const piece = new Fields(
      file.name,
      at,
      yield* readStructure(file, at, entries * entrySize, "seek table"),
    );
    for (let i = 0; i < entries; i++) {
      const stored = piece.u32(i * entrySize);
      const length = piece.u32(i * entrySize + 4);
      if (length > MAX_FRAME) damaged(`has a frame of ${length} bytes, more than ${MAX_FRAME}`);
      if (length > 0 && stored === 0) damaged(`has a frame of ${length} bytes that takes none in the file`);
      if (length > 0 && stored > MAX_STORED) damaged(`has a frame that takes ${stored} bytes in the file`);
      if (length > 0) frames.push(length, offset, stored);
      offset += stored;
    }
  }
  if (offset !== tableAt)
    damaged(`says that the frames end at ${hex(offset)}, and they end at ${hex(tableAt)}`);
  if (frames.length === 0) damaged("has no frame with data");
  return frames.build(BEYOND);
}

/** All frames are one group, whose table is there already. */
class Frames implements ChunkGroups {
  readonly name = "zstd";
  readonly #table: ChunkTable;
  readonly #size: number;
  readonly #decode: Decoder;

  constructor(table: ChunkTable, size: number, decode: Decoder) {
    this.#table = table;
    this.#size = size;
    this.#decode = decode;
  }

  groupAt(): number {
    return 0;
  }

  endOf(): number {
    return this.#size;
  }

  // biome-ignore lint/correctness/useYield: it was read when the file was opened.
  *load(): Routine<ChunkTable> {
    return this.#table;
  }

  decode(stored: Uint8Array, length: number): Uint8Array {
    return this.#decode(stored, length);
  }
}
