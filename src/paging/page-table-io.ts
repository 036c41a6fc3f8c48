/** The page walk as a layer: one virtual view becomes many physical views, each of which may fail alone. */
import { HIGH, joinAddress, split, splitAddress } from "../io/address.js";
import type { Column, ColumnIo } from "../io/column.js";
import {
  type Address,
  type BoundView,
  defaultScheduler,
  type Fault,
  fault,
  faultState,
  levelOf,
  type PacketIo,
  type Scheduler,
  sendKept,
} from "../io/index.js";
import { PhysicalMemory } from "../memory/physical-memory.js";
import type { Writes } from "../memory/writes.js";
import { LEAF, MISSING } from "./formats/entry-kinds.js";
import { type CompiledMmu, compileMmu } from "./formats/mmu.js";
import type { MmuDef } from "./formats/mmu-def.js";
import { ALL_RIGHTS } from "./formats/rights.js";
import { X86_64 } from "./formats/x86.js";
import { ColumnFetch } from "./tables/column-fetch.js";
import { checkRoot, layoutOf, type Root, type RootLayout, rootName } from "./tables/root.js";
import { TableCache } from "./tables/table-cache.hot.js";
import { TableFetch, type TableWaiter } from "./tables/table-fetch.js";
import { sendVirtualColumn } from "./walk/translate-column.js";
import {
  BEYOND,
  faultOfStep,
  followLinks,
  isCanonical,
  Leaf,
  leafBytes,
  NON_CANONICAL,
  runBytes,
  Step,
  tableMissing,
  walkFrom,
} from "./walk/walk.hot.js";

/** The swap area of a number, by bytes from its beginning; `undefined` if there is none at hand. */
export type SwapAreas = (type: number) => PacketIo<number> | undefined;

/** Options of an address space made by page tables. */
export interface PageTableOptions {
  /** Physical address of the top table (x86-64: CR3 without its low 12 bits); AArch64 has two. */
  readonly root: Root;
  /** The format; x86-64 with four levels by default. */
  readonly mmu?: MmuDef;
  /** The memory changes by itself: tables are only shared within one batch, unless `maxAge` allows for more. */
  readonly live?: boolean;
  /**
   * For live memory: milliseconds that tables and translations may be old when a request begins (default 0). What a
   * table said is then right as of that long ago; `VirtualMemory.flush` forgets it at once.
   */
  readonly maxAge?: number | undefined;
  /** The clock of `maxAge`, in milliseconds (default `Date.now`). */
  readonly clock?: () => number;
  readonly scheduler?: Scheduler | undefined;
  /** For messages. */
  readonly name?: string;
  /**
   * Where the bytes of swapped pages are: the swap area of a type, as the format's `absentEntries` tells it. Without, they are
   * `swapped`.
   */
  readonly swap?: SwapAreas | undefined;
  /** A cache to share with other roots of the same machine, read through the same physical layer. */
  readonly tableCache?: TableCache | undefined;
}

const leaf = new Leaf();

const NOT_AN_ADDRESS = fault("malformed", "address", "paging");

/**
 * See the module's comment. Its parameter is a virtual address.
 *
 * Cached tables are walked in place. What lies under a table that is not cached waits for it; each such table is read
 * once, by an ordinary packet to the physical layer, so that what many views wait for travels in one batch a level.
 * Rights are not checked: an introspector writes where the program may not.
 */
export class PageTableIo implements PacketIo<Address>, ColumnIo {
  readonly physical: PacketIo<number>;
  readonly root: Root;
  /** The address of the root among tables, or what stands for it. @internal */
  readonly rootKey: number;
  /** The format, compiled. @internal */
  readonly mmu: CompiledMmu;
  readonly live: boolean;
  readonly maxAge: number;
  readonly cache: TableCache;
  readonly scheduler: Scheduler;
  readonly name: string;
  /** @internal */
  readonly swap: SwapAreas | undefined;
  /** The writes to physical memory, where that tells of them. */
  private readonly writes: Writes | undefined;
  readonly #step = new Step();
  readonly #layout: RootLayout | undefined;
  readonly #clock: () => number;

  /**
   * @throws {RangeError} if the root is no aligned physical address, `maxAge` no age, or the cache is for tables of
   * another size.
   */
  constructor(physical: PacketIo<number>, options: PageTableOptions) {
    const { root } = options;
    const def = options.mmu ?? X86_64;
    this.mmu = compileMmu(def);
    checkRoot(this.mmu, root);
    this.physical = physical;
    this.writes = physical instanceof PhysicalMemory ? physical.writes : undefined;
    this.root = root;
    this.swap = options.swap;
    this.live = options.live ?? false;
    this.maxAge = options.maxAge ?? 0;
    if (!(this.maxAge >= 0)) throw new RangeError(`maxAge: not a number of milliseconds: ${this.maxAge}`);
    this.#clock = options.clock ?? Date.now;
    this.cache = options.tableCache ?? new TableCache({ mmu: def });
    if (!this.cache.takes(def)) {
      throw new RangeError(
        `table cache: made for ${this.cache.entries} entries of ${this.cache.entryBytes} bytes, or for entries of another form ` +
          `than ${this.mmu.name} has (${this.mmu.tableEntries} of ${def.entryBytes})`,
      );
    }
    this.#layout = layoutOf(this.mmu, root);
    this.rootKey = this.#layout === undefined ? (root as number) : this.cache.keyOf(this.#layout);
    this.scheduler = options.scheduler ?? physical.scheduler ?? defaultScheduler;
    this.name = options.name ?? `${this.mmu.name}:${rootName(root)}`;
  }

  /**
   * To be called before a request is walked: what a live source's last batch left behind is forgotten, and what was
   * read before a write to physical memory. @internal
   */
  beginRequest(): void {
    const { cache, writes } = this;
    if (writes !== undefined) cache.forgetBefore(writes.version());
    if (this.live) this.#beginLive();
    cache.useLinks(this.mmu);
  }

  #beginLive(): void {
    if (this.maxAge === 0) this.cache.beginLive();
    else this.cache.beginAged(this.#clock(), this.maxAge);
  }

  /**
   * Remembers what a step that began at a fetched table says of an address, unless everything was forgotten since the
   * request began: what it walked through may have changed. @internal
   */
  remember(step: Step, fetch: TableFetch, generation: number, lo: number, hi: number): void {
    if (step.kind === LEAF) {
      const { level } = step;
      const low = (step.addressLo | (lo & (this.mmu.offsetLo[level] as number))) & ~0xfff;
      const high = step.addressHi | (hi & (this.mmu.offsetHi[level] as number));
      this.#insert(generation, lo, hi, level, step.rights, 0, low, high);
    } else if (step.kind !== MISSING && (fetch.faults === undefined || this.#isKnown(fetch))) {
      this.#insert(generation, lo, hi, 0, 0, faultOfStep(step), step.entryLo, step.entryHi);
    }
  }

  /** Remembers that the table of `level` of an address is missing, if the next attempt won't fare better. @internal */
  rememberMissing(
    fetch: TableFetch,
    level: number,
    generation: number,
    lo: number,
    hi: number,
    entryLo: number,
    entryHi: number,
  ): void {
    if (!this.#isKnown(fetch)) return;
    this.#insert(generation, lo, hi, 0, 0, tableMissing(level, fetch.fault), entryLo, entryHi);
  }

  /** Whether a table that can't be read, or not wholly, is known as such. */
  #isKnown(fetch: TableFetch): boolean {
    return this.cache.broken.get(fetch.address) === fetch;
  }

  #insert(
    generation: number,
    lo: number,
    hi: number,
    level: number,
    rights: number,
    reason: Fault,
    toLo: number,
    toHi: number,
  ): void {
    const { cache } = this;
    if (generation !== cache.generation || (this.live && this.maxAge === 0)) return;
    cache.tlb.insert(this.rootKey, lo, hi, level, rights, reason, toLo, toHi);
  }

  sendIo(address: Address, view: BoundView): void {
    if (!splitAddress(address)) {
      view.fail(NOT_AN_ADDRESS);
      return;
    }
    const { lo, hi } = split;
    this.beginRequest();
    const { cache, mmu } = this;
    const slot = cache.find(this.rootKey);
    if (slot >= 0 && followLinks(leaf, cache, mmu, slot, lo, hi) && view.length <= leaf.room) {
      this.physical.sendIo(leaf.address, view);
    } else {
      this.walkView(undefined, mmu.levels, ALL_RIGHTS, lo, hi, view, cache.generation);
    }
  }

  /** @internal */
  sendColumn(column: Column, from: number, view: BoundView): void {
    this.beginRequest();
    sendVirtualColumn(this, column, from, view);
  }

  /**
   * Answers or forwards every piece of a view that the table of `level` in `held` translates; without one, it
   * starts at the root.
   *
   * @param generation That of the cache when the request began.
   * @internal
   */
  walkView(
    held: TableFetch | undefined,
    level: number,
    rights: number,
    firstLo: number,
    firstHi: number,
    view: BoundView,
    generation: number,
  ): void {
    const { mmu, cache } = this;
    const step = this.#step;
    let lo = firstLo;
    let hi = firstHi;
    let rest: BoundView | undefined = view;
    while (rest !== undefined) {
      const piece: BoundView = rest;
      const { length } = piece;
      if (hi >= HIGH) {
        piece.fail(BEYOND);
        return;
      }
      let kind = MISSING;
      let room: number;
      let physical = this.rootKey;
      let below = mmu.levels;
      let granted = ALL_RIGHTS;
      let reason = 0;
      let entryLo = 0;
      let entryHi = 0;
      // Another format may have used the cache since: while this waited, or in an output of what was forwarded.
      cache.useLinks(mmu);
      // What was forwarded may have been answered at once, and its output may have changed the cache: ask it anew.
      const slot = held === undefined ? cache.find(this.rootKey) : -1;
      if (held === undefined && !isCanonical(mmu, hi)) {
        kind = 0;
        reason = NON_CANONICAL;
        room = bytesToCanonical(mmu, lo, hi);
      } else if (held === undefined && slot < 0) {
        room = bytesToEndOfHalf(mmu, lo, hi);
      } else if (held === undefined && followLinks(leaf, cache, mmu, slot, lo, hi)) {
        kind = LEAF;
        room = leafBytes(leaf, cache, mmu, length);
        physical = leaf.address;
      } else {
        const table = held === undefined ? cache.arena : held.words;
        const base = held === undefined ? slot * mmu.tableWords : 0;
        walkFrom(step, cache, mmu, table, base, slot, held?.faults, level, rights, lo, hi);
        kind = step.kind;
        room = runBytes(step, mmu, lo, hi, length);
        below = step.level - 1;
        granted = step.rights;
        if (kind === LEAF) {
          const at = step.level;
          physical =
            step.address +
            ((hi & (mmu.offsetHi[at] as number)) >>> 0) * HIGH +
            ((lo & (mmu.offsetLo[at] as number)) >>> 0);
        } else if (kind === MISSING) {
          physical = step.address;
        } else {
          reason = faultOfStep(step);
          entryLo = step.entryLo;
          entryHi = step.entryHi;
        }
        if (held !== undefined) this.remember(step, held, generation, lo, hi);
      }
      // The read path's use of it: a page whose table has made room for others costs no fetch of that.
      if (kind === MISSING && cache.tlb.find(this.rootKey, lo, hi)) {
        const { tlb } = cache;
        room = Math.min(room, 4096 - (lo & 0xfff));
        kind = tlb.fault === 0 ? LEAF : 0;
        reason = tlb.fault;
        entryLo = tlb.lo;
        entryHi = tlb.hi;
        physical = (tlb.hi >>> 0) * HIGH + ((tlb.lo | (lo & 0xfff)) >>> 0);
      }
      rest = room < length ? piece.split(room) : undefined;
      const sum = lo + piece.length;
      if (kind === LEAF && held === undefined) this.physical.sendIo(physical, piece);
      else if (kind === LEAF) sendWaited(this.physical, physical, piece);
      else if (kind === MISSING) this.#waitForTable(physical, below, granted, lo, hi, piece, generation);
      else this.#failOrSwap(reason, entryLo, entryHi, lo, hi, piece);
      lo = sum >>> 0;
      hi += (sum - lo) / HIGH;
    }
  }

  /** What is not in RAM is read from its swap area, where that is at hand; else it fails. */
  #failOrSwap(
    reason: Fault,
    entryLo: number,
    entryHi: number,
    lo: number,
    hi: number,
    piece: BoundView,
  ): void {
    const { mmu, swap } = this;
    if (swap === undefined || faultState(reason) !== "swapped") {
      piece.fail(reason);
      return;
    }
    const { level } = levelOf(reason);
    const { type, offset } = mmu.def.absentEntries?.describe(level, joinAddress(entryLo, entryHi)) ?? {};
    const area = type === undefined || offset === undefined ? undefined : swap(type);
    if (area === undefined || offset === undefined) {
      piece.fail(reason);
      return;
    }
    const within =
      ((hi & (mmu.offsetHi[level] as number)) >>> 0) * HIGH + ((lo & (mmu.offsetLo[level] as number)) >>> 0);
    sendWaited(area, offset * (mmu.size[1] as number) + within, piece);
  }

  #waitForTable(
    address: number,
    level: number,
    rights: number,
    lo: number,
    hi: number,
    piece: BoundView,
    generation: number,
  ): void {
    piece.keep();
    const waiter = new ViewWaiter(this, level, rights, lo, hi, piece, generation);
    const known = this.cache.broken.get(address) ?? this.cache.flightOf(address);
    if (known === undefined) {
      const fetch = this.makeFetch(address);
      fetch.wait(waiter);
      fetch.send(this.physical);
    } else if (known.done) {
      waiter.tableArrived(known);
    } else {
      known.wait(waiter);
    }
  }

  /** Physical address of an entry of a table; `undefined` for one that is no memory. @internal */
  entryAddress(table: number, index: number): number | undefined {
    const layout = table === this.rootKey ? this.#layout : undefined;
    if (layout === undefined) return table + index * this.mmu.def.entryBytes;
    const piece = layout.pieces.find(({ first, entries }) => index >= first && index < first + entries);
    return piece === undefined ? undefined : piece.address + (index - piece.first) * this.mmu.def.entryBytes;
  }

  /** A read of a table that is neither cached nor on its way; to be sent by the caller. @internal */
  makeFetch(address: number): TableFetch {
    this.#markBatch();
    const layout = address === this.rootKey ? this.#layout : undefined;
    const fetch = new TableFetch(this.cache, address, !this.live, layout);
    this.cache.flights.set(address, fetch);
    return fetch;
  }

  /** The same for many, each once; `cache.hasRoom` for them. @internal */
  makeColumnFetch(addresses: ArrayLike<number>): ColumnFetch {
    this.#markBatch();
    return new ColumnFetch(this.cache, addresses, !this.live);
  }

  #markBatch(): void {
    const { mark } = this.cache;
    if (!this.live || mark.enqueued) return;
    mark.enqueued = true;
    this.scheduler.enqueue(mark);
  }
}

/** A piece of a view that can't be translated before a table is there. */
class ViewWaiter implements TableWaiter {
  readonly #io: PageTableIo;
  readonly #level: number;
  /** What the entries above the table grant. */
  readonly #rights: number;
  readonly #lo: number;
  readonly #hi: number;
  readonly #view: BoundView;
  readonly #generation: number;

  constructor(
    io: PageTableIo,
    level: number,
    rights: number,
    lo: number,
    hi: number,
    view: BoundView,
    generation: number,
  ) {
    this.#io = io;
    this.#level = level;
    this.#rights = rights;
    this.#lo = lo;
    this.#hi = hi;
    this.#view = view;
    this.#generation = generation;
  }

  /** Goes on with the table in hand, so that even a cache of one table makes progress. */
  tableArrived(fetch: TableFetch): void {
    const view = this.#view;
    if (view.abortFault !== 0) view.fail(view.abortFault);
    else if (fetch.fault !== 0) view.fail(tableMissing(this.#level, fetch.fault));
    else this.#io.walkView(fetch, this.#level, this.#rights, this.#lo, this.#hi, view, this.#generation);
  }
}

/** (A function of its own: where a closure is made, what it holds lies on the heap, also for pieces that don't come so far.) */
function sendWaited(io: PacketIo<number>, address: number, piece: BoundView): void {
  sendKept(piece, () => io.sendIo(address, piece));
}

/** Bytes from a non-canonical address to the next canonical one (a double: exact where it is below 2^53). */
function bytesToCanonical(mmu: CompiledMmu, lo: number, hi: number): number {
  const start = mmu.canonicalHigh * 2 ** mmu.canonicalShift;
  return hi < start ? (start - hi) * HIGH - lo : (HIGH - hi) * HIGH - lo;
}

/** Bytes from a canonical address to the next one that is not, or to the end of 64 bits. */
function bytesToEndOfHalf(mmu: CompiledMmu, lo: number, hi: number): number {
  const end = ((hi >>> mmu.canonicalShift) + 1) * 2 ** mmu.canonicalShift;
  return (end - hi) * HIGH - lo;
}
