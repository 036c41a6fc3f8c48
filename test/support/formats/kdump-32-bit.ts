import { pattern } from "../bytes.js";
import type { FormatCase } from "../format-suite.js";
import { writeKdump } from "../write-kdump.js";
import { kdumpSamplesOf, type Machine } from "./kdump.js";

const BASE = 3 * 4096;
const machines: readonly Machine[] = [
  { abi: "i386", machine: "i686" },
  { abi: "arm", machine: "armv7l", physBase: BASE },
  { abi: "arm", machine: "ppc", bigEndian: true },
  { abi: "i386-time64", machine: "i686" },
  { abi: "arm-time64", machine: "armv7l", physBase: BASE },
];

const options = { blockSize: 512, abi: "arm", machine: "armv7l", physBase: BASE } as const;
const small = writeKdump(
  [0, 1, 4].map((pfn) => ({ pfn, bytes: pattern(512, pfn), stored: pfn === 1 ? "raw" : "zlib" })),
  { ...options, maxPages: 6, leftOut: [2] },
);
const ram = pattern(3 * 512, 7);

export const kdump32Bit: FormatCase = {
  name: "a kdump file of a 32-bit machine",
  small: { file: small },
  size: BASE + 0x1000,
  // From the machine's name on; the sub-header; bitmaps and descriptors.
  fields: [
    { start: 272, end: 280 },
    { start: 404, end: 460 },
    { start: 512, end: 612 },
    { start: 1024, end: 1028 },
    { start: 1536, end: 1540 },
    { start: 2048, end: 2096 },
  ],
  samples: kdumpSamplesOf(machines),
  packets: {
    file: writeKdump(
      [0, 1, 2].map((pfn) => ({ pfn, bytes: ram.subarray(pfn * 512, (pfn + 1) * 512) })),
      { ...options, maxPages: 64, leftOut: [3] },
    ),
    base: BASE,
    ram,
    missing: { bytes: 50, state: "excluded" },
  },
};
