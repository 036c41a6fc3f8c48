/** `gather` over every kind of layer gives what reading each record by itself gives. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  AddressSpace,
  type BoundView,
  faultState,
  layer,
  MemoryIo,
  Packet,
  type PacketIo,
  Scheduler,
  SourceIo,
  WouldBlockError,
  withMapping,
} from "../../src/index.js";
import { memorySource, refusing } from "../suite/index.js";
import { counted, gate, open, turns } from "./support.js";

const LENGTH = 2048;

/** Every way below a gather; each with a fresh scheduler, so that nothing is shared. */
const layers: Record<string, (scheduler: Scheduler) => PacketIo<number>> = {
  memory: (scheduler) => new MemoryIo(counted(LENGTH), { scheduler }),
  "memory that begins in the middle of a word": (scheduler) =>
    new MemoryIo(counted(LENGTH + 1).subarray(1), { scheduler }),
  source: (scheduler) => new SourceIo(memorySource(counted(LENGTH)), scheduler),
  "source that fails ranges": (scheduler) =>
    new SourceIo(memorySource(counted(LENGTH), { broken: [{ start: 600, end: 613 }] }), scheduler),
  "source that fails whole rows": (scheduler) =>
    new SourceIo(
      memorySource(counted(LENGTH), { broken: [{ start: 600, end: 613 }], wholeRows: true }),
      scheduler,
    ),
  "live source": (scheduler) => new SourceIo(memorySource(counted(LENGTH), { live: true }), scheduler),
  "source that begins at an address": (scheduler) =>
    new SourceIo(memorySource(counted(LENGTH), { base: 64 }), scheduler),
  "layer that knows no columns": (scheduler) => refusing(open({}, scheduler), 128, (block) => block === 3),
  "mapped pieces": (scheduler) =>
    withMapping(new MemoryIo(counted(LENGTH), { scheduler }), [
      { start: 0, size: 512, target: 1024 },
      { start: 640, size: 256, target: 8 },
    ]),
};

const addresses = fc.array(
  fc.oneof(
    fc.integer({ min: 0, max: LENGTH + 40 }),
    fc.integer({ min: 590, max: 620 }),
    fc.constantFrom(2 ** 32, 2 ** 52),
  ),
  { maxLength: 40 },
);

describe("gather", () => {
  for (const [name, below] of Object.entries(layers)) {
    it(`over a ${name} gives what one read a record gives, byte by byte and fault by fault`, async () => {
      await fc.assert(
        fc.asyncProperty(
          addresses,
          fc.oneof(fc.integer({ min: 1, max: 80 }), fc.constantFrom(256, 257)),
          fc.boolean(),
          fc.integer({ min: 0, max: 3 }),
          // Beyond the high-water mark, records travel in the order of their pages.
          fc.constantFrom(1, 5, 65_536),
          async (places, size, ascending, shift, highWaterMark) => {
            const make = () =>
              new AddressSpace<number>(below(new Scheduler({ highWaterMark })), { addressBits: 53 });
            const column = Float64Array.from(ascending ? places.sort((a, b) => a - b) : places);
            const space = make();
            const into = new Uint8Array(column.length * size + shift).fill(0xee).subarray(shift);
            const together = space.gather(column, size, into).sync();
            const later = await make().gather(column, size);
            for (let i = 0; i < column.length; i++) {
              const alone = await space.readPartial(column[i] as number, new Uint8Array(size).fill(0xee));
              expect([...into.subarray(i * size, (i + 1) * size)]).toEqual([...alone.bytes]);
              expect(together.stateOf(i)).toBe(alone.holes[0]?.state);
              expect(later.stateOf(i)).toBe(alone.holes[0]?.state);
              if (alone.holes.length === 0) expect(later.at(i)).toEqual(alone.bytes);
            }
          },
        ),
        { numRuns: 60 },
      );
    });
  }

  it("makes one fragment a record, and one batch of them all", async () => {
    const io = open();
    const space = new AddressSpace<number>(io, { addressBits: 53 });
    await space.gather([8, 800, 16, 40], 8);
    expect(io.counters).toEqual({ batches: 1, fragments: 4, bytes: 32, merged: 0 });
    // Records that follow each other, in the source and in the result, are one row.
    await space.gather([8, 16, 24, 4000], 8);
    expect(io.counters).toEqual({ batches: 2, fragments: 8, bytes: 64, merged: 2 });
    expect(io.scheduler.pending).toBe(0);
  });

  it("copies the addresses when it is made", () => {
    const column = BigUint64Array.of(1n, 2n);
    const pending = new AddressSpace(open()).gather(column, 1);
    column.fill(99n);
    expect([...pending.sync().bytes]).toEqual([1, 2]);
  });

  it("names the address that is none, before anything is sent", () => {
    const io = open();
    const narrow = new AddressSpace<number>(io, { addressBits: 53 });
    expect(() => narrow.gather([0, 2n ** 60n], 1)).toThrow(/1152921504606846976/);
    expect(() => narrow.gather(BigUint64Array.of(2n ** 53n), 1)).toThrow(/9007199254740992/);
    expect(() => narrow.gather([0, -1], 1)).toThrow(/-1/);
    expect(() => narrow.gather(Float64Array.of(0.5), 1)).toThrow(/0\.5/);
    expect(io.counters.fragments).toBe(0);
  });

  it("is a record a view where the packet refuses direct slices", () => {
    const io = new MemoryIo(counted(), { scheduler: new Scheduler() });
    const packet = Packet.reading(4, { direct: false });
    io.sendColumn({ words: Uint32Array.of(8, 0, 100, 0), size: 2 }, 0, packet.view().bind());
    expect([...packet.bytes]).toEqual([8, 9, 100, 101]);
  });

  it("writes the records of a packet, too, in the order of the column", () => {
    const bytes = new Uint8Array(16);
    const packet = () => Packet.writing(Uint8Array.of(1, 2, 3, 4, 5, 6));
    const column = { words: Uint32Array.of(8, 0, 2, 0, 9, 0), size: 2 };
    new MemoryIo(bytes, { scheduler: new Scheduler() }).sendColumn(column, 0, packet().view().bind());
    expect([...bytes]).toEqual([0, 0, 3, 4, 0, 0, 0, 0, 1, 5, 6, 0, 0, 0, 0, 0]);
    const behind = new Uint8Array(16);
    const io = new SourceIo(memorySource(behind), new Scheduler());
    io.sendColumn(column, 0, packet().view().bind());
    io.flush(true);
    expect([...behind]).toEqual([...bytes]);
    const readOnly = new SourceIo(memorySource(behind, { write: false }), new Scheduler());
    const refused = packet();
    readOnly.sendColumn(column, 0, refused.view().bind());
    expect(refused.holes().map(({ state }) => state)).toEqual(["read-only"]);
  });

  it("that is aborted while it is queued fails whole, beside one that goes on", async () => {
    const late = gate();
    const io = open({ mode: "async", gate: late.wait });
    const space = new AddressSpace<number>(io, { addressBits: 53 });
    const controller = new AbortController();
    const aborted = space.gather([1, 300, 5], 2, undefined, { signal: controller.signal }).promise();
    const goesOn = space.gather([7, 3, 500], 2).promise();
    await turns(1);
    controller.abort();
    late.open();
    expect([...(await aborted).faults].map(faultState)).toEqual(["aborted", "aborted", "aborted"]);
    expect([...(await goesOn).bytes]).toEqual([7, 8, 3, 4, 500 & 255, 501 & 255]);
    expect(io.counters.batches).toBe(1);
    expect(io.scheduler.pending).toBe(0);
  });

  it("in flight is read again by a synchronous drive of a source with both doors", async () => {
    const late = gate();
    const io = open({ mode: "both", gate: late.wait });
    const space = new AddressSpace<number>(io, { addressBits: 53 });
    const under = space.gather([9, 4, 40], 2).promise();
    await turns(20);
    expect(space.gather([100], 1).sync().bytes[0]).toBe(100);
    late.open();
    expect([...(await under).bytes]).toEqual([9, 10, 4, 5, 40, 41]);
  });

  it("would block over a source that is asynchronous only, and says so", () => {
    const space = new AddressSpace<number>(open({ mode: "async" }), { addressBits: 53 });
    expect(() => space.gather([1, 2], 1).sync()).toThrow(WouldBlockError);
  });

  it("goes on when a layer has answered its view behind the source's back: that operation fails alone", () => {
    const io = open();
    const meddling = {
      scheduler: io.scheduler,
      sendIo: (address: number, view: BoundView) => io.sendIo(address, view),
      sendColumn(column: { words: Uint32Array; size: number }, from: number, view: BoundView) {
        io.sendColumn(column, from, view);
        view.complete();
      },
    };
    const wrong = new AddressSpace<number>(meddling, { addressBits: 53 });
    const right = new AddressSpace<number>(io, { addressBits: 53 });
    const packet = Packet.reading(2);
    io.sendIo(77, packet.view().bind());
    try {
      wrong.gather([1, 2, 3], 1).sync();
    } catch {
      // What it throws is its own matter.
    }
    expect([...right.gather([5, 6], 1).sync().bytes]).toEqual([5, 6]);
    expect([...packet.bytes]).toEqual([77, 78]);
    expect(io.scheduler.pending).toBe(0);
  });

  it("splits at the high-water mark, and keeps the records' numbers", () => {
    const io = open({}, new Scheduler({ highWaterMark: 3 }));
    const space = new AddressSpace<number>(io, { addressBits: 53 });
    const { bytes, failed } = space.gather([1, 2, 5000, 4, 5, 6, 9000, 8], 1).sync();
    expect([...failed]).toEqual([2, 6]);
    expect([bytes[0], bytes[1], bytes[3], bytes[4], bytes[5], bytes[7]]).toEqual([1, 2, 4, 5, 6, 8]);
    // Three packets, but nothing is asked of the source for the last, whose records are all outside.
    expect(io.counters.batches).toBe(2);
  });

  it("beyond the high-water mark asks for each page once, in whatever order its records come", () => {
    const io = open({}, new Scheduler({ highWaterMark: 8 }));
    const pages: number[] = [];
    const paged = layer(io.scheduler, (address: number, view: BoundView) => {
      pages.push(address >>> 10);
      io.sendIo(address, view);
    });
    const space = new AddressSpace<number>(paged, { addressBits: 53 });
    const column = Float64Array.from({ length: 64 }, (_, i) => ((i * 37) % 64) * 64);
    const { bytes } = space.gather(column, 2).sync();
    expect(column.every((at, i) => bytes[2 * i] === (at & 255))).toBe(true);
    expect(pages).toEqual([...pages].sort((a, b) => a - b));
  });

  it("takes more records than one batch holds, through a scheduler that admits them", () => {
    const io = open({}, new Scheduler({ highWaterMark: 200_000 }));
    const space = new AddressSpace<number>(io, { addressBits: 53 });
    const column = Float64Array.from({ length: 70_000 }, (_, i) => (i * 7) % 4096);
    const { bytes, failed } = space.gather(column, 1).sync();
    expect(failed.length).toBe(0);
    expect(column.every((at, i) => bytes[i] === (at & 255))).toBe(true);
    const through = layer(io.scheduler, (address: number, view: BoundView) => io.sendIo(address, view));
    const again = new AddressSpace<number>(through, { addressBits: 53 });
    expect(again.gather(column, 1).sync().bytes).toEqual(bytes);
  });
});
