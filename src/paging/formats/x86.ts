/**
 * x86's page tables, of 32 and of 64 bits.
 *
 * Intel SDM vol. 3A, chapter 4 (4.3 32-bit paging, 4.4 PAE paging, 4.5 four and five levels); AMD APM vol. 2, chapter 5.
 * All assume that execute-disable is on where there is one (EFER.NXE; bit 63 is reserved otherwise), and 52 bits of physical
 * address (a dump does not tell the processor's MAXPHYADDR, so address bits above it are not taken as reserved). The low
 * address bits of a large page are reserved, but for bit 12, which is its PAT bit.
 */

import { PSE36_FORM } from "./entry-forms.hot.js";
import type { EntryAttribute, EntryPattern, MmuDef, RightRule } from "./mmu-def.js";

const WRITABLE: RightRule = { right: "writable", bit: 1, when: "set" };
const USER: RightRule = { right: "user", bit: 2, when: "set" };
const GLOBAL: RightRule = { right: "global", bit: 8, when: "set", of: "page" };
const NOT_EXECUTABLE: readonly RightRule[] = [
  { right: "userExecutable", bit: 63, when: "clear" },
  { right: "kernelExecutable", bit: 63, when: "clear" },
];
const ACCESSED: EntryAttribute = { name: "accessed", bits: [5, 5], of: "both" };
const DIRTY: EntryAttribute = { name: "dirty", bits: [6, 6] };
/** Of pages that user mode reaches: `PKRU` has two bits for each key (SDM vol. 3A, 4.6.2). */
const PROTECTION_KEY: EntryAttribute = { name: "protection key", bits: [59, 62] };

const ABSENT: EntryPattern = { is: "absent", clear: [0] };
const LAST: EntryPattern = { is: "page", levels: [1] };
const TABLE: EntryPattern = { is: "table" };

const LONG_MODE = {
  entryBytes: 8,
  canonical: "sign-extended",
  rights: [WRITABLE, USER, ...NOT_EXECUTABLE, GLOBAL],
  address: [12, 51],
  reserved: [
    { level: 3, of: "page", bits: [13, 29] },
    { level: 2, of: "page", bits: [13, 20] },
  ],
  attributes: [ACCESSED, DIRTY, PROTECTION_KEY],
} as const;

/**
 * x86-64 with four levels: pages of 4 KiB, 2 MiB and 1 GiB, 48-bit virtual and 52-bit physical addresses.
 *
 * SDM vol. 3A, 4.5: PML4E table 4-15, PDPTE table 4-16 (1 GiB page) and 4-17, PDE table 4-18 (2 MiB page) and 4-19, PTE
 * table 4-20.
 */
export const X86_64: MmuDef = {
  ...LONG_MODE,
  name: "x86-64",
  splits: [9, 9, 9, 9, 12],
  entryNames: ["PML4E", "PDPTE", "PDE", "PTE"],
  entries: [
    ABSENT,
    LAST,
    { is: "page", levels: [2, 3], set: [7] },
    { is: "malformed", levels: [4], set: [7] },
    TABLE,
  ],
};

/** x86-64 with five levels (CR4.LA57): 57-bit virtual addresses. SDM vol. 3A, 4.5, PML5E table 4-14. */
export const X86_64_LA57: MmuDef = {
  ...LONG_MODE,
  name: "x86-64-la57",
  splits: [9, 9, 9, 9, 9, 12],
  entryNames: ["PML5E", "PML4E", "PDPTE", "PDE", "PTE"],
  entries: [
    ABSENT,
    LAST,
    { is: "page", levels: [2, 3], set: [7] },
    { is: "malformed", levels: [4, 5], set: [7] },
    TABLE,
  ],
};

/**
 * x86 with PAE: 32-bit virtual and 52-bit physical addresses, pages of 4 KiB and 2 MiB. The root has four entries, lies
 * anywhere on a multiple of 32 bytes, and grants every right: its entries have no bits for any.
 *
 * SDM vol. 3A, 4.4: PDPTE table 4-8, PDE table 4-9 (2 MiB page) and 4-10, PTE table 4-11.
 */
export const X86_PAE: MmuDef = {
  name: "x86-pae",
  splits: [2, 9, 9, 12],
  entryNames: ["PDPTE", "PDE", "PTE"],
  entryBytes: 8,
  canonical: "zeros",
  entries: [ABSENT, LAST, { is: "page", levels: [2], set: [7] }, TABLE],
  rights: [
    { ...WRITABLE, levels: [1, 2] },
    { ...USER, levels: [1, 2] },
    ...NOT_EXECUTABLE.map((rule) => ({ ...rule, levels: [1, 2] })),
    GLOBAL,
  ],
  address: [12, 51],
  reserved: [
    { level: 3, of: "table", bits: [1, 2] },
    // (Bit 5 too by the manual; QEMU's own processor takes it for "accessed" here, and sets it.)
    { level: 3, of: "table", bits: [6, 8] },
    { level: 3, of: "table", bits: [52, 63] },
    { level: 2, of: "table", bits: [52, 62] },
    { level: 2, of: "page", bits: [13, 20] },
    { level: 2, of: "page", bits: [52, 62] },
    { level: 1, of: "page", bits: [52, 62] },
  ],
  attributes: [{ ...ACCESSED, of: "page" }, DIRTY],
  rootAlign: 32,
};

/**
 * x86 with two levels: 32-bit virtual addresses, pages of 4 KiB and (CR4.PSE) 4 MiB, entries of 4 bytes. Pages of 4 MiB have
 * eight more bits of physical address in bits 13 to 20 of their entry (PSE-36); the others lie below 4 GiB. There is no
 * execute-disable.
 *
 * SDM vol. 3A, 4.3: PDE table 4-4 (4 MiB page) and 4-5, PTE table 4-6. (A processor without PSE-36 takes bits 13 to 21 of a
 * large page as reserved.)
 */
export const X86_32: MmuDef = {
  name: "x86-32",
  splits: [10, 10, 12],
  entryNames: ["PDE", "PTE"],
  entryBytes: 4,
  canonical: "zeros",
  entries: [ABSENT, LAST, { is: "page", levels: [2], set: [7] }, TABLE],
  rights: [WRITABLE, USER, GLOBAL],
  address: [12, 39],
  lastAddress: [12, 31],
  reserved: [{ level: 2, of: "page", bits: [21, 21] }],
  attributes: [ACCESSED, DIRTY],
  form: PSE36_FORM,
};
