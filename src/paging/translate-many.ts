/**
 * Translations of many addresses at once, as columns; what waits for a table of one level waits in one batch.
 *
 * A column goes through the links of cached tables in rounds. Each gives the addresses whose tables are all there, and
 * the entries that are in the others' way; what those lead to is then looked up or fetched, all at once, and the others
 * are walked again: a level further. What links can't tell goes by hand, row by row: pages that are absent, tables that
 * can't be read or for which there is no room in the cache.
 */
import { HIGH } from "../io/address.js";
import type { Fault, Routine } from "../io/index.js";
import type { ColumnFetch } from "./column-fetch.js";
import { BLOCK, type ColumnWalker, LEFT_ROW } from "./column-walker.hot.js";
import { arrivals, fetchTable } from "./fetch-tables.js";
import { ALL_RIGHTS, GLOBAL } from "./mmu.js";
import type { PageTableIo } from "./page-table-io.js";
import { TableFetch } from "./table-fetch.js";
import { checkColumns, TranslationColumns } from "./translation.js";
import {
  faultOfStep,
  isCanonical,
  kindOf,
  LEAF,
  MISSING,
  NON_CANONICAL,
  rightsOf,
  Step,
  tableMissing,
  walkFrom,
} from "./walk.hot.js";

const step = new Step();

/** Rows that wait at a time: what the default high-water mark admits. */
const MAX_PENDING = 65_536;
/** Tables that are fetched at a time: 32 MiB of them in hand. */
const MAX_TABLES = 8192;

const FIRST_PENDING = 256;

function doubled<T extends Int32Array | Uint8Array>(from: T, to: T): T {
  to.set(from);
  return to;
}

/** Rows of which the next table is not there yet. */
class Pending {
  length = 0;
  rows = new Int32Array(FIRST_PENDING);
  levels = new Uint8Array(FIRST_PENDING);
  rights = new Uint8Array(FIRST_PENDING);
  entryLo = new Int32Array(FIRST_PENDING);
  entryHi = new Int32Array(FIRST_PENDING);
  readonly tables: TableFetch[] = [];

  /** A row more; its index. */
  add(): number {
    if (this.length === this.rows.length) {
      this.rows = doubled(this.rows, new Int32Array(2 * this.length));
      this.levels = doubled(this.levels, new Uint8Array(2 * this.length));
      this.rights = doubled(this.rights, new Uint8Array(2 * this.length));
      this.entryLo = doubled(this.entryLo, new Int32Array(2 * this.length));
      this.entryHi = doubled(this.entryHi, new Int32Array(2 * this.length));
    }
    return this.length++;
  }

  clear(): void {
    this.length = 0;
    this.tables.length = 0;
  }
}

/** Lists to be used again: a list as long as a column of many addresses costs more than what is done with it. */
const spareLists: RowList[] = [];
const MAX_SPARE_LISTS = 4;

/** Row numbers, in memory that grows: up to `MAX_PENDING` and a block. */
class RowList {
  rows = new Uint32Array(BLOCK);
  length = 0;

  add(row: number): void {
    if (this.length === this.rows.length) {
      const rows = new Uint32Array(2 * this.length);
      rows.set(this.rows);
      this.rows = rows;
    }
    this.rows[this.length++] = row;
  }

  static take(): RowList {
    return spareLists.pop() ?? new RowList();
  }

  /** Must not be used any more. */
  give(): void {
    this.length = 0;
    if (spareLists.length < MAX_SPARE_LISTS) spareLists.push(this);
  }
}

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

/** Translates a column; to be run once. */
export class ColumnTranslator {
  readonly #io: PageTableIo;
  readonly #out: TranslationColumns;
  readonly #addresses: BigUint64Array;
  readonly #words: Uint32Array;
  /** Of the cache, when the request began. */
  readonly #generation: number;
  #rootSlot = -1;
  /** Rows that wait for what was asked. */
  readonly #waiting = RowList.take();
  /** Rows to be done by hand. */
  readonly #byHand = RowList.take();
  readonly #asked = new Asked();
  /** Tables that came and are not in the cache. */
  readonly #inHand = new Map<number, TableFetch>();
  /** Copies of cached tables by slot, while rows are added to `#pending`. */
  readonly #copies = new Map<number, TableFetch>();
  #pending: Pending | undefined;
  #spare: Pending | undefined;
  readonly #distinct = new Set<TableFetch>();
  #unsent: TableFetch[] = [];

  constructor(io: PageTableIo, out: TranslationColumns) {
    this.#io = io;
    this.#out = out;
    this.#generation = io.cache.generation;
    const { addresses } = out;
    this.#addresses = addresses;
    this.#words = new Uint32Array(addresses.buffer, addresses.byteOffset, 2 * addresses.length);
  }

  *run(): Routine<void> {
    const io = this.#io;
    const { cache } = io;
    const { length } = this.#out;
    for (let at = 0; at < length; ) {
      let root: TableFetch | undefined;
      this.#rootSlot = cache.find(io.root);
      // What is remembered needs no root, should that have made room for another table.
      if (this.#rootSlot < 0 && cache.tlb.isEmpty) {
        root = yield* fetchTable(io, io.root);
        this.#rootSlot = cache.find(io.root);
      }
      if (this.#rootSlot >= 0) {
        at = yield* this.#throughLinks(at);
      } else {
        for (const end = Math.min(length, at + MAX_PENDING); at < end; at++) this.#byHand.add(at);
      }
      yield* this.#rowsByHand(root);
    }
    this.#waiting.give();
    this.#byHand.give();
  }

  /** Translates rows from `from` on; those that it can't are in `#byHand`. @returns up to which, exclusive. */
  *#throughLinks(from: number): Routine<number> {
    const { cache, mmu } = this.#io;
    const { length } = this.#out;
    let at = from;
    const walker = cache.walker(mmu, length);
    while (at < length && this.#waiting.length + this.#byHand.length < MAX_PENDING) {
      const rows = Math.min(BLOCK, length - at);
      walker.addresses.set(rows === length ? this.#addresses : this.#addresses.subarray(at, at + rows));
      this.#take(walker, at, rows, walker.walk(this.#rootSlot, rows, true));
      at += rows;
    }
    const fetched: ColumnFetch[] = [];
    try {
      // A level a round; more only if others have made room for theirs meanwhile, and then by hand.
      for (let round = 1; this.#asked.entries.length !== 0 && round <= mmu.levels; round++) {
        this.#lookUp();
        const { wanted } = this.#asked;
        if (wanted.length !== 0) {
          const column = this.#io.makeColumnFetch(wanted.slice());
          fetched.push(column);
          column.send(this.#io.physical);
          yield column;
          for (const [address, table] of column.inHand) this.#inHand.set(address, table);
          this.#rootSlot = cache.generation === this.#generation ? cache.find(this.#io.root) : -1;
          if (this.#rootSlot < 0) break;
          cache.useLinks(mmu);
          this.#linkWanted();
        }
        this.#asked.clear();
        this.#walkWaiting(cache.walker(mmu, 0));
      }
    } finally {
      for (const column of fetched) column.unpin();
    }
    this.#asked.clear();
    const { rows, length: rest } = this.#waiting;
    for (let i = 0; i < rest; i++) this.#byHand.add(rows[i] as number);
    this.#waiting.length = 0;
    return at;
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

  /** Links what was asked to what is cached; notes what is not. */
  #lookUp(): void {
    const { cache, mmu } = this.#io;
    const { entries, wanted, wanting, seen } = this.#asked;
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
      } else if (wanted.length < MAX_TABLES && !cache.isKnown(address)) {
        wanted.push(address);
        wanting.push(asked);
      } else {
        cache.linkOdd(at);
      }
    }
    if (cache.hasRoom(wanted.length)) return;
    // By hand, what tables give is remembered, for when they have made room for each other.
    for (const asked of wanting) cache.linkOdd(asked >>> 3);
    wanted.length = 0;
    wanting.length = 0;
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

  /** Translates the rows of `#byHand`. @param root The root, if it has just been read. */
  *#rowsByHand(root: TableFetch | undefined): Routine<void> {
    const io = this.#io;
    const { cache, mmu } = io;
    const { rows, length } = this.#byHand;
    let fetchedRoot = root;
    for (let i = 0; i < length; ) {
      this.#rootSlot = cache.find(io.root);
      if (this.#rootSlot < 0) {
        while (i < length && this.#recall(rows[i] as number)) i++;
        if (i === length) break;
        const table: TableFetch = fetchedRoot ?? (yield* fetchTable(io, io.root));
        fetchedRoot = undefined;
        if (table.fault !== 0) {
          for (; i < length; i++) this.#failUnder(table.fault, rows[i] as number);
          break;
        }
        if (table.faults === undefined) this.#rootSlot = cache.find(io.root);
        // It is not for the cache (only partly readable, or out of date): from the table in hand.
        if (this.#rootSlot < 0) {
          while (i < length && !this.#full) this.#translateUnder(table, rows[i++] as number);
        }
      }
      if (this.#rootSlot >= 0) {
        cache.useLinks(mmu);
        while (i < length && !this.#full) this.#translateRow(rows[i++] as number);
      }
      yield* this.#waitForPending();
    }
    this.#byHand.length = 0;
  }

  *#waitForPending(): Routine<void> {
    while (this.#distinct.size !== 0) {
      const tables = [...this.#distinct];
      const unsent = this.#unsent;
      this.#distinct.clear();
      this.#copies.clear();
      this.#unsent = [];
      yield* arrivals(this.#io, tables, unsent);
      this.#io.cache.useLinks(this.#io.mmu);
      const isAllDone = this.#resume();
      if (isAllDone) for (const table of tables) table.letGo();
    }
  }

  #translateUnder(root: TableFetch, row: number): void {
    const { mmu } = this.#io;
    const lo = this.#words[2 * row] as number;
    const hi = this.#words[2 * row + 1] as number;
    if (!isCanonical(mmu, hi)) this.#out.fail(row, NON_CANONICAL, 0, 0);
    else this.#walk(row, root.words, 0, -1, root.faults, mmu.levels, ALL_RIGHTS, lo, hi);
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
    this.#walk(row, cache.arena, slot * mmu.tableWords, slot, undefined, mmu.levels, ALL_RIGHTS, lo, hi);
  }

  get #full(): boolean {
    return this.#pending !== undefined && this.#pending.length >= MAX_PENDING;
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
      copy = new TableFetch(cache, slot, false);
      copy.hold();
      copy.land(table.subarray(base, base + cache.tableWords), [], false);
      this.#copies.set(slot, copy);
    }
    this.#wait(row, copy, level);
  }

  #walk(
    row: number,
    table: Uint32Array,
    base: number,
    slot: number,
    faults: Int32Array | undefined,
    level: number,
    rights: number,
    lo: number,
    hi: number,
  ): void {
    const io = this.#io;
    const { mmu, cache } = io;
    const out = this.#out;
    walkFrom(step, cache, mmu, table, base, slot, faults, level, rights, lo, hi);
    // Tables that are known to be broken are in hand at once.
    while (step.kind === MISSING) {
      if (this.#recall(row)) return;
      if (this.#distinct.size >= MAX_TABLES && step.slot >= 0) {
        this.#waitHere(row, step.slot);
        return;
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
        return;
      }
      if (fetch.fault !== 0) {
        out.fail(row, tableMissing(below, fetch.fault), step.entryLo, step.entryHi);
        io.rememberMissing(fetch, below, this.#generation, lo, hi, step.entryLo, step.entryHi);
        return;
      }
      walkFrom(step, cache, mmu, fetch.words, 0, -1, fetch.faults, below, step.rights, lo, hi);
    }
    if (step.kind !== LEAF) {
      out.fail(row, faultOfStep(step), step.entryLo, step.entryHi);
      return;
    }
    const at = step.level;
    const low = step.addressLo | (lo & (mmu.offsetLo[at] as number));
    const high = step.addressHi | (hi & (mmu.offsetHi[at] as number));
    out.physical[row] = (high >>> 0) * HIGH + (low >>> 0);
    out.levels[row] = at;
    out.rights[row] = step.rights;
  }

  /** Answers a row from what is remembered of its page. */
  #recall(row: number): boolean {
    const lo = this.#words[2 * row] as number;
    const hi = this.#words[2 * row + 1] as number;
    const { cache, root } = this.#io;
    const { tlb } = cache;
    if (!tlb.find(root, lo, hi)) return false;
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
    this.#pending ??= new Pending();
    const pending = this.#pending;
    const i = pending.add();
    pending.rows[i] = row;
    pending.levels[i] = level;
    pending.rights[i] = step.rights;
    pending.entryLo[i] = step.entryLo;
    pending.entryHi[i] = step.entryHi;
    pending.tables.push(fetch);
    this.#distinct.add(fetch);
  }

  #requeue(from: Pending, i: number): void {
    this.#pending ??= new Pending();
    const to = this.#pending;
    const j = to.add();
    to.rows[j] = from.rows[i] as number;
    to.levels[j] = from.levels[i] as number;
    to.rights[j] = from.rights[i] as number;
    to.entryLo[j] = from.entryLo[i] as number;
    to.entryHi[j] = from.entryHi[i] as number;
    to.tables.push(from.tables[i] as TableFetch);
  }

  /** Every pending row goes on from the table that it waited for; whether none waits for it a round longer. */
  #resume(): boolean {
    const io = this.#io;
    const pending = this.#pending;
    if (pending === undefined) return true;
    let isAllDone = true;
    this.#pending = this.#spare;
    this.#spare = pending;
    for (let i = 0; i < pending.length; i++) {
      const row = pending.rows[i] as number;
      const level = pending.levels[i] as number;
      const table = pending.tables[i] as TableFetch;
      const lo = this.#words[2 * row] as number;
      const hi = this.#words[2 * row + 1] as number;
      if (this.#distinct.size >= MAX_TABLES) {
        // Enough is under way: this row waits a round longer, at the table it has.
        this.#requeue(pending, i);
        isAllDone = false;
        continue;
      }
      if (table.fault !== 0) {
        const entryLo = pending.entryLo[i] as number;
        const entryHi = pending.entryHi[i] as number;
        this.#out.fail(row, tableMissing(level, table.fault), entryLo, entryHi);
        io.rememberMissing(table, level, this.#generation, lo, hi, entryLo, entryHi);
        continue;
      }
      const rights = pending.rights[i] as number;
      this.#walk(row, table.words, 0, -1, table.faults, level, rights, lo, hi);
      io.remember(step, table, this.#generation, lo, hi);
    }
    pending.clear();
    return isAllDone;
  }
}

/** The routine of `VirtualMemory.translateMany`. */
export function* translateManyRoutine(
  io: PageTableIo,
  addresses: BigUint64Array<ArrayBuffer>,
  into: TranslationColumns | undefined,
): Routine<TranslationColumns> {
  const out = into ?? new TranslationColumns(io.mmu);
  checkColumns(out, io.mmu);
  io.beginRequest();
  out.reset(addresses);
  yield* new ColumnTranslator(io, out).run();
  return out;
}
