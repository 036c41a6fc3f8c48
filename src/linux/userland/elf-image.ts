/**
 * An ELF file as it lies in memory: where its segments are, what its notes and its dynamic section say.
 *
 * Facts: System V ABI, chapter 5 (program loading, dynamic linking); glibc's elf/get-dynamic-info.h: on most architectures the linker
 * adds the load bias to the addresses in the dynamic section, in place; musl's does not, nor does anybody in the vDSO's.
 */
import { hex, type Routine } from "../../io/index.js";
import { damage, type OnDamage } from "../objects/damage.js";
import { textAt } from "../objects/record.js";
import { type ByteSource, isWhole, readTable, type SourceBytes } from "./byte-source.js";
import {
  type ElfHeader,
  type ElfSegment,
  ElfWords,
  HEADER_BYTES,
  MAX_SEGMENTS,
  PT_DYNAMIC,
  PT_INTERP,
  PT_LOAD,
  PT_NOTE,
  parseElfHeader,
  parseSegments,
} from "./elf-header.js";

import { greater, lesser } from "./order.js";

const PAGE = 4096n;

/** Bytes that are read of a dynamic section, of a note segment, of a path: all are far smaller. */
const MAX_DYNAMIC = 1 << 16;
const MAX_NOTES = 1 << 16;
const MAX_PATH = 4096;
/** Segments of notes that are looked at: linkers make two. */
const MAX_NOTE_SEGMENTS = 16;
/** DT_NEEDED entries that are named. */
const MAX_NEEDED = 1024;

const DT_NULL = 0n;
const DT_NEEDED = 1n;
const DT_STRTAB = 5n;
const DT_STRSZ = 10n;
const DT_SONAME = 14n;
const DT_DEBUG = 21n;

/**
 * How a file lies in memory. `loaded`: each segment where its program header says, as a program runs. `file`: the bytes as they are in
 * the file, as a program that reads a file has them.
 */
export type ElfLayout = "loaded" | "file";

/** The entries of a dynamic section. */
export interface ElfDynamic {
  /** Where it is in memory. */
  readonly address: bigint;
  /** Entries before DT_NULL, as they are. */
  readonly entries: readonly { readonly tag: bigint; readonly value: bigint }[];
  /** The value of DT_DEBUG, if there is one: where the linker's `r_debug` is. */
  readonly debug: bigint | undefined;
}

/** An ELF image in memory. */
export class ElfImage {
  /** Where its header is. */
  readonly base: bigint;
  readonly header: ElfHeader;
  readonly segments: readonly ElfSegment[];
  /** Segments that are loaded. */
  readonly loads: readonly ElfSegment[];
  readonly layout: ElfLayout;
  /** What is to be added to an address as linked; with layout `file`, of no use. */
  readonly bias: bigint;
  /** From the first to the last page of its segments (exclusive), or of its bytes in the file. */
  readonly start: bigint;
  readonly end: bigint;
  dynamic: ElfDynamic | undefined;
  soname: string | undefined;
  needed: readonly string[] = [];
  /** The path of the linker that it asks for. */
  interpreter: string | undefined;
  /** The GNU build id, in hex. */
  buildId: string | undefined;

  /** @internal */
  constructor(base: bigint, header: ElfHeader, segments: readonly ElfSegment[], layout: ElfLayout) {
    this.base = base;
    this.header = header;
    this.segments = segments;
    this.layout = layout;
    const loads = segments.filter(({ type, memoryBytes }) => type === PT_LOAD && memoryBytes > 0n);
    this.loads = loads;
    const first = loads.reduce<ElfSegment | undefined>(
      (least, each) => (least === undefined || each.offset < least.offset ? each : least),
      undefined,
    );
    this.bias = first === undefined ? base : this.wrap(base - (first.address - first.offset));
    if (loads.length === 0) {
      this.start = base;
      this.end = base + PAGE;
    } else if (layout === "file") {
      this.start = base;
      this.end = base + pageUp(segments.map((each) => each.offset + each.fileBytes).reduce(greater));
    } else {
      this.start = this.wrap(this.bias + pageDown(loads.map(({ address }) => address).reduce(lesser)));
      this.end =
        this.start +
        pageUp(loads.map(({ address, memoryBytes }) => address + memoryBytes).reduce(greater)) -
        pageDown(loads.map(({ address }) => address).reduce(lesser));
    }
  }

  /** An address within the class. */
  wrap(address: bigint): bigint {
    return BigInt.asUintN(this.header.bits, address);
  }

  /** Where what is linked at an address lies; `undefined` where it does not. */
  at(linked: bigint): bigint | undefined {
    if (this.layout === "loaded") return this.wrap(this.bias + linked);
    const found = this.loads.find(
      ({ address, fileBytes }) => linked >= address && linked < address + fileBytes,
    );
    return found === undefined ? undefined : this.base + found.offset + (linked - found.address);
  }

  /** Bytes from a linked address to the end of its segment's part of the file; 0n for an address of no segment. */
  bytesBehind(linked: bigint): bigint {
    const found = this.loads.find(
      ({ address, memoryBytes }) => linked >= address && linked < address + memoryBytes,
    );
    return found === undefined ? 0n : found.address + found.memoryBytes - linked;
  }

  /** A pointer of the dynamic section as an address as linked, whether the bias was added to it or not. */
  linkedOf(pointer: bigint): bigint | undefined {
    if (this.bytesBehind(pointer) > 0n) return pointer;
    const linked = this.wrap(pointer - this.bias);
    return this.bytesBehind(linked) > 0n ? linked : undefined;
  }

  /** The value of the first entry of a tag in the dynamic section. */
  tag(tag: bigint): bigint | undefined {
    return this.dynamic?.entries.find((each) => each.tag === tag)?.value;
  }
}

/**
 * Reads the image whose header is at an address; `undefined` where there is none. What is damaged in it is told.
 *
 * @param what For messages, such as "of process 98".
 */
export function* readElfImage(
  source: ByteSource,
  base: bigint,
  what: string,
  report: OnDamage,
): Routine<ElfImage | undefined> {
  const first = yield* source.read(base, HEADER_BYTES);
  const header = isWhole(first, 0, HEADER_BYTES) ? parseElfHeader(first.bytes) : undefined;
  if (header === undefined) return undefined;
  const segments = yield* readSegments(source, base, header, what, report);
  let image = new ElfImage(base, header, segments, "loaded");
  const dynamic = segments.find(({ type }) => type === PT_DYNAMIC);
  if (dynamic !== undefined) {
    image.dynamic = yield* readDynamic(source, image, dynamic);
    if (image.dynamic === undefined) {
      const asFile = new ElfImage(base, header, segments, "file");
      asFile.dynamic = yield* readDynamic(source, asFile, dynamic);
      if (asFile.dynamic !== undefined) image = asFile;
      else
        report(
          damage(`the dynamic section of the ELF image ${what}`, base, "unreadable", 0, "it is not there"),
        );
    }
  }
  image.buildId = yield* readBuildId(source, image);
  image.interpreter = yield* readInterpreter(source, image);
  yield* readNames(source, image, what, report);
  return image;
}

function* readSegments(
  source: ByteSource,
  base: bigint,
  header: ElfHeader,
  what: string,
  report: OnDamage,
): Routine<ElfSegment[]> {
  const { programHeaderBytes, programHeaders } = header;
  const segmentCount = Math.min(header.segmentCount, MAX_SEGMENTS);
  const name = `program headers of the ELF image ${what}`;
  if (header.segmentCount > MAX_SEGMENTS) {
    report(
      damage(name, base, "too long", 0, `${header.segmentCount} of them: the first ${MAX_SEGMENTS} are read`),
    );
  }
  const length = segmentCount * programHeaderBytes;
  // They lie right behind the header, in all files that linkers make.
  const read = yield* readTable(source, BigInt.asUintN(64, base + programHeaders), length);
  const there = read.bytes.length < length ? read.bytes.length : (read.holes[0]?.start ?? length);
  if (there < length) {
    report(
      damage(
        name,
        base,
        "unreadable",
        read.holes[0]?.fault ?? 0,
        `only ${there} of ${length} bytes are there`,
      ),
    );
  }
  const limit = 1n << BigInt(header.bits);
  const all = parseSegments(read.bytes.subarray(0, there), header);
  const sane = all.filter(
    ({ type, address, memoryBytes, offset, fileBytes }) =>
      type !== PT_LOAD ||
      (address + memoryBytes <= limit && fileBytes <= memoryBytes && offset + fileBytes <= 1n << 63n),
  );
  if (sane.length < all.length) {
    report(
      damage(name, base, "invalid", 0, `${all.length - sane.length} segments go beyond the end of memory`),
    );
  }
  return sane;
}

/** `undefined` unless it is one: of known tags, ended by DT_NULL. */
function* readDynamic(
  source: ByteSource,
  image: ElfImage,
  segment: ElfSegment,
): Routine<ElfDynamic | undefined> {
  const address = image.at(segment.address);
  if (address === undefined) return undefined;
  const length = Number(segment.memoryBytes < MAX_DYNAMIC ? segment.memoryBytes : BigInt(MAX_DYNAMIC));
  const read = yield* readTable(source, address, length);
  const words = new ElfWords(read.bytes, image.header);
  const width = image.header.bits / 8;
  const entries: { tag: bigint; value: bigint }[] = [];
  for (let at = 0; isWhole(read, at, at + 2 * width); at += 2 * width) {
    const tag = words.word(at);
    if (tag === DT_NULL) {
      const debug = entries.find((each) => each.tag === DT_DEBUG)?.value;
      return entries.length === 0 ? undefined : { address, entries, debug };
    }
    // Tags are small, or of the ranges of systems and processors, from 0x60000000 to 0x7fffffff.
    if (tag > 0x7fff_ffffn || (tag > 0x1000n && tag < 0x6000_0000n)) return undefined;
    entries.push({ tag, value: words.word(at + width) });
  }
  return undefined;
}

/** The GNU build id: a note of type 3 and the name "GNU". */
function* readBuildId(source: ByteSource, image: ElfImage): Routine<string | undefined> {
  const notes = image.segments.filter(({ type, fileBytes }) => type === PT_NOTE && fileBytes > 0n);
  for (const segment of notes.slice(0, MAX_NOTE_SEGMENTS)) {
    const address = image.at(segment.address);
    if (address === undefined) continue;
    const length = Number(segment.fileBytes < MAX_NOTES ? segment.fileBytes : BigInt(MAX_NOTES));
    const read = yield* readTable(source, address, length);
    const words = new ElfWords(read.bytes, image.header);
    for (let at = 0; isWhole(read, at, at + 12); ) {
      const [nameBytes, bytes, type] = [words.u32(at), words.u32(at + 4), words.u32(at + 8)];
      const start = at + 12 + up4(nameBytes);
      const end = start + bytes;
      if (type === 3 && nameBytes === 4 && bytes > 0 && bytes <= 64 && isWhole(read, at + 12, end)) {
        if (textAt(read.bytes, at + 12, at + 16) === "GNU") return hexOf(read.bytes.subarray(start, end));
      }
      at = start + up4(bytes);
    }
  }
  return undefined;
}

function* readInterpreter(source: ByteSource, image: ElfImage): Routine<string | undefined> {
  const segment = image.segments.find(({ type }) => type === PT_INTERP);
  const address = segment === undefined ? undefined : image.at(segment.address);
  if (segment === undefined || address === undefined) return undefined;
  const length = Number(segment.fileBytes < MAX_PATH ? segment.fileBytes : BigInt(MAX_PATH));
  return stringIn(yield* source.read(address, length), 0);
}

/** Its own name, and those of what it needs. */
function* readNames(source: ByteSource, image: ElfImage, what: string, report: OnDamage): Routine<void> {
  const soname = image.tag(DT_SONAME);
  const needed = (image.dynamic?.entries ?? []).filter(({ tag }) => tag === DT_NEEDED).slice(0, MAX_NEEDED);
  if (soname === undefined && needed.length === 0) return;
  const table = image.tag(DT_STRTAB);
  const linked = table === undefined ? undefined : image.linkedOf(table);
  const address = linked === undefined ? undefined : image.at(linked);
  const name = `the strings of the ELF image ${what}`;
  if (linked === undefined || address === undefined) {
    report(
      damage(
        name,
        image.base,
        "invalid",
        0,
        `DT_STRTAB is ${table === undefined ? "missing" : hex(table)}, in no segment`,
      ),
    );
    return;
  }
  const bytes = stringBytes(image, linked);
  const nameAt = function* (offset: bigint): Routine<string | undefined> {
    if (offset >= BigInt(bytes)) return undefined;
    const length = Math.min(MAX_PATH, bytes - Number(offset));
    const read = yield* source.read(BigInt.asUintN(64, address + offset), length);
    const text = stringIn(read, 0);
    if (text === undefined) {
      const fault = read.holes[0]?.fault ?? 0;
      report(
        damage(name, address + offset, fault === 0 ? "invalid" : "unreadable", fault, "no end of a name"),
      );
    }
    return text;
  };
  image.soname = soname === undefined ? undefined : yield* nameAt(soname);
  const names: string[] = [];
  for (const { value } of needed) names.push((yield* nameAt(value)) ?? "?");
  image.needed = names;
}

/** Bytes of the dynamic string table: as DT_STRSZ says, and no more than its segment has. */
export function stringBytes(image: ElfImage, linked: bigint): number {
  const behind = image.bytesBehind(linked);
  const said = image.tag(DT_STRSZ) ?? behind;
  return Number(lesser(said, behind));
}

/** The string at an offset; `undefined` if its end is not there. */
export function stringIn(read: SourceBytes, at: number): string | undefined {
  if (at >= read.bytes.length) return undefined;
  const end = read.bytes.indexOf(0, at);
  if (end < 0 || !isWhole(read, at, end + 1)) return undefined;
  return textAt(read.bytes, at, end);
}

function up4(bytes: number): number {
  return bytes + ((4 - (bytes % 4)) % 4);
}

function hexOf(bytes: Uint8Array): string {
  return Array.from(bytes, (each) => each.toString(16).padStart(2, "0")).join("");
}

function pageDown(address: bigint): bigint {
  return address - (address % PAGE);
}

function pageUp(address: bigint): bigint {
  return pageDown(address + PAGE - 1n);
}
