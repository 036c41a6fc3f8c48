/** Processes of a kernel whose memory is damaged: what is left is listed, and what is wrong is told. */
import { afterEach, describe, expect, it } from "vitest";
import {
  type Damage,
  DamageError,
  findProcess,
  type LinuxKernel,
  listTasks,
  listVmas,
  memoryOfTask,
  suspiciousMemory,
  type Task,
} from "../../../src/linux/index.js";
import { offsetOf } from "../../../src/linux/objects/record.js";
import { PatchedKernel } from "../../support/patched-kernel.js";

const DUMP = "fixtures/linux-6.1-x86_64.kdump";

describe("the list of tasks of a damaged kernel", () => {
  let patched: PatchedKernel | undefined;
  afterEach(() => patched?.close());

  async function start(): Promise<{
    tasks: Task[];
    link: bigint;
    list: () => Promise<{ pids: (number | undefined)[]; damage: Damage[] }>;
  }> {
    patched = await PatchedKernel.open(DUMP);
    const { kernel } = patched;
    const tasks = await listTasks(kernel).toArray();
    const link = BigInt(offsetOf(await kernel.types(), "task_struct", "tasks"));
    const list = async () => {
      const damage: Damage[] = [];
      const found = await listTasks(kernel, { onDamage: (each) => damage.push(each) }).toArray();
      return { pids: found.map(({ pid }) => pid), damage };
    };
    return { tasks, link, list };
  }

  it("is whole though one pointer leads to nowhere: the rest is found from the other end", async () => {
    const { tasks, link, list } = await start();
    const at = tasks[20] as Task;
    await patched?.setPointer(at.address + link, 0xdead_0000_0000_0100n);
    const { pids, damage } = await list();
    expect(pids).toEqual(tasks.map(({ pid }) => pid));
    expect(damage).toMatchObject([{ reason: "unreadable", address: 0xdead_0000_0000_0100n }]);
  });

  it("leaves out nobody, and nobody is in it twice, when a pointer leads back", async () => {
    const { tasks, link, list } = await start();
    await patched?.setPointer((tasks[20] as Task).address + link, (tasks[5] as Task).address + link);
    const { pids, damage } = await list();
    expect(pids).toEqual(tasks.map(({ pid }) => pid));
    expect(damage).toMatchObject([{ reason: "loop" }]);
  });

  it("takes no other memory for a task: who is pointed to must point back", async () => {
    const { tasks, link, list } = await start();
    const other = (tasks[0] as Task).address + 8n;
    await patched?.setPointer((tasks[20] as Task).address + link, other);
    const { pids, damage } = await list();
    expect(pids).toEqual(tasks.map(({ pid }) => pid));
    expect(damage).toMatchObject([{ reason: "mismatch", address: other }]);
  });

  it("has a process whose page table can be none, without its memory, and says so", async () => {
    const { tasks, list } = await start();
    const types = await patched?.kernel.types();
    if (patched === undefined || types === undefined) return;
    const task = tasks.find(({ pid }) => pid === 97) as Task;
    await patched.setPointer(
      (task.mm ?? 0n) + BigInt(offsetOf(types, "mm_struct", "pgd")),
      task.address + 8n,
    );
    const { pids, damage } = await list();
    expect(pids).toEqual(tasks.map(({ pid }) => pid));
    expect(damage).toMatchObject([{ what: "the page table of process 97", reason: "invalid" }]);
    const found = await findProcess(patched.kernel, 97, { onDamage: () => {} });
    expect(() => memoryOfTask(patched?.kernel as LinuxKernel, found)).toThrow(/page table can't be read/);
    // What goes through all processes has the others.
    const told: Damage[] = [];
    const onDamage = (each: Damage) => told.push(each);
    const vmas = await listVmas(patched.kernel, { onDamage }).toArray();
    expect(new Set(vmas.map(({ pid }) => pid)).size).toBeGreaterThan(2);
    await suspiciousMemory(patched.kernel, { onDamage }).toArray();
    expect(told.map(({ what }) => what)).toContain("the page table of process 97");
  });

  it("lists what is readable of a task whose page is missing, and says which is", async () => {
    const { tasks, link, list } = await start();
    const gone = tasks[20] as Task;
    await patched?.remove(gone.address + link);
    const { pids, damage } = await list();
    const others = tasks.filter((task) => (task.address + link) / 4096n !== (gone.address + link) / 4096n);
    for (const { pid } of others) expect(pids).toContain(pid);
    expect(damage.map(({ what }) => what)).toContain("the list of tasks");
    expect(damage[0]).toMatchObject({ reason: "unreadable", message: expect.stringContaining("excluded") });
  });

  it("finds by their numbers those that the list can't be followed to from either end", async () => {
    const { tasks, link, list } = await start();
    // Both ways end there: what lies between is on neither.
    await patched?.setPointer((tasks[15] as Task).address + link, 0n);
    await patched?.setPointer((tasks[35] as Task).address + link + 8n, 0n);
    const { pids, damage } = await list();
    expect([...pids].sort()).toEqual(tasks.map(({ pid }) => pid).sort());
    expect(damage.map(({ what }) => what)).toEqual(["the list of tasks"]);
  });

  it("throws after the last task where nobody is told of damage", async () => {
    const { tasks, link } = await start();
    await patched?.setPointer((tasks[20] as Task).address + link, 0xdead_0000_0000_0100n);
    const found: Task[] = [];
    const all = async () => {
      for await (const task of listTasks((patched as PatchedKernel).kernel)) found.push(task);
    };
    await expect(all()).rejects.toThrow(DamageError);
    expect(found.length).toBe(tasks.length);
  });
});
