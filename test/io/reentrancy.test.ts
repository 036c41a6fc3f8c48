/** What outputs and callbacks may do from within a flush: submit, drive, close. */
import { describe, expect, it } from "vitest";
import {
  AddressRanges,
  all,
  type Batch,
  Io,
  Packet,
  type Routine,
  readInto,
  Scheduler,
  type Source,
  SourceIo,
  send,
  toCallback,
  write,
} from "../../src/index.js";
import { memorySource } from "../suite/index.js";
import { counted, gate, open, turns } from "./support.js";

describe("from within a flush", () => {
  it("an output may finish another operation synchronously, over a source that is flushed in the same turn", async () => {
    const scheduler = new Scheduler();
    const a = open({}, scheduler);
    const b = open({}, scheduler);
    let inside: number | undefined;
    const output = toCallback(() => {
      inside = readInto(b, 7, 1).sync()[0];
    });
    const packet = Packet.reading(1);
    const [first] = await Promise.all([send(a, 1, packet, output).promise(), readInto(b, 9, 1).promise()]);
    expect(first.outputError).toBeUndefined();
    expect(inside).toBe(7);
  });

  it("a routine may synchronously drive another machine's operation that needs this machine's routines", async () => {
    const a = open({}, new Scheduler());
    const b = open({}, new Scheduler());
    function* twice(io: SourceIo): Routine<number> {
      const first = (yield* readInto(io, 1, 1))[0] as number;
      return first + ((yield* readInto(io, 2, 1))[0] as number);
    }
    function* onB(): Routine<number> {
      const sums = yield* all([Io.of(a.scheduler, twice, a), Io.of(a.scheduler, twice, a)]);
      return sums[0] + sums[1];
    }
    function* onA(): Routine<number> {
      yield* readInto(a, 0, 1);
      return Io.of(b.scheduler, onB).sync();
    }
    expect(await Io.of(a.scheduler, onA)).toBe(6);
  });

  it("a synchronous drive issues again what another machine has in flight", async () => {
    const late = gate();
    const a = open({ mode: "both", gate: late.wait });
    const packet = Packet.reading(1);
    a.sendIo(6, packet.view().bind());
    await turns(20);
    expect(packet.complete).toBe(false);
    function* waits(): Routine<number> {
      yield packet;
      return packet.bytes[0] as number;
    }
    expect(Io.of(new Scheduler(), waits).sync()).toBe(6);
    late.open();
    await a.close();
  });

  it("closing from an output fails what is not sent, and closes the source after the last transfer", () => {
    const calls: string[] = [];
    const source = memorySource(counted(), { onBatch: () => calls.push("transfer") });
    const io = new SourceIo({ ...source, close: () => void calls.push("close") }, new Scheduler());
    const output = toCallback(() => void io.close());
    const first = Packet.writing(1);
    const exchanged = Packet.exchanging(1);
    const last = Packet.reading(1);
    io.sendIo(1, first.view().bind(output));
    io.sendIo(2, last.view().bind());
    io.flush(true);
    expect(exchanged.flight).toBe(0);
    expect(first.good()).toEqual([{ start: 0, end: 1 }]);
    expect(last.complete).toBe(true);
    expect(last.holes()).toMatchObject([{ state: "gone" }]);
    return io.close().then(() => expect(calls).toEqual(["transfer", "close"]));
  });

  it("closing from an output waits for rows that are asked for again", async () => {
    const calls: string[] = [];
    const bytes = counted();
    const source: Source = {
      name: "coarse",
      supports: { write: false, live: false },
      ranges: () => AddressRanges.single(0, 4096),
      transferSync(batch) {
        calls.push(`transfer ${batch.length}`);
        for (let row = 0; row < batch.length; row++) {
          const at = batch.address(row);
          const mine = batch.bytes(row);
          if (mine.length > 1) batch.fail(row, 3);
          else {
            mine[0] = bytes[at] as number;
            batch.done(row);
          }
        }
      },
      close: () => void calls.push("close"),
    };
    const io = new SourceIo(source, new Scheduler());
    const output = toCallback(() => void io.close());
    const single = Packet.reading(1);
    const pair = Packet.reading(2);
    io.sendIo(1, single.view().bind(output));
    const view = pair.view().bind();
    const rest = view.split(1);
    io.sendIo(50, view);
    io.sendIo(51, rest);
    io.flush(true);
    await io.close();
    expect(pair.holes()).toEqual([]);
    expect(calls).toEqual(["transfer 2", "transfer 2", "close"]);
  });

  it("what outputs submit travels together, in the next batch", async () => {
    const rows: number[] = [];
    const io = open({ onBatch: (batch) => rows.push(batch.length) });
    const more: Packet[] = [];
    const output = toCallback(({ packet }) => {
      if (more.length >= 6) return;
      const next = Packet.reading(1);
      more.push(next);
      io.sendIo((packet.bytes[0] as number) + 16, next.view().bind(output));
    });
    await all([0, 32, 64].map((at) => send(io, at, Packet.reading(1), output)));
    await turns(40);
    expect(more.map(({ bytes }) => bytes[0])).toEqual([16, 48, 80, 32, 64, 96]);
    expect(rows).toEqual([3, 3, 3]);
  });

  it("what outputs submit waits for what is asked for after the answer, and travels with that", async () => {
    const io = open();
    const more = Packet.reading(1);
    const output = toCallback(() => io.sendIo(16, more.view().bind()));
    await send(io, 0, Packet.reading(1), output);
    expect([...(await readInto(io, 32, 1))]).toEqual([32]);
    expect(more.bytes[0]).toBe(16);
    expect(io.counters.batches).toBe(2);
  });

  it("writes and exchanges keep their order, in batches of their own", async () => {
    const seen: [string, number][] = [];
    const bytes = counted();
    const onBatch = ({ direction, length }: Batch) => void seen.push([direction, length]);
    const io = new SourceIo(memorySource(bytes, { exchange: true, onBatch }), new Scheduler());
    const traded = Uint8Array.of(3, 3);
    await all([
      write(io, 0, Uint8Array.of(1, 1)),
      write(io, 8, Uint8Array.of(1, 1)),
      send(io, 0, Packet.exchanging(traded)),
      write(io, 1, Uint8Array.of(4)),
      readInto(io, 0, 2),
    ]);
    expect(seen).toEqual([
      ["write", 2],
      ["exchange", 1],
      ["write", 1],
      ["read", 1],
    ]);
    expect([...traded, bytes[0], bytes[1]]).toEqual([1, 1, 3, 4]);
  });

  it("a synchronous write does not run ahead of one in flight, and says so", async () => {
    const bytes = counted();
    const late = gate();
    const io = new SourceIo(memorySource(bytes, { mode: "both", gate: late.wait }), new Scheduler());
    const first = write(io, 0, Uint8Array.of(1)).promise();
    await turns(20);
    expect(() => write(io, 0, Uint8Array.of(2)).sync()).toThrow(/memory is asynchronous only/);
    expect([...readInto(io, 5, 1).sync()]).toEqual([5]);
    // A write in flight is not issued again, as a read would be.
    expect(bytes[0]).toBe(0);
    const second = write(io, 0, Uint8Array.of(3)).promise();
    await turns(20);
    late.open();
    await first;
    expect(bytes[0]).toBe(1);
    await second;
    expect(bytes[0]).toBe(3);
    await io.close();
  });

  it("operations that wait for room start after a flush by hand", async () => {
    const io = open({}, new Scheduler({ highWaterMark: 1 }));
    io.sendIo(0, Packet.reading(1).view().bind());
    const waiting = readInto(io, 7, 1).promise();
    await turns(1);
    io.flush(true);
    expect([...(await waiting)]).toEqual([7]);
  });

  it("a layer's flush that throws ends the synchronous drive in its routine", async () => {
    const io = open({ mode: "async" });
    let cleaned = false;
    function* reads(): Routine<void> {
      try {
        io.scheduler.enqueue({
          name: "throws",
          flush() {
            throw new Error("flush");
          },
        });
        yield* readInto(io, 0, 1);
      } finally {
        cleaned = true;
      }
    }
    expect(() => Io.of(io.scheduler, reads).sync()).toThrow("flush");
    expect(cleaned).toBe(true);
    expect([...(await readInto(io, 7, 1))]).toEqual([7]);
    expect(io.scheduler.pending).toBe(0);
  });

  it("a write that waited for admission is not overtaken by one that was started later", async () => {
    const bytes = counted();
    const io = new SourceIo(memorySource(bytes), new Scheduler({ highWaterMark: 1 }));
    const pending: Promise<unknown>[] = [];
    const output = toCallback(() => {
      pending.push(write(io, 0, Uint8Array.of(3)).promise());
    });
    pending.push(send(io, 0, Packet.writing(Uint8Array.of(1)), output).promise());
    pending.push(write(io, 0, Uint8Array.of(2)).promise());
    for (let i = 0; i < pending.length; i++) await pending[i];
    expect(bytes[0]).toBe(3);
    expect(pending.length).toBe(3);
  });
});
