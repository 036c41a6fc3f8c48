/** Every mapped run of a root, in ascending order, visiting only tables that are there. */
import { HIGH } from "../../io/address.js";
import type { Address, Fault, Routine, Sink } from "../../io/index.js";
import { LEAF, MISSING, NOT_PRESENT, SWAPPED } from "../formats/entry-kinds.js";
import { ALL_RIGHTS } from "../formats/rights.js";
import type { PageTableIo } from "../page-table-io.js";
import { fetchTables } from "../tables/fetch-tables.js";
import type { TableFetch } from "../tables/table-fetch.js";
import { checkColumns } from "../walk/translation.js";
import {
  absentKind,
  absentPage,
  kindOf,
  leafRights,
  malformedAt,
  swappedAt,
  tableMissing,
  tableRights,
} from "../walk/walk.hot.js";
import { addLeaves } from "./add-leaves.hot.js";
import { addressOf, type MapRun, RUN_ROWS, RunColumns } from "./run-columns.js";

/** A range of virtual addresses; `end` is exclusive and may be 2^64. */
export interface VirtualRange {
  readonly start: Address;
  readonly end: Address;
}

/**
 * How often tables may be visited that the same pass has visited before at the same level, in all. Kernels share some
 * (x86-64 Linux maps its ESPFIX area through one table 2,048 times); hostile tables that all point to each other
 * would take 512^4 visits. Beyond it, a repeated table is `malformed`.
 */
const MAX_REPEATS = 4096;

/**
 * Words of tables that are fetched ahead at once, 8 MiB: all that a table of 4 KiB points to. One of 64 KiB points to 512 MiB
 * of them, which no cache keeps until they are come to; so the next ones, when there is need of them.
 */
const AHEAD_WORDS = 1 << 21;
/** Words of a table that count as much as an entry looked at; see `RunColumns.steps`. */
const WORDS_A_STEP = 128;

/** Runs that `maps` makes before it hands them out one by one. */
const MAPS_ROWS = 256;

const DONE = 0;
/** There is no room for another run. */
const FULL = 1;
const FETCH = 2;

/** The tables that a pass has visited, which may be one of several calls, or of several over parts of a space. */
export class Visits {
  /** Their addresses, by level. */
  readonly #seen: Set<number>[] = [];
  #repeats = 0;

  /** Notes a visit. @returns whether there were too many of tables that had been visited before. */
  isTooMany(level: number, address: number): boolean {
    let seen = this.#seen[level];
    if (seen === undefined) {
      seen = new Set();
      this.#seen[level] = seen;
    }
    if (!seen.has(address)) {
      seen.add(address);
      return false;
    }
    if (this.#repeats >= MAX_REPEATS) return true;
    this.#repeats++;
    return false;
  }
}

/** Where a call of `runs` stopped, for the one that goes on there: its tables are as often visited. */
interface Continuation {
  readonly io: PageTableIo;
  /** Page number. */
  readonly at: number;
  readonly visits: Visits;
}

/** By the columns that it filled. */
const continuations = new WeakMap<RunColumns, Continuation>();

/** A table on the path from the root. */
class Place {
  readonly #own: Uint32Array;
  /** Holds the table, from `base` on. */
  words: Uint32Array;
  base = 0;
  address = 0;
  index = 0;
  last = 0;
  /** Page number of what entry 0 covers. */
  vpn = 0;
  rights = 0;
  faults: Int32Array | undefined;
  /** Tables below it that were fetched for it. */
  children = new Map<number, TableFetch>();

  constructor(words: number) {
    this.#own = new Uint32Array(words);
    this.words = this.#own;
  }

  /** Looks at the table where it lies, until `copy`. */
  borrow(words: Uint32Array, base: number): void {
    this.words = words;
    this.base = base;
  }

  /** Takes a copy of what was borrowed, if that isn't done yet: whoever lent it may need the place. */
  copy(): void {
    const { base } = this;
    if (this.words === this.#own) return;
    this.#own.set(this.words.subarray(base, base + this.#own.length));
    this.words = this.#own;
    this.base = 0;
  }
}

/** One pass: a plain loop that stops when there is no room for a run, or to have tables fetched. */
class MapScan {
  readonly #io: PageTableIo;
  readonly #from: number;
  readonly #to: number;
  readonly #places: Place[];
  readonly #visits: Visits;
  /** Level of the table under way; 0 before the root, above the root at the end. */
  #level = 0;
  readonly runs: RunColumns;
  /** For `FULL`: page number of the piece that there was no room for. */
  stopped = 0;
  /** For `FETCH`: the tables to fetch, and the place that wants them. */
  wanted: number[] = [];
  #wantedBy: Map<number, TableFetch>;

  /** @param from First page number. @param to Last one, exclusive. @param visits Of what came before, if it goes on. */
  constructor(io: PageTableIo, runs: RunColumns, from: number, to: number, visits = new Visits()) {
    const { mmu } = io;
    this.#io = io;
    this.#from = from;
    this.#to = to;
    this.runs = runs;
    this.#places = Array.from({ length: mmu.levels + 2 }, () => new Place(mmu.tableWords));
    this.#visits = visits;
    this.#wantedBy = (this.#places[mmu.levels + 1] as Place).children;
  }

  /** The tables of `wanted` have come; those that are cached are `undefined`. */
  take(tables: readonly (TableFetch | undefined)[]): void {
    this.wanted.forEach((address, i) => {
      const table = tables[i];
      if (table !== undefined) this.#wantedBy.set(address, table);
    });
    this.wanted = [];
  }

  /** Goes on until there is no room for a run (`FULL`), to have tables fetched (`FETCH`), or to the end (`DONE`). */
  next(): number {
    const status = this.#go();
    // Others may use the table cache before it goes on.
    if (status === FULL) (this.#places[1] as Place).copy();
    return status;
  }

  #go(): number {
    const top = this.#io.mmu.levels;
    if (this.#level === 0) {
      const status = this.#enter(top, this.#io.rootKey, 0, ALL_RIGHTS, 0, 0);
      if (status !== DONE) return status;
    }
    while (this.#level <= top) {
      const level = this.#level;
      const place = this.#places[level] as Place;
      if (place.faults === undefined) this.#skip(place, level);
      if (place.index > place.last) {
        if (place.children.size !== 0) place.children.clear();
        this.#level++;
        (this.#places[level + 1] as Place).index++;
        continue;
      }
      const status = this.#entry(place, level);
      if (status !== DONE) return status;
    }
    return DONE;
  }

  /** Passes entries that need no decision: what is absent, and runs of sound leaves. */
  #skip(place: Place, level: number): void {
    const { words, base, last } = place;
    const { mmu } = this.#io;
    const shift = mmu.shift[level] as number;
    if (level < mmu.levels && shift < 32) {
      // Those that the range holds in part are clipped one by one.
      const pages = mmu.pages[level] as number;
      const whole = Math.min(last, Math.floor((this.#to - place.vpn) / pages) - 1);
      if (place.vpn + place.index * pages >= this.#from) {
        place.index = addLeaves(this.runs, level, words, base, place.index, whole, place.vpn, place.rights);
        return;
      }
    }
    let { index } = place;
    const isOdd = mmu.def.absentEntries !== undefined;
    for (; index <= last && ((words[base + 2 * index] as number) & mmu.presentMask) === 0; index++) {
      if (isOdd && (words[base + 2 * index] !== 0 || words[base + 2 * index + 1] !== 0)) break;
    }
    place.index = index;
  }

  /** Takes one entry; may go down a level. `DONE` means "go on". */
  #entry(place: Place, level: number): number {
    this.runs.steps++;
    const { mmu } = this.#io;
    const { index, words, base } = place;
    const lo = words[base + 2 * index] as number;
    const hi = words[base + 2 * index + 1] as number;
    const pages = mmu.pages[level] as number;
    let vpn = place.vpn + index * pages;
    if (level === mmu.levels && index >= mmu.extendFrom) vpn += mmu.extendPages;
    if (vpn >= this.#to || vpn + pages <= this.#from) {
      place.index++;
      return DONE;
    }
    const unread = place.faults?.[index] ?? 0;
    if (unread !== 0) return this.#addBroken(place, vpn, pages, tableMissing(level, unread), 0, 0);
    const kind = kindOf(mmu, level, lo, hi);
    if (kind === MISSING) {
      const address = ((hi & mmu.tableAddressHi) >>> 0) * HIGH + ((lo & mmu.tableAddressLo) >>> 0);
      return this.#enter(level - 1, address, vpn, place.rights & tableRights(mmu, level, lo, hi), lo, hi);
    }
    if (kind === NOT_PRESENT) {
      const meant = absentKind(mmu, level, lo, hi);
      if (meant === SWAPPED) return this.#addBroken(place, vpn, pages, swappedAt(level), lo, hi);
      if (meant === LEAF) {
        const rights = mmu.settled[place.rights & absentPage.rights] as number;
        const at = (absentPage.hi >>> 0) * HIGH + (absentPage.lo >>> 0);
        return this.#add(place, vpn, pages, at, level, rights, 0, 0, 0);
      }
      place.index++;
      return DONE;
    }
    if (kind !== LEAF) return this.#addBroken(place, vpn, pages, malformedAt(level), lo, hi);
    const physical =
      ((hi & (mmu.leafAddressHi[level] as number)) >>> 0) * HIGH +
      ((lo & (mmu.leafAddressLo[level] as number)) >>> 0);
    const rights = mmu.settled[place.rights & leafRights(mmu, lo, hi)] as number;
    return this.#add(place, vpn, pages, physical, level, rights, 0, 0, 0);
  }

  /** Goes down to a table of `level`, once it is in hand and its children are on hand or known. */
  #enter(
    level: number,
    address: number,
    vpn: number,
    rights: number,
    entryLo: number,
    entryHi: number,
  ): number {
    const { mmu, cache } = this.#io;
    const parent = this.#places[level + 1] as Place;
    // What the entry above covers. (The root has none, and no run is made of it here.)
    const pages = level === mmu.levels ? 0 : (mmu.pages[level + 1] as number);
    if (this.#isLoop(level, address)) {
      return this.#addBroken(parent, vpn, pages, malformedAt(level + 1), entryLo, entryHi);
    }
    const slot = cache.find(address);
    const table = parent.children.get(address) ?? cache.broken.get(address);
    if (slot < 0 && table === undefined) {
      // It has gone since it was fetched, and so may have those beside it: all that are still to come, in one batch.
      if (level !== mmu.levels) return this.#prefetch(parent, level + 1);
      this.wanted = [address];
      this.#wantedBy = parent.children;
      return FETCH;
    }
    if (slot < 0 && table !== undefined && table.fault !== 0) {
      if (level === mmu.levels) {
        this.#level = level + 1;
        return this.#addHalves(parent, tableMissing(level, table.fault));
      }
      return this.#addBroken(parent, vpn, pages, tableMissing(level, table.fault), entryLo, entryHi);
    }
    // (One that began before the range was come to in the call before, if there was one.)
    if (vpn >= this.#from && this.#visits.isTooMany(level, address)) {
      return this.#addBroken(parent, vpn, pages, malformedAt(level + 1), entryLo, entryHi);
    }
    const place = this.#places[level] as Place;
    if (slot >= 0) place.borrow(cache.arena, slot * mmu.tableWords);
    else if (table !== undefined) place.borrow(table.words, 0);
    // While this goes through a last table, nothing else happens; of those above, others may take the place meanwhile.
    if (level > 1) place.copy();
    place.faults = slot >= 0 ? undefined : table?.faults;
    place.address = address;
    place.index = 0;
    place.last = (mmu.loMask[level] as number) | (mmu.hiMask[level] as number);
    if (level !== mmu.levels) {
      const size = mmu.pages[level] as number;
      place.index = Math.max(0, Math.floor((this.#from - vpn) / size));
      place.last = Math.min(place.last, Math.ceil((this.#to - vpn) / size) - 1);
    }
    place.vpn = vpn;
    place.rights = rights;
    this.#level = level;
    return level > 1 ? this.#prefetch(place, level) : DONE;
  }

  /** A table that lies on its own path maps itself; its runs would be the tables themselves, without end. */
  #isLoop(level: number, address: number): boolean {
    for (let above = level + 1; above <= this.#io.mmu.levels; above++) {
      if ((this.#places[above] as Place).address === address) return true;
    }
    return false;
  }

  /** The tables below one that are not cached, as one batch: the next ones, of more than `AHEAD_WORDS`. */
  #prefetch(place: Place, level: number): number {
    const { mmu, cache } = this.#io;
    const wanted = new Set<number>();
    const room = Math.max(1, Math.floor(AHEAD_WORDS / mmu.tableWords));
    const pages = mmu.pages[level] as number;
    for (let { index } = place; index <= place.last; index++) {
      const lo = place.words[2 * index] as number;
      const hi = place.words[2 * index + 1] as number;
      if (kindOf(mmu, level, lo, hi) !== MISSING || (place.faults?.[index] ?? 0) !== 0) continue;
      let vpn = place.vpn + index * pages;
      if (level === mmu.levels && index >= mmu.extendFrom) vpn += mmu.extendPages;
      if (vpn >= this.#to || vpn + pages <= this.#from) continue;
      const address = ((hi & mmu.tableAddressHi) >>> 0) * HIGH + ((lo & mmu.tableAddressLo) >>> 0);
      if (cache.find(address) >= 0 || place.children.has(address)) continue;
      if (!this.#isLoop(level - 1, address)) wanted.add(address);
      if (wanted.size === room) break;
    }
    if (wanted.size === 0) return DONE;
    this.runs.steps += Math.ceil((wanted.size * mmu.tableWords) / WORDS_A_STEP);
    this.wanted = [...wanted];
    this.#wantedBy = place.children;
    return FETCH;
  }

  /** The root can't be read: one run for each canonical part of the space. */
  #addHalves(above: Place, fault: Fault): number {
    const { mmu } = this.#io;
    const entries = ((mmu.loMask[mmu.levels] as number) | (mmu.hiMask[mmu.levels] as number)) + 1;
    const pages = mmu.pages[mmu.levels] as number;
    const low = Math.min(mmu.extendFrom, entries);
    // The first two runs there are: there is room for them.
    if (low !== 0) this.#addBroken(above, 0, low * pages, fault, 0, 0);
    if (low === entries) return DONE;
    return this.#addBroken(above, low * pages + mmu.extendPages, (entries - low) * pages, fault, 0, 0);
  }

  #addBroken(
    place: Place,
    vpn: number,
    pages: number,
    fault: Fault,
    entryLo: number,
    entryHi: number,
  ): number {
    return this.#add(place, vpn, pages, 0, 0, 0, fault, entryLo, entryHi);
  }

  /** Adds what an entry of `place` covers, clipped to the range, and goes on behind it. */
  #add(
    place: Place,
    vpn: number,
    pages: number,
    physical: number,
    level: number,
    rights: number,
    fault: Fault,
    entryLo: number,
    entryHi: number,
  ): number {
    const start = Math.max(vpn, this.#from);
    const count = Math.min(vpn + pages, this.#to) - start;
    if (count > 0) {
      const at = physical + (start - vpn) * (this.#io.mmu.size[1] as number);
      if (!this.runs.add(start, count, at, level, rights, fault, entryLo, entryHi)) {
        this.stopped = start;
        return FULL;
      }
    }
    place.index++;
    return DONE;
  }
}

/** The routine of `VirtualMemory.maps`. @param from First page number. @param to Last one, exclusive. */
export function* mapsRoutine(sink: Sink<MapRun>, io: PageTableIo, from: number, to: number): Routine<void> {
  io.beginRequest();
  const runs = new RunColumns(io.mmu, MAPS_ROWS);
  const scan = new MapScan(io, runs, from, to);
  for (;;) {
    const status = scan.next();
    if (status === FETCH) {
      // What is complete need not wait for that.
      for (let row = 0; row < runs.length - 1; row++) yield sink.emit(runs.row(row));
      runs.keepLast();
      scan.take(yield* fetchTables(io, scan.wanted));
    } else {
      for (let row = 0; row < runs.length; row++) yield sink.emit(runs.row(row));
      runs.clear();
      if (status === DONE) return;
    }
  }
}

/**
 * One pass over the runs of a range, batch by batch into rows that are used again: what questions about a whole space
 * are made of. The bound on tables that are visited over and over holds for the pass as a whole.
 */
export class RunPass {
  readonly #io: PageTableIo;
  readonly #scan: MapScan;
  #begun = false;
  #done = false;
  /** The batch: of meaning until the next one. */
  readonly runs: RunColumns;

  /**
   * @param from First page number. @param to Last one, exclusive.
   * @param runs Of the same format; at least two rows.
   * @param visits Of passes over other parts of the same space, so that the bound holds for all of them.
   */
  constructor(io: PageTableIo, from: number, to: number, runs: RunColumns, visits?: Visits) {
    this.#io = io;
    this.#scan = new MapScan(io, runs, from, to, visits);
    this.runs = runs;
  }

  /** Puts the runs that follow into `runs`; none of them is in two batches. @returns false if there are no more. */
  *next(): Routine<boolean> {
    const { runs } = this;
    if (!this.#begun) this.#io.beginRequest();
    this.#begun = true;
    runs.clear();
    while (!this.#done) {
      const status = this.#scan.next();
      if (status === FETCH) {
        this.#scan.take(yield* fetchTables(this.#io, this.#scan.wanted));
      } else {
        this.#done = status === DONE;
        return runs.length !== 0;
      }
    }
    return false;
  }
}

/** The routine of `VirtualMemory.runBatches`. */
export function* runBatchesRoutine(
  sink: Sink<RunColumns>,
  io: PageTableIo,
  from: number,
  to: number,
): Routine<void> {
  const pass = new RunPass(io, from, to, new RunColumns(io.mmu, RUN_ROWS));
  while (yield* pass.next()) yield sink.emit(pass.runs);
}

/** The routine of `VirtualMemory.runs`. */
export function* runsRoutine(
  io: PageTableIo,
  from: number,
  to: number,
  into: RunColumns | undefined,
): Routine<RunColumns> {
  const runs = into ?? new RunColumns(io.mmu, RUN_ROWS);
  checkColumns(runs, io.mmu);
  io.beginRequest();
  runs.clear();
  const before = continuations.get(runs);
  const visits = before?.io === io && before.at === from ? before.visits : new Visits();
  const scan = new MapScan(io, runs, from, to, visits);
  for (;;) {
    const status = scan.next();
    if (status === FETCH) {
      scan.take(yield* fetchTables(io, scan.wanted));
    } else {
      const at = status === FULL ? scan.stopped : to;
      continuations.set(runs, { io, at, visits });
      runs.end = addressOf(at, io.mmu.pageShift);
      return runs;
    }
  }
}
