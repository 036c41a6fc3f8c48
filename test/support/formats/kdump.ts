import fc from "fast-check";
import { pattern } from "../bytes.js";
import { ImageModel } from "../dump.js";
import type { DumpSample, FormatCase } from "../format-suite.js";
import { elfNotes, prstatus, qemuState } from "../write-elf.js";
import { type KdumpPage, writeKdump } from "../write-kdump.js";
import { text } from "./text.js";

const notes = [
  prstatus(1, 100),
  qemuState(100, 0x1000),
  { name: "VMCOREINFO", type: 0, description: text("OSRELEASE=6.1\nPAGESIZE=4096\n") },
];
export const smallKdump = writeKdump(
  [0, 1, 3, 4, 9].map((pfn) => ({
    pfn,
    bytes: pattern(512, pfn),
    stored: pfn === 3 ? ("raw" as const) : "zlib",
  })),
  {
    blockSize: 512,
    maxPages: 11,
    leftOut: [2, 5],
    vmcoreinfo: text("PAGESIZE=4096\n"),
    notes: elfNotes(notes),
  },
);

export const kdumpSamples = fc
  .record({
    blockSize: fc.constantFrom(512, 1024, 4096),
    kinds: fc.array(fc.constantFrom("zlib", "raw", "left-out", "none"), { minLength: 1, maxLength: 60 }),
    seed: fc.nat(),
    version: fc.constantFrom(1, 2, 3, 4, 5, 6, 7),
    dumpLevel: fc.constantFrom(1, 8, 31),
  })
  .map(({ blockSize, kinds, seed, version, dumpLevel }): DumpSample => {
    const model = new ImageModel(blockSize * kinds.length);
    const pages: KdumpPage[] = [];
    const leftOut: number[] = [];
    for (const [pfn, kind] of kinds.entries()) {
      const start = pfn * blockSize;
      if (kind === "left-out") {
        leftOut.push(pfn);
        model.mark(start, start + blockSize, "excluded");
      } else if (kind !== "none") {
        const bytes = pattern(blockSize, seed + pfn);
        pages.push({ pfn, bytes, stored: kind as "zlib" | "raw" });
        model.present(start, bytes);
      }
    }
    // With equal bitmaps and a filter on, nobody can tell what is missing.
    if (leftOut.length === 0) {
      for (const [pfn, kind] of kinds.entries()) {
        if (kind === "none") model.mark(pfn * blockSize, (pfn + 1) * blockSize, "excluded");
      }
    }
    return {
      file: writeKdump(pages, { blockSize, version, dumpLevel, leftOut, maxPages: kinds.length }),
      model,
    };
  });

const PAGE = 4096;
const PFN = 16;
const ram = pattern(3 * PAGE, 7);
export const kdumpPackets = {
  file: writeKdump(
    [0, 1, 2].map((i) => ({
      pfn: PFN + i,
      bytes: ram.subarray(i * PAGE, (i + 1) * PAGE),
      stored: i === 1 ? ("raw" as const) : ("zlib" as const),
    })),
    { maxPages: 64, leftOut: [PFN + 3] },
  ),
  base: PFN * PAGE,
  ram,
  missing: { bytes: 50, state: "excluded" },
};

export const kdump: FormatCase = {
  name: "a kdump file",
  small: { file: smallKdump },
  size: 0x4000,
  fields: [{ start: 0, end: 2048 }],
  samples: kdumpSamples,
  packets: kdumpPackets,
};
