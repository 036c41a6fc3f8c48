import fc from "fast-check";
import { expect, it } from "vitest";
import { PageBitmapBuilder } from "../../src/formats/bitmap.hot.js";
import { type KdumpPart, KdumpParts } from "../../src/formats/kdump/kdump-layout.js";
import { KdumpMap } from "../../src/formats/kdump/kdump-map.js";
import type { ExcludedReason } from "../../src/io/index.js";
import { PhysicalMap, type PhysicalRange } from "../../src/memory/index.js";
import { testFile } from "../support/dump.js";

const BLOCK = 4096;

function bitmap(pages: readonly boolean[]) {
  const builder = new PageBitmapBuilder(pages.length);
  for (const [pfn, set] of pages.entries()) if (set) builder.set(pfn);
  return builder.build();
}

const page = fc.record({
  stored: fc.boolean(),
  elsewhere: fc.boolean(),
  ram: fc.boolean(),
  lost: fc.boolean(),
  zero: fc.boolean(),
  same: fc.nat(6),
});

it("a kdump's map is that of the list of its pages, in every answer", () => {
  fc.assert(
    fc.property(
      fc.array(page, { maxLength: 40 }),
      fc.record({ ram: fc.boolean(), lost: fc.boolean(), anywhere: fc.boolean(), zeros: fc.boolean() }),
      fc.array(fc.nat(60), { maxLength: 3 }),
      fc.nat(60),
      fc.constantFrom(0, BLOCK, 16 * BLOCK),
      fc.constantFrom("zero" as const, "unknown" as const, "or outside" as const),
      (list, has, bounds, cut, base, reason) => {
        const pages = list.flatMap((each) => new Array<typeof each>(each.same + 1).fill(each));
        const { length } = pages;
        const stored = bitmap(pages.map((each) => each.stored));
        // Files that end somewhere; one of them, and only it, was cut inside its descriptors.
        const ends = [...new Set([...bounds.map((end) => end % (length + 1)), length])].sort((a, b) => a - b);
        const parts = ends.map((end, i): KdumpPart => {
          const start = ends[i - 1] ?? 0;
          const lack = i % 2 === 0 ? ("truncated" as const) : ("incomplete" as const);
          const describedEnd = Math.min(end, Math.max(start, cut));
          const none = {
            file: testFile(new Uint8Array(1)),
            descriptorsAt: 0,
            bodiesAt: 0,
            firstRank: 0,
            described: 0,
          };
          return { ...none, start, end, describedEnd: cut >= start && cut < end ? describedEnd : end, lack };
        });
        const partOf = (pfn: number) => parts.find(({ end }) => pfn < end) as KdumpPart;
        const isLost = (pfn: number) =>
          has.lost && pages[pfn]?.lost === true && pfn < partOf(pfn).describedEnd;
        const lost = bitmap(pages.map((each, pfn) => each.stored && isLost(pfn)));
        const isPresent = (pfn: number) =>
          pages[pfn]?.stored === true && !isLost(pfn) && pfn < partOf(pfn).describedEnd;
        const isZero = (pfn: number) => has.zeros && pages[pfn]?.zero === true && isPresent(pfn);
        const isElsewhere = (pfn: number) => has.anywhere && pages[pfn]?.elsewhere === true;
        const map = new KdumpMap(
          {
            blockSize: BLOCK,
            base,
            littleEndian: true,
            parts: new KdumpParts(parts),
            stored,
            anywhere: has.anywhere
              ? bitmap(pages.map((each, pfn) => each.stored || isElsewhere(pfn)))
              : undefined,
            ram: has.ram
              ? bitmap(pages.map((each, pfn) => each.ram || each.stored || isElsewhere(pfn)))
              : undefined,
            reason,
            codec: () => undefined,
            many: undefined,
          },
          has.lost ? lost : undefined,
          has.zeros ? bitmap(pages.map((_, pfn) => isZero(pfn))) : undefined,
        );
        const ranges: PhysicalRange[] = [];
        for (const [pfn, each] of pages.entries()) {
          const bounds = { start: base + pfn * BLOCK, end: base + (pfn + 1) * BLOCK };
          const missing = (why: ExcludedReason) => ranges.push({ ...bounds, state: "excluded", reason: why });
          if (isZero(pfn)) ranges.push({ ...bounds, state: "present", zero: true });
          else if (isPresent(pfn)) ranges.push({ ...bounds, state: "present" });
          else if (each.stored) missing(partOf(pfn).lack);
          else if (isElsewhere(pfn)) missing("other file");
          else if (!has.ram || each.ram) missing(reason);
        }
        const model = PhysicalMap.from(ranges);
        expect([...map]).toEqual([...model]);
        expect([...map.ranges({ gaps: true })]).toEqual([...model.ranges({ gaps: true })]);
        const sums = (of: PhysicalMap) => [
          of.length,
          of.end,
          of.bytesPresent,
          of.bytesExcluded,
          of.bytesZero,
        ];
        expect(sums(map)).toEqual(sums(model));
        for (let i = 0; i < model.length; i += 5) expect(map.range(i)).toEqual(model.range(i));
        expect(() => map.range(model.length)).toThrow(RangeError);
        for (let pfn = -1; pfn < pages.length + 2; pfn++) {
          const first = base + pfn * BLOCK;
          for (const at of [first, first + 17, first + BLOCK - 1]) {
            expect(map.stateOf(at)).toBe(model.stateOf(at));
            expect(map.reasonOf(at)).toBe(model.reasonOf(at));
            if (at >= 0) expect(map.nextInside(at)).toBe(model.nextInside(at));
            for (const length of [0, 1, BLOCK - 17, BLOCK, 3 * BLOCK + 1]) {
              if (map.isPresent(at, at + length) !== model.isPresent(at, at + length)) {
                expect.unreachable(`isPresent ${at} ${length}`);
              }
            }
          }
        }
      },
    ),
    { numRuns: 150 },
  );
});
