/** What an operation of one packet costs, and what small packets share. */
import { describe, expect, it } from "vitest";
import {
  AddressSpace,
  all,
  Io,
  layer,
  MemoryIo,
  Packet,
  type Routine,
  readInto,
  Scheduler,
  send,
  settle,
  u32,
  u64,
} from "../../src/index.js";
import { counted, open, turns } from "./support.js";

describe("packets of a few bytes", () => {
  it("share a buffer, each with bytes of its own that begin as zeros", () => {
    const packets = Array.from({ length: 200 }, (_, i) => Packet.reading((i % 64) + 1));
    for (const [i, packet] of packets.entries()) {
      expect(packet.bytes).toEqual(new Uint8Array((i % 64) + 1));
      packet.bytes.fill(i + 1);
    }
    for (const [i, packet] of packets.entries()) {
      expect(packet.bytes.every((byte) => byte === i + 1)).toBe(true);
      const last = packet.length - 1;
      expect([-1, 0, last, last + 1].map((at) => packet.byteAt(at))).toEqual([
        undefined,
        i + 1,
        i + 1,
        undefined,
      ]);
    }
  });

  it("of no whole length are what a typed array of that length is", () => {
    for (const length of [0, 0.5, 1.5, Number.NaN]) {
      expect(Packet.reading(length).length).toBe(new Uint8Array(length).length);
    }
    expect(() => Packet.reading(-1)).toThrow(RangeError);
    expect(() => Packet.reading(2 ** 52)).toThrow(RangeError);
  });

  it("do not show in what a read returns: that is a buffer of its own", () => {
    const bytes = readInto(open(), 5, 3).sync();
    expect([bytes.byteOffset, bytes.buffer.byteLength]).toEqual([0, 3]);
    const read = new AddressSpace(open()).read(7, 4).sync();
    expect([read.byteOffset, read.buffer.byteLength]).toEqual([0, 4]);
  });
});

describe("a request", () => {
  it("sends nothing before it is driven, and is driven once, whichever way", async () => {
    const io = open();
    const make = () => readInto(io, 1, 1);
    make();
    const [first, second, third] = [make(), make(), make()];
    first.sync();
    await second;
    function* driving(): Routine<void> {
      yield* third;
    }
    Io.of(io.scheduler, driving).sync();
    expect(io.counters.fragments).toBe(3);
    for (const used of [first, second, third]) {
      expect(() => used.sync()).toThrow(/driven once/);
      await expect(used.promise()).rejects.toThrow(/driven once/);
      expect(() => used[Symbol.iterator]()).toThrow(/driven once/);
    }
    expect(io.counters.fragments).toBe(3);
  });

  it("that waits for room starts when there is some, in its turn, and can be given up before", async () => {
    const io = open({}, new Scheduler({ highWaterMark: 2 }));
    const order: number[] = [];
    const reads = [0, 1, 2, 3, 4].map((at) =>
      readInto(io, at, 1).then(([byte]) => {
        order.push(byte as number);
      }),
    );
    expect(io.scheduler.waiting).toBe(3);
    await Promise.all(reads);
    expect(order).toEqual([0, 1, 2, 3, 4]);
    expect([io.scheduler.waiting, io.scheduler.pending]).toEqual([0, 0]);
  });

  it("whose layer throws fails with that, and its memory is its caller's again", async () => {
    const io = open({ mode: "async" });
    const torn = layer(io.scheduler, (address: number, view) => {
      const rest = view.split(2);
      io.sendIo(address, view);
      void rest;
      throw new Error("torn");
    });
    const bytes = new Uint8Array(4).fill(9);
    await expect(readInto(torn, 8, bytes).promise()).rejects.toThrow("torn");
    await turns(40);
    expect([...bytes]).toEqual([9, 9, 9, 9]);
    expect(() => readInto(torn, 8, bytes).sync()).toThrow("torn");
    const outcomes = await settle([readInto(torn, 8, 4), readInto(io, 8, 1)]);
    expect(outcomes.map(({ ok }) => ok)).toEqual([false, true]);
  });

  it("of a packet in flight fails, and the one in flight goes on", async () => {
    const io = open({ mode: "async" });
    const packet = Packet.reading(1);
    const first = send(io, 6, packet).promise();
    expect(() => send(io, 7, packet).sync()).toThrow(/in flight/);
    await expect(send(io, 7, packet).promise()).rejects.toThrow(/in flight/);
    expect((await first).bytes[0]).toBe(6);
  });

  it("with others in all gives the first error in the list's order, after every one is over", async () => {
    const io = open();
    const space = new AddressSpace<number>(io, { addressBits: 53 });
    const operations = () => [
      space.read(u32, 0),
      space.read(u64, 4093),
      space.read(u32, 9000),
      Io.value(3, io.scheduler),
    ];
    expect(() => all(operations()).sync()).toThrow(/at 0xffd/);
    await expect(all(operations()).promise()).rejects.toThrow(/at 0xffd/);
    const outcomes = settle(operations()).sync();
    expect(outcomes.map(({ ok }) => ok)).toEqual([true, false, false, true]);
    expect(io.scheduler.pending).toBe(0);
  });

  it("nests: a drive within an output's callback reads from the same source", () => {
    const io = open();
    const seen: number[] = [];
    const packet = Packet.reading(2);
    send(io, 30, packet, {
      onFragment: () => {
        seen.push(readInto(io, 40, 1).sync()[0] as number);
      },
    }).sync();
    expect([...packet.bytes, ...seen]).toEqual([30, 31, 40]);
  });

  it("leaves nothing to do behind after a synchronous drive", async () => {
    let turnsAsked = 0;
    const scheduler = new Scheduler({
      afterTurn: (run) => {
        turnsAsked++;
        queueMicrotask(run);
      },
    });
    const io = open({}, scheduler);
    for (let i = 0; i < 10; i++) readInto(io, i, 1).sync();
    expect(turnsAsked).toBe(0);
    // But what it leaves unsent is sent.
    const left = Packet.reading(1);
    const leaves = layer(scheduler, (address: number, view) => {
      new MemoryIo(counted(), { scheduler }).sendIo(address, view);
      io.sendIo(50, left.view().bind());
    });
    readInto(leaves, 3, 1).sync();
    await turns(20);
    expect(left.complete).toBe(true);
    expect(turnsAsked).toBeGreaterThan(0);
  });
});

describe("an operation that is tried first", () => {
  it("runs no routine if the attempt gives a result, and runs it if not, whichever way it is driven", async () => {
    const scheduler = new Scheduler();
    const ran: string[] = [];
    // biome-ignore lint/correctness/useYield: a routine that never waits.
    function* slow(a: number, b: string): Routine<{ from: string }> {
      ran.push(`${a}${b}`);
      return { from: "routine" };
    }
    const attempt = (a: number) => (a === 1 ? { from: "attempt" } : undefined);
    const make = (a: number) => Io.quick(scheduler, attempt, slow, a, "b");
    expect(make(1).sync()).toEqual({ from: "attempt" });
    expect(ran).toEqual([]);
    expect(make(2).sync()).toEqual({ from: "routine" });
    expect(await make(2)).toEqual({ from: "routine" });
    expect(await make(1)).toEqual({ from: "attempt" });
    expect((await all([make(2), make(1)])).map(({ from }) => from)).toEqual(["routine", "attempt"]);
    const used = make(1);
    used.sync();
    expect(() => used.sync()).toThrow(/driven once/);
    expect(ran).toEqual(["2b", "2b", "2b"]);
  });
});
