import { spawnSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { nodeDecoders } from "../../connectors/node-decoders.js";
import { nodeEncoders } from "../../connectors/node-encoders.js";
import { zstd } from "../../connectors/zstd.js";
import { parseZstdFrame } from "../../src/codecs/zstd-frame.js";
import { BLOCK_KINDS, makeBlock, manyBlocks, same } from "./blocks.js";
import { damagedSamples, tried } from "./damaged.js";
import { CodecLibrary } from "./libraries.js";

const library = new CodecLibrary("zstd");
if (library.missing !== undefined) console.log(`skipped: ${library.missing}`);

const decompress = (input: Uint8Array, length: number) => zstd().decompress(input, length);
const compress = (block: Uint8Array) => zstd().compress(block, 1);
const page = makeBlock("text", 4096, 1);

describe.skipIf(library.missing !== undefined)("zstd beside libzstd", () => {
  it.each([1, 3, 19])("decompresses what level %i compressed, for blocks of 1 byte to 64 KiB", (level) => {
    const blocks = manyBlocks(level === 19 ? 100 : 600);
    for (const [i, frame] of library.compress(blocks, level).entries()) {
      const block = blocks[i] as Uint8Array;
      expect(same(decompress(frame, block.length), block)).toBe(true);
    }
  });

  it("compresses so that the library decompresses it", () => {
    for (const length of [512, 4096, 65_536]) {
      const blocks = BLOCK_KINDS.map((kind) => makeBlock(kind, length, 7));
      const lengths = blocks.map(({ length }) => length);
      const found = library.decompress(blocks.map(compress), lengths);
      for (const [i, block] of blocks.entries()) expect(same(found[i], block)).toBe(true);
    }
  });

  it("takes no damaged frame that the library refuses, and gives the same bytes for the others", () => {
    const samples = damagedSamples((blocks) => library.compress(blocks), 3000).filter(
      ({ block, wanted }) => wanted === block.length,
    );
    let refused = 0;
    // Libraries of several versions differ in what damage they see; a page is one frame, and they take several.
    let stricter = 0;
    const theirs = library.decompress(
      samples.map(({ damaged }) => damaged),
      samples.map(({ wanted }) => wanted),
    );
    for (const [i, { damaged, wanted }] of samples.entries()) {
      const ours = tried(decompress, damaged, wanted);
      if (ours !== undefined) expect(same(ours, theirs[i])).toBe(true);
      else if (theirs[i]?.length !== 0) stricter++;
      else refused++;
    }
    expect(refused).toBeGreaterThan(samples.length / 2);
    expect(stricter).toBeLessThan(samples.length / 50);
  });
});

describe("zstd", () => {
  it("gives back what it compressed", () => {
    for (const block of manyBlocks(300)) {
      expect(same(decompress(compress(block), block.length), block)).toBe(true);
    }
  });

  it("writes frames that say how long their content is", () => {
    for (const length of [1, 255, 256, 4096, 65_536]) {
      expect(parseZstdFrame(compress(makeBlock("text", length, 1)))).toMatchObject({
        contentSize: length,
        dictionary: 0,
      });
    }
  });

  it("refuses damaged frames, and gives no other length than the one it must", () => {
    let refused = 0;
    const samples = damagedSamples((blocks) => blocks.map(compress), 4000);
    for (const { damaged, wanted } of samples)
      if (tried(decompress, damaged, wanted) === undefined) refused++;
    expect(refused).toBeGreaterThan(samples.length / 2);
    // And is as well afterwards as before.
    expect(same(decompress(compress(page), page.length), page)).toBe(true);
  });

  it("gives a page whose memory is its own, and stays as it is", () => {
    const other = makeBlock("random", 4096, 2);
    const first = decompress(compress(page), 4096);
    const frame = compress(page);
    decompress(compress(other), 4096);
    expect(same(first, page)).toBe(true);
    expect(same(decompress(frame, 4096), page)).toBe(true);
  });

  it("has no memory for what a frame claims, nor for blocks that no dump has", () => {
    const frame = compress(page);
    const claims = frame.slice();
    // Descriptor of a single segment with eight bytes of size: 2^40.
    const liar = Uint8Array.of(...claims.subarray(0, 4), 0xe0, 0, 0, 0, 0, 0, 1, 0, 0, ...claims.subarray(7));
    expect(() => decompress(liar, 4096)).toThrow(
      /says that it decompresses to 1099511627776 bytes, not to 4096/,
    );
    expect(() => decompress(liar, 2 ** 40)).toThrow(/more than 16 MiB/);
    expect(() => compress(new Uint8Array(2 ** 24 + 1))).toThrow(/more than 16 MiB/);
  });

  it("takes blocks up to 16 MiB, and pages after them", () => {
    const large = makeBlock("text", 2 ** 24, 3);
    const frame = compress(large);
    expect(same(decompress(frame, large.length), large)).toBe(true);
    const hard = makeBlock("random", 2 ** 24 - 2 ** 20, 3);
    expect(same(decompress(compress(hard), hard.length), hard)).toBe(true);
    expect(same(decompress(compress(page), 4096), page)).toBe(true);
  });

  it.each([
    ["cut in its header", (frame: Uint8Array) => frame.subarray(0, 5), "CODE_TRUNCATED"],
    ["of four bytes", (frame: Uint8Array) => frame.subarray(0, 4), "CODE_TRUNCATED"],
    ["without a byte", (frame: Uint8Array) => frame.subarray(0, 0), "CODE_TRUNCATED"],
    ["cut at its end", (frame: Uint8Array) => frame.subarray(0, -1), "CODE_TRUNCATED"],
    ["with a byte behind it", (frame: Uint8Array) => Uint8Array.of(...frame, 0), "CODE_TRUNCATED"],
    ["with another magic number", (frame: Uint8Array) => frame.with(0, 0x29), "BAD_CODE"],
    ["that is to be skipped", () => Uint8Array.of(0x5a, 0x2a, 0x4d, 0x18, 0, 0, 0, 0), "BAD_CODE"],
    ["with the reserved bit", (frame: Uint8Array) => frame.with(4, (frame[4] as number) | 8), "BAD_CODE"],
    ["for a longer page", (_: Uint8Array) => compress(new Uint8Array(8192)), "OUTPUT_TOO_LONG"],
    ["for a shorter page", (_: Uint8Array) => compress(new Uint8Array(512)), "OUTPUT_TOO_SHORT"],
  ])("a frame %s is refused by that reason", (_, change, code) => {
    expect(() => decompress(change(compress(page)), 4096)).toThrow(expect.objectContaining({ code }));
  });

  it("takes a frame that does not say how long its content is, if it has the length", () => {
    // Magic; no single segment, no size; window of 8 KiB; a last, repeated block of 4096 bytes: 0x5a (RFC 8878, 3.1.1.2).
    const block = (4096 << 3) | (1 << 1) | 1;
    const frame = Uint8Array.of(
      0x28,
      0xb5,
      0x2f,
      0xfd,
      0,
      0x18,
      block & 255,
      (block >> 8) & 255,
      block >> 16,
      0x5a,
    );
    expect(parseZstdFrame(frame)).toEqual({
      contentSize: undefined,
      windowSize: 8192,
      dictionary: 0,
      hasChecksum: false,
      headerSize: 6,
    });
    expect(same(decompress(frame, 4096), new Uint8Array(4096).fill(0x5a))).toBe(true);
    expect(() => decompress(frame, 4095)).toThrow(expect.objectContaining({ code: "OUTPUT_TOO_LONG" }));
    expect(() => decompress(frame, 4097)).toThrow(expect.objectContaining({ code: "OUTPUT_TOO_SHORT" }));
  });

  it("names the dictionary that a frame needs", () => {
    const frame = Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0x22, 0x34, 0x12, 10, 1, 0, 0);
    expect(parseZstdFrame(frame)).toMatchObject({ contentSize: 10, dictionary: 0x1234, headerSize: 8 });
    expect(() => decompress(frame, 10)).toThrow(/dictionary 4660/);
  });

  it("is what the decoders and encoders of Node have", () => {
    const frame = nodeEncoders.zstd?.(page) as Uint8Array;
    expect(frame.length).toBeLessThan(page.length / 2);
    expect(same(nodeDecoders.zstd?.(frame, 4096), page)).toBe(true);
    const stream = nodeEncoders.deflate?.(page) as Uint8Array;
    expect(stream[0]).toBe(0x78);
    expect(same(nodeDecoders.inflate?.(stream, 4096), page)).toBe(true);
  });

  it("is absent where there is no WebAssembly, and nothing else is", () => {
    const script = `import { nodeDecoders, nodeEncoders } from "./dist/index.js";
      console.log(JSON.stringify([nodeDecoders, nodeEncoders].map((codecs) =>
        Object.keys(codecs).filter((name) => codecs[name] !== undefined))));`;
    const args = ["--jitless", "--no-warnings", "--input-type=module", "-e", script];
    const { stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
    expect(stderr).not.toMatch(/Error/);
    expect(JSON.parse(stdout)).toEqual([["inflate", "lzo", "snappy"], ["deflate"]]);
  });
});
