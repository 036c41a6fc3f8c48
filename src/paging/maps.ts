/** Every mapped run of a root, in ascending order, visiting only tables that are there. */
import { HIGH, joinAddress } from "../io/address.js";
import {
  type Address,
  type Fault,
  type FaultState,
  faultState,
  levelOf,
  type Routine,
  type Sink,
} from "../io/index.js";
import { fetchTables } from "./fetch-tables.js";
import { ALL_RIGHTS, GLOBAL } from "./mmu.js";
import type { PageTableIo } from "./page-table-io.js";
import type { TableFetch } from "./table-fetch.js";
import { type Rights, rightsFields } from "./translation.js";
import { kindOf, LEAF, MISSING, malformedAt, NOT_PRESENT, rightsOf, tableMissing } from "./walk.hot.js";

/** Mapped memory: contiguous both virtually and physically, of one page size, with one set of rights. */
export interface MappedRun extends Rights {
  readonly start: bigint;
  /** Exclusive; may be 2^64. */
  readonly end: bigint;
  /** Physical address of the first byte. */
  readonly physical: number;
  readonly pageSize: number;
  readonly state?: undefined;
}

/** What can't be told: `table-missing` or `malformed`. (Ranges that are plainly not present have no run.) */
export interface BrokenRun {
  readonly start: bigint;
  /** Exclusive; may be 2^64. */
  readonly end: bigint;
  readonly state: FaultState;
  /** Level of the entry that is malformed, or of the table that is missing. */
  readonly level: number;
  /** The malformed entry, or the one that points to the missing table (0 for the root). */
  readonly entry: bigint;
  readonly fault: Fault;
  /** For `table-missing`: the state of the read of the table. */
  readonly cause?: FaultState;
}

/** A run of `VirtualMemory.maps`; `state` tells which. */
export type MapRun = MappedRun | BrokenRun;

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

const DONE = 0;
const EMIT = 1;
const FETCH = 2;

/** A table on the path from the root. */
class Place {
  readonly words: Uint32Array;
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
    this.words = new Uint32Array(words);
  }
}

/** One pass: a plain loop that stops to hand out a run or to have tables fetched. */
class MapScan {
  readonly #io: PageTableIo;
  readonly #from: number;
  readonly #to: number;
  readonly #places: Place[];
  /** Page numbers of the tables visited, by level. */
  readonly #seen: Set<number>[];
  #repeats = 0;
  /** Level of the table under way; 0 before the root, above the root at the end. */
  #level = 0;
  // The run that may still grow; pages 0 if there is none.
  #start = 0;
  #pages = 0;
  #physical = 0;
  #pageLevel = 0;
  #rights = 0;
  #fault: Fault = 0;
  #entryLo = 0;
  #entryHi = 0;
  /** For `EMIT`. */
  run: MapRun | undefined;
  /** For `FETCH`: the tables to fetch, and the place that wants them. */
  wanted: number[] = [];
  #wantedBy: Map<number, TableFetch>;

  /** @param from First page number. @param to Last one, exclusive. */
  constructor(io: PageTableIo, from: number, to: number) {
    const { mmu } = io;
    this.#io = io;
    this.#from = from;
    this.#to = to;
    this.#places = Array.from({ length: mmu.levels + 2 }, () => new Place(mmu.tableWords));
    this.#seen = Array.from({ length: mmu.levels + 1 }, () => new Set<number>());
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

  next(): number {
    const { mmu } = this.#io;
    const top = mmu.levels;
    if (this.#level === 0) {
      const status = this.#enter(top, this.#io.root, 0, ALL_RIGHTS, 0, 0);
      if (status !== DONE) return status;
    }
    while (this.#level <= top) {
      const level = this.#level;
      const place = this.#places[level] as Place;
      if (place.index > place.last) {
        place.children.clear();
        this.#level++;
        (this.#places[level + 1] as Place).index++;
        continue;
      }
      const status = this.#entry(place, level);
      if (status !== DONE) return status;
    }
    return this.#flush() ? EMIT : DONE;
  }

  /** Takes one entry; may go down a level. `DONE` means "go on". */
  #entry(place: Place, level: number): number {
    const { mmu } = this.#io;
    const { index, words } = place;
    const lo = words[2 * index] as number;
    const hi = words[2 * index + 1] as number;
    const pages = 2 ** ((mmu.shift[level] as number) - mmu.pageShift);
    let vpn = place.vpn + index * pages;
    if (level === mmu.levels && index >= mmu.extendFrom) vpn += mmu.extendPages;
    if (vpn >= this.#to || vpn + pages <= this.#from) {
      place.index++;
      return DONE;
    }
    const unread = place.faults?.[index] ?? 0;
    if (unread !== 0) {
      place.index++;
      return this.#add(vpn, pages, 0, level, 0, tableMissing(level, unread), 0, 0);
    }
    const kind = kindOf(mmu, level, lo, hi);
    if (kind === MISSING) {
      const address = ((hi & mmu.tableAddressHi) >>> 0) * HIGH + ((lo & mmu.tableAddressLo) >>> 0);
      return this.#enter(level - 1, address, vpn, place.rights & (rightsOf(mmu, lo, hi) | GLOBAL), lo, hi);
    }
    place.index++;
    if (kind === NOT_PRESENT) return DONE;
    if (kind !== LEAF) return this.#add(vpn, pages, 0, level, 0, malformedAt(level), lo, hi);
    const physical =
      ((hi & (mmu.leafAddressHi[level] as number)) >>> 0) * HIGH +
      ((lo & (mmu.leafAddressLo[level] as number)) >>> 0);
    return this.#add(vpn, pages, physical, level, place.rights & rightsOf(mmu, lo, hi), 0, 0, 0);
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
    const pages = level === mmu.levels ? 0 : 2 ** ((mmu.shift[level + 1] as number) - mmu.pageShift);
    if (this.#isLoop(level, address)) {
      parent.index++;
      return this.#add(vpn, pages, 0, level + 1, 0, malformedAt(level + 1), entryLo, entryHi);
    }
    const slot = cache.find(address);
    const table = parent.children.get(address) ?? cache.broken.get(address);
    if (slot < 0 && table === undefined) {
      this.wanted = [address];
      this.#wantedBy = parent.children;
      return FETCH;
    }
    if (slot < 0 && table !== undefined && table.fault !== 0) {
      if (level === mmu.levels) {
        this.#level = level + 1;
        return this.#addHalves(tableMissing(level, table.fault));
      }
      parent.index++;
      return this.#add(vpn, pages, 0, level, 0, tableMissing(level, table.fault), entryLo, entryHi);
    }
    const pfn = address / 4096;
    const seen = this.#seen[level] as Set<number>;
    if (!seen.has(pfn)) {
      seen.add(pfn);
    } else if (this.#repeats < MAX_REPEATS) {
      this.#repeats++;
    } else {
      parent.index++;
      return this.#add(vpn, pages, 0, level + 1, 0, malformedAt(level + 1), entryLo, entryHi);
    }
    const place = this.#places[level] as Place;
    if (slot >= 0) place.words.set(cache.arena.subarray(slot * mmu.tableWords, (slot + 1) * mmu.tableWords));
    else if (table !== undefined) place.words.set(table.words);
    place.faults = slot >= 0 ? undefined : table?.faults;
    place.address = address;
    place.index = 0;
    place.last = (mmu.loMask[level] as number) | (mmu.hiMask[level] as number);
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

  /** All tables below one that are not cached, as one batch. */
  #prefetch(place: Place, level: number): number {
    const { mmu, cache } = this.#io;
    const wanted = new Set<number>();
    const pages = 2 ** ((mmu.shift[level] as number) - mmu.pageShift);
    for (let index = 0; index <= place.last; index++) {
      const lo = place.words[2 * index] as number;
      const hi = place.words[2 * index + 1] as number;
      if (kindOf(mmu, level, lo, hi) !== MISSING || (place.faults?.[index] ?? 0) !== 0) continue;
      let vpn = place.vpn + index * pages;
      if (level === mmu.levels && index >= mmu.extendFrom) vpn += mmu.extendPages;
      if (vpn >= this.#to || vpn + pages <= this.#from) continue;
      const address = ((hi & mmu.tableAddressHi) >>> 0) * HIGH + ((lo & mmu.tableAddressLo) >>> 0);
      if (cache.find(address) < 0 && !this.#isLoop(level - 1, address)) wanted.add(address);
    }
    if (wanted.size === 0) return DONE;
    this.wanted = [...wanted];
    this.#wantedBy = place.children;
    return FETCH;
  }

  /** The root can't be read: one run for each canonical part of the space. */
  #addHalves(fault: Fault): number {
    const { mmu } = this.#io;
    const entries = ((mmu.loMask[mmu.levels] as number) | (mmu.hiMask[mmu.levels] as number)) + 1;
    const pages = 2 ** ((mmu.shift[mmu.levels] as number) - mmu.pageShift);
    const low = Math.min(mmu.extendFrom, entries);
    const first = low === 0 ? DONE : this.#add(0, low * pages, 0, mmu.levels, 0, fault, 0, 0);
    if (low === entries) return first;
    return this.#add(low * pages + mmu.extendPages, (entries - low) * pages, 0, mmu.levels, 0, fault, 0, 0);
  }

  /** Adds a piece to the run under way, or begins another and hands that one out. */
  #add(
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
    if (count <= 0) return DONE;
    const { pageShift } = this.#io.mmu;
    const at = fault === 0 ? physical + (start - vpn) * 2 ** pageShift : 0;
    if (
      this.#pages !== 0 &&
      this.#start + this.#pages === start &&
      this.#fault === fault &&
      (fault === 0
        ? this.#pageLevel === level &&
          this.#rights === rights &&
          this.#physical + this.#pages * 2 ** pageShift === at
        : this.#entryLo === entryLo && this.#entryHi === entryHi)
    ) {
      this.#pages += count;
      return DONE;
    }
    const emit = this.#flush();
    this.#start = start;
    this.#pages = count;
    this.#physical = at;
    this.#pageLevel = level;
    this.#rights = rights;
    this.#fault = fault;
    this.#entryLo = entryLo;
    this.#entryHi = entryHi;
    return emit ? EMIT : DONE;
  }

  /** Hands out the run under way, if there is one. */
  #flush(): boolean {
    if (this.#pages === 0) return false;
    const { mmu } = this.#io;
    const start = addressOf(this.#start, mmu.pageShift);
    const end = addressOf(this.#start + this.#pages, mmu.pageShift);
    this.#pages = 0;
    if (this.#fault === 0) {
      const pageSize = mmu.size[this.#pageLevel] as number;
      this.run = { start, end, physical: this.#physical, pageSize, ...rightsFields(this.#rights) };
      return true;
    }
    const { level, cause } = levelOf(this.#fault);
    const entry = joinAddress(this.#entryLo, this.#entryHi);
    const broken = { start, end, state: faultState(this.#fault), level, entry, fault: this.#fault };
    this.run = cause === undefined ? broken : { ...broken, cause };
    return true;
  }
}

/** The address of a page number; that after the last page is 2^64. */
function addressOf(vpn: number, pageShift: number): bigint {
  const high = 2 ** (32 - pageShift);
  const hi = Math.floor(vpn / high);
  if (hi >= HIGH) return 1n << 64n;
  return joinAddress((vpn - hi * high) * 2 ** pageShift, hi);
}

/** The routine of `VirtualMemory.maps`. @param from First page number. @param to Last one, exclusive. */
export function* mapsRoutine(sink: Sink<MapRun>, io: PageTableIo, from: number, to: number): Routine<void> {
  io.beginRequest();
  const scan = new MapScan(io, from, to);
  for (;;) {
    const status = scan.next();
    if (status === DONE) return;
    if (status === EMIT) yield sink.emit(scan.run as MapRun);
    else scan.take(yield* fetchTables(io, scan.wanted));
  }
}
