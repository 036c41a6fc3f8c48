import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Machine } from "../../connectors/machine.js";
import { open } from "../../connectors/open.js";

const DUMP = "fixtures/linux-6.1-x86_64.kdump";
const truth = JSON.parse(readFileSync("fixtures/linux-6.1-x86_64.truth.json", "utf8"));
const symbols: { address: string; type: string; name: string; module?: string }[] = truth.symbols;

describe("the kernel of the committed dump", () => {
  let machine: Machine;
  beforeAll(async () => {
    machine = await open(DUMP);
  });
  afterAll(() => machine.close());

  it("is found where the guest says it is", async () => {
    const linux = await machine.linux();
    expect(linux.release).toBe(truth.kernel.release);
    expect(linux.vmcoreinfo.text).toBe(truth.vmcoreinfo.text);
    expect(linux.vmcoreinfo.unknown).toEqual([]);
    expect(linux.origin).toMatchObject({
      vmcoreinfo: "note",
      root: "swapper_pg_dir",
      verified: true,
      warnings: [],
    });
  });

  it("has the symbols that /proc/kallsyms listed, with their addresses and types", async () => {
    const kallsyms = await (await machine.linux()).kallsyms();
    const own = symbols.filter((symbol) => symbol.module === undefined);
    expect(own.length).toBeGreaterThan(3000);
    for (const { address, type, name } of own) {
      const same = kallsyms
        .symbol(name)
        .filter((found) => found.address === BigInt(address) && found.type === type);
      expect(same.length, `${name} at ${address}`).toBeGreaterThan(0);
    }
  });

  it("names the function that the CPU was in", async () => {
    const { registers, symbol } = truth.stops.kernel;
    const found = await (await machine.linux()).nameOf(BigInt(registers.rip));
    expect(`${found?.name}+0x${found?.offset.toString(16)}`).toBe(symbol);
  });

  it("is kept when a root is the user copy, and read through a root that maps it", async () => {
    for (const [stop, expected] of [
      ["user", "swapper_pg_dir"],
      ["kernel", "given"],
    ] as const) {
      const other = await open(DUMP, { root: Number(truth.stops[stop].root) });
      const linux = await other.linux();
      expect(linux.origin).toMatchObject({ root: expected, verified: true });
      expect((await linux.symbol("init_task")).address).toBe(0xffffffffa061aa40n);
      await other.close();
    }
  });

  it("is found by a scan as well", async () => {
    const linux = await machine.linux();
    const { findKernel } = await import("../../src/linux/index.js");
    const { physical } = machine;
    if (physical === undefined) throw new Error("a dump has physical memory");
    const scanned = await findKernel(physical, { map: physical.map });
    expect(scanned.root).toBe(linux.root);
    expect(scanned.origin).toMatchObject({ vmcoreinfo: "scan", verified: true });
    expect(scanned.vmcoreinfo.text).toBe(linux.vmcoreinfo.text);
  });
});
