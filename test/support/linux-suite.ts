/**
 * What memtool says of a guest's kernel against what the guest itself printed: one suite for the committed dump and for fresh
 * ones, of every kernel, architecture and form.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Machine, type OpenTarget, open } from "../../connectors/index.js";
import type { Truth } from "../../fixtures/vm/truth.mjs";
import {
  type Damage,
  type LinuxKernel,
  listTasks,
  listVmas,
  readArguments,
  readEnvironment,
  type Task,
  type Vma,
} from "../../src/linux/index.js";

/** What is under test. */
export interface LinuxSubject {
  readonly target: OpenTarget;
  readonly truth: Truth;
  /** Where swapped pages are, where that is not in the dump. */
  readonly swapFile?: string | undefined;
}

/** Runs the suite. @param get Is called once. */
export function linuxSuite(name: string, get: () => Promise<LinuxSubject>): void {
  describe(`Linux without symbols: ${name}`, () => {
    let machine: Machine;
    let kernel: LinuxKernel;
    let truth: Truth;
    beforeAll(async () => {
      const subject = await get();
      truth = subject.truth;
      const swap = subject.swapFile === undefined || subject.swapFile === "" ? [] : [subject.swapFile];
      machine = await open(subject.target, { swap });
      kernel = await machine.linux();
      await machine.swapTypes();
    });
    afterAll(() => machine?.close());

    it("lists every process with its state, parent, user, group and start, as /proc has them", async () => {
      const tasks = await listTasks(kernel).toArray();
      const mine = tasks.map((task) => ({
        pid: task.pid,
        tgid: task.tgid,
        ppid: task.ppid,
        uid: task.uid,
        gid: task.gid,
        state: task.state,
        // /proc shows more of a worker's name than there is in `comm`.
        comm: task.comm?.startsWith("kworker/") ? "kworker/" : task.comm,
        start: Math.floor((task.start ?? -1) * 100),
        kernelThread: task.kernelThread,
      }));
      const guests = truth.processes.map((process) => ({
        pid: process.pid,
        tgid: process.pid,
        ppid: process.parent,
        uid: process.uids[0],
        gid: process.gids[0],
        state: process.state,
        comm: process.name.startsWith("kworker/") ? "kworker/" : commOf(process.name),
        start: process.startTime,
        kernelThread: process.kernelThread,
      }));
      expect(mine.length).toBeGreaterThan(20);
      expect(byPid(mine)).toEqual(byPid(guests));
    });

    it("lists every thread of every process", async () => {
      const threads = await listTasks(kernel, { threads: true }).toArray();
      const mine = threads.map(({ pid, tgid }) => `${tgid}/${pid}`);
      const guests = truth.processes.flatMap(({ pid, threads: own }) =>
        own.map(({ tid }) => `${pid}/${tid}`),
      );
      expect(mine.sort()).toEqual(guests.sort());
      expect(guests.length).toBeGreaterThan(truth.processes.length);
    });

    it("gives one process by its number, and says when there is none", async () => {
      const { pid } = truth.processes.at(-1) as { pid: number };
      expect(await listTasks(kernel, { pid }).toArray()).toMatchObject([{ pid }]);
      expect(await listTasks(kernel, { pid: 999_999 }).toArray()).toEqual([]);
    });

    it("reads every process's arguments and environment out of its own memory", async () => {
      const tasks = new Map((await listTasks(kernel).toArray()).map((task) => [task.pid, task]));
      let withArguments = 0;
      for (const process of truth.processes) {
        const task = tasks.get(process.pid) as Task;
        const damage: Damage[] = [];
        const onDamage = (found: Damage) => damage.push(found);
        const args = await readArguments(kernel, task, { onDamage });
        const environment = await readEnvironment(kernel, task, { onDamage });
        expect(damage, `of ${process.pid}`).toEqual([]);
        expect(args?.args ?? [], `arguments of ${process.pid}`).toEqual(process.arguments);
        expect(environment?.args ?? [], `environment of ${process.pid}`).toEqual(process.environment);
        if (process.arguments.length > 0) withArguments++;
      }
      expect(withArguments).toBeGreaterThan(2);
    });

    it("lists every mapped range of every process, as /proc/PID/maps has them", async () => {
      const vmas = await listVmas(kernel, { pages: false }).toArray();
      for (const process of truth.processes) {
        const mine = vmas.filter(({ pid }) => pid === process.pid).map(mapsLine);
        const guests = process.maps.map((map) => ({
          ...map,
          start: BigInt(map.start),
          end: BigInt(map.end),
          offset: BigInt(map.offset),
        }));
        expect(mine, `of process ${process.pid}`).toEqual(guests);
      }
      expect(new Set(vmas.map(({ pid }) => pid)).size).toBeGreaterThan(2);
    });

    it("counts the pages of a range that are in RAM and swapped out, as the process itself saw them", async () => {
      const vmas = await listVmas(kernel, { pid: truth.pid }).toArray();
      let compared = 0;
      for (const region of truth.regions) {
        const [start, end] = [BigInt(region.start), BigInt(region.end)];
        // Ranges that are this region's or a part of it.
        const mine = vmas.filter((vma) => vma.start >= start && vma.end <= end);
        const covered = mine.reduce((sum, vma) => sum + vma.end - vma.start, 0n);
        if (covered !== end - start) continue;
        const { resident, swapped } = pagesIn(region);
        const sum = (field: "resident" | "swapped") =>
          mine.reduce((total, vma) => total + (vma[field] ?? 0), 0);
        expect({ name: region.name, resident: sum("resident"), swapped: sum("swapped") }).toEqual({
          name: region.name,
          resident,
          swapped,
        });
        compared++;
      }
      expect(compared).toBeGreaterThan(10);
    });
  });
}

const PAGE = 4096;

/** How many pages of a region pagemap called present, and how many swapped. */
function pagesIn(region: Truth["regions"][number]): { resident: number; swapped: number } {
  let resident = 0;
  let swapped = 0;
  for (const run of region.runs) {
    const pages = Number(BigInt(run.end) - BigInt(run.start)) / PAGE;
    if (run.physical !== null) resident += pages;
    else if (run.state === "paged-out") swapped += pages;
  }
  return { resident, swapped };
}

/** As the truth has a line of /proc/PID/maps. */
function mapsLine(vma: Vma) {
  const { start, end, rights, offset, path } = vma;
  const [major = "0", minor = "0"] = vma.device?.split(":") ?? [];
  const hexOf = (text: string) => Number(text).toString(16).padStart(2, "0");
  const device = `${hexOf(major)}:${hexOf(minor)}`;
  return { start, end, permissions: rights, offset, device, inode: Number(vma.inode), path };
}

/** What fits into TASK_COMM_LEN, 15 bytes. */
function commOf(name: string): string {
  return Buffer.from(name).subarray(0, 15).toString();
}

function byPid<T extends { pid: number | undefined }>(items: readonly T[]): T[] {
  return [...items].sort((a, b) => (a.pid ?? -1) - (b.pid ?? -1));
}
