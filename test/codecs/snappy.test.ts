import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { runSnappy } from "../../src/codecs/snappy.hot.js";
import { decompressSnappy, parseSnappyLength } from "../../src/codecs/snappy.js";
import { damage, manyBlocks, same } from "./blocks.js";
import { damagedSamples, tried } from "./damaged.js";
import { CodecLibrary } from "./libraries.js";
import { anySnappy, shortSnappy, varint } from "./write-snappy.js";

const library = new CodecLibrary("snappy");
if (library.missing !== undefined) console.log(`skipped: ${library.missing}`);

describe.skipIf(library.missing !== undefined)("snappy beside libsnappy", () => {
  it("decompresses what the library compressed, for blocks of 1 byte to 64 KiB", () => {
    const blocks = manyBlocks(1500);
    const compressed = library.compress(blocks);
    expect(compressed).toHaveLength(blocks.length);
    for (const [i, block] of blocks.entries()) {
      expect(same(decompressSnappy(compressed[i] as Uint8Array, block.length), block)).toBe(true);
    }
  });

  it("takes of damaged blocks just those that the library takes, and gives the same bytes", () => {
    const samples = damagedSamples((blocks) => library.compress(blocks), 3000);
    const theirs = library.decompress(
      samples.map(({ damaged }) => damaged),
      samples.map(({ wanted }) => wanted),
    );
    let taken = 0;
    for (const [i, { damaged, wanted }] of samples.entries()) {
      const ours = tried(decompressSnappy, damaged, wanted);
      if (ours !== undefined) taken++;
      expect(same(ours ?? new Uint8Array(0), theirs[i])).toBe(true);
    }
    expect(taken).toBeGreaterThan(samples.length / 20);
    expect(taken).toBeLessThan(samples.length / 2);
  });

  it("decompresses blocks of every element as the library does", () => {
    const written = fc.sample(anySnappy, { seed: 5, numRuns: 300 }).filter(({ block }) => block.length > 0);
    const found = library.decompress(
      written.map(({ compressed }) => compressed),
      written.map(({ block }) => block.length),
    );
    for (const [i, { block }] of written.entries()) expect(same(found[i], block)).toBe(true);
  });
});

describe("snappy", () => {
  it("decompresses blocks of every element", () => {
    fc.assert(
      fc.property(anySnappy, ({ compressed, block }) => {
        expect(same(decompressSnappy(compressed, block.length), block)).toBe(true);
      }),
      { numRuns: 300 },
    );
  });

  it("refuses damaged blocks or gives the length it must, and writes nowhere else", () => {
    const sample = fc.tuple(shortSnappy, damage, fc.integer({ min: -4, max: 4 }));
    fc.assert(
      fc.property(sample, ([{ compressed, block }, change, off]) => {
        const damaged = change(compressed);
        tried(decompressSnappy, damaged, block.length);
        const length = Math.max(0, block.length + off);
        const guarded = new Uint8Array(length + 128).fill(0xa5);
        const result = runSnappy(damaged, 1, damaged.length, guarded.subarray(64, 64 + length));
        expect(result).toBeLessThanOrEqual(length);
        expect(guarded.subarray(0, 64).every((byte) => byte === 0xa5)).toBe(true);
        expect(guarded.subarray(64 + length).every((byte) => byte === 0xa5)).toBe(true);
      }),
      { numRuns: 3000 },
    );
  });

  it("refuses random bytes, or gives the length it must", () => {
    const input = fc.tuple(fc.nat(3000), fc.uint8Array({ maxLength: 300 }));
    fc.assert(
      fc.property(input, ([length, bytes]) => {
        tried(decompressSnappy, bytes, length);
        tried(decompressSnappy, Uint8Array.from([...varint(length), ...bytes]), length);
      }),
      { numRuns: 3000 },
    );
  });

  it.each([
    ["no byte", [], 10, "CODE_TRUNCATED"],
    ["an end within the length", [0x80], 10, "CODE_TRUNCATED"],
    ["a length of 2^32", varint(2 ** 32), 10, "BAD_CODE"],
    ["a length of six bytes", [0x81, 0x80, 0x80, 0x80, 0x80, 0], 1, "BAD_CODE"],
    ["a length above the page's", [...varint(2 ** 32 - 1), 0, 1], 10, "OUTPUT_TOO_LONG"],
    ["a length below the page's", [9, 8 << 2, 1, 2, 3, 4, 5, 6, 7, 8, 9], 10, "OUTPUT_TOO_SHORT"],
    ["an end within literals", [4, 3 << 2, 1, 2, 3], 4, "CODE_TRUNCATED"],
    ["an end within the length of literals", [4, 63 << 2, 3, 0, 0], 4, "CODE_TRUNCATED"],
    ["literals of 4 GiB", [4, 63 << 2, 255, 255, 255, 255, 1, 2, 3, 4], 4, "CODE_TRUNCATED"],
    ["an end within a copy of 11 bits", [8, 3 << 2, 1, 2, 3, 4, 1], 8, "CODE_TRUNCATED"],
    ["an end within a copy of 16 bits", [8, 3 << 2, 1, 2, 3, 4, 14, 1], 8, "CODE_TRUNCATED"],
    ["an end within a copy of 32 bits", [8, 3 << 2, 1, 2, 3, 4, 15, 1, 0, 0], 8, "CODE_TRUNCATED"],
    ["a copy from nowhere", [8, 3 << 2, 1, 2, 3, 4, 1, 0], 8, "BAD_CODE"],
    ["a copy from before the start", [8, 3 << 2, 1, 2, 3, 4, 1, 5], 8, "BAD_CODE"],
    ["a copy from 4 GiB before", [8, 3 << 2, 1, 2, 3, 4, 15, 255, 255, 255, 255], 8, "BAD_CODE"],
    ["a copy first", [4, 1, 1], 4, "BAD_CODE"],
    ["literals beyond the page", [4, 4 << 2, 1, 2, 3, 4, 5], 4, "OUTPUT_TOO_LONG"],
    ["a copy beyond the page", [7, 3 << 2, 1, 2, 3, 4, 1, 4], 7, "OUTPUT_TOO_LONG"],
    ["too little", [8, 3 << 2, 1, 2, 3, 4], 8, "OUTPUT_TOO_SHORT"],
  ])("says what is wrong with %s", (_, input, length, code) => {
    expect(() => decompressSnappy(Uint8Array.from(input), length)).toThrow(expect.objectContaining({ code }));
  });

  it("parses the length of any block, at any place", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 32 - 1 }), fc.nat(9), (length, at) => {
        const bytes = varint(length);
        const input = Uint8Array.from([...new Uint8Array(at).fill(255), ...bytes, 7]);
        expect(parseSnappyLength(input, at)).toEqual({ length, start: at + bytes.length });
        expect(() => parseSnappyLength(input, at, at + bytes.length - 1)).toThrow(/within its length/);
      }),
    );
  });
});
