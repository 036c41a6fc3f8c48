/** Page bitmaps of dumps: bit tests, ranks and runs. Page numbers are doubles: a dump may have more than 2^32. */

/** Bits a count of ranks covers. */
const RANK_BITS = 512;

/** A bitmap of pages, least significant bit first, of which some bits may be out of bounds. */
export class PageBitmap {
  readonly #words: Uint32Array;
  /** Pages from here on are not in the bitmap. */
  readonly length: number;
  /** Set bits before each group of `RANK_BITS`. */
  readonly #ranks: Float64Array;
  /** Set bits in all. */
  readonly count: number;

  /** @param bytes Copied; bits before `from`, and from `to` on, count as clear. */
  constructor(bytes: Uint8Array, length: number, from = 0, to = length) {
    const groups = Math.ceil(length / RANK_BITS);
    this.length = length;
    this.#words = new Uint32Array(groups * (RANK_BITS / 32));
    const copy = new Uint8Array(this.#words.buffer);
    copy.set(bytes.subarray(0, Math.min(bytes.length, Math.ceil(length / 8))));
    clear(copy, 0, Math.min(from, length));
    clear(copy, Math.min(to, length), copy.length * 8);
    this.#ranks = new Float64Array(groups + 1);
    let count = 0;
    for (let group = 0; group < groups; group++) {
      this.#ranks[group] = count;
      const first = group * (RANK_BITS / 32);
      for (let i = first; i < first + RANK_BITS / 32; i++) count += bitsIn(this.#words[i] as number);
    }
    this.#ranks[groups] = count;
    this.count = count;
  }

  /** Whether the bit of a page is set; `false` out of bounds. */
  has(page: number): boolean {
    if (page >= this.length) return false;
    const word = this.#words[Math.floor(page / 32)] as number;
    return ((word >>> (page % 32)) & 1) !== 0;
  }

  /** Set bits before `page`, which must be in bounds. */
  rank(page: number): number {
    const group = Math.floor(page / RANK_BITS);
    const last = Math.floor(page / 32);
    let count = this.#ranks[group] as number;
    for (let i = group * (RANK_BITS / 32); i < last; i++) count += bitsIn(this.#words[i] as number);
    const below = page % 32;
    return below === 0 ? count : count + bitsIn((this.#words[last] as number) << (32 - below));
  }

  /** The page whose rank is `rank`, below `count`. */
  select(rank: number): number {
    let low = 0;
    let high = this.#ranks.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >>> 1;
      if ((this.#ranks[middle] as number) <= rank) low = middle;
      else high = middle;
    }
    let page = low * RANK_BITS;
    let left = rank - (this.#ranks[low] as number);
    for (;;) {
      if (this.has(page)) {
        if (left === 0) return page;
        left--;
      }
      page++;
    }
  }

  /**
   * The first page after `page` whose bit is not as that of `page`; `limit` if none is before that. Looks no further
   * than `limit`: a long run of one bitmap must not be searched again for each short run of another.
   */
  runEnd(page: number, limit = this.length): number {
    const set = this.has(page);
    const all = set ? 0xffffffff : 0;
    const end = Math.min(limit, this.length);
    let at = page + 1;
    while (at < end) {
      if (at % 32 === 0 && this.#words[at / 32] === all) at += 32;
      else if (this.has(at) === set) at++;
      else return at;
    }
    return end;
  }

  /** Whether the same bits are set, in bitmaps of one length. */
  equals(other: PageBitmap): boolean {
    if (this.count !== other.count || this.length !== other.length) return false;
    for (let i = 0; i < this.#words.length; i++) {
      if (this.#words[i] !== other.#words[i]) return false;
    }
    return true;
  }
}

function clear(bytes: Uint8Array, from: number, to: number): void {
  const first = Math.floor(from / 8);
  const last = Math.floor(to / 8);
  const keepBelow = (1 << (from % 8)) - 1;
  const keepAbove = 0xff & ~((1 << (to % 8)) - 1);
  if (first === last) {
    if (first < bytes.length) (bytes[first] as number) &= keepBelow | keepAbove;
    return;
  }
  (bytes[first] as number) &= keepBelow;
  bytes.fill(0, first + 1, last);
  if (last < bytes.length) (bytes[last] as number) &= keepAbove;
}

function bitsIn(word: number): number {
  let n = word - ((word >>> 1) & 0x55555555);
  n = (n & 0x33333333) + ((n >>> 2) & 0x33333333);
  return Math.imul((n + (n >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}
