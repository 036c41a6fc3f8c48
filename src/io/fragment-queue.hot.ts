/**
 * What waits to be sent: rows for the connector, made as fragments come, and the views that the rows are for.
 *
 * A fragment that continues the last row, both in the source and in the caller's memory, makes that row longer. So a
 * queue that was filled in ascending order is a batch already; others are sorted once, when they are sent.
 */
import { HIGH } from "./address.js";
import { Batch } from "./batch.hot.js";
import type { Column } from "./column.js";
import { aborts, type Direction, type Packet } from "./packet.js";
import { ascendingOrder } from "./radix-order.hot.js";
import type { BoundView } from "./view.js";

const FIRST_CAPACITY = 64;

/** A fragment of many records. */
export interface QueuedColumn {
  /** Its first record in the queue. */
  readonly first: number;
  /** Bytes of a record. */
  readonly size: number;
  readonly count: number;
}

/** See the module's comment. */
export class FragmentQueue {
  direction: Direction = "read";
  batch = new Batch();
  /** The fragments' views; valid up to `length`. */
  readonly views: (BoundView | undefined)[] = [];
  /** Number of fragments. */
  length = 0;
  /** Addresses that were asked for: one a fragment, but one a record of a column. */
  records = 0;
  /** Row of each record. */
  rows = new Uint32Array(FIRST_CAPACITY);
  /** Of a fragment that is a column: its first record, and the size of each. */
  columns: Map<BoundView, QueuedColumn> | undefined;
  #ascending = true;
  /** Where the last row ends in the source. */
  #endLo = 0;
  #endHi = 0;
  #aborts = 0;
  #merge = true;
  /** Whose fragment came last. */
  #packet: Packet | undefined = undefined;

  /**
   * Begins anew, empty.
   *
   * @param merge Whether fragments that continue each other share a row. (Those of a write only where they are of one
   * packet: a row that fails is not written again, so it must not be two operations'.)
   */
  open(direction: Direction, merge = true): void {
    this.direction = direction;
    this.#merge = merge;
    this.batch.reset(direction, 0);
    this.#aborts = aborts.count;
  }

  /** Whether a view may have been aborted since `open`. */
  get mayBeAborted(): boolean {
    return this.#aborts !== aborts.count;
  }

  push(lo: number, hi: number, view: BoundView): void {
    const { packet, start } = view;
    if (packet.abortFault !== 0) this.#aborts = -1;
    this.views[this.length++] = view;
    this.#record(lo, hi, packet, packet.base + start, view.end - start);
  }

  /** One view of many records: the first is that at `from` in the column. */
  pushColumn(column: Column, from: number, view: BoundView): void {
    const { packet, length } = view;
    const { words, size } = column;
    if (packet.abortFault !== 0) this.#aborts = -1;
    this.views[this.length++] = view;
    this.columns ??= new Map();
    this.columns.set(view, { first: this.records, size, count: length / size });
    const offset = packet.base + view.start;
    for (let at = 0, i = from; at < length; at += size, i++) {
      this.#record(words[2 * i] as number, words[2 * i + 1] as number, packet, offset + at, size);
    }
  }

  /** Records of a fragment. */
  recordsOf(view: BoundView): number {
    return this.columns?.get(view)?.count ?? 1;
  }

  /** Hands a view, whose records in this queue begin at `first`, on to another queue. */
  copy(view: BoundView, first: number, to: FragmentQueue): void {
    const size = this.columns?.get(view)?.size;
    const { packet, start } = view;
    const count = this.recordsOf(view);
    const words = new Uint32Array(2 * count);
    for (let i = 0; i < count; i++) {
      const row = this.rows[first + i] as number;
      // Where in its row the record begins.
      const from = packet.base + start + i * (size ?? 0) - (this.batch.offsets[row] as number);
      const sum = (this.batch.words[2 * row] as number) + from;
      words[2 * i] = sum;
      words[2 * i + 1] = (this.batch.words[2 * row + 1] as number) + Math.floor(sum / HIGH);
    }
    if (size === undefined) to.push(words[0] as number, words[1] as number, view);
    else to.pushColumn({ words, size }, 0, view);
  }

  #record(lo: number, hi: number, packet: Packet, offset: number, length: number): void {
    const { batch } = this;
    const { memory } = packet;
    const last = batch.length - 1;
    if (last < 0) {
      batch.push(lo, hi, memory, offset, length);
    } else if (
      this.#merge &&
      lo === this.#endLo &&
      hi === this.#endHi &&
      (packet === this.#packet || this.direction === "read") &&
      batch.memory[last] === memory &&
      (batch.offsets[last] as number) + (batch.lengths[last] as number) === offset
    ) {
      (batch.lengths[last] as number) += length;
    } else {
      const lastHi = batch.words[2 * last + 1] as number;
      if (hi < lastHi || (hi === lastHi && lo < (batch.words[2 * last] as number))) this.#ascending = false;
      batch.push(lo, hi, memory, offset, length);
    }
    this.#packet = packet;
    const sum = lo + length;
    this.#endLo = sum >>> 0;
    this.#endHi = hi + (sum - this.#endLo) / HIGH;
    if (this.records === this.rows.length) this.#growRows();
    this.rows[this.records++] = batch.length - 1;
  }

  #growRows(): void {
    const rows = new Uint32Array(this.rows.length * 2);
    rows.set(this.rows);
    this.rows = rows;
  }

  /** Brings the rows into ascending order, and merges those that then continue each other. */
  sort(): void {
    if (this.#ascending) return;
    const from = this.batch;
    const { words, offsets, lengths, memory } = from;
    const count = from.length;
    const order = ascendingOrder(words, count);
    if (place.length < count) place = new Uint32Array(Math.max(count, 2 * place.length));
    const to = spare ?? new Batch();
    to.reset(from.direction, count);
    let last = -1;
    for (let k = 0; k < count; k++) {
      const i = order[k] as number;
      const lo = words[2 * i] as number;
      const hi = words[2 * i + 1] as number;
      const offset = offsets[i] as number;
      const length = lengths[i] as number;
      const bytes = memory[i] as Uint8Array;
      if (
        last >= 0 &&
        this.#merge &&
        lo === this.#endLo &&
        hi === this.#endHi &&
        to.memory[last] === bytes &&
        (to.offsets[last] as number) + (to.lengths[last] as number) === offset
      ) {
        (to.lengths[last] as number) += length;
      } else {
        to.push(lo, hi, bytes, offset, length);
        last++;
      }
      place[i] = last;
      const sum = lo + length;
      this.#endLo = sum >>> 0;
      this.#endHi = hi + (sum - this.#endLo) / HIGH;
    }
    const { rows } = this;
    for (let record = 0; record < this.records; record++)
      rows[record] = place[rows[record] as number] as number;
    from.release();
    spare = from;
    this.batch = to;
    this.#ascending = true;
  }

  /** Lets go of the views and of their memory. */
  release(): void {
    const { views, length } = this;
    for (let i = 0; i < length; i++) views[i] = undefined;
    this.length = 0;
    this.records = 0;
    this.columns = undefined;
    this.#packet = undefined;
    this.#ascending = true;
    this.batch.release();
  }
}

/** Sorting goes from one batch to another; the one that it leaves is the next one's. */
let spare: Batch | undefined;

/** Where a row has gone. */
let place = new Uint32Array(FIRST_CAPACITY);
