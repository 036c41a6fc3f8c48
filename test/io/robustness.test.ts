/** What users and layers may do at the worst moment: submit, close, abort, throw and give up from within. */
import { describe, expect, it } from "vitest";
import {
  AddressRanges,
  all,
  type Batch,
  type BoundView,
  Cursor,
  type Fragment,
  fault,
  fetchPacket,
  fragments,
  Io,
  IoSequence,
  layer,
  MemoryIo,
  Packet,
  PartialReadError,
  pipe,
  type Routine,
  readInto,
  readPartial,
  readStream,
  readStreamToEnd,
  Scheduler,
  type Sink,
  type Source,
  SourceIo,
  send,
  sendRebound,
  settle,
  toCallback,
  UNANSWERED,
  type Waker,
  WouldBlockError,
  withFallback,
  withSplitting,
  write,
  writeStream,
} from "../../src/index.js";
import { delaying, memorySource } from "../suite/index.js";

const counted = (length = 4096) => Uint8Array.from({ length }, (_, i) => i & 255);
const open = (options: Parameters<typeof memorySource>[1] = {}, scheduler = new Scheduler()) =>
  new SourceIo(memorySource(counted(), options), scheduler);

async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await Promise.resolve();
}

function gate(): { wait: () => Promise<void>; open: () => void } {
  let release: () => void = () => {};
  const opened = new Promise<void>((resolve) => {
    release = resolve;
  });
  return { wait: () => opened, open: release };
}

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

describe("a layer that is wrong", () => {
  it("answering a view that it dropped throws, and the rest of the packet is still waited for", async () => {
    const memory = delaying(new MemoryIo(counted()), 8);
    let dropped: BoundView | undefined;
    const io = layer(undefined, (address: number, view: BoundView) => {
      dropped = view.split(4);
      memory.sendIo(address, view);
    });
    const packet = Packet.reading(8);
    const pending = send(io, 16, packet).promise();
    await turns(2);
    expect(() => dropped?.transfer(Uint8Array.of(1, 1, 1, 1))).toThrow(/keep/);
    expect(() => dropped?.keep()).toThrow(/keep/);
    expect(packet.complete).toBe(false);
    await pending;
    expect(packet.good()).toEqual([{ start: 0, end: 4 }]);
    expect(packet.holes()).toMatchObject([{ start: 4, end: 8, state: "unanswered" }]);
    expect([...packet.bytes]).toEqual([16, 17, 18, 19, 0, 0, 0, 0]);
  });

  it("answering a view that a source has queued fails its own operation only", async () => {
    const io = open({ mode: "async" });
    const wrong = layer(io.scheduler, (address: number, view: BoundView) => {
      io.sendIo(address, view);
      view.fail(fault("io", "view", "application"));
    });
    const outcomes = await settle([
      readInto(io, 1, 1),
      readInto(wrong, 2, 1),
      readInto(io, 3, 1),
      readInto(io, 4, 1),
    ]);
    expect(outcomes.map(({ ok }) => ok)).toEqual([true, false, true, true]);
    expect(io.scheduler.pending).toBe(0);
    await io.close();
  });

  it("failing in the middle of a fetch of its own still gets its call back", () => {
    const packet = Packet.reading(8);
    const seen: Packet[] = [];
    const throws = layer(undefined, (_: number, view: BoundView) => {
      view.split(4);
      view.transfer(Uint8Array.of(1, 2, 3, 4));
      throw new Error("broken");
    });
    fetchPacket(throws, 0, packet, (complete) => seen.push(complete));
    expect(seen).toEqual([packet]);
    expect(packet.good()).toEqual([{ start: 0, end: 4 }]);
    expect(packet.cause).toMatchObject({ message: "broken" });
  });

  it("throwing below a rebound view, or deciding about its parts, fails the operation and hangs nothing", async () => {
    const throws = layer(undefined, () => {
      throw new Error("below");
    });
    const over = withFallback(throws, new MemoryIo(counted()));
    expect([...(await readInto(over, 7, 2))]).toEqual([7, 8]);
    const io = layer(undefined, (address: number, view: BoundView) => {
      sendRebound(new MemoryIo(counted()), address, view, () => {
        throw new Error("in onPart");
      });
    });
    await expect(readInto(io, 0, 4).promise()).rejects.toThrow("in onPart");
  });

  it("dropping next to a part that failed as unanswered leaves no part of a rebound view undecided", async () => {
    const drops = layer(undefined, (_: number, view: BoundView) => {
      view.split(6).split(2);
      view.fail(UNANSWERED);
    });
    const io = withFallback(drops, new MemoryIo(counted()));
    expect([...readInto(io, 3, 10).sync()]).toEqual([...counted().subarray(3, 13)]);
  });

  it("a row without a status is one fragment, not two", async () => {
    const io = new SourceIo(
      {
        name: "lazy",
        supports: { write: false, live: false },
        ranges: () => AddressRanges.single(0, 9),
        transferSync() {},
      },
      new Scheduler(),
    );
    const seen = await fragments(io, 0, Packet.reading(9)).toArray();
    expect(seen.map(({ start, end }) => [start, end])).toEqual([[0, 9]]);
  });

  it("a connector that returns no promise fails or finishes its rows, and nothing hangs", async () => {
    const source = memorySource(counted());
    const io = new SourceIo(
      {
        name: "no promise",
        supports: source.supports,
        ranges: () => source.ranges(),
        transfer: ((batch: Batch) => source.transferSync?.(batch)) as unknown as NonNullable<
          Source["transfer"]
        >,
      },
      new Scheduler(),
    );
    expect([...(await readInto(io, 5, 2))]).toEqual([5, 6]);
    await io.close();
  });

  it("a connector that throws before it makes a promise fails its rows", async () => {
    const source: Source = {
      name: "early",
      supports: { write: true, live: false },
      ranges: () => AddressRanges.single(0, 64),
      transfer() {
        throw new Error("at once");
      },
    };
    const io = new SourceIo(source, new Scheduler());
    const cause = { message: "at once" };
    await expect(readInto(io, 0, 4).promise()).rejects.toMatchObject({ cause, holes: [{ state: "io" }] });
    await expect(write(io, 0, counted(4)).promise()).rejects.toMatchObject({ cause });
    await expect(write(io, 4, counted(4)).promise()).rejects.toMatchObject({ cause });
    await io.close();
  });

  it("a connector that goes on after it has failed reaches nobody else's memory", async () => {
    const late = gate();
    const bytes = counted();
    let calls = 0;
    const source: Source = {
      name: "runs on",
      supports: { write: false, live: false },
      ranges: () => AddressRanges.single(0, 4096),
      async transfer(batch) {
        calls++;
        if (calls === 1) {
          const goOn = () => {
            batch.bytes(0).fill(0xbb);
            batch.done(0);
          };
          void late
            .wait()
            .then(goOn)
            .catch(() => {});
          throw new Error("first half failed");
        }
        await turns(10);
        for (let row = 0; row < batch.length; row++) {
          const at = batch.address(row);
          batch.bytes(row).set(bytes.subarray(at, at + (batch.lengths[row] as number)));
          batch.done(row);
        }
        late.open();
        await turns(10);
      },
    };
    const io = new SourceIo(source, new Scheduler());
    await expect(readInto(io, 0, 4).promise()).rejects.toBeInstanceOf(PartialReadError);
    expect([...(await readInto(io, 8, 4))]).toEqual([8, 9, 10, 11]);
    expect(calls).toBe(2);
  });

  it("a row that failed in part, or whole, is not made good by a later done() or failRange()", () => {
    const source: Source = {
      name: "undecided",
      supports: { write: false, live: false },
      ranges: () => AddressRanges.single(0, 100),
      transferSync(batch) {
        if (batch.address(0) === 0) {
          batch.failRange(0, 2, 4, 3);
          batch.done(0);
        } else if (batch.address(0) === 20) {
          batch.fail(0, 3);
          batch.failRange(0, 2, 4, 3);
        } else if (batch.address(0) === 40) {
          batch.fail(0, 0);
        } else {
          batch.failRange(0, 1.5, 3.5, 3);
        }
      },
    };
    const io = new SourceIo(source, new Scheduler());
    const holes = (at: number) =>
      readPartial(io, at, 8)
        .sync()
        .holes.map(({ start, end }) => [start, end]);
    expect(holes(0)).toEqual([[2, 4]]);
    expect(holes(20)).toEqual([[0, 8]]);
    expect(holes(40)).toEqual([[0, 8]]);
    expect(holes(60)).toEqual([[1, 4]]);
  });
});

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

describe("a scheduler", () => {
  it("goes on after a callback or a drain that throws", async () => {
    const thrown: unknown[] = [];
    const afterTurn = (run: () => void) => {
      const guarded = () => {
        try {
          run();
        } catch (error) {
          thrown.push(error);
        }
      };
      void turns(3).then(guarded);
    };
    const scheduler = new Scheduler({ afterTurn });
    const io = open({}, scheduler);
    const other = readInto(io, 8, 1).promise();
    scheduler.enqueue({
      name: "throws",
      flush() {
        throw new Error("flush");
      },
    });
    const last = open({}, scheduler);
    const after = readInto(last, 9, 1).promise();
    function* reads(): Routine<number> {
      return (yield* readInto(io, 1, 1))[0] as number;
    }
    const calls: string[] = [];
    scheduler.start(
      reads(),
      () => {
        calls.push("done");
        throw new Error("callback");
      },
      () => calls.push("failed"),
    );
    expect([...(await other), ...(await after)]).toEqual([8, 9]);
    expect([...(await readInto(io, 3, 1))]).toEqual([3]);
    expect(calls).toEqual(["done"]);
    expect(thrown.map(String).sort()).toEqual(["Error: callback", "Error: flush"]);
  });

  it("throws a wait's error into the routine, so that its finally runs", async () => {
    let cleaned = 0;
    function* waitsForNothing(): Routine<string> {
      try {
        yield Packet.reading(1);
        return "?";
      } catch (error) {
        return String(error);
      } finally {
        cleaned++;
      }
    }
    const scheduler = new Scheduler();
    expect(await Io.of(scheduler, waitsForNothing)).toMatch(/never submitted/);
    expect(Io.of(scheduler, waitsForNothing).sync()).toMatch(/never submitted/);
    expect(cleaned).toBe(2);
  });

  it("does not take the end of a wait that was given up for the end of the next one", async () => {
    class Flag {
      over = false;
      waker: Waker | undefined;
      park(waker: Waker): boolean {
        if (!this.over) this.waker = waker;
        return !this.over;
      }
      raise(): void {
        this.over = true;
        this.waker?.wake();
      }
    }
    const first = new Flag();
    const second = new Flag();
    let passed = false;
    function* survivor(): Routine<void> {
      try {
        yield first;
      } catch {
        yield second;
        passed = true;
      }
    }
    const scheduler = new Scheduler();
    expect(() => all([Io.of(scheduler, survivor)]).sync()).toThrow(WouldBlockError);
    first.raise();
    await turns(10);
    expect(passed).toBe(false);
    second.raise();
    await turns(10);
    expect(passed).toBe(true);
  });

  it("all() with an operation that was driven already settles the others first", async () => {
    const io = open();
    const used = readInto(io, 1, 1);
    used.sync();
    const bytes = new Uint8Array(1);
    await expect(all([readInto(io, 3, bytes), used, readInto(io, 4, 1)]).promise()).rejects.toThrow(
      /driven once/,
    );
    expect(bytes[0]).toBe(3);
    expect(io.counters.fragments).toBe(3);
  });

  it("a synchronous operation waits for room, too, whatever else can go on meanwhile", async () => {
    const scheduler = new Scheduler({ highWaterMark: 4 });
    let most = 0;
    const io = open(
      {
        onBatch: () => {
          most = Math.max(most, scheduler.pending);
        },
      },
      scheduler,
    );
    const packet = Packet.reading(1);
    const view = packet.view().bind();
    view.keep();
    function* waits(): Routine<void> {
      yield packet;
    }
    const woken = Io.of(scheduler, waits).promise();
    for (let i = 0; i < 4; i++) io.sendIo(i, Packet.reading(1).view().bind());
    view.complete();
    readInto(io, 9, 1).sync();
    expect(most).toBe(4);
    await woken;
  });

  it("calls back once, with the error, for a routine that was given up while it waited for its turn", async () => {
    const scheduler = new Scheduler({ highWaterMark: 1 });
    const io = open({ mode: "async" }, scheduler);
    const calls: string[] = [];
    const start = () =>
      scheduler.start(
        readInto(io, 1, 1)[Symbol.iterator](),
        () => calls.push("done"),
        (error) => calls.push(String(error)),
      );
    io.sendIo(0, Packet.reading(1).view().bind());
    const waiting = start();
    waiting.giveUp(new Error("enough"));
    waiting.giveUp(new Error("twice"));
    await turns(40);
    expect(calls).toEqual(["Error: enough"]);
    const running = start();
    await turns(40);
    running.giveUp(new Error("too late"));
    expect(calls).toEqual(["Error: enough", "done"]);
  });

  it("waits with a flush for a task that is three microtasks behind, and for no more than it was told to", async () => {
    const batches = async (scheduler: Scheduler, behind: number) => {
      const io = open({}, scheduler);
      const first = readInto(io, 0, 1).promise();
      let turn = Promise.resolve();
      for (let i = 1; i < behind; i++) turn = turn.then(() => {});
      await turn.then(() => readInto(io, 8, 1).promise());
      await first;
      return io.counters.batches;
    };
    expect(await batches(new Scheduler(), 3)).toBe(1);
    expect(await batches(new Scheduler(), 4)).toBe(2);
    expect(await batches(new Scheduler({ quietTurns: 1 }), 3)).toBe(2);
    expect(await batches(new Scheduler({ quietTurns: 9 }), 8)).toBe(1);
    const afterTurn = (run: () => void) => void setImmediate(run);
    expect(await batches(new Scheduler({ afterTurn }), 50)).toBe(1);
  });
});

describe("abort", () => {
  const states = async (pending: Promise<{ holes: readonly { state: string }[] }>) =>
    (await pending).holes.map(({ state }) => state);

  it("while an operation waits for admission, queued, in flight, and after it is complete", async () => {
    const late = gate();
    const io = open({ mode: "async", gate: late.wait }, new Scheduler({ highWaterMark: 2 }));
    const controllers = Array.from({ length: 4 }, () => new AbortController());
    const start = (i: number) =>
      readPartial(io, i, 2, { signal: (controllers[i] as AbortController).signal }).promise();
    const inFlight = start(0);
    await turns(20);
    const queued = start(1);
    const waiting = start(2);
    await turns(1);
    for (const controller of controllers) controller.abort();
    expect(await states(queued)).toEqual(["aborted"]);
    expect(await states(waiting)).toEqual(["aborted"]);
    late.open();
    const { bytes, holes } = await inFlight;
    expect([...bytes, ...holes]).toEqual([0, 1]);
    expect(io.counters.fragments).toBe(2);
    (controllers[0] as AbortController).abort();
    expect(await states(start(3))).toEqual(["aborted"]);
    expect(io.scheduler.pending).toBe(0);
  });

  it("ends a read that a pipe holds, at once and without another byte; those behind it come next", async () => {
    const { readable, writable } = pipe();
    const controllers = [new AbortController(), new AbortController()];
    const [first, second] = controllers.map((controller) =>
      readStream(readable, new Uint8Array(4), { signal: controller.signal }).promise(),
    );
    const third = readStream(readable, new Uint8Array(2)).promise();
    await turns(5);
    controllers[1]?.abort();
    await expect(second).rejects.toThrow(/aborted/);
    controllers[0]?.abort();
    await expect(first).rejects.toThrow(/aborted/);
    await writeStream(writable, counted(2));
    expect(await third).toBe(2);
  });

  it("ends a write that waits for room in a pipe, and keeps what it had written", async () => {
    const { readable, writable } = pipe(4);
    const controller = new AbortController();
    const written = writeStream(writable, counted(10), { signal: controller.signal }).promise();
    await turns(5);
    controller.abort();
    await expect(written).rejects.toMatchObject({
      good: [{ start: 0, end: 4 }],
      holes: [{ start: 4, end: 10, state: "aborted" }],
    });
    expect([...readInto(readable, undefined, 4).sync()]).toEqual([0, 1, 2, 3]);
  });

  it("reaches what was sent on through a rebound view, and asks nobody else for it", async () => {
    const io = open({ mode: "async" });
    const second = open({ mode: "async" }, io.scheduler);
    const controller = new AbortController();
    const pending = readPartial(withFallback(io, second), 0, 8, { signal: controller.signal }).promise();
    controller.abort();
    expect(await states(pending)).toEqual(["aborted"]);
    expect([io.counters.batches, second.counters.fragments]).toEqual([0, 0]);
  });

  it("between two parts ends the second, wherever it was still to be sent", async () => {
    const { readable, writable } = pipe();
    await writeStream(writable, counted(4));
    const held = readStream(pipe().readable, 1);
    const source = open({ mode: "async" });
    const rebound = withFallback(source, new MemoryIo(counted()));
    const readers = [
      (view: BoundView) => readable.sendIo(undefined, view),
      (view: BoundView) => rebound.sendIo(4, view),
      (view: BoundView) => source.sendIo(4, view),
    ];
    for (const second of readers) {
      const controller = new AbortController();
      const io = layer(source.scheduler, (_: number, view: BoundView) => {
        const rest = view.split(4);
        view.transfer(counted(4));
        second(rest);
      });
      const packet = Packet.reading(8);
      const output = toCallback(() => controller.abort());
      await send(io, 0, packet, output, { signal: controller.signal });
      expect(packet.good()).toEqual([{ start: 0, end: 4 }]);
      expect(packet.holes()).toMatchObject([{ start: 4, end: 8, state: "aborted" }]);
    }
    expect(source.counters.batches).toBe(0);
    expect(() => held.sync()).toThrow(WouldBlockError);
  });

  it("before the first fragment is asked for sends nothing", async () => {
    const io = open();
    const signal = AbortSignal.abort();
    const parts = await fragments(io, 0, Packet.reading(4), { signal }).toArray();
    expect(parts.map(({ start, end }) => [start, end])).toEqual([[0, 4]]);
    expect(io.counters.fragments).toBe(0);
  });

  it("leaves no listener behind", async () => {
    let listeners = 0;
    const signal = {
      aborted: false,
      addEventListener: () => void listeners++,
      removeEventListener: () => void listeners--,
    };
    const io = open({ mode: "async" });
    await readPartial(io, 0, 4, { signal });
    expect(() => readPartial(io, 0, 4, { signal }).sync()).toThrow(WouldBlockError);
    await fragments(io, 0, Packet.reading(4), { signal }).toArray();
    for await (const _ of fragments(io, 0, Packet.reading(4), { signal })) break;
    expect(listeners).toBe(0);
  });
});

describe("a cursor", () => {
  it("stays where it was when a synchronous read or write could not be done", async () => {
    const cursor = new Cursor(open({ mode: "async" }), 16);
    expect(() => cursor.read(8).sync()).toThrow(WouldBlockError);
    expect(cursor.position).toBe(16);
    expect(() => cursor.write(counted(8)).sync()).toThrow(WouldBlockError);
    expect(cursor.position).toBe(16);
    const bytes = new Uint8Array(2);
    await cursor.read(bytes);
    expect([...bytes]).toEqual([16, 17]);
  });

  it("and a stream refuse to read to the end in chunks of nothing", async () => {
    for (const chunk of [0, -1, 0.5, Number.NaN]) {
      expect(() => new Cursor(new MemoryIo(9)).readToEnd({ chunk })).toThrow(RangeError);
      expect(() => readStreamToEnd(pipe().readable, { chunk })).toThrow(RangeError);
    }
  });
});

describe("a sequence", () => {
  it("gives its items in order to a consumer that asks for several at once", async () => {
    const io = open({ mode: "async" });
    function* items(sink: Sink<number>): Routine<void> {
      for (let i = 0; i < 4; i++) yield sink.emit((yield* readInto(io, 10 + i, 1))[0] as number);
    }
    const iterator = IoSequence.of(io.scheduler, items)[Symbol.asyncIterator]();
    const results = await Promise.all([1, 2, 3, 4, 5].map(() => iterator.next()));
    expect(results.map(({ value }) => value)).toEqual([10, 11, 12, 13, undefined]);
    const cursor = IoSequence.of(io.scheduler, items).cursor();
    const first = cursor.next().promise();
    await expect(cursor.next().promise()).rejects.toThrow(/under way/);
    expect((await first).value).toBe(10);
  });

  it("finishes a finally that waits, when its consumer ends early", async () => {
    const io = open({ mode: "both" });
    const log: number[] = [];
    function* endless(sink: Sink<number>): Routine<void> {
      try {
        for (let i = 0; ; i++) yield sink.emit(i);
      } finally {
        log.push((yield* readInto(io, 42, 1))[0] as number);
      }
    }
    const sequence = IoSequence.of(io.scheduler, endless);
    for await (const item of sequence) if (item === 1) break;
    expect(log).toEqual([42]);
    for (const item of sequence.sync()) if (item === 1) break;
    expect(log).toEqual([42, 42]);
    function* some(): Routine<void> {
      const cursor = sequence.cursor();
      yield* cursor.next();
      yield* cursor.end();
      yield* cursor.end();
    }
    Io.of(io.scheduler, some).sync();
    expect(log).toEqual([42, 42, 42]);
  });
});

describe("the finally of a sequence", () => {
  it("is told when what it waits for would block, and runs to its end", () => {
    const io = open({ mode: "async" });
    const log: string[] = [];
    function* items(sink: Sink<number>): Routine<void> {
      try {
        yield sink.emit(1);
      } finally {
        try {
          yield* readInto(io, 0, 1);
        } catch (error) {
          log.push((error as Error).name);
        } finally {
          log.push("end");
        }
      }
    }
    for (const item of IoSequence.of(io.scheduler, items).sync()) expect(item).toBe(1);
    expect(log).toEqual(["WouldBlockError", "end"]);
    log.length = 0;
    for (const _ of IoSequence.of(io.scheduler, items).sync()) break;
    expect(log).toEqual(["WouldBlockError", "end"]);
  });
});

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
