/**
 * Page tables that were read, in one growing arena, found by their physical address through an open-addressing hash.
 *
 * Beside each entry stands a *link*: what the entry was found to be when it was last walked, so that a walk goes from
 * table to table in one load, without looking at the entry or the hash again. A table has at most one incoming link
 * (its `backLinks`), which goes when the table does. The clock that evicts takes away a table's link with its second
 * chance: its next use then passes through the hash, which gives the chance back. So walks through links store
 * nothing.
 */
import type { Drain } from "../io/index.js";
import type { CompiledMmu } from "./mmu.js";
import type { TableFetch } from "./table-fetch.js";
import { Tlb } from "./tlb.hot.js";

/** Default bound: the tables of about 16 GiB of scattered 4 KiB mappings. */
const DEFAULT_BYTES = 32 * 2 ** 20;
/** Slots have 18 bits in what is remembered of a region (see `REGIONS`). */
const MAX_BYTES = 2 ** 30;
/** Pages: twelve times as many as the default has room for tables, should each page have a table of its own. */
const DEFAULT_TRANSLATIONS = 65_536;
/** Tables' memory that is kept for reuse: 4 MiB of it. */
const MAX_MEMORY = 1024;
/** Unreadable or partly readable tables that are remembered (a few KiB each at most). */
const MAX_BROKEN = 1024;
const FIRST_ROWS = 16;

// A link: rights 0..3, level of the entry 4..6, whether it is a leaf 7, slot of the next table 8..31.
export const LINK_RIGHTS = 15;
export const LINK_LEVEL_SHIFT = 4;
/** Level and kind in one: equal to `level << LINK_LEVEL_SHIFT` for a table. */
export const LINK_TAG = 0xf0;
export const LINK_LEAF = 0x80;
export const LINK_SLOT_SHIFT = 8;

/**
 * Regions remembered by `translateCached`: of 1 GiB each, so that a TiB in random use fits into 8 KiB, and a level 2
 * table's links (2 KiB a GiB) lead on from there. (A place a level 2 entry took 16 bytes for 2 MiB: beyond 4,096
 * large pages in random use nearly every address missed, at a quarter of the speed.)
 */
const REGION_BITS = 10;
export const REGION_SHIFT = 32 - REGION_BITS;

/** Options of a {@link TableCache}. */
export interface TableCacheOptions {
  /** Bytes that it may grow to, bookkeeping included (default 32 MiB; at most 1 GiB; never less than one table). */
  readonly bytes?: number;
  /** Size of a table in bytes (default 4096). */
  readonly tableBytes?: number;
  /** Translations remembered beyond the tables that there is room for (default 65,536, in 2 MiB once there are any; 0 for none). */
  readonly translations?: number;
}

/** Counts the batches of a live source: what was read for one does not serve the next. */
class BatchMark implements Drain {
  readonly name = "page tables";
  batch = 0;
  enqueued = false;

  flush(): boolean {
    this.enqueued = false;
    this.batch++;
    return true;
  }
}

/** See the module's comment. May be shared by all roots of one machine, as long as they are read through one layer. */
export class TableCache {
  readonly tableBytes: number;
  readonly tableWords: number;
  readonly entries: number;
  /** Tables at most. */
  readonly capacity: number;
  /** Table of slot s: words s·tableWords to (s + 1)·tableWords. @internal */
  arena: Uint32Array;
  /** The same, as signed words: what loops that only mask them are faster with. @internal */
  signed: Int32Array;
  /** Links of slot s: s·entries to (s + 1)·entries. @internal */
  links: Int32Array;
  /**
   * Two words a region: its number (the low 32 bits), and slot·16 + rights of its level 2 table; if a leaf maps it
   * whole, the complement of (the entry's index in `links`)·16 + rights. @internal
   */
  readonly regions = new Int32Array(2 << REGION_BITS);
  /** What was loaded of it only to have it in the processor's cache (so that the loads are not left out). @internal */
  touched = 0;
  /** What fetched tables gave, for when they have made room for others. @internal */
  readonly tlb: Tlb;
  /** Changes whenever everything is forgotten: what began before must not be remembered after. @internal */
  generation = 0;
  /** Tables that are being read, by address. @internal */
  readonly flights = new Map<number, TableFetch>();
  /** Memory of tables that came, for those to come. */
  readonly #memory: Uint32Array[] = [];
  /** Of a live source: moves on when reads of tables are sent. @internal */
  readonly mark = new BatchMark();
  /** The batch that tables and flights are of. */
  #batch = 0;
  /** When what a live source gave was forgotten last, by the caller's clock. */
  #born = Number.NEGATIVE_INFINITY;
  /** Of physical memory: changes with writes. */
  #version = 0;
  /** Tables that could not be read, or only in part, by address. @internal */
  readonly broken = new Map<number, TableFetch>();
  #keys: Float64Array;
  #referenced: Uint8Array;
  #backLinks: Int32Array;
  #hash: Int32Array;
  #hashMask: number;
  #rows = FIRST_ROWS;
  #count = 0;
  #hand = 0;
  #linksOf: CompiledMmu | undefined;
  #evictions = 0;
  /** The root whose regions are remembered; -1 if none may be. */
  #regionsOf = -1;
  #lastRoot = -1;

  constructor(options: TableCacheOptions = {}) {
    this.tableBytes = options.tableBytes ?? 4096;
    this.tableWords = this.tableBytes / 4;
    this.entries = this.tableBytes / 8;
    this.tlb = new Tlb(options.translations ?? DEFAULT_TRANSLATIONS);
    const bytes = Math.min(options.bytes ?? DEFAULT_BYTES, MAX_BYTES);
    // A row: the table, its links, and 13 bytes of columns with four hash places.
    this.capacity = Math.max(1, Math.floor(bytes / (this.tableBytes + this.entries * 4 + 29)));
    this.#rows = Math.min(FIRST_ROWS, this.capacity);
    this.arena = new Uint32Array(this.#rows * this.tableWords);
    this.signed = new Int32Array(this.arena.buffer);
    this.links = new Int32Array(this.#rows * this.entries);
    this.#keys = new Float64Array(this.#rows);
    this.#referenced = new Uint8Array(this.#rows);
    this.#backLinks = new Int32Array(this.#rows).fill(-1);
    this.#hash = new Int32Array(4 * FIRST_ROWS);
    this.#hashMask = this.#hash.length - 1;
  }

  /** Tables held. */
  get count(): number {
    return this.#count;
  }

  /** Tables that made room for others since the cache was made. */
  get evictions(): number {
    return this.#evictions;
  }

  /** Forgets every table, and what is on its way: whoever waits for that goes on with it, and nobody else. */
  flush(): void {
    this.flights.clear();
    this.generation++;
    this.tlb.flush();
    this.broken.clear();
    if (this.#count === 0) return;
    this.#regionsOf = -1;
    this.#count = 0;
    this.#hand = 0;
    this.#hash.fill(0);
  }

  /**
   * Begins a request to a live source: it sees no table that was read, or whose read was sent, before. Whoever waits
   * for such a read goes on with it. @internal
   */
  beginLive(): void {
    if (this.flights.size !== 0 && this.#batch === this.mark.batch) return;
    this.#batch = this.mark.batch;
    this.flush();
  }

  /**
   * Begins a request to a live source that may see what is up to `age` milliseconds old: from the first request on
   * after everything was forgotten, all is kept that long. @internal
   */
  beginAged(now: number, age: number): void {
    if (now >= this.#born && now - this.#born < age) return;
    this.#born = now;
    this.flush();
  }

  /** Forgets what was read before memory had this version: a table may have been written. @internal */
  forgetBefore(version: number): void {
    if (version === this.#version) return;
    this.#version = version;
    this.flush();
  }

  /** Links hold what one format makes of an entry: the walker names its format before it uses them. @internal */
  useLinks(mmu: CompiledMmu): void {
    if (this.#linksOf === mmu) return;
    if (this.#linksOf !== undefined) this.tlb.flush();
    this.#linksOf = mmu;
    this.#regionsOf = -1;
    this.links.fill(0);
    this.#backLinks.fill(-1);
  }

  /**
   * Whether regions serve one address of a root: they do if the last one was of that root too. (Whoever takes turns
   * between processes would fill them anew each time.) @internal
   */
  regionsPay(rootSlot: number): boolean {
    const again = this.#lastRoot === rootSlot;
    this.#lastRoot = rootSlot;
    return again;
  }

  /** Forgets regions, unless they are of this root and no table has come or gone since. @internal */
  useRegions(rootSlot: number): void {
    if (this.#regionsOf === rootSlot) return;
    this.#regionsOf = rootSlot;
    const { regions } = this;
    // A number that belongs elsewhere marks an empty place: 0 does in all places but that of region 0.
    regions.fill(0);
    regions[2 * placeOf(0)] = 1;
  }

  /** The slot of the table at a physical address, or -1. @internal */
  find(address: number): number {
    const hash = this.#hash;
    const mask = this.#hashMask;
    const keys = this.#keys;
    let at = hashOf(address) & mask;
    for (;;) {
      const slot = (hash[at] as number) - 1;
      if (slot < 0) return -1;
      if (keys[slot] === address) {
        this.#referenced[slot] = 1;
        return slot;
      }
      at = (at + 1) & mask;
    }
  }

  /** Notes that entry `at` (slot·entries + index) leads to the table in `slot`. @internal */
  linkTable(at: number, level: number, rights: number, slot: number): void {
    this.#unlink(slot);
    this.links[at] = (slot << LINK_SLOT_SHIFT) | (level << LINK_LEVEL_SHIFT) | rights;
    this.#backLinks[slot] = at;
  }

  /** Notes that entry `at` is a sound leaf. @internal */
  linkLeaf(at: number, level: number, rights: number): void {
    this.links[at] = LINK_LEAF | (level << LINK_LEVEL_SHIFT) | rights;
  }

  /** Takes a copy of a table; gives its slot. Slots of other tables may change hands. @internal */
  insert(address: number, words: Uint32Array): number {
    this.#regionsOf = -1;
    let slot = this.find(address);
    if (slot >= 0) {
      this.#unlink(slot);
    } else {
      slot = this.#takeRow();
      this.#keys[slot] = address;
      this.#put(slot);
      this.#referenced[slot] = 1;
      this.#backLinks[slot] = -1;
    }
    this.arena.set(words, slot * this.tableWords);
    this.links.fill(0, slot * this.entries, (slot + 1) * this.entries);
    return slot;
  }

  /** Memory for a table on its way. @internal */
  takeMemory(): Uint32Array {
    return this.#memory.pop() ?? new Uint32Array(this.tableWords);
  }

  /** @internal */
  giveMemory(words: Uint32Array): void {
    if (this.#memory.length < MAX_MEMORY) this.#memory.push(words);
  }

  /** Remembers a table that can't be read, or not wholly. @internal */
  insertBroken(address: number, fetch: TableFetch): void {
    if (this.broken.size >= MAX_BROKEN) {
      for (const oldest of this.broken.keys()) {
        this.broken.delete(oldest);
        break;
      }
    }
    this.broken.set(address, fetch);
  }

  #unlink(slot: number): void {
    const at = this.#backLinks[slot] as number;
    if (at < 0) return;
    const link = this.links[at] as number;
    if (link >>> LINK_SLOT_SHIFT === slot && (link & LINK_LEAF) === 0) this.links[at] = 0;
    this.#backLinks[slot] = -1;
  }

  #takeRow(): number {
    if (this.#count < this.#rows) return this.#count++;
    if (this.#rows < this.capacity) {
      this.#grow();
      return this.#count++;
    }
    for (;;) {
      const slot = this.#hand;
      this.#hand = slot + 1 === this.#count ? 0 : slot + 1;
      this.#unlink(slot);
      if (this.#referenced[slot] === 0) {
        this.#remove(slot);
        this.#evictions++;
        return slot;
      }
      this.#referenced[slot] = 0;
    }
  }

  #grow(): void {
    const rows = Math.min(this.capacity, this.#rows * 2);
    const arena = new Uint32Array(rows * this.tableWords);
    arena.set(this.arena);
    const keys = new Float64Array(rows);
    keys.set(this.#keys);
    const referenced = new Uint8Array(rows);
    referenced.set(this.#referenced);
    this.arena = arena;
    this.signed = new Int32Array(arena.buffer);
    this.#keys = keys;
    this.#referenced = referenced;
    // Links come back by themselves.
    this.links = new Int32Array(rows * this.entries);
    this.#backLinks = new Int32Array(rows).fill(-1);
    this.#rows = rows;
    let places = this.#hash.length;
    while (places < 2 * rows) places *= 2;
    this.#hash = new Int32Array(places);
    this.#hashMask = places - 1;
    for (let slot = 0; slot < this.#count; slot++) this.#put(slot);
  }

  #put(slot: number): void {
    let at = hashOf(this.#keys[slot] as number) & this.#hashMask;
    while (this.#hash[at] !== 0) at = (at + 1) & this.#hashMask;
    this.#hash[at] = slot + 1;
  }

  /** Takes a slot out of the hash, and moves up what lies behind it (no tombstones). */
  #remove(slot: number): void {
    const hash = this.#hash;
    const mask = this.#hashMask;
    let gap = hashOf(this.#keys[slot] as number) & mask;
    while (hash[gap] !== slot + 1) gap = (gap + 1) & mask;
    let at = gap;
    for (;;) {
      at = (at + 1) & mask;
      const other = hash[at] as number;
      if (other === 0) break;
      const home = hashOf(this.#keys[other - 1] as number) & mask;
      // It may move into the gap unless its home lies cyclically after the gap.
      if (((at - home) & mask) >= ((at - gap) & mask)) {
        hash[gap] = other;
        gap = at;
      }
    }
    hash[gap] = 0;
  }
}

/** Where a region is remembered, if it is. */
export function placeOf(region: number): number {
  return Math.imul(region, 0x9e3779b1) >>> REGION_SHIFT;
}

/** Spreads page numbers; addresses are below 2^53, and `| 0` keeps the low 32 bits of a page number. */
function hashOf(address: number): number {
  const mixed = Math.imul((address / 4096) | 0, 0x9e3779b1);
  return mixed ^ (mixed >>> 15);
}
