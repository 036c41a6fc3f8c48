/** `watch` and `freeze` on a real process: it counts by itself, and says itself what it holds. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { decodeBatch, encodeAnswer, MESSAGE } from "../../connectors/net/protocol.js";
import { jsonLines, memtool, startMemtool } from "../support/cli.js";
import { ON_DUMP, testFolder } from "../support/cli-dump.js";
import { frame, netPeers, TOKEN } from "../support/net-peers.js";

const { folder, file } = testFolder();

/** Prints where its counter is; each line of input counts it up, and is answered with what it was. `x` ends it. */
const COUNTER = `
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>
static struct { volatile uint64_t count; volatile float ratio; volatile int8_t below; } held = { 40, 1.5f, -3 };
int main(void) {
  char command;
  printf("%p\\n", (void *)&held);
  fflush(stdout);
  while (read(0, &command, 1) == 1 && command != 'x') {
    if (command != '+') continue;
    printf("%llu\\n", (unsigned long long)held.count);
    fflush(stdout);
    held.count++;
  }
  return 0;
}
`;
const hasCompiler = process.platform === "linux" && spawnSync("cc", ["--version"]).status === 0;
const children: ChildProcess[] = [];

beforeAll(() => {
  if (!hasCompiler) return;
  const built = spawnSync("cc", ["-O1", "-o", join(folder, "counter"), file("counter.c", COUNTER)], {
    encoding: "utf8",
  });
  if (built.status !== 0) throw new Error(built.stderr);
});
afterAll(() => {
  for (const child of children) child.kill("SIGKILL");
});

/** A process that counts when it is told to. */
async function counter() {
  const child = spawn(join(folder, "counter"), { stdio: ["pipe", "pipe", "inherit"] });
  children.push(child);
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async () => (await lines.next()).value as string;
  const address = BigInt(await next());
  return {
    child,
    at: `0x${address.toString(16)}`,
    address,
    target: ["-c", `proc:${child.pid}`],
    /** Counts up. @returns what it was before. */
    count: () => {
      child.stdin.write("+");
      return next();
    },
    end: () => child.stdin.write("x"),
  };
}

/** A running command, line by line. */
function running(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
  const child = startMemtool(args, env);
  children.push(child);
  let err = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    err += text;
  });
  const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream })[Symbol.asyncIterator]();
  const closed = once(child, "close") as Promise<[number | null]>;
  return {
    child,
    next: async () => (await lines.next()).value as string,
    status: async () => (await closed)[0],
    err: () => err,
  };
}

describe.skipIf(!hasCompiler)("on a process (needs Linux and cc)", () => {
  it("watch tells a value and its changes until it is interrupted", async () => {
    const process = await counter();
    const run = running(["watch", process.at, "--type", "u64", "--every", "5ms", ...process.target]);
    const address = `0x${process.address.toString(16).padStart(16, "0")}`;
    const time = String.raw`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z`;
    expect(await run.next()).toMatch(new RegExp(`^${time}  ${address}  40 \\(0x28\\)$`));
    await process.count();
    expect(await run.next()).toMatch(new RegExp(`^${time}  ${address}  40 \\(0x28\\) → 41 \\(0x29\\)$`));
    run.child.kill("SIGINT");
    expect([await run.status(), run.err()]).toEqual([0, ""]);
  });

  it("watch looks at several addresses, and ends after so many lines", async () => {
    const process = await counter();
    const args = [process.at, `${process.at}+8`, "--type", "u32", "--count", "3", "--every", "1ms", "--json"];
    const run = running(["watch", ...args, ...process.target]);
    const first = [JSON.parse(await run.next()), JSON.parse(await run.next())];
    expect(first).toEqual([
      { time: expect.any(String), address: process.at, name: process.at, value: 40 },
      {
        time: expect.any(String),
        address: `0x${(process.address + 8n).toString(16)}`,
        name: `${process.at}+8`,
        value: 0x3fc00000,
      },
    ]);
    await process.count();
    expect(JSON.parse(await run.next())).toMatchObject({ address: process.at, before: 40, value: 41 });
    expect(await run.status()).toBe(0);
  });

  it("watch ends with status 3 when the process does, and keeps what it told", async () => {
    const process = await counter();
    const run = running([
      "watch",
      process.at,
      "--type",
      "u64",
      "--every",
      "2ms",
      "--json",
      ...process.target,
    ]);
    expect(JSON.parse(await run.next())).toMatchObject({ value: "0x28" });
    process.end();
    expect(JSON.parse(await run.next())).toMatchObject({ state: "gone", before: "0x28" });
    expect([await run.status(), run.err()]).toEqual([3, expect.stringContaining("is gone")]);
  });

  it("watch knows floats, signs and what can't be read", async () => {
    const { at, target } = await counter();
    const [ratio, below, nowhere] = await Promise.all([
      memtool(["watch", `${at}+8`, "--type", "f32", "--count", "1", "--json", ...target]),
      memtool(["watch", `${at}+12`, "--type", "i8", "--count", "1", "--json", ...target]),
      memtool(["watch", "0", at, "--type", "u16", "--count", "2", ...target]),
    ]);
    expect(jsonLines(ratio.out)[0]).toMatchObject({ value: 1.5 });
    expect(jsonLines(below.out)[0]).toMatchObject({ value: -3 });
    expect([nowhere.status, nowhere.out]).toEqual([
      3,
      expect.stringMatching(/0{16} {2}0 {2}outside\n.* 40 \(0x28\)\n$/),
    ]);
  });

  it("freeze holds a value against the process that counts it up", async () => {
    const process = await counter();
    const args = ["freeze", process.at, "7", "--type", "u64", "--every", "1ms", "--write", ...process.target];
    const run = running(args);
    expect(await run.next()).toMatch(/ {2}40 \(0x28\) → 7$/);
    expect(await process.count()).toBe("7");
    expect(await run.next()).toMatch(/ {2}8 → 7$/);
    expect(await process.count()).toBe("7");
    run.child.kill("SIGTERM");
    expect([await run.status(), run.err()]).toEqual([0, ""]);
  });

  it("freeze ends after so many looks, and when the process does", async () => {
    const process = await counter();
    const target = ["-c", `proc:${process.child.pid}:write=true`];
    const few = await memtool([
      "freeze",
      process.at,
      "0x10",
      "--type",
      "u8",
      "--count",
      "3",
      "--every",
      "0",
      ...target,
    ]);
    expect([few.status, few.out]).toEqual([
      0,
      expect.stringMatching(/ → 16 \(0x10\)\nlooked 3 times, wrote 1 time\n$/),
    ]);
    expect(await process.count()).toBe("16");
    const run = running([
      "freeze",
      process.at,
      "--type",
      "i64",
      "--json",
      "--every",
      "2ms",
      ...target,
      "--",
      "-2",
    ]);
    expect(JSON.parse(await run.next())).toMatchObject({ before: "0x11", value: "-0x2" });
    process.end();
    expect([await run.status(), run.err()]).toEqual([3, expect.stringContaining("is gone")]);
  });
});

describe("on a server that falls silent", () => {
  const { impostor } = netPeers();

  it.each(["watch", "freeze"])("%s ends when it is interrupted amid a read that hangs", async (command) => {
    let asked = 0;
    let again: () => void = () => {};
    const askedAgain = new Promise<void>((resolve) => {
      again = resolve;
    });
    const { port } = await impostor(
      (socket, bytes) => {
        if (asked++ > 0) return again();
        const { id } = decodeBatch(bytes.subarray(12));
        socket.write(frame(MESSAGE.answer, encodeAnswer(id, [], Uint8Array.of(7, 0, 0, 0))));
      },
      { welcome: { kind: "virtual", write: true } },
    );
    const target = ["-c", `net:127.0.0.1:${port}`];
    const args = command === "watch" ? ["watch", "0x10"] : ["freeze", "0x10", "7", "--write"];
    const run = running([...args, "--every", "1ms", ...target], { MEMTOOL_TOKEN: TOKEN });
    await askedAgain;
    run.child.kill("SIGINT");
    expect([await run.status(), run.err()]).toEqual([0, ""]);
  });
});

describe("on a dump", () => {
  it("watch tells a value once, and that it will not change", async () => {
    const { out, err, status } = await memtool([
      "watch",
      "jiffies_64",
      "--type",
      "u64",
      "--json",
      ...ON_DUMP,
    ]);
    expect(status).toBe(0);
    expect(jsonLines(out)).toEqual([
      {
        time: expect.any(String),
        address: expect.stringMatching(/^0xf/),
        name: "jiffies_64",
        value: expect.stringMatching(/^0x/),
      },
    ]);
    expect(err).toContain("does not change by itself");
  });

  it.each([
    [["watch", "0", "--type", "u65"], "--type u65: one of u8, u16"],
    [["watch", "0", "--every", "soon"], "--every soon: no period"],
    [["watch", "0", "--count", "0"], "--count 0: no number from 1 on"],
    [["watch", "not an address"], "not an address"],
    [["watch", "0xffffffffffffffff"], "cross the end of the address space"],
    [["freeze", "0", "1"], "freeze changes the target: say so with --write"],
    [["freeze", "0", "256", "--type", "u8", "--write"], "256: u8: 256 is not an integer from 0 to 255"],
    [["freeze", "0", "1.5", "--type", "u8", "--write"], `not a value of the type u8: "1.5"`],
    [["freeze", "0", "yes", "--type", "bool", "--write"], `not a value of the type`],
  ])("%j is refused", async (args, problem) => {
    const { status, err } = await memtool([...args, "--physical", ...ON_DUMP]);
    expect([status, err]).toEqual([2, expect.stringContaining(problem)]);
  });

  it.each([
    [["--physical", "-c", "file:image:write=false"], {}, 2, "freeze changes the target: say so with --write"],
    [
      ["--write", "-c", "file:image:write=false"],
      {},
      2,
      "write is asked for, and the target says write=false",
    ],
    [["--physical"], { MEMTOOL_TARGET: "file:image:write=false" }, 2, "freeze changes the target"],
    [["--physical"], { MEMTOOL_TARGET: "file:image:write=true" }, 1, "no such file"],
  ])("freeze %j with %j heeds what the target says of writes", async (args, env, status, problem) => {
    const run = await memtool(["freeze", "0", "1", ...args], { env });
    expect([run.status, run.err]).toEqual([status, expect.stringContaining(problem)]);
  });

  it("freeze is refused where nothing can be written", async () => {
    const { status, err } = await memtool(["freeze", "0x1000", "1", "--write", "--physical", ...ON_DUMP]);
    expect(status).not.toBe(0);
    expect(err).toMatch(/can't be (written|read)/);
  });
});
