/**
 * Windows crash dumps of physical memory ("PAGEDUMP" and "PAGEDU64"), by Windows itself, by debuggers, by QEMU
 * (`dump-guest-memory -w`) and by memory acquisition tools.
 *
 * Complete dumps have runs of pages one after the other behind the header (`windows-header.ts` has its layout); kernel and
 * active dumps a bitmap (`windows-bitmap.ts`), live ones a table of ranges (`windows-ranges.ts`). Types: DUMP_TYPES of the
 * Windows SDK as Microsoft documents them with KBUGCHECK_ADD_PAGES; 8 to 10 as in kdmp-parser.
 *
 * In a complete dump, what no run has is `outside`. In one with a bitmap, RAM is what the header's descriptor of physical
 * memory says, so that what was left out is `excluded`; where it says nothing, the file can't tell the two apart.
 */
import { hex, type Routine } from "../../io/index.js";
import type { PhysicalMap } from "../../memory/physical-map.js";
import { FormatError, Warnings } from "../errors.js";
import { Fields, readStructure } from "../fields.js";
import { AT_LEFT_OUT, Intervals, layIntervals } from "../pieces.js";
import type { DumpFile, DumpImage, DumpNotes, Format } from "../types.js";
import { BitmapIndex, BitmapIo, BitmapMap } from "./bitmap-dump.js";
import { readWindowsBitmap } from "./windows-bitmap.js";
import {
  type HeaderLayout,
  headerDetails,
  type MemoryDescriptor,
  readArchitecture,
  readDumpType,
  readMemoryDescriptor,
  readRequiredSpace,
  WINDOWS_PAGE,
  windowsLayout,
} from "./windows-header.js";
import { findWindowsRanges, readWindowsRanges } from "./windows-ranges.js";
import { RunPieces, type WindowsMemory } from "./windows-runs.js";
import { contextRegisters } from "./windows-values.js";

const DUMP_TYPES: Readonly<Record<number, string>> = {
  1: "full",
  2: "kernel",
  3: "header only",
  4: "triage",
  5: "full, bitmap",
  6: "kernel, bitmap",
  7: "automatic",
  8: "live kernel",
  9: "live kernel and user",
  10: "live complete",
};
const FULL = 1;
const HEADER_ONLY = 3;
const TRIAGE = 4;
const FIRST_LIVE = 8;

/** Windows crash dumps. */
export const windowsDump: Format = {
  name: "windows-dump",
  detect: (head) => windowsLayout(head) !== undefined,
  open: openWindowsDump,
};

export function* openWindowsDump(file: DumpFile): Routine<DumpImage> {
  const warnings = new Warnings();
  const magic = yield* readStructure(file, 0, 8, "Signature and ValidDump");
  const layout = windowsLayout(magic);
  if (layout === undefined) {
    throw new FormatError(
      "MALFORMED_DUMP",
      { file: file.name, offset: 0, field: "Signature" },
      'neither "PAGEDUMP" nor "PAGEDU64"; leave the format to detection',
    );
  }
  const what = `DUMP_HEADER${layout.bits}`;
  const header = new Fields(file.name, 0, yield* readStructure(file, 0, layout.size, what));
  const type = readReadableType(file, header, layout);
  const descriptor = readMemoryDescriptor(header, layout, warnings);
  const memory =
    type === FULL
      ? openRuns(file, layout, needDescriptor(header, layout, descriptor), warnings)
      : type >= FIRST_LIVE
        ? yield* openRanges(file, layout, type, warnings)
        : yield* openBitmap(file, layout, type, descriptor, warnings);
  checkSpace(file, header, layout, type, memory.dataEnd, warnings);
  const typeName = DUMP_TYPES[type] ?? `type ${type}`;
  const notes = readNotes(file, header, layout, warnings);
  return {
    format: "windows-dump",
    description: `Windows crash dump, ${layout.bits}-bit, ${typeName}, ${memory.pages} pages`,
    io: memory.io,
    get map() {
      return memory.map();
    },
    notes,
    warnings: warnings.list(),
    details: {
      DumpType: `${type} (${typeName})`,
      ...headerDetails(header, layout),
      ...memory.details,
    },
  };
}

/** DumpType. @throws {FormatError} for dumps without physical memory. */
function readReadableType(file: DumpFile, header: Fields, layout: HeaderLayout): number {
  const type = readDumpType(header, layout);
  const refuse = (problem: string): never => {
    throw new FormatError(
      "UNSUPPORTED_FORMAT",
      { file: file.name, offset: layout.dumpType, field: "DumpType" },
      problem,
    );
  };
  if (type === TRIAGE) {
    return refuse(
      "4, a small memory dump (minidump), which has stacks and lists by virtual address and no physical memory: read it " +
        "with WinDbg, or have Windows write a kernel or complete memory dump",
    );
  }
  if (type === HEADER_ONLY) return refuse("3, a header alone: the dump has no memory");
  if (type === undefined) return refuse("never set: Windows stopped before it wrote the dump");
  if (DUMP_TYPES[type] === undefined) return refuse(`${type}, a type of dump that memtool does not know`);
  if (type >= FIRST_LIVE && layout.bits === 32) {
    return refuse(`${type}, a live dump, in the header of a 32-bit machine: that is not known to exist`);
  }
  return type;
}

function needDescriptor(
  header: Fields,
  layout: HeaderLayout,
  descriptor: MemoryDescriptor | undefined,
): MemoryDescriptor {
  if (descriptor === undefined) {
    header.malformed(layout.memoryBlock, "PhysicalMemoryBlock", "never set, so no page can be found");
  }
  if (descriptor.runs.length === 0) {
    header.malformed(layout.memoryBlock, "NumberOfRuns", "no usable run, so no memory");
  }
  return descriptor;
}

function openRuns(
  file: DumpFile,
  layout: HeaderLayout,
  descriptor: MemoryDescriptor,
  warnings: Warnings,
): WindowsMemory {
  const runs = new RunPieces(file, layout.size);
  for (const { basePage, pageCount } of descriptor.runs) runs.add(basePage, pageCount);
  return runs.done("run", warnings);
}

function* openRanges(
  file: DumpFile,
  layout: HeaderLayout,
  type: number,
  warnings: Warnings,
): Routine<WindowsMemory> {
  const table = yield* findWindowsRanges(file, layout.size, type);
  const runs = new RunPieces(file, table.dataAt);
  yield* readWindowsRanges(file, table, (basePage, pageCount) => runs.add(basePage, pageCount), warnings);
  if (runs.pages === 0) {
    throw new FormatError(
      "MALFORMED_DUMP",
      { file: file.name, offset: layout.size, field: "page ranges" },
      `no usable range, so no memory${warnings.suffix}`,
    );
  }
  return runs.done("range", warnings);
}

function* openBitmap(
  file: DumpFile,
  layout: HeaderLayout,
  type: number,
  descriptor: MemoryDescriptor | undefined,
  warnings: Warnings,
): Routine<WindowsMemory> {
  const { stored, dataAt, signature } = yield* readWindowsBitmap(
    file,
    layout.size,
    layout.bits,
    type,
    warnings,
  );
  let ram: Intervals | undefined;
  if (descriptor?.whole && descriptor.runs.length > 0) {
    const runs = new Intervals();
    for (const { basePage, pageCount } of descriptor.runs) {
      runs.push(basePage * WINDOWS_PAGE, (basePage + pageCount) * WINDOWS_PAGE, AT_LEFT_OUT);
    }
    ram = layIntervals(runs, "first");
  }
  const index = new BitmapIndex(stored, dataAt, file.size, WINDOWS_PAGE, ram);
  if (index.lost > 0) {
    warnings.add(
      `the file ends at ${hex(file.size)}, before the last page: ${index.lost} of ${stored.count} pages are missing; copy ` +
        "the dump again",
    );
  }
  let map: PhysicalMap | undefined;
  return {
    io: new BitmapIo(file, index),
    map: () => {
      map ??= new BitmapMap(index);
      return map;
    },
    pages: stored.count,
    dataEnd: dataAt + stored.count * WINDOWS_PAGE,
    details: {
      pages: stored.count,
      bitmapSignature: signature,
      bitmapPages: stored.length,
      tellsOutsideFromExcluded: ram !== undefined,
    },
  };
}

/** Compares RequiredDumpSpace with what the index says. Dumps with a bitmap may reserve more than they use. */
function checkSpace(
  file: DumpFile,
  header: Fields,
  layout: HeaderLayout,
  type: number,
  dataEnd: number,
  warnings: Warnings,
): void {
  const space = readRequiredSpace(header, layout);
  if (space === undefined || space === 0) return;
  if (space < dataEnd) {
    warnings.add(
      `RequiredDumpSpace is ${hex(space)}, and the pages end at ${hex(dataEnd)}: one of the two is wrong`,
    );
  } else if (type === FULL && space > dataEnd && space > file.size && dataEnd <= file.size) {
    warnings.add(
      `RequiredDumpSpace is ${hex(space)}, and the file ends at ${hex(file.size)} behind the last run: the header may ` +
        "lack runs, or the file an end",
    );
  }
}

/** The CONTEXT record is of the processor that wrote the dump; which one that is, the header does not say. */
function readNotes(file: DumpFile, header: Fields, layout: HeaderLayout, warnings: Warnings): DumpNotes {
  const architecture = readArchitecture(header, layout);
  if (architecture === undefined) {
    warnings.add(
      `MachineImageType is ${hex(header.u32(layout.machine))}, which memtool does not know: registers are not shown`,
    );
  }
  const bytes = header.bytes.subarray(layout.context, layout.context + layout.contextSize);
  const registers = contextRegisters(new Fields(file.name, layout.context, bytes), architecture);
  return { cpus: registers === undefined ? [] : [{ registers }], architecture };
}
