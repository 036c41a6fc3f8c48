/**
 * A cache of 4 KiB pages over any layer of physical addresses or file offsets.
 *
 * Views shorter than a page are served from cached pages; a miss fetches the whole page once, whoever else misses it
 * meanwhile. Longer views pass through. Where a page can't be fetched whole, its views are forwarded themselves, so
 * that a fault costs only its own bytes.
 *
 * Pages lie in one slab, found through an open-addressed table of page numbers: no object per page, but for those
 * being fetched. Eviction is a clock with counts (0 to 3): a page enters with 0 and gains one each time it is used
 * after another page was, so that a scan, which uses each page once, evicts its own pages first.
 */
import { copyBytes } from "../io/copy.hot.js";
import { type BoundView, type Output, Packet } from "../io/packet.js";
import type { PacketIo } from "../io/packet-io.js";
import { schedulerOf } from "../io/requests.js";
import type { Drain, Scheduler } from "../io/scheduler.js";
import type { PhysicalMap } from "./physical-map.js";
import { Writes } from "./writes.js";

/** Bytes of a cached page. */
export const PAGE_SIZE = 4096;
/**
 * 16 MiB: every page table of a kernel and a few processes (a leaf table maps 2 MiB, so these 4,096 pages map up to
 * 8 GiB). To be measured with the benchmarks.
 */
const DEFAULT_BYTES = 16777216;
/** More slots than this would make a slab longer than one buffer. */
const MAX_BYTES = 4294967296;
const MAX_USE = 3;
/** Pages that one allocation serves: a fetch's memory costs less as a part of a bigger one. */
const ARENA_PAGES = 16;
/** Page numbers remembered as not to be had whole. */
const HOLED = 1024;
const EMPTY = -1;
/** The last byte of the last page below 2^53. */
const LAST_ADDRESS = Number.MAX_SAFE_INTEGER;

/** Options of {@link withPageCache}. */
export interface PageCacheOptions {
  /** Bound on the cached bytes, rounded down to pages; default 16 MiB, at least one page. */
  readonly bytes?: number | undefined;
  /**
   * The source changes by itself: nothing is kept. Views share a fetch only while it has not been sent, so that
   * nobody gets bytes that were read before they asked.
   */
  readonly live?: boolean | undefined;
  /** Pages that it does not hold whole are not fetched whole, which saves the attempt. */
  readonly map?: PhysicalMap | undefined;
}

/** What a page cache did so far. Counts views' parts within one page each. */
export interface PageCacheCounters {
  /** Served from a cached page. */
  readonly hits: number;
  /** Not there: waited for a fetch, or were forwarded since their page can't be fetched whole. */
  readonly misses: number;
  /** Of the misses, those that joined a fetch under way. */
  readonly shared: number;
  /** Pages asked for. */
  readonly fetches: number;
  /** Of those, pages that did not come whole. */
  readonly failed: number;
  /** Pages that made room for others. */
  readonly evictions: number;
}

/** A page on its way, with the views that wait for it. */
class Fetch implements Output {
  readonly cache: PageCache;
  readonly page: number;
  readonly packet: Packet;
  readonly views: BoundView[] = [];
  /** Where in the page each view begins. */
  readonly starts: number[] = [];
  /** Which flush sends it. */
  readonly epoch: number;
  /** Whether its bytes may be kept, and others may join: not once its page was written or the cache flushed. */
  fresh = true;
  settled = false;

  constructor(cache: PageCache, page: number, epoch: number, memory: Uint8Array) {
    this.cache = cache;
    this.page = page;
    this.epoch = epoch;
    this.packet = Packet.reading(memory);
  }

  onFragment(): void {
    if (this.packet.complete) this.cache.settle(this);
  }
}

/**
 * A view of a page that did not come whole, asked for by itself. It has memory of its own: a layer below that drops
 * it is found out, and nothing lands in the memory of a caller who gave up meanwhile.
 */
class Alone implements Output {
  readonly view: BoundView;
  readonly packet: Packet;
  #settled = false;

  constructor(view: BoundView) {
    this.view = view;
    this.packet = Packet.reading(new Uint8Array(view.length));
  }

  onFragment(): void {
    if (this.packet.complete) this.settle();
  }

  settle(): void {
    if (this.#settled) return;
    this.#settled = true;
    const { packet, view } = this;
    if (view.abortFault !== 0) return view.fail(view.abortFault);
    if (packet.firstFault === 0) return view.transfer(packet.bytes);
    view.packet.cause ??= packet.cause;
    let rest: BoundView | undefined = view;
    let at = 0;
    for (const { start, end, fault } of packet.holes()) {
      if (rest === undefined) return;
      if (start > at) {
        const good: BoundView = rest;
        rest = good.split(start - at);
        good.transfer(packet.bytes, at);
      }
      const bad: BoundView = rest;
      rest = end < packet.length ? bad.split(end - start) : undefined;
      bad.fail(fault);
      at = end;
    }
    rest?.transfer(packet.bytes, at);
  }
}

/** Tells the cache that what it fetched so far has been sent. */
class FlushMark implements Drain {
  readonly name = "page cache";
  /** Counts flushes. */
  epoch = 0;
  enqueued = false;

  flush(): boolean {
    this.enqueued = false;
    this.epoch++;
    return true;
  }
}

/** See the module's comment. Made by {@link withPageCache}. */
export class PageCache implements PacketIo<number> {
  readonly scheduler: Scheduler;
  readonly live: boolean;
  /** Pages that it holds at most. */
  readonly capacity: number;
  /** The cached pages' bytes; see `find`. */
  readonly slab: Uint8Array;
  readonly #io: PacketIo<number>;
  readonly #map: PhysicalMap | undefined;

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

  readonly #fetches = new Map<number, Fetch>();
  readonly #holed = new Float64Array(HOLED).fill(EMPTY);
  readonly #mark = new FlushMark();
  /** The writes that went through it. */
  readonly writes = new Writes();
  #arena = new Uint8Array(0);
  #arenaAt = 0;

  #hits = 0;
  #misses = 0;
  #shared = 0;
  #fetched = 0;
  #failed = 0;
  #evictions = 0;

  /** @throws {RangeError} if `bytes` is no size. */
  constructor(io: PacketIo<number>, options: PageCacheOptions = {}) {
    const bytes = options.bytes ?? DEFAULT_BYTES;
    if (!(Number.isSafeInteger(bytes) && bytes >= 0))
      throw new RangeError(`page cache: no size: ${bytes} bytes`);
    this.#io = io;
    this.#map = options.map;
    this.live = options.live ?? false;
    this.scheduler = schedulerOf(io);
    const capacity = this.live ? 0 : Math.max(1, Math.floor(Math.min(bytes, MAX_BYTES) / PAGE_SIZE));
    this.capacity = capacity;
    // The system gives this memory page by page, as it is first used.
    this.slab = new Uint8Array(capacity * PAGE_SIZE);
    this.#pages = new Float64Array(capacity);
    this.#uses = new Uint8Array(capacity);
    this.#table = new Int32Array(2 ** Math.ceil(Math.log2(2 * capacity + 2)));
    this.#mask = this.#table.length - 1;
  }

  /** A snapshot of the counters. */
  get counters(): PageCacheCounters {
    return {
      hits: this.#hits,
      misses: this.#misses,
      shared: this.#shared,
      fetches: this.#fetched,
      failed: this.#failed,
      evictions: this.#evictions,
    };
  }

  /** Pages that it holds now. */
  get size(): number {
    return this.#slots - this.#free.length;
  }

  /**
   * Where in `slab` a page begins, or -1 if it isn't cached (never is, if live). Holds until the next I/O: for loops
   * that read many small things from cached pages without a packet each. Counts as a hit; not as a miss.
   *
   * @param page Page number: address / 4096.
   */
  find(page: number): number {
    const slot = this.#slotOf(page);
    if (slot < 0) return -1;
    this.#hits++;
    this.#use(page, slot);
    return slot * PAGE_SIZE;
  }

  /** Forgets every page, also those on their way and those that are known not to come whole. */
  flush(): void {
    this.#slots = 0;
    this.#free.length = 0;
    this.#hand = 0;
    this.#last = EMPTY;
    this.#table.fill(0);
    this.#holed.fill(EMPTY);
    for (const fetch of this.#fetches.values()) fetch.fresh = false;
    this.#fetches.clear();
  }

  sendIo(address: number, view: BoundView): void {
    const length = view.length;
    if (view.direction !== "read") {
      this.#write(address, view);
      return;
    }
    // A negated test, so that what is no address is passed on too: the layer below says what is wrong with it.
    if (!(length < PAGE_SIZE && address >= 0 && address <= LAST_ADDRESS && Math.floor(address) === address)) {
      this.#io.sendIo(address, view);
      return;
    }
    const start = address % PAGE_SIZE;
    if (start + length > PAGE_SIZE) {
      const room = PAGE_SIZE - start;
      const tail = view.split(room);
      this.#read(address, start, view);
      this.#read(address + room, 0, tail);
    } else {
      this.#read(address, start, view);
    }
  }

  /** Serves a view that lies within one page, from `start` on. */
  #read(address: number, start: number, view: BoundView): void {
    const page = (address - start) / PAGE_SIZE;
    const slot = this.#slotOf(page);
    if (slot >= 0) {
      this.#hits++;
      this.#use(page, slot);
      view.transfer(this.slab, slot * PAGE_SIZE + start);
      return;
    }
    this.#misses++;
    const under = this.#fetches.get(page);
    if (under !== undefined && (!this.live || under.epoch === this.#mark.epoch)) {
      this.#shared++;
      view.keep();
      under.views.push(view);
      under.starts.push(start);
      return;
    }
    if (this.#holed[page % HOLED] === page || this.writes.underWay() || !this.#isWhole(page)) {
      this.#io.sendIo(address, view);
      return;
    }
    this.#fetch(page, start, view);
  }

  #isWhole(page: number): boolean {
    return this.#map === undefined || this.#map.isPresent(page * PAGE_SIZE, (page + 1) * PAGE_SIZE);
  }

  #fetch(page: number, start: number, view: BoundView): void {
    if (this.#arenaAt === this.#arena.length) {
      this.#arena = new Uint8Array(ARENA_PAGES * PAGE_SIZE);
      this.#arenaAt = 0;
    }
    const arena = this.#arena;
    const arenaAt = this.#arenaAt;
    this.#arenaAt = arenaAt + PAGE_SIZE;
    const fetch = new Fetch(this, page, this.#mark.epoch, arena.subarray(arenaAt, arenaAt + PAGE_SIZE));
    this.#fetched++;
    this.#fetches.set(page, fetch);
    view.keep();
    fetch.views.push(view);
    fetch.starts.push(start);
    if (this.live && !this.#mark.enqueued) {
      this.#mark.enqueued = true;
      this.scheduler.enqueue(this.#mark);
    }
    this.#io.sendIo(page * PAGE_SIZE, fetch.packet.view().bind(fetch));
    // What the layer below neither answered nor kept, it never will answer.
    fetch.packet.dropUncovered();
    if (!fetch.packet.complete) return;
    this.settle(fetch);
    // Answered at once, so nothing can land in that memory any more: the next fetch takes it.
    if (this.#arena === arena && this.#arenaAt === arenaAt + PAGE_SIZE) this.#arenaAt = arenaAt;
  }

  /** A fetch is over: keeps the page, and answers who waits for it. @internal */
  settle(fetch: Fetch): void {
    if (fetch.settled) return;
    fetch.settled = true;
    const { page, packet, views, starts } = fetch;
    if (this.#fetches.get(page) === fetch) this.#fetches.delete(page);
    if (packet.firstFault !== 0) {
      this.#failed++;
      this.#holed[page % HOLED] = page;
      this.#settleHoled(fetch);
      return;
    }
    const { bytes } = packet;
    if (fetch.fresh && !this.live) this.#keep(page, bytes);
    // From the fetch's own memory: an answered view's output may submit I/O that evicts the page again.
    for (let i = 0; i < views.length; i++) {
      const view = views[i] as BoundView;
      if (view.abortFault !== 0) view.fail(view.abortFault);
      else view.transfer(bytes, starts[i] as number);
    }
  }

  /** Serves what came, and asks again for each view that a hole touches: the hole may be larger than its cause. */
  #settleHoled(fetch: Fetch): void {
    const { page, packet, views, starts } = fetch;
    const holes = packet.holes();
    for (let i = 0; i < views.length; i++) {
      const view = views[i] as BoundView;
      const start = starts[i] as number;
      const end = start + view.length;
      if (view.abortFault !== 0) {
        view.fail(view.abortFault);
      } else if (!holes.some((hole) => hole.start < end && hole.end > start)) {
        view.transfer(packet.bytes, start);
      } else {
        const alone = new Alone(view);
        this.#io.sendIo(page * PAGE_SIZE + start, alone.packet.view().bind(alone));
        alone.packet.dropUncovered();
        if (alone.packet.complete) alone.settle();
      }
    }
  }

  /**
   * Passes a write through. Until it has landed nothing new is fetched, since whether a fetch brings the bytes from
   * before or after it is not known.
   */
  #write(address: number, view: BoundView): void {
    if (address >= 0 && address <= LAST_ADDRESS) this.#invalidate(address, view.length);
    this.writes.note(view);
    this.#io.sendIo(address, view);
    this.writes.underWay();
  }

  #invalidate(address: number, length: number): void {
    const first = Math.floor(address / PAGE_SIZE);
    const last = Math.floor((address + length - 1) / PAGE_SIZE);
    if (last - first < this.#slots) {
      for (let page = first; page <= last; page++) this.#forget(page);
    } else {
      for (let slot = 0; slot < this.#slots; slot++) {
        const page = this.#pages[slot] as number;
        if (page >= first && page <= last) this.#forget(page);
      }
    }
    if (this.#fetches.size === 0) return;
    for (const [page, fetch] of this.#fetches) {
      if (page < first || page > last) continue;
      fetch.fresh = false;
      this.#fetches.delete(page);
    }
  }

  // The table.

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

  #slotOf(page: number): number {
    const i = this.#indexOf(page);
    return i < 0 ? -1 : (this.#table[i] as number) - 1;
  }

  #use(page: number, slot: number): void {
    if (page === this.#last) return;
    this.#last = page;
    const uses = this.#uses[slot] as number;
    if (uses < MAX_USE) this.#uses[slot] = uses + 1;
  }

  #keep(page: number, bytes: Uint8Array): void {
    let slot = this.#slotOf(page);
    if (slot < 0) {
      slot = this.#free.pop() ?? (this.#slots < this.capacity ? this.#slots++ : this.#evict());
      this.#pages[slot] = page;
      let i = this.#hash(page);
      while (this.#table[i] !== 0) i = (i + 1) & this.#mask;
      this.#table[i] = slot + 1;
    }
    this.#uses[slot] = 0;
    this.#last = page;
    copyBytes(bytes, 0, this.slab, slot * PAGE_SIZE, PAGE_SIZE);
  }

  /** Frees the slot of a page that was not used since the hand passed it last; every slot is taken. */
  #evict(): number {
    for (;;) {
      const slot = this.#hand;
      this.#hand = slot + 1 === this.capacity ? 0 : slot + 1;
      const uses = this.#uses[slot] as number;
      if (uses === 0) {
        this.#evictions++;
        this.#unlink(this.#indexOf(this.#pages[slot] as number));
        return slot;
      }
      this.#uses[slot] = uses - 1;
    }
  }

  #forget(page: number): void {
    const i = this.#indexOf(page);
    if (i < 0) return;
    const slot = (this.#table[i] as number) - 1;
    this.#unlink(i);
    this.#pages[slot] = EMPTY;
    this.#free.push(slot);
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

/** A page cache over `io`; see {@link PageCache}. */
export function withPageCache(io: PacketIo<number>, options?: PageCacheOptions): PageCache {
  return new PageCache(io, options);
}
