import type { MmuDef } from "./mmu.js";

/**
 * x86-64 paging with four levels: pages of 4 KiB, 2 MiB and 1 GiB, 48-bit virtual and 52-bit physical addresses.
 *
 * Intel SDM vol. 3A, 4.5: PML4E table 4-15, PDPTE table 4-16 (1 GiB page) and 4-17, PDE table 4-18 (2 MiB page) and
 * 4-19, PTE table 4-20. Assumes EFER.NXE = 1 (bit 63 is execute-disable) and MAXPHYADDR = 52 (a dump does not tell the
 * processor's, so address bits above it are not taken as reserved). The low address bits of a large page are reserved,
 * but for bit 12, which is its PAT bit.
 */
export const X86_64: MmuDef = {
  name: "x86-64",
  splits: [9, 9, 9, 9, 12],
  entryNames: ["PML4E", "PDPTE", "PDE", "PTE"],
  entryBytes: 8,
  canonical: "sign-extended",
  presentBits: [0],
  leafLevels: [1, 2, 3],
  large: { bits: [7], means: "set" },
  pfnBits: [12, 51],
  writable: { bit: 1, grants: "set" },
  user: { bit: 2, grants: "set" },
  executable: { bit: 63, grants: "clear" },
  global: { bit: 8, grants: "set" },
  reserved: [
    { level: 4, of: "table", bits: [7, 7] },
    { level: 3, of: "leaf", bits: [13, 29] },
    { level: 2, of: "leaf", bits: [13, 20] },
  ],
};
