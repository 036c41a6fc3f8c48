/** What a map knows of a range, piece by piece. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PhysicalMap, type PhysicalRange } from "../../src/index.js";
import { statesWithin } from "../../src/memory/states-within.js";

/** A map that is no list of ranges, as those of dumps with bitmaps. */
class OtherMap extends PhysicalMap {
  readonly #map: PhysicalMap;
  constructor(map: PhysicalMap) {
    super();
    this.#map = map;
  }
  get bytesPresent() {
    return this.#map.bytesPresent;
  }
  get bytesExcluded() {
    return this.#map.bytesExcluded;
  }
  get length() {
    return this.#map.length;
  }
  get end() {
    return this.#map.end;
  }
  stateOf(address: number) {
    return this.#map.stateOf(address);
  }
  reasonOf(address: number) {
    return this.#map.reasonOf(address);
  }
  isPresent(start: number, end: number) {
    return this.#map.isPresent(start, end);
  }
  nextInside(address: number) {
    return this.#map.nextInside(address);
  }
  range(i: number) {
    return this.#map.range(i);
  }
  protected *each(): Generator<PhysicalRange, void, void> {
    yield* this.#map.ranges();
  }
}

describe("the states within a range", () => {
  it("are those of each page, and cover the range, in lists of ranges and in other maps", () => {
    const page = fc.integer({ min: 0, max: 40 });
    const range = fc.record({
      first: page,
      pages: fc.integer({ min: 1, max: 12 }),
      state: fc.constantFrom("present" as const, "excluded" as const, "outside" as const),
      reason: fc.constantFrom("zero" as const, "user" as const),
    });
    fc.assert(
      fc.property(fc.array(range, { maxLength: 8 }), page, page, (list, a, b) => {
        const ranges = PhysicalMap.from(
          list.map(({ first, pages, state, reason }) => ({
            start: first * 4096,
            end: (first + pages) * 4096,
            state,
            reason,
          })),
        );
        const [start, end] = [Math.min(a, b) * 4096, Math.max(a, b) * 4096];
        for (const map of [ranges, new OtherMap(ranges)]) {
          let at = start;
          statesWithin(map, start, end, (from, to, state, reason) => {
            expect(from).toBe(at);
            expect(to).toBeGreaterThan(from);
            for (; at < to; at += 4096) expect([state, reason]).toEqual([map.stateOf(at), map.reasonOf(at)]);
            return true;
          });
          expect(at).toBe(end);
        }
      }),
    );
  });

  it("are told no further once nobody wants to know", () => {
    const map = PhysicalMap.from([
      { start: 0, end: 4096, state: "present" },
      { start: 8192, end: 65536, state: "excluded" },
    ]);
    for (const one of [map, new OtherMap(map)]) {
      for (const wanted of [1, 2, 3]) {
        let calls = 0;
        statesWithin(one, 0, 65536, () => ++calls < wanted);
        expect(calls).toBe(wanted);
      }
    }
  });
});
