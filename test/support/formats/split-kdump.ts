import fc from "fast-check";
import { pattern } from "../bytes.js";
import { flatten } from "../flatten.js";
import type { DumpSample, FormatCase } from "../format-suite.js";
import { type KdumpOptions, type KdumpPage, writeKdump } from "../write-kdump.js";
import { pageKinds, pagesOfKinds } from "./kdump.js";

/** Writes a dump as files that end at these page numbers and at the last page. */
export function splitKdump(
  pages: readonly KdumpPage[],
  ends: readonly number[],
  options: KdumpOptions,
): Uint8Array[] {
  const bounds = [0, ...ends, options.maxPages];
  return bounds
    .slice(1)
    .map((end, i) => writeKdump(pages, { ...options, part: { start: bounds[i] as number, end } }));
}

const BLOCK = 512;
const [a, b, c] = splitKdump(
  [0, 1, 3, 4, 5, 9].map((pfn) => ({
    pfn,
    bytes: pattern(BLOCK, pfn),
    stored: pfn === 4 ? ("raw" as const) : ("zlib" as const),
  })),
  [3, 6],
  { blockSize: BLOCK, maxPages: 11, leftOut: [2, 7] },
) as [Uint8Array, Uint8Array, Uint8Array];

const samples = fc
  .record({
    blockSize: fc.constantFrom(512, 4096),
    kinds: fc.array(pageKinds, { minLength: 1, maxLength: 60 }),
    ends: fc.array(fc.nat(60), { minLength: 1, maxLength: 4 }),
    /** In which order files are given, which of them are not, and which are flattened. */
    order: fc.array(fc.nat(), { minLength: 5, maxLength: 5 }),
    missing: fc.array(fc.boolean(), { minLength: 5, maxLength: 5 }),
    flat: fc.array(fc.boolean(), { minLength: 5, maxLength: 5 }),
    seed: fc.nat(),
    version: fc.constantFrom(2, 5, 6),
    dumpLevel: fc.constantFrom(1, 8, 31),
    bigEndian: fc.boolean(),
  })
  .map(({ blockSize, kinds, seed, order, missing, flat, ...rest }): DumpSample => {
    const { pages, leftOut, model } = pagesOfKinds(kinds, blockSize, seed);
    const { version, dumpLevel, bigEndian } = rest;
    const maxPages = kinds.length;
    const ends = rest.ends.map((end) => end % (maxPages + 1)).sort((x, y) => x - y);
    const options = { blockSize, version, dumpLevel, bigEndian, leftOut, maxPages };
    const files = splitKdump(pages, ends, options).map((bytes, i) => ({
      i,
      bytes: flat[i] === true ? flatten(bytes, { seed, blockSize: 5000 }) : bytes,
      from: [0, ...ends][i] as number,
      to: [...ends, maxPages][i] as number,
    }));
    const given = files.filter(({ i }) => i === 0 || missing[i] !== true);
    for (const file of files) {
      if (given.includes(file)) continue;
      for (let pfn = file.from; pfn < file.to; pfn++) {
        const start = pfn * blockSize;
        if (model.states[start] === "present") model.mark(start, start + blockSize, "excluded");
      }
    }
    given.sort((x, y) => (order[x.i] as number) - (order[y.i] as number));
    const [first, ...parts] = given.map(({ bytes }) => bytes) as [Uint8Array, ...Uint8Array[]];
    return { file: first, parts, model };
  });

const ram = pattern(3 * BLOCK, 7);
const [first, second] = splitKdump(
  [0, 1, 2].map((pfn) => ({ pfn, bytes: ram.subarray(pfn * BLOCK, (pfn + 1) * BLOCK) })),
  [2],
  { blockSize: BLOCK, maxPages: 64, leftOut: [3] },
) as [Uint8Array, Uint8Array];

export const splitKdumpCase: FormatCase = {
  name: "a split kdump dump",
  small: { file: a, parts: [c, b] },
  size: 0x2000,
  // One of the other files is damaged.
  victim: b,
  damaged: (bytes) => ({ file: a, parts: [c, bytes] }),
  fields: [
    { start: 8, end: 12 },
    { start: 408, end: 464 },
    { start: 512, end: 616 },
    { start: 1024, end: 1028 },
    { start: 1536, end: 1540 },
    { start: 2048, end: 2120 },
  ],
  samples,
  packets: {
    file: second,
    parts: [first],
    base: 0,
    ram,
    missing: { bytes: 50, state: "excluded" },
  },
};
