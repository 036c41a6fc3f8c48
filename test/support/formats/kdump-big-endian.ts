import { pattern } from "../bytes.js";
import type { FormatCase } from "../format-suite.js";
import { writeKdump } from "../write-kdump.js";
import { kdumpSamplesOf } from "./kdump.js";

const options = { blockSize: 512, bigEndian: true, machine: "s390x" } as const;
const small = writeKdump(
  [0, 1, 4].map((pfn) => ({ pfn, bytes: pattern(512, pfn), stored: pfn === 1 ? "raw" : "zlib" })),
  { ...options, maxPages: 6, leftOut: [2] },
);
const ram = pattern(3 * 512, 7);

export const kdumpBigEndian: FormatCase = {
  name: "a big-endian kdump file",
  small: { file: small },
  size: 0x1000,
  fields: [
    { start: 8, end: 12 },
    { start: 408, end: 464 },
    { start: 512, end: 616 },
    { start: 1024, end: 1028 },
    { start: 1536, end: 1540 },
    { start: 2048, end: 2096 },
  ],
  bigEndian: true,
  samples: kdumpSamplesOf([
    { bigEndian: true, machine: "s390x" },
    { bigEndian: true, machine: "ppc64" },
  ]),
  packets: {
    file: writeKdump(
      [0, 1, 2].map((pfn) => ({ pfn, bytes: ram.subarray(pfn * 512, (pfn + 1) * 512) })),
      { ...options, maxPages: 64, leftOut: [3] },
    ),
    base: 0,
    ram,
    missing: { bytes: 50, state: "excluded" },
  },
};
