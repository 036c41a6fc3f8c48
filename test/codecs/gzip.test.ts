/** gzip against zlib's own: every kind of block, and what is left of damaged streams. */
import { constants, gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { gunzip } from "../../src/codecs/gzip.js";
import { same } from "./blocks.js";

const MOST = 1 << 20;

/** Text of words, then numbers without a pattern, then a long run: what needs each kind of code. */
function sample(length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let seed = 12_345;
  for (let i = 0; i < length; i++) {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
    if (i < length / 3) bytes[i] = "CONFIG_IS_NOT_SET=y\n# ".charCodeAt((i + (seed >>> 30)) % 22);
    else if (i < (2 * length) / 3) bytes[i] = seed >>> 24;
  }
  return bytes;
}

const WHOLE = sample(90_000);

describe("gunzip", () => {
  it.each([
    ["stored blocks", { level: 0 }],
    ["fixed codes", { strategy: constants.Z_FIXED }],
    ["codes of its own", { level: 9 }],
    ["literals only", { strategy: constants.Z_HUFFMAN_ONLY }],
    ["runs", { strategy: constants.Z_RLE }],
    ["many small blocks", { memLevel: 1, windowBits: 9 }],
  ])("gives what zlib compressed with %s", (_, options) => {
    for (const length of [0, 1, 100, 90_000]) {
      const bytes = WHOLE.slice(0, length);
      const found = gunzip(gzipSync(bytes, options), MOST);
      expect([found.problem, same(found.bytes, bytes)]).toEqual([undefined, true]);
    }
  });

  it("passes by all that a header may hold, and looks at nothing behind the end", () => {
    const plain = gzipSync(WHOLE.slice(0, 500));
    const header = [0x1f, 0x8b, 8, 2 + 4 + 8 + 16, 0, 0, 0, 0, 0, 3];
    const more = [3, 0, 1, 2, 3, ..."name\0", ..."comment\0", 0, 0].map((each) =>
      typeof each === "number" ? each : each.charCodeAt(0),
    );
    const long = Uint8Array.of(...header, ...more, ...plain.subarray(10), 1, 2, 3);
    expect(gunzip(long, MOST)).toEqual({ bytes: WHOLE.slice(0, 500), problem: undefined });
  });

  it("gives the text up to where a stream is cut, wherever that is", () => {
    const whole = gzipSync(WHOLE.slice(0, 3000));
    let longest = 0;
    for (let length = 0; length < whole.length; length++) {
      const { bytes, problem } = gunzip(whole.subarray(0, length), MOST);
      expect(problem).toMatch(/^it (ends|has no header)/);
      expect(same(bytes, WHOLE.slice(0, bytes.length))).toBe(true);
      longest = Math.max(longest, bytes.length);
    }
    expect(longest).toBe(3000);
  });

  it("says that a sum or a length is wrong, and gives the text", () => {
    const whole = gzipSync(WHOLE);
    const sum = Uint8Array.from(whole);
    sum[whole.length - 8] = (sum[whole.length - 8] as number) ^ 1;
    const length = Uint8Array.from(whole);
    length[whole.length - 1] = 0x7f;
    for (const [input, expected] of [
      [sum, "its sum"],
      [length, "its text has 213"],
    ] as const) {
      const { bytes, problem } = gunzip(input, MOST);
      expect(problem).toContain(expected);
      expect(same(bytes, WHOLE)).toBe(true);
    }
  });

  it("stops at the most that is asked for, and takes no more memory than a stream could fill", () => {
    const bomb = gzipSync(new Uint8Array(1 << 24));
    const { bytes, problem } = gunzip(bomb, 5000);
    expect(problem).toContain("more than is believed");
    expect(bytes).toEqual(new Uint8Array(5000));
    expect(gunzip(gzipSync(new Uint8Array(1 << 20)), MOST).bytes).toHaveLength(1 << 20);
    expect(gunzip(gzipSync(Uint8Array.of(1)), 2 ** 40).bytes).toEqual(Uint8Array.of(1));
  });

  it("survives any damage", () => {
    const whole = gzipSync(WHOLE.slice(0, 2000), { level: 9 });
    for (let i = 10; i < whole.length; i++) {
      for (const bit of [1, 8, 128]) {
        const copy = Uint8Array.from(whole);
        copy[i] = (copy[i] as number) ^ bit;
        const { bytes, problem } = gunzip(copy, 4000);
        expect(bytes.length).toBeLessThanOrEqual(4000);
        // (The sum finds whatever the codes don't. The last byte has bits that nothing uses.)
        if (problem === undefined) expect(same(bytes, WHOLE.slice(0, 2000))).toBe(true);
      }
    }
  });
});
