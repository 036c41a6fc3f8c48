/**
 * Page tables of a hypervisor, which lead from a guest's physical addresses to the host's: Intel's extended page tables and
 * AMD's nested ones.
 */
import type { EntryPattern, MmuDef, ReservedBits } from "./mmu-def.js";
import { X86_64, X86_64_LA57 } from "./x86.js";

/**
 * Intel SDM vol. 3C, "The Extended Page Table Mechanism (EPT)": formats in tables 29-1 to 29-7, misconfigurations in 29.3.3.1.
 * Whether a page may be executed by user mode alone (mode-based execute control, bit 10) is not told apart; nor is a page
 * malformed for being execute-only, which processors may refuse.
 */
function ept(levels: 4 | 5): MmuDef {
  const above = levels === 4 ? [4] : [4, 5];
  const entries: EntryPattern[] = [
    { is: "absent", clear: [0, 1, 2] },
    // Writable, but not readable.
    { is: "malformed", set: [1], clear: [0] },
    { is: "malformed", levels: above, set: [7] },
    ...[1, 2, 3].flatMap((level): EntryPattern[] => {
      const large = level === 1 ? {} : { set: [7] };
      // Memory types (bits 3 to 5) 2, 3 and 7.
      return [
        { is: "malformed", levels: [level], set: [4, ...(large.set ?? [])], clear: [5] },
        { is: "malformed", levels: [level], set: [3, 4, 5, ...(large.set ?? [])] },
        { is: "page", levels: [level], ...large },
      ];
    }),
    { is: "table" },
  ];
  const reserved: ReservedBits[] = [
    { level: 2, of: "page", bits: [12, 20] },
    { level: 3, of: "page", bits: [12, 29] },
    ...[2, 3, ...above].map((level): ReservedBits => ({ level, of: "table", bits: [3, 6] })),
  ];
  return {
    name: `ept${levels}`,
    splits: [...Array.from({ length: levels }, () => 9), 12],
    entryNames: ["EPT PML5E", "EPT PML4E", "EPT PDPTE", "EPT PDE", "EPT PTE"].slice(5 - levels),
    entryBytes: 8,
    canonical: "zeros",
    entries,
    rights: [
      { right: "readable", bit: 0, when: "set" },
      { right: "writable", bit: 1, when: "set" },
      { right: "userExecutable", bit: 2, when: "set" },
      { right: "kernelExecutable", bit: 2, when: "set" },
    ],
    address: [12, 51],
    reserved,
    attributes: [
      { name: "memory type", bits: [3, 5] },
      { name: "accessed", bits: [8, 8], of: "both" },
      { name: "dirty", bits: [9, 9] },
    ],
  };
}

/** Intel's extended page tables with four levels: 48-bit guest-physical addresses. */
export const EPT4: MmuDef = ept(4);
/** With five levels: 57-bit guest-physical addresses. */
export const EPT5: MmuDef = ept(5);

/** AMD's nested page tables: those of long mode, for guest-physical addresses (APM vol. 2, 15.25.5). */
export const NPT4: MmuDef = { ...X86_64, name: "npt4", canonical: "zeros" };
/** With five levels. */
export const NPT5: MmuDef = { ...X86_64_LA57, name: "npt5", canonical: "zeros" };
