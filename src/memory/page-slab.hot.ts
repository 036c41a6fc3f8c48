/**
 * Cached pages in one slab, found through an open-addressed table of page numbers: no object per page. Eviction is a
 * clock with counts (0 to 3): a page enters with 0 and gains one each time it is used after another page was, so that
 * a scan, which uses each page once, evicts its own pages first.
 */
import { copyBytes } from "../io/copy.hot.js";

/** Bytes of a cached page. */
export const PAGE_SIZE = 4096;
const MAX_USE = 3;
const EMPTY = -1;

/** See the module's comment. */
export class PageSlab {
  /** Pages that it holds at most. */
  readonly capacity: number;
  /** The pages' bytes: that in slot s begins at s·PAGE_SIZE. */
  readonly bytes: Uint8Array;
  /** Pages that made room for others. */
  evictions = 0;

  // One row a slot: its page number, and how often it was used (0 to MAX_USE).
  readonly #pages: Float64Array;
  readonly #uses: Uint8Array;
  /** Slots that were ever used. */
  #slots = 0;
  readonly #free: number[] = [];
  #hand = 0;
  /** Open addressing, linear probing: slot + 1, or 0. At most half full; a power of two long. */
  readonly #table: Int32Array;
  readonly #mask: number;
  /** The page used last: using it again at once does not tell that it will be wanted later. */
  #last = EMPTY;

  constructor(capacity: number) {
    this.capacity = capacity;
    // The system gives this memory page by page, as it is first used.
    this.bytes = new Uint8Array(capacity * PAGE_SIZE);
    this.#pages = new Float64Array(capacity);
    this.#uses = new Uint8Array(capacity);
    this.#table = new Int32Array(2 ** Math.ceil(Math.log2(2 * capacity + 2)));
    this.#mask = this.#table.length - 1;
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

  /** Notes that a page in `slot` was used. */
  use(page: number, slot: number): void {
    if (page === this.#last) return;
    this.#last = page;
    const uses = this.#uses[slot] as number;
    if (uses < MAX_USE) this.#uses[slot] = uses + 1;
  }

  /** Takes a copy of a page, in the place of another if need be. */
  keep(page: number, bytes: Uint8Array): void {
    let slot = this.find(page);
    if (slot < 0) {
      slot = this.#free.pop() ?? (this.#slots < this.capacity ? this.#slots++ : this.#evict());
      this.#pages[slot] = page;
      let i = this.#hash(page);
      while (this.#table[i] !== 0) i = (i + 1) & this.#mask;
      this.#table[i] = slot + 1;
    }
    this.#uses[slot] = 0;
    this.#last = page;
    copyBytes(bytes, 0, this.bytes, slot * PAGE_SIZE, PAGE_SIZE);
  }

  /** Drops a page, if it is there. */
  forget(page: number): void {
    const i = this.#indexOf(page);
    if (i < 0) return;
    const slot = (this.#table[i] as number) - 1;
    this.#unlink(i);
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
    this.#hand = 0;
    this.#last = EMPTY;
    this.#table.fill(0);
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

  /** Frees the slot of a page that was not used since the hand passed it last; every slot is taken. */
  #evict(): number {
    for (;;) {
      const slot = this.#hand;
      this.#hand = slot + 1 === this.capacity ? 0 : slot + 1;
      const uses = this.#uses[slot] as number;
      if (uses === 0) {
        this.evictions++;
        this.#unlink(this.#indexOf(this.#pages[slot] as number));
        return slot;
      }
      this.#uses[slot] = uses - 1;
    }
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
