/** Tables and connections in a kernel that has all of netfilter built in and keeps it in older places, made by hand. */
import { beforeEach, describe, expect, it } from "vitest";
import {
  type Damage,
  type LinuxKernel,
  listNetfilterTables,
  listTrackedConnections,
} from "../../../src/linux/index.js";
import { handKernel } from "../../support/hand-kernel.js";
import { HandMemory, HandTypes } from "../../support/kernel-memory.js";

const WILD = 0xffff_dead_0000_0000n;
const NUMBER = "unsigned int";
const LIST = "struct list_head";

/** Up to 5.11 lists of tables were in `struct net`. (Layouts of types are as those members need.) */
function olderTypes(): HandTypes {
  return new HandTypes()
    .struct("list_head", ["next", "struct list_head*"], ["prev", "struct list_head*"])
    .struct("ns_common", ["inum", NUMBER])
    .struct("net_device", ["name", "char[16]"])
    .struct("netns_nft", ["tables", LIST], ["gencursor", "unsigned char"])
    .struct("netns_xt", ["tables", `${LIST}[13]`])
    .struct(
      "net",
      ["list", LIST],
      ["ns", "struct ns_common"],
      ["nft", "struct netns_nft"],
      ["xt", "struct netns_xt"],
    )
    .struct(
      "nft_table",
      ["list", LIST],
      ["chains", LIST],
      ["family", NUMBER, 6],
      ["genmask", NUMBER, 2],
      ["name", "char*"],
    )
    .struct(
      "nft_chain",
      ["rules", LIST],
      ["list", LIST],
      ["flags", NUMBER, 6],
      ["genmask", NUMBER, 2],
      ["name", "char*"],
    )
    .struct(
      "nf_hook_ops",
      ["dev", "struct net_device*"],
      ["pf", NUMBER],
      ["hooknum", NUMBER],
      ["priority", "int"],
    )
    .struct("nft_chain_type", ["name", "char*"])
    .struct(
      "nft_base_chain",
      ["ops", "struct nf_hook_ops"],
      ["type", "struct nft_chain_type*"],
      ["policy", "unsigned char"],
      ["chain", "struct nft_chain"],
    )
    .struct("nft_rule", ["list", LIST], ["genmask", NUMBER, 2])
    .struct("xt_table_info", ["size", NUMBER], ["number", NUMBER])
    .struct(
      "xt_table",
      ["list", LIST],
      ["valid_hooks", NUMBER],
      ["private", "struct xt_table_info*"],
      ["af", "unsigned char"],
      ["name", "char[32]"],
    )
    .struct("possible_net", ["net", "struct net*"])
    .union("proto_number", ["all", "unsigned char[2]"])
    .struct("tuple_from", ["u3", "unsigned char[16]"], ["u", "union proto_number"], ["l3num", "short int"])
    .struct(
      "tuple_to",
      ["u3", "unsigned char[16]"],
      ["u", "union proto_number"],
      ["protonum", "unsigned char"],
      ["dir", "unsigned char"],
    )
    .struct("nf_conntrack_tuple", ["src", "struct tuple_from"], ["dst", "struct tuple_to"])
    .struct(
      "nf_conntrack_tuple_hash",
      ["hnnode", "long unsigned int[2]"],
      ["tuple", "struct nf_conntrack_tuple"],
    )
    .struct("ip_ct_tcp", ["state", "unsigned char"])
    .union("nf_conntrack_proto", ["tcp", "struct ip_ct_tcp"])
    .struct(
      "nf_conn",
      ["tuplehash", "struct nf_conntrack_tuple_hash[2]"],
      ["status", "long unsigned int"],
      ["ct_net", "struct possible_net"],
      ["mark", NUMBER],
      ["proto", "union nf_conntrack_proto"],
    );
}

let types: HandTypes;
let memory: HandMemory;
let kernel: LinuxKernel;
let net: bigint;
let buckets: bigint;
let told: Damage[];
const onDamage = (each: Damage) => told.push(each);

const at = (base: bigint, struct: string, path: string) => base + BigInt(types.offset(struct, path));

function ring(head: bigint, nodes: readonly bigint[]): void {
  const all = [head, ...nodes];
  for (const [i, node] of all.entries()) {
    memory.put(node, all[(i + 1) % all.length] as bigint);
    memory.put(node + 8n, all.at(i - 1) as bigint);
  }
}

function textAt(value: string, place = memory.take(value.length + 1)): bigint {
  memory.bytes(place, new TextEncoder().encode(`${value}\0`));
  return place;
}

function words(
  base: bigint,
  struct: string,
  values: Readonly<Record<string, number | bigint>>,
  size = 4,
): void {
  for (const [path, value] of Object.entries(values)) memory.put(at(base, struct, path), value, size);
}

beforeEach(() => {
  types = olderTypes();
  memory = new HandMemory(types);
  told = [];
  const namespaces = memory.take(16);
  net = memory.take(1024);
  buckets = memory.take(64);
  memory.put(at(net, "net", "ns.inum"), 42, 4);
  ring(namespaces, [at(net, "net", "list")]);
  ring(at(net, "net", "nft.tables"), []);
  for (let family = 0; family < 13; family++) ring(at(net, "net", `xt.tables[${family}]`), []);
  const table = memory.take(16);
  memory.put(table, buckets);
  memory.put(table + 8n, 8, 4);
  for (let i = 0; i < 8; i++) memory.put(buckets + BigInt(8 * i), 2 * i + 1);
  kernel = handKernel(types, memory, {
    variables: {
      net_namespace_list: namespaces,
      nf_conntrack_hash: table,
      nf_conntrack_htable_size: table + 8n,
    },
  });
});

describe("nf_tables before 5.12", () => {
  /** Bits of `family` and `genmask`, which share a word. */
  const FAMILY = { family: 5 };

  /** A table with a base chain of two rules, one of which is being removed, and one that is jumped to. */
  function build(): { table: bigint; base: bigint; plain: bigint; rules: bigint[] } {
    const table = memory.take(64);
    words(table, "nft_table", FAMILY);
    words(table, "nft_table", { name: textAt("of a device") }, 8);
    const base = memory.take(160);
    const device = textAt("eth0");
    words(base, "nft_base_chain", { "ops.hooknum": 0, "ops.priority": -7 });
    words(base, "nft_base_chain", { "ops.dev": device, type: textAt("filter", memory.take(16)) }, 8);
    const type = memory.take(8);
    memory.put(type, textAt("filter"));
    words(base, "nft_base_chain", { type, "chain.name": textAt("comes") }, 8);
    words(base, "nft_base_chain", { policy: 1, "chain.flags": 1 }, 1);
    const plain = memory.take(64);
    words(plain, "nft_chain", { name: textAt("jumped to") }, 8);
    const rules = [memory.take(24), memory.take(24)];
    // Not there in generation 0.
    memory.put(at(rules[1] as bigint, "nft_rule", "genmask"), 1, 1);
    ring(at(base, "nft_base_chain", "chain.rules"), rules);
    ring(at(plain, "nft_chain", "rules"), []);
    ring(at(table, "nft_table", "chains"), [
      at(base, "nft_base_chain", "chain.list"),
      at(plain, "nft_chain", "list"),
    ]);
    ring(at(net, "net", "nft.tables"), [table]);
    return { table, base, plain, rules };
  }

  it("gives chains with what they hang at, and without what is not active", async () => {
    const { table, base, plain } = build();
    expect(await listNetfilterTables(kernel).toArray()).toEqual([
      {
        system: "nf_tables",
        namespace: 42,
        family: "netdev",
        name: "of a device",
        address: table,
        chains: [
          {
            name: "comes",
            type: "filter",
            hook: "ingress",
            priority: -7,
            policy: "accept",
            devices: ["eth0"],
            rules: 1,
            address: at(base, "nft_base_chain", "chain"),
          },
          {
            name: "jumped to",
            type: null,
            hook: null,
            priority: null,
            policy: null,
            devices: [],
            rules: 0,
            address: plain,
          },
        ],
      },
    ]);
    // In generation 1, the other rule is there too.
    memory.put(at(net, "net", "nft.gencursor"), 1, 1);
    expect(await listNetfilterTables(kernel).toArray()).toMatchObject([{ chains: [{ rules: 2 }, {}] }]);
  });

  it("gives what can be reached of lists that lead nowhere or round, and tells it", async () => {
    const { base, rules } = build();
    memory.put(rules[1] as bigint, rules[0] as bigint);
    memory.put(at(base, "nft_base_chain", "type"), WILD);
    memory.put(at(base, "nft_base_chain", "chain.list"), WILD);
    expect(await listNetfilterTables(kernel, { onDamage }).toArray()).toMatchObject([
      {
        name: "of a device",
        chains: [{ name: "comes", type: undefined, priority: -7 }, { name: "jumped to" }],
      },
    ]);
    expect(told.map(({ what, reason }) => `${what}: ${reason}`).sort()).toEqual([
      "an nft_chain_type: unreadable",
      "the list of a chain's rules: loop",
      "the list of a table's chains: unreadable",
    ]);
  });
});

describe("nf_tables", () => {
  it("whose chains' heads lie in one ring have each chain once, and it is told", async () => {
    const chain = memory.take(64);
    words(chain, "nft_chain", { name: textAt("of one") }, 8);
    ring(at(chain, "nft_chain", "rules"), []);
    const tables = [memory.take(64), memory.take(64)] as const;
    for (const table of tables) {
      words(table, "nft_table", { family: 2 });
      words(table, "nft_table", { name: textAt("memtool") }, 8);
    }
    ring(at(tables[0], "nft_table", "chains"), [
      at(chain, "nft_chain", "list"),
      at(tables[1], "nft_table", "chains"),
    ]);
    ring(at(net, "net", "nft.tables"), tables);
    const found = await listNetfilterTables(kernel, { onDamage }).toArray();
    const chains = found.flatMap((each) => (each.system === "nf_tables" ? each.chains : []));
    expect(chains.filter(({ address }) => address === chain)).toHaveLength(1);
    expect(told).toContainEqual(
      expect.objectContaining({ what: "the list of a table's chains", reason: "mismatch" }),
    );
  });

  it("before 4.17, whose tables are apart by family, are told not to be read", async () => {
    const older = new HandTypes()
      .struct("list_head", ["next", "struct list_head*"], ["prev", "struct list_head*"])
      .struct("ns_common", ["inum", NUMBER])
      .struct("net", ["list", LIST], ["ns", "struct ns_common"])
      .struct("nft_table", ["list", LIST]);
    const head = memory.take(16);
    ring(head, [net]);
    kernel = handKernel(older, memory, { variables: { net_namespace_list: head } });
    expect(await listNetfilterTables(kernel, { onDamage }).toArray()).toEqual([]);
    expect(told).toMatchObject([{ what: "the lists of nf_tables' tables", address: net, reason: "invalid" }]);
  });
});

describe("x_tables before 5.13", () => {
  it("gives each table with its size; one whose entries are not there without it", async () => {
    const info = memory.take(8);
    memory.put(info, 632, 4);
    memory.put(info + 4n, 4, 4);
    const [one, other] = [info, WILD].map((each) => {
      const table = memory.take(96);
      words(table, "xt_table", { valid_hooks: 0b1110 });
      words(table, "xt_table", { private: each }, 8);
      words(table, "xt_table", { af: 10 }, 1);
      textAt("filter", at(table, "xt_table", "name"));
      return table;
    }) as [bigint, bigint];
    ring(at(net, "net", "xt.tables[10]"), [one, other]);
    const same = {
      system: "x_tables",
      namespace: 42,
      family: "ipv6",
      name: "filter",
      hooks: ["input", "forward", "output"],
    };
    expect(await listNetfilterTables(kernel, { onDamage }).toArray()).toEqual([
      { ...same, size: 632, entries: 4, address: one },
      { ...same, size: undefined, entries: undefined, address: other },
    ]);
    expect(told).toMatchObject([{ what: "an xt_table_info", address: WILD, reason: "unreadable" }]);
  });
});

describe("connections", () => {
  /** A connection of TCP, in the chains of these buckets by its two directions. */
  function build(chains: readonly number[], direction = 1): bigint {
    const connection = memory.take(512);
    for (const [i, ends] of [
      [1, 2],
      [2, 1],
    ].entries()) {
      const path = (name: string) => at(connection, "nf_conn", `tuplehash[${i}].tuple.${name}`);
      const bytes = (name: string, ...values: number[]) => memory.bytes(path(name), Uint8Array.from(values));
      bytes("src.u3", 10, 0, 0, ends[0] as number);
      bytes("dst.u3", 10, 0, 0, ends[1] as number);
      bytes("src.u.all", ends[0] as number, 0);
      bytes("dst.u.all", ends[1] as number, 0);
      memory.put(path("src.l3num"), 2, 2);
      bytes("dst.protonum", 6);
      bytes("dst.dir", i === 0 ? 0 : direction);
      const bucket = buckets + BigInt(8 * (chains[i] as number));
      const node = at(connection, "nf_conn", `tuplehash[${i}]`);
      const first = new DataView((memory.pages.get(bucket / 4096n) as Uint8Array).buffer);
      memory.put(node, first.getBigUint64(Number(bucket % 4096n), true));
      memory.put(bucket, node);
    }
    words(connection, "nf_conn", { status: 6, "ct_net.net": net }, 8);
    words(connection, "nf_conn", { "proto.tcp.state": 3 }, 1);
    return connection;
  }
  const list = () => listTrackedConnections(kernel, { onDamage }).toArray();
  const original = { source: "10.0.0.1", destination: "10.0.0.2", sourcePort: 256, destinationPort: 512 };
  const reply = { source: "10.0.0.2", destination: "10.0.0.1", sourcePort: 512, destinationPort: 256 };

  it("are there once, though either direction is in the table", async () => {
    const address = build([3, 5]);
    expect(await list()).toEqual([
      {
        namespace: 42,
        family: "ipv4",
        protocol: "tcp",
        state: "ESTABLISHED",
        original,
        reply,
        replied: true,
        assured: true,
        mark: 0,
        status: 6n,
        address,
      },
    ]);
    expect(told).toEqual([]);
  });

  it.each([
    [0xffff_ffff_ffff_fff9n, false, false],
    [2n, true, false],
    [4n, false, true],
  ])("of status %d were answered: %s, and are assured: %s", async (status, replied, assured) => {
    const address = build([3, 5]);
    words(address, "nf_conn", { status }, 8);
    expect(await list()).toMatchObject([{ status, replied, assured }]);
  });

  it("of which one direction can't be reached are given without it, which is told", async () => {
    build([3, 5]);
    memory.put(buckets + 24n, WILD);
    expect(await list()).toMatchObject([{ original: undefined, reply, state: "ESTABLISHED" }]);
    expect(told.map(({ reason }) => reason)).toEqual(["unreadable", "mismatch"]);
  });

  it("with a direction that can't be, or chains that lead round, are told", async () => {
    const address = build([3, 3], 7);
    memory.put(address, at(address, "nf_conn", "tuplehash[1]"));
    expect(await list()).toMatchObject([{ address, original, reply: undefined }]);
    expect(told.map(({ reason }) => reason)).toEqual(["loop", "invalid", "mismatch"]);
  });

  it("whose table no symbol names are told where the module is loaded", async () => {
    types.struct("module", ["list", LIST], ["name", "char[16]"], ["state", NUMBER]);
    const modules = memory.take(16);
    const module = memory.take(64);
    textAt("nf_conntrack", at(module, "module", "name"));
    ring(modules, [module]);
    kernel = handKernel(types, memory, { variables: { modules } });
    expect(await list()).toEqual([]);
    expect(told.map(({ message }) => message)).toEqual([
      expect.stringMatching(/no symbol nf_conntrack_hash$/),
    ]);
  });

  it("whose table no symbol names are told where the code is built in", async () => {
    kernel = handKernel(types, memory, {
      variables: {},
      functions: { nf_conntrack_in: 0xffff_ffff_8100_0000n },
    });
    expect(await list()).toEqual([]);
    expect(told).toMatchObject([{ what: "the table of connections", reason: "unreadable" }]);
  });

  it("are not looked for in more chains than any kernel has", async () => {
    build([3, 5]);
    kernel = handKernel(types, memory, {
      variables: { nf_conntrack_hash: buckets - 8n, nf_conntrack_htable_size: net },
    });
    memory.put(net, 0xffff_ffff, 4);
    expect(await list()).toEqual([]);
    expect(told).toMatchObject([{ what: "the table of connections", reason: "too long" }]);
  });
});

it("a kernel without any of that has none, and one whose namespaces are not found tells it", async () => {
  const bare = new HandTypes()
    .struct("list_head", ["next", "struct list_head*"], ["prev", "struct list_head*"])
    .struct("ns_common", ["inum", NUMBER])
    .struct("net", ["list", LIST], ["ns", "struct ns_common"]);
  const head = memory.take(16);
  ring(head, [net]);
  const hand = handKernel(bare, memory, { variables: { net_namespace_list: head } });
  expect(await listTrackedConnections(hand).toArray()).toEqual([]);
  expect(await listNetfilterTables(hand).toArray()).toEqual([]);
  const lost = handKernel(bare, memory, { variables: { init_task: 0n } });
  expect(await listNetfilterTables(lost, { onDamage }).toArray()).toEqual([]);
  expect(told).toMatchObject([{ what: "the list of network namespaces", reason: "unreadable" }]);
});
