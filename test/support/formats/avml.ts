import fc from "fast-check";
import { pattern } from "../bytes.js";
import { ImageModel } from "../dump.js";
import type { DumpSample, FormatCase } from "../format-suite.js";
import { type AvmlBlock, writeAvml } from "../write-avml.js";

const blocks = [
  { start: 0x1000, bytes: pattern(3000, 2) },
  { start: 0x3000, bytes: pattern(201, 1) },
  { start: 0x200, bytes: pattern(501, 4) },
  { start: 0x2000, bytes: pattern(700, 6) },
];
const file = writeAvml(blocks, { chunk: 300, padding: true });

const samples = fc
  .record({
    drawn: fc.array(
      fc.record({
        start: fc.nat(5000),
        length: fc.integer({ min: 1, max: 900 }),
        seed: fc.nat(),
        headerOnly: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
      }),
      { minLength: 1, maxLength: 8 },
    ),
    chunk: fc.constantFrom(1, 100, 512, 65_536),
    padding: fc.boolean(),
  })
  .map(({ drawn, ...options }): DumpSample => {
    const model = new ImageModel(Math.max(...drawn.map(({ start, length }) => start + length)));
    const written = drawn.map(({ start, length, seed, headerOnly }, i): AvmlBlock => {
      // With only a header, the last one would look like one that was cut.
      const zero = headerOnly && i < drawn.length - 1;
      return { start, bytes: zero ? new Uint8Array(length) : pattern(length, seed), headerOnly: zero };
    });
    // Who writes headers of zero blocks leaves none out.
    if (!written.some(({ headerOnly }) => headerOnly)) model.mark(0, model.size, "excluded");
    for (const { start, bytes } of [...written].reverse()) model.present(Number(start), bytes);
    return { file: writeAvml(written, options), model };
  });

const ram = pattern(3 * 4096, 8);
const base = 16 * 4096;

export const avml: FormatCase = {
  name: "an AVML file",
  small: { file },
  size: 0x4000,
  fields: [{ start: 0, end: file.length }],
  cut: /the file ends/,
  samples,
  packets: {
    file: writeAvml(
      [
        { start: base + 5000, bytes: ram.subarray(5000) },
        { start: base, bytes: ram.subarray(0, 5000) },
      ],
      { chunk: 2048 },
    ),
    base,
    ram,
    missing: { bytes: 50, state: "outside" },
  },
};
