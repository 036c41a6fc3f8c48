/** The commands about the kernel's own things: rows for programs, tables for people. */
import { describe, expect, it } from "vitest";
import type { Truth } from "../../fixtures/vm/truth.mjs";
import { jsonLines, memtool } from "../support/cli.js";
import { ON_DUMP, truth } from "../support/cli-dump.js";

describe("memtool iomem", () => {
  it("gives a row for each line of /proc/iomem", async () => {
    const { out, status } = await memtool(["iomem", "--json", ...ON_DUMP]);
    expect(status).toBe(0);
    const rows = jsonLines(out).map(({ start, end, name, depth }) => ({ start, end, name, depth }));
    expect(rows).toEqual((truth as Truth).iomem);
  });

  it("shows people what lies in what, and ports", async () => {
    const { out } = await memtool(["iomem", ...ON_DUMP]);
    expect(out).toMatch(/ 0xf0000 +0x100000 {2}Reserved\n +0xf0000 +0x100000 {4}System ROM\n/);
    expect((await memtool(["iomem", "--ports", ...ON_DUMP])).out).toMatch(/ 0x0 +0x20 +dma1\n/);
  });
});

describe("memtool capabilities", () => {
  it("gives each set as a number and by names", async () => {
    const { out, status } = await memtool(["capabilities", "--pid", "1", "--json", ...ON_DUMP]);
    expect(status).toBe(0);
    expect(jsonLines(out)).toMatchObject([
      { pid: 1, tgid: 1, comm: "init", permitted: "0x1ffffffffff", ambient: "0x0" },
    ]);
    const names = jsonLines(out)[0]?.names as Record<string, string[]>;
    expect(names.permitted).toHaveLength(41);
    expect(names.ambient).toEqual([]);
  });

  it("shows people all, none, or which", async () => {
    const { out } = await memtool(["capabilities", "--pid", "1", ...ON_DUMP]);
    expect(out).toMatch(/^ *1 +init +all +all +- +all +-\n/m);
  });
});
