/** Makes a `PacketIo` of a connector's `Source`: queues, batches, merges, answers, counts. */
import { HIGH, split, splitAddress } from "./address.js";
import { Answers } from "./answers.hot.js";
import type { Batch } from "./batch.hot.js";
import { type Column, type ColumnIo, SAFE_HIGH, sendRecords } from "./column.js";
import { MemtoolError } from "./errors.js";
import { CLOSED, type Fault, fault, NO_EXCHANGE, OUTSIDE, READ_ONLY } from "./fault.js";
import { FragmentQueue } from "./fragment-queue.hot.js";
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

const NOT_AN_ADDRESS: Fault = fault("malformed", "address", "core");

/** Rows in one call of a connector at most: what the default high-water mark admits. */
const MAX_ROWS = 65_536;

/** Queues kept for reuse: reads and writes, each one queued and one in flight. */
const SPARES = 4;

/** Queues that wait to be sent, in the order of their submission; each holds rows of one direction. */
class Queues {
  /** The one that others may still join. */
  last: FragmentQueue | undefined = undefined;
  readonly #before: FragmentQueue[] = [];

  get length(): number {
    return this.#before.length + (this.last === undefined ? 0 : 1);
  }

  add(queue: FragmentQueue): void {
    if (this.last !== undefined) this.#before.push(this.last);
    this.last = queue;
  }

  /** Takes the first. */
  take(): FragmentQueue | undefined {
    if (this.#before.length !== 0) return this.#before.shift();
    const { last } = this;
    this.last = undefined;
    return last;
  }
}

/** Options of a {@link SourceIo}. */
export interface SourceIoOptions {
  /**
   * Whether a target that has once said that it is gone is not asked again: what would take long (a search through all of its
   * memory) fails at once. Default `false`. (Of a recording, other parts may still be there.)
   */
  readonly endsWhenGone?: boolean | undefined;
}

/** A batch that the event loop will finish. */
interface Flight {
  /** The batch that the connector has. */
  readonly batch: Batch;
  readonly queue: FragmentQueue;
  settled: boolean;
}

/** See the module's comment. Its parameter is an address of 64 bits or a file offset. */
export class SourceIo implements PacketIo<Address>, ColumnIo, Drain {
  readonly source: Source;
  readonly scheduler: Scheduler;
  readonly #reads = new Queues();
  readonly #writes = new Queues();
  #enqueued = false;
  readonly #flights = new Set<Flight>();
  /** Calls of `#transfer` and `#answer` on the stack: outputs may close the source meanwhile. */
  #depth = 0;
  #writeInFlight = false;
  readonly #spareQueues: FragmentQueue[] = [];
  /** Of a source that is not live. */
  #ranges: AddressRanges | undefined;
  /** The first of its ranges, where most addresses are. */
  #start = 0;
  #end = 0;
  #closed: Promise<void> | undefined;
  /** Set before what is queued fails: whoever is told may submit again at once. */
  #closing = false;
  #whenIdle: (() => void) | undefined;
  readonly #endsWhenGone: boolean;
  #gone: Fault = 0;
  #batches = 0;
  #fragments = 0;
  #bytes = 0;
  #merged = 0;

  constructor(
    source: Source,
    scheduler: Scheduler = defaultScheduler,
    { endsWhenGone = false }: SourceIoOptions = {},
  ) {
    if (source.transfer === undefined && source.transferSync === undefined) {
      throw new MemtoolError("BAD_SOURCE", `${source.name}: a source needs transferSync or transfer`);
    }
    this.source = source;
    this.scheduler = scheduler;
    this.#endsWhenGone = endsWhenGone;
    if (source.supports.live) return;
    const ranges = source.ranges();
    this.#ranges = ranges;
    if (ranges.length !== 0 && (ranges.ends[0] as number) <= Number.MAX_SAFE_INTEGER) {
      this.#start = ranges.starts[0] as number;
      this.#end = ranges.ends[0] as number;
    }
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

  /** What the target said first of its having vanished (a fault in `gone` state that is not about a file's part); else 0. */
  get gone(): Fault {
    return this.#gone;
  }

  sendIo(address: Address, view: BoundView): void {
    const refused = this.#refusal(view.direction);
    if (refused !== 0) return view.fail(refused);
    const { length } = view;
    if (
      typeof address === "number" &&
      address >= this.#start &&
      address + length <= this.#end &&
      length !== 0 &&
      Math.floor(address) === address
    ) {
      const lo = address >>> 0;
      this.#queue(lo, (address - lo) / HIGH, view);
      return;
    }
    this.#sendAnywhere(address, view);
  }

  #refusal(direction: Direction): Fault {
    if (this.#closing) return CLOSED;
    if (this.#gone !== 0 && this.#endsWhenGone) return this.#gone;
    if (direction === "read") return 0;
    const { supports } = this.source;
    if (!supports.write) return READ_ONLY;
    return direction === "exchange" && supports.exchange !== true ? NO_EXCHANGE : 0;
  }

  #sendAnywhere(address: Address, view: BoundView): void {
    if (!splitAddress(address)) return view.fail(NOT_AN_ADDRESS);
    const { lo, hi } = split;
    if (view.length === 0) return view.complete();
    if (this.#ranges === undefined) {
      this.#queueChecked(lo, hi, view);
    } else {
      this.#queueInside(this.#ranges, lo, hi, view);
    }
  }

  sendColumn(column: Column, from: number, view: BoundView): void {
    const count = view.length / column.size;
    if (this.#refusal(view.direction) !== 0 || count > MAX_ROWS || !this.#isInside(column, from, count)) {
      sendRecords(this, column, from, view);
      return;
    }
    view.keep();
    const queue = this.#queueFor(view.direction, count);
    queue.pushColumn(column, from, view);
    this.#queued(count, view.length);
  }

  /**
   * Whether the source's first range holds every record. (A live one refuses rows itself; what might cross the end of
   * 64 bits goes by itself.)
   */
  #isInside({ words, size }: Column, from: number, count: number): boolean {
    if (this.#ranges === undefined) {
      for (let i = 2 * from; i < 2 * (from + count); i += 2) {
        if (words[i + 1] === HIGH - 1) return false;
      }
      return size < HIGH;
    }
    const start = this.#start;
    const last = this.#end - size;
    for (let i = 2 * from; i < 2 * (from + count); i += 2) {
      const at = (words[i + 1] as number) * HIGH + (words[i] as number);
      // Negated, so that an address that is not there is not inside.
      if (!(at >= start && at <= last)) return false;
    }
    return true;
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
    // Whoever was told of another part may have closed the source.
    if (this.#closing) return view.fail(CLOSED);
    view.keep();
    this.#queueFor(view.direction, 1).push(lo, hi, view);
    this.#queued(1, view.length);
  }

  #queued(records: number, bytes: number): void {
    this.#fragments += records;
    this.#bytes += bytes;
    this.scheduler.addPending(records);
    if (this.#enqueued) {
      this.scheduler.noteActivity();
    } else {
      this.#enqueued = true;
      this.scheduler.enqueue(this);
    }
  }

  /** The queue that takes so many records more. */
  #queueFor(direction: Direction, records: number): FragmentQueue {
    const queues = direction === "read" ? this.#reads : this.#writes;
    const { last } = queues;
    if (last !== undefined && last.direction === direction && last.records + records <= MAX_ROWS) return last;
    const queue = this.#spareQueues.pop() ?? new FragmentQueue();
    queue.open(direction);
    queues.add(queue);
    return queue;
  }

  flush(sync: boolean): boolean {
    if (sync && this.source.transferSync === undefined) return false;
    this.#enqueued = false;
    // Writes are applied in the order of their submission: one batch at a time, and never beside one in flight
    // (when that one lands, the rest is enqueued again).
    while (!this.#writeInFlight) {
      const queue = this.#writes.take();
      if (queue === undefined) break;
      this.#leaveRest();
      this.#send(queue, sync);
    }
    // What outputs submit meanwhile waits for the next flush, unless it joins a queue that is left here.
    for (let left = this.#reads.length; left > 0; left--) {
      const queue = this.#reads.take();
      if (queue === undefined) break;
      this.#leaveRest();
      this.#send(queue, sync);
    }
    return true;
  }

  /** While one queue is sent, a drive from within an output may need what waits behind it. */
  #leaveRest(): void {
    if (this.#enqueued || this.#reads.length + this.#writes.length === 0) return;
    this.#enqueued = true;
    this.scheduler.enqueue(this);
  }

  /** Sends a queue, but for what was aborted meanwhile. */
  #send(queue: FragmentQueue, sync: boolean): void {
    if (!queue.mayBeAborted) return this.#transfer(queue, sync);
    this.#depth++;
    const wanted = new FragmentQueue();
    wanted.open(queue.direction);
    const aborted: BoundView[] = [];
    let first = 0;
    for (let i = 0; i < queue.length; i++) {
      const view = queue.views[i] as BoundView;
      const records = queue.recordsOf(view);
      if (view.abortFault === 0) {
        queue.copy(view, first, wanted);
      } else {
        aborted.push(view);
        this.scheduler.removePending(records);
      }
      first += records;
    }
    // Before anyone is told, who may write what must come after these.
    if (wanted.length !== 0) this.#transfer(wanted, sync);
    for (const view of aborted) failQuietly(view, view.abortFault);
    this.#depth--;
    this.#checkIdle();
  }

  #transfer(queue: FragmentQueue, sync: boolean): void {
    if (queue.direction === "read") queue.sort();
    const { batch } = queue;
    this.#merged += queue.records - batch.length;
    this.#batches++;
    const { source } = this;
    if (source.transfer === undefined || (sync && source.transferSync !== undefined)) {
      this.#transferNow(batch, queue);
      return;
    }
    const flight: Flight = { batch, queue, settled: false };
    this.#flights.add(flight);
    this.scheduler.setInFlight(this, true);
    if (queue.direction !== "read") this.#writeInFlight = true;
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
    // A connector that threw may still be at work on its batch.
    if (threw === undefined) this.#recycle(queue);
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
    if (!flight.settled) {
      this.#answer(batch, queue, threw);
      if (threw === undefined) this.#recycle(queue);
    }
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
      const again = flight.batch.again();
      flight.batch.divert();
      // From here on the queue is for the answers alone.
      flight.queue.batch = again;
      this.#batches++;
      this.#transferNow(again, flight.queue);
    }
    return any;
  }

  /** Queues are reused: their columns cost more to make than a small transfer does. */
  #recycle(queue: FragmentQueue): void {
    queue.release();
    if (this.#spareQueues.length < SPARES) this.#spareQueues.push(queue);
  }

  /** Brings the rows' statuses back to the views that the rows were made of. */
  #answer(batch: Batch, queue: FragmentQueue, threw: { error: unknown } | undefined): void {
    this.#depth++;
    this.scheduler.removePending(queue.records);
    const answers = new Answers(batch, queue, threw);
    for (;;) {
      try {
        answers.go();
        break;
      } catch (error) {
        // A layer answered a view that it had sent on: its own operation fails, the others' must not hang.
        answers.skip(error);
      }
    }
    if (this.#gone === 0) this.#gone = answers.gone;
    const { again } = answers;
    if (again !== undefined) {
      this.scheduler.addPending(again.length);
      this.#send(again, this.source.transferSync !== undefined);
    }
    this.#depth--;
    this.#checkIdle();
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
    const queued: FragmentQueue[] = [];
    for (const queues of [this.#reads, this.#writes]) {
      for (let queue = queues.take(); queue !== undefined; queue = queues.take()) queued.push(queue);
    }
    for (const queue of queued) {
      this.scheduler.removePending(queue.records);
      for (let i = 0; i < queue.length; i++) failQuietly(queue.views[i] as BoundView, CLOSED);
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

/** Fails a view. If a layer answered it behind the source's back, its own operation throws that; the others go on. */
function failQuietly(view: BoundView, why: Fault): void {
  try {
    view.fail(why);
  } catch (error) {
    view.packet.outputError ??= error;
  }
}
