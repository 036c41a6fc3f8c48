/**
 * RISC-V's page tables, with the extensions Svnapot (pages of 64 KiB) and Svpbmt (memory types).
 *
 * The RISC-V Instruction Set Manual, volume II (Privileged Architecture): "Sv39", "Sv48", "Sv57", "Svnapot", "Svpbmt".
 * Physical addresses have 56 bits there; an entry with any beyond 52 is `malformed` here, as no machine has them.
 */
import { RISCV_FORM, RISCV_TAGS } from "./entry-forms.hot.js";
import type { EntryPattern, MmuDef, ReservedBits } from "./mmu-def.js";

const [TAG_LOW, TAG_HIGH] = RISCV_TAGS;

function sv(bits: 39 | 48 | 57): MmuDef {
  const levels = (bits - 12) / 9;
  const above = Array.from({ length: levels - 1 }, (_, i) => i + 2);
  const all = [1, ...above];
  const entries: EntryPattern[] = [
    { is: "absent", clear: [0] },
    // One of the reserved bits 54 and 55; a page of 64 KiB anywhere but in the last table.
    { is: "malformed", set: [TAG_LOW], clear: [TAG_HIGH] },
    { is: "malformed", set: [TAG_HIGH], clear: [TAG_LOW] },
    { is: "malformed", levels: above, set: [TAG_LOW, TAG_HIGH] },
    // Writable, but not readable.
    { is: "malformed", set: [2], clear: [1] },
    { is: "page", set: [1] },
    { is: "page", set: [3] },
    // A pointer in the last table; one that is accessed, dirty or a user's.
    { is: "malformed", levels: [1] },
    { is: "malformed", set: [4] },
    { is: "malformed", set: [6] },
    { is: "malformed", set: [7] },
    { is: "table" },
  ];
  const reserved = all.flatMap((level): ReservedBits[] => [
    // Address bits 52 to 55, reserved bits 56 to 60; 61 to 63 of pointers. (Both memory-type bits: see below.)
    { level, of: "page", bits: [52, 60] },
    { level, of: "page", bits: [63, 63] },
    { level, of: "table", bits: [52, 63] },
    // A large page must be aligned.
    ...(level === 1 ? [] : [{ level, of: "page" as const, bits: [12, 9 * level + 2] as const }]),
  ]);
  return {
    name: `riscv-sv${bits}`,
    splits: [...Array.from({ length: levels }, () => 9), 12],
    entryNames: Array.from({ length: levels }, (_, i) => `level ${levels - 1 - i}`),
    entryBytes: 8,
    canonical: "sign-extended",
    entries,
    rights: [
      { right: "readable", bit: 1, when: "set", of: "page" },
      { right: "writable", bit: 2, when: "set", of: "page" },
      { right: "userExecutable", bit: 3, when: "set", of: "page" },
      { right: "kernelExecutable", bit: 3, when: "set", of: "page" },
      { right: "user", bit: 4, when: "set", of: "page" },
      { right: "global", bit: 5, when: "set", of: "page" },
    ],
    address: [12, 51],
    reserved,
    attributes: [
      { name: "accessed", bits: [6, 6] },
      { name: "dirty", bits: [7, 7] },
      { name: "memory type", bits: [61, 62] },
      { name: "64 KiB (NAPOT)", bits: [TAG_LOW, TAG_LOW] },
    ],
    form: RISCV_FORM,
  };
}

/** RISC-V with three levels: 39-bit virtual addresses, pages of 4 KiB, 2 MiB and 1 GiB. */
export const SV39: MmuDef = sv(39);
/** RISC-V with four levels: 48-bit virtual addresses, pages up to 512 GiB. */
export const SV48: MmuDef = sv(48);
/** RISC-V with five levels: 57-bit virtual addresses, pages up to 256 TiB. */
export const SV57: MmuDef = sv(57);
