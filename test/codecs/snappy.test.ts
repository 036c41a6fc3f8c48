import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decompressSnappy } from "../../src/codecs/snappy.js";
import { anyBlock, BLOCK_KINDS, makeBlock } from "./blocks.js";
import { CodecLibrary } from "./libraries.js";

const library = new CodecLibrary("snappy");
if (library.missing !== undefined) console.log(`skipped: ${library.missing}`);

describe.skipIf(library.missing !== undefined)("snappy beside libsnappy", () => {
  it("decompresses what the library compressed, for blocks of 1 byte to 64 KiB", () => {
    const blocks = fc.sample(anyBlock, { seed: 4, numRuns: 1500 });
    for (const kind of BLOCK_KINDS) {
      for (const length of [1, 2, 3, 4, 5, 512, 4096, 65_536]) blocks.push(makeBlock(kind, length, length));
    }
    const compressed = library.compress(blocks);
    for (const [i, block] of blocks.entries()) {
      expect(Buffer.compare(decompressSnappy(compressed[i] as Uint8Array, block.length), block)).toBe(0);
    }
  });
});
