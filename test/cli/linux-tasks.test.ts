/** Commands about processes, on the dump that ships: each row against what its guest printed. */
import { describe, expect, it } from "vitest";
import { jsonLines, memtool } from "../support/cli.js";
import { ON_DUMP, truth } from "../support/cli-dump.js";

interface Fact {
  readonly status: string;
  readonly pid: number;
  readonly name: string;
  readonly parent: number;
  readonly state: string;
  readonly uids: number[];
  readonly gids: number[];
  readonly startTime: number;
  readonly kernelThread: boolean;
  readonly arguments: string[];
  readonly environment: string[];
  readonly threads: { readonly tid: number }[];
  readonly maps: {
    readonly start: string;
    readonly end: string;
    readonly permissions: string;
    readonly offset: string;
    readonly path: string;
  }[];
}
const processes: readonly Fact[] = truth.processes;
const guest = processes.find(({ pid }) => pid === truth.pid) as Fact;

describe("memtool ps", () => {
  it("--json: an object for each process, with the fields that programs rely on", async () => {
    const { out, err, status } = await memtool(["ps", "--json", ...ON_DUMP]);
    expect([err, status]).toEqual(["", 0]);
    const lines = jsonLines(out);
    expect(lines.map(({ pid }) => pid).sort()).toEqual(processes.map(({ pid }) => pid).sort());
    for (const line of lines) {
      const fact = processes.find(({ pid }) => pid === line.pid) as Fact;
      expect(line).toMatchObject({
        tgid: fact.pid,
        ppid: fact.parent,
        uid: fact.uids[0],
        gid: fact.gids[0],
        state: fact.state,
        kernelThread: fact.kernelThread,
        nspid: /^NSpid:\t(.*)$/m.exec(fact.status)?.[1]?.split("\t").map(Number),
        name: fact.name.startsWith("kworker/")
          ? expect.stringMatching(/^kworker\/[\du]+:\d+H?([-+][\w:-]+)?$/)
          : fact.name,
        args: fact.arguments.length === 0 && line.root === null ? null : fact.arguments,
      });
      expect(Math.floor(Math.round((line.start as number) * 1e9) / 1e7)).toBe(fact.startTime);
      expect(line.task).toMatch(/^0xffff[0-9a-f]{12}$/);
    }
    expect(lines.find(({ pid }) => pid === truth.pid)?.root).toBe(truth.stops.kernel.root);
  });

  it("--threads lists every thread, --tree puts children below their parents", async () => {
    const { out } = await memtool(["ps", "--threads", "--json", ...ON_DUMP]);
    const threads = processes.flatMap(({ pid, threads: own }) => own.map(({ tid }) => [pid, tid]));
    expect(
      jsonLines(out)
        .map(({ tgid, pid }) => [tgid, pid])
        .sort(),
    ).toEqual(threads.sort());
    const tree = (await memtool(["ps", "--tree", ...ON_DUMP])).out.split("\n");
    const indent = (name: string) => {
      const line = tree.find((each) => each.trimEnd().endsWith(name)) ?? "";
      return line.length - name.length - line.slice(0, line.length - name.length).trimEnd().length;
    };
    expect(indent("[mt-zombie]")).toBeGreaterThan(indent("/init"));
    expect(tree.findIndex((line) => line.includes("[mt-zombie]"))).toBeGreaterThan(
      tree.findIndex((line) => line.includes(" 97 ")),
    );
  });

  it("says that there is no such process, and fails", async () => {
    const { out, err, status } = await memtool(["ps", "--pid", "4000000", ...ON_DUMP]);
    expect([out, err, status]).toEqual(["", "memtool: there is no process 4000000\n", 1]);
  });

  it("needs a kernel", async () => {
    const { err, status } = await memtool(["ps", "-c", `proc:${process.pid}`]);
    expect(status).toBe(1);
    expect(err).toContain("there is no kernel in it");
  });
});

describe("memtool kthreads", () => {
  it("lists kernel threads only", async () => {
    const { out } = await memtool(["kthreads", "--json", ...ON_DUMP]);
    const own = processes.filter(({ kernelThread }) => kernelThread).map(({ pid }) => pid);
    expect(
      jsonLines(out)
        .map(({ pid }) => pid)
        .sort(),
    ).toEqual(own.sort());
  });
});

describe("memtool vmas", () => {
  it("--pid: the mapped ranges of one process, as /proc/PID/maps had them", async () => {
    const { out, err, status } = await memtool(["vmas", "--pid", String(truth.pid), "--json", ...ON_DUMP]);
    expect([err, status]).toEqual(["", 0]);
    expect(
      jsonLines(out).map(({ start, end, rights, offset, path }) => ({
        start,
        end,
        permissions: rights,
        offset,
        path,
      })),
    ).toEqual(
      guest.maps.map(({ start, end, permissions, offset, path }) => ({
        start,
        end,
        permissions,
        offset,
        path,
      })),
    );
    expect(jsonLines(out)[0]).toMatchObject({ pid: truth.pid, swapped: 0, unknown: 0 });
  });
});

describe("memtool env", () => {
  it("lists the variables of one process", async () => {
    const { pid, environment } = processes.find((each) => each.environment.length > 2) as Fact;
    const { out } = await memtool(["env", "--pid", String(pid), "--json", ...ON_DUMP]);
    expect(jsonLines(out).map(({ name, value }) => `${name}=${value}`)).toEqual(environment);
  });
});

describe("--pid", () => {
  it("reads a process's own memory", async () => {
    const { start } = guest.maps.find(({ path }) => path === "/guest") as { start: string };
    const { out } = await memtool([
      "read",
      start,
      "-l",
      "4",
      "--format",
      "raw",
      "--pid",
      String(truth.pid),
      ...ON_DUMP,
    ]);
    expect(out).toBe("\x7fELF");
  });

  it("translates and maps by its page tables", async () => {
    const pid = ["--pid", String(truth.pid)];
    const root = ["--root", truth.stops.kernel.root];
    for (const command of [
      ["translate", "0x400000"],
      ["maps", "0x400000", "-l", "1M"],
    ]) {
      const mine = await memtool([...command, ...pid, ...ON_DUMP]);
      expect(mine.out).toBe((await memtool([...command, ...root, ...ON_DUMP])).out);
      expect(mine.status).toBe(0);
    }
  });

  it("maps and translate name the table of user mode, which alone tells what a process may execute", async () => {
    const rights = async (target: string[]) => {
      const { out, err } = await memtool(["translate", "0x401000", "--json", ...target, ...ON_DUMP]);
      return { executable: JSON.parse(out).executable, note: err };
    };
    const { executable, note } = await rights(["--pid", String(truth.pid)]);
    expect(executable).toBe(false);
    const root = /page table isolation: .* --root (0x[0-9a-f]+) in the place of --pid/.exec(note)?.[1];
    expect(await rights(["--root", root as string])).toEqual({ executable: true, note: "" });
    const { err } = await memtool(["maps", "0x400000", "-l", "1M", "--pid", String(truth.pid), ...ON_DUMP]);
    expect(err).toContain(`--root ${root}`);
  });

  it.each([
    ["no process has that number", "4000000", "there is no process 4000000 (memtool ps lists them)"],
    [
      "it is a kernel thread",
      "2",
      "process 2 (kthreadd): it is a kernel thread, and has no address space of its own",
    ],
    [
      "it is a zombie",
      String(processes.find(({ state }) => state === "Z")?.pid),
      "it has ended (a zombie), and its memory is gone",
    ],
  ])("says why there is nothing to read: %s", async (_, pid, message) => {
    const { err, status } = await memtool(["read", "0", "--pid", pid, ...ON_DUMP]);
    expect(status).toBe(1);
    expect(err).toContain(message);
  });

  it.each([
    [["--pid", "x"], "--pid takes the number of a process"],
    [["--pid", "1", "--physical"], "--pid and --physical exclude each other"],
    [["--pid", "1", "--root", "0x1000"], "--pid and --root exclude each other"],
  ])("%j is a usage error", async (args, message) => {
    const { err, status } = await memtool(["read", "0", ...args, ...ON_DUMP]);
    expect(status).toBe(2);
    expect(err).toContain(message);
  });
});
