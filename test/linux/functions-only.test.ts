/**
 * A kernel that lists functions only, as those without CONFIG_KALLSYMS_ALL do: what its variables would name is found in another
 * way. The dump that ships has all symbols; here it keeps those of functions, as Debian's kernels of other architectures do.
 */
import { readFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  type Cgroup,
  type Damage,
  type LinuxKernel,
  listCgroups,
  listResources,
  listSockets,
  listTasks,
  readBanner,
  symbolsFor,
} from "../../src/linux/index.js";
import { offsetOf } from "../../src/linux/objects/record.js";
import type { TypeTable } from "../../src/linux/types/type-table.js";
import { PatchedKernel } from "../support/patched-kernel.js";

const DUMP = "fixtures/linux-6.1-x86_64.kdump";
const truth = JSON.parse(readFileSync("fixtures/linux-6.1-x86_64.truth.json", "utf8"));

describe("a kernel that lists functions only", () => {
  let patched: PatchedKernel;
  let types: TypeTable;
  /** Of variables, which the kernel under test does not tell. */
  let variables: Map<string, bigint>;

  beforeEach(async () => {
    patched = await PatchedKernel.open(DUMP);
    const { kernel } = patched;
    const all = await kernel.symbols().toArray();
    variables = new Map(all.map(({ name, address }) => [name, address]));
    const lines = all
      .filter(({ type, module }) => /[tw]/i.test(type) && module === undefined)
      .map(({ address, type, name }) => `${address.toString(16)} ${type} ${name}\n`);
    kernel.useSymbols(symbolsFor(kernel, Buffer.from(lines.join("")), "functions"));
    types = await kernel.types();
  });
  afterEach(() => patched?.close());

  const at = (struct: string, member: string) => BigInt(offsetOf(types, struct, member));
  const variable = (name: string) => variables.get(name) as bigint;

  it("has the processes that it has, its banner and its command line", async () => {
    const { kernel } = patched;
    expect(await kernel.symbols("linux_banner").toArray()).toEqual([]);
    const pids = (await listTasks(kernel).toArray()).map(({ pid }) => pid);
    expect(pids).toEqual(truth.processes.map(({ pid }: { pid: number }) => pid));
    expect(await readBanner(kernel)).toMatchObject({
      banner: truth.kernel.version,
      release: truth.kernel.release,
      commandLine: truth.kernel.commandLine,
    });
  });

  it("takes no other text for the banner: its version is the kernel's", async () => {
    const address = variable("linux_banner");
    const length = truth.kernel.version.length;
    // "#1 SMP" becomes "#! SMP".
    const hash = BigInt(truth.kernel.version.indexOf(" #") + 2);
    await patched.set(address + hash, Buffer.from("!"));
    expect((await readBanner(patched.kernel)).banner).toBe(undefined);
    await patched.set(address + hash, Buffer.from("1"));
    expect((await readBanner(patched.kernel)).banner).toBe(truth.kernel.version);
    // A line that does not end, as in the log.
    await patched.set(address + BigInt(length), Buffer.from("\0"));
    expect((await readBanner(patched.kernel)).banner).toBe(undefined);
  });

  it("has the sockets that processes have open, with their owners, and says that others are missing", async () => {
    const list = async (kernel: LinuxKernel, pid?: number) => {
      const damage: Damage[] = [];
      const sockets = await listSockets(kernel, { pid, onDamage: (each) => damage.push(each) }).toArray();
      const open = sockets.filter(({ owners }) => owners.length > 0);
      return {
        damage,
        sockets,
        open: open.map(({ address, owners }) => ({ address, owners })),
      };
    };
    const whole = await PatchedKernel.open(DUMP);
    try {
      const all = await list(whole.kernel);
      const mine = await list(patched.kernel);
      const byAddress = (a: { address: bigint }, b: { address: bigint }) => Number(a.address - b.address);
      expect(mine.open.sort(byAddress)).toEqual(all.open.sort(byAddress));
      expect(mine.open.length).toBeGreaterThan(4);
      // Those that a namespace leads to are there as well, and nothing that is none.
      expect(all.sockets.map(({ address }) => address)).toEqual(
        expect.arrayContaining(mine.sockets.map(({ address }) => address)),
      );
      expect(mine.sockets.length).toBeLessThan(all.sockets.length);
      expect(mine.damage).toMatchObject([{ what: "the tables of sockets", reason: "invalid" }]);
      // Of one process, none is missing.
      expect((await list(patched.kernel, truth.pid)).damage).toEqual([]);
    } finally {
      await whole.close();
    }
  });

  it.each([false, true])(
    "has the resources that it has (ports: %s), found by the root of their tree",
    async (ports) => {
      const list = async (kernel: LinuxKernel) => await listResources(kernel, { ports }).toArray();
      const whole = await PatchedKernel.open(DUMP);
      try {
        const all = await list(whole.kernel);
        expect(all.length).toBeGreaterThan(10);
        expect(await list(patched.kernel)).toEqual(all);
      } finally {
        await whole.close();
      }
      // A root that has another name is none.
      const root = variable(ports ? "ioport_resource" : "iomem_resource");
      await patched.setPointer(root + at("resource", "name"), variable("linux_banner"));
      await expect(list(patched.kernel)).rejects.toMatchObject({ code: "NO_SYMBOL" });
    },
  );

  it("lists no cgroup hierarchy that was never mounted, and names the controllers of one that is", async () => {
    const { kernel } = patched;
    const list = async (): Promise<{ groups: Cgroup[]; damage: Damage[] }> => {
      const damage: Damage[] = [];
      const groups = await listCgroups(kernel, { pid: 1, onDamage: (each) => damage.push(each) }).toArray();
      return { groups, damage };
    };
    // The guest has none, as /proc/1/cgroup says.
    expect(truth.texts["/proc/1/cgroup"] ?? "").toBe("");
    expect(await list()).toEqual({ groups: [], damage: [] });
    // Somebody makes a group in it.
    const descendants = variable("cgrp_dfl_root") + at("cgroup_root", "cgrp.nr_descendants");
    await patched.set(descendants, Uint8Array.of(1, 0, 0, 0));
    const { groups, damage } = await list();
    expect(damage).toEqual([]);
    expect(groups).toMatchObject([{ pid: 1, hierarchy: 0, version: 2, path: "/" }]);
    expect(groups[0]?.controllers).toContain("memory");
    expect(groups[0]?.controllers).toContain("io");
    expect(String(groups[0]?.controllers)).not.toContain("controller");
    await patched.set(descendants, Uint8Array.of(0, 0, 0, 0));
    // It is mounted: its list of mounts is not empty.
    const root = await kernel.memory.read(variable("cgrp_dfl_root") + at("cgroup_root", "kf_root"), 8);
    const address = new DataView(root.buffer).getBigUint64(0, true);
    await patched.setPointer(address + at("kernfs_root", "supers"), 0xffff_8881_0000_0000n);
    expect((await list()).groups.length).toBe(1);
  });
});
