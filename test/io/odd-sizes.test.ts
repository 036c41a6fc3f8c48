/** Sizes and places that are odd. */
import { describe, expect, it } from "vitest";
import {
  AddressRanges,
  all,
  type BoundView,
  type Fragment,
  fragments,
  layer,
  MemoryIo,
  Packet,
  readInto,
  readPartial,
  Scheduler,
  type Source,
  SourceIo,
  send,
  toCallback,
  withFallback,
  withSplitting,
  write,
} from "../../src/index.js";
import { memorySource } from "../suite/index.js";
import { counted, open } from "./support.js";

describe("odd sizes and places", () => {
  it("addresses of a source that is not live are exact to the last byte of 64 bits", async () => {
    const top = 2n ** 64n - 8192n;
    const seen: bigint[] = [];
    const source: Source = {
      name: "snapshot",
      supports: { write: false, live: false },
      ranges: () => AddressRanges.from([{ start: Number(top), end: 2 ** 64 }]),
      transferSync(batch) {
        for (let row = 0; row < batch.length; row++) {
          seen.push(batch.addresses[row] as bigint);
          const at = Number((batch.addresses[row] as bigint) - top);
          batch.bytes(row).forEach((_, i, mine) => {
            mine[i] = (at + i) % 251;
          });
          batch.done(row);
        }
      },
    };
    const io = new SourceIo(source, new Scheduler());
    for (const offset of [0, 1, 4095, 4097, 8185]) {
      const bytes = await readInto(io, top + BigInt(offset), 7);
      expect([...bytes]).toEqual(Array.from({ length: 7 }, (_, i) => (offset + i) % 251));
    }
    expect(seen[1]).toBe(top + 1n);
    expect((await readPartial(io, top + 8190n, 5)).holes).toMatchObject([
      { start: 2, end: 5, state: "outside" },
    ]);
    expect((await readPartial(io, top - 3n, 5)).good).toEqual([{ start: 3, end: 5 }]);
    expect(seen[seen.length - 1]).toBe(top);
    expect((await readPartial(io, 2n ** 64n - 1n, 2)).good).toEqual([{ start: 0, end: 1 }]);
    expect((await readPartial(io, 2n ** 64n, 2)).holes).toMatchObject([{ state: "malformed" }]);
  });

  it("a rebound view keeps the tag, and the refusal of direct slices", async () => {
    const seen: unknown[] = [];
    const below = layer(undefined, (_: number, view: BoundView) => {
      seen.push(view.tag, view.claim() === undefined);
      view.transfer(counted(4));
    });
    for (const direct of [true, false]) {
      const packet = Packet.reading(4, { direct });
      withFallback(below, below).sendIo(0, packet.view(7).bind());
      expect([...packet.bytes]).toEqual([0, 1, 2, 3]);
    }
    expect(seen).toEqual([7, false, 7, true]);
  });

  it("an empty packet is complete whichever way it is sent, and reaches no connector", async () => {
    const io = open();
    const told: Fragment[] = [];
    const output = toCallback((fragment) => told.push(fragment));
    for (const layered of [io, new MemoryIo(4), withSplitting(new MemoryIo(4), 2)]) {
      for (const at of [0, 9999]) {
        const packet = Packet.reading(0);
        layered.sendIo(at, packet.view().bind(output));
        expect([packet.complete, packet.clamp, packet.holes(), packet.good()]).toEqual([true, 0, [], []]);
      }
    }
    expect(io.counters.fragments).toBe(0);
    await fragments(io, 0, Packet.reading(0)).toArray();
    const never = layer(undefined, () => {
      throw new Error("asked for nothing");
    });
    await readInto(never, 0, 0);
    expect(all([readInto(io, 0, 0), readInto(io, 1, 1)]).sync()[1]).toEqual(Uint8Array.of(1));
  });

  it("a place that is no offset is refused, not read as zeros", async () => {
    const io = new MemoryIo(counted());
    for (const at of [0.5, Number.NaN, -1, Number.POSITIVE_INFINITY]) {
      expect((await readPartial(io, at, 2)).good).toEqual([]);
      expect((await readPartial(open(), at, 2)).good).toEqual([]);
    }
    const view = Packet.reading(2).view().bind();
    for (const at of [Number.NaN, 0.5, -1]) expect(() => view.transfer(counted(8), at)).toThrow(RangeError);
  });

  it("packets over shared memory are read, written and exchanged", async () => {
    const shared = new Uint8Array(new SharedArrayBuffer(200), 10, 150);
    const bytes = counted();
    const io = new SourceIo(memorySource(bytes, { exchange: true }), new Scheduler());
    await readInto(io, 3, shared);
    expect([...shared]).toEqual([...bytes.subarray(3, 153)]);
    shared.fill(7);
    await write(io, 300, shared);
    expect(bytes[449]).toBe(7);
    await send(io, 0, Packet.exchanging(shared));
    expect([shared[149], bytes[149]]).toEqual([149, 7]);
    expect(Packet.reading(new SharedArrayBuffer(8)).length).toBe(8);
  });
});
