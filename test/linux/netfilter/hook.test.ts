/** Netfilter of the committed dump's kernel: what is built in hangs at its hooks, and nothing else. */
import { afterEach, describe, expect, it } from "vitest";
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

describe("netfilter of a real kernel", () => {
  let patched: PatchedKernel;
  afterEach(() => patched?.close());

  it("has AppArmor's hooks, which are the kernel's own code, in each namespace", async () => {
    patched = await PatchedKernel.open(DUMP);
    const hooks = await listNetfilterHooks(patched.kernel).toArray();
    const { address } = await patched.kernel.symbol("apparmor_ip_postroute");
    // (security/apparmor/lsm.c: NF_IP_PRI_SELINUX_FIRST, of both families.)
    const wanted = { hook: "postrouting", device: null, priority: -225, function: "apparmor_ip_postroute" };
    const both = ["ipv4", "ipv6"].map((family) => ({ ...wanted, family, module: null, handler: address }));
    const namespaces = [...new Set(hooks.map(({ namespace }) => namespace))];
    expect(hooks).toMatchObject(
      namespaces.flatMap((namespace) => both.map((each) => ({ ...each, namespace }))),
    );
    expect(namespaces.length).toBeGreaterThan(0);
  });

  it("has nobody's name for a function that was put in the place of one, whose ops it does not fit", async () => {
    patched = await PatchedKernel.open(DUMP);
    const { kernel } = patched;
    const whole = await listNetfilterHooks(kernel).toArray();
    const types = await kernel.types();
    const { address } = await kernel.symbol("init_net");
    const head = address + BigInt(offsetOf(types, "net", "nf.hooks_ipv4[4]"));
    const array = new DataView((await kernel.memory.read(head, 8)).buffer).getBigUint64(0, true);
    const hidden = 0xffff_ffff_c0de_0000n;
    await patched.setPointer(array + BigInt(offsetOf(types, "nf_hook_entries", "hooks[0].hook")), hidden);
    const told: Damage[] = [];
    const found = await listNetfilterHooks(kernel, { onDamage: (each) => told.push(each) }).toArray();
    const [first, ...rest] = whole as [NetfilterHook, ...NetfilterHook[]];
    expect(found).toEqual([{ ...first, handler: hidden, function: undefined, module: undefined }, ...rest]);
    expect(told).toMatchObject([{ what: "an nf_hook_ops", address: first.ops, reason: "mismatch" }]);
  });

  it("has no tables and no connections: nf_tables is loaded and empty, the others are not loaded", async () => {
    patched = await PatchedKernel.open(DUMP);
    expect(await listNetfilterTables(patched.kernel).toArray()).toEqual([]);
    expect(await listTrackedConnections(patched.kernel).toArray()).toEqual([]);
  });
});
