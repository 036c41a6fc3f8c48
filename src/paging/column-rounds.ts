/**
 * A column of addresses through the links of cached tables, in rounds. Each gives the addresses whose tables are all
 * there, and the entries that are in the others' way; what those lead to is then looked up or fetched, all at once, and
 * the others are walked again: a level further.
 */
import { HIGH } from "../io/address.js";
import type { Routine } from "../io/index.js";
import { BLOCK, type ColumnWalker, LEFT_ROW } from "./column-walker.hot.js";
import { GLOBAL } from "./mmu.js";
import type { PageTableIo } from "./page-table-io.js";
import { MAX_ROWS, MAX_TABLES, RowList } from "./row-list.js";
import type { RowsByHand } from "./rows-by-hand.js";
import type { TableFetch } from "./table-fetch.js";
import type { TranslationColumns } from "./translation.js";
import { kindOf, LEAF, MISSING, rightsOf } from "./walk.hot.js";

/** Entries that a round has asked about, and tables that they lead to. */
class Asked {
  /** As `ColumnWalker.asked` gives them. */
  readonly entries: number[] = [];
  /** Those among them that lead to tables to be fetched, and the addresses of these. */
  readonly wanting: number[] = [];
  readonly wanted: number[] = [];
  /** Page numbers of all tables that they lead to. */
  readonly seen = new Set<number>();

  clear(): void {
    this.entries.length = 0;
    this.wanting.length = 0;
    this.wanted.length = 0;
    this.seen.clear();
  }
}

/** See the module's comment. */
export class ColumnRounds {
  readonly #io: PageTableIo;
  readonly #out: TranslationColumns;
  readonly #addresses: BigUint64Array;
  readonly #words: Uint32Array;
  /** Of the cache, when the rows at hand were begun. */
  #generation = 0;
  readonly #byHand: RowList;
  readonly #hand: RowsByHand;
  readonly #inHand: ReadonlyMap<number, TableFetch>;
  /** Rows that wait for what was asked. */
  readonly #waiting = RowList.take();
  readonly #asked = new Asked();
  #rootSlot = -1;

  /**
   * @param byHand Takes the rows that links can't tell about.
   * @param hand Who translates them.
   * @param inHand Tables that came and are not for the cache, by address.
   */
  constructor(
    io: PageTableIo,
    out: TranslationColumns,
    words: Uint32Array,
    byHand: RowList,
    hand: RowsByHand,
    inHand: ReadonlyMap<number, TableFetch>,
  ) {
    this.#io = io;
    this.#out = out;
    this.#addresses = out.addresses;
    this.#words = words;
    this.#byHand = byHand;
    this.#hand = hand;
    this.#inHand = inHand;
  }

  /** Must not be used any more. */
  give(): void {
    this.#waiting.give();
  }

  /** Translates rows from `from` on, from the root in a slot. @returns up to which, exclusive. */
  *run(from: number, rootSlot: number): Routine<number> {
    const { cache, mmu } = this.#io;
    const { length } = this.#out;
    this.#rootSlot = rootSlot;
    this.#generation = cache.generation;
    const walker = cache.walker(mmu, length - from);
    let at = from;
    while (at < length && this.#waiting.length + this.#byHand.length < MAX_ROWS) {
      const rows = Math.min(BLOCK, length - at);
      walker.addresses.set(rows === length ? this.#addresses : this.#addresses.subarray(at, at + rows));
      this.#take(walker, at, rows, walker.walk(rootSlot, rows, true));
      at += rows;
    }
    try {
      yield* this.#rounds();
    } finally {
      this.#takeBack();
    }
    const waiting = this.#waiting;
    for (let i = 0; i < waiting.length; i++) this.#byHand.add(waiting.rows[i] as number);
    waiting.length = 0;
    return at;
  }

  /**
   * A level a round, together with the rows by hand, so that all travel in the same batches. Rows for which that does
   * not suffice (others have made room for their tables meanwhile, or everything was forgotten) are left.
   */
  *#rounds(): Routine<void> {
    const { cache, mmu, root } = this.#io;
    const hand = this.#hand;
    for (let round = 0; round <= mmu.levels; round++) {
      this.#lookUpAll();
      const { wanted } = this.#asked;
      const column = wanted.length === 0 ? undefined : this.#io.makeColumnFetch(wanted.slice());
      // (Now that the column is known: a table that both want is read once.)
      hand.walk(this.#rootSlot);
      if (column === undefined && !hand.waits) return;
      yield* hand.settle(column);
      // Whatever was forgotten meanwhile, slots may be others' now.
      this.#rootSlot = cache.generation === this.#generation ? cache.find(root) : -1;
      if (this.#rootSlot < 0) return;
      this.#linkWanted();
      this.#asked.clear();
      this.#walkWaiting(cache.walker(mmu, 0));
    }
  }

  /** Entries that nobody will look up after all, such as those of a request that is given up, may be asked about again. */
  #takeBack(): void {
    const { cache } = this.#io;
    const { entries, wanting } = this.#asked;
    if (cache.generation === this.#generation) {
      for (const asked of entries) cache.takeBackAsked(asked >>> 3);
      for (const asked of wanting) cache.takeBackAsked(asked >>> 3);
    }
    this.#asked.clear();
  }

  /** Looks up what was asked, and walks on from there, until all that is asked about must be fetched. */
  #lookUpAll(): void {
    const { cache, mmu } = this.#io;
    const { entries, wanting, wanted } = this.#asked;
    while (entries.length !== 0 && this.#lookUp()) this.#walkWaiting(cache.walker(mmu, 0));
    if (cache.hasRoom(wanted.length)) return;
    // By hand, what tables give is remembered, for when they have made room for each other.
    for (const asked of wanting) cache.linkOdd(asked >>> 3);
    wanted.length = 0;
    wanting.length = 0;
    this.#walkWaiting(cache.walker(mmu, 0));
  }

  #leave(left: number, row: number): void {
    if (left < 0) this.#byHand.add(row);
    else this.#waiting.add(row);
  }

  /** Takes the results of a block of consecutive rows, and what it has asked. */
  #take(walker: ColumnWalker, at: number, rows: number, leftCount: number): void {
    const out = this.#out;
    const isWhole = rows === BLOCK;
    out.physical.set(isWhole ? walker.physical : walker.physical.subarray(0, rows), at);
    out.levels.set(isWhole ? walker.levels : walker.levels.subarray(0, rows), at);
    out.rights.set(isWhole ? walker.rights : walker.rights.subarray(0, rows), at);
    const { left } = walker;
    for (let i = 0; i < leftCount; i++) {
      const row = left[i] as number;
      this.#leave(row, at + (row & LEFT_ROW));
    }
    this.#takeAsked(walker);
  }

  #takeAsked({ asked, askedCount }: ColumnWalker): void {
    for (let i = 0; i < askedCount; i++) {
      const entry = asked[i] as number;
      this.#io.cache.noteAsked(entry >>> 3);
      this.#asked.entries.push(entry);
    }
  }

  /** Links what was asked to what is cached; notes what is not. @returns whether anything can go on at once. */
  #lookUp(): boolean {
    const { cache, mmu } = this.#io;
    const { wanted, wanting, seen } = this.#asked;
    const entries = this.#asked.entries.splice(0);
    const before = wanted.length;
    for (const asked of entries) {
      const at = asked >>> 3;
      const level = asked & 7;
      const lo = cache.arena[2 * at] as number;
      const hi = cache.arena[2 * at + 1] as number;
      const kind = kindOf(mmu, level, lo, hi);
      if (kind === LEAF) {
        cache.linkLeaf(at, level, rightsOf(mmu, lo, hi));
        continue;
      }
      const address = ((hi & mmu.tableAddressHi) >>> 0) * HIGH + ((lo & mmu.tableAddressLo) >>> 0);
      if (kind !== MISSING || seen.has(address / 4096)) {
        // (A table has one link; the entries that share it would take it from each other.)
        cache.linkOdd(at);
        continue;
      }
      seen.add(address / 4096);
      const slot = cache.find(address);
      if (slot >= 0) {
        cache.linkTable(at, level, rightsOf(mmu, lo, hi) | GLOBAL, slot);
      } else if (wanted.length < MAX_TABLES && !this.#isKnown(address)) {
        wanted.push(address);
        wanting.push(asked);
      } else {
        cache.linkOdd(at);
      }
    }
    return wanted.length - before < entries.length;
  }

  #isKnown(address: number): boolean {
    return (this.#inHand.size !== 0 && this.#inHand.has(address)) || this.#io.cache.isKnown(address);
  }

  /** Links entries to tables that have come. */
  #linkWanted(): void {
    const { cache, mmu } = this.#io;
    const { wanted, wanting } = this.#asked;
    for (let i = 0; i < wanting.length; i++) {
      const at = (wanting[i] as number) >>> 3;
      const level = (wanting[i] as number) & 7;
      const lo = cache.arena[2 * at] as number;
      const hi = cache.arena[2 * at + 1] as number;
      const address = ((hi & mmu.tableAddressHi) >>> 0) * HIGH + ((lo & mmu.tableAddressLo) >>> 0);
      // The table that the entry stood in may have made room for another.
      if (address !== wanted[i] || kindOf(mmu, level, lo, hi) !== MISSING) continue;
      const slot = cache.find(address);
      if (slot >= 0) cache.linkTable(at, level, rightsOf(mmu, lo, hi) | GLOBAL, slot);
      else cache.linkOdd(at);
    }
  }

  /** Walks the waiting rows again; those that have to wait once more stay. */
  #walkWaiting(walker: ColumnWalker): void {
    const out = this.#out;
    const addresses = this.#words;
    const waiting = this.#waiting;
    const { rows, length } = waiting;
    const { words, physical, levels, rights, left } = walker;
    waiting.length = 0;
    for (let from = 0; from < length; from += BLOCK) {
      const count = Math.min(BLOCK, length - from);
      for (let i = 0; i < count; i++) {
        const row = rows[from + i] as number;
        words[2 * i] = addresses[2 * row] as number;
        words[2 * i + 1] = addresses[2 * row + 1] as number;
      }
      const leftCount = walker.walk(this.#rootSlot, count, true);
      for (let i = 0; i < count; i++) {
        const row = rows[from + i] as number;
        out.physical[row] = physical[i] as number;
        out.levels[row] = levels[i] as number;
        out.rights[row] = rights[i] as number;
      }
      for (let k = 0; k < leftCount; k++) {
        const i = left[k] as number;
        // (Into places of rows that were walked already.)
        this.#leave(i, rows[from + (i & LEFT_ROW)] as number);
      }
      this.#takeAsked(walker);
    }
  }
}
