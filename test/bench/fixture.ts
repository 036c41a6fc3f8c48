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
  /** By 4 KiB page: 1 where the dump has it. */
  readonly present: Uint8Array;
  /** Root of the page tables of the program that ran, with the kernel's half. */
  readonly root: number;
  /** What is mapped to RAM, kernel and user. */
  readonly kernel: readonly Mapping[];
  readonly user: readonly Mapping[];
  /** The longest range that lies in one piece in both spaces: in the kernel's map of all physical memory. */
  readonly direct: Mapping;
}

/** The dump, unpacked once a process. */
export const fixture: () => Promise<Fixture> = lazy(async () => {
  const machine = await open(KDUMP, { kernel: "none" });
  const { physical } = machine;
  if (physical === undefined) throw new Error(`${KDUMP}: no physical memory`);
  const ram = new Uint8Array(physical.map.end);
  // Pages that nobody has written would all be one page of zeros, which is always in the processor's cache.
  ram.fill(0);
  const present = new Uint8Array(ram.length / 4096);
  for (const { start, end } of physical.map.ranges()) {
    const { good } = await physical.readPartial(start, ram.subarray(start, end));
    for (const run of good) present.fill(1, (start + run.start) / 4096, (start + run.end) / 4096);
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
  return {
    ram,
    words: new Uint32Array(ram.buffer),
    present,
    root: Number(root),
    kernel,
    user: all.filter(({ start }) => start < 1n << 63n),
    direct: longest(kernel),
  };
});

/** The longest of what is left when ranges that continue each other in both spaces are one. */
function longest(ranges: readonly Mapping[]): Mapping {
  let [best, last] = [ranges[0] as Mapping, ranges[0] as Mapping];
  for (const range of ranges.slice(1)) {
    const continues =
      range.start === last.end && range.physical === last.physical + Number(last.end - last.start);
    last = continues ? { ...last, end: range.end } : range;
    if (last.end - last.start > best.end - best.start) best = last;
  }
  return best;
}

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
