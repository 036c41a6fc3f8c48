import fc from "fast-check";
import { pattern } from "../bytes.js";
import { ImageModel } from "../dump.js";
import type { DumpSample, FormatCase } from "../format-suite.js";
import { context32, context64, type WindowsRun, writeWindowsDump } from "../write-windows-dump.js";

const PAGE = 4096;
const pages = (page: number, count: number, seed = page + 1): WindowsRun => ({
  page,
  bytes: pattern(count * PAGE, seed),
});

/** Runs of pages with gaps between them: gap, pages, seed. */
const runs = fc.array(fc.tuple(fc.nat(4), fc.integer({ min: 1, max: 3 }), fc.nat()), {
  minLength: 1,
  maxLength: 5,
});

function laid(list: readonly (readonly [number, number, number])[]): WindowsRun[] {
  let page = 0;
  return list.map(([gap, count, seed]) => {
    const run = pages(page + gap, count, seed);
    page += gap + count;
    return run;
  });
}

function modelOf(list: readonly WindowsRun[], size = 0): ImageModel {
  const end = Math.max(size, ...list.map(({ page, bytes }) => page * PAGE + bytes.length));
  const model = new ImageModel(end);
  for (const { page, bytes } of [...list].reverse()) model.present(page * PAGE, bytes);
  return model;
}

const base = 16 * PAGE;
const ram = pattern(3 * PAGE, 7);
const twoRuns: WindowsRun[] = [
  { page: 16, bytes: ram.subarray(0, PAGE) },
  { page: 17, bytes: ram.subarray(PAGE) },
];

function fullSamples(bits: 32 | 64): fc.Arbitrary<DumpSample> {
  return fc.record({ list: runs, reversed: fc.boolean() }).map(({ list, reversed }) => {
    const written = laid(list);
    if (reversed) written.reverse();
    return { file: writeWindowsDump(written, { bits }), model: modelOf(written) };
  });
}

/** A 64-bit complete dump. */
export const windowsFull: FormatCase = {
  name: "a 64-bit Windows dump, complete",
  small: {
    file: writeWindowsDump([pages(1, 1), pages(3, 1)], { context: context64(100), comment: "small" }),
  },
  size: 0x5000,
  fields: [
    { start: 0, end: 0xc0 },
    { start: 0xf98, end: 0xfb0 },
  ],
  cut: /the file ends|missing/,
  samples: fullSamples(64),
  packets: {
    file: writeWindowsDump(twoRuns),
    base,
    ram,
    missing: { bytes: 50, state: "outside" },
  },
};

/** A 32-bit complete dump (of a machine with PAE: the layout is the same). */
export const windowsFull32: FormatCase = {
  name: "a 32-bit Windows dump, complete",
  small: { file: writeWindowsDump([pages(1, 2), pages(4, 1)], { bits: 32, context: context32(100) }) },
  size: 0x6000,
  fields: [
    { start: 0, end: 0x80 },
    { start: 0xf88, end: 0xfa8 },
  ],
  cut: /the file ends|missing/,
  samples: fullSamples(32),
  packets: {
    file: writeWindowsDump(twoRuns, { bits: 32 }),
    base,
    ram,
    missing: { bytes: 50, state: "outside" },
  },
};

const ramOf = (list: readonly WindowsRun[], more: number) => [
  ...list.map(({ page, bytes }) => ({ page, count: bytes.length / PAGE })),
  { page: 40, count: more },
];

/** A dump with a bitmap, in both of its layouts, 32 and 64 bits; with a descriptor of RAM and without. */
export const windowsBitmap: FormatCase = {
  name: "a Windows dump with a bitmap",
  small: { file: writeWindowsDump([pages(1, 1)], { type: 5, descriptor: [{ page: 1, count: 3 }] }) },
  size: 0x5000,
  fields: [
    { start: 0x84, end: 0xb0 },
    { start: 0xf98, end: 0xfb0 },
    { start: 0x2000, end: 0x2040 },
  ],
  cut: /the file ends|missing/,
  samples: fc
    .record({
      list: runs,
      bits: fc.constantFrom<32 | 64>(32, 64),
      type: fc.constantFrom(2, 5, 6),
      earlier: fc.boolean(),
      signature: fc.constantFrom<"SDMP" | "FDMP">("SDMP", "FDMP"),
      descriptor: fc.boolean(),
      more: fc.integer({ min: 1, max: 9 }),
      bitmapPages: fc.constantFrom(32, 41, 64),
    })
    .map(({ list, descriptor, more, bitmapPages, ...options }): DumpSample => {
      const written = laid(list);
      const ranges = descriptor ? ramOf(written, more) : "unset";
      const model = modelOf([], descriptor ? (40 + more) * PAGE : bitmapPages * PAGE);
      if (descriptor) model.mark(40 * PAGE, (40 + more) * PAGE, "excluded");
      else model.mark(0, bitmapPages * PAGE, "excluded");
      for (const { page, bytes } of written) model.present(page * PAGE, bytes);
      return {
        file: writeWindowsDump(written, { ...options, bitmapPages, descriptor: ranges }),
        model,
      };
    }),
  packets: {
    file: writeWindowsDump(twoRuns, {
      type: 6,
      bitmapPages: 100,
      descriptor: [{ page: 0, count: 30 }],
    }),
    base,
    ram,
    missing: { bytes: 50, state: "excluded" },
  },
};

/** A live dump: a table of ranges. */
export const windowsRanges: FormatCase = {
  name: "a live Windows dump",
  small: { file: writeWindowsDump([pages(3, 1)], { type: 8, descriptor: "unset" }) },
  size: 0x5000,
  fields: [
    { start: 0xf98, end: 0xfb0 },
    { start: 0x2000, end: 0x2050 },
  ],
  cut: /the file ends|missing/,
  samples: fc.record({ list: runs, type: fc.constantFrom(8, 9, 10) }).map(({ list, type }): DumpSample => {
    const written = laid(list).map((run) => ({ ...run, page: run.page + 1 }));
    return { file: writeWindowsDump(written, { type, descriptor: "unset" }), model: modelOf(written) };
  }),
  packets: {
    file: writeWindowsDump(twoRuns, { type: 10 }),
    base,
    ram,
    missing: { bytes: 50, state: "outside" },
  },
};
