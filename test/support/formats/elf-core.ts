import fc from "fast-check";
import { pattern } from "../bytes.js";
import { ImageModel } from "../dump.js";
import type { DumpSample, FormatCase } from "../format-suite.js";
import { type ElfOptions, type ElfSegment, prstatus, qemuState, writeElf } from "../write-elf.js";
import { text } from "./text.js";

const notes = [
  prstatus(1, 100),
  qemuState(100, 0x1000),
  { name: "VMCOREINFO", type: 0, description: text("OSRELEASE=6.1\nPAGESIZE=4096\n") },
];
const small = writeElf(
  [
    { physical: 0x1000, bytes: pattern(300, 1) },
    { physical: 0x3000, bytes: pattern(200, 2), memorySize: 400 },
    { physical: 0x0, bytes: pattern(64, 3) },
  ],
  { notes, likeQemu: true },
);

/** Random memory in overlapping segments. @param fixed Options of all of the files. */
export function elfSamples(fixed: ElfOptions = {}): fc.Arbitrary<DumpSample> {
  return fc
    .record({
      segments: fc.array(
        fc.record({
          start: fc.nat(5000),
          length: fc.nat(900),
          more: fc.oneof(fc.constant(0), fc.nat(700)),
          seed: fc.nat(),
        }),
        { minLength: 1, maxLength: 8 },
      ),
      likeQemu: fc.boolean(),
      extended: fc.boolean(),
      headersLast: fc.boolean(),
    })
    .filter(({ segments }) => segments.some(({ length, more }) => length + more > 0))
    .map(({ segments, ...options }): DumpSample => {
      const written: ElfSegment[] = segments.map(({ start, length, more, seed }) => ({
        physical: start,
        bytes: pattern(length, seed),
        memorySize: length + more,
      }));
      const model = new ImageModel(
        Math.max(
          ...segments.map(({ start, length, more }) => (length + more > 0 ? start + length + more : 0)),
        ),
      );
      // First what is only in memory, then the bytes, last segment first: so the first one wins.
      for (const { start, length, more } of segments)
        model.mark(start + length, start + length + more, "excluded");
      for (const { physical, bytes } of [...written].reverse()) model.present(Number(physical), bytes);
      return { file: writeElf(written, { ...options, ...fixed }), model };
    });
}

const ram = pattern(3 * 4096, 7);
const base = 16 * 4096;

/** Memory without a hole, for the suite of packets. */
export function elfPackets(options: ElfOptions = {}): FormatCase["packets"] {
  return {
    file: writeElf(
      [
        { physical: base, bytes: ram.subarray(0, 5000), virtual: 0 },
        { physical: base + 5000, bytes: ram.subarray(5000), memorySize: ram.length - 5000 + 100 },
      ],
      options,
    ),
    base,
    ram,
    missing: { bytes: 50, state: "excluded" },
  };
}

export const elfCore: FormatCase = {
  name: "an ELF core",
  small: { file: small },
  size: 0x4000,
  fields: [{ start: 0, end: 2400 }],
  cut: /the file ends|missing/,
  samples: elfSamples(),
  packets: elfPackets(),
};
