import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compareLists, type ReadList } from "../../../src/linux/compare/difference.js";

interface Item {
  readonly key: string | undefined;
  readonly value: number | undefined;
}

const list = (items: readonly Item[], isWhole = true): ReadList<Item> => ({ items, isWhole });

function changes(before: ReadList<Item>, after: ReadList<Item>) {
  return [
    ...compareLists(before, after, {
      kind: "module",
      key: ({ key }) => key,
      what: ({ key }) => key ?? "?",
      fields: ({ value }) => ({ value }),
    }),
  ];
}

const items = fc.uniqueArray(
  fc.record({ key: fc.constantFrom("a", "b", "c", "d"), value: fc.integer({ min: 0, max: 2 }) }),
  { selector: ({ key }) => key },
);

describe("two lists", () => {
  test("have the differences that maps of them have", () => {
    fc.assert(
      fc.property(items, items, (before, after) => {
        const [one, other] = [before, after].map(
          (each) => new Map<string, number>(each.map(({ key, value }) => [key, value])),
        );
        const expected = ["a", "b", "c", "d"].flatMap((key) => {
          const [first, second] = [one?.get(key), other?.get(key)];
          if (first === second) return [];
          return [`${key} ${first === undefined ? "appeared" : second === undefined ? "gone" : "changed"}`];
        });
        const found = changes(list(before), list(after)).map(({ what, change }) => `${what} ${change}`);
        expect(found.sort()).toEqual(expected.sort());
      }),
    );
  });

  test("a field that one side can't read is no difference", () => {
    expect(changes(list([{ key: "a", value: 1 }]), list([{ key: "a", value: undefined }]))).toEqual([]);
  });

  test("an item that can't be told is not compared", () => {
    expect(changes(list([{ key: undefined, value: 1 }]), list([]))).toEqual([]);
  });

  test("what a list that could not be read whole lacks may be there all the same", () => {
    const [gone] = changes(list([{ key: "a", value: 1 }]), list([], false));
    expect(gone).toMatchObject({ change: "gone", what: "a" });
    expect(gone?.note).toMatch(/not all of that list could be read in the second/);
  });

  test("of three items with one key, two are matched and one is gone", () => {
    const same = { key: "a", value: 1 };
    const found = changes(list([same, { ...same }, { ...same }]), list([{ ...same }, { ...same }]));
    expect(found.map(({ change }) => change)).toEqual(["gone"]);
  });
});
