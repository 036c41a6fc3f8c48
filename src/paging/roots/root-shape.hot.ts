/**
 * Whether bytes of memory look like the root of a page-table format: every entry is absent (and zero), or points to a table
 * or maps memory as the format has it at that level, and what it points to lies in RAM. One plain loop over the words.
 */
import { HIGH } from "../../io/address.js";
import { LEAF, MISSING } from "../formats/entry-kinds.js";
import { type CompiledMmu, compileMmu } from "../formats/mmu.js";
import type { MmuDef } from "../formats/mmu-def.js";
import { rootEnd } from "../tables/root.js";
import { kindOf } from "../walk/walk.hot.js";

/** What an entry is like that is not all there is: address and present bit; flags that a processor sets are left out. */
const IDENTITY = 0xfffff001;
/** Nor execute-disable, which Linux sets in the kernel's copy of user entries (arch/x86/mm/pti.c, `__pti_set_user_pgtbl`). */
const IDENTITY_HIGH = 0x7fffffff;

/** Of which half of the address space a root is, in formats with two. */
export type RootHalf = "lower" | "upper";

/** What a root looks like; reused, so read the results before the next call. */
export class RootShape {
  readonly def: MmuDef;
  readonly mmu: CompiledMmu;
  /** Level of its entries. */
  readonly level: number;
  /** Number of its entries. */
  readonly entries: number;
  /** Bytes of it. */
  readonly bytes: number;
  /** What its address is a multiple of. */
  readonly align: number;
  /** Where addresses of roots end. */
  readonly #end: number;
  /** First entry of the kernel's part; in formats with two roots, the number of entries: a root is all of one kind. */
  readonly kernelFrom: number;
  /** Bits of an entry that points to a table, and what they are wherever an operating system wrote it; see `habitOf`. */
  readonly #habitMask: number;
  readonly #habit: number;
  readonly #minEntries: number;
  /** Bytes of the smallest page. */
  readonly #pageSize: number;
  /** Bits of a page's entry below its address: AArch64 ignores them, and who wrote the entry left them 0. */
  readonly #strayLo: number;
  readonly #strayHi: number;
  /** Of the last root that fitted: hashes of what the kernel's part and the rest hold, and how many entries are present. */
  kernelHash = 0;
  kernelCount = 0;
  userHash = 0;
  userCount = 0;
  /** Whether an entry points to the root itself, and is not one of a row of pages in which it lies. */
  refersToItself = false;
  readonly #scratch: Uint32Array;
  readonly #narrow: boolean;
  readonly #isInside: (address: number) => boolean;

  /** @param isInside Whether there is RAM at a physical address, read or left out. */
  constructor(def: MmuDef, isInside: (address: number) => boolean) {
    this.def = def;
    this.mmu = compileMmu(def);
    const levels = def.splits.length - 1;
    const [first = 0, second = 0] = def.splits;
    const { halves } = def;
    // (Of two roots, the lower one's: the upper one is a kernel's, which is known by other means where the sizes differ.)
    const isPointed = halves?.lower.entries === 0;
    this.level = isPointed ? levels - 1 : levels;
    this.entries = isPointed ? 2 ** second : (halves?.lower.entries ?? 2 ** first);
    this.#narrow = def.entryBytes === 4;
    this.bytes = this.entries * def.entryBytes;
    this.align = halves?.lower.align ?? def.rootAlign ?? this.bytes;
    this.#end = rootEnd(def);
    // Kernels of 32-bit machines have at least the last quarter to themselves.
    this.kernelFrom =
      halves !== undefined ? this.entries : (this.entries / 4) * (def.canonical === "sign-extended" ? 2 : 3);
    const { mask, bits, least } = habitOf(def);
    this.#habitMask = mask;
    this.#habit = bits;
    this.#minEntries = least;
    this.#pageSize = 2 ** (def.splits.at(-1) as number);
    const { mmu, level } = this;
    const isLoose = def.name.startsWith("aarch64");
    // (Bit 16 is nT of blocks.)
    this.#strayLo = isLoose ? mmu.tableAddressLo & ~(mmu.leafAddressLo[level] as number) & ~0x10000 : 0;
    this.#strayHi = isLoose ? mmu.tableAddressHi & ~(mmu.leafAddressHi[level] as number) : 0;
    this.#scratch = new Uint32Array(2 * this.entries);
    this.#isInside = isInside;
  }

  /**
   * Whether the words from `from` on look like a root.
   *
   * @param address Where they lie.
   */
  fits(words: Uint32Array, from: number, address: number): boolean {
    const { mmu, level, entries, kernelFrom } = this;
    const isInside = this.#isInside;
    const habit = this.#habit;
    const habitMask = this.#habitMask;
    // The first entry that is there tells of nearly all other memory that it is none.
    if (!this.#mayFit(words, from) || address >= this.#end) return false;
    const table = this.#formed(words, from);
    const base = table === words ? from : 0;
    const { tableAddressLo, tableAddressHi } = mmu;
    const strayLo = this.#strayLo;
    const strayHi = this.#strayHi;
    let kernelHash = 0;
    let kernelCount = 0;
    let userHash = 0;
    let userCount = 0;
    let self = -1;
    for (let i = 0; i < entries; i++) {
      const lo = table[base + 2 * i] as number;
      const hi = table[base + 2 * i + 1] as number;
      if ((lo | hi) === 0) continue;
      const kind = kindOf(mmu, level, lo | 0, hi | 0);
      if (kind === MISSING) {
        const target = ((hi & tableAddressHi) >>> 0) * HIGH + ((lo & tableAddressLo) >>> 0);
        if ((lo & habitMask) !== habit || !isInside(target)) return false;
        if (target === address) self = i;
      } else if (kind !== LEAF || ((lo & strayLo) | (hi & strayHi)) !== 0) {
        return false;
      }
      const mixed = Math.imul(
        Math.imul((lo & IDENTITY) ^ i, 0x9e3779b1) ^ (hi & IDENTITY_HIGH) ^ (lo >>> 15),
        0x85ebca6b,
      );
      if (i < kernelFrom) {
        userHash = (userHash + (mixed ^ (mixed >>> 13))) | 0;
        userCount++;
      } else {
        kernelHash = (kernelHash + (mixed ^ (mixed >>> 13))) | 0;
        kernelCount++;
      }
    }
    this.kernelHash = kernelHash;
    this.kernelCount = kernelCount;
    this.userHash = userHash;
    this.userCount = userCount;
    this.refersToItself = self >= 0 && !this.#isRow(table, base, self, address);
    return kernelCount + userCount >= this.#minEntries;
  }

  /**
   * Whether most entries point to one page after the other: a last-level table of a kernel's direct map, which may map the very
   * pages among which it lies (x86 splits large pages of it where rights differ, arch/x86/mm/pat/set_memory.c).
   */
  #isRow(table: Uint32Array, base: number, self: number, address: number): boolean {
    const { tableAddressLo, tableAddressHi } = this.mmu;
    const page = this.#pageSize;
    let present = 0;
    let inRow = 0;
    for (let i = 0; i < this.entries; i++) {
      const lo = table[base + 2 * i] as number;
      const hi = table[base + 2 * i + 1] as number;
      if ((lo | hi) === 0) continue;
      present++;
      const target = ((hi & tableAddressHi) >>> 0) * HIGH + ((lo & tableAddressLo) >>> 0);
      if (target === address + (i - self) * page) inRow++;
    }
    return inRow > 1 && 2 * inRow > present;
  }

  /** Whether a root of a half can lie at an address. */
  isAligned(root: number, half: RootHalf | undefined): boolean {
    const own = half === undefined ? undefined : this.def.halves?.[half];
    return root % (own?.align ?? this.align) === 0;
  }

  /** Whether an entry of a root points to a table at an address. */
  pointsTo(words: Uint32Array, address: number): boolean {
    const { mmu, level, entries } = this;
    const table = this.#formed(words, 0);
    for (let i = 0; i < entries; i++) {
      const lo = (table[2 * i] as number) | 0;
      const hi = (table[2 * i + 1] as number) | 0;
      if (kindOf(mmu, level, lo, hi) !== MISSING) continue;
      if (((hi & mmu.tableAddressHi) >>> 0) * HIGH + ((lo & mmu.tableAddressLo) >>> 0) === address)
        return true;
    }
    return false;
  }

  /** Entries in the form that the walker takes: where they lie, or from word 0 of the scratch memory on. */
  #formed(words: Uint32Array, from: number): Uint32Array {
    const { def, entries } = this;
    if (!this.#narrow && def.form === undefined) return words;
    const table = this.#scratch;
    if (this.#narrow) {
      for (let i = 0; i < entries; i++) {
        table[2 * i] = words[from + i] as number;
        table[2 * i + 1] = 0;
      }
    } else {
      table.set(words.subarray(from, from + 2 * entries));
    }
    def.form?.rewrite(table, 0, entries, 0);
    return table;
  }

  /** Whether the low bits of the first entry that is not zero allow for a present one. */
  #mayFit(words: Uint32Array, from: number): boolean {
    const { def, entries } = this;
    const step = this.#narrow ? 1 : 2;
    const present = def.entries[0]?.clear ?? [];
    let mask = 0;
    for (let i = 0; i < present.length; i++) mask |= 1 << (present[i] as number);
    for (let at = from; at < from + step * entries; at += step) {
      if ((words[at] as number) !== 0) return ((words[at] as number) & mask) !== 0;
    }
    return false;
  }
}

/**
 * What the architecture leaves open in an entry that points to a table, and operating systems do all alike; and how many
 * entries of a root are there at least. It is what tells x86's tables from AArch64's, whose entries are otherwise each a sound one of the other.
 *
 * - x86: accessed (bit 5) is set beforehand, so that the processor need not (Linux: `_PAGE_TABLE`, `_KERNPG_TABLE`). The root
 *   of PAE has no such bit; kernels fill all of its four entries (Linux: `preallocate_pmds`, arch/x86/mm/pgtable.c).
 * - AArch64: bits 2 to 9 are ignored, and 0 (Linux: `PMD_TYPE_TABLE`, arch/arm64/include/asm/pgtable-hwdef.h).
 */
function habitOf({ name }: MmuDef): { readonly mask: number; readonly bits: number; readonly least: number } {
  if (name.startsWith("aarch64")) return { mask: 0x3fc, bits: 0, least: 1 };
  if (name === "x86-pae") return { mask: 0, bits: 0, least: 4 };
  return name.startsWith("x86") ? { mask: 0x20, bits: 0x20, least: 1 } : { mask: 0, bits: 0, least: 1 };
}
