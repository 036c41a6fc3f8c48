/** `memtool serve`, and every command over `net:`. Loopback, and ports that the system chooses. */
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, describe, expect, it } from "vitest";
import { startFakeQemu } from "../connectors/qemu/fake-qemu.js";
import { memtool, startMemtool } from "../support/cli.js";
import { ON_DUMP, testFolder } from "../support/cli-dump.js";

const { folder, file } = testFolder();
const children: ChildProcess[] = [];
afterAll(() => {
  for (const child of children) child.kill("SIGKILL");
});

/** A server, and what its clients need. */
async function serving(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
  const child = startMemtool(["serve", "--json", ...args], env);
  children.push(child);
  let err = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    err += text;
  });
  const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream })[Symbol.asyncIterator]();
  const { value } = await lines.next();
  if (value === undefined) throw new Error(err);
  const told = JSON.parse(value) as Record<string, string>;
  const closed = once(child, "close");
  return {
    child,
    told,
    on: ["-c", told.connector as string],
    env: { MEMTOOL_TOKEN: told.token ?? "" },
    status: async () => (await closed)[0] as number | null,
    err: () => err,
  };
}

describe.skipIf(process.platform !== "linux")("a served guest", () => {
  it("is paused while it is served, and goes on when that ends", async () => {
    const qemu = await startFakeQemu({ qmp: `unix:${join(folder, "qmp")}` });
    try {
      const page = readFileSync(`/proc/${qemu.pid}/maps`, "latin1").match(
        /^([0-9a-f]+)-\S+ rw-p .* 0 *$/m,
      )?.[1];
      const server = await serving(["--freeze", "-c", `qemu:${qemu.pid}:map=0-4K@0x${page}`]);
      expect(qemu.commands).toEqual(["stop"]);
      const read = await memtool(["read", "0", "-l", "16", "--physical", ...server.on], { env: server.env });
      expect([read.status, read.out]).toEqual([0, expect.stringMatching(/^0+ .*\n$/)]);
      expect(qemu.commands).toEqual(["stop"]);
      server.child.kill("SIGTERM");
      expect(await server.status()).toBe(0);
      expect(qemu.commands).toEqual(["stop", "cont"]);
    } finally {
      await qemu.close();
    }
  });
});

describe("a served dump", () => {
  it("gives the same processes and modules, also synchronously, until its server is told to end", async () => {
    const server = await serving(ON_DUMP);
    const { on, env, told } = server;
    expect(told).toMatchObject({ listen: expect.stringMatching(/^127\.0\.0\.1:\d+$/), writes: false });
    const [plain, ps, sync, modules, plainModules] = await Promise.all([
      memtool(["ps", "--json", ...ON_DUMP]),
      memtool(["ps", "--json", ...on], { env }),
      memtool(["ps", "--json", "-c", `${told.connector}:sync=true`], { env }),
      memtool(["modules", ...on], { env }),
      memtool(["modules", ...ON_DUMP]),
    ]);
    expect([plain.status, ps.err, ps.out === plain.out, sync.out === plain.out]).toEqual([0, "", true, true]);
    expect([modules.err, modules.out === plainModules.out]).toEqual(["", true]);
    const stranger = await memtool(["info", ...on], { env: { MEMTOOL_TOKEN: "not the token at all" } });
    expect([stranger.status, stranger.err]).toEqual([1, expect.stringContaining("the token is another one")]);
    server.child.kill("SIGINT");
    expect(await server.status()).toBe(0);
    expect(server.err()).toMatch(/127\.0\.0\.1: connected\n/);
    const late = await memtool(["info", ...on], { env });
    expect([late.status, late.err]).toEqual([1, expect.stringContaining("nobody listens there")]);
  });
});

describe("a served file", () => {
  it("that goes away amid a read: what was read is kept, and the status is 3", async () => {
    const path = join(folder, "big.raw");
    writeFileSync(path, Buffer.alloc(64 * 2 ** 20, "memtool "));
    const server = await serving(["-c", `file:${path}:delay=20ms`]);
    const run = startMemtool(
      [
        "read",
        "0",
        "-l",
        "64M",
        "--physical",
        "--format",
        "raw",
        "--fill",
        "0",
        "-c",
        `${server.told.connector}:retry=100`,
      ],
      server.env,
    );
    children.push(run);
    let got = 0;
    let err = "";
    run.stdout?.on("data", (chunk: Buffer) => {
      if (got === 0) server.child.kill("SIGKILL");
      got += chunk.length;
    });
    run.stderr?.setEncoding("utf8").on("data", (text: string) => {
      err += text;
    });
    const [status] = await once(run, "close");
    expect([status, got]).toEqual([3, 64 * 2 ** 20]);
    expect(err).toMatch(/could not be read(.|\n)*gone/);
  });

  it("is written where both sides were told so, with a token of a file", async () => {
    const path = file("small.raw", Buffer.alloc(8192));
    const tokenFile = file("token", "a token in a file\n");
    const socket = `unix:${join(folder, "socket")}`;
    const server = await serving([
      "--write",
      "--clients",
      "1",
      "--token-file",
      tokenFile,
      "--listen",
      socket,
      "-f",
      path,
    ]);
    expect(server.told).toMatchObject({ writes: true, listen: socket });
    expect(server.told.token).toBeUndefined();
    const on = ["-c", `net:${socket}:token-file=${tokenFile}`, "--physical"];
    const written = await memtool(["write", "0x1000", "c0ffee", "--write", ...on]);
    expect([written.status, written.out]).toEqual([0, "wrote 3 bytes at 0x1000, read back and compared\n"]);
    const read = await memtool(["read", "0x1000", "-l", "3", "--format", "raw", ...on]);
    expect(read.stdout.toString("hex")).toBe("c0ffee");
    // The same synchronously: through a worker's connection, which is no client of its own.
    const script = file(
      "sync.ts",
      `const { physical } = machine;
      physical.write(0x1800, Uint8Array.of(0xde, 0xad)).sync();
      console.log([...physical.read(0x17ff, 4).sync()].join());`,
    );
    const sync = await memtool([
      "run",
      script,
      "--write",
      "-c",
      `net:${socket}:token-file=${tokenFile},sync=true`,
    ]);
    expect([sync.err, sync.out]).toEqual(["", "0,222,173,0\n"]);
    expect([...readFileSync(path).subarray(0x1800, 0x1802)]).toEqual([0xde, 0xad]);
  });
});

describe("serve", () => {
  it("says what passed through a target with metrics when it ends", async () => {
    const server = await serving(["-c", `file:${file("metered.raw", Buffer.alloc(8192, 7))}:metrics=true`]);
    await memtool(["read", "0", "-l", "16", "--physical", ...server.on], { env: server.env });
    server.child.kill("SIGINT");
    expect(await server.status()).toBe(0);
    expect(server.err()).toMatch(/what passed through file:.*metered\.raw:\n {2}\d+ batches, /);
  });

  it("refuses to pause what can't be, and to write what says write=false", async () => {
    const [paused, written] = await Promise.all([
      memtool(["serve", "--freeze", ...ON_DUMP]),
      memtool(["serve", "--write", "-c", "file:image:write=false"]),
    ]);
    expect([paused.status, paused.err]).toEqual([1, expect.stringContaining("has nothing to pause")]);
    expect([written.status, written.err]).toEqual([
      2,
      expect.stringContaining("the target says write=false"),
    ]);
  });

  it("refuses to keep pages for others", async () => {
    const { status, err } = await memtool(["serve", "-c", "file:image:age=1s"]);
    expect([status, err]).toEqual([2, expect.stringContaining("give age to whoever reads it")]);
  });

  it.each([
    [["--listen", "0.0.0.0:0"], "other machines can reach it"],
    [["--listen", "somewhere"], "--listen somewhere: HOST:PORT"],
    [["--tls-cert", "x"], "--tls-cert and --tls-key belong together"],
    [["--clients", "0"], "--clients 0"],
    [["--compress", "no"], "--compress no: auto, always or never"],
    [["--pid", "1"], "serve serves a target as it is: give --pid to whoever reads it"],
    [["--kaslr", "0x1000"], "serve serves a target as it is: give --kaslr to whoever reads it"],
  ])("%j is refused", async (args, problem) => {
    const { status, err } = await memtool(["serve", ...args, ...ON_DUMP]);
    expect([status, err]).toEqual([2, expect.stringContaining(problem)]);
  });
});
