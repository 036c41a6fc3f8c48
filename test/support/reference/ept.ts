/**
 * Intel's extended page tables. SDM vol. 3C, chapter "VMX Support for Address Translation" (28 or 29 by edition):
 * "The Extended Page Table Mechanism (EPT)", tables for each entry; "EPT Misconfigurations" for what is reserved.
 *
 * Reserved in every processor, so `malformed` in a present entry:
 * - bit 1 without bit 0 (write without read), at every level;
 * - bits 7:3 of an EPT PML5E or PML4E; bits 6:3 of a PDPTE or PDE that leads to a table;
 * - bits 29:12 of a 1 GiB page, bits 20:12 of a 2 MiB page;
 * - memory type (bits 5:3) 2, 3 or 7 of an entry that maps a page.
 * Not counted: execute without read (allowed if the processor says so), bits from MAXPHYADDR to 51.
 *
 * Mode-based execute control is taken as off: bit 10 is ignored, and bit 2 is execution in both modes. There is
 * neither a user bit (all is granted to user mode) nor a global one.
 */
import { bit, bits, field } from "./bits.js";
import { ABSENT, type Decoded, evenLevels, type Grants, MALFORMED, type ReferenceFormat } from "./format.js";

function decode(level: number, entry: bigint): Decoded {
  if (bits(entry, 2, 0) === 0n) return ABSENT;
  const read = bit(entry, 0);
  const write = bit(entry, 1);
  const execute = bit(entry, 2);
  if (write && !read) return MALFORMED;
  const grants: Grants = {
    readable: read,
    writable: write,
    user: true,
    userExecutable: execute,
    kernelExecutable: execute,
  };
  const large = bit(entry, 7);
  if (level >= 4 && bits(entry, 7, 3) !== 0n) return MALFORMED;
  if (level >= 4 || (level >= 2 && !large)) {
    if (bits(entry, 6, 3) !== 0n) return MALFORMED;
    return { is: "table", next: field(entry, 51, 12), grants, global: false };
  }
  const memoryType = Number(bits(entry, 5, 3));
  if ([2, 3, 7].includes(memoryType)) return MALFORMED;
  if (level === 3 && bits(entry, 29, 12) !== 0n) return MALFORMED;
  if (level === 2 && bits(entry, 20, 12) !== 0n) return MALFORMED;
  const shift = 12 + 9 * (level - 1);
  const attributes = { accessed: bit(entry, 8), dirty: bit(entry, 9) };
  return {
    is: "page",
    base: field(entry, 51, shift),
    size: 1n << BigInt(shift),
    grants,
    global: false,
    attributes,
  };
}

const FOUR = ["EPT PML4E", "EPT PDPTE", "EPT PDE", "EPT PTE"];

export const EPT4: ReferenceFormat = {
  name: "ept4",
  levels: evenLevels(12, 9, FOUR),
  entryBytes: 8,
  canonical: "zeros",
  decode,
};

export const EPT5: ReferenceFormat = {
  ...EPT4,
  name: "ept5",
  levels: evenLevels(12, 9, ["EPT PML5E", ...FOUR]),
};
