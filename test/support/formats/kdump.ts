import fc from "fast-check";
import { pattern } from "../bytes.js";
import { ImageModel } from "../dump.js";
import type { DumpSample, FormatCase } from "../format-suite.js";
import { elfNotes, prstatus, qemuState } from "../write-elf.js";
import { type KdumpOptions, type KdumpPage, writeKdump } from "../write-kdump.js";
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

/** A machine whose compiler laid a file out. */
export type Machine = Pick<KdumpOptions, "abi" | "bigEndian" | "machine" | "physBase">;

const X86_64: Machine = { abi: "lp64", machine: "x86_64" };

/** What a page is in random dumps. */
export const pageKinds = fc.constantFrom("zlib", "raw", "zero", "left-out", "none");

/** Pages of random dumps. @param base Physical address of page 0. @returns them, and the memory that they are. */
export function pagesOfKinds(
  kinds: readonly string[],
  blockSize: number,
  seed: number,
  base = 0,
): { pages: KdumpPage[]; leftOut: number[]; model: ImageModel } {
  const model = new ImageModel(base + blockSize * kinds.length);
  const pages: KdumpPage[] = [];
  const leftOut: number[] = [];
  for (const [pfn, kind] of kinds.entries()) {
    const start = base + pfn * blockSize;
    if (kind === "left-out") {
      leftOut.push(pfn);
      model.mark(start, start + blockSize, "excluded");
    } else if (kind !== "none") {
      const bytes = kind === "zero" ? new Uint8Array(blockSize) : pattern(blockSize, seed + pfn);
      pages.push({ pfn, bytes, stored: kind as "zlib" | "raw" | "zero" });
      model.present(start, bytes);
    }
  }
  // With equal bitmaps and a filter on, nobody can tell what is missing.
  if (leftOut.length === 0) {
    for (const [pfn, kind] of kinds.entries()) {
      const start = base + pfn * blockSize;
      if (kind === "none") model.mark(start, start + blockSize, "excluded");
    }
  }
  return { pages, leftOut, model };
}

/** Random dumps of these machines. */
export function kdumpSamplesOf(machines: readonly Machine[]): fc.Arbitrary<DumpSample> {
  return fc
    .record({
      machine: fc.constantFrom(...machines),
      blockSize: fc.constantFrom(512, 1024, 4096),
      kinds: fc.array(pageKinds, { minLength: 1, maxLength: 60 }),
      seed: fc.nat(),
      version: fc.constantFrom(1, 2, 3, 4, 5, 6, 7),
      dumpLevel: fc.constantFrom(1, 8, 31),
    })
    .map(({ machine, blockSize, kinds, seed, version, dumpLevel }): DumpSample => {
      // makedumpfile counts an arm's pages from its lowest RAM on.
      const base = machine.machine?.startsWith("arm") === true ? (machine.physBase ?? 0) : 0;
      const { pages, leftOut, model } = pagesOfKinds(kinds, blockSize, seed, base);
      const options = { blockSize, version, dumpLevel, leftOut, maxPages: kinds.length };
      return { file: writeKdump(pages, { ...options, ...machine }), model };
    });
}

export const kdumpSamples = kdumpSamplesOf([X86_64]);

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
