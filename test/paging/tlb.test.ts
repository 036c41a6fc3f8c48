import fc from "fast-check";
import { expect, it } from "vitest";
import { Tlb } from "../../src/paging/tables/tlb.hot.js";

interface Known {
  level: number;
  rights: number;
  fault: number;
  lo: number;
  hi: number;
}

/** Few of each, so that keys meet; extremes among them. */
const roots = fc.constantFrom(0, 4096, 2 ** 32, 2 ** 44, 2 ** 52 - 4096);
const lows = fc.constantFrom(0, 1, 0xfff, 0x1000, 0x8000_0000, 0xffff_ffff, 0x1234_5678);
const highs = fc.constantFrom(0, 1, 0x7fff, 0xffff_8000, 0xffff_ffff);
const word = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
const insertion = fc.record({
  level: fc.integer({ min: 0, max: 7 }),
  rights: fc.integer({ min: 0, max: 15 }),
  fault: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 2 ** 30 })),
  lo: word,
  hi: word,
});
const step = fc.oneof(
  { weight: 10, arbitrary: fc.record({ root: roots, lo: lows, hi: highs, known: fc.option(insertion) }) },
  { weight: 1, arbitrary: fc.constant("flush" as const) },
);

it("finds what a map of root and page would, or nothing; while there is room, all of it", () => {
  fc.assert(
    fc.property(fc.constantFrom(0, 3, 4, 16, 1000), fc.array(step, { maxLength: 200 }), (capacity, steps) => {
      const tlb = new Tlb(capacity);
      expect(tlb.capacity).toBe(capacity < 4 ? 0 : capacity === 1000 ? 512 : capacity);
      const model = new Map<string, Known>();
      for (const each of steps) {
        if (each === "flush") {
          tlb.flush();
          model.clear();
          continue;
        }
        const { root, lo, hi, known } = each;
        const key = `${root}:${hi}:${lo >>> 12}`;
        if (known !== null) {
          tlb.insert(root, lo, hi, known.level, known.rights, known.fault, known.lo, known.hi);
          model.set(key, known);
        }
        const found = tlb.find(root, lo, hi);
        if (known !== null) expect(found).toBe(capacity >= 4);
        if (!found) continue;
        const { level, rights, fault } = tlb;
        expect({ level, rights, fault, lo: tlb.lo, hi: tlb.hi }).toEqual(model.get(key));
      }
    }),
    { numRuns: 500 },
  );
});

it("holds four pages of any set, and as many as it has room for when they spread", () => {
  const tlb = new Tlb(4096);
  const pages = Array.from({ length: 2048 }, (_, i) => i);
  for (const page of pages)
    tlb.insert(8192, (page % 1024) * 4096, Math.floor(page / 1024), 1, 15, 0, page, 0);
  const kept = pages.filter((page) => tlb.find(8192, (page % 1024) * 4096, Math.floor(page / 1024)));
  // Half full: sets that more than four fell into lost some.
  expect(kept.length).toBeGreaterThan(1800);
  const four = new Tlb(4);
  for (const page of pages.slice(0, 5)) four.insert(0, page * 4096, 0, 1, 15, 0, page, 0);
  expect(pages.slice(0, 5).filter((page) => four.find(0, page * 4096, 0))).toHaveLength(4);
});
