/** Memory in pieces of other sources: by the suite of all sources, and against a plain copy. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type RemappedPiece, Remapping } from "../../connectors/remapped-source.js";
import { all, readInto, readPartial, type Source, SourceIo, write } from "../../src/io/index.js";
import { memorySource } from "../suite/memory-source.js";
import { sourceSuite } from "../suite/source/index.js";
import { pattern } from "../support/bytes.js";

const GAP = { start: 9000, end: 9400 };

function sourceOf(pieces: readonly RemappedPiece[], sources: readonly Source[], writable = true): Source {
  const remapping = new Remapping(pieces, sources);
  return {
    name: "remapped",
    supports: { write: writable, live: true },
    ranges: () => remapping.ranges,
    transferSync: (batch) => remapping.transfer(batch),
  };
}

sourceSuite("memory in five pieces of two sources", () => {
  const low = pattern(8000, 3);
  const high = pattern(8000, 5);
  const base = 0x1_0000_0f00;
  // Pieces out of order, of which two follow each other in both.
  const pieces = [
    { start: 0, end: 3000, source: 1, at: 70_000 },
    { start: 3000, end: 5000, source: 0, at: 900 },
    { start: 5000, end: 6000, source: 0, at: 2900 },
    { start: 6000, end: 9000, source: 1, at: 74_000 },
    { start: 9400, end: 12_000, source: 0, at: 4500 },
  ].map(({ start, end, ...rest }) => ({ start: base + start, end: base + end, ...rest }));
  const sources = [
    memorySource(low, { base: 500, live: true }),
    memorySource(high, { base: 70_000, live: true }),
  ];
  const truth = () => {
    const bytes = new Uint8Array(12_000);
    for (const { start, end, source, at } of pieces) {
      const from = at - (source === 0 ? 500 : 70_000);
      bytes.set((source === 0 ? low : high).subarray(from, from + end - start), start - base);
    }
    return bytes;
  };
  return {
    source: sourceOf(pieces, sources),
    base,
    truth,
    bad: [{ ...GAP, state: "outside" }],
    writable: true,
  };
});

describe("memory in pieces", () => {
  it("fails what its sources fail, and nothing else", () => {
    const broken = fc.array(fc.tuple(fc.nat(4000), fc.integer({ min: 1, max: 300 })), { maxLength: 5 });
    const rows = fc.array(fc.tuple(fc.nat(4500), fc.integer({ min: 1, max: 600 })), {
      minLength: 1,
      maxLength: 20,
    });
    const cuts = fc.uniqueArray(fc.integer({ min: 1, max: 3999 }), { maxLength: 6 });
    fc.assert(
      fc.property(broken, rows, cuts, fc.boolean(), (bad, wanted, at, wholeRows) => {
        const bytes = pattern(4000, 7);
        const holes = bad.map(([start, length]) => ({ start, end: start + length }));
        const under = memorySource(bytes, { live: true, broken: holes, wholeRows });
        // The pieces in another order than they lie below.
        const bounds = [0, ...at.sort((a, b) => a - b), 4000];
        const pieces = bounds.slice(1).map((end, i) => {
          const start = bounds[i] as number;
          return { start: 10_000 - end, end: 10_000 - start, source: 0, at: start };
        });
        const io = new SourceIo(sourceOf(pieces, [under]));
        for (const [offset, length] of wanted) {
          const { bytes: got, good } = readPartial(io, 5500 + offset, length).sync();
          const isGood = (i: number) => good.some(({ start, end }) => start <= i && i < end);
          for (let i = 0; i < length; i++) {
            const address = 5500 + offset + i;
            const piece = pieces.find(({ start, end }) => start <= address && address < end);
            const there = piece === undefined ? -1 : piece.at + address - piece.start;
            const isBroken = holes.some((hole) => hole.start <= there && there < hole.end);
            const isRight = isGood(i)
              ? there >= 0 && !isBroken && got[i] === bytes[there]
              : there < 0 || isBroken || wholeRows;
            // (`expect` for each of a million bytes takes ten times as long as all else.)
            if (!isRight)
              expect.fail(`${address} is ${isGood(i) ? got[i] : "no byte"}, and was ${there} below`);
          }
        }
      }),
      { numRuns: 60 },
    );
  });

  it("asks each source once for a batch", async () => {
    let batches = 0;
    const under = memorySource(pattern(0x10_0000, 1), { live: true, onBatch: () => void batches++ });
    const pieces = Array.from({ length: 128 }, (_, i) => ({
      start: i * 8192,
      end: i * 8192 + 4096,
      source: 0,
      at: (127 - i) * 4096,
    }));
    const io = new SourceIo(sourceOf(pieces, [under]));
    await all(pieces.map(({ start }) => readInto(io, start + 10, new Uint8Array(50))));
    expect(batches).toBe(1);
  });

  it("writes to where it reads from", async () => {
    const bytes = pattern(100, 1);
    const io = new SourceIo(
      sourceOf(
        [
          { start: 0, end: 10, source: 0, at: 50 },
          { start: 10, end: 20, source: 0, at: 0 },
        ],
        [memorySource(bytes, { live: true })],
      ),
    );
    await write(io, 8, Uint8Array.of(1, 2, 3, 4));
    expect([...bytes.subarray(58, 60), ...bytes.subarray(0, 2)]).toEqual([1, 2, 3, 4]);
  });

  it.each([
    [
      "overlap",
      [
        { start: 0, end: 10, source: 0, at: 0 },
        { start: 9, end: 12, source: 0, at: 50 },
      ],
    ],
    ["are empty", [{ start: 5, end: 5, source: 0, at: 0 }]],
    ["end beyond 2^53", [{ start: 0, end: 10, source: 0, at: 2 ** 53 - 5 }]],
  ])("refuses pieces that %s", (_what, pieces) => {
    expect(() => new Remapping(pieces, [memorySource(new Uint8Array(10))])).toThrow(RangeError);
  });
});
