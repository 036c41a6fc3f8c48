import fc from "fast-check";
import { expect, it } from "vitest";
import { PageBitmap } from "../../src/formats/bitmap.hot.js";
import { PageStore } from "../../src/formats/page-store.hot.js";
import { Intervals, layIntervals } from "../../src/formats/pieces.js";

it("bits, ranks, runs and selects are those of a plain array", () => {
  // Runs of bits rather than noise, so that whole words are set and clear too.
  const bits = fc
    .array(fc.tuple(fc.boolean(), fc.integer({ min: 1, max: 200 })), { maxLength: 30 })
    .map((runs) => runs.flatMap(([bit, n]) => new Array<boolean>(n).fill(bit)));
  fc.assert(
    fc.property(bits, fc.nat(300), fc.nat(3000), (all, from, to) => {
      const bytes = new Uint8Array(Math.ceil(all.length / 8) + 3).fill(0xff);
      for (const [i, bit] of all.entries()) {
        if (!bit) bytes[i >> 3] = (bytes[i >> 3] as number) & ~(1 << (i & 7));
      }
      const bitmap = new PageBitmap(bytes, all.length, from, to);
      const model = all.map((bit, i) => bit && i >= from && i < to);
      expect(bitmap.count).toBe(model.filter(Boolean).length);
      let rank = 0;
      for (const [i, bit] of model.entries()) {
        if (bitmap.has(i) !== bit || bitmap.rank(i) !== rank) expect.unreachable(`bit or rank ${i}`);
        if (bit) {
          if (bitmap.select(rank) !== i) expect.unreachable(`select ${rank}`);
          rank++;
        }
        if (i === 0 || model[i - 1] !== bit) {
          const end = model.findIndex((other, k) => k > i && other !== bit);
          expect(bitmap.runEnd(i)).toBe(end < 0 ? model.length : end);
        }
      }
      expect(bitmap.has(model.length)).toBe(false);
    }),
  );
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
