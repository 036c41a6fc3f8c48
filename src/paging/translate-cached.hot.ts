/**
 * Whole columns of addresses over cached tables, for formats whose last levels are of 4 KiB pages and nine bits
 * (`CompiledMmu.fineGranule`).
 *
 * In blocks, in three passes. `locate` finds where each address's last entry lies: through the region that it is in
 * (1 GiB: what a level 3 entry covers, remembered by `TableCache.regions`), and one link of its level 2 table.
 * `touch` loads those entries with nothing else to do, so that many misses of the processor's caches overlap; only for
 * tables that exceed them. `finish` makes results of the entries. Each pass stops at what it can't do.
 *
 * What counts in these loops is the number of different arrays (V8 loads each one's map, length and pointer anew for
 * each row), numbers written out (a constant of a module is a load, a check and a variable shift), and that leaves of any size take the same path (a branch would be mispredicted).
 */
import { ALL_RIGHTS, type CompiledMmu } from "./mmu.js";
import {
  LINK_LEAF,
  LINK_LEVEL_SHIFT,
  LINK_SLOT_SHIFT,
  LINK_TAG,
  placeOf,
  type TableCache,
} from "./table-cache.hot.js";
import { indexAt, isCanonical } from "./walk.hot.js";

/** The result columns that {@link translateCached} writes. */
export interface OutColumns {
  readonly physical: Float64Array;
  readonly faults: Int32Array;
  readonly levels: Uint8Array;
  readonly rights: Uint8Array;
}

/** Takes what the plain loops can't finish: faults, tables that are not cached, and the first use of any entry. */
export interface SlowPath {
  /** Must not insert tables into the cache. @returns false to stop after this address. */
  translateSlow(i: number, lo: number, hi: number): boolean;
}

/** Rows a block: what is noted of them (4 KiB) stays in the first-level cache. */
const BLOCK = 512;
/** From so many tables on (2 MiB, with their links 3) they are touched first. */
const TOUCH_TABLES = 512;
/**
 * Of each row of a block, where its last entry lies in the arena; and from 512 on, rights of the entries above it, its
 * level from bit 4, and the bits above 11 of the offset in its page.
 */
const found = new Int32Array(2 * BLOCK);

/**
 * Translates addresses `from` to `to` of a column whose tables are cached; hands each of the others to `slow`.
 * The root must be in `rootSlot`, `cache.useLinks` called, and `out.faults` zero.
 *
 * @param words The addresses as `[lo, hi]`.
 * @returns where it stopped: `to`, or after the address at which `slow` said so.
 */
export function translateCached(
  cache: TableCache,
  mmu: CompiledMmu,
  rootSlot: number,
  words: Int32Array,
  from: number,
  to: number,
  out: OutColumns,
  slow: SlowPath,
): number {
  if (!mmu.fineGranule) return translateEach(words, from, to, slow);
  cache.useRegions(rootSlot);
  const { signed: arena, links, regions } = cache;
  const large = cache.count >= TOUCH_TABLES;
  for (let at = from; at < to; ) {
    const rows = locate(links, regions, words, found, mmu.canonicalShift, at, Math.min(BLOCK, to - at));
    if (large) cache.touched ^= touch(arena, found, rows);
    for (let row = 0; row < rows; row++) {
      row = finish(
        arena,
        words,
        found,
        mmu.grants,
        mmu.presentMask,
        mmu.leafAddressHi[1] as number,
        at,
        row,
        rows,
        out.physical,
        out.levels,
        out.rights,
      );
      if (row < rows && !takeSlow(words, at + row, slow)) return at + row + 1;
    }
    at += rows;
    if (rows < BLOCK && at < to && !findRegion(cache, mmu, rootSlot, words, at)) {
      if (!takeSlow(words, at, slow)) return at + 1;
      at++;
    }
  }
  return to;
}

/** Other formats: row by row. */
function translateEach(words: Int32Array, from: number, to: number, slow: SlowPath): number {
  for (let i = from; i < to; i++) if (!takeSlow(words, i, slow)) return i + 1;
  return to;
}

function takeSlow(words: Int32Array, i: number, slow: SlowPath): boolean {
  return slow.translateSlow(i, (words[2 * i] as number) >>> 0, (words[2 * i + 1] as number) >>> 0);
}

/** Notes where the entries of some rows from `at` on lie. @returns how many: all, or those before one it can't tell. */
function locate(
  links: Int32Array,
  regions: Int32Array,
  words: Int32Array,
  found: Int32Array,
  canonicalShift: number,
  at: number,
  rows: number,
): number {
  for (let row = 0; row < rows; row++) {
    const i = (at + row) << 1;
    const lo = words[i] as number;
    const hi = words[i | 1] as number;
    const region = (hi << 2) | (lo >>> 30);
    const place = (Math.imul(region, 0x9e3779b1) >>> 22) << 1;
    // What is above the translated bits must be all zeros or all ones; which of them may be, the region tells.
    if (regions[place] !== region || (((hi >> canonicalShift) + 1) & -2) !== 0) return row;
    const packed = regions[place | 1] as number;
    if (packed < 0) {
      found[row] = (~packed >>> 4) << 1;
      found[row | 512] = (~packed & 15) | 0x3ffff030;
      continue;
    }
    const entry = ((packed >>> 4) << 9) | ((lo >>> 21) & 511);
    const link = links[entry] as number;
    // Level 2, a table or a leaf.
    if ((link & 0x70) !== 0x20) return row;
    const leaf = (link << 24) >> 31;
    const below = ((link >>> 8) << 10) | ((lo >>> 11) & 0x3fe);
    found[row] = below ^ ((below ^ (entry << 1)) & leaf);
    found[row | 512] = (packed & link & 15) | ((1 - leaf) << 4) | (leaf & 0x1ff000);
  }
  return rows;
}

/** Loads the entries of some rows. */
function touch(arena: Int32Array, found: Int32Array, rows: number): number {
  let sum = 0;
  for (let row = 0; row < rows; row++) sum ^= arena[found[row] as number] as number;
  return sum;
}

/** Makes results of rows `row` to `rows` of a block. @returns `rows`, or the first one whose entry maps nothing. */
function finish(
  arena: Int32Array,
  words: Int32Array,
  found: Int32Array,
  grants: Uint8Array,
  presentMask: number,
  addressHi: number,
  at: number,
  from: number,
  rows: number,
  physical: Float64Array,
  levels: Uint8Array,
  rights: Uint8Array,
): number {
  for (let row = from; row < rows; row++) {
    const i = at + row;
    const place = found[row] as number;
    const path = found[row | 512] as number;
    const lo = arena[place] as number;
    const hi = arena[place | 1] as number;
    // Links to larger leaves were made of sound ones.
    if ((lo & presentMask) === 0) return row;
    const offset = path | 0xfff;
    physical[i] =
      (hi & addressHi) * 4294967296 + (((lo & ~offset) | ((words[i << 1] as number) & offset)) >>> 0);
    levels[i] = (path >>> 4) & 3;
    rights[i] = path & (grants[lo & 0xfff] as number) & (grants[4096 | (hi >>> 20)] as number);
  }
  return rows;
}

/**
 * Follows links from the root to the level 2 table of an address, or to its leaf of level 3, and remembers it for the
 * region. @returns whether links lead there.
 */
function findRegion(
  cache: TableCache,
  mmu: CompiledMmu,
  rootSlot: number,
  words: Int32Array,
  i: number,
): boolean {
  const lo = words[2 * i] as number;
  const hi = words[2 * i + 1] as number;
  const region = (hi << 2) | (lo >>> 30);
  const place = placeOf(region) << 1;
  const { links, regions } = cache;
  // Known: it is the link from there that is missing.
  if (regions[place] === region || !isCanonical(mmu, hi)) return false;
  let slot = rootSlot;
  let rights = ALL_RIGHTS;
  for (let level = mmu.levels; level > 2; level--) {
    const at = (slot << 9) | indexAt(mmu, level, lo, hi);
    const link = links[at] as number;
    rights &= link;
    if (level === 3 && (link & LINK_TAG) === (LINK_LEAF | (3 << LINK_LEVEL_SHIFT))) {
      regions[place] = region;
      regions[place + 1] = ~((at << 4) | rights);
      return true;
    }
    if ((link & LINK_TAG) !== level << LINK_LEVEL_SHIFT) return false;
    slot = link >>> LINK_SLOT_SHIFT;
  }
  regions[place] = region;
  regions[place + 1] = (slot << 4) | rights;
  return true;
}
