/**
 * The program headers of an ELF core: where its memory and its notes are.
 *
 * Layout: System V ABI, chapter "Program Header"; PN_XNUM as in elf(5). Program headers are where `e_phoff` says,
 * whatever `e_ehsize` claims (QEMU 7.2 writes 8, with the section table at 64 and they after it).
 */
import { hex, type Routine } from "../../io/index.js";
import { FormatError, type Warnings } from "../errors.js";
import { Fields, readStructure } from "../fields.js";
import { AT_LEFT_OUT, AT_TRUNCATED, Intervals } from "../pieces.js";
import type { DumpFile } from "../types.js";
import {
  type ElfHeader,
  type ElfLayout,
  headerWord,
  isMinusOne,
  readSectionZero,
  wideWordAt,
  wordAt,
} from "./elf-header.js";

const PT_LOAD = 1;
const PT_NOTE = 4;
const PN_XNUM = 0xffff;

/** Bytes of program headers that are read at once. */
const TABLE_CHUNK = 2 ** 20;
/** 66,000 segments have been seen; the columns of this many take 100 MB. */
const MAX_SEGMENTS = 4_000_000;
/** Program headers of any type, and their bytes: a sparse file has room for any number of empty ones, of any size. */
const MAX_HEADERS = 2 * MAX_SEGMENTS;
const MAX_TABLE = 64 * MAX_HEADERS;
/** PT_NOTE segments; dumps have one, or one a CPU. */
const MAX_NOTE_SEGMENTS = 1024;

/** Where the program headers are. */
export interface ProgramHeaderTable {
  /** File offset of the first one. */
  readonly offset: number;
  /** Bytes from one to the next. */
  readonly entrySize: number;
  /** As the header claims. */
  readonly count: number;
}

/** Finds the program headers. @throws {FormatError} if there are none, or not one of them is in the file. */
export function* findProgramHeaders(
  file: DumpFile,
  header: ElfHeader,
  warnings: Warnings,
): Routine<ProgramHeaderTable> {
  const { fields, layout } = header;
  const offset = headerWord(header, layout.phoff, "e_phoff");
  const entrySize = fields.u16(layout.phentsize);
  let count = fields.u16(layout.phnum);
  if (count === PN_XNUM) {
    count = yield* readExtendedCount(file, header, warnings);
  }
  if (count === 0) fields.malformed(layout.phnum, "e_phnum", "no program headers, so no memory");
  if (entrySize < layout.program.size) {
    fields.malformed(
      layout.phentsize,
      "e_phentsize",
      `${entrySize}: must be at least ${layout.program.size}`,
    );
  }
  if (!(offset + entrySize <= file.size)) {
    throw new FormatError(
      "TRUNCATED_DUMP",
      { file: file.name, offset: layout.phoff, field: "e_phoff" },
      `program headers at ${hex(offset)}, and the file ends at ${hex(file.size)}; copy the dump again`,
    );
  }
  return { offset, entrySize, count };
}

/** The number of program headers in section header 0; where that is damaged, the least that PN_XNUM stands for. */
function* readExtendedCount(file: DumpFile, header: ElfHeader, warnings: Warnings): Routine<number> {
  const { layout } = header;
  let problem: string;
  try {
    const section = yield* readSectionZero(file, header, "the number of segments (PN_XNUM)");
    const count = section.u32(layout.section.info);
    if (count >= PN_XNUM) return count;
    problem = `sh_info of section header 0 is ${count}, where e_phnum says that there are ${PN_XNUM} or more`;
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    problem = error.message;
  }
  warnings.add(`${problem}: the first ${PN_XNUM} program headers are read, memory of others is missing`);
  return PN_XNUM;
}

/** Notes of a PT_NOTE segment. */
export interface NoteSegment {
  readonly offset: number;
  readonly size: number;
  /** `p_align`: notes may be padded to 8 bytes where it says so. */
  readonly align: number;
}

/** What the program headers say. */
export class Segments {
  /** Physical memory, in the order of the headers. */
  readonly loads = new Intervals();
  readonly notes: NoteSegment[] = [];
  /** PT_LOAD segments that say anything of physical memory. */
  count = 0;
  /** Segments whose memory is not in the file and never was RAM: `p_offset` is -1 (QEMU's paging variant). */
  notMemory = 0;
  /** Segments without a physical address: `p_paddr` is -1. */
  withoutAddress = 0;
  /** Segments with `p_paddr` 0, with `p_vaddr` 0, and with a `p_vaddr` that is neither 0 nor `p_paddr`. */
  physicalAtZero = 0;
  virtualAtZero = 0;
  virtual = 0;

  /**
   * File offset of the first segment's bytes behind the program headers. What lies there is memory or notes, and no
   * header, whatever `e_phnum` says.
   */
  dataAt = Number.POSITIVE_INFINITY;
  /** Whether the program headers ended there. */
  ended = false;

  /** Notes that a segment's bytes begin at `offset`. @param headerAt File offset of its program header. */
  begin(offset: number, headerAt: number): void {
    if (offset > headerAt && offset < this.dataAt) this.dataAt = offset;
  }

  /** Every segment is at physical address 0 while it has a virtual one: a dump by virtual addresses only. */
  get allAtZero(): boolean {
    return this.count > 0 && this.physicalAtZero === this.count && this.virtualAtZero < this.count;
  }
}

/** Reads all program headers. @throws {FormatError} for more than memory could be had for. */
export function* readSegments(
  file: DumpFile,
  header: ElfHeader,
  table: ProgramHeaderTable,
  warnings: Warnings,
): Routine<Segments> {
  const { layout, littleEndian } = header;
  const { offset, entrySize } = table;
  const inFile = Math.floor((file.size - offset) / entrySize);
  if (table.count > inFile) {
    warnings.add(
      `e_phnum is ${table.count}, and the file has room for ${inFile} program headers: the rest are lost`,
    );
  }
  const count = Math.min(table.count, inFile);
  if (count > MAX_HEADERS) tooMany(file, layout, `${table.count} program headers`, MAX_HEADERS);
  if (count * entrySize > MAX_TABLE) {
    header.fields.malformed(
      layout.phentsize,
      "e_phentsize",
      `${count} program headers of ${entrySize} bytes each: memtool reads ${MAX_TABLE} bytes of them`,
    );
  }
  const segments = new Segments();
  const perChunk = Math.max(1, Math.floor(TABLE_CHUNK / entrySize));
  for (let first = 0; first < count && !segments.ended; first += perChunk) {
    const entries = Math.min(perChunk, count - first);
    const at = offset + first * entrySize;
    const bytes = yield* readStructure(file, at, entries * entrySize, "program headers");
    const fields = new Fields(file.name, at, bytes, littleEndian);
    for (let i = 0; i < entries; i++) {
      const entry = i * entrySize;
      if (at + entry + entrySize > segments.dataAt) {
        warnings.add(
          `e_phnum is ${table.count}, and the bytes of a segment begin at file offset ${hex(segments.dataAt)}: only the ` +
            `${first + i} program headers before that are read`,
        );
        segments.ended = true;
        break;
      }
      const type = fields.u32(entry);
      if (type === PT_NOTE) {
        addNotes(fields, layout, at, entry, first + i, segments, warnings);
      } else if (type === PT_LOAD) {
        if (segments.count === MAX_SEGMENTS) tooMany(file, layout, "more memory segments", MAX_SEGMENTS);
        addLoad(file, fields, layout, at, entry, first + i, segments, warnings);
      }
    }
  }
  if (segments.withoutAddress > 0) {
    warnings.add(
      `${segments.withoutAddress} segments have no physical address (p_paddr is -1) and are ignored: ` +
        "their memory can only be read by virtual address",
    );
  }
  return segments;
}

function tooMany(file: DumpFile, layout: ElfLayout, what: string, limit: number): never {
  throw new FormatError(
    "UNSUPPORTED_FORMAT",
    { file: file.name, offset: layout.phnum, field: "e_phnum" },
    `${what}: memtool reads dumps of up to ${limit}`,
  );
}

function addNotes(
  fields: Fields,
  layout: ElfLayout,
  at: number,
  entry: number,
  index: number,
  segments: Segments,
  warnings: Warnings,
): void {
  const { program } = layout;
  const offset = wordAt(fields, layout, entry + program.offset);
  const size = wordAt(fields, layout, entry + program.filesz);
  if (offset === undefined || size === undefined || segments.notes.length >= MAX_NOTE_SEGMENTS) {
    const place = hex(wideWordAt(fields, layout, entry + program.offset));
    warnings.add(`program header ${index}: its notes at ${place} are ignored`);
    return;
  }
  if (size > 0) segments.begin(offset, at + entry);
  segments.notes.push({ offset, size, align: wordAt(fields, layout, entry + program.align) ?? 0 });
}

/** Notes where a segment's bytes are, if it says anything of physical memory. */
function addLoad(
  file: DumpFile,
  fields: Fields,
  layout: ElfLayout,
  at: number,
  entry: number,
  index: number,
  segments: Segments,
  warnings: Warnings,
): void {
  const { program } = layout;
  if (isMinusOne(fields, layout, entry + program.paddr)) {
    segments.withoutAddress++;
    return;
  }
  const offset = wordAt(fields, layout, entry + program.offset);
  const start = wordAt(fields, layout, entry + program.paddr);
  const stored = wordAt(fields, layout, entry + program.filesz);
  const size = wordAt(fields, layout, entry + program.memsz);
  if (stored === 0 && isMinusOne(fields, layout, entry + program.offset)) {
    segments.notMemory++;
    return;
  }
  if (start === undefined || offset === undefined || stored === undefined || size === undefined) {
    const [name, field] =
      start === undefined
        ? (["p_paddr", program.paddr] as const)
        : offset === undefined
          ? (["p_offset", program.offset] as const)
          : stored === undefined
            ? (["p_filesz", program.filesz] as const)
            : (["p_memsz", program.memsz] as const);
    warnings.add(
      `program header ${index}: ${name} ${hex(wideWordAt(fields, layout, entry + field))} is beyond 2^53: the segment is ignored`,
    );
    return;
  }
  const end = start + Math.max(stored, size);
  if (end > Number.MAX_SAFE_INTEGER || offset + stored > Number.MAX_SAFE_INTEGER) {
    warnings.add(`program header ${index}: the segment at ${hex(start)} ends beyond 2^53: it is ignored`);
    return;
  }
  if (size !== 0 && stored > size) {
    warnings.add(
      `program header ${index}: p_filesz ${hex(stored)} is more than p_memsz ${hex(size)}: read as stored`,
    );
  }
  const { loads } = segments;
  const inFile = Math.max(0, Math.min(stored, file.size - offset));
  if (inFile > 0) {
    loads.push(start, start + inFile, offset);
    segments.begin(offset, at + entry);
  }
  if (inFile < stored) {
    loads.push(start + inFile, start + stored, AT_TRUNCATED);
    warnings.add(
      `the file ends at ${hex(file.size)}, inside the segment of program header ${index}: physical memory ` +
        `${hex(start + inFile)} to ${hex(start + stored)} is missing; copy the dump again`,
    );
  }
  if (size > stored) loads.push(start + stored, start + size, AT_LEFT_OUT);
  if (end === start) return;
  segments.count++;
  const virtual = wideWordAt(fields, layout, entry + program.vaddr);
  if (start === 0) segments.physicalAtZero++;
  if (virtual === 0n) segments.virtualAtZero++;
  else if (virtual !== BigInt(start)) segments.virtual++;
}
