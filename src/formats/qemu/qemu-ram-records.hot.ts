/**
 * The records of a migration stream's RAM sections, in a window of the file: where each page is goes into the log.
 *
 * Layout: QEMU's migration/ram.c (`save_page_header`, `ram_load_precopy`). A record begins with a big-endian u64: the
 * page's offset in its RAM block, with flags in the bits below the page size. Without `CONTINUE` the block's name
 * follows (a length byte and characters), then what the flag says. An index is made of one pass over these headers, one
 * every 4 KiB and 8 bytes: nothing is allocated per record.
 */
import { DEFLATED, DELTA, FILLED, type RamLog } from "./qemu-ram-log.js";
import type { StreamWindow } from "./stream-window.js";

const ZERO = 0x02;
const MEM_SIZE = 0x04;
const PAGE = 0x08;
const EOS = 0x10;
const CONTINUE = 0x20;
const XBZRLE = 0x40;
const HOOK = 0x80;
const COMPRESS_PAGE = 0x100;
const MULTIFD_FLUSH = 0x200;
/** First byte of an XBZRLE record: the only encoding there is. */
const ENCODING_XBZRLE = 1;

/** Bytes in a window that hold any record's head: flags, a name of 255 bytes, and a length. */
export const RECORD_HEAD = 8 + 256 + 8;

/** A RAM block: its pages are numbered from `base` on. */
export interface RamBlock {
  readonly name: string;
  /** Bytes. */
  readonly length: number;
  /** Number of its first page among those of all blocks. */
  readonly base: number;
  readonly pages: number;
}

/** Why a scan stopped. */
export type ScanEnd =
  /** The window holds no whole record from `position` on. */
  | "more"
  /** The section's last record was read. */
  | "end"
  /** What is at `position` is no record; `problem` says why. */
  | "bad"
  /** The log takes no more. */
  | "full";

/** See the module's comment. */
export class RamRecords {
  /** File offset of the next record. */
  position = 0;
  /** What is wrong with the record at `position`. */
  problem = "";
  /** Flags of all records. */
  seen = 0;
  readonly #log: RamLog;
  readonly #pageSize: number;
  /** Compressed data of a page are no longer: zlib's `compressBound`. */
  readonly #longest: number;
  readonly #fileSize: number;
  readonly #blocks = new Map<string, RamBlock>();
  #block: RamBlock | undefined;

  constructor(log: RamLog, blocks: readonly RamBlock[], pageSize: number, fileSize: number) {
    this.#log = log;
    this.#pageSize = pageSize;
    this.#fileSize = fileSize;
    this.#longest = pageSize + (pageSize >>> 12) + (pageSize >>> 14) + 13;
    for (const block of blocks) if (!this.#blocks.has(block.name)) this.#blocks.set(block.name, block);
  }

  /** Whether pages were sent through other channels than this file. */
  get usesMultifd(): boolean {
    return (this.seen & MULTIFD_FLUSH) !== 0;
  }

  /** Whether pages are compressed. */
  get usesCompression(): boolean {
    return (this.seen & COMPRESS_PAGE) !== 0;
  }

  /** Reads records from `position` on, as far as the window holds them. */
  scan(window: StreamWindow): ScanEnd {
    const { bytes, view, start } = window;
    const pageSize = this.#pageSize;
    const log = this.#log;
    const loaded = bytes.length;
    for (;;) {
      const first = this.position - start;
      if (first < 0 || first + 8 > loaded) return "more";
      const low = view.getUint32(first + 4);
      const flags = low & (pageSize - 1);
      const kind = flags & ~CONTINUE;
      let at = first + 8;
      if (kind === EOS || kind === HOOK || kind === MULTIFD_FLUSH) {
        this.seen |= kind;
        this.position = start + at;
        if (kind === EOS) return "end";
        continue;
      }
      if (kind !== PAGE && kind !== ZERO && kind !== XBZRLE && kind !== COMPRESS_PAGE) {
        return this.#bad(
          kind === MEM_SIZE
            ? "a second list of RAM blocks"
            : `0x${flags.toString(16)} are no flags of a record`,
        );
      }
      if ((flags & CONTINUE) === 0) {
        const length = bytes[at] as number;
        if (at >= loaded || at + 1 + length > loaded) return "more";
        this.#block = this.#blocks.get(window.text(start + at + 1, length));
        if (this.#block === undefined) return this.#bad("the page's RAM block is in no list");
        at += 1 + length;
      }
      const block = this.#block;
      if (block === undefined) return this.#bad("the first page names no RAM block");
      const index = (view.getUint32(first) * 2 ** 32 + low - flags) / pageSize;
      if (index >= block.pages) return this.#bad(`the page is beyond the end of its RAM block ${block.name}`);
      if (log.full) return "full";
      const page = block.base + index;
      let length = pageSize;
      if (kind === PAGE) {
        if (start + at + length > this.#fileSize) return "more";
        log.add(page, start + at);
      } else if (kind === ZERO) {
        if (at >= loaded) return "more";
        const fill = bytes[at] as number;
        length = 1;
        if (fill === 0) log.addZeros(page);
        else log.addSpecial(page, FILLED, start + at, fill);
      } else {
        const head = kind === XBZRLE ? 3 : 4;
        if (at + head > loaded) return "more";
        if (kind === XBZRLE && bytes[at] !== ENCODING_XBZRLE) return this.#bad("no encoding that QEMU has");
        length = kind === XBZRLE ? view.getUint16(at + 1) : view.getUint32(at);
        if (length === 0 || length > (kind === XBZRLE ? pageSize : this.#longest)) {
          return this.#bad(`${length} bytes are not what a page takes`);
        }
        at += head;
        if (start + at + length > this.#fileSize) return "more";
        log.addSpecial(page, kind === XBZRLE ? DELTA : DEFLATED, start + at, length);
      }
      this.seen |= kind;
      this.position = start + at + length;
    }
  }

  #bad(problem: string): ScanEnd {
    this.problem = problem;
    return "bad";
  }
}
