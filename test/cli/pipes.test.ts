/** Addresses by standard input, and readers of standard output that go away. */
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { jsonLines, memtool, startMemtool } from "../support/cli.js";
import { ON_DUMP, ROOT, region } from "../support/cli-dump.js";

describe("--stdin", () => {
  it("a directory as standard input is a usage error, not the end of the input", () => {
    const directory = openSync(".", "r");
    const { status, stderr } = spawnSync(process.execPath, ["dist/cli.cjs", "read", "--stdin", ...ON_DUMP], {
      stdio: [directory, "pipe", "pipe"],
      encoding: "utf8",
    });
    closeSync(directory);
    expect([status, stderr]).toEqual([2, "memtool: --stdin: standard input is a directory\n"]);
  });

  it("answers in order, reports bad lines by their number, and goes on", async () => {
    const input =
      "linux_banner 4\n\n# comment\nno_such_thing\ninit_task 2\n0x5 0x6 0x7\n0x0 3\nlinux_banner+4 2";
    const { out, err, status } = await memtool(["read", "--stdin", "--json", ...ON_DUMP], { input });
    expect(status).toBe(3);
    expect(jsonLines(out)).toEqual([
      { address: "0xffffffff9fd1ffe0", length: 4, hex: "4c696e75" },
      { address: "0xffffffffa061aa40", length: 2, hex: "0040" },
      { address: "0x0", length: 3, state: "not-present", level: 4 },
      { address: "0xffffffff9fd1ffe4", length: 2, hex: "7820" },
    ]);
    expect(err).toContain("line 4: no kernel symbol");
    expect(err).toContain("line 6: more than ADDRESS [LENGTH]");
  });

  it("long and short requests keep their order", async () => {
    const lengths = [1, 100_000, 2, 3_000_000, 0, 5];
    const input = lengths.map((length) => `0xffff8a2782000000 ${length}\n`).join("");
    const { out } = await memtool(["read", "--stdin", "--json", ...ON_DUMP], { input });
    const sums: number[] = [];
    for (const { address, length } of jsonLines(out)) {
      if (address === "0xffff8a2782000000") sums.push(0);
      sums[sums.length - 1] = (sums.at(-1) ?? 0) + (length as number);
    }
    expect(sums).toEqual(lengths.filter((length) => length > 0));
  });

  it("answers a line at once to who waits for it", async () => {
    const child = startMemtool(["translate", "--stdin", "--json", ...ON_DUMP]);
    const { stdin, stdout } = child;
    if (stdin === null || stdout === null) throw new Error("pipes were asked for");
    for (const address of ["init_task", "linux_banner"]) {
      stdin.write(`${address}\n`);
      const [chunk] = (await once(stdout, "data")) as [Buffer];
      expect(jsonLines(chunk.toString())).toHaveLength(1);
    }
    stdin.end();
    expect((await once(child, "close"))[0]).toBe(0);
  });

  it("translates thousands of lines", async () => {
    const run = region("dense");
    const pages = Array.from(
      { length: 1536 },
      (_, i) => `0x${(BigInt(run.start) + BigInt(i * 4096)).toString(16)}`,
    );
    const input = [...pages, ...pages, ...pages].join("\n");
    const { out, status } = await memtool(["translate", "--stdin", "--json", ...ROOT, ...ON_DUMP], { input });
    expect(status).toBe(0);
    const lines = jsonLines(out);
    expect(lines.map(({ virtual }) => virtual)).toEqual([...pages, ...pages, ...pages]);
    const physical = new Map(lines.map((line) => [line.virtual, line.physical]));
    for (const { start, physical: expected } of run.runs) expect(physical.get(start)).toBe(expected);
  });

  it("thousands of unknown symbols are told soon, the first ones with similar names", async () => {
    const count = 3000;
    const input = `${"linux_baner\n".repeat(count)}linux_banner 5\n`;
    const { out, status, err } = await memtool(["read", "--stdin", "--json", ...ON_DUMP], { input });
    expect([status, jsonLines(out).length]).toEqual([3, 1]);
    const lines = err.trimEnd().split("\n");
    expect(lines).toHaveLength(count);
    expect(lines[0]).toContain("did you mean linux_banner");
    expect(lines.at(-1)).toBe(`memtool: line ${count}: no kernel symbol "linux_baner"`);
  }, 20_000);

  it("a line of a megabyte is a bad line, and no more", async () => {
    const input = `${"1".repeat(1 << 20)}\nlinux_banner 4\n`;
    const { out, err, status } = await memtool(["read", "--stdin", "--json", ...ON_DUMP], { input });
    expect(jsonLines(out)).toHaveLength(1);
    expect([status, err]).toEqual([3, "memtool: line 1: longer than 64 KiB\n"]);
  });

  it("only bad lines are a failure, and no lines are none", async () => {
    expect((await memtool(["read", "--stdin", ...ON_DUMP], { input: "x y z\n" })).status).toBe(1);
    expect((await memtool(["translate", "--stdin", ...ON_DUMP], { input: "" })).status).toBe(0);
  });
});

describe("a reader that goes away", () => {
  it("ends the command quietly", async () => {
    for (const args of [
      ["symbols", "*"],
      ["read", "0xffff8a2782000000", "--length", "16M"],
      ["maps", "--json"],
    ]) {
      const { err, status } = await memtool([...args, ...ON_DUMP], { closeAfter: 100 });
      expect([status, err], args.join(" ")).toEqual([0, ""]);
    }
  });
});
