/**
 * The header and the program headers of an ELF file, as bytes: of either class and byte order.
 *
 * (`src/formats/elf` has its own, for dumps: there offsets lead into a file, here they are addresses of a process too, and neither
 * layer may import the other.)
 *
 * Facts: System V ABI, chapters 4 and 5 (`Elf32_Ehdr`, `Elf64_Ehdr`, `Elf32_Phdr`, `Elf64_Phdr`); include/uapi/linux/elf.h and elf-em.h.
 */

/** `e_type`: a file for the linker, a program at a fixed address, a program or library for any, a core. */
export const ET_REL = 1;
export const ET_EXEC = 2;
export const ET_DYN = 3;
export const ET_CORE = 4;

export const PT_LOAD = 1;
export const PT_DYNAMIC = 2;
export const PT_INTERP = 3;
export const PT_NOTE = 4;
export const PT_PHDR = 6;

/** `p_flags`. */
export const PF_X = 1;
export const PF_W = 2;

/** Bytes of the longer header. */
export const HEADER_BYTES = 64;
/** Segments that are read of one file: linkers make a dozen; only cores, which no process loads, have thousands. */
export const MAX_SEGMENTS = 4096;

/** Fields of ELF structures, in one class and byte order. */
export class ElfWords {
  readonly #view: DataView;
  readonly littleEndian: boolean;
  readonly bits: 32 | 64;

  constructor(bytes: Uint8Array, { bits, littleEndian }: { bits: 32 | 64; littleEndian: boolean }) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.bits = bits;
    this.littleEndian = littleEndian;
  }

  u8(at: number): number {
    return this.#view.getUint8(at);
  }

  u16(at: number): number {
    return this.#view.getUint16(at, this.littleEndian);
  }

  u32(at: number): number {
    return this.#view.getUint32(at, this.littleEndian);
  }

  /** An address, or a size of the class: 4 or 8 bytes. */
  word(at: number): bigint {
    return this.bits === 64
      ? this.#view.getBigUint64(at, this.littleEndian)
      : BigInt(this.#view.getUint32(at, this.littleEndian));
  }
}

/** The header of an ELF file. */
export interface ElfHeader {
  readonly bits: 32 | 64;
  readonly littleEndian: boolean;
  /** `e_type`. */
  readonly type: number;
  /** `e_machine`. */
  readonly machine: number;
  /** Where it begins to run, as linked. */
  readonly entry: bigint;
  /** Offsets in the file of program headers and section headers; 0n for none. */
  readonly programHeaders: bigint;
  readonly sectionHeaders: bigint;
  readonly programHeaderBytes: number;
  readonly sectionHeaderBytes: number;
  readonly segmentCount: number;
  readonly sectionCount: number;
}

/** A program header. */
export interface ElfSegment {
  /** `PT_…`. */
  readonly type: number;
  /** `PF_…`. */
  readonly flags: number;
  /** Bytes from the beginning of the file. */
  readonly offset: bigint;
  /** As linked. */
  readonly address: bigint;
  readonly fileBytes: bigint;
  readonly memoryBytes: bigint;
}

/** Whether bytes begin as an ELF file does. */
export function isElfMagic(bytes: Uint8Array, at = 0): boolean {
  return bytes[at] === 0x7f && bytes[at + 1] === 0x45 && bytes[at + 2] === 0x4c && bytes[at + 3] === 0x46;
}

/** The header at the beginning of these bytes; `undefined` for what can't be one (also where there are less than 64). */
export function parseElfHeader(bytes: Uint8Array): ElfHeader | undefined {
  if (bytes.length < HEADER_BYTES || !isElfMagic(bytes)) return undefined;
  const [elfClass, data, version] = bytes.subarray(4, 7);
  if ((elfClass !== 1 && elfClass !== 2) || (data !== 1 && data !== 2) || version !== 1) return undefined;
  const bits = elfClass === 2 ? 64 : 32;
  const words = new ElfWords(bytes, { bits, littleEndian: data === 1 });
  const wide = bits === 64;
  // Behind the three addresses: flags, and six short numbers.
  const rest = wide ? 48 : 36;
  const header: ElfHeader = {
    bits,
    littleEndian: data === 1,
    type: words.u16(16),
    machine: words.u16(18),
    entry: words.word(24),
    programHeaders: words.word(wide ? 32 : 28),
    sectionHeaders: words.word(wide ? 40 : 32),
    programHeaderBytes: words.u16(rest + 6),
    segmentCount: words.u16(rest + 8),
    sectionHeaderBytes: words.u16(rest + 10),
    sectionCount: words.u16(rest + 12),
  };
  return words.u32(20) === 1 && words.u16(rest + 4) === (wide ? 64 : 52) && isPlausible(header)
    ? header
    : undefined;
}

/** Whether the numbers can be those of a file that was made by a linker. */
function isPlausible(header: ElfHeader): boolean {
  const { bits, type, segmentCount, programHeaderBytes, programHeaders } = header;
  if (type < ET_REL || type > ET_CORE) return false;
  if (segmentCount === 0) return type === ET_REL;
  return programHeaderBytes === (bits === 64 ? 56 : 32) && programHeaders >= (bits === 64 ? 64n : 52n);
}

/** The program headers that lie in these bytes, which begin with the first one. */
export function parseSegments(bytes: Uint8Array, header: ElfHeader): ElfSegment[] {
  const words = new ElfWords(bytes, header);
  const size = header.programHeaderBytes;
  const count = Math.min(header.segmentCount, Math.floor(bytes.length / Math.max(1, size)));
  return Array.from({ length: count }, (_, i) => {
    const at = i * size;
    return header.bits === 64
      ? {
          type: words.u32(at),
          flags: words.u32(at + 4),
          offset: words.word(at + 8),
          address: words.word(at + 16),
          fileBytes: words.word(at + 32),
          memoryBytes: words.word(at + 40),
        }
      : {
          type: words.u32(at),
          offset: words.word(at + 4),
          address: words.word(at + 8),
          fileBytes: words.word(at + 16),
          memoryBytes: words.word(at + 20),
          flags: words.u32(at + 24),
        };
  });
}

/** Names of `e_machine`, as our architectures are called where they are ours. */
const MACHINES: ReadonlyMap<number, string> = new Map([
  [2, "sparc"],
  [3, "i386"],
  [8, "mips"],
  [20, "ppc"],
  [21, "ppc64"],
  [22, "s390"],
  [40, "arm"],
  [43, "sparc64"],
  [62, "x86_64"],
  [183, "aarch64"],
  [243, "riscv"],
  [247, "bpf"],
  [258, "loongarch"],
]);

/** The name of a machine; `EM_99` for one that has none here. */
export function elfMachineName(machine: number): string {
  return MACHINES.get(machine) ?? `EM_${machine}`;
}
