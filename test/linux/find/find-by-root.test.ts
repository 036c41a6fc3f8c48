/** Kernels without VMCOREINFO: found by page tables, whose image has the rest; and what is said where nothing leads to one. */
import { readFileSync } from "node:fs";
import { beforeAll, describe, expect, it } from "vitest";
import { type Machine, open } from "../../../connectors/index.js";
import type { Truth } from "../../../fixtures/vm/truth.mjs";
import { MemoryIo } from "../../../src/io/index.js";
import { type FindKernelOptions, findKernel, type Linux, symbolsFor } from "../../../src/linux/index.js";
import { PhysicalMap } from "../../../src/memory/index.js";
import { memtool } from "../../support/cli.js";
import { testFolder } from "../../support/cli-dump.js";
import { dumpWithout } from "../../support/dump-without.js";
import { hasVmcoreinfo, processNumbers, withoutVmcoreinfo } from "../../support/without-vmcoreinfo.js";

const FIXTURE = "fixtures/linux-6.1-x86_64";
const truthOf = (name: string): Truth => JSON.parse(readFileSync(`${name}.truth.json`, "utf8"));
const truth = truthOf(FIXTURE);
const { folder, file } = testFolder();

const slide = BigInt(`0x${/KERNELOFFSET=([0-9a-f]+)/.exec(truth.vmcoreinfo?.text ?? "")?.[1]}`);

const byNumber = (a: number, b: number) => a - b;

/** It lists the processes that its guest did. */
async function expectProcesses(linux: Linux): Promise<void> {
  const { found, listed } = await processNumbers(linux, truth);
  expect(found).toEqual(listed);
}

describe("a kernel without VMCOREINFO", () => {
  it.each([
    ["by a processor's root", (machine: Machine) => ({ roots: () => machine.dumpRoots })],
    ["by a search for roots", () => ({ searchRoots: true })],
  ])("is found %s, with its symbols and processes", async (_, options) => {
    await withoutVmcoreinfo(`${FIXTURE}.kdump`, options, async (linux) => {
      expect(linux.origin).toMatchObject({ vmcoreinfo: "none", verified: true });
      expect(linux.release).toBe(truth.kernel.release);
      const own = truth.symbols.filter(({ module }) => module === undefined);
      for (const { name, address } of own.slice(0, 200)) {
        const found = await linux.symbols(name).toArray();
        expect(found.map((symbol) => `0x${symbol.address.toString(16)}`)).toContain(address);
      }
      await expectProcesses(linux);
    });
  });

  // (This dump has the image's text and a part of its data, and no kallsyms.)
  it("is found on arm64, by the root of the upper half", async () => {
    const name = "fixtures/linux-6.1-arm64";
    const facts = truthOf(name);
    const whole = await open(`${name}.kdump`);
    const { imageOffset } = await whole.linux();
    await whole.close();
    const options = () => ({ root: Number(facts.stops.kernel.upperRoot) });
    await withoutVmcoreinfo(`${name}.kdump`, options, async (linux) => {
      expect(linux).toMatchObject({ architecture: "aarch64", release: facts.kernel.release, imageOffset });
    });
  });

  it("has its own root, and its physical base, where symbols name it", async () => {
    const whole = await open(`${FIXTURE}.kdump`);
    const { root, physBase } = await whole.linux();
    await whole.close();
    const options = () => ({ root: Number(truth.stops.kernel.root) });
    await withoutVmcoreinfo(`${FIXTURE}.kdump`, options, async (linux) => {
      expect(linux).toMatchObject({ root, physBase });
      expect(linux.origin.root).toBe("swapper_pg_dir");
    });
  });

  describe("and without kallsyms", () => {
    const root = Number(truth.stops.kernel.root);
    const map = Buffer.from(
      truth.symbols
        .filter(({ module, address }) => module === undefined && BigInt(address) >= 0xffffffff80000000n)
        .map(({ address, type, name }) => `${(BigInt(address) - slide).toString(16)} ${type} ${name}\n`)
        .join(""),
    );
    let names: Set<number>;
    beforeAll(async () => {
      names = await namesPages();
    });
    const isGone = (page: Uint8Array, at: number) => names.has(at) || hasVmcoreinfo(page);
    const find = async (options: Partial<FindKernelOptions>, use: (linux: Linux) => Promise<void>) =>
      await withoutVmcoreinfo(`${FIXTURE}.kdump`, () => ({ root, ...options }), use, isGone);

    it("lists its processes by its types alone", async () => {
      await find({}, async (linux) => {
        expect(linux.origin.warnings).toMatchObject([expect.stringContaining("no symbols")]);
        await expectProcesses(linux);
      });
    });

    it.each([
      ["the banner", undefined],
      ["KASLR's offset", slide],
    ])("takes a System.map, by %s", async (_, kaslr) => {
      await find({ symbols: map, kaslr }, async (linux) => {
        expect(linux.kaslrOffset).toBe(slide);
        linux.useSymbols(symbolsFor(linux, map, "map"));
        const { address } = await linux.symbol("init_task");
        expect(`0x${address.toString(16)}`).toBe(
          truth.symbols.find(({ name }) => name === "init_task")?.address,
        );
      });
    });

    it("takes none by an offset at which the banner is not", async () => {
      await find({ symbols: map, kaslr: slide + 0x200000n }, async (linux) => {
        expect(linux.origin.warnings).toMatchObject([expect.stringContaining("no symbols")]);
      });
    });
  });

  it("that no page tables lead to is not found, and it says what was tried and what to give", async () => {
    const { io, map } = { io: new MemoryIo(new Uint8Array(1 << 20)), map: PhysicalMap.single(0, 1 << 20) };
    const message = async (options: Partial<FindKernelOptions>) =>
      await findKernel(io, { map, ...options }).then(
        () => "found",
        (error) => (error as Error).message,
      );
    expect(await message({})).toMatch(/no page-table root is known .*memtool roots.*--root/);
    expect(await message({ root: 0x3000 })).toMatch(
      /nor do the page tables of 1 root \(0x3000, which was given, among them\) map .*--root/,
    );
    // (Who has looked for some is not told to.)
    expect(await message({ searchRoots: true })).toMatch(
      /; nothing in it looks like a page-table root .*--root/,
    );
    expect(await message({ searchRoots: true })).not.toContain("memtool roots");
    expect(await message({ scan: false })).toMatch(/RAM was not scanned/);
  });
});

/** Physical pages of kallsyms' names. */
async function namesPages(): Promise<Set<number>> {
  const machine = await open(`${FIXTURE}.kdump`);
  const pages = new Set<number>();
  const { memory, vmcoreinfo } = await machine.linux();
  const start = vmcoreinfo.symbols.get("kallsyms_names") ?? 0n;
  for (let i = 0n; i < 32n; i++) {
    const found = await memory.translate(start + i * 4096n);
    if ("physical" in found) pages.add(found.physical - (found.physical % 4096));
  }
  await machine.close();
  return pages;
}

describe("memtool, of a dump without VMCOREINFO", () => {
  it("finds the kernel by itself, or by --root, and --kaslr is checked", async () => {
    const path = `${folder}/bare.lime`;
    await dumpWithout(`${FIXTURE}.kdump`, path, hasVmcoreinfo);
    const pids = truth.processes.map(({ pid }) => pid).sort(byNumber);
    for (const options of [[], ["--root", truth.stops.kernel.root]]) {
      const { out, err, status } = await memtool(["ps", "--json", ...options, "-f", path]);
      expect([err, status]).toEqual(["", 0]);
      const found = out.trimEnd().split("\n");
      expect(found.map((line) => JSON.parse(line).pid).sort(byNumber)).toEqual(pids);
    }
    const facts = await memtool(["info", "--root", truth.stops.kernel.root, "-f", path]);
    expect(facts.out).toContain("found by       its image, which page tables lead to");
    expect(facts.out).not.toContain("KASLR offset");
    const wrong = await memtool(["ps", "--kaslr", "0x123", "-f", path]);
    expect([wrong.status, wrong.err]).toEqual([2, expect.stringContaining("--kaslr takes")]);
  });

  describe("in the space of the kernel that it finds", () => {
    const path = `${folder}/nameless.raw`;
    const banner = "0xffffffff9fd1ffe0";
    const raw = ["--length", "13", "--format", "raw"];
    beforeAll(() => dumpWithout(`${FIXTURE}.kdump`, path, hasVmcoreinfo));

    it.each([
      [["read", "linux_banner", "--length", "64"]],
      [["read", "linux_banner", "--physical", ...raw]],
      [["read", "linux_banner", "--root", truth.stops.kernel.root, "--mmu", "x86-64", ...raw]],
      [["translate", "init_task", "0x1000", "--walk"]],
      [["maps", "_text", "--length", "4M"]],
      [["symbols", "--near", "linux_banner+8"]],
    ])("%j answers as if VMCOREINFO were there", async (args) => {
      const wanted = await memtool([...args, "-f", `${FIXTURE}.kdump`]);
      expect(wanted.out).not.toBe("");
      const { status, out, err } = await memtool([...args, "-f", path]);
      expect([status, out, err]).toEqual([wanted.status, wanted.out, wanted.err]);
    });

    it("reads addresses that can't be physical, or come later", async () => {
      const lines = await memtool(["read", "--stdin", "-f", path], {
        input: `linux_banner 13\n${banner} 13\n`,
      });
      expect([lines.status, lines.err, lines.out.match(/Linux version/g)?.length]).toEqual([0, "", 2]);
      const one = await memtool(["read", banner, ...raw, "-f", path]);
      expect([one.status, one.err, one.out]).toEqual([0, "", "Linux version"]);
    });

    it("takes what may be a physical address for one, and says so: a search for page tables takes long", async () => {
      const { status, out, err } = await memtool(["read", "0x211ffe0", ...raw, "-f", path]);
      expect([status, out]).toEqual([0, "Linux version"]);
      expect(err).toContain("addresses are physical here");
    });
  });

  it("--kaslr moves a System.map whose place the dump does not tell", async () => {
    const path = file("map", "ffffffff81000000 T _stext\nffffffff81234567 T only_in_the_file\n");
    const options = ["--symbols", path, "--kaslr", "0x1000000", "-f", `${FIXTURE}.kdump`];
    const { status, err } = await memtool(["symbols", "only_in_the_file", ...options]);
    expect(status).toBe(1);
    expect(err).toContain("it has _stext at 0xffffffff82000000, and VMCOREINFO says");
    const right = ["--symbols", path, "--kaslr", `0x${slide.toString(16)}`, "-f", `${FIXTURE}.kdump`];
    const { out } = await memtool(["symbols", "only_in_the_file", ...right]);
    expect(out).toContain((0xffffffff81234567n + slide).toString(16));
  });
});
