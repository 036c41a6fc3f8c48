import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decompressLzo1x } from "../../src/codecs/lzo1x.js";
import { anyBlock, BLOCK_KINDS, makeBlock } from "./blocks.js";
import { CodecLibrary } from "./libraries.js";

const library = new CodecLibrary("lzo");
if (library.missing !== undefined) console.log(`skipped: ${library.missing}`);

describe.skipIf(library.missing !== undefined)("LZO1X beside liblzo2", () => {
  it.each([1, 999])("decompresses what level %i compressed, for blocks of 1 byte to 64 KiB", (level) => {
    const blocks = fc.sample(anyBlock, { seed: 4, numRuns: 1500 });
    for (const kind of BLOCK_KINDS) {
      for (const length of [1, 2, 3, 4, 5, 512, 4096, 65_536]) blocks.push(makeBlock(kind, length, length));
    }
    const compressed = library.compress(blocks, level);
    expect(compressed).toHaveLength(blocks.length);
    for (const [i, block] of blocks.entries()) {
      expect(Buffer.compare(decompressLzo1x(compressed[i] as Uint8Array, block.length), block)).toBe(0);
    }
  });
});
