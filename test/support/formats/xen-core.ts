import fc from "fast-check";
import { pattern } from "../bytes.js";
import { ImageModel } from "../dump.js";
import type { DumpSample, FormatCase } from "../format-suite.js";
import { writeXenCore, type XenPage, xenVcpu32 } from "../write-xen-core.js";

const PAGE = 4096;
const small = writeXenCore(
  [
    { pfn: 2, bytes: pattern(PAGE, 1) },
    { pfn: 0, bytes: pattern(PAGE, 2) },
  ],
  { guest: "pv", vcpus: [xenVcpu32(0x100, 0x7000)] },
);
/** Headers and notes lie before the contexts, the table of frames and the names behind the pages. */
const tail = small.length - 2 * 16 - 100;

const samples = fc
  .record({
    pages: fc.array(
      fc.oneof({ weight: 5, arbitrary: fc.nat(11) }, { weight: 1, arbitrary: fc.constant(undefined) }),
      {
        minLength: 1,
        maxLength: 12,
      },
    ),
    ascending: fc.boolean(),
    seed: fc.nat(),
    guest: fc.constantFrom("pv" as const, "hvm" as const),
    tableFirst: fc.boolean(),
    extended: fc.boolean(),
    withoutNames: fc.boolean(),
    order: fc.constantFrom(1, 2),
  })
  .filter(({ pages }) => pages.some((pfn) => pfn !== undefined))
  .map(({ pages: frames, ascending, seed, ...options }): DumpSample => {
    const order = ascending ? [...frames].sort((a, b) => (a ?? 99) - (b ?? 99)) : frames;
    const pages = order.map((pfn, i): XenPage => ({ pfn, bytes: pattern(PAGE, seed + i) }));
    const model = new ImageModel(PAGE * (1 + Math.max(...frames.map((pfn) => pfn ?? 0))));
    // The first of several wins.
    for (const { pfn, bytes } of [...pages].reverse()) {
      if (pfn !== undefined) model.present(Number(pfn) * PAGE, bytes);
    }
    return { file: writeXenCore(pages, options), model };
  });

const ram = pattern(3 * PAGE, 7);
const base = 16 * PAGE;

export const xenCore: FormatCase = {
  name: "a Xen core",
  small: { file: small },
  size: 0x4000,
  fields: [
    { start: 0, end: 680 },
    { start: tail - (tail % 4), end: small.length },
  ],
  cut: /the file ends|missing/,
  samples,
  packets: {
    file: writeXenCore(
      // The last page comes first in the file.
      [2, 0, 1].map((i) => ({ pfn: 16 + i, bytes: ram.subarray(i * PAGE, (i + 1) * PAGE) })),
    ),
    base,
    ram,
    missing: { bytes: 50, state: "outside" },
  },
};
