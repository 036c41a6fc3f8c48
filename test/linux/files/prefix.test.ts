/** Paths of directories, found once for all that lies below. */
import { describe, expect, it } from "vitest";
import { Climb, type Prefixes } from "../../../src/linux/files/prefix.js";

/** Goes up from a dentry by number to the root, 0, as far as that is not known. */
function climb(known: Prefixes, from: bigint, name = (dentry: bigint) => `d${dentry}`) {
  const way = new Climb(known);
  for (let at = from; at > 0n; at--) {
    if (way.isKnown(1n, at)) return { steps: way.steps, path: way.end()?.path, isTooLong: way.isTooLong };
    way.add(1n, at, name(at));
  }
  return { steps: way.steps, path: way.end("top")?.path, isTooLong: way.isTooLong };
}

describe("the way up to a path's beginning", () => {
  it("is gone once: what is known ends it", () => {
    const known: Prefixes = new Map();
    expect(climb(known, 3n)).toEqual({ steps: 3, path: "/d1/d2/d3", isTooLong: false });
    expect(climb(known, 3n)).toEqual({ steps: 0, path: "/d1/d2/d3", isTooLong: false });
    expect(climb(known, 4n)).toEqual({ steps: 1, path: "/d1/d2/d3/d4", isTooLong: false });
    expect(climb(known, 2n)).toEqual({ steps: 0, path: "/d1/d2", isTooLong: false });
  });

  it("goes through the root of a mount without a name", () => {
    const path = climb(new Map(), 3n, (dentry) => (dentry === 2n ? "" : `d${dentry}`)).path;
    expect(path).toBe("/d1/d3");
  });

  it("gives no path that is longer than any", () => {
    const known: Prefixes = new Map();
    const name = () => "x".repeat(255);
    expect(climb(known, 255n, name).path?.length).toBe(255 * 256);
    expect(climb(known, 300n, name)).toMatchObject({ path: undefined, isTooLong: true });
    // Told once.
    expect(climb(known, 300n, name)).toMatchObject({ path: undefined, isTooLong: false });
  });

  it("knows of what lies where no path begins that it has none", () => {
    const known: Prefixes = new Map();
    const way = new Climb(known);
    way.add(1n, 2n, "lost");
    expect(way.end(undefined)).toBeUndefined();
    expect(climb(known, 3n)).toEqual({ steps: 1, path: undefined, isTooLong: false });
  });
});
