import fc from "fast-check";
import { pattern } from "../bytes.js";
import { ImageModel } from "../dump.js";
import type { DumpInput, DumpSample, FormatCase } from "../format-suite.js";
import {
  cpuBlocks,
  cpuGroup,
  memoryGroup,
  type VmwareRegion,
  vmemOf,
  writeSnapshot,
} from "../write-vmware.js";

const PAGE = 4096;

const smallRegions: VmwareRegion[] = [
  { ppn: 0, pageNum: 0, size: 1 },
  { ppn: 3, pageNum: 1, size: 1 },
];
const smallVmem = pattern(2 * PAGE, 1);
const smallVmss = writeSnapshot([memoryGroup(smallRegions), cpuBlocks(0x100n)]);
const smallWhole = writeSnapshot([cpuGroup(1, 0x100n), memoryGroup(smallRegions, smallVmem)]);

/** Regions one behind the other, with holes between where they belong: hole, pages, seed. */
const lists = fc.array(fc.tuple(fc.nat(3), fc.integer({ min: 1, max: 3 }), fc.nat()), {
  minLength: 1,
  maxLength: 4,
});

interface Laid {
  readonly regions: readonly VmwareRegion[];
  readonly memory: Uint8Array;
  readonly model: ImageModel;
}

const laid = lists.map((list): Laid => {
  let ppn = 0;
  let pageNum = 0;
  const regions = list.map(([hole, size]) => {
    const region = { ppn: ppn + hole, pageNum, size };
    ppn += hole + size;
    pageNum += size;
    return region;
  });
  const bytesOf = (i: number) => {
    const [, size, seed] = list[i] as [number, number, number];
    return pattern(size * PAGE, seed);
  };
  const model = new ImageModel(ppn * PAGE);
  for (const [i, region] of regions.entries()) model.present(region.ppn * PAGE, bytesOf(i));
  return { regions, memory: vmemOf(regions, bytesOf), model };
});

const magics = fc.constantFrom(0xbed2bed0, 0xbed2bed2, 0xbed3bed3, 0xbad1bad1);

const base = 16 * PAGE;
const ram = pattern(3 * PAGE, 7);
const ramRegions: VmwareRegion[] = [
  { ppn: 16, pageNum: 1, size: 1 },
  { ppn: 17, pageNum: 2, size: 2 },
];
const padded = new Uint8Array(4 * PAGE);
padded.set(ram, PAGE);
const missing = { bytes: 50, state: "outside" };

const pair = (vmem: Uint8Array, vmss: Uint8Array): DumpInput => ({
  file: vmem,
  name: "guest.vmem",
  beside: { "guest.vmss": vmss },
});

const pairSamples = fc
  .record({ laid, magic: magics, byState: fc.boolean(), extension: fc.constantFrom("vmss", "vmsn") })
  .map(({ laid: { regions, memory, model }, magic, byState, extension }): DumpSample => {
    const state = writeSnapshot([memoryGroup(regions)], { magic });
    const name = `/some/where/guest.${extension}`;
    return byState
      ? { file: state, name, beside: { "guest.vmem": memory }, model }
      : { file: memory, name: "C:\\vm\\guest.vmem", beside: { [`guest.${extension}`]: state }, model };
  });

/** `.vmem` and `.vmss`, of which the snapshot state is damaged. */
export const vmwareState: FormatCase = {
  name: "a .vmem whose .vmss is damaged",
  small: pair(smallVmem, smallVmss),
  victim: smallVmss,
  damaged: (bytes) => pair(smallVmem, bytes),
  size: 0x5000,
  fields: [{ start: 0, end: smallVmss.length }],
  recognisedFrom: 12,
  cut: /cut short|numgroups|the file ends|is missing/,
  samples: pairSamples,
  packets: { ...pair(padded, writeSnapshot([memoryGroup(ramRegions)])), base, ram, missing },
};

/** The same, of which the memory is damaged. */
export const vmwareMemory: FormatCase = {
  name: "a damaged .vmem with its .vmss",
  small: pair(smallVmem, smallVmss),
  size: 0x5000,
  fields: [],
  recognisedFrom: 1,
  cut: /memory ends at file offset 0x\w+, and its regions go on/,
  samples: pairSamples,
  packets: { ...pair(padded, writeSnapshot([memoryGroup(ramRegions)])), base, ram, missing },
};

/** A snapshot state that holds the memory itself. */
export const vmwareWhole: FormatCase = {
  name: "a .vmss that holds the memory itself",
  small: { file: smallWhole, name: "guest.vmss" },
  size: 0x5000,
  fields: [{ start: 0, end: smallWhole.length - smallVmem.length }],
  cut: /cut short|numgroups|the file ends|is missing/,
  samples: fc
    .record({ laid, magic: magics, padding: fc.constantFrom(undefined, 0, 5) })
    .map(({ laid: { regions, memory, model }, magic, padding }): DumpSample => {
      const group = memoryGroup(regions, undefined, [
        { name: "Memory", indices: [0, 0], block: memory, ...(padding === undefined ? {} : { padding }) },
      ]);
      return { file: writeSnapshot([group], { magic }), name: "guest.vmsn", model };
    }),
  packets: {
    file: writeSnapshot([memoryGroup(ramRegions, padded)]),
    name: "guest.vmss",
    base,
    ram,
    missing,
  },
};
