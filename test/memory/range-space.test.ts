/** Address spaces that are lists of ranges. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type Address,
  type BoundView,
  layer,
  MemoryIo,
  OUTSIDE,
  RangeSpace,
  readPartial,
  Scheduler,
  SourceIo,
  u64,
} from "../../src/index.js";
import { memorySource, packetIoSuite } from "../suite/index.js";
import { pattern } from "../support/bytes.js";

const SIZE = 5 * 4096 + 77;
const END = 1n << 64n;

packetIoSuite("a space of ranges at the end of the kernel's half, in shuffled pieces", () => {
  const bytes = pattern(SIZE, 11);
  const below = new Uint8Array(SIZE + 1000);
  const base = 0xffff_ffff_8000_0123n;
  const truth = () => Uint8Array.from([...below.subarray(9000, SIZE + 1000), ...below.subarray(0, 8000)]);
  below.set(bytes.subarray(0, SIZE - 8000), 9000);
  below.set(bytes.subarray(SIZE - 8000), 0);
  const io = new RangeSpace(new SourceIo(memorySource(below, { exchange: true }), new Scheduler()), [
    { start: base + BigInt(SIZE - 8000), end: base + BigInt(SIZE), target: 0n },
    { start: base, end: base + BigInt(SIZE - 8000), target: 9000 },
  ]);
  return { io, base, truth, writable: true, exchangeable: true, missing: { bytes: 30, state: "outside" } };
});

/** What a layer was asked for: a byte's value is its address's low byte; addresses as they came. */
function asked() {
  const requests: Address[] = [];
  const io = layer<Address>(undefined, (address, view: BoundView) => {
    requests.push(address);
    view.transfer(
      Uint8Array.from({ length: view.length }, (_, i) => Number((BigInt(address) + BigInt(i)) & 255n)),
    );
  });
  return { io, requests };
}

describe("a space of ranges", () => {
  const bound = fc.oneof(
    fc.bigInt(0n, 300n),
    fc.bigInt(0n, 300n).map((x) => x + (1n << 32n) - 150n),
    fc.bigInt(0n, 300n).map((x) => x + (1n << 53n) - 150n),
    fc.bigInt(0n, 300n).map((x) => END - x),
  );

  it("reads as a byte-by-byte search of the list would, at every border of 32, 53 and 64 bits", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(bound, fc.bigInt(1n, 200n), bound), { maxLength: 8 }),
        bound,
        fc.integer({ min: 1, max: 400 }),
        (list, at, length) => {
          const ranges: { start: bigint; end: bigint; target: bigint }[] = [];
          for (const [start, size, target] of list) {
            const end = start + size < END ? start + size : END;
            const overlaps = ranges.some((other) => start < other.end && other.start < end);
            if (start < end && !overlaps && target + end - start <= END) ranges.push({ start, end, target });
          }
          const first = at < END ? at : END - 1n;
          const { io, requests } = asked();
          const { bytes, holes } = readPartial(new RangeSpace(io, ranges), first, length).sync();
          const got: (number | string)[] = [...bytes];
          for (const hole of holes) got.fill(hole.state, hole.start, hole.end);
          const wanted = got.map((_, i) => {
            const address = first + BigInt(i);
            const range = ranges.find(({ start, end }) => start <= address && address < end);
            return range === undefined ? "outside" : Number((range.target + address - range.start) & 255n);
          });
          expect(got).toEqual(wanted);
          for (const address of requests)
            expect(typeof address).toBe(BigInt(address) < 1n << 53n ? "number" : "bigint");
        },
      ),
      { numRuns: 500 },
    );
  });

  it("says where an address leads, and lists its ranges clipped, with their targets", async () => {
    const kernel = { start: 0xffff_8000_0000_0000n, end: END, target: 0x1000, name: "k" };
    const space = new RangeSpace(asked().io, [kernel, { start: 16n, end: 32n, name: "low" }]);
    expect(await space.translate(END - 1n)).toMatchObject({
      target: 0x8000_0000_0fffn,
      range: { name: "k" },
    });
    expect(await space.translate(31)).toMatchObject({ virtual: 31n, target: 31n, range: { name: "low" } });
    expect(await space.translate(32)).toEqual({ virtual: 32n, state: "outside" });
    expect(await space.translate(0xffff_7fff_ffff_ffffn)).toMatchObject({ state: "outside" });
    expect(await space.maps({ start: 20, end: 0xffff_8000_0000_0010n }).toArray()).toEqual([
      { start: 20n, end: 32n, name: "low" },
      { start: kernel.start, end: kernel.start + 16n, target: 0x1000n, name: "k" },
    ]);
    expect(await space.maps({ start: END - 8n, end: END }).toArray()).toMatchObject([
      { start: END - 8n, end: END, target: 0x8000_0000_0ff8n },
    ]);
    expect(await space.maps({ start: 32n, end: kernel.start }).toArray()).toEqual([]);
    expect(() => space.maps({ start: 2, end: 1 })).toThrow(RangeError);
  });

  it("refuses ranges that overlap, are none, or lead beyond the end of all addresses", () => {
    const { io } = asked();
    const refused: { start: bigint; end: bigint; target?: bigint }[][] = [
      [
        { start: 0n, end: 10n },
        { start: 9n, end: 12n },
      ],
      [{ start: 10n, end: 9n }],
      [{ start: -1n, end: 9n }],
      [{ start: 0n, end: END + 1n }],
      [{ start: 0n, end: 9n, target: END - 8n }],
    ];
    for (const ranges of refused) expect(() => new RangeSpace(io, ranges)).toThrow(RangeError);
  });

  it("of a source that changes is what the function lists now, and the source refuses what isn't there", async () => {
    let mapped = [{ start: 0n, end: 64n }];
    const space = new RangeSpace(new MemoryIo(pattern(64, 1)), () => mapped);
    expect(await space.translate(70)).toMatchObject({ state: "outside" });
    expect((await space.readPartial(60n, 8)).holes).toMatchObject([{ start: 4, end: 8, fault: OUTSIDE }]);
    mapped = [
      { start: 64n, end: 128n },
      { start: 0n, end: 64n },
    ];
    expect(await space.translate(70)).toMatchObject({ target: 70n });
    expect(space.ranges().map(({ start }) => start)).toEqual([0n, 64n]);
  });

  it("of a source that changed while it listed its ranges has no range twice", () => {
    const torn = [
      { start: 16n, end: 48n, target: 0x100 },
      { start: 0n, end: 32n },
      { start: 8n, end: 24n },
      { start: 40n, end: 1n << 65n },
    ];
    expect(new RangeSpace(new MemoryIo(pattern(64, 1)), () => torn).ranges()).toEqual([
      { start: 0n, end: 32n },
      { start: 32n, end: 48n, target: 0x110n },
    ]);
  });

  it("of nothing has nothing, for any read", async () => {
    const space = new RangeSpace(new MemoryIo(pattern(64, 1)), []);
    expect(space.ranges()).toEqual([]);
    await expect(space.read(u64, END - 4n)).rejects.toMatchObject({
      holes: [{ start: 0, end: 8, state: "outside" }],
    });
  });
});
