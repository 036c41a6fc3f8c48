/** The same hooks in kernels of each layout of them, made by hand; and what damage does to each. */
import { beforeEach, describe, expect, it } from "vitest";
import { type Damage, type LinuxKernel, listNetfilterHooks } from "../../../src/linux/index.js";
import { handKernel } from "../../support/hand-kernel.js";
import { HandMemory, HandTypes, type MemberOf } from "../../support/kernel-memory.js";

const TEXT = 0xffff_ffff_8100_0000n;
const FUNCTIONS = { one: TEXT + 0x100n, two: TEXT + 0x200n, three: TEXT + 0x300n };
/** In no module's memory. */
const HIDDEN = 0xffff_ffff_c000_1000n;
const WILD = 0xffff_dead_0000_0000n;
const PRIV = 0x1234n;

interface Wanted {
  readonly family: number;
  readonly hook: number;
  readonly functions: readonly (readonly [bigint, priority: number])[];
}
const IPV4: Wanted = {
  family: 2,
  hook: 1,
  functions: [
    [FUNCTIONS.one, -5],
    [FUNCTIONS.two, 10],
  ],
};
const IPV6: Wanted = { family: 10, hook: 4, functions: [[FUNCTIONS.three, 0]] };
const DEVICE: Wanted = { family: 5, hook: 0, functions: [[HIDDEN, 7]] };

const CHAINED: readonly MemberOf[] = [
  ["next", "struct nf_hook_entry*"],
  ["hook", "long unsigned int"],
  ["priv", "long unsigned int"],
  ["orig_ops", "struct nf_hook_ops*"],
];

/** How a kernel has its hooks. */
interface Layout {
  readonly name: string;
  readonly kind: "array" | "chain" | "list";
  readonly entry: readonly MemberOf[];
  /** Members of `netns_nf`. */
  readonly heads: readonly MemberOf[];
}

const LAYOUTS: readonly Layout[] = [
  {
    name: "arrays, by family (4.16)",
    kind: "array",
    entry: CHAINED.slice(1, 3),
    heads: [
      ["hooks_ipv4", "struct nf_hook_entries *[5]"],
      ["hooks_ipv6", "struct nf_hook_entries *[5]"],
      ["hooks_arp", "struct nf_hook_entries *[3]"],
    ],
  },
  {
    name: "arrays, of all families (4.14)",
    kind: "array",
    entry: CHAINED.slice(1, 3),
    heads: [["hooks", "struct nf_hook_entries *[13][8]"]],
  },
  {
    name: "chains (4.10)",
    kind: "chain",
    entry: CHAINED,
    heads: [["hooks", "struct nf_hook_entry *[13][8]"]],
  },
  {
    name: "chains of whole ops (4.9)",
    kind: "chain",
    entry: [
      ["next", "struct nf_hook_entry*"],
      ["ops", "struct nf_hook_ops"],
      ["orig_ops", "struct nf_hook_ops*"],
    ],
    heads: [["hooks", "struct nf_hook_entry *[13][8]"]],
  },
  {
    name: "lists (4.3)",
    kind: "list",
    entry: CHAINED,
    heads: [["hooks", "struct list_head[13][8]"]],
  },
  { name: "lists of no namespace (4.2)", kind: "list", entry: CHAINED, heads: [] },
];

/** A kernel with one namespace, 42, one device, "eth0", and the hooks. */
class HandNetfilter {
  readonly types = new HandTypes();
  readonly memory = new HandMemory(this.types);
  readonly kernel: LinuxKernel;
  /** The same without symbols of variables. */
  readonly functionsOnly: LinuxKernel;
  readonly told: Damage[] = [];
  readonly #layout: Layout;
  readonly #net: bigint;
  readonly #device: bigint;
  readonly #global: bigint;

  constructor(layout: Layout) {
    const { types, memory } = this;
    this.#layout = layout;
    types
      .struct("list_head", ["next", "struct list_head*"], ["prev", "struct list_head*"])
      .struct(
        "nf_hook_ops",
        ["list", "struct list_head"],
        ["hook", "long unsigned int"],
        ["priv", "long unsigned int"],
        ["pf", "unsigned char"],
        ["hooknum", "unsigned int"],
        ["priority", "int"],
      )
      .struct("nf_hook_entry", ...layout.entry)
      .struct("nf_hook_entries", ["num_hook_entries", "short int"], ["hooks", "struct nf_hook_entry[1]"]);
    const pointer = {
      array: "struct nf_hook_entries*",
      chain: "struct nf_hook_entry*",
      list: "struct list_head",
    };
    types
      .struct(
        "net_device",
        ["name", "char[16]"],
        ["dev_list", "struct list_head"],
        ["nf_hooks_ingress", pointer[layout.kind]],
      )
      .struct("ns_common", ["inum", "unsigned int"])
      .struct("netns_nf", ["proc_netfilter", "long unsigned int"], ...layout.heads)
      .struct(
        "net",
        ["list", "struct list_head"],
        ["ns", "struct ns_common"],
        ["dev_base_head", "struct list_head"],
        ["nf", "struct netns_nf"],
      );
    this.#net = memory.take(4096);
    this.#device = memory.take(256);
    this.#global = memory.take(13 * 8 * 16);
    const namespaces = memory.take(16);
    memory.put(this.#net + BigInt(types.offset("net", "ns.inum")), 42, 4);
    memory.bytes(this.#device, new TextEncoder().encode("eth0\0"));
    this.ring(namespaces, [this.#net + BigInt(types.offset("net", "list"))]);
    this.ring(this.#net + BigInt(types.offset("net", "dev_base_head")), [
      this.#device + BigInt(types.offset("net_device", "dev_list")),
    ]);
    if (layout.kind === "list") {
      for (let family = 0; family < 13; family++) {
        for (let hook = 0; hook < 8; hook++) this.ring(this.head({ family, hook }, false), []);
      }
    }
    const old: Record<string, bigint> = layout.heads.length === 0 ? { nf_hooks: this.#global } : {};
    this.kernel = handKernel(types, memory, {
      variables: { net_namespace_list: namespaces, _stext: TEXT, _etext: TEXT + 0x1000n, ...old },
      functions: FUNCTIONS,
    });
    types.struct("task_struct", ["nsproxy", "struct nsproxy*"]).struct("nsproxy", ["net_ns", "struct net*"]);
    const initTask = memory.take(8);
    const proxy = memory.take(8);
    memory.put(initTask, proxy);
    memory.put(proxy, this.#net);
    const variables = { _stext: TEXT, _etext: TEXT + 0x1000n };
    this.functionsOnly = handKernel(types, memory, { variables, functions: FUNCTIONS, initTask });
    for (const each of [IPV4, IPV6, DEVICE]) this.hang(each);
  }

  /** Where hooks of a family hang. */
  head({ family, hook }: Pick<Wanted, "family" | "hook">, ofDevice = family === 5): bigint {
    const { types } = this;
    if (ofDevice) return this.#device + BigInt(types.offset("net_device", "nf_hooks_ingress"));
    const { kind, heads } = this.#layout;
    const stride = kind === "list" ? 16 : 8;
    const name = `hooks_${family === 2 ? "ipv4" : "ipv6"}`;
    const isApart = heads.some(([member]) => member === name);
    const index = isApart ? hook : 8 * family + hook;
    const first =
      heads.length === 0
        ? this.#global
        : this.#net + BigInt(types.offset("net", `nf.${isApart ? name : "hooks"}`));
    return first + BigInt(index * stride);
  }

  ring(head: bigint, nodes: readonly bigint[]): void {
    const all = [head, ...nodes];
    for (const [i, node] of all.entries()) {
      this.memory.put(node, all[(i + 1) % all.length] as bigint);
      this.memory.put(node + 8n, all.at(i - 1) as bigint);
    }
  }

  ops(
    wanted: Wanted,
    i: number,
    at = this.memory.take(this.types.offset("nf_hook_ops", "priority") + 8),
  ): bigint {
    const [hook, priority] = wanted.functions[i] as (typeof wanted.functions)[number];
    const field = (name: string) => at + BigInt(this.types.offset("nf_hook_ops", name));
    this.memory.put(field("hook"), hook);
    this.memory.put(field("priv"), PRIV);
    this.memory.put(field("pf"), wanted.family === 2 ? 1 : wanted.family, 1);
    this.memory.put(field("hooknum"), wanted.hook, 4);
    this.memory.put(field("priority"), priority, 4);
    return at;
  }

  /** Addresses of what hangs at the head now: the array, or each entry. */
  hang(wanted: Wanted): bigint[] {
    const { memory, types } = this;
    const { kind } = this.#layout;
    const head = this.head(wanted);
    const ops = wanted.functions.map((_, i) => this.ops(wanted, i));
    if (kind === "list") {
      this.ring(head, ops);
      return ops;
    }
    if (kind === "array") {
      const count = ops.length;
      const array = memory.take(8 + 24 * count + 64);
      memory.put(array, count, 2);
      for (const [i, each] of ops.entries()) {
        memory.put(array + BigInt(8 + 16 * i), (wanted.functions[i] as readonly [bigint, number])[0]);
        memory.put(array + BigInt(16 + 16 * i), PRIV);
        memory.put(array + BigInt(8 + 16 * count + 8 * i), each);
      }
      memory.put(head, array);
      return [array];
    }
    const entries = ops.map(() => memory.take(128));
    memory.put(head, entries[0] as bigint);
    for (const [i, entry] of entries.entries()) {
      const field = (name: string) => entry + BigInt(types.offset("nf_hook_entry", name));
      memory.put(field("next"), entries[i + 1] ?? 0n);
      memory.put(field("orig_ops"), ops[i] as bigint);
      if (this.#layout.entry === CHAINED) {
        memory.put(field("hook"), (wanted.functions[i] as readonly [bigint, number])[0]);
        memory.put(field("priv"), PRIV);
      } else {
        this.ops(wanted, i, field("ops"));
      }
    }
    return entries;
  }

  async list(kernel = this.kernel): Promise<string[]> {
    const hooks = await listNetfilterHooks(kernel, {
      onDamage: (each) => this.told.push(each),
    }).toArray();
    return hooks.map(({ namespace, family, hook, device, priority, function: name, module, registered }) =>
      [namespace, family, hook, device, priority, name, module, registered].map(String).join(" "),
    );
  }
}

const ROWS = [
  "42 ipv4 input null -5 one null inet",
  "42 ipv4 input null 10 two null inet",
  "42 ipv6 postrouting null 0 three null ipv6",
  "42 netdev ingress eth0 7 undefined undefined netdev",
];

describe.each(LAYOUTS)("hooks of netfilter as $name", (layout) => {
  let hand: HandNetfilter;
  beforeEach(() => {
    hand = new HandNetfilter(layout);
  });

  it("are listed by family, device and priority, with whose code they are", async () => {
    const rows = await hand.list();
    const global = (row: string) => (row.includes("netdev") ? row : row.replace("42", "null"));
    expect(rows).toEqual(layout.heads.length === 0 ? ROWS.map(global) : ROWS);
    expect(hand.told).toEqual([]);
  });

  it("of a head that leads nowhere are told, and all others listed", async () => {
    hand.memory.put(hand.head(IPV4), WILD);
    const rows = await hand.list();
    // (A list goes both ways: the last of it is still there.)
    expect(rows.slice(-2).map((row) => row.split(" ")[5])).toEqual(["three", "undefined"]);
    expect(rows).toHaveLength(layout.kind === "list" ? 4 : 2);
    expect(hand.told).toMatchObject([{ what: "the hooks of ipv4 1", reason: "unreadable" }]);
  });

  it("are none of an empty head", async () => {
    if (layout.kind === "list") hand.ring(hand.head(IPV4), []);
    else hand.memory.put(hand.head(IPV4), 0n);
    expect(await hand.list()).toHaveLength(2);
    expect(hand.told).toEqual([]);
  });
});

describe("damaged arrays of hooks", () => {
  let hand: HandNetfilter;
  let array: bigint;
  beforeEach(() => {
    hand = new HandNetfilter(LAYOUTS[0] as Layout);
    array = hand.hang(IPV4)[0] as bigint;
  });

  it("are not believed a count of more than any kernel allows", async () => {
    hand.memory.put(array, 1025, 2);
    expect(await hand.list()).toEqual(ROWS.slice(2));
    expect(hand.told).toMatchObject([{ address: array, reason: "too long" }]);
  });

  it("with a count that is too large have entries without ops, which is told", async () => {
    hand.memory.put(array, 3, 2);
    const rows = await hand.list();
    expect(rows.slice(0, 3).map((row) => row.split(" ").slice(4, 6))).toEqual([
      ["undefined", "one"],
      ["undefined", "two"],
      ["undefined", "undefined"],
    ]);
    expect(hand.told.map(({ message }) => message)).toEqual(
      Array(3).fill(expect.stringMatching(/it has no nf_hook_ops$/)),
    );
  });

  it("tell a function that runs in place of the one that was registered", async () => {
    hand.memory.put(array + 8n, HIDDEN);
    expect((await hand.list())[0]).toBe("42 ipv4 input null -5 undefined undefined inet");
    expect(hand.told).toMatchObject([{ what: "an nf_hook_ops", reason: "mismatch" }]);
  });

  it("that two heads have are listed once", async () => {
    hand.memory.put(hand.head(IPV6), array);
    expect(await hand.list()).toEqual([...ROWS.slice(0, 2), ...ROWS.slice(3)]);
    expect(hand.told).toMatchObject([{ what: "the hooks of ipv6 4", address: array, reason: "mismatch" }]);
  });

  it("of which a part is missing give the rest", async () => {
    hand.memory.put(array + 24n + 16n, WILD);
    expect(await hand.list()).toEqual(["42 ipv4 input null undefined one null undefined", ...ROWS.slice(1)]);
    expect(hand.told).toMatchObject([{ what: "an nf_hook_ops", address: WILD, reason: "unreadable" }]);
  });

  it("throw what is wrong after the last hook, where nobody is told", async () => {
    hand.memory.put(array, 1025, 2);
    await expect(listNetfilterHooks(hand.kernel).toArray()).rejects.toMatchObject({ code: "DAMAGED" });
  });
});

describe("damaged chains of hooks", () => {
  it("end where they come back to themselves, or lead nowhere; both are told", async () => {
    for (const [next, reason] of [
      [undefined, "loop"],
      [WILD, "unreadable"],
    ] as const) {
      const hand = new HandNetfilter(LAYOUTS[2] as Layout);
      const [first = 0n, second = 0n] = hand.hang(IPV4);
      hand.memory.put(second, next ?? first);
      expect(await hand.list()).toEqual(ROWS);
      expect(hand.told).toMatchObject([{ what: "the hooks of ipv4 1", address: next ?? first, reason }]);
    }
  });
});

describe("a kernel whose symbols are functions only", () => {
  it("has its namespaces by the first task's", async () => {
    const hand = new HandNetfilter(LAYOUTS[0] as Layout);
    expect(await hand.list(hand.functionsOnly)).toEqual(ROWS);
    expect(hand.told).toEqual([]);
  });

  it("tells that it does not find them", async () => {
    const hand = new HandNetfilter(LAYOUTS[0] as Layout);
    const lost = handKernel(hand.types, hand.memory, { variables: {}, initTask: WILD });
    expect(await hand.list(lost)).toEqual([]);
    expect(hand.told[0]).toMatchObject({ what: "the first network namespace", reason: "unreadable" });
  });
});

it("a kernel without netfilter says so", async () => {
  const hand = new HandNetfilter(LAYOUTS[0] as Layout);
  hand.types.struct("netns_nf", ["proc_netfilter", "long unsigned int"]);
  hand.types.struct("net", ["nf", "struct netns_nf"]);
  await expect(hand.list()).rejects.toThrow("no hooks of netfilter (CONFIG_NETFILTER)");
});
