/**
 * Netfilter of the committed dump's kernel: what is built in hangs at its hooks, and the chains of nf_tables that the guest made in
 * two namespaces (fixtures/vm/scenery.c).
 */
import { readFileSync } from "node:fs";
import { afterEach, describe, expect, it } from "vitest";
import type { Truth } from "../../../fixtures/vm/truth.mjs";
import {
  type Damage,
  listNetfilterHooks,
  listNetfilterTables,
  listTrackedConnections,
  type NetfilterHook,
} from "../../../src/linux/index.js";
import { offsetOf } from "../../../src/linux/objects/record.js";
import { PatchedKernel } from "../../support/patched-kernel.js";

const DUMP = "fixtures/linux-6.1-x86_64.kdump";
const truth: Truth = JSON.parse(readFileSync("fixtures/linux-6.1-x86_64.truth.json", "utf8"));
/** The first, and the other that the guest made. */
const NAMESPACES = [1, truth.networkPid].map((pid) =>
  Number(/\d+/.exec(truth.processes.find((each) => each.pid === pid)?.namespaces.net ?? "")?.[0]),
);

describe("netfilter of a real kernel", () => {
  let patched: PatchedKernel;
  afterEach(() => patched?.close());

  it("has AppArmor's hooks, which are the kernel's own code, and the chains that the guest made", async () => {
    patched = await PatchedKernel.open(DUMP);
    const hooks = await listNetfilterHooks(patched.kernel).toArray();
    const { address } = await patched.kernel.symbol("apparmor_ip_postroute");
    // (security/apparmor/lsm.c: NF_IP_PRI_SELINUX_FIRST, of both families.)
    const wanted = { hook: "postrouting", device: null, priority: -225, function: "apparmor_ip_postroute" };
    const both = ["ipv4", "ipv6"].map((family) => ({ ...wanted, family, module: null, handler: address }));
    const chain = { family: "ipv4", device: null, function: "nft_do_chain_ipv4", module: "nf_tables" };
    const [first, other] = NAMESPACES;
    expect(hooks).toMatchObject([
      { ...chain, namespace: first, hook: "input", priority: -5 },
      ...both.map((each) => ({ ...each, namespace: first })),
      { ...chain, namespace: other, hook: "output", priority: 10 },
      ...both.map((each) => ({ ...each, namespace: other })),
    ]);
  });

  it("has nobody's name for a function that was put in the place of one, whose ops it does not fit", async () => {
    patched = await PatchedKernel.open(DUMP);
    const { kernel } = patched;
    const whole = await listNetfilterHooks(kernel).toArray();
    const types = await kernel.types();
    const { address } = await kernel.symbol("init_net");
    const head = address + BigInt(offsetOf(types, "net", "nf.hooks_ipv4[4]"));
    const at = whole.findIndex(({ hook }) => hook === "postrouting");
    const own = whole[at] as NetfilterHook;
    const array = new DataView((await kernel.memory.read(head, 8)).buffer).getBigUint64(0, true);
    const hidden = 0xffff_ffff_c0de_0000n;
    await patched.setPointer(array + BigInt(offsetOf(types, "nf_hook_entries", "hooks[0].hook")), hidden);
    const told: Damage[] = [];
    const found = await listNetfilterHooks(kernel, { onDamage: (each) => told.push(each) }).toArray();
    expect(found).toEqual(
      whole.with(at, { ...own, handler: hidden, function: undefined, module: undefined }),
    );
    expect(told).toMatchObject([{ what: "an nf_hook_ops", address: own.ops, reason: "mismatch" }]);
  });

  it("has the tables of both namespaces, and no connections: nf_conntrack is not loaded", async () => {
    patched = await PatchedKernel.open(DUMP);
    const table = { system: "nf_tables", family: "ipv4", name: "memtool" };
    const chain = { type: "filter", policy: "accept", devices: [], rules: 1 };
    expect(await listNetfilterTables(patched.kernel).toArray()).toMatchObject([
      {
        ...table,
        namespace: NAMESPACES[0],
        chains: [{ ...chain, name: "input", hook: "input", priority: -5 }],
      },
      {
        ...table,
        namespace: NAMESPACES[1],
        chains: [{ ...chain, name: "inner-output", hook: "output", priority: 10 }],
      },
    ]);
    expect(await listTrackedConnections(patched.kernel).toArray()).toEqual([]);
  });
});
