import fc from "fast-check";
import { flatten } from "../flatten.js";
import type { DumpSample, FormatCase } from "../format-suite.js";
import { kdumpPackets, kdumpSamples, smallKdump } from "./kdump.js";

export const flattened: FormatCase = {
  name: "a flattened kdump file",
  small: { file: flatten(smallKdump, { blockSize: 600, seed: 7, rewrite: true }) },
  size: 0x4000,
  // Type, version, and the first blocks' headers; no field lies in the 4 KiB between.
  fields: [
    { start: 16, end: 32 },
    { start: 4096, end: 5600 },
  ],
  bigEndian: true,
  cut: /cut short/,
  samples: fc
    .record({ kdump: kdumpSamples, seed: fc.nat(), rewrite: fc.boolean(), sparse: fc.boolean() })
    .map(({ kdump: { file, model }, ...options }): DumpSample => {
      // A part that is written twice would show where a sparse writer left its zeros out.
      const sparse = options.sparse && !options.rewrite;
      return { file: flatten(file, { ...options, sparse }), model };
    }),
  packets: { ...kdumpPackets, file: flatten(kdumpPackets.file) },
};
