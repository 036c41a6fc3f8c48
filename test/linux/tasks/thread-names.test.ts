/** Names and numbers of tasks that lie elsewhere, on the dump that ships: changed, damaged, taken away. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Damage, listTasks, type Task } from "../../../src/linux/index.js";
import { offsetOf } from "../../../src/linux/objects/record.js";
import type { TypeTable } from "../../../src/linux/types/type-table.js";
import { PatchedKernel } from "../../support/patched-kernel.js";

describe("what lies outside a task_struct", () => {
  let patched: PatchedKernel;
  let types: TypeTable;
  let before: Task[];

  beforeEach(async () => {
    patched = await PatchedKernel.open("fixtures/linux-6.1-x86_64.kdump");
    types = await patched.kernel.types();
    before = (await list()).tasks;
  });
  afterEach(() => patched.close());

  async function list(): Promise<{ tasks: Task[]; damage: Damage[] }> {
    const damage: Damage[] = [];
    const tasks = await listTasks(patched.kernel, { onDamage: (each) => damage.push(each) }).toArray();
    return { tasks, damage };
  }

  function named(name: RegExp): Task {
    const found = before.find((task) => name.test(task.name ?? ""));
    if (found === undefined) throw new Error(`nobody is called ${name}`);
    return found;
  }

  const at = (struct: string, member: string) => BigInt(offsetOf(types, struct, member));

  async function pointerAt(address: bigint): Promise<bigint> {
    return new DataView((await patched.kernel.memory.read(address, 8)).buffer).getBigUint64(0, true);
  }

  async function threadOf(task: Task): Promise<bigint> {
    return await pointerAt(task.address + at("task_struct", "worker_private"));
  }

  it("a worker that does something now is called so, with all of what it does", async () => {
    const worker = named(/^kworker\/0:\d+-/);
    const fields = await pointerAt((await threadOf(worker)) + at("kthread", "data"));
    await patched.setPointer(fields + at("worker", "current_work"), fields);
    const text = "flush-\u001b[31m:0123456789";
    await patched.set(fields + at("worker", "desc"), Buffer.from(`${text}\0`));
    const { tasks, damage } = await list();
    const { comm, name } = tasks.find(({ pid }) => pid === worker.pid) as Task;
    expect([name, damage]).toEqual([`${comm}+${text}`, []]);
  });

  it("a worker without a pool shows nothing of what it did: it is being made, or ends", async () => {
    const worker = named(/^kworker\/0:\d+-/);
    const fields = await pointerAt((await threadOf(worker)) + at("kthread", "data"));
    await patched.setPointer(fields + at("worker", "pool"), 0n);
    const { tasks } = await list();
    const { comm, name } = tasks.find(({ pid }) => pid === worker.pid) as Task;
    expect(name).toBe(comm);
  });

  it("a name that can't be read is what comm has of it, and that is told", async () => {
    const long = named(/^rcu_tasks_rude_kthread$/);
    const worker = named(/^kworker\/0:\d+-/);
    const thread = await threadOf(long);
    await patched.setPointer(thread + at("kthread", "full_name"), 0xdead_0000_0000_0100n);
    await patched.setPointer((await threadOf(worker)) + at("kthread", "data"), 0xdead_0000_0000_0200n);
    const { tasks, damage } = await list();
    const nameOf = ({ pid }: Task) => tasks.find((task) => task.pid === pid)?.name;
    expect([nameOf(long), nameOf(worker)]).toEqual(["rcu_tasks_rude_", worker.comm]);
    expect(damage).toMatchObject([
      { what: "the name of a kthread", address: 0xdead_0000_0000_0100n, reason: "unreadable" },
      { what: "a worker", address: 0xdead_0000_0000_0200n, reason: "unreadable" },
    ]);
    expect(tasks.length).toBe(before.length);
  });

  it("what set_child_tid or worker_private is of a process of user space is not followed", async () => {
    const process = named(/^mt-witness$/);
    await patched.setPointer(process.address + at("task_struct", "worker_private"), 0xdead_0000_0000_0100n);
    const { damage } = await list();
    expect(damage).toEqual([]);
  });

  it("a process within two namespaces has three numbers; one of 33 has none that is believed", async () => {
    const [first, second] = [named(/^mt-witness$/), named(/^init$/)];
    const numbers = async (task: Task) => await pointerAt(task.address + at("task_struct", "thread_pid"));
    const own = await numbers(first);
    await patched.set(own + at("pid", "level"), Uint8Array.of(2, 0, 0, 0));
    for (const [i, number] of [7, 1].entries()) {
      const entry = own + at("pid", `numbers[${i + 1}].nr`);
      await patched.set(entry, Uint8Array.of(number, 0, 0, 0));
    }
    const other = await numbers(second);
    await patched.set(other + at("pid", "level"), Uint8Array.of(33, 0, 0, 0));
    const { tasks, damage } = await list();
    const of = ({ pid }: Task) => tasks.find((task) => task.pid === pid)?.nspid;
    expect(of(first)).toEqual([first.pid, 7, 1]);
    expect(of(second)).toBe(undefined);
    expect(of(named(/^kthreadd$/))).toEqual([2]);
    expect(damage).toMatchObject([{ what: "a struct pid", address: other, reason: "invalid" }]);
  });
});
