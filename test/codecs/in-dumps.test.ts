/** The codecs where they are used: pages of dumps, one by one, many together, and in threads. */
import { Worker } from "node:worker_threads";
import { afterAll, describe, expect, it } from "vitest";
import { DecodeJob } from "../../connectors/decode-job.js";
import { DecodePool } from "../../connectors/decode-pool.js";
import { nodeDecoders } from "../../connectors/node-decoders.js";
import { nodeEncoders } from "../../connectors/node-encoders.js";
import { open } from "../../connectors/open.js";
import { workerUrl } from "../../connectors/start-worker.js";
import type { CodecName } from "../../src/formats/index.js";
import { all, readPartial } from "../../src/io/index.js";
import type { PhysicalMemory } from "../../src/memory/index.js";
import { openBytes } from "../support/dump.js";
import { type KdumpPage, writeKdump } from "../support/write-kdump.js";
import { BLOCK_KINDS, makeBlock, same } from "./blocks.js";
import { CodecLibrary, type Library } from "./libraries.js";
import { varint } from "./write-snappy.js";

const PAGE = 4096;
const pool = new DecodePool({ threads: 2, worthwhile: 1, startAfter: 0 });
afterAll(() => pool.close());

const HALF = PAGE / 2;

/** A length of LZO: zeros for 255 each, and the rest. */
const lzoLength = (value: number): number[] => {
  const zeros = Math.ceil(value / 255) - 1;
  return [...new Uint8Array(zeros), value - 255 * zeros];
};
/** Pages whose halves are alike: a run of literals, and a copy of it. */
const asLzo = (page: Uint8Array): Uint8Array => {
  const distance = (HALF - 1) << 2;
  const run = [0, ...lzoLength(HALF - 18), ...page.subarray(0, HALF)];
  const copy = [0x20, ...lzoLength(HALF - 33), distance & 255, distance >> 8];
  return Uint8Array.from([...run, ...copy, 17, 0, 0]);
};
const asSnappy = (page: Uint8Array): Uint8Array => {
  const run = [61 << 2, (HALF - 1) & 255, (HALF - 1) >> 8, ...page.subarray(0, HALF)];
  const copy = [2 | (63 << 2), HALF & 255, HALF >> 8];
  return Uint8Array.from([...varint(PAGE), ...run, ...Array.from({ length: HALF / 64 }, () => copy).flat()]);
};

/** Flags of page descriptors (makedumpfile's diskdump_mod.h). */
const CODECS: readonly [CodecName, number, (page: Uint8Array) => Uint8Array][] = [
  ["inflate", 1, (page) => nodeEncoders.deflate?.(page) as Uint8Array],
  ["lzo", 2, asLzo],
  ["snappy", 4, asSnappy],
  ["zstd", 0x20, (page) => nodeEncoders.zstd?.(page) as Uint8Array],
];

const COUNT = 240;
const pages = Array.from({ length: COUNT }, (_, pfn) =>
  makeBlock(BLOCK_KINDS[pfn % BLOCK_KINDS.length] as string, PAGE, pfn).copyWithin(HALF, 0, HALF),
);

/** One dump in which each page is stored by the next codec. */
function mixedDump(): Uint8Array {
  const stored = pages.map((bytes, pfn): KdumpPage => {
    const [, flags, encode] = CODECS[pfn % CODECS.length] as (typeof CODECS)[number];
    return { pfn, bytes, stored: { flags, bytes: encode(bytes) } };
  });
  return writeKdump(stored, { maxPages: COUNT, blockSize: PAGE });
}

describe("a dump whose pages are stored by all codecs", () => {
  it.each([
    ["one by one", undefined],
    ["many together", pool],
  ])("is read, %s", async (_, many) => {
    const image = openBytes(mixedDump(), { decoders: { ...nodeDecoders, many }, cacheBytes: 0 });
    const found = await all(pages.map((_, pfn) => readPartial(image.io, pfn * PAGE, PAGE)));
    for (const [pfn, page] of pages.entries()) expect(same(found[pfn]?.bytes, page)).toBe(true);
    const whole = readPartial(image.io, 0, COUNT * PAGE).sync();
    expect(whole.holes).toEqual([]);
    expect(same(whole.bytes, Buffer.concat(pages))).toBe(true);
  });
});

describe.each(CODECS)("the decode pool's threads with %s", (codec, _flags, encode) => {
  it("decompress pages by themselves", async () => {
    const inputs = pages.map(encode);
    const bytes = inputs.reduce((sum, { length }) => sum + Math.max(length, PAGE), 0);
    const job = new DecodeJob(inputs.length, bytes);
    job.open(codec, inputs, PAGE);
    const helper = new Worker(workerUrl("decode-worker"));
    helper.postMessage({ memory: job.memory, pages: job.pages, bytes: job.bytes });
    while (!job.valid.every((valid) => valid === 1)) await new Promise((done) => setTimeout(done, 5));
    expect(same(job.output.subarray(0, COUNT * PAGE), Buffer.concat(pages))).toBe(true);
    await helper.terminate();
  });
});

const LIBRARIES: readonly [Library, CodecName][] = [
  ["lzo", "lzo"],
  ["snappy", "snappy"],
  ["zstd", "zstd"],
  ["zlib", "inflate"],
];

describe.each(LIBRARIES)("pages of a kernel that the C library of %s compressed", (name, codec) => {
  const library = new CodecLibrary(name);
  if (library.missing !== undefined) console.log(`skipped: ${library.missing}`);
  it.skipIf(library.missing !== undefined)("decompress, single and as blocks of 64 KiB", async () => {
    const machine = await open("fixtures/linux-6.1-x86_64.kdump", { kernel: "none" });
    const physical = machine.physical as PhysicalMemory;
    const blocks: Uint8Array[] = [];
    for (const { start, end, state } of physical.map.ranges()) {
      if (state !== "present") continue;
      for (let at = start; at < end && blocks.length < 3000; at += PAGE) {
        blocks.push((await physical.readPartial(at, PAGE)).bytes);
        if (end - at >= 65_536 && blocks.length % 20 === 0) {
          blocks.push((await physical.readPartial(at, 65_536)).bytes);
        }
      }
    }
    await machine.close();
    expect(blocks.length).toBeGreaterThan(1000);
    for (const [i, compressed] of library.compress(blocks).entries()) {
      const block = blocks[i] as Uint8Array;
      expect(same(nodeDecoders[codec]?.(compressed, block.length), block)).toBe(true);
    }
  });
});

describe("decoders that ran very often", () => {
  it("keep no memory, of good pages and of bad ones", async () => {
    const page = makeBlock("text", PAGE, 1).copyWithin(HALF, 0, HALF);
    const inputs = CODECS.flatMap(([codec, , encode]) => {
      const whole = encode(page);
      return [whole, whole.subarray(0, -2)].map((input) => ({ codec, input }));
    });
    const round = async (times: number) => {
      for (let i = 0; i < times; i++) {
        for (const { codec, input } of inputs) {
          try {
            nodeDecoders[codec]?.(input, PAGE);
          } catch {
            // The second of each two.
          }
        }
      }
      // zlib's streams are closed later, and V8 gives back the memory of arrays in a thread of its own.
      for (let i = 0; i < 3; i++) {
        await new Promise((done) => setTimeout(done, 20));
        (globalThis as { gc?: () => void }).gc?.();
      }
      const { heapUsed, arrayBuffers } = process.memoryUsage();
      return heapUsed + arrayBuffers;
    };
    await round(300);
    const before = await round(300);
    const after = await round(3000);
    // Kept pages of one codec alone would be 12 MiB.
    expect(after - before).toBeLessThan(2 ** 22);
  });
});
