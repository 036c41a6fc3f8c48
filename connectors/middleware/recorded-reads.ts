/**
 * Where a recording has which bytes: pieces of pages, each with the times that it was read, in their order.
 *
 * A piece that was read again and again is given out as often, a time after the other, and then stays as it was the last time. So the
 * same questions get the same answers, and others get those of the time at which the recording has come.
 */
import type { Fault } from "../../src/io/index.js";
import { BestFirst } from "./best-first.js";

const PAGE = 4096;
/**
 * A failure of several pages is cut into pieces of pages as long as these are no more than so many for each extent; else it is kept
 * as one. (A file of a few bytes an extent must not make a million pieces each.)
 */
const PIECES_OF_EXTENT = 4;

/** One time that a piece was read: a fault, or bytes in a frame. */
export interface Version {
  readonly fault: Fault;
  /** Which frame of bytes, and where in it. */
  readonly frame: number;
  readonly at: number;
}

/** Called for each part of a read, ascending: `undefined` for what was not recorded. `skip` are the version's bytes before it. */
export type OnPart = (start: number, end: number, version: Version | undefined, skip: number) => void;

/** A number column that grows. */
class Numbers {
  data: Float64Array = new Float64Array(1024);
  length = 0;

  push(value: number): void {
    if (this.length === this.data.length) {
      const grown = new Float64Array(this.length * 2);
      grown.set(this.data);
      this.data = grown;
    }
    this.data[this.length++] = value;
  }

  get(i: number): number {
    return this.data[i] as number;
  }

  set(i: number, value: number): void {
    this.data[i] = value;
  }
}

const NONE = -1;
/** Pieces of a page that are looked through one by one; more are found by their bounds. (A hostile recording has millions.) */
const CROWD = 16;
/** Ranks of pieces without another turn are behind those of all others. */
const BEHIND = 2 ** 52;

function boundsKey(start: number, end: number): number {
  return start * 2 * PAGE + end;
}

/** What is found by its address. */
interface Order {
  /** Numbers of pages that have pieces, ascending. */
  readonly pages: Float64Array;
  /** Wide pieces by where they start; the highest end of each and those before it. */
  readonly wide: readonly number[];
  readonly starts: Float64Array;
  readonly mostEnds: Float64Array;
}

/** The part of a piece that a read of a page is about. */
interface PieceHere {
  readonly piece: number;
  readonly start: number;
  readonly end: number;
  /** Where the piece itself begins. */
  readonly begin: number;
}

/** Where pieces begin and end between two places of a page, ascending, with those. */
function boundsOf(from: number, to: number, pieces: readonly PieceHere[]): number[] {
  const is = new Uint8Array(PAGE + 1);
  is[from] = 1;
  is[to] = 1;
  for (const { start, end } of pieces) {
    is[start] = 1;
    is[end] = 1;
  }
  const bounds: number[] = [];
  for (let i = from; i <= to; i++) if (is[i] === 1) bounds.push(i);
  return bounds;
}

/** Index of the first of ascending numbers that is above one. */
function firstAbove(ascending: Float64Array, number: number): number {
  let low = 0;
  let high = ascending.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((ascending[middle] as number) > number) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** See the module's comment. */
export class RecordedReads {
  /** The first piece of each page, by the page's number. */
  readonly #pages = new Map<number, number>();
  // Of each piece: its bounds in the page, its first and last version, the next one to give out, the next piece of the page.
  readonly #start = new Numbers();
  readonly #end = new Numbers();
  readonly #first = new Numbers();
  readonly #last = new Numbers();
  readonly #turn = new Numbers();
  readonly #nextPiece = new Numbers();
  // Of each version: a fault, or 0; its frame and place; the next version of the same piece.
  readonly #fault = new Numbers();
  readonly #frame = new Numbers();
  readonly #at = new Numbers();
  readonly #nextVersion = new Numbers();
  /** Failures of many pages: pieces whose bounds are page numbers, by those. */
  readonly #wideByBounds = new Map<string, number>();
  /** Pieces of pages that have many, by their bounds. */
  readonly #crowded = new Map<number, Map<number, number>>();
  #budget = 4096;
  #clock = 0;
  #order: Order | undefined;

  /** How many versions there are. */
  get length(): number {
    return this.#fault.length;
  }

  /** How many of them had been recorded when the last one was that was given out. */
  get clock(): number {
    return this.#clock;
  }

  /**
   * Adds an extent that was read, behind those before it in time.
   *
   * @param page  Number of its first page (address / 4096), at most 2^52.
   * @param offset In that page.
   */
  add(page: number, offset: number, length: number, fault: Fault, frame: number, at: number): void {
    let left = length;
    let number = page;
    let from = offset;
    let place = at;
    this.#order = undefined;
    this.#budget += PIECES_OF_EXTENT;
    while (left > 0) {
      const whole = Math.floor(left / PAGE);
      if (fault !== 0 && from === 0 && whole > this.#budget) {
        this.#addWide(number, number + whole, fault);
        number += whole;
        left -= whole * PAGE;
        continue;
      }
      const count = Math.min(left, PAGE - from);
      if (fault !== 0) this.#budget--;
      this.#addPiece(number, from, from + count, fault, frame, place);
      left -= count;
      place += count;
      from = 0;
      number++;
    }
  }

  #addVersion(piece: number, fault: Fault, frame: number, at: number): void {
    const version = this.#fault.length;
    this.#fault.push(fault);
    this.#frame.push(frame);
    this.#at.push(at);
    this.#nextVersion.push(NONE);
    const last = this.#last.get(piece);
    if (last === NONE) {
      this.#first.set(piece, version);
      this.#turn.set(piece, version);
    } else {
      this.#nextVersion.set(last, version);
    }
    this.#last.set(piece, version);
  }

  #newPiece(start: number, end: number, next: number): number {
    const piece = this.#start.length;
    this.#start.push(start);
    this.#end.push(end);
    this.#first.push(NONE);
    this.#last.push(NONE);
    this.#turn.push(NONE);
    this.#nextPiece.push(next);
    return piece;
  }

  #addPiece(page: number, start: number, end: number, fault: Fault, frame: number, at: number): void {
    const first = this.#pages.get(page) ?? NONE;
    let piece = this.#find(page, first, start, end);
    if (piece === NONE) {
      piece = this.#newPiece(start, end, first);
      this.#pages.set(page, piece);
      this.#crowded.get(page)?.set(boundsKey(start, end), piece);
    }
    this.#addVersion(piece, fault, frame, at);
  }

  /** The piece of a page that has these bounds. */
  #find(page: number, first: number, start: number, end: number): number {
    const known = this.#crowded.get(page);
    if (known !== undefined) return known.get(boundsKey(start, end)) ?? NONE;
    let count = 0;
    for (let piece = first; piece !== NONE; piece = this.#nextPiece.get(piece)) {
      if (this.#start.get(piece) === start && this.#end.get(piece) === end) return piece;
      count++;
    }
    if (count >= CROWD) {
      const all = new Map<number, number>();
      for (let piece = first; piece !== NONE; piece = this.#nextPiece.get(piece)) {
        all.set(boundsKey(this.#start.get(piece), this.#end.get(piece)), piece);
      }
      this.#crowded.set(page, all);
    }
    return NONE;
  }

  #addWide(start: number, end: number, fault: Fault): void {
    const bounds = `${start} ${end}`;
    let piece = this.#wideByBounds.get(bounds);
    if (piece === undefined) {
      piece = this.#newPiece(start, end, NONE);
      this.#wideByBounds.set(bounds, piece);
    }
    this.#addVersion(piece, fault, 0, 0);
  }

  /** What the next read of bytes gave, a part after the other; `start` and `end` count from the first of them. */
  read(page: number, offset: number, length: number, onPart: OnPart): void {
    let number = page;
    let from = offset;
    let at = 0;
    while (at < length) {
      const pages = Math.floor((length - at) / PAGE);
      if (from === 0 && pages > 0 && !this.#pages.has(number)) {
        const next = this.#readRun(number, number + pages, at, onPart);
        at += (next - number) * PAGE;
        number = next;
        continue;
      }
      const count = Math.min(length - at, PAGE - from);
      this.#readPage(number, from, from + count, at - from, onPart);
      at += count;
      from = 0;
      number++;
    }
  }

  /** Pages of which no piece is known, as far as all of them are in the same wide ones. @returns the end, exclusive. */
  #readRun(page: number, end: number, at: number, onPart: OnPart): number {
    const order = this.#ordered();
    const wide = this.#wideAt(page, order);
    let next = Math.min(end, order.pages[firstAbove(order.pages, page)] ?? end);
    next = Math.min(next, order.starts[firstAbove(order.starts, page)] ?? end);
    for (const piece of wide) next = Math.min(next, this.#end.get(piece));
    let best: number | undefined;
    for (const piece of wide) if (best === undefined || this.#rank(piece) < this.#rank(best)) best = piece;
    const bytes = (next - page) * PAGE;
    if (best === undefined) {
      onPart(at, at + bytes, undefined, 0);
    } else {
      this.#give(best, 0, bytes, at, 0, onPart);
      this.#take(best);
    }
    return next;
  }

  /** Pages and wide pieces by their addresses, once all of them are there. */
  #ordered(): Order {
    if (this.#order !== undefined) return this.#order;
    const pages = Float64Array.from(this.#pages.keys()).sort();
    const wide = [...this.#wideByBounds.values()].sort((a, b) => this.#start.get(a) - this.#start.get(b));
    const starts = Float64Array.from(wide, (piece) => this.#start.get(piece));
    let most = 0;
    const mostEnds = Float64Array.from(wide, (piece) => {
      most = Math.max(most, this.#end.get(piece));
      return most;
    });
    this.#order = { pages, wide, starts, mostEnds };
    return this.#order;
  }

  /** The wide pieces that have a page. */
  #wideAt(page: number, { wide, starts, mostEnds }: Order): number[] {
    const found: number[] = [];
    for (let i = firstAbove(starts, page) - 1; i >= 0 && (mostEnds[i] as number) > page; i--) {
      const piece = wide[i] as number;
      if (this.#end.get(piece) > page) found.push(piece);
    }
    return found;
  }

  #readPage(page: number, from: number, to: number, origin: number, onPart: OnPart): void {
    const first = this.#pages.get(page) ?? NONE;
    // Nearly always there is one piece, and it has all.
    if (
      first !== NONE &&
      this.#wideByBounds.size === 0 &&
      this.#nextPiece.get(first) === NONE &&
      this.#start.get(first) <= from &&
      this.#end.get(first) >= to
    ) {
      this.#give(first, from, to, origin, this.#start.get(first), onPart);
      this.#take(first);
      return;
    }
    const pieces: PieceHere[] = [];
    for (let piece = first; piece !== NONE; piece = this.#nextPiece.get(piece)) {
      const start = Math.max(from, this.#start.get(piece));
      const end = Math.min(to, this.#end.get(piece));
      if (start < end) pieces.push({ piece, start, end, begin: this.#start.get(piece) });
    }
    for (const piece of this.#wideAt(page, this.#ordered())) {
      pieces.push({ piece, start: from, end: to, begin: from });
    }
    pieces.sort((a, b) => a.start - b.start);
    const bounds = boundsOf(from, to, pieces);
    const here = new BestFirst();
    const taken = new Set<number>();
    let next = 0;
    for (let i = 0; i + 1 < bounds.length; i++) {
      const start = bounds[i] as number;
      const end = bounds[i + 1] as number;
      for (; next < pieces.length && (pieces[next] as PieceHere).start <= start; next++) {
        here.add(next, this.#rank((pieces[next] as PieceHere).piece));
      }
      while (here.first !== undefined && (pieces[here.first] as PieceHere).end <= start) here.drop();
      const best = here.first === undefined ? undefined : (pieces[here.first] as PieceHere);
      if (best === undefined) {
        onPart(origin + start, origin + end, undefined, 0);
      } else {
        this.#give(best.piece, start, end, origin, best.begin, onPart);
        taken.add(best.piece);
      }
    }
    for (const piece of taken) this.#take(piece);
  }

  /** The piece whose turn is the earliest is the first; of those that have no other turn, the one that was read last. */
  #rank(piece: number): number {
    const turn = this.#turn.get(piece);
    return turn === NONE ? BEHIND - this.#last.get(piece) : turn;
  }

  #give(piece: number, start: number, end: number, origin: number, begin: number, onPart: OnPart): void {
    const turn = this.#turn.get(piece);
    const version = turn === NONE ? this.#last.get(piece) : turn;
    this.#clock = Math.max(this.#clock, version + 1);
    const fault = this.#fault.get(version);
    onPart(
      origin + start,
      origin + end,
      { fault, frame: this.#frame.get(version), at: this.#at.get(version) },
      start - begin,
    );
  }

  #take(piece: number): void {
    const turn = this.#turn.get(piece);
    if (turn !== NONE) this.#turn.set(piece, this.#nextVersion.get(turn));
  }
}
