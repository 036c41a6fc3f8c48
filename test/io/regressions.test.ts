/** Faults that the packet core once had. */
import { describe, expect, it } from "vitest";
import {
  AddressRanges,
  AddressSpace,
  all,
  type Batch,
  Io,
  Packet,
  PartialReadError,
  type Routine,
  readPartial,
  Scheduler,
  type Source,
  SourceIo,
  send,
  settle,
  UNANSWERED,
  u8,
  u64,
  WouldBlockError,
  write,
} from "../../src/index.js";
import { memorySource } from "../suite/index.js";
import { counted, gate, open, turns } from "./support.js";

describe("the packet core", () => {
  it("queues of a retry are not reused for ordinary traffic, which merges", async () => {
    const io = new SourceIo(
      memorySource(counted(), { mode: "async", broken: [{ start: 8, end: 9 }], wholeRows: true }),
      new Scheduler(),
    );
    const space = new AddressSpace<number>(io, { addressBits: 53 });
    // Three records share a row, which fails: each is asked for alone.
    await space.gather([0, 4, 8], 4);
    const before = io.counters.merged;
    await space.gather([100, 104, 108, 112], 4);
    expect(io.counters.merged - before).toBe(3);
  });

  it("also where the connector is synchronous and the machine writes beside its reads", () => {
    const io = new SourceIo(
      memorySource(counted(), { broken: [{ start: 8, end: 9 }], wholeRows: true }),
      new Scheduler(),
    );
    const space = new AddressSpace<number>(io, { addressBits: 53 });
    space.gather([0, 4, 8], 4).sync();
    const rows = io.counters.merged;
    all([space.write(300, Uint8Array.of(1)), space.gather([100, 104, 108, 112], 4)]).sync();
    expect(io.counters.merged - rows).toBe(3);
  });

  it("a write that fails does not fail another operation's", async () => {
    const behind = new Uint8Array(64);
    const make = () =>
      new AddressSpace<number>(
        new SourceIo(
          memorySource(behind, { broken: [{ start: 8, end: 16 }], wholeRows: true }),
          new Scheduler(),
        ),
        { addressBits: 53 },
      );
    const [first, second] = await settle(
      (() => {
        const s = make();
        return [s.write(u64, 0, 7n), s.write(u64, 8, 9n)] as const;
      })(),
    );
    expect([first?.ok, second?.ok]).toEqual([true, false]);
    expect(behind[0]).toBe(7);
  });

  it("exchanges of different packets are rows of their own", async () => {
    const lengths: number[] = [];
    const io = new SourceIo(
      memorySource(counted(), {
        exchange: true,
        onBatch: (batch) => {
          for (let i = 0; i < batch.length; i++) lengths.push(batch.lengths[i] as number);
        },
      }),
      new Scheduler(),
    );
    const a = Packet.exchanging(8);
    const b = Packet.exchanging(8);
    await all([send(io, 0, a), send(io, 8, b)]);
    expect(lengths).toEqual([8, 8]);
  });

  it("nothing is sent to a source that an output has closed while a view was split over its ranges", async () => {
    const log: string[] = [];
    const source = {
      ...memorySource(counted(16), { base: 8, onBatch: () => log.push("transfer") }),
      close: () => {
        log.push("close");
      },
    };
    const io = new SourceIo(source, new Scheduler());
    const packet = Packet.reading(16);
    const sent = send(io, 0, packet, { onFragment: () => void io.close() }).promise();
    await sent;
    await io.close();
    expect(log).toEqual(["close"]);
  });

  it("nothing is sent to a source that an output has closed while aborted views were failed", async () => {
    const log: string[] = [];
    const source = {
      ...memorySource(counted(64), { onBatch: () => log.push("transfer") }),
      close: () => {
        log.push("close");
      },
    };
    const io = new SourceIo(source, new Scheduler());
    const aborted = Packet.reading(4);
    const pending = send(io, 0, aborted, { onFragment: () => void io.close() }).promise();
    const other = Packet.reading(4);
    const alsoPending = send(io, 32, other).promise();
    aborted.abort();
    await pending;
    await alsoPending;
    await io.close();
    expect(
      ["close", "transfer"].filter((x) => log.includes(x) && log.indexOf("transfer") > log.indexOf("close")),
    ).toEqual([]);
  });

  it("what was aborted, or given up, is not asked for again when its row failed", async () => {
    const late = gate();
    const seen: number[][] = [];
    const io = new SourceIo(
      memorySource(counted(), {
        mode: "async",
        gate: late.wait,
        broken: [{ start: 4, end: 5 }],
        wholeRows: true,
        onBatch: (batch) => seen.push([...batch.lengths.subarray(0, batch.length)]),
      }),
      new Scheduler(),
    );
    const memory = new Uint8Array(8).fill(0xee);
    const packet = Packet.reading(memory);
    const view = packet.view();
    const [a, b] = view.split(4);
    io.sendIo(0, a.bind());
    io.sendIo(4, b.bind());
    await turns(30);
    packet.giveUp();
    late.open();
    await turns(60);
    expect(packet.complete).toBe(true);
    expect(seen).toEqual([[8]]);
    expect([...memory]).toEqual(new Array(8).fill(0xee));
  });

  it("a layer that answered a queued view that is then aborted harms no other operation", async () => {
    const io = open();
    const wrong = Packet.reading(2);
    const bound = wrong.view().bind();
    const head = bound.split(1);
    io.sendIo(10, bound);
    io.sendIo(11, head);
    bound.complete();
    wrong.abort();
    const packet = Packet.reading(2);
    io.sendIo(40, packet.view().bind());
    try {
      io.scheduler.runSync(waiting(packet));
    } catch {
      // It may be told of the mistake.
    }
    expect(packet.complete).toBe(true);
    expect(io.scheduler.pending).toBe(0);
  });

  it("close fails what is queued beside a view that a layer answered itself", async () => {
    const io = open({ mode: "async" });
    const wrong = Packet.reading(2);
    const bound = wrong.view().bind();
    io.sendIo(10, bound);
    bound.complete();
    const right = readPartial(io, 40, 2).promise();
    const closed = io.close().then(
      () => "closed",
      (error: unknown) => String(error),
    );
    expect(
      await Promise.race([right.then(({ holes }) => holes[0]?.state), turns(200).then(() => "hangs")]),
    ).toBe("gone");
    expect(await closed).toBe("closed");
  });

  it("a layer that splits a column's view that it has sent on changes no other operation's answers", () => {
    const io = new SourceIo(memorySource(counted(), { broken: [{ start: 200, end: 201 }] }), new Scheduler());
    const wrong = Packet.reading(4);
    const bound = wrong.view().bind();
    io.sendColumn({ words: Uint32Array.of(200, 0, 100, 0, 300, 0, 400, 0), size: 1 }, 0, bound);
    bound.split(1);
    const right = Packet.reading(1);
    io.sendIo(200, right.view().bind());
    io.flush(true);
    // 200 can't be read.
    expect(right.holes().length).toBe(1);
  });

  it("a sync drive finds what another scheduler has in flight", async () => {
    const never = gate();
    const b = new Scheduler();
    const c = new Scheduler();
    const io = open({ mode: "both", gate: never.wait }, b);
    const other = open({}, c);
    const aborted = Packet.reading(1);
    const fetched = Packet.reading(1);
    io.sendIo(
      0,
      aborted.view().bind({
        onFragment: () => {
          other.sendIo(0, Packet.reading(1).view().bind());
        },
      }),
    );
    io.sendIo(7, fetched.view().bind());
    aborted.abort();
    await turns(30);
    expect(fetched.complete).toBe(false);
    // In flight at b; driven from a third scheduler.
    const a = new Scheduler();
    a.runSync(waiting(fetched));
    expect(fetched.bytes[0]).toBe(7);
  });

  it("gather ends under a scheduler that admits nothing asynchronously", () => {
    // (Would hang: proven with a bounded copy of the loop's condition.)
    expect(() => new Scheduler({ highWaterMark: 0 })).toThrow(RangeError);
  });

  it("the bytes of an error of a typed read have a buffer of their own", () => {
    const space = new AddressSpace<number>(open(), { addressBits: 53 });
    let error: unknown;
    try {
      space.read(u64, 4092).sync();
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(PartialReadError);
    expect((error as PartialReadError).bytes.buffer.byteLength).toBe(8);
  });

  it("a view whose length is no multiple of the column's size is refused, or costs only itself", () => {
    const io = open();
    const neighbours = [Packet.reading(5), Packet.reading(5)];
    const [bad, good] = neighbours as [Packet, Packet];
    try {
      io.sendColumn({ words: Uint32Array.of(1, 0, 3, 0, 5, 0), size: 2 }, 0, bad.view().bind());
    } catch {
      // Refusing it is right.
    }
    const right = Packet.reading(1);
    io.sendIo(77, right.view().bind());
    io.flush(true);
    expect(right.byteAt(0)).toBe(77);
    expect([...good.bytes]).toEqual([0, 0, 0, 0, 0]);
    expect(right.complete).toBe(true);
  });

  it("a column that is too short reads nothing else instead", () => {
    const io = open();
    const packet = Packet.reading(4);
    packet.bytes.fill(0xee);
    try {
      io.sendColumn({ words: Uint32Array.of(16, 0, 17, 0), size: 1 }, 0, packet.view().bind());
      io.flush(true);
    } catch {
      // Refusing it is right.
    }
    expect(packet.byteAt(2)).toBe(0xee);
  });

  it("an output that sends its packet once more, to be answered later, is not undone by the drive it was in", async () => {
    const io = open();
    const packet = Packet.reading(1);
    let second = false;
    send(io, 5, packet, {
      onFragment: () => {
        if (second) return;
        second = true;
        io.sendIo(9, packet.view().bind());
      },
    }).sync();
    await turns(30);
    expect(packet.complete).toBe(true);
    expect(packet.firstFault).toBe(0);
    expect(packet.byteAt(0)).toBe(9);
  });

  it("a drive within a flush can wait for what that flush has yet to send", () => {
    const io = open();
    const read = Packet.reading(1);
    io.sendIo(33, read.view().bind());
    let nested: unknown;
    const packet = Packet.writing(Uint8Array.of(1));
    const output = {
      onFragment: () => {
        try {
          io.scheduler.runSync(waiting(read));
          nested = read.byteAt(0);
        } catch (error) {
          nested = error;
        }
      },
    };
    send(io, 2, packet, output).sync();
    expect(nested).toBe(33);
  });

  it("a fault that is no fault is one answer, and not bytes that moved", () => {
    const source: Source = {
      name: "odd",
      supports: { write: false, live: false },
      ranges: () => AddressRanges.single(0, 64),
      transferSync(batch: Batch) {
        batch.status[0] = -3;
      },
    };
    const io = new SourceIo(source, new Scheduler());
    const faults: number[] = [];
    const packet = Packet.reading(4);
    send(io, 0, packet, { onFragment: ({ fault }) => faults.push(fault) }).sync();
    expect(packet.firstFault).toBeGreaterThan(0);
    expect(faults[0]).toBe(packet.firstFault);
  });

  it("a write that an output drives, when an aborted one fails, comes after those that were submitted before it", () => {
    const behind = new Uint8Array(16);
    const io = new SourceIo(memorySource(behind), new Scheduler());
    const aborted = Packet.writing(Uint8Array.of(9));
    const output = { onFragment: () => write(io, 0, Uint8Array.of(2)).sync() };
    io.sendIo(8, aborted.view().bind(output));
    const earlier = Packet.writing(Uint8Array.of(1));
    io.sendIo(0, earlier.view().bind());
    aborted.abort();
    io.scheduler.runSync(waiting(earlier));
    expect(behind[0]).toBe(2);
  });

  it("a small packet's memory is as aligned as a typed array of its own was", () => {
    Packet.reading(1);
    for (const size of [2, 4, 8]) expect(Packet.reading(size).bind().claim(size)).toBeDefined();
  });

  it("a gather beyond the high-water mark leaves alone what it could not read", async () => {
    const late = gate();
    const io = open({ mode: "async", gate: late.wait }, new Scheduler({ highWaterMark: 2 }));
    const into = new Uint8Array(3);
    const pending = new AddressSpace<number>(io, { addressBits: 53 }).gather([9, 5, 9000], 1, into).promise();
    await turns(20);
    // Its caller knows that the last is outside, and has another use for its place.
    into[2] = 77;
    late.open();
    await pending;
    expect([...into]).toEqual([9, 5, 77]);
  });

  it("a small packet's buffer that was transferred away breaks no other packet", () => {
    const packet = Packet.reading(8);
    structuredClone(packet.bytes, { transfer: [packet.bytes.buffer as ArrayBuffer] });
    const next = Packet.reading(4);
    expect(next.bytes.length).toBe(4);
    const space = new AddressSpace<number>(open(), { addressBits: 53 });
    expect(space.read(u8, 5).sync()).toBe(5);
  });
});

function* waiting(packet: Packet): Routine<void> {
  yield packet;
}
void Io;
void UNANSWERED;
void WouldBlockError;
