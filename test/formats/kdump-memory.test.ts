import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { nodeDecoders } from "../../connectors/node-decoders.js";
import { openDump } from "../../src/formats/index.js";
import { all, Packet, readPartial } from "../../src/io/index.js";
import { sameBytes } from "../memory/support.js";
import { openBytes, testFile } from "../support/dump.js";
import { writeKdump } from "../support/write-kdump.js";

const PAGE = 4096;
const COUNT = 400;

/** Half of it random, so that a page's compressed bytes are some 2 KiB: 400 of them make reads of 256 KiB. */
function page(seed: number): Uint8Array {
  const bytes = new Uint8Array(PAGE);
  let random = seed + 1;
  for (let i = 0; i < PAGE / 2; i++) {
    random = Math.imul(random ^ (random >>> 15), 0x2c1b3c6d) + 0x9e3779b9;
    bytes[i] = random >>> 24;
  }
  return bytes;
}

const pages = Array.from({ length: COUNT }, (_, pfn) => ({ pfn, bytes: page(pfn) }));
const file = writeKdump(pages, { blockSize: PAGE, maxPages: COUNT });
const truth = new Uint8Array(COUNT * PAGE);
for (const { pfn, bytes } of pages) truth.set(bytes, pfn * PAGE);

describe("memory for compressed pages that is used again", () => {
  it("is nobody else's while pages in it are answered, who may read others meanwhile", () => {
    const image = openBytes(file, { decoders: nodeDecoders, cacheBytes: 0 });
    const packet = Packet.reading(200 * PAGE);
    let nested = 0;
    const output = {
      onFragment: () => {
        if (nested++ % 16 !== 0) return;
        const other = 200 + ((nested * 7) % 50);
        const { bytes } = readPartial(image.io, other * PAGE, 150 * PAGE).sync();
        if (!sameBytes(bytes, truth.subarray(other * PAGE, (other + 150) * PAGE)))
          throw new Error(`page ${other}`);
      },
    };
    const view = packet.view().bind(output);
    image.io.sendIo(0, view);
    readPartial(image.io, 0, 8).sync();
    expect(packet.complete).toBe(true);
    expect(packet.outputError).toBe(undefined);
    expect(nested).toBeGreaterThan(100);
    expect(sameBytes(packet.bytes, truth.subarray(0, 200 * PAGE))).toBe(true);
  });

  it("gives the same bytes to reads of any length, beside each other and after each other", async () => {
    const image = await openDump(testFile(file, "async"), { decoders: nodeDecoders, cacheBytes: 0 });
    const reads = fc.array(fc.tuple(fc.nat(COUNT - 1), fc.integer({ min: 1, max: 300 })), {
      minLength: 1,
      maxLength: 6,
    });
    await fc.assert(
      fc.asyncProperty(fc.array(reads, { minLength: 1, maxLength: 4 }), async (turns) => {
        for (const turn of turns) {
          const ranges = turn.map(
            ([first, count]) => [first * PAGE, Math.min(COUNT, first + count) * PAGE] as const,
          );
          const found = await all(ranges.map(([start, end]) => readPartial(image.io, start, end - start)));
          for (const [i, [start, end]] of ranges.entries()) {
            const bytes = found[i]?.bytes as Uint8Array;
            if (!sameBytes(bytes, truth.subarray(start, end))) throw new Error(`bytes from ${start} on`);
          }
        }
      }),
      { numRuns: 15 },
    );
  });
});
