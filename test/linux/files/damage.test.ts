/** Files and mounts of a kernel whose memory is damaged: what is left is listed, and what is wrong is told. */
import { afterEach, describe, expect, it } from "vitest";
import {
  type Damage,
  DamageError,
  listCgroups,
  listFiles,
  listMounts,
  listNamespaces,
  type OpenFile,
} from "../../../src/linux/index.js";
import { offsetOf } from "../../../src/linux/objects/record.js";
import { PatchedKernel } from "../../support/patched-kernel.js";

const DUMP = "fixtures/linux-6.1-x86_64.kdump";
/** The process with many files. */
const PID = 97;
const NOWHERE = 0xdead_0000_0000_0100n;

describe("files of a damaged kernel", () => {
  let patched: PatchedKernel;
  let files: OpenFile[];
  afterEach(() => patched?.close());

  async function start(): Promise<(struct: string, member: string) => bigint> {
    patched = await PatchedKernel.open(DUMP);
    files = await listFiles(patched.kernel, { pid: PID }).toArray();
    const types = await patched.kernel.types();
    return (struct, member) => BigInt(offsetOf(types, struct, member));
  }

  async function list(): Promise<{ found: OpenFile[]; damage: Damage[] }> {
    const damage: Damage[] = [];
    const onDamage = (each: Damage) => damage.push(each);
    return { found: await listFiles(patched.kernel, { pid: PID, onDamage }).toArray(), damage };
  }

  function fileAt(path: string): OpenFile & { readonly file: bigint } {
    const found = files.find((each) => each.path === path && typeof each.fd === "number");
    if (found === undefined || found.file === null) throw new Error(`no ${path}`);
    return { ...found, file: found.file };
  }

  async function pointer(at: bigint): Promise<bigint> {
    const bytes = await patched.kernel.memory.read(at, 8);
    return new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
  }

  /** All but the rows of these descriptors. */
  function others(list: readonly OpenFile[], ...fds: OpenFile["fd"][]): OpenFile[] {
    return list.filter(({ fd }) => !fds.includes(fd));
  }

  it("are listed but for what of one a wild pointer hides, which is undefined", async () => {
    const at = await start();
    const broken = fileAt("/data.bin");
    await patched.setPointer(broken.file + at("file", "f_path.dentry"), NOWHERE);
    const { found, damage } = await list();
    expect(others(found, broken.fd)).toEqual(others(files, broken.fd));
    expect(found.find(({ fd }) => fd === broken.fd)).toEqual({ ...broken, path: undefined });
    expect(damage[0]).toMatchObject({ what: "a dentry", address: NOWHERE, reason: "unreadable" });
  });

  it("have a descriptor each even where its file can't be read", async () => {
    const at = await start();
    const broken = fileAt("/data.bin");
    const table = await pointer(await filesStruct(at));
    const slots = await pointer(table + at("fdtable", "fd"));
    await patched.setPointer(slots + 8n * BigInt(broken.fd as number), NOWHERE);
    const { found, damage } = await list();
    expect(others(found, broken.fd)).toEqual(others(files, broken.fd));
    expect(found.find(({ fd }) => fd === broken.fd)).toMatchObject({
      file: NOWHERE,
      path: undefined,
      type: undefined,
    });
    expect(damage).toMatchObject([{ what: "a file", address: NOWHERE }]);
  });

  it("end though dentries are each other's parents", async () => {
    const at = await start();
    const broken = fileAt("/data.bin");
    const other = fileAt("/shared.bin");
    const [one, two] = await Promise.all(
      [broken, other].map(({ file }) => pointer(file + at("file", "f_path.dentry"))),
    );
    await patched.setPointer((one as bigint) + at("dentry", "d_parent"), two as bigint);
    await patched.setPointer((two as bigint) + at("dentry", "d_parent"), one as bigint);
    const { found, damage } = await list();
    expect(others(found, broken.fd, other.fd)).toEqual(others(files, broken.fd, other.fd));
    expect(found.filter(({ path }) => path === undefined).map(({ fd }) => fd)).toEqual([broken.fd, other.fd]);
    expect(damage).toMatchObject([
      // (Once for all that is on the way.)
      { what: "a path", reason: "loop" },
    ]);
  });

  it("have no path where a name can't be", async () => {
    const at = await start();
    const broken = fileAt("/data.bin");
    const dentry = await pointer(broken.file + at("file", "f_path.dentry"));
    await patched.set(dentry + at("dentry", "d_name.len"), new Uint8Array([0xff, 0xff, 0xff, 0x7f]));
    const { found, damage } = await list();
    expect(found.find(({ fd }) => fd === broken.fd)?.path).toBeUndefined();
    expect(others(found, broken.fd)).toEqual(others(files, broken.fd));
    expect(damage).toMatchObject([{ what: "the name of a dentry", address: dentry, reason: "invalid" }]);
  });

  it("are those that a table holds, not as many as it claims", async () => {
    const at = await start();
    const table = await pointer(await filesStruct(at));
    await patched.set(table + at("fdtable", "max_fds"), new Uint8Array([0xff, 0xff, 0xff, 0xff]));
    const { found, damage } = await list();
    expect(found).toEqual(files);
    expect(damage).toMatchObject([{ what: "an fdtable", reason: "too long" }]);
  });

  it("throws after the last file where nobody is told of damage", async () => {
    const at = await start();
    await patched.setPointer(fileAt("/data.bin").file + at("file", "f_path.dentry"), NOWHERE);
    const found: OpenFile[] = [];
    const all = async () => {
      for await (const file of listFiles(patched.kernel, { pid: PID })) found.push(file);
    };
    await expect(all()).rejects.toThrow(DamageError);
    expect(found.length).toBe(files.length);
  });

  it("says that there is no such process", async () => {
    await start();
    await expect(listFiles(patched.kernel, { pid: 999_999 }).toArray()).rejects.toThrow(/no process 999999/);
    await expect(listMounts(patched.kernel, { pid: 999_999 }).toArray()).rejects.toThrow(/no process 999999/);
    await expect(listNamespaces(patched.kernel, { pid: 999_999 }).toArray()).rejects.toThrow(/no process/);
    await expect(listCgroups(patched.kernel, { pid: 999_999 }).toArray()).rejects.toThrow(/no process/);
  });

  it("says of a zombie that its mounts are gone", async () => {
    await start();
    await expect(listMounts(patched.kernel, { pid: 99 }).toArray()).rejects.toThrow(/it has ended/);
  });

  it("has mounts from both ends of a list that is broken, and says where", async () => {
    const at = await start();
    const mounts = await listMounts(patched.kernel).toArray();
    const link = at("mount", "mnt_list");
    await patched.setPointer((mounts[1]?.address as bigint) + link, NOWHERE);
    const damage: Damage[] = [];
    const found = await listMounts(patched.kernel, { onDamage: (each) => damage.push(each) }).toArray();
    expect(found).toEqual(mounts);
    expect(damage).toMatchObject([{ what: "the mounts of a namespace", address: NOWHERE }]);
  });

  it("shows the one hierarchy of control groups once it was mounted", async () => {
    await start();
    const { kernel } = patched;
    expect(await listCgroups(kernel).toArray()).toEqual([]);
    await patched.set((await kernel.symbol("cgrp_dfl_visible")).address, new Uint8Array([1]));
    const groups = await listCgroups(kernel).toArray();
    expect(groups.length).toBeGreaterThan(20);
    for (const each of groups) {
      expect(each).toMatchObject({ hierarchy: 0, version: 2, name: "", path: "/", deleted: false });
      expect(each.controllers).toEqual(expect.arrayContaining(["cpu", "io", "memory", "pids"]));
    }
  });

  it("gives groups by the set's other pointer where the list of its links is broken", async () => {
    const at = await start();
    const { kernel } = patched;
    await patched.set((await kernel.symbol("cgrp_dfl_visible")).address, new Uint8Array([1]));
    const set = (await kernel.symbol("init_css_set")).address;
    await patched.setPointer(set + at("css_set", "cgrp_links"), NOWHERE);
    const damage: Damage[] = [];
    const groups = await listCgroups(kernel, { onDamage: (each) => damage.push(each) }).toArray();
    expect(groups.length).toBeGreaterThan(20);
    expect(damage[0]).toMatchObject({ what: "the groups of a css_set", reason: "unreadable" });
  });

  /** Address of the pointer to the table of the process's files. */
  async function filesStruct(at: (struct: string, member: string) => bigint): Promise<bigint> {
    const { listTasks } = await import("../../../src/linux/index.js");
    const [task] = await listTasks(patched.kernel, { pid: PID }).toArray();
    const struct = await pointer((task?.address as bigint) + at("task_struct", "files"));
    return struct + at("files_struct", "fdt");
  }
});
