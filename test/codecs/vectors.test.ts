import { writeFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { nodeDecoders } from "../../connectors/node-decoders.js";
import type { CodecName } from "../../src/formats/index.js";
import { makeBlock, same } from "./blocks.js";
import { CodecLibrary, type Library } from "./libraries.js";
import { VECTORS, type Vector, vectorsOf } from "./vectors.js";

const BLOCKS = [
  ["zeros", 4096, 1],
  ["text", 512, 2],
  ["copies", 700, 3],
  ["pointers", 512, 4],
  ["random", 300, 5],
  ["far", 12_000, 6],
  ["far", 40_000, 7],
  ["far", 65_536, 8],
  ["sparse", 16_384, 9],
] as const;

const LEVELS: Readonly<Record<Library, readonly number[]>> = {
  lzo: [1, 999],
  snappy: [1],
  zstd: [1, 19],
  zlib: [1],
};

if (process.env.MEMTOOL_MAKE_VECTORS === "1") {
  const vectors = (Object.keys(LEVELS) as Library[]).flatMap((library) =>
    LEVELS[library].flatMap((level): Vector[] => {
      const blocks = BLOCKS.map(([kind, length, seed]) => makeBlock(kind, length, seed));
      return new CodecLibrary(library).compress(blocks, level).map((compressed, i) => {
        const [kind, length, seed] = BLOCKS[i] as (typeof BLOCKS)[number];
        return { library, level, kind, length, seed, base64: Buffer.from(compressed).toString("base64") };
      });
    }),
  );
  writeFileSync(VECTORS, `${JSON.stringify(vectors, null, 2)}\n`);
}

const CODECS: Readonly<Record<Library, CodecName>> = {
  lzo: "lzo",
  snappy: "snappy",
  zstd: "zstd",
  zlib: "inflate",
};

describe.each(Object.keys(CODECS) as Library[])("what the C library of %s compressed", (library) => {
  const vectors = vectorsOf(library);
  const decode = nodeDecoders[CODECS[library]];

  it("is there", () => expect(vectors).toHaveLength(BLOCKS.length * LEVELS[library].length));

  it.each(vectors)("decompresses: $name", ({ compressed, block }) => {
    expect(same(decode?.(compressed, block.length), block)).toBe(true);
  });

  it.each(vectors)("is refused for any other length: $name", ({ compressed, block }) => {
    for (const length of [0, block.length - 1, block.length + 1]) {
      let output: Uint8Array | undefined;
      try {
        output = decode?.(compressed, length);
      } catch {
        continue;
      }
      // (zlib leaves it to the caller to see that there is too little.)
      expect(output).toHaveLength(block.length);
      expect(length).toBe(block.length + 1);
    }
  });

  it.each(vectors)("is refused when it is cut anywhere: $name", ({ compressed, block }) => {
    for (let end = 0; end < compressed.length; end++) {
      expect(() => decode?.(compressed.subarray(0, end), block.length)).toThrow();
    }
  });

  const c = new CodecLibrary(library);
  if (c.missing !== undefined) console.log(`skipped: ${c.missing}`);
  it.skipIf(c.missing !== undefined)("is what that library decompresses", () => {
    for (const { compressed, block } of vectors) {
      expect(same(c.decompress([compressed], [block.length])[0], block)).toBe(true);
    }
  });
});
