/** One read a call, by size and order. */
import { deflateSync, inflateSync } from "node:zlib";
import { open } from "../../../connectors/index.js";
import type { AddressSpace } from "../../../src/index.js";
import { cProgram } from "../c-programs.js";
import { fixture, KDUMP, rawFile } from "../fixture.js";
import { cpuMilliseconds } from "../measure.js";
import type { Ready, Row } from "../row.js";
import { writeNumbers } from "../work-folder.js";
import { origins } from "./origins.js";
import { expectedOf, KIB, loopsOf, mappedOf, memcpyOf, type Pattern, patterns, preadOf } from "./patterns.js";

/** Reads one after the other through an address space. */
async function readsThrough(memory: AddressSpace, pattern: Pattern, close: () => unknown): Promise<Ready> {
  const { size, count } = pattern;
  const { virtual } = await pattern.places();
  const into = new Uint8Array(size);
  const run = () => {
    let sum = 0;
    for (let i = 0; i < count; i++) {
      memory.readInto(virtual[i] as bigint, into).sync();
      sum += into[(i * 8) % size] as number;
    }
    return sum;
  };
  return { run, expected: await expectedOf(pattern), close };
}

/** The same where the dump has left pages out: reads with holes count nothing. */
async function partialReadsThrough(
  memory: AddressSpace,
  pattern: Pattern,
  close: () => unknown,
): Promise<Ready> {
  const { size, count } = pattern;
  const { virtual, physical } = await pattern.places();
  const { ram, present } = await fixture();
  let expected = 0;
  for (let i = 0; i < count; i++) {
    const at = physical[i] as number;
    const pages = present.subarray(Math.floor(at / 4096), Math.ceil((at + size) / 4096));
    if (pages.every((page) => page === 1)) expected += ram[at + ((i * 8) % size)] as number;
  }
  const into = new Uint8Array(size);
  const run = () => {
    let sum = 0;
    for (let i = 0; i < count; i++) {
      const { holes } = memory.readPartial(virtual[i] as bigint, into).sync();
      if (holes.length === 0) sum += into[(i * 8) % size] as number;
    }
    return sum;
  };
  return { run, expected, close };
}

const inflateOf = ({ label }: Pattern) => `inflateSync in a loop, ${label}`;
function limitsOf(pattern: Pattern): Row[] {
  const { size, count } = pattern;
  const copies = (from: "anonymous" | "mapped"): Row => {
    const loops = loopsOf(pattern, 1e10);
    return {
      name: from === "mapped" ? mappedOf(pattern) : memcpyOf(pattern),
      operations: loops * count,
      isLimit: true,
      needsCompiler: true,
      prepare: async () => {
        const offsets = writeNumbers([...(await pattern.places()).physical]);
        const expected = await expectedOf(pattern);
        return cProgram("copy", [await rawFile(), offsets, size, size, from], loops, { expected });
      },
    };
  };
  const loops = loopsOf(pattern, 3e9);
  return [
    copies("anonymous"),
    ...(size === 4 * KIB ? [copies("mapped")] : []),
    {
      name: preadOf(pattern),
      operations: loops * count,
      isLimit: true,
      needsCompiler: true,
      prepare: async () => {
        const runs = [...(await pattern.places()).physical].flatMap((at) => [at, size]);
        const expected = await expectedOf(pattern);
        return cProgram("pread", [await rawFile(), writeNumbers(runs), size], loops, { expected });
      },
    },
  ];
}

/**
 * Each page of the pattern that the dump has, once, in the form in which kdump stores it, but compressed by us: what
 * unpacking alone costs.
 */
function inflateLimit(pattern: Pattern): Row {
  return {
    name: inflateOf(pattern),
    operations: pattern.count,
    isLimit: true,
    prepare: async () => {
      const { ram, present } = await fixture();
      const { physical } = await pattern.places();
      const pages = new Set<number>();
      for (const at of physical) {
        for (let page = at / 4096; page * 4096 < at + pattern.size; page++)
          if (present[page] === 1) pages.add(page);
      }
      const packed = Array.from(pages, (page) =>
        deflateSync(ram.subarray(page * 4096, (page + 1) * 4096), { level: 1 }),
      );
      const run = () => {
        let bytes = 0;
        for (const page of packed) bytes += inflateSync(page).length;
        return bytes;
      };
      return { run, expected: packed.length * 4096 };
    },
  };
}

/** The shipped dump opened anew for each call, so that nothing of it is unpacked yet; opening is not counted. */
function kdumpJustOpened(pattern: Pattern): Row {
  return {
    name: `readPartial, ${pattern.label}, kdump just opened`,
    operations: pattern.count,
    against: [{ limit: inflateOf(pattern) }],
    prepare: async () => {
      const { root } = await fixture();
      const run = async () => {
        const machine = await open(KDUMP, { kernel: "none" });
        const ready = await partialReadsThrough(machine.addressSpace(root), pattern, () => machine.close());
        const wall = performance.now();
        const cpu = cpuMilliseconds();
        const checksum = ready.run() as number;
        const took = { cpu: cpuMilliseconds() - cpu, wall: performance.now() - wall, checksum };
        await machine.close();
        if (checksum !== ready.expected) throw new Error(`gives ${checksum}, must be ${ready.expected}`);
        return took;
      };
      return { run };
    },
  };
}

const isUnpacked = ({ label }: Pattern) => label === "random 4 KiB" || label === "sequential 4 MiB";

export const singles: Row[] = patterns.flatMap((pattern) => [
  ...limitsOf(pattern),
  ...(isUnpacked(pattern) ? [inflateLimit(pattern), kdumpJustOpened(pattern)] : []),
  ...origins.map(
    ({ label, against, open: openOrigin }): Row => ({
      name: `${label === "kdump" ? "readPartial" : "readInto"}, ${pattern.label}, ${label}`,
      operations: pattern.count,
      against: against(pattern),
      prepare: async () => {
        const opened = await openOrigin();
        if (opened === undefined) return undefined;
        const [memory, close] = opened;
        if (label === "kdump") return partialReadsThrough(memory, pattern, close);
        return readsThrough(memory, pattern, close);
      },
    }),
  ),
]);
