/**
 * Names of a slab cache's flags.
 *
 * Facts: include/linux/slab.h (SLAB_…; since 6.9 their numbers are an enumeration, which types tell), mm/slab.h.
 */

import { hasStruct, needStruct } from "../objects/record.js";
import { stripped } from "../types/c-type.js";
import { findPlace } from "../types/member-path.js";
import type { TypeTable } from "../types/type-table.js";

/** By bit, as kernels had them before the enumeration. */
const OLD_BITS: Readonly<Record<number, string>> = {
  8: "CONSISTENCY_CHECKS",
  10: "RED_ZONE",
  11: "POISON",
  12: "KMALLOC",
  13: "HWCACHE_ALIGN",
  14: "CACHE_DMA",
  15: "CACHE_DMA32",
  16: "STORE_USER",
  17: "RECLAIM_ACCOUNT",
  18: "PANIC",
  19: "TYPESAFE_BY_RCU",
  20: "MEM_SPREAD",
  21: "TRACE",
  22: "DEBUG_OBJECTS",
  23: "NOLEAKTRACE",
  // Since 6.5; the same bit was NOTRACK's until 4.14, before slabs had a structure of their own.
  24: "NO_MERGE",
  25: "FAILSLAB",
  26: "ACCOUNT",
  27: "KASAN",
  28: "NO_USER_FLAGS",
  29: "SKIP_KFENCE",
  // SLUB's own (mm/slub.c); SLAB's CFLGS_OBJFREELIST_SLAB and CFLGS_OFF_SLAB (mm/slab.c) have the same bits.
  30: "CMPXCHG_DOUBLE",
  31: "OBJECT_POISON",
};

/** From here on they are an allocator's own. */
const OWN_BITS = 30;

const names = new WeakMap<object, ReadonlyMap<number, string>>();

/** Flags by name, without SLAB_ in front; those without one as `1<<30`. */
export function slabFlagNames(types: TypeTable, flags: bigint): string[] {
  let known = names.get(types);
  if (known === undefined) {
    known = namesIn(types);
    names.set(types, known);
  }
  const found: string[] = [];
  for (let bit = 0; bit < 64; bit++) {
    if (((flags >> BigInt(bit)) & 1n) === 1n) found.push(known.get(bit) ?? `1<<${bit}`);
  }
  return found;
}

function namesIn(types: TypeTable): ReadonlyMap<number, string> {
  const type = stripped(types.find("enum", "_slab_flag_bits") ?? { kind: "void" });
  if (type.kind !== "enum") {
    const isSlub = findPlace(needStruct(types, "kmem_cache"), "oo") !== undefined;
    const known = new Map(Object.entries(OLD_BITS).map(([bit, name]) => [Number(bit), name]));
    if (!hasStruct(types, "slab")) known.set(24, "NOTRACK");
    return isSlub ? known : new Map([...known].filter(([bit]) => bit < OWN_BITS));
  }
  return new Map(type.enumerators.map(({ name, value }) => [Number(value), name.replace(/^_*(SLAB_)?/, "")]));
}
