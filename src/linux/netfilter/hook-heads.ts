/**
 * Where netfilter's hooks hang: heads by family and hook, in namespaces and on devices.
 *
 * Facts: include/net/netns/netfilter.h, include/linux/netdevice.h, net/netfilter/core.c (`nf_hook_entry_head`).
 */
import type { Routine } from "../../io/index.js";
import { type KernelData, symbolAddress } from "../kernel-data.js";
import { damage, type OnDamage } from "../objects/damage.js";
import { walkList } from "../objects/list.js";
import { maybe, needStruct, offsetOf, place, record, text } from "../objects/record.js";
import { type CType, sizeOf, stripped } from "../types/c-type.js";
import { findPlace, type Place } from "../types/member-path.js";
import type { TypeTable } from "../types/type-table.js";
import { type NetfilterFamily, NFPROTO, netfilterFamily } from "./names.js";

/**
 * What hangs there. "array": a pointer to `nf_hook_entries`, since 4.14 (960632ece694). "chain": a pointer to the first of
 * `nf_hook_entry`s that point on, since 4.9. "list": a `list_head` of `nf_hook_ops`.
 */
export type HookLayout = "array" | "chain" | "list";

/** Where the hooks of one family and one of its hooks hang. */
export interface HookHead {
  readonly family: string;
  readonly hook: number;
  /** Name of the device; null where it is a namespace's. */
  readonly device: string | null | undefined;
  /** Address of the pointer, or of the `list_head`. */
  readonly at: bigint;
  readonly layout: HookLayout;
}

/** Members of `netns_nf` since 4.16, in the order of the families' numbers. */
const BY_FAMILY: readonly (readonly [NetfilterFamily, string])[] = [
  ["ipv4", "nf.hooks_ipv4"],
  ["arp", "nf.hooks_arp"],
  ["bridge", "nf.hooks_bridge"],
  ["ipv6", "nf.hooks_ipv6"],
  ["decnet", "nf.hooks_decnet"],
];
/** Before 4.16, one array of arrays. */
const OF_ALL = "nf.hooks";
/** Before 4.3, hooks were no namespace's: `nf_hooks[NFPROTO_NUMPROTO][NF_MAX_HOOKS]`, include/linux/netfilter.h. */
const GLOBAL = { families: 13, hooks: 8 };
/** Larger arrays are damaged types. */
const MAX_ARRAY = 64;

const DEVICE = record("net_device", {
  name: text("name"),
  ingress: maybe(place("nf_hooks_ingress")),
  // Since 5.16.
  egress: maybe(place("nf_hooks_egress")),
});
const NET = record("net", { devices: place("dev_base_head") });

function layoutOf(type: CType): HookLayout | undefined {
  const element = stripped(type);
  if (element.kind === "struct") return element.name === "list_head" ? "list" : undefined;
  if (element.kind !== "pointer") return undefined;
  const target = stripped(element.target);
  if (target.kind !== "struct" && target.kind !== "forward") return undefined;
  return target.name === "nf_hook_entries" ? "array" : target.name === "nf_hook_entry" ? "chain" : undefined;
}

/** Whether the kernel's namespaces have hooks. */
export function hasHooks(types: TypeTable): boolean {
  const net = needStruct(types, "net");
  return [OF_ALL, ...BY_FAMILY.map(([, path]) => path)].some((path) => findPlace(net, path) !== undefined);
}

/** Heads in a namespace. */
export function headsOfNamespace(types: TypeTable, net: bigint): HookHead[] {
  const struct = needStruct(types, "net");
  const heads: HookHead[] = [];
  for (const [family, path] of BY_FAMILY) {
    const found = findPlace(struct, path);
    if (found !== undefined) heads.push(...headsOfArray(net, found, family));
  }
  const all = findPlace(struct, OF_ALL);
  const rows = all === undefined ? undefined : stripped(all.type);
  if (all === undefined || rows?.kind !== "array" || rows.count > MAX_ARRAY) return heads;
  for (let family = 0; family < rows.count; family++) {
    const bitOffset = all.bitOffset + 8 * family * sizeOf(rows.element);
    const row = { type: rows.element, bitOffset, bitSize: 0 };
    heads.push(...headsOfArray(net, row, netfilterFamily(family)));
  }
  return heads;
}

function headsOfArray(base: bigint, { type, bitOffset }: Place, family: string): HookHead[] {
  const array = stripped(type);
  if (array.kind !== "array" || array.count > MAX_ARRAY) return [];
  const layout = layoutOf(array.element);
  if (layout === undefined) return [];
  const stride = sizeOf(array.element);
  return Array.from({ length: array.count }, (_, hook) => ({
    family,
    hook,
    device: null,
    at: base + BigInt(bitOffset / 8 + hook * stride),
    layout,
  }));
}

/** Heads that are no namespace's. */
export function* globalHeads(data: KernelData): Routine<HookHead[]> {
  const at = yield* symbolAddress(data, "nf_hooks");
  if (at === undefined) return [];
  const stride = sizeOf(needStruct(data.types, "list_head"));
  return Array.from({ length: GLOBAL.families * GLOBAL.hooks }, (_, i) => ({
    family: netfilterFamily(Math.floor(i / GLOBAL.hooks)),
    hook: i % GLOBAL.hooks,
    device: null,
    at: at + BigInt(i * stride),
    layout: "list",
  }));
}

/** Heads on the devices of a namespace. */
export function* headsOfDevices(data: KernelData, net: bigint, report: OnDamage): Routine<HookHead[]> {
  const { types, memory } = data;
  const layout = DEVICE.on(types);
  const struct = needStruct(types, "net_device");
  const kinds = (["ingress", "egress"] as const).flatMap((name, hook) => {
    const found = findPlace(struct, `nf_hooks_${name}`);
    const kind = found === undefined ? undefined : layoutOf(found.type);
    return kind === undefined ? [] : [{ name, hook, kind }];
  });
  if (kinds.length === 0) return [];
  const head = net + BigInt(NET.on(types).offsetOf("devices") ?? 0);
  const offset = BigInt(offsetOf(types, "net_device", "dev_list"));
  const nodes = yield* walkList(memory, head, "the list of network devices", report);
  const rows = yield* layout.read(
    memory,
    nodes.map((node) => node - offset),
  );
  return rows.flatMap(({ address, partial, fault }) => {
    if (fault !== 0) report(damage("a network device", address, "unreadable", fault));
    return kinds.map(({ name, hook, kind }) => ({
      family: netfilterFamily(NFPROTO.netdev),
      hook,
      device: partial.name,
      at: partial[name] as bigint,
      layout: kind,
    }));
  });
}
