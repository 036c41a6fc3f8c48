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
  listCapabilities,
  listLog,
  listModules,
  listResources,
  listTasks,
  listTraced,
  listVmas,
  readArguments,
  readBanner,
  readEnvironment,
  type Task,
  type TaskOptions,
  type Vma,
} from "../../src/linux/index.js";

/** What is under test. */
export interface LinuxSubject {
  readonly target: OpenTarget;
  readonly truth: Truth;
  /** Where swapped pages are, where that is not in the dump. */
  readonly swapFile?: string | undefined;
  /** Whether a filter left out pages of user memory (`makedumpfile -d 31`): what is not there must be told. */
  readonly filtered?: boolean | undefined;
}

/** Runs the suite. @param get Is called once. */
export function linuxSuite(name: string, get: () => Promise<LinuxSubject>): void {
  describe(`Linux without symbols: ${name}`, () => {
    let machine: Machine;
    let kernel: LinuxKernel;
    let truth: Truth;
    let filtered = false;
    beforeAll(async () => {
      const subject = await get();
      truth = subject.truth;
      filtered = subject.filtered === true;
      const swap = subject.swapFile === undefined || subject.swapFile === "" ? [] : [subject.swapFile];
      machine = await open(subject.target, { swap });
      kernel = await machine.linux();
      await machine.swapTypes();
    });
    afterAll(() => machine?.close());

    /** The list, of which damage is expected only where pages were left out. */
    async function listed(options: TaskOptions = {}): Promise<{ tasks: Task[]; damage: Damage[] }> {
      const damage: Damage[] = [];
      const tasks = await listTasks(kernel, {
        ...options,
        onDamage: (found) => damage.push(found),
      }).toArray();
      if (!filtered) expect(damage).toEqual([]);
      return { tasks, damage };
    }

    it("lists every process with its state, parent, user, group and start, as /proc has them", async () => {
      const { tasks, damage } = await listed();
      const whole = tasks.filter((task) => !damage.some(({ address }) => address === task.address));
      const mine = whole.map((task) => ({
        pid: task.pid,
        tgid: task.tgid,
        ppid: task.ppid,
        uid: task.uid,
        gid: task.gid,
        state: task.state,
        // (Where structures were left out, a name is what `comm` has of it.)
        ...(damage.length === 0 ? { nspid: task.nspid, name: firstPart(task.name ?? "") } : {}),
        comm: task.comm?.startsWith("kworker/") ? "kworker/" : task.comm,
        start: hundredths(task.start),
        kernelThread: task.kernelThread,
      }));
      const guests = truth.processes.map((process) => ({
        pid: process.pid,
        tgid: process.pid,
        ppid: process.parent,
        uid: process.uids[0],
        gid: process.gids[0],
        state: stateSince(process, tasks.find(({ pid }) => pid === process.pid)?.state),
        ...(damage.length === 0 ? { nspid: numbersOf(process.status), name: firstPart(process.name) } : {}),
        comm: process.name.startsWith("kworker/") ? "kworker/" : commOf(process.name),
        start: process.startTime,
        kernelThread: process.kernelThread,
      }));
      expect(mine.length).toBeGreaterThan(20);
      // A filter may have taken a task itself (makedumpfile 1.7 does not know the newest kernels' page flags); the others are all there.
      const lost = damage.filter(({ what }) => what === "a task_struct").length;
      const expected = guests.filter(({ pid }) => lost === 0 || mine.some((each) => each.pid === pid));
      expect(byPid(mine)).toEqual(byPid(expected));
      expect(guests.length - expected.length).toBeLessThanOrEqual(lost);
      if (damage.length > 0) return;
      expect(mine.some(({ name = "" }) => name.length > 15)).toBe(true);
      // A worker may have done something else since the guest printed, for another of the kernel's queues.
      const queues = await queueNames(kernel, tasks);
      const described = tasks.map(({ name = "" }) => workOf(name)).filter((work) => work !== undefined);
      expect(described.length).toBeGreaterThan(2);

      // (Linux 6.12 checks what ftrace found in a queue that it takes away as it comes up; a worker may still be called by it.)
      const gone = /^(flush-\d+:\d+|ftrace_check_wq)$/;
      for (const work of described) if (!gone.test(work)) expect(queues).toContain(work);
    });

    it("lists every thread of every process", async () => {
      const { tasks, damage } = await listed({ threads: true });
      const mine = tasks.map(({ pid, tgid }) => `${tgid}/${pid}`);
      const guests = truth.processes.flatMap(({ pid, threads: own }) =>
        own.map(({ tid }) => `${pid}/${tid}`),
      );
      if (damage.length === 0) expect(mine.sort()).toEqual(guests.sort());
      expect(guests.length).toBeGreaterThan(truth.processes.length);
    });

    it("gives one process by its number, and says when there is none", async () => {
      const { pid } = truth.processes.at(-1) as { pid: number };
      expect((await listed({ pid })).tasks).toMatchObject([{ pid }]);
      expect((await listed({ pid: 999_999 })).tasks).toEqual([]);
    });

    it("reads every process's arguments and environment out of its own memory", async () => {
      const tasks = new Map((await listed()).tasks.map((task) => [task.pid, task]));
      let withArguments = 0;
      for (const process of truth.processes) {
        const task = tasks.get(process.pid);
        if (filtered && task?.mm === undefined) continue;
        if (task === undefined) throw new Error(`no process ${process.pid}`);
        const damage: Damage[] = [];
        const onDamage = (found: Damage) => damage.push(found);
        const args = await readArguments(kernel, task, { onDamage });
        const environment = await readEnvironment(kernel, task, { onDamage });
        if (filtered && process.arguments.length > 0) {
          // All of it is told to be missing, and nothing is made up.
          expect(damage, `of ${process.pid}`).toContainEqual(
            expect.objectContaining({ reason: "unreadable", message: expect.stringContaining("excluded") }),
          );
          expect(args?.partial).toBe(true);
          withArguments++;
          continue;
        }
        expect(damage, `of ${process.pid}`).toEqual([]);
        expect(args?.args ?? [], `arguments of ${process.pid}`).toEqual(process.arguments);
        expect(environment?.args ?? [], `environment of ${process.pid}`).toEqual(process.environment);
        if (process.arguments.length > 0) withArguments++;
      }
      expect(withArguments).toBeGreaterThan(2);
    });

    it("knows each process's five sets of capabilities, as its status has them", async () => {
      const damage: Damage[] = [];
      const mine = await listCapabilities(kernel, { onDamage: (found) => damage.push(found) }).toArray();
      if (!filtered) expect(damage).toEqual([]);
      for (const { pid, status } of truth.processes) {
        const found = mine.find((each) => each.pid === pid && each.permitted !== undefined);
        if (filtered && found === undefined) continue;
        const fact = (name: string) => BigInt(`0x${statusOf(status, name)}`);
        expect(found, `of ${pid}`).toMatchObject({
          tgid: pid,
          inheritable: fact("CapInh"),
          permitted: fact("CapPrm"),
          effective: fact("CapEff"),
          bounding: fact("CapBnd"),
          ambient: fact("CapAmb"),
        });
      }
      // One has them such that no set equals another (fixtures/vm/scenery.c, act_capable).
      const odd = mine.find(({ comm }) => comm === "mt-capable");
      if (!filtered) {
        const { inheritable, permitted, effective, bounding, ambient } = odd ?? {};
        expect(new Set([inheritable, permitted, effective, bounding, ambient]).size).toBe(5);
      }
    });

    it("knows who traces whom, as each status has it, and how", async () => {
      const damage: Damage[] = [];
      const mine = await listTraced(kernel, { onDamage: (found) => damage.push(found) }).toArray();
      if (!filtered) expect(damage).toEqual([]);
      const guests = truth.processes
        .map(({ pid, state, name, status }) => ({
          pid,
          state,
          name,
          by: Number(statusOf(status, "TracerPid")),
        }))
        .filter(({ by }) => by !== 0);
      expect(guests.length).toBe(2);
      expect(mine.map(({ pid, state, comm, tracer }) => ({ pid, state, name: comm, by: tracer }))).toEqual(
        guests,
      );
      for (const { tracer, tracerTgid, tracerComm, comm, seized } of mine) {
        expect([tracerTgid, tracerComm]).toEqual([tracer, "mt-tracer"]);
        expect(seized, comm).toBe(comm === "mt-traced");
      }
    });

    it("lists every mapped range of every process, as /proc/PID/maps has them", async () => {
      const damage: Damage[] = [];
      const vmas = await listVmas(kernel, {
        pages: false,
        onDamage: (found) => damage.push(found),
      }).toArray();
      if (!filtered) expect(damage).toEqual([]);
      for (const process of truth.processes) {
        const mine = vmas.filter(({ pid }) => pid === process.pid).map(mapsLine);
        const guests = process.maps.map((map) => ({
          ...map,
          start: BigInt(map.start),
          end: BigInt(map.end),
          offset: BigInt(map.offset),
        }));
        if (damage.length === 0) {
          expect(mine, `of process ${process.pid}`).toEqual(guests);
          continue;
        }
        // Where structures were left out, ranges may be missing, or parts of them: what is there is right.
        for (const line of mine) {
          const known = Object.entries(line).filter(([, value]) => value !== undefined);
          expect(guests).toContainEqual(expect.objectContaining(Object.fromEntries(known)));
        }
      }
      if (damage.length === 0) expect(new Set(vmas.map(({ pid }) => pid)).size).toBeGreaterThan(2);
    });

    it("says its version, its names and its command line, as /proc has them", async () => {
      expect(await readBanner(kernel)).toMatchObject({
        banner: truth.kernel.version,
        release: truth.kernel.release,
        commandLine: truth.kernel.commandLine,
        hostname: truth.kernel.hostname,
      });
    });

    it("lists every module as /proc/modules has it, with its parameters as sysfs has them", async () => {
      // (Also of kernels whose kallsyms list functions only, such as Debian's 6.1 for arm64: the list is found in the image.)
      const damage: Damage[] = [];
      const modules = await listModules(kernel, { onDamage: (found) => damage.push(found) }).toArray();
      if (!filtered) expect(damage).toEqual([]);
      const mine = modules.map(({ name, size, references, usedBy, state, address }) => ({
        name,
        size,
        references,
        usedBy,
        state,
        address,
      }));
      expect(mine).toEqual(truth.modules.map((module) => ({ ...module, address: BigInt(module.address) })));
      expect(mine.length).toBeGreaterThan(1);
      const lines = truth.texts["module-parameters"]?.trim().split("\n") ?? [];
      for (const line of lines.filter((each) => each !== "")) {
        const [, name, parameter, value] = /^(\S+) ([^=]+)=(.*)$/.exec(line) ?? [];
        const own = modules.find((module) => module.name === name)?.parameters ?? [];
        expect(own.find((each) => each.name === parameter)?.value, line).toBe(value);
      }
    });

    it("lists what lies where in physical memory, as /proc/iomem has it", async () => {
      // (Also of kernels whose kallsyms list functions only: the root of the tree is found in the image.)
      const mine = (await listResources(kernel).toArray()).map(({ start, end, name: what, depth }) => ({
        start: `0x${start.toString(16)}`,
        end: `0x${end.toString(16)}`,
        name: what,
        depth,
      }));
      expect(mine).toEqual(truth.iomem);
    });

    it("reads the kernel's log, every record as /dev/kmsg gave it", async () => {
      const log = await listLog(kernel).toArray();
      const mine = log.map(({ sequence, time, level, text }) => ({
        level,
        sequence,
        microseconds: Math.floor(Math.round(time * 1e9) / 1000),
        text: asKmsg(text),
      }));
      // The guest printed it before it went on; what was logged since follows.
      expect(truth.log.length).toBeGreaterThan(100);
      expect(mine.slice(0, truth.log.length)).toEqual(truth.log);
    });

    it("counts the pages of a range that are in RAM and swapped out, as the process itself saw them", async () => {
      const damage: Damage[] = [];
      const vmas = await listVmas(kernel, {
        pid: truth.pid,
        onDamage: (found) => damage.push(found),
      }).toArray();
      if (!filtered) expect(damage).toEqual([]);
      let compared = 0;
      for (const region of truth.regions) {
        const [start, end] = [BigInt(region.start), BigInt(region.end)];
        // Ranges that are this region's or a part of it.
        const mine = vmas.filter((vma) => vma.start >= start && vma.end <= end);
        const covered = mine.reduce((sum, vma) => sum + vma.end - vma.start, 0n);
        if (covered !== end - start) continue;
        const { resident, swapped } = pagesIn(region, kernel.vmcoreinfo.pageSize ?? 0);
        const sum = (field: "resident" | "swapped") =>
          mine.reduce((total, vma) => total + (vma[field] ?? 0), 0);
        expect({ name: region.name, resident: sum("resident"), swapped: sum("swapped") }).toEqual({
          name: region.name,
          resident,
          swapped,
        });
        compared++;
      }
      if (damage.length === 0) expect(compared).toBeGreaterThan(10);
    });
  });
}

/**
 * The state that the guest printed of a process; a kernel thread that ran then or runs now may have gone to sleep, or woken up,
 * between what was printed and the dump.
 */
function stateSince(
  { kernelThread, state }: Truth["processes"][number],
  now: string | undefined,
): string | undefined {
  const ran = state === "R" || now === "R";
  return kernelThread && ran && "RSDI".includes(now ?? "?") ? now : state;
}

/** Of a worker's name, what stays: `kworker/0:1` of `kworker/0:1-events`. Rescuers' stay. */
function firstPart(name: string): string {
  return workOf(name) === undefined ? name : name.replace(/[-+].*/, "");
}

/** What a worker does or did last, by its name. */
function workOf(name: string): string | undefined {
  return /^kworker\/[\du:H]+[-+](.+)$/.exec(name)?.[1];
}

/** Names of all workqueues: of the list that a rescuer's own is on. (The symbol of the list is not in every kernel's kallsyms.) */
async function queueNames(kernel: LinuxKernel, tasks: readonly Task[]): Promise<string[]> {
  const rescuer = tasks.find(({ name = "" }) => /^(kworker\/R-)?mm_percpu_wq$/.test(name));
  expect(rescuer).toBeDefined();
  const task = await kernel.objectAt(rescuer?.address ?? 0n, "struct task_struct");
  const thread = await kernel.objectAt(await task.worker_private.$.read(), "struct kthread");
  const worker = await kernel.objectAt(await thread.data.$.read(), "struct worker");
  const own = worker.rescue_wq.$.deref();
  // The head of the list is among them: what lies there as a name is nobody's.
  const others = await own.list.$.list("struct workqueue_struct", "list").toArray();
  return Promise.all([own, ...others].map((queue) => queue.name.$.string()));
}

/** NSpid of /proc/PID/status. */
function numbersOf(status: string): number[] {
  const line = /^NSpid:(.*)$/m.exec(status)?.[1] ?? "";
  return line.trim().split(/\s+/).map(Number);
}

/** What a line of /proc/PID/status says. */
function statusOf(status: string, name: string): string {
  const found = new RegExp(`^${name}:\\t(.*)$`, "m").exec(status)?.[1];
  if (found === undefined) throw new Error(`no ${name} in a status`);
  return found;
}

/** As /proc/PID/stat has a time. (Nanoseconds first: 0.58 times 100 is less than 58.) */
function hundredths(seconds: number | undefined): number {
  return Math.floor(Math.round((seconds ?? -1) * 1e9) / 1e7);
}

/** How many pages of a region pagemap called present, and how many swapped. */
function pagesIn(region: Truth["regions"][number], pageSize: number): { resident: number; swapped: number } {
  let resident = 0;
  let swapped = 0;
  for (const run of region.runs) {
    const pages = Number(BigInt(run.end) - BigInt(run.start)) / pageSize;
    if (run.physical !== null) resident += pages;
    else if (run.state === "paged-out") swapped += pages;
  }
  return { resident, swapped };
}

/** /dev/kmsg escapes what is not printable, and backslashes (kernel/printk/printk.c, `msg_add_ext_text`). */
function asKmsg(text: string): string {
  return [...Buffer.from(text)]
    .map((byte) =>
      byte < 32 || byte >= 127 || byte === 92
        ? `\\x${byte.toString(16).padStart(2, "0")}`
        : String.fromCharCode(byte),
    )
    .join("");
}

/** As the truth has a line of /proc/PID/maps. */
function mapsLine(vma: Vma) {
  const { start, end, rights, offset, path, inode } = vma;
  const hexOf = (text: string) => Number(text).toString(16).padStart(2, "0");
  const device = vma.device?.split(":").map(hexOf).join(":");
  return {
    start,
    end,
    permissions: rights,
    offset,
    device,
    inode: inode === undefined ? undefined : Number(inode),
    path,
  };
}

/** What fits into TASK_COMM_LEN, 15 bytes. */
function commOf(name: string): string {
  return Buffer.from(name).subarray(0, 15).toString();
}

function byPid<T extends { pid: number | undefined }>(items: readonly T[]): T[] {
  return [...items].sort((a, b) => (a.pid ?? -1) - (b.pid ?? -1));
}
