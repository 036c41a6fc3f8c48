import { describe, expect, it } from "vitest";
import { openDump } from "../../src/formats/index.js";
import { readInto, readPartial } from "../../src/io/index.js";
import { badSectors } from "../support/bad-sectors.js";
import { pattern } from "../support/bytes.js";
import { openBytes, testFile } from "../support/dump.js";
import { writeLime } from "../support/write-lime.js";

const MIB = 2 ** 20;
const HEADER = 32;
const first = { start: 0x1000, bytes: pattern(0x1000, 1) };
const second = { start: 0x4000, bytes: pattern(0x2000, 3) };

describe("ranges", () => {
  it("what lies between them is no RAM: LiME stores all that there is", () => {
    const image = openBytes(writeLime([first, second]));
    expect([...image.map.ranges({ gaps: true })]).toEqual([
      { start: 0, end: 0x1000, state: "outside" },
      { start: 0x1000, end: 0x2000, state: "present" },
      { start: 0x2000, end: 0x4000, state: "outside" },
      { start: 0x4000, end: 0x6000, state: "present" },
    ]);
    expect(image.warnings).toEqual([]);
    expect(image.format).toBe("lime");
    expect(image.notes.byteOrder).toBe("little");
  });

  it("the last address of a header is that of the last byte", () => {
    const image = openBytes(writeLime([first]));
    expect(readInto(image.io, 0x1fff, 1).sync()).toEqual(first.bytes.subarray(0xfff));
    expect(readPartial(image.io, 0x2000, 1).sync().holes).toMatchObject([{ state: "outside" }]);
  });

  it("where they overlap, the first in the file counts, and there is a warning", () => {
    const image = openBytes(writeLime([second, { start: 0x3000, bytes: pattern(0x2000, 5) }]));
    expect(image.warnings).toEqual([expect.stringMatching(/overlap in 0x1000 bytes/)]);
    expect(readInto(image.io, 0x4000, 16).sync()).toEqual(second.bytes.subarray(0, 16));
    expect(readInto(image.io, 0x3000, 16).sync()).toEqual(pattern(0x2000, 5).subarray(0, 16));
  });

  it("a range up to 2^53 - 1 is read, and one beyond ends the index with a warning", () => {
    const high = { start: 2 ** 53 - 1 - 0x1000, bytes: pattern(0x1000, 5) };
    expect(readInto(openBytes(writeLime([high])).io, high.start + 4, 8).sync()).toEqual(
      high.bytes.subarray(4, 12),
    );
    const image = openBytes(writeLime([first, { start: 2n ** 63n, bytes: pattern(10, 1) }, second]));
    expect(image.warnings).toEqual([expect.stringMatching(/file offset 0x1020 reaches to 2\^53/)]);
    expect(image.map.end).toBe(0x2000);
  });

  it("a dump of a big-endian machine says so", () => {
    const image = openBytes(writeLime([first, second], true));
    expect(image.description).toMatch(/big-endian/);
    expect(image.notes.byteOrder).toBe("big");
  });

  it("another version is refused by its number", () => {
    expect(() => openBytes(writeLime([{ ...first, version: 2 }]))).toThrow(
      /version at file offset 0x4: a LiME header of version 2/,
    );
  });
});

describe("damage", () => {
  it("a range that the file ends in is there up to its end, and truncated behind", () => {
    const file = writeLime([first, second]);
    const image = openBytes(file.subarray(0, file.length - 0x800));
    expect(image.warnings.join()).toMatch(
      /the file ends at 0x2840: physical memory 0x5800 to 0x6000 is missing/,
    );
    expect(image.map.range(2)).toEqual({
      start: 0x5800,
      end: 0x6000,
      state: "excluded",
      reason: "truncated",
    });
    expect(readInto(image.io, 0x57f8, 8).sync()).toEqual(second.bytes.subarray(0x17f8, 0x1800));
    expect(readPartial(image.io, 0x57f8, 16).sync().holes).toMatchObject([{ start: 8, state: "excluded" }]);
  });

  it("a claim of petabytes is a hole, not an allocation", () => {
    const image = openBytes(writeLime([first, { ...second, last: 2n ** 52n }]));
    expect(image.map.bytesPresent).toBe(0x3000);
    expect(image.map.reasonOf(2 ** 51)).toBe("truncated");
  });

  it("garbage where a header should be ends the index there, with its offset; what comes before is read", () => {
    const file = writeLime([first, second]);
    file.fill(0x5a, 0x1020, 0x1040);
    const image = openBytes(file);
    expect(image.warnings).toEqual([
      expect.stringMatching(/no LiME header at file offset 0x1020.*what comes before is readable/),
    ]);
    expect([...image.map.ranges()]).toEqual([{ start: 0x1000, end: 0x2000, state: "present" }]);
  });

  it("a range of no bytes is passed over, one of fewer than none ends the index", () => {
    const empty = openBytes(writeLime([{ start: 0x9000, bytes: new Uint8Array(0) }, first]));
    expect(empty.warnings).toEqual([expect.stringMatching(/file offset 0x0 is of no bytes/)]);
    expect(empty.map.bytesPresent).toBe(0x1000);
    const negative = openBytes(writeLime([first, { start: 0x9000, last: 0x8000, bytes: pattern(10, 1) }]));
    expect(negative.warnings).toEqual([expect.stringMatching(/file offset 0x1020 says 0x9000 to 0x8000/)]);
    expect(negative.map.bytesPresent).toBe(0x1000);
  });

  it("without a range there is nothing to open", () => {
    for (const range of [
      { start: 0x9000, last: 0x8000, bytes: pattern(10, 1) },
      { start: 2n ** 60n, bytes: pattern(10, 1) },
      { start: 0x1000, bytes: new Uint8Array(0) },
    ]) {
      expect(() => openBytes(writeLime([range]))).toThrow(
        /LiME header at file offset 0x0: no range of memory; /,
      );
    }
    expect(() => openBytes(writeLime([first]).subarray(0, 20))).toThrow(
      /LiME header at file offset 0x0: 32 bytes/,
    );
  });

  it("millions of headers end with a warning, in bounded time", () => {
    const empty = writeLime([{ start: 0x9000, bytes: new Uint8Array(0) }]);
    const size = (4 * MIB + 100) * HEADER;
    const headers = new Uint8Array(65_536);
    for (let at = 0; at < headers.length; at += HEADER) headers.set(empty, at);
    const inner = testFile(empty);
    const image = openDump({
      ...inner,
      size,
      sendIo: (_, view) => view.transfer(headers),
    });
    expect(() => image.sync()).toThrow(/no range of memory.*more than 4194304 LiME headers/);
  }, 30_000);
});

describe("AVML without compression", () => {
  it("of blocks of 16 MiB, some may have been left out as zeros: what is not there is excluded", () => {
    const block = { start: MIB, bytes: new Uint8Array(16 * MIB).fill(3) };
    const image = openBytes(writeLime([block, { start: 64 * MIB, bytes: pattern(100, 1) }]));
    expect(image.map.reasonOf(20 * MIB)).toBe("or outside");
    expect(image.map.reasonOf(0)).toBe("or outside");
    expect(image.map.stateOf(65 * MIB)).toBe("outside");
    expect(image.warnings.join()).toMatch(/leaves out blocks that are all zero/);
    const larger = openBytes(writeLime([block, { start: 64 * MIB, bytes: new Uint8Array(17 * MIB) }]));
    expect(larger.map.stateOf(20 * MIB)).toBe("outside");
  });

  it("a small range that is only a header is zeros, as AVML of 2025 wrote them", () => {
    const zero = writeLime([{ start: 0x100, bytes: new Uint8Array(0), last: 0x1ff }]);
    const file = new Uint8Array([...zero, ...zero, ...writeLime([first]), ...zero, ...writeLime([second])]);
    const image = openBytes(file);
    expect(image.details).toMatchObject({ ranges: 5, zeroRanges: 3 });
    expect(readInto(image.io, 0x100, 0x100).sync()).toEqual(new Uint8Array(0x100));
    expect(readInto(image.io, 0x4000, 16).sync()).toEqual(second.bytes.subarray(0, 16));
    expect(image.mapWithZeros?.().sync().bytesZero).toBe(0x100);
  });

  it("such a range may be one of the last, where its bytes would reach beyond the file", () => {
    const zero = writeLime([{ start: 0x10_0000, bytes: new Uint8Array(0), last: 0x1f_ffff }]);
    const image = openBytes(
      new Uint8Array([...writeLime([first]), ...zero, ...zero, ...writeLime([second])]),
    );
    expect(image.warnings.filter((text) => !text.includes("overlap"))).toEqual([]);
    expect(image.details).toMatchObject({ ranges: 4, zeroRanges: 2 });
    expect(readInto(image.io, 0x4000, 16).sync()).toEqual(second.bytes.subarray(0, 16));
    expect(readInto(image.io, 0x10_0000, 64).sync()).toEqual(new Uint8Array(64));
  });

  it("thousands of such ranges take a read for many of them, not two for each", () => {
    const zero = writeLime([{ start: 0x10_0000, bytes: new Uint8Array(0), last: 0x10_0000 + 0x3_000f }]);
    const headers = new Uint8Array(20_000 * HEADER + 0x4_0000);
    for (let i = 0; i < 20_000; i++) headers.set(zero, i * HEADER);
    const inner = testFile(headers);
    let reads = 0;
    const counted = {
      ...inner,
      sendIo: (offset: number, view: Parameters<typeof inner.sendIo>[1]) => {
        reads++;
        inner.sendIo(offset, view);
      },
    };
    expect(openDump(counted).sync().details).toMatchObject({ zeroRanges: 19_999 });
    expect(reads).toBeLessThan(100);
  });
});

describe("a header that can't be read", () => {
  it("ends the index there, with its offset; what comes before is read", () => {
    const file = writeLime([first, second]);
    const start = HEADER + first.bytes.length;
    const image = openDump(badSectors(file, [{ start, end: start + 8 }])).sync();
    expect(image.warnings.join()).toMatch(/the LiME header at file offset 0x1020 could not be read/);
    expect(readInto(image.io, first.start, first.bytes.length).sync()).toEqual(first.bytes);
  });

  it("is only one that lies there itself, not one beside bytes that can't be read", () => {
    const file = writeLime([first, second]);
    const start = 2 * HEADER + first.bytes.length + 8;
    const image = openDump(
      badSectors(file, [
        { start: 40, end: 50 },
        { start, end: start + 8 },
      ]),
    ).sync();
    expect(image.warnings).toEqual([]);
    expect(readPartial(image.io, second.start, 20).sync().holes).toMatchObject([
      { start: 8, end: 16, state: "gone" },
    ]);
  });
});
