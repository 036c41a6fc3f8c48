/**
 * A cache of 4 KiB pages over any layer of physical addresses or file offsets.
 *
 * Views shorter than a page are served from cached pages; a miss fetches the whole page once, whoever else misses it
 * meanwhile. Longer views pass through. Where a page can't be fetched whole, its views are forwarded themselves, so
 * that a fault costs only its own bytes.
 *
 * Pages lie in a slab (`page-slab.hot.ts`): no object per page, but for those being fetched (`page-fetch.ts`).
 */
import { addressAt, type Column, type ColumnIo, sendColumn, sendRecords } from "../io/column.js";
import { copyBytes } from "../io/copy.hot.js";
import type { PacketIo } from "../io/packet-io.js";
import { PAGE_SIZE, PageSlab } from "../io/page-slab.hot.js";
import { sendOwn } from "../io/rebound.js";
import { schedulerOf } from "../io/requests.js";
import type { Drain, Scheduler } from "../io/scheduler.js";
import type { BoundView } from "../io/view.js";
import { LoneRead, PageFetch } from "./page-fetch.js";
import type { PhysicalMap } from "./physical-map.js";
import { Writes } from "./writes.js";

/**
 * 32 MiB, taken as it fills. Measured on the fixture (61 MiB of RAM), with reads of 8 bytes that are skewed (a cube) and
 * scans of everything between them: 8 MiB fetched a page for 0.61 of the reads, 16 MiB for 0.49, 32 MiB for 0.33, 64 MiB
 * for 0.08. As page tables it maps 16 GiB.
 */
const DEFAULT_BYTES = 33554432;
/** Pages that one allocation serves: a fetch's memory costs less as a part of a bigger one. */
const ARENA_PAGES = 16;
/** Page numbers remembered as not to be had whole. */
const HOLED = 1024;
const PAGE_SHIFT = 12;
/** Pages in 2^32 bytes. */
const PAGES_HIGH = 2 ** (32 - PAGE_SHIFT);
/** No page number. */
const EMPTY = -1;
/** The last byte of the last page below 2^53. */
const LAST_ADDRESS = Number.MAX_SAFE_INTEGER;

/** Options of {@link withPageCache}. */
export interface PageCacheOptions {
  /** Bound on the cached bytes, rounded down to pages; default 32 MiB, at least one page. */
  readonly bytes?: number | undefined;
  /**
   * The source changes by itself: nothing is kept. Views share a fetch only while it has not been sent, so that
   * nobody gets bytes that were read before they asked.
   */
  readonly live?: boolean | undefined;
  /** Pages that it does not hold whole are not fetched whole, which saves the attempt. */
  readonly map?: PhysicalMap | undefined;
  /**
   * Where the layer below keeps pages that were dear to make (decompressed ones): they are kept there only, so `bytes`
   * has no meaning. Ignored if live, or if its pages are not of 4 KiB.
   */
  readonly slab?: PageSlab | undefined;
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
export class PageCache implements PacketIo<number>, ColumnIo {
  readonly scheduler: Scheduler;
  readonly live: boolean;
  /** Pages that it holds at most. */
  readonly capacity: number;
  readonly #io: PacketIo<number>;
  readonly #map: PhysicalMap | undefined;

  readonly #pages: PageSlab;
  /** The layer below keeps pages in it too. */
  readonly #isShared: boolean;
  readonly #fetches = new Map<number, PageFetch>();
  readonly #holed = new Float64Array(HOLED).fill(EMPTY);
  readonly #mark = new FlushMark();
  /** The writes that went through it. @internal */
  readonly writes = new Writes();
  #arena = new Uint8Array(0);
  #arenaAt = 0;

  #hits = 0;
  #misses = 0;
  #shared = 0;
  #fetched = 0;
  #failed = 0;

  /** @throws {RangeError} if `bytes` is no size. */
  constructor(io: PacketIo<number>, options: PageCacheOptions = {}) {
    const bytes = options.bytes ?? DEFAULT_BYTES;
    if (!(Number.isSafeInteger(bytes) && bytes >= 0))
      throw new RangeError(`page cache: no size: ${bytes} bytes`);
    this.#io = io;
    this.#map = options.map;
    this.live = options.live ?? false;
    this.scheduler = schedulerOf(io);
    const { slab } = options;
    this.#isShared = slab !== undefined && !this.live && slab.pageSize === PAGE_SIZE && slab.capacity > 0;
    this.#pages = this.#isShared
      ? (slab as PageSlab)
      : new PageSlab(this.live ? 0 : Math.max(PAGE_SIZE, bytes));
    this.capacity = this.#pages.capacity;
  }

  /** The cached pages' bytes; see `find`. Another memory once the first page is cached. */
  get slab(): Uint8Array {
    return this.#pages.bytes;
  }

  /** A snapshot of the counters. */
  get counters(): PageCacheCounters {
    return {
      hits: this.#hits,
      misses: this.#misses,
      shared: this.#shared,
      fetches: this.#fetched,
      failed: this.#failed,
      evictions: this.#pages.evictions,
    };
  }

  /** Pages that it holds now. */
  get size(): number {
    return this.#pages.size;
  }

  /**
   * Where in `slab` a page begins, or -1 if it isn't cached (never is, if live). Holds until the next I/O: for loops
   * that read many small things from cached pages without a packet each. Counts as a hit; not as a miss.
   *
   * @param page Page number: address / 4096.
   */
  find(page: number): number {
    const slot = this.#pages.find(page);
    if (slot < 0) return -1;
    this.#hits++;
    this.#pages.use(slot);
    return slot * PAGE_SIZE;
  }

  /** Forgets every page, also those on their way and those that are known not to come whole. */
  flush(): void {
    this.#pages.clear();
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

  /** Copies the records that lie in cached pages; each other one takes the way of a single view. @internal */
  sendColumn(column: Column, from: number, view: BoundView): void {
    const { size } = column;
    const reads = view.direction === "read";
    if (reads && size >= PAGE_SIZE) {
      sendColumn(this.#io, column, from, view);
      return;
    }
    let into = reads && !this.live ? view.claim() : undefined;
    if (into === undefined) {
      sendRecords(this, column, from, view);
      return;
    }
    const count = view.length / size;
    let rest = view;
    for (let done = 0; done < count; ) {
      const cached = this.#copyCached(column, from + done, count - done, into);
      done += cached;
      if (done === count) {
        rest.complete();
        return;
      }
      if (cached > 0) {
        const hit: BoundView = rest;
        rest = hit.split(cached * size);
        hit.complete();
      }
      const missed: BoundView = rest;
      if (done + 1 < count) rest = missed.split(size);
      this.sendIo(Number(addressAt(column, from + done)), missed);
      done++;
      if (done === count) return;
      // Whoever was told of a record may have given up the others.
      into = rest.claim();
      if (into === undefined) {
        sendRecords(this, column, from + done, rest);
        return;
      }
    }
  }

  /** Copies records up to the first that is not in one cached page; gives how many. */
  #copyCached({ words, size }: Column, from: number, count: number, into: Uint8Array): number {
    const pages = this.#pages;
    const { bytes } = pages;
    let i = 0;
    for (; i < count; i++) {
      const lo = words[2 * (from + i)] as number;
      const start = lo & (PAGE_SIZE - 1);
      if (start + size > PAGE_SIZE) break;
      const slot = pages.find((words[2 * (from + i) + 1] as number) * PAGES_HIGH + (lo >>> PAGE_SHIFT));
      if (slot < 0) break;
      pages.use(slot);
      copyBytes(bytes, slot * PAGE_SIZE + start, into, i * size, size);
    }
    this.#hits += i;
    return i;
  }

  /** Serves a view that lies within one page, from `start` on. */
  #read(address: number, start: number, view: BoundView): void {
    const page = (address - start) / PAGE_SIZE;
    const slot = this.#pages.find(page);
    if (slot >= 0) {
      this.#hits++;
      this.#pages.use(slot);
      view.transfer(this.#pages.bytes, slot * PAGE_SIZE + start);
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
    const fetch = new PageFetch(this, page, this.#mark.epoch, arena.subarray(arenaAt, arenaAt + PAGE_SIZE));
    this.#fetched++;
    this.#fetches.set(page, fetch);
    view.keep();
    fetch.views.push(view);
    fetch.starts.push(start);
    if (this.live && !this.#mark.enqueued) {
      this.#mark.enqueued = true;
      this.scheduler.enqueue(this.#mark);
    }
    sendOwn(this.#io, page * PAGE_SIZE, fetch.packet.view().bind(fetch));
    if (!fetch.packet.complete) return;
    this.settle(fetch);
    // Answered at once and whole, so nothing can land in that memory any more: the next fetch takes it.
    if (fetch.packet.firstFault === 0 && this.#arena === arena && this.#arenaAt === arenaAt + PAGE_SIZE)
      this.#arenaAt = arenaAt;
  }

  /** A fetch is over: keeps the page, and answers who waits for it. @internal */
  settle(fetch: PageFetch): void {
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
    if (fetch.fresh && !this.live && !(this.#isShared && this.#pages.find(page) >= 0)) {
      this.#pages.keep(page, bytes);
    }
    // From the fetch's own memory: an answered view's output may submit I/O that evicts the page again.
    for (let i = 0; i < views.length; i++) {
      const view = views[i] as BoundView;
      if (view.abortFault !== 0) view.fail(view.abortFault);
      else view.transfer(bytes, starts[i] as number);
    }
  }

  /** Serves what came, and asks again for each view that a hole touches: the hole may be larger than its cause. */
  #settleHoled(fetch: PageFetch): void {
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
        const alone = new LoneRead(view);
        sendOwn(this.#io, page * PAGE_SIZE + start, alone.packet.view().bind(alone));
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
    this.#pages.forgetRange(first, last);
    if (this.#fetches.size === 0) return;
    for (const [page, fetch] of this.#fetches) {
      if (page < first || page > last) continue;
      fetch.fresh = false;
      this.#fetches.delete(page);
    }
  }
}

/** A page cache over `io`; see {@link PageCache}. */
export function withPageCache(io: PacketIo<number>, options?: PageCacheOptions): PageCache {
  return new PageCache(io, options);
}
