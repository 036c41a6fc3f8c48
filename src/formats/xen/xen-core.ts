/**
 * Xen's cores of guests (`xl dump-core`): ELF files without program headers, whose sections say which page is where.
 *
 * Layout: docs/misc/dump-core-format.txt and tools/libs/ctrl/xc_core.h of Xen. Physical addresses are the guest's own
 * (pseudo-physical ones in a paravirtualised guest). The order of the sections is free: up to Xen 3.1 the table of
 * frames lay before the pages, later behind them.
 */
import { hex, type Routine } from "../../io/index.js";
import type { PhysicalMap } from "../../memory/physical-map.js";
import { hasOnlySections } from "../elf/elf-core.js";
import { type ElfHeader, readElfHeader } from "../elf/elf-header.js";
import { type ElfSection, readSections } from "../elf/elf-sections.js";
import { FormatError, Warnings } from "../errors.js";
import { Fields, latin1, readLeniently } from "../fields.js";
import { eachNote } from "../notes/note-list.js";
import { layIntervals, mapOfPieces, NO_MEMORY, PieceIo } from "../pieces.js";
import type { Architecture, CpuState, DumpFile, DumpImage, Format } from "../types.js";
import { readFrames } from "./xen-pages.js";
import { parseVcpu, VCPU_SIZES } from "./xen-vcpu.js";

/** `XEN_ELFNOTE_DUMPCORE_…` (xen/include/public/elfnote.h). */
const NOTE_HEADER = 0x2000001;
const NOTE_XEN_VERSION = 0x2000002;
const NOTE_FORMAT_VERSION = 0x2000003;
/** `XC_CORE_MAGIC` and `XC_CORE_MAGIC_HVM`. */
const MAGIC = 0xf00febed;
const MAGIC_HVM = 0xf00febee;

const SHT_NOTE = 7;
const DEFAULT_PAGE_SIZE = 4096;
const MAX_PAGE_SIZE = 2 ** 20;
const MAX_NOTES = 2 ** 20;
/** Xen's own limit is 512 (`HVM_MAX_VCPUS` is 128). */
const MAX_VCPUS = 4096;

/** Xen's cores. */
export const xenCore: Format = {
  name: "xen-core",
  detect: hasOnlySections,
  open: openXenCore,
};

export function* openXenCore(file: DumpFile): Routine<DumpImage> {
  const warnings = new Warnings();
  const header = yield* readElfHeader(file);
  const { layout, littleEndian } = header;
  const sections = findXenSections(yield* readSections(file, header, warnings));
  const { pages, p2m, pfn } = sections;
  const table = p2m ?? pfn;
  if (pages === undefined || table === undefined) {
    throw new FormatError(
      "MALFORMED_DUMP",
      { file: file.name, offset: layout.shoff, field: "e_shoff" },
      `no program headers, and no section ${pages === undefined ? ".xen_pages" : ".xen_p2m or .xen_pfn"}: so no memory`,
    );
  }
  const facts = yield* readFacts(file, header, sections.note, warnings);
  const pageSize = choosePageSize(facts.pageSize, pages, warnings);
  const entrySize = table === p2m ? 16 : 8;
  const frames = yield* readFrames(file, { table, entrySize, pages, pageSize, littleEndian }, warnings);
  if (frames.loads.length === 0) {
    throw new FormatError(
      "TRUNCATED_DUMP",
      { file: file.name, offset: table.offset, field: table.name || "table of frames" },
      `none of its pages has an address, so no memory${warnings.suffix}`,
    );
  }
  if (facts.pages !== undefined && facts.pages !== BigInt(frames.total)) {
    warnings.add(`xch_nr_pages is ${facts.pages}, and ${frames.total} pages were found`);
  }
  if (p2m !== undefined) {
    warnings.add(
      "a paravirtualised guest: its page tables hold frame numbers of the machine (MFN), not of the guest, so they " +
        "can't be walked as they are; CR3 likewise",
    );
  }
  const vcpus = yield* readVcpus(file, header, sections.prstatus, facts.vcpus, warnings);
  const pieces = layIntervals(frames.loads, "first");
  let map: PhysicalMap | undefined;
  const guest = p2m === undefined ? "auto-translated" : "paravirtualised";
  const architecture = vcpus.architecture ?? header.architecture;
  return {
    format: "xen-core",
    description: `Xen core dump, ${architecture ?? `machine ${header.machine}`}, ${guest} guest, ${frames.pages} pages`,
    io: new PieceIo(file, pieces, NO_MEMORY),
    get map() {
      map ??= mapOfPieces(pieces);
      return map;
    },
    notes: {
      cpus: vcpus.cpus,
      architecture,
      otherMachine: architecture === undefined ? header.otherMachine : undefined,
      pageSize,
      ...(littleEndian ? {} : { byteOrder: "big" }),
    },
    warnings: warnings.list(),
    details: {
      machine: header.machine,
      guest,
      ...(facts.magic === undefined ? {} : { magic: hex(facts.magic) }),
      ...(facts.xenVersion === undefined ? {} : { xenVersion: facts.xenVersion }),
      ...(facts.formatVersion === undefined ? {} : { formatVersion: facts.formatVersion }),
      ...(facts.vcpus === undefined ? {} : { vcpus: facts.vcpus }),
      pageSize,
      pages: frames.pages,
      unusedPages: frames.unused,
    },
  };
}

interface XenSections {
  readonly note: ElfSection | undefined;
  readonly prstatus: ElfSection | undefined;
  readonly pages: ElfSection | undefined;
  readonly p2m: ElfSection | undefined;
  readonly pfn: ElfSection | undefined;
}

/** By name; where the names are missing (they are the last of the file), by what libxc writes of their shape. */
function findXenSections(sections: readonly ElfSection[]): XenSections {
  const named = sections.some(({ name }) => name !== "");
  const find = (name: string, looksLike: (section: ElfSection) => boolean) =>
    sections.find((section) => (named ? section.name === name : looksLike(section)));
  return {
    note: find(".note.Xen", ({ type }) => type === SHT_NOTE),
    prstatus: find(".xen_prstatus", ({ entrySize }) => VCPU_SIZES.includes(entrySize)),
    // The shared info page has entries of a page too, and is not aligned to one.
    pages: find(".xen_pages", ({ entrySize, align }) => isPageSize(entrySize) && align === entrySize),
    p2m: find(".xen_p2m", ({ entrySize }) => entrySize === 16),
    pfn: find(".xen_pfn", ({ entrySize }) => entrySize === 8),
  };
}

interface XenFacts {
  magic?: number;
  vcpus?: number;
  pages?: bigint;
  pageSize?: number;
  xenVersion?: string;
  formatVersion?: string;
}

function* readFacts(
  file: DumpFile,
  { littleEndian }: ElfHeader,
  section: ElfSection | undefined,
  warnings: Warnings,
): Routine<XenFacts> {
  const facts: XenFacts = {};
  if (section === undefined) {
    warnings.add("no section .note.Xen: the page size is a guess");
    return facts;
  }
  const { bytes, missing } = yield* readLeniently(file, section.offset, Math.min(section.size, MAX_NOTES));
  if (missing > 0) warnings.add(`${missing} bytes of the notes (.note.Xen) are missing`);
  const list = new Fields(file.name, section.offset, bytes, littleEndian);
  const bad = eachNote(list, 4, (nameAt, nameSize, type, start, end) => {
    if (latin1(bytes, nameAt, Math.min(nameSize, 8)) !== "Xen") return;
    const note = new Fields(file.name, section.offset + start, bytes.subarray(start, end), littleEndian);
    if (type === NOTE_HEADER && end - start >= 32) {
      facts.magic = note.safe(0) ?? 0;
      facts.vcpus = note.safe(8) ?? 0;
      facts.pages = note.u64(16);
      facts.pageSize = note.safe(24) ?? 0;
      if (facts.magic !== MAGIC && facts.magic !== MAGIC_HVM) {
        warnings.add(
          `xch_magic is ${hex(facts.magic)}, neither ${hex(MAGIC)} (PV) nor ${hex(MAGIC_HVM)} (HVM)`,
        );
      }
    } else if (type === NOTE_XEN_VERSION && end - start >= 32) {
      facts.xenVersion = `${note.u64(0)}.${note.u64(8)}${note.text(16, 16)}`;
    } else if (type === NOTE_FORMAT_VERSION && end - start >= 8) {
      const major = note.u32(littleEndian ? 4 : 0);
      facts.formatVersion = `${major}.${note.u32(littleEndian ? 0 : 4)}`;
      if (major !== 0)
        warnings.add(`format version ${facts.formatVersion} is newer than memtool knows (0.1)`);
    }
  });
  if (bad !== undefined) {
    warnings.add(
      `the note at file offset ${hex(section.offset + bad)} reaches beyond the end of .note.Xen: it is ignored`,
    );
  }
  return facts;
}

function choosePageSize(claimed: number | undefined, pages: ElfSection, warnings: Warnings): number {
  if (claimed !== undefined && isPageSize(claimed)) return claimed;
  const size = isPageSize(pages.entrySize) ? pages.entrySize : DEFAULT_PAGE_SIZE;
  if (claimed !== undefined) warnings.add(`xch_page_size is ${claimed}: pages of ${size} bytes are assumed`);
  return size;
}

function isPageSize(size: number): boolean {
  return size >= 4096 && size <= MAX_PAGE_SIZE && (size & (size - 1)) === 0;
}

function* readVcpus(
  file: DumpFile,
  { littleEndian, architecture }: ElfHeader,
  section: ElfSection | undefined,
  claimed: number | undefined,
  warnings: Warnings,
): Routine<{ readonly cpus: CpuState[]; readonly architecture?: Architecture }> {
  const isX86 = architecture === "x86_64" || architecture === "i386";
  if (section === undefined || section.size === 0 || !isX86) return { cpus: [] };
  const each = VCPU_SIZES.includes(section.entrySize)
    ? section.entrySize
    : VCPU_SIZES.find((size) => section.size === size * (claimed ?? 0));
  if (each === undefined) {
    warnings.add(
      `.xen_prstatus has entries of ${section.entrySize} bytes, a layout that memtool does not know: no registers`,
    );
    return { cpus: [] };
  }
  const count = Math.floor(section.size / each);
  if (count > MAX_VCPUS) warnings.add(`${count} CPUs: the registers of the first ${MAX_VCPUS} are shown`);
  const wanted = Math.min(count, MAX_VCPUS) * each;
  const { bytes, missing } = yield* readLeniently(file, section.offset, wanted);
  if (missing > 0) warnings.add(`${missing} bytes of .xen_prstatus are missing`);
  const cpus: CpuState[] = [];
  let bits: 32 | 64 | undefined;
  for (let at = 0; at + each <= bytes.length; at += each) {
    const context = new Fields(file.name, section.offset + at, bytes.subarray(at, at + each), littleEndian);
    const cpu = parseVcpu(context);
    bits ??= cpu?.bits;
    cpus.push({ registers: cpu?.registers ?? {} });
  }
  if (bits === undefined) return { cpus };
  return { cpus, architecture: bits === 64 ? "x86_64" : "i386" };
}
