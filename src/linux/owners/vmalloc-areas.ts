/**
 * The kernel's areas of virtual memory that are no part of its linear map.
 *
 * Facts: include/linux/vmalloc.h (`struct vmap_area`, `vm_struct`), mm/vmalloc.c (`vmap_area_list`; since 6.9, d0936029562f, a tree and
 * a list for each of `vmap_nodes`, of which there are `nr_vmap_nodes`).
 */
import type { Routine } from "../../io/index.js";
import { type KernelData, symbolAddress } from "../kernel-data.js";
import { damage, type OnDamage } from "../objects/damage.js";
import { walkList } from "../objects/list.js";
import { pointersAt } from "../objects/pointers.js";
import { readEach } from "../objects/read-each.js";
import { hasStruct, needStruct, offsetOf, record, word } from "../objects/record.js";
import { sizeOf } from "../types/c-type.js";
import { findPlace } from "../types/member-path.js";
import { Intervals } from "./intervals.js";

const AREA = record("vmap_area", { start: word("va_start"), end: word("va_end"), vm: word("vm") });
const VM = record("vm_struct", { start: word("addr"), caller: word("caller") });

/** Nodes that are believed in: the kernel has as many as CPUs, up to 128. */
const MAX_NODES = 1024;

/** An area. */
export interface VmallocArea {
  readonly start: bigint;
  /** Exclusive; a guard page is part of it. */
  readonly end: bigint;
  /** The code that asked for it; 0n where nothing says it. */
  readonly caller: bigint;
}

/** All areas in use. @internal */
export function* readVmallocAreas(data: KernelData, report: OnDamage): Routine<Intervals<VmallocArea>> {
  const { memory, types } = data;
  const offset = BigInt(offsetOf(types, "vmap_area", "list"));
  const addresses: bigint[] = [];
  for (const head of yield* heads(data, report)) {
    const nodes = yield* walkList(memory, head, "the list of vmalloc areas", report);
    for (const node of nodes) addresses.push(node - offset);
  }
  const rows = yield* AREA.on(types).read(memory, addresses);
  for (const { address, value, fault } of rows) {
    if (value === undefined) report(damage("a vmalloc area", address, "unreadable", fault));
  }
  const vms = yield* readEach(
    data,
    VM,
    rows.map(({ partial }) => partial.vm),
    "a vm_struct",
    report,
  );
  return new Intervals(
    rows.flatMap(({ address, value }, i) => {
      if (value === undefined) return [];
      const { start, end } = value;
      if (start >= end) {
        report(damage("a vmalloc area", address, "invalid", 0, "it ends before it begins"));
        return [];
      }
      const vm = vms[i];
      return [{ start, end, caller: vm?.start === start ? (vm.caller ?? 0n) : 0n }];
    }),
  );
}

/** The lists. */
function* heads(data: KernelData, report: OnDamage): Routine<bigint[]> {
  const { memory, types } = data;
  const list = yield* symbolAddress(data, "vmap_area_list");
  if (list !== undefined) return [list];
  const nodesAt = yield* symbolAddress(data, "vmap_nodes");
  const countAt = yield* symbolAddress(data, "nr_vmap_nodes");
  if (nodesAt === undefined || !hasStruct(types, "vmap_node")) {
    report(damage("the list of vmalloc areas", 0n, "invalid", 0, "no symbol names it"));
    return [];
  }
  const nodes = yield* pointersAt(memory, nodesAt, 1);
  if (typeof nodes === "number") {
    report(damage("vmap_nodes", nodesAt, "unreadable", nodes));
    return [];
  }
  let count = 1;
  if (countAt !== undefined) {
    const { bytes, holes } = yield* memory.readPartial(countAt, 4);
    const hole = holes[0];
    if (hole !== undefined) report(damage("nr_vmap_nodes", countAt, "unreadable", hole.fault));
    else count = new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, memory.littleEndian);
  }
  if (count > MAX_NODES) {
    report(damage("nr_vmap_nodes", countAt ?? 0n, "invalid", 0, `${count}`));
    count = MAX_NODES;
  }
  const type = needStruct(types, "vmap_node");
  const size = sizeOf(type);
  const place = findPlace(type, "busy.head");
  if (place === undefined) return [];
  const at = place.bitOffset / 8;
  return Array.from({ length: count }, (_, i) => (nodes[0] as bigint) + BigInt(i * size + at));
}
