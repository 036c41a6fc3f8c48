/**
 * Rows of a column one by one: what links can't tell about. Pages that are absent, malformed entries, tables that can't
 * be read or only in part, tables that others have under way, and those for which there is no room in the cache. What
 * waits for a table of one level waits in one batch.
 */
import { HIGH } from "../../io/address.js";
import type { Fault, Routine } from "../../io/index.js";
import { LEAF, MISSING } from "../formats/entry-kinds.js";
import { ALL_RIGHTS } from "../formats/rights.js";
import type { PageTableIo } from "../page-table-io.js";
import type { ColumnFetch } from "../tables/column-fetch.js";
import { arrivals, fetchTable } from "../tables/fetch-tables.js";
import { TableFetch } from "../tables/table-fetch.js";
import { doubled, MAX_ROWS, type RowList, tablesAtATime } from "./row-list.js";
import type { TranslationColumns } from "./translation.js";
import { faultOfStep, isCanonical, NON_CANONICAL, Step, tableMissing, walkFrom } from "./walk.hot.js";

const step = new Step();

const FIRST_PENDING = 256;

/** Rows of which the next table is not there yet. */
class Pending {
  length = 0;
  rows = new Int32Array(FIRST_PENDING);
  levels = new Uint8Array(FIRST_PENDING);
  rights = new Uint8Array(FIRST_PENDING);
  entryLo = new Int32Array(FIRST_PENDING);
  entryHi = new Int32Array(FIRST_PENDING);
  readonly tables: TableFetch[] = [];

  add(row: number, table: TableFetch, level: number, rights: number, entryLo: number, entryHi: number): void {
    const i = this.length++;
    if (i === this.rows.length) {
      this.rows = doubled(this.rows, new Int32Array(2 * i));
      this.levels = doubled(this.levels, new Uint8Array(2 * i));
      this.rights = doubled(this.rights, new Uint8Array(2 * i));
      this.entryLo = doubled(this.entryLo, new Int32Array(2 * i));
      this.entryHi = doubled(this.entryHi, new Int32Array(2 * i));
    }
    this.rows[i] = row;
    this.levels[i] = level;
    this.rights[i] = rights;
    this.entryLo[i] = entryLo;
    this.entryHi[i] = entryHi;
    this.tables.push(table);
  }

  clear(): void {
    this.length = 0;
    this.tables.length = 0;
  }
}

/** See the module's comment. */
export class RowsByHand {
  readonly #io: PageTableIo;
  readonly #out: TranslationColumns;
  readonly #words: Uint32Array;
  /** Of the cache, when the request began. */
  readonly #generation: number;
  readonly #rows: RowList;
  readonly #inHand: Map<number, TableFetch>;
  /** Tables that are waited for at a time. */
  readonly #maxTables: number;
  /** Copies of cached tables by slot, while rows are added to `#pending`. */
  readonly #copies = new Map<number, TableFetch>();
  #rootSlot = -1;
  /** The first of the rows that was not taken yet. */
  #next = 0;
  #pending: Pending | undefined;
  #spare: Pending | undefined;
  readonly #distinct = new Set<TableFetch>();
  #unsent: TableFetch[] = [];

  /**
   * @param rows Those to translate, which may be added to; `run` empties it.
   * @param inHand Takes tables that came and are not for the cache, by address.
   */
  constructor(
    io: PageTableIo,
    out: TranslationColumns,
    words: Uint32Array,
    rows: RowList,
    inHand: Map<number, TableFetch>,
  ) {
    this.#io = io;
    this.#out = out;
    this.#words = words;
    this.#generation = io.cache.generation;
    this.#rows = rows;
    this.#inHand = inHand;
    this.#maxTables = tablesAtATime(io.mmu);
  }

  /** Whether rows wait for tables. */
  get waits(): boolean {
    return this.#distinct.size !== 0;
  }

  /** Takes the rows as far as cached tables lead, from the root in a slot. Sends nothing. */
  walk(rootSlot: number): void {
    const { rows, length } = this.#rows;
    this.#rootSlot = rootSlot;
    while (this.#next < length && !this.#full) this.#translateRow(rows[this.#next++] as number);
  }

  /** Sends for the tables that rows wait for, and a column of others, waits for all, and goes on from them. */
  *settle(column?: ColumnFetch): Routine<void> {
    const tables = [...this.#distinct];
    const unsent = this.#unsent;
    this.#distinct.clear();
    this.#copies.clear();
    this.#unsent = [];
    yield* arrivals(this.#io, tables, unsent, column);
    if (column !== undefined) {
      for (const [address, table] of column.inHand) this.#inHand.set(address, table);
    }
    this.#io.cache.useLinks(this.#io.mmu);
    const isAllDone = this.#resume();
    if (isAllDone) for (const table of tables) table.letGo();
  }

  /**
   * A row goes on from a table of `level` that has come; or waits a round longer there, since enough are under way.
   *
   * @param rights Those down to the table; `entryLo` and `entryHi` are the entry that leads to it.
   * @returns whether it went on.
   */
  goOn(
    row: number,
    table: TableFetch,
    level: number,
    rights: number,
    entryLo: number,
    entryHi: number,
  ): boolean {
    const io = this.#io;
    if (this.#distinct.size >= this.#maxTables) {
      this.#hold(row, table, level, rights, entryLo, entryHi);
      return false;
    }
    const lo = this.#words[2 * row] as number;
    const hi = this.#words[2 * row + 1] as number;
    if (table.fault !== 0) {
      this.#out.fail(row, tableMissing(level, table.fault), entryLo, entryHi);
      io.rememberMissing(table, level, this.#generation, lo, hi, entryLo, entryHi);
    } else {
      const last = this.#walkUnder(table, row, level, rights, lo, hi);
      io.remember(step, last, this.#generation, lo, hi);
    }
    return true;
  }

  /** Translates the rows that are left. @param root The root, if it has just been read. */
  *run(root: TableFetch | undefined): Routine<void> {
    const io = this.#io;
    const { cache, mmu } = io;
    const { rows, length } = this.#rows;
    let fetchedRoot = root;
    let i = this.#next;
    while (this.waits) yield* this.settle();
    while (i < length) {
      // Others may have used another format meanwhile.
      cache.useLinks(mmu);
      this.#rootSlot = cache.find(io.rootKey);
      if (this.#rootSlot < 0) {
        while (i < length && this.#recall(rows[i] as number)) i++;
        if (i === length) break;
        const table: TableFetch = fetchedRoot ?? (yield* fetchTable(io, io.rootKey));
        fetchedRoot = undefined;
        cache.useLinks(mmu);
        if (table.fault !== 0) {
          for (; i < length; i++) this.#failUnder(table.fault, rows[i] as number);
          break;
        }
        if (table.faults === undefined) this.#rootSlot = cache.find(io.rootKey);
        // It is not for the cache (only partly readable, or out of date): from the table in hand.
        if (this.#rootSlot < 0) {
          while (i < length && !this.#full) this.#translateUnder(table, rows[i++] as number);
        }
      }
      if (this.#rootSlot >= 0) {
        while (i < length && !this.#full) this.#translateRow(rows[i++] as number);
      }
      while (this.waits) yield* this.settle();
    }
    this.#rows.length = 0;
    this.#next = 0;
    this.#inHand.clear();
  }

  #translateUnder(root: TableFetch, row: number): void {
    const { mmu } = this.#io;
    const lo = this.#words[2 * row] as number;
    const hi = this.#words[2 * row + 1] as number;
    if (!isCanonical(mmu, hi)) this.#out.fail(row, NON_CANONICAL, 0, 0);
    else this.#walkUnder(root, row, mmu.levels, ALL_RIGHTS, lo, hi);
  }

  #failUnder(fault: Fault, row: number): void {
    const { mmu } = this.#io;
    const canonical = isCanonical(mmu, this.#words[2 * row + 1] as number);
    this.#out.fail(row, canonical ? tableMissing(mmu.levels, fault) : NON_CANONICAL, 0, 0);
  }

  #translateRow(row: number): void {
    const { mmu, cache } = this.#io;
    const lo = this.#words[2 * row] as number;
    const hi = this.#words[2 * row + 1] as number;
    if (!isCanonical(mmu, hi)) {
      this.#out.fail(row, NON_CANONICAL, 0, 0);
      return;
    }
    const slot = this.#rootSlot;
    const base = slot * mmu.tableWords;
    walkFrom(step, cache, mmu, cache.arena, base, slot, undefined, mmu.levels, ALL_RIGHTS, lo, hi);
    this.#conclude(row, undefined, lo, hi);
  }

  /** Enough rows wait; or enough of them for room, at copies of the tables where they stand. */
  get #full(): boolean {
    if (this.#distinct.size >= 2 * this.#maxTables) return true;
    return this.#pending !== undefined && this.#pending.length >= MAX_ROWS;
  }

  /**
   * A row waits a round longer, since enough tables are under way: at the cached table where it stands, in a copy, for
   * it may have made room for others by then.
   */
  #waitHere(row: number, slot: number): void {
    const { cache } = this.#io;
    const { table, base, level } = step;
    let copy = this.#copies.get(slot);
    if (copy === undefined) {
      copy = TableFetch.copyOf(cache, table.subarray(base, base + cache.tableWords));
      this.#copies.set(slot, copy);
    }
    this.#wait(row, copy, level);
  }

  /** Takes a row on from a table of `level` in hand. @returns the table in hand that it went through last. */
  #walkUnder(
    table: TableFetch,
    row: number,
    level: number,
    rights: number,
    lo: number,
    hi: number,
  ): TableFetch {
    const { mmu, cache } = this.#io;
    walkFrom(step, cache, mmu, table.words, 0, -1, table.faults, level, rights, lo, hi);
    return this.#conclude(row, table, lo, hi);
  }

  /** Writes the outcome of a row that `step` says, or has it wait for the table that it needs. @param from As `walkUnder`. */
  #conclude<T extends TableFetch | undefined>(row: number, from: T, lo: number, hi: number): T | TableFetch {
    const io = this.#io;
    const { mmu, cache } = io;
    const out = this.#out;
    let last: T | TableFetch = from;
    // Tables that are known to be broken are in hand at once.
    while (step.kind === MISSING) {
      if (this.#recall(row)) return last;
      if (this.#distinct.size >= this.#maxTables) {
        if (last === undefined || step.slot >= 0) this.#waitHere(row, step.slot);
        else this.#hold(row, last, step.level, step.rights, 0, 0);
        return last;
      }
      const address = step.address;
      const below = step.level - 1;
      let fetch = this.#inHand.get(address) ?? cache.broken.get(address) ?? cache.flightOf(address);
      if (fetch === undefined) {
        fetch = io.makeFetch(address);
        this.#unsent.push(fetch);
      }
      if (!fetch.done) {
        this.#wait(row, fetch, below);
        return last;
      }
      if (fetch.fault !== 0) {
        out.fail(row, tableMissing(below, fetch.fault), step.entryLo, step.entryHi);
        io.rememberMissing(fetch, below, this.#generation, lo, hi, step.entryLo, step.entryHi);
        return last;
      }
      last = fetch;
      walkFrom(step, cache, mmu, fetch.words, 0, -1, fetch.faults, below, step.rights, lo, hi);
    }
    if (step.kind !== LEAF) {
      out.fail(row, faultOfStep(step), step.entryLo, step.entryHi);
      return last;
    }
    const at = step.level;
    const low = step.addressLo | (lo & (mmu.offsetLo[at] as number));
    const high = step.addressHi | (hi & (mmu.offsetHi[at] as number));
    out.physical[row] = (high >>> 0) * HIGH + (low >>> 0);
    out.levels[row] = at;
    out.rights[row] = step.rights;
    return last;
  }

  /** Answers a row from what is remembered of its page. */
  #recall(row: number): boolean {
    const lo = this.#words[2 * row] as number;
    const hi = this.#words[2 * row + 1] as number;
    const { cache, rootKey } = this.#io;
    const { tlb } = cache;
    if (!tlb.find(rootKey, lo, hi)) return false;
    const out = this.#out;
    if (tlb.fault !== 0) {
      out.fail(row, tlb.fault, tlb.lo, tlb.hi);
      return true;
    }
    out.physical[row] = (tlb.hi >>> 0) * HIGH + ((tlb.lo | (lo & 0xfff)) >>> 0);
    out.levels[row] = tlb.level;
    out.rights[row] = tlb.rights;
    return true;
  }

  #wait(row: number, fetch: TableFetch, level: number): void {
    this.#hold(row, fetch, level, step.rights, step.entryLo, step.entryHi);
    this.#distinct.add(fetch);
  }

  #hold(
    row: number,
    table: TableFetch,
    level: number,
    rights: number,
    entryLo: number,
    entryHi: number,
  ): void {
    this.#pending ??= new Pending();
    this.#pending.add(row, table, level, rights, entryLo, entryHi);
  }

  /** Every pending row goes on from its table. @returns whether none waits a round longer there. */
  #resume(): boolean {
    const pending = this.#pending;
    if (pending === undefined) return true;
    let isAllDone = true;
    this.#pending = this.#spare;
    this.#spare = pending;
    for (let i = 0; i < pending.length; i++) {
      const went = this.goOn(
        pending.rows[i] as number,
        pending.tables[i] as TableFetch,
        pending.levels[i] as number,
        pending.rights[i] as number,
        pending.entryLo[i] as number,
        pending.entryHi[i] as number,
      );
      if (!went) isAllDone = false;
    }
    pending.clear();
    return isAllDone;
  }
}
