import { type InterfaceAddress, listInterfaces, type NetworkInterface } from "../../src/linux/index.js";
import type { KernelCommand } from "./command.js";
import { DamageSummary, type ListColumn, showList } from "./listing.js";

const COLUMNS: readonly ListColumn<NetworkInterface>[] = [
  { field: "namespace", type: "integer", title: "NETNS", right: true, value: ({ namespace }) => namespace },
  { field: "index", type: "integer", title: "INDEX", right: true, value: ({ index }) => index },
  { field: "name", title: "NAME", value: ({ name }) => name },
  { field: "type", title: "TYPE", value: ({ type }) => type },
  { field: "kind", title: "KIND", value: ({ kind }) => kind },
  { field: "state", title: "STATE", value: ({ state }) => state },
  { field: "flags", type: "integer", value: ({ flags }) => flags },
  {
    field: "flagNames",
    type: "json",
    title: "FLAGS",
    value: ({ flagNames }) => flagNames,
    cell: ({ flagNames }) => flagNames?.join(","),
  },
  {
    field: "promiscuity",
    type: "integer",
    title: "PROMISC",
    right: true,
    value: ({ promiscuity }) => promiscuity,
  },
  { field: "mtu", type: "integer", title: "MTU", right: true, value: ({ mtu }) => mtu },
  { field: "hardware", title: "LINK ADDRESS", value: ({ hardware }) => hardware },
  {
    field: "addresses",
    type: "json",
    title: "ADDRESSES",
    value: ({ addresses }) => addresses.map((each) => ({ ...each })),
    cell: ({ addresses }) => addresses.map(addressText).join(", "),
  },
  { field: "operations", value: ({ operations }) => operations },
  { field: "receiver", title: "RECEIVER", value: ({ receiver }) => receiver },
  { field: "receiverModule", value: ({ receiverModule }) => receiverModule },
  { field: "device", type: "address", title: "DEVICE", value: ({ address }) => address },
];

/** `memtool interfaces`. */
export const INTERFACES: KernelCommand = {
  name: "interfaces",
  description:
    "network interfaces of every network namespace: addresses, flags, who listens to all of their packets",
  examples: ["interfaces"],
  run: async ({ session, kernel }) => {
    const damage = new DamageSummary();
    const interfaces = listInterfaces(kernel, { onDamage: damage.add });
    return await showList(session, interfaces, COLUMNS, damage, "no network interfaces");
  },
};

function addressText({ address, prefix, peer }: InterfaceAddress): string {
  return peer === null ? `${address}/${prefix}` : `${address} peer ${peer}/${prefix}`;
}
