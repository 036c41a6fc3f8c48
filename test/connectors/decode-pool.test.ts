import { spawnSync } from "node:child_process";
import { availableParallelism } from "node:os";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { Worker } from "node:worker_threads";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { DecodeJob } from "../../connectors/decode-job.js";
import { DecodePool } from "../../connectors/decode-pool.js";
import { nodeDecoders } from "../../connectors/node-decoders.js";
import { workerUrl } from "../../connectors/start-worker.js";
import { openDump, type PagesDecoder } from "../../src/formats/index.js";
import { all, type PartialTransfer, readPartial } from "../../src/io/index.js";
import { sameBytes } from "../memory/support.js";
import { pattern } from "../support/bytes.js";
import { openBytes, testFile } from "../support/dump.js";
import { type KdumpPage, writeKdump } from "../support/write-kdump.js";

const PAGE = 512;
const pool = new DecodePool({ threads: 2, worthwhile: 1, startAfter: 0 });
afterAll(() => pool.close());

const deflated = (bytes: Uint8Array): Uint8Array => {
  const file = writeKdump([{ pfn: 0, bytes }], { maxPages: 1, blockSize: PAGE });
  return file.slice(PAGE * 4 + 24);
};
/** Even seeds make pages that compress. */
const page = (seed: number): Uint8Array => pattern(PAGE, 2 * seed);

/** What a caller sees of a read. */
const seen = ({ bytes, good, holes }: PartialTransfer) => ({ bytes: [...bytes], good, holes });

const kinds = fc.constantFrom("good", "raw", "cut", "flipped", "long", "garbage", "missing");
const samples = fc.array(fc.tuple(kinds, fc.nat(5000)), { minLength: 1, maxLength: 200 }).map((list) => {
  const pages: KdumpPage[] = [];
  for (const [pfn, [kind, seed]] of list.entries()) {
    const bytes = page(seed);
    const input = deflated(bytes);
    const damaged = {
      cut: input.subarray(0, 1 + (seed % (input.length - 1))),
      flipped: input.map((byte, i) => (i === seed % input.length ? byte ^ (1 << (seed % 8)) : byte)),
      long: deflated(pattern(2 * PAGE, 2)),
      garbage: pattern(100, seed),
    };
    if (kind === "missing") continue;
    if (kind === "good" || kind === "raw")
      pages.push({ pfn, bytes, stored: kind === "raw" ? "raw" : "zlib" });
    else pages.push({ pfn, bytes, stored: { flags: 1, bytes: damaged[kind] } });
  }
  return { file: writeKdump(pages, { blockSize: PAGE, maxPages: list.length }), count: list.length };
});

describe("a dump read with a decode pool", () => {
  it("gives the bytes, holes and faults that it gives without, whatever its pages hold", async () => {
    const reads = fc.array(fc.tuple(fc.nat(100_000), fc.nat(20_000)), { minLength: 1, maxLength: 10 });
    await fc.assert(
      fc.asyncProperty(samples, reads, async ({ file, count }, wanted) => {
        const ranges = wanted.map(([at, length]) => [at % (count * PAGE), length] as const);
        const alone = openBytes(file);
        const together = openBytes(file, { decoders: { ...nodeDecoders, many: pool } });
        const later = await openDump(testFile(file, "async"), { decoders: { ...nodeDecoders, many: pool } });
        const expected = await all(ranges.map(([at, length]) => readPartial(alone.io, at, length)));
        const actual = await all(ranges.map(([at, length]) => readPartial(later.io, at, length)));
        for (const [i, [at, length]] of ranges.entries()) {
          const truth = seen(expected[i] as PartialTransfer);
          expect(seen(actual[i] as PartialTransfer)).toEqual(truth);
          expect(seen(readPartial(together.io, at, length).sync())).toEqual(truth);
        }
      }),
      { numRuns: 60 },
    );
    expect(pool.threads).toBe(2);
  });

  it("can be read synchronously while pages that came asynchronously wait to be decompressed", async () => {
    const count = 300;
    const pages = Array.from({ length: count }, (_, pfn) => ({ pfn, bytes: page(pfn) }));
    const file = writeKdump(pages, { blockSize: PAGE, maxPages: count });
    for (let turns = 0; turns < 40; turns++) {
      const image = openBytes(file, { decoders: { ...nodeDecoders, many: pool } });
      const reading = readPartial(image.io, 0, count * PAGE).promise();
      for (let i = 0; i < turns; i++) await null;
      expect(readPartial(image.io, 7 * PAGE, PAGE).sync().bytes).toEqual(page(7));
      expect((await reading).holes).toEqual([]);
    }
  });

  it("can be read synchronously from within the answer to a read, page for page", () => {
    const count = 60;
    const pages = Array.from({ length: count }, (_, pfn) => ({ pfn, bytes: page(pfn) }));
    const file = writeKdump(pages, { blockSize: PAGE, maxPages: count });
    // Three pages at a time, so that answers come while others wait.
    const few: PagesDecoder = {
      worthwhile: 1,
      helps: () => true,
      bytes: 3 * PAGE,
      decode: (codec, inputs, length, use) => pool.decode(codec, inputs, length, use),
    };
    for (const many of [undefined, few]) {
      const image = openBytes(file, { decoders: { ...nodeDecoders, many }, cacheBytes: 0 });
      let nested = 0;
      const reads = pages.map(({ pfn }) =>
        readPartial(image.io, pfn * PAGE, 8).map(() => {
          const other = (pfn + 1) % count;
          expect(readPartial(image.io, other * PAGE, PAGE).sync().bytes).toEqual(page(other));
          return nested++;
        }),
      );
      all(reads).sync();
      expect(nested).toBe(count);
    }
  });

  it("hands over many pages that come together, and decompresses few at once", async () => {
    const count = 40;
    const pages = Array.from({ length: count }, (_, pfn) => ({ pfn, bytes: page(pfn) }));
    const file = writeKdump(pages, { blockSize: PAGE, maxPages: count });
    const sizes: number[] = [];
    let told = 0;
    const many: PagesDecoder = {
      worthwhile: deflated(page(1)).length * 5,
      helps: (bytes) => {
        told += bytes;
        return true;
      },
      bytes: 16 * PAGE,
      decode: (codec, inputs, length, use) => {
        sizes.push(inputs.length);
        pool.decode(codec, inputs, length, use);
      },
    };
    const source = testFile(file, "async");
    const image = await openDump(source, { decoders: { ...nodeDecoders, many }, cacheBytes: 0 });
    await readPartial(image.io, 0, 2 * PAGE);
    expect(sizes).toEqual([]);
    // No thread is worth its start for what it never gets.
    expect(told).toBe(0);
    const before = source.source.counters.batches;
    // Every second page, so that each is a read of its own.
    await all(Array.from({ length: 20 }, (_, i) => readPartial(image.io, 2 * i * PAGE, PAGE)));
    expect(sizes).toEqual([16]);
    expect(told).toBeGreaterThan(0);
    expect(source.source.counters.batches - before).toBe(1);
  });
});

describe("a decode pool", () => {
  const inputs = Array.from({ length: 100 }, (_, i) => deflated(page(i)));

  function expectRight(output: Uint8Array, valid: Uint8Array): void {
    for (let i = 0; i < inputs.length; i++) {
      if (valid[i] === 0) continue;
      if (!sameBytes(output.subarray(i * PAGE, (i + 1) * PAGE), page(i))) expect.unreachable(`page ${i}`);
    }
  }

  it("has helpers that decompress pages by themselves", async () => {
    const job = new DecodeJob(inputs.length, inputs.length * PAGE);
    job.open("inflate", inputs, PAGE);
    const helper = new Worker(workerUrl("decode-worker"));
    helper.postMessage({ memory: job.memory, pages: job.pages, bytes: job.bytes });
    while (!job.valid.every((valid) => valid === 1)) await new Promise((done) => setTimeout(done, 5));
    expectRight(job.output, job.valid);
    await helper.terminate();
  });

  it("has results that no helper changes that comes late", () => {
    const job = new DecodeJob(inputs.length, inputs.length * PAGE);
    job.open("inflate", inputs, PAGE);
    job.work({});
    const valid = job.finish();
    job.valid[3] = 1;
    expect(valid.some((each) => each !== 0)).toBe(false);
    job.open("inflate", inputs, PAGE);
    job.work(nodeDecoders);
    expect(job.finish().every((each) => each === 1)).toBe(true);
  });

  it("lets a result be used while more jobs are done, and never mixes them up", async () => {
    const helped = new DecodePool({ threads: 2, worthwhile: 1, startAfter: 0 });
    let used = 0;
    const nest = (depth: number) => {
      helped.decode("inflate", inputs, PAGE, (output, valid) => {
        if (depth > 0) nest(depth - 1);
        expectRight(output, valid);
        used++;
      });
    };
    for (let round = 0; round < 30; round++) {
      nest(3);
      await null;
    }
    expect(used).toBe(120);
    await helped.close();
  });

  it("goes on without helpers that have died, and after it was closed", async () => {
    const helped = new DecodePool({ threads: 2, worthwhile: 1, startAfter: 0 });
    const once = () =>
      helped.decode("inflate", inputs, PAGE, (output, valid) => {
        // What a helper took with it is missing; the rest is right.
        expectRight(output, valid);
        expect(valid.subarray(0, inputs.length).some((each) => each === 1)).toBe(true);
      });
    once();
    const closing = helped.close();
    once();
    await closing;
    once();
    expect(helped.threads).toBe(0);
  });

  it("leaves what has no codec, or does not decompress, to whoever asked", () => {
    const bad = [...inputs.slice(0, 3), pattern(50, 1), new Uint8Array(1), ...inputs.slice(5)];
    pool.decode("inflate", bad, PAGE, (output, valid) => {
      expect(valid[3]).toBe(0);
      expect(valid[4]).toBe(0);
      expect(sameBytes(output.subarray(0, PAGE), page(0))).toBe(true);
    });
    pool.decode("lzo", bad, PAGE, (_output, valid) => expect(valid[0]).toBe(0));
  });

  it("asks for no help where there is one processor", () => {
    expect(new DecodePool({ threads: 0 }).worthwhile).toBe(Number.POSITIVE_INFINITY);
  });
});

it.skipIf(process.platform !== "linux" || availableParallelism() === 1)(
  "a machine's pool has threads once it has much to do, until it is closed, and keeps no program alive",
  () => {
    const library = pathToFileURL(resolve("dist/index.js")).href;
    for (const close of [false, true]) {
      const program = `import { open } from "${library}";
        import { readdirSync } from "node:fs";
        const threads = () => readdirSync("/proc/self/task").length;
        const machine = await open("fixtures/linux-6.1-x86_64.kdump", { kernel: "none" });
        const before = threads();
        await machine.physical.readPartial(0, machine.physical.map.end);
        const during = threads();
        console.log(during > before);
        if (${close}) {
          await machine.close();
          // The system takes a moment to end a thread; other threads of Node's come and stay.
          while (threads() >= during) await new Promise(setImmediate);
          console.log("closed");
        }`;
      // A program that does not end is one that its threads keep alive, or whose threads do not end.
      const child = spawnSync(process.execPath, ["--input-type=module", "-e", program], {
        encoding: "utf8",
        timeout: 20_000,
      });
      expect([child.status, child.stdout, child.stderr]).toEqual([0, `true\n${close ? "closed\n" : ""}`, ""]);
    }
  },
);
