/**
 * Page bitmaps of dumps: bit tests, ranks and runs. Page numbers are doubles: a dump may have more than 2^32.
 *
 * Two levels, so that memory goes with what is marked, not with what could be: a chunk of 32,768 pages is empty, full,
 * a list of a few pages, or bits (as roaring bitmaps have it).
 */

/** Pages of a chunk. */
const CHUNK = 32_768;
const CHUNK_WORDS = CHUNK / 32;
/** Pages that a count of ranks covers, in chunks of bits. */
const RANK_BITS = 512;
const RANKS = CHUNK / RANK_BITS;
/** Pages of a chunk that are listed at most: a list is then half as long as the bits. */
const MAX_LISTED = 1024;
/** Chunks of bits that one allocation serves. */
const SLAB_CHUNKS = 256;

const EMPTY = 0;
const FULL = 1;
const LIST = 2;
const BITS = 3;

/** A bitmap of pages. Made by a {@link PageBitmapBuilder}. */
export class PageBitmap {
  /** Pages from here on are not in the bitmap. */
  readonly length: number;
  /** Set bits in all. */
  readonly count: number;
  // One row a chunk: what it is, where its list or its bits begin, and the set bits before it.
  readonly #kinds: Uint8Array;
  readonly #places: Uint32Array;
  readonly #ranks: Float64Array;
  /** Pages of chunks that are listed, relative to their chunks. */
  readonly #listed: Uint16Array;
  readonly #bits: ChunkBits;

  /** @internal */
  constructor(
    length: number,
    kinds: Uint8Array,
    places: Uint32Array,
    ranks: Float64Array,
    listed: Uint16Array,
    bits: ChunkBits,
  ) {
    this.length = length;
    this.count = ranks[kinds.length] as number;
    this.#kinds = kinds;
    this.#places = places;
    this.#ranks = ranks;
    this.#listed = listed;
    this.#bits = bits;
  }

  /** Whether the bit of a page is set; `false` out of bounds. */
  has(page: number): boolean {
    if (page >= this.length) return false;
    const chunk = Math.floor(page / CHUNK);
    const kind = this.#kinds[chunk] as number;
    if (kind === EMPTY) return false;
    if (kind === FULL) return true;
    const at = page % CHUNK;
    if (kind === BITS) return this.#bits.has(this.#places[chunk] as number, at);
    const i = this.#indexIn(chunk, at);
    return i < this.#listEnd(chunk) && this.#listed[i] === at;
  }

  /** Set bits before `page`, which must be in bounds. */
  rank(page: number): number {
    const chunk = Math.floor(page / CHUNK);
    const before = this.#ranks[chunk] as number;
    const kind = this.#kinds[chunk] as number;
    if (kind === EMPTY) return before;
    const at = page % CHUNK;
    if (kind === FULL) return before + at;
    const place = this.#places[chunk] as number;
    return before + (kind === BITS ? this.#bits.rank(place, at) : this.#indexIn(chunk, at) - place);
  }

  /** The page whose rank is `rank`, below `count`. */
  select(rank: number): number {
    let low = 0;
    let high = this.#kinds.length;
    while (high - low > 1) {
      const middle = (low + high) >>> 1;
      if ((this.#ranks[middle] as number) <= rank) low = middle;
      else high = middle;
    }
    const left = rank - (this.#ranks[low] as number);
    const kind = this.#kinds[low] as number;
    const place = this.#places[low] as number;
    const at =
      kind === FULL
        ? left
        : kind === LIST
          ? (this.#listed[place + left] as number)
          : this.#bits.select(place, left);
    return low * CHUNK + at;
  }

  /**
   * The first page after `page` whose bit is not as that of `page`; `limit` if none is before that. Looks no further
   * than `limit`: a long run of one bitmap must not be searched again for each short run of another.
   */
  runEnd(page: number, limit = this.length): number {
    const end = Math.min(limit, this.length);
    return this.has(page) ? this.#nextClear(page + 1, end) : this.#nextSet(page + 1, end);
  }

  #nextSet(page: number, end: number): number {
    let at = page;
    while (at < end) {
      const chunk = Math.floor(at / CHUNK);
      const start = chunk * CHUNK;
      const kind = this.#kinds[chunk] as number;
      let found = CHUNK;
      if (kind === FULL) {
        found = at - start;
      } else if (kind === LIST) {
        const i = this.#indexIn(chunk, at - start);
        if (i < this.#listEnd(chunk)) found = this.#listed[i] as number;
      } else if (kind === BITS) {
        found = this.#bits.next(this.#places[chunk] as number, at - start, 0);
      }
      if (found < CHUNK) return Math.min(end, start + found);
      at = start + CHUNK;
    }
    return end;
  }

  #nextClear(page: number, end: number): number {
    let at = page;
    while (at < end) {
      const chunk = Math.floor(at / CHUNK);
      const start = chunk * CHUNK;
      const kind = this.#kinds[chunk] as number;
      let found = CHUNK;
      if (kind === EMPTY) {
        found = at - start;
      } else if (kind === LIST) {
        found = at - start;
        const last = this.#listEnd(chunk);
        for (let i = this.#indexIn(chunk, found); i < last && this.#listed[i] === found; i++) found++;
      } else if (kind === BITS) {
        found = this.#bits.next(this.#places[chunk] as number, at - start, 0xffffffff);
      }
      if (found < CHUNK) return Math.min(end, start + found);
      at = start + CHUNK;
    }
    return end;
  }

  /** Set bits that are clear in a bitmap of the same length. */
  countWithout(other: PageBitmap): number {
    let count = 0;
    for (let chunk = 0; chunk < this.#kinds.length; chunk++) {
      const kind = this.#kinds[chunk] as number;
      if (kind === EMPTY) continue;
      const mine = (this.#ranks[chunk + 1] as number) - (this.#ranks[chunk] as number);
      const theirs = (other.#ranks[chunk + 1] as number) - (other.#ranks[chunk] as number);
      if (theirs === 0) count += mine;
      else if (kind === FULL) count += mine - theirs;
      else count += this.#countChunkWithout(chunk, other);
    }
    return count;
  }

  #countChunkWithout(chunk: number, other: PageBitmap): number {
    const end = Math.min(this.length, (chunk + 1) * CHUNK);
    let count = 0;
    let page = chunk * CHUNK;
    if (!this.has(page)) page = this.#nextSet(page + 1, end);
    while (page < end) {
      const stop = this.#nextClear(page + 1, end);
      count += stop - page - ((stop === this.length ? other.count : other.rank(stop)) - other.rank(page));
      page = this.#nextSet(stop, end);
    }
    return count;
  }

  /** Whether the same bits are set, in bitmaps of one length. */
  equals(other: PageBitmap): boolean {
    return this.length === other.length && this.count === other.count && this.countWithout(other) === 0;
  }

  /** Index in `#listed` of the first page of a chunk at or behind `at`. */
  #indexIn(chunk: number, at: number): number {
    let low = this.#places[chunk] as number;
    let high = this.#listEnd(chunk);
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#listed[middle] as number) < at) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #listEnd(chunk: number): number {
    const listed = (this.#ranks[chunk + 1] as number) - (this.#ranks[chunk] as number);
    return (this.#places[chunk] as number) + listed;
  }
}

/** The chunks that are bits, in slabs; `place` counts chunks. */
class ChunkBits {
  readonly #slabs: Uint32Array[] = [];
  /** Set bits of the chunk before each `RANK_BITS`. */
  readonly #ranks: Uint16Array[] = [];
  #length = 0;

  /** Adds a chunk. @returns its place. */
  push(words: Uint32Array): number {
    const place = this.#length++;
    const at = place % SLAB_CHUNKS;
    if (at === 0) {
      this.#slabs.push(new Uint32Array(SLAB_CHUNKS * CHUNK_WORDS));
      this.#ranks.push(new Uint16Array(SLAB_CHUNKS * RANKS));
    }
    (this.#slabs[this.#slabs.length - 1] as Uint32Array).set(words, at * CHUNK_WORDS);
    const ranks = this.#ranks[this.#ranks.length - 1] as Uint16Array;
    let count = 0;
    for (let i = 0; i < CHUNK_WORDS; i++) {
      if (i % (RANK_BITS / 32) === 0) ranks[at * RANKS + i / (RANK_BITS / 32)] = count;
      count += bitsIn(words[i] as number);
    }
    return place;
  }

  has(place: number, at: number): boolean {
    const words = this.#slabs[Math.floor(place / SLAB_CHUNKS)] as Uint32Array;
    const word = words[(place % SLAB_CHUNKS) * CHUNK_WORDS + (at >>> 5)] as number;
    return ((word >>> (at & 31)) & 1) !== 0;
  }

  rank(place: number, at: number): number {
    const slab = Math.floor(place / SLAB_CHUNKS);
    const words = this.#slabs[slab] as Uint32Array;
    const first = (place % SLAB_CHUNKS) * CHUNK_WORDS;
    const group = Math.floor(at / RANK_BITS);
    const last = at >>> 5;
    let count = (this.#ranks[slab] as Uint16Array)[(place % SLAB_CHUNKS) * RANKS + group] as number;
    for (let i = group * (RANK_BITS / 32); i < last; i++) count += bitsIn(words[first + i] as number);
    const below = at & 31;
    return below === 0 ? count : count + bitsIn((words[first + last] as number) << (32 - below));
  }

  select(place: number, rank: number): number {
    let low = 0;
    let high = CHUNK;
    while (high - low > 1) {
      const middle = (low + high) >>> 1;
      if (this.rank(place, middle) <= rank) low = middle;
      else high = middle;
    }
    return low;
  }

  /** The first bit from `from` on that is set (`flip` 0) or clear (all ones); `CHUNK` if there is none. */
  next(place: number, from: number, flip: number): number {
    const words = this.#slabs[Math.floor(place / SLAB_CHUNKS)] as Uint32Array;
    const first = (place % SLAB_CHUNKS) * CHUNK_WORDS;
    let i = from >>> 5;
    let word = ((words[first + i] as number) ^ flip) & (0xffffffff << (from & 31));
    for (;;) {
      if (word !== 0) return i * 32 + 31 - Math.clz32(word & -word);
      if (++i === CHUNK_WORDS) return CHUNK;
      word = (words[first + i] as number) ^ flip;
    }
  }
}

/** Pages from `start` to `end` (exclusive). */
export interface PageWindow {
  readonly start: number;
  readonly end: number;
}

/** Makes a {@link PageBitmap}: of the bytes of one, piece by piece, or of ascending pages. */
export class PageBitmapBuilder {
  readonly #length: number;
  readonly #windows: readonly PageWindow[] | undefined;
  readonly #kinds: Uint8Array;
  readonly #places: Uint32Array;
  readonly #ranks: Float64Array;
  #listed = new Uint16Array(256);
  #listedLength = 0;
  readonly #bits = new ChunkBits();
  /** The chunk under way, and which one that is. */
  readonly #words = new Uint32Array(CHUNK_WORDS);
  readonly #bytes = new Uint8Array(this.#words.buffer);
  #chunk = 0;
  /** Bytes that were pushed. */
  #pushed = 0;

  /** @param windows Ascending and disjoint: bits outside count as clear. */
  constructor(length: number, windows?: readonly PageWindow[]) {
    const chunks = Math.ceil(length / CHUNK);
    this.#length = length;
    this.#windows = windows;
    this.#kinds = new Uint8Array(chunks);
    this.#places = new Uint32Array(chunks);
    this.#ranks = new Float64Array(chunks + 1);
  }

  /** Adds the next bytes, least significant bit first; what lies beyond the bitmap's length is ignored. */
  push(bytes: Uint8Array): void {
    const end = Math.ceil(this.#length / 8);
    for (let at = 0; at < bytes.length && this.#pushed < end; ) {
      this.#goTo(Math.floor(this.#pushed / (CHUNK / 8)));
      const start = this.#pushed % (CHUNK / 8);
      const length = Math.min(CHUNK / 8 - start, bytes.length - at, end - this.#pushed);
      this.#bytes.set(bytes.subarray(at, at + length), start);
      at += length;
      this.#pushed += length;
    }
  }

  /** Marks a page; none before it may come later. */
  set(page: number): void {
    this.#goTo(Math.floor(page / CHUNK));
    const at = page % CHUNK;
    (this.#words[at >>> 5] as number) |= 1 << (at & 31);
  }

  build(): PageBitmap {
    this.#goTo(this.#kinds.length);
    return new PageBitmap(
      this.#length,
      this.#kinds,
      this.#places,
      this.#ranks,
      this.#listed.slice(0, this.#listedLength),
      this.#bits,
    );
  }

  #goTo(chunk: number): void {
    while (this.#chunk < chunk) {
      this.#finishChunk();
      this.#chunk++;
    }
  }

  #finishChunk(): void {
    const chunk = this.#chunk;
    const words = this.#words;
    const start = chunk * CHUNK;
    let outside = 0;
    if (this.#windows !== undefined) {
      for (const window of this.#windows) {
        this.#clear(outside, window.start - start);
        outside = Math.max(0, window.end - start);
      }
      this.#clear(outside, CHUNK);
    }
    this.#clear(this.#length - start, CHUNK);
    let count = 0;
    for (let i = 0; i < CHUNK_WORDS; i++) {
      const word = words[i] as number;
      if (word !== 0) count += bitsIn(word);
    }
    this.#ranks[chunk + 1] = (this.#ranks[chunk] as number) + count;
    if (count === 0) return;
    if (count === CHUNK) {
      this.#kinds[chunk] = FULL;
    } else if (count <= MAX_LISTED) {
      this.#kinds[chunk] = LIST;
      this.#places[chunk] = this.#listedLength;
      this.#list(count);
    } else {
      this.#kinds[chunk] = BITS;
      this.#places[chunk] = this.#bits.push(words);
    }
    words.fill(0);
  }

  #list(count: number): void {
    if (this.#listedLength + count > this.#listed.length) {
      const listed = new Uint16Array(Math.max(2 * this.#listed.length, this.#listedLength + count));
      listed.set(this.#listed);
      this.#listed = listed;
    }
    for (let i = 0; i < CHUNK_WORDS; i++) {
      for (let word = this.#words[i] as number; word !== 0; word &= word - 1) {
        this.#listed[this.#listedLength++] = i * 32 + 31 - Math.clz32(word & -word);
      }
    }
  }

  /** Clears the chunk's bits from `from` to `to`, as far as they are in it. */
  #clear(from: number, to: number): void {
    const first = Math.max(0, from);
    const last = Math.min(CHUNK, to);
    for (let at = first; at < last; ) {
      if (at % 32 === 0 && last - at >= 32) {
        this.#words[at / 32] = 0;
        at += 32;
      } else {
        (this.#words[at >>> 5] as number) &= ~(1 << (at & 31));
        at++;
      }
    }
  }
}

function bitsIn(word: number): number {
  let n = word - ((word >>> 1) & 0x55555555);
  n = (n & 0x33333333) + ((n >>> 2) & 0x33333333);
  return Math.imul((n + (n >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}
