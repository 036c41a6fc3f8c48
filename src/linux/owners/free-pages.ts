/**
 * Which pages are free.
 *
 * Facts: mm/page_alloc.c (the first page of a free block has the type, and in `private` the order; a block of 2^n pages begins at a
 * multiple of that; `order_to_pindex`: lists of a CPU by order and kind), include/linux/mmzone.h (`struct per_cpu_pages`,
 * `MIGRATE_PCPTYPES`, `struct pglist_data`), mm/vmscan.c (`kswapd_run`: the thread kswapd0 is given its node). Lists of a CPU were
 * `zone.pageset`, within a structure, until 5.14 (28f836b6777b).
 */
import type { Routine } from "../../io/index.js";
import { type KernelData, symbolAddress } from "../kernel-data.js";
import { damage, type OnDamage } from "../objects/damage.js";
import { walkList } from "../objects/list.js";
import { pointersAt } from "../objects/pointers.js";
import { readEach } from "../objects/read-each.js";
import { maybe, needStruct, offsetOf, place, record, word } from "../objects/record.js";
import { type PageArray, type PageNames, type PageRow, readPages } from "../pages/index.js";
import type { PerCpu } from "../per-cpu.js";
import { readTasks } from "../tasks/task.js";
import { sizeOf, stripped } from "../types/c-type.js";
import { findPlace } from "../types/member-path.js";

/** Blocks have up to 2^10 pages of 4 KiB, and 2^13 of 64 KiB. */
const MAX_ORDER = 13;

/** Of pages that are in a free block, but not its first one: the block's order. @internal */
export function* findFreeBlocks(
  data: KernelData,
  array: PageArray,
  names: PageNames,
  pfns: readonly number[],
): Routine<ReadonlyMap<number, number>> {
  const wanted = new Set<number>();
  for (const pfn of pfns) {
    for (let order = 1; order <= MAX_ORDER; order++) wanted.add(pfn - (pfn % 2 ** order));
  }
  const orders = new Map<number, number>();
  for (const row of yield* readPages(data, array, [...wanted])) {
    const order = freeOrder(row, names);
    if (order !== undefined) orders.set(row.pfn, order);
  }
  const found = new Map<number, number>();
  for (const pfn of pfns) {
    const order = orderAround(orders, pfn);
    if (order !== undefined) found.set(pfn, order);
  }
  return found;
}

/** The order of the free block that begins with a page; `undefined` if none does. @internal */
export function freeOrder({ page }: PageRow, names: PageNames): number | undefined {
  if (page === undefined || names.type(page.type) !== "buddy") return undefined;
  return page.private <= BigInt(MAX_ORDER) ? Number(page.private) : 0;
}

const ZONE = record("zone", { lists: maybe(word("per_cpu_pageset")), old: maybe(word("pageset")) });
/** MIGRATE_PCPTYPES; the orders that lists are kept for, PAGE_ALLOC_COSTLY_ORDER and below. */
const KINDS = 3;
const ORDERS = 4;
/** Zones of a node (MAX_NR_ZONES is 6 at most) and nodes (MAX_NUMNODES is 1024). */
const MAX_NODES = 1024;

/** The order of the block around a page, among blocks by their first pages. @internal */
export function orderAround(blocks: ReadonlyMap<number, number>, pfn: number): number | undefined {
  for (let order = 0; order <= MAX_ORDER; order++) {
    const own = blocks.get(pfn - (pfn % 2 ** order));
    if (own !== undefined && own >= order) return own;
  }
  return undefined;
}

/**
 * Blocks in the lists of CPUs, by their first pages, with their orders; `undefined` if the lists can't be found.
 *
 * @internal
 */
export function* readCpuLists(
  data: KernelData,
  array: PageArray,
  cpus: PerCpu | undefined,
  report: OnDamage,
): Routine<ReadonlyMap<number, number> | undefined> {
  const { types, memory } = data;
  const zones = yield* zoneAddresses(data, report);
  if (zones.length === 0 || cpus === undefined) return undefined;
  const rows = yield* ZONE.on(types).read(memory, zones);
  const type = needStruct(types, "per_cpu_pages");
  const lists = findPlace(type, "lists");
  const heads = lists === undefined ? undefined : stripped(lists.type);
  if (lists === undefined || heads?.kind !== "array") return undefined;
  const headSize = sizeOf(heads.element);
  const inOld = rows[0]?.partial.lists === undefined ? offsetOf(types, "per_cpu_pageset", "pcp") : 0;
  const node = PAGE_NODE.on(types).offsetOf("node") ?? 0;
  const found = new Map<number, number>();
  const seen = new Set<bigint>();
  for (const { address, partial, fault } of rows) {
    const pointer = partial.lists ?? partial.old;
    if (pointer === undefined) {
      report(damage("a memory zone", address, "unreadable", fault));
      continue;
    }
    // (Zones without memory share one.)
    if (seen.has(pointer)) continue;
    seen.add(pointer);
    for (const copy of cpus.at(pointer) ?? []) {
      for (let index = 0; index < heads.count; index++) {
        const head = copy.address + BigInt(inOld + lists.bitOffset / 8 + index * headSize);
        // Lists behind these are of large pages: as many as one last table maps.
        const order = index < KINDS * ORDERS ? Math.floor(index / KINDS) : Math.log2(array.pageSize / 8);
        for (const each of yield* walkList(memory, head, `the free pages of CPU ${copy.cpu}`, report)) {
          const pfn = array.pfnOf(each - BigInt(node));
          if (pfn !== undefined) found.set(pfn, order);
        }
      }
    }
  }
  return found;
}

const PAGE_NODE = record("page", { node: place("pcp_list", "lru") });

/** Addresses of every zone of every node. */
function* zoneAddresses(data: KernelData, report: OnDamage): Routine<bigint[]> {
  const { types, memory } = data;
  const single = yield* symbolAddress(data, "contig_page_data");
  const table = yield* symbolAddress(data, "node_data");
  let nodes: bigint[] = [];
  if (single !== undefined) nodes = [single];
  else if (table !== undefined) {
    const length = data.kernel.vmcoreinfo.lengths.get("node_data") ?? 1;
    const found = yield* pointersAt(memory, table, Math.min(length, MAX_NODES));
    if (typeof found === "number") report(damage("node_data", table, "unreadable", found));
    else nodes = [...new Set(found)].filter((address) => address !== 0n);
  }
  if (single === undefined && table === undefined) nodes = yield* nodesByThreads(data, report);
  const zones = findPlace(needStruct(types, "pglist_data"), "node_zones");
  const zonesType = zones === undefined ? undefined : stripped(zones.type);
  if (zones === undefined || zonesType?.kind !== "array") return [];
  const size = sizeOf(zonesType.element);
  return nodes.flatMap((node) =>
    Array.from({ length: zonesType.count }, (_, i) => node + BigInt(zones.bitOffset / 8 + i * size)),
  );
}

const THREAD = record("kthread", { data: word("data") });
const NODE = record("pglist_data", { kswapd: word("kswapd") });

/** Nodes of a kernel whose symbols name none: each has a thread that it names, and that is given it. */
function* nodesByThreads(data: KernelData, report: OnDamage): Routine<bigint[]> {
  const tasks = (yield* readTasks(data, {}, report)).filter(
    ({ kernelThread, comm }) => kernelThread === true && comm?.startsWith("kswapd") === true,
  );
  const threads = yield* readEach(
    data,
    THREAD,
    tasks.map(({ raw }) => raw.thread),
    "a kthread",
    report,
  );
  const pointers = threads.map((thread) => thread?.data);
  const nodes = yield* readEach(data, NODE, pointers, "a memory node", report);
  return pointers.filter((at, i) => at !== undefined && nodes[i]?.kswapd === tasks[i]?.address) as bigint[];
}
