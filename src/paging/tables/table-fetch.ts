/** The read of one page table, shared by all who wait for it. */

import {
  type BoundView,
  type Fault,
  type FaultState,
  type Fragment,
  faultState,
  type Hole,
  type Output,
  Packet,
  type PacketIo,
} from "../../io/index.js";
import { widen } from "../formats/entry-forms.hot.js";
import type { EntryForm } from "../formats/mmu-def.js";
import { type RootLayout, writePointers } from "./root.js";

/** Where tables that have arrived are kept, and those on their way are known. */
export interface TableStore {
  readonly tableWords: number;
  /** Entries of a table. */
  readonly entries: number;
  /** Bytes of an entry in memory: 8, or 4 that become 8 here. */
  readonly entryBytes: 4 | 8;
  /** Brings tables that were read to the walker's form; `undefined` if they have it. */
  readonly form: EntryForm | undefined;
  /** Tables that are being read, by address. */
  readonly flights: Map<number, TableFetch>;
  /** Memory for a table on its way, with anything in it; and back, when nobody looks at it any more. */
  takeMemory(): Uint32Array;
  giveMemory(words: Uint32Array): void;
  /** Takes a copy of a table. */
  insert(address: number, words: Uint32Array): void;
  /** Remembers a table that can't be read, or not wholly. */
  insertBroken(address: number, fetch: TableFetch): void;
}

/** Tables that are being read together. */
export interface TablesUnderWay {
  /** Whether the table of an address is among these. */
  has(address: number): boolean;
  /** The table of an address, for one more who waits for it; `undefined` if it isn't among these. */
  join(address: number): TableFetch | undefined;
}

/** Is told when a table has arrived, or could not be read. */
export interface TableWaiter {
  tableArrived(fetch: TableFetch): void;
}

/** States that the next attempt may well not meet again. */
const PASSING: ReadonlySet<FaultState> = new Set<FaultState>([
  "io",
  "gone",
  "unanswered",
  "aborted",
  "unsupported",
]);

const NOTHING = new Uint32Array(0);
/** The address of what was not read. */
const COPY = -1;

/**
 * See the module's comment. Whoever waited goes on with the table in hand: its waiters while they are told, and those
 * that hold it until they let it go. (Who never does leaves its memory to the garbage collector.)
 */
export class TableFetch implements Output {
  readonly address: number;
  /** The table; entries that `faults` names are not valid. */
  words: Uint32Array;
  /** Nonzero if no entry at all could be read. */
  fault: Fault = 0;
  /** If only some entries could be read: 0 or a fault for each. */
  faults: Int32Array | undefined;
  done = false;
  readonly #store: TableStore;
  readonly #remember: boolean;
  /** Of a root that is read otherwise. */
  readonly #layout: RootLayout | undefined;
  /** Why the first missing byte is missing; 0 if it came whole. */
  #firstFault: Fault = 0;
  #waiters: TableWaiter[] = [];
  #holders = 0;

  /**
   * Others find it once it is among the store's flights.
   *
   * @param remember whether a table that can't be read is remembered as such (not for live sources).
   * @param layout   Of a root that is no table like others; `address` is then a number that stands for it.
   */
  constructor(store: TableStore, address: number, remember: boolean, layout?: RootLayout) {
    this.address = address;
    this.#store = store;
    this.#remember = remember;
    this.#layout = layout;
    this.words = store.takeMemory();
  }

  /** A table that is there already, in hand. */
  static copyOf(store: TableStore, words: Uint32Array): TableFetch {
    const copy = new TableFetch(store, COPY, false);
    copy.hold();
    copy.land(words);
    return copy;
  }

  /** Adds a waiter; it must not be done yet. */
  wait(waiter: TableWaiter): void {
    this.#waiters.push(waiter);
  }

  /** Sends the read; may arrive before this returns. */
  send(physical: PacketIo<number>): void {
    const { pieces } = this.#layout ?? { pieces: undefined };
    if (this.#layout !== undefined) this.words.fill(0);
    if (pieces?.length === 0) {
      writePointers(this.#layout as RootLayout, this.words);
      this.#settleAs(this.#leaveFlights(), 0, []);
      return;
    }
    const { entryBytes } = this.#store;
    const packet = Packet.reading(this.#landing());
    let view: BoundView = packet.view().bind(this);
    try {
      for (const { entries, address } of pieces?.slice(0, -1) ?? []) {
        const rest = view.split(entries * entryBytes);
        physical.sendIo(address, view);
        view = rest;
      }
      physical.sendIo(pieces?.at(-1)?.address ?? this.address, view);
    } catch (error) {
      // A layer that throws is wrong. Others wait for this table, too: for them it could not be read.
      packet.cause ??= error;
    }
    // A layer that dropped a part of it tells no output.
    packet.dropUncovered();
    if (packet.complete) this.#arrive(packet);
  }

  onFragment({ packet }: Fragment): void {
    if (packet.complete) this.#arrive(packet);
  }

  /** What bytes land in: the pieces of a root one behind the other. */
  #landing(): Uint32Array {
    if (this.#store.entryBytes === 4) return new Uint32Array(this.words.length / 2);
    return this.#layout === undefined ? this.words : new Uint32Array(2 * this.#entriesOf());
  }

  /** Entries that are read. */
  #entriesOf(): number {
    if (this.#layout === undefined) return this.#store.entries;
    return this.#layout.pieces.reduce((sum, { entries }) => sum + entries, 0);
  }

  /** Index in the table of an entry that was read as the `nth`. */
  #indexOf(nth: number): number {
    let left = nth;
    for (const { first, entries } of this.#layout?.pieces ?? []) {
      if (left < entries) return first + left;
      left -= entries;
    }
    return left;
  }

  /**
   * It came with others, in place of `send`: takes a copy. It isn't inserted; whoever read it has done that.
   *
   * @param wanted Whether nothing was forgotten since it was asked for, if it did not come whole.
   */
  land(words: Uint32Array, holes: readonly Hole[] = [], wanted = false): void {
    this.words.set(words);
    this.#firstFault = holes[0]?.fault ?? 0;
    this.#leaveFlights();
    this.#settle(holes, wanted);
  }

  #arrive(packet: Packet): void {
    if (this.done) return;
    const { bytes, firstFault } = packet;
    const { entryBytes, entries, form } = this.#store;
    if (entryBytes === 4) widen(new Uint32Array(bytes.buffer, bytes.byteOffset, entries), this.words);
    else if (this.#layout !== undefined) this.#place(new Uint32Array(bytes.buffer), this.#layout);
    form?.rewrite(this.words, 0, entries, 0);
    if (this.#layout !== undefined) writePointers(this.#layout, this.words);
    // Later requests to a live source don't want it any more; those who wait for it do.
    this.#settleAs(this.#leaveFlights(), firstFault, firstFault === 0 ? [] : packet.holes());
  }

  /** Puts the pieces of a root where they belong. */
  #place(read: Uint32Array, { pieces }: RootLayout): void {
    let from = 0;
    for (const { first, entries } of pieces) {
      this.words.set(read.subarray(from, from + 2 * entries), 2 * first);
      from += 2 * entries;
    }
  }

  #settleAs(wanted: boolean, firstFault: Fault, holes: readonly Hole[]): void {
    this.#firstFault = firstFault;
    if (wanted && firstFault === 0) this.#store.insert(this.address, this.words);
    this.#settle(holes, wanted);
  }

  /** Whether others could find it. */
  #leaveFlights(): boolean {
    const { flights } = this.#store;
    return flights.get(this.address) === this && flights.delete(this.address);
  }

  #settle(holes: readonly Hole[], wanted: boolean): void {
    this.done = true;
    if (this.#firstFault !== 0) this.#noteHoles(holes, wanted);
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) waiter.tableArrived(this);
    this.#release();
  }

  /** Keeps the table in hand beyond its arrival. */
  hold(): void {
    this.#holders++;
  }

  /** One holder less. */
  letGo(): void {
    this.#holders--;
    this.#release();
  }

  /** A table is a page of memory: making a new one costs more than everything else about its way here. */
  #release(): void {
    // What is only partly readable stays known as such.
    if (this.#holders !== 0 || !this.done || this.#firstFault !== 0) return;
    const { words } = this;
    if (words.length === 0) return;
    this.words = NOTHING;
    this.#store.giveMemory(words);
  }

  #noteHoles(holes: readonly Hole[], wanted: boolean): void {
    const { entries, entryBytes } = this.#store;
    const faults = new Int32Array(entries);
    let left = this.#entriesOf();
    let passing = false;
    for (const { start, end, fault, state } of holes) {
      passing ||= PASSING.has(state);
      for (let entry = Math.floor(start / entryBytes); entry * entryBytes < end; entry++) {
        const index = this.#indexOf(entry);
        if (faults[index] === 0) left--;
        faults[index] = fault;
      }
    }
    const layout = this.#layout;
    const isAll = layout === undefined || (!layout.hasGaps && layout.pointers.length === 0);
    if (left === 0 && isAll) this.fault = this.#firstFault;
    else this.faults = faults;
    if (this.#remember && wanted && !passing) this.#store.insertBroken(this.address, this);
  }

  /** Why an entry could not be read; 0 if it could. */
  faultOf(index: number): Fault {
    return this.fault !== 0 ? this.fault : (this.faults?.[index] ?? 0);
  }

  /** For messages. */
  get state(): FaultState | undefined {
    return this.fault === 0 ? undefined : faultState(this.fault);
  }
}
