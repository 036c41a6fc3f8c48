/** Tables of x_tables, which no dump that ships has: a kernel made by hand, and what the command shows of it. */
import { beforeEach, describe, expect, it } from "vitest";

import { NETFILTER } from "../../cli/linux/netfilter.js";
import type { GlobalOptions, Session } from "../../cli/session.js";
import { jsonLines } from "../support/cli.js";
import { handKernel } from "../support/hand-kernel.js";
import { HandMemory, HandTypes } from "../support/kernel-memory.js";

const NUMBER = "unsigned int";
const LIST = "struct list_head";
const WILD = 0xffff_dead_0000_0000n;

describe("memtool netfilter --tables, of x_tables", () => {
  let types: HandTypes;
  let memory: HandMemory;
  let namespaces: bigint;
  let tables: bigint[];

  const at = (base: bigint, struct: string, path: string) => base + BigInt(types.offset(struct, path));

  function ring(head: bigint, nodes: readonly bigint[]): void {
    const all = [head, ...nodes];
    for (const [i, node] of all.entries()) {
      memory.put(node, all[(i + 1) % all.length] as bigint);
      memory.put(node + 8n, all.at(i - 1) as bigint);
    }
  }

  function tableOf(info: bigint): bigint {
    const table = memory.take(96);
    memory.put(at(table, "xt_table", "valid_hooks"), 0b1001, 4);
    memory.put(at(table, "xt_table", "private"), info);
    memory.put(at(table, "xt_table", "af"), 2, 1);
    memory.bytes(at(table, "xt_table", "name"), new TextEncoder().encode("mangle\0"));
    return table;
  }

  beforeEach(() => {
    types = new HandTypes()
      .struct("list_head", ["next", "struct list_head*"], ["prev", "struct list_head*"])
      .struct("ns_common", ["inum", NUMBER])
      .struct("netns_xt", ["tables", `${LIST}[13]`])
      .struct("net", ["list", LIST], ["ns", "struct ns_common"], ["xt", "struct netns_xt"])
      .struct("xt_table_info", ["size", NUMBER], ["number", NUMBER])
      .struct(
        "xt_table",
        ["list", LIST],
        ["valid_hooks", NUMBER],
        ["private", "struct xt_table_info*"],
        ["af", "unsigned char"],
        ["name", "char[32]"],
      );
    memory = new HandMemory(types);
    namespaces = memory.take(16);
    const net = memory.take(512);
    memory.put(at(net, "net", "ns.inum"), 42, 4);
    ring(namespaces, [net]);
    for (let family = 0; family < 13; family++) ring(at(net, "net", `xt.tables[${family}]`), []);
    const info = memory.take(8);
    memory.put(at(info, "xt_table_info", "size"), 632, 4);
    memory.put(at(info, "xt_table_info", "number"), 4, 4);
    tables = [tableOf(info), tableOf(WILD)];
    ring(at(net, "net", "xt.tables[2]"), tables);
  });

  async function run(json: boolean): Promise<{ status: number; out: string; told: readonly string[] }> {
    let out = "";
    let told: readonly string[] = [];
    const session = {
      options: { json } as GlobalOptions,
      isForPrograms: json,
      out: { text: (text: string) => (out += text), settle: async () => {} },
      clearProgress: () => {},
      warn: (_: string, lines: readonly string[]) => (told = lines),
    } as unknown as Session;
    const kernel = handKernel(types, memory, { variables: { net_namespace_list: namespaces } });
    const options = { tables: true };
    const status = await NETFILTER.run({ session, kernel, args: [], options, pid: undefined, version: "" });
    return { status, out, told };
  }

  it("gives programs entries and bytes, and no rules nor what chains have", async () => {
    const { status, out, told } = await run(true);
    const same = {
      namespace: 42,
      system: "x_tables",
      family: "ipv4",
      table: "mangle",
      chain: null,
      type: null,
      hooks: ["prerouting", "output"],
      devices: [],
      priority: null,
      policy: null,
      rules: null,
    };
    const [one, other] = tables.map((address) => `0x${address.toString(16)}`);
    expect(jsonLines(out)).toEqual([
      { ...same, entries: 4, size: 632, address: one },
      { ...same, entries: null, size: null, address: other },
    ]);
    expect({ status, told }).toEqual({
      status: 3,
      told: [expect.stringContaining("an xt_table_info at 0xffffdead00000000")],
    });
  });

  it("shows people an empty cell for rules, and ? for entries that can't be read", async () => {
    const lines = (await run(false)).out.trimEnd().split("\n");
    const [rules, entries, size] = ["RULES", "ENTRIES", "SIZE"].map((title) => {
      const end = (lines[0] as string).indexOf(title) + title.length;
      return lines.slice(1).map((line) => /\S*$/.exec(line.slice(0, end))?.[0]);
    });
    expect({ rules, entries, size }).toEqual({ rules: ["", ""], entries: ["4", "?"], size: ["632", "?"] });
  });
});
