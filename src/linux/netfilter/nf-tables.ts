/**
 * Tables and chains of nf_tables, as `nft list ruleset` names them.
 *
 * Facts: include/net/netfilter/nf_tables.h (`nft_table`, `nft_chain`, `nft_base_chain`, `nft_chain_type`, `nft_hook`, `nft_rule`;
 * what is not active in the current generation is being made or removed: `nft_is_active`),
 * include/uapi/linux/netfilter/nf_tables.h (NFT_CHAIN_BASE).
 */
import type { Routine } from "../../io/index.js";
import type { KernelData } from "../kernel-data.js";
import { damage, type OnDamage } from "../objects/damage.js";
import { walkList } from "../objects/list.js";
import { readWhole } from "../objects/read-each.js";
import {
  hasStruct,
  int,
  maybe,
  offsetOf,
  place,
  record,
  text,
  type Values,
  word,
} from "../objects/record.js";
import { readStrings } from "../objects/strings.js";
import { dataOfPart, perNamespace } from "./module-parts.js";
import { netfilterFamily, netfilterHook } from "./names.js";

/** Since 5.12, what it keeps for a namespace is behind `net_generic`. */
const PERNET = record("nftables_pernet", { tables: place("tables"), cursor: maybe(int("gencursor")) });
/** Before. (Until 4.16, tables were apart by family: those are not read.) */
const NET = record("net", { tables: maybe(place("nft.tables")), cursor: maybe(int("nft.gencursor")) });
const TABLE = record("nft_table", {
  chains: place("chains"),
  family: int("family"),
  genmask: int("genmask"),
  name: word("name"),
});
const CHAIN = record("nft_chain", {
  rules: place("rules"),
  flags: int("flags"),
  genmask: int("genmask"),
  name: word("name"),
});
const BASE = record("nft_base_chain", {
  family: int("ops.pf"),
  hook: int("ops.hooknum"),
  priority: int("ops.priority"),
  type: word("type"),
  policy: int("policy"),
  // Since 5.5 a chain may be at several devices; before, the ops name the one.
  hooks: maybe(place("hook_list")),
  device: maybe(word("ops.dev")),
});
const TYPE = record("nft_chain_type", { name: word("name") });
const RULE = record("nft_rule", { genmask: int("genmask") });
const HOOK = record("nft_hook", { device: maybe(word("ops.dev")) });
const DEVICE = record("net_device", { name: text("name") });

/** NFT_CHAIN_BASE: it hangs at a hook. */
const IS_BASE = 1;
const POLICIES = ["drop", "accept"] as const;
/** Names are cut there: NFT_NAME_MAXLEN is 256. */
const MAX_NAME = 256;
/** Nodes of all lists that are walked: no ruleset has as many. */
const MAX_NODES = 1 << 22;

/** A chain of rules. What could not be read is `undefined`; what it has not, since it is only jumped to, is null. */
export interface NetfilterChain {
  readonly name: string | undefined;
  /** "filter", "nat", "route". */
  readonly type: string | null | undefined;
  /** As hooks have it: "input", "ingress". */
  readonly hook: string | null | undefined;
  readonly priority: number | null | undefined;
  /** What becomes of a packet that no rule decides about: "accept", "drop". */
  readonly policy: string | null | undefined;
  /** Devices that it is for; those of all packets have none. */
  readonly devices: readonly (string | undefined)[];
  /** Number of its rules. */
  readonly rules: number;
  /** Address of its `struct nft_chain`. */
  readonly address: bigint;
}

/** A table of nf_tables. */
export interface FoundTable {
  readonly namespace: number;
  readonly family: string;
  readonly name: string | undefined;
  readonly chains: readonly NetfilterChain[];
  readonly address: bigint;
}

/** What the lists of a namespace need. */
interface Generation {
  readonly data: KernelData;
  /** Bit of what is not there in the current generation. */
  readonly inactive: number;
  readonly walked: Walked;
  readonly report: OnDamage;
}

/** Nodes of lists of all namespaces: each is in one. */
interface Walked {
  readonly nodes: Set<bigint>;
  left: number;
}

/** Tables of namespaces, in their order, with the index of the namespace; none where nf_tables is not loaded. */
export function* readNfTables(
  kernelData: KernelData,
  nets: readonly bigint[],
  report: OnDamage,
): Routine<FoundTable[]> {
  const data = yield* dataOfPart(kernelData, "nf_tables", "nft_table", report);
  if (data === undefined) return [];
  const heads = yield* headsOf(data, nets, report);
  const found: FoundTable[] = [];
  const walked = { nodes: new Set<bigint>(), left: MAX_NODES };
  for (const [namespace, head] of heads.entries()) {
    if (head?.tables === undefined) {
      if (head !== undefined) {
        const why = "before Linux 4.17 they are apart by family: those are not read";
        report(damage("the lists of nf_tables' tables", nets[namespace] as bigint, "invalid", 0, why));
      }
      continue;
    }
    const generation = { data, inactive: 1 << (head.cursor ?? 0), walked, report };
    for (const table of yield* tablesOf(generation, head.tables)) found.push({ namespace, ...table });
  }
  return found;
}

/** Where the tables of namespaces are. */
function* headsOf(
  data: KernelData,
  nets: readonly bigint[],
  report: OnDamage,
): Routine<({ tables: bigint | undefined; cursor: number | undefined } | undefined)[]> {
  const own = yield* readWhole(data, NET, nets, "a network namespace", report);
  if (!hasStruct(data.types, "nftables_pernet")) return own;
  const places = yield* perNamespace(data, "nf_tables", "nf_tables_net_id", nets, report);
  const parts = yield* readWhole(data, PERNET, places, "an nftables_pernet", report);
  // (The number of the generation stayed with the namespace.)
  return parts.map((part, i) => part && { tables: part.tables, cursor: part.cursor ?? own[i]?.cursor });
}

/** The structures around the nodes of a list. */
function* listOf(
  { data, walked, report }: Generation,
  head: bigint,
  struct: string,
  what: string,
): Routine<bigint[]> {
  const offset = BigInt(offsetOf(data.types, struct, "list"));
  if (walked.left <= 0) {
    report(damage(what, head, "too long", 0, `there are more than ${MAX_NODES} nodes in all lists`));
    return [];
  }
  const nodes = yield* walkList(data.memory, head, what, report);
  walked.left -= nodes.length;
  // (A ring may lead through many heads: each would list all of it.)
  const own = nodes.filter((node) => !walked.nodes.has(node));
  for (const node of own) walked.nodes.add(node);
  if (own.length < nodes.length) report(damage(what, head, "mismatch", 0, "another list has a part of it"));
  return own.map((node) => node - offset);
}

function* tablesOf(generation: Generation, head: bigint): Routine<Omit<FoundTable, "namespace">[]> {
  const { data, inactive, report } = generation;
  const addresses = yield* listOf(generation, head, "nft_table", "the list of nf_tables' tables");
  const rows = yield* readWhole(data, TABLE, addresses, "an nft_table", report);
  const names = yield* namesOf(generation, rows, "the name of a table");
  const found: Omit<FoundTable, "namespace">[] = [];
  for (const [i, row] of rows.entries()) {
    if (row === undefined || (row.genmask & inactive) !== 0) continue;
    const chains = yield* chainsOf(generation, row.chains, row.family);
    found.push({
      family: netfilterFamily(row.family),
      name: names[i],
      chains,
      address: addresses[i] as bigint,
    });
  }
  return found;
}

function* namesOf(
  { data, report }: Generation,
  rows: readonly ({ readonly name: bigint } | undefined)[],
  what: string,
): Routine<(string | undefined)[]> {
  const pointers = rows.map((row) => row?.name);
  return yield* readStrings(data.memory, pointers, what, report, MAX_NAME);
}

function* chainsOf(generation: Generation, head: bigint, family: number): Routine<NetfilterChain[]> {
  const { data, inactive, report } = generation;
  const addresses = yield* listOf(generation, head, "nft_chain", "the list of a table's chains");
  const rows = yield* readWhole(data, CHAIN, addresses, "an nft_chain", report);
  const names = yield* namesOf(generation, rows, "the name of a chain");
  const toBase = BigInt(offsetOf(data.types, "nft_base_chain", "chain"));
  const isBase = (i: number) => ((rows[i]?.flags ?? 0) & IS_BASE) !== 0;
  const places = addresses.map((address, i) => (isBase(i) ? address - toBase : undefined));
  const bases = yield* readWhole(data, BASE, places, "an nft_base_chain", report);
  const pointers = bases.map((base) => base?.type);
  const types = yield* readWhole(data, TYPE, pointers, "an nft_chain_type", report);
  const typeNames = yield* namesOf(generation, types, "the name of a type of chains");
  const found: NetfilterChain[] = [];
  for (const [i, row] of rows.entries()) {
    if (row === undefined || (row.genmask & inactive) !== 0) continue;
    const base = bases[i];
    const none = isBase(i) ? undefined : null;
    found.push({
      name: names[i],
      type: base === undefined ? none : typeNames[i],
      hook: base === undefined ? none : netfilterHook(netfilterFamily(family), base.hook),
      priority: base === undefined ? none : base.priority,
      policy: base === undefined ? none : (POLICIES[base.policy] ?? String(base.policy)),
      devices: base === undefined ? [] : yield* devicesOf(generation, base),
      rules: yield* ruleCount(generation, row.rules),
      address: addresses[i] as bigint,
    });
  }
  return found;
}

function* devicesOf(
  generation: Generation,
  { hooks, device }: Values<typeof BASE.fields>,
): Routine<(string | undefined)[]> {
  const { data, report } = generation;
  let devices = [device];
  if (hooks !== undefined && hasStruct(data.types, "nft_hook")) {
    // (Chains for all devices have a list that was never begun.)
    const [first] = yield* LINK.on(data.types).read(data.memory, [hooks]);
    if (first?.partial.next === 0n) return [];
    const list = yield* listOf(generation, hooks, "nft_hook", "the list of a chain's devices");
    const rows = yield* readWhole(data, HOOK, list, "an nft_hook", report);
    devices = rows.map((row) => row?.device);
  }
  const named = devices.filter((each) => each !== undefined && each !== 0n);
  const rows = yield* readWhole(data, DEVICE, named, "a network device", report);
  return rows.map((row) => row?.name);
}

const LINK = record("list_head", { next: word("next") });

/** Each rule is in one list. */
function* ruleCount(generation: Generation, head: bigint): Routine<number> {
  const { data, inactive, report } = generation;
  const rules = yield* listOf(generation, head, "nft_rule", "the list of a chain's rules");
  const rows = yield* RULE.on(data.types).read(data.memory, rules);
  for (const { address, fault } of rows) {
    if (fault !== 0) report(damage("an nft_rule", address, "unreadable", fault));
  }
  return rows.filter(({ partial }) => ((partial.genmask ?? 0) & inactive) === 0).length;
}
