/** Edges of a source's queues, where a small mistake would show nowhere else. */
import { describe, expect, it } from "vitest";
import {
  AddressRanges,
  AddressSpace,
  type Batch,
  bits,
  fault,
  IoSequence,
  Packet,
  type Routine,
  readInto,
  Scheduler,
  type Sink,
  type Source,
  SourceIo,
  settle,
  u32,
} from "../../src/index.js";
import { memorySource } from "../suite/index.js";
import { counted, gate, open, turns } from "./support.js";

function* waiting(packet: Packet): Routine<void> {
  yield packet;
}

/** A source that fills with ones and keeps what it was called with. */
function recording(
  end: number,
  serve: (batch: Batch) => void = () => {},
): { calls: Batch[]; source: Source } {
  const calls: Batch[] = [];
  return {
    calls,
    source: {
      name: "recording",
      supports: { write: true, live: false },
      ranges: () => AddressRanges.single(0, end),
      transferSync(batch) {
        calls.push(batch);
        serve(batch);
        for (let row = 0; row < batch.length; row++) batch.done(row);
      },
    },
  };
}

describe("a source", () => {
  it("does not merge what is 2^32 apart, also where it had to sort", () => {
    let rows = 0;
    const { source } = recording(2 ** 40, (batch) => {
      rows = batch.length;
    });
    const io = new SourceIo(source, new Scheduler());
    const [first, second] = Packet.reading(new Uint8Array(8)).view().split(4);
    io.sendIo(2 * 2 ** 32 + 20, second.bind());
    io.sendIo(2 ** 32 + 16, first.bind());
    io.flush(true);
    expect(rows).toBe(2);
  });

  it("sends no column of a packet that was aborted before", () => {
    const io = open();
    const packet = Packet.reading(2);
    const view = packet.view().bind();
    packet.abort();
    io.sendColumn({ words: Uint32Array.of(8, 0, 100, 0), size: 1 }, 0, view);
    io.flush(true);
    expect(io.counters.batches).toBe(0);
    expect(packet.holes().map(({ state }) => state)).toEqual(["aborted"]);
    expect(io.scheduler.pending).toBe(0);
  });

  it("asks a connector that threw for nothing again", () => {
    const { calls, source } = recording(64, () => {
      throw new Error("broken");
    });
    const io = new SourceIo(source, new Scheduler());
    const space = new AddressSpace<number>(io, { addressBits: 53 });
    expect(space.gather([0, 4, 8], 4).sync().failed.length).toBe(3);
    expect(calls.length).toBe(1);
  });

  it("skips every record of a column that a layer answered itself", () => {
    const io = new SourceIo(memorySource(counted(), { broken: [{ start: 200, end: 201 }] }), new Scheduler());
    const wrong = Packet.reading(4).view().bind();
    const rest = wrong.split(3);
    io.sendColumn({ words: Uint32Array.of(1, 0, 30, 0, 60, 0), size: 1 }, 0, wrong);
    wrong.complete();
    io.sendIo(90, rest);
    const right = Packet.reading(1);
    io.sendIo(200, right.view().bind());
    io.flush(true);
    expect(right.holes().length).toBe(1);
  });

  it("gets no column of more rows than a batch holds", () => {
    const lengths: number[] = [];
    const { source } = recording(2 ** 20, (batch) => {
      lengths.push(batch.length);
    });
    const io = new SourceIo(source, new Scheduler({ highWaterMark: 200_000 }));
    const column = Float64Array.from({ length: 70_000 }, (_, i) => 2 * i);
    new AddressSpace<number>(io, { addressBits: 53 }).gather(column, 1).sync();
    expect(Math.max(...lengths)).toBeLessThanOrEqual(65_536);
  });

  it("leaves a batch to a synchronous connector that threw", async () => {
    let fails = true;
    const { calls, source } = recording(64, () => {
      if (fails) throw new Error("broken");
    });
    const io = new SourceIo(source, new Scheduler());
    await settle([readInto(io, 1, 1)]);
    fails = false;
    readInto(io, 2, 1).sync();
    expect(calls.length).toBe(2);
    expect(calls[1]).not.toBe(calls[0]);
  });

  it("leaves a batch in flight to its connector, when it was issued again", async () => {
    const late = gate();
    const { calls, source } = recording(64);
    const inFlight: Batch[] = [];
    const both: Source = {
      ...source,
      transfer: async (batch) => {
        inFlight.push(batch);
        await late.wait();
      },
    };
    const io = new SourceIo(both, new Scheduler());
    const packet = Packet.reading(1);
    io.sendIo(3, packet.view().bind());
    await turns(20);
    io.scheduler.runSync(waiting(packet));
    readInto(io, 9, 1).sync();
    expect([inFlight.length, calls.length]).toEqual([1, 2]);
    expect(calls).not.toContain(inFlight[0]);
    late.open();
    await turns(5);
  });

  it("in flight is found by a drive of another scheduler", async () => {
    const late = gate();
    const io = open({ mode: "both", gate: late.wait });
    const packet = Packet.reading(1);
    io.sendIo(7, packet.view().bind());
    await turns(20);
    // Another scheduler enters the set of those that are asked, and the idle ones leave it.
    readInto(open(), 1, 1).sync();
    new Scheduler().runSync(waiting(packet));
    expect(packet.byteAt(0)).toBe(7);
    late.open();
  });

  it("sorts, and copies its queue, only where it has to", () => {
    Packet.reading(1).view();
    const elsewhere = Packet.reading(1);
    elsewhere.view();
    elsewhere.abort();
    const { calls, source } = recording(64);
    const io = new SourceIo(source, new Scheduler());
    const flush = (...places: number[]) => {
      for (const at of places) io.sendIo(at, Packet.reading(new Uint8Array(1)).view().bind());
      io.flush(true);
    };
    flush(9, 3);
    flush(3, 9);
    flush(3, 9);
    // The same columns each time: those that the first flush sorted into.
    expect(calls[1]).toBe(calls[0]);
    expect(calls[2]).toBe(calls[1]);
  });

  it("keeps addresses beyond 2^32 when it leaves aborted views out", () => {
    const rows: [number, number][] = [];
    const { source } = recording(2 ** 40, (batch) => {
      for (let row = 0; row < batch.length; row++)
        rows.push([batch.address(row), batch.lengths[row] as number]);
    });
    const io = new SourceIo(source, new Scheduler());
    const [before, behind] = Packet.reading(new Uint8Array(8)).view().split(4);
    io.sendIo(2 ** 32 - 4, before.bind());
    io.sendIo(2 ** 32, behind.bind());
    const aborted = Packet.reading(new Uint8Array(1));
    io.sendIo(2 ** 33, aborted.view().bind());
    aborted.abort();
    io.flush(true);
    expect(rows).toEqual([[2 ** 32 - 4, 8]]);
  });

  it("keeps the other bits where a lone bit-field is written", () => {
    const memory = new Uint8Array(4).fill(0xff);
    const space = new AddressSpace<number>(new SourceIo(memorySource(memory), new Scheduler()));
    space.write(bits(u32, 4, 2), 0, 1).sync();
    expect([...memory]).toEqual([0xdf, 0xff, 0xff, 0xff]);
  });

  it("has nothing pending once it was closed, or asked again", async () => {
    const closed = open();
    closed.sendIo(3, Packet.reading(1).view().bind());
    await closed.close();
    expect(closed.scheduler.pending).toBe(0);
    const io = new SourceIo(
      memorySource(counted(), { broken: [{ start: 8, end: 9 }], wholeRows: true }),
      new Scheduler(),
    );
    new AddressSpace<number>(io, { addressBits: 53 }).gather([0, 4, 8], 4).sync();
    expect(io.scheduler.pending).toBe(0);
  });

  it("makes room before a synchronous pass goes on to its next item", () => {
    const io = open({}, new Scheduler({ highWaterMark: 1 }));
    function* items(sink: Sink<number>): Routine<void> {
      yield sink.emit(io.scheduler.pending);
    }
    io.sendIo(3, Packet.reading(1).view().bind());
    expect([...IoSequence.of(io.scheduler, items).sync()]).toEqual([0]);
  });

  it("leaves no listener at a signal when its operation was given up", () => {
    const late = gate();
    const io = open({ mode: "async", gate: late.wait });
    const listeners = new Set<() => void>();
    const signal = {
      aborted: false,
      addEventListener: (_: "abort", listener: () => void) => void listeners.add(listener),
      removeEventListener: (_: "abort", listener: () => void) => void listeners.delete(listener),
    };
    expect(() => readInto(io, 3, 1, { signal }).sync()).toThrow(/synchronously/);
    expect(listeners.size).toBe(0);
    late.open();
  });

  it("fails as the connector said, not as it failed a part of a row in the batch before", () => {
    const BAD = fault("io", "memory", "connector");
    const io = new SourceIo(
      recording(64, (batch) => {
        if (batch.address(0) === 0) batch.failRange(0, 1, 2, BAD);
      }).source,
      new Scheduler(),
    );
    const first = Packet.reading(4);
    io.sendIo(0, first.view().bind());
    io.flush(true);
    expect(first.holes()).toMatchObject([{ start: 1, end: 2 }]);
    expect(readInto(io, 8, 4).sync().length).toBe(4);
  });
});
