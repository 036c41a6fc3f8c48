/**
 * The ELF header of a core file: of 32 and 64 bits, in either byte order.
 *
 * Layout: System V ABI, chapters "ELF Header", "Sections" and "Program Header"; PN_XNUM and what else section header 0
 * holds as in elf(5). Machines: linux/elf-em.h.
 */
import { hex, type Routine } from "../../io/index.js";
import { FormatError } from "../errors.js";
import { Fields, hasText, readStructure } from "../fields.js";
import type { Architecture, DumpFile } from "../types.js";

/** Offsets of the fields that the two classes have at different places, and the sizes of their structures. */
export interface ElfLayout {
  /** Bytes of an address, offset or size. */
  readonly wordSize: 4 | 8;
  readonly headerSize: number;
  readonly phoff: number;
  readonly shoff: number;
  readonly phentsize: number;
  readonly phnum: number;
  readonly shentsize: number;
  readonly shnum: number;
  readonly shstrndx: number;
  /** `Elf32_Phdr`, `Elf64_Phdr`; `p_type` is at 0. */
  readonly program: {
    readonly size: number;
    readonly offset: number;
    readonly vaddr: number;
    readonly paddr: number;
    readonly filesz: number;
    readonly memsz: number;
    readonly align: number;
  };
  /** `Elf32_Shdr`, `Elf64_Shdr`; `sh_name` is at 0, `sh_type` at 4. */
  readonly section: {
    readonly size: number;
    readonly offset: number;
    readonly bytes: number;
    readonly link: number;
    readonly info: number;
    readonly addralign: number;
    readonly entsize: number;
  };
}

const ELF32: ElfLayout = {
  wordSize: 4,
  headerSize: 52,
  phoff: 28,
  shoff: 32,
  phentsize: 42,
  phnum: 44,
  shentsize: 46,
  shnum: 48,
  shstrndx: 50,
  program: { size: 32, offset: 4, vaddr: 8, paddr: 12, filesz: 16, memsz: 20, align: 28 },
  section: { size: 40, offset: 16, bytes: 20, link: 24, info: 28, addralign: 32, entsize: 36 },
};

const ELF64: ElfLayout = {
  wordSize: 8,
  headerSize: 64,
  phoff: 32,
  shoff: 40,
  phentsize: 54,
  phnum: 56,
  shentsize: 58,
  shnum: 60,
  shstrndx: 62,
  program: { size: 56, offset: 8, vaddr: 16, paddr: 24, filesz: 32, memsz: 40, align: 48 },
  section: { size: 64, offset: 24, bytes: 32, link: 40, info: 44, addralign: 48, entsize: 56 },
};

const ET_CORE = 4;
const TYPES: Readonly<Record<number, string>> = {
  1: "an object file",
  2: "a program",
  3: "a shared library",
};

/** `e_machine`, and the class that the architecture needs where it has more than one (an i386 dump may be of either). */
const MACHINES: Readonly<Record<number, { readonly name: Architecture; readonly wordSize?: 4 | 8 }>> = {
  3: { name: "i386" },
  21: { name: "ppc64" },
  22: { name: "s390x", wordSize: 8 },
  40: { name: "arm" },
  62: { name: "x86_64" },
  183: { name: "aarch64" },
  243: { name: "riscv64", wordSize: 8 },
};

/** A checked ELF header. */
export interface ElfHeader {
  readonly fields: Fields;
  readonly layout: ElfLayout;
  readonly littleEndian: boolean;
  /** `e_machine`. */
  readonly machine: number;
  /** `undefined` for a machine that memtool does not know. */
  readonly architecture: Architecture | undefined;
  /** What that is called; `undefined` where none is named (EM_NONE). */
  readonly otherMachine: string | undefined;
}

/** The layout of an ELF file's class, by its first bytes; `undefined` if they are no ELF file's. */
export function elfLayoutOf(head: Uint8Array): ElfLayout | undefined {
  if (!hasText(head, "\x7fELF")) return undefined;
  return head[4] === 1 ? ELF32 : head[4] === 2 ? ELF64 : undefined;
}

/**
 * An address, offset or size in bytes: four or eight of them.
 *
 * @returns `undefined` if it is 2^53 or more.
 */
export function wordAt(fields: Fields, layout: ElfLayout, offset: number): number | undefined {
  return layout.wordSize === 4 ? fields.u32(offset) : fields.safe(offset);
}

/** The same as it stands there, unsigned, for messages. */
export function wideWordAt(fields: Fields, layout: ElfLayout, offset: number): bigint {
  return layout.wordSize === 4 ? BigInt(fields.u32(offset)) : fields.u64(offset);
}

/** Whether all bits of a word are set: -1, "none". */
export function isMinusOne(fields: Fields, layout: ElfLayout, offset: number): boolean {
  return (
    fields.u32(offset) === 0xffffffff && (layout.wordSize === 4 || fields.u32(offset + 4) === 0xffffffff)
  );
}

/** Reads and checks the header of a core file. @throws {FormatError} for what is no core file. */
export function* readElfHeader(file: DumpFile): Routine<ElfHeader> {
  const ident = new Fields(file.name, 0, yield* readStructure(file, 0, 16, "ELF header"));
  const kind = ident.u8(4);
  if (kind !== 1 && kind !== 2) {
    ident.malformed(4, "EI_CLASS", `${kind} is neither 1 (32-bit) nor 2 (64-bit)`);
  }
  const order = ident.u8(5);
  if (order !== 1 && order !== 2) {
    ident.malformed(5, "EI_DATA", `${order} is neither 1 (little-endian) nor 2 (big-endian)`);
  }
  const layout = kind === 1 ? ELF32 : ELF64;
  const littleEndian = order === 1;
  const bytes = yield* readStructure(file, 0, layout.headerSize, "ELF header");
  const fields = new Fields(file.name, 0, bytes, littleEndian);
  const type = fields.u16(16);
  if (type !== ET_CORE) {
    throw new FormatError(
      "UNSUPPORTED_FORMAT",
      { file: file.name, offset: 16, field: "e_type" },
      `this ELF file is ${TYPES[type] ?? `of type ${type}`}, not a core dump; give the dump itself`,
    );
  }
  const machine = fields.u16(18);
  const known = MACHINES[machine];
  const fits = known?.wordSize === undefined || known.wordSize === layout.wordSize;
  const architecture = fits ? known?.name : undefined;
  const bits = known === undefined ? "" : `, ${8 * layout.wordSize}-bit`;
  const otherMachine =
    architecture === undefined && machine !== 0 ? `ELF machine ${machine}${bits}` : undefined;
  return { fields, layout, littleEndian, machine, architecture, otherMachine };
}

/** An offset in the header. @throws {FormatError} `MALFORMED_DUMP` if it is 2^53 or more. */
export function headerWord({ fields, layout }: ElfHeader, offset: number, field: string): number {
  return layout.wordSize === 4 ? fields.u32(offset) : fields.size(offset, field);
}

/**
 * Section header 0, which holds the counts that are too large for the header.
 *
 * @param why For messages: what is looked for in it.
 */
export function* readSectionZero(file: DumpFile, header: ElfHeader, why: string): Routine<Fields> {
  const { fields, layout, littleEndian } = header;
  const at = headerWord(header, layout.shoff, "e_shoff");
  if (at < layout.headerSize) fields.malformed(layout.shoff, "e_shoff", `${hex(at)}, where ${why} should be`);
  const bytes = yield* readStructure(file, at, layout.section.size, `section header 0 (${why})`);
  return new Fields(file.name, at, bytes, littleEndian);
}
