/**
 * Physical memory of a dump that is a bitmap of pages, and behind it the pages whose bits are set, in their order:
 * address → rank of its bit → file offset. Nothing is kept for each run of pages, however many there are.
 */
import { HIGH } from "../../io/address.js";
import { addressAt, type Column, type ColumnIo, sendColumn } from "../../io/column.js";
import type { BoundView, ExcludedReason, Fault, PacketIo, Scheduler } from "../../io/index.js";
import { PhysicalMap, type PhysicalRange, type RangeState } from "../../memory/physical-map.js";
import type { PageBitmap } from "../bitmap.hot.js";
import { excluded, type Intervals, NO_MEMORY } from "../pieces.js";
import type { DumpFile } from "../types.js";

const OUTSIDE = 0;
const PRESENT = 1;
const TRUNCATED = 2;
const LEFT_OUT = 3;
const OR_OUTSIDE = 4;
type Kind = typeof OUTSIDE | typeof PRESENT | typeof TRUNCATED | typeof LEFT_OUT | typeof OR_OUTSIDE;

const REASONS: readonly (ExcludedReason | undefined)[] = [
  undefined,
  undefined,
  "truncated",
  "unknown",
  "or outside",
];
const FAULTS: readonly Fault[] = [
  NO_MEMORY,
  0,
  ...REASONS.slice(2).map((reason) => excluded(reason ?? "unknown")),
];

/** Which pages are in the dump, and where. Pages are numbers of `pageSize` bytes each. */
export class BitmapIndex {
  readonly pageSize: number;
  /** Pages that are in the dump. */
  readonly stored: PageBitmap;
  /** Page numbers end here: those of the bitmap, and of RAM. */
  readonly pages: number;
  /** File offset of the first page that is stored. */
  readonly #dataAt: number;
  /** Physical addresses of RAM; `undefined` if the dump does not say. */
  readonly #ram: Intervals | undefined;
  /** Stored pages from here on lie beyond the end of the file. */
  readonly #lostFrom: number;
  readonly bytesPresent: number;
  readonly bytesExcluded: number;

  /**
   * @param dataAt   File offset of the first page.
   * @param fileSize Pages that do not end before it are `excluded` ("truncated").
   * @param ram      Laid intervals of physical addresses, whole pages: what is not in them, nor stored, is `outside`. If
   *                 there are none, what is not stored is `excluded` ("or outside") as far as the bitmap goes.
   */
  constructor(
    stored: PageBitmap,
    dataAt: number,
    fileSize: number,
    pageSize: number,
    ram: Intervals | undefined,
  ) {
    this.stored = stored;
    this.pageSize = pageSize;
    this.#dataAt = dataAt;
    this.#ram = ram;
    const inFile = Math.min(stored.count, Math.max(0, Math.floor((fileSize - dataAt) / pageSize)));
    this.#lostFrom = inFile < stored.count ? stored.select(inFile) : Number.POSITIVE_INFINITY;
    const ramEnd =
      ram === undefined || ram.length === 0 ? 0 : (ram.ends[ram.length - 1] as number) / pageSize;
    this.pages = Math.max(stored.length, ramEnd);
    let missing = ram === undefined ? stored.length - stored.count : 0;
    for (let i = 0; ram !== undefined && i < ram.length; i++) {
      const from = (ram.starts[i] as number) / pageSize;
      const to = (ram.ends[i] as number) / pageSize;
      missing += to - from - (this.#rank(to) - this.#rank(from));
    }
    this.bytesPresent = inFile * pageSize;
    this.bytesExcluded = (stored.count - inFile + missing) * pageSize;
  }

  /** Stored pages that lie beyond the end of the file. */
  get lost(): number {
    return this.stored.count - this.bytesPresent / this.pageSize;
  }

  #rank(page: number): number {
    return page >= this.stored.length ? this.stored.count : this.stored.rank(page);
  }

  /** File offset of a page that is present. */
  offsetOf(page: number): number {
    return this.#dataAt + this.stored.rank(page) * this.pageSize;
  }

  kindOf(page: number): Kind {
    if (!(page >= 0 && page < this.pages)) return OUTSIDE;
    if (this.stored.has(page)) return page < this.#lostFrom ? PRESENT : TRUNCATED;
    if (this.#ram === undefined) return OR_OUTSIDE;
    const i = this.#ram.indexAfter(page * this.pageSize);
    const inside = i < this.#ram.length && (this.#ram.starts[i] as number) <= page * this.pageSize;
    return inside ? LEFT_OUT : OUTSIDE;
  }

  /** Where the pages of a kind end that begin at `page`, which is of that kind; looks no further than `limit`. */
  runEnd(page: number, kind: Kind, limit: number): number {
    let end = this.#stretchEnd(page, limit);
    while (end < limit && this.kindOf(end) === kind) end = this.#stretchEnd(end, limit);
    return end;
  }

  /** A part of that, in which neither the bitmap nor RAM begins or ends. */
  #stretchEnd(page: number, limit: number): number {
    const { stored, pageSize } = this;
    if (page >= this.pages) return limit;
    let end = Math.min(limit, this.pages);
    if (page < stored.length) end = stored.runEnd(page, Math.min(end, stored.length));
    if (page < stored.length && stored.has(page)) {
      return page < this.#lostFrom ? Math.min(end, this.#lostFrom) : end;
    }
    if (this.#ram === undefined) return end;
    const i = this.#ram.indexAfter(page * pageSize);
    if (i === this.#ram.length) return end;
    const start = (this.#ram.starts[i] as number) / pageSize;
    return Math.min(end, start > page ? start : (this.#ram.ends[i] as number) / pageSize);
  }
}

/** What such a dump says of physical memory. What counts ranges walks all of them. */
export class BitmapMap extends PhysicalMap {
  readonly bytesPresent: number;
  readonly bytesExcluded: number;
  readonly #index: BitmapIndex;
  #counted: { readonly length: number; readonly end: number } | undefined;

  constructor(index: BitmapIndex) {
    super();
    this.#index = index;
    this.bytesPresent = index.bytesPresent;
    this.bytesExcluded = index.bytesExcluded;
  }

  get length(): number {
    return this.#count().length;
  }

  get end(): number {
    return this.#count().end;
  }

  #count(): { readonly length: number; readonly end: number } {
    if (this.#counted === undefined) {
      const { pages, pageSize } = this.#index;
      let length = 0;
      let end = 0;
      for (let page = 0; page < pages; ) {
        const kind = this.#index.kindOf(page);
        page = this.#index.runEnd(page, kind, pages);
        if (kind === OUTSIDE) continue;
        length++;
        end = page * pageSize;
      }
      this.#counted = { length, end };
    }
    return this.#counted;
  }

  stateOf(address: number): RangeState {
    const kind = this.#index.kindOf(this.#pageOf(address));
    return kind === OUTSIDE ? "outside" : kind === PRESENT ? "present" : "excluded";
  }

  reasonOf(address: number): ExcludedReason | undefined {
    return REASONS[this.#index.kindOf(this.#pageOf(address))];
  }

  isPresent(start: number, end: number): boolean {
    if (end <= start) return true;
    const page = this.#pageOf(start);
    const limit = Math.ceil(end / this.#index.pageSize);
    return this.#index.kindOf(page) === PRESENT && this.#index.runEnd(page, PRESENT, limit) >= limit;
  }

  nextInside(address: number): number | undefined {
    const { pages, pageSize } = this.#index;
    const from = Math.max(0, address);
    const page = this.#pageOf(from);
    if (page >= pages) return undefined;
    if (this.#index.kindOf(page) !== OUTSIDE) return from;
    const next = this.#index.runEnd(page, OUTSIDE, pages);
    return next < pages ? next * pageSize : undefined;
  }

  range(i: number): PhysicalRange {
    let at = 0;
    for (const range of this.ranges()) if (at++ === i) return range;
    throw new RangeError(`range ${i} of ${this.length}`);
  }

  protected *each(): Generator<PhysicalRange, void, void> {
    const { pages, pageSize } = this.#index;
    for (let page = 0; page < pages; ) {
      const kind = this.#index.kindOf(page);
      const stop = this.#index.runEnd(page, kind, pages);
      const start = page * pageSize;
      const end = stop * pageSize;
      page = stop;
      if (kind === OUTSIDE) continue;
      const reason = REASONS[kind];
      yield reason === undefined
        ? { start, end, state: "present" }
        : { start, end, state: "excluded", reason };
    }
  }

  #pageOf(address: number): number {
    return Math.floor(address / this.#index.pageSize);
  }
}

/** Its memory, read where it lies: pages that follow each other do so in the file too, so a view is split only at holes. */
export class BitmapIo implements PacketIo<number>, ColumnIo {
  readonly #file: DumpFile;
  readonly #index: BitmapIndex;

  constructor(file: DumpFile, index: BitmapIndex) {
    this.#file = file;
    this.#index = index;
  }

  get scheduler(): Scheduler | undefined {
    return this.#file.scheduler;
  }

  sendIo(address: number, view: BoundView): void {
    const index = this.#index;
    const { pageSize } = index;
    if (!(address >= 0)) return view.fail(NO_MEMORY);
    let at = address;
    for (let rest: BoundView | undefined = view; rest !== undefined; ) {
      const piece: BoundView = rest;
      const page = Math.floor(at / pageSize);
      const kind = index.kindOf(page);
      const end = index.runEnd(page, kind, Math.ceil((at + piece.length) / pageSize));
      const room = end * pageSize - at;
      rest = piece.length > room ? piece.split(room) : undefined;
      const moved = piece.length;
      if (kind === PRESENT) this.#file.sendIo(index.offsetOf(page) + (at - page * pageSize), piece);
      else piece.fail(FAULTS[kind] as Fault);
      at += moved;
    }
  }

  /** Forwards runs of records that are present, at their file offsets; the others one by one. */
  sendColumn(column: Column, from: number, view: BoundView): void {
    const { size } = column;
    const count = view.length / size;
    const words = new Uint32Array(2 * count);
    const moved: Column = { words, size };
    let rest: BoundView | undefined = view;
    for (let first = 0; rest !== undefined; ) {
      const piece: BoundView = rest;
      const end = this.#moveRecords(column, from, first, count, words);
      rest = undefined;
      if (end > first) {
        if (end < count) rest = piece.split((end - first) * size);
        sendColumn(this.#file, moved, first, piece);
      } else {
        if (end + 1 < count) rest = piece.split(size);
        this.sendIo(addressAt(column, from + end) as number, piece);
      }
      first = Math.max(end, first + 1);
    }
  }

  /** @returns the first record (from `first` on) that is not all present. */
  #moveRecords(column: Column, from: number, first: number, count: number, moved: Uint32Array): number {
    const index = this.#index;
    const { pageSize } = index;
    const { words, size } = column;
    for (let i = first; i < count; i++) {
      const word = 2 * (from + i);
      const address = (words[word + 1] as number) * HIGH + (words[word] as number);
      const page = Math.floor(address / pageSize);
      const offset = address - page * pageSize;
      if (index.kindOf(page) !== PRESENT) return i;
      const limit = Math.ceil((address + size) / pageSize);
      if (limit > page + 1 && index.runEnd(page, PRESENT, limit) < limit) return i;
      const at = index.offsetOf(page) + offset;
      const low = at >>> 0;
      moved[2 * i] = low;
      moved[2 * i + 1] = (at - low) / HIGH;
    }
    return count;
  }
}
