/** Mapped ranges, arguments and threads of a kernel whose structures were changed: nothing ends a list, and what is wrong is told. */
import { afterEach, describe, expect, it } from "vitest";
import {
  type Damage,
  type LinuxKernel,
  listTasks,
  listVmas,
  readArguments,
  type Task,
  type Vma,
} from "../../../src/linux/index.js";
import { offsetOf } from "../../../src/linux/objects/record.js";
import { PatchedKernel } from "../../support/patched-kernel.js";

const DUMP = "fixtures/linux-6.1-x86_64.kdump";

describe("a damaged kernel's processes", () => {
  let patched: PatchedKernel | undefined;
  afterEach(() => patched?.close());

  async function start(): Promise<{
    patched: PatchedKernel;
    kernel: LinuxKernel;
    tasks: Task[];
    at: (struct: string, path: string) => Promise<bigint>;
  }> {
    patched = await PatchedKernel.open(DUMP);
    const { kernel } = patched;
    const at = async (struct: string, path: string) => BigInt(offsetOf(await kernel.types(), struct, path));
    return { patched, kernel, tasks: await listTasks(kernel).toArray(), at };
  }

  async function ranges(kernel: LinuxKernel): Promise<{ vmas: Vma[]; damage: Damage[] }> {
    const damage: Damage[] = [];
    const vmas = await listVmas(kernel, { onDamage: (found) => damage.push(found) }).toArray();
    return { vmas, damage };
  }

  it.each([
    ["begins above the last one's end", "vm_start", 0x7fff_0000_0000_0000n],
    ["ends above all others", "vm_end", 0x7fff_ffff_0000n],
    ["begins within a page", "vm_start", 0x400_0010n],
    ["ends before it begins", "vm_end", 0n],
    ["reaches into the kernel's memory", "vm_end", 0xffff_ffff_ffff_f000n],
  ])(
    "a mapped range that %s is told, and all counts of the others stay within their ranges",
    async (_, member, value) => {
      const { patched: own, kernel, at } = await start();
      const before = (await ranges(kernel)).vmas;
      const changed = before.find(({ pid, path }) => pid === 97 && path === "/guest") as Vma;
      await own.setPointer(changed.address + (await at("vm_area_struct", member)), value);
      const { vmas, damage } = await ranges(kernel);
      expect(damage.length).toBeGreaterThan(0);
      for (const { start: first, end, resident = 0, swapped = 0, absent = 0, unknown = 0 } of vmas) {
        const pages = Number((end - first) / 4096n);
        expect(Math.min(resident, swapped, absent, unknown)).toBeGreaterThanOrEqual(0);
        expect(resident + swapped + absent + unknown).toBe(pages);
      }
      const own97 = vmas.filter(({ pid, path }) => pid === 97 && path !== "[vsyscall]");
      expect(own97.filter(({ end }) => end > 1n << 47n)).toEqual([]);
      // Other processes' ranges are all there.
      const others = (list: readonly Vma[]) =>
        list.filter(({ pid }) => pid !== 97).map(({ address }) => address);
      expect(others(vmas)).toEqual(others(before));
    },
  );

  it("processes that claim one list of threads don't have it gone over for each of them", async () => {
    const { patched: own, kernel, tasks, at } = await start();
    const [first] = tasks as [Task];
    const { signal } = first.raw;
    for (const task of tasks.slice(1))
      await own.setPointer(task.address + (await at("task_struct", "signal")), signal as bigint);
    const threads = await listTasks(kernel, { threads: true, onDamage: () => {} }).toArray();
    expect(threads.length).toBe(tasks.length);
  });

  it("arguments of which a part is missing are given, and said to be partial", async () => {
    const { patched: own, kernel, tasks, at } = await start();
    const task = tasks.find(({ pid }) => pid === 98) as Task;
    const end = (task.mmRaw?.argEnd ?? 0n) + 0x10_0000n;
    await own.setPointer((task.mm as bigint) + (await at("mm_struct", "arg_end")), end);
    const [again] = await listTasks(kernel, { pid: 98 }).toArray();
    const found = await readArguments(kernel, again as Task);
    expect(found?.partial).toBe(true);
    expect(found?.args[0]).toBe("memtool-witness");
  });

  it("a thread's number stands for its process", async () => {
    const { kernel } = await start();
    const threads = await listTasks(kernel, { threads: true }).toArray();
    const thread = threads.find(({ pid, tgid }) => pid !== tgid) as Task;
    expect((await listTasks(kernel, { pid: thread.pid }).toArray()).map(({ pid }) => pid)).toEqual([
      thread.tgid,
    ]);
  });
});
