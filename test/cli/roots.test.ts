import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { open } from "../../connectors/index.js";
import { jsonLines, memtool } from "../support/cli.js";
import { ON_DUMP, testFolder, truth } from "../support/cli-dump.js";
import { dumpWithout, hasBanner } from "../support/dump-without.js";

const { folder } = testFolder();

describe("memtool roots", () => {
  it("lists the kernel's root, processes' and their user copies, with score and why", async () => {
    const { status, out, err } = await memtool(["roots", ...ON_DUMP]);
    expect([status, err]).toEqual([0, ""]);
    const lines = out.split("\n");
    expect(lines[0]).toBe("page tables: x86-64");
    expect(lines[1]?.trim()).toMatch(/^ROOT +KIND +SCORE +USER PAGES +WHY$/);
    expect(lines[2]?.trim()).toMatch(/^0x2a10000 +kernel +100 +swapper_pg_dir; maps the kernel's banner/);
    expect(out).toMatch(/^0x55f8000 +process +100 +3472 +CR3 of CPU 0; maps the kernel's banner/m);
    expect(out).toMatch(/^0x55f9000 +user copy +90 +3472 +user copy of 0x55f8000$/m);
    expect(out.match(/ process /g)).toHaveLength(18);
  });

  it.each([39, 48, 57])(
    "of a dump whose notes do not tell the format, goes by the kernel in RAM: Sv%d",
    async (bits) => {
      const name = `fixtures/linux-6.12-riscv64-sv${bits}`;
      const { stops } = JSON.parse(readFileSync(`${name}.truth.json`, "utf8"));
      const process = { root: stops.kernel.root, format: `riscv-sv${bits}`, kind: "process" };
      const { status, out, err } = await memtool(["roots", "--json", "-f", `${name}.kdump`]);
      expect([status, err]).toEqual([0, ""]);
      const found = jsonLines(out) as { kind: string; reasons: string[] }[];
      expect(found).toContainEqual(expect.objectContaining({ ...process, score: 100 }));
      const kernel = found.find(({ kind }) => kind === "kernel");
      expect(kernel?.reasons).toContain("kernel part equal to that of another root");
      const args = ["translate", "0x4011ba", "--root", stops.kernel.root, "-f", `${name}.kdump`];
      expect(await memtool(args)).toMatchObject({ status: 0, err: "" });

      // Without the kernel's own root, nothing shows that the text in RAM is about these tables.
      const machine = await open(`${name}.kdump`);
      const { roots } = (await machine.linux()).memory;
      await machine.close();
      const doubtful = join(folder, `sv${bits}.kdump`);
      await dumpWithout(`${name}.kdump`, doubtful, (page, at) => at === roots || hasBanner(page));
      const lacking = await memtool(["roots", "--json", "-f", doubtful]);
      expect(lacking.err).toContain("a VMCOREINFO in RAM says");
      expect(jsonLines(lacking.out)).toContainEqual(expect.objectContaining(process));
    },
  );

  it("the root that the kernel calls its own is the kernel's, also where its text was left out of the dump", async () => {
    const dump = join(folder, "arm64.kdump");
    await dumpWithout("fixtures/linux-6.1-arm64.kdump", dump, hasBanner);
    const { out } = await memtool(["roots", "--json", "-f", dump]);
    expect(jsonLines(out)).toContainEqual(
      expect.objectContaining({ half: "upper", kind: "kernel", reasons: ["swapper_pg_dir"] }),
    );
  });

  it("--json: an object each, with the format", async () => {
    const { status, out } = await memtool(["roots", "--json", ...ON_DUMP]);
    expect(status).toBe(0);
    const lines = jsonLines(out) as { root: string; kind: string }[];
    expect(lines.find(({ root }) => root === truth.stops.user.root)).toEqual({
      root: truth.stops.user.root,
      format: "x86-64",
      kind: "user copy",
      score: 90,
      userPages: 3472,
      counted: true,
      reasons: [`user copy of ${truth.stops.kernel.root}`],
    });
  });

  it("--mmu: in another format there are none that the kernel speaks for, and whoever reads is told", async () => {
    const { status, out } = await memtool(["roots", "--mmu", "riscv-sv39", "--json", ...ON_DUMP]);
    const kinds = (jsonLines(out) as { kind: string; reasons: string[] }[]).map(({ reasons }) => reasons);
    expect(kinds.flat().join()).not.toContain("banner");
    expect(status === 0 || out === "").toBe(true);
  });

  it.each<[string, string[], string]>([
    ["a root", ["roots", "--root", "0x1000", ...ON_DUMP], "leave out --root"],
    ["--all with a format", ["roots", "--all", "--mmu", "x86-64", ...ON_DUMP], "give one of both"],
    ["a format that there is not", ["roots", "--mmu", "x86", ...ON_DUMP], "one of x86-64, x86-64-la57"],
  ])("refuses %s", async (_what, args, message) => {
    const { status, out, err } = await memtool(args);
    expect(err).toContain(message);
    expect([status, out]).toEqual([2, ""]);
  });

  it("refuses a process, which has none", async () => {
    const { status, err } = await memtool(["roots", "-c", `proc:${process.pid}`]);
    expect(status).toBe(1);
    expect(err).toContain("has no page tables");
  });
});

describe("--mmu", () => {
  it("is asked for where --root is walked in a format that nothing tells", async () => {
    const raw = join(folder, "image.raw");
    writeFileSync(raw, new Uint8Array(1 << 16));
    const walk = (...more: string[]) =>
      memtool(["translate", "0x1000", "--root", "0x1000", "--dump-format", "raw", "-f", raw, ...more]);
    expect((await walk()).err).toContain("nothing tells the format of the page tables: x86-64 is taken");
    expect((await walk("--mmu", "x86-64-la57")).err).toBe("");
  });

  it.each([
    ["linux-6.1-arm64", "x86-64"],
    ["linux-6.1-x86_64", "aarch64-4k-48"],
  ])("on %s, a format of another kind (%s) keeps nobody from looking at the dump", async (name, mmu) => {
    const { status, out } = await memtool(["info", "--mmu", mmu, "-f", `fixtures/${name}.kdump`]);
    expect(out).toMatch(new RegExp(`^page tables +${mmu} \\(given\\)`, "m"));
    expect(out).toMatch(/^present +\d/m);
    expect(status).not.toBe(2);
  });

  it("walks tables in the format that is named, whatever the dump says", async () => {
    const args = ["translate", "0x1000", "--root", truth.stops.kernel.root, "--mmu", "x86-64-la57", "--walk"];
    const { out } = await memtool([...args, ...ON_DUMP]);
    expect(out).toContain("PML5E");
  });

  it("is in the help, with every format's name", async () => {
    const { out } = await memtool(["--help"]);
    for (const name of ["x86-pae", "aarch64-16k-47", "riscv-sv57", "npt5"]) expect(out).toContain(name);
  });
});
