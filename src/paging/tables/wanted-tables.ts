/** The tables that a round of a column waits for: which entries lead to them, and which addresses. */
import { HIGH } from "../../io/address.js";
import type { CompiledMmu } from "../formats/mmu.js";
import { doubled } from "../walk/row-list.js";
import { tableRights } from "../walk/walk.hot.js";
import { hashOf } from "./table-cache.hot.js";

const FIRST_PLACES = 256;

/** Memory to be used again. */
const spare: WantedTables[] = [];
const MAX_SPARE = 4;

/** See the module's comment. A table has one place in all of its columns. */
export class WantedTables {
  length = 0;
  /** Physical addresses; each once. */
  addresses = new Float64Array(FIRST_PLACES);
  /** Of the entry that leads to each: (slot·entries + index)·8 + level. */
  entries = new Uint32Array(FIRST_PLACES);
  /** The words of that entry. */
  entryLo = new Uint32Array(FIRST_PLACES);
  entryHi = new Uint32Array(FIRST_PLACES);
  /** A row whose address leads through that entry, and the rights down to the entry's table. */
  rows = new Uint32Array(FIRST_PLACES);
  rights = new Uint8Array(FIRST_PLACES);
  /** Places + 1 by address: open addressing, four times as many as there may be. */
  #hash = new Int32Array(4 * FIRST_PLACES);

  static take(): WantedTables {
    return spare.pop() ?? new WantedTables();
  }

  /** Must be empty, and not be used any more. */
  give(): void {
    if (spare.length < MAX_SPARE) spare.push(this);
  }

  has(address: number): boolean {
    return this.#hash[this.#find(address)] !== 0;
  }

  /** Adds a table that is not among these. */
  add(address: number, entry: number, lo: number, hi: number, row: number, rights: number): void {
    if (this.length === this.addresses.length) this.#grow();
    const place = this.length++;
    this.addresses[place] = address;
    this.entries[place] = entry;
    this.entryLo[place] = lo;
    this.entryHi[place] = hi;
    this.rows[place] = row;
    this.rights[place] = rights;
    this.#hash[this.#find(address)] = place + 1;
  }

  clear(): void {
    // Backwards: what was added before may be in the way of what was added later, and is to be found there until then.
    for (let place = this.length - 1; place >= 0; place--) {
      this.#hash[this.#find(this.addresses[place] as number)] = 0;
    }
    this.length = 0;
  }

  /** Where an address is in the hash, or would be. */
  #find(address: number): number {
    const mask = this.#hash.length - 1;
    let at = hashOf(address) & mask;
    for (;;) {
      const place = (this.#hash[at] as number) - 1;
      if (place < 0 || this.addresses[place] === address) return at;
      at = (at + 1) & mask;
    }
  }

  #grow(): void {
    this.addresses = doubled(this.addresses, new Float64Array(2 * this.length));
    this.entries = doubled(this.entries, new Uint32Array(2 * this.length));
    this.entryLo = doubled(this.entryLo, new Uint32Array(2 * this.length));
    this.entryHi = doubled(this.entryHi, new Uint32Array(2 * this.length));
    this.rows = doubled(this.rows, new Uint32Array(2 * this.length));
    this.rights = doubled(this.rights, new Uint8Array(2 * this.length));
    this.#hash = new Int32Array(8 * this.length);
    for (let place = 0; place < this.length; place++) {
      this.#hash[this.#find(this.addresses[place] as number)] = place + 1;
    }
  }

  /** Level of a table, the last being 1. */
  levelOf(place: number): number {
    return ((this.entries[place] as number) & 7) - 1;
  }

  /** Rights down to a table, those of the entry that leads to it included. */
  rightsTo(place: number, mmu: CompiledMmu): number {
    const level = (this.entries[place] as number) & 7;
    const own = tableRights(mmu, level, this.entryLo[place] as number, this.entryHi[place] as number);
    return (this.rights[place] as number) & own;
  }
}

/** Finds, for addresses that wait, the table that each waits for: by what the entry that leads to it covers. */
export class WantedBy {
  readonly #mmu: CompiledMmu;
  readonly #places = new Map<number, number>();
  /** Of the entries. */
  readonly #levels = new Set<number>();

  /** @param words Of the addresses of all rows, as `[lo, hi]`. */
  constructor(wanted: WantedTables, mmu: CompiledMmu, words: Uint32Array) {
    this.#mmu = mmu;
    for (let place = 0; place < wanted.length; place++) {
      const row = wanted.rows[place] as number;
      const level = wanted.levelOf(place) + 1;
      this.#levels.add(level);
      this.#places.set(this.#keyOf(level, words[2 * row] as number, words[2 * row + 1] as number), place);
    }
  }

  /** The place of a table among those wanted; `undefined` if the address waits for none of them. */
  find(lo: number, hi: number): number | undefined {
    for (const level of this.#levels) {
      const place = this.#places.get(this.#keyOf(level, lo, hi));
      if (place !== undefined) return place;
    }
    return undefined;
  }

  /** (Without the offset in a page, 64 bits fit into a double.) */
  #keyOf(level: number, lo: number, hi: number): number {
    const from = hi * HIGH + ((lo & ~0xfff) >>> 0);
    return Math.floor(from / (this.#mmu.size[level] as number)) * 8 + level;
  }
}
