/**
 * The header of Windows crash dumps, 32-bit (`DUMP_HEADER`, one page) and 64-bit (`DUMP_HEADER64`, two pages).
 *
 * Layout: `DUMP_HEADER32`/`DUMP_HEADER64` of the Windows SDK as others describe it: QEMU's win_dump_defs.h, Volatility 3's
 * crash.json and crash64.json, Comae's Bin2Dmp (dmp.h), kdmp-parser's kdmp-parser-structs.h. Windows fills the header with
 * "PAGE" before it writes fields, so a field of which all bytes still say that was never set.
 */
import { hex } from "../../io/index.js";
import type { Warnings } from "../errors.js";
import { type Fields, hasText } from "../fields.js";
import type { Architecture } from "../types.js";
import { exceptionDetails, readUpTime, readUtc } from "./windows-values.js";

/** Bytes of a page, whatever the machine. */
export const WINDOWS_PAGE = 4096;
/** Physical addresses end here (52 bits), in pages. */
export const MAX_PAGES = 2 ** 40;

/** Where the fields of one of the two headers are: `[offset, bytes]`. */
export interface HeaderLayout {
  /** Bytes of the header, and bits of the machine. */
  readonly size: number;
  readonly bits: 32 | 64;
  /** PHYSICAL_MEMORY_DESCRIPTOR, its first run, bytes of a field of a run, and how many runs there is room for. */
  readonly memoryBlock: number;
  readonly runs: number;
  readonly runField: number;
  readonly maxRuns: number;
  readonly context: number;
  readonly contextSize: number;
  readonly dumpType: number;
  readonly requiredDumpSpace: number;
  readonly machine: number;
  /** Fields that are shown as they are, in the order of the header: numbers in decimal, addresses in hexadecimal. */
  readonly numbers: Readonly<Record<string, readonly [offset: number, bytes: number]>>;
  readonly addresses: Readonly<Record<string, readonly [offset: number, bytes: number]>>;
  readonly exception: number;
  readonly comment: number;
  readonly systemTime: number;
  readonly systemUpTime: number;
}

const HEADER32: HeaderLayout = {
  size: 0x1000,
  bits: 32,
  memoryBlock: 0x64,
  runs: 0x6c,
  runField: 4,
  maxRuns: 86,
  context: 0x320,
  contextSize: 1200,
  dumpType: 0xf88,
  requiredDumpSpace: 0xfa0,
  machine: 0x20,
  numbers: {
    MajorVersion: [0x8, 4],
    MinorVersion: [0xc, 4],
    NumberProcessors: [0x24, 4],
    PaeEnabled: [0x5c, 1],
    ProductType: [0xf94, 4],
  },
  addresses: {
    DirectoryTableBase: [0x10, 4],
    PfnDataBase: [0x14, 4],
    PsLoadedModuleList: [0x18, 4],
    PsActiveProcessHead: [0x1c, 4],
    KdDebuggerDataBlock: [0x60, 4],
    BugCheckCode: [0x28, 4],
    BugCheckParameter1: [0x2c, 4],
    BugCheckParameter2: [0x30, 4],
    BugCheckParameter3: [0x34, 4],
    BugCheckParameter4: [0x38, 4],
    SuiteMask: [0xf98, 4],
    WriterStatus: [0xf9c, 4],
  },
  exception: 0x7d0,
  comment: 0x820,
  systemTime: 0xfc0,
  systemUpTime: 0xfb8,
};

const HEADER64: HeaderLayout = {
  size: 0x2000,
  bits: 64,
  memoryBlock: 0x88,
  runs: 0x98,
  runField: 8,
  maxRuns: 43,
  context: 0x348,
  contextSize: 3000,
  dumpType: 0xf98,
  requiredDumpSpace: 0xfa0,
  machine: 0x30,
  numbers: {
    MajorVersion: [0x8, 4],
    MinorVersion: [0xc, 4],
    NumberProcessors: [0x34, 4],
    ProductType: [0x1040, 4],
  },
  addresses: {
    DirectoryTableBase: [0x10, 8],
    PfnDataBase: [0x18, 8],
    PsLoadedModuleList: [0x20, 8],
    PsActiveProcessHead: [0x28, 8],
    KdDebuggerDataBlock: [0x80, 8],
    BugCheckCode: [0x38, 4],
    BugCheckParameter1: [0x40, 8],
    BugCheckParameter2: [0x48, 8],
    BugCheckParameter3: [0x50, 8],
    BugCheckParameter4: [0x58, 8],
    SuiteMask: [0x1044, 4],
    WriterStatus: [0x1048, 4],
  },
  exception: 0xf00,
  comment: 0xfb0,
  systemTime: 0xfa8,
  systemUpTime: 0x1030,
};

/** MachineImageType: IMAGE_FILE_MACHINE_… of the PE format's specification. */
const MACHINES: Readonly<Record<number, Architecture>> = {
  332: "i386",
  34404: "x86_64",
  43620: "aarch64",
};

/** The header's layout by the file's first bytes; `undefined` if they are not a crash dump's. */
export function windowsLayout(head: Uint8Array): HeaderLayout | undefined {
  return hasText(head, "PAGEDU64") ? HEADER64 : hasText(head, "PAGEDUMP") ? HEADER32 : undefined;
}

/** Whether a field still has the "PAGE" that Windows fills the header with. */
export function isUnset(header: Fields, offset: number, length: number): boolean {
  for (let i = 0; i < length; i++) {
    if (header.bytes[offset + i] !== "PAGE".charCodeAt((offset + i) % 4)) return false;
  }
  return true;
}

/** A field of 4 or 8 bytes. @returns `undefined` if it was never set, or is 2^53 or more. */
function readField(header: Fields, offset: number, bytes: number): number | undefined {
  if (isUnset(header, offset, bytes)) return undefined;
  return bytes === 8 ? header.safe(offset) : header.u32(offset);
}

/** DumpType; `undefined` if it was never set. */
export function readDumpType(header: Fields, layout: HeaderLayout): number | undefined {
  return readField(header, layout.dumpType, 4);
}

/** RequiredDumpSpace: how long the file was to be, in bytes; `undefined` if it was never set. */
export function readRequiredSpace(header: Fields, layout: HeaderLayout): number | undefined {
  return readField(header, layout.requiredDumpSpace, 8);
}

/** The machine's architecture; `undefined` for one that memtool has no name for. */
export function readArchitecture(header: Fields, layout: HeaderLayout): Architecture | undefined {
  return MACHINES[header.u32(layout.machine)];
}

/** A range of physical pages, as PHYSICAL_MEMORY_RUN. */
export interface PageRun {
  readonly basePage: number;
  readonly pageCount: number;
}

/** The header's PHYSICAL_MEMORY_DESCRIPTOR. */
export interface MemoryDescriptor {
  /** Runs that can be used, in the order of the header; empty ones are left out. */
  readonly runs: readonly PageRun[];
  /** Whether these are all runs that the header speaks of, and have as many pages together as it says. */
  readonly whole: boolean;
}

/**
 * The descriptor of physical memory, of which nothing is believed that the header has no room for.
 *
 * @returns `undefined` if it was never set: dumps with a bitmap need none.
 */
export function readMemoryDescriptor(
  header: Fields,
  layout: HeaderLayout,
  warnings: Warnings,
): MemoryDescriptor | undefined {
  const { memoryBlock, runField, maxRuns } = layout;
  if (isUnset(header, memoryBlock, 4)) return undefined;
  const claimed = header.u32(memoryBlock);
  const pages = readField(header, memoryBlock + runField, runField);
  const count = Math.min(claimed, maxRuns);
  let whole = claimed <= maxRuns;
  if (!whole) {
    warnings.add(
      `NumberOfRuns is ${claimed}, and the header has room for ${maxRuns} runs: memory of the others can't be found`,
    );
  }
  const runs: PageRun[] = [];
  let sum = 0;
  for (let i = 0; i < count; i++) {
    const at = layout.runs + i * 2 * runField;
    const basePage = readField(header, at, runField);
    const pageCount = readField(header, at + runField, runField);
    if (basePage === undefined || pageCount === undefined || basePage + pageCount > MAX_PAGES) {
      const bounds = [at, at + runField].map((offset) =>
        hex(runField === 8 ? header.u64(offset) : header.u32(offset)),
      );
      warnings.add(
        `run ${i} (BasePage ${bounds[0]}, PageCount ${bounds[1]}) is no physical memory: it and those behind it are ` +
          "ignored, since nobody knows where their pages are",
      );
      whole = false;
      break;
    }
    sum += pageCount;
    if (pageCount > 0) runs.push({ basePage, pageCount });
  }
  if (whole && sum !== pages) {
    warnings.add(
      `NumberOfPages is ${pages ?? "not set"}, and the runs have ${sum} pages together: one of the two is wrong`,
    );
    whole = false;
  }
  return { runs, whole };
}

/** The header's fields for `info`: names as Microsoft's, addresses and codes in hexadecimal, times as ISO 8601. */
export function headerDetails(
  header: Fields,
  layout: HeaderLayout,
): Record<string, string | number | boolean> {
  const details: Record<string, string | number | boolean> = {};
  for (const [name, [offset, bytes]] of Object.entries(layout.numbers)) {
    if (!isUnset(header, offset, bytes)) {
      details[name] = bytes === 1 ? header.u8(offset) : header.u32(offset);
    }
  }
  details.MachineImageType = hex(header.u32(layout.machine));
  for (const [name, [offset, bytes]] of Object.entries(layout.addresses)) {
    if (!isUnset(header, offset, bytes)) {
      details[name] = hex(bytes === 8 ? header.u64(offset) : header.u32(offset));
    }
  }
  if (!isUnset(header, layout.exception, 4)) {
    Object.assign(details, exceptionDetails(header, layout.exception, layout.bits));
  }
  const time = isUnset(header, layout.systemTime, 8) ? undefined : readUtc(header.u64(layout.systemTime));
  if (time !== undefined) details.SystemTime = time;
  const up = isUnset(header, layout.systemUpTime, 8)
    ? undefined
    : readUpTime(header.u64(layout.systemUpTime));
  if (up !== undefined) details.SystemUpTime = up;
  const comment = header.text(layout.comment, 128);
  if (comment !== "" && !isUnset(header, layout.comment, 4)) details.Comment = comment;
  const space = readRequiredSpace(header, layout);
  if (space !== undefined) details.RequiredDumpSpace = space;
  return details;
}
