/**
 * What address spaces share: parts for which several top tables hold the very same entries. Kernels copy those of their
 * half into the top table of each process (x86-64 Linux: `sync_global_pgds`, arch/x86/mm/init_64.c), so that it need be
 * visited once for all of them.
 *
 * Entries are compared as they are: one that differs in an accessed bit is visited once more, which costs time alone.
 * Tables below the top are not compared.
 */
import type { PacketIo, Routine } from "../../io/index.js";
import type { CompiledMmu } from "../formats/mmu.js";
import type { PageTableIo } from "../page-table-io.js";
import { arrivals, fetchTables } from "../tables/fetch-tables.js";
import type { TableFetch } from "../tables/table-fetch.js";

/** A part of the address space. */
export interface SharedPart {
  /** First page number, in the smallest pages of the members' format. */
  readonly from: number;
  /** Exclusive. */
  readonly to: number;
  /** Whose it is: indices of the spaces, ascending. */
  readonly members: readonly number[];
}

/** Top tables that are read side by side. */
const BATCH = 256;

/** Spaces whose top tables can be compared: of one format, in one memory. */
class Kin {
  readonly mmu: CompiledMmu;
  readonly physical: PacketIo<number>;
  readonly members: number[] = [];
  /** By index in the top table: spaces by the entry that they have there. Absent entries that are 0 are left out. */
  readonly entries: (Map<bigint, number[]> | undefined)[] = [];

  constructor({ mmu, physical }: PageTableIo) {
    this.mmu = mmu;
    this.physical = physical;
  }

  isKinOf({ mmu, physical }: PageTableIo): boolean {
    return mmu === this.mmu && physical === this.physical;
  }

  /** Notes the entries of a space's top table. */
  add(member: number, words: Uint32Array): void {
    const { mmu } = this;
    for (let index = 0; index < mmu.rootEntries; index++) {
      const lo = words[2 * index] as number;
      const hi = words[2 * index + 1] as number;
      if ((lo | hi) === 0) continue;
      const entry = BigInt(hi) * 0x1_0000_0000n + BigInt(lo);
      this.entries[index] ??= new Map();
      const sharing = this.entries[index]?.get(entry);
      if (sharing === undefined) this.entries[index]?.set(entry, [member]);
      else sharing.push(member);
    }
  }

  /** Neighbouring entries of the same spaces are one part. */
  parts(): SharedPart[] {
    const { mmu } = this;
    const pages = mmu.pages[mmu.levels] as number;
    const parts: SharedPart[] = [];
    /** By first member: the part that ended last. */
    const open = new Map<number, { from: number; to: number; members: readonly number[] }>();
    this.entries.forEach((byEntry, index) => {
      const from = index * pages + (index >= mmu.extendFrom ? mmu.extendPages : 0);
      for (const members of byEntry?.values() ?? []) {
        const before = open.get(members[0] as number);
        if (before?.to === from && areSame(before.members, members)) {
          before.to = from + pages;
        } else {
          const part = { from, to: from + pages, members };
          open.set(members[0] as number, part);
          parts.push(part);
        }
      }
    });
    return parts;
  }
}

function areSame(some: readonly number[], others: readonly number[]): boolean {
  return some.length === others.length && some.every((member, i) => member === others[i]);
}

/**
 * The parts of several address spaces, by first member and then by address; together they hold everything that any of
 * them maps. A space whose top table can't be read, or not wholly, is a part of its own.
 *
 * Memory: the entries of the top tables that are not 0.
 */
export function* sharedParts(spaces: readonly PageTableIo[]): Routine<SharedPart[]> {
  const kinds: Kin[] = [];
  spaces.forEach((io, member) => {
    let kin = kinds.find((one) => one.isKinOf(io));
    if (kin === undefined) {
      kin = new Kin(io);
      kinds.push(kin);
    }
    kin.members.push(member);
  });
  const parts: SharedPart[] = [];
  for (const kin of kinds) {
    for (const members of batches(kin.members, spaces)) {
      const tables = yield* readTops(members.map((member) => spaces[member] as PageTableIo));
      members.forEach((member, i) => {
        const { pageShift } = (spaces[member] as PageTableIo).mmu;
        const words = tables[i];
        if (words === undefined) parts.push({ from: 0, to: 2 ** (64 - pageShift), members: [member] });
        else kin.add(member, words);
      });
    }
    for (const part of kin.parts()) parts.push(part);
  }
  return parts.sort((a, b) => (a.members[0] as number) - (b.members[0] as number) || a.from - b.from);
}

/** Members side by side that keep their tables in one cache. */
function* batches(
  members: readonly number[],
  spaces: readonly PageTableIo[],
): Generator<readonly number[], void, void> {
  let batch: number[] = [];
  for (const member of members) {
    const [first] = batch;
    const other = first !== undefined && spaces[first]?.cache !== spaces[member]?.cache;
    if (batch.length === BATCH || other) {
      yield batch;
      batch = [];
    }
    batch.push(member);
  }
  if (batch.length !== 0) yield batch;
}

/** The top tables of spaces that share a cache, read as one batch; `undefined` for what can't be read, or not wholly. */
function* readTops(spaces: readonly PageTableIo[]): Routine<(Uint32Array | undefined)[]> {
  const [first] = spaces;
  if (first === undefined) return [];
  first.beginRequest();
  const { cache, mmu } = first;
  const cached = ({ rootKey }: PageTableIo) => {
    const slot = cache.find(rootKey);
    return slot < 0 ? undefined : cache.arena.slice(slot * mmu.tableWords, (slot + 1) * mmu.tableWords);
  };
  // (Copies: tables that are cached may make room for those that are not.)
  const found: (Uint32Array | undefined)[] = spaces.map(cached);
  const missing = [...spaces.keys()].filter((i) => found[i] === undefined);
  const tables = yield* fetchTops(missing.map((i) => spaces[i] as PageTableIo));
  tables.forEach((table, nth) => {
    const i = missing[nth] as number;
    const isWhole = table === undefined || (table.fault === 0 && table.faults === undefined);
    if (isWhole) found[i] = table?.words ?? cached(spaces[i] as PageTableIo);
  });
  return found;
}

/** Top tables that are not cached; `undefined` for what has come into the cache. */
function* fetchTops(spaces: readonly PageTableIo[]): Routine<(TableFetch | undefined)[]> {
  const [first] = spaces;
  if (first === undefined) return [];
  const { cache } = first;
  if (first.mmu.plainRoot) {
    return yield* fetchTables(
      first,
      spaces.map(({ rootKey }) => rootKey),
    );
  }
  // Each knows itself how its root is read.
  const unsent: TableFetch[] = [];
  const tables = spaces.map((io) => {
    const known = cache.broken.get(io.rootKey) ?? cache.flightOf(io.rootKey);
    if (known !== undefined) return known;
    const fetch = io.makeFetch(io.rootKey);
    unsent.push(fetch);
    return fetch;
  });
  yield* arrivals(first, [...new Set(tables)], unsent);
  return tables;
}
