/**
 * A column of addresses through the links of cached tables, in rounds. Each gives the addresses whose tables are all
 * there, and the entries that are in the others' way; what those lead to is then looked up or fetched, all at once, and
 * the others are walked again: a level further.
 */
import { HIGH } from "../../io/address.js";
import type { Routine } from "../../io/index.js";
import { LEAF, MISSING } from "../formats/entry-kinds.js";
import { ALL_RIGHTS } from "../formats/rights.js";
import type { PageTableIo } from "../page-table-io.js";
import type { ColumnFetch } from "../tables/column-fetch.js";
import type { TableFetch } from "../tables/table-fetch.js";
import { WantedBy, WantedTables } from "../tables/wanted-tables.js";
import { ASKED_ROW_SHIFT, BLOCK, type ColumnWalker, LEFT_ROW } from "./column-walker.hot.js";
import { MAX_ROWS, RowList, tablesAtATime } from "./row-list.js";
import type { RowsByHand } from "./rows-by-hand.js";
import type { TranslationColumns } from "./translation.js";
import { kindOf, leafRights, tableRights } from "./walk.hot.js";

/** See the module's comment. */
export class ColumnRounds {
  readonly #io: PageTableIo;
  readonly #out: TranslationColumns;
  readonly #addresses: BigUint64Array;
  readonly #words: Uint32Array;
  readonly #byHand: RowList;
  readonly #hand: RowsByHand;
  readonly #inHand: ReadonlyMap<number, TableFetch>;
  /** Rows that wait for tables that are wanted, or can go on. */
  readonly #waiting = RowList.take();
  /** Tables to be fetched, or being fetched. */
  readonly #wanted = WantedTables.take();
  /** Page numbers of cached tables that entries were linked to. */
  readonly #linked = new Set<number>();
  /** Whether some of the rows that wait can go on at once. */
  #canGoOn = false;
  /** Whether an entry took another's link to a table: rows may have come to what is wanted by either. */
  #hasTaken = false;
  /** Tables that are wanted at a time. */
  readonly #maxTables: number;
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
    this.#maxTables = tablesAtATime(io.mmu);
  }

  /** Must not be used any more. */
  give(): void {
    this.#waiting.give();
    this.#wanted.give();
  }

  /** Translates rows from `from` on, from the root in a slot. @returns up to which, exclusive. */
  *run(from: number, rootSlot: number): Routine<number> {
    const { cache, mmu } = this.#io;
    const { length } = this.#out;
    this.#rootSlot = rootSlot;
    this.#linked.clear();
    const walker = cache.walker(mmu, length - from);
    let at = from;
    while (at < length && this.#waiting.length + this.#byHand.length < MAX_ROWS) {
      const rows = Math.min(BLOCK, length - at);
      walker.addresses.set(rows === length ? this.#addresses : this.#addresses.subarray(at, at + rows));
      this.#take(walker, at, rows, walker.walk(rootSlot, rows, true));
      at += rows;
    }
    yield* this.#rounds();
    // (None, unless something here is wrong: that is to cost batches then, and no address.)
    const waiting = this.#waiting;
    for (let i = 0; i < waiting.length; i++) this.#byHand.add(waiting.rows[i] as number);
    waiting.length = 0;
    return at;
  }

  /** A level a round, together with the rows by hand, so that all travel in the same batches. */
  *#rounds(): Routine<void> {
    const { cache, mmu } = this.#io;
    const hand = this.#hand;
    const wanted = this.#wanted;
    for (;;) {
      this.#goOn();
      if (this.#hasTaken) this.#leaveStrangers();
      const { generation, evictions } = cache;
      const column =
        wanted.length === 0 ? undefined : this.#io.makeColumnFetch(wanted.addresses.slice(0, wanted.length));
      try {
        // To everybody else. (Who goes by hand and finds the table cached links it, should we have given up.)
        this.#linkOddly();
        // (Now that the column is known: a table that both want is read once.)
        hand.walk(this.#rootSlot);
        if (column === undefined && !hand.waits) return;
        yield* hand.settle(column);
        // What rows have passed through may be gone: they go on from the tables that have come.
        if (cache.generation !== generation || cache.evictions !== evictions) {
          if (column !== undefined) this.#leaveAllTo(column);
          return;
        }
      } finally {
        column?.letGo();
      }
      this.#linkWanted();
      this.#walkWaiting(cache.walker(mmu, 0));
    }
  }

  /** What is wanted is known by the way of whoever asked: rows that came by another go by hand from here. */
  #leaveStrangers(): void {
    const words = this.#words;
    const waiting = this.#waiting;
    const { rows, length } = waiting;
    const wantedBy = new WantedBy(this.#wanted, this.#io.mmu, words);
    this.#hasTaken = false;
    waiting.length = 0;
    for (let i = 0; i < length; i++) {
      const row = rows[i] as number;
      const place = wantedBy.find(words[2 * row] as number, words[2 * row + 1] as number);
      (place === undefined ? this.#byHand : waiting).add(row);
    }
  }

  /** Rows that waited for the tables of a column go on by hand. */
  #leaveAllTo(column: ColumnFetch): void {
    const { mmu } = this.#io;
    const wanted = this.#wanted;
    const words = this.#words;
    const waiting = this.#waiting;
    const { rows, length } = waiting;
    const wantedBy = new WantedBy(wanted, mmu, words);
    const tables: (TableFetch | undefined)[] = [];
    waiting.length = 0;
    for (let i = 0; i < length; i++) {
      const row = rows[i] as number;
      const place = wantedBy.find(words[2 * row] as number, words[2 * row + 1] as number);
      if (place === undefined) {
        waiting.add(row);
        continue;
      }
      const table = tables[place] ?? column.take(place);
      tables[place] = table;
      this.#hand.goOn(
        row,
        table,
        wanted.levelOf(place),
        wanted.rightsTo(place, mmu),
        wanted.entryLo[place] as number,
        wanted.entryHi[place] as number,
      );
    }
    wanted.clear();
  }

  /** Walks on from what was found, until all rows that wait do so for tables that must be fetched. */
  #goOn(): void {
    const { cache, mmu } = this.#io;
    const wanted = this.#wanted;
    while (this.#canGoOn) this.#walkWaiting(cache.walker(mmu, 0));
    if (cache.hasRoom(wanted.length)) return;
    // By hand, what tables give is remembered, for when they have made room for each other.
    this.#linkOddly();
    wanted.clear();
    this.#walkWaiting(cache.walker(mmu, 0));
  }

  #linkOddly(): void {
    const { entries, length } = this.#wanted;
    for (let place = 0; place < length; place++) this.#io.cache.linkOdd((entries[place] as number) >>> 3);
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
    this.#lookUp(walker, at);
    const { left } = walker;
    for (let i = 0; i < leftCount; i++) {
      const row = left[i] as number;
      this.#leave(row, at + (row & LEFT_ROW));
    }
  }

  /**
   * Links what a walker has asked to what is cached; notes what is not.
   *
   * @param rows The rows of the block, from `from` on; without, they are consecutive.
   */
  #lookUp({ asked, askedCount }: ColumnWalker, from: number, rows?: Uint32Array): void {
    const { cache, mmu } = this.#io;
    const wanted = this.#wanted;
    const linked = this.#linked;
    const before = wanted.length;
    for (let i = 0; i < askedCount; i++) {
      const entry = asked[2 * i] as number;
      const at = entry >>> 3;
      const level = entry & 7;
      const lo = cache.arena[2 * at] as number;
      const hi = cache.arena[2 * at + 1] as number;
      const kind = kindOf(mmu, level, lo, hi);
      if (kind === LEAF) {
        cache.linkLeaf(at, level, leafRights(mmu, lo, hi));
        continue;
      }
      const address = ((hi & mmu.tableAddressHi) >>> 0) * HIGH + ((lo & mmu.tableAddressLo) >>> 0);
      const slot = kind === MISSING ? cache.find(address) : -1;
      // (A table has one link; the entries that share it would take it from each other.)
      if (slot >= 0 && !linked.has(address / 4096)) {
        linked.add(address / 4096);
        if (cache.linkTable(at, level, tableRights(mmu, level, lo, hi), slot)) this.#hasTaken = true;
      } else if (slot < 0 && kind === MISSING && this.#isWanted(address)) {
        const asker = asked[2 * i + 1] as number;
        const row = from + (asker >>> ASKED_ROW_SHIFT);
        wanted.add(
          address,
          entry,
          lo,
          hi,
          rows === undefined ? row : (rows[row] as number),
          asker & ALL_RIGHTS,
        );
      } else {
        cache.linkOdd(at);
      }
    }
    if (wanted.length - before < askedCount) this.#canGoOn = true;
  }

  /** Whether a table that is not cached is to be fetched with others of its level. */
  #isWanted(address: number): boolean {
    const wanted = this.#wanted;
    if (wanted.length >= this.#maxTables || wanted.has(address)) return false;
    return !this.#isKnown(address);
  }

  #isKnown(address: number): boolean {
    return (this.#inHand.size !== 0 && this.#inHand.has(address)) || this.#io.cache.isKnown(address);
  }

  /** Links entries to tables that have come. (The entries are where they were, or we weren't here.) Others stay odd. */
  #linkWanted(): void {
    const { cache, mmu } = this.#io;
    const wanted = this.#wanted;
    for (let place = 0; place < wanted.length; place++) {
      const entry = wanted.entries[place] as number;
      const slot = cache.find(wanted.addresses[place] as number);
      if (slot < 0) continue;
      const level = entry & 7;
      const own = tableRights(mmu, level, wanted.entryLo[place] as number, wanted.entryHi[place] as number);
      cache.linkTable(entry >>> 3, level, own, slot);
    }
    wanted.clear();
  }

  /** Walks the waiting rows again; those that have to wait once more stay. */
  #walkWaiting(walker: ColumnWalker): void {
    const out = this.#out;
    const addresses = this.#words;
    const waiting = this.#waiting;
    const { rows, length } = waiting;
    const { words, physical, levels, rights, left } = walker;
    waiting.length = 0;
    this.#canGoOn = false;
    for (let from = 0; from < length; from += BLOCK) {
      const count = Math.min(BLOCK, length - from);
      for (let i = 0; i < count; i++) {
        const row = rows[from + i] as number;
        words[2 * i] = addresses[2 * row] as number;
        words[2 * i + 1] = addresses[2 * row + 1] as number;
      }
      const leftCount = walker.walk(this.#rootSlot, count, true);
      this.#lookUp(walker, from, rows);
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
    }
  }
}
