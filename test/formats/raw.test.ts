import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { openDump, type RawRange } from "../../src/formats/index.js";
import { Intervals } from "../../src/formats/pieces.js";
import { zeroMap } from "../../src/formats/raw/raw-zeros.js";
import { readPartial } from "../../src/io/index.js";
import { pattern } from "../support/bytes.js";
import { openBytes, testFile } from "../support/dump.js";
import { writeElf } from "../support/write-elf.js";

const bytes = pattern(0x4000, 5);
const map = (...ranges: [start: number, end: number, offset: number][]): RawRange[] =>
  ranges.map(([start, end, offset]) => ({ start, end, offset }));

/** Opens a raw image whose file tells of holes. */
function openWithHoles(
  file: Uint8Array,
  holes: Iterable<{ readonly start: number; readonly end: number }>,
  memoryMap?: readonly RawRange[],
) {
  const zeros = { ...testFile(file), zeroRanges: () => holes };
  return openDump(zeros, { format: "raw", memoryMap }).sync();
}

describe("a raw image with a memory map", () => {
  it("is read where the map says, and is outside elsewhere", () => {
    const image = openBytes(bytes, {
      memoryMap: map([0x10000, 0x12000, 0], [0x100000000, 0x100002000, 0x2000]),
    });
    expect(image.format).toBe("raw");
    expect([...image.map]).toEqual([
      { start: 0x10000, end: 0x12000, state: "present" },
      { start: 0x100000000, end: 0x100002000, state: "present" },
    ]);
    expect(image.warnings).toEqual([]);
    expect(readPartial(image.io, 0x100000ff0, 32).sync().bytes).toEqual(bytes.slice(0x2ff0, 0x3010));
    const { good, holes } = readPartial(image.io, 0x11ff0, 32).sync();
    expect(good).toEqual([{ start: 0, end: 16 }]);
    expect(holes).toMatchObject([{ start: 16, end: 32, state: "outside" }]);
  });

  it("may show the same bytes at two addresses", () => {
    const image = openBytes(bytes, { memoryMap: map([0, 0x4000, 0], [0x8000, 0xc000, 0]) });
    expect(readPartial(image.io, 0x8123, 50).sync().bytes).toEqual(bytes.slice(0x123, 0x123 + 50));
    expect(image.warnings).toEqual([]);
  });

  it("that reaches beyond the file has a hole there, truncated, and a warning", () => {
    const image = openBytes(bytes, {
      memoryMap: map([0, 0x3000, 0], [0x10000, 0x13000, 0x3000], [0x20000, 0x21000, 0x9000]),
    });
    expect([...image.map]).toEqual([
      { start: 0, end: 0x3000, state: "present" },
      { start: 0x10000, end: 0x11000, state: "present" },
      { start: 0x11000, end: 0x13000, state: "excluded", reason: "truncated" },
      { start: 0x20000, end: 0x21000, state: "excluded", reason: "truncated" },
    ]);
    expect(image.warnings).toEqual([
      expect.stringMatching(/12288 bytes of it are missing \(the file has 16384\)/),
    ]);
    expect(readPartial(image.io, 0x11000, 16).sync().holes).toMatchObject([{ state: "excluded" }]);
  });

  it("that leaves bytes of the file out says how many", () => {
    const image = openBytes(bytes, { memoryMap: map([0, 0x1000, 0x800], [0x5000, 0x6000, 0x1000]) });
    expect(image.warnings).toEqual([expect.stringMatching(/^10240 bytes of the file are in no range/)]);
    // One range inside another, then one that overlaps both: bytes count once.
    const nested = map([0, 0x3000, 0], [0x3000, 0x3800, 0x800], [0x4000, 0x5000, 0x2800]);
    const { warnings } = openBytes(bytes, { memoryMap: nested });
    expect(warnings.join()).toMatch(
      new RegExp(`^${bytes.length - 0x3800} bytes of the file are in no range`),
    );
  });

  it.each([
    [
      "that puts two ranges at one address",
      map([0, 0x2000, 0], [0x1fff, 0x3000, 0x2000]),
      "0x0-0x2000@0x0 and 0x1fff-0x3000@0x2000 overlap",
    ],
    ["without ranges", [], "has no ranges"],
    ["with a range that ends before it begins", map([5, 4, 0]), "0x5-0x4@0x0: bounds and offsets"],
    ["with an empty range", map([4, 4, 0]), "0x4-0x4@0x0"],
    ["with a negative offset", map([0, 4, -1]), "0x0-0x4@-1"],
    ["with a fraction", map([0.5, 4, 0]), "0.5-0x4@0x0"],
    ["beyond 2^53", map([0, 2 ** 53, 0]), "bounds and offsets are 0 to 2^53 - 1"],
    ["whose offsets go beyond 2^53", map([0, 2 ** 52, 2 ** 52]), "bounds and offsets"],
    ["that is not numbers", map([Number.NaN, 5, 0]), "NaN-0x5@0x0"],
  ])("%s is refused, naming the file", (_what, memoryMap, problem) => {
    expect(() => openBytes(bytes, { memoryMap })).toThrow(
      expect.objectContaining({ code: "BAD_MEMORY_MAP", message: expect.stringMatching(/^test\.dump: /) }),
    );
    expect(() => openBytes(bytes, { memoryMap })).toThrow(problem);
  });

  it("is refused for a dump that says itself where its memory lies, unless raw is forced", () => {
    const elf = writeElf([{ physical: 0, bytes }]);
    const memoryMap = map([0x1000, 0x1000 + elf.length, 0]);
    expect(() => openBytes(elf, { memoryMap })).toThrow(
      /this is a dump of the format elf-core.*force the format raw/,
    );
    const image = openBytes(elf, { memoryMap, format: "raw" });
    expect(readPartial(image.io, 0x1001, 3).sync().bytes).toEqual(Uint8Array.from([0x45, 0x4c, 0x46]));
  });
});

describe("holes of the file system in a raw image", () => {
  it("are zeros in mapWithZeros, and present in both maps", () => {
    const image = openWithHoles(new Uint8Array(0x4000), [{ start: 0x1000, end: 0x3000 }]);
    expect([...(image.mapWithZeros?.().sync() ?? [])]).toEqual([
      { start: 0, end: 0x1000, state: "present" },
      { start: 0x1000, end: 0x3000, state: "present", zero: true },
      { start: 0x3000, end: 0x4000, state: "present" },
    ]);
    expect([...image.map]).toEqual([{ start: 0, end: 0x4000, state: "present" }]);
  });

  it("aren't told where the file tells of none", () => {
    expect(openBytes(bytes).mapWithZeros).toBeUndefined();
  });

  it("lie where the memory map puts them", () => {
    const holes = [
      { start: 0x800, end: 0x1800 },
      { start: 0x3000, end: 0x5000 },
    ];
    const image = openWithHoles(
      new Uint8Array(0x4000),
      holes,
      map([0x1000, 0x2000, 0], [0x10000, 0x13800, 0x1000]),
    );
    expect([...(image.mapWithZeros?.().sync() ?? [])]).toEqual([
      { start: 0x1000, end: 0x1800, state: "present" },
      { start: 0x1800, end: 0x2000, state: "present", zero: true },
      { start: 0x10000, end: 0x10800, state: "present", zero: true },
      { start: 0x10800, end: 0x12000, state: "present" },
      { start: 0x12000, end: 0x13000, state: "present", zero: true },
      { start: 0x13000, end: 0x13800, state: "excluded", reason: "truncated" },
    ]);
  });

  it("are like other bytes from so many ranges on, and nothing is lost", () => {
    const pieces = new Intervals();
    pieces.push(0, 1000, 0);
    const holes = Array.from({ length: 100 }, (_, i) => ({ start: 10 * i, end: 10 * i + 5 }));
    const few = zeroMap(pieces, holes, 8);
    expect([few.length, few.bytesZero, few.bytesPresent]).toEqual([10, 25, 1000]);
    expect(zeroMap(pieces, holes).bytesZero).toBe(500);
  });

  it("are the same bytes as in a plain array, whatever the holes and the map", () => {
    const hole = fc.tuple(fc.nat(200), fc.integer({ min: -3, max: 60 }));
    const range = fc.tuple(fc.nat(30), fc.integer({ min: 1, max: 90 }), fc.nat(260));
    fc.assert(
      fc.property(fc.array(hole), fc.array(range, { minLength: 1, maxLength: 6 }), (gaps, stretches) => {
        const size = 250;
        const zero = new Uint8Array(size);
        let last = 0;
        const holes = gaps.map(([start, length]) => ({ start, end: Math.min(size, start + length) }));
        for (const { start, end } of holes) {
          // What is unordered or empty is left out.
          if (start < last || end <= start) continue;
          zero.fill(1, start, end);
          last = end;
        }
        let at = 0;
        const memoryMap = stretches.map(([gap, length, offset]) => {
          const start = at + gap;
          at = start + length;
          return { start, end: at, offset };
        });
        const image = openWithHoles(new Uint8Array(size), holes, memoryMap);
        const got = new Array<string>(at).fill("outside");
        for (const one of image.mapWithZeros?.().sync() ?? []) {
          got.fill(one.zero === true ? "zero" : one.state, one.start, one.end);
        }
        const expected = new Array<string>(at).fill("outside");
        for (const { start, end, offset } of memoryMap) {
          for (let i = start; i < end; i++) {
            const from = offset + i - start;
            expected[i] = from >= size ? "excluded" : zero[from] === 1 ? "zero" : "present";
          }
        }
        expect(got).toEqual(expected);
      }),
    );
  });
});
