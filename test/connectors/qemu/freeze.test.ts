/** Guests that are paused while they are read: they go on whatever happens, or somebody is told that they do not. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { openQemu } from "../../../connectors/index.js";
import { ResumeGuard } from "../../../connectors/resume-guard.js";
import { type FakeQemu, type FakeQemuOptions, startFakeQemu, stateOf } from "./fake-qemu.js";

const directory = mkdtempSync(join(tmpdir(), "memtool-freeze-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

let sockets = 0;
const newPath = () => join(directory, `qmp-${sockets++}`);

async function using(options: Partial<FakeQemuOptions>, use: (qemu: FakeQemu) => Promise<void>) {
  const qemu = await startFakeQemu({ qmp: `unix:${newPath()}`, ...options });
  try {
    await use(qemu);
  } finally {
    await qemu.close();
  }
}

/** A page of a process that may be written, as the option `map` names it. */
function somePage(pid: number): string {
  const line = readFileSync(`/proc/${pid}/maps`, "latin1")
    .split("\n")
    .find((each) => / rw-p .* 0 *$/.test(each));
  return `0-4K@0x${line?.split("-")[0]}`;
}
const NOWHERE = "0-4K@0x1000";

/** A process that a test may end, or find ended. */
async function start(program: string, ...args: string[]) {
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "ignore"] });
  const closed = once(child, "close");
  return { child, pid: child.pid as number, closed };
}

describe("a guest that was paused", () => {
  it("goes on at once where opening it fails behind that", async () => {
    await using({}, async ({ pid, commands }) => {
      const opening = openQemu(String(pid), { freeze: true, map: NOWHERE });
      await expect(opening).rejects.toMatchObject({ code: "RAM_NOT_FOUND" });
      expect(commands).toEqual(["stop", "cont"]);
    });
  });

  it("is told to be paused still where it could not be resumed, with what went wrong before and what to do", async () => {
    const path = newPath();
    await using({ qmp: `unix:${path}`, refuses: ["cont"] }, async ({ pid }) => {
      const opening = openQemu(String(pid), { freeze: true, map: NOWHERE });
      await expect(opening).rejects.toMatchObject({
        code: "STILL_FROZEN",
        message: expect.stringMatching(
          new RegExp(
            `is not mapped there; and the machine is still paused: .*"cont" in QEMU's monitor at ${path}`,
          ),
        ),
      });
    });
  });

  it("goes on at once where its monitor refuses to pause it", async () => {
    await using({ refuses: ["stop"] }, async ({ pid, commands }) => {
      const opening = openQemu(String(pid), { freeze: true, map: somePage(pid) });
      await expect(opening).rejects.toMatchObject({ code: "COMMAND" });
      expect(commands).toEqual(["stop", "cont"]);
    });
  });

  it("is paused once and goes on once, however often that is asked for at a time", async () => {
    await using({}, async ({ pid, commands }) => {
      const source = await openQemu(String(pid), { map: somePage(pid) });
      await Promise.all([source.freeze(), source.freeze()]);
      expect(commands).toEqual(["stop"]);
      await Promise.all([source.close?.(), source.close?.()]);
      expect(commands).toEqual(["stop", "cont"]);
    });
  });

  it("is paused and resumed in the order that it was asked for, waited for or not", async () => {
    await using({}, async ({ pid, commands }) => {
      const source = await openQemu(String(pid), { map: somePage(pid) });
      await Promise.all([source.freeze(), source.thaw()]);
      expect(commands).toEqual(["stop", "cont"]);
      await Promise.all([source.freeze(), source.thaw(), source.freeze()]);
      expect(commands.slice(2)).toEqual(["stop", "cont", "stop"]);
      await source.close?.();
      expect(commands.at(-1)).toBe("cont");
    });
  });

  it("is left alone where its monitor does not say whether it runs: it might be resumed against somebody's will", async () => {
    await using({ empty: ["query-status"] }, async ({ pid, commands }) => {
      const opening = openQemu(String(pid), { freeze: true, map: somePage(pid) });
      await expect(opening).rejects.toMatchObject({
        code: "NOT_FROZEN",
        message: expect.stringContaining("does not say whether it runs"),
      });
      expect(commands).toEqual([]);
      expect(stateOf(pid)).not.toBe("T");
    });
  });

  it("has no monitor where another process answers: that one is asked nothing, and QEMU's process is stopped", async () => {
    const asked: string[] = [];
    const server = createServer((socket) => {
      socket
        .on("error", () => {})
        .on("data", (bytes) => {
          const { execute, id } = JSON.parse(String(bytes)) as { execute: string; id: number };
          asked.push(execute);
          socket.write(`${JSON.stringify({ id, return: { running: true } })}\n`);
        });
      socket.write('{"QMP":{}}\n');
    });
    const path = newPath();
    await new Promise<void>((resolve) => server.listen(path, resolve));
    try {
      await using({ qmp: `unix:${path}`, listens: false }, async ({ pid }) => {
        const source = await openQemu(String(pid), { freeze: true, map: somePage(pid) });
        expect(source.warnings?.join()).toContain(`what answers there is not process ${pid}`);
        expect(asked).toEqual(["qmp_capabilities"]);
        expect(stateOf(pid)).toBe("T");
        await source.close?.();
        expect(stateOf(pid)).not.toBe("T");
      });
    } finally {
      server.close();
    }
  });

  it("is asked by its own monitor, also over TCP", async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as { port: number };
    await new Promise((resolve) => server.close(resolve));
    await using({ qmp: `tcp:127.0.0.1:${port}` }, async ({ pid, commands }) => {
      const source = await openQemu(String(pid), { freeze: true, map: somePage(pid) });
      expect(source.warnings).toEqual([]);
      await source.close?.();
      expect(commands).toEqual(["stop", "cont"]);
    });
  });
});

describe("a process that is no QEMU", () => {
  it.each([
    ["with a map", { map: NOWHERE }],
    ["without one", {}],
  ])("is never stopped: %s", async (_how, options) => {
    const { child, pid, closed } = await start("sleep", "100");
    try {
      const opening = openQemu(String(pid), { freeze: true, ...options });
      await expect(opening).rejects.toMatchObject({ code: "NOT_FROZEN" });
      expect(stateOf(pid)).not.toBe("T");
    } finally {
      child.kill("SIGKILL");
      await closed;
    }
  });
});

describe("the process that resumes a machine", () => {
  it("is not there for a process that is not there: nothing may be paused then", async () => {
    await expect(ResumeGuard.start("test", { pid: 2 ** 30, signal: true })).rejects.toMatchObject({
      code: "NOT_FROZEN",
    });
  });

  it("has nothing to do for one that has ended", async () => {
    const { child, pid, closed } = await start("sleep", "100");
    const guard = await ResumeGuard.start("test", { pid, signal: true });
    child.kill("SIGKILL");
    await closed;
    expect(await guard.resume()).toBe(true);
  });

  it("has nothing to do for one that has ended, and whose parent has not asked how", async () => {
    const { child, closed } = await start("sh", "-c", "sleep 100 & echo $!; exec sleep 100");
    try {
      const [text] = (await once(child.stdout as NodeJS.ReadableStream, "data")) as [Buffer];
      const pid = Number(String(text));
      const guard = await ResumeGuard.start("test", { pid, monitor: { path: join(directory, "nobody") } });
      process.kill(pid, "SIGKILL");
      while (stateOf(pid) !== "Z") await new Promise((resolve) => setTimeout(resolve, 5));
      expect(await guard.resume()).toBe(true);
    } finally {
      child.kill("SIGKILL");
      await closed;
    }
  });

  it("says how a stopped process is resumed by hand, where it can't", async () => {
    const { child, pid, closed } = await start("sleep", "100");
    try {
      const guard = await ResumeGuard.start("test", { pid, signal: true });
      process.kill(pidOfGuard(pid), "SIGKILL");
      await expect(guard.resume()).rejects.toMatchObject({
        code: "STILL_FROZEN",
        message: expect.stringContaining(`resume it: kill -CONT ${pid}`),
      });
    } finally {
      child.kill("SIGKILL");
      await closed;
    }
  });
});

/** The process that waits to resume another. */
function pidOfGuard(pid: number): number {
  const found = readdirSync("/proc").find((entry) => {
    try {
      return readFileSync(`/proc/${entry}/cmdline`, "utf8").includes(`{"pid":${pid},"signal":true}`);
    } catch {
      return false;
    }
  });
  return Number(found);
}
