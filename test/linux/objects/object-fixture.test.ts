import { readFileSync } from "node:fs";
import { inspect } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Machine } from "../../../connectors/machine.js";
import { open } from "../../../connectors/open.js";
import { CpuError, type LinuxKernel, ObjectReadError, readAll } from "../../../src/linux/index.js";
import { TypesError } from "../../../src/linux/types/type-table.js";

const truth = JSON.parse(readFileSync("fixtures/linux-6.1-x86_64.truth.json", "utf8"));
interface Process {
  readonly pid: number;
  readonly parent: number;
  readonly name: string;
  readonly kernelThread: boolean;
  readonly state: string;
  readonly uids: readonly number[];
}
const processes: readonly Process[] = truth.processes;

describe("objects of the committed dump's kernel", () => {
  let machine: Machine;
  let linux: LinuxKernel;
  beforeAll(async () => {
    machine = await open("fixtures/linux-6.1-x86_64.kdump");
    linux = await machine.linux();
  });
  afterAll(() => machine.close());

  it("are variables with their members as properties", async () => {
    const init = await linux.object("init_task");
    expect(await init.comm.$.read()).toBe("swapper/0");
    expect(await init.pid.$.read()).toBe(0);
    expect(await init.comm[0]?.$.read()).toBe("s".charCodeAt(0));
    expect(await init.$.address()).toBe((await linux.symbol("init_task")).address);
    expect(await init.real_parent.$.read()).toBe(await init.$.address());
    // Through two pointers, and into a structure.
    expect(await init.real_parent.real_parent.cred.uid.val.$.read()).toBe(0);
    const mm = await linux.object("init_mm");
    expect(await mm.$.fields("pgd", "mm_mt.ma_root")).toEqual({
      pgd: (await linux.symbol("swapper_pg_dir")).address,
      "mm_mt.ma_root": 0n,
    });
  });

  it("list every process, with members that lie behind pointers", async () => {
    const init = await linux.object("init_task");
    const tasks = await init.tasks.$.list("task_struct", "tasks").toArray();
    const rows = await readAll(
      tasks,
      "pid",
      "comm",
      "real_parent.tgid",
      "cred.uid.val",
      "mm.exe_file.f_inode",
    );
    expect(rows.map(({ values }) => values.pid)).toEqual(processes.map(({ pid }) => pid));
    for (const [i, { values, missing }] of rows.entries()) {
      const process = processes[i] as Process;
      expect(values["real_parent.tgid"]).toBe(process.parent);
      expect(values["cred.uid.val"]).toBe(process.uids[0]);
      // /proc prints more than comm for a worker of a workqueue; what it prints of others is comm.
      expect(process.name.startsWith((values.comm as string).split("+")[0] as string)).toBe(true);
      // A kernel thread has no mm, nor has a zombie: only what is behind that pointer is missing.
      const isBare = process.kernelThread || process.state === "Z";
      expect(missing.map(({ message }) => message.includes("null pointer"))).toEqual(isBare ? [true] : []);
    }
  });

  it("give the VMAs of a process and the names of its executable", async () => {
    const init = await linux.object("init_task");
    for await (const task of init.tasks.$.list("task_struct", "tasks")) {
      if ((await task.pid.$.read()) !== 1) continue;
      const vmas = await task.mm.mm_mt.$.mapleTree("vm_area_struct").toArray();
      expect(vmas.length).toBe(await task.mm.map_count.$.read());
      expect(await vmas[0]?.vm_start.$.read()).toBe(0x400000n);
      const ranges = await task.mm.mm_mt.$.mapleEntries().toArray();
      expect(ranges[0]?.first).toBe(0x400000n);
      expect(await task.mm.exe_file.f_path.dentry.d_name.name.$.string()).toBe("busybox");
      expect(await vmas[0]?.vm_file.f_path.dentry.d_name.$.fields("len")).toEqual({ len: 7 });
      const fds = await task.files.fdt.fd.$.elements(3);
      expect(fds.every((file) => typeof file === "bigint" && file > 1n << 63n)).toBe(true);
      return;
    }
    expect.unreachable();
  });

  it("give every process number by the IDR, and modules and super blocks by their lists", async () => {
    const ns = await linux.object("init_pid_ns");
    const pids = await ns.idr.$.idr("pid").toArray();
    const entries = await ns.idr.$.xarrayEntries().toArray();
    const rows = await readAll(pids, "numbers[0].nr");
    expect(rows.map(({ value }) => value?.["numbers[0].nr"])).toEqual(entries.map(({ index }) => index));
    const modules = await linux.object("modules");
    const names = await modules.$.list("module", "list").toArray();
    expect((await readAll(names, "name")).map(({ value }) => value?.name)).toEqual(
      truth.modules.map(({ name }: { name: string }) => name),
    );
    const blocks = await linux.object("super_blocks");
    const types = await blocks.$.list("super_block", "s_list")
      .map((block) => block.s_type.name.$.string().sync())
      .toArray();
    expect(types).toContain("proc");
  });

  it("give a per-CPU variable of each CPU, and refuse a CPU that is none", async () => {
    const queue = await linux.perCpu("runqueues", 0);
    expect(await queue.cpu.$.read()).toBe(0);
    expect(await queue.idle.comm.$.read()).toBe("swapper/0");
    await expect(linux.perCpu("runqueues", 1000)).rejects.toThrow(CpuError);
  });

  it("walk a red-black tree in its order", async () => {
    const queue = await linux.perCpu("runqueues", 0);
    const tasks = await queue.cfs.tasks_timeline.$.rbtree("sched_entity", "run_node").toArray();
    const rows = await readAll(tasks, "vruntime", "on_rq");
    expect(rows.length).toBeGreaterThanOrEqual(0);
    for (const { value } of rows) expect(value?.on_rq).toBe(1);
    const vmap = await linux.object("vmap_area_root", "struct rb_root");
    const areas = await readAll(await vmap.$.rbtree("vmap_area", "rb_node").toArray(), "va_start", "va_end");
    expect(areas.length).toBeGreaterThan(20);
    let end = 0n;
    for (const { value } of areas) {
      expect(value?.va_start >= end).toBe(true);
      end = value?.va_end as bigint;
    }
    // The same areas hang on a list.
    const list = await linux.object("vmap_area_list", "struct list_head");
    const listed = await readAll(await list.$.list("vmap_area", "list").toArray(), "va_start");
    expect(listed.map(({ value }) => value?.va_start)).toEqual(areas.map(({ value }) => value?.va_start));
  });

  it("are no promises, and show what they are where JavaScript asks for text", async () => {
    const init = await linux.object("init_task");
    const address = `0x${(await linux.symbol("init_task")).address.toString(16)}`;
    expect(inspect(init)).toBe(`(struct task_struct) at ${address}`);
    expect(`${init}`).toBe(`(struct task_struct) at ${address}`);
    expect(JSON.stringify({ init })).toBe(`{"init":"(struct task_struct) at ${address}"}`);
    expect(inspect(init.mm.pgd)).toBe("(pgd_t *) at the end of init_task.mm.pgd");
    expect(() => Number(init.pid)).toThrow(TypeError);
    expect(await (async () => init.tasks)()).toBeDefined();
    expect("comm" in init && !("nothing" in init)).toBe(true);
    expect(Object.getOwnPropertyNames(init)).toContain("comm");
    expect(() => {
      (init as Record<string, unknown>).comm = 1;
    }).toThrow(TypeError);
  });

  it("name what is not there, and what is like it", async () => {
    const init = await linux.object("init_task");
    expect(() => (init as Record<string, unknown>).com).toThrow(/has no member com; there is comm/);
    expect(() => init.$.member("mm.nothing")).toThrow(TypesError);
    await expect(init.mm.pgd.$.read()).rejects.toThrow(ObjectReadError);
    await expect(init.mm.pgd.$.read()).rejects.toThrow(/init_task.mm.pgd: null pointer at 0x/);
    await expect(linux.object("jiffies")).rejects.toThrow(/nothing says of what type jiffies is/);
    expect(await (await linux.object("jiffies", "unsigned long")).$.read()).toBeTypeOf("bigint");
    await expect(linux.objectAt(0n, "no_such_thing")).rejects.toThrow(/no type "no_such_thing"/);
    const bad = await linux.objectAt(0x10n, "list_head");
    const { values, missing } = await bad.$.fieldsPartial("next");
    expect(values).toEqual({});
    expect(missing[0]?.path).toBe("0x10.next");
  });

  it("print as C, with names of what pointers point to", async () => {
    const init = await linux.object("init_task");
    const text = await init.$.toC();
    expect(text).toContain('\t.comm = "swapper/0",\n');
    expect(text).toMatch(/\t\.real_parent = 0x[0-9a-f]+ \/\* init_task \*\/,/);
    expect(text).toMatch(/\t\.cred = 0x[0-9a-f]+ \/\* init_cred \*\/,/);
    expect(await init.pid.$.toC()).toBe("(pid_t)0");
    const list = await linux.objectAt(await init.tasks.$.address(), "list_head");
    expect(await list.$.toC()).toMatch(/^\(struct list_head\)\{\n\t\.next = 0x\w+,\n\t\.prev = 0x\w+,\n\}$/);
  });

  it("contain each other: a node's structure, casts, places beside them", async () => {
    const init = await linux.object("init_task");
    const address = await init.$.address();
    expect(await init.tasks.$.containerOf("task_struct", "tasks").$.address()).toBe(address);
    expect(await init.tasks.next.prev.$.containerOf("task_struct", "tasks").$.address()).toBe(address);
    expect(await init.$.offsetBy(16).$.address()).toBe(address + 16n);
    expect(await init.$.cast("u8").$.read()).toBeTypeOf("number");
    expect(await init.real_parent.$.deref().$.address()).toBe(address);
    expect(await init.comm.$.index(1).$.read()).toBe("w".charCodeAt(0));
    const whole = await init.$.read();
    expect(whole.comm).toBe("swapper/0");
    expect(whole.tasks.next).toBe(await init.tasks.next.$.read());
    expect(Object.getPrototypeOf(whole)).toBe(null);
  });
});
