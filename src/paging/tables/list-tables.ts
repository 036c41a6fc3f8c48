/** The pages that page tables themselves take. */
import { HIGH } from "../../io/address.js";
import type { Routine } from "../../io/index.js";
import { MISSING } from "../formats/entry-kinds.js";
import type { PageTableIo } from "../page-table-io.js";
import { kindOf } from "../walk/walk.hot.js";
import { fetchTables } from "./fetch-tables.js";

/** A table of some address space. */
export interface TablePage {
  /** Physical address of its first entry. */
  readonly physical: number;
  /** 1 for the tables whose entries map the smallest pages. */
  readonly level: number;
  /** Index of the space that it was found in first. */
  readonly space: number;
}

/** Tables read side by side. */
const PIECE = 256;
/** More are not believed: 2^22 of 4 KiB are 16 GiB of tables. */
const MAX_TABLES = 1 << 22;

/**
 * Every table of some address spaces, by its physical address. One that several use is the first one's. Tables that can't be read are
 * given, and what is below them is not. Each is visited once, so loops end.
 */
export function* listTables(spaces: readonly PageTableIo[]): Routine<ReadonlyMap<number, TablePage>> {
  const found = new Map<number, TablePage>();
  for (const [space, io] of spaces.entries()) {
    const { mmu } = io;
    io.beginRequest();
    let level = mmu.levels;
    let tables = [io.rootKey];
    for (const { physical, below } of rootsOf(io)) {
      if (!found.has(physical)) found.set(physical, { physical, level: level - below, space });
    }
    while (level > 1 && tables.length > 0) {
      const next: number[] = [];
      for (let from = 0; from < tables.length; from += PIECE) {
        const piece = tables.slice(from, from + PIECE);
        for (const target of yield* targetsOf(io, piece, level)) {
          // (The root of a half, to which an entry leads that is none in memory, is noted already.)
          const isRoot = level === mmu.levels && found.get(target)?.space === space;
          if (found.size >= MAX_TABLES || (found.has(target) && !isRoot)) continue;
          found.set(target, { physical: target, level: level - 1, space });
          next.push(target);
        }
      }
      tables = next;
      level--;
    }
  }
  return found;
}

/** Where the top tables lie, and how many levels below the first. */
function rootsOf({ root, mmu }: PageTableIo): { physical: number; below: number }[] {
  if (typeof root === "number") return [{ physical: root, below: 0 }];
  const { halves } = mmu.def;
  return (["upper", "lower"] as const).flatMap((half) => {
    const physical = root[half];
    return physical === undefined ? [] : [{ physical, below: halves?.[half].entries === 0 ? 1 : 0 }];
  });
}

/** The tables that entries of these lead to. */
function* targetsOf(io: PageTableIo, tables: readonly number[], level: number): Routine<number[]> {
  const { cache, mmu } = io;
  const fetched = yield* fetchTables(io, tables);
  const targets = new Set<number>();
  for (const [i, address] of tables.entries()) {
    const fetch = fetched[i];
    const slot = fetch === undefined ? cache.find(address) : -1;
    if (fetch === undefined && slot < 0) continue;
    if (fetch !== undefined && fetch.fault !== 0) continue;
    const words = fetch?.words ?? cache.arena;
    const base = slot < 0 ? 0 : slot * mmu.tableWords;
    const entries = level === mmu.levels ? mmu.rootEntries : mmu.tableEntries;
    for (let k = 0; k < entries && base + 2 * k + 1 < words.length; k++) {
      if (fetch?.faults !== undefined && fetch.faults[k] !== 0) continue;
      const lo = (words[base + 2 * k] as number) | 0;
      const hi = (words[base + 2 * k + 1] as number) | 0;
      if ((lo | hi) === 0 || kindOf(mmu, level, lo, hi) !== MISSING) continue;
      targets.add(((hi & mmu.tableAddressHi) >>> 0) * HIGH + ((lo & mmu.tableAddressLo) >>> 0));
    }
  }
  return [...targets];
}
