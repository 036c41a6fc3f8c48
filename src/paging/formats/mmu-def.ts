/**
 * A page-table format as data. All that differs between formats is in here: one walker takes any (`mmu.ts` compiles it).
 *
 * Levels count from the last table up: level 1 is the last table (x86-64: PT), the number of levels the root (PML4).
 */
import type { AbsentEntries } from "./absent-entries.js";

/** Bits `first` to `last` (inclusive) of an entry. */
export type BitRange = readonly [first: number, last: number];

/** What an entry is, told by its low 12 bits. */
export interface EntryPattern {
  readonly is: "absent" | "table" | "page" | "malformed";
  /** Where this holds; by default at all levels. */
  readonly levels?: readonly number[];
  /** Bits (0 to 11) that must all be set. */
  readonly set?: readonly number[];
  /** Bits (0 to 11) that must all be clear. */
  readonly clear?: readonly number[];
}

/** A right, and the bit of an entry that grants it. What no rule is about is granted (but a page is global by a rule only). */
export interface RightRule {
  readonly right: "readable" | "writable" | "user" | "userExecutable" | "kernelExecutable" | "global";
  /** 0 to 11, or 52 to 63: outside of the physical address. */
  readonly bit: number;
  readonly when: "set" | "clear";
  /** Another bit (0 to 11, as `bit`) that grants it where it is set. */
  readonly or?: number;
  /** Entries that it is about; by default both. */
  readonly of?: "page" | "table";
  /** Levels that it is about; by default all. Of pages: all. */
  readonly levels?: readonly number[];
}

/** A right that others take away: nothing that has all of `where`, combined over all levels, has `right`. */
export interface RightExclusion {
  readonly right: RightRule["right"];
  readonly where: readonly RightRule["right"][];
}

/** Bits that must be 0 in entries of one level; one that is set makes the entry `malformed`. */
export interface ReservedBits {
  readonly level: number;
  /** Entries that point to a table, or that map memory. */
  readonly of: "table" | "page";
  readonly bits: BitRange;
}

/** What else an entry says, for people. */
export interface EntryAttribute {
  readonly name: string;
  readonly bits: BitRange;
  /** Entries that have it; by default those that map memory. */
  readonly of?: "page" | "table" | "both";
}

/**
 * Brings entries to the form that the walker takes: the physical address at its own bit positions, everything else told
 * by the bits that the definition names. Called once for each table that was read.
 *
 * Entries that are not present stay as they are. What it does to others must be undone by `restore`, for messages.
 */
export interface EntryForm {
  /**
   * Brings entries to that form, where they are.
   *
   * @param words The entries, 8 bytes each, from word `from` on.
   * @param first Index of the first one in its table.
   */
  rewrite(words: Uint32Array, from: number, entries: number, first: number): void;
  /** An entry as it was stored. */
  restore(entry: bigint): bigint;
}

/** The root of a half of an address space. */
export interface HalfRoot {
  /**
   * Entries of it that the first index leads to: the first ones of the lower half, the last ones of the upper (a half whose
   * addresses have fewer bits has fewer, and nothing is translated beyond them). 0: it is a whole table, of the next level.
   */
  readonly entries: number;
  /** What its address is a multiple of, in bytes. */
  readonly align: number;
}

/** A page-table format. Adding one means writing one of these. */
export interface MmuDef {
  /** Short, for messages and the command line: `x86-64`. */
  readonly name: string;
  /** Bits of a virtual address by use, root index first; the last is the byte in the smallest page. */
  readonly splits: readonly number[];
  /** What an entry of each level is called, root first. */
  readonly entryNames: readonly string[];
  /** Bytes of an entry as stored. */
  readonly entryBytes: 4 | 8;
  /** What the bits above the translated ones must be: copies of the highest translated one, zeros, or ones. */
  readonly canonical: "sign-extended" | "zeros" | "ones";
  /**
   * What an entry is: the first pattern that fits says it. The first of all must be that of an `absent` one, with nothing
   * but `clear`.
   */
  readonly entries: readonly EntryPattern[];
  readonly rights: readonly RightRule[];
  /** What the rights of a mapping lack besides, once those of all levels are combined. */
  readonly exclusions?: readonly RightExclusion[];
  /** Where the physical address lies in an entry, at its own bit positions; a page uses those above its size. */
  readonly address: BitRange;
  /** The same in entries of the last table, where it is another. */
  readonly lastAddress?: BitRange;
  /** Bits among those that are no part of it, such as the one that says that a page is encrypted. */
  readonly notAddress?: readonly number[];
  readonly reserved: readonly ReservedBits[];
  readonly attributes?: readonly EntryAttribute[];
  /** How stored entries come to the form that all this describes; where there is none, they have it. */
  readonly form?: EntryForm;
  /** What a root must be a multiple of, in bytes. By default the size of a table; of two roots, `halves` says it. */
  readonly rootAlign?: number;
  /**
   * There are two roots, for the lower and the upper half of the address space (TTBR0 and TTBR1). The first index then
   * begins with the bit that chooses between them.
   */
  readonly halves?: { readonly lower: HalfRoot; readonly upper: HalfRoot };
  /** What the operating system makes of entries that are not present. */
  readonly absentEntries?: AbsentEntries;
}

/** A format with an operating system's use of entries that are not present. */
export function withAbsentEntries(def: MmuDef, absentEntries: AbsentEntries): MmuDef {
  return { ...def, absentEntries };
}

/**
 * A format in which bits of an entry are not part of the address: memory encryption (AMD's C-bit, `sme_mask` in
 * VMCOREINFO; Intel TDX's shared bit).
 */
export function withoutAddressBits(def: MmuDef, bits: readonly number[]): MmuDef {
  return { ...def, notAddress: [...(def.notAddress ?? []), ...bits] };
}
