/**
 * Memory that lies compressed in a file, in chunks of a few pages each: address → position → chunk → bytes.
 *
 * A layer like others: it keeps views and answers them when its own packets come back; it never waits. Chunks that follow
 * each other in the file are read as one. A chunk is decompressed whole, whatever is wanted of it, and its pages are kept;
 * the tables of chunks are read when they are first needed (by a routine of their own), and as many kept as have room.
 */
import {
  type BoundView,
  type Drain,
  defaultScheduler,
  type Fault,
  fault,
  type PacketIo,
  PartialTransferError,
  READ_ONLY,
  type Scheduler,
} from "../../io/index.js";
import type { PageSlab } from "../../io/page-slab.hot.js";
import { Fetch } from "../fetch.js";
import { type Intervals, NO_MEMORY } from "../pieces.js";
import type { DumpFile } from "../types.js";
import { type ChunkGroups, type ChunkTable, chunkAt } from "./chunk-table.js";

/** Chunks read from the file as one (bytes). */
const MAX_RUN = 512 * 1024;
/** Compressed bytes under way at most, and one chunk more; what is beyond waits here. They decompress to several times that. */
const MAX_IN_FLIGHT = 8 * 2 ** 20;
/** Chunks in tables that are kept: 20 MiB, for 64 GiB in chunks of 64 KiB. */
const MAX_CHUNKS = 2 ** 20;

const BAD_CHUNK: Fault = fault("malformed", "page", "codec");
const UNREADABLE: Fault = fault("io", "file", "format");

const NOTHING = new Uint8Array(0);

/** A stretch of a chunk that a view wants. */
interface Want {
  /** Byte in the decompressed chunk. */
  readonly offset: number;
  readonly view: BoundView;
}

/** What waits for its group's table. */
interface Waiting {
  readonly address: number;
  readonly view: BoundView;
}

/** A chunk under way. */
interface PendingChunk {
  /** In the file. */
  readonly offset: number;
  readonly size: number;
  /** Decompressed bytes. */
  readonly length: number;
  /** Address of its first byte, and the addresses (`to` exclusive) at which it is what is there. */
  readonly address: number;
  readonly from: number;
  readonly to: number;
  readonly wants: Want[];
}

/** Chunks that lie side by side in the file. */
class ChunkFetch extends Fetch {
  readonly chunks: readonly PendingChunk[];
  readonly #owner: ChunkIo;

  constructor(owner: ChunkIo, chunks: readonly PendingChunk[], length: number) {
    super(length);
    this.#owner = owner;
    this.chunks = chunks;
  }

  protected handle(): void {
    this.#owner.chunksCame(this, (start, end) => this.faultIn(start, end));
  }
}

/** See the module's comment. */
export class ChunkIo implements PacketIo<number>, Drain {
  readonly #file: DumpFile;
  readonly #groups: ChunkGroups;
  readonly #pieces: Intervals;
  readonly #slab: PageSlab;
  /** The oldest first. */
  readonly #tables = new Map<number, ChunkTable>();
  #tableChunks = 0;
  readonly #loading = new Map<number, Waiting[]>();
  readonly #pending = new Map<number, PendingChunk>();
  #inFlight = 0;
  #enqueued = false;
  #waiting: PendingChunk[] = [];
  #waitingHead = 0;
  // Chunks gathered for the next read: they continue each other in the file.
  #run: PendingChunk[] = [];
  #runEnd = 0;
  /** Nested `sendIo`s and callbacks; the run is sent when the outermost ends. */
  #depth = 0;
  /** The chunk that was decompressed last: of those whose pages are not whole, none is kept elsewhere. */
  #lastOffset = -1;
  #last: Uint8Array = NOTHING;

  /**
   * @param pieces Addresses and the position of their first byte: ascending, disjoint. Others are `outside`.
   * @param slab   Keeps pages of addresses.
   */
  constructor(file: DumpFile, groups: ChunkGroups, pieces: Intervals, slab: PageSlab) {
    this.#file = file;
    this.#groups = groups;
    this.#pieces = pieces;
    this.#slab = slab;
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
    this.#depth++;
    try {
      this.#read(address, view);
    } finally {
      this.#leave();
    }
  }

  #read(address: number, view: BoundView): void {
    const { starts, ends, targets, length } = this.#pieces;
    let at = address;
    let rest: BoundView | undefined = view;
    let i = this.#pieces.indexAfter(at);
    while (rest !== undefined) {
      const start = i < length ? (starts[i] as number) : Number.POSITIVE_INFINITY;
      const inside = start <= at;
      const here: BoundView = rest;
      if (!inside) {
        rest = here.length > start - at ? here.split(start - at) : undefined;
        at += here.length;
        here.fail(NO_MEMORY);
        continue;
      }
      const position = (targets[i] as number) + (at - start);
      const group = this.#groups.groupAt(position);
      const room = Math.min((ends[i] as number) - at, this.#groups.endOf(group) - position);
      rest = here.length > room ? here.split(room) : undefined;
      const moved = here.length;
      const table = this.#tables.get(group);
      if (table === undefined) this.#wait(group, at, here);
      else this.#readChunks(table, i, position, at, here);
      at += moved;
      if (at >= (ends[i] as number)) i++;
    }
  }

  /** Keeps a view until its group's table is there. */
  #wait(group: number, address: number, view: BoundView): void {
    view.keep();
    const others = this.#loading.get(group);
    if (others !== undefined) {
      others.push({ address, view });
      return;
    }
    const waiting = [{ address, view }];
    this.#loading.set(group, waiting);
    (this.scheduler ?? defaultScheduler).start(
      this.#groups.load(group),
      (table) => this.#loaded(group, table),
      (error) => this.#notLoaded(group, error),
    );
  }

  #loaded(group: number, table: ChunkTable): void {
    const waiting = this.#loading.get(group) ?? [];
    this.#loading.delete(group);
    this.#tables.set(group, table);
    this.#tableChunks += table.ends.length;
    for (const [oldest, { ends }] of this.#tables) {
      if (this.#tableChunks <= MAX_CHUNKS || oldest === group) break;
      this.#tables.delete(oldest);
      this.#tableChunks -= ends.length;
    }
    this.#depth++;
    for (const { address, view } of waiting) {
      if (view.abortFault !== 0) view.fail(view.abortFault);
      else this.#readWith(table, address, view);
    }
    this.#leave();
  }

  /** What waited for a table lies in one piece and in its group. */
  #readWith(table: ChunkTable, address: number, view: BoundView): void {
    const i = this.#pieces.indexAfter(address);
    const position = (this.#pieces.targets[i] as number) + (address - (this.#pieces.starts[i] as number));
    this.#readChunks(table, i, position, address, view);
  }

  #notLoaded(group: number, error: unknown): void {
    const waiting = this.#loading.get(group) ?? [];
    this.#loading.delete(group);
    const why = causeOf(error);
    for (const { view } of waiting) {
      view.packet.cause ??= error;
      view.fail(why);
    }
  }

  #readChunks(table: ChunkTable, piece: number, position: number, address: number, view: BoundView): void {
    const { start, ends, offsets, sizes } = table;
    const pieceStart = this.#pieces.starts[piece] as number;
    const pieceEnd = this.#pieces.ends[piece] as number;
    let at = position;
    let rest: BoundView | undefined = view;
    for (let chunk = chunkAt(table, position); rest !== undefined; chunk++) {
      const here: BoundView = rest;
      if (chunk >= ends.length) {
        here.fail(table.fault);
        return;
      }
      const first = chunk === 0 ? start : (ends[chunk - 1] as number);
      const end = ends[chunk] as number;
      rest = here.length > end - at ? here.split(end - at) : undefined;
      const moved = here.length;
      const chunkAddress = address + first - position;
      this.#readChunk(
        {
          offset: offsets[chunk] as number,
          size: sizes[chunk] as number,
          length: end - first,
          address: chunkAddress,
          from: Math.max(pieceStart, chunkAddress),
          to: Math.min(pieceEnd, chunkAddress + end - first),
          wants: [],
        },
        { offset: at - first, view: here },
      );
      at += moved;
    }
  }

  #readChunk(chunk: PendingChunk, want: Want): void {
    const { view, offset } = want;
    if (view.abortFault !== 0) return view.fail(view.abortFault);
    if (chunk.offset === this.#lastOffset) return view.transfer(this.#last, offset);
    if (this.#serve(chunk.address + offset, view)) return;
    view.keep();
    const pending = this.#pending.get(chunk.offset);
    if (pending !== undefined) {
      pending.wants.push(want);
      return;
    }
    chunk.wants.push(want);
    if (this.#inFlight >= MAX_IN_FLIGHT) this.#waiting.push(chunk);
    else this.#gather(chunk);
  }

  /** Answers from kept pages, if all that the view needs are there. */
  #serve(address: number, view: BoundView): boolean {
    const slab = this.#slab;
    const { pageSize } = slab;
    const firstPage = Math.floor(address / pageSize);
    const lastPage = Math.floor((address + view.length - 1) / pageSize);
    // One page at a time: whoever is told of one may read others in the place of the next.
    if (firstPage !== lastPage) return this.#serveMany(address, view, firstPage, lastPage);
    const slot = slab.find(firstPage);
    if (slot < 0) return false;
    slab.use(slot);
    view.transfer(slab.bytes, slot * pageSize + address - firstPage * pageSize);
    return true;
  }

  #serveMany(address: number, view: BoundView, firstPage: number, lastPage: number): boolean {
    const slab = this.#slab;
    const { pageSize } = slab;
    for (let page = firstPage; page <= lastPage; page++) if (slab.find(page) < 0) return false;
    const target = view.claim();
    if (target === undefined) return false;
    for (let page = firstPage; page <= lastPage; page++) {
      const slot = slab.find(page);
      slab.use(slot);
      const from = Math.max(address, page * pageSize);
      const to = Math.min(address + view.length, (page + 1) * pageSize);
      const at = slot * pageSize + from - page * pageSize;
      target.set(slab.bytes.subarray(at, at + to - from), from - address);
    }
    view.complete();
    return true;
  }

  #gather(chunk: PendingChunk): void {
    const first = this.#run[0];
    if (first !== undefined) {
      const continues = chunk.offset === this.#runEnd && chunk.offset + chunk.size - first.offset <= MAX_RUN;
      if (!continues) this.#sendRun();
    }
    this.#run.push(chunk);
    this.#runEnd = chunk.offset + chunk.size;
    this.#inFlight += chunk.size;
    this.#pending.set(chunk.offset, chunk);
  }

  #sendRun(): void {
    const first = this.#run[0];
    if (first === undefined) return;
    const fetch = new ChunkFetch(this, this.#run, this.#runEnd - first.offset);
    this.#run = [];
    fetch.send(this.#file, first.offset);
  }

  #leave(): void {
    // Sending may answer at once, and answers may ask for more: until nothing is left.
    while (this.#depth === 1 && this.#run.length > 0) this.#sendRun();
    this.#depth--;
    // A drive from within an answer can't wait for the outermost to end: a flush sends it, if there is one before.
    if (this.#depth > 0 && this.#run.length > 0) this.#enqueue();
  }

  #enqueue(): void {
    if (this.#enqueued) return;
    this.#enqueued = true;
    (this.scheduler ?? defaultScheduler).enqueue(this);
  }

  flush(): boolean {
    this.#enqueued = false;
    this.#depth++;
    this.#sendRun();
    this.#leave();
    return true;
  }

  /** @internal */
  chunksCame(fetch: ChunkFetch, faultIn: (start: number, end: number) => Fault): void {
    this.#depth++;
    const { bytes } = fetch.packet;
    // The account first: whoever is told below may read one of these at once, and wait for it.
    for (const { offset, size } of fetch.chunks) {
      this.#inFlight -= size;
      this.#pending.delete(offset);
    }
    let at = 0;
    for (const chunk of fetch.chunks) {
      const end = at + chunk.size;
      const why = faultIn(at, end);
      if (why !== 0) for (const { view } of chunk.wants) fetch.fail(view, why);
      else this.#decode(chunk, bytes.subarray(at, end));
      at = end;
    }
    this.#resume();
    this.#leave();
  }

  #decode(chunk: PendingChunk, stored: Uint8Array): void {
    const { wants, length } = chunk;
    let output: Uint8Array | undefined;
    try {
      output = this.#groups.decode(stored, length);
    } catch (error) {
      for (const { view } of wants) view.packet.cause ??= error;
    }
    if (output === undefined || output.length !== length) {
      for (const { view } of wants) view.fail(BAD_CHUNK);
      return;
    }
    this.#keep(chunk, output);
    for (const { offset, view } of wants) view.transfer(output, offset);
  }

  /** Keeps the pages that lie in the chunk whole, and the chunk itself until the next one comes. */
  #keep({ address, from, to, offset }: PendingChunk, output: Uint8Array): void {
    const slab = this.#slab;
    if (slab.capacity === 0) return;
    const { pageSize } = slab;
    const last = Math.floor(to / pageSize);
    for (let page = Math.ceil(from / pageSize); page < last; page++) {
      slab.keep(page, output, page * pageSize - address);
    }
    this.#lastOffset = offset;
    this.#last = output;
  }

  /** Starts what waited for room. */
  #resume(): void {
    while (this.#waitingHead < this.#waiting.length && this.#inFlight < MAX_IN_FLIGHT) {
      const chunk = this.#waiting[this.#waitingHead] as PendingChunk;
      this.#waitingHead++;
      const pending = this.#pending.get(chunk.offset);
      if (pending !== undefined) pending.wants.push(...chunk.wants);
      else if (chunk.wants.every(({ view }) => view.abortFault !== 0)) {
        for (const { view } of chunk.wants) view.fail(view.abortFault);
      } else this.#gather(chunk);
    }
    if (this.#waitingHead === this.#waiting.length && this.#waitingHead !== 0) {
      this.#waiting = [];
      this.#waitingHead = 0;
    }
  }
}

/** The fault that a table could not be read for. */
function causeOf(error: unknown): Fault {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if (cause instanceof PartialTransferError) return cause.holes[0]?.fault ?? UNREADABLE;
  }
  return UNREADABLE;
}
