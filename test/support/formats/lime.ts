import fc from "fast-check";
import { pattern } from "../bytes.js";
import { ImageModel } from "../dump.js";
import type { DumpSample, FormatCase } from "../format-suite.js";
import { writeLime } from "../write-lime.js";

const ranges = [
  { start: 0x1000, bytes: pattern(300, 1) },
  { start: 0x3000, bytes: pattern(200, 2) },
  { start: 0x0, bytes: pattern(67, 3) },
  { start: 0x1080, bytes: pattern(500, 5) },
];

const samples = (bigEndian: boolean) =>
  fc
    .array(fc.record({ start: fc.nat(5000), length: fc.integer({ min: 1, max: 900 }), seed: fc.nat() }), {
      minLength: 1,
      maxLength: 8,
    })
    .map((drawn): DumpSample => {
      const model = new ImageModel(Math.max(...drawn.map(({ start, length }) => start + length)));
      const written = drawn.map(({ start, length, seed }) => ({ start, bytes: pattern(length, seed) }));
      // The first one wins.
      for (const { start, bytes } of [...written].reverse()) model.present(start, bytes);
      return { file: writeLime(written, bigEndian), model };
    });

const ram = pattern(3 * 4096, 7);
const base = 16 * 4096;

function limeCase(name: string, bigEndian: boolean): FormatCase {
  const file = writeLime(ranges, bigEndian);
  return {
    name,
    small: { file },
    size: 0x4000,
    fields: ranges.map((_, i) => {
      const start = ranges.slice(0, i).reduce((sum, { bytes }) => sum + 32 + bytes.length, 0);
      return { start: start - (start % 4), end: start + 32 };
    }),
    bigEndian,
    cut: /the file ends/,
    samples: samples(bigEndian),
    packets: {
      file: writeLime(
        [
          { start: base + 5000, bytes: ram.subarray(5000) },
          { start: base, bytes: ram.subarray(0, 5000) },
        ],
        bigEndian,
      ),
      base,
      ram,
      missing: { bytes: 50, state: "outside" },
    },
  };
}

export const lime = limeCase("a LiME file", false);
export const limeBigEndian = limeCase("a LiME file of a big-endian machine", true);
