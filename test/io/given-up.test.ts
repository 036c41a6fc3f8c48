/** What a caller gave up on must not land in its memory later. */
import { describe, expect, it } from "vitest";
import {
  all,
  type BoundView,
  fragments,
  layer,
  Packet,
  readInto,
  Scheduler,
  send,
  WouldBlockError,
} from "../../src/index.js";
import { gate, open, turns } from "./support.js";

describe("memory that the caller has back", () => {
  it("is not touched by a transfer that lands after it was issued again synchronously", async () => {
    const late = gate();
    const io = open({ mode: "both", gate: late.wait });
    const bytes = new Uint8Array(4);
    const first = readInto(io, 8, bytes).promise();
    await turns(20);
    // Another operation needs the rows that are in flight: they are read again, and the caller has its memory back.
    expect(io.reissue()).toBe(true);
    await first;
    expect([...bytes]).toEqual([8, 9, 10, 11]);
    bytes.fill(0x77);
    late.open();
    await turns(20);
    expect([...bytes]).toEqual([0x77, 0x77, 0x77, 0x77]);
    expect([...(await readInto(io, 1, 2))]).toEqual([1, 2]);
  });

  it("is not touched by the operations of an all() that was given up", async () => {
    const io = open({ mode: "async" });
    const a = new Uint8Array(4);
    const b = new Uint8Array(4);
    expect(() => all([readInto(io, 1, a), readInto(io, 2, b)]).sync()).toThrow(WouldBlockError);
    await turns(30);
    expect([...a, ...b]).toEqual(new Array(8).fill(0));
    expect(io.scheduler.pending).toBe(0);
    expect([...(await readInto(io, 5, 1))]).toEqual([5]);
  });

  it("is not touched by operations that waited for admission when their all() was given up", async () => {
    const io = open({ mode: "async" }, new Scheduler({ highWaterMark: 1 }));
    const memory = Array.from({ length: 5 }, () => new Uint8Array(2));
    expect(() => all(memory.map((bytes, i) => readInto(io, i + 1, bytes))).sync()).toThrow(WouldBlockError);
    await turns(60);
    expect(memory.flatMap((bytes) => [...bytes])).toEqual(new Array(10).fill(0));
    expect([io.scheduler.pending, io.scheduler.waiting]).toEqual([0, 0]);
  });

  it("is not touched by fragments that were given up", async () => {
    const io = open({ mode: "async" });
    const packet = Packet.reading(4);
    expect(() => [...fragments(io, 3, packet).sync()]).toThrow(WouldBlockError);
    await turns(30);
    expect([...packet.bytes]).toEqual([0, 0, 0, 0]);
  });

  it("is not touched by a layer that answers an operation that was given up, by copy or by direct slice", async () => {
    for (const direct of [true, false]) {
      const kept: BoundView[] = [];
      const io = layer(undefined, (_: number, view: BoundView) => {
        view.keep();
        kept.push(view);
      });
      const bytes = new Uint8Array(3);
      expect(() => readInto(io, 0, bytes).sync()).toThrow(WouldBlockError);
      for (const view of kept) {
        if (direct) {
          view.claim()?.fill(9);
          view.complete();
        } else view.transfer(Uint8Array.of(9, 9, 9));
      }
      expect([...bytes]).toEqual([0, 0, 0]);
    }
  });

  it("is not touched by what a layer sent before it threw; the operation throws what the layer threw", async () => {
    for (const mode of ["sync", "async"] as const) {
      const io = open({ mode });
      const broken = layer(io.scheduler, (address: number, view: BoundView) => {
        const rest = view.split(4);
        io.sendIo(address, view);
        rest.split(2);
        throw new Error("broken layer");
      });
      const packet = Packet.reading(8);
      await expect(send(broken, 1, packet).promise()).rejects.toThrow("broken layer");
      await turns(20);
      expect([...packet.bytes]).toEqual(new Array(8).fill(0));
      expect(packet.complete).toBe(true);
      expect(packet.good()).toEqual([]);
      const again = Packet.reading(8);
      expect(() => send(broken, 1, again).sync()).toThrow("broken layer");
      expect(() => [...fragments(broken, 1, Packet.reading(8)).sync()]).toThrow("broken layer");
      expect([...(await readInto(io, 3, 1))]).toEqual([3]);
    }
  });
});
