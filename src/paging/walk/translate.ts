/** The translation of one address: at once from cached tables, or in a routine that waits for tables as it needs them. */
import { HIGH, joinAddress, split, splitAddress, splitVirtual } from "../../io/address.js";
import type { Address, Routine } from "../../io/index.js";
import { LEAF, MISSING } from "../formats/entry-kinds.js";
import { ALL_RIGHTS, EXECUTABLE, GLOBAL, READABLE, rightsFields, USER, WRITABLE } from "../formats/rights.js";
import type { PageTableIo } from "../page-table-io.js";
import { fetchTable } from "../tables/fetch-tables.js";
import { type Translation, unmapped } from "./translation.js";
import {
  faultOfStep,
  followLinks,
  isCanonical,
  Leaf,
  NON_CANONICAL,
  Step,
  tableMissing,
  walkFrom,
} from "./walk.hot.js";

const step = new Step();
const leaf = new Leaf();

/** The words of an address. @throws {RangeError} for what is none. */
export function wordsOf(address: Address): { lo: number; hi: number } {
  if (!splitAddress(address)) throw new RangeError(`not an address of 64 bits: ${String(address)}`);
  return { lo: split.lo, hi: split.hi };
}

/**
 * Where an address leads, if cached tables tell; `undefined` if one is missing. Sends nothing and allocates the result
 * alone: `Io`'s quick path calls it, so that `vm.translate(va).sync()` makes no generator and no task.
 *
 * @param virtual An unsigned address of 64 bits.
 */
export function translateNow(io: PageTableIo, virtual: bigint): Translation | undefined {
  const { mmu, cache } = io;
  io.beginRequest();
  const slot = cache.find(io.rootKey);
  if (slot < 0) return recalled(io, virtual);
  splitVirtual(virtual);
  const { lo, hi } = split;
  if (followLinks(leaf, cache, mmu, slot, lo, hi)) {
    const { rights } = leaf;
    return {
      virtual,
      physical: leaf.address,
      pageSize: mmu.size[leaf.level] as number,
      readable: (rights & READABLE) !== 0,
      writable: (rights & WRITABLE) !== 0,
      user: (rights & USER) !== 0,
      executable: (rights & EXECUTABLE) !== 0,
      global: (rights & GLOBAL) !== 0,
      rights,
    };
  }
  return walkNow(io, virtual, slot, lo, hi);
}

/** As `translateNow`, for what links don't tell. */
function walkNow(
  io: PageTableIo,
  virtual: bigint,
  slot: number,
  lo: number,
  hi: number,
): Translation | undefined {
  const { mmu, cache } = io;
  if (!isCanonical(mmu, hi)) return unmapped(mmu, virtual, NON_CANONICAL, 0n);
  walkFrom(
    step,
    cache,
    mmu,
    cache.arena,
    slot * mmu.tableWords,
    slot,
    undefined,
    mmu.levels,
    ALL_RIGHTS,
    lo,
    hi,
  );
  return step.kind === MISSING ? recalled(io, virtual) : resultOf(io, virtual, lo, hi);
}

/** What is remembered of an address whose tables are not all cached. */
function recalled({ cache, mmu, rootKey }: PageTableIo, virtual: bigint): Translation | undefined {
  splitVirtual(virtual);
  const { lo, hi } = split;
  const { tlb } = cache;
  if (!tlb.find(rootKey, lo, hi)) return undefined;
  if (tlb.fault !== 0) return unmapped(mmu, virtual, tlb.fault, joinAddress(tlb.lo, tlb.hi));
  const physical = (tlb.hi >>> 0) * HIGH + ((tlb.lo | (lo & 0xfff)) >>> 0);
  return { virtual, physical, pageSize: mmu.size[tlb.level] as number, ...rightsFields(tlb.rights) };
}

/** What a step that ended says of an address. */
function resultOf({ mmu }: PageTableIo, virtual: bigint, lo: number, hi: number): Translation {
  if (step.kind !== LEAF)
    return unmapped(mmu, virtual, faultOfStep(step), joinAddress(step.entryLo, step.entryHi));
  const { level, rights } = step;
  const low = step.addressLo | (lo & (mmu.offsetLo[level] as number));
  const high = step.addressHi | (hi & (mmu.offsetHi[level] as number));
  return {
    virtual,
    physical: (high >>> 0) * HIGH + (low >>> 0),
    pageSize: mmu.size[level] as number,
    readable: (rights & READABLE) !== 0,
    writable: (rights & WRITABLE) !== 0,
    user: (rights & USER) !== 0,
    executable: (rights & EXECUTABLE) !== 0,
    global: (rights & GLOBAL) !== 0,
    rights,
  };
}

/** The routine of `VirtualMemory.translate`. @param virtual As for {@link translateNow}. */
export function* translateRoutine(io: PageTableIo, virtual: bigint): Routine<Translation> {
  splitVirtual(virtual);
  const { lo, hi } = split;
  const { mmu, cache } = io;
  io.beginRequest();
  const { generation } = cache;
  if (!isCanonical(mmu, hi)) return unmapped(mmu, virtual, NON_CANONICAL, 0n);
  let level = mmu.levels;
  let rights = ALL_RIGHTS;
  let missing = io.rootKey;
  let entry = 0n;
  const slot = cache.find(io.rootKey);
  if (slot >= 0) {
    walkFrom(step, cache, mmu, cache.arena, slot * mmu.tableWords, slot, undefined, level, rights, lo, hi);
  }
  let found = slot >= 0;
  if (!found || step.kind === MISSING) {
    const known = recalled(io, virtual);
    if (known !== undefined) return known;
  }
  for (;;) {
    if (found) {
      if (step.kind !== MISSING) return resultOf(io, virtual, lo, hi);
      level = step.level - 1;
      rights = step.rights;
      missing = step.address;
      entry = joinAddress(step.entryLo, step.entryHi);
    }
    const fetch = yield* fetchTable(io, missing);
    // Before anything is remembered: others may have used another format meanwhile.
    io.cache.useLinks(mmu);
    if (fetch.fault !== 0) {
      splitVirtual(entry);
      io.rememberMissing(fetch, level, generation, lo, hi, split.lo, split.hi);
      return unmapped(mmu, virtual, tableMissing(level, fetch.fault), entry);
    }
    walkFrom(step, cache, mmu, fetch.words, 0, -1, fetch.faults, level, rights, lo, hi);
    io.remember(step, fetch, generation, lo, hi);
    found = true;
  }
}
