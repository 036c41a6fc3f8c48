/** Where the committed dump's page tables map a page that many processes share, and that there is an end to what is kept of it. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { Io, type Routine } from "../../../src/io/index.js";
import type { Damage, LinuxKernel } from "../../../src/linux/index.js";
import { kernelData } from "../../../src/linux/kernel-data.js";
import { findPageMappings, type MappingLimits } from "../../../src/linux/owners/mappings.js";
import { Processes } from "../../../src/linux/owners/processes.js";
import { PatchedKernel } from "../../support/patched-kernel.js";

/** Of /guest, which its seventeen processes or so map. */
const SHARED = 0x390d;

let patched: PatchedKernel;
beforeEach(async () => {
  patched = await PatchedKernel.open("fixtures/linux-6.1-x86_64.kdump");
});
afterEach(() => patched.close());

function* routine(kernel: LinuxKernel, told: Damage[], limits?: MappingLimits): Routine<number> {
  const data = yield* kernelData(kernel);
  const report = (each: Damage) => told.push(each);
  const processes = yield* Processes.read(data, report);
  const frames = Float64Array.of(SHARED);
  const found = yield* findPageMappings(data, processes, frames, 4096, report, limits);
  return found.get(SHARED)?.length ?? 0;
}

async function count(limits?: MappingLimits): Promise<{ kept: number; told: Damage[] }> {
  const told: Damage[] = [];
  const { scheduler } = patched.kernel.memory;
  return { kept: await Io.of(scheduler, routine, patched.kernel, told, limits), told };
}

it("all mappings of a page are found", async () => {
  const { kept, told } = await count();
  expect(kept).toBeGreaterThan(10);
  expect(told).toEqual([]);
});

it("of a page that is mapped more often than any can be, the first are kept, and it is told once", async () => {
  const { kept, told } = await count({ perPage: 5, all: 1 << 20 });
  expect(kept).toBe(5);
  expect(told).toMatchObject([
    { what: "the mappings of the page at physical 0x390d000", reason: "too long" },
  ]);
});

it("page tables that map pages without end are given up, and that is told", async () => {
  const { kept, told } = await count({ perPage: 1 << 16, all: 3 });
  expect(kept).toBeLessThan(6);
  expect(told).toMatchObject([{ what: "the mappings of pages", reason: "too long" }]);
});
