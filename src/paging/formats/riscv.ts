/**
 * RISC-V's page tables, with the extensions Svnapot (pages of 64 KiB) and Svpbmt (memory types).
 *
 * The RISC-V Instruction Set Manual, volume II (Privileged Architecture): "Sv39", "Sv48", "Sv57", "Svnapot", "Svpbmt".
 * Physical addresses have 56 bits there; an entry with any beyond 52 is `malformed` here, as no machine has them.
 */
import { RISCV_FORM, RISCV_MEMORY_TYPE } from "./entry-forms.hot.js";
import type { EntryPattern, MmuDef, ReservedBits } from "./mmu-def.js";

const [TYPE_LOW, TYPE_HIGH] = RISCV_MEMORY_TYPE;

function sv(bits: 39 | 48 | 57): MmuDef {
  const levels = (bits - 12) / 9;
  const above = Array.from({ length: levels - 1 }, (_, i) => i + 2);
  const all = [1, ...above];
  const entries: EntryPattern[] = [
    { is: "absent", clear: [0] },
    // Memory type 3.
    { is: "malformed", set: [TYPE_LOW, TYPE_HIGH] },
    // Writable, but not readable.
    { is: "malformed", set: [2], clear: [1] },
    { is: "page", set: [1] },
    { is: "page", set: [3] },
    // A pointer in the last table; one that is accessed, dirty or a user's, or has a memory type.
    { is: "malformed", levels: [1] },
    { is: "malformed", set: [TYPE_LOW] },
    { is: "malformed", set: [TYPE_HIGH] },
    { is: "malformed", set: [4] },
    { is: "malformed", set: [6] },
    { is: "malformed", set: [7] },
    { is: "table" },
  ];
  const reserved = all.flatMap((level): ReservedBits[] => [
    // Address bits 52 to 55, and reserved bits 54 to 58, of which the first two are in 61 and 62. (59 and 60 are software's
    // with Svrsw60t59b, and Linux uses them from 6.18 on.)
    ...(["page", "table"] as const).flatMap((of): ReservedBits[] => [
      { level, of, bits: [52, 58] },
      { level, of, bits: [61, 62] },
    ]),
    // Part of 64 KiB anywhere but in the last table. A large page must be aligned.
    { level, of: "table", bits: [63, 63] },
    ...(level === 1
      ? []
      : [
          { level, of: "page" as const, bits: [63, 63] as const },
          { level, of: "page" as const, bits: [12, 9 * level + 2] as const },
        ]),
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
      // "Irrespective of SUM, the supervisor may not execute code on pages with U=1."
      { right: "kernelExecutable", bit: 4, when: "clear", of: "page" },
      { right: "user", bit: 4, when: "set", of: "page" },
      { right: "global", bit: 5, when: "set", of: "page" },
    ],
    address: [12, 51],
    reserved,
    attributes: [
      { name: "accessed", bits: [6, 6] },
      { name: "dirty", bits: [7, 7] },
      { name: "memory type", bits: [TYPE_LOW, TYPE_HIGH] },
      { name: "64 KiB (NAPOT)", bits: [63, 63] },
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
