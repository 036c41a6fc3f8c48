import fc from "fast-check";
import { expect, it } from "vitest";
import { type PageBitmap, PageBitmapBuilder } from "../../src/formats/bitmap.hot.js";

/** Lengths of several chunks, full, listed, bits, and around the bounds of ranks. */
const CHUNK = 32768;
const seg = fc.tuple(
  fc.constantFrom("empty", "full", "sparse", "dense", "pairs"),
  fc.oneof(fc.nat(600), fc.integer({ min: CHUNK - 40, max: CHUNK + 40 }), fc.constant(CHUNK)),
);
const bits = fc.array(seg, { minLength: 1, maxLength: 6 }).map((list) => {
  const out: number[] = [];
  let s = 12345;
  const rnd = () => {
    s = (Math.imul(s, 1103515245) + 12345) >>> 0;
    return s / 2 ** 32;
  };
  for (const [kind, n] of list)
    for (let i = 0; i < n; i++)
      out.push(
        kind === "full"
          ? 1
          : kind === "empty"
            ? 0
            : kind === "sparse"
              ? +(rnd() < 0.005)
              : kind === "dense"
                ? +(rnd() < 0.7)
                : +(i % 64 < 32),
      );
  return Uint8Array.from(out);
});
const pack = (a: Uint8Array, extra: number) => {
  const b = new Uint8Array(Math.ceil(a.length / 8) + 5).fill(extra);
  b.fill(0, 0, Math.floor(a.length / 8));
  const last = a.length >> 3;
  if (a.length % 8) b[last] = (extra << (a.length % 8)) & 255;
  for (let i = 0; i < a.length; i++)
    if (a[i]) b[i >> 3]! |= 1 << (i & 7);
    else b[i >> 3]! &= ~(1 << (i & 7));
  return b;
};

it("bitmap vs plain array, hostile tails, pieces, windows", () => {
  fc.assert(
    fc.property(
      bits,
      bits,
      fc.integer({ min: 1, max: 9000 }),
      fc.nat(100_000),
      fc.nat(200_000),
      fc.boolean(),
      (a, b0, piece, from, to, windowed) => {
        const b = new Uint8Array(a.length);
        b.set(b0.subarray(0, a.length));
        const windows = [
          { start: from, end: to },
          { start: to + 13, end: to + 13 + from },
        ].filter(({ start, end }) => start <= end && start >= from);
        const builder = new PageBitmapBuilder(a.length, windowed ? windows : undefined);
        const bytes = pack(a, 255);
        for (let i = 0; i < bytes.length; i += piece) builder.push(bytes.subarray(i, i + piece));
        const mapA = builder.build();
        const other = new PageBitmapBuilder(a.length);
        for (let i = 0; i < b.length; i++) if (b[i]) other.set(i);
        const mapB = other.build();
        const model = a.map((x, i) =>
          windowed && !windows.some(({ start, end }) => i >= start && i < end) ? 0 : x,
        );
        check(mapA, model);
        check(mapB, b);
        let w = 0;
        for (let i = 0; i < a.length; i++) w += +(model[i] === 1 && b[i] === 0);
        expect(mapA.countWithout(mapB)).toBe(w);
        expect(mapA.equals(mapB)).toBe(model.every((x, i) => x === b[i]));
        expect(mapA.equals(mapA)).toBe(true);
      },
    ),
    { numRuns: 60 },
  );
});
function check(map: PageBitmap, m: Uint8Array) {
  let rank = 0;
  const bad: string[] = [];
  const ends = new Int32Array(m.length);
  for (let i = m.length - 1; i >= 0; i--)
    ends[i] = i + 1 < m.length && m[i + 1] === m[i] ? ends[i + 1]! : i + 1;
  for (let i = 0; i < m.length; i++) {
    if (map.has(i) !== (m[i] === 1)) bad.push(`has ${i}`);
    if (i % 7 === 0 || i % 512 < 2) {
      if (map.rank(i) !== rank) bad.push(`rank ${i}`);
      if (map.runEnd(i) !== ends[i]) bad.push(`runEnd ${i} ${map.runEnd(i)} ${ends[i]}`);
      const lim = i + 1 + (i % 97);
      if (map.runEnd(i, lim) !== Math.min(ends[i]!, lim, m.length)) bad.push(`limit ${i}`);
      if (m[i] && map.select(rank) !== i) bad.push(`select ${rank}`);
    }
    rank += m[i]!;
    if (bad.length > 3) break;
  }
  if (map.count !== rank && bad.length === 0) bad.push("count");
  expect(bad).toEqual([]);
  expect(map.has(m.length)).toBe(false);
}
