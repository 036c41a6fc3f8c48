/**
 * The headers of a kdump-compressed or diskdump file, of any version, byte order and ABI.
 *
 * Nothing in a header says how it is laid out: of the layouts that `kdump-structures.ts` knows, the one is taken in which
 * the members make sense. Meaning of the members: makedumpfile's IMPLEMENTATION ("The kdump-compressed format"),
 * diskdump_mod.h and `write_kdump_header` (makedumpfile.c); QEMU's dump/dump.c (`create_header32`, `create_header64`);
 * for files that the old diskdump wrote, crash's diskdump.h.
 */
import { hex, type Routine } from "../../io/index.js";
import type { PageWindow } from "../bitmap.hot.js";
import { FormatError, type Warnings } from "../errors.js";
import { Fields, hasText, latin1, readStructure } from "../fields.js";
import type { DumpFile } from "../types.js";
import {
  type Abi,
  abisOf,
  HEADER_SIZE,
  type HeaderMember,
  headerLayout,
  type Layout,
  MACHINE,
  type SubHeaderMember,
  subHeaderLayout,
} from "./kdump-structures.js";

const KDUMP = "KDUMP   ";
const DISKDUMP = "DISKDUMP";

/** Flags in `status`, as makedumpfile's `DUMP_DH_…`. */
const STATUS_INCOMPLETE = 8;
const STATUS_EXCLUDED_VMEMMAP = 0x10;
/** In a diskdump's `status` (`DUMP_HEADER_INCOMPLETED`, `DUMP_HEADER_COMPRESSED`). */
const DISKDUMP_INCOMPLETE = 1;
const DISKDUMP_COMPRESSED = 8;

/** The newest version of the header whose members are known. */
const NEWEST = 6;

/** A stretch of the file. */
export interface FilePart {
  readonly offset: number;
  readonly size: number;
}

/** What header and sub-header say. */
export interface KdumpHeader {
  readonly signature: string;
  readonly isDiskdump: boolean;
  readonly version: number;
  readonly abi: Abi;
  readonly littleEndian: boolean;
  /** Where the members of `struct disk_dump_header` lie. */
  readonly places: Layout<HeaderMember>["places"];
  /** `utsname.release`; QEMU leaves it empty. */
  readonly release: string;
  /** `utsname.machine`; QEMU knows only its own name of x86, else it says "Unknown". */
  readonly machine: string;
  /** Seconds since 1970, and microseconds; zeros where the kernel had not crashed. */
  readonly time: readonly [seconds: number, microseconds: number];
  /** `status` with a diskdump's flags as those of kdump: which codecs are used. */
  readonly status: number;
  /** The writer ran out of space. */
  readonly incomplete: boolean;
  /** Parts of the kernel's page array were left out, which no dump level says. */
  readonly withoutVmemmap: boolean;
  readonly blockSize: number;
  readonly subBlocks: number;
  readonly bitmapBlocks: number;
  /** Page numbers end here. */
  readonly maxPages: number;
  readonly physBase: number | undefined;
  readonly dumpLevel: number;
  /** Pages of a split dump that this file holds. */
  readonly part: PageWindow | undefined;
  readonly vmcoreinfo: FilePart;
  readonly notes: FilePart;
}

/** Whether a file begins as kdump or diskdump. */
export function isKdump(head: Uint8Array): boolean {
  return hasText(head, KDUMP) || hasText(head, DISKDUMP);
}

/** Members of a structure under one layout. */
class Members<Name extends string> {
  readonly #fields: Fields;
  readonly #layout: Layout<Name>;

  constructor(fields: Fields, layout: Layout<Name>) {
    this.#fields = fields;
    this.#layout = layout;
  }

  /** Unsigned. @throws {FormatError} for one of 2^53 and more, naming it. */
  number(name: Name): number {
    const { at, size } = this.#layout.places[name];
    return size === 4 ? this.#fields.u32(at) : this.#fields.size(at, name);
  }

  /** Unsigned; NaN, which equals and is in order with nothing, for one of 2^53 and more. */
  loose(name: Name): number {
    const { at, size } = this.#layout.places[name];
    return size === 4 ? this.#fields.u32(at) : (this.#fields.safe(at) ?? Number.NaN);
  }

  /** Signed, and inexact from 2^53 on. */
  signed(name: Name): number {
    const { at, size } = this.#layout.places[name];
    return size === 4 ? this.#fields.i32(at) : Number(this.#fields.i64(at));
  }

  text(name: Name): string {
    const { at, size } = this.#layout.places[name];
    return this.#fields.text(at, size);
  }

  part(offset: Name, size: Name): FilePart {
    return { offset: this.number(offset), size: this.number(size) };
  }

  /** @throws {FormatError} always. */
  malformed(name: Name, problem: string): never {
    this.#fields.malformed(this.#layout.places[name].at, name, problem);
  }
}

/** A way to read a file's headers. */
interface Reading {
  readonly abi: Abi;
  readonly littleEndian: boolean;
  readonly header: Members<HeaderMember>;
}

/**
 * Reads the headers.
 *
 * @throws {FormatError} naming the member that cannot be, or that the file ends before.
 */
export function* readKdumpHeader(file: DumpFile, warnings: Warnings): Routine<KdumpHeader> {
  const bytes = yield* readStructure(file, 0, HEADER_SIZE, "disk_dump_header");
  const reading = yield* chooseReading(file, bytes);
  const { abi, littleEndian, header } = reading;
  checkHeader(header);
  const blockSize = header.number("block_size");
  const subBlocks = header.number("sub_hdr_size");
  const version = header.number("header_version");
  const signature = header.text("signature");
  const isDiskdump = signature === DISKDUMP;
  const status = header.number("status");
  const base = {
    signature,
    isDiskdump,
    version,
    abi,
    littleEndian,
    places: headerLayout(abi).places,
    release: header.text("release"),
    machine: header.text("machine"),
    time: [header.signed("tv_sec"), header.signed("tv_usec")] as const,
    status: isDiskdump ? ((status & DISKDUMP_COMPRESSED) === 0 ? 0 : 1) : status,
    incomplete: (status & (isDiskdump ? DISKDUMP_INCOMPLETE : STATUS_INCOMPLETE)) !== 0,
    withoutVmemmap: !isDiskdump && (status & STATUS_EXCLUDED_VMEMMAP) !== 0,
    blockSize,
    subBlocks,
    bitmapBlocks: header.number("bitmap_blocks"),
  };
  const maxPages = header.number("max_mapnr");
  const nothing = { offset: 0, size: 0 };
  if (isDiskdump || subBlocks === 0) {
    // The sub-header of a diskdump is a register set of the machine's.
    const none = { physBase: undefined, dumpLevel: 0, part: undefined, vmcoreinfo: nothing, notes: nothing };
    return { ...base, maxPages, ...none };
  }
  if (version > NEWEST) {
    warnings.add(`header_version ${version} is newer than ${NEWEST}: its later fields are ignored`);
  }
  const sub = yield* readSubHeader(file, reading);
  const wide = version >= 6;
  return {
    ...base,
    maxPages: (wide ? sub.number("max_mapnr_64") : 0) || maxPages,
    physBase: sub.signed("phys_base"),
    dumpLevel: version >= 1 ? sub.number("dump_level") : 0,
    part: version >= 2 && sub.number("split") !== 0 ? partOf(sub, wide, warnings) : undefined,
    vmcoreinfo: version >= 3 ? sub.part("offset_vmcoreinfo", "size_vmcoreinfo") : nothing,
    notes: version >= 4 ? sub.part("offset_note", "size_note") : nothing,
  };
}

function partOf(sub: Members<SubHeaderMember>, wide: boolean, warnings: Warnings): PageWindow {
  const start = sub.number(wide ? "start_pfn_64" : "start_pfn");
  const end = sub.number(wide ? "end_pfn_64" : "end_pfn");
  if (start > end) {
    warnings.add(
      `start_pfn is ${hex(start)} and end_pfn ${hex(end)}, so the file holds no page of the split dump`,
    );
  }
  return { start, end: Math.max(start, end) };
}

function readingOf(file: DumpFile, bytes: Uint8Array, abi: Abi, littleEndian: boolean): Reading {
  const fields = new Fields(file.name, 0, bytes, littleEndian);
  return { abi, littleEndian, header: new Members(fields, headerLayout(abi)) };
}

/** Finds the layout in which both headers make sense; else the likeliest, for messages. */
function* chooseReading(file: DumpFile, bytes: Uint8Array): Routine<Reading> {
  const abis = abisOf(latin1(bytes, MACHINE.at, MACHINE.size));
  let likely: Reading | undefined;
  for (const littleEndian of [true, false]) {
    for (const abi of abis) {
      const reading = readingOf(file, bytes, abi, littleEndian);
      if (!isHeader(reading.header)) continue;
      if (yield* hasSubHeader(file, reading)) return reading;
      likely ??= reading;
    }
  }
  if (likely !== undefined) return likely;
  const little = readingOf(file, bytes, abis[0] as Abi, true);
  const big = readingOf(file, bytes, abis[0] as Abi, false);
  return !isVersion(little.header) && isVersion(big.header) ? big : little;
}

function isVersion(header: Members<HeaderMember>): boolean {
  return header.number("header_version") <= 0xffff;
}

function isBlockSize(size: number): boolean {
  return size >= 512 && size <= 2 ** 20 && (size & (size - 1)) === 0;
}

/** Whether the header's members make sense together. */
function isHeader(header: Members<HeaderMember>): boolean {
  const blockSize = header.number("block_size");
  const bits = header.number("bitmap_blocks") * blockSize * 8;
  return (
    isVersion(header) &&
    isBlockSize(blockSize) &&
    header.signed("sub_hdr_size") >= 0 &&
    bits > 0 &&
    bits >= header.number("max_mapnr")
  );
}

/** The same, each by itself. @throws {FormatError} */
function checkHeader(header: Members<HeaderMember>): void {
  const version = header.signed("header_version");
  if (!isVersion(header)) header.malformed("header_version", `${version} is none`);
  const blockSize = header.signed("block_size");
  if (!isBlockSize(blockSize)) {
    header.malformed("block_size", `${blockSize}: must be a power of two from 512 to 1048576`);
  }
  const subBlocks = header.signed("sub_hdr_size");
  if (subBlocks < 0) header.malformed("sub_hdr_size", `${subBlocks} blocks`);
  const bitmapBlocks = header.number("bitmap_blocks");
  if (bitmapBlocks === 0) header.malformed("bitmap_blocks", "0: a dump without a bitmap has no pages");
  if (bitmapBlocks === 1 && header.text("signature") === KDUMP) {
    header.malformed("bitmap_blocks", "1, and there are two bitmaps");
  }
}

function* readSubHeader(
  file: DumpFile,
  { abi, littleEndian, header }: Reading,
): Routine<Members<SubHeaderMember>> {
  const blockSize = header.number("block_size");
  const layout = subHeaderLayout(abi);
  const bytes = yield* readStructure(
    file,
    blockSize,
    layout.end(header.number("header_version")),
    "kdump_sub_header",
  );
  return new Members(new Fields(file.name, blockSize, bytes, littleEndian), layout);
}

/** Whether there is a sub-header of that layout: ABIs differ in where its members lie, and each has values it can have. */
function* hasSubHeader(file: DumpFile, reading: Reading): Routine<boolean> {
  const { header, abi } = reading;
  const version = header.number("header_version");
  const blockSize = header.number("block_size");
  const subBlocks = header.number("sub_hdr_size");
  if (header.text("signature") !== KDUMP || subBlocks === 0 || version === 0) return true;
  if (blockSize + subHeaderLayout(abi).end(version) > file.size) return false;
  let sub: Members<SubHeaderMember>;
  try {
    sub = yield* readSubHeader(file, reading);
  } catch (error) {
    if (error instanceof FormatError) return false;
    throw error;
  }
  const isPart = (offset: SubHeaderMember, size: SubHeaderMember) => {
    const [from, length] = [sub.loose(offset), sub.loose(size)];
    return (from === 0 && length === 0) || (from > blockSize && from + length <= file.size);
  };
  const narrow = header.number("max_mapnr");
  const wide = version >= 6 ? sub.loose("max_mapnr_64") : narrow;
  return (
    sub.number("dump_level") <= 0xff &&
    (version < 2 || sub.number("split") <= 1) &&
    (version < 3 || isPart("offset_vmcoreinfo", "size_vmcoreinfo")) &&
    (version < 4 || isPart("offset_note", "size_note")) &&
    (wide === narrow || (narrow === 0xffff_ffff && wide > narrow))
  );
}
