/**
 * Writers of entries for random tables: the opposite direction to the decoders, from the same manuals (named in
 * x86.ts, ept.ts, riscv.ts, aarch64.ts). They put down fields and random values of what is free; whether the result
 * means what the writer meant is the decoders' business, so a wrong writer makes dull tests, not wrong ones.
 */

/** How an entry is to be written. */
export interface EntryWish {
  readonly level: number;
  readonly target: bigint;
  /** Random bits for everything that is free. */
  readonly free: bigint;
  /** Grants every right, so that those of other levels show. */
  readonly generous: boolean;
}

export interface EntryWriter {
  /** Levels at which a page may be. */
  readonly pageLevels: readonly number[];
  /** Bits (some) that are zero in an entry that is not present. */
  readonly absentMask: bigint;
  /** Bits that matter more than others when one is turned over. */
  readonly delicate: readonly number[];
  /**
   * Not written: the core takes it for another entry. (Of its results only `entry` would differ, for which 64 bits have no
   * room; see `RISCV_FORM`.)
   */
  readonly isLookalike?: (entry: bigint) => boolean;
  /** Bits of a page's size at a level. */
  sizeBits(level: number): number;
  table(wish: EntryWish): bigint;
  /** `target` may be misaligned, the level one that has no pages: a malformed entry then. */
  page(wish: EntryWish): bigint;
}

const mask = (high: number, low: number): bigint => ((1n << BigInt(high - low + 1)) - 1n) << BigInt(low);
const one = (n: number): bigint => 1n << BigInt(n);

/** Puts free bits under a mask; if generous, the bits that grant are set and those that take are cleared. */
function fill(wish: EntryWish, free: bigint, granting: bigint, taking = 0n): bigint {
  const value = wish.free & (free | granting | taking);
  return wish.generous ? (value | granting) & ~taking : value;
}

const nine = (level: number): number => 12 + 9 * (level - 1);

export const writeX86_32: EntryWriter = {
  pageLevels: [1, 2],
  absentMask: ~1n,
  delicate: [0, 7, 12, 13, 20, 21, 22],
  sizeBits: (level) => (level === 1 ? 12 : 22),
  table: (wish) => (wish.target & mask(31, 12)) | fill(wish, mask(11, 8) | mask(5, 3), 6n) | 1n,
  page: (wish) => {
    const free = mask(11, 8) | mask(6, 3);
    if (wish.level === 1) return (wish.target & mask(31, 12)) | fill(wish, free | one(7), 6n) | 1n;
    const high = ((wish.target >> 32n) & 0xffn) << 13n;
    return (wish.target & mask(31, 22)) | high | fill(wish, free | one(12), 6n) | 0x81n;
  },
};

export const writePae: EntryWriter = {
  pageLevels: [1, 2],
  absentMask: ~1n,
  delicate: [0, 1, 2, 5, 7, 8, 12, 13, 20, 21, 52, 58, 62, 63],
  sizeBits: nine,
  table: (wish) => {
    const address = wish.target & mask(51, 12);
    if (wish.level === 3) return address | fill(wish, mask(11, 9) | mask(4, 3), 0n) | 1n;
    return address | fill(wish, mask(11, 8) | mask(5, 3), 6n, one(63)) | 1n;
  },
  page: (wish) => {
    const pat = wish.level === 1 ? one(7) : one(12);
    const bits = fill(wish, mask(11, 8) | mask(6, 3) | pat, 6n, one(63));
    return (wish.target & mask(51, 12)) | bits | (wish.level === 1 ? 1n : 0x81n);
  },
};

export const writeX86_64 = (levels: number): EntryWriter => ({
  pageLevels: [1, 2, 3],
  absentMask: ~1n,
  delicate: [0, 7, 8, 12, 13, 20, 21, 29, 30, 51, 52, 58, 59, 63],
  sizeBits: nine,
  table: (wish) => {
    const free = mask(62, 52) | mask(11, 8) | mask(5, 3);
    return (wish.target & mask(51, 12)) | fill(wish, free, 6n, one(63)) | 1n;
  },
  page: (wish) => {
    const pat = wish.level === 1 ? one(7) : wish.level < levels ? one(12) : 0n;
    const bits = fill(wish, mask(62, 52) | mask(11, 8) | mask(6, 3) | pat, 6n, one(63));
    return (wish.target & mask(51, 12)) | bits | (wish.level === 1 ? 1n : 0x81n);
  },
});

/** Write-back, uncacheable, write-combining, write-through, write-protected. */
const EPT_MEMORY_TYPES = [6n, 0n, 1n, 4n, 5n];

export const writeEpt: EntryWriter = {
  pageLevels: [1, 2, 3],
  absentMask: ~7n,
  delicate: [0, 1, 2, 3, 4, 5, 6, 7, 10, 12, 20, 21, 29, 30, 51, 52, 63],
  sizeBits: nine,
  table: (wish) => (wish.target & mask(51, 12)) | fill(wish, mask(63, 52) | mask(11, 8), 7n) | 1n,
  page: (wish) => {
    const type = EPT_MEMORY_TYPES[Number((wish.free >> 20n) % 5n)] as bigint;
    const bits = fill(wish, mask(63, 52) | mask(11, 8) | one(6) | (wish.level === 1 ? one(7) : 0n), 7n);
    // Execute-only now and then; write-only never (that is malformed, and comes by turning bits over).
    const read = (bits & 7n) === 4n ? 0n : 1n;
    return (wish.target & mask(51, 12)) | bits | (type << 3n) | read | (wish.level === 1 ? 0n : 0x80n);
  },
};

/** Bits 58:50, all of them reserved or too high for an address. */
const RISCV_RESERVED = mask(58, 50);

export const writeRiscv: EntryWriter = {
  isLookalike: (entry) => (entry & (RISCV_RESERVED | one(63))) === RISCV_RESERVED,
  pageLevels: [1, 2, 3, 4, 5],
  absentMask: ~1n,
  delicate: [0, 1, 2, 3, 4, 6, 7, 10, 13, 14, 19, 28, 53, 54, 58, 59, 60, 61, 62, 63],
  sizeBits: nine,
  table: (wish) => ((wish.target >> 12n) << 10n) | (wish.free & (mask(60, 59) | mask(9, 8) | one(5))) | 1n,
  page: (wish) => {
    const type = (wish.free >> 20n) % 3n;
    let bits = fill(wish, mask(60, 59) | mask(9, 5), mask(4, 1)) | (type << 61n) | 1n;
    if ((bits & 6n) === 4n || (bits & 14n) === 0n) bits |= 2n;
    const napot = wish.level === 1 && ((wish.free >> 24n) & 3n) === 0n;
    if (!napot) return ((wish.target >> 12n) << 10n) | bits;
    return ((wish.target >> 16n) << 14n) | (0b1000n << 10n) | one(63) | bits;
  },
};

export function writeAArch64(granule: 4096 | 16384 | 65536, large: boolean): EntryWriter {
  const page = { 4096: 12, 16384: 14, 65536: 16 }[granule];
  const place = (target: bigint): bigint => {
    if (!large) return target & mask(47, page);
    if (granule === 65536) return (target & mask(47, 16)) | ((target >> 48n) << 12n);
    return (target & mask(49, page)) | ((target >> 50n) << 8n);
  };
  /** Bits 9:8 hold address bits with LPA2, else the shareability. */
  const share = large && granule !== 65536 ? 0n : mask(9, 8);
  const pageLevels = [1, 2];
  if (granule === 4096 || large) pageLevels.push(3);
  if (granule === 4096 && large) pageLevels.push(4);
  return {
    pageLevels,
    absentMask: ~1n,
    delicate: [
      0, 1, 1, 1, 6, 7, 8, 9, 11, 12, 13, 15, 16, 21, 29, 48, 49, 50, 51, 52, 53, 54, 59, 60, 61, 62, 63,
    ],
    sizeBits: (level) => page + (page - 3) * (level - 1),
    table: (wish) =>
      place(wish.target) |
      fill(wish, mask(58, 52) | mask(11, 10) | mask(7, 2) | share, 0n, mask(62, 59)) |
      3n,
    page: (wish) => {
      const free = mask(63, 55) | mask(52, 51) | mask(11, 10) | mask(5, 2) | share;
      const bits = fill(wish, free, one(6), mask(54, 53) | one(7));
      return place(wish.target) | bits | (wish.level === 1 ? 3n : 1n);
    },
  };
}
