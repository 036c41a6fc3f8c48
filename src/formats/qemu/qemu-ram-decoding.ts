/**
 * Pages of a migration stream that are not stored as they are: compressed ones, and chains of deltas (XBZRLE) down to the
 * copy that the first of them changes.
 *
 * All pieces of a page are read at once; when the last has come the page is made, kept, and handed to whoever wants it.
 */
import { type BoundView, type Fault, fault, PageSlab } from "../../io/index.js";
import { Fetch, type Want } from "../fetch.js";
import { AT_ZERO } from "../pieces.js";
import type { Decoder, DumpFile } from "../types.js";
import { DEFLATED, DELTA, FILLED, type SpecialPages, specialRow } from "./qemu-ram-log.js";
import { applyXbzrle } from "./xbzrle.js";

/** Bytes of pieces under way at most; more waits here. */
const MAX_IN_FLIGHT = 64 * 2 ** 20;
/** Deltas on each other: what a guest's hottest page has after an hour's migration; more is a fault. */
const MAX_CHAIN = 4096;

const BAD_PAGE: Fault = fault("malformed", "page", "codec");
const BAD_CHAIN: Fault = fault("malformed", "page", "format");
const NO_CODEC: Fault = fault("unsupported", "codec", "format");

/** A stretch of the file that a page is made of. */
class Piece extends Fetch {
  readonly #page: PageInMaking;

  constructor(page: PageInMaking, length: number) {
    super(length);
    this.#page = page;
  }

  protected handle(): void {
    this.#page.pieceCame();
  }
}

/** A page whose pieces are being read. */
class PageInMaking {
  readonly page: number;
  readonly wants: Want[];
  /** Rows of special pages, the last delta first; then what they change is a piece of its own, unless it is zeros. */
  readonly rows: readonly number[];
  readonly bytes: number;
  pieces: Piece[] = [];
  readonly #owner: SpecialPageReader;
  #missing = 1;

  constructor(owner: SpecialPageReader, page: number, want: Want, rows: readonly number[], bytes: number) {
    this.#owner = owner;
    this.page = page;
    this.wants = [want];
    this.rows = rows;
    this.bytes = bytes;
  }

  send(file: DumpFile, offsets: readonly number[], lengths: readonly number[]): void {
    this.#missing = offsets.length + 1;
    this.pieces = lengths.map((length) => new Piece(this, length));
    for (let i = 0; i < offsets.length; i++) (this.pieces[i] as Piece).send(file, offsets[i] as number);
    this.pieceCame();
  }

  pieceCame(): void {
    if (--this.#missing === 0) this.#owner.pageCame(this);
  }
}

/** See the module's comment. */
export class SpecialPageReader {
  readonly #file: DumpFile;
  readonly #specials: SpecialPages;
  readonly #pageSize: number;
  readonly #inflate: Decoder | undefined;
  readonly #slab: PageSlab;
  readonly #pending = new Map<number, PageInMaking>();
  #inFlight = 0;
  #waiting: { readonly row: number; readonly page: number; readonly want: Want }[] = [];
  #waitingHead = 0;
  #resuming = false;

  /** @param cacheBytes Of pages that were made, to keep. */
  constructor(
    file: DumpFile,
    specials: SpecialPages,
    pageSize: number,
    inflate: Decoder | undefined,
    cacheBytes: number,
  ) {
    this.#file = file;
    this.#specials = specials;
    this.#pageSize = pageSize;
    this.#inflate = inflate;
    this.#slab = new PageSlab(cacheBytes, pageSize);
  }

  /** Answers a view of a part of the page (which is the special page in `row`), at once or later. */
  read(row: number, page: number, offset: number, view: BoundView): void {
    const slab = this.#slab;
    const slot = slab.find(page);
    if (slot >= 0) {
      slab.use(slot);
      view.transfer(slab.bytes, slot * this.#pageSize + offset);
      return;
    }
    if (this.#specials.kinds[row] === FILLED) {
      view.transfer(new Uint8Array(view.length).fill(this.#specials.lengths[row] as number));
      return;
    }
    view.keep();
    const want: Want = { offset, view };
    if (this.#inFlight >= MAX_IN_FLIGHT && !this.#pending.has(page)) this.#waiting.push({ row, page, want });
    else this.#start(row, page, want);
  }

  #start(row: number, page: number, want: Want): void {
    const { view } = want;
    if (view.abortFault !== 0) return view.fail(view.abortFault);
    const pending = this.#pending.get(page);
    if (pending !== undefined) {
      pending.wants.push(want);
      return;
    }
    const { kinds, offsets, lengths, bases } = this.#specials;
    const rows: number[] = [];
    const from: number[] = [];
    const sizes: number[] = [];
    let bytes = this.#pageSize;
    for (let at = row; at >= 0; ) {
      rows.push(at);
      if (kinds[at] === FILLED) break;
      if (rows.length > MAX_CHAIN) return view.fail(BAD_CHAIN);
      const length = lengths[at] as number;
      from.push(offsets[at] as number);
      sizes.push(length);
      bytes += length;
      if (kinds[at] === DEFLATED) break;
      const base = bases[at] as number;
      at = specialRow(base);
      if (at >= 0 || base === AT_ZERO) continue;
      if (!(base >= 0)) return view.fail(BAD_CHAIN);
      from.push(base);
      sizes.push(this.#pageSize);
    }
    // Without the codec nothing need be read.
    if (kinds[rows[rows.length - 1] as number] === DEFLATED && this.#inflate === undefined)
      return view.fail(NO_CODEC);
    const made = new PageInMaking(this, page, want, rows, bytes);
    this.#inFlight += bytes;
    this.#pending.set(page, made);
    made.send(this.#file, from, sizes);
  }

  /** @internal */
  pageCame(made: PageInMaking): void {
    this.#inFlight -= made.bytes;
    this.#pending.delete(made.page);
    const failed = made.pieces.find(({ packet }) => packet.firstFault !== 0);
    const result = failed === undefined ? this.#make(made) : failed.packet.firstFault;
    if (typeof result !== "number") this.#slab.keep(made.page, result);
    for (const { offset, view } of made.wants) {
      if (typeof result !== "number") view.transfer(result, offset);
      else if (failed !== undefined) failed.fail(view, result);
      else view.fail(result);
    }
    this.#resume();
  }

  /** The page of its pieces, or why there is none. */
  #make({ rows, pieces, wants }: PageInMaking): Uint8Array | Fault {
    const { kinds, lengths } = this.#specials;
    const last = rows.length - 1;
    const kind = kinds[rows[last] as number];
    let page = new Uint8Array(this.#pageSize);
    if (kind === FILLED) {
      page.fill(lengths[rows[last] as number] as number);
    } else if (kind === DEFLATED) {
      try {
        const output = this.#inflate?.((pieces[last] as Piece).packet.bytes, this.#pageSize);
        if (output?.length !== this.#pageSize) return BAD_PAGE;
        // Decoders may use their memory again.
        page.set(output);
      } catch (error) {
        for (const { view } of wants) view.packet.cause ??= error;
        return BAD_PAGE;
      }
    } else if (pieces.length > rows.length) {
      page = (pieces[rows.length] as Piece).packet.bytes.slice();
    }
    for (let i = last; i >= 0; i--) {
      if (kinds[rows[i] as number] !== DELTA) continue;
      if (!applyXbzrle(page, (pieces[i] as Piece).packet.bytes)) return BAD_PAGE;
    }
    return page;
  }

  /** Starts what waited for room. */
  #resume(): void {
    // What starts may end at once, and come here again.
    if (this.#resuming) return;
    this.#resuming = true;
    while (this.#waitingHead < this.#waiting.length && this.#inFlight < MAX_IN_FLIGHT) {
      const next = this.#waiting[this.#waitingHead++];
      if (next !== undefined) this.#start(next.row, next.page, next.want);
    }
    this.#resuming = false;
    if (this.#waitingHead === this.#waiting.length) {
      this.#waiting = [];
      this.#waitingHead = 0;
    }
  }
}
