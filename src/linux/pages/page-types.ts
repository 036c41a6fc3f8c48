/**
 * What the flags and the type of a page are called.
 *
 * Facts: include/linux/page-flags.h. `enum pageflags` has a flag's bit by name; bits beyond `__NR_PAGEFLAGS` are no flags (the zone, the
 * node, the section). The type lies where the number of mappings is, which pages of a type have none of:
 * - since 6.12 (4ffca5a96678) its highest byte is one of `enum pagetype`'s PGTY_…;
 * - in 6.11 (8db00ad56461) a cleared bit below 0x80000000, PG_… of that enumeration;
 * - before, a cleared bit below 0xf0000000: PG_buddy and PG_offline, then since 5.11 (18b2db3b0385) PG_table and PG_guard one bit lower
 *   than before, PG_hugetlb since 6.9 (d99e3140a4d3), PG_slab since 6.10 (46df8e73a4a3).
 * VMCOREINFO says a page's type when it is free (`PAGE_BUDDY_MAPCOUNT_VALUE`), which tells these forms apart where types don't.
 */
import type { KernelData } from "../kernel-data.js";
import { stripped } from "../types/c-type.js";
import { findPlace } from "../types/member-path.js";
import type { TypeTable } from "../types/type-table.js";

/** Names for the flags and types of a kernel's pages. */
export interface PageNames {
  /** Flags by name, in the order of their bits: "lru", "uptodate". Of names that share a bit, the first one's. */
  flags(flags: bigint): string[];
  /** Whether a flag is set, by name; false for one that the kernel has not. */
  has(flags: bigint, name: string): boolean;
  /** Whether the kernel has a flag of this name. */
  knows(name: string): boolean;
  /** The type, by `page_type` as a number of 32 bits: "buddy", "slab", "table"; `undefined` for none. */
  type(pageType: number): string | undefined;
}

/** A cleared bit is a type. */
interface BitForm {
  readonly base: number;
  readonly bits: readonly (readonly [number, string])[];
}

const SINCE_6_11: BitForm = {
  base: 0x8000_0000,
  bits: [
    [0x4000_0000, "buddy"],
    [0x2000_0000, "offline"],
    [0x1000_0000, "table"],
    [0x0800_0000, "guard"],
    [0x0400_0000, "hugetlb"],
    [0x0200_0000, "slab"],
    [0x0100_0000, "zsmalloc"],
  ],
};

const SINCE_5_11: BitForm = {
  base: 0xf000_0000,
  bits: [
    [0x80, "buddy"],
    [0x100, "offline"],
    [0x200, "table"],
    [0x400, "guard"],
    [0x800, "hugetlb"],
    [0x1000, "slab"],
  ],
};

const BEFORE_5_11: BitForm = {
  base: 0xf000_0000,
  bits: [
    [0x80, "buddy"],
    [0x100, "offline"],
    [0x200, "kmemcg"],
    [0x400, "table"],
    [0x800, "guard"],
  ],
};

/** `enum pagetype` of 6.12, where the types have no such enumeration. */
const SINCE_6_12: ReadonlyMap<number, string> = new Map([
  [0xf0, "buddy"],
  [0xf1, "offline"],
  [0xf2, "table"],
  [0xf3, "guard"],
  [0xf4, "hugetlb"],
  [0xf5, "slab"],
  [0xf6, "zsmalloc"],
  [0xf7, "unaccepted"],
]);

const known = new WeakMap<object, PageNames>();

/** The names of a kernel's flags and types. Nothing is read. */
export function pageNames(data: KernelData): PageNames {
  const found = known.get(data.types) ?? namesOf(data);
  known.set(data.types, found);
  return found;
}

function namesOf(data: KernelData): PageNames {
  const bits = flagBits(data.types);
  const byBit = new Map<number, string>();
  for (const [name, bit] of bits) if (!byBit.has(bit)) byBit.set(bit, name);
  const ordered = [...byBit].sort(([a], [b]) => a - b);
  const typeName = typeNamer(data);
  return {
    flags: (flags) => ordered.filter(([bit]) => ((flags >> BigInt(bit)) & 1n) !== 0n).map(([, name]) => name),
    has: (flags, name) => {
      const bit = bits.get(name);
      return bit !== undefined && ((flags >> BigInt(bit)) & 1n) !== 0n;
    },
    knows: (name) => bits.has(name),
    type: typeName,
  };
}

/** Bits by name, without PG_ in front. */
function flagBits(types: TypeTable): ReadonlyMap<string, number> {
  const found = enumOf(types, "pageflags");
  const count = Number(found?.find(({ name }) => name === "__NR_PAGEFLAGS")?.value ?? 64n);
  const bits = new Map<string, number>();
  for (const { name, value } of found ?? []) {
    const bit = Number(value);
    if (name.startsWith("PG_") && bit >= 0 && bit < Math.min(count, 64)) bits.set(name.slice(3), bit);
  }
  return bits;
}

function enumOf(types: TypeTable, name: string) {
  const type = stripped(types.find("enum", name) ?? { kind: "void" });
  return type.kind === "enum" ? type.enumerators : undefined;
}

function typeNamer({ kernel, types }: KernelData): PageNames["type"] {
  const listed = enumOf(types, "pagetype") ?? [];
  const numbers = new Map<number, string>();
  for (const { name, value } of listed) {
    if (name.startsWith("PGTY_")) numbers.set(Number(value), name.slice("PGTY_".length));
  }
  const free = Number(BigInt.asUintN(32, kernel.vmcoreinfo.numbers.get("PAGE_BUDDY_MAPCOUNT_VALUE") ?? 0n));
  if (numbers.size > 0 || free === 0xf000_0000) {
    const names = numbers.size > 0 ? numbers : SINCE_6_12;
    return (type) => (type >>> 24 >= 0xf0 && type >>> 24 < 0xff ? names.get(type >>> 24) : undefined);
  }
  const isLate = listed.some(({ name }) => name === "PG_buddy") || free === 0xbfff_ffff;
  return bitNamer(isLate ? SINCE_6_11 : hasOldTypes(types) ? BEFORE_5_11 : SINCE_5_11);
}

/** A page knew its control group by this name until 5.11 (bcfe06bf2622). */
function hasOldTypes(types: TypeTable): boolean {
  const page = types.find("struct", "page");
  return page !== undefined && findPlace(page, "mem_cgroup") !== undefined;
}

function bitNamer({ base, bits }: BitForm): PageNames["type"] {
  return (type) => {
    // (All ones is a page without a type that nobody maps.)
    if ((type & base) >>> 0 !== base) return undefined;
    return bits.find(([bit]) => (type & bit) === 0)?.[1];
  };
}
