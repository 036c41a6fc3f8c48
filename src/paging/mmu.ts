/**
 * A page-table format as data, and its compiled form: flat arrays by level for the one walker (`walk.hot.ts`).
 *
 * Levels count from the last table up: level 1 is the last table (x86-64: PT), `levels` the root (PML4).
 */

/** Bits `first` to `last` (inclusive) of an entry. */
export type BitRange = readonly [first: number, last: number];

/** One bit of an entry that grants a right, when it is set or when it is clear. */
export interface RightBit {
  readonly bit: number;
  readonly grants: "set" | "clear";
}

/** Bits that must be 0 in entries of one level; one that is set makes the entry `malformed`. */
export interface ReservedBits {
  readonly level: number;
  /** Entries that point to a table, or that map memory. */
  readonly of: "table" | "leaf";
  readonly bits: BitRange;
}

/** A page-table format. Adding one means writing one of these. */
export interface MmuDef {
  /** Short, for messages: `x86-64`. */
  readonly name: string;
  /** Bits of a virtual address by use, root index first; the last is the byte in the smallest page. */
  readonly splits: readonly number[];
  /** What an entry of each level is called, root first. */
  readonly entryNames: readonly string[];
  /** Bytes of an entry; read as two 32-bit words. */
  readonly entryBytes: 8;
  /** What the bits above the translated ones must be: copies of the highest translated one, zeros, or ones. */
  readonly canonical: "sign-extended" | "zeros" | "ones";
  /** An entry is present if any of these bits is set. Bits 0 to 31 only. */
  readonly presentBits: readonly number[];
  /** Levels whose entries may map memory. Entries of level 1 always do. */
  readonly leafLevels: readonly number[];
  /** What tells a leaf from a table above level 1: any of these bits (0 to 31) set, or all clear. */
  readonly large: { readonly bits: readonly number[]; readonly means: "set" | "clear" };
  /** Where the physical address lies in an entry, at its own bit positions; a leaf uses those above its page size. */
  readonly pfnBits: BitRange;
  /** Rights; each must be granted by the entries of all levels. */
  readonly writable: RightBit;
  readonly user: RightBit;
  readonly executable: RightBit;
  /** In a leaf: the translation outlives a change of root. */
  readonly global: RightBit;
  readonly reserved: readonly ReservedBits[];
}

/** Bit of a `rights` value: the mapping may be written to. */
export const WRITABLE = 1;
/** Bit of a `rights` value: it is reachable from user mode. */
export const USER = 2;
/** Bit of a `rights` value: it may be executed. */
export const EXECUTABLE = 4;
/** Bit of a `rights` value: the translation outlives a change of root. */
export const GLOBAL = 8;
/** Every right: what a walk begins with. */
export const ALL_RIGHTS = WRITABLE | USER | EXECUTABLE | GLOBAL;

/** Levels that a fault's detail can carry. */
const MAX_LEVELS = 7;

/** See {@link compileMmu}. Arrays are indexed by level; entry 0 is unused. Masks come as pairs of 32-bit words. */
export interface CompiledMmu {
  readonly def: MmuDef;
  readonly name: string;
  /** Number of levels; that of the root. */
  readonly levels: number;
  /** log2 of the smallest page. */
  readonly pageShift: number;
  /** Entries of a table (of the largest, where levels differ). */
  readonly tableEntries: number;
  /** log2 of that. */
  readonly tableShift: number;
  readonly tableWords: number;
  readonly tableBytes: number;
  /** log2 of the bytes that an entry covers. */
  readonly shift: Int32Array;
  /** Bytes that an entry covers. */
  readonly size: Float64Array;
  /** The same in smallest pages. */
  readonly pages: Float64Array;
  /** Smallest pages in 4 GiB: what a page number is divided by for the high word of its address. */
  readonly pagesIn4GiB: number;
  /** index = (lo >>> loShift & loMask) | (hi >>> hiShift << hiLeft & hiMask) */
  readonly loShift: Int32Array;
  readonly loMask: Int32Array;
  readonly hiShift: Int32Array;
  readonly hiLeft: Int32Array;
  readonly hiMask: Int32Array;
  /** Offset of an address in what an entry covers. */
  readonly offsetLo: Int32Array;
  readonly offsetHi: Int32Array;
  readonly presentMask: number;
  /** An entry is a leaf if ((entryLo & leafMask) !== 0) differs from leafInvert (0 or 1). */
  readonly leafMask: Int32Array;
  readonly leafInvert: Int32Array;
  readonly tableReservedLo: Int32Array;
  readonly tableReservedHi: Int32Array;
  readonly leafReservedLo: Int32Array;
  readonly leafReservedHi: Int32Array;
  readonly tableAddressLo: number;
  readonly tableAddressHi: number;
  readonly leafAddressLo: Int32Array;
  readonly leafAddressHi: Int32Array;
  /** rights = grants[entry's low 12 bits] & grants[4096 | its high 12 bits]: no shift by a variable. */
  readonly grants: Uint8Array;
  /**
   * The last three levels are as every 64-bit format with pages of 4 KiB has them: nine bits of index each, leaves of
   * 4 KiB, 2 MiB and 1 GiB; and an entry of level 1 has no reserved bits. What follows links for one address is made for
   * these (shifts by constants).
   */
  readonly fineGranule: boolean;
  /** An address is canonical if (hi >>> canonicalShift) is one of these two. */
  readonly canonicalShift: number;
  readonly canonicalLow: number;
  readonly canonicalHigh: number;
  /** Added to a page number whose root index lies in the upper half: sign extension, in pages. */
  readonly extendPages: number;
  /** First root index that is extended; the number of root entries if none is. */
  readonly extendFrom: number;
}

/** The words of a mask over bits `first` to `last`, inclusive. */
function maskOf(first: number, last: number): { lo: number; hi: number } {
  let lo = 0;
  let hi = 0;
  for (let bit = first; bit <= last; bit++) {
    if (bit < 32) lo |= 1 << bit;
    else hi |= 1 << (bit - 32);
  }
  return { lo, hi };
}

/** Low `bits` bits set, as a signed word. */
function lowMask(bits: number): number {
  return bits <= 0 ? 0 : bits >= 32 ? -1 : 2 ** bits - 1;
}

/** The mask of single bits below 32. */
function bitMask(bits: readonly number[], what: string): number {
  let mask = 0;
  for (const bit of bits) {
    if (!(bit >= 0 && bit < 32))
      throw new RangeError(`${what} bit ${bit}: must lie in the low word of an entry`);
    mask |= 1 << bit;
  }
  return mask;
}

/** Rights by the 12 bits below the physical address; then by the 12 above it. */
function compileGrants(def: MmuDef): Uint8Array {
  const grants = new Uint8Array(8192).fill(ALL_RIGHTS);
  [def.writable, def.user, def.executable, def.global].forEach(({ bit, grants: when }, i) => {
    if (!((bit >= 0 && bit < 12) || (bit >= 52 && bit < 64)))
      throw new RangeError(`${def.name}: bit ${bit} grants a right, and lies in the physical address`);
    const mask = bit < 12 ? 1 << bit : 1 << (bit - 52);
    const first = bit < 12 ? 0 : 4096;
    for (let key = 0; key < 4096; key++) {
      if (((key & mask) !== 0) !== (when === "set")) (grants[first + key] as number) &= ~(1 << i);
    }
  });
  return grants;
}

const compiled = new WeakMap<MmuDef, CompiledMmu>();

/**
 * The flat form of a format; compiled once for each definition.
 *
 * @throws {RangeError} for a definition that the walker can't represent.
 */
export function compileMmu(def: MmuDef): CompiledMmu {
  let mmu = compiled.get(def);
  if (mmu === undefined) {
    mmu = compile(def);
    compiled.set(def, mmu);
  }
  return mmu;
}

function compile(def: MmuDef): CompiledMmu {
  const levels = def.splits.length - 1;
  const pageShift = def.splits[levels] ?? 0;
  const addressBits = def.splits.reduce((sum, bits) => sum + bits, 0);
  if (!(levels >= 2 && levels <= MAX_LEVELS)) throw new RangeError(`${def.name}: ${levels} levels`);
  if (def.entryNames.length !== levels) throw new RangeError(`${def.name}: a name for each level is needed`);
  if (!(pageShift >= 12 && pageShift < 32))
    throw new RangeError(`${def.name}: pages of 2^${pageShift} bytes`);
  if (!(addressBits > 32 && addressBits <= 63))
    throw new RangeError(`${def.name}: ${addressBits} address bits`);
  // The walker's assumptions: the last index lies in the low word, and a physical address is exact in a double.
  if (pageShift + (def.splits[levels - 1] as number) >= 32 || def.pfnBits[1] > 51) {
    throw new RangeError(`${def.name}: tables or physical addresses that the walker can't represent`);
  }
  const indexBits = Math.max(...def.splits.slice(0, levels));
  const column = () => new Int32Array(levels + 1);
  const [pfnFirst, pfnLast] = def.pfnBits;
  const tableAddress = maskOf(pfnFirst, pfnLast);
  const top = 2 ** (64 - addressBits + (def.canonical === "sign-extended" ? 1 : 0)) - 1;
  const rootBits = def.splits[0] as number;
  const mmu = {
    def,
    name: def.name,
    levels,
    pageShift,
    tableEntries: 2 ** indexBits,
    tableShift: indexBits,
    tableWords: 2 ** indexBits * 2,
    tableBytes: 2 ** indexBits * def.entryBytes,
    shift: column(),
    size: new Float64Array(levels + 1),
    pages: new Float64Array(levels + 1),
    pagesIn4GiB: 2 ** (32 - pageShift),
    loShift: column(),
    loMask: column(),
    hiShift: column(),
    hiLeft: column(),
    hiMask: column(),
    offsetLo: column(),
    offsetHi: column(),
    presentMask: bitMask(def.presentBits, "present"),
    leafMask: column(),
    leafInvert: column(),
    tableReservedLo: column(),
    tableReservedHi: column(),
    leafReservedLo: column(),
    leafReservedHi: column(),
    tableAddressLo: tableAddress.lo,
    tableAddressHi: tableAddress.hi,
    leafAddressLo: column(),
    leafAddressHi: column(),
    grants: compileGrants(def),
    fineGranule:
      levels >= 3 &&
      indexBits === 9 &&
      pageShift === 12 &&
      def.splits.slice(-4, -1).every((bits) => bits === 9) &&
      !def.reserved.some(({ level, of }) => level === 1 && of === "leaf"),
    canonicalShift: addressBits - (def.canonical === "sign-extended" ? 33 : 32),
    canonicalLow: def.canonical === "ones" ? top : 0,
    canonicalHigh: def.canonical === "zeros" ? 0 : top,
    extendPages: 2 ** (64 - pageShift) - 2 ** (addressBits - pageShift),
    extendFrom:
      def.canonical === "ones" ? 0 : def.canonical === "zeros" ? 2 ** rootBits : 2 ** (rootBits - 1),
  };
  const largeMask = bitMask(def.large.bits, "large");
  let shift = addressBits;
  for (let level = levels; level >= 1; level--) {
    const bits = def.splits[levels - level] as number;
    shift -= bits;
    mmu.shift[level] = shift;
    mmu.size[level] = 2 ** shift;
    mmu.pages[level] = 2 ** (shift - pageShift);
    if (shift >= 32) {
      mmu.hiShift[level] = shift - 32;
      mmu.hiMask[level] = lowMask(bits);
    } else {
      const fromLow = Math.min(bits, 32 - shift);
      mmu.loShift[level] = shift;
      mmu.loMask[level] = lowMask(fromLow);
      mmu.hiLeft[level] = fromLow;
      mmu.hiMask[level] = lowMask(bits) & ~lowMask(fromLow);
    }
    mmu.offsetLo[level] = lowMask(shift);
    mmu.offsetHi[level] = lowMask(shift - 32);
    if (level === 1) {
      mmu.leafInvert[level] = 1;
    } else if (def.leafLevels.includes(level)) {
      mmu.leafMask[level] = largeMask;
      mmu.leafInvert[level] = def.large.means === "set" ? 0 : 1;
    }
    const address = maskOf(Math.max(pfnFirst, shift), pfnLast);
    mmu.leafAddressLo[level] = address.lo;
    mmu.leafAddressHi[level] = address.hi;
    for (const { level: reservedLevel, of, bits: reserved } of def.reserved) {
      if (reservedLevel !== level) continue;
      const { lo, hi } = maskOf(reserved[0], reserved[1]);
      if (of === "table") {
        (mmu.tableReservedLo[level] as number) |= lo;
        (mmu.tableReservedHi[level] as number) |= hi;
      } else {
        (mmu.leafReservedLo[level] as number) |= lo;
        (mmu.leafReservedHi[level] as number) |= hi;
      }
    }
  }
  return mmu;
}
