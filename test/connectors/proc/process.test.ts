import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseMaps } from "../../../connectors/proc/maps.js";
import { openProcess, type ProcessSource } from "../../../connectors/proc/open-process.js";
import { all, readInto, readPartial, SourceIo, write, writePartial } from "../../../src/io/index.js";

/** Eight pages with a pattern; the fourth unmapped, the sixth a file mapping that lies beyond the file's end. */
const PROGRAM = `
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
int main(int argc, char **argv) {
  if (argc > 2) {
    pid_t child = fork();
    if (child == 0) _exit(0);
    siginfo_t info;
    waitid(P_PID, child, &info, WEXITED | WNOWAIT);
    printf("%d\\n", (int)child);
    fflush(stdout);
    for (;;) pause();
  }
  prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
  unsigned char *at = mmap(0, 8 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  for (int i = 0; i < 8 * 4096; i++) at[i] = (i * 7 + i / 4096) & 255;
  munmap(at + 3 * 4096, 4096);
  int empty = open(argv[1], O_RDWR | O_CREAT, 0600);
  if (mmap(at + 5 * 4096, 4096, PROT_READ, MAP_SHARED | MAP_FIXED, empty, 0) == MAP_FAILED) return 1;
  mprotect(at + 7 * 4096, 4096, PROT_NONE);
  printf("%p\\n", (void *)at);
  fflush(stdout);
  for (;;) pause();
}
`;

const PAGE = 4096;
/** In the maps of many processes, and not readable from outside: Node has no file positions up there. */
const VSYSCALL = 0xffff_ffff_ff60_0010n;
const expected = Uint8Array.from({ length: 8 * PAGE }, (_, i) => (i * 7 + Math.floor(i / PAGE)) & 255);
const directory = mkdtempSync(join(tmpdir(), "memtool-proc-"));
const children: ChildProcess[] = [];
afterAll(() => {
  for (const child of children) child.kill("SIGKILL");
  rmSync(directory, { recursive: true, force: true });
});

const hasCompiler = (() => {
  try {
    execFileSync("cc", ["--version"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
})();

async function start(
  command: string,
  args: string[],
): Promise<{ child: ChildProcess; pid: number; line: string }> {
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "inherit"] });
  children.push(child);
  const line = await new Promise<string>((resolve, reject) => {
    child.stdout?.once("data", (data: Buffer) => resolve(data.toString().trim()));
    child.once("exit", (code) => reject(new Error(`exit ${code}`)));
  });
  return { child, pid: child.pid as number, line };
}

describe.skipIf(process.platform !== "linux" || !hasCompiler)("a process with known bytes", () => {
  const binary = join(directory, "target");
  let pid = 0;
  let at = 0n;
  let io: SourceIo;
  let source: ProcessSource;

  beforeAll(async () => {
    writeFileSync(join(directory, "target.c"), PROGRAM);
    execFileSync("cc", ["-o", binary, join(directory, "target.c")]);
    const started = await start(binary, [join(directory, "empty")]);
    pid = started.pid;
    at = BigInt(started.line);
    source = openProcess(String(pid));
    io = new SourceIo(source);
  });

  it("is read, and a hole or an unreadable page costs only itself", async () => {
    const start = at + 2n * BigInt(PAGE) - 10n;
    for (const transfer of [
      readPartial(io, start, 5 * PAGE).sync(),
      await readPartial(io, start, 5 * PAGE),
    ]) {
      expect(transfer.holes.map(({ start: s, end, state }) => [s, end, state])).toEqual([
        [PAGE + 10, 2 * PAGE + 10, "outside"],
        [3 * PAGE + 10, 4 * PAGE + 10, "io"],
      ]);
      for (const { start: s, end } of transfer.good) {
        const from = 2 * PAGE - 10;
        expect(transfer.bytes.slice(s, end)).toEqual(expected.slice(from + s, from + end));
      }
    }
  });

  it("an unreadable page that a read begins inside costs the rest of that page, and no more", () => {
    const { bytes, holes } = readPartial(io, at + 5n * BigInt(PAGE) + 100n, PAGE).sync();
    expect(holes).toMatchObject([{ start: 0, end: PAGE - 100, state: "io" }]);
    expect(bytes.subarray(PAGE - 100)).toEqual(expected.slice(6 * PAGE, 6 * PAGE + 100));
  });

  it("many reads are one batch", async () => {
    const before = io.counters.batches;
    const pages = await all([0, 1, 2, 4, 6].map((page) => readInto(io, at + BigInt(page * PAGE + 100), 64)));
    expect(io.counters.batches - before).toBe(1);
    expect(pages[4]).toEqual(expected.slice(6 * PAGE + 100, 6 * PAGE + 164));
  });

  it("reads near each other, on both sides of a hole's bounds, each fail or not by themselves", async () => {
    const places = [
      3 * PAGE - 300,
      3 * PAGE - 8,
      3 * PAGE,
      4 * PAGE - 8,
      4 * PAGE,
      4 * PAGE + 100,
      5 * PAGE - 4,
      6 * PAGE - 8,
      6 * PAGE,
    ];
    const results = await all(places.map((place) => readPartial(io, at + BigInt(place), 8)));
    const outcome = results.map(({ holes }) => holes.map(({ start, end, state }) => [start, end, state]));
    const outside = [[0, 8, "outside"]];
    const io8 = [[0, 8, "io"]];
    expect(outcome).toEqual([[], [], outside, outside, [], [], [[4, 8, "io"]], io8, []]);
    for (const [i, place] of places.entries()) {
      const { good, bytes } = results[i] as (typeof results)[0];
      for (const { start, end } of good) {
        expect(bytes.slice(start, end)).toEqual(expected.slice(place + start, place + end));
      }
    }
  });

  it("its maps have rights and paths, and its ranges are those", () => {
    const maps = source.maps();
    const hole = at + 3n * BigInt(PAGE);
    expect(maps.some((map) => map.start <= hole && hole < map.end)).toBe(false);
    expect(maps.find((map) => map.start === at)).toMatchObject({
      readable: true,
      writable: true,
      executable: false,
    });
    expect(maps.find((map) => map.path === binary && map.executable)).toBeDefined();
    expect(maps.find((map) => map.start === at + 5n * BigInt(PAGE))).toMatchObject({
      path: join(directory, "empty"),
      shared: true,
      writable: false,
    });
    expect(source.ranges().has(Number(at))).toBe(true);
    expect(source.ranges().has(Number(hole))).toBe(false);
    expect(source.supports).toMatchObject({ live: true, write: false });
  });

  it("nothing mapped, the kernel's half and the end of 64 bits are outside, at once", () => {
    for (const address of [
      0n,
      0x7fff_ffff_0000_0000n,
      0xffff_8000_0000_0000n,
      VSYSCALL,
      0xffff_ffff_ffff_fff8n,
    ]) {
      const { good, holes } = readPartial(io, address, 1 << 20).sync();
      expect(good).toEqual([]);
      expect(new Set(holes.map(({ state }) => state))).toEqual(new Set(["outside"]));
    }
  });

  it("writes need the explicit option", () => {
    const address = at + 16n;
    expect(writePartial(io, address, Uint8Array.of(1)).sync().holes).toMatchObject([{ state: "read-only" }]);
    const writable = new SourceIo(openProcess(pid, { write: true }));
    const was = readInto(io, address, 4).sync();
    write(writable, address, Uint8Array.of(1, 2, 3, 4)).sync();
    expect(readInto(io, address, 4).sync()).toEqual(Uint8Array.of(1, 2, 3, 4));
    write(writable, address, was).sync();
    expect(writePartial(writable, at + 3n * BigInt(PAGE) - 2n, new Uint8Array(4)).sync().holes).toMatchObject(
      [{ start: 2, end: 4, state: "outside" }],
    );
  });

  it("a zombie has no memory", async () => {
    const { line } = await start(binary, [join(directory, "empty"), "zombie"]);
    expect(() => openProcess(line)).toThrow(
      expect.objectContaining({
        code: "NO_MEMORY",
        message: expect.stringMatching(/kernel thread or a zombie/),
      }),
    );
  });

  it("that exits while it is read is gone", async () => {
    const other = await start(binary, [join(directory, "empty")]);
    const dying = new SourceIo(openProcess(other.pid));
    const address = BigInt(other.line);
    expect(readInto(dying, address, 8).sync()).toEqual(expected.slice(0, 8));
    const exited = new Promise((resolve) => other.child.once("exit", resolve));
    process.kill(other.pid, "SIGKILL");
    await exited;
    expect(readPartial(dying, address, 8 * PAGE).sync().holes).toMatchObject([
      { start: 0, end: 8 * PAGE, state: "gone" },
    ]);
    expect((dying.source as ProcessSource).maps()).toEqual([]);
  });
});

describe.skipIf(process.platform !== "linux")("what can't be opened", () => {
  const fails = (target: number | string, code: string, message: RegExp) =>
    expect(() => openProcess(target)).toThrow(
      expect.objectContaining({
        code,
        target: target === "" ? "proc" : `proc:${target}`,
        message: expect.stringMatching(message),
      }),
    );

  it("no process of that number", () => fails(4_194_305, "NO_SUCH_PROCESS", /no such process/));

  it.each(["", "0", "-1", "1.5", "../1"])("%j is no process", (target) =>
    fails(target, "BAD_TARGET", /give the number of a process or its name/),
  );

  it.skipIf(process.getuid?.() !== 0)("no permission names ptrace_scope and CAP_SYS_PTRACE", () => {
    // As nobody, against this process, which is root's.
    const script = `
      process.setgid(65534); process.setuid(65534);
      import(${JSON.stringify(join(directory, "proc.mjs"))}).then(({ openProcess }) => {
        try { openProcess(${process.pid}); console.log("opened"); } catch (e) { console.log(e.code + " " + e.message); }
      });`;
    execFileSync(
      join(process.cwd(), "node_modules/.bin/esbuild"),
      [
        "connectors/proc/open-process.ts",
        "--bundle",
        "--external:ffi-rs",
        "--platform=node",
        "--format=esm",
        `--outfile=${join(directory, "proc.mjs")}`,
      ],
      { stdio: "pipe" },
    );
    execFileSync("chmod", ["755", directory]);
    const out = execFileSync(process.execPath, ["-e", script], { encoding: "utf8" });
    expect(out).toMatch(/^NO_PERMISSION .*ptrace_scope = 0 \(it is .*CAP_SYS_PTRACE/);
  });
});

it("maps are parsed with their paths, whatever is in them", () => {
  const text = [
    "55d0c0a00000-55d0c0a02000 r-xp 00001000 fe:01 1234                       /usr/bin/a b (deleted)",
    "7ffd0000-7ffd1000 ---s 00000000 00:00 0 ",
    "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]",
    "7ffd2000-7ffd3000 r--p 00000000 fe:01 7                       /a\rb\u2028c\u2029d",
    "not a map",
    "",
  ].join("\n");
  expect(parseMaps(text)).toEqual([
    {
      start: 0x55d0c0a00000n,
      end: 0x55d0c0a02000n,
      readable: true,
      writable: false,
      executable: true,
      shared: false,
      offset: 0x1000n,
      inode: 1234,
      path: "/usr/bin/a b (deleted)",
    },
    expect.objectContaining({ start: 0x7ffd0000n, readable: false, shared: true, path: "" }),
    expect.objectContaining({ end: 0xffffffffff601000n, path: "[vsyscall]" }),
    expect.objectContaining({ start: 0x7ffd2000n, path: "/a\rb\u2028c\u2029d" }),
  ]);
});
