import { describe, expect, it } from "vitest";
import { nodeDecoders } from "../../connectors/node-decoders.js";
import { openDump } from "../../src/formats/index.js";
import { readInto, readPartial } from "../../src/io/index.js";
import { badSectors } from "../support/bad-sectors.js";
import { pattern } from "../support/bytes.js";
import { openBytes } from "../support/dump.js";
import { type KdumpPage, writeKdump } from "../support/write-kdump.js";

const PAGE = 4096;
/** Behind header, sub-header and two bitmaps. */
const DESCRIPTORS = 4 * PAGE;
const page = (pfn: number): KdumpPage => ({ pfn, bytes: pattern(PAGE, pfn), stored: "raw" });
const zero = (pfn: number): KdumpPage => ({ pfn, bytes: new Uint8Array(PAGE), stored: "zero" });
const pages = (count: number, from = 0, make = page) =>
  Array.from({ length: count }, (_, i) => make(from + i));

function withOffset(file: Uint8Array, row: number, offset: bigint): Uint8Array {
  const changed = file.slice();
  new DataView(changed.buffer).setBigUint64(DESCRIPTORS + 24 * row, offset, true);
  return changed;
}

describe("a dump that was cut and ends with zeros", () => {
  it.each([10, 300, 70_000])(
    "lacks what it lacks, though its last %i descriptors name what is there",
    (zeros) => {
      const maxPages = 20 + zeros;
      const file = writeKdump([...pages(20), ...pages(zeros, 20, zero)], { maxPages, dumpLevel: 0 });
      const image = openBytes(file.subarray(0, file.length - 3 * PAGE));
      expect([16, 17, 19, 20].map((pfn) => image.map.reasonOf(pfn * PAGE))).toEqual([
        undefined,
        "truncated",
        "truncated",
        undefined,
      ]);
      expect(image.warnings.join()).toContain("3 of the dump's pages have no data");
      expect(readPartial(image.io, 17 * PAGE, 8).sync().holes).toMatchObject([{ state: "excluded" }]);
      expect(openBytes(file).warnings).toEqual([]);
    },
  );

  it("may hold nothing else", () => {
    expect(openBytes(writeKdump(pages(600, 0, zero), { maxPages: 600 })).warnings).toEqual([]);
  });
});

describe("a page descriptor that lies", () => {
  const whole = writeKdump(pages(600), { maxPages: 600, dumpLevel: 0 });

  it.each([
    ["behind the end of a file that is whole", 2n ** 40n],
    ["nowhere", 0n],
    ["in the headers", 4096n],
    ["among the descriptors", BigInt(DESCRIPTORS + 100)],
  ])("and says that a page lies %s makes it malformed, as the map has it there", (_, offset) => {
    const image = openBytes(withOffset(whole, 5, offset));
    const [hole] = readPartial(image.io, 5 * PAGE, 16).sync().holes;
    expect([hole?.state, image.map.stateOf(5 * PAGE)]).toEqual(["malformed", "present"]);
    expect(readInto(image.io, 6 * PAGE, PAGE).sync()).toEqual(pattern(PAGE, 6));
  });
});

describe("bitmaps", () => {
  it("are two, though max_mapnr says more pages than one of them has room for", () => {
    const options = { maxPages: 8, leftOut: [1, 2], narrowMaxPages: 0x1_0000, version: 5 };
    const image = openBytes(writeKdump([page(0), page(3), page(5)], options));
    expect(image.warnings.join()).toMatch(/max_mapnr says 65536 pages, and the bitmap has room for 32768/);
    for (const pfn of [0, 3, 5]) {
      expect(readInto(image.io, pfn * PAGE, PAGE).sync()).toEqual(pattern(PAGE, pfn));
    }
    expect(image.map.stateOf(PAGE)).toBe("excluded");
  });

  it("are two: one block has no room for them", () => {
    const file = writeKdump([page(0)], { maxPages: 1 });
    new DataView(file.buffer).setUint32(0x1b4, 1, true);
    expect(() => openBytes(file)).toThrow(/bitmap_blocks at file offset 0x1b4: 1, and there are two bitmaps/);
  });

  it.each([
    ["filtered", 1, "unknown"],
    ["as QEMU writes them", 1, "or outside"],
    ["of all there is", 0, "unknown"],
  ])(
    "(%s) of which some bytes can't be read show the pages before those, and no other page in their place",
    (how, dumpLevel, reason) => {
      const maxPages = 2000;
      const leftOut = how === "filtered" ? [3] : [];
      const stored = pages(maxPages).filter(({ pfn }) => !leftOut.includes(pfn));
      const file = writeKdump(stored, { maxPages, dumpLevel, leftOut });
      const bad = 3 * PAGE + 20;
      const image = openDump(badSectors(file, [{ start: bad, end: bad + 10 }]), {
        decoders: nodeDecoders,
      }).sync();
      expect(image.warnings.join()).toContain(
        "from file offset 0x3014 on: pages from 0xa0 on can't be found",
      );
      const { bytes, good } = readPartial(image.io, 0, maxPages * PAGE).sync();
      expect(good.at(-1)?.end).toBe(160 * PAGE);
      for (const { start, end } of good) {
        for (let at = start; at < end; at += PAGE) {
          expect(bytes.subarray(at, at + 16)).toEqual(pattern(PAGE, at / PAGE).subarray(0, 16));
        }
      }
      expect(image.map.reasonOf(1000 * PAGE)).toBe(reason);
      expect(image.map.bytesPresent).toBe((160 - leftOut.length) * PAGE);
    },
  );

  it("of parts are put together of what can be read of each", () => {
    const maxPages = 2000;
    const halves = [0, 1000].map((start) =>
      writeKdump(pages(maxPages), { maxPages, dumpLevel: 0, part: { start, end: start + 1000 } }),
    ) as [Uint8Array, Uint8Array];
    const [first, second] = halves.map((file, i) => {
      const bad = 3 * PAGE + 20 + 10 * i;
      return badSectors(file, [{ start: bad, end: bad + 10 }], `part-${i}`);
    }) as [ReturnType<typeof badSectors>, ReturnType<typeof badSectors>];
    const image = openDump(first, { parts: [second], decoders: nodeDecoders }).sync();
    expect(image.warnings).toEqual([]);
    for (const pfn of [0, 170, 250, 999, 1000, 1999]) {
      expect(readInto(image.io, pfn * PAGE, PAGE).sync()).toEqual(pattern(PAGE, pfn));
    }
  });
});

describe("descriptors that can't be read", () => {
  it("are no reason to say that the file was cut", () => {
    const file = writeKdump(pages(600), { maxPages: 600, dumpLevel: 0 });
    const bad = DESCRIPTORS + 24 * 500;
    const image = openDump(badSectors(file, [{ start: bad, end: bad + 48 }]), {
      decoders: nodeDecoders,
    }).sync();
    expect(image.warnings).toEqual([]);
    const [hole] = readPartial(image.io, 501 * PAGE, 8).sync().holes;
    expect([hole?.state, image.map.stateOf(501 * PAGE)]).toEqual(["gone", "present"]);
    expect(readInto(image.io, 502 * PAGE, PAGE).sync()).toEqual(pattern(PAGE, 502));
  });
});
