/**
 * Pages that were read, in one slab (a dump format and the page cache above share it), found through an open-addressed
 * table of page numbers: no object per page.
 *
 * Eviction is that of 2Q (Johnson, Shasha 1994), so that a scan evicts nothing but itself. A page enters the
 * *probation* queue, a quarter of the slab. If it was used again late in its time there (touches one after the other,
 * as a scan makes them, do not count), or is wanted again soon after it was dropped, it goes to the *protected* queue,
 * which only other such pages can push it out of, in turn, those first that were not used since their last turn.
 * While the slab is not full, nothing is dropped.
 */
import { copyBytes } from "./copy.hot.js";

/** Bytes of a cached page. */
export const PAGE_SIZE = 4096;
/** More would make it longer than one buffer. */
const MAX_BYTES = 4294967296;
const EMPTY = -1;
/** No slot: the end of a queue. */
const NONE = -1;

/** A queue of slots: the oldest first. */
interface Queue {
  first: number;
  last: number;
  length: number;
}

/** See the module's comment. */
export class PageSlab {
  /** Pages that it holds at most. */
  readonly capacity: number;
  /** Bytes of a page. */
  readonly pageSize: number;
  /** The pages' bytes: that in slot s begins at s·pageSize. Made when the first page is kept. */
  bytes: Uint8Array = new Uint8Array(0);
  /** Pages that made room for others. */
  evictions = 0;

  // One row a slot: its page number, its neighbours in its queue, which queue that is, when it entered, and whether it
  // was used since in a way that counts.
  #pages = new Float64Array(0);
  #before = new Int32Array(0);
  #after = new Int32Array(0);
  #isProtected = new Uint8Array(0);
  #entered = new Float64Array(0);
  #used = new Uint8Array(0);
  readonly #probation: Queue = { first: NONE, last: NONE, length: 0 };
  readonly #protected: Queue = { first: NONE, last: NONE, length: 0 };
  /** Pages in probation at most, once the slab is full. */
  readonly #probationLength: number;
  /** Pages that must have entered since a page did, for its use to count. */
  readonly #distance: number;
  /** Pages that ever entered. */
  #clock = 0;
  /** Pages that were dropped from probation, one for each hash: the latest. */
  #dropped = new Float64Array(0);
  /** Slots that were ever used. */
  #slots = 0;
  readonly #free: number[] = [];
  /** Open addressing, linear probing: slot + 1, or 0. At most half full; a power of two long. */
  #table = new Int32Array(1);
  #mask = 0;

  /** @param bytes Of pages, at most (of less than 4 KiB, as many as of 4 KiB); 0: it keeps none. */
  constructor(bytes: number, pageSize: number = PAGE_SIZE) {
    this.capacity = Math.floor(Math.min(bytes, MAX_BYTES) / Math.max(pageSize, PAGE_SIZE));
    this.pageSize = pageSize;
    this.#probationLength = Math.max(1, this.capacity >>> 2);
    this.#distance = Math.max(1, this.capacity >>> 3);
  }

  #allocate(): void {
    const { capacity } = this;
    // The system gives this memory page by page, as it is first used.
    this.bytes = new Uint8Array(capacity * this.pageSize);
    this.#pages = new Float64Array(capacity);
    this.#before = new Int32Array(capacity);
    this.#after = new Int32Array(capacity);
    this.#isProtected = new Uint8Array(capacity);
    this.#entered = new Float64Array(capacity);
    this.#used = new Uint8Array(capacity);
    this.#table = new Int32Array(2 ** Math.ceil(Math.log2(2 * capacity + 2)));
    this.#mask = this.#table.length - 1;
    this.#dropped = new Float64Array(this.#table.length >>> 1).fill(EMPTY);
  }

  /** Pages that it holds now. */
  get size(): number {
    return this.#slots - this.#free.length;
  }

  /** The slot of a page, or -1. */
  find(page: number): number {
    const i = this.#indexOf(page);
    return i < 0 ? -1 : (this.#table[i] as number) - 1;
  }

  /** Notes that the page in `slot` was used. */
  use(slot: number): void {
    if (this.#clock - (this.#entered[slot] as number) >= this.#distance) this.#used[slot] = 1;
  }

  /** Takes a copy of a page, `bytes` from `at` on, in the place of another if need be. */
  keep(page: number, bytes: Uint8Array, at = 0): void {
    if (this.capacity === 0) return;
    if (this.#table.length === 1) this.#allocate();
    let slot = this.find(page);
    if (slot < 0) {
      slot = this.#free.pop() ?? (this.#slots < this.capacity ? this.#slots++ : this.#evict());
      this.#pages[slot] = page;
      let i = this.#hash(page);
      while (this.#table[i] !== 0) i = (i + 1) & this.#mask;
      this.#table[i] = slot + 1;
      const place = this.#hash(page) >>> 1;
      if (this.#dropped[place] === page) {
        this.#dropped[place] = EMPTY;
        this.#enter(slot, 1);
      } else {
        this.#enter(slot, 0);
      }
      this.#clock++;
    }
    copyBytes(bytes, at, this.bytes, slot * this.pageSize, this.pageSize);
  }

  /** Drops a page, if it is there. */
  forget(page: number): void {
    const i = this.#indexOf(page);
    if (i < 0) return;
    const slot = (this.#table[i] as number) - 1;
    this.#unlink(i);
    this.#leave(slot);
    this.#pages[slot] = EMPTY;
    this.#free.push(slot);
  }

  /** Drops the pages from `first` to `last`. */
  forgetRange(first: number, last: number): void {
    if (last - first < this.#slots) {
      for (let page = first; page <= last; page++) this.forget(page);
    } else {
      for (let slot = 0; slot < this.#slots; slot++) {
        const page = this.#pages[slot] as number;
        if (page >= first && page <= last) this.forget(page);
      }
    }
  }

  /** Drops every page. */
  clear(): void {
    this.#slots = 0;
    this.#free.length = 0;
    for (const queue of [this.#probation, this.#protected]) {
      queue.first = NONE;
      queue.last = NONE;
      queue.length = 0;
    }
    this.#table.fill(0);
    this.#dropped.fill(EMPTY);
  }

  #hash(page: number): number {
    const lo = page >>> 0;
    const hi = (page - lo) / 4294967296;
    const mixed = Math.imul(lo ^ Math.imul(hi, 0x9e3779b1), 0x85ebca6b);
    return (mixed ^ (mixed >>> 15)) & this.#mask;
  }

  #indexOf(page: number): number {
    const table = this.#table;
    const pages = this.#pages;
    let i = this.#hash(page);
    for (;;) {
      const slot = (table[i] as number) - 1;
      if (slot < 0) return -1;
      if (pages[slot] === page) return i;
      i = (i + 1) & this.#mask;
    }
  }

  /** Frees a slot; every slot is taken. */
  #evict(): number {
    for (;;) {
      const probation = this.#probation;
      const fromProbation = probation.length > this.#probationLength || this.#protected.length === 0;
      const slot = fromProbation ? probation.first : this.#protected.first;
      this.#leave(slot);
      if (this.#used[slot] !== 0) {
        this.#enter(slot, 1);
        continue;
      }
      const page = this.#pages[slot] as number;
      if (fromProbation) this.#dropped[this.#hash(page) >>> 1] = page;
      this.evictions++;
      this.#unlink(this.#indexOf(page));
      return slot;
    }
  }

  /** Puts a slot at the end of the probation (0) or protected (1) queue, unused. */
  #enter(slot: number, isProtected: number): void {
    const queue = isProtected === 0 ? this.#probation : this.#protected;
    const { last } = queue;
    this.#isProtected[slot] = isProtected;
    this.#used[slot] = 0;
    // Whoever is protected has shown that it is wanted: each use counts.
    this.#entered[slot] = isProtected === 0 ? this.#clock : Number.NEGATIVE_INFINITY;
    this.#before[slot] = last;
    this.#after[slot] = NONE;
    if (last === NONE) queue.first = slot;
    else this.#after[last] = slot;
    queue.last = slot;
    queue.length++;
  }

  /** Takes a slot out of its queue. */
  #leave(slot: number): void {
    const queue = this.#isProtected[slot] === 0 ? this.#probation : this.#protected;
    const before = this.#before[slot] as number;
    const after = this.#after[slot] as number;
    if (before === NONE) queue.first = after;
    else this.#after[before] = after;
    if (after === NONE) queue.last = before;
    else this.#before[after] = before;
    queue.length--;
  }

  /** Empties a place of the table; entries that were pushed on by it move up. */
  #unlink(index: number): void {
    const table = this.#table;
    const mask = this.#mask;
    let hole = index;
    let i = index;
    for (;;) {
      i = (i + 1) & mask;
      const slot = (table[i] as number) - 1;
      if (slot < 0) break;
      const home = this.#hash(this.#pages[slot] as number);
      // It may move to the hole unless its home lies behind that.
      if (((i - home) & mask) >= ((i - hole) & mask)) {
        table[hole] = slot + 1;
        hole = i;
      }
    }
    table[hole] = 0;
  }
}
