import fc from "fast-check";
import { expect, it } from "vitest";
import { PageBitmapBuilder } from "../../src/formats/bitmap.hot.js";
import { KdumpMap } from "../../src/formats/kdump-map.js";
import { PhysicalMap, type PhysicalRange } from "../../src/memory/index.js";

const BLOCK = 4096;

function bitmap(pages: readonly boolean[]) {
  const builder = new PageBitmapBuilder(pages.length);
  for (const [pfn, set] of pages.entries()) if (set) builder.set(pfn);
  return builder.build();
}

const page = fc.record({ stored: fc.boolean(), ram: fc.boolean(), lost: fc.boolean(), same: fc.nat(6) });

it("a kdump's map is that of the list of its pages, in every answer", () => {
  fc.assert(
    fc.property(
      fc.array(page, { maxLength: 40 }),
      fc.boolean(),
      fc.boolean(),
      fc.nat(60),
      fc.constantFrom("zero" as const, "unknown" as const, "or outside" as const),
      (list, hasRam, hasLost, cut, reason) => {
        const pages = list.flatMap((each) => new Array<typeof each>(each.same + 1).fill(each));
        const truncatedFrom = cut < pages.length ? cut : Number.POSITIVE_INFINITY;
        const stored = bitmap(pages.map((each) => each.stored));
        const isLost = (pfn: number) => hasLost && pages[pfn]?.lost === true && pfn < truncatedFrom;
        const lost = bitmap(pages.map((each, pfn) => each.stored && isLost(pfn)));
        const map = new KdumpMap(
          {
            blockSize: BLOCK,
            descriptorsAt: 0,
            stored,
            ram: hasRam ? bitmap(pages.map((each) => each.ram || each.stored)) : undefined,
            truncatedFrom,
            reason,
            codec: () => undefined,
            many: undefined,
          },
          hasLost ? lost : undefined,
        );
        const ranges: PhysicalRange[] = [];
        for (const [pfn, each] of pages.entries()) {
          const bounds = { start: pfn * BLOCK, end: (pfn + 1) * BLOCK };
          if (each.stored && pfn < truncatedFrom && !isLost(pfn))
            ranges.push({ ...bounds, state: "present" });
          else if (each.stored) ranges.push({ ...bounds, state: "excluded", reason: "unknown" });
          else if (!hasRam || each.ram) ranges.push({ ...bounds, state: "excluded", reason });
        }
        const model = PhysicalMap.from(ranges);
        expect([...map]).toEqual([...model]);
        expect([...map.ranges({ gaps: true })]).toEqual([...model.ranges({ gaps: true })]);
        expect([map.length, map.end, map.bytesPresent, map.bytesExcluded]).toEqual([
          model.length,
          model.end,
          model.bytesPresent,
          model.bytesExcluded,
        ]);
        for (let i = 0; i < model.length; i += 5) expect(map.range(i)).toEqual(model.range(i));
        expect(() => map.range(model.length)).toThrow(RangeError);
        for (let pfn = -1; pfn < pages.length + 2; pfn++) {
          for (const at of [pfn * BLOCK, pfn * BLOCK + 17, (pfn + 1) * BLOCK - 1]) {
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
