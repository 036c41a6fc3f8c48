import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { openFile } from "../../connectors/file.js";
import { nodeDecoders } from "../../connectors/node-decoders.js";
import { type DumpImage, dumpFile, openDump } from "../../src/formats/index.js";
import { EXCLUDED_REASONS, faultFields, readInto, readPartial, SourceIo } from "../../src/io/index.js";
import { PhysicalMap, type PhysicalRange } from "../../src/memory/index.js";
import { pattern } from "../support/bytes.js";
import { openBytes, testFile } from "../support/dump.js";
import { flatten } from "../support/flatten.js";
import { openInput } from "../support/format-suite.js";
import { pageKinds, pagesOfKinds } from "../support/formats/kdump.js";
import { splitKdump } from "../support/formats/split-kdump.js";
import { type KdumpPage, writeKdump } from "../support/write-kdump.js";

const PAGE = 512;
const page = (pfn: number, stored: KdumpPage["stored"] = "zlib"): KdumpPage => ({
  pfn,
  bytes: stored === "zero" ? new Uint8Array(PAGE) : pattern(PAGE, pfn),
  stored,
});
const zeros = (image: DumpImage) => {
  const map = image.mapWithZeros?.().sync();
  if (map === undefined) throw new Error("it does not tell zeros apart");
  const pages: number[] = [];
  for (const { start, end, zero } of map.ranges()) {
    for (let at = start; at < end && zero === true; at += PAGE) pages.push(at / PAGE);
  }
  expect(map.bytesZero).toBe(pages.length * PAGE);
  return pages;
};

describe("zero pages that are stored as such", () => {
  it("are told apart in the map that is asked for it, whatever else the dump holds, and over how many files", () => {
    fc.assert(
      fc.property(
        fc.array(pageKinds, { minLength: 1, maxLength: 80 }),
        fc.array(fc.nat(80), { maxLength: 3 }),
        fc.boolean(),
        fc.boolean(),
        (kinds, bounds, bigEndian, flat) => {
          const { pages, leftOut, model } = pagesOfKinds(kinds, PAGE, 7);
          const options = { blockSize: PAGE, maxPages: kinds.length, leftOut, dumpLevel: 31, bigEndian };
          const ends = bounds.map((end) => end % (kinds.length + 1)).sort((x, y) => x - y);
          const written = ends.length === 0 ? [writeKdump(pages, options)] : splitKdump(pages, ends, options);
          const files = flat ? written.map((bytes) => flatten(bytes, { blockSize: 4000 })) : written;
          const [file, ...parts] = files as [Uint8Array, ...Uint8Array[]];
          const image = openInput({ file, parts }).sync();
          const ranges: PhysicalRange[] = kinds.map((kind, pfn) => {
            const bounds = { start: pfn * PAGE, end: (pfn + 1) * PAGE };
            const state = model.states[pfn * PAGE] as PhysicalRange["state"];
            if (state !== "excluded") return { ...bounds, state, ...(kind === "zero" ? { zero: true } : {}) };
            return { ...bounds, state, reason: image.map.reasonOf(pfn * PAGE) ?? "unknown" };
          });
          const map = image.mapWithZeros?.().sync();
          expect([...(map ?? [])]).toEqual([...PhysicalMap.from(ranges)]);
          expect(map?.isPresent(0, kinds.length * PAGE)).toBe(image.map.isPresent(0, kinds.length * PAGE));
          expect([map?.bytesPresent, map?.bytesExcluded]).toEqual([
            image.map.bytesPresent,
            image.map.bytesExcluded,
          ]);
          // Those who do not ask are not told.
          expect(image.map.bytesZero).toBe(0);
        },
      ),
      { numRuns: 150 },
    );
  });

  it("cost nothing until they are asked for, and then the index, once", () => {
    const kinds = Array.from({ length: 5000 }, (_, pfn) => page(pfn, pfn % 3 === 0 ? "zero" : "zlib"));
    const source = testFile(writeKdump(kinds, { maxPages: 5000, blockSize: PAGE }));
    const image = openDump(source, { decoders: nodeDecoders }).sync();
    const opened = source.source.counters.bytes;
    expect(opened).toBeLessThan(20_000);
    expect(zeros(image)).toHaveLength(1667);
    const { bytes } = source.source.counters;
    expect(bytes - opened).toBeGreaterThanOrEqual(24 * 5000);
    expect(bytes - opened).toBeLessThan(24 * 5000 + 10 * PAGE);
  });

  it("are found by the body they share, wherever it lies and however it is compressed", () => {
    const pages = [page(0), page(1), page(2), page(3), page(4), page(5)];
    const file = writeKdump(pages, { maxPages: 6, blockSize: PAGE });
    const compressed = writeKdump([{ pfn: 0, bytes: new Uint8Array(PAGE) }], {
      maxPages: 1,
      blockSize: PAGE,
    });
    const body = compressed.slice(
      compressed.length - new DataView(compressed.buffer).getUint32(4 * PAGE + 8, true),
    );
    const all = new Uint8Array(file.length + body.length);
    all.set(file);
    all.set(body, file.length);
    const view = new DataView(all.buffer);
    // Pages 1, 3 and 4 name one body of zeros at the end; pages 2 and 5 share one that is not zero.
    for (const pfn of [1, 3, 4]) {
      view.setBigUint64(4 * PAGE + 24 * pfn, BigInt(file.length), true);
      view.setUint32(4 * PAGE + 24 * pfn + 8, body.length, true);
      view.setUint32(4 * PAGE + 24 * pfn + 12, 1, true);
    }
    all.copyWithin(4 * PAGE + 24 * 5, 4 * PAGE + 24 * 2, 4 * PAGE + 24 * 3);
    const image = openBytes(all);
    expect(readInto(image.io, PAGE, PAGE).sync()).toEqual(new Uint8Array(PAGE));
    expect(zeros(image)).toEqual([1, 3, 4]);
  });

  it("are only those that really are zero, and can be read", () => {
    const file = writeKdump([page(0, "zero"), page(1), page(2, "zero"), page(3, "zero")], {
      maxPages: 4,
      blockSize: PAGE,
    });
    const at = 4 * PAGE + 24 * 4;
    const other = file.slice();
    other[at + 100] = 1;
    expect(zeros(openBytes(other))).toEqual([]);
    // Another size or other flags, and it is not that body.
    const view = new DataView(file.buffer);
    view.setUint32(4 * PAGE + 24 * 2 + 8, PAGE - 1, true);
    view.setUint32(4 * PAGE + 24 * 3 + 12, 1, true);
    expect(zeros(openBytes(file))).toEqual([0]);
  });

  it("that an incomplete dump lacks are not said to be present", () => {
    const pages = [page(0, "zero"), page(1), page(2, "zero"), page(3)];
    const image = openBytes(
      writeKdump(pages, { maxPages: 4, blockSize: PAGE, status: 9, unwritten: [2, 3] }),
    );
    expect(zeros(image)).toEqual([0]);
    expect(
      image
        .mapWithZeros?.()
        .sync()
        .reasonOf(2 * PAGE),
    ).toBe("incomplete");
  });

  it("in a file with thousands of shared bodies are looked for in some of them only", () => {
    const pages = Array.from({ length: 3000 }, (_, pfn) => page(pfn));
    const file = writeKdump(pages, { maxPages: 3000, blockSize: PAGE });
    // Backwards: each body lies in front of the one before it.
    const at = 4 * PAGE;
    const rows = Array.from({ length: 3000 }, (_, row) => file.slice(at + 24 * row, at + 24 * row + 24));
    for (const [row, bytes] of rows.reverse().entries()) file.set(bytes, at + 24 * row);
    const source = testFile(file);
    const image = openDump(source, { decoders: nodeDecoders }).sync();
    const before = source.source.counters.fragments;
    expect(zeros(image)).toEqual([]);
    expect(source.source.counters.fragments - before).toBeLessThan(300);
  });

  const dump = fileURLToPath(new URL("../../fixtures/linux-6.1-x86_64.kdump", import.meta.url));
  it.skipIf(!existsSync(dump))("of a real kernel are as many as the writer had, all of them zero", () => {
    const source = openFile(dump);
    const io = new SourceIo(source);
    const image = openDump(dumpFile(io, source.size, source.name), { decoders: nodeDecoders }).sync();
    const map = image.mapWithZeros?.().sync();
    // fixtures/README.md, "Left out of the dump".
    expect(map?.bytesZero).toBe(3465 * 4096);
    for (const { start, end, zero } of map?.ranges() ?? []) {
      if (zero === true)
        expect(
          readInto(image.io, start, end - start)
            .sync()
            .every((byte) => byte === 0),
        ).toBe(true);
    }
  });
});

describe("zero pages that were left out", () => {
  const reasons = (image: DumpImage) => [...image.map.ranges()].flatMap(({ reason }) => reason ?? []);
  const open = (options: object, pages = [page(0), page(2)]) => {
    const image = openBytes(
      writeKdump(pages, { maxPages: 4, blockSize: PAGE, dumpLevel: 1, leftOut: [1], ...options }),
    );
    const { holes } = readPartial(image.io, PAGE, PAGE).sync();
    expect(holes.map(({ fault }) => EXCLUDED_REASONS[faultFields(fault).detail])).toEqual(
      reasons(image).slice(0, 1),
    );
    return image;
  };

  it("are told where the level says that nothing else was, and the bitmaps say which", () => {
    expect(reasons(open({}))).toEqual(["zero"]);
    expect(reasons(open({ bigEndian: true, machine: "s390x" }))).toEqual(["zero"]);
  });

  it("are told where room for more descriptors was left, as memtool convert does: that is no page of zeros", () => {
    expect(reasons(open({ spareDescriptors: PAGE }))).toEqual(["zero"]);
  });

  it.each([
    ["other kinds of pages were left out, too", { dumpLevel: 17 }, "unknown"],
    ["the dump is incomplete: its bitmap may be, too", { status: 9 }, "unknown"],
    ["parts of the page array were left out", { status: 0x11 }, "unknown"],
    ["it is one file of a dump that was split", { part: { start: 0, end: 4 } }, "unknown"],
    ["both bitmaps are alike", { sameBitmaps: true }, "or outside"],
  ])("are not told where %s", (_why, options, reason) => {
    expect(new Set(reasons(open(options)))).toEqual(new Set([reason]));
  });

  it("are not told where the file stores pages of zeros, as makedumpfile does: it left out others then", () => {
    expect(reasons(open({}, [page(0), page(2, "zero")]))).toEqual(["unknown"]);
  });

  it("an incomplete dump of which nothing was filtered lacks what its writer had no room for", () => {
    expect(reasons(open({ dumpLevel: 0, status: 9 }))).toEqual(["incomplete"]);
  });
});
