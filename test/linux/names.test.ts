import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { editDistance, isGlob, matchesGlob } from "../../src/linux/names.js";

describe("glob patterns", () => {
  it.each([
    ["init_task", "init_task", true],
    ["init_*", "init_task", true],
    ["*task", "init_task", true],
    ["*_*_*", "init_task", false],
    ["i??t_task", "init_task", true],
    ["[a-i]nit*", "init_task", true],
    ["[!a-i]nit*", "init_task", false],
    ["[^x]nit*", "init_task", true],
    ["init\\*", "init_task", false],
    ["init\\*", "init*", true],
    ["[", "[", true],
    ["[]]", "]", true],
    ["[a-]", "-", true],
    ["", "", true],
    ["*", "", true],
    ["?", "", false],
  ])("%s and %s: %s", (pattern, name, expected) => {
    expect(matchesGlob(pattern, name)).toBe(expected);
  });

  it("a pattern of many stars takes no exponential time", () => {
    expect(matchesGlob(`${"*a".repeat(200)}b`, "a".repeat(1000))).toBe(false);
  });

  it("agrees with a regular expression", () => {
    const letters = fc
      .array(fc.constantFrom("a", "b", "*", "?"), { maxLength: 8 })
      .map((list) => list.join(""));
    fc.assert(
      fc.property(letters, fc.stringMatching(/^[ab]{0,8}$/), (pattern, name) => {
        const regular = new RegExp(`^${pattern.replace(/\*/g, ".*").replace(/\?/g, ".")}$`);
        expect(matchesGlob(pattern, name)).toBe(regular.test(name));
      }),
    );
  });

  it("tells a pattern from a name", () => {
    expect(isGlob("init_*")).toBe(true);
    expect(isGlob("__x64_sys_read.cold")).toBe(false);
  });
});

/** The textbook's table, whole. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      next.push(Math.min((row[j - 1] ?? 0) + same, (next[j - 1] ?? 0) + 1, (row[j] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}

describe("edit distance", () => {
  it("equals the textbook's, up to the limit", () => {
    const word = fc.stringMatching(/^[abc]{0,9}$/);
    fc.assert(
      fc.property(word, word, fc.integer({ min: 1, max: 5 }), (a, b, limit) => {
        expect(editDistance(a, b, limit)).toBe(Math.min(distance(a, b), limit + 1));
      }),
      { numRuns: 2000 },
    );
  });

  it("does not count case", () => {
    expect(editDistance("Init_Task", "init_task", 3)).toBe(0);
  });
});
