import {
  listNetfilterHooks,
  listNetfilterTables,
  listTrackedConnections,
  type NetfilterChain,
  type NetfilterHook,
  type NetfilterTable,
  type TrackedConnection,
  type TrackedDirection,
} from "../../src/linux/index.js";
import { UsageError } from "../errors.js";
import type { KernelCommand } from "./command.js";
import { DamageSummary, type ListColumn, showList } from "./listing.js";

const HOOKS: readonly ListColumn<NetfilterHook>[] = [
  { field: "namespace", type: "integer", title: "NETNS", right: true, value: ({ namespace }) => namespace },
  { field: "family", title: "FAMILY", value: ({ family }) => family },
  { field: "hook", title: "HOOK", value: ({ hook }) => hook },
  { field: "device", title: "DEVICE", value: ({ device }) => device },
  { field: "priority", type: "integer", title: "PRIORITY", right: true, value: ({ priority }) => priority },
  { field: "function", title: "FUNCTION", value: (hook) => hook.function },
  {
    field: "module",
    title: "MODULE",
    value: ({ module }) => module ?? null,
    // ("?": whose code it is, nobody tells.)
    cell: ({ module }) => (module === null ? "" : module),
  },
  // (A module of null is the kernel itself only where this is true.)
  { field: "owned", type: "boolean", value: ({ module }) => module !== undefined },
  { field: "table", title: "TABLE", value: ({ table }) => table },
  { field: "chain", title: "CHAIN", value: ({ chain }) => chain },
  { field: "handler", type: "address", title: "HANDLER", value: ({ handler }) => handler },
  { field: "priv", type: "address", title: "PRIV", value: ({ priv }) => priv },
  { field: "registered", value: ({ registered }) => registered },
  { field: "ops", type: "address", title: "OPS", value: ({ ops }) => ops },
];
/** A chain of a table, or a table without chains. */
interface TableRow {
  readonly table: NetfilterTable;
  readonly chain: NetfilterChain | undefined;
}

const TABLES: readonly ListColumn<TableRow>[] = [
  { field: "namespace", type: "integer", title: "NETNS", right: true, value: ({ table }) => table.namespace },
  { field: "system", title: "SYSTEM", value: ({ table }) => table.system },
  { field: "family", title: "FAMILY", value: ({ table }) => table.family },
  { field: "table", title: "TABLE", value: ({ table }) => table.name },
  { field: "chain", title: "CHAIN", value: ofChain(({ name }) => name) },
  { field: "type", title: "TYPE", value: ofChain(({ type }) => type) },
  {
    field: "hooks",
    type: "json",
    title: "HOOKS",
    value: ({ table, chain }) =>
      table.system === "x_tables"
        ? table.hooks
        : chain === undefined || chain.hook === null
          ? []
          : [chain.hook],
  },
  { field: "devices", type: "json", title: "DEVICES", value: ({ chain }) => chain?.devices ?? [] },
  {
    field: "priority",
    type: "integer",
    title: "PRIORITY",
    right: true,
    value: ofChain(({ priority }) => priority),
  },
  { field: "policy", title: "POLICY", value: ofChain(({ policy }) => policy) },
  {
    field: "rules",
    type: "integer",
    title: "RULES",
    right: true,
    value: ({ chain }) => chain?.rules ?? null,
  },
  // (Of x_tables: rules, but also policies and ends.)
  {
    field: "entries",
    type: "integer",
    title: "ENTRIES",
    right: true,
    value: ({ table }) => (table.system === "x_tables" ? table.entries : null),
  },
  {
    field: "size",
    type: "integer",
    title: "SIZE",
    right: true,
    value: ({ table }) => (table.system === "x_tables" ? table.size : null),
  },
  { field: "address", type: "address", value: ({ table, chain }) => chain?.address ?? table.address },
];

function ofChain<T>(value: (chain: NetfilterChain) => T): (row: TableRow) => T | null {
  return ({ chain }) => (chain === undefined ? null : value(chain));
}

const CONNECTIONS: readonly ListColumn<TrackedConnection>[] = [
  { field: "namespace", type: "integer", title: "NETNS", right: true, value: ({ namespace }) => namespace },
  { field: "family", title: "FAMILY", value: ({ family }) => family },
  { field: "protocol", title: "PROTO", value: ({ protocol }) => protocol },
  { field: "state", title: "STATE", value: ({ state }) => state },
  {
    field: "original",
    type: "json",
    title: "ORIGINAL",
    value: ({ original }) => original && { ...original },
    cell: ({ original }) => wayText(original),
  },
  {
    field: "reply",
    type: "json",
    title: "REPLY",
    value: ({ reply }) => reply && { ...reply },
    cell: ({ reply }) => wayText(reply),
  },
  { field: "replied", type: "boolean", title: "REPLIED", value: ({ replied }) => replied },
  { field: "assured", type: "boolean", title: "ASSURED", value: ({ assured }) => assured },
  { field: "mark", type: "integer", value: ({ mark }) => mark ?? null },
  { field: "status", type: "address", value: ({ status }) => status },
  { field: "address", type: "address", value: ({ address }) => address },
];

function wayText(way: TrackedDirection | undefined): string | undefined {
  if (way === undefined) return undefined;
  const end = (address: string, port: number | null) =>
    port === null ? address : `${address.includes(":") ? `[${address}]` : address}:${port}`;
  return `${end(way.source, way.sourcePort)} > ${end(way.destination, way.destinationPort)}`;
}

/** `memtool netfilter`. */
export const NETFILTER: KernelCommand = {
  name: "netfilter",
  description: "functions that netfilter calls for packets, of every network namespace",
  options: [
    ["--tables", "tables and chains of nftables, tables of iptables instead"],
    ["--conntrack", "connections that are tracked instead, as /proc/net/nf_conntrack shows them"],
  ],
  examples: ["netfilter", "netfilter --tables"],
  check: (_, { tables, conntrack }) => {
    if (tables === true && conntrack === true) {
      throw new UsageError("--tables and --conntrack can't be given together");
    }
  },
  run: async ({ session, kernel, options }) => {
    const damage = new DamageSummary();
    const told = { onDamage: damage.add };
    if (options.tables === true) {
      const rows = tableRows(listNetfilterTables(kernel, told));
      return await showList(session, rows, TABLES, damage, "no tables of netfilter", false);
    }
    if (options.conntrack === true) {
      const connections = listTrackedConnections(kernel, told);
      const none = "no connections are tracked";
      return await showList(session, connections, CONNECTIONS, damage, none, false);
    }
    return await showList(session, listNetfilterHooks(kernel, told), HOOKS, damage, "no hooks", false);
  },
};

async function* tableRows(tables: AsyncIterable<NetfilterTable>): AsyncIterable<TableRow> {
  for await (const table of tables) {
    const chains = table.system === "nf_tables" ? table.chains : [];
    if (chains.length === 0) yield { table, chain: undefined };
    for (const chain of chains) yield { table, chain };
  }
}
