/** Processes as targets. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, copyFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { jsonLines, memtool } from "../support/cli.js";
import { testFolder } from "../support/cli-dump.js";

const { folder } = testFolder();

describe("a process", () => {
  it("is read from end to end, holes of 2^47 bytes at once", async () => {
    const child = spawn("sleep", ["60"], { stdio: "ignore" });
    try {
      await once(child, "spawn");
      const target = ["-c", `proc:${child.pid}`];
      const all = await memtool(["read", "0", "--length", "0x10000000000000000", "--json", ...target]);
      expect(all.status).toBe(3);
      let at = 0n;
      for (const { address, length } of jsonLines(all.out)) {
        expect(BigInt(address as string)).toBe(at);
        at += BigInt(length as string | number);
      }
      expect(at).toBe(1n << 64n);
    } finally {
      child.kill();
    }
  });

  it("has maps with rights and paths, which can't control the terminal", async () => {
    const path = join(folder, "\u{e9}\x1b[31m\u202e");
    copyFileSync("/bin/sleep", path);
    chmodSync(path, 0o755);
    const child = spawn(path, ["60"], { stdio: "ignore" });
    try {
      await once(child, "spawn");
      const target = ["-c", `proc:${child.pid}`];
      const { out } = await memtool(["maps", ...target]);
      expect(out).toMatch(/^START +END \(EXCLUSIVE\) +RIGHTS +FILE\n/);
      expect(out).toContain(`r-x private  ${folder}/\u{e9}\\x1b[31m\\u{202e}\n`);
      expect(out).toMatch(/ {2}rw- private {2}\[stack\]\n/);
      const lines = jsonLines((await memtool(["maps", "--json", ...target])).out);
      const text = lines.find((line) => line.path === path && line.executable === true);
      expect(text).toMatchObject({ readable: true, writable: false, shared: false });
      const middle = BigInt(text?.start as string) + 0x800n;
      const clipped = await memtool(["maps", `${middle}`, "--length", "16", "--json", ...target]);
      expect(jsonLines(clipped.out)).toEqual([
        {
          ...text,
          start: `0x${middle.toString(16)}`,
          end: `0x${(middle + 16n).toString(16)}`,
          offset: `0x${(BigInt(text?.offset as string) + 0x800n).toString(16)}`,
        },
      ]);
      const led = await memtool(["translate", `${middle}`, "0", ...target]);
      expect(led.status).toBe(3);
      const [first, second] = led.out.split("\n");
      expect(first).toContain(
        `0x${middle.toString(16).padStart(16, "0")}  r-x private  ${folder}/\u{e9}\\x1b[31m\\u{202e}` +
          `+0x${(BigInt(text?.offset as string) + 0x800n).toString(16)}  `,
      );
      expect(first).toMatch(/ {2}(physical 0x[0-9a-f]*800( \(.*\))?|in memory|not in memory yet)$/);
      expect(second).toBe("0x0000000000000000  not mapped");
      const asked = await memtool(["translate", "--stdin", "--json", ...target], {
        input: `${middle}\nbad\n`,
      });
      expect([asked.status, jsonLines(asked.out)]).toMatchObject([
        3,
        [
          {
            virtual: `0x${middle.toString(16)}`,
            ...text,
            offset: `0x${(BigInt(text?.offset as string) + 0x800n).toString(16)}`,
          },
        ],
      ]);
      expect(asked.err).toContain("line 2: ");
      const walked = await memtool(["translate", `${middle}`, "--walk", ...target]);
      expect([walked.status, walked.err]).toEqual([2, expect.stringContaining("one process's memory")]);
      const nothing = await memtool(["maps", "0", "--length", "4096", ...target]);
      expect([nothing.status, nothing.out]).toEqual([0, ""]);
      expect(nothing.err).toContain("nothing is mapped from 0x0 to 0x1000");
    } finally {
      child.kill();
    }
  });

  it.skipIf(process.getuid?.() !== 0)(
    "has pages in physical memory, where another one that maps the file has them",
    async () => {
      const children: ChildProcess[] = [];
      try {
        const found: unknown[] = [];
        for (let i = 0; i < 2; i++) {
          const child = spawn("sleep", ["60"], { stdio: "ignore" });
          children.push(child);
          await once(child, "spawn");
          const target = ["-c", `proc:${child.pid}`];
          const maps = jsonLines((await memtool(["maps", "--pages", "--json", ...target])).out);
          const library = maps.find(
            ({ path, executable }) => /libc[.-]/.test(String(path)) && executable === true,
          );
          const stack = maps.find(({ path }) => path === "[stack]");
          const places = [library?.start as string, `${BigInt(stack?.end as string) - 8n}`];
          expect(library?.pages).toMatchObject({ present: expect.any(Number), swapped: 0 });
          const pages = jsonLines((await memtool(["translate", ...places, "--json", ...target])).out);
          expect(pages).toMatchObject([
            { page: "present", ofFile: true, exclusive: false },
            { page: "present", ofFile: false, exclusive: true },
          ]);
          found.push(pages.map(({ physical }) => physical));
        }
        const [[code, stack], [otherCode, otherStack]] = found as [[string, string], [string, string]];
        expect(code).toMatch(/^0x[0-9a-f]+000$/);
        expect(code).toBe(otherCode);
        expect(stack).not.toBe(otherStack);
      } finally {
        for (const child of children) child.kill();
      }
    },
  );

  it("that has a name nobody else has is opened by it, and shows its threads", async () => {
    const path = join(folder, "only-one-of-it-here");
    copyFileSync("/bin/sleep", path);
    chmodSync(path, 0o755);
    const children = [spawn(path, ["60"], { stdio: "ignore" })];
    try {
      await once(children[0] as (typeof children)[0], "spawn");
      const pid = children[0]?.pid;
      const told = await memtool(["info", "--json", "-c", "proc:only-one-of-it-here"]);
      expect(jsonLines(told.out)[0]?.process).toEqual({
        pid,
        name: "only-one-of-it-",
        commandLine: [path, "60"],
        threads: [{ tid: pid, name: "only-one-of-it-", state: "S" }],
      });
      const { out } = await memtool(["info", "-c", "proc:only-one-of-it-"]);
      expect(out).toMatch(new RegExp(`^process +${pid} only-one-of-it-\n`, "m"));
      children.push(spawn(path, ["61"], { stdio: "ignore" }));
      await once(children[1] as (typeof children)[0], "spawn");
      const both = await memtool(["info", "-c", "proc:only-one-of-it-here"]);
      expect([both.status, both.err]).toEqual([
        1,
        expect.stringContaining(`${pid} (${path} 60), ${children[1]?.pid} (${path} 61)`),
      ]);
    } finally {
      for (const child of children) child.kill();
    }
  });

  it("alone has pages that are counted so", async () => {
    const dump = await memtool(["maps", "--pages", "-f", "fixtures/linux-6.1-x86_64.kdump"]);
    expect([dump.status, dump.err]).toEqual([2, expect.stringContaining("--pages is for processes")]);
    const views = await memtool(["maps", "--pages", "--wx", "-c", `proc:${process.pid}`]);
    expect([views.status, views.err]).toEqual([
      2,
      expect.stringContaining("--pages and --wx exclude each other"),
    ]);
  });

  it("is read and written through its connector", async () => {
    const source =
      "const b = new Uint8Array(64); b.set([109,101,109,116,111,111,108,45,109,97,114,107]);" +
      "console.log('ready'); setInterval(() => console.log(b[0]), 50);";
    const child = spawn(process.execPath, ["-e", source], { stdio: ["ignore", "pipe", "inherit"] });
    try {
      await once(child.stdout, "data");
      const target = ["-c", `proc:${child.pid}`];
      const maps = await memtool(["maps", "--json", ...target]);
      const [first] = jsonLines(maps.out);
      expect(first).toEqual({
        start: expect.stringMatching(/^0x/),
        end: expect.stringMatching(/^0x/),
        readable: true,
        writable: false,
        executable: expect.any(Boolean),
        shared: false,
        offset: "0x0",
        path: expect.stringMatching(/node$/),
      });
      const read = await memtool(["read", first?.start as string, "--length", "4", "--json", ...target]);
      // An ELF file begins there.
      expect(jsonLines(read.out)[0]).toEqual({ address: first?.start, length: 4, hex: "7f454c46" });
      const physical = await memtool(["read", "0", "--physical", ...target]);
      expect([physical.status, physical.err]).toEqual([2, expect.stringContaining("no physical addresses")]);
      const symbol = await memtool(["read", "init_task", ...target]);
      expect([symbol.status, symbol.err]).toEqual([2, expect.stringContaining("no kernel symbols")]);
      const readOnly = await memtool(["write", first?.start as string, "7f", ...target]);
      expect(readOnly.status).toBe(2);
      const written = await memtool(["write", first?.start as string, "7f", "--write", ...target]);
      expect([written.status, written.err]).toEqual([0, ""]);
    } finally {
      child.kill();
    }
  });
});
