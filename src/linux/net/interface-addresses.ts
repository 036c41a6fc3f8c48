/**
 * Internet addresses of network interfaces.
 *
 * Facts: include/linux/inetdevice.h (`struct in_device`, `in_ifaddr`), include/net/if_inet6.h (`struct inet6_dev`, `inet6_ifaddr`;
 * its scopes are bits of include/net/ipv6.h, IPV6_ADDR_SCOPE_MASK).
 */
import type { Routine } from "../../io/index.js";
import type { KernelData } from "../kernel-data.js";
import type { OnDamage } from "../objects/damage.js";
import { walkChain, walkList } from "../objects/list.js";
import { readEach } from "../objects/read-each.js";
import { hasStruct, int, maybe, offsetOf, place, raw, record, text, word } from "../objects/record.js";
import { scopeName } from "./interface-names.js";
import { ipv4Text, ipv6Text } from "./names.js";

const FOUR = record("in_device", { first: word("ifa_list") });
const ADDRESS4 = record("in_ifaddr", {
  local: raw("ifa_local"),
  peer: raw("ifa_address"),
  prefix: int("ifa_prefixlen"),
  broadcast: raw("ifa_broadcast"),
  scope: int("ifa_scope"),
  label: text("ifa_label"),
});
const SIX = record("inet6_dev", { addresses: place("addr_list") });
const ADDRESS6 = record("inet6_ifaddr", {
  local: raw("addr"),
  peer: maybe(raw("peer_addr")),
  prefix: int("prefix_len"),
  scope: int("scope"),
});

/** Bits of an IPv6 address's kind that are its scope, and what each is. */
const SCOPES6: readonly (readonly [number, number])[] = [
  [0x10, 254],
  [0x20, 253],
  [0x40, 200],
];

/** An Internet address of an interface. */
export interface InterfaceAddress {
  readonly family: "inet" | "inet6";
  /** "127.0.0.1", "::1". */
  readonly address: string;
  /** Bits of the network's part. */
  readonly prefix: number;
  /** The other end's, of a link with two ends; else null. */
  readonly peer: string | null;
  /** Of IPv4; null where there is none. */
  readonly broadcast: string | null;
  /** "global", "site", "link", "host". */
  readonly scope: string;
  /** Of IPv4: the interface's name, or an alias of it ("eth0:1"); else null. */
  readonly label: string | null;
}

/** The IPv4 addresses behind each `struct in_device`, in the kernel's order. What can't be read is missing. */
export function* readAddresses4(
  data: KernelData,
  devices: readonly (bigint | undefined)[],
  report: OnDamage,
): Routine<InterfaceAddress[][]> {
  const { memory, types } = data;
  const found = yield* readEach(data, FOUR, devices, "the IPv4 part of an interface", report);
  const next = offsetOf(types, "in_ifaddr", "ifa_next");
  const lists: bigint[][] = [];
  // (No address is another interface's: a loop from one to the other ends there.)
  const seen = new Set<bigint>();
  for (const device of found) {
    const first = device?.first ?? 0n;
    lists.push(yield* walkChain(memory, first, "the IPv4 addresses of an interface", report, next, seen));
  }
  const rows = yield* readEach(data, ADDRESS4, lists.flat(), "an IPv4 address", report);
  return inLists(rows, lists).map((each) =>
    each.flatMap((row) => {
      if (row?.local === undefined || row.prefix === undefined) return [];
      const address = ipv4Text(row.local);
      const peer = row.peer === undefined ? address : ipv4Text(row.peer);
      const broadcast = row.broadcast === undefined ? "0.0.0.0" : ipv4Text(row.broadcast);
      return [
        {
          family: "inet",
          address,
          prefix: row.prefix,
          peer: peer === address ? null : peer,
          broadcast: broadcast === "0.0.0.0" ? null : broadcast,
          scope: scopeName(row.scope ?? 0),
          label: row.label ?? null,
        },
      ];
    }),
  );
}

/** The IPv6 addresses behind each `struct inet6_dev`, in the kernel's order; none of a kernel without IPv6. */
export function* readAddresses6(
  data: KernelData,
  devices: readonly (bigint | undefined)[],
  report: OnDamage,
): Routine<InterfaceAddress[][]> {
  const { memory, types } = data;
  if (!hasStruct(types, "inet6_dev") || !hasStruct(types, "inet6_ifaddr")) return devices.map(() => []);
  const head = BigInt(SIX.on(types).offsetOf("addresses") ?? 0);
  const offset = BigInt(offsetOf(types, "inet6_ifaddr", "if_list"));
  const lists: bigint[][] = [];
  for (const device of devices) {
    if (device === undefined || device === 0n) {
      lists.push([]);
      continue;
    }
    const nodes = yield* walkList(memory, device + head, "the IPv6 addresses of an interface", report);
    lists.push(nodes.map((node) => node - offset));
  }
  const rows = yield* readEach(data, ADDRESS6, lists.flat(), "an IPv6 address", report);
  return inLists(rows, lists).map((each) =>
    each.flatMap((row) => {
      if (row?.local === undefined || row.prefix === undefined) return [];
      const peer = row.peer === undefined ? "::" : ipv6Text(row.peer);
      const scope = SCOPES6.find(([bit]) => ((row.scope ?? 0) & bit) !== 0)?.[1] ?? 0;
      return [
        {
          family: "inet6",
          address: ipv6Text(row.local),
          prefix: row.prefix,
          peer: peer === "::" ? null : peer,
          broadcast: null,
          scope: scopeName(scope),
          label: null,
        },
      ];
    }),
  );
}

/** Items of many lists, which follow each other, as a list for each. */
function inLists<T>(items: readonly T[], lists: readonly (readonly unknown[])[]): T[][] {
  let end = 0;
  return lists.map(({ length }) => {
    end += length;
    return items.slice(end - length, end);
  });
}
