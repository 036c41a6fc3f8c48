/** The shipped dump: its RAM in one array and in a raw file, and what its guest's hypervisor said is mapped where. */
import { readFileSync, writeFileSync } from "node:fs";
import { open } from "../../connectors/index.js";
import type { Truth } from "../../fixtures/vm/truth.mjs";
import { randomBelow } from "./random.js";
import { lazy, workPath } from "./work-folder.js";

export const KDUMP = "fixtures/linux-6.1-x86_64.kdump";

/** A mapped range, as QEMU's `info tlb` gave it. */
export interface Mapping {
  readonly start: bigint;
  readonly end: bigint;
  readonly physical: number;
  readonly pageSize: number;
}

/** See {@link fixture}. */
export interface Fixture {
  /** All of physical memory; zeros where the dump has none. */
  readonly ram: Uint8Array<ArrayBuffer>;
  readonly words: Uint32Array;
  /** Root of the page tables of the program that ran, with the kernel's half. */
  readonly root: number;
  /** What is mapped to RAM, kernel and user. */
  readonly kernel: readonly Mapping[];
  readonly user: readonly Mapping[];
  /** The kernel's map of all physical memory starts here: address = this + physical address. */
  readonly directMap: bigint;
}

/** The dump, unpacked once a process. */
export const fixture: () => Promise<Fixture> = lazy(async () => {
  const machine = await open(KDUMP, { kernel: "none" });
  const { physical } = machine;
  if (physical === undefined) throw new Error(`${KDUMP}: no physical memory`);
  const ram = new Uint8Array(physical.map.end);
  for (const { start, end } of physical.map.ranges()) {
    await physical.readPartial(start, ram.subarray(start, end));
  }
  await machine.close();
  const truth: Truth = JSON.parse(readFileSync(KDUMP.replace(/kdump$/, "truth.json"), "utf8"));
  const { root, mappings } = truth.stops.kernel;
  const all = mappings
    .map((each) => ({
      start: BigInt(each.start),
      end: BigInt(each.end),
      physical: Number(each.physical),
      pageSize: each.pageSize,
    }))
    .filter(({ start, end, physical }) => physical + Number(end - start) <= ram.length);
  const kernel = all.filter(({ start }) => start >= 1n << 63n);
  // Several ranges of 2 MiB pages have one distance to their physical addresses: the direct map's.
  const large = kernel.filter(({ pageSize }) => pageSize > 4096);
  const distance = (range: Mapping) => range.start - BigInt(range.physical);
  const directMap = large
    .map(distance)
    .find((each, _, distances) => distances.filter((other) => other === each).length > 4);
  if (directMap === undefined) throw new Error("the fixture's direct map is not there");
  return {
    ram,
    words: new Uint32Array(ram.buffer),
    root: Number(root),
    kernel,
    user: all.filter(({ start }) => start < 1n << 63n),
    directMap,
  };
});

/** Path of the RAM as a raw file. */
export const rawFile: () => Promise<string> = lazy(async () => {
  const path = workPath("ram");
  writeFileSync(path, (await fixture()).ram);
  return path;
});

/** Addresses at random in these ranges, each byte as likely as any other. */
export function randomAddresses(
  ranges: readonly Mapping[],
  count: number,
  align: number,
): BigUint64Array<ArrayBuffer> {
  const random = randomBelow();
  const ends: number[] = [];
  let total = 0;
  for (const { start, end } of ranges) {
    total += Number(end - start) / align;
    ends.push(total);
  }
  const addresses = new BigUint64Array(count);
  for (let i = 0; i < count; i++) {
    const at = random(total);
    const k = ends.findIndex((end) => at < end);
    const { end } = ranges[k] as Mapping;
    addresses[i] = end - BigInt(((ends[k] as number) - at) * align);
  }
  return addresses;
}
