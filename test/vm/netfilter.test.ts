/**
 * Netfilter's hooks, tables and connections in two network namespaces, on two kernels: what memtool says of them against what the
 * kernel itself said in the guest, row by row.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Machine, open } from "../../connectors/index.js";
import { bootNetfilter, type NetfilterGuest } from "../../fixtures/vm/netfilter.mjs";
import {
  type LinuxKernel,
  listInterfaces,
  listNamespaces,
  listNetfilterHooks,
  listNetfilterTables,
  listTrackedConnections,
  type NetfilterHook,
  type TrackedConnection,
} from "../../src/linux/index.js";
import { linkType } from "../../src/linux/net/interface-names.js";
import { netfilterFamily, netfilterHook } from "../../src/linux/netfilter/names.js";

for (const kind of ["amd64", "amd64-612"] as const) {
  describe(`a guest with netfilter: ${kind}`, () => {
    let guest: NetfilterGuest;
    let machine: Machine;
    let kernel: LinuxKernel;
    /** Inode numbers of the network namespaces by the addresses of their structures. */
    let namespaces: Map<bigint, number>;
    beforeAll(async () => {
      guest = await bootNetfilter({ machine: kind, log: (line) => console.log(line) });
      machine = await open(guest.rawFile);
      kernel = await machine.linux();
      const all = await listNamespaces(kernel).toArray();
      namespaces = new Map(
        all.filter(({ type }) => type === "net").map(({ address, inode }) => [address, inode]),
      );
    });
    afterAll(async () => {
      await machine?.close();
      await guest?.close();
    });

    /** Fields of the lines that the guest printed in a namespace. */
    function printed(namespace: number, name: string): string[][] | undefined {
      const text = guest.texts.get(`${namespace} ${name}`);
      return text
        ?.split("\n")
        .filter((line) => line !== "")
        .map((line) => line.split("\t"));
    }

    it("has every hook that the kernel has, in its order", async () => {
      const hooks = await listNetfilterHooks(kernel).toArray();
      expect(namespaces.size).toBe(2);
      const told = new Map<number, string[]>();
      for (const namespace of namespaces.values()) {
        const lines = printed(namespace, "hooks");
        if (lines !== undefined) told.set(namespace, lines.map(hookOfKernel));
      }
      const isTold = told.size > 0;
      // (This kernel has no module that tells hooks: they are taken from the trace of their registration.)
      if (!isTold) {
        for (const [namespace, lines] of await hooksOfTrace()) told.set(namespace, lines);
      }
      for (const namespace of namespaces.values()) {
        const own = hooks.filter((hook) => hook.namespace === namespace);
        const mine = own.map((hook) => lineOfHook(hook, isTold));
        expect(mine, `of ${namespace}`).toEqual(told.get(namespace));
      }
      expect(hooks.length).toBeGreaterThan(45);
      const families = new Set(hooks.map(({ family }) => family));
      expect([...families].sort()).toEqual(["arp", "bridge", "ipv4", "ipv6", "netdev"]);
      expect(hooks.find(({ priority }) => priority === -10)).toMatchObject({
        device: "dummy0",
        registered: "inet",
        hook: "ingress",
      });
      expect(hooks.filter(({ module }) => module === undefined)).toEqual([]);
    });

    it("names the chains that hooks are, which are those of the tables but nat's", async () => {
      const hooks = await listNetfilterHooks(kernel).toArray();
      const tables = await listNetfilterTables(kernel).toArray();
      // (Chains of type nat are called by a hook of the NAT's own; one of inet hangs at IPv4 and IPv6.)
      const chains = tables.flatMap((table) =>
        table.system !== "nf_tables"
          ? []
          : table.chains.flatMap(({ name, type, hook, priority, devices, address }) => {
              if (type === null || type === "nat") return [];
              const row = { table: table.name, chain: name, hook, priority, priv: address };
              const many = devices.length > 0 ? devices.length : table.family === "inet" ? 2 : 1;
              return Array.from({ length: many }, () => ({ namespace: table.namespace, ...row }));
            }),
      );
      const found = hooks.flatMap(({ namespace, table, chain, hook, priority, priv }) =>
        chain === null ? [] : [{ namespace, table, chain, hook, priority, priv }],
      );
      const byAddress = (a: (typeof found)[0], b: (typeof found)[0]) =>
        Number((a.priv ?? 0n) - (b.priv ?? 0n));
      expect(found.sort(byAddress)).toEqual((chains as typeof found).sort(byAddress));
      expect(found.length).toBeGreaterThan(5);
    });

    it("has every table and chain of nf_tables, with the number of its rules", async () => {
      const tables = await listNetfilterTables(kernel).toArray();
      for (const namespace of namespaces.values()) {
        const own = tables.filter((table) => table.namespace === namespace);
        const mine = own.filter(({ system }) => system === "nf_tables");
        expect(mine.map(({ family, name }) => `${family} ${name}`)).toEqual(
          printed(namespace, "tables")?.map(([family, name]) => `${netfilterFamily(Number(family))} ${name}`),
        );
        const rules = printed(namespace, "rules")?.map((fields) => fields.join("\t"));
        const chains = printed(namespace, "chains")?.map(
          ([number = "", table = "", name = "", type = "", hook, priority, policy]) => {
            const family = netfilterFamily(Number(number));
            const count = rules?.filter((rule) => rule === [number, table, name].join("\t")).length;
            const base =
              type === "-"
                ? [null, null, null, null]
                : [
                    type,
                    netfilterHook(family, Number(hook)),
                    Number(priority),
                    policy === "1" ? "accept" : "drop",
                  ];
            return [family, table, name, ...base, count];
          },
        );
        const found = mine.flatMap((table) =>
          table.system !== "nf_tables"
            ? []
            : table.chains.map(({ name, type, hook, priority, policy, rules: count }) => {
                return [table.family, table.name, name, type, hook, priority, policy, count];
              }),
        );
        expect(found, `of ${namespace}`).toEqual(chains);
      }
      const devices = tables.flatMap((table) =>
        table.system === "nf_tables" ? table.chains.map((chain) => [chain.name, chain.devices]) : [],
      );
      expect(Object.fromEntries(devices)).toEqual({
        in: [],
        through: [],
        "others jump to it": [],
        "at the device": ["dummy0"],
        source: [],
        comes: ["dummy0"],
        goes: ["dummy1"],
        asks: [],
        over: [],
        out: [],
      });
    });

    it("has every table of iptables, ip6tables and arptables", async () => {
      const tables = await listNetfilterTables(kernel).toArray();
      for (const namespace of namespaces.values()) {
        const mine = tables.flatMap((table) => {
          if (table.system !== "x_tables" || table.namespace !== namespace) return [];
          return [[table.family, table.name, table.hooks, table.entries, table.size]];
        });
        const wanted = printed(namespace, "xtables")?.map(([number, name, hooks, entries, size]) => {
          const family = netfilterFamily(Number(number));
          const bits = [0, 1, 2, 3, 4].filter((bit) => (Number(hooks) >> bit) & 1);
          return [family, name, bits.map((bit) => netfilterHook(family, bit)), Number(entries), Number(size)];
        });
        expect(mine.sort(byText), `of ${namespace}`).toEqual(wanted?.sort(byText));
        const names = mine.filter(([family]) => family === "ipv4").map(([, name]) => name);
        expect(names.sort()).toEqual(printed(namespace, "/proc/net/ip_tables_names")?.flat().sort());
      }
      expect(tables.filter(({ system }) => system === "x_tables")).toHaveLength(6);
    });

    it("has every connection that is tracked", async () => {
      const connections = await listTrackedConnections(kernel).toArray();
      for (const namespace of namespaces.values()) {
        const mine = connections.filter((each) => each.namespace === namespace).map(lineOfConnection);
        const lines =
          guest.texts.get(`${namespace} /proc/net/nf_conntrack`)?.split("\n").filter(Boolean) ?? [];
        expect(mine.sort(), `of ${namespace}`).toEqual(lines.map(lineOfKernel).sort());
      }
      expect(connections.map(({ state }) => state).sort()).toEqual([
        "ESTABLISHED",
        "TIME_WAIT",
        null,
        null,
        null,
      ]);
      expect(connections.map(({ assured }) => assured).sort()).toEqual([false, false, false, true, true]);
    });

    it("has every network interface, with its flags and addresses, and who listens to all of its packets", async () => {
      const interfaces = await listInterfaces(kernel).toArray();
      for (const namespace of namespaces.values()) {
        const lines = interfaces
          .filter((each) => each.namespace === namespace)
          .flatMap(({ name, index, type, flags, hardware, mtu, addresses }) => [
            `link ${name} ${index} ${type} ${flags} ${hardware}`,
            `mtu ${name} ${mtu}`,
            ...addresses.map(
              ({ label, address, prefix, broadcast }) =>
                `address ${label ?? name} ${address} ${prefix} ${broadcast ?? "-"}`,
            ),
          ]);
        const wanted = printed(namespace, "interfaces")?.map(([what, name, index, type, ...rest]) =>
          [what, name, index, what === "link" ? linkType(Number(type)) : type, ...rest]
            .filter((each) => each !== undefined)
            .join(" "),
        );
        expect(lines.sort(), `of ${namespace}`).toEqual(wanted?.sort());
      }
      const found = new Map(interfaces.map((each) => [`${each.namespace} ${each.name}`, each]));
      const [first] = [...namespaces.values()].sort();
      // A program asked for all packets of dummy1 by its flag, of dummy0 by a packet socket, which sets none.
      expect(found.get(`${first} dummy0`)).toMatchObject({ promiscuity: 1, kind: "dummy", mtu: 1500 });
      expect(found.get(`${first} dummy0`)?.flagNames).not.toContain("promisc");
      expect(found.get(`${first} dummy1`)).toMatchObject({ promiscuity: 1, kind: "dummy", mtu: 1400 });
      expect(found.get(`${first} dummy1`)?.flagNames).toContain("promisc");
    });

    async function hooksOfTrace(): Promise<Map<number, string[]>> {
      const [trace] = [...guest.texts].filter(([name]) => name.endsWith("/trace")).map(([, text]) => text);
      expect(trace).not.toMatch(/unset:|LOST/);
      const seen: { net: number; order: number[]; line: string }[] = [];
      for (const line of trace?.split("\n").filter((each) => each.includes(" set: ")) ?? []) {
        const field = (name: string) => new RegExp(` ${name}=(\\S+)`).exec(line)?.[1] ?? "?";
        const [, name = "?", module] = / function=([^+]+)\S+(?: \[(\w+)\])?/.exec(line) ?? [];
        const pointer = BigInt(field("device"));
        const object = await kernel.objectAt(pointer, "net_device");
        const device = pointer === 0n ? "-" : String(await object.name.$.read());
        const family = device === "-" ? Number(field("family")) : 5;
        const hook = device === "-" || field("family") === "5" ? Number(field("hook")) : 0;
        const priority = Number(field("priority"));
        const row = [family, hook, priority, name, module ?? "-", device].map(String);
        const place = family === 5 ? 99 : family;
        seen.push({
          net: namespaces.get(BigInt(field("net"))) ?? 0,
          order: [place, Number(device.at(-1)) || 0, hook, priority],
          line: hookOfKernel(row),
        });
      }
      seen.sort((a, b) => {
        const at = a.order.findIndex((value, i) => value !== b.order[i]);
        return (a.order[at] ?? 0) - (b.order[at] ?? 0);
      });
      const found = new Map<number, string[]>();
      for (const { net, line } of seen) found.set(net, [...(found.get(net) ?? []), line]);
      return found;
    }
  });
}

/** As the guest prints a hook: family, hook, priority, function, module, device; and, but of a trace, table and chain. */
function hookOfKernel([family, hook, priority, ...rest]: readonly string[]): string {
  const text = netfilterFamily(Number(family));
  return [text, netfilterHook(text, Number(hook)), priority, ...rest].join(" ");
}

function lineOfHook(hook: NetfilterHook, withChains: boolean): string {
  const { family, priority, function: name, module, device, table, chain } = hook;
  const chains = withChains ? [table, chain] : [];
  return [family, hook.hook, priority, name, module, device, ...chains].map((each) => each ?? "-").join(" ");
}

function byText(a: readonly unknown[], b: readonly unknown[]): number {
  return String(a) < String(b) ? -1 : 1;
}

function lineOfConnection(connection: TrackedConnection): string {
  const { family, protocol, state, original, reply, replied, assured, mark } = connection;
  const [one, other] = [original, reply].map(
    (way) =>
      `src=${way?.source} dst=${way?.destination} sport=${way?.sourcePort} dport=${way?.destinationPort}`,
  );
  const marks = `${replied ? "" : "[UNREPLIED] "}`;
  return `${family} ${protocol} ${state ?? ""} ${one} ${marks}${other} ${assured ? "[ASSURED] " : ""}mark=${mark}`;
}

/** A line of /proc/net/nf_conntrack without numbers of protocols, seconds and references. */
function lineOfKernel(line: string): string {
  return line
    .replaceAll("0000:0000:0000:0000:0000:0000:0000:0001", "::1")
    .replace(/^(\S+) +\d+ (\S+) +\d+ \d+ /, (_, family, protocol) => `${family} ${protocol} `)
    .replace(/^(\S+ \S+ )(?=src=)/, "$1 ")
    .replace(/ zone=.*/, "");
}
