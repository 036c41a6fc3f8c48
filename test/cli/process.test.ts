/** Processes as targets. */
import { spawn } from "node:child_process";
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
      expect([led.status, led.out]).toEqual([
        3,
        `0x${middle.toString(16).padStart(16, "0")}  r-x private  ${folder}/\u{e9}\\x1b[31m\\u{202e}` +
          `+0x${(BigInt(text?.offset as string) + 0x800n).toString(16)}\n0x0000000000000000  not mapped\n`,
      ]);
      const asked = await memtool(["translate", "--stdin", "--json", ...target], {
        input: `${middle}\nbad\n`,
      });
      expect([asked.status, jsonLines(asked.out)]).toEqual([
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
