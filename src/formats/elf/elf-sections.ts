/**
 * The sections of an ELF file, by name.
 *
 * Layout: System V ABI, chapter "Sections". Where there are too many for the header, section header 0 has their number
 * (`sh_size`) and that of the names' section (`sh_link`).
 */
import { hex, type Routine } from "../../io/index.js";
import { FormatError, type Warnings } from "../errors.js";
import { Fields, latin1, readLeniently, readStructure } from "../fields.js";
import type { DumpFile } from "../types.js";
import { type ElfHeader, headerWord, readSectionZero, wordAt } from "./elf-header.js";

const SHN_XINDEX = 0xffff;
/** A Xen core has eight. */
const MAX_SECTIONS = 65_536;
/** Bytes of a section header; 40 and 64 are written. More would make the table larger than its sections justify. */
const MAX_ENTRY = 256;
/** Bytes of names that are read. */
const MAX_NAMES = 2 ** 20;
const MAX_NAME = 64;

/** A section. Offsets and sizes are in bytes. */
export interface ElfSection {
  /** Empty where the names could not be read. */
  readonly name: string;
  /** `sh_type`. */
  readonly type: number;
  readonly offset: number;
  readonly size: number;
  readonly align: number;
  readonly entrySize: number;
}

/**
 * Reads the section headers.
 *
 * @returns those that lie below 2^53, in their order, without section 0.
 * @throws {FormatError} if there is no table of them in the file.
 */
export function* readSections(file: DumpFile, header: ElfHeader, warnings: Warnings): Routine<ElfSection[]> {
  const { fields, layout, littleEndian } = header;
  const { section } = layout;
  const offset = headerWord(header, layout.shoff, "e_shoff");
  const entrySize = fields.u16(layout.shentsize);
  if (entrySize < section.size || entrySize > MAX_ENTRY) {
    fields.malformed(
      layout.shentsize,
      "e_shentsize",
      `${entrySize}: must be from ${section.size} to ${MAX_ENTRY}`,
    );
  }
  let count = fields.u16(layout.shnum);
  let namesIndex = fields.u16(layout.shstrndx);
  if (count === 0 || namesIndex === SHN_XINDEX) {
    const zero = yield* readSectionZero(file, header, "the number of sections");
    if (count === 0) count = wordAt(zero, layout, section.bytes) ?? MAX_SECTIONS + 1;
    if (namesIndex === SHN_XINDEX) namesIndex = zero.u32(section.link);
  }
  if (count === 0)
    fields.malformed(layout.shnum, "e_shnum", "no sections, and no program headers: so no memory");
  if (count > MAX_SECTIONS) {
    fields.malformed(layout.shnum, "e_shnum", `${count} sections: memtool reads up to ${MAX_SECTIONS}`);
  }
  const inFile = Math.max(0, Math.floor((file.size - offset) / entrySize));
  if (inFile === 0) {
    throw new FormatError(
      "TRUNCATED_DUMP",
      { file: file.name, offset: layout.shoff, field: "e_shoff" },
      `section headers at ${hex(offset)}, and the file ends at ${hex(file.size)}; copy the dump again`,
    );
  }
  if (count > inFile) {
    warnings.add(
      `e_shnum is ${count}, and the file has room for ${inFile} section headers: the file ends too early`,
    );
    count = inFile;
  }
  const bytes = yield* readStructure(file, offset, count * entrySize, "section headers");
  const table = new Fields(file.name, offset, bytes, littleEndian);
  const names = yield* readNames(
    file,
    header,
    table,
    namesIndex < count ? namesIndex * entrySize : undefined,
  );
  if (names.length === 0) {
    warnings.add(
      "the names of the sections are missing (e_shstrndx): sections are told by their shape; copy the dump again if " +
        `the file was cut (it ends at ${hex(file.size)})`,
    );
  }
  const sections: ElfSection[] = [];
  for (let i = 1; i < count; i++) {
    const at = i * entrySize;
    const start = wordAt(table, layout, at + section.offset);
    const size = wordAt(table, layout, at + section.bytes);
    const name = latin1(names, Math.min(table.u32(at), names.length), MAX_NAME);
    if (start === undefined || size === undefined || start + size > Number.MAX_SAFE_INTEGER) {
      warnings.add(`section ${i} ${name}: its place in the file ends beyond 2^53: it is ignored`);
      continue;
    }
    sections.push({
      name,
      type: table.u32(at + 4),
      offset: start,
      size,
      align: wordAt(table, layout, at + section.addralign) ?? 0,
      entrySize: wordAt(table, layout, at + section.entsize) ?? 0,
    });
  }
  return sections;
}

/** The section of names; empty if it is not all there. */
function* readNames(
  file: DumpFile,
  { layout }: ElfHeader,
  table: Fields,
  at: number | undefined,
): Routine<Uint8Array> {
  const none = new Uint8Array(0);
  if (at === undefined) return none;
  const offset = wordAt(table, layout, at + layout.section.offset);
  const size = wordAt(table, layout, at + layout.section.bytes);
  if (offset === undefined || size === undefined) return none;
  const { bytes, missing } = yield* readLeniently(file, offset, Math.min(size, MAX_NAMES));
  return missing > 0 ? none : bytes;
}
