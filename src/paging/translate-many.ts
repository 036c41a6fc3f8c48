/** Translations of many addresses at once, as columns; what waits for a table of one level waits in one batch. */
import { HIGH } from "../io/address.js";
import type { Fault, Routine } from "../io/index.js";
import { arrivals, fetchTable } from "./fetch-tables.js";
import { ALL_RIGHTS } from "./mmu.js";
import type { PageTableIo } from "./page-table-io.js";
import type { TableFetch } from "./table-fetch.js";
import { type OutColumns, type SlowPath, translateCached } from "./translate-cached.hot.js";
import { checkColumns, TranslationColumns } from "./translation.js";
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

/** Translates a column; to be run once. */
export class ColumnTranslator implements SlowPath {
  readonly #io: PageTableIo;
  readonly #out: TranslationColumns;
  readonly #words: Int32Array;
  /** Of the cache, when the request began. */
  readonly #generation: number;
  #rootSlot = -1;
  #pending: Pending | undefined;
  #spare: Pending | undefined;
  readonly #distinct = new Set<TableFetch>();
  #unsent: TableFetch[] = [];

  constructor(io: PageTableIo, out: TranslationColumns) {
    this.#io = io;
    this.#out = out;
    this.#generation = io.cache.generation;
    const { addresses } = out;
    this.#words = new Int32Array(addresses.buffer, addresses.byteOffset, 2 * addresses.length);
  }

  *run(): Routine<void> {
    const io = this.#io;
    const { cache, mmu } = io;
    const { length } = this.#out;
    let at = 0;
    while (at < length) {
      this.#rootSlot = cache.find(io.root);
      if (this.#rootSlot < 0) {
        at = this.#recallFrom(at);
        if (at === length) return;
        const root = yield* fetchTable(io, io.root);
        if (root.fault !== 0) {
          this.#failAll(at, tableMissing(mmu.levels, root.fault));
          return;
        }
        if (root.faults === undefined) this.#rootSlot = cache.find(io.root);
        if (this.#rootSlot < 0) at = this.#translateUnder(root, at);
      }
      if (this.#rootSlot >= 0) {
        cache.useLinks(mmu);
        at = translateCached(
          cache,
          mmu,
          this.#rootSlot,
          this.#words,
          at,
          length,
          this.#out as OutColumns,
          this,
        );
      }
      while (this.#distinct.size !== 0) {
        const tables = [...this.#distinct];
        const unsent = this.#unsent;
        this.#distinct.clear();
        this.#unsent = [];
        yield* arrivals(io, tables, unsent);
        cache.useLinks(mmu);
        const isAllDone = this.#resume();
        if (isAllDone) for (const table of tables) table.letGo();
      }
    }
  }

  /** The root is not for the cache (only partly readable, or out of date): row by row, from the table in hand. */
  #translateUnder(root: TableFetch, from: number): number {
    for (let row = from; row < this.#out.length; row++) {
      const lo = this.#words[2 * row] as number;
      const hi = this.#words[2 * row + 1] as number;
      if (!isCanonical(this.#io.mmu, hi)) this.#out.fail(row, NON_CANONICAL, 0, 0);
      else this.#walk(row, root.words, 0, -1, root.faults, this.#io.mmu.levels, ALL_RIGHTS, lo, hi);
      if (this.#full) return row + 1;
    }
    return this.#out.length;
  }

  #failAll(from: number, fault: Fault): void {
    for (let row = from; row < this.#out.length; row++) {
      const canonical = isCanonical(this.#io.mmu, this.#words[2 * row + 1] as number);
      this.#out.fail(row, canonical ? fault : NON_CANONICAL, 0, 0);
    }
  }

  translateSlow(row: number, lo: number, hi: number): boolean {
    const { mmu, cache } = this.#io;
    if (!isCanonical(mmu, hi)) {
      this.#out.fail(row, NON_CANONICAL, 0, 0);
      return true;
    }
    const slot = this.#rootSlot;
    this.#walk(row, cache.arena, slot * mmu.tableWords, slot, undefined, mmu.levels, ALL_RIGHTS, lo, hi);
    return !this.#full;
  }

  get #full(): boolean {
    return (
      this.#distinct.size >= MAX_TABLES ||
      (this.#pending !== undefined && this.#pending.length >= MAX_PENDING)
    );
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
      if (this.#recall(row, lo, hi)) return;
      const address = step.address;
      const below = step.level - 1;
      let fetch = cache.broken.get(address) ?? cache.flights.get(address);
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

  /** Answers rows that are remembered, up to one that is not: without the root they need no fetch. */
  #recallFrom(from: number): number {
    let row = from;
    while (
      row < this.#out.length &&
      this.#recall(row, this.#words[2 * row] as number, this.#words[2 * row + 1] as number)
    ) {
      row++;
    }
    return row;
  }

  /** Answers a row from what is remembered of its page. */
  #recall(row: number, lo: number, hi: number): boolean {
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
