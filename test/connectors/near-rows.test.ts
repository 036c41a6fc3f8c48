import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { NearRows } from "../../connectors/near-rows.js";
import { Batch, ROW_UNANSWERED } from "../../src/io/batch.hot.js";
import { pattern } from "../support/bytes.js";

const SIZE = 300_000;
const content = pattern(SIZE, 5);
const MAX_JOIN = 1000;

/** Rows `[address, length]`, each into memory of its own with bytes before and behind. */
function batchOf(rows: readonly (readonly [number, number])[]): Batch {
  const batch = new Batch();
  batch.reset("read", rows.length);
  for (const [address, length] of rows) {
    const memory = new Uint8Array(length + 20).fill(0xa5);
    batch.push(address >>> 0, Math.floor(address / 2 ** 32), memory, 10, length);
  }
  return batch;
}

/** What `file` and `proc` do, but for rows that need a call of their own. */
function readAll(batch: Batch, end: number): { calls: [number, number][]; alone: number[] } {
  const calls: [number, number][] = [];
  const alone: number[] = [];
  const near = new NearRows(MAX_JOIN, (into, at, length, position) => {
    calls.push([position, length]);
    if (position >= end) throw new Error("nothing there");
    const there = Math.min(length, end - position);
    into.set(content.subarray(position, position + there), at);
    return there;
  });
  for (let row = 0; row < batch.length; ) {
    const until = near.end(batch, row);
    if (until > row + 1) near.read(batch, row, until);
    for (; row < until; row++) if (batch.status[row] !== 0) alone.push(row);
  }
  return { calls, alone };
}

const rows = fc
  .array(fc.tuple(fc.oneof(fc.nat(3000), fc.nat(SIZE - 5000)), fc.oneof(fc.nat(50), fc.nat(1500))), {
    minLength: 1,
    maxLength: 300,
  })
  .map((all) => all.map(([at, length]) => [at, length + 1] as const).sort(([a], [b]) => a - b));

it("rows are read whole, into their own places, or left for a call of their own", () => {
  fc.assert(
    fc.property(rows, fc.oneof(fc.constant(SIZE), fc.nat(SIZE)), (wanted, end) => {
      const batch = batchOf(wanted);
      const { calls, alone } = readAll(batch, end);
      for (const [row, [at, length]] of wanted.entries()) {
        const memory = batch.memory[row] as Uint8Array;
        const untouched = new Uint8Array(length).fill(0xa5);
        const isAlone = alone.includes(row);
        expect(batch.status[row]).toBe(isAlone ? ROW_UNANSWERED : 0);
        expect(memory.subarray(10, 10 + length)).toEqual(
          isAlone ? untouched : content.slice(at, at + length),
        );
        expect(memory.subarray(0, 10)).toEqual(new Uint8Array(10).fill(0xa5));
        expect(memory.subarray(10 + length)).toEqual(new Uint8Array(10).fill(0xa5));
        if (end === SIZE && length > MAX_JOIN) expect(isAlone).toBe(true);
      }
      for (const [, length] of calls) expect(length).toBeLessThanOrEqual(65_536);
    }),
  );
});

describe("one call reads", () => {
  const callsFor = (wanted: readonly (readonly [number, number])[]) => readAll(batchOf(wanted), SIZE).calls;

  it("rows with small gaps, and no others", () => {
    expect(
      callsFor([
        [100, 8],
        [108, 8],
        [1100, 8],
        [2109, 8],
      ]),
    ).toEqual([[100, 1008]]);
    expect(
      callsFor([
        [100, 8],
        [1100, 8],
      ]),
    ).toEqual([[100, 1008]]);
    expect(
      callsFor([
        [100, 8],
        [1101, 8],
      ]),
    ).toEqual([]);
  });

  it("rows that overlap, or lie in each other", () => {
    expect(
      callsFor([
        [100, 800],
        [200, 8],
        [880, 100],
      ]),
    ).toEqual([[100, 880]]);
  });

  it("no rows that are long themselves", () => {
    expect(
      callsFor([
        [0, 1001],
        [1001, 8],
      ]),
    ).toEqual([]);
    expect(
      callsFor([
        [0, 8],
        [8, 1001],
      ]),
    ).toEqual([]);
  });

  it("no row whose address is not exact as a number", () => {
    const batch = batchOf([
      [0, 8],
      [8, 8],
    ]);
    for (const row of [0, 1]) batch.words[2 * row + 1] = 0x20_0000;
    expect(readAll(batch, SIZE).calls).toEqual([]);
  });
});

it("rows that do not ascend get their own bytes, too", () => {
  const place = fc.oneof(fc.nat(3000), fc.nat(SIZE - 5000));
  fc.assert(
    fc.property(
      fc.array(fc.tuple(place, fc.integer({ min: 1, max: 1500 })), { maxLength: 100 }),
      (wanted) => {
        const batch = batchOf(wanted);
        readAll(batch, SIZE);
        for (const [row, [at, length]] of wanted.entries()) {
          if (batch.status[row] !== 0) continue;
          expect(batch.bytes(row)).toEqual(content.slice(at, at + length));
        }
      },
    ),
  );
});
