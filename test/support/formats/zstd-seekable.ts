import fc from "fast-check";
import type { DumpSample, FormatCase } from "../format-suite.js";
import { writeElf } from "../write-elf.js";
import { writeZstdSeekable } from "../write-zstd-seekable.js";
import { elfCore } from "./elf-core.js";

const small = writeZstdSeekable(elfCore.small.file, { frame: 900, skippable: true, checksums: true });

const { base, ram } = elfCore.packets;
/** What was read to open it is kept, and would be answered at once. */
const withoutHeadersNearby = writeElf(
  [
    { physical: base, bytes: ram.subarray(0, 5000) },
    { physical: base + 5000, bytes: ram.subarray(5000), memorySize: ram.length - 5000 + 100 },
  ],
  { headersLast: true },
);

export const zstdSeekable: FormatCase = {
  name: "a dump in seekable zstd",
  small: { file: small },
  size: elfCore.size,
  // The first frame's header, and the table.
  fields: [
    { start: 0, end: 16 },
    { start: small.length - 80, end: small.length },
  ],
  samples: fc
    .record({
      inner: elfCore.samples,
      frame: fc.constantFrom(100, 1000, 4096, 70_000),
      skippable: fc.boolean(),
      checksums: fc.boolean(),
    })
    .map(({ inner, ...options }): DumpSample => ({ ...inner, file: writeZstdSeekable(inner.file, options) })),
  packets: { ...elfCore.packets, file: writeZstdSeekable(withoutHeadersNearby, { frame: 1234 }) },
};
