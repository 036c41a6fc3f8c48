/**
 * ELF64 core dumps of physical memory: QEMU's `dump-guest-memory`, /proc/vmcore, `makedumpfile -E`.
 *
 * Layout: System V ABI, chapters "ELF Header" and "Program Header"; PN_XNUM as in elf(5). Program headers are where
 * `e_phoff` says, whatever `e_ehsize` claims (QEMU 7.2 writes 8, with the section table at 64 and they after it).
 *
 * Where segments overlap, the first one that has bytes wins. What a segment has in memory but not in the file
 * (`p_memsz` beyond `p_filesz`), and what lies beyond the end of a truncated file, is `excluded`: it was RAM.
 */
import { hex, type Routine } from "../io/index.js";
import type { PhysicalMap } from "../memory/physical-map.js";
import { FormatError, Warnings } from "./errors.js";
import { Fields, hasText, readLeniently, readStructure } from "./fields.js";
import { NoteCollector } from "./notes.js";
import {
  AT_LEFT_OUT,
  AT_TRUNCATED,
  Intervals,
  layIntervals,
  mapOfPieces,
  NO_MEMORY,
  PieceIo,
} from "./pieces.js";
import type { Architecture, DumpFile, DumpImage, Format } from "./types.js";

const HEADER_SIZE = 64;
const PROGRAM_HEADER_SIZE = 56;
const ET_CORE = 4;
const PT_LOAD = 1;
const PT_NOTE = 4;
const PN_XNUM = 0xffff;
/** `sh_info` of the first section header, which holds the number of program headers if `e_phnum` is PN_XNUM. */
const SH_INFO_AT = 44;
const MACHINES: Readonly<Record<number, Architecture>> = { 3: "i386", 62: "x86_64", 183: "aarch64" };
const TYPES: Readonly<Record<number, string>> = {
  1: "an object file",
  2: "a program",
  3: "a shared library",
};

/** Program headers read at once (bytes). */
const TABLE_CHUNK = PROGRAM_HEADER_SIZE * 16_384;
/** 66,000 segments have been seen; the columns of this many take 100 MB. */
const MAX_SEGMENTS = 4_000_000;
/** Program headers of any type: a sparse file has room for any number of empty ones. */
const MAX_HEADERS = 2 * MAX_SEGMENTS;
/** All notes together; those of 10,000 CPUs are a tenth of this. */
const MAX_NOTES = 64 * 2 ** 20;

/** ELF core dumps. */
export const elfCore: Format = {
  name: "elf-core",
  detect: (head) => hasText(head, "\x7fELF"),
  open: openElfCore,
};

export function* openElfCore(file: DumpFile): Routine<DumpImage> {
  const warnings = new Warnings();
  const header = yield* readHeader(file);
  const machine = header.u16(18);
  const architecture = MACHINES[machine];
  if (architecture === undefined) {
    warnings.add(
      `e_machine is ${machine}, which memtool does not know: registers in its notes are not shown`,
    );
  }
  const table = yield* findProgramHeaders(file, header);
  const notes = new NoteCollector(file.name, architecture, warnings);
  const segments = yield* readSegments(file, table, warnings);
  let room = MAX_NOTES;
  for (const { offset, size } of segments.notes) {
    if (size > room) warnings.add(`notes of more than ${MAX_NOTES} bytes: what is beyond is not read`);
    if (room === 0) break;
    const wanted = Math.min(size, room);
    room -= wanted;
    const { bytes, missing } = yield* readLeniently(file, offset, wanted);
    if (missing > 0) warnings.add(`${missing} bytes of the notes at file offset ${hex(offset)} are missing`);
    notes.add(bytes, offset);
  }
  if (segments.loads.length === 0) {
    throw new FormatError(
      "MALFORMED_DUMP",
      { file: file.name, offset: 56, field: "e_phnum" },
      `no usable PT_LOAD segment, so no memory${warnings.list().map((text) => `; ${text}`)}`,
    );
  }
  if (segments.allAtZero) {
    warnings.add(
      "every p_paddr is 0 while p_vaddr is not: this looks like a dump by virtual address (a process's core, or one " +
        "made with paging), of which only the first segment can be read by physical address",
    );
  }
  const pieces = layIntervals(segments.loads, "first");
  let map: PhysicalMap | undefined;
  return {
    format: "elf-core",
    description: `ELF core dump, ${architecture ?? `machine ${machine}`}, ${segments.count} memory segments`,
    io: new PieceIo(file, pieces, NO_MEMORY),
    get map() {
      map ??= mapOfPieces(pieces);
      return map;
    },
    notes: notes.notes(),
    warnings: warnings.list(),
    details: {
      machine,
      segments: segments.count,
      programHeaders: table.count,
      programHeaderOffset: table.offset,
    },
  };
}

function* readHeader(file: DumpFile): Routine<Fields> {
  const header = new Fields(file.name, 0, yield* readStructure(file, 0, HEADER_SIZE, "ELF header"));
  const unsupported = (offset: number, field: string, problem: string): never => {
    throw new FormatError("UNSUPPORTED_FORMAT", { file: file.name, offset, field }, problem);
  };
  const kind = header.bytes[4];
  if (kind !== 2) {
    if (kind === 1) unsupported(4, "EI_CLASS", "a 32-bit ELF core, which memtool does not read yet");
    header.malformed(4, "EI_CLASS", `${kind} is neither 1 (32-bit) nor 2 (64-bit)`);
  }
  const order = header.bytes[5];
  if (order !== 1) {
    if (order === 2) unsupported(5, "EI_DATA", "a big-endian ELF core, which memtool does not read yet");
    header.malformed(5, "EI_DATA", `${order} is neither 1 (little-endian) nor 2 (big-endian)`);
  }
  const type = header.u16(16);
  if (type !== ET_CORE) {
    const what = TYPES[type] ?? `of type ${type}`;
    unsupported(16, "e_type", `this ELF file is ${what}, not a core dump; give the dump itself`);
  }
  return header;
}

interface ProgramHeaderTable {
  readonly offset: number;
  readonly entrySize: number;
  readonly count: number;
}

function* findProgramHeaders(file: DumpFile, header: Fields): Routine<ProgramHeaderTable> {
  const offset = header.size(32, "e_phoff");
  const entrySize = header.u16(54);
  let count = header.u16(56);
  if (count === PN_XNUM) {
    const sections = header.size(40, "e_shoff");
    if (sections < HEADER_SIZE) {
      header.malformed(40, "e_shoff", `${hex(sections)}, where the number of segments (PN_XNUM) should be`);
    }
    const section = yield* readStructure(file, sections, 64, "section header 0 (number of segments)");
    count = new Fields(file.name, sections, section).u32(SH_INFO_AT);
  }
  if (count === 0) {
    header.malformed(56, "e_phnum", "no program headers, so no memory (Xen's xc_core is not read yet)");
  }
  if (entrySize < PROGRAM_HEADER_SIZE) {
    header.malformed(54, "e_phentsize", `${entrySize}: must be at least ${PROGRAM_HEADER_SIZE}`);
  }
  if (!(offset + entrySize <= file.size)) {
    throw new FormatError(
      "TRUNCATED_DUMP",
      { file: file.name, offset: 32, field: "e_phoff" },
      `program headers at ${hex(offset)}, and the file ends at ${hex(file.size)}; copy the dump again`,
    );
  }
  return { offset, entrySize, count };
}

interface Segments {
  readonly loads: Intervals;
  /** PT_LOAD segments that have bytes. */
  readonly count: number;
  readonly notes: readonly { readonly offset: number; readonly size: number }[];
  readonly allAtZero: boolean;
}

function* readSegments(file: DumpFile, table: ProgramHeaderTable, warnings: Warnings): Routine<Segments> {
  const { offset, entrySize } = table;
  const inFile = Math.floor((file.size - offset) / entrySize);
  if (table.count > inFile) {
    warnings.add(
      `e_phnum is ${table.count}, and the file has room for ${inFile} program headers: the rest are lost`,
    );
  }
  const count = Math.min(table.count, inFile);
  if (count > MAX_HEADERS) {
    throw new FormatError(
      "UNSUPPORTED_FORMAT",
      { file: file.name, offset: 56, field: "e_phnum" },
      `${table.count} program headers: memtool reads dumps of up to ${MAX_HEADERS}`,
    );
  }
  const loads = new Intervals();
  const notes: { offset: number; size: number }[] = [];
  let segments = 0;
  let physicalAtZero = 0;
  let virtualAtZero = 0;
  const perChunk = Math.max(1, Math.floor(TABLE_CHUNK / entrySize));
  for (let first = 0; first < count; first += perChunk) {
    const entries = Math.min(perChunk, count - first);
    const at = offset + first * entrySize;
    const bytes = yield* readStructure(file, at, entries * entrySize, "program headers");
    for (let i = 0; i < entries; i++) {
      const entry = new Fields(
        file.name,
        at + i * entrySize,
        bytes.subarray(i * entrySize, i * entrySize + PROGRAM_HEADER_SIZE),
      );
      const type = entry.u32(0);
      if (type === PT_NOTE) {
        const start = entry.safe(8);
        const size = entry.safe(32);
        if (start === undefined || size === undefined || notes.length >= 1024) {
          warnings.add(`program header ${first + i}: its notes at ${hex(entry.u64(8))} are ignored`);
        } else {
          notes.push({ offset: start, size });
        }
      } else if (type === PT_LOAD) {
        if (segments === MAX_SEGMENTS) {
          throw new FormatError(
            "UNSUPPORTED_FORMAT",
            { file: file.name, offset: at, field: "e_phnum" },
            `more than ${MAX_SEGMENTS} memory segments`,
          );
        }
        if (addLoad(file, entry, first + i, loads, warnings)) {
          segments++;
          if (entry.safe(24) === 0) physicalAtZero++;
          if (entry.u64(16) === 0n) virtualAtZero++;
        }
      }
    }
  }
  const allAtZero = segments > 0 && physicalAtZero === segments && virtualAtZero < segments;
  return { loads, count: segments, notes, allAtZero };
}

/** Notes where a segment's bytes are. @returns whether the segment says anything. */
function addLoad(
  file: DumpFile,
  entry: Fields,
  index: number,
  loads: Intervals,
  warnings: Warnings,
): boolean {
  const offset = entry.safe(8);
  const start = entry.safe(24);
  const stored = entry.safe(32);
  const size = entry.safe(40);
  const bad =
    start === undefined
      ? `p_paddr ${hex(entry.u64(24))}`
      : offset === undefined
        ? `p_offset ${hex(entry.u64(8))}`
        : stored === undefined
          ? `p_filesz ${hex(entry.u64(32))}`
          : size === undefined
            ? `p_memsz ${hex(entry.u64(40))}`
            : undefined;
  if (start === undefined || offset === undefined || stored === undefined || size === undefined) {
    warnings.add(`program header ${index}: ${bad} is beyond 2^53: the segment is ignored`);
    return false;
  }
  const end = start + Math.max(stored, size);
  if (end > Number.MAX_SAFE_INTEGER || offset + stored > Number.MAX_SAFE_INTEGER) {
    warnings.add(`program header ${index}: the segment at ${hex(start)} ends beyond 2^53: it is ignored`);
    return false;
  }
  if (size !== 0 && stored > size) {
    warnings.add(
      `program header ${index}: p_filesz ${hex(stored)} is more than p_memsz ${hex(size)}: read as stored`,
    );
  }
  const inFile = Math.max(0, Math.min(stored, file.size - offset));
  if (inFile > 0) loads.push(start, start + inFile, offset);
  if (inFile < stored) {
    loads.push(start + inFile, start + stored, AT_TRUNCATED);
    warnings.add(
      `the file ends at ${hex(file.size)}, inside the segment of program header ${index}: physical memory ` +
        `${hex(start + inFile)} to ${hex(start + stored)} is missing; copy the dump again`,
    );
  }
  if (size > stored) loads.push(start + stored, start + size, AT_LEFT_OUT);
  return end > start;
}
