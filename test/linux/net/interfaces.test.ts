/** Network interfaces of the committed dump, whole and damaged. (With addresses of every kind: test/vm/netfilter.test.ts.) */
import { readFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Truth } from "../../../fixtures/vm/truth.mjs";
import { type Damage, listInterfaces, type NetworkInterface } from "../../../src/linux/index.js";
import { offsetOf } from "../../../src/linux/objects/record.js";
import { jsonLines, memtool } from "../../support/cli.js";
import { PatchedKernel } from "../../support/patched-kernel.js";

const DUMP = "fixtures/linux-6.1-x86_64.kdump";
const TRUTH: Truth = JSON.parse(readFileSync("fixtures/linux-6.1-x86_64.truth.json", "utf8"));
const NOWHERE = 0xdead_0000_0000_0100n;

/** Names in the order of /proc/net/dev. */
function namesOf(folder: string): string[] {
  const lines = TRUTH.texts[`${folder}/net/dev`]?.split("\n") ?? [];
  return lines.flatMap((line) => /^ *(\S+):/.exec(line)?.[1] ?? []);
}

/** The network namespace of a process. */
function namespaceOf(pid: number): number {
  const text = TRUTH.processes.find((each) => each.pid === pid)?.namespaces.net ?? "";
  return Number(/\d+/.exec(text)?.[0]);
}

describe("network interfaces", () => {
  let patched: PatchedKernel;
  let whole: NetworkInterface[];
  beforeEach(async () => {
    patched = await PatchedKernel.open(DUMP);
    whole = await listInterfaces(patched.kernel).toArray();
  });
  afterEach(() => patched?.close());

  async function list(): Promise<{ found: NetworkInterface[]; damage: Damage[] }> {
    const damage: Damage[] = [];
    const options = { onDamage: (each: Damage) => damage.push(each) };
    return { found: await listInterfaces(patched.kernel, options).toArray(), damage };
  }

  async function at(struct: string, member: string, base: bigint): Promise<bigint> {
    return base + BigInt(offsetOf(await patched.kernel.types(), struct, member));
  }

  async function pointerAt(address: bigint): Promise<bigint> {
    const { bytes } = await patched.kernel.memory.readPartial(address, 8);
    return new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
  }

  const byName = (interfaces: readonly NetworkInterface[], name: string) =>
    interfaces.find((each) => each.name === name) as NetworkInterface;

  it("are those that /proc/net/dev has in each namespace, in its order", () => {
    const named = (namespace: number) =>
      whole.filter((each) => each.namespace === namespace).map(({ name }) => name);
    expect(named(namespaceOf(1))).toEqual(namesOf("/proc"));
    expect(named(namespaceOf(TRUTH.networkPid))).toEqual(namesOf(`/proc/${TRUTH.networkPid}`));
    expect(byName(whole, "lo").addresses.map(({ address, prefix }) => `${address}/${prefix}`)).toEqual([
      "127.0.0.1/8",
      "::1/128",
    ]);
  });

  it("have no more addresses than there are where their list leads back to itself", async () => {
    const device = byName(whole, "lo").address;
    const first = await pointerAt(
      await at("in_device", "ifa_list", await pointerAt(await at("net_device", "ip_ptr", device))),
    );
    await patched.setPointer(await at("in_ifaddr", "ifa_next", first), first);
    const { found, damage } = await list();
    expect(found).toEqual(whole);
    expect(damage).toMatchObject([
      { what: "the IPv4 addresses of an interface", reason: "loop", address: first },
    ]);
  });

  it("lack the address of a link that can't be read, and say so", async () => {
    const device = byName(whole, "dummy1").address;
    await patched.setPointer(await at("net_device", "dev_addr", device), NOWHERE);
    const { found, damage } = await list();
    expect(byName(found, "dummy1")).toEqual({ ...byName(whole, "dummy1"), hardware: undefined });
    expect(damage).toMatchObject([{ what: "the address of a link", address: NOWHERE }]);
  });

  it("are all found, each once, where the list of one namespace is broken in its middle", async () => {
    const device = byName(whole, "dummy0").address;
    await patched.setPointer(await at("net_device", "dev_list", device), NOWHERE);
    const { found, damage } = await list();
    expect(found).toEqual(whole);
    expect(damage).toMatchObject([{ what: "the list of network devices" }]);
  });

  it("tell what takes their packets before the protocols do", async () => {
    const device = byName(whole, "dummy0").address;
    const { address } = await patched.kernel.symbol("ip_rcv");
    await patched.setPointer(await at("net_device", "rx_handler", device), address);
    const { found } = await list();
    expect(byName(found, "dummy0")).toMatchObject({ receiver: "ip_rcv", receiverModule: null });
    await patched.setPointer(await at("net_device", "rx_handler", device), NOWHERE);
    const nowhere = await list();
    expect(byName(nowhere.found, "dummy0")).toMatchObject({
      receiver: undefined,
      receiverModule: undefined,
    });
  });
});

describe("memtool interfaces", () => {
  it("shows people names, flags and addresses, and programs the same", async () => {
    const { out, status } = await memtool(["interfaces", "-f", DUMP]);
    expect(status).toBe(0);
    expect(out).toMatch(
      /1 +lo +loopback +unknown +up,loopback,running,lower_up +0 +65536 .*127\.0\.0\.1\/8, ::1\/128/,
    );
    const { out: lines } = await memtool(["interfaces", "--json", "-f", DUMP]);
    expect(jsonLines(lines)).toHaveLength(
      namesOf("/proc").length + namesOf(`/proc/${TRUTH.networkPid}`).length,
    );
  });
});
