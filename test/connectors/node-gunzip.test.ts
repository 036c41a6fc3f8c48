/** What is left of gzip members that are damaged. */
import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { nodeGunzip } from "../../connectors/node-gunzip.js";

const MOST = 1 << 20;
/** 20,000 lines, of which none is like the others. */
const TEXT = Buffer.from(Array.from({ length: 20_000 }, (_, i) => `${(i * 7919) % 20_011}\n`).join(""));
const WHOLE = gzipSync(TEXT);

/** Whether it is what the text begins with. */
function isBeginning(bytes: Uint8Array): boolean {
  return Buffer.compare(bytes, TEXT.subarray(0, bytes.length)) === 0;
}

describe("nodeGunzip", () => {
  it("gives a whole member, whatever lies behind it", () => {
    for (const more of ["", "IKCFG_ED and more"]) {
      const { bytes, problem } = nodeGunzip(Buffer.concat([WHOLE, Buffer.from(more)]), MOST);
      expect([problem, bytes.length, isBeginning(bytes)]).toEqual([undefined, TEXT.length, true]);
    }
  });

  it("gives the text up to where a member is cut", () => {
    let last = 0;
    for (let length = 0; length < WHOLE.length; length += 997) {
      const { bytes, problem } = nodeGunzip(WHOLE.subarray(0, length), MOST);
      expect(problem).toContain("ends within");
      expect(isBeginning(bytes)).toBe(true);
      expect(bytes.length).toBeGreaterThanOrEqual(last);
      last = bytes.length;
    }
    expect(last).toBeGreaterThan(TEXT.length * 0.9);
  });

  it("gives what comes before a code that cannot be", () => {
    const copy = Uint8Array.from(WHOLE);
    copy.fill(0xff, WHOLE.length / 2, WHOLE.length / 2 + 200);
    const { bytes, problem } = nodeGunzip(copy, MOST);
    expect(problem).toContain("zlib says");
    expect(bytes.length).toBeGreaterThan(TEXT.length / 3);
    expect(isBeginning(bytes.subarray(0, TEXT.length / 3))).toBe(true);
  });

  it("gives all of a text whose sum or length is wrong, and says so", () => {
    for (const from of [8, 4]) {
      const copy = Uint8Array.from(WHOLE);
      copy[WHOLE.length - from] = (copy[WHOLE.length - from] as number) ^ 1;
      const { bytes, problem } = nodeGunzip(copy, MOST);
      expect([problem, bytes.length]).toEqual([expect.stringContaining("check"), TEXT.length]);
    }
  });

  it("stops at the most that is asked for", () => {
    const { bytes, problem } = nodeGunzip(gzipSync(new Uint8Array(1 << 24)), 5000);
    expect(problem).toContain("more than is believed");
    expect(bytes.length).toBeLessThanOrEqual(5000);
    expect(nodeGunzip(Buffer.from("no gzip"), MOST)).toMatchObject({
      problem: expect.stringContaining("header"),
    });
  });
});
