import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { runLzo1x } from "../../src/codecs/lzo1x.hot.js";
import { decompressLzo1x } from "../../src/codecs/lzo1x.js";
import { damage, manyBlocks, same } from "./blocks.js";
import { damagedSamples, tried } from "./damaged.js";
import { CodecLibrary } from "./libraries.js";
import { vectorsOf } from "./vectors.js";
import { anyLzo1x, shortLzo1x } from "./write-lzo1x.js";

const library = new CodecLibrary("lzo");
if (library.missing !== undefined) console.log(`skipped: ${library.missing}`);

describe.skipIf(library.missing !== undefined)("LZO1X beside liblzo2", () => {
  it.each([1, 999])("decompresses what level %i compressed, for blocks of 1 byte to 64 KiB", (level) => {
    const blocks = manyBlocks(level === 1 ? 1500 : 300);
    const compressed = library.compress(blocks, level);
    expect(compressed).toHaveLength(blocks.length);
    for (const [i, block] of blocks.entries()) {
      expect(same(decompressLzo1x(compressed[i] as Uint8Array, block.length), block)).toBe(true);
    }
  });

  it("takes no damaged block that the library refuses, and gives the same bytes for the others", () => {
    const samples = damagedSamples((blocks) => library.compress(blocks), 3000);
    const theirs = library.decompress(
      samples.map(({ damaged }) => damaged),
      samples.map(({ wanted }) => wanted),
    );
    let taken = 0;
    for (const [i, { damaged, wanted }] of samples.entries()) {
      const ours = tried(decompressLzo1x, damaged, wanted);
      if (ours !== undefined) taken++;
      // The library takes an end mark of any length, with any low bits; the kernel's and ours only the one there is.
      if (ours !== undefined || hasEnd(damaged))
        expect(same(ours ?? new Uint8Array(0), theirs[i])).toBe(true);
    }
    expect(taken).toBeGreaterThan(samples.length / 20);
    expect(taken).toBeLessThan(samples.length / 2);
  });

  it("decompresses streams of every instruction as the library does", () => {
    const written = fc
      .sample(anyLzo1x, { seed: 5, numRuns: 400 })
      // (It knows no version.)
      .filter(({ compressed, block }) => block.length > 0 && (compressed[0] as number) !== 17);
    const found = library.decompress(
      written.map(({ compressed }) => compressed),
      written.map(({ block }) => block.length),
    );
    for (const [i, { block }] of written.entries()) expect(same(found[i], block)).toBe(true);
  });
});

const hasEnd = (input: Uint8Array): boolean => same(input.subarray(-3), Uint8Array.of(17, 0, 0));

describe("LZO1X", () => {
  it("decompresses streams of every instruction", () => {
    fc.assert(
      fc.property(anyLzo1x, ({ compressed, block }) => {
        expect(same(decompressLzo1x(compressed, block.length), block)).toBe(true);
      }),
      { numRuns: 300 },
    );
  });

  it("refuses damaged streams or gives the length it must, and writes nowhere else", () => {
    const sample = fc.tuple(shortLzo1x, damage, fc.integer({ min: -4, max: 4 }));
    fc.assert(
      fc.property(sample, ([{ compressed, block }, change, off]) => {
        const damaged = change(compressed);
        tried(decompressLzo1x, damaged, block.length);
        const length = Math.max(0, block.length + off);
        const guarded = new Uint8Array(length + 128).fill(0xa5);
        const result = runLzo1x(damaged, guarded.subarray(64, 64 + length));
        expect(result).toBeLessThanOrEqual(length);
        expect(guarded.subarray(0, 64).every((byte) => byte === 0xa5)).toBe(true);
        expect(guarded.subarray(64 + length).every((byte) => byte === 0xa5)).toBe(true);
      }),
      { numRuns: 3000 },
    );
  });

  it("refuses random bytes, or gives the length it must", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(5000), (input, length) => {
        tried(decompressLzo1x, input, length);
      }),
      { numRuns: 3000 },
    );
  });

  it("refuses a block that is asked for another length", () => {
    fc.assert(
      fc.property(shortLzo1x, ({ compressed, block }) => {
        expect(() => decompressLzo1x(compressed, block.length + 1)).toThrow(/not to/);
        if (block.length > 0) {
          expect(() => decompressLzo1x(compressed, block.length - 1)).toThrow(/more than/);
        }
      }),
    );
  });

  it.each([
    ["no byte", [], 10, "CODE_TRUNCATED"],
    ["an end within the literals at the start", [17 + 10, 1, 2, 3], 10, "CODE_TRUNCATED"],
    ["an end within a run of literals", [1, 65, 66], 4, "CODE_TRUNCATED"],
    ["an end within the length of a run", [0, 0, 0], 4000, "CODE_TRUNCATED"],
    ["an end within a distance", [17 + 4, 1, 2, 3, 4, 0x20 | 5, 0], 11, "CODE_TRUNCATED"],
    ["an end within a short copy", [17 + 4, 1, 2, 3, 4, 0x40], 7, "CODE_TRUNCATED"],
    ["an end behind the data, unmarked", [17 + 4, 1, 2, 3, 4], 4, "CODE_TRUNCATED"],
    ["an end within the literals behind a copy", [17 + 4, 1, 2, 3, 4, 0x43, 0, 9], 10, "CODE_TRUNCATED"],
    ["a copy before anything was written", [0x10 | 2, 4, 0, 17, 0, 0], 4, "BAD_CODE"],
    ["a copy from before the start", [17 + 4, 1, 2, 3, 4, 0x50, 0, 17, 0, 0], 7, "BAD_CODE"],
    ["bytes behind the end", [17 + 4, 1, 2, 3, 4, 17, 0, 0, 0], 4, "BAD_CODE"],
    ["an end of another length", [17 + 4, 1, 2, 3, 4, 18, 0, 0], 4, "BAD_CODE"],
    ["literals behind the end", [17 + 4, 1, 2, 3, 4, 17, 1, 0], 4, "BAD_CODE"],
    ["a run beyond the page", [17 + 4, 1, 2, 3, 4, 17, 0, 0], 3, "OUTPUT_TOO_LONG"],
    ["a copy beyond the page", [17 + 4, 1, 2, 3, 4, 0x40, 0, 17, 0, 0], 6, "OUTPUT_TOO_LONG"],
    [
      "literals of a copy beyond the page",
      [17 + 4, 1, 2, 3, 4, 0x42, 0, 8, 9, 17, 0, 0],
      8,
      "OUTPUT_TOO_LONG",
    ],
    ["too little", [17 + 4, 1, 2, 3, 4, 17, 0, 0], 5, "OUTPUT_TOO_SHORT"],
    ["LZO-RLE", [17, 1, 17 + 4, 1, 2, 3, 4, 17, 0, 0], 4, "UNSUPPORTED_CODE"],
  ])("says what is wrong with %s", (_, input, length, code) => {
    expect(() => decompressLzo1x(Uint8Array.from(input), length)).toThrow(expect.objectContaining({ code }));
  });

  it("takes no time and memory by what lengths claim", () => {
    // A run whose length is 255 for each of a million bytes.
    const input = new Uint8Array(1_000_000);
    input[input.length - 1] = 1;
    expect(() => decompressLzo1x(input, 4096)).toThrow(expect.objectContaining({ code: "CODE_TRUNCATED" }));
  });

  it("takes the version that is written before a stream, and an empty one", () => {
    for (const { compressed, block } of vectorsOf("lzo")) {
      const versioned = Uint8Array.of(17, 0, ...compressed);
      expect(same(decompressLzo1x(versioned, block.length), block)).toBe(true);
    }
    expect(decompressLzo1x(Uint8Array.of(17, 0, 0), 0)).toHaveLength(0);
  });
});
