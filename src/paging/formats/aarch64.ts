/**
 * AArch64's page tables (stage 1): granules of 4, 16 and 64 KiB, and the two roots, TTBR0 for the lower half of the address
 * space and TTBR1 for the upper one.
 *
 * Arm Architecture Reference Manual (DDI 0487), D8 "The AArch64 Virtual Memory System Architecture": D8.2 translation
 * process, D8.3 descriptor formats, D8.4 memory access control (AP, UXN, PXN and their hierarchical forms), D8.6.1
 * contiguous bit. Encodings that the architecture calls reserved are treated as invalid there, and are absent here.
 */
import { DBM, DBM_FORM, LPA_DBM_FORM, LPA_FORM, LPA2_FORM } from "./entry-forms.hot.js";
import type { EntryForm, EntryPattern, HalfRoot, MmuDef, RightExclusion, RightRule } from "./mmu-def.js";

/** What TCR_EL1 says of a format. */
export interface Aarch64Options {
  /** Bytes of the smallest page, and of a table (TG0, TG1). */
  readonly granule: 4096 | 16_384 | 65_536;
  /** Bits of a virtual address in either half, 64 - T0SZ and 64 - T1SZ: 32 to 52. */
  readonly bits: number;
  /**
   * Those of the lower half, if it has others: `bits` are then the upper one's (a kernel of 48 bits with programs of 52:
   * Linux's ARM64_USER_VA_BITS_52).
   */
  readonly lowerBits?: number;
  /**
   * Physical addresses of 52 bits: FEAT_LPA2's descriptors with granules of 4 and 16 KiB (TCR_EL1.DS), FEAT_LPA's with 64 KiB
   * (there, a virtual address of 52 bits doesn't need them). Default: with 52 bits of virtual address and small granules.
   */
  readonly physical52?: boolean;
  /** Entries that point to tables take rights away (TCR_EL1.HPD0 and HPD1 are 0). Default true. */
  readonly hierarchical?: boolean;
  /** The hardware notes what was written to (TCR_EL1.HD): pages with DBM are writable. Default false. */
  readonly dirtyState?: boolean;
}

const WRITABLE: RightRule = { right: "writable", bit: 7, when: "clear", of: "page" }; // AP[2]
const PAGE_RIGHTS: readonly RightRule[] = [
  { right: "user", bit: 6, when: "set", of: "page" }, // AP[1]
  { right: "global", bit: 11, when: "clear", of: "page" }, // nG
  { right: "kernelExecutable", bit: 53, when: "clear", of: "page" }, // PXN
  { right: "userExecutable", bit: 54, when: "clear", of: "page" }, // UXN
];
const TABLE_RIGHTS: readonly RightRule[] = [
  { right: "kernelExecutable", bit: 59, when: "clear", of: "table" }, // PXNTable
  { right: "userExecutable", bit: 60, when: "clear", of: "table" }, // UXNTable
  { right: "user", bit: 61, when: "clear", of: "table" }, // APTable[0]
  { right: "writable", bit: 62, when: "clear", of: "table" }, // APTable[1]
];

/** What EL0 may write is never executable at EL1, whatever PXN says (D8.4; the pseudocode's AArch64.S1DirectBasePermissions). */
const EXCLUSIONS: readonly RightExclusion[] = [{ right: "kernelExecutable", where: ["user", "writable"] }];

/** log2 of the largest block by granule: without FEAT_LPA2 or FEAT_LPA, and with (D8.3.1, table D8-20 and on). */
const LARGEST_BLOCK = {
  4096: [30, 39],
  16384: [25, 36],
  65536: [29, 42],
} as const;

/**
 * Least bits of a virtual address: the walker tells halves by the high word. (The
 * architecture has 25, or 16 with FEAT_TTST; Linux takes 36 at least.)
 */
export const LEAST_BITS = 32;

const made = new Map<string, MmuDef>();

/**
 * The format of AArch64 with these options; the same object for the same ones.
 *
 * Its roots are `{ lower, upper }`; an address space may lack one. Levels count from the last table (Arm's level 3 is 1
 * here); above Arm's first level there may be one more, which chooses the root by the address' top bit.
 *
 * @throws {RangeError} for a granule or number of bits that there is not, and for two of them that one table of both roots can't
 * have: the smaller half's root must be as high as the larger one's, or a whole table of the next level.
 */
export function aarch64(options: Aarch64Options): MmuDef {
  const { granule, bits, lowerBits = bits, hierarchical = true, dirtyState = false } = options;
  const physical52 = options.physical52 ?? (Math.max(bits, lowerBits) === 52 && granule !== 65_536);
  const key = [granule, bits, lowerBits, physical52, hierarchical, dirtyState].join();
  let def = made.get(key);
  if (def === undefined) {
    def = make({ granule, bits, lowerBits, physical52, hierarchical, dirtyState });
    made.set(key, def);
  }
  return def;
}

function formOf({ granule, physical52, dirtyState }: Required<Aarch64Options>): EntryForm | undefined {
  if (!physical52) return dirtyState ? DBM_FORM : undefined;
  if (granule !== 65_536) return LPA2_FORM;
  return dirtyState ? LPA_DBM_FORM : LPA_FORM;
}

/** The root of a half with so many bits, under a first index that has `left` of them beside the one that chooses. */
function halfRoot(
  { granule, bits, lowerBits, physical52 }: Required<Aarch64Options>,
  own: number,
  left: number,
): HalfRoot {
  const page = Math.log2(granule);
  const index = page - 3;
  // That of its size; of 64 bytes at least, if an address has 52 bits (TTBR0_EL1, BADDR).
  const align = (entries: number) => Math.max(physical52 ? 64 : 8, entries * 8);
  const entries = left - (Math.max(bits, lowerBits) - own);
  if (entries > 0 && left < index) return { entries: 2 ** entries, align: align(2 ** entries) };
  const isWhole = left === index ? own === Math.max(bits, lowerBits) : entries === 0;
  if (isWhole) return { entries: 0, align: granule };
  throw new RangeError(
    `AArch64, ${granule / 1024} KiB: halves of ${lowerBits} and ${bits} bits have roots that no table holds side by side`,
  );
}

function make(options: Required<Aarch64Options>): MmuDef {
  const { granule, physical52, hierarchical, dirtyState } = options;
  if (LARGEST_BLOCK[granule] === undefined) throw new RangeError(`AArch64: no granule of ${granule} bytes`);
  for (const own of [options.bits, options.lowerBits]) {
    if (!(Number.isInteger(own) && own >= LEAST_BITS && own <= 52))
      throw new RangeError(`AArch64: no virtual addresses of ${own} bits`);
  }
  const bits = Math.max(options.bits, options.lowerBits);
  if (bits > 48 && granule !== 65_536 && !physical52)
    throw new RangeError(
      `AArch64: ${bits} bits in pages of ${granule} bytes need addresses of 52 (FEAT_LPA2)`,
    );
  const sizes =
    bits === Math.min(options.bits, options.lowerBits) ? bits : `${options.lowerBits}+${options.bits}`;
  const page = Math.log2(granule);
  const index = page - 3;
  const splits = [page];
  let left = bits - page;
  for (; left > index; left -= index) splits.unshift(index);
  // Both roots side by side in one table if they fit, else a level that chooses between them.
  const joined = left < index;
  if (joined) splits.unshift(left + 1);
  else splits.unshift(1, left);
  const levels = splits.length - 1;
  const first = joined ? levels : levels - 1;
  const largest = LARGEST_BLOCK[granule][physical52 ? 1 : 0];
  const blocks: number[] = [];
  const noBlocks: number[] = [];
  for (let level = 2; level <= first; level++) {
    (page + (level - 1) * index <= largest ? blocks : noBlocks).push(level);
  }
  const entries: EntryPattern[] = [
    { is: "absent", clear: [0] },
    { is: "page", levels: [1], set: [1] },
    { is: "absent", levels: [1] },
    { is: "page", levels: blocks, clear: [1] },
    { is: "absent", levels: noBlocks, clear: [1] },
    { is: "table" },
  ];
  const form = formOf(options);
  // Hardware clears AP[2] where DBM is set: such a page is writable, though not yet written to (D8.5.2).
  const writable = dirtyState ? { ...WRITABLE, or: DBM } : WRITABLE;
  // In the form that the walker sees, it may lie elsewhere.
  const modifier = form === undefined ? 51 : form === LPA_FORM ? 15 : DBM;
  const names = Array.from({ length: first }, (_, i) => `level ${4 - first + i}`);
  return {
    name: `aarch64-${granule / 1024}k-${sizes}${physical52 ? "-lpa" : ""}${hierarchical ? "" : "-hpd"}${dirtyState ? "-hd" : ""}`,
    splits,
    entryNames: joined ? names : ["TTBR", ...names],
    entryBytes: 8,
    canonical: "sign-extended",
    entries,
    rights: [writable, ...PAGE_RIGHTS, ...(hierarchical ? TABLE_RIGHTS : [])],
    exclusions: EXCLUSIONS,
    address: [page, physical52 ? 51 : 47],
    reserved: [],
    attributes: [
      { name: "accessed", bits: [10, 10] },
      { name: "contiguous", bits: [52, 52] },
      { name: "dirty-bit modifier", bits: [modifier, modifier] },
    ],
    ...(form === undefined ? {} : { form }),
    halves: {
      lower: halfRoot(options, options.lowerBits, left),
      upper: halfRoot(options, options.bits, left),
    },
  };
}
