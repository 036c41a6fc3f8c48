/**
 * ELF core dumps of physical memory: QEMU's `dump-guest-memory`, /proc/vmcore, `makedumpfile -E`, VirtualBox's
 * `debugvm dumpvmcore`. Of 32 and 64 bits, in either byte order.
 *
 * Where segments overlap, the first one that has bytes wins. What a segment has in memory but not in the file
 * (`p_memsz` beyond `p_filesz`), and what lies beyond the end of a truncated file, is `excluded`: it was RAM. Two
 * writers mean something else by it:
 * - QEMU's paging variant has a segment for each mapping of the guest, cut where a block of RAM ends (QEMU,
 *   dump/dump.c, `get_offset_range`): what follows may be another block, or no RAM. Mappings of no RAM at all have
 *   `p_offset` -1.
 * - VirtualBox writes device memory as segments without bytes (VirtualBox, DBGFCoreWrite.cpp): that is no RAM.
 */
import { hex, type Routine } from "../../io/index.js";
import type { PhysicalMap } from "../../memory/physical-map.js";
import { FormatError, Warnings } from "../errors.js";
import { hasText, readLeniently } from "../fields.js";
import { NoteCollector } from "../notes/notes.js";
import {
  AT_LEFT_OUT,
  AT_OR_OUTSIDE,
  type Intervals,
  layIntervals,
  mapOfPieces,
  NO_MEMORY,
  PieceIo,
} from "../pieces.js";
import type { DumpFile, DumpImage, Format } from "../types.js";
import { elfLayoutOf, readElfHeader } from "./elf-header.js";
import { findProgramHeaders, readSegments, type Segments } from "./elf-segments.js";

/** All notes together; those of 10,000 CPUs are a tenth of this. */
const MAX_NOTES = 64 * 2 ** 20;

/** ELF core dumps. */
export const elfCore: Format = {
  name: "elf-core",
  detect: (head) => hasText(head, "\x7fELF") && !hasOnlySections(head),
  open: openElfCore,
};

export function* openElfCore(file: DumpFile): Routine<DumpImage> {
  const warnings = new Warnings();
  const header = yield* readElfHeader(file);
  const { layout, littleEndian, machine, architecture, otherMachine } = header;
  if (architecture === undefined) {
    warnings.add(
      `e_machine is ${machine}, which memtool does not know: registers in its notes are not shown`,
    );
  }
  const table = yield* findProgramHeaders(file, header, warnings);
  const notes = new NoteCollector(file.name, architecture, warnings, littleEndian);
  const segments = yield* readSegments(file, header, table, warnings);
  yield* readNotes(file, segments, notes, warnings);
  const { loads } = segments;
  if (notes.writer === "virtualbox") dropLeftOut(loads);
  if (loads.length === 0) {
    throw new FormatError(
      "MALFORMED_DUMP",
      { file: file.name, offset: layout.phnum, field: "e_phnum" },
      `no usable PT_LOAD segment, so no memory${warnings.suffix}`,
    );
  }
  const pieces = layIntervals(loads, "first");
  // makedumpfile keeps QEMU's notes, too; only mappings of a guest lie over each other.
  const mappings = notes.writer === "qemu" && segments.virtual > 0 && bytesOf(loads) > bytesOf(pieces);
  if (mappings) relabel(pieces, AT_LEFT_OUT, AT_OR_OUTSIDE);
  warnOfVirtual(segments, mappings, notes.process, warnings);
  let map: PhysicalMap | undefined;
  const kind = `${layout.wordSize === 4 ? "32-bit " : ""}${littleEndian ? "" : "big-endian "}`;
  return {
    format: "elf-core",
    description: `${kind}ELF core dump, ${architecture ?? `machine ${machine}`}, ${segments.count} memory segments`,
    io: new PieceIo(file, pieces, NO_MEMORY),
    get map() {
      map ??= mapOfPieces(pieces);
      return map;
    },
    notes: {
      ...notes.notes(),
      otherMachine,
      pointerSize: architecture === undefined ? layout.wordSize : undefined,
    },
    warnings: warnings.list(),
    details: {
      machine,
      segments: segments.count,
      ...(segments.notMemory > 0 ? { segmentsOfNoMemory: segments.notMemory } : {}),
      programHeaders: table.count,
      programHeaderOffset: table.offset,
      ...notes.details,
    },
  };
}

/** Whether a file is an ELF core without program headers and with sections, as Xen's are. */
export function hasOnlySections(head: Uint8Array): boolean {
  const layout = elfLayoutOf(head);
  if (layout === undefined || head.length < layout.headerSize) return false;
  const isZero = (at: number, length: number) => head.subarray(at, at + length).every((byte) => byte === 0);
  return isZero(layout.phnum, 2) && !isZero(layout.shoff, layout.wordSize);
}

function* readNotes(
  file: DumpFile,
  segments: Segments,
  notes: NoteCollector,
  warnings: Warnings,
): Routine<void> {
  let room = MAX_NOTES;
  for (const { offset, size, align } of segments.notes) {
    if (size > room) warnings.add(`notes of more than ${MAX_NOTES} bytes: what is beyond is not read`);
    if (room === 0) break;
    const wanted = Math.min(size, room);
    room -= wanted;
    const { bytes, missing } = yield* readLeniently(file, offset, wanted);
    if (missing > 0) warnings.add(`${missing} bytes of the notes at file offset ${hex(offset)} are missing`);
    notes.add(bytes, offset, align);
  }
}

function warnOfVirtual(
  segments: Segments,
  mappings: boolean,
  process: string | undefined,
  warnings: Warnings,
): void {
  if (segments.allAtZero) {
    const core = process === undefined ? "a process's core" : `the core of process "${process}"`;
    warnings.add(
      `every p_paddr is 0 while p_vaddr is not: this looks like a dump by virtual address (${core}, or one made ` +
        "with paging), of which only the first segment can be read by physical address",
    );
  } else if (mappings) {
    warnings.add(
      "this dump was made with paging: RAM that no CPU had mapped is in no segment, and shows as outside; " +
        "dump-guest-memory without paging (-p) writes all of it",
    );
  }
}

function bytesOf({ starts, ends, length }: Intervals): number {
  let bytes = 0;
  for (let i = 0; i < length; i++) bytes += (ends[i] as number) - (starts[i] as number);
  return bytes;
}

/** Gives intervals without bytes another reason. */
function relabel(loads: Intervals, from: number, to: number): void {
  for (let i = 0; i < loads.length; i++) {
    if (loads.targets[i] === from) loads.targets[i] = to;
  }
}

/** Removes intervals that have no bytes. */
function dropLeftOut(loads: Intervals): void {
  let kept = 0;
  for (let i = 0; i < loads.length; i++) {
    if (loads.targets[i] === AT_LEFT_OUT) continue;
    loads.starts[kept] = loads.starts[i] as number;
    loads.ends[kept] = loads.ends[i] as number;
    loads.targets[kept] = loads.targets[i] as number;
    kept++;
  }
  loads.length = kept;
}
