import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { open } from "../../connectors/index.js";
import { VirtualMemory } from "../../src/paging/index.js";

const DUMP = "fixtures/linux-6.1-x86_64.kdump";
const truth = JSON.parse(readFileSync(DUMP.replace(/kdump$/, "truth.json"), "utf8"));
const { root, mappings } = truth.stops.kernel;
const folder = mkdtempSync(join(tmpdir(), "memtool-columns-"));
const raw = join(folder, "ram");
afterAll(() => rmSync(folder, { recursive: true }));

beforeAll(async () => {
  const machine = await open(DUMP, { kernel: "none" });
  const { physical } = machine;
  if (physical === undefined) throw new Error("no physical memory");
  writeFileSync(raw, (await physical.readPartial(0, physical.map.end)).bytes);
  await machine.close();
});

/** An address in every mapping that QEMU listed, over and over: enough for code to be generated. */
const listed: { start: string; physical: string }[] = mappings;
const count = 70_000;
const nth = (i: number) => listed[i % listed.length] as { start: string; physical: string };
const addresses = BigUint64Array.from({ length: count }, (_, i) => BigInt(nth(i).start) + 0x123n);
const expected = Float64Array.from({ length: count }, (_, i) => Number(nth(i).physical) + 0x123);

describe.each([
  ["the shipped dump", () => DUMP, {}],
  ["it as a raw file", () => raw, {}],
  ["it as a mapped file", () => raw, { map: true }],
])("a column over %s", (_, path, options) => {
  it("leads where QEMU says, whether tables came one by one or landed together", async () => {
    const machine = await open(path(), { ...options, kernel: "none" });
    const memory = machine.addressSpace(Number(root));
    for (let pass = 0; pass < 3; pass++) {
      const columns = await memory.translateMany(addresses);
      expect(columns.failed).toBe(0);
      expect(columns.physical.subarray(0, count)).toEqual(expected);
      // From now on tables land in the memory of the code.
      expect(memory.tableCache.compiled).toBe(true);
      memory.flush();
    }
    // And the rights, entry by entry.
    const plain = new VirtualMemory(machine.physical as never, { root: Number(root) });
    const columns = memory.translateMany(addresses.slice(0, listed.length)).sync();
    for (let i = 0; i < listed.length; i++) {
      expect(columns.row(i)).toEqual(plain.translate(addresses[i] as bigint).sync());
    }
    await machine.close();
  });
});
