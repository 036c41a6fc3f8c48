/** Targets that are broken, or made to do harm. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { jsonLines, memtool } from "../support/cli.js";
import { DUMP, testFolder } from "../support/cli-dump.js";
import { DummyKernel } from "../support/kernel.js";

const { file, folder } = testFolder();

describe("hostile targets", () => {
  it("names of symbols can't control the terminal, nor break JSON", async () => {
    const path = file("hostile", new DummyKernel({ textAt: 0x9000 }).ram);
    const text = await memtool(["symbols", "*red*", "-f", path]);
    expect(text.out).toBe("0xffffffff91050000  d  \\x1b[31mred\\x9b\n");
    const json = await memtool(["symbols", "*red*", "--json", "-f", path]);
    expect(json.out).toContain("\\u001b[31mred\\u009b");
    expect(jsonLines(json.out)[0]?.name).toBe("\x1b[31mred\x9b");
    const error = await memtool(["read", "\x1b[31mred", "-f", path]);
    expect(error.err).not.toContain("\x1b");
  });

  it("a release that controls the terminal does not", async () => {
    const kernel = new DummyKernel({ textAt: 0x9000 });
    kernel.put(kernel.text.replace("6.1.0-dummy", "6\x1b]0;x\x07"), 0x9000);
    const { out } = await memtool(["info", "-f", file("release", kernel.ram)]);
    expect(out).toContain("6\\x1b]0;x\\x07");
    expect(out).not.toContain("\x1b");
  });

  it("files that are none, empty or cut off say so, quickly", async () => {
    const dump = readFileSync(DUMP);
    const cases: [string, string][] = [
      [folder, "directory"],
      [join(folder, "nothing"), "no such file"],
      [file("empty", ""), "empty"],
      [file("header", dump.subarray(0, 100)), "header"],
      [file("cut", dump.subarray(0, 5000)), "cut"],
    ];
    for (const [path, what] of cases) {
      const { status, out, err } = await memtool(["info", "-f", path]);
      expect([status, out], what).toEqual([1, ""]);
      expect(err, what).toContain(path);
    }
  });

  it("page tables that loop end", async () => {
    const ram = new Uint8Array(0x10000);
    const view = new DataView(ram.buffer);
    for (let i = 0; i < 512; i++) view.setBigUint64(0x1000 + 8 * i, 0x1003n, true);
    const path = file("loop", ram);
    const { status, out } = await memtool(["maps", "--root", "0x1000", "-f", path]);
    expect(status).toBe(1);
    expect(out).toContain("malformed");
  });

  it("where no kernel is, addresses are physical, and it says so", async () => {
    const path = file("zeros", new Uint8Array(8192));
    const { status, out, err } = await memtool(["read", "0x10", "--length", "4", "-f", path]);
    expect([status, out]).toEqual([0, `0000000000000010  00 00 00 00${" ".repeat(39)}|....|\n`]);
    expect(err).toContain("no Linux kernel found");
    const translate = await memtool(["translate", "0", "-f", path]);
    expect([translate.status, translate.out]).toEqual([1, ""]);
    expect(translate.err).toContain("translate needs page tables: give a root");
    expect(err).toContain("addresses are physical here");
    const symbol = await memtool(["read", "init_task", "-f", path]);
    expect([symbol.status, symbol.out]).toEqual([1, ""]);
    // Why is said once, however many symbols there are.
    const lines = await memtool(["read", "--stdin", "-f", path], { input: "init_task 4\n0x10 4\n_text 4\n" });
    expect([lines.status, lines.out]).toEqual([3, out]);
    expect(lines.err.match(/no Linux kernel found/g)).toHaveLength(1);
    expect(lines.err).toContain('"init_task" is no address, and without a kernel there are no symbols');
    expect(lines.err).toContain('"_text" is no address');
  });
});
