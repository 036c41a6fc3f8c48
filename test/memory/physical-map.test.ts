import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  PhysicalMap,
  PhysicalMapBuilder,
  type PhysicalRange,
  type RangeState,
} from "../../src/memory/index.js";

const SPACE = 64;
const range = fc.record({
  start: fc.nat(SPACE - 1),
  length: fc.nat(20),
  state: fc.constantFrom<RangeState>("present", "excluded", "outside"),
  reason: fc.constantFrom("unknown" as const, "zero" as const, "free" as const),
  zero: fc.constantFrom(undefined, true as const),
});

/** The state of every byte, one by one: the first range that holds it wins. */
function model(ranges: readonly PhysicalRange[]): string[] {
  return Array.from({ length: SPACE + 32 }, (_, at) => {
    const hit = ranges.find((r) => r.start <= at && at < r.end);
    if (hit === undefined || hit.state === "outside") return "outside";
    return hit.state === "present" ? "present" : `excluded ${hit.reason}`;
  });
}

function check(map: PhysicalMap, expected: readonly string[]): void {
  const actual = expected.map((_, at) => {
    const state = map.stateOf(at);
    expect(map.reasonOf(at) !== undefined).toBe(state === "excluded");
    return state === "excluded" ? `excluded ${map.reasonOf(at)}` : state;
  });
  expect(actual).toEqual(expected);
  expect(map.bytesPresent).toBe(expected.filter((s) => s === "present").length);
  expect(map.bytesExcluded).toBe(expected.filter((s) => s.startsWith("excluded")).length);
  expect(map.end).toBe(expected.findLastIndex((s) => s !== "outside") + 1);
  for (let start = 0; start < expected.length; start++) {
    const next = expected.findIndex((state, i) => i >= start && state !== "outside");
    expect(map.nextInside(start)).toBe(next < 0 ? undefined : next);
  }
  // Ascending, disjoint, merged; with the gaps, without a break.
  let last: PhysicalRange | undefined;
  let at = 0;
  for (const r of map.ranges({ gaps: true })) {
    expect(r.start).toBe(at);
    expect(r.end).toBeGreaterThan(r.start);
    expect(`${r.state} ${r.reason} ${r.zero}`).not.toBe(`${last?.state} ${last?.reason} ${last?.zero}`);
    last = r;
    at = r.end;
  }
  expect([...map.ranges()]).toEqual([...map.ranges({ gaps: true })].filter((r) => r.state !== "outside"));
  expect([...map]).toHaveLength(map.length);
  for (let start = 0; start < SPACE; start += 7) {
    for (const length of [1, 5, 13]) {
      const all = expected.slice(start, start + length).every((s) => s === "present");
      expect(map.isPresent(start, start + length)).toBe(all);
    }
  }
}

describe("PhysicalMap", () => {
  it("of any ranges agrees with a model byte by byte; the first range wins", () => {
    fc.assert(
      fc.property(fc.array(range, { maxLength: 12 }), (list) => {
        const ranges = list.map(({ start, length, state, reason }) => ({
          start,
          end: start + length,
          state,
          reason,
        }));
        check(PhysicalMap.from(ranges), model(ranges));
      }),
      { numRuns: 500 },
    );
  });

  it("of ascending pushes agrees with the model", () => {
    fc.assert(
      fc.property(fc.array(range, { maxLength: 12 }), (list) => {
        const builder = new PhysicalMapBuilder();
        const ranges: PhysicalRange[] = [];
        let at = 0;
        for (const { length, state, reason, start } of list) {
          const from = Math.min(at + (start % 3), SPACE);
          const end = Math.min(from + (length % 6), SPACE);
          builder.push(from, end, state, reason);
          ranges.push({ start: from, end, state, reason });
          at = end;
        }
        check(builder.build(), model(ranges));
      }),
    );
  });

  it("merges as it goes, so that a million pages of one state are one range", () => {
    const builder = new PhysicalMapBuilder();
    for (let page = 0; page < 1e6; page++) builder.push(page * 4096, (page + 1) * 4096);
    expect(builder.length).toBe(1);
    expect(builder.build().bytesPresent).toBe(4096e6);
  });

  it("holds a million ranges, ascending or shuffled", () => {
    const count = 1e6;
    const ascending = new PhysicalMapBuilder();
    const shuffled = new PhysicalMapBuilder();
    for (let i = 0; i < count; i++) {
      ascending.push(i * 8192, i * 8192 + 4096);
      // 7919 is prime to the count, so that this meets every range once.
      const j = (i * 7919) % count;
      shuffled.push(j * 8192, j * 8192 + 4096);
    }
    const map = ascending.build();
    expect(map.length).toBe(count);
    expect(map.stateOf(8192 * 123456)).toBe("present");
    expect(map.stateOf(8192 * 123456 + 4096)).toBe("outside");
    const other = shuffled.build();
    expect(other.length).toBe(count);
    expect(other.starts.every((start, i) => start === map.starts[i] && other.ends[i] === map.ends[i])).toBe(
      true,
    );
  });

  it("refuses bounds that are no physical addresses", () => {
    for (const [start, end] of [
      [-1, 5],
      [0.5, 5],
      [0, 2 ** 53],
      [Number.NaN, 4],
      [0, Number.POSITIVE_INFINITY],
    ]) {
      expect(() => new PhysicalMapBuilder().push(start as number, end as number)).toThrow(RangeError);
    }
  });

  it("of nothing is all outside", () => {
    check(PhysicalMap.none, model([]));
    check(PhysicalMap.single(5, 5), model([]));
    expect(() => PhysicalMap.none.range(0)).toThrow(RangeError);
  });
});

it("counts bytes that are marked as zero among those present", () => {
  const map = PhysicalMap.from([
    { start: 0, end: 5, state: "present" },
    { start: 5, end: 7, state: "present", zero: true },
    { start: 7, end: 20, state: "excluded" },
  ]);
  expect([map.bytesPresent, map.bytesZero, map.bytesExcluded]).toEqual([7, 2, 13]);
});
