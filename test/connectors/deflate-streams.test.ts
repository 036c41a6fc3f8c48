/** zlib streams as Node reads them, and as they are read where code may be cut off. */
import { deflateRawSync, deflateSync, inflateRawSync } from "node:zlib";
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { allowCuts, deflateRaw, inflateRaw, inflateZlib } from "../../connectors/deflate-streams.js";

const page = fc.oneof(
  fc.uint8Array({ maxLength: 300 }),
  fc.uint8Array({ minLength: 1, maxLength: 40 }).map((part) => Buffer.alloc(4096, part)),
  fc.uint8Array({ minLength: 4096, maxLength: 4096 }),
);
const level = fc.integer({ min: 0, max: 9 });
const same = (a: Uint8Array, b: Uint8Array) => Buffer.compare(a, b) === 0;

/** What it gives, or `undefined` for an error. */
function attempt(run: () => Uint8Array): Uint8Array | undefined {
  try {
    return run();
  } catch {
    return undefined;
  }
}

describe("streams read where the code may be cut off", () => {
  beforeAll(() => allowCuts());

  it("give what was compressed", () => {
    fc.assert(
      fc.property(page, level, (bytes, level) => {
        const [zlib, raw] = [deflateSync(bytes, { level }), deflateRawSync(bytes, { level })];
        expect(same(inflateZlib(zlib, bytes.length), bytes)).toBe(true);
        expect(same(inflateRaw(raw, bytes.length + 7), bytes)).toBe(true);
        expect(same(inflateRawSync(deflateRaw(bytes)), bytes)).toBe(true);
      }),
    );
  });

  it("are refused when longer than was said", () => {
    fc.assert(
      fc.property(page, level, fc.nat(5000), (bytes, level, less) => {
        fc.pre(bytes.length > 0);
        const most = Math.max(0, bytes.length - 1 - less);
        expect(() => inflateZlib(deflateSync(bytes, { level }), most)).toThrow();
        expect(() => inflateRaw(deflateRawSync(bytes, { level }), most)).toThrow();
      }),
    );
  });

  it("damaged or cut short, are refused or give what was compressed, as the Adler-32 says", () => {
    const damage = fc.array(fc.tuple(fc.nat(), fc.nat({ max: 7 })), { minLength: 1, maxLength: 3 });
    fc.assert(
      fc.property(page, level, damage, fc.option(fc.nat(), { freq: 3 }), (bytes, level, flips, cut) => {
        const stream = deflateSync(bytes, { level });
        for (const [at, bit] of flips) {
          const place = at % stream.length;
          stream[place] = (stream[place] as number) ^ (1 << bit);
        }
        const input = stream.subarray(0, cut === null ? undefined : cut % (stream.length + 1));
        const ours = attempt(() => inflateZlib(input, 4096));
        if (ours !== undefined) expect(same(ours, bytes)).toBe(true);
      }),
      { numRuns: 500 },
    );
  });
});
