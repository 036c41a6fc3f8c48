/** The commands about files, mounts and namespaces: rows for programs, tables for people. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { Truth } from "../../fixtures/vm/truth.mjs";
import { jsonLines, memtool } from "../support/cli.js";

const TARGET = ["-f", "fixtures/linux-6.1-x86_64.kdump"];
const TRUTH: Truth = JSON.parse(readFileSync("fixtures/linux-6.1-x86_64.truth.json", "utf8"));
/** The program, with many files; a process with a mount namespace of its own. */
const { pid: PROGRAM, witnessPid: WITNESS } = TRUTH;

function processOf(pid: number): Truth["processes"][number] {
  return TRUTH.processes.find((each) => each.pid === pid) as Truth["processes"][number];
}

describe("memtool files", () => {
  it("gives a row for each descriptor, and for directories and the program, with the issue's fields", async () => {
    const { out, status } = await memtool(["files", "--pid", `${PROGRAM}`, "--json", ...TARGET]);
    const { files, workingDirectory, rootDirectory, executable } = processOf(PROGRAM);
    expect(status).toBe(0);
    const rows = jsonLines(out);
    expect(rows.map(({ pid, fd, path }) => ({ pid, fd, path }))).toEqual([
      { pid: PROGRAM, fd: "cwd", path: workingDirectory },
      { pid: PROGRAM, fd: "rtd", path: rootDirectory },
      { pid: PROGRAM, fd: "txt", path: executable },
      ...files.map(({ descriptor, target }) => ({ pid: PROGRAM, fd: descriptor, path: target })),
    ]);
    const facts = files.find(({ target }) => target === "/data.bin")?.info ?? "";
    expect(rows.find(({ path }) => path === "/data.bin")).toMatchObject({
      type: "reg",
      position: 0x80000,
      flags: 0o100002,
      flagNames: ["O_RDWR", "O_LARGEFILE"],
      inode: Number(/^ino:\t(\d+)$/m.exec(facts)?.[1]),
      device: "0:2",
      special: null,
      file: expect.stringMatching(/^0xffff/),
    });
    expect(rows.find(({ path }) => path === "/dev/zero")).toMatchObject({ type: "chr", special: "1:5" });
  });

  it("is empty for a zombie, which has none, and says so", async () => {
    const { pid } = TRUTH.processes.find(({ state }) => state === "Z") as { pid: number };
    const { out, err, status } = await memtool(["files", "--pid", `${pid}`, "--json", ...TARGET]);
    expect([out, err, status]).toEqual([
      "",
      `memtool: process ${pid} has no files open, or there is none\n`,
      0,
    ]);
  });

  it("shows people flags in octal, as fdinfo does", async () => {
    const { out } = await memtool(["files", "--pid", `${PROGRAM}`, ...TARGET]);
    expect(out).toMatch(/^PID +COMMAND +FD +TYPE +FLAGS +POSITION +DEVICE +INODE +PATH\n/);
    expect(out).toMatch(/ 4 +chr +02100000 +0 +0:5 +5 +\/dev\/zero\n/);
    expect(out).toMatch(/ cwd +dir +0:2 +1 +\/\n/);
  });

  it("says that there is no such process", async () => {
    const { err, status } = await memtool(["files", "--pid", "999999", ...TARGET]);
    expect([status, err]).toEqual([1, expect.stringContaining("there is no process 999999")]);
  });
});

describe("memtool mounts", () => {
  it("gives a row for each line of the process's mountinfo", async () => {
    const { out, status } = await memtool(["mounts", "--pid", `${WITNESS}`, "--json", ...TARGET]);
    expect(status).toBe(0);
    const rows = jsonLines(out).map((row) => [
      row.id,
      row.parent,
      row.device,
      row.root,
      row.mountpoint,
      (row.options as string[]).join(","),
      row.type,
      row.source,
    ]);
    const lines = processOf(WITNESS)
      .mountinfo.split("\n")
      .filter((line) => line !== "");
    const guests = lines.map((line) => {
      const [id, parent, device, root, mountpoint, options, , type, source] = line.split(" ");
      return [Number(id), Number(parent), device, root, mountpoint, options, type, source];
    });
    expect(rows).toEqual(guests);
  });

  it("shows those of process 1 without --pid", async () => {
    const { out } = await memtool(["mounts", ...TARGET]);
    expect(out.match(/^ *\d+ +\d+ +\d+:\d+ /gm)?.length).toBe(
      processOf(1).mountinfo.trimEnd().split("\n").length,
    );
  });
});

describe("memtool namespaces", () => {
  it("gives a row for each namespace of a process", async () => {
    const { out } = await memtool(["namespaces", "--pid", `${WITNESS}`, "--json", ...TARGET]);
    const rows = jsonLines(out);
    const names = Object.values(processOf(WITNESS).namespaces);
    expect(rows.map(({ name }) => name).sort()).toEqual([...new Set(names)].sort());
    for (const { pids } of rows) expect(pids).toEqual([WITNESS]);
  });

  it("counts in a table the processes that it does not list", async () => {
    const { out } = await memtool(["namespaces", ...TARGET]);
    expect(out).toMatch(/^user +\d+ +0 +0 +0xffffffff[0-9a-f]+ +1 2 3 4 5 6 7 8 and \d+ more\n/m);
  });
});

describe("memtool cgroups", () => {
  it("says that nothing was mounted where /proc/PID/cgroup is empty", async () => {
    const { out, err, status } = await memtool(["cgroups", ...TARGET]);
    expect([out, status]).toEqual(["", 0]);
    expect(err).toContain("no cgroup hierarchy was ever mounted");
  });
});
