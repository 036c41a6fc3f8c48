/** The translation of one address, which waits for tables as it needs them. */
import { HIGH, joinAddress, split, splitAddress } from "../io/address.js";
import type { Address, Routine } from "../io/index.js";
import { fetchTable } from "./fetch-tables.js";
import { ALL_RIGHTS } from "./mmu.js";
import type { PageTableIo } from "./page-table-io.js";
import { rightsFields, type Translation, unmapped } from "./translation.js";
import {
  faultOfStep,
  isCanonical,
  LEAF,
  MISSING,
  NON_CANONICAL,
  Step,
  tableMissing,
  walkFrom,
} from "./walk.hot.js";

const step = new Step();

/** The words of an address. @throws {RangeError} for what is none. */
export function wordsOf(address: Address): { lo: number; hi: number } {
  if (!splitAddress(address)) throw new RangeError(`not an address of 64 bits: ${String(address)}`);
  return { lo: split.lo, hi: split.hi };
}

/** The routine of `VirtualMemory.translate`. */
export function* translateRoutine(io: PageTableIo, address: Address): Routine<Translation> {
  const { lo, hi } = wordsOf(address);
  const { mmu, cache } = io;
  const virtual = joinAddress(lo, hi);
  io.beginRequest();
  if (!isCanonical(mmu, hi)) return unmapped(virtual, NON_CANONICAL, 0n);
  let level = mmu.levels;
  let rights = ALL_RIGHTS;
  let missing = io.root;
  let entry = 0n;
  const slot = cache.find(io.root);
  if (slot >= 0) {
    walkFrom(step, cache, mmu, cache.arena, slot * mmu.tableWords, slot, undefined, level, rights, lo, hi);
  }
  let found = slot >= 0;
  for (;;) {
    if (found) {
      if (step.kind !== MISSING) {
        const last = joinAddress(step.entryLo, step.entryHi);
        if (step.kind !== LEAF) return unmapped(virtual, faultOfStep(step), last);
        const at = step.level;
        return {
          virtual,
          physical:
            step.address +
            ((hi & (mmu.offsetHi[at] as number)) >>> 0) * HIGH +
            ((lo & (mmu.offsetLo[at] as number)) >>> 0),
          pageSize: mmu.size[at] as number,
          ...rightsFields(step.rights),
        };
      }
      level = step.level - 1;
      rights = step.rights;
      missing = step.address;
      entry = joinAddress(step.entryLo, step.entryHi);
    }
    const fetch = yield* fetchTable(io, missing);
    if (fetch.fault !== 0) return unmapped(virtual, tableMissing(level, fetch.fault), entry);
    io.cache.useLinks(mmu);
    walkFrom(step, cache, mmu, fetch.words, 0, -1, fetch.faults, level, rights, lo, hi);
    found = true;
  }
}
