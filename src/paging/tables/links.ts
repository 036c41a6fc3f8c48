/**
 * Links: what the entries of cached tables were found to be when they were last walked, a number an entry (see
 * `table-cache.hot.ts`). Bits 0 to 5: the rights that the entry grants. 6 to 8: its level. 9: it is a leaf. 10: it was
 * asked about. 11 to 31: the slot of the table that it leads to, so that all above bit 10 is where the links of that
 * table begin, in bytes, if it has 512 entries. 0: nothing is known.
 */
export const LINK_LEVEL_SHIFT = 6;
/** Level and kind in one: equal to `level << LINK_LEVEL_SHIFT` for a table. */
export const LINK_TAG = 0x3c0;
export const LINK_LEAF = 0x200;
export const LINK_SLOT_SHIFT = 11;

/**
 * A column walker has asked what this entry is (see `column-walker.hot.ts`). Level 0, so that walkers look again; the level
 * of whoever asked is where a table's slot would be: by another way, the entry may be one of another level.
 */
export const LINK_ASKED = 0x400;

/** What a walker writes that asks about an entry of a level. */
export function askedAt(level: number): number {
  return LINK_ASKED | (level << LINK_SLOT_SHIFT);
}
/** Neither a table that is cached nor a sound leaf; what it is, is found out by hand each time. */
export const LINK_ODD = LINK_LEAF;

/** What walkers need of the cached tables. */
export interface LinkedTables {
  /** Table of slot s: words s·tableWords to (s + 1)·tableWords. */
  readonly arena: Uint32Array;
  /** Links of slot s: s·entries to (s + 1)·entries. */
  readonly links: Int32Array;
  /** The slot of the table at a physical address, or -1. */
  find(address: number): number;
  /**
   * Notes that entry `at` (slot·entries + index) leads to the table in `slot`.
   *
   * @returns whether that takes the link from another entry.
   */
  linkTable(at: number, level: number, rights: number, slot: number): boolean;
  /** Notes that entry `at` is a sound leaf. */
  linkLeaf(at: number, level: number, rights: number): void;
}
