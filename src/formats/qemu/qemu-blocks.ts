/**
 * The list of RAM blocks at the beginning of a migration stream, and the pages that `mapped-ram` puts at fixed places.
 *
 * Layout: QEMU's migration/ram.c (`ram_save_setup`; `mapped_ram_setup_ramblock`, `ram_save_file_bmap` since QEMU 9.0) and
 * docs/devel/migration/mapped-ram.rst. A block is its name, its length, and, where capabilities say so, its page size
 * (postcopy with huge pages), the address of its memory region (x-ignore-shared) and a packed header of 28 bytes
 * (mapped-ram): version, page size, and the file offsets of a bitmap and of the pages. The bitmap is made of the host's
 * words: little-endian is assumed. A page that is not in it is zero.
 */
import { hex, type Routine } from "../../io/index.js";
import { FormatError, type Warnings } from "../errors.js";
import type { StreamConfig } from "./qemu-config.js";
import type { RamLog } from "./qemu-ram-log.js";
import type { RamBlock } from "./qemu-ram-records.hot.js";
import type { StreamWindow } from "./stream-window.js";

const MEM_SIZE = 0x04;
const MAPPED_HEADER = 28;
const MAPPED_VERSION = 1;
/** A guest has a few dozen; each DIMM is one more. */
const MAX_BLOCKS = 65_536;
/** Bytes of a bitmap read at once. */
const BITMAP_PIECE = 65_536;

/** The fixed places of a block's pages. */
export interface MappedBlock {
  readonly block: RamBlock;
  /** File offsets. */
  readonly bitmap: number;
  readonly pages: number;
}

/** The list of blocks. */
export interface BlockList {
  readonly blocks: readonly RamBlock[];
  readonly mapped: readonly MappedBlock[];
  /** File offset of what follows. */
  readonly end: number;
  /** Whether the file ends inside the list. */
  readonly cut: boolean;
}

/**
 * Reads it.
 *
 * @param at     File offset of its first record.
 * @param stride Bytes from a page to the next in the file: pages times it must be a number that a double holds.
 */
export function* readBlocks(
  window: StreamWindow,
  at: number,
  config: StreamConfig,
  stride: number,
  warnings: Warnings,
): Routine<BlockList> {
  const file = window.file.name;
  const { pageSize, capabilities } = config;
  const malformed = (offset: number, field: string, problem: string): never => {
    throw new FormatError("MALFORMED_DUMP", { file, offset, field }, problem);
  };
  const blocks: RamBlock[] = [];
  const mapped: MappedBlock[] = [];
  const list = (end: number, cut: boolean): BlockList => ({ blocks, mapped, end, cut });
  if ((yield* window.load(at, 8)) < 8) return list(at, true);
  const flags = window.u32(at + 4) & (pageSize - 1);
  if (flags !== MEM_SIZE)
    malformed(at, "RAM_SAVE_FLAG_MEM_SIZE", `flags ${hex(flags)} where the list of RAM blocks begins`);
  const total = window.u64(at) - flags;
  let rest = total;
  let position = at + 8;
  let base = 0;
  const mappedRam = capabilities.has("mapped-ram");
  while (rest > 0) {
    const loaded = yield* window.load(position, 256 + 8 + 8 + 8 + MAPPED_HEADER);
    if (loaded < 1) return list(position, true);
    const size = window.u8(position);
    if (size === 0) {
      warnings.add(
        `the list of RAM blocks ends at file offset ${hex(position)}, ${hex(rest)} bytes of RAM before the ` +
          `${hex(total)} that it says there are`,
      );
      break;
    }
    if (loaded < 1 + size + 8) return list(position, true);
    const name = window.text(position + 1, size);
    const length = window.u64(position + 1 + size);
    const pages = Math.floor(length / pageSize);
    if (!((base + pages) * stride <= Number.MAX_SAFE_INTEGER)) {
      malformed(position + 1 + size, "used_length", `a RAM block of ${hex(length)} bytes`);
    }
    if (length % pageSize !== 0) {
      warnings.add(
        `the RAM block ${name} has ${hex(length)} bytes, which are no whole pages: its end is not read`,
      );
    }
    if (blocks.length === MAX_BLOCKS) malformed(position, "RAM block", `more than ${MAX_BLOCKS} RAM blocks`);
    const block: RamBlock = { name, length: pages * pageSize, base, pages };
    blocks.push(block);
    base += pages;
    position += 1 + size + 8;
    rest -= length;
    if (capabilities.has("x-ignore-shared")) position += 8;
    else if (!mappedRam && loaded - (1 + size + 8) >= 8 && isHugePageSize(window, position)) position += 8;
    if (mappedRam) {
      if ((yield* window.load(position, MAPPED_HEADER)) < MAPPED_HEADER) return list(position, true);
      const place = readMapped(window, position, block);
      if (place === undefined) {
        malformed(position, "mapped-ram header", "no version, page size or offsets that can be");
      } else {
        position += MAPPED_HEADER;
        if (place.pages > 0) {
          mapped.push(place);
          position = place.pages + length;
        }
      }
    }
  }
  if (rest < 0) {
    warnings.add(`the RAM blocks have ${hex(-rest)} bytes more than the ${hex(total)} that the stream says`);
  }
  return list(position, false);
}

/**
 * Whether a page size follows a block's length: with postcopy, for blocks in huge pages. Nothing says so, but what else
 * can stand there is the next block's name, whose length is not 0, or a record, which has flags. (QEMU allows no postcopy
 * with mapped-ram; with x-ignore-shared, an address would look alike, and memtool takes it for one.)
 */
function isHugePageSize(window: StreamWindow, at: number): boolean {
  if (window.u8(at) !== 0) return false;
  const value = window.u64(at);
  return value >= 8192 && value <= 2 ** 34 && Number.isInteger(Math.log2(value));
}

/** A block's fixed places; pages at 0: it has none (x-ignore-shared). */
function readMapped(window: StreamWindow, at: number, block: RamBlock): MappedBlock | undefined {
  const version = window.u32(at);
  const pageSize = window.u64(at + 4);
  const bitmap = window.u64(at + 12);
  const pages = window.u64(at + 20);
  if (version !== MAPPED_VERSION || pageSize * block.pages !== block.length) return undefined;
  if (bitmap === 0 && pages === 0) return { block, bitmap, pages };
  // Offsets count from the beginning of the file that QEMU wrote to; in libvirt's, the stream begins later.
  const shift = bitmap - (at + MAPPED_HEADER);
  if (!(shift >= 0 && pages - shift >= bitmap - shift + Math.ceil(block.pages / 8))) return undefined;
  if (!(pages + block.length <= Number.MAX_SAFE_INTEGER)) return undefined;
  return { block, bitmap: bitmap - shift, pages: pages - shift };
}

/**
 * Notes where the pages of a block with fixed places are.
 *
 * @param complete Whether the stream was finished: the bitmap is written last, so a page that it lacks is zero only then.
 * @returns whether all of it could be noted.
 */
export function* logMapped(
  window: StreamWindow,
  { block, bitmap, pages }: MappedBlock,
  pageSize: number,
  log: RamLog,
  complete: boolean,
): Routine<boolean> {
  const { size } = window.file;
  let start = 0;
  let stored = false;
  const close = (end: number) => {
    if (end > start && stored) {
      const there = Math.max(0, Math.min(end, Math.floor((size - pages) / pageSize)) - start);
      if (there > 0) log.addRun(block.base + start, there, pages + start * pageSize);
    } else if (end > start && complete) {
      log.addZeros(block.base + start, end - start);
    }
    start = end;
  };
  for (let page = 0; page < block.pages; ) {
    const at = bitmap + page / 8;
    const bytes = Math.min(BITMAP_PIECE, Math.ceil((block.pages - page) / 8));
    const loaded = Math.min(bytes, yield* window.load(at, bytes));
    if (loaded === 0) {
      close(page);
      return false;
    }
    const end = Math.min(block.pages, page + loaded * 8);
    for (let byteAt = at; page < end; byteAt++) {
      const bits = window.u8(byteAt);
      const whole = Math.min(end, page + 8);
      if (bits === (stored ? 0xff : 0)) {
        page = whole;
        continue;
      }
      for (let bit = 0; page < whole; bit++, page++) {
        const here: boolean = ((bits >>> bit) & 1) === 1;
        if (here === stored) continue;
        close(page);
        if (log.full) return false;
        stored = here;
      }
    }
  }
  close(block.pages);
  return size >= pages + block.length || !stored;
}
