/**
 * Translates blocks of addresses through the links of cached tables (see `table-cache.hot.ts`), and nothing else: a row
 * that links don't lead to a leaf is left to its caller, who may first find out what the entries are that it asked about.
 *
 * There are two walkers with one outcome: this one, a plain loop, and one in generated code (`walk-code.ts`), which takes
 * a quarter of the time. Both do without the hash, and look at entries only where memory is mapped.
 */

import { type CompiledMmu, SOUND } from "../formats/mmu.js";
import { ALL_RIGHTS } from "../formats/rights.js";
import {
  askedAt,
  LINK_LEAF,
  LINK_LEVEL_SHIFT,
  LINK_SLOT_SHIFT,
  LINK_TAG,
  type LinkedTables,
} from "../tables/links.js";
import { indexAt, isCanonical } from "./walk.hot.js";

/** Rows of a block: what is noted of them stays in the processor's second-level cache. */
export const BLOCK = 2048;
/**
 * In `left`: there is something about this row that links do not tell, such as that its page is absent. (The sign: a
 * number that fits into 31 bits and it is no object.)
 */
export const BY_HAND = -0x80000000;
/** The row of what is in `left`. */
export const LEFT_ROW = 0x7fffffff;
/** In the second word of what is in `asked`; below are the rights. */
export const ASKED_ROW_SHIFT = 6;

/** See the module's comment. Its columns are the same arrays in every block. */
export interface ColumnWalker {
  /** The addresses of the block: to be filled in before `walk`. */
  readonly addresses: BigUint64Array;
  /** The same as `[lo, hi]`. */
  readonly words: Uint32Array;
  /** Physical address of each byte. This and the other results are only set for rows that are not left. */
  readonly physical: Float64Array;
  /** Level of the leaf. */
  readonly levels: Uint8Array;
  readonly rights: Uint8Array;
  /** After `walk`: the rows that are left, ascending, some with `BY_HAND`; the others wait for what was asked. */
  readonly left: Int32Array;
  /**
   * After `walk`, two words for each entry of which it is not known what it is: (slot·entries + index)·8 + level; and
   * row·64 + the rights down to its table, of the first row that came there. Each is asked about once, until it is linked
   * or its link becomes 0 again.
   */
  readonly asked: Uint32Array;
  /** After `walk`: how many. */
  readonly askedCount: number;
  /**
   * Walks rows 0 to `rows` from the root in a slot.
   *
   * @param ask Whether to ask about unknown entries; if not, rows that need them are left, and nothing is noted.
   * @returns how many rows are left.
   */
  walk(rootSlot: number, rows: number, ask: boolean): number;
}

/** The walker that needs nothing but ECMAScript. */
export class PlainWalker implements ColumnWalker {
  readonly addresses = new BigUint64Array(BLOCK);
  readonly words = new Uint32Array(this.addresses.buffer);
  readonly physical = new Float64Array(BLOCK);
  readonly levels = new Uint8Array(BLOCK);
  readonly rights = new Uint8Array(BLOCK);
  readonly left = new Int32Array(BLOCK);
  readonly asked = new Uint32Array(2 * BLOCK);
  askedCount = 0;
  readonly #cache: LinkedTables;
  readonly #mmu: CompiledMmu;

  constructor(cache: LinkedTables, mmu: CompiledMmu) {
    this.#cache = cache;
    this.#mmu = mmu;
  }

  walk(rootSlot: number, rows: number, ask: boolean): number {
    const mmu = this.#mmu;
    const { arena, links } = this.#cache;
    const { words, physical, levels, left, asked } = this;
    const { grants, settled, tableShift } = mmu;
    let leftCount = 0;
    let askedCount = 0;
    for (let row = 0; row < rows; row++) {
      const lo = words[2 * row] as number;
      const hi = words[2 * row + 1] as number;
      if (!isCanonical(mmu, hi)) {
        left[leftCount++] = row | BY_HAND;
        continue;
      }
      let slot = rootSlot;
      let level = mmu.levels;
      let at = 0;
      let link = 0;
      let rights = ALL_RIGHTS;
      for (;;) {
        at = (slot << tableShift) | indexAt(mmu, level, lo, hi);
        if (level === 1) break;
        link = links[at] as number;
        if ((link & LINK_TAG) !== level << LINK_LEVEL_SHIFT) break;
        rights &= link;
        slot = link >>> LINK_SLOT_SHIFT;
        level--;
      }
      if (level > 1) {
        if ((link & LINK_TAG) !== (LINK_LEAF | (level << LINK_LEVEL_SHIFT))) {
          const askedHere = askedAt(level);
          if (link === 0 && ask) {
            links[at] = askedHere;
            asked[2 * askedCount] = (at << 3) | level;
            asked[2 * askedCount + 1] = (row << ASKED_ROW_SHIFT) | rights;
            askedCount++;
            link = askedHere;
          }
          left[leftCount++] = link === askedHere ? row : row | BY_HAND;
          continue;
        }
        rights &= link;
      }
      const entryLo = arena[2 * at] as number;
      const entryHi = arena[2 * at + 1] as number;
      if (level === 1) {
        const reserved =
          (entryLo & (mmu.leafReservedLo[1] as number)) | (entryHi & (mmu.leafReservedHi[1] as number));
        const granted = grants[entryLo & 0xfff] as number;
        if ((granted & SOUND) === 0 || reserved !== 0) {
          left[leftCount++] = row | BY_HAND;
          continue;
        }
        rights &= granted & (grants[4096 | (entryHi >>> 20)] as number);
      }
      const high = (entryHi & (mmu.leafAddressHi[level] as number)) | (hi & (mmu.offsetHi[level] as number));
      const low = (entryLo & (mmu.leafAddressLo[level] as number)) | (lo & (mmu.offsetLo[level] as number));
      physical[row] = (high >>> 0) * 4294967296 + (low >>> 0);
      levels[row] = level;
      this.rights[row] = settled[rights] as number;
    }
    this.askedCount = askedCount;
    return leftCount;
  }
}
