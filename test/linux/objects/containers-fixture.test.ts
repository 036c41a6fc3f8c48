import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Machine } from "../../../connectors/machine.js";
import { open } from "../../../connectors/open.js";
import { Io, type Routine } from "../../../src/io/index.js";
import type { LinuxKernel } from "../../../src/linux/index.js";
import type { Damage } from "../../../src/linux/objects/damage.js";
import { walkList } from "../../../src/linux/objects/list.js";
import { walkMapleRanges } from "../../../src/linux/objects/maple-tree.js";
import { int, offsetOf, place, record, text, word } from "../../../src/linux/objects/record.js";
import { walkXarray } from "../../../src/linux/objects/xarray.js";

const truth = JSON.parse(readFileSync("fixtures/linux-6.1-x86_64.truth.json", "utf8"));
interface Process {
  readonly pid: number;
  readonly name: string;
  readonly threads: readonly { readonly tid: number }[];
  readonly maps: readonly { readonly start: string; readonly end: string; readonly path: string }[];
}
const processes: readonly Process[] = truth.processes;

const TASK = record("task_struct", { pid: int("pid"), comm: text("comm"), mm: word("mm") });
const MM = record("mm_struct", { tree: place("mm_mt"), count: int("map_count") });
const VMA = record("vm_area_struct", { start: word("vm_start"), end: word("vm_end") });

describe("containers of the committed dump's kernel", () => {
  let machine: Machine;
  let linux: LinuxKernel;
  const damage: Damage[] = [];
  const report = (found: Damage) => damage.push(found);
  const run = <T>(routine: () => Routine<T>) => Io.of(linux.memory.scheduler, routine).sync();
  beforeAll(async () => {
    machine = await open("fixtures/linux-6.1-x86_64.kdump");
    linux = await machine.linux();
  });
  afterAll(() => machine.close());

  it("hold every process in a list, and the VMAs of each in its maple tree", async () => {
    const types = await linux.types();
    const head = (await linux.symbol("init_task")).address + BigInt(offsetOf(types, "task_struct", "tasks"));
    const { memory } = linux;
    const rows = run(function* () {
      const nodes = yield* walkList(memory, head, "the list of tasks", report);
      const offset = BigInt(offsetOf(types, "task_struct", "tasks"));
      return yield* TASK.on(types).read(
        memory,
        nodes.map((node) => node - offset),
      );
    });
    const tasks = rows.map(({ value }) => value).filter((value) => value !== undefined);
    expect(tasks.map(({ pid }) => pid)).toEqual(processes.map(({ pid }) => pid));
    const users = tasks.filter(({ mm }) => mm !== 0n);
    const { mms, trees } = run(function* () {
      const mms = yield* MM.on(types).read(
        memory,
        users.map(({ mm }) => mm),
      );
      const roots = mms.map(({ value }) => value?.tree ?? 0n);
      return { mms, trees: yield* walkMapleRanges(memory, types, roots, "VMAs", report) };
    });
    expect(users.length).toBeGreaterThan(3);
    for (const [i, { pid }] of users.entries()) {
      const tree = trees[i] ?? [];
      expect(tree.length).toBe(mms[i]?.value?.count);
      const vmas = run(() =>
        VMA.on(types).read(
          memory,
          tree.map(({ entry }) => entry),
        ),
      );
      const maps = processes.find((each) => each.pid === pid)?.maps ?? [];
      expect(vmas.map(({ value }) => [value?.start, value?.end])).toEqual(
        maps
          .filter(({ path }) => path !== "[vsyscall]")
          .map(({ start, end }) => [BigInt(start), BigInt(end)]),
      );
      // The tree's own ranges say the same.
      expect(tree.map(({ first, last }) => [first, last + 1n])).toEqual(
        vmas.map(({ value }) => [value?.start, value?.end]),
      );
    }
    expect(damage).toEqual([]);
  });

  it("hold every thread's number in the IDR of its namespace", async () => {
    const types = await linux.types();
    const namespace = (await linux.symbol("init_pid_ns")).address;
    const root = namespace + BigInt(offsetOf(types, "pid_namespace", "idr.idr_rt"));
    const entries = run(() => walkXarray(linux.memory, types, root, "the numbers of processes", report));
    const numbers = entries.map(({ index }) => index);
    for (const { threads } of processes) {
      for (const { tid } of threads) expect(numbers).toContain(tid);
    }
    const number = record("pid", { nr: int("numbers[0].nr") });
    const pids = run(() =>
      number.on(types).read(
        linux.memory,
        entries.map(({ entry }) => entry),
      ),
    );
    expect(pids.map(({ value }) => value?.nr)).toEqual(numbers);
    expect(damage).toEqual([]);
  });
});
