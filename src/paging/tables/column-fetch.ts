/**
 * Page tables on their way as one column: one packet, whose records land where the cache keeps tables if it has pinned
 * them a place. What a table costs beyond its transfer is then a row of the batch and a place in the hash.
 */
import { HIGH } from "../../io/address.js";
import { type Column, sendColumn } from "../../io/column.js";
import {
  type Fragment,
  faultFields,
  type Hole,
  type Output,
  Packet,
  type PacketIo,
  type Wait,
  type Waker,
} from "../../io/index.js";
import { widen } from "../formats/entry-forms.hot.js";
import type { TableCache } from "./table-cache.hot.js";
import { TableFetch, type TablesUnderWay } from "./table-fetch.js";

/**
 * See the module's comment. A routine that yields it goes on when all have come, or could not be read. The tables stay
 * where they are until it lets go of them.
 */
export class ColumnFetch implements Output, TablesUnderWay, Wait {
  /** Physical addresses of the tables, each once. */
  readonly addresses: ArrayLike<number>;
  /**
   * Once it is done, by address: the tables that were not for the cache. They are those that could not be read, or not
   * wholly; and all, if everything was forgotten before they came (they are for whoever waits for them, alone).
   */
  readonly inHand = new Map<number, TableFetch>();
  readonly #cache: TableCache;
  readonly #generation: number;
  readonly #remember: boolean;
  /** The first of the slots that they land in; -1 if they are copied to theirs. */
  readonly #slot: number;
  readonly #packet: Packet;
  /** Where they are, in the walker's form: where they landed, unless their entries grew. */
  #words: Uint32Array;
  /** Of tables that others wait for, too. */
  readonly #joined = new Map<number, TableFetch>();
  #index: Map<number, number> | undefined;
  #isSent = false;
  #hasCome = false;
  /** All have come, and all who joined were told. (What they did may have let routines run that wait for this.) */
  #isOver = false;
  #isLetGo = false;
  #waker: Waker | undefined;

  /** @param remember whether a table that can't be read is remembered as such (not for live sources). */
  constructor(cache: TableCache, addresses: ArrayLike<number>, remember: boolean) {
    this.addresses = addresses;
    this.#cache = cache;
    this.#generation = cache.generation;
    this.#remember = remember;
    // (Where entries grow, they can't land in their place.)
    const slot = cache.entryBytes === 4 ? -1 : cache.pin(addresses.length);
    const words = (addresses.length * cache.storedBytes) / 4;
    this.#slot = slot;
    this.#words =
      slot < 0
        ? new Uint32Array(words)
        : cache.arena.subarray(slot * cache.tableWords, slot * cache.tableWords + words);
    this.#packet = Packet.reading(this.#words);
    cache.columns.push(this);
  }

  has(address: number): boolean {
    return this.#places.has(address);
  }

  join(address: number): TableFetch | undefined {
    if (!this.has(address)) return undefined;
    const fetch = new TableFetch(this.#cache, address, this.#remember);
    this.#cache.flights.set(address, fetch);
    this.#joined.set(address, fetch);
    return fetch;
  }

  get #places(): Map<number, number> {
    if (this.#index === undefined) {
      this.#index = new Map();
      for (let i = 0; i < this.addresses.length; i++) this.#index.set(this.addresses[i] as number, i);
    }
    return this.#index;
  }

  /** Once it is done, and until it is let go: the table at a place among the addresses, in hand. */
  take(i: number): TableFetch {
    return this.inHand.get(this.addresses[i] as number) ?? TableFetch.copyOf(this.#cache, this.#wordsOf(i));
  }

  /** Nobody takes tables any more. To be called in any case, also if it was not sent. */
  letGo(): void {
    if (this.#isLetGo) return;
    this.#isLetGo = true;
    if (!this.#isSent) this.#leaveColumns();
    if (this.#isOver || !this.#isSent) this.#unpin();
  }

  /** Sends the reads; they may all come before this returns. */
  send(physical: PacketIo<number>): void {
    this.#isSent = true;
    const { addresses } = this;
    const column: Column = { words: new Uint32Array(2 * addresses.length), size: this.#cache.storedBytes };
    for (let i = 0; i < addresses.length; i++) {
      const address = addresses[i] as number;
      column.words[2 * i] = address >>> 0;
      column.words[2 * i + 1] = address / HIGH;
    }
    try {
      sendColumn(physical, column, 0, this.#packet.view().bind(this));
    } catch (error) {
      // As for a single table: a layer that throws is wrong, and this could not be read.
      this.#packet.cause ??= error;
    }
    this.#packet.dropUncovered();
    if (this.#packet.complete) this.#arrive();
  }

  onFragment(_fragment: Fragment): void {
    if (this.#packet.complete) this.#arrive();
  }

  park(waker: Waker): boolean {
    if (this.#isOver) return false;
    this.#waker = waker;
    return true;
  }

  #arrive(): void {
    if (this.#hasCome) return;
    this.#hasCome = true;
    const cache = this.#cache;
    this.#leaveColumns();
    this.#bringToForm();
    const wanted = this.#isWanted;
    const broken = this.#packet.firstFault === 0 ? undefined : this.#holesByTable();
    // Before anyone is told, who may have everything forgotten.
    if (wanted) this.#list(broken);
    if (broken !== undefined) {
      for (const [i, holes] of broken) this.#keep(i, holes);
    }
    if (!wanted) {
      for (let i = 0; i < this.addresses.length; i++) this.#keep(i, []);
    }
    // Whoever is told may make room for more tables; these stay where they are until all have their copies.
    for (const [address, fetch] of this.#joined) {
      if (!fetch.done) fetch.land(this.#wordsOf(this.#places.get(address) as number));
    }
    this.#isOver = true;
    if (this.#isLetGo) this.#unpin();
    if (this.#slot >= 0 && this.#mayStillLand(broken)) cache.leaveMemory();
    const waker = this.#waker;
    this.#waker = undefined;
    waker?.wake();
  }

  /** Whether nothing was forgotten since it was asked for. */
  get #isWanted(): boolean {
    return this.#cache.generation === this.#generation;
  }

  #leaveColumns(): void {
    const { columns } = this.#cache;
    const at = columns.indexOf(this);
    if (at >= 0) columns.splice(at, 1);
  }

  #unpin(): void {
    if (this.#slot >= 0) this.#cache.unpin(this.#slot, this.addresses.length);
  }

  /** Where nobody else has answered for a table, or a connector threw, somebody may still be at work on its memory. */
  #mayStillLand(broken: ReadonlyMap<number, readonly Hole[]> | undefined): boolean {
    if (this.#packet.cause !== undefined) return true;
    for (const holes of broken?.values() ?? [])
      if (holes.some((hole) => faultFields(hole.fault).location === "core")) return true;
    return false;
  }

  #bringToForm(): void {
    const { entryBytes, entries, form, tableWords } = this.#cache;
    const { length } = this.addresses;
    if (entryBytes === 4) {
      const stored = this.#words;
      this.#words = new Uint32Array(2 * stored.length);
      widen(stored, this.#words);
    }
    if (form !== undefined) {
      for (let i = 0; i < length; i++) form.rewrite(this.#words, i * tableWords, entries, 0);
    }
  }

  #wordsOf(i: number): Uint32Array {
    const { tableWords } = this.#cache;
    return this.#words.subarray(i * tableWords, (i + 1) * tableWords);
  }

  #list(broken: ReadonlyMap<number, unknown> | undefined): void {
    const { addresses } = this;
    const cache = this.#cache;
    const slot = this.#slot;
    const hasMoved = slot >= 0 && this.#packet.bytes.buffer !== cache.arena.buffer;
    for (let i = 0; i < addresses.length; i++) {
      const address = addresses[i] as number;
      if (broken?.has(i) === true) continue;
      if (slot < 0) {
        cache.insert(address, this.#wordsOf(i));
        continue;
      }
      // They landed in the arena as that was when their slots were pinned.
      if (hasMoved) cache.arena.set(this.#wordsOf(i), (slot + i) * cache.tableWords);
      cache.list(slot + i, address);
    }
  }

  #keep(i: number, holes: readonly Hole[]): void {
    const address = this.addresses[i] as number;
    if (this.inHand.has(address)) return;
    const fetch = this.#joined.get(address) ?? new TableFetch(this.#cache, address, this.#remember);
    this.inHand.set(address, fetch);
    // For as long as anyone has it from here.
    fetch.hold();
    fetch.land(this.#wordsOf(i), holes, this.#isWanted);
  }

  /** The holes of each table that has any, by its place in the column. */
  #holesByTable(): Map<number, Hole[]> {
    const { storedBytes: tableBytes } = this.#cache;
    const byTable = new Map<number, Hole[]>();
    for (const hole of this.#packet.holes()) {
      const last = Math.floor((hole.end - 1) / tableBytes);
      for (let i = Math.floor(hole.start / tableBytes); i <= last; i++) {
        const from = i * tableBytes;
        const holes = byTable.get(i) ?? [];
        holes.push({
          ...hole,
          start: Math.max(0, hole.start - from),
          end: Math.min(tableBytes, hole.end - from),
        });
        byTable.set(i, holes);
      }
    }
    return byTable;
  }
}
