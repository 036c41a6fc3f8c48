/** A format in its compiled form: flat arrays by level for the one walker (`walk.hot.ts`). */
import { LEAF, MALFORMED, MISSING, NOT_PRESENT } from "./entry-kinds.js";
import type { BitRange, MmuDef, RightExclusion, RightRule } from "./mmu-def.js";
import {
  ALL_RIGHTS,
  GLOBAL,
  KERNEL_EXECUTABLE,
  READABLE,
  USER,
  USER_EXECUTABLE,
  WRITABLE,
} from "./rights.js";

/** Levels that a fault's detail can carry. */
const MAX_LEVELS = 7;
/** What an entry is, and what it grants, is told by this many of its low bits. */
const LOW_BITS = 12;
const LOW = 2 ** LOW_BITS;

/**
 * In `CompiledMmu.grants`, beside the rights: by these low bits, an entry of the last level maps memory. No right, so that
 * it is gone from what is combined with others.
 */
export const SOUND = 64;

/** See {@link compileMmu}. Arrays are indexed by level; entry 0 is unused. Masks come as pairs of 32-bit words. */
export interface CompiledMmu {
  readonly def: MmuDef;
  readonly name: string;
  /** Number of levels; that of the root. */
  readonly levels: number;
  /** Bits of an address that are translated. */
  readonly addressBits: number;
  /** log2 of the smallest page. */
  readonly pageShift: number;
  /** Entries of a table (of the largest, where levels differ). */
  readonly tableEntries: number;
  /** log2 of that. */
  readonly tableShift: number;
  /** Words of a table as the walker has it: two for each entry. */
  readonly tableWords: number;
  /** Bytes of the same. */
  readonly tableBytes: number;
  /** Bytes of a table as stored. */
  readonly storedBytes: number;
  /** Entries of the root. */
  readonly rootEntries: number;
  /** A root is read like any other table: it is one, as a whole. */
  readonly plainRoot: boolean;
  /** What a root must be a multiple of; of two roots, `def.halves` says it. */
  readonly rootAlign: number;
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
  /** The five of each level side by side, from 5 · level on: one array where every load counts. */
  readonly indexing: Int32Array;
  /** Offset of an address in what an entry covers. */
  readonly offsetLo: Int32Array;
  readonly offsetHi: Int32Array;
  /** An entry with none of these bits is not present. (With one, `kinds` tells.) */
  readonly presentMask: number;
  /** What an entry is, by level · 4096 + its low 12 bits; reserved bits apart. */
  readonly kinds: Uint8Array;
  readonly tableReservedLo: Int32Array;
  readonly tableReservedHi: Int32Array;
  readonly leafReservedLo: Int32Array;
  readonly leafReservedHi: Int32Array;
  readonly tableAddressLo: number;
  readonly tableAddressHi: number;
  readonly leafAddressLo: Int32Array;
  readonly leafAddressHi: Int32Array;
  /** Rights of what maps memory = grants[entry's low 12 bits] & grants[4096 | its high 12 bits]: no shift by a variable. */
  readonly grants: Uint8Array;
  /** The same of what points to a table, by level. */
  readonly tableGrants: readonly Uint8Array[];
  /** Rights of a mapping, by those that all its entries grant: without what these exclude. */
  readonly settled: Uint8Array;
  /**
   * The last three levels are as formats with pages of 4 KiB have them that have so many: nine bits of index each (the third
   * may have fewer, if it is the root), leaves of 4 KiB, 2 MiB and 1 GiB. What follows links for one address is made for
   * these first (shifts by constants).
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

/** The mask of single bits among the low ones. */
function bitMask(bits: readonly number[] = [], what: string): number {
  let mask = 0;
  for (const bit of bits) {
    if (!(bit >= 0 && bit < LOW_BITS))
      throw new RangeError(`${what}: bit ${bit} is none of the low ${LOW_BITS}`);
    mask |= 1 << bit;
  }
  return mask;
}

const KINDS = { absent: NOT_PRESENT, table: MISSING, page: LEAF, malformed: MALFORMED } as const;

/** What an entry is, by level and low bits: that of the first pattern that fits. */
function compileKinds({ name, entries }: MmuDef, levels: number): Uint8Array {
  const kinds = new Uint8Array((levels + 1) * LOW).fill(MALFORMED);
  const patterns = entries.map(({ is, levels: at, set, clear }) => ({
    kind: KINDS[is],
    at,
    set: bitMask(set, name),
    clear: bitMask(clear, name),
  }));
  for (let level = 1; level <= levels; level++) {
    // The first that fits is the last that is written. (A plain loop: every command begins with it.)
    const here = patterns.filter(({ at }) => at === undefined || at.includes(level)).reverse();
    for (const { kind, set, clear } of here) fillKind(kinds, level * LOW, kind, set, clear);
    if (kinds.subarray(LOW, 2 * LOW).includes(MISSING))
      throw new RangeError(`${name}: an entry of the last level points to a table`);
  }
  return kinds;
}

/** Writes a kind for all low bits that have all of `set`, and none of `clear`. */
function fillKind(kinds: Uint8Array, at: number, kind: number, set: number, clear: number): void {
  if ((set & clear) !== 0) return;
  const looked = set | clear;
  for (let low = 0; low < LOW; low++) if ((low & looked) === set) kinds[at + low] = kind;
}

const RIGHTS: Readonly<Record<RightRule["right"], number>> = {
  readable: READABLE,
  writable: WRITABLE,
  user: USER,
  userExecutable: USER_EXECUTABLE,
  kernelExecutable: KERNEL_EXECUTABLE,
  global: GLOBAL,
};

/** Rights by the 12 bits below the physical address; then by the 12 above it. */
function compileGrants({ name, rights }: MmuDef, of: "page" | "table", level: number): Uint8Array {
  const hasGlobal = rights.some(({ right }) => right === "global");
  const grants = new Uint8Array(2 * LOW).fill(hasGlobal ? ALL_RIGHTS : ALL_RIGHTS & ~GLOBAL);
  for (const { right, bit, when, or, of: only = of, levels } of rights) {
    if (!((bit >= 0 && bit < 12) || (bit >= 52 && bit < 64)))
      throw new RangeError(`${name}: bit ${bit} grants a right, and lies in the physical address`);
    if (only !== of || (of === "table" && levels?.includes(level) === false)) continue;
    const mask = bit < 12 ? 1 << bit : 1 << (bit - 52);
    const first = bit < 12 ? 0 : LOW;
    if (or !== undefined && bit >= 12)
      throw new RangeError(`${name}: bits ${bit} and ${or} are not both low`);
    const other = bitMask(or === undefined ? [] : [or], name);
    takeRight(grants, first, other | mask, when === "set" ? 0 : mask, ~RIGHTS[right]);
  }
  return grants;
}

/** Takes a right away for all keys whose bits of `looked` are `bits`. */
function takeRight(grants: Uint8Array, first: number, looked: number, bits: number, keep: number): void {
  for (let key = 0; key < LOW; key++) if ((key & looked) === bits) (grants[first + key] as number) &= keep;
}

/** Every set of rights without what it excludes. */
function compileExclusions(exclusions: readonly RightExclusion[] = []): Uint8Array {
  return Uint8Array.from({ length: ALL_RIGHTS + 1 }, (_, combined) => {
    const without = (rights: number, { right, where }: RightExclusion) =>
      where.every((one) => (combined & RIGHTS[one]) !== 0) ? rights & ~RIGHTS[right] : rights;
    return exclusions.reduce(without, combined);
  });
}

/** The bits of which a present entry has at least one. */
function presentMaskOf({ name, entries: [first] }: MmuDef): number {
  const isPlain = first?.is === "absent" && first.set === undefined && first.levels === undefined;
  if (first === undefined || !isPlain)
    throw new RangeError(`${name}: the first pattern must be that of what is absent`);
  return bitMask(first.clear, name);
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

/** Words of the address in an entry, from a bit on. */
function addressMask(
  { notAddress = [] }: MmuDef,
  address: BitRange,
  from: number,
): { lo: number; hi: number } {
  const mask = maskOf(Math.max(address[0], from), address[1]);
  for (const bit of notAddress) {
    if (bit < 32) mask.lo &= ~(1 << bit);
    else mask.hi &= ~(1 << (bit - 32));
  }
  return mask;
}

function checkDef(def: MmuDef, levels: number, pageShift: number, addressBits: number): void {
  if (!(levels >= 2 && levels <= MAX_LEVELS)) throw new RangeError(`${def.name}: ${levels} levels`);
  if (def.entryNames.length !== levels) throw new RangeError(`${def.name}: a name for each level is needed`);
  if (!(pageShift >= 12 && pageShift < 32))
    throw new RangeError(`${def.name}: pages of 2^${pageShift} bytes`);
  // (Of a sign-extended address, the highest translated bit is looked for in the high word.)
  if (!(addressBits >= (def.canonical === "sign-extended" ? 33 : 32) && addressBits <= 63))
    throw new RangeError(`${def.name}: ${addressBits} address bits`);
  // The walker's assumptions: the last index lies in the low word, and a physical address is exact in a double.
  if (pageShift + (def.splits[levels - 1] as number) >= 32 || def.address[1] > 51) {
    throw new RangeError(`${def.name}: tables or physical addresses that the walker can't represent`);
  }
}

function compile(def: MmuDef): CompiledMmu {
  const levels = def.splits.length - 1;
  const pageShift = def.splits[levels] ?? 0;
  const addressBits = def.splits.reduce((sum, bits) => sum + bits, 0);
  checkDef(def, levels, pageShift, addressBits);
  const indexBits = Math.max(...def.splits.slice(0, levels));
  const rootBits = def.splits[0] as number;
  const column = () => new Int32Array(levels + 1);
  const tableAddress = addressMask(def, def.address, 0);
  const top = 2 ** (64 - addressBits + (def.canonical === "sign-extended" ? 1 : 0)) - 1;
  const kinds = compileKinds(def, levels);
  const grants = compileGrants(def, "page", 0);
  for (let low = 0; low < LOW; low++) if (kinds[LOW + low] === LEAF) (grants[low] as number) |= SOUND;
  const plainRoot = def.halves === undefined && rootBits === indexBits;
  const storedBytes = 2 ** indexBits * def.entryBytes;
  const mmu = {
    def,
    name: def.name,
    levels,
    addressBits,
    pageShift,
    tableEntries: 2 ** indexBits,
    tableShift: indexBits,
    tableWords: 2 ** indexBits * 2,
    tableBytes: 2 ** indexBits * 8,
    storedBytes,
    rootEntries: 2 ** rootBits,
    plainRoot,
    rootAlign: def.rootAlign ?? storedBytes,
    shift: column(),
    size: new Float64Array(levels + 1),
    pages: new Float64Array(levels + 1),
    pagesIn4GiB: 2 ** (32 - pageShift),
    loShift: column(),
    loMask: column(),
    hiShift: column(),
    hiLeft: column(),
    hiMask: column(),
    indexing: new Int32Array(5 * (levels + 1)),
    offsetLo: column(),
    offsetHi: column(),
    presentMask: presentMaskOf(def),
    kinds,
    tableReservedLo: column(),
    tableReservedHi: column(),
    leafReservedLo: column(),
    leafReservedHi: column(),
    tableAddressLo: tableAddress.lo,
    tableAddressHi: tableAddress.hi,
    leafAddressLo: column(),
    leafAddressHi: column(),
    grants,
    tableGrants: Array.from({ length: levels + 1 }, (_, level) => compileGrants(def, "table", level)),
    settled: compileExclusions(def.exclusions),
    fineGranule:
      levels >= 3 &&
      indexBits === 9 &&
      pageShift === 12 &&
      def.splits.slice(-3, -1).every((bits) => bits === 9) &&
      (def.splits[levels - 3] === 9 || (levels === 3 && def.canonical === "zeros")),
    canonicalShift: addressBits - (def.canonical === "sign-extended" ? 33 : 32),
    canonicalLow: def.canonical === "ones" ? top : 0,
    canonicalHigh: def.canonical === "zeros" ? 0 : top,
    extendPages: 2 ** (64 - pageShift) - 2 ** (addressBits - pageShift),
    extendFrom:
      def.canonical === "ones" ? 0 : def.canonical === "zeros" ? 2 ** rootBits : 2 ** (rootBits - 1),
  };
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
    const { loShift, loMask, hiShift, hiLeft, hiMask } = mmu;
    [loShift, loMask, hiShift, hiLeft, hiMask].forEach((one, i) => {
      mmu.indexing[5 * level + i] = one[level] as number;
    });
    mmu.offsetLo[level] = lowMask(shift);
    mmu.offsetHi[level] = lowMask(shift - 32);
    const address = addressMask(def, level === 1 ? (def.lastAddress ?? def.address) : def.address, shift);
    mmu.leafAddressLo[level] = address.lo;
    mmu.leafAddressHi[level] = address.hi;
    for (const { level: reservedLevel, of, bits: reserved } of def.reserved) {
      if (reservedLevel !== level) continue;
      const { lo, hi } = maskOf(...reserved);
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

/** An entry as it was stored. */
export function restoreEntry({ def }: CompiledMmu, entry: bigint): bigint {
  return def.form?.restore(entry) ?? entry;
}

/** What an entry says besides, for people: by name; a flag is 1. */
export function attributesOf(
  { def: { attributes = [] } }: CompiledMmu,
  entry: bigint,
  isLeaf: boolean,
): Record<string, number> {
  const said: Record<string, number> = {};
  for (const { name, bits, of = "page" } of attributes) {
    if (of !== "both" && (of === "page") !== isLeaf) continue;
    said[name] = Number((entry >> BigInt(bits[0])) & ((1n << BigInt(bits[1] - bits[0] + 1)) - 1n));
  }
  return said;
}
