/**
 * Page tables that were read, in one growing arena, found by their physical address through an open-addressing hash.
 *
 * Beside each entry stands a *link*: what the entry was found to be when it was last walked, so that a walk goes from
 * table to table in one load, without looking at the entry or the hash again. A table has at most one incoming link
 * (its `backLinks`), which goes when the table does. The clock that evicts takes away a table's link with its second
 * chance: its next use then passes through the hash, which gives the chance back. So walks through links store
 * nothing.
 *
 * Tables that are fetched as a column land in the arena: their slots are *pinned*, which is to say, nobody else's, until
 * they have come and whoever fetched them lets go of them. Long columns move it all into a WebAssembly memory of its full
 * size, for generated code (`walk-code.ts`).
 */
import type { Drain } from "../../io/index.js";
import type { Wasm } from "../../wasm/platform.js";
import { type CompiledMmu, compileMmu } from "../formats/mmu.js";
import type { EntryForm, MmuDef } from "../formats/mmu-def.js";
import { X86_64 } from "../formats/x86.js";
import { type ColumnWalker, PlainWalker } from "../walk/column-walker.hot.js";
import { makeTableMemory, type TableMemory, WasmWalker } from "../walk/walk-code.js";
import { LINK_LEAF, LINK_LEVEL_SHIFT, LINK_ODD, LINK_SLOT_SHIFT, LINK_TAG } from "./links.js";
import type { RootLayout } from "./root.js";
import type { TableFetch, TablesUnderWay } from "./table-fetch.js";
import { Tlb } from "./tlb.hot.js";

/** Default bound: the tables of about 16 GiB of scattered 4 KiB mappings. */
const DEFAULT_BYTES = 32 * 2 ** 20;
/** Generated code has 32 bits for an address. */
const MAX_BYTES = 2 ** 30;
/** What a link has room for, of the smallest tables. */
const MAX_SLOTS = 2 ** 21;
/** Pages: twelve times as many as the default has room for tables, should each page have a table of its own. */
const DEFAULT_TRANSLATIONS = 65_536;
/** Bytes of tables whose memory is kept for reuse. */
const SPARE_BYTES = 4 * 2 ** 20;
/** Bytes of unreadable or partly readable tables that are remembered (each takes half as many besides, at most). */
const BROKEN_BYTES = 4 * 2 ** 20;
const FIRST_ROWS = 16;

const COMPILE_AFTER = 65_536;

/** Options of a {@link TableCache}. */
export interface TableCacheOptions {
  /** Bytes that it may grow to, bookkeeping included (default 32 MiB; at most 1 GiB; never less than one table). */
  readonly bytes?: number;
  /**
   * A format whose tables it keeps (default x86-64's). It takes those of all formats whose entries have the same size and
   * form, in tables of the same size.
   */
  readonly mmu?: MmuDef | undefined;
  /** Translations remembered beyond the tables that there is room for (default 65,536, in 2 MiB once there are any; 0 for none). */
  readonly translations?: number;
  /**
   * The host's `WebAssembly`, for code that translates columns of addresses: about as fast as C, where a loop in JavaScript
   * takes several times as long. Without it, and where it may not be used, there is that loop. (`open` gives it.)
   */
  readonly wasm?: Wasm | undefined;
  /**
   * Addresses that are translated in columns (those of the column at hand are counted) until code is generated for it.
   * Default 65,536: code takes some 3 ms to start, most of it for memory, and saves some 35 ns an address from then on.
   */
  readonly compileAfter?: number;
}

/** No table's address: a slot that is free, or whose table is not listed (yet, or any more). */
const UNLISTED = -1;
/** No table's address either: they stand for roots, from here down. */
const FIRST_ROOT_KEY = -2;
// What `#referenced` says of a slot, besides 0.
const USED = 1;
const PINNED = 2;

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
  /** Bytes of a table here: 8 for each entry. */
  readonly tableBytes: number;
  readonly tableWords: number;
  readonly entries: number;
  /** Bytes of a table as it is read. @internal */
  readonly storedBytes: number;
  /** Of an entry as it is read. @internal */
  readonly entryBytes: 4 | 8;
  /** What brings entries to the walker's form. @internal */
  readonly form: EntryForm | undefined;
  /** log2 of that. */
  readonly #entryBits: number;
  /** Tables at most. */
  readonly capacity: number;
  /** Table of slot s: words s·tableWords to (s + 1)·tableWords. @internal */
  arena: Uint32Array;
  /** Links of slot s: s·entries to (s + 1)·entries. @internal */
  links: Int32Array;
  /** What fetched tables gave, for when they have made room for others. @internal */
  readonly tlb: Tlb;
  /** Changes whenever everything is forgotten: what began before must not be remembered after. @internal */
  generation = 0;
  /** Tables that are being read by themselves, by address; see `flightOf`. @internal */
  readonly flights = new Map<number, TableFetch>();
  /** Those that are being read as columns. @internal */
  readonly columns: TablesUnderWay[] = [];
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
  /** Whether a slot has links at all. Most tables are last ones: they never have. */
  #hasLinks: Uint8Array;
  #hash: Int32Array;
  #hashMask: number;
  #rows = FIRST_ROWS;
  #count = 0;
  #hand = 0;
  #linksOf: CompiledMmu | undefined;
  #evictions = 0;
  /** Where tables lie once there is generated code. */
  #memoryOfCode: TableMemory | undefined;
  /** Goes when it has turned out to be of no use. */
  #wasm: Wasm | undefined;
  /** Addresses until code is generated. */
  #compileAfter: number;
  #walker: ColumnWalker | undefined;
  #pinned = 0;
  /** By name; see `keyOf`. */
  readonly #rootKeys = new Map<string, number>();
  /** Slots below the end of those in use that nobody uses. */
  readonly #free: number[] = [];

  constructor(options: TableCacheOptions = {}) {
    const mmu = compileMmu(options.mmu ?? X86_64);
    this.tableBytes = mmu.tableBytes;
    this.storedBytes = mmu.storedBytes;
    this.entryBytes = mmu.def.entryBytes;
    this.form = mmu.def.form;
    this.tableWords = this.tableBytes / 4;
    this.entries = this.tableBytes / 8;
    this.#entryBits = Math.log2(this.entries);
    this.tlb = new Tlb(options.translations ?? DEFAULT_TRANSLATIONS);
    this.#wasm = options.wasm;
    this.#compileAfter = options.compileAfter ?? COMPILE_AFTER;
    const bytes = Math.min(options.bytes ?? DEFAULT_BYTES, MAX_BYTES);
    // A row: the table, its links, and 14 bytes of columns with four hash places.
    const rows = Math.floor(bytes / (this.tableBytes + this.entries * 4 + 30));
    this.capacity = Math.min(Math.max(1, rows), MAX_SLOTS);
    this.#rows = Math.min(FIRST_ROWS, this.capacity);
    this.arena = new Uint32Array(this.#rows * this.tableWords);
    this.links = new Int32Array(this.#rows * this.entries);
    this.#keys = new Float64Array(this.#rows);
    this.#referenced = new Uint8Array(this.#rows);
    this.#backLinks = new Int32Array(this.#rows).fill(-1);
    this.#hasLinks = new Uint8Array(this.#rows);
    this.#hash = new Int32Array(4 * FIRST_ROWS);
    this.#hashMask = this.#hash.length - 1;
  }

  /** Whether tables of a format can be kept here. */
  takes(def: MmuDef): boolean {
    const mmu = compileMmu(def);
    return mmu.tableBytes === this.tableBytes && def.entryBytes === this.entryBytes && def.form === this.form;
  }

  /** What stands for a root that is no table like others, in place of an address. @internal */
  keyOf({ name }: RootLayout): number {
    let key = this.#rootKeys.get(name);
    if (key === undefined) {
      key = FIRST_ROOT_KEY - this.#rootKeys.size;
      this.#rootKeys.set(name, key);
    }
    return key;
  }

  /** Slots in use: tables held, and tables on their way that have a place already. */
  get count(): number {
    return this.#count - this.#free.length;
  }

  /** Whether columns are translated by generated code. */
  get compiled(): boolean {
    return this.#walker instanceof WasmWalker;
  }

  /** Tables that made room for others since the cache was made. */
  get evictions(): number {
    return this.#evictions;
  }

  /** Forgets every table, and what is on its way: whoever waits for that goes on with it, and nobody else. */
  flush(): void {
    this.flights.clear();
    this.columns.length = 0;
    this.generation++;
    this.tlb.flush();
    this.broken.clear();
    if (this.#count === 0) return;
    this.#hash.fill(0);
    if (this.#pinned === 0) {
      this.#free.length = 0;
      this.#count = 0;
      this.#hand = 0;
    } else {
      // What lands in pinned slots still lands there.
      this.#keys.fill(UNLISTED, 0, this.#count);
      this.#free.length = 0;
      for (let slot = this.#count - 1; slot >= 0; slot--) {
        if (this.#referenced[slot] !== PINNED) this.#free.push(slot);
      }
    }
  }

  /**
   * Begins a request to a live source: it sees no table that was read, or whose read was sent, before. Whoever waits
   * for such a read goes on with it. @internal
   */
  beginLive(): void {
    const isUnderWay = this.flights.size !== 0 || this.columns.length !== 0;
    if (isUnderWay && this.#batch === this.mark.batch) return;
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
    this.#walker = undefined;
    for (let slot = 0; slot < this.#rows; slot++) this.#clearLinks(slot);
    this.#backLinks.fill(-1);
  }

  /** What translates a column of so many addresses by tables of a format; good until the cache is used otherwise. @internal */
  walker(mmu: CompiledMmu, rows: number): ColumnWalker {
    this.useLinks(mmu);
    let walker = this.#walker;
    if (this.#wasm !== undefined && !(walker instanceof WasmWalker)) {
      this.#compileAfter -= rows;
      if (this.#compileAfter <= 0) walker = this.#compile(this.#wasm, mmu);
    }
    walker ??= new PlainWalker(this, mmu);
    this.#walker = walker;
    return walker;
  }

  /** Generates code, and moves to where it can reach. `undefined` where that can't be done: then never again. */
  #compile(wasm: Wasm, mmu: CompiledMmu): ColumnWalker | undefined {
    try {
      const memory = this.#memoryOfCode ?? makeTableMemory(wasm, this.capacity, this.tableBytes);
      const walker = new WasmWalker(wasm, memory, mmu);
      if (this.#memoryOfCode === undefined) this.#moveTo(memory);
      return walker;
    } catch {
      // A page's policy, or no room for the memory: the plain walker does the same.
      this.#wasm = undefined;
      return undefined;
    }
  }

  #moveTo(memory: TableMemory): void {
    memory.arena.set(this.arena.subarray(0, this.#count * this.tableWords));
    memory.links.set(this.links.subarray(0, this.#count * this.entries));
    this.#memoryOfCode = memory;
    this.arena = memory.arena;
    this.links = memory.links;
    this.#setRows(this.capacity);
  }

  /** Moves everything to other memory: somebody may still write into this. @internal */
  leaveMemory(): void {
    this.#memoryOfCode = undefined;
    this.#walker = undefined;
    const rows = Math.min(this.capacity, Math.max(FIRST_ROWS, this.#count));
    this.#moveRows(rows);
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
        if (this.#referenced[slot] === 0) this.#referenced[slot] = USED;
        return slot;
      }
      at = (at + 1) & mask;
    }
  }

  /** Notes that entry `at` leads to the table in `slot`; whether that takes the link from another entry. @internal */
  linkTable(at: number, level: number, rights: number, slot: number): boolean {
    const isTaken = this.#unlink(slot);
    this.#setLink(at, (slot << LINK_SLOT_SHIFT) | (level << LINK_LEVEL_SHIFT) | rights);
    this.#backLinks[slot] = at;
    return isTaken;
  }

  /** Notes that entry `at` is a sound leaf. @internal */
  linkLeaf(at: number, level: number, rights: number): void {
    this.#setLink(at, LINK_LEAF | (level << LINK_LEVEL_SHIFT) | rights);
  }

  /** Notes that entry `at` is to be looked at by hand. @internal */
  linkOdd(at: number): void {
    this.#setLink(at, LINK_ODD);
  }

  #setLink(at: number, link: number): void {
    this.links[at] = link;
    this.#hasLinks[at >>> this.#entryBits] = 1;
  }

  #clearLinks(slot: number): void {
    if (this.#hasLinks[slot] === 0) return;
    this.#hasLinks[slot] = 0;
    this.links.fill(0, slot * this.entries, (slot + 1) * this.entries);
  }

  /** Whether so many tables more make no other give way. @internal */
  hasRoom(tables: number): boolean {
    return this.count + tables <= this.capacity;
  }

  /**
   * Pins slots one after the other, for tables to land in. They are nobody's until `list`, and stay pinned until
   * `unpin`, also if the arena moves meanwhile. @returns the first one, or -1 if there is no room without others' making
   * some. @internal
   */
  pin(count: number): number {
    // No more than half of all slots are pinned: others, which may have to give way, are found among the rest.
    const needed = Math.max(this.#count + count, 2 * (this.#pinned + count));
    if (needed > this.capacity) return -1;
    while (this.#rows < needed) this.#grow();
    const first = this.#count;
    const end = first + count;
    this.#count = end;
    this.#pinned += count;
    this.#keys.fill(UNLISTED, first, end);
    this.#referenced.fill(PINNED, first, end);
    this.#backLinks.fill(-1, first, end);
    for (let slot = first; slot < end; slot++) this.#clearLinks(slot);
    return first;
  }

  /** The table in a pinned slot has come whole; unless another copy was faster, it is the one of its address. @internal */
  list(slot: number, address: number): void {
    if (this.find(address) >= 0) return;
    this.#keys[slot] = address;
    this.#put(slot);
  }

  /** Lets go of pinned slots; those that are not listed are free. @internal */
  unpin(first: number, count: number): void {
    this.#pinned -= count;
    for (let slot = first; slot < first + count; slot++) {
      this.#referenced[slot] = USED;
      if (this.#keys[slot] === UNLISTED) this.#free.push(slot);
    }
  }

  /** Takes a copy of a table; gives its slot. Slots of other tables may change hands. @internal */
  insert(address: number, words: Uint32Array): number {
    let slot = this.find(address);
    if (slot >= 0) {
      this.#unlink(slot);
    } else {
      slot = this.#takeRow();
      this.#keys[slot] = address;
      this.#put(slot);
      this.#referenced[slot] = USED;
      this.#backLinks[slot] = -1;
    }
    this.arena.set(words, slot * this.tableWords);
    this.#clearLinks(slot);
    return slot;
  }

  /** The read that is to bring a table, if it is on its way. @internal */
  flightOf(address: number): TableFetch | undefined {
    const flight = this.flights.size === 0 ? undefined : this.flights.get(address);
    if (flight !== undefined) return flight;
    for (const column of this.columns) {
      const joined = column.join(address);
      if (joined !== undefined) return joined;
    }
    return undefined;
  }

  /** Whether a table that is not cached is on its way, or known not to be had whole. @internal */
  isKnown(address: number): boolean {
    return (
      this.broken.has(address) ||
      this.flights.has(address) ||
      this.columns.some((column) => column.has(address))
    );
  }

  /** Memory for a table on its way. @internal */
  takeMemory(): Uint32Array {
    return this.#memory.pop() ?? new Uint32Array(this.tableWords);
  }

  /** @internal */
  giveMemory(words: Uint32Array): void {
    if (this.#memory.length * this.tableBytes < SPARE_BYTES) this.#memory.push(words);
  }

  /** Remembers a table that can't be read, or not wholly. @internal */
  insertBroken(address: number, fetch: TableFetch): void {
    if (this.broken.size * this.tableBytes >= BROKEN_BYTES) {
      for (const oldest of this.broken.keys()) {
        this.broken.delete(oldest);
        break;
      }
    }
    this.broken.set(address, fetch);
  }

  /** Takes the link away that leads to a table. @returns whether there was one. */
  #unlink(slot: number): boolean {
    const at = this.#backLinks[slot] as number;
    if (at < 0) return false;
    this.#backLinks[slot] = -1;
    const link = this.links[at] as number;
    const tag = link & LINK_TAG;
    // (Another table may be where the entry was.)
    if (link >>> LINK_SLOT_SHIFT !== slot || tag === 0 || (tag & LINK_LEAF) !== 0) return false;
    this.links[at] = 0;
    return true;
  }

  #takeRow(): number {
    // (Nothing leads there: it was forgotten with all the rest, or never listed.)
    const free = this.#free.pop();
    if (free !== undefined) return free;
    if (this.#count < this.#rows) return this.#count++;
    if (this.#rows < this.capacity) {
      this.#grow();
      return this.#count++;
    }
    for (;;) {
      const slot = this.#hand;
      this.#hand = slot + 1 === this.#count ? 0 : slot + 1;
      // (No more than half of all slots are.)
      if (this.#referenced[slot] === PINNED) continue;
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
    this.#moveRows(Math.min(this.capacity, this.#rows * 2));
  }

  /** Moves tables and links to new memory, for so many of them. */
  #moveRows(rows: number): void {
    const arena = new Uint32Array(rows * this.tableWords);
    arena.set(this.arena.subarray(0, this.#count * this.tableWords));
    this.arena = arena;
    const links = new Int32Array(rows * this.entries);
    links.set(this.links.subarray(0, this.#count * this.entries));
    this.links = links;
    this.#setRows(rows);
  }

  /** Makes the columns as long as the arena is now. */
  #setRows(rows: number): void {
    const keys = new Float64Array(rows);
    keys.set(this.#keys.subarray(0, this.#count));
    const referenced = new Uint8Array(rows);
    referenced.set(this.#referenced.subarray(0, this.#count));
    this.#keys = keys;
    this.#referenced = referenced;
    const backLinks = new Int32Array(rows).fill(-1);
    backLinks.set(this.#backLinks.subarray(0, this.#count));
    this.#backLinks = backLinks;
    const hasLinks = new Uint8Array(rows);
    hasLinks.set(this.#hasLinks.subarray(0, this.#count));
    this.#hasLinks = hasLinks;
    this.#rows = rows;
    let places = this.#hash.length;
    while (places < 2 * rows) places *= 2;
    this.#hash = new Int32Array(places);
    this.#hashMask = places - 1;
    for (let slot = 0; slot < this.#count; slot++) if (this.#keys[slot] !== UNLISTED) this.#put(slot);
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

/** Spreads page numbers; addresses are below 2^53, and `| 0` keeps the low 32 bits of a page number. */
export function hashOf(address: number): number {
  const mixed = Math.imul((address / 4096) | 0, 0x9e3779b1);
  return mixed ^ (mixed >>> 15);
}
