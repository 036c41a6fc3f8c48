import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { nodeDecoders } from "../../connectors/node-decoders.js";
import { openDump } from "../../src/formats/index.js";
import { all, readPartial } from "../../src/io/index.js";
import { pattern } from "../support/bytes.js";
import { expectImage, expectLike, ImageModel, openBytes, testFile } from "../support/dump.js";
import { flatten } from "../support/flatten.js";
import { type ElfSegment, writeElf } from "../support/write-elf.js";
import { type KdumpPage, writeKdump } from "../support/write-kdump.js";

/** A random image as one format writes it, and what it must read as. */
interface Sample {
  readonly file: Uint8Array;
  readonly model: ImageModel;
}

const elfSample = fc
  .record({
    segments: fc.array(
      fc.record({
        start: fc.nat(5000),
        length: fc.nat(900),
        more: fc.oneof(fc.constant(0), fc.nat(700)),
        seed: fc.nat(),
      }),
      { minLength: 1, maxLength: 8 },
    ),
    likeQemu: fc.boolean(),
    extended: fc.boolean(),
    headersLast: fc.boolean(),
  })
  .filter(({ segments }) => segments.some(({ length, more }) => length + more > 0))
  .map(({ segments, ...options }): Sample => {
    const written: ElfSegment[] = segments.map(({ start, length, more, seed }) => ({
      physical: start,
      bytes: pattern(length, seed),
      memorySize: length + more,
    }));
    const model = new ImageModel(
      Math.max(...segments.map(({ start, length, more }) => (length + more > 0 ? start + length + more : 0))),
    );
    // First what is only in memory, then the bytes, last segment first: so the first one wins.
    for (const { start, length, more } of segments)
      model.mark(start + length, start + length + more, "excluded");
    for (const { physical, bytes } of [...written].reverse()) model.present(Number(physical), bytes);
    return { file: writeElf(written, options), model };
  });

const kdumpSample = fc
  .record({
    blockSize: fc.constantFrom(512, 1024, 4096),
    kinds: fc.array(fc.constantFrom("zlib", "raw", "left-out", "none"), { minLength: 1, maxLength: 60 }),
    seed: fc.nat(),
    version: fc.constantFrom(1, 2, 3, 4, 5, 6, 7),
    dumpLevel: fc.constantFrom(1, 8, 31),
  })
  .map(({ blockSize, kinds, seed, version, dumpLevel }): Sample => {
    const model = new ImageModel(blockSize * kinds.length);
    const pages: KdumpPage[] = [];
    const leftOut: number[] = [];
    for (const [pfn, kind] of kinds.entries()) {
      const start = pfn * blockSize;
      if (kind === "left-out") {
        leftOut.push(pfn);
        model.mark(start, start + blockSize, "excluded");
      } else if (kind !== "none") {
        const bytes = pattern(blockSize, seed + pfn);
        pages.push({ pfn, bytes, stored: kind as "zlib" | "raw" });
        model.present(start, bytes);
      }
    }
    // With equal bitmaps and a filter on, nobody can tell what is missing.
    if (leftOut.length === 0) {
      for (const [pfn, kind] of kinds.entries()) {
        if (kind === "none") model.mark(pfn * blockSize, (pfn + 1) * blockSize, "excluded");
      }
    }
    return {
      file: writeKdump(pages, { blockSize, version, dumpLevel, leftOut, maxPages: kinds.length }),
      model,
    };
  });

const flattenedSample = fc
  .record({ kdump: kdumpSample, seed: fc.nat(), rewrite: fc.boolean(), sparse: fc.boolean() })
  .map(({ kdump: { file, model }, ...options }): Sample => {
    // A part that is written twice would show where a sparse writer left its zeros out.
    const sparse = options.sparse && !options.rewrite;
    return { file: flatten(file, { ...options, sparse }), model };
  });

const rawSample = fc.uint8Array({ minLength: 1, maxLength: 9000 }).map((bytes): Sample => {
  const model = new ImageModel(bytes.length);
  model.present(0, bytes);
  return { file: bytes, model };
});

describe.each([
  ["raw", rawSample, "raw"],
  ["elf-core", elfSample, undefined],
  ["kdump", kdumpSample, undefined],
  ["flattened kdump", flattenedSample, undefined],
] as const)("%s", (_name, samples, format) => {
  it("reads as the plain array that was written, bytes and holes, and so does its map", () => {
    fc.assert(
      fc.property(samples, ({ file, model }) => {
        expectImage(openBytes(file, { format }), model);
      }),
      { numRuns: 150 },
    );
  });

  it("reads any ranges side by side, asynchronously and synchronously, alike", async () => {
    const ranges = fc.array(fc.tuple(fc.nat(70_000), fc.nat(9000)), { minLength: 1, maxLength: 12 });
    await fc.assert(
      fc.asyncProperty(samples, ranges, fc.nat(40_000), async ({ file, model }, wanted, cacheBytes) => {
        const options = { format, decoders: nodeDecoders, cacheBytes };
        const later = await openDump(testFile(file, "async"), options);
        const now = openDump(testFile(file), options).sync();
        const bounded = wanted.map(([at, length]) => [at % (model.size + 50), length] as const);
        for (const image of [later, now]) {
          const results = await all(bounded.map(([at, length]) => readPartial(image.io, at, length)));
          for (const [i, [at]] of bounded.entries()) expectLike(model, at, results[i] as (typeof results)[0]);
        }
        for (const [at, length] of bounded) expectLike(model, at, readPartial(now.io, at, length).sync());
      }),
      { numRuns: 60 },
    );
  });
});

it("a kdump file in blocks of 64 KiB reads like any other", () => {
  const blockSize = 65_536;
  const model = new ImageModel(5 * blockSize);
  const pages = [0, 1, 4].map((pfn) => ({ pfn, bytes: pattern(blockSize, pfn) }));
  for (const { pfn, bytes } of pages) model.present(pfn * blockSize, bytes);
  model.mark(3 * blockSize, 4 * blockSize, "excluded");
  const image = openBytes(writeKdump(pages, { blockSize, maxPages: 5, leftOut: [3] }));
  expectImage(image, model);
  expect(image.details.blockSize).toBe(65_536);
});
