/**
 * The pages of a kdump-compressed dump: physical address → file → page descriptor → bytes, decompressed.
 *
 * A layer like others: it keeps views and answers them when its own packets come back; it never waits. Reads that are
 * sent together cost two batches of a file: the descriptors, then the data. Pages that follow each other in the
 * file are read as one. Views of pages that are stored as they are go straight to the file, so nothing is copied.
 *
 * It tells pages that are there from those that are not, and keeps account of what is under way; descriptors are read by
 * `kdump-descriptors.ts`, and what came is decompressed by `kdump-decoding.ts`.
 */
import {
  type BoundView,
  type Drain,
  defaultScheduler,
  EXCLUDED_REASONS,
  type ExcludedReason,
  type Fault,
  fault,
  type PacketIo,
  READ_ONLY,
  type Scheduler,
} from "../../io/index.js";
import type { PageSlab } from "../../io/page-slab.hot.js";
import type { PageBitmap } from "../bitmap.hot.js";
import { Fetch, type Want } from "../fetch.js";
import { excluded, NO_MEMORY } from "../pieces.js";
import type { DumpFile } from "../types.js";
import { PageDecoding, PendingPage } from "./kdump-decoding.js";
import { type DescriptorUser, KdumpDescriptors } from "./kdump-descriptors.js";
import { type Codec, type KdumpLayout, type KdumpPart, missingEnd, whyMissing } from "./kdump-layout.js";
import { flagsOf, offsetOf, sizeOf } from "./kdump-page-desc.js";

/** Pages read from the file as one (bytes). */
const MAX_RUN = 256 * 1024;
/** Shorter runs get memory of their own size. */
const LONG_RUN = 64 * 1024;
/** Memory for compressed pages that is used again: fresh memory costs more than a small read. */
const MOST_SPARES = 4;
/** Compressed bytes under way at most; more waits here. */
const MAX_IN_FLIGHT = 64 * 2 ** 20;

const BAD_DESCRIPTOR: Fault = fault("malformed", "page", "format");
const NO_CODEC: Fault = fault("unsupported", "codec", "format");
/** Faults by reason. */
const MISSING = Object.fromEntries(EXCLUDED_REASONS.map((reason) => [reason, excluded(reason)])) as Readonly<
  Record<ExcludedReason, Fault>
>;

/** Compressed pages that lie side by side in the file. */
class DataFetch extends Fetch {
  readonly pages: readonly PendingPage[];
  readonly #owner: KdumpPages;

  constructor(owner: KdumpPages, pages: readonly PendingPage[], memory: Uint8Array) {
    super(memory);
    this.#owner = owner;
    this.pages = pages;
  }

  protected handle(): void {
    this.#owner.dataCame(this, (start, end) => this.faultIn(start, end));
  }
}

/** A page whose data must wait until there is room in flight. */
interface Waiting {
  readonly pfn: number;
  readonly want: Want;
  readonly offset: number;
  readonly size: number;
  readonly codec: Codec;
}

/** See the module's comment. */
export class KdumpPages implements PacketIo<number>, Drain, DescriptorUser {
  readonly #file: DumpFile;
  readonly #layout: KdumpLayout;
  readonly #slab: PageSlab;
  readonly #lost: PageBitmap | undefined;
  readonly #descriptors: KdumpDescriptors;
  readonly #decoding: PageDecoding;
  readonly #pending = new Map<number, PendingPage>();
  /** Compressed bytes of pages that are read, or wait to be decompressed. */
  #inFlight = 0;
  #enqueued = false;
  #waiting: Waiting[] = [];
  #waitingHead = 0;
  // Pages gathered for the next read: they continue each other in a file.
  #run: PendingPage[] = [];
  #runPart: KdumpPart;
  #runStart = 0;
  #runEnd = 0;
  /** Memory of `MAX_RUN` bytes that nobody uses. */
  readonly #spares: Uint8Array[] = [];
  /** Nested `sendIo`s and callbacks; the run is sent when the outermost ends. */
  #depth = 0;

  /**
   * @param file For its name and scheduler: the dump's first file.
   * @param slab Keeps what was decompressed; its page size divides the block size.
   * @param lost Pages that have a descriptor and no data, as the map has them.
   */
  constructor(file: DumpFile, layout: KdumpLayout, slab: PageSlab, lost: PageBitmap | undefined) {
    this.#file = file;
    this.#layout = layout;
    this.#slab = slab;
    this.#lost = lost;
    this.#runPart = layout.parts.list[0] as KdumpPart;
    this.#descriptors = new KdumpDescriptors(layout, this);
    this.#decoding = new PageDecoding(layout, slab);
  }

  get scheduler(): Scheduler | undefined {
    return this.#file.scheduler;
  }

  /** For messages. */
  get name(): string {
    return this.#file.name;
  }

  sendIo(address: number, view: BoundView): void {
    if (view.direction !== "read") return view.fail(READ_ONLY);
    if (!(address >= 0 && address <= Number.MAX_SAFE_INTEGER)) return view.fail(NO_MEMORY);
    this.#depth++;
    try {
      this.#readPages(address, view);
    } finally {
      // (A layer below that throws is wrong; what is gathered is sent all the same.)
      this.leave();
    }
  }

  #readPages(address: number, view: BoundView): void {
    const { base, blockSize } = this.#layout;
    let rest = view;
    let at = address;
    // Below `base`, up to it, there is no RAM.
    if (at < base) {
      const tail = rest.length > base - at ? rest.split(base - at) : undefined;
      rest.fail(NO_MEMORY);
      if (tail === undefined) return;
      rest = tail;
      at = base;
    }
    at -= base;
    for (;;) {
      const pfn = Math.floor(at / blockSize);
      const here = this.#isHere(pfn);
      const end = here ? pfn + 1 : missingEnd(this.#layout, pfn, Math.ceil((at + rest.length) / blockSize));
      const room = end * blockSize - at;
      const tail = rest.length > room ? rest.split(room) : undefined;
      if (here) this.#read(pfn, { offset: at - pfn * blockSize, view: rest });
      else rest.fail(this.#whyMissing(pfn));
      if (tail === undefined) return;
      rest = tail;
      at += room;
    }
  }

  /** Whether a page has a descriptor. */
  #isHere(pfn: number): boolean {
    const { parts, stored } = this.#layout;
    return stored.has(pfn) && pfn < parts.of(pfn).describedEnd;
  }

  #whyMissing(pfn: number): Fault {
    const why = whyMissing(this.#layout, pfn);
    return why === undefined ? NO_MEMORY : MISSING[why];
  }

  #read(pfn: number, want: Want): void {
    if (!this.#serve(pfn, want)) this.#descriptors.read(pfn, want);
  }

  /** Answers from kept pages, if all that the view needs are there. */
  #serve(pfn: number, { offset, view }: Want): boolean {
    const slab = this.#slab;
    const { pageSize } = slab;
    const { base, blockSize } = this.#layout;
    const first = (base + pfn * blockSize) / pageSize;
    let page = first + Math.floor(offset / pageSize);
    const last = first + Math.floor((offset + view.length - 1) / pageSize);
    for (let i = page; i <= last; i++) if (slab.find(i) < 0) return false;
    let at = offset;
    for (let rest: BoundView | undefined = view; rest !== undefined; page++) {
      const slot = slab.find(page);
      if (slot < 0) {
        // Whoever was told of the page before this one has read others in its place.
        this.#descriptors.read(pfn, { offset: at, view: rest });
        return true;
      }
      const piece: BoundView = rest;
      const start = at % pageSize;
      rest = page < last ? piece.split(pageSize - start) : undefined;
      at += piece.length;
      slab.use(slot);
      piece.transfer(slab.bytes, slot * pageSize + start);
    }
    return true;
  }

  /** Reads (a part of) a page whose descriptor is in `bytes` at `at`. @internal */
  readPage(pfn: number, want: Want, bytes: Uint8Array, at: number): void {
    const { view } = want;
    if (view.abortFault !== 0) return view.fail(view.abortFault);
    const { blockSize, littleEndian, parts } = this.#layout;
    const part = parts.of(pfn);
    const offset = offsetOf(bytes, at, littleEndian);
    const size = sizeOf(bytes, at, littleEndian);
    const flags = flagsOf(bytes, at, littleEndian);
    // makedumpfile leaves the descriptors of pages that it had no room for empty.
    if (this.#lost?.has(pfn) === true) return view.fail(MISSING[part.lack]);
    // Neither headers nor descriptors are a page's bytes, and in a file that is whole none lie behind its end.
    const isThere = offset >= part.bodiesAt && offset + size <= part.file.size;
    if (!isThere || size > blockSize) return view.fail(BAD_DESCRIPTOR);
    if (flags === 0) {
      if (size !== blockSize) return view.fail(BAD_DESCRIPTOR);
      part.file.sendIo(offset + want.offset, view);
      return;
    }
    const codec = this.#layout.codec(flags);
    if (codec === undefined) return view.fail(NO_CODEC);
    if (size === 0) return view.fail(BAD_DESCRIPTOR);
    view.keep();
    const pending = this.#pending.get(pfn);
    if (pending !== undefined) {
      pending.wants.push(want);
    } else if (this.#inFlight >= MAX_IN_FLIGHT) {
      this.#waiting.push({ pfn, want, offset, size, codec });
    } else {
      this.#gather(offset, new PendingPage(pfn, want, size, codec));
    }
  }

  #gather(offset: number, page: PendingPage): void {
    const part = this.#layout.parts.of(page.pfn);
    if (
      this.#run.length > 0 &&
      (offset !== this.#runEnd || part !== this.#runPart || offset + page.size - this.#runStart > MAX_RUN)
    ) {
      this.#sendRun();
    }
    if (this.#run.length === 0) {
      this.#runStart = offset;
      this.#runPart = part;
    }
    this.#run.push(page);
    this.#runEnd = offset + page.size;
    this.#inFlight += page.size;
    this.#pending.set(page.pfn, page);
  }

  #sendRun(): void {
    if (this.#run.length === 0) return;
    const length = this.#runEnd - this.#runStart;
    const memory = this.#memoryFor(length);
    const fetch = new DataFetch(this, this.#run, memory);
    const offset = this.#runStart;
    this.#run = [];
    fetch.send(this.#runPart.file, offset);
  }

  /** @internal */
  enter(): void {
    this.#depth++;
  }

  /** @internal */
  leave(): void {
    // Sending may answer at once, and answers may ask for more: until nothing is left.
    while (this.#depth === 1 && this.#run.length > 0) this.#sendRun();
    this.#depth--;
    // A drive from within an answer can't wait for the outermost to end: a flush sends it, if there is one before.
    if (this.#depth > 0 && this.#run.length > 0) this.#enqueue();
  }

  /** @internal */
  dataCame(fetch: DataFetch, faultIn: (start: number, end: number) => Fault): void {
    this.#depth++;
    const { many } = this.#layout;
    // What is in flight has come too, or is about to: worth waiting for if it is much.
    const together =
      many !== undefined && this.#inFlight >= many.worthwhile && many.helps(fetch.packet.length);
    const { bytes } = fetch.packet;
    const { pages } = fetch;
    const faults: Fault[] = [];
    let at = 0;
    // The account first: whoever is told below may read a page of these at once, and wait for it.
    for (const page of pages) {
      const end = at + page.size;
      const why = faultIn(at, end);
      page.input = bytes.subarray(at, end);
      faults.push(why);
      if (together && why === 0) this.#decoding.add(page);
      else this.#forget(page);
      at = end;
    }
    if (together) this.#enqueue();
    for (let i = 0; i < pages.length; i++) {
      const page = pages[i] as PendingPage;
      const why = faults[i] as Fault;
      if (why !== 0) for (const { view } of page.wants) fetch.fail(view, why);
      else if (!together) this.#decoding.decode(page);
    }
    // It came whole and is used up, so nothing can land in that memory any more.
    if (!together && fetch.packet.firstFault === 0) this.#reuse(bytes);
    this.#resume();
    this.leave();
  }

  #memoryFor(length: number): Uint8Array {
    // (A single page may be larger than a run.)
    if (length < LONG_RUN || length > MAX_RUN) return new Uint8Array(length);
    return (this.#spares.pop() ?? new Uint8Array(MAX_RUN)).subarray(0, length);
  }

  #reuse({ buffer }: Uint8Array): void {
    if (buffer.byteLength === MAX_RUN && this.#spares.length < MOST_SPARES)
      this.#spares.push(new Uint8Array(buffer));
  }

  /** A page is no longer under way. */
  #forget(page: PendingPage): void {
    this.#inFlight -= page.size;
    this.#pending.delete(page.pfn);
  }

  #enqueue(): void {
    if (this.#enqueued || (this.#decoding.idle && this.#run.length === 0)) return;
    this.#enqueued = true;
    (this.scheduler ?? defaultScheduler).enqueue(this);
  }

  /** Decompresses pages that have come together, as many as fit in one go. */
  flush(): boolean {
    this.#enqueued = false;
    this.#depth++;
    this.#sendRun();
    const pages = this.#decoding.take();
    for (const page of pages) this.#forget(page);
    // The rest's turn comes before anybody is told: who is told may wait for a page of these.
    this.#enqueue();
    this.#decoding.decodeAll(pages);
    this.#resume();
    this.leave();
    return true;
  }

  /** Starts what waited for room. */
  #resume(): void {
    while (this.#waitingHead < this.#waiting.length && this.#inFlight < MAX_IN_FLIGHT) {
      const { pfn, want, offset, size, codec } = this.#waiting[this.#waitingHead] as Waiting;
      this.#waitingHead++;
      const { view } = want;
      const pending = this.#pending.get(pfn);
      if (view.abortFault !== 0) view.fail(view.abortFault);
      else if (pending !== undefined) pending.wants.push(want);
      else this.#gather(offset, new PendingPage(pfn, want, size, codec));
    }
    if (this.#waitingHead === this.#waiting.length && this.#waitingHead !== 0) {
      this.#waiting = [];
      this.#waitingHead = 0;
    }
  }
}
