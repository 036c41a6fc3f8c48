/** The tables that a round of a column waits for: which entries lead to them, and which addresses. */
import { HIGH } from "../io/address.js";
import { ASKED_ROW_SHIFT } from "./column-walker.hot.js";
import { ALL_RIGHTS, type CompiledMmu, GLOBAL } from "./mmu.js";
import { rightsOf } from "./walk.hot.js";

/** See the module's comment. A table has one place in all of its columns. */
export class WantedTables {
  /** Physical addresses. */
  readonly addresses: number[] = [];
  /** Of the entry that leads to each: (slot·entries + index)·8 + level. */
  readonly entries: number[] = [];
  /** The words of that entry. */
  readonly entryLo: number[] = [];
  readonly entryHi: number[] = [];
  /** Row·16 + rights: a row whose address leads through that entry, and the rights down to the entry's table. */
  readonly askers: number[] = [];

  get length(): number {
    return this.addresses.length;
  }

  add(address: number, entry: number, asker: number, lo: number, hi: number): void {
    this.addresses.push(address);
    this.entries.push(entry);
    this.askers.push(asker);
    this.entryLo.push(lo);
    this.entryHi.push(hi);
  }

  clear(): void {
    this.addresses.length = 0;
    this.entries.length = 0;
    this.askers.length = 0;
    this.entryLo.length = 0;
    this.entryHi.length = 0;
  }

  /** Level of a table, the last being 1. */
  levelOf(place: number): number {
    return ((this.entries[place] as number) & 7) - 1;
  }

  /** Rights down to a table, those of the entry that leads to it included. */
  rightsTo(place: number, mmu: CompiledMmu): number {
    const own = rightsOf(mmu, this.entryLo[place] as number, this.entryHi[place] as number);
    return (this.askers[place] as number) & ALL_RIGHTS & (own | GLOBAL);
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
      const row = Math.floor((wanted.askers[place] as number) / 2 ** ASKED_ROW_SHIFT);
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
