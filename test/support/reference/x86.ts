/**
 * x86's formats. Intel SDM vol. 3A, chapter 4 "Paging" (tables 4-4 to 4-6 for two levels, 4-8 to 4-11 for PAE, 4-14
 * to 4-20 for four and five levels; 4.6.1 for rights), AMD APM vol. 2, chapter 5 "Page Translation and Protection"
 * and 15.25 "Nested Paging".
 *
 * Reserved in every processor of the format, so `malformed` in a present entry:
 * - two levels, 4 MiB page: bit 21 (table 4-4: PSE-36 gives bits 20:13 to the address, at most);
 * - PAE: bits 2:1, 8:6 and 63:52 of a PDPTE (table 4-8; AMD APM figure 5-10: MBZ); bits 62:52 of a PDE or PTE (tables 4-9 to 4-11);
 *   bits 20:13 of a 2 MiB page (table 4-9);
 * - four and five levels: bit 7 of a PML5E or PML4E (tables 4-14, 4-15); bits 29:13 of a 1 GiB page (table 4-16);
 *   bits 20:13 of a 2 MiB page (table 4-18).
 * Not counted: bits from MAXPHYADDR to 51 (address bits here, and encryption bits on some), bit 63 without EFER.NXE,
 * bit 8 of a PML4E (MBZ for AMD, ignored by Intel), bit 5 of a PDPTE (reserved in the manuals, but QEMU's processor
 * notes there that the entry was used).
 *
 * Features taken as on: CR4.PSE with PSE-36, EFER.NXE, 1 GiB pages. Rights are what the tables grant: supervisor mode
 * may execute what user mode may (no SMEP), read-only is read-only (CR0.WP).
 */
import { bit, bits, field } from "./bits.js";
import {
  ABSENT,
  type Attributes,
  type Decoded,
  evenLevels,
  GRANTS_ALL,
  type Grants,
  MALFORMED,
  type ReferenceFormat,
} from "./format.js";

/**
 * 4.6.1: writes need R/W = 1 in every entry, user mode needs U/S = 1 in every entry, fetches need XD = 0 in every
 * entry. What can be translated can be read.
 */
function grants(entry: bigint, executeDisable: boolean): Grants {
  return {
    readable: true,
    writable: bit(entry, 1),
    user: bit(entry, 2),
    userExecutable: !executeDisable,
    kernelExecutable: !executeDisable,
  };
}

function page(entry: bigint, base: bigint, size: bigint, rights: Grants, attributes: Attributes): Decoded {
  const accessed = bit(entry, 5);
  const dirty = bit(entry, 6);
  const global = bit(entry, 8);
  return {
    is: "page",
    base,
    size,
    grants: rights,
    global,
    attributes: { accessed, dirty, ...attributes },
  };
}

/** 4.3 "32-Bit Paging". */
export const X86_32: ReferenceFormat = {
  name: "x86-32",
  levels: evenLevels(12, 10, ["PDE", "PTE"]),
  entryBytes: 4,
  canonical: "zeros",
  decode(level, entry) {
    if (!bit(entry, 0)) return ABSENT;
    const rights = grants(entry, false);
    if (level === 1) return page(entry, field(entry, 31, 12), 1n << 12n, rights, {});
    if (!bit(entry, 7)) return { is: "table", next: field(entry, 31, 12), grants: rights, global: false };
    if (bit(entry, 21)) return MALFORMED;
    // PSE-36: bits 20:13 are bits 39:32 of the address.
    const base = (bits(entry, 20, 13) << 32n) | field(entry, 31, 22);
    return page(entry, base, 1n << 22n, rights, {});
  },
};

/** 4.4 "PAE Paging". The root is the 32 bytes of four PDPTEs, which carry no rights. */
export const X86_PAE: ReferenceFormat = {
  name: "x86-pae",
  levels: [
    { level: 3, high: 31, low: 30, name: "PDPTE" },
    { level: 2, high: 29, low: 21, name: "PDE" },
    { level: 1, high: 20, low: 12, name: "PTE" },
  ],
  entryBytes: 8,
  canonical: "zeros",
  decode(level, entry) {
    if (!bit(entry, 0)) return ABSENT;
    if (level === 3) {
      if (bits(entry, 2, 1) !== 0n || bits(entry, 8, 6) !== 0n || bits(entry, 63, 52) !== 0n)
        return MALFORMED;
      return { is: "table", next: field(entry, 51, 12), grants: GRANTS_ALL, global: false };
    }
    if (bits(entry, 62, 52) !== 0n) return MALFORMED;
    const rights = grants(entry, bit(entry, 63));
    if (level === 1) return page(entry, field(entry, 51, 12), 1n << 12n, rights, {});
    if (!bit(entry, 7)) return { is: "table", next: field(entry, 51, 12), grants: rights, global: false };
    if (bits(entry, 20, 13) !== 0n) return MALFORMED;
    return page(entry, field(entry, 51, 21), 1n << 21n, rights, {});
  },
};

/** 4.5 "4-Level Paging and 5-Level Paging". */
function decodeLong(level: number, entry: bigint): Decoded {
  if (!bit(entry, 0)) return ABSENT;
  const rights = grants(entry, bit(entry, 63));
  const protectionKey = Number(bits(entry, 62, 59));
  if (level === 1) return page(entry, field(entry, 51, 12), 1n << 12n, rights, { protectionKey });
  const large = bit(entry, 7);
  if (level >= 4 && large) return MALFORMED;
  if (level === 3 && large) {
    if (bits(entry, 29, 13) !== 0n) return MALFORMED;
    return page(entry, field(entry, 51, 30), 1n << 30n, rights, { protectionKey });
  }
  if (level === 2 && large) {
    if (bits(entry, 20, 13) !== 0n) return MALFORMED;
    return page(entry, field(entry, 51, 21), 1n << 21n, rights, { protectionKey });
  }
  return { is: "table", next: field(entry, 51, 12), grants: rights, global: false };
}

const FOUR = ["PML4E", "PDPTE", "PDE", "PTE"];

export const X86_64: ReferenceFormat = {
  name: "x86-64",
  levels: evenLevels(12, 9, FOUR),
  entryBytes: 8,
  canonical: "sign",
  decode: decodeLong,
};

export const X86_64_LA57: ReferenceFormat = {
  ...X86_64,
  name: "x86-64-la57",
  levels: evenLevels(12, 9, ["PML5E", ...FOUR]),
};

/** APM 15.25.5: the nested tables are those of the host's long mode; guest-physical addresses are not sign-extended. */
export const NPT4: ReferenceFormat = { ...X86_64, name: "npt4", canonical: "zeros" };
export const NPT5: ReferenceFormat = { ...X86_64_LA57, name: "npt5", canonical: "zeros" };
