/**
 * One pass over RAM that looks for page-table roots by their shape (`root-shape.hot.ts`), for any number of formats at once,
 * and for texts that a kernel's image holds. What looks like a root is a candidate, no more: `find-roots.ts` judges.
 */
import { type PacketIo, type Routine, readPartial } from "../../io/index.js";
import type { PhysicalMap } from "../../memory/physical-map.js";
import type { MmuDef } from "../formats/mmu-def.js";
import { RootShape } from "./root-shape.hot.js";

/** A text by which a kernel's image is known, such as "Linux version ". It lies at a multiple of 4 bytes. */
export interface Landmark {
  /** For people: what maps it is said to map this. */
  readonly name: string;
  /** At least four characters of ASCII. */
  readonly text: string;
}

/** Bytes read at a time, at a multiple of it: no root crosses its end. */
const PIECE = 1 << 20;
const PAGE = 4096;
/** Candidates kept for each format: a machine with more processes has more roots, and the rest is counted. */
const MAX_CANDIDATES = 1 << 16;
/** Places of landmarks kept. */
const MAX_MARKS = 16;
/** Ranges of the map that are looked up by halving; of more (a hostile map), only as many are RAM. */
const MAX_RANGES = 1 << 20;

/** Candidates of one format, as columns by address, ascending. */
export class RootCandidates {
  readonly shape: RootShape;
  /** Number of rows. */
  length = 0;
  /** Those beyond what there is room for. */
  dropped = 0;
  /** Physical addresses. */
  addresses = new Float64Array(64);
  /** What the kernel's part and the rest of a root hold (hashes, and numbers of entries). */
  kernelHashes = new Int32Array(64);
  userHashes = new Int32Array(64);
  kernelCounts = new Uint32Array(64);
  userCounts = new Uint32Array(64);
  /** 1: an entry points to the root itself. */
  selves = new Uint8Array(64);

  constructor(shape: RootShape) {
    this.shape = shape;
  }

  /** Adds what the shape found last. */
  push(address: number): void {
    if (this.length === MAX_CANDIDATES) {
      this.dropped++;
      return;
    }
    if (this.length === this.addresses.length) this.#grow();
    const { shape } = this;
    const row = this.length++;
    this.addresses[row] = address;
    this.kernelHashes[row] = shape.kernelHash;
    this.userHashes[row] = shape.userHash;
    this.kernelCounts[row] = shape.kernelCount;
    this.userCounts[row] = shape.userCount;
    this.selves[row] = shape.refersToItself ? 1 : 0;
  }

  /** The row of an address, or -1. */
  find(address: number): number {
    let low = 0;
    let high = this.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.addresses[middle] as number) < address) low = middle + 1;
      else high = middle;
    }
    return low < this.length && this.addresses[low] === address ? low : -1;
  }

  #grow(): void {
    const size = 2 * this.length;
    const grown = <T extends Float64Array | Int32Array | Uint32Array | Uint8Array>(from: T, to: T): T => {
      to.set(from);
      return to;
    };
    this.addresses = grown(this.addresses, new Float64Array(size));
    this.kernelHashes = grown(this.kernelHashes, new Int32Array(size));
    this.userHashes = grown(this.userHashes, new Int32Array(size));
    this.kernelCounts = grown(this.kernelCounts, new Uint32Array(size));
    this.userCounts = grown(this.userCounts, new Uint32Array(size));
    this.selves = grown(this.selves, new Uint8Array(size));
  }
}

/** A landmark in RAM. */
export interface Mark {
  readonly name: string;
  /** Physical address of its first byte. */
  readonly physical: number;
}

/** What a pass found. */
export interface RootScan {
  /** In the order of the formats. */
  readonly candidates: readonly RootCandidates[];
  readonly marks: readonly Mark[];
}

/** Looks at every page that is present, once, but for those that the map knows to be zero. Memory is bounded: 65,536 candidates a format, 16 marks. */
export function* scanRoots(
  physical: PacketIo<number>,
  map: PhysicalMap,
  formats: readonly MmuDef[],
  landmarks: readonly Landmark[],
  onProgress?: (done: number, total: number) => void,
): Routine<RootScan> {
  const inside = new RamRanges(map);
  const found = formats.map((def) => new RootCandidates(new RootShape(def, (at) => inside.has(at))));
  const marks: Mark[] = [];
  const piece = new Uint8Array(PIECE);
  const words = new Uint32Array(piece.buffer);
  const total = map.bytesPresent;
  let done = 0;
  for (const { start, end, zero } of piecesOf(map)) {
    if (!zero) {
      const base = start - (start % PIECE);
      const from = start - base;
      const to = end - base;
      const { holes } = yield* readPartial(physical, start, piece.subarray(from, to));
      // What was not read holds no root.
      piece.fill(0, 0, from);
      piece.fill(0, to);
      for (const hole of holes) piece.fill(0, from + hole.start, from + hole.end);
      findMarks(piece, words, base, landmarks, marks);
      for (let page = from - (from % PAGE); page < to; page += PAGE) {
        const first = firstWord(words, page);
        if (first < 0) continue;
        for (const candidates of found) lookAt(candidates, words, page, base, to);
      }
    }
    done += end - start;
    onProgress?.(done, total);
  }
  return { candidates: found, marks };
}

interface Piece {
  readonly start: number;
  end: number;
  /** Whether it is known to be zero: then it may be longer than a piece is. */
  zero: boolean;
}

/**
 * What is present, ascending, in pieces none of which goes across a multiple of {@link PIECE}. (Part of a root may be zero, so where
 * zeros begin, no piece ends that has other bytes.)
 */
function* piecesOf(map: PhysicalMap): Generator<Piece, void, void> {
  let piece: Piece | undefined;
  for (const { start, end, state, zero = false } of map.ranges()) {
    if (state !== "present") continue;
    if (piece !== undefined && piece.end !== start) {
      yield piece;
      piece = undefined;
    }
    for (let at = start; at < end; ) {
      piece ??= { start: at, end: at, zero };
      const wholly = zero && piece.start === at && at % PIECE === 0 ? end - (end % PIECE) : at;
      const limit: number = Math.max(wholly, piece.start - (piece.start % PIECE) + PIECE);
      at = Math.min(end, limit);
      piece.end = at;
      piece.zero &&= zero;
      if (at === limit) {
        yield piece;
        piece = undefined;
      }
    }
  }
  if (piece !== undefined) yield piece;
}

/** Index of the first word of a page that is not 0, or -1. */
function firstWord(words: Uint32Array, page: number): number {
  const end = (page + PAGE) >>> 2;
  for (let i = page >>> 2; i < end; i++) if (words[i] !== 0) return i;
  return -1;
}

/** Tries every place in a page where a root of this format may begin. */
function lookAt(
  candidates: RootCandidates,
  words: Uint32Array,
  page: number,
  base: number,
  end: number,
): void {
  const { shape } = candidates;
  const { align, bytes } = shape;
  if (align >= PAGE) {
    const address = base + page;
    if (address % align !== 0 || page + bytes > end) return;
    if (shape.fits(words, page >>> 2, address)) candidates.push(address);
    return;
  }
  for (let at = page; at < page + PAGE && at + bytes <= end; at += align) {
    if (shape.fits(words, at >>> 2, base + at)) candidates.push(base + at);
  }
}

function findMarks(
  bytes: Uint8Array,
  words: Uint32Array,
  base: number,
  landmarks: readonly Landmark[],
  marks: Mark[],
): void {
  for (const { name, text } of landmarks) {
    const first =
      text.charCodeAt(0) |
      (text.charCodeAt(1) << 8) |
      (text.charCodeAt(2) << 16) |
      (text.charCodeAt(3) << 24);
    for (let at = words.indexOf(first >>> 0); at >= 0; at = words.indexOf(first >>> 0, at + 1)) {
      if (marks.length === MAX_MARKS) return;
      let i = 4;
      while (i < text.length && bytes[4 * at + i] === text.charCodeAt(i)) i++;
      if (i === text.length) marks.push({ name, physical: base + 4 * at });
    }
  }
}

/** What of the addresses is RAM, read or left out: merged ranges, looked up by halving. */
class RamRanges {
  readonly #starts: number[] = [];
  readonly #ends: number[] = [];
  #last = 0;

  constructor(map: PhysicalMap) {
    for (const { start, end } of map.ranges()) {
      const last = this.#ends.length - 1;
      if (last >= 0 && this.#ends[last] === start) this.#ends[last] = end;
      else if (last + 1 < MAX_RANGES) {
        this.#starts.push(start);
        this.#ends.push(end);
      }
    }
  }

  has(address: number): boolean {
    const starts = this.#starts;
    const ends = this.#ends;
    let i = this.#last;
    if (address >= (starts[i] ?? Number.POSITIVE_INFINITY) && address < (ends[i] as number)) return true;
    let low = 0;
    let high = starts.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((ends[middle] as number) <= address) low = middle + 1;
      else high = middle;
    }
    i = low;
    if (i >= starts.length || address < (starts[i] as number)) return false;
    this.#last = i;
    return true;
  }
}
