import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { MemoryIo } from "../../src/io/index.js";
import { type ComparedRange, compareMemory, PhysicalMap, PhysicalMemory } from "../../src/memory/index.js";

const PAGE = 4096;
const PAGES = 12;

/** A page's content, or none: a memory of pages that are all of one byte. */
type Pages = readonly (number | undefined)[];

function memoryOf(pages: Pages): PhysicalMemory {
  const bytes = new Uint8Array(PAGES * PAGE);
  for (const [i, byte] of pages.entries()) bytes.fill(byte ?? 0xee, i * PAGE, (i + 1) * PAGE);
  const map = PhysicalMap.from(
    pages.flatMap((byte, i) =>
      byte === undefined ? [] : [{ start: i * PAGE, end: (i + 1) * PAGE, state: "present" as const }],
    ),
  );
  return new PhysicalMemory(new MemoryIo(bytes), { map });
}

/** Page by page. */
function slowly(before: Pages, after: Pages): string[] {
  return before.flatMap((one, i) => {
    const other = after[i];
    if (one === other) return [];
    return [`${i} ${one === undefined ? "after" : other === undefined ? "before" : "changed"}`];
  });
}

function perPage(ranges: readonly ComparedRange[]): string[] {
  return ranges.flatMap(({ start, end, state, pages }) => {
    expect(pages).toBe((end - start) / PAGE);
    return Array.from({ length: pages }, (_, i) => `${start / PAGE + i} ${state}`);
  });
}

const pages = fc.array(fc.option(fc.integer({ min: 0, max: 2 }), { nil: undefined }), {
  minLength: PAGES,
  maxLength: PAGES,
});

describe("two physical memories", () => {
  test("have the differences that a slow comparison of each page has, and no range twice", () => {
    fc.assert(
      fc.property(pages, pages, (before, after) => {
        let same = -1;
        const options = { onSame: (count: number) => (same = count) };
        const ranges = [...compareMemory(memoryOf(before), memoryOf(after), options).sync()];
        expect(perPage(ranges)).toEqual(slowly(before, after));
        expect(same).toBe(before.filter((each, i) => each !== undefined && each === after[i]).length);
        for (const [i, range] of ranges.entries()) {
          const next = ranges[i + 1];
          if (next !== undefined) expect(next.start > range.end || next.state !== range.state).toBe(true);
        }
      }),
      { numRuns: 60 },
    );
  });

  test.each([0, 1, 4095, 31, 32])("differ in a page where only byte %i is another one", async (at) => {
    const one = new Uint8Array(2 * PAGE);
    const other = one.slice();
    other[PAGE + at] = 1;
    const map = PhysicalMap.single(0, 2 * PAGE);
    const [before, after] = [one, other].map((bytes) => new PhysicalMemory(new MemoryIo(bytes), { map }));
    const ranges = await compareMemory(before as PhysicalMemory, after as PhysicalMemory).toArray();
    expect(ranges).toEqual([{ start: PAGE, end: 2 * PAGE, state: "changed", pages: 1 }]);
  });

  test("of an odd length are compared to their last byte", async () => {
    const one = new Uint8Array(PAGE + 3);
    const other = one.slice();
    other[PAGE + 2] = 1;
    const map = PhysicalMap.single(0, PAGE + 3);
    const [before, after] = [one, other].map((bytes) => new PhysicalMemory(new MemoryIo(bytes), { map }));
    const ranges = await compareMemory(before as PhysicalMemory, after as PhysicalMemory).toArray();
    expect(ranges).toEqual([{ start: PAGE, end: PAGE + 3, state: "changed", pages: 1 }]);
  });
});
