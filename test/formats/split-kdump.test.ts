import { describe, expect, it } from "vitest";
import { nodeDecoders } from "../../connectors/node-decoders.js";
import { dumpFile, FormatError, type OpenDumpOptions, openDump } from "../../src/formats/index.js";
import {
  all,
  EXCLUDED_REASONS,
  fault,
  faultFields,
  MemoryIo,
  type PacketIo,
  readInto,
  readPartial,
} from "../../src/io/index.js";
import { pattern } from "../support/bytes.js";
import { testFile } from "../support/dump.js";
import { flatten } from "../support/flatten.js";
import { openInput } from "../support/format-suite.js";
import { splitKdump } from "../support/formats/split-kdump.js";
import { text } from "../support/formats/text.js";
import { elfNotes, prstatus } from "../support/write-elf.js";
import { type KdumpOptions, writeKdump } from "../support/write-kdump.js";

const PAGE = 4096;
const pages = Array.from({ length: 12 }, (_, pfn) => ({ pfn, bytes: pattern(PAGE, pfn) }));
const OPTIONS: KdumpOptions = { maxPages: 14, leftOut: [12], dumpLevel: 16 };
const split = (ends: readonly number[], options: Partial<KdumpOptions> = {}) =>
  splitKdump(pages, ends, { ...OPTIONS, ...options });
const open = (files: readonly Uint8Array[], options: OpenDumpOptions = {}) => {
  const [file, ...parts] = files as [Uint8Array, ...Uint8Array[]];
  return openInput({ file, parts, name: "part-1.dump" }, "sync", options).sync();
};
const memory = Uint8Array.from(pages.flatMap(({ bytes }) => [...bytes]));
const [a, b, c] = split([4, 8]) as [Uint8Array, Uint8Array, Uint8Array];
const holes = (image: ReturnType<typeof open>, from: number, pagesToRead: number) =>
  readPartial(image.io, from * PAGE, pagesToRead * PAGE)
    .sync()
    .holes.map(({ start, end, fault: why }) => [
      from + start / PAGE,
      from + end / PAGE,
      EXCLUDED_REASONS[faultFields(why).detail],
    ]);
const ranges = (image: ReturnType<typeof open>) =>
  [...image.map.ranges()].map(({ start, end, state, reason }) => [start / PAGE, end / PAGE, reason ?? state]);

describe("a split dump", () => {
  it.each([
    ["in order", [a, b, c]],
    ["in another order", [c, a, b]],
    ["flattened", [flatten(a, { blockSize: 5000 }), flatten(b), flatten(c)]],
    ["of which one file is flattened", [a, flatten(b, { blockSize: 5000 }), c]],
    ["of which only the first is flattened", [flatten(a), b, c]],
  ])("%s reads as one memory, and needs no warning", (_how, files) => {
    const image = open(files);
    expect(readInto(image.io, 0, memory.length).sync()).toEqual(memory);
    expect(image.warnings).toEqual([]);
    expect(ranges(image)).toEqual([
      [0, 12, "present"],
      [12, 13, "free"],
    ]);
    expect(image.details).toMatchObject({ split: true, files: 3, filesMissing: false, pages: 12 });
    expect(image.description).toContain("in 3 files");
  });

  it("keeps the pages of all its files in one slab", () => {
    const image = open([a, b, c]);
    for (let round = 0; round < 2; round++) readInto(image.io, 0, memory.length).sync();
    // Odd pages do not compress.
    expect(image.slab?.size).toBe(6);
  });

  it("costs two batches of each file, however many pages are read at once", async () => {
    const many = Array.from({ length: 3000 }, (_, pfn) => ({ pfn, bytes: pattern(PAGE, 2 * pfn) }));
    const files = splitKdump(many, [1000, 1700], { maxPages: 3000 });
    const [first, ...parts] = files.map((bytes) => testFile(bytes, "async"));
    if (first === undefined) throw new Error("no file");
    const image = await openDump(first, { parts, decoders: nodeDecoders, cacheBytes: 0 });
    const sources = [first, ...parts].map(({ source }) => source);
    const before = sources.map((source) => source.counters);
    const reads = await all(many.map(({ pfn }) => readInto(image.io, pfn * PAGE + 8, 16)));
    for (const { pfn, bytes } of many) expect(reads[pfn]).toEqual(bytes.slice(8, 24));
    sources.forEach((source, i) => {
      expect(source.counters.batches - (before[i]?.batches ?? 0)).toBe(2);
    });
  });

  it("of which one file is given says which pages are elsewhere, and how to give the others", () => {
    const image = open([b]);
    expect(image.warnings.join()).toMatch(
      /one file of a split dump, with pages 0x4 to 0x8.*\(8\).*-f A -f B.*--reassemble/,
    );
    expect(readInto(image.io, 4 * PAGE, 4 * PAGE).sync()).toEqual(memory.slice(4 * PAGE, 8 * PAGE));
    expect(holes(image, 0, 13)).toEqual([
      [0, 4, "other file"],
      [8, 12, "other file"],
      [12, 13, "free"],
    ]);
    expect(ranges(image)).toEqual([
      [0, 4, "other file"],
      [4, 8, "present"],
      [8, 12, "other file"],
      [12, 13, "free"],
    ]);
    expect(image.map.bytesPresent).toBe(4 * PAGE);
    expect(image.map.stateOf(13 * PAGE)).toBe("outside");
    expect(image.details).toMatchObject({ files: 1, filesMissing: true });
  });

  it("of which the file in the middle is missing reads the others", () => {
    const image = open([c, a]);
    expect(image.warnings.join()).toMatch(/these are 2 files.*pages 0x0 to 0x4, 0x8 to 0xe.*\(4\)/);
    expect(ranges(image)).toEqual([
      [0, 4, "present"],
      [4, 8, "other file"],
      [8, 12, "present"],
      [12, 13, "free"],
    ]);
    expect(holes(image, 0, 12)).toEqual([[4, 8, "other file"]]);
  });

  it("of which a file is given twice uses it once, and says so", () => {
    const image = open([a, b, c, b]);
    expect(image.warnings.join()).toMatch(/part-4\.dump has no page that part-2\.dump.*it is not used/);
    expect(image.details.files).toBe(3);
    expect(readInto(image.io, 0, memory.length).sync()).toEqual(memory);
  });

  it("whose files overlap reads each page from a file that has it", () => {
    const long = writeKdump(pages, { ...OPTIONS, part: { start: 2, end: 9 } });
    const last = writeKdump(pages, { ...OPTIONS, part: { start: 6, end: 14 } });
    const image = open([last, long, a]);
    expect(image.warnings.join()).toMatch(/both have pages 0x2 to 0x4.*both have pages 0x6 to 0x9/s);
    expect(readInto(image.io, 0, memory.length).sync()).toEqual(memory);
    expect(image.map.bytesPresent).toBe(12 * PAGE);
  });

  it("may have files without pages", () => {
    const image = open(split([0, 0, 14, 14]));
    expect(readInto(image.io, 0, memory.length).sync()).toEqual(memory);
    expect(image.warnings).toEqual([]);
  });

  it("whose range is backwards has no pages in that file", () => {
    const image = open([a, writeKdump(pages, { ...OPTIONS, part: { start: 8, end: 4 } }), c]);
    expect(image.warnings.join()).toMatch(/part-2\.dump: start_pfn is 0x8 and end_pfn 0x4/);
    expect(holes(image, 0, 12)).toEqual([[4, 8, "other file"]]);
  });

  it("is not said to lack pages of zeros, though its level is 1", () => {
    for (const files of [
      split([4, 8], { dumpLevel: 1 }),
      [split([4, 8], { dumpLevel: 1 })[1] as Uint8Array],
    ]) {
      const image = open(files);
      expect(image.map.reasonOf(12 * PAGE)).toBe("unknown");
      expect([...image.map.ranges()].map(({ reason }) => reason)).not.toContain("zero");
    }
  });
});

describe("files that do not belong together", () => {
  const refused = (files: readonly Uint8Array[]) => {
    try {
      open(files);
    } catch (error) {
      expect(error).toBeInstanceOf(FormatError);
      return error as FormatError;
    }
    return expect.unreachable() as never;
  };

  it.each([
    ["block_size", { blockSize: 8192 }],
    ["max_mapnr", { maxPages: 15 }],
    ["dump_level", { dumpLevel: 1 }],
    ["timestamp", { timestamp: 1700000001 }],
    ["release", { release: "6.2" }],
    ["header_version", { version: 5 }],
    ["byte order", { bigEndian: true }],
    ["layout", { abi: "i386" as const, machine: "i686" }],
    ["vmcoreinfo", { vmcoreinfo: text("PAGESIZE=4096\n") }],
    ["notes", { notes: elfNotes([prstatus(1, 1000)]) }],
  ])("because of another %s are refused, naming file and field", (field, options) => {
    const error = refused([a, split([4, 8], options)[1] as Uint8Array]);
    expect(error.message).toMatch(/^part-2\.dump: its/);
    expect(error.message).toContain(`its ${field}`);
    expect(error.message).toContain("leave it out");
  });

  it("because of their bitmaps are refused, naming the place", () => {
    const others = pages.filter(({ pfn }) => pfn !== 5);
    const other = writeKdump(others, { ...OPTIONS, part: { start: 4, end: 8 } });
    expect(refused([a, other])).toMatchObject({
      file: "part-2.dump",
      field: "bitmap",
      code: "MALFORMED_DUMP",
    });
  });

  it("because one is a whole dump, or none at all, are refused", () => {
    const whole = writeKdump(pages, OPTIONS);
    expect(refused([a, whole]).message).toMatch(/part-2\.dump: it is a whole dump/);
    expect(refused([whole, a]).message).toMatch(/part-1\.dump: it is a whole dump.*part-2\.dump/);
    expect(refused([a, pattern(5000, 1)]).message).toMatch(/part-2\.dump: it is no kdump file/);
    expect(refused([a, new Uint8Array(3)]).message).toMatch(/part-2\.dump/);
  });
});

describe("damage to one file of a split dump", () => {
  it("that was cut inside its pages leaves those of the others, and says which are lost", () => {
    const image = open([a, b.subarray(0, b.length - 4100), c]);
    expect(image.warnings.join()).toMatch(/2 of the dump's pages have no data in part-2\.dump/);
    expect(holes(image, 0, 12)).toEqual([[6, 8, "truncated"]]);
    expect(image.map.reasonOf(6 * PAGE)).toBe("truncated");
    expect(image.map.bytesPresent).toBe(10 * PAGE);
  });

  it("that was cut inside its descriptors leaves the others, too", () => {
    const image = open([a, b.subarray(0, 4 * PAGE + 24), c]);
    expect(image.warnings.join()).toMatch(
      /part-2\.dump ends at .* inside its page descriptors.*from 0x5000 on/,
    );
    expect(holes(image, 0, 12)).toEqual([[4, 8, "truncated"]]);
    expect(ranges(image)).toEqual([
      [0, 4, "present"],
      [4, 8, "truncated"],
      [8, 12, "present"],
      [12, 13, "free"],
    ]);
  });

  it("that is marked incomplete is no reason to doubt what the others lack", () => {
    const [, part] = split([4, 8], { unwritten: [7], status: 1 | 8 });
    const image = open([a, part as Uint8Array, c]);
    expect(image.warnings.join()).toContain("marked part-2.dump incomplete");
    expect(image.details.incomplete).toBe(true);
    expect(holes(image, 0, 13)).toEqual([
      [7, 8, "incomplete"],
      [12, 13, "unknown"],
    ]);
    const cut = open([a, part as Uint8Array, c.subarray(0, c.length - 10)]);
    expect([7, 11].map((pfn) => cut.map.reasonOf(pfn * PAGE))).toEqual(["incomplete", "truncated"]);
  });

  it("in its bitmap is made good from another file", () => {
    const memories = [a, b].map((bytes) => new MemoryIo(bytes, { readOnly: true }));
    const [first, second] = memories as [MemoryIo, MemoryIo];
    const io: PacketIo<number> = {
      scheduler: first.scheduler,
      sendIo: (offset, view) => {
        if (offset === 3 * PAGE) view.fail(fault("io", "file", "connector"));
        else first.sendIo(offset, view);
      },
    };
    const image = openDump(dumpFile(io, a.length, "a"), {
      parts: [dumpFile(second, b.length, "b")],
      decoders: nodeDecoders,
    }).sync();
    expect(readInto(image.io, 0, 8 * PAGE).sync()).toEqual(memory.slice(0, 8 * PAGE));
    expect(image.warnings.join()).not.toContain("bitmap");
  });
});
