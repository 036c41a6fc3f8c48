/**
 * Writes kdump-compressed dumps, header version 6.
 *
 * Layout: makedumpfile's IMPLEMENTATION ("The kdump-compressed format") and diskdump_mod.h, with the padding of 64-bit
 * writers: header, sub-header with the ELF notes behind it, two bitmaps, page descriptors, page data. The first
 * bitmap is what is RAM, the second what is stored; descriptors are those of the second one's bits, in their order.
 *
 * Everything is written ascending, so that a dump of any size takes bounded memory. How many descriptors there will
 * be is known only at the end; there is room for the most that there can be, and data begin behind that room.
 * Pages of zeros share one body, as makedumpfile has it.
 */
import { type ExcludedReason, MemtoolError } from "../../io/index.js";
import { BitmapStream } from "./bitmap-stream.js";
import { type DumpFacts, notesOf } from "./dump-facts.js";
import type { DumpPlan } from "./plan.js";
import { type DumpSink, isZero, StructWriter } from "./sink.js";
import type { DumpWriter, WrittenDump } from "./writer.js";

/** How pages are compressed. */
export type KdumpCompression = "none" | "zlib" | "zstd";

/**
 * Compresses pages, and calls `use` for each in their order: with its compressed bytes, valid during the call, or
 * `undefined` if they are no fewer than the page's.
 */
export type EncodePages = (
  pages: readonly Uint8Array[],
  use: (index: number, compressed: Uint8Array | undefined) => void,
) => void;

/** Options of a {@link KdumpWriter}. */
export interface KdumpWriterOptions {
  readonly plan: DumpPlan;
  readonly facts: DumpFacts;
  /** Bytes of a page, a power of two. */
  readonly pageSize: number;
  readonly compression: KdumpCompression;
  /** Of that compression; not needed for `none`. */
  readonly encode?: EncodePages | undefined;
  /** Leaves pages of zeros out; they are then excluded, for being zero. */
  readonly excludeZero?: boolean | undefined;
  /**
   * `dump_level` of the dump that the memory comes from, if filters are the only cause for which it lacks anything:
   * makedumpfile and crash go by it, and one that names several filters has no single reason.
   */
  readonly dumpLevel?: number | undefined;
}

const HEADER_SIZE = 464;
const SUB_HEADER_SIZE = 104;
const DESCRIPTOR_SIZE = 24;
const UTSNAME_FIELD = 65;
const FLAGS: Readonly<Record<KdumpCompression, number>> = { none: 0, zlib: 1, zstd: 0x20 };
/** Bits of `dump_level` by what they leave out. */
const LEVELS: Readonly<Partial<Record<ExcludedReason, number>>> = { zero: 1, cache: 2, user: 8, free: 16 };
/** 32 TiB of RAM in 4 KiB pages; our reader takes as many. */
const MAX_PAGES = 2 ** 33;
const U32 = 0xffffffff;
/**
 * Written behind descriptors that turned out fewer than there is room for: a page of zeros there would be taken for the
 * body that pages of zeros share, which makedumpfile and QEMU write right behind the descriptors.
 */
const UNUSED_ROOM = Uint8Array.from("(room for descriptors of zero pages)", (c) => c.charCodeAt(0));

/** See the module's comment. */
export class KdumpWriter implements DumpWriter {
  readonly #sink: DumpSink;
  readonly #facts: DumpFacts;
  readonly #pageSize: number;
  readonly #compression: KdumpCompression;
  readonly #encode: EncodePages | undefined;
  readonly #excludeZero: boolean;
  readonly #sourceLevel: number;
  /** Nobody knows whether what is missing is RAM: both bitmaps are alike then, as QEMU writes them. */
  readonly #alike: boolean;
  readonly #maxPages: number;
  readonly #notes: { readonly bytes: Uint8Array; readonly textAt: number };
  readonly #subBlocks: number;
  readonly #bitmapBlocks: number;
  readonly #descriptorsAt: number;
  /** Bytes for the most descriptors that there can be. */
  readonly #room: number;
  readonly #ram: BitmapStream;
  readonly #stored: BitmapStream;
  readonly #reasons = new Set<ExcludedReason>();
  /** File offset of the next page's data. */
  #dataAt: number;
  /** Of the body that pages of zeros share; 0: not written yet. */
  #zeroAt = 0;
  /** Pages that wait for `flush`. */
  #pages: Uint8Array[] = [];
  #numbers: number[] = [];
  // The page of which so far only parts have come; -1: none.
  #open = -1;
  #part = new Uint8Array(0);
  #partBytes = 0;
  #partIsRam = false;
  #partFailed = false;
  #failed = false;
  #zeroExcluded = 0;
  #padded = 0;
  #dropped = 0;

  /** @throws {MemtoolError} `TOO_LARGE` if the memory's addresses go beyond what the format can hold. */
  constructor(sink: DumpSink, options: KdumpWriterOptions) {
    const { plan, facts, pageSize, compression, encode, excludeZero = false, dumpLevel = 0 } = options;
    this.#sink = sink;
    this.#facts = facts;
    this.#pageSize = pageSize;
    this.#compression = compression;
    this.#encode = encode;
    this.#excludeZero = excludeZero;
    this.#sourceLevel = dumpLevel;
    const reasons = [...plan.excluded.keys()];
    this.#alike = !excludeZero && reasons.length === 1 && reasons[0] === "or outside";
    const { pages, stored } = countPages(plan, pageSize);
    if (pages > MAX_PAGES) {
      throw new MemtoolError(
        "TOO_LARGE",
        `memory up to ${pages} pages: kdump's bitmaps hold ${MAX_PAGES}; write an ELF core, or --keep the lower part`,
      );
    }
    this.#maxPages = pages;
    this.#notes = notesOf(facts);
    this.#subBlocks = Math.ceil((SUB_HEADER_SIZE + this.#notes.bytes.length) / pageSize);
    const perBitmap = Math.max(1, Math.ceil(pages / 8 / pageSize));
    this.#bitmapBlocks = 2 * perBitmap;
    const bitmapAt = (1 + this.#subBlocks) * pageSize;
    this.#descriptorsAt = bitmapAt + this.#bitmapBlocks * pageSize;
    this.#room = stored * DESCRIPTOR_SIZE;
    this.#dataAt = Math.ceil((this.#descriptorsAt + this.#room) / pageSize) * pageSize;
    this.#ram = new BitmapStream(sink, bitmapAt, perBitmap * pageSize);
    this.#stored = new BitmapStream(sink, bitmapAt + perBitmap * pageSize, perBitmap * pageSize);
  }

  present(start: number, bytes: Uint8Array): void {
    const size = this.#pageSize;
    let at = 0;
    while (at < bytes.length) {
      const page = Math.floor((start + at) / size);
      const inPage = start + at - page * size;
      const length = Math.min(size - inPage, bytes.length - at);
      if (length === size) {
        this.#closePart();
        this.#store(page, bytes.subarray(at, at + size));
      } else {
        this.#openPart(page);
        this.#part.set(bytes.subarray(at, at + length), inPage);
        this.#partBytes += length;
      }
      at += length;
    }
  }

  excluded(start: number, end: number, reason: ExcludedReason, failed = false): void {
    const size = this.#pageSize;
    const isRam = reason !== "or outside";
    const mark = (page: number) => {
      this.#openPart(page);
      this.#partIsRam ||= isRam;
      this.#partFailed ||= failed;
    };
    const whole = Math.ceil(start / size);
    const wholeEnd = Math.floor(end / size);
    this.#reasons.add(reason);
    this.#failed ||= failed;
    if (start < whole * size) mark(whole - 1);
    if (whole < wholeEnd) {
      this.#closePart();
      if (isRam) this.#markRam(whole, wholeEnd);
    }
    if (wholeEnd >= whole && wholeEnd * size < end) mark(wholeEnd);
  }

  #markRam(from: number, to: number): void {
    if (!this.#alike) this.#ram.set(from, to);
  }

  #markStored(page: number): void {
    this.#stored.set(page, page + 1);
    if (this.#alike) this.#ram.set(page, page + 1);
  }

  #openPart(page: number): void {
    if (this.#open === page) return;
    this.#closePart();
    this.#open = page;
    this.#part = new Uint8Array(this.#pageSize);
  }

  /** What is there of a page decides what becomes of it. */
  #closePart(): void {
    const page = this.#open;
    if (page < 0) return;
    if (
      this.#partBytes > 0 &&
      !this.#partFailed &&
      this.#excludeZero &&
      isZero(this.#part, 0, this.#pageSize)
    ) {
      this.#markRam(page, page + 1);
      this.#zeroExcluded += this.#partBytes;
    } else if (this.#partBytes > 0 && !this.#partFailed) {
      this.#padded += this.#pageSize - this.#partBytes;
      this.#store(page, this.#part);
    } else {
      this.#dropped += this.#partBytes;
      if (this.#partBytes > 0 || this.#partIsRam) this.#markRam(page, page + 1);
    }
    this.#open = -1;
    this.#partBytes = 0;
    this.#partIsRam = false;
    this.#partFailed = false;
  }

  #store(page: number, bytes: Uint8Array): void {
    this.#markRam(page, page + 1);
    this.#numbers.push(page);
    this.#pages.push(bytes);
  }

  flush(): void {
    const pages = this.#pages;
    const numbers = this.#numbers;
    this.#pages = [];
    this.#numbers = [];
    if (pages.length === 0) return;
    const size = this.#pageSize;
    // Room for what is stored as it is, and once for zeros; the sink's memory afterwards.
    const out = new Uint8Array((pages.length + 1) * size);
    let length = 0;
    const outAt = this.#dataAt;
    const table = new StructWriter(pages.length * DESCRIPTOR_SIZE, this.#facts.littleEndian);
    const tableAt = this.#descriptorsAt + this.#stored.count * DESCRIPTOR_SIZE;
    const full: Uint8Array[] = [];
    const zero = new Uint8Array(pages.length);
    for (let i = 0; i < pages.length; i++) {
      const page = pages[i] as Uint8Array;
      if (isZero(page, 0, size)) zero[i] = 1;
      else full.push(page);
    }
    let next = 0;
    /** Descriptors of zeros up to the next page that is stored, and of that one. */
    const describe = (body: Uint8Array | undefined, flags: number) => {
      for (; next < pages.length && zero[next] === 1; next++) {
        const page = numbers[next] as number;
        if (this.#excludeZero) {
          this.#zeroExcluded += size;
          continue;
        }
        if (this.#zeroAt === 0) {
          this.#zeroAt = outAt + length;
          length += size;
        }
        this.#markStored(page);
        table.u64(this.#zeroAt).u32(size).u32(0).u64(0);
      }
      if (body === undefined) return;
      const page = numbers[next++] as number;
      this.#markStored(page);
      table
        .u64(outAt + length)
        .u32(body.length)
        .u32(flags)
        .u64(0);
      out.set(body, length);
      length += body.length;
    };
    if (this.#encode === undefined) {
      for (const page of full) describe(page, 0);
    } else {
      const flags = FLAGS[this.#compression];
      this.#encode(full, (i, compressed) => {
        if (compressed === undefined) describe(full[i] as Uint8Array, 0);
        else describe(compressed, flags);
      });
    }
    describe(undefined, 0);
    this.#dataAt += length;
    if (length > 0) this.#sink.write(outAt, out.subarray(0, length));
    if (table.length > 0) this.#sink.write(tableAt, table.done());
  }

  finish(): WrittenDump {
    this.#closePart();
    this.flush();
    this.#ram.finish();
    this.#stored.finish();
    this.#markUnusedRoom();
    this.#writeHeaders();
    return {
      size: this.#dataAt,
      zeroExcluded: this.#zeroExcluded,
      padded: this.#padded,
      dropped: this.#dropped,
    };
  }

  #markUnusedRoom(): void {
    const room = this.#room - this.#stored.count * DESCRIPTOR_SIZE;
    if (room < DESCRIPTOR_SIZE) return;
    this.#sink.write(
      this.#descriptorsAt + this.#stored.count * DESCRIPTOR_SIZE,
      UNUSED_ROOM.subarray(0, Math.min(room, UNUSED_ROOM.length)),
    );
  }

  #writeHeaders(): void {
    const facts = this.#facts;
    const little = facts.littleEndian;
    const size = this.#pageSize;
    const header = new StructWriter(HEADER_SIZE, little);
    // signature, header_version
    header.append(Uint8Array.from("KDUMP   ", (c) => c.charCodeAt(0))).u32(6);
    // utsname: sysname, nodename, release, version, machine, domainname
    for (const text of ["Linux", "", facts.release, "", facts.unameMachine, ""]) {
      header.text(facts.vmcoreinfo === undefined && text === "Linux" ? "" : text, UTSNAME_FIELD);
    }
    // timestamp; status, block_size, sub_hdr_size, bitmap_blocks
    header.align(8).u64(facts.crashTime).u64(0);
    header.u32(FLAGS[this.#compression]).u32(size).u32(this.#subBlocks).u32(this.#bitmapBlocks);
    // max_mapnr (the whole one is in the sub-header), total_ram_blocks, device_blocks, written_blocks
    header
      .u32(Math.min(this.#maxPages, U32))
      .u32(Math.min(this.#ram.count, U32))
      .u32(0)
      .u32(Math.min(this.#stored.count, U32));
    // current_cpu, nr_cpus (crash warns of 0)
    header.u32(0).u32(Math.max(1, facts.cpus));
    this.#sink.write(0, header.bytes);

    const { bytes: notes, textAt } = this.#notes;
    const notesAt = size + SUB_HEADER_SIZE;
    const sub = new StructWriter(SUB_HEADER_SIZE + notes.length, little);
    // phys_base, dump_level; split, start_pfn, end_pfn
    sub.big(facts.physBase).u32(this.#dumpLevel()).u32(0).u64(0).u64(0);
    const text = textAt < 0 ? 0 : (facts.vmcoreinfoNote?.description.length ?? 0);
    sub.u64(textAt < 0 ? 0 : notesAt + textAt).u64(text);
    sub.u64(notes.length === 0 ? 0 : notesAt).u64(notes.length);
    // eraseinfo: it is among the notes; start_pfn_64, end_pfn_64, max_mapnr_64
    sub.u64(0).u64(0).u64(0).u64(0).u64(this.#maxPages);
    sub.append(notes);
    this.#sink.write(size, sub.bytes);
  }

  /**
   * What filters left out. Where something is missing for another reason it is 0, "nobody says why": one filter named
   * would be taken for the reason of all that is missing. So it is where nothing is: with a filter, equal bitmaps mean
   * that the file can't tell what is missing from what is no RAM. Several filters of the source are named as they were;
   * a single one only if its reader took it for the reason.
   */
  #dumpLevel(): number {
    if (this.#alike) return 1;
    const reasons = new Set(this.#reasons);
    reasons.delete("or outside");
    if (this.#ram.count === this.#stored.count || this.#failed) return 0;
    const several = (this.#sourceLevel & (this.#sourceLevel - 1)) !== 0;
    let level = this.#zeroExcluded > 0 ? (LEVELS.zero as number) : 0;
    for (const reason of reasons) {
      const bits = LEVELS[reason] ?? (reason === "unknown" && several ? this.#sourceLevel : 0);
      if (bits === 0) return 0;
      level |= bits;
    }
    return level;
  }
}

/** Pages up to the last range, and how many of them hold bytes that are present. */
function countPages(plan: DumpPlan, pageSize: number): { readonly pages: number; readonly stored: number } {
  let stored = 0;
  let behind = 0;
  for (const { start, end, state } of plan.ranges()) {
    if (state !== "present") continue;
    const first = Math.max(behind, Math.floor(start / pageSize));
    behind = Math.ceil(end / pageSize);
    stored += Math.max(0, behind - first);
  }
  return { pages: Math.ceil(plan.end / pageSize), stored };
}
