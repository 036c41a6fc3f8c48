/** Makes a `PacketIo` of a connector's `Source`: queues, batches, merges, answers, counts. */
import { HIGH, split, splitAddress } from "./address.js";
import { Batch, FragmentQueue, fillBatch, ROW_PARTIAL, ROW_UNANSWERED, type RowFault } from "./batch.hot.js";
import { MemtoolError } from "./errors.js";
import { CLOSED, type Fault, fault, NO_EXCHANGE, OUTSIDE, READ_ONLY, UNANSWERED } from "./fault.js";
import type { Direction } from "./packet.js";
import type { Address, PacketIo } from "./packet-io.js";
import type { AddressRanges } from "./ranges.js";
import { type Drain, defaultScheduler, type Scheduler } from "./scheduler.js";
import type { Source } from "./source.js";
import type { BoundView } from "./view.js";

/** What passed through a source since it was opened. */
export interface Counters {
  /** Calls of the connector. */
  readonly batches: number;
  /** Views that it was asked for, before merging. */
  readonly fragments: number;
  /** Bytes of those views. */
  readonly bytes: number;
  /** Rows that merging saved. */
  readonly merged: number;
}

const THREW: Fault = fault("io", "device", "connector");
const NOT_AN_ADDRESS: Fault = fault("malformed", "address", "core");

/** High words from here on make addresses that a double does not hold exactly. */
const SAFE_HIGH = 2 ** 21;

/** Rows in one call of a connector at most: what the default high-water mark admits. */
const MAX_ROWS = 65_536;

/** Writes or exchanges to come, in the order of their submission. */
interface Unsent {
  readonly direction: Direction;
  readonly queue: FragmentQueue;
}

/** Batches and queues kept for reuse: reads and writes, each one queued and one in flight. */
const SPARES = 4;

/** A batch that the event loop will finish. */
interface Flight {
  readonly batch: Batch;
  queue: FragmentQueue;
  settled: boolean;
}

/** See the module's comment. Its parameter is an address of 64 bits or a file offset. */
export class SourceIo implements PacketIo<Address>, Drain {
  readonly source: Source;
  readonly scheduler: Scheduler;
  #reads: FragmentQueue[] = [];
  #writes: Unsent[] = [];
  #enqueued = false;
  readonly #flights = new Set<Flight>();
  /** Calls of `#transfer` and `#answer` on the stack: outputs may close the source meanwhile. */
  #depth = 0;
  #writeInFlight = false;
  readonly #spareBatches: Batch[] = [];
  readonly #spareQueues: FragmentQueue[] = [];
  #ranges: AddressRanges | undefined;
  #closed: Promise<void> | undefined;
  /** Set before what is queued fails: whoever is told may submit again at once. */
  #closing = false;
  #whenIdle: (() => void) | undefined;
  #batches = 0;
  #fragments = 0;
  #bytes = 0;
  #merged = 0;

  constructor(source: Source, scheduler: Scheduler = defaultScheduler) {
    if (source.transfer === undefined && source.transferSync === undefined) {
      throw new MemtoolError("BAD_SOURCE", `${source.name}: a source needs transferSync or transfer`);
    }
    this.source = source;
    this.scheduler = scheduler;
    if (!source.supports.live) this.#ranges = source.ranges();
  }

  get name(): string {
    return this.source.name;
  }

  /** What exists, ascending; asked anew where the source is live. */
  get ranges(): AddressRanges {
    return this.#ranges ?? this.source.ranges();
  }

  /** A snapshot of the counters. */
  get counters(): Counters {
    return { batches: this.#batches, fragments: this.#fragments, bytes: this.#bytes, merged: this.#merged };
  }

  sendIo(address: Address, view: BoundView): void {
    if (this.#closing) return view.fail(CLOSED);
    const { direction } = view;
    const { supports } = this.source;
    if (direction !== "read" && !supports.write) return view.fail(READ_ONLY);
    if (direction === "exchange" && supports.exchange !== true) return view.fail(NO_EXCHANGE);
    if (!splitAddress(address)) return view.fail(NOT_AN_ADDRESS);
    const { lo, hi } = split;
    if (view.length === 0) return view.complete();
    if (this.#ranges === undefined) {
      this.#queueChecked(lo, hi, view);
    } else {
      this.#queueInside(this.#ranges, lo, hi, view);
    }
  }

  /** A live source refuses rows itself; here, only what crosses the end of 64 bits is. */
  #queueChecked(lo: number, hi: number, view: BoundView): void {
    const length = view.length;
    // 2^32 - hi high words are left; only in the last one can a view reach the end.
    if (HIGH - hi <= Math.ceil(length / HIGH) + 1) {
      const left = (HIGH - hi) * HIGH - lo;
      if (left < length) view.split(left).fail(OUTSIDE);
    }
    this.#queue(lo, hi, view);
  }

  #queueInside(ranges: AddressRanges, lo: number, hi: number, view: BoundView): void {
    let rest: BoundView | undefined = view;
    // From 2^53 on, a double holds an address only up to its page, as it does the ranges' bounds.
    let more = hi >= SAFE_HIGH ? lo & 4095 : 0;
    let at = hi * HIGH + (lo - more);
    while (rest !== undefined) {
      const piece: BoundView = rest;
      const i = ranges.indexAfter(at);
      const from = i < ranges.length ? (ranges.starts[i] as number) : Number.POSITIVE_INFINITY;
      const inside = from <= at;
      const bound = inside ? (ranges.ends[i] as number) : from;
      const room = bound - at - more;
      rest = room < piece.length ? piece.split(room) : undefined;
      if (inside) {
        const low = at >>> 0;
        this.#queue(low + more, (at - low) / HIGH, piece);
      } else {
        piece.fail(OUTSIDE);
      }
      at = bound;
      more = 0;
    }
  }

  #queue(lo: number, hi: number, view: BoundView): void {
    view.keep();
    const { direction } = view;
    (direction === "read" ? this.#readQueue() : this.#writeQueue(direction)).push(lo, hi, view);
    this.#fragments++;
    this.#bytes += view.length;
    this.scheduler.addPending(1);
    if (this.#enqueued) {
      this.scheduler.noteActivity();
    } else {
      this.#enqueued = true;
      this.scheduler.enqueue(this);
    }
  }

  #readQueue(): FragmentQueue {
    let last = this.#reads[this.#reads.length - 1];
    if (last === undefined || last.length === MAX_ROWS) {
      last = this.#newQueue();
      this.#reads.push(last);
    }
    return last;
  }

  #writeQueue(direction: Direction): FragmentQueue {
    let last = this.#writes[this.#writes.length - 1];
    if (last === undefined || last.direction !== direction || last.queue.length === MAX_ROWS) {
      last = { direction, queue: this.#newQueue() };
      this.#writes.push(last);
    }
    return last.queue;
  }

  flush(sync: boolean): boolean {
    if (sync && this.source.transferSync === undefined) return false;
    this.#enqueued = false;
    // Writes are applied in the order of their submission: one batch at a time, and never beside one in flight
    // (when that one lands, the rest is enqueued again).
    while (this.#writes.length !== 0 && !this.#writeInFlight) {
      const { direction, queue } = this.#writes.shift() as Unsent;
      this.#send(queue, direction, sync);
    }
    // What outputs submit meanwhile waits for the next flush, but one from within it takes what is left here.
    for (let left = this.#reads.length; left > 0 && this.#reads.length !== 0; left--) {
      this.#send(this.#reads.shift() as FragmentQueue, "read", sync);
    }
    return true;
  }

  /** Sends a queue, but for what was aborted meanwhile. */
  #send(queue: FragmentQueue, direction: Direction, sync: boolean): void {
    if (!anyAborted(queue.views)) {
      this.#transfer(queue, direction, sync, true);
      return;
    }
    const wanted = new FragmentQueue();
    for (let i = 0; i < queue.length; i++) {
      const view = queue.views[i] as BoundView;
      if (view.abortFault === 0) {
        wanted.push(queue.words[2 * i] as number, queue.words[2 * i + 1] as number, view);
      } else {
        this.scheduler.removePending(1);
        view.fail(view.abortFault);
      }
    }
    if (wanted.length !== 0) this.#transfer(wanted, direction, sync, true);
  }

  #transfer(queue: FragmentQueue, direction: Direction, sync: boolean, merge: boolean): void {
    const batch = this.#spareBatches.pop() ?? new Batch();
    this.#merged += fillBatch(batch, queue, direction, direction === "read", merge);
    this.#batches++;
    const { source } = this;
    if (source.transfer === undefined || (sync && source.transferSync !== undefined)) {
      this.#transferNow(batch, queue);
      return;
    }
    const flight: Flight = { batch, queue, settled: false };
    this.#flights.add(flight);
    this.scheduler.setInFlight(this, true);
    if (direction !== "read") this.#writeInFlight = true;
    let promise: Promise<void>;
    try {
      promise = Promise.resolve(source.transfer(batch));
    } catch (error) {
      promise = Promise.reject(error);
    }
    promise.then(
      () => this.#land(flight, undefined),
      (error: unknown) => this.#land(flight, { error }),
    );
  }

  #transferNow(batch: Batch, queue: FragmentQueue): void {
    let threw: { error: unknown } | undefined;
    try {
      this.source.transferSync?.(batch);
    } catch (error) {
      threw = { error };
    }
    this.#answer(batch, queue, threw);
    this.#recycle(batch, queue, threw !== undefined);
  }

  #land(flight: Flight, threw: { error: unknown } | undefined): void {
    const { batch, queue } = flight;
    this.#depth++;
    this.#flights.delete(flight);
    if (this.#flights.size === 0) this.scheduler.setInFlight(this, false);
    if (batch.direction !== "read") {
      this.#writeInFlight = false;
      if (this.#writes.length !== 0 && !this.#enqueued) {
        this.#enqueued = true;
        this.scheduler.enqueue(this);
      }
    }
    if (!flight.settled) this.#answer(batch, queue, threw);
    this.#recycle(batch, queue, threw !== undefined);
    this.#depth--;
    try {
      this.scheduler.run();
    } finally {
      this.#checkIdle();
    }
  }

  #checkIdle(): void {
    if (this.#depth === 0 && this.#flights.size === 0) this.#whenIdle?.();
  }

  /** Reads in flight on the event loop are issued again synchronously; what lands later lands nowhere. */
  reissue(): boolean {
    if (this.source.transferSync === undefined) return false;
    let any = false;
    for (const flight of this.#flights) {
      if (flight.settled || flight.batch.direction !== "read") continue;
      flight.settled = true;
      any = true;
      divert(flight.batch);
      const again = this.#spareBatches.pop() ?? new Batch();
      fillBatch(again, flight.queue, "read", true, true);
      this.#batches++;
      const { queue } = flight;
      flight.queue = new FragmentQueue();
      this.#transferNow(again, queue);
    }
    return any;
  }

  /** Batches and queues are reused: their columns cost more to make than a small transfer does. */
  #recycle(batch: Batch, queue: FragmentQueue, threw: boolean): void {
    batch.release();
    // A connector that threw may still be at work on its batch.
    if (!threw && this.#spareBatches.length < SPARES) this.#spareBatches.push(batch);
    queue.release();
    if (this.#spareQueues.length < SPARES) this.#spareQueues.push(queue);
  }

  #newQueue(): FragmentQueue {
    return this.#spareQueues.pop() ?? new FragmentQueue();
  }

  /** Brings the rows' statuses back to the views that the rows were made of. */
  #answer(batch: Batch, queue: FragmentQueue, threw: { error: unknown } | undefined): void {
    const count = queue.views.length;
    this.#depth++;
    this.scheduler.removePending(count);
    const faults = batch.faults.length === 0 ? undefined : faultsByRow(batch.faults);
    const again = new Again();
    while (again.next < count) {
      try {
        this.#answerFrom(batch, queue, threw, faults, again);
      } catch (error) {
        // A layer answered a view that it had sent on: its own operation fails, the others' must not hang.
        (queue.views[again.next] as BoundView).packet.outputError ??= error;
        again.next++;
      }
    }
    const { queue: rest } = again;
    if (rest !== undefined) {
      this.scheduler.addPending(rest.length);
      this.#transfer(rest, "read", this.source.transferSync !== undefined, false);
    }
    this.#depth--;
    this.#checkIdle();
  }

  #answerFrom(
    batch: Batch,
    queue: FragmentQueue,
    threw: { error: unknown } | undefined,
    faults: Map<number, RowFault[]> | undefined,
    again: Again,
  ): void {
    const { views, rows } = queue;
    const count = views.length;
    for (let i = again.next; i < count; i++) {
      again.next = i;
      const view = views[i] as BoundView;
      const row = rows[i] as number;
      let status = batch.status[row] as number;
      if (status === 0) {
        view.complete();
        continue;
      }
      if (threw !== undefined) view.packet.cause ??= threw.error;
      if (status === ROW_PARTIAL) {
        answerPartly(view, view.start - (batch.offsets[row] as number), faults?.get(row) ?? []);
        continue;
      }
      if (status === ROW_UNANSWERED) status = threw === undefined ? UNANSWERED : THREW;
      if (batch.direction === "read" && view.length < (batch.lengths[row] as number) && threw === undefined) {
        // One status for several callers' bytes: ask again for each alone, so that a fault costs only its own.
        again.queue ??= new FragmentQueue();
        again.queue.push(queue.words[2 * i] as number, queue.words[2 * i + 1] as number, view);
        continue;
      }
      view.fail(status);
    }
    again.next = count;
  }

  /**
   * Fails what is queued, waits for what is in flight, and closes the source. Later views fail as `gone`.
   * Idempotent.
   */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.#closing = true;
    const queued = [...this.#reads, ...this.#writes.map((entry) => entry.queue)];
    this.#reads = [];
    this.#writes = [];
    for (const queue of queued) {
      for (const view of queue.views) {
        this.scheduler.removePending(1);
        view.fail(CLOSED);
      }
    }
    this.scheduler.run();
    if (this.#flights.size !== 0 || this.#depth !== 0) {
      await new Promise<void>((resolve) => {
        this.#whenIdle = resolve;
      });
    }
    await this.source.close?.();
  }
}

function anyAborted(views: readonly BoundView[]): boolean {
  for (let i = 0; i < views.length; i++) {
    if ((views[i] as BoundView).packet.abortFault !== 0) return true;
  }
  return false;
}

/** How far the answers of a batch have got, and what is to be asked for again. */
class Again {
  next = 0;
  queue: FragmentQueue | undefined;
}

/** Gives the rows of a batch other memory: what they were for was brought by other means. */
function divert(batch: Batch): void {
  let longest = 0;
  for (let row = 0; row < batch.length; row++) longest = Math.max(longest, batch.lengths[row] as number);
  const nowhere = new Uint8Array(longest);
  batch.memory.fill(nowhere);
  batch.offsets.fill(0);
}

function faultsByRow(faults: readonly RowFault[]): Map<number, RowFault[]> {
  const byRow = new Map<number, RowFault[]>();
  for (const entry of faults) {
    const list = byRow.get(entry.row);
    if (list === undefined) byRow.set(entry.row, [entry]);
    else list.push(entry);
  }
  for (const list of byRow.values()) list.sort((a, b) => a.start - b.start);
  return byRow;
}

/** Answers a view with the faults of its row; `from` is the view's first byte, relative to the row. */
function answerPartly(view: BoundView, from: number, faults: readonly RowFault[]): void {
  let rest: BoundView | undefined = view;
  let at = from;
  for (const { start, end, fault } of faults) {
    if (rest === undefined) return;
    const stop: number = at + rest.length;
    if (end <= at || start >= stop) continue;
    if (start > at) {
      const tail: BoundView = rest.split(start - at);
      rest.complete();
      rest = tail;
      at = start;
    }
    const tail: BoundView | undefined = end < stop ? rest.split(end - at) : undefined;
    rest.fail(fault);
    rest = tail;
    at = end;
  }
  rest?.complete();
}
