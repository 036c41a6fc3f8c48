/**
 * Netfilter's hooks, tables and connections in two network namespaces, on two kernels: what memtool says of them against what the
 * kernel itself said in the guest, row by row.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Machine, open } from "../../connectors/index.js";
import { bootNetfilter, type NetfilterGuest } from "../../fixtures/vm/netfilter.mjs";
import {
  type LinuxKernel,
  listNamespaces,
  listNetfilterHooks,
  type NetfilterHook,
} from "../../src/linux/index.js";
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
      // (This kernel has no module that tells hooks: they are taken from the trace of their registration.)
      if (told.size === 0) {
        for (const [namespace, lines] of await hooksOfTrace()) told.set(namespace, lines);
      }
      for (const namespace of namespaces.values()) {
        const mine = hooks.filter((hook) => hook.namespace === namespace).map(lineOfHook);
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

/** As the guest prints a hook: family, hook, priority, function, module, device. */
function hookOfKernel([family, hook, priority, name, module, device]: readonly string[]): string {
  const text = netfilterFamily(Number(family));
  return [text, netfilterHook(text, Number(hook)), priority, name, module, device].join(" ");
}

function lineOfHook({ family, hook, priority, function: name, module, device }: NetfilterHook): string {
  return [family, hook, priority, name, module === null ? "-" : module, device ?? "-"].join(" ");
}
