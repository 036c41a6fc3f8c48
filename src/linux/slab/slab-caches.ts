/**
 * The caches that the kernel takes its objects from, `struct kmem_cache`: where they are, and what is read of each.
 *
 * Facts: mm/slab.h and include/linux/slub_def.h (`struct kmem_cache` of SLUB, `kmem_cache_order_objects`), include/linux/slab_def.h
 * (that of SLAB, which went in 6.8), mm/slab_common.c (`slab_caches`), mm/slub.c (`oo_order`, `oo_objects`, `kmem_cache_init`: how
 * large a `kmem_cache` is for the nodes that there are).
 */
import type { Routine } from "../../io/index.js";
import { findListHead } from "../find/image-search.js";
import type { LinuxKernel } from "../kernel.js";
import { type KernelData, listsFunctionsOnly, needSymbol, symbolAddress } from "../kernel-data.js";
import { damage, type OnDamage } from "../objects/damage.js";
import { walkList } from "../objects/list.js";
import {
  int,
  maybe,
  needStruct,
  offsetOf,
  place,
  type Row,
  record,
  type Values,
  word,
} from "../objects/record.js";
import { readStrings } from "../objects/strings.js";
import { stripped } from "../types/c-type.js";
import { findPlace } from "../types/member-path.js";

/** @internal */
export const CACHE = record("kmem_cache", {
  name: word("name"),
  size: int("size"),
  objectSize: int("object_size"),
  align: int("align"),
  flags: word("flags"),
  references: int("refcount"),
  ctor: word("ctor"),
  node: maybe(place("node")),
  // SLUB: the order of a slab's pages and how many objects it has, as one number.
  orderObjects: maybe(int("oo.x")),
  // SLAB.
  order: maybe(int("gfporder")),
  perSlab: maybe(int("num")),
  // SLUB, for objects: each CPU's own slab, and how pointers to free objects are kept.
  cpuSlab: maybe(word("cpu_slab")),
  freeOffset: maybe(int("offset")),
  random: maybe(word("random")),
  leftPad: maybe(int("red_left_pad")),
  // Since 6.18 ("slab: add opt-in caching layer of percpu sheaves") free objects may also be in arrays of each CPU.
  sheaves: maybe(word("cpu_sheaves")),
  // With sysfs: its folder, and the one of all caches.
  folder: maybe(word("kobj.sd")),
  above: maybe(word("kobj.parent")),
});

/** A `struct kmem_cache`. @internal */
export type CacheRow = Row<Values<typeof CACHE.fields>>;

/** A cache and its name. @internal */
export interface NamedCache {
  readonly row: CacheRow;
  readonly name: string | undefined;
}

/** Machines with many control groups had a hundred thousand (before 5.9, each group had its own). */
const MAX_CACHES = 1 << 18;
/** Longest name: no real one has more. */
const MAX_NAME = 256;

const heads = new WeakMap<LinuxKernel, bigint>();

/** Every cache, in the order of their list, which is that of /proc/slabinfo. @throws {SymbolError} without a list of them. @internal */
export function* readCaches(data: KernelData, report: OnDamage): Routine<NamedCache[]> {
  const { types, memory } = data;
  const layout = CACHE.on(types);
  const offset = BigInt(offsetOf(types, "kmem_cache", "list"));
  const head = (yield* findCaches(data, offset)) ?? (yield* needSymbol(data, "slab_caches"));
  const nodes = yield* walkList(memory, head, "the list of slab caches", report);
  if (nodes.length > MAX_CACHES) {
    report(damage("the list of slab caches", nodes[MAX_CACHES] as bigint, "too long"));
    nodes.length = MAX_CACHES;
  }
  const rows = yield* layout.read(
    memory,
    nodes.map((node) => BigInt.asUintN(64, node - offset)),
  );
  const pointers = rows.map(({ partial }) => partial.name);
  const names = yield* readStrings(memory, pointers, "the name of a slab cache", report, MAX_NAME);
  for (const [i, { address, fault }] of rows.entries()) {
    if (fault !== 0) report(damage(`slab cache ${names[i] ?? "?"}`, address, "unreadable", fault));
  }
  return rows.map((row, i) => ({ row, name: names[i] }));
}

/** Where kallsyms list functions only, the list is found in the image, by its first cache. */
function* findCaches(data: KernelData, offset: bigint): Routine<bigint | undefined> {
  const { kernel, memory, types } = data;
  const known = (yield* symbolAddress(data, "slab_caches")) ?? heads.get(kernel);
  if (known !== undefined) return known;
  if (!(yield* listsFunctionsOnly(data))) return undefined;
  const layout = CACHE.on(types);
  const found = yield* findListHead(memory, kernel.searchRanges, function* (node) {
    const [row] = yield* layout.read(memory, [BigInt.asUintN(64, node - offset)]);
    const value = row?.value;
    if (value === undefined || !looksRight(value)) return false;
    const [name] = yield* readStrings(memory, [value.name], "a name", () => {}, MAX_NAME);
    return name !== undefined && /^[\x21-\x7e][\x20-\x7e]*$/.test(name);
  });
  if (found !== undefined) heads.set(kernel, found);
  return found;
}

/** KMALLOC_MAX_SIZE is at most 2^25. */
const MAX_OBJECT = 1 << 25;
/** Merged into one cache are at most some dozens; those of kmalloc have -1. */
const MAX_REFERENCES = 1 << 16;

/** Whether numbers of a cache are such as caches have. */
function looksRight({ size, objectSize, align, references }: Values<typeof CACHE.fields>): boolean {
  return (
    objectSize > 0 &&
    objectSize <= size &&
    size <= MAX_OBJECT &&
    align > 0 &&
    align <= MAX_OBJECT &&
    (align & (align - 1)) === 0 &&
    references >= -1 &&
    references <= MAX_REFERENCES
  );
}

/** Objects of a slab and the order of its pages; `undefined` for what is neither SLUB nor SLAB, and for what can't be. @internal */
export function slabShape(
  { partial, address }: CacheRow,
  name: string | undefined,
  report: OnDamage,
): { readonly objects: number; readonly order: number } | undefined {
  const { orderObjects } = partial;
  const order = orderObjects === undefined ? partial.order : orderObjects >>> 16;
  const objects = orderObjects === undefined ? partial.perSlab : orderObjects & 0xffff;
  if (order === undefined || objects === undefined) return undefined;
  if (order <= MAX_ORDER) return { objects, order };
  report(damage(`the slabs of ${name ?? "?"}`, address, "invalid", 0, `2^${order} pages each`));
  return undefined;
}

/** More than any allocation: MAX_ORDER was at most 16 (powerpc). */
const MAX_ORDER = 20;

/**
 * How many memory nodes a `kmem_cache` has pointers for: its array is declared for all that could be, and only as many are there.
 * The cache that caches come from was made for just so many. @internal
 */
export function* countNodes(
  { types, kernel, memory }: KernelData,
  caches: readonly NamedCache[],
): Routine<number> {
  const type = stripped(findPlace(needStruct(types, "kmem_cache"), "node")?.type ?? { kind: "void" });
  if (type.kind !== "array") return 0;
  const own = caches.find(({ name }) => name === "kmem_cache")?.row.partial.objectSize;
  const start = offsetOf(types, "kmem_cache", "node");
  const size = memory.pointerSize;
  const byCache = own === undefined ? 0 : Math.floor((own - start) / size);
  if (byCache >= 1) return Math.min(byCache, type.count);
  const at = yield* kernel.findAddress("nr_node_ids");
  if (at === undefined) return Math.min(1, type.count);
  const { bytes, holes } = yield* memory.readPartial(at, 4);
  const count = new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, memory.littleEndian);
  return Math.min(holes.length > 0 ? 1 : count, type.count);
}
