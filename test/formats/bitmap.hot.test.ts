import fc from "fast-check";
import { expect, it } from "vitest";
import { type PageBitmap, PageBitmapBuilder } from "../../src/formats/bitmap.hot.js";
import { PageStore } from "../../src/formats/kdump/page-store.hot.js";
import { Intervals, layIntervals } from "../../src/formats/pieces.js";

/** Runs of bits rather than noise, so that whole words and whole chunks of a bitmap are set and clear too. */
const runs = fc
  .array(
    fc.tuple(
      fc.boolean(),
      fc.oneof(
        { weight: 6, arbitrary: fc.integer({ min: 1, max: 200 }) },
        { weight: 1, arbitrary: fc.integer({ min: 20_000, max: 70_000 }) },
      ),
      // Every so many bits, the other one.
      fc.constantFrom(0, 0, 2, 3, 50, 3000),
    ),
    { maxLength: 25 },
  )
  .map((list) =>
    list.flatMap(([bit, n, every]) =>
      Array.from({ length: n }, (_, i) => (every !== 0 && i % every === every - 1 ? !bit : bit)),
    ),
  );

function bytesOf(all: readonly boolean[], rest: number): Uint8Array {
  const bytes = new Uint8Array(Math.ceil(all.length / 8) + 3).fill(rest);
  for (const [i, bit] of all.entries()) {
    if (!bit) bytes[i >> 3] = (bytes[i >> 3] as number) & ~(1 << (i & 7));
    else bytes[i >> 3] = (bytes[i >> 3] as number) | (1 << (i & 7));
  }
  return bytes;
}

it("bits, ranks, runs and selects are those of a plain array, however it was read", () => {
  const pieces = fc.array(fc.oneof(fc.nat(300), fc.nat(9000)), { maxLength: 8 });
  const bound = fc.oneof(fc.nat(3000), fc.nat(200_000));
  fc.assert(
    fc.property(runs, bound, bound, pieces, (all, from, to, sizes) => {
      const builder = new PageBitmapBuilder(all.length, [{ start: from, end: to }]);
      const bytes = bytesOf(all, 0xff);
      let pushed = 0;
      for (const size of [...sizes, bytes.length]) {
        builder.push(bytes.subarray(pushed, pushed + size));
        pushed += size;
      }
      const bitmap = builder.build();
      const marked = new PageBitmapBuilder(all.length);
      const model = all.map((bit, i) => bit && i >= from && i < to);
      for (const [i, bit] of model.entries()) if (bit) marked.set(i);
      const again = marked.build();
      expect(again.equals(bitmap) && bitmap.equals(again)).toBe(true);
      expect(bitmap.count).toBe(model.filter(Boolean).length);
      let rank = 0;
      let runEnd = 0;
      for (const [i, bit] of model.entries()) {
        if (bitmap.has(i) !== bit || bitmap.rank(i) !== rank) expect.unreachable(`bit or rank ${i}`);
        if (bit) {
          if (bitmap.select(rank) !== i) expect.unreachable(`select ${rank}`);
          rank++;
        }
        if (i === runEnd) while (runEnd < model.length && model[runEnd] === bit) runEnd++;
        if (bitmap.runEnd(i) !== runEnd) expect.unreachable(`run from ${i}`);
        if (bitmap.runEnd(i, i + 77) !== Math.min(runEnd, i + 77))
          expect.unreachable(`limited run from ${i}`);
      }
      expect(bitmap.has(model.length)).toBe(false);
    }),
    { numRuns: 60 },
  );
});

it("bits of one bitmap that another lacks are counted, and only equal ones are equal", () => {
  fc.assert(
    fc.property(runs, runs, (one, other) => {
      const length = Math.max(one.length, other.length);
      const [a, b] = [one, other].map((bits) => {
        const builder = new PageBitmapBuilder(length);
        builder.push(bytesOf(bits, 0).subarray(0, Math.ceil(bits.length / 8)));
        return builder.build();
      }) as [PageBitmap, PageBitmap];
      const at = (bits: readonly boolean[], i: number) => bits[i] === true;
      let without = 0;
      let same = true;
      for (let i = 0; i < length; i++) {
        if (at(one, i) && !at(other, i)) without++;
        same &&= at(one, i) === at(other, i);
      }
      expect(a.countWithout(b)).toBe(without);
      expect(a.equals(b)).toBe(same);
    }),
    { numRuns: 100 },
  );
});

it("a bitmap of 2^33 pages takes memory for those that are marked", () => {
  const length = 2 ** 33;
  const builder = new PageBitmapBuilder(length);
  for (const page of [5, 2 ** 32 + 1, length - 1]) builder.set(page);
  const before = process.memoryUsage().arrayBuffers;
  const bitmap = builder.build();
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(2 ** 23);
  expect([bitmap.count, bitmap.rank(length - 1), bitmap.select(1)]).toEqual([3, 2, 2 ** 32 + 1]);
  expect(bitmap.runEnd(6)).toBe(2 ** 32 + 1);
});

it("a page store gives what was put last for a key, and never holds more than it may", () => {
  fc.assert(
    fc.property(fc.nat(6), fc.array(fc.nat(20), { maxLength: 60 }), (slots, keys) => {
      const store = new PageStore(8, slots * 8 + 7);
      for (const key of keys) {
        const at = store.find(key);
        if (at >= 0) expect([...store.memory.subarray(at, at + 8)]).toEqual(new Array(8).fill(key));
        store.put(key, new Uint8Array(8).fill(key));
        if (slots > 0) expect(store.find(key)).toBeGreaterThanOrEqual(0);
      }
      expect(store.count).toBeLessThanOrEqual(slots);
    }),
  );
});

it("a page store keeps what is used over what is not", () => {
  const store = new PageStore(1, 4);
  for (const key of [1, 2, 3, 4]) store.put(key, Uint8Array.of(key));
  for (const key of [1, 3]) store.find(key);
  for (const key of [5, 6]) store.put(key, Uint8Array.of(key));
  expect([1, 2, 3, 4, 5, 6].filter((key) => store.find(key) >= 0)).toEqual([1, 3, 5, 6]);
});

it("laid intervals give each address to the first, or the last, that covers it", () => {
  const interval = fc.tuple(fc.nat(60), fc.nat(20), fc.nat(1000), fc.boolean());
  fc.assert(
    fc.property(fc.array(interval, { maxLength: 25 }), fc.constantFrom("first", "last"), (list, wins) => {
      const all = new Intervals();
      const model = new Array<number>(100).fill(Number.NaN);
      const paint = (start: number, length: number, target: number) => {
        for (let i = 0; i < length; i++) model[start + i] = target < 0 ? target : target + i;
      };
      for (const [start, length, target, missing] of list) {
        all.push(start, start + length, missing && wins === "first" ? -1 : target);
      }
      if (wins === "last") for (const [start, length, target] of list) paint(start, length, target);
      else {
        for (const [start, length, , missing] of list) if (missing) paint(start, length, -1);
        for (const [start, length, target, missing] of [...list].reverse()) {
          if (!missing) paint(start, length, target);
        }
      }
      const laid = layIntervals(all, wins);
      const out = new Array<number>(100).fill(Number.NaN);
      for (let k = 0; k < laid.length; k++) {
        if (k > 0) expect(laid.starts[k]).toBeGreaterThanOrEqual(laid.ends[k - 1] as number);
        const target = laid.targets[k] as number;
        for (let at = laid.starts[k] as number; at < (laid.ends[k] as number); at++) {
          out[at] = target < 0 ? target : target + at - (laid.starts[k] as number);
        }
      }
      expect(out).toEqual(model);
    }),
    { numRuns: 500 },
  );
});
