/**
 * Objects of slabs: which one an address lies in, and whether that is free.
 *
 * Facts: mm/slub.c (`freelist_ptr_decode`: a free object holds the address of the next one, with CONFIG_SLAB_FREELIST_HARDENED mixed
 * with the cache's `random` and the place itself, its bytes reversed since 5.7, 1ad53d9fa3f6; `fixup_red_left`), include/linux/slub_def.h
 * (`struct kmem_cache_cpu`: a slab that a CPU allocates from has its free objects there), mm/slab.h (`struct slab`; SLAB's `s_mem`).
 */
import type { Routine } from "../../io/index.js";
import type { KernelData } from "../kernel-data.js";
import { damage, type OnDamage } from "../objects/damage.js";
import { pointersIn } from "../objects/pointers.js";
import { hasStruct, maybe, record, word } from "../objects/record.js";
import { readStrings } from "../objects/strings.js";
import type { PerCpu } from "../per-cpu.js";
import { CACHE, type CacheRow, slabShape } from "../slab/slab-caches.js";

const FIELDS = {
  cache: word("slab_cache"),
  freelist: maybe(word("freelist")),
  mem: maybe(word("s_mem")),
} as const;
const SLAB = record("slab", FIELDS);
const PAGE = record("page", FIELDS);
const CPU = record("kmem_cache_cpu", { freelist: word("freelist"), slab: word("slab", "page") });

/** Longest name of a cache. */
const MAX_NAME = 256;

/** A slab that was asked for. @internal */
export interface SlabPlace {
  /** Address of its structure: that of its first page. */
  readonly address: bigint;
  /** Virtual address of its first byte. */
  readonly start: bigint;
}

/** What a byte of a slab is of. @internal */
export interface SlabObject {
  readonly object: bigint | undefined;
  readonly objectOffset: number | undefined;
  readonly isFree: boolean | undefined;
}

/** A slab. @internal */
export interface SlabInfo {
  readonly cache: string | undefined;
  /** The object around an address. */
  objectAt(address: bigint): SlabObject;
}

interface Slab extends SlabPlace {
  readonly size: number;
  readonly pad: number;
  readonly objects: number;
  readonly freeOffset: number;
  readonly random: bigint;
  readonly free: Set<bigint>;
  isWhole: boolean;
}

const NONE: SlabObject = { object: undefined, objectOffset: undefined, isFree: undefined };

/** Reads what slabs are of, and which of their objects are free. By the address of their structure. @internal */
export function* readSlabInfos(
  data: KernelData,
  places: readonly SlabPlace[],
  cpus: PerCpu | undefined,
  report: OnDamage,
): Routine<ReadonlyMap<bigint, SlabInfo>> {
  const { types, memory } = data;
  const layout = hasStruct(types, "slab") ? SLAB.on(types) : PAGE.on(types);
  const rows = yield* layout.read(
    memory,
    places.map(({ address }) => address),
  );
  for (const { address, value, fault } of rows) {
    if (value === undefined) report(damage("a slab", address, "unreadable", fault));
  }
  const caches = yield* readCachesAt(
    data,
    [...new Set(rows.flatMap(({ partial }) => partial.cache ?? []))],
    report,
  );
  const slabs: (Slab | undefined)[] = rows.map(({ value }, i) => {
    const cache = caches.get(value?.cache ?? 0n);
    const size = cache?.row.partial.size;
    if (value === undefined || cache?.shape === undefined || size === undefined || size === 0)
      return undefined;
    const { freeOffset, random, leftPad } = cache.row.partial;
    return {
      address: value === undefined ? 0n : (rows[i]?.address as bigint),
      start: value.mem ?? (places[i] as SlabPlace).start,
      size,
      pad: leftPad ?? 0,
      objects: cache.shape.objects,
      freeOffset: freeOffset ?? 0,
      random: random ?? 0n,
      free: new Set(),
      isWhole: cache.row.partial.orderObjects !== undefined && freeOffset !== undefined,
    };
  });
  const chains: Chain[] = [];
  for (const [i, slab] of slabs.entries()) {
    const first = rows[i]?.partial.freelist;
    if (slab?.isWhole === true && first !== undefined) chains.push({ slab, at: first });
  }
  const owned = yield* cpuLists(data, [...caches.values()], cpus);
  const bySlab = new Map(slabs.flatMap((slab) => (slab === undefined ? [] : [[slab.address, slab]])));
  for (const { slab: address, freelist } of owned.lists) {
    const slab = bySlab.get(address);
    if (slab?.isWhole === true) chains.push({ slab, at: freelist });
  }
  yield* followChains(data, chains);
  return new Map(
    places.map(({ address }, i) => {
      const slab = slabs[i];
      const cache = caches.get(rows[i]?.partial.cache ?? 0n);
      const hides = owned.isUnknown || (cache?.row.partial.sheaves ?? 0n) !== 0n;
      return [
        address,
        {
          cache: cache?.name,
          objectAt: (at: bigint) => (slab === undefined ? NONE : objectAt(slab, at, hides)),
        },
      ];
    }),
  );
}

/** @param hides Whether free objects may be in lists that were not read. */
function objectAt(slab: Slab, at: bigint, hides: boolean): SlabObject {
  const offset = Number(at - slab.start);
  const index = Math.floor(offset / slab.size);
  if (offset < 0 || index >= slab.objects) return NONE;
  const object = slab.start + BigInt(index * slab.size + slab.pad);
  const isFree = slab.free.has(object) ? true : hides || !slab.isWhole ? undefined : false;
  return { object, objectOffset: Number(at - object), isFree };
}

interface CacheInfo {
  readonly row: CacheRow;
  readonly name: string | undefined;
  readonly shape: { readonly objects: number } | undefined;
}

function* readCachesAt(
  data: KernelData,
  addresses: readonly bigint[],
  report: OnDamage,
): Routine<ReadonlyMap<bigint, CacheInfo>> {
  const rows = yield* CACHE.on(data.types).read(
    data.memory,
    addresses.filter((address) => address !== 0n),
  );
  for (const { address, fault } of rows) {
    if (fault !== 0) report(damage("a slab cache", address, "unreadable", fault));
  }
  const names = yield* readStrings(
    data.memory,
    rows.map(({ partial }) => partial.name),
    "the name of a slab cache",
    report,
    MAX_NAME,
  );
  return new Map(
    rows.map((row, i) => [row.address, { row, name: names[i], shape: slabShape(row, names[i], report) }]),
  );
}

/** Slabs that CPUs have for themselves, and the first of their free objects. */
function* cpuLists(
  data: KernelData,
  caches: readonly CacheInfo[],
  cpus: PerCpu | undefined,
): Routine<{ lists: { slab: bigint; freelist: bigint }[]; isUnknown: boolean }> {
  const layout = CPU.onIf(data.types);
  // (Gone with per-CPU sheaves alone; then there is nothing to be missed.)
  if (layout === undefined) return { lists: [], isUnknown: false };
  if (cpus === undefined) return { lists: [], isUnknown: true };
  let isUnknown = false;
  const addresses = caches.flatMap(({ row }) => {
    const copies = row.partial.cpuSlab === undefined ? undefined : cpus.at(row.partial.cpuSlab);
    if (copies === undefined) isUnknown ||= row.partial.cpuSlab !== undefined;
    return copies?.map(({ address }) => address) ?? [];
  });
  const rows = yield* layout.read(data.memory, addresses);
  const lists = rows.flatMap(({ value }) => {
    if (value === undefined) isUnknown = true;
    return value === undefined ? [] : [value];
  });
  return { lists, isUnknown };
}

interface Chain {
  readonly slab: Slab;
  at: bigint;
}

/** Follows lists of free objects side by side. A pointer that leads out of its slab, or to an object twice, ends it. */
function* followChains({ memory }: KernelData, chains: readonly Chain[]): Routine<void> {
  let active = chains.filter((chain) => enter(chain));
  const size = memory.pointerSize;
  while (active.length > 0) {
    const places = active.map(({ slab, at }) => at + BigInt(slab.freeOffset));
    const gathered = yield* memory.gather(BigUint64Array.from(places), size);
    const words = pointersIn(memory, gathered.bytes);
    active = active.filter((chain, i) => {
      if (gathered.faultOf(i) !== 0) {
        chain.slab.isWhole = false;
        return false;
      }
      const { random } = chain.slab;
      const stored = words[i] as bigint;
      chain.at = random === 0n ? stored : stored ^ random ^ reversed(places[i] as bigint, size);
      return enter(chain);
    });
  }
}

/** Notes the object that a chain is at. @returns whether it goes on. */
function enter({ slab, at }: Chain): boolean {
  if (at === 0n) return false;
  const offset = at - slab.start - BigInt(slab.pad);
  const isObject =
    offset >= 0n && offset < BigInt(slab.objects * slab.size) && offset % BigInt(slab.size) === 0n;
  if (!isObject || slab.free.has(at)) {
    slab.isWhole = false;
    return false;
  }
  slab.free.add(at);
  return true;
}

const scratch = new DataView(new ArrayBuffer(8));

/** A pointer with its bytes in the other order. */
function reversed(value: bigint, size: 4 | 8): bigint {
  if (size === 4) {
    scratch.setUint32(0, Number(value), true);
    return BigInt(scratch.getUint32(0, false));
  }
  scratch.setBigUint64(0, value, true);
  return scratch.getBigUint64(0, false);
}
