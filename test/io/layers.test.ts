import { describe, expect, it } from "vitest";
import {
  type BoundView,
  Cursor,
  layer,
  MemoryIo,
  OUTSIDE,
  readPartial,
  withMapping,
  withSplitting,
} from "../../src/index.js";
import { counting } from "../suite/index.js";

const counted = () => Uint8Array.from({ length: 200 }, (_, i) => i);

describe("splitting", () => {
  it("cuts at multiples of the size of the address, not of the view", async () => {
    const { io, traffic } = counting(new MemoryIo(counted()));
    await readPartial(withSplitting(io, 16), 10, 30);
    expect(traffic.requests).toEqual([
      { address: 10, length: 6 },
      { address: 16, length: 16 },
      { address: 32, length: 8 },
    ]);
    for (const size of [0, -1, 0.5, Number.NaN]) expect(() => withSplitting(io, size)).toThrow(RangeError);
  });
});

describe("mapping", () => {
  it("takes pieces in any order, and empty ones for nothing; between them is nothing", async () => {
    const io = withMapping(new MemoryIo(counted()), [
      { start: 40, size: 10, target: 100 },
      { start: 45, size: 0, target: 7 },
      { start: 0, size: 10, target: 50 },
      { start: 10, size: 10, target: 150 },
    ]);
    const { bytes, good, holes } = await readPartial(io, 5, 50);
    expect(good).toEqual([
      { start: 0, end: 15 },
      { start: 35, end: 45 },
    ]);
    expect(holes).toMatchObject([
      { start: 15, end: 35, state: "outside" },
      { start: 45, end: 50, state: "outside" },
    ]);
    expect([bytes[0], bytes[4], bytes[5], bytes[14], bytes[35], bytes[44]]).toEqual([
      55, 59, 150, 159, 100, 109,
    ]);
  });

  it("refuses pieces that overlap", () => {
    const pieces = [
      { start: 0x40, size: 10, target: 0 },
      { start: 0x38, size: 9, target: 100 },
    ];
    expect(() => withMapping(new MemoryIo(counted()), pieces)).toThrow("0x40");
  });
});

describe("a cursor at the end", () => {
  it("does not come back for a short read once a later operation has reserved further on", async () => {
    const views: BoundView[] = [];
    const io = layer(undefined, (_: number, view: BoundView) => {
      view.keep();
      views.push(view);
    });
    const cursor = new Cursor(io, 190);
    const first = cursor.read(20).promise();
    const second = cursor.read(20).promise();
    views[1]?.transfer(counted());
    expect(await second).toBe(20);
    views[0]?.fail(OUTSIDE);
    expect([await first, cursor.position]).toEqual([0, 230]);
  });
});
