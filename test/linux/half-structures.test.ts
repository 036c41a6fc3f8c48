/** Structures that lie across two pages, one of which is missing: what is in the other half is shown. */
import { afterEach, describe, expect, it } from "vitest";
import {
  type Damage,
  type LinuxKernel,
  listCapabilities,
  listCgroups,
  listFiles,
  listSockets,
  listTasks,
  listVmas,
} from "../../src/linux/index.js";
import { needStruct, offsetOf } from "../../src/linux/objects/record.js";
import { PatchedKernel } from "../support/patched-kernel.js";

const DUMP = "fixtures/linux-6.1-x86_64.kdump";
/** The process with many files. */
const PID = 97;

describe("half of a structure", () => {
  let patched: PatchedKernel;
  afterEach(() => patched?.close());

  /** Takes away what lies behind (or, with "front", before) a member of what a pointer leads to. */
  async function halve(
    link: bigint,
    struct: string,
    member: string,
    half: "front" | "back",
  ): Promise<bigint> {
    const types = await patched.kernel.types();
    const cut = offsetOf(types, struct, member);
    const at = await patched.split(link, needStruct(types, struct).size, cut);
    await patched.remove(half === "front" ? at : at + BigInt(cut));
    return at;
  }

  async function place(struct: string, member: string, at: bigint): Promise<bigint> {
    return at + BigInt(offsetOf(await patched.kernel.types(), struct, member));
  }

  async function pointer(at: bigint): Promise<bigint> {
    const bytes = await patched.kernel.memory.read(at, 8);
    return new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
  }

  async function start() {
    patched = await PatchedKernel.open(DUMP);
    const tasks = await listTasks(patched.kernel).toArray();
    const task = tasks.find(({ pid }) => pid === PID);
    if (task === undefined) throw new Error(`no process ${PID}`);
    return { kernel: patched.kernel, task };
  }

  async function rowsOf<T>(list: (onDamage: (damage: Damage) => void) => { toArray(): PromiseLike<T[]> }) {
    const damage: Damage[] = [];
    const rows = await list((each) => damage.push(each)).toArray();
    return { rows, damage };
  }

  const taskOf = async (kernel: LinuxKernel) => {
    const { rows, damage } = await rowsOf((onDamage) => listTasks(kernel, { onDamage, pid: PID }));
    return { task: rows[0], damage };
  };

  it("of a process's memory tells its page table, or where its arguments are", async () => {
    const { kernel, task } = await start();
    const at = await halve(await place("task_struct", "mm", task.address), "mm_struct", "arg_start", "back");
    const found = await taskOf(kernel);
    expect(found.task).toMatchObject({ pid: PID, root: task.root, mm: at });
    expect(found.task?.mmRaw?.argStart).toBeUndefined();
    expect(found.damage).toMatchObject([{ what: "an mm_struct", address: at, reason: "unreadable" }]);
  });

  it("of a process's memory names its ranges, but for those that the other half would tell", async () => {
    const { kernel, task } = await start();
    const before = await listVmas(kernel, { pid: PID, pages: false }).toArray();
    const at = await halve(await place("task_struct", "mm", task.address), "mm_struct", "start_brk", "back");
    // (The tree's top node names the tree.)
    const tree = await place("mm_struct", "mm_mt", at);
    const top = (await pointer(await place("maple_tree", "ma_root", tree))) & ~255n;
    await patched.setPointer(top, tree | 1n);
    const { rows } = await rowsOf((onDamage) => listVmas(kernel, { pid: PID, pages: false, onDamage }));
    const named = (path: string | undefined) => path?.startsWith("/") === true || path === "[vdso]";
    const paths = before.map(({ path }) => (named(path) ? path : undefined));
    expect(paths.filter((path) => path !== undefined).length).toBeGreaterThan(3);
    expect(rows.map(({ path }) => (path === "[vsyscall]" || path === "[vvar]" ? undefined : path))).toEqual(
      paths.slice(0, rows.length),
    );
    expect(rows.map(({ start: from }) => from)).toEqual(before.map(({ start: from }) => from));
  });

  it("of a cred tells the user without the group, and the sets that are there", async () => {
    const { kernel, task } = await start();
    const link = await place("task_struct", "real_cred", task.address);
    const [before] = await listCapabilities(kernel, { pid: PID }).toArray();
    await halve(link, "cred", "gid", "back");
    const { task: found, damage } = await taskOf(kernel);
    expect(found).toMatchObject({ uid: task.uid, gid: undefined });
    expect(damage.map(({ what }) => what)).toEqual(["a cred"]);
    await patched.close();
    const again = await start();
    await halve(link, "cred", "cap_effective", "front");
    const { rows } = await rowsOf((onDamage) => listCapabilities(again.kernel, { pid: PID, onDamage }));
    const { effective, bounding } = before ?? {};
    expect(rows[0]).toMatchObject({ permitted: undefined, effective, bounding });
  });

  it("of an open file tells its path, or its flags and position", async () => {
    const { kernel, task } = await start();
    const files = await listFiles(kernel, { pid: PID }).toArray();
    const file = files.find(({ path, fd }) => path === "/data.bin" && typeof fd === "number");
    const fd = file?.fd as number;
    const table = await pointer(await place("files_struct", "fdt", task.raw.files as bigint));
    const link = (await pointer(await place("fdtable", "fd", table))) + 8n * BigInt(fd);
    const row = async () => {
      const { rows } = await rowsOf((onDamage) => listFiles(patched.kernel, { pid: PID, onDamage }));
      return rows.find((each) => each.fd === fd);
    };
    await halve(link, "file", "f_op", "back");
    expect(await row()).toMatchObject({
      path: "/data.bin",
      inode: file?.inode,
      type: "reg",
      flags: undefined,
    });
    await patched.close();
    await start();
    await halve(link, "file", "f_op", "front");
    const { flags, position } = file ?? {};
    expect(await row()).toMatchObject({ path: undefined, inode: undefined, flags, position });
  });

  it("of a mount tells where it is, though not in which namespace", async () => {
    const { kernel, task } = await start();
    const files = await listFiles(kernel, { pid: PID }).toArray();
    const file = files.find(({ path, fd }) => path === "/data.bin" && typeof fd === "number");
    const types = await kernel.types();
    const link = await place("file", "f_path.mnt", file?.file as bigint);
    // (The pointer is to what lies within.)
    const inner = BigInt(offsetOf(types, "mount", "mnt"));
    await patched.setPointer(link, (await pointer(link)) - inner);
    const at = await halve(link, "mount", "mnt_ns", "back");
    await patched.setPointer(link, at + inner);
    const { rows, damage } = await rowsOf((onDamage) => listFiles(kernel, { pid: task.pid, onDamage }));
    expect(rows.find(({ fd }) => fd === file?.fd)).toMatchObject({ path: "/data.bin" });
    expect(damage.map(({ what }) => what)).toContain("a mount");
  });

  it("of a socket tells its family and ends; its protocol and queues are in the other", async () => {
    const { kernel } = await start();
    const types = await kernel.types();
    const sockets = await listSockets(kernel).toArray();
    const wanted = sockets.find(({ state, owners }) => state === "LISTEN" && owners.length > 0);
    const owner = wanted?.owners[0];
    const files = await listFiles(kernel, { pid: owner?.pid }).toArray();
    const file = files.find(({ fd }) => fd === owner?.fd)?.file as bigint;
    const socket = await pointer(file + BigInt(offsetOf(types, "file", "private_data")));
    const link = await place("socket", "sk", socket);
    const at = await halve(link, "sock", "sk_lock", "back");
    const { rows, damage } = await rowsOf((onDamage) => listSockets(kernel, { onDamage }));
    const { family, state, local, remote } = wanted ?? {};
    expect(rows.find(({ address }) => address === at)).toMatchObject({
      ...{ family, state, local, remote },
      protocol: undefined,
      receiveQueue: undefined,
      owners: wanted?.owners,
    });
    expect(damage.filter(({ address }) => address === at).length).toBe(1);
  });

  it("of a cgroup tells its path", async () => {
    const { kernel, task } = await start();
    await patched.set((await kernel.symbol("cgrp_dfl_visible")).address, Uint8Array.of(1));
    const before = await listCgroups(kernel, { pid: PID }).toArray();
    const types = await kernel.types();
    const set = await pointer(await place("task_struct", "cgroups", task.address));
    const link = await place("css_set", "dfl_cgrp", set);
    expect(before[0]).toMatchObject({ cgroup: await pointer(link), path: "/", deleted: false });
    const at = await patched.split(link, 2048, offsetOf(types, "cgroup", "kn"));
    await patched.remove(at);
    const { rows } = await rowsOf((onDamage) => listCgroups(kernel, { pid: PID, onDamage }));
    expect(rows.find(({ cgroup }) => cgroup === at)).toMatchObject({
      path: before[0]?.path,
      deleted: undefined,
      version: 2,
    });
  });
});
