import { describe, expect, it } from "vitest";
import { type DumpFile, FormatError, openDump } from "../../src/formats/index.js";
import { fault, readInto, readPartial } from "../../src/io/index.js";
import { PAGE_SIZE } from "../../src/io/page-slab.hot.js";
import { badSectors } from "../support/bad-sectors.js";
import { pattern } from "../support/bytes.js";
import { openBytes, testFile } from "../support/dump.js";
import { readDamaged } from "../support/format-suite.js";
import { writeAvml } from "../support/write-avml.js";

const MIB = 2 ** 20;
const HEADER = 32;

/** As `toEqual`, which takes seconds for a MiB. */
function expectBytes(got: Uint8Array, expected: Uint8Array): void {
  expect(got.length).toBe(expected.length);
  expect(got.findIndex((byte, i) => byte !== expected[i])).toBe(-1);
}

function states(file: Uint8Array, size: number): string[] {
  const { good, holes } = readPartial(openBytes(file).io, 0, size).sync();
  const out = new Array<string>(size).fill("present");
  for (const { start, end, state } of holes) out.fill(state, start, end);
  expect(good.length + holes.length).toBeGreaterThan(0);
  return out;
}

describe("blocks", () => {
  it("a block that was left out is excluded, as it may be zeros or no RAM; behind the last one it is outside", () => {
    const file = writeAvml([
      { start: 0x1000, bytes: pattern(4096, 1) },
      { start: 0x3000, bytes: pattern(4096, 2) },
    ]);
    const image = openBytes(file);
    expect([...image.map.ranges()]).toEqual([
      { start: 0, end: 0x1000, state: "excluded", reason: "or outside" },
      { start: 0x1000, end: 0x2000, state: "present" },
      { start: 0x2000, end: 0x3000, state: "excluded", reason: "or outside" },
      { start: 0x3000, end: 0x4000, state: "present" },
    ]);
    expect(readPartial(image.io, 0x2ff0, 0x1020).sync().holes).toMatchObject([
      { start: 0, end: 0x10, state: "excluded" },
      { start: 0x1010, end: 0x1020, state: "outside" },
    ]);
    expect(image.warnings.join()).toMatch(/leaves out blocks that are all zero/);
    expect(image.mapWithZeros).toBeUndefined();
  });

  it("a block that is only a header is zeros, as AVML of 2025 wrote them, and then gaps are no RAM", () => {
    const file = writeAvml([
      { start: 0x1000, bytes: new Uint8Array(4096), headerOnly: true },
      { start: 0x2000, bytes: pattern(4096, 2) },
      { start: 0x4000, bytes: new Uint8Array(4096), headerOnly: true },
      { start: 0x5000, bytes: new Uint8Array(4096), headerOnly: true },
      { start: 0x6000, bytes: pattern(100, 3) },
    ]);
    const image = openBytes(file);
    expect(image.warnings).toEqual([]);
    expect(image.details).toMatchObject({ blocks: 5, zeroBlocks: 3 });
    expect([...image.map.ranges()]).toEqual([
      { start: 0x1000, end: 0x3000, state: "present" },
      { start: 0x4000, end: 0x6064, state: "present" },
    ]);
    const zeros = image.mapWithZeros?.().sync();
    expect(zeros?.bytesZero).toBe(3 * 4096);
    expect([...(zeros?.ranges() ?? [])][0]).toEqual({
      start: 0x1000,
      end: 0x2000,
      state: "present",
      zero: true,
    });
    expect(readInto(image.io, 0x4000, 0x2000).sync()).toEqual(new Uint8Array(0x2000));
    expect(readInto(image.io, 0x2000, 0x1000).sync()).toEqual(pattern(4096, 2));
  });

  it("memory that ends in what looks like a header is memory", () => {
    const bytes = pattern(4096, 1);
    const header = writeAvml([
      { start: 0x10_0000, last: 0x1f_ffff, bytes: bytes.subarray(0, 1), headerOnly: true },
    ]);
    bytes.set(header.subarray(0, 24), bytes.length - 24);
    const image = openBytes(
      writeAvml([
        { start: 0x1000, bytes: pattern(4096, 3) },
        { start: 0x2000, bytes },
        { start: 0x3000, bytes: pattern(4096, 5) },
      ]),
    );
    expect(image.details).toMatchObject({ blocks: 3 });
    expect(image.map.stateOf(0x10_0000)).toBe("outside");
    expect(readInto(image.io, 0x2000, 4096).sync()).toEqual(bytes);
  });

  it("a header at the very end may be a block of zeros or a cut: it is missing, with a warning", () => {
    const file = writeAvml([
      { start: 0x1000, bytes: pattern(4096, 1) },
      { start: 0x2000, bytes: new Uint8Array(4096), headerOnly: true },
    ]);
    const image = openBytes(file);
    expect(image.map.reasonOf(0x2000)).toBe("truncated");
    expect(image.map.stateOf(0x1000)).toBe("present");
    expect(image.warnings.join()).toMatch(/the file ends at 0x[0-9a-f]+, inside the block/);
  });

  it("blocks of more than 16 MiB are of a version that leaves out none", () => {
    const file = writeAvml([
      { start: 0x1000, bytes: new Uint8Array(16 * MIB + 4096).fill(7) },
      { start: 0x3000_0000, bytes: pattern(4096, 2) },
    ]);
    const image = openBytes(file);
    expect(image.map.stateOf(0x2000_0000)).toBe("outside");
    expect(readInto(image.io, 16 * MIB, 8).sync()).toEqual(new Uint8Array(8).fill(7));
  });

  it("another version is refused by its number", () => {
    expect(() => openBytes(writeAvml([{ start: 0, bytes: pattern(10, 1) }], { version: 3 }))).toThrow(
      /version at file offset 0x4: an AVML header of version 3/,
    );
  });

  it("a range that the stream can't hold is a hole, not a promise", () => {
    const file = writeAvml([
      { start: 0, bytes: pattern(100, 1), last: 2n ** 50n },
      { start: 2n ** 51n, bytes: pattern(100, 3) },
    ]);
    const image = openBytes(file);
    expect(image.map.bytesPresent).toBe(100);
    expect(image.warnings.join()).toMatch(/can't hold/);
    expect(readInto(image.io, 2 ** 51, 100).sync()).toEqual(pattern(100, 3));
  });
});

describe("reading", () => {
  const ram = new Uint8Array(MIB);
  for (let at = 0; at < ram.length; at += PAGE_SIZE) ram.set(pattern(PAGE_SIZE, 1 + at / PAGE_SIZE), at);
  const start = 0x10_0000;
  const file = writeAvml([
    { start, bytes: ram.subarray(0, 300_000) },
    { start: start + 300_000, bytes: ram.subarray(300_000) },
  ]);

  /** A file that counts what is read of it. */
  function counting(bytes: Uint8Array): { file: DumpFile; reads: number[] } {
    const inner = testFile(bytes);
    const reads: number[] = [];
    const file: DumpFile = {
      name: inner.name,
      size: inner.size,
      scheduler: inner.scheduler,
      sendIo: (offset, view) => {
        reads.push(view.length);
        inner.sendIo(offset, view);
      },
    };
    return { file, reads };
  }

  it("opening reads a few bytes a block, whatever they hold", () => {
    const { file: counted, reads } = counting(file);
    openDump(counted).sync();
    expect(reads.length).toBeLessThanOrEqual(6);
    expect(Math.max(...reads)).toBeLessThanOrEqual(4096);
  });

  it("a page costs its chunk and the headers of its block, not the block", () => {
    const { file: counted, reads } = counting(file);
    const image = openDump(counted).sync();
    reads.length = 0;
    expect(readInto(image.io, start + 70_000, 100).sync()).toEqual(ram.subarray(70_000, 70_100));
    const chunks = Math.ceil(300_000 / 65_536);
    expect(reads.length).toBeLessThanOrEqual(chunks + 2);
    expect(reads.filter((length) => length > 512)).toHaveLength(1);
  });

  it("pages of a chunk that was read are kept, under their physical addresses, for the page cache to share", () => {
    const { file: counted, reads } = counting(file);
    const image = openDump(counted).sync();
    readInto(image.io, start + 4096, 8).sync();
    // Another chunk, so that the last one is not that of the page below.
    readInto(image.io, start + 3 * 65_536, 8).sync();
    reads.length = 0;
    expect(readInto(image.io, start + 2 * 4096 + 10, 3 * 4096).sync()).toEqual(
      ram.subarray(2 * 4096 + 10, 5 * 4096 + 10),
    );
    expect(reads).toEqual([]);
    const slot = image.slab?.find((start + 4096) / PAGE_SIZE) ?? -1;
    expect(slot).toBeGreaterThanOrEqual(0);
    expect(image.slab?.bytes.slice(slot * PAGE_SIZE, (slot + 1) * PAGE_SIZE)).toEqual(
      ram.subarray(4096, 2 * 4096),
    );
  });

  it("chunks that follow each other are read together, whatever the cache", () => {
    const { file: counted, reads } = counting(file);
    const image = openDump(counted, { cacheBytes: 0 }).sync();
    readInto(image.io, start, 8).sync();
    readInto(image.io, start + 300_000, 8).sync();
    reads.length = 0;
    expectBytes(readInto(image.io, start, MIB).sync(), ram);
    expect(reads.length).toBeLessThanOrEqual(4);
  });

  it("reads side by side of one chunk decompress it once", () => {
    let decoded = 0;
    const blocks = [{ start: 0, bytes: new Uint8Array(65_536).fill(9) }];
    const image = openBytes(writeAvml(blocks), {
      decoders: {
        snappy: (_, length) => {
          decoded++;
          return new Uint8Array(length).fill(9);
        },
      },
    });
    expectBytes(readInto(image.io, 0, 65_536).sync(), new Uint8Array(65_536).fill(9));
    for (let at = 0; at < 65_536; at += 1000) readInto(image.io, at, 8).sync();
    expect(decoded).toBe(1);
  });

  it("a decoder that is injected does not get its bytes past the sum", () => {
    const image = openBytes(writeAvml([{ start: 0, bytes: new Uint8Array(4096).fill(9) }]), {
      decoders: { snappy: (_, length) => new Uint8Array(length).fill(8) },
    });
    expect(readPartial(image.io, 0, 100).sync().holes).toMatchObject([{ state: "malformed" }]);
  });

  it("a file that can't be read fails the reads with its own fault, and they work once it can", () => {
    const inner = testFile(file);
    let broken = false;
    const flaky: DumpFile = {
      name: inner.name,
      size: inner.size,
      scheduler: inner.scheduler,
      sendIo: (offset, view) => {
        if (broken) view.fail(fault("gone", "device", "connector"));
        else inner.sendIo(offset, view);
      },
    };
    const image = openDump(flaky).sync();
    broken = true;
    expect(readPartial(image.io, start, 100).sync().holes).toMatchObject([{ state: "gone" }]);
    broken = false;
    expect(readInto(image.io, start, 100).sync()).toEqual(ram.subarray(0, 100));
  });
});

describe("damage", () => {
  const size = 0x900;
  const victim = writeAvml(
    [
      { start: 0x100, bytes: pattern(500, 1) },
      { start: 0x400, bytes: pattern(300, 2) },
      { start: 0x800, bytes: pattern(150, 3) },
    ],
    { chunk: 100, padding: true },
  );
  const whole = readDamaged({ file: victim }, size) as (number | undefined)[];

  it("no changed byte of a stream gives wrong bytes, or takes those of another block away", () => {
    const blocks = headersOf(victim);
    for (const [i, header] of blocks.entries()) {
      const end = (blocks[i + 1] ?? victim.length) - 8;
      for (let at = header + HEADER; at < end; at++) {
        for (const change of [1, 0x80]) {
          const file = victim.slice();
          file[at] = (file[at] as number) ^ change;
          const left = readDamaged({ file }, size);
          expect(left).not.toBeInstanceOf(FormatError);
          let there = 0;
          for (let k = 0; k < size; k++) {
            const byte = (left as (number | undefined)[])[k];
            if (byte === undefined) continue;
            there++;
            if (byte !== whole[k]) expect({ at, change, k, byte }).toEqual({ at, change, k, byte: whole[k] });
          }
          expect(there).toBeGreaterThan(0);
        }
      }
    }
  }, 60_000);

  it("a chunk that has another sum than it says is malformed, and the others are read", () => {
    const bytes = pattern(3 * 65_536, 1);
    const file = writeAvml([{ start: 0, bytes }]);
    const second = HEADER + 10 + 8 + 65_536;
    file[second + 8 + 100] = (file[second + 8 + 100] as number) ^ 1;
    const { bytes: got, holes } = readPartial(openBytes(file).io, 0, bytes.length).sync();
    expect(holes).toMatchObject([{ start: 65_536, end: 2 * 65_536, state: "malformed" }]);
    expectBytes(got.subarray(2 * 65_536), bytes.subarray(2 * 65_536));
  });

  it("a header of a chunk that is no chunk's ends its block there, and the blocks around it are whole", () => {
    const bytes = pattern(3 * 65_536, 1);
    const file = writeAvml([
      { start: 0, bytes },
      { start: 0x10_0000, bytes: pattern(5000, 3) },
    ]);
    file[HEADER + 10 + 8 + 65_536] = 0x55;
    const seen = states(file, 0x10_0000 + 5000);
    expect(seen.indexOf("malformed")).toBe(65_536);
    expect(seen.lastIndexOf("malformed")).toBe(3 * 65_536 - 1);
    expect(seen.slice(0x10_0000).every((state) => state === "present")).toBe(true);
  });

  it("behind a chunk that is not full, in a block that does not add up, nothing has a place that is certain", () => {
    const bytes = pattern(1000, 1);
    const file = writeAvml([{ start: 0, bytes, last: 1200 }], { chunk: 100 });
    const { holes } = readPartial(openBytes(file).io, 0, 1201).sync();
    expect(holes).toMatchObject([{ start: 100, end: 1201, state: "malformed" }]);
  });

  it("a size behind a block that lies is a warning, and every block is there", () => {
    for (const trailer of [0, 1, 2n ** 63n, 100]) {
      const blocks = [1, 3, 5].map((seed) => ({ start: seed * 0x1000, bytes: pattern(4096, seed) }));
      const lying = blocks.map((block, i) => (i === 1 ? { ...block, trailer } : block));
      const image = openBytes(writeAvml(lying));
      expect(image.warnings.join()).toMatch(/the size behind the block at file offset/);
      for (const { start, bytes } of blocks) expect(readInto(image.io, start, 4096).sync()).toEqual(bytes);
    }
  });

  it("a header that is damaged takes its block away, and those around it are there", () => {
    const blocks = [1, 3, 5].map((seed) => ({ start: seed * 0x1000, bytes: pattern(4096, seed) }));
    const file = writeAvml(blocks);
    const second = headersOf(file)[1] as number;
    file.fill(0x33, second, second + HEADER);
    const image = openBytes(file);
    expect(image.warnings.join()).toMatch(/there is no AVML header at file offset/);
    expect(readInto(image.io, 0x1000, 4096).sync()).toEqual(pattern(4096, 1));
    expect(image.map.stateOf(0x3000)).toBe("excluded");
    expect(readInto(image.io, 0x5000, 4096).sync()).toEqual(pattern(4096, 5));
  });

  it.each([
    ["header", 0, 16],
    ["stream's identifier", HEADER, 4],
    ["size behind a stream", -8, 8],
  ])("a %s that can't be read takes no more than its block away", (_, from, length) => {
    const blocks = [1, 3, 5].map((seed) => ({ start: seed * 0x1000, bytes: pattern(4096, seed) }));
    const file = writeAvml(blocks);
    const [, second, third] = headersOf(file) as [number, number, number];
    const start = (from < 0 ? third : second) + from;
    const image = openDump(badSectors(file, [{ start, end: start + length }])).sync();
    expect(readInto(image.io, 0x1000, 4096).sync()).toEqual(pattern(4096, 1));
    expect(readInto(image.io, 0x5000, 4096).sync()).toEqual(pattern(4096, 5));
    const { good, bytes } = readPartial(image.io, 0x3000, 4096).sync();
    for (const range of good) {
      expectBytes(bytes.subarray(range.start, range.end), pattern(4096, 3).subarray(range.start, range.end));
    }
    if (from < 0) expect(good).toEqual([{ start: 0, end: 4096 }]);
    else expect(good).toEqual([]);
  });

  it("garbage behind the last block is a warning", () => {
    const file = new Uint8Array([...writeAvml([{ start: 0, bytes: pattern(4096, 1) }]), ...pattern(500, 3)]);
    const image = openBytes(file);
    expect(image.warnings.join()).toMatch(/there is no AVML header at file offset/);
    expect(readInto(image.io, 0, 4096).sync()).toEqual(pattern(4096, 1));
  });

  it.each([
    ["", 0],
    [" and filled with zeros", 40 * MIB],
  ])(
    "of a dump that was cut%s, the blocks before are found without going through their chunks",
    (_, zeros) => {
      const blocks = Array.from({ length: 40 }, (_, i) => ({
        start: i * 0x10_0000,
        bytes: pattern(0x2_0000, 2 * i + 1),
      }));
      const whole = writeAvml(blocks);
      const left = whole.subarray(0, whole.length - 0x8000);
      const cut = new Uint8Array(left.length + zeros);
      cut.set(left);
      const inner = testFile(cut);
      let reads = 0;
      const counted: DumpFile = {
        ...inner,
        sendIo: (offset, view) => {
          reads++;
          inner.sendIo(offset, view);
        },
      };
      const image = openDump(counted).sync();
      // Each block has three headers of chunks, besides its own.
      expect(reads).toBeLessThan(40 + 30);
      expect(image.warnings.join()).toMatch(
        zeros === 0
          ? /the file ends at .*, inside the block .*: physical memory 0x27/
          : /there is no AVML header at file offset/,
      );
      for (const { start, bytes } of blocks.slice(0, 39)) {
        expectBytes(readInto(image.io, start, bytes.length).sync(), bytes);
      }
      // Its second chunk was cut; with zeros in place of its end it has another sum.
      const last = readPartial(image.io, 39 * 0x10_0000, 0x2_0000).sync();
      expect(last.holes).toMatchObject([
        { start: 0x1_0000, end: 0x2_0000, state: zeros === 0 ? "excluded" : "malformed" },
      ]);
      expectBytes(last.bytes.subarray(0, 0x1_0000), pattern(0x2_0000, 79).subarray(0, 0x1_0000));
    },
  );

  it("a dump in the memory of a dump that was cut is not taken for a part of it", () => {
    const other = writeAvml([
      { start: 0x9000, bytes: pattern(500, 1) },
      { start: 0xa000, bytes: pattern(500, 3) },
    ]);
    const bytes = pattern(8192, 5);
    bytes.set(other, 1000);
    const file = writeAvml([
      { start: 0, bytes: pattern(4096, 1) },
      { start: 0x10_000, bytes },
    ]).subarray(0, -20);
    const image = openBytes(file);
    expect(image.map.stateOf(0x9000)).toBe("excluded");
    expect(image.map.reasonOf(0x9000)).toBe("or outside");
    expect(readInto(image.io, 0, 4096).sync()).toEqual(pattern(4096, 1));
    expect(image.map.reasonOf(0x10_000)).toBe("truncated");
  });
});

/** Where the blocks of an AVML file begin: each has its magic, as nothing else in these files has. */
function headersOf(file: Uint8Array): number[] {
  const found: number[] = [];
  for (let at = 0; at + 8 <= file.length; at++) {
    if (String.fromCharCode(...file.subarray(at, at + 8)) === "AVML\x02\0\0\0") found.push(at);
  }
  return found;
}
