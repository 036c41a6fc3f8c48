/**
 * The walker, one step at a time over tables in hand; and the short way for one address whose tables are cached and have
 * been walked before. (Columns of addresses: `column-walker.hot.ts`.)
 */
import { HIGH } from "../../io/address.js";
import { type Fault, fault, levelDetail } from "../../io/fault.js";
import { AbsentPage, ELSEWHERE, IN_RAM } from "../formats/absent-entries.js";
import { LEAF, MALFORMED, MISSING, NOT_PRESENT, SWAPPED, UNREADABLE } from "../formats/entry-kinds.js";
import { type CompiledMmu, SOUND } from "../formats/mmu.js";
import { ALL_RIGHTS, GLOBAL } from "../formats/rights.js";
import {
  LINK_LEAF,
  LINK_LEVEL_SHIFT,
  LINK_SLOT_SHIFT,
  LINK_TAG,
  type LinkedTables,
} from "../tables/links.js";

const LEVELS = [0, 1, 2, 3, 4, 5, 6, 7];
/** Faults by the level of the entry. */
const NOT_PRESENT_AT = Int32Array.from(LEVELS, (n) => fault("not-present", "page", "paging", levelDetail(n)));
const SWAPPED_AT = Int32Array.from(LEVELS, (n) => fault("swapped", "page", "paging", levelDetail(n)));
const MALFORMED_AT = Int32Array.from(LEVELS, (n) =>
  fault("malformed", "page-table", "paging", levelDetail(n)),
);
const TABLE_MISSING = fault("table-missing", "page-table", "paging");
export const NON_CANONICAL: Fault = fault("non-canonical", "address", "paging");
/** Past the end of 64 bits. */
export const BEYOND: Fault = fault("outside", "address", "paging");

/** An entry of some level that makes no sense. */
export function malformedAt(level: number): Fault {
  return MALFORMED_AT[level] as number;
}

/** A table of some level that could not be read, and why not. */
export function tableMissing(level: number, cause: Fault): Fault {
  return TABLE_MISSING | (levelDetail(level, cause) << 20);
}

/** The fault of an entry of some level whose page is elsewhere. */
export function swappedAt(level: number): Fault {
  return SWAPPED_AT[level] as number;
}

/** Where a walk stands; reused, so read what you need before anything else is walked or sent. */
export class Step {
  /** For `MISSING`: `address` is where the table lies, its level is one below `level`. */
  kind = 0;
  /** Level of the entry. */
  level = 0;
  index = 0;
  /** Rights of the entries so far, this one included; of a `LEAF`, those of the mapping. */
  rights = 0;
  /** Words of the entry; signed. */
  entryLo = 0;
  entryHi = 0;
  /** Words of the physical address (of a leaf: of its first byte), or of the next table; signed. */
  addressLo = 0;
  addressHi = 0;
  table: Uint32Array = new Uint32Array(0);
  base = 0;
  /** Of the table in the cache, or -1. */
  slot = -1;
  faults: Int32Array | undefined = undefined;
  /** The entry is one that the processor calls not present. */
  isAbsent = false;

  /** The physical address in `addressLo` and `addressHi`. */
  get address(): number {
    return (this.addressHi >>> 0) * HIGH + (this.addressLo >>> 0);
  }
}

/** The fault of a step that ended in one. */
export function faultOfStep(step: Step): Fault {
  if (step.kind === NOT_PRESENT) return NOT_PRESENT_AT[step.level] as number;
  if (step.kind === MALFORMED) return MALFORMED_AT[step.level] as number;
  if (step.kind === SWAPPED) return SWAPPED_AT[step.level] as number;
  return tableMissing(step.level, step.faults?.[step.index] ?? 0);
}

/** Index of an address in a table of `level`. */
export function indexAt(mmu: CompiledMmu, level: number, lo: number, hi: number): number {
  return (
    ((lo >>> (mmu.loShift[level] as number)) & (mmu.loMask[level] as number)) |
    (((hi >>> (mmu.hiShift[level] as number)) << (mmu.hiLeft[level] as number)) &
      (mmu.hiMask[level] as number))
  );
}

/** Whether an address exists in this format. */
export function isCanonical(mmu: CompiledMmu, hi: number): boolean {
  const top = hi >>> mmu.canonicalShift;
  return top === mmu.canonicalLow || top === mmu.canonicalHigh;
}

/** What an entry is for the processor: `LEAF`, `NOT_PRESENT`, `MALFORMED`, or `MISSING` for one that points to a table. */
export function kindOf(mmu: CompiledMmu, level: number, lo: number, hi: number): number {
  const kind = mmu.kinds[(level << 12) | (lo & 0xfff)] as number;
  if (kind === LEAF) {
    const bad = (lo & (mmu.leafReservedLo[level] as number)) | (hi & (mmu.leafReservedHi[level] as number));
    return bad === 0 ? LEAF : MALFORMED;
  }
  if (kind !== MISSING) return kind;
  const bad = (lo & (mmu.tableReservedLo[level] as number)) | (hi & (mmu.tableReservedHi[level] as number));
  return bad === 0 ? MISSING : MALFORMED;
}

/** Rights that an entry grants which maps memory; with those of the entries above, `mmu.settled` makes the mapping's of them. */
export function leafRights({ grants }: CompiledMmu, lo: number, hi: number): number {
  return (grants[lo & 0xfff] as number) & (grants[4096 | (hi >>> 20)] as number) & ALL_RIGHTS;
}

/** Rights that an entry grants which points to a table, to what is below. (Only a page is global.) */
export function tableRights(mmu: CompiledMmu, level: number, lo: number, hi: number): number {
  const grants = mmu.tableGrants[level] as Uint8Array;
  return ((grants[lo & 0xfff] as number) & (grants[4096 | (hi >>> 20)] as number)) | GLOBAL;
}

/** What `absentKind` found; reused. */
export const absentPage = new AbsentPage();

/**
 * What the operating system means by an entry that is not present: `NOT_PRESENT`, `SWAPPED`, or `LEAF` with the page in
 * `absentPage`.
 */
export function absentKind({ def }: CompiledMmu, level: number, lo: number, hi: number): number {
  if (def.absentEntries === undefined || (lo | hi) === 0) return NOT_PRESENT;
  const found = def.absentEntries.read(level, lo, hi, absentPage);
  return found === IN_RAM ? LEAF : found === ELSEWHERE ? SWAPPED : NOT_PRESENT;
}

/**
 * Walks from a table in hand through tables in the cache.
 *
 * @param table  Words of the table of `level`, which begins at `base`.
 * @param slot   Its slot in the cache (`table` is then the arena), or -1.
 * @param faults Of a partly readable table: a fault for each entry.
 */
export function walkFrom(
  step: Step,
  cache: LinkedTables,
  mmu: CompiledMmu,
  table: Uint32Array,
  base: number,
  slot: number,
  faults: Int32Array | undefined,
  level: number,
  rights: number,
  lo: number,
  hi: number,
): void {
  for (;;) {
    const index = indexAt(mmu, level, lo, hi);
    const at = (slot << mmu.tableShift) | index;
    if (slot >= 0) {
      const link = cache.links[at] as number;
      if (level > 1 && (link & LINK_TAG) === level << LINK_LEVEL_SHIFT) {
        rights &= link;
        slot = link >>> LINK_SLOT_SHIFT;
        base = slot << (mmu.tableShift + 1);
        level--;
        continue;
      }
    }
    const entryLo = (table[base + 2 * index] as number) | 0;
    const entryHi = (table[base + 2 * index + 1] as number) | 0;
    let kind = kindOf(mmu, level, entryLo, entryHi);
    if (faults !== undefined && faults[index] !== 0) kind = UNREADABLE;
    let isAbsent = false;
    if (kind === MISSING) {
      const own = tableRights(mmu, level, entryLo, entryHi);
      const addressLo = entryLo & mmu.tableAddressLo;
      const addressHi = entryHi & mmu.tableAddressHi;
      const next = cache.find((addressHi >>> 0) * HIGH + (addressLo >>> 0));
      if (next >= 0) {
        if (slot >= 0) cache.linkTable(at, level, own, next);
        rights &= own;
        slot = next;
        table = cache.arena;
        base = next * mmu.tableWords;
        faults = undefined;
        level--;
        continue;
      }
      step.addressLo = addressLo;
      step.addressHi = addressHi;
      step.rights = rights & own;
    } else if (kind === LEAF) {
      const own = leafRights(mmu, entryLo, entryHi);
      step.rights = mmu.settled[rights & own] as number;
      step.addressLo = entryLo & (mmu.leafAddressLo[level] as number);
      step.addressHi = entryHi & (mmu.leafAddressHi[level] as number);
      if (slot >= 0 && level > 1) cache.linkLeaf(at, level, own);
    } else if (kind === NOT_PRESENT) {
      // (It is never linked: what follows links takes entries as they are.)
      kind = absentKind(mmu, level, entryLo, entryHi);
      isAbsent = true;
      step.rights = mmu.settled[rights & absentPage.rights & ALL_RIGHTS] as number;
      step.addressLo = absentPage.lo;
      step.addressHi = absentPage.hi;
    } else {
      step.rights = 0;
    }
    step.kind = kind;
    step.isAbsent = isAbsent;
    step.level = level;
    step.index = index;
    step.entryLo = kind === UNREADABLE ? 0 : entryLo;
    step.entryHi = kind === UNREADABLE ? 0 : entryHi;
    step.table = table;
    step.base = base;
    step.slot = slot;
    step.faults = faults;
    return;
  }
}

/** Where links led; reused, so read what you need before anything else is walked or sent. */
export class Leaf {
  /** Physical address of the byte that was asked for. */
  address = 0;
  level = 0;
  rights = 0;
  /** Bytes from there to the end of the page. */
  room = 0;
  /** Its place in `cache.links`; twice that is its place in `cache.arena`. */
  entry = 0;
}

/**
 * Follows links from the root to the leaf of an address: a load a level, no hash, no look at the entries on the way.
 *
 * @param slot That of the root; `cache.useLinks` was called.
 * @returns whether links led to a sound leaf. If not, nothing is known: take the long way, `walkFrom`.
 */
export function followLinks(
  leaf: Leaf,
  cache: LinkedTables,
  mmu: CompiledMmu,
  slot: number,
  lo: number,
  hi: number,
): boolean {
  if (!isCanonical(mmu, hi)) return false;
  if (!mmu.fineGranule) return followOtherLinks(leaf, cache, mmu, slot, lo, hi);
  const { links, arena } = cache;
  let rights = ALL_RIGHTS;
  let table = slot;
  for (let level = mmu.levels; level > 3; level--) {
    const link = links[
      (table << 9) | ((hi >>> (mmu.hiShift[level] as number)) & (mmu.hiMask[level] as number))
    ] as number;
    if ((link & LINK_TAG) !== level << LINK_LEVEL_SHIFT) return false;
    rights &= link;
    table = link >>> LINK_SLOT_SHIFT;
  }
  let level = 3;
  let entry = (table << 9) | (((hi << 2) | (lo >>> 30)) & 511);
  let link = links[entry] as number;
  rights &= link;
  if ((link & LINK_TAG) === 3 << LINK_LEVEL_SHIFT) {
    level = 2;
    entry = ((link >>> LINK_SLOT_SHIFT) << 9) | ((lo >>> 21) & 511);
    link = links[entry] as number;
    rights &= link;
    if ((link & LINK_TAG) === 2 << LINK_LEVEL_SHIFT) {
      level = 1;
      entry = ((link >>> LINK_SLOT_SHIFT) << 9) | ((lo >>> 12) & 511);
    }
  }
  if (level > 1 && (link & LINK_TAG) !== (LINK_LEAF | (level << LINK_LEVEL_SHIFT))) return false;
  return takeLeaf(leaf, arena, mmu, level, entry, rights, lo);
}

/** The same for tables of any size. */
function followOtherLinks(
  leaf: Leaf,
  { links, arena }: LinkedTables,
  mmu: CompiledMmu,
  slot: number,
  lo: number,
  hi: number,
): boolean {
  const { indexing, tableShift } = mmu;
  let rights = ALL_RIGHTS;
  let base = slot << tableShift;
  let level = mmu.levels;
  for (;;) {
    const at = 5 * level;
    const entry =
      base |
      ((lo >>> (indexing[at] as number)) & (indexing[at + 1] as number)) |
      (((hi >>> (indexing[at + 2] as number)) << (indexing[at + 3] as number)) &
        (indexing[at + 4] as number));
    if (level === 1) return takeLeaf(leaf, arena, mmu, 1, entry, rights, lo);
    const link = links[entry] as number;
    rights &= link;
    if ((link & LINK_TAG) === level << LINK_LEVEL_SHIFT) {
      base = (link >>> LINK_SLOT_SHIFT) << tableShift;
      level--;
      continue;
    }
    // (A page of 4 GiB or more takes the long way: its offset has more than a word.)
    if ((link & LINK_TAG) !== (LINK_LEAF | (level << LINK_LEVEL_SHIFT)) || mmu.offsetHi[level] !== 0)
      return false;
    return takeLeaf(leaf, arena, mmu, level, entry, rights, lo);
  }
}

/** What an entry maps that links led to. @returns whether it is sound, which links do not tell of the last level. */
function takeLeaf(
  leaf: Leaf,
  arena: Uint32Array,
  mmu: CompiledMmu,
  level: number,
  entry: number,
  above: number,
  lo: number,
): boolean {
  const entryLo = arena[2 * entry] as number;
  const entryHi = arena[2 * entry + 1] as number;
  let rights = above;
  if (level === 1) {
    const granted = mmu.grants[entryLo & 0xfff] as number;
    const reserved =
      (entryLo & (mmu.leafReservedLo[1] as number)) | (entryHi & (mmu.leafReservedHi[1] as number));
    if ((granted & SOUND) === 0 || reserved !== 0) return false;
    rights &= granted & (mmu.grants[4096 | (entryHi >>> 20)] as number);
  }
  const offset = lo & (mmu.offsetLo[level] as number);
  leaf.address =
    ((entryHi & (mmu.leafAddressHi[level] as number)) >>> 0) * HIGH +
    (((entryLo & (mmu.leafAddressLo[level] as number)) | offset) >>> 0);
  leaf.level = level;
  leaf.rights = mmu.settled[rights & ALL_RIGHTS] as number;
  leaf.room = (mmu.offsetLo[level] as number) + 1 - offset;
  leaf.entry = entry;
  return true;
}

/**
 * Bytes from an address on that share the outcome of a step: to the end of what its entry covers, and on through
 * entries of the same table that continue it physically (leaves) or are absent as well. At least `wanted` bytes, if
 * there are so many. Never beyond one entry of the root.
 */
export function runBytes(step: Step, mmu: CompiledMmu, lo: number, hi: number, wanted: number): number {
  const { level, kind, table, base } = step;
  const size = mmu.size[level] as number;
  const bytes =
    size -
    ((hi & (mmu.offsetHi[level] as number)) >>> 0) * HIGH -
    ((lo & (mmu.offsetLo[level] as number)) >>> 0);
  if (bytes >= wanted || step.faults !== undefined) return bytes;
  if (kind !== NOT_PRESENT && (kind !== LEAF || step.isAbsent)) return bytes;
  return bytes + moreBytes(mmu, level, kind, table, base, step.index, step.address + size, wanted - bytes);
}

/** As {@link runBytes}, of what links led to. */
export function leafBytes(leaf: Leaf, cache: LinkedTables, mmu: CompiledMmu, wanted: number): number {
  const { room, entry, level, address } = leaf;
  if (room >= wanted) return room;
  const index = entry & (mmu.tableEntries - 1);
  return (
    room + moreBytes(mmu, level, LEAF, cache.arena, 2 * (entry - index), index, address + room, wanted - room)
  );
}

/** Bytes of the entries behind `from` that continue it; those of leaves at `expected`. */
function moreBytes(
  mmu: CompiledMmu,
  level: number,
  kind: number,
  table: Uint32Array,
  base: number,
  from: number,
  expected: number,
  wanted: number,
): number {
  if (level === mmu.levels) return 0;
  const size = mmu.size[level] as number;
  const last = (mmu.loMask[level] as number) | (mmu.hiMask[level] as number);
  const addressLo = mmu.leafAddressLo[level] as number;
  const addressHi = mmu.leafAddressHi[level] as number;
  const isOdd = mmu.def.absentEntries !== undefined;
  let bytes = 0;
  for (let index = from + 1; index <= last && bytes < wanted; index++) {
    const entryLo = table[base + 2 * index] as number;
    const entryHi = table[base + 2 * index + 1] as number;
    if (kindOf(mmu, level, entryLo, entryHi) !== kind) break;
    // The operating system may mean something by it.
    if (kind === NOT_PRESENT && isOdd && (entryLo | entryHi) !== 0) break;
    if (
      kind === LEAF &&
      ((entryHi & addressHi) >>> 0) * HIGH + ((entryLo & addressLo) >>> 0) !== expected + bytes
    )
      break;
    bytes += size;
  }
  return bytes;
}
