/**
 * Caches of the kernel's objects, as /proc/slabinfo and `slabtop` show them.
 *
 * Facts: mm/slub.c (`get_slabinfo`, `count_partial`, `count_free`: objects are active but for the free ones of slabs that are in a
 * node's list of partial ones; those of a CPU's own slab count as active), mm/slab.c (`get_slabinfo` of SLAB), mm/slab_common.c
 * (`cache_show`: what it calls "objsize" is `size`, with what the allocator adds), mm/slab.h (`struct kmem_cache_node`).
 *
 * Since 6.10 (046f4c69098f) the kernel estimates the free objects of a list of more than 10 000 partial slabs; here all are counted.
 * Numbers of SLUB need CONFIG_SLUB_DEBUG, as /proc/slabinfo does; SLOB (until 6.4) counts nothing.
 */
import { IoSequence, type Routine, type Sink } from "../../io/index.js";
import type { LinuxKernel } from "../kernel.js";
import { type KernelData, kernelData, nameOfFunction } from "../kernel-data.js";
import { DamageLog, type DamageOptions, damage, type OnDamage } from "../objects/damage.js";
import { walkList } from "../objects/list.js";
import { pointersIn } from "../objects/pointers.js";
import { maybe, place, record, type Values, word } from "../objects/record.js";
import { readAliases } from "./slab-aliases.js";
import { countNodes, type NamedCache, readCaches, slabShape } from "./slab-caches.js";
import { slabFlagNames } from "./slab-flags.js";
import { readSlabs, slabListOffset } from "./slab-page.js";

const NODE = record("kmem_cache_node", {
  // SLUB; the first two with CONFIG_SLUB_DEBUG.
  slabs: maybe(word("nr_slabs.counter")),
  objects: maybe(word("total_objects.counter")),
  partial: maybe(place("partial")),
  // SLAB. Since 4.10 (bf00bd345804) it counts all slabs, since then too those that are free.
  totalSlabs: maybe(word("total_slabs")),
  freeSlabs: maybe(word("free_slabs")),
  freeObjects: maybe(word("free_objects")),
});

/** Pointers to nodes that are read: 4096 caches of 1024 nodes. */
const MAX_NODES = 1 << 22;

/** A cache of objects of one size. What could not be read, or the kernel does not count, is `undefined`. */
export interface SlabCache {
  readonly name: string | undefined;
  /** Names of caches that were merged into this one, where sysfs has them. */
  readonly aliases: readonly string[];
  /** Objects in use; free ones that a CPU keeps for itself count as such, as in /proc/slabinfo. */
  readonly activeObjects: number | undefined;
  /** Objects that there is memory for. */
  readonly objects: number | undefined;
  /** Bytes that each takes, with what the allocator adds: /proc/slabinfo's objsize. */
  readonly size: number | undefined;
  /** Bytes that were asked for. */
  readonly objectSize: number | undefined;
  readonly objectsPerSlab: number | undefined;
  readonly pagesPerSlab: number | undefined;
  /** Bytes of a slab. */
  readonly slabSize: number | undefined;
  /** Slabs with objects in use; SLUB says the number of all. */
  readonly activeSlabs: number | undefined;
  readonly slabs: number | undefined;
  readonly align: number | undefined;
  /** SLAB_…, include/linux/slab.h. */
  readonly flags: bigint | undefined;
  readonly flagNames: readonly string[];
  /** Who makes new objects; null if nobody. */
  readonly ctor: SlabConstructor | null | undefined;
  /** Caches that share it; -1 of those that none is merged into. */
  readonly references: number | undefined;
  /** Address of its `struct kmem_cache`. */
  readonly address: bigint;
}

/** A function that is called for each new object. */
export interface SlabConstructor {
  readonly address: bigint;
  readonly name: string | undefined;
}

/** Caches in the order of /proc/slabinfo: the newest first. */
export function listSlabs(kernel: LinuxKernel, options: DamageOptions = {}): IoSequence<SlabCache> {
  return IoSequence.of(kernel.memory.scheduler, slabsRoutine, kernel, options);
}

function* slabsRoutine(sink: Sink<SlabCache>, kernel: LinuxKernel, options: DamageOptions): Routine<void> {
  const log = new DamageLog(options);
  const data = yield* kernelData(kernel);
  const caches = yield* readCaches(data, log.report);
  const aliases = yield* readAliases(data, caches, log.report);
  const nodes = yield* nodesOf(data, caches, log.report);
  const pageSize = kernel.vmcoreinfo.pageSize ?? 4096;
  for (const [i, cache] of caches.entries()) {
    const { row, name } = cache;
    const { size, objectSize, align, flags, references, ctor } = row.partial;
    const shape = slabShape(row, name, log.report);
    const pages = shape === undefined ? undefined : 2 ** shape.order;
    const counts =
      nodes[i] === undefined ? {} : yield* countObjects(data, cache, nodes[i], shape, log.report);
    yield sink.emit({
      name,
      aliases: aliases.get(row.address) ?? [],
      activeObjects: undefined,
      objects: undefined,
      activeSlabs: undefined,
      slabs: undefined,
      ...counts,
      size,
      objectSize,
      objectsPerSlab: shape?.objects,
      pagesPerSlab: pages,
      slabSize: pages === undefined ? undefined : pages * pageSize,
      align,
      flags,
      flagNames: flags === undefined ? [] : slabFlagNames(data.types, flags),
      ctor: yield* constructorOf(data, ctor),
      references,
      address: row.address,
    });
  }
  log.end();
}

function* constructorOf(
  data: KernelData,
  address: bigint | undefined,
): Routine<SlabConstructor | null | undefined> {
  if (address === undefined) return undefined;
  return address === 0n ? null : { address, name: yield* nameOfFunction(data, address) };
}

type NodeRow = Values<typeof NODE.fields>;
interface OwnNode {
  readonly address: bigint;
  readonly value: NodeRow;
}

/** Each cache's nodes; `undefined` for one of which some are missing: no sum can be told. @internal */
export function* nodesOf(
  data: KernelData,
  caches: readonly NamedCache[],
  report: OnDamage,
): Routine<(readonly OwnNode[] | undefined)[]> {
  const { memory, types } = data;
  const layout = NODE.onIf(types);
  const count = yield* countNodes(data, caches);
  if (layout === undefined || count === 0) return caches.map(() => undefined);
  const claimed = new Set<bigint>();
  const found: (OwnNode[] | undefined)[] = [];
  for (const [i, { row, name }] of caches.entries()) {
    const array = row.partial.node;
    if (array === undefined) {
      found.push(undefined);
      continue;
    }
    const what = `the nodes of slab cache ${name ?? "?"}`;
    if (i * count > MAX_NODES) {
      report(damage(what, array, "too long", 0, "more are not read"));
      found.push(undefined);
      continue;
    }
    const { bytes, holes } = yield* memory.readPartial(array, count * memory.pointerSize);
    if (holes[0] !== undefined) {
      report(damage(what, array, "unreadable", holes[0].fault));
      found.push(undefined);
      continue;
    }
    const rows = yield* layout.read(
      memory,
      pointersIn(memory, bytes).filter((address) => address !== 0n),
    );
    const own: OwnNode[] = [];
    for (const { address, value, fault } of rows) {
      if (value === undefined) report(damage(what, address, "unreadable", fault));
      else if (claimed.has(address)) report(damage(what, address, "loop", 0, "it is another cache's"));
      else own.push({ address, value });
      claimed.add(address);
    }
    found.push(own.length < rows.length ? undefined : own);
  }
  return found;
}

type Counts = Pick<SlabCache, "activeObjects" | "objects" | "activeSlabs" | "slabs">;

/** As the kernel counts them. */
function* countObjects(
  data: KernelData,
  { row, name }: NamedCache,
  nodes: readonly OwnNode[],
  shape: { readonly objects: number } | undefined,
  report: OnDamage,
): Routine<Partial<Counts>> {
  const sum = (field: "slabs" | "objects" | "totalSlabs" | "freeSlabs" | "freeObjects") =>
    nodes.every(({ value }) => value[field] !== undefined)
      ? nodes.reduce((total, { value }) => total + Number(value[field]), 0)
      : undefined;
  const what = `the objects of slab cache ${name ?? "?"}`;
  const plausible = (counts: Counts): Partial<Counts> => {
    const { activeObjects = 0, objects = 0, activeSlabs = 0, slabs = 0 } = counts;
    const isSane = activeObjects >= 0 && activeObjects <= objects && objects <= MAX_COUNT;
    if (isSane && activeSlabs >= 0 && activeSlabs <= slabs && slabs <= MAX_COUNT) return counts;
    const text = `${counts.activeObjects ?? "?"} of ${objects} objects in ${activeSlabs} of ${slabs} slabs`;
    report(damage(what, row.address, "invalid", 0, text));
    return {};
  };
  if (row.partial.orderObjects === undefined) {
    const slabs = sum("totalSlabs");
    const freeSlabs = sum("freeSlabs");
    const free = sum("freeObjects");
    if (slabs === undefined || freeSlabs === undefined || free === undefined || shape === undefined)
      return {};
    const objects = slabs * shape.objects;
    return plausible({ objects, activeObjects: objects - free, slabs, activeSlabs: slabs - freeSlabs });
  }
  const slabs = sum("slabs");
  const objects = sum("objects");
  let free: number | undefined = 0;
  for (const { value } of nodes) {
    const own = yield* freeObjects(data, row.address, value.partial, name, report);
    free = own === undefined || free === undefined ? undefined : free + own;
  }
  if (slabs === undefined || objects === undefined) return {};
  const activeObjects = free === undefined ? undefined : objects - free;
  return plausible({ objects, activeObjects, slabs, activeSlabs: slabs });
}

/** More objects than any machine has memory for. */
const MAX_COUNT = 2 ** 44;

/** Free objects in a node's list of partial slabs; `undefined` if not all of it can be read. */
function* freeObjects(
  data: KernelData,
  cache: bigint,
  head: bigint | undefined,
  name: string | undefined,
  report: OnDamage,
): Routine<number | undefined> {
  if (head === undefined) return undefined;
  let whole = true;
  const tell: OnDamage = (found) => {
    whole = false;
    report(found);
  };
  const rows = yield* readSlabs(data, yield* partialSlabs(data, head, name, tell));
  let free = 0;
  for (const { address, value, fault } of rows) {
    const what = `a partial slab of ${name ?? "?"}`;
    if (value === undefined) tell(damage(what, address, "unreadable", fault));
    else if (value.cache !== cache) tell(damage(what, address, "mismatch", 0, "it is another cache's"));
    else if (value.inUse > value.objects)
      tell(damage(what, address, "invalid", 0, `${value.inUse} of ${value.objects} objects`));
    else free += value.objects - value.inUse;
  }
  return whole ? free : undefined;
}

/** Addresses of the slabs in a list of partial ones. @internal */
export function* partialSlabs(
  data: KernelData,
  head: bigint,
  name: string | undefined,
  report: OnDamage,
): Routine<bigint[]> {
  const what = `the list of partial slabs of ${name ?? "?"}`;
  const nodes = yield* walkList(data.memory, head, what, report);
  const offset = slabListOffset(data.types);
  return nodes.map((node) => BigInt.asUintN(64, node - offset));
}
