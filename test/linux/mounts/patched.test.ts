/** Mounts, namespaces and groups of a kernel with members changed: what the guest of the committed dump did not have. */
import { afterEach, describe, expect, it } from "vitest";
import {
  type Damage,
  listCgroups,
  listFiles,
  listMounts,
  listNamespaces,
  listTasks,
  type Mount,
} from "../../../src/linux/index.js";
import { offsetOf } from "../../../src/linux/objects/record.js";
import { PatchedKernel } from "../../support/patched-kernel.js";

const DUMP = "fixtures/linux-6.1-x86_64.kdump";

describe("a kernel with members changed", () => {
  let patched: PatchedKernel;
  afterEach(() => patched?.close());

  async function start(): Promise<{
    mounts: Mount[];
    at: (struct: string, member: string) => bigint;
  }> {
    patched = await PatchedKernel.open(DUMP);
    const types = await patched.kernel.types();
    const mounts = await listMounts(patched.kernel).toArray();
    return { mounts, at: (struct, member) => BigInt(offsetOf(types, struct, member)) };
  }

  function address(mounts: readonly Mount[], mountpoint: string): bigint {
    const found = mounts.find((mount) => mount.mountpoint === mountpoint);
    if (found === undefined) throw new Error(`no ${mountpoint}`);
    return found.address;
  }

  function u32(value: number): Uint8Array {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setUint32(0, value, true);
    return bytes;
  }

  async function mounts(damage: Damage[] = []): Promise<Map<string | undefined, Mount>> {
    const found = await listMounts(patched.kernel, { onDamage: (each) => damage.push(each) }).toArray();
    return new Map(found.map((mount) => [mount.mountpoint, mount]));
  }

  it("shows peer groups, masters, and the group above the master that the process can reach", async () => {
    const { mounts: list, at } = await start();
    const [proc, sys, dev, run] = ["/proc", "/sys", "/dev", "/run"].map((each) => address(list, each));
    const group = at("mount", "mnt_group_id");
    const flags = at("mount", "mnt.mnt_flags");
    const master = at("mount", "mnt_master");
    // /proc is shared; /sys is its slave. What is not in the namespace stands between /dev and /proc.
    await patched.set((proc as bigint) + group, u32(7));
    await patched.set((proc as bigint) + flags, u32(0x1023));
    await patched.setPointer((sys as bigint) + master, proc as bigint);
    const other = (await listMounts(patched.kernel, { pid: 98 }).toArray())[0]?.address as bigint;
    await patched.set(other + group, u32(9));
    await patched.setPointer(other + master, proc as bigint);
    await patched.setPointer((dev as bigint) + master, other);
    await patched.set((run as bigint) + flags, u32(0x2060));
    const found = await mounts();
    expect(found.get("/proc")).toMatchObject({ shared: 7, master: null, propagateFrom: null });
    expect(found.get("/sys")).toMatchObject({ shared: null, master: 7, propagateFrom: null });
    expect(found.get("/dev")).toMatchObject({ shared: null, master: 9, propagateFrom: 7 });
    expect(found.get("/run")).toMatchObject({ unbindable: true, options: ["ro", "relatime"], shared: null });
  });

  it("ends though mounts are each other's masters", async () => {
    const { mounts: list, at } = await start();
    const [proc, sys] = ["/proc", "/sys"].map((each) => address(list, each)) as [bigint, bigint];
    await patched.setPointer(proc + at("mount", "mnt_master"), sys);
    await patched.setPointer(sys + at("mount", "mnt_master"), proc);
    const damage: Damage[] = [];
    expect([...(await mounts(damage)).keys()]).toEqual(list.map(({ mountpoint }) => mountpoint));
    expect(damage.map(({ reason }) => reason)).toContain("loop");
  });

  it("ends though mounts are mounted on each other, and keeps them", async () => {
    const { mounts: list, at } = await start();
    const [proc, sys] = ["/proc", "/sys"].map((each) => address(list, each)) as [bigint, bigint];
    const root = async (mount: bigint) => {
      const bytes = await patched.kernel.memory.read(mount + at("mount", "mnt.mnt_root"), 8);
      return new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
    };
    await patched.setPointer(proc + at("mount", "mnt_parent"), sys);
    await patched.setPointer(proc + at("mount", "mnt_mountpoint"), await root(sys));
    await patched.setPointer(sys + at("mount", "mnt_parent"), proc);
    await patched.setPointer(sys + at("mount", "mnt_mountpoint"), await root(proc));
    const damage: Damage[] = [];
    const found = await listMounts(patched.kernel, { onDamage: (each) => damage.push(each) }).toArray();
    expect(found.map(({ address }) => address)).toEqual(list.map(({ address }) => address));
    expect(damage.map(({ what, reason }) => `${what}: ${reason}`)).toEqual(["a path: loop"]);
  });

  it("shows the path of what was unmounted from its own root on, and says so", async () => {
    const { mounts: list, at } = await start();
    const run = address(list, "/run");
    // As `umount -l`: it is its own parent, in no namespace.
    await patched.setPointer(run + at("mount", "mnt_parent"), run);
    await patched.setPointer(run + at("mount", "mnt_ns"), 0n);
    const files = await listFiles(patched.kernel, { pid: 97 }).toArray();
    expect(files.filter(({ unmounted }) => unmounted)).toMatchObject([
      { fd: 5, path: "/deleted-but-open.txt (deleted)" },
    ]);
    const all = await listMounts(patched.kernel, { all: true }).toArray();
    expect(all.filter(({ reachable }) => reachable === false)).toMatchObject([
      { address: run, mountpoint: "/" },
    ]);
    expect((await mounts()).size).toBe(list.length - 1);
  });

  it("keeps the namespaces of a process one of whose pointers leads to nowhere", async () => {
    const { at } = await start();
    const { kernel } = patched;
    const [task] = await listTasks(kernel, { pid: 98 }).toArray();
    const proxy = task?.raw.nsproxy as bigint;
    const before = await listNamespaces(kernel, { pid: 98 }).toArray();
    const first = before.find(({ type }) => type === "pid");
    expect(first).toMatchObject({ level: 0, parent: null, pids: [98], parentPids: [] });
    await patched.setPointer(proxy + at("nsproxy", "pid_ns_for_children"), 0xdead_0000_0000_0100n);
    const damage: Damage[] = [];
    const after = await listNamespaces(kernel, { onDamage: (each) => damage.push(each) }).toArray();
    expect(after.find(({ type }) => type === "pid")?.pids).toContain(98);
    expect(damage).toMatchObject([{ what: "a pid namespace", address: 0xdead_0000_0000_0100n }]);
  });

  it("tells once what is read twice of a process: with the others, and for its namespaces", async () => {
    const { at } = await start();
    const { kernel } = patched;
    const [task] = await listTasks(kernel, { pid: 98 }).toArray();
    const nowhere = { cred: 0xdead_0000_0000_0100n, pid: 0xdead_0000_0000_0200n };
    const own = task?.address as bigint;
    await patched.setPointer(own + at("task_struct", "real_cred"), nowhere.cred);
    await patched.setPointer(own + at("task_struct", "thread_pid"), nowhere.pid);
    const damage: Damage[] = [];
    await listNamespaces(kernel, { onDamage: (each) => damage.push(each) }).toArray();
    expect(damage).toMatchObject([
      { what: "a cred", address: nowhere.cred, reason: "unreadable" },
      { what: "a struct pid", address: nowhere.pid, reason: "unreadable" },
    ]);
  });

  it("says once that a pid's level can't be, and lists the others", async () => {
    const { at } = await start();
    const { kernel } = patched;
    const [task] = await listTasks(kernel, { pid: 98 }).toArray();
    const bytes = await kernel.memory.read((task?.address as bigint) + at("task_struct", "thread_pid"), 8);
    const pid = new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
    await patched.set(pid + at("pid", "level"), u32(0x7fff_ffff));
    const damage: Damage[] = [];
    const list = await listNamespaces(kernel, { onDamage: (each) => damage.push(each) }).toArray();
    const pids = list.find(({ type }) => type === "pid")?.pids;
    expect(pids).not.toContain(98);
    expect(pids).toContain(97);
    // It has no numbers in namespaces, and no namespace.
    expect(damage).toMatchObject([{ what: "a struct pid", address: pid, reason: "invalid" }]);
  });

  it("gives a zombie's group in version 2, marked as removed", async () => {
    const { at } = await start();
    const { kernel } = patched;
    await patched.set((await kernel.symbol("cgrp_dfl_visible")).address, new Uint8Array([1]));
    const root = (await kernel.symbol("cgrp_dfl_root")).address;
    await patched.set(root + at("cgroup_root", "cgrp.self.flags"), u32(0));
    const [zombie] = await listCgroups(kernel, { pid: 99 }).toArray();
    expect(zombie).toMatchObject({ pid: 99, version: 2, path: "/", deleted: true });
  });
});
