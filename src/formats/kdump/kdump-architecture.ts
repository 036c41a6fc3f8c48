/**
 * Which architecture a kdump file is of: as its header names it, or, where QEMU wrote "Unknown" there, as the size of
 * its registers tells (it has a name of its own only for x86 and S390X: the targets' `ELF_MACHINE_UNAME`).
 *
 * Sizes of `struct elf_prstatus`: linux/elfcore.h with each architecture's `elf_gregset_t` (asm/elf.h); those of arm,
 * aarch64, ppc64, s390x and i386 also in QEMU's target arch_dump.c.
 */
import { Fields, hasText } from "../fields.js";
import type { Architecture } from "../types.js";
import type { KdumpHeader } from "./kdump-header.js";

const NT_PRSTATUS = 1;
const NOTE_HEADER = 12;

const NAMES: readonly (readonly [pattern: RegExp, architecture: Architecture])[] = [
  [/^x86_64$/i, "x86_64"],
  [/^i[3-6]86$/i, "i386"],
  [/^(aarch64|arm64)/i, "aarch64"],
  [/^arm/i, "arm"],
  [/^ppc64/i, "ppc64"],
  [/^s390x$/i, "s390x"],
  [/^riscv64$/i, "riscv64"],
];

/** Bytes of NT_PRSTATUS, by size of a `long` and byte order. */
const SIZES: readonly {
  readonly long: 4 | 8;
  readonly littleEndian: boolean;
  readonly size: number;
  readonly architecture: Architecture;
}[] = [
  { long: 8, littleEndian: true, size: 336, architecture: "x86_64" },
  { long: 8, littleEndian: true, size: 376, architecture: "riscv64" },
  { long: 8, littleEndian: true, size: 392, architecture: "aarch64" },
  { long: 8, littleEndian: true, size: 504, architecture: "ppc64" },
  { long: 8, littleEndian: false, size: 336, architecture: "s390x" },
  { long: 8, littleEndian: false, size: 504, architecture: "ppc64" },
  { long: 4, littleEndian: true, size: 144, architecture: "i386" },
  { long: 4, littleEndian: true, size: 148, architecture: "arm" },
];

/** The architecture of a dump. @param notes Its ELF notes. @returns `undefined` if nothing tells, or no name is known. */
export function architectureOf(header: KdumpHeader, notes: Uint8Array): Architecture | undefined {
  for (const [pattern, architecture] of NAMES) if (pattern.test(header.machine)) return architecture;
  if (isNamed(header)) return undefined;
  const { littleEndian } = header;
  const size = prstatusSize(notes, littleEndian);
  return SIZES.find(
    (row) => row.long === header.abi.long && row.littleEndian === littleEndian && row.size === size,
  )?.architecture;
}

/** What a header calls a machine that is none of those; `undefined` where it names none. */
export function otherMachineOf(header: KdumpHeader): string | undefined {
  const isOther = isNamed(header) && !NAMES.some(([pattern]) => pattern.test(header.machine));
  return isOther ? header.machine : undefined;
}

function isNamed({ machine }: KdumpHeader): boolean {
  return machine !== "" && machine !== "Unknown";
}

/** Bytes of the first note, if that is the registers of a CPU; else 0. */
function prstatusSize(notes: Uint8Array, littleEndian: boolean): number {
  if (notes.length < NOTE_HEADER + 8) return 0;
  const fields = new Fields("", 0, notes, littleEndian);
  return fields.u32(8) === NT_PRSTATUS && hasText(notes, "CORE\0", NOTE_HEADER) ? fields.u32(4) : 0;
}
