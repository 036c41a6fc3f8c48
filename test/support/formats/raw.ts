import fc from "fast-check";
import { pattern } from "../bytes.js";
import { ImageModel } from "../dump.js";
import type { DumpSample, FormatCase } from "../format-suite.js";

const ram = pattern(3 * 4096, 7);

export const raw: FormatCase = {
  name: "a raw image",
  small: { file: pattern(5000, 3), format: "raw" },
  size: 0x4000,
  fields: [],
  recognisedFrom: 0,
  samples: fc.uint8Array({ minLength: 1, maxLength: 9000 }).map((bytes): DumpSample => {
    const model = new ImageModel(bytes.length);
    model.present(0, bytes);
    return { file: bytes, format: "raw", model };
  }),
  packets: { file: ram, format: "raw", base: 0, ram, missing: { bytes: 50, state: "outside" } },
};

/** Ranges in any order, none over another, whose bytes lie anywhere in the file or beyond its end. */
const samples = fc
  .record({
    bytes: fc.uint8Array({ minLength: 1, maxLength: 5000 }),
    ranges: fc.array(
      fc.record({
        gap: fc.nat(900),
        length: fc.integer({ min: 1, max: 2000 }),
        offset: fc.nat(5500),
        turn: fc.nat(),
      }),
      { minLength: 1, maxLength: 8 },
    ),
  })
  .map(({ bytes, ranges }): DumpSample => {
    const model = new ImageModel(ranges.reduce((end, { gap, length }) => end + gap + length, 0));
    let at = 0;
    const placed = ranges.map(({ gap, length, offset, turn }) => {
      const start = at + gap;
      at = start + length;
      model.mark(start, at, "excluded");
      model.present(start, bytes.slice(offset, offset + length));
      return { start, end: at, offset, turn };
    });
    const memoryMap = placed
      .sort((a, b) => a.turn - b.turn)
      .map(({ start, end, offset }) => ({ start, end, offset }));
    return { file: bytes, format: "raw", memoryMap, model };
  });

const base = 2 ** 32;

export const mappedRaw: FormatCase = {
  name: "a raw image with a memory map",
  small: {
    file: pattern(5000, 3),
    format: "raw",
    memoryMap: [
      { start: 0x3000, end: 0x3800, offset: 2952 },
      { start: 0x1000, end: 0x1b88, offset: 0 },
    ],
  },
  size: 0x4000,
  fields: [],
  recognisedFrom: 1,
  cut: /beyond the end of the file/,
  samples,
  packets: {
    file: ram,
    format: "raw",
    memoryMap: [
      { start: base + 5000, end: base + ram.length + 100, offset: 5000 },
      { start: base, end: base + 5000, offset: 0 },
    ],
    base,
    ram,
    missing: { bytes: 50, state: "excluded" },
  },
};
