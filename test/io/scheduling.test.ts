import { describe, expect, it } from "vitest";
import {
  AddressRanges,
  all,
  type Batch,
  type BoundView,
  Io,
  IoSequence,
  layer,
  MemoryIo,
  Packet,
  type Routine,
  readInto,
  readPartial,
  Scheduler,
  type Sink,
  type Source,
  SourceIo,
  send,
  settle,
  toCallback,
  WouldBlockError,
  write,
} from "../../src/index.js";
import { delaying, memorySource } from "../suite/index.js";

const counted = () => Uint8Array.from({ length: 4096 }, (_, i) => i & 255);
const open = (options: Parameters<typeof memorySource>[1] = {}, scheduler = new Scheduler()) =>
  new SourceIo(memorySource(counted(), options), scheduler);

async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await Promise.resolve();
}

describe("batching", () => {
  for (const mode of ["sync", "async"] as const) {
    it(`reads started in one turn reach a source that answers ${mode} as one batch`, async () => {
      const io = open({ mode });
      await all(Array.from({ length: 1000 }, (_, i) => readInto(io, (i * 2029) % 4088, 8)));
      expect(io.counters).toMatchObject({ batches: 1, fragments: 1000, bytes: 8000 });
    });
  }

  it("tasks whose await depths differ by three microtasks travel together", async () => {
    const io = open({ mode: "async" });
    const task = async (i: number) => {
      await turns(i % 4);
      return readInto(io, i * 8, 8);
    };
    for (let round = 0; round < 3; round++) await Promise.all(Array.from({ length: 64 }, (_, i) => task(i)));
    expect(io.counters.batches).toBe(3);
  });

  it("a chain of dependent reads by many tasks costs one batch a link", async () => {
    const io = open({ mode: "async" });
    const task = async (start: number) => {
      let at = start;
      for (let link = 0; link < 5; link++) at = ((await readInto(io, at, 1))[0] as number) + link * 3;
      return at;
    };
    await Promise.all(Array.from({ length: 200 }, (_, i) => task(i)));
    expect(io.counters.batches).toBe(5);
  });

  it("adjacent fragments of one packet are merged into one row, whatever cut them", async () => {
    const rows: number[] = [];
    const io = open({ onBatch: (batch) => rows.push(batch.length) });
    const cut = layer(io.scheduler, (address: number, view: BoundView) => {
      const pieces: [number, BoundView][] = [];
      let rest = view;
      while (rest.length > 16) {
        const tail = rest.split(16);
        pieces.push([address + rest.start, rest]);
        rest = tail;
      }
      pieces.push([address + rest.start, rest]);
      for (const [at, piece] of pieces.reverse()) io.sendIo(at, piece);
    });
    expect(await readInto(cut, 100, 256)).toEqual(counted().slice(100, 356));
    expect(rows).toEqual([1]);
    expect(io.counters).toEqual({ batches: 1, fragments: 16, bytes: 256, merged: 15 });
  });

  it("rows reach the connector ascending by address for reads, in the order of submission for writes", async () => {
    const seen: number[][] = [];
    const note = (batch: Batch) =>
      seen.push(Array.from({ length: batch.length }, (_, row) => batch.address(row)));
    const io = open({ onBatch: note });
    const addresses = [0x900, 8, 0x108, 0x100, 0xf00, 0];
    await all(addresses.map((address) => readInto(io, address, 4)));
    await all(addresses.map((address) => write(io, address, Uint8Array.of(1, 2, 3, 4))));
    expect(seen).toEqual([[...addresses].sort((a, b) => a - b), addresses]);
  });

  it("a fault in a merged row costs only the fragment it belongs to", async () => {
    // This connector can only say yes or no to a whole row.
    const bytes = counted();
    const source: Source = {
      name: "coarse",
      supports: { write: false, live: false },
      ranges: () => AddressRanges.single(0, 4096),
      transferSync(batch) {
        for (let row = 0; row < batch.length; row++) {
          const at = batch.address(row);
          const end = at + (batch.lengths[row] as number);
          if (at < 64 && end > 48) batch.fail(row, 3);
          else {
            batch.bytes(row).set(bytes.subarray(at, end));
            batch.done(row);
          }
        }
      },
    };
    const io = new SourceIo(source, new Scheduler());
    const cut = layer(io.scheduler, (address: number, view: BoundView) => {
      let rest = view;
      let at = address;
      while (rest.length > 16) {
        const tail = rest.split(16);
        io.sendIo(at, rest);
        at += 16;
        rest = tail;
      }
      io.sendIo(at, rest);
    });
    const { good, holes } = readPartial(cut, 0, 128).sync();
    expect(good).toEqual([
      { start: 0, end: 48 },
      { start: 64, end: 128 },
    ]);
    expect(holes).toMatchObject([{ start: 48, end: 64, fault: 3 }]);
  });

  it("a connector's exception fails the rows it left open, and is the error's cause", async () => {
    const boom = new Error("cable out");
    for (const mode of ["sync", "async"] as const) {
      const io = open({
        mode,
        onBatch: () => {
          throw boom;
        },
      });
      const error = await readInto(io, 0, 4).catch((caught: unknown) => caught);
      expect(error).toMatchObject({ cause: boom, holes: [{ start: 0, end: 4, state: "io" }] });
    }
  });

  it("a row without a status is a failure", async () => {
    const io = new SourceIo(
      {
        name: "lazy",
        supports: { write: false, live: false },
        ranges: () => AddressRanges.single(0, 9),
        transferSync() {},
      },
      new Scheduler(),
    );
    expect(readPartial(io, 0, 9).sync().holes).toMatchObject([{ start: 0, end: 9, state: "unanswered" }]);
  });

  it("writes over an asynchronous source are applied in the order of their submission", async () => {
    const bytes = counted();
    let batches = 0;
    let inFlight = 0;
    const source = memorySource(bytes, { mode: "async" });
    const io = new SourceIo(
      {
        ...source,
        async transfer(batch) {
          inFlight++;
          expect(inFlight).toBe(1);
          await turns(10 - 2 * batches++);
          await source.transfer?.(batch);
          inFlight--;
        },
      },
      new Scheduler(),
    );
    const pending: Promise<void>[] = [];
    for (let i = 0; i < 5; i++) {
      pending.push(write(io, 10, Uint8Array.of(i)).promise());
      await turns(6);
    }
    await Promise.all(pending);
    expect(batches).toBeGreaterThan(1);
    expect(bytes[10]).toBe(4);
  });
});

describe("back-pressure", () => {
  it("operations beyond the high-water mark wait to start, and all finish", async () => {
    const scheduler = new Scheduler({ highWaterMark: 100 });
    let most = 0;
    const io = open(
      {
        mode: "async",
        onBatch: (batch) => {
          most = Math.max(most, batch.length);
        },
      },
      scheduler,
    );
    const values = await all(Array.from({ length: 2000 }, (_, i) => readInto(io, i, 1)));
    expect(values.map((value) => value[0])).toEqual(Array.from({ length: 2000 }, (_, i) => i & 255));
    expect(most).toBe(100);
    expect([scheduler.pending, scheduler.waiting]).toEqual([0, 0]);
  });

  it("holds when driven synchronously", () => {
    const scheduler = new Scheduler({ highWaterMark: 16 });
    let most = 0;
    const io = open(
      {
        onBatch: (batch) => {
          most = Math.max(most, batch.length);
        },
      },
      scheduler,
    );
    expect(all(Array.from({ length: 500 }, (_, i) => readInto(io, i, 1))).sync().length).toBe(500);
    expect(most).toBe(16);
  });

  it("fragments of an admitted operation, and what outputs submit, are always taken: nothing deadlocks", async () => {
    const io = open({ mode: "async" }, new Scheduler({ highWaterMark: 2 }));
    const cut = layer(io.scheduler, (address: number, view: BoundView) => {
      let rest = view;
      let at = address;
      while (rest.length > 1) {
        const tail = rest.split(1);
        io.sendIo(at + 0, rest);
        at += 1;
        rest = tail;
      }
      io.sendIo(at, rest);
    });
    let extra = 0;
    const output = toCallback(() => {
      if (extra++ < 50) io.sendIo(extra * 3, Packet.reading(2).view().bind(output));
    });
    await all(Array.from({ length: 10 }, (_, i) => send(cut, i * 64, Packet.reading(64), output)));
    expect(extra).toBeGreaterThan(640);
  });
});

describe("driving", () => {
  it("sends nothing before an operation is driven, and drives it once", async () => {
    const io = open();
    const operation = readInto(io, 0, 4);
    await turns(10);
    expect(io.counters.fragments).toBe(0);
    expect(operation.sync().length).toBe(4);
    expect(() => operation.sync()).toThrow(/driven once/);
    await expect(operation.promise()).rejects.toThrow(/driven once/);
  });

  it("nests: a routine drives others synchronously, also inside a callback of an asynchronous one", async () => {
    const io = open({ mode: "both" });
    function* outer(): Routine<number> {
      const a = (yield* readInto(io, 1, 1))[0] as number;
      const b = readInto(io, 2, 1).sync()[0] as number;
      return a + b;
    }
    expect(Io.of(io.scheduler, outer).sync()).toBe(3);
    expect(await Io.of(io.scheduler, outer)).toBe(3);
    let inside = -1;
    await send(
      io,
      0,
      Packet.reading(1),
      toCallback(() => {
        inside = readInto(io, 7, 1).sync()[0] as number;
      }),
    );
    expect(inside).toBe(7);
  });

  it("drives operations of two schedulers together", async () => {
    const a = open();
    const b = open();
    expect(
      all([readInto(a, 1, 1), readInto(b, 2, 1)])
        .sync()
        .map((bytes) => bytes[0]),
    ).toEqual([1, 2]);
    function* both(): Routine<number> {
      return ((yield* readInto(a, 4, 1))[0] as number) + ((yield* readInto(b, 5, 1))[0] as number);
    }
    expect(Io.of(a.scheduler, both).sync()).toBe(9);
    expect(await Io.of(a.scheduler, both)).toBe(9);
  });

  it("throws WouldBlockError over what is asynchronous only, naming it, and goes on working", async () => {
    const io = open({ mode: "async" });
    const bytes = new Uint8Array(4);
    expect(() => readInto(delaying(new MemoryIo(counted())), 0, 4).sync()).toThrow(/a layer answers later/);
    expect(() => readInto(io, 0, bytes).sync()).toThrow(WouldBlockError);
    expect(() => readInto(io, 0, 4).sync()).toThrow(/memory is asynchronous only/);
    expect([...(await readInto(io, 5, 1))]).toEqual([5]);
    await turns(20);
    // What was given up must not land later.
    expect([...bytes]).toEqual([0, 0, 0, 0]);
  });

  it("reads in flight are issued again when a synchronous drive needs them", async () => {
    let release: () => void = () => {};
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    const io = open({ mode: "both", gate: () => gate });
    const shared = Packet.reading(4);
    const first = send(io, 8, shared).promise();
    await turns(20);
    expect(shared.complete).toBe(false);
    // A layer in which one operation waits for another's packet.
    function* needsShared(): Routine<number> {
      while (!shared.complete) yield* readInto(inFlightOf(io), 0, 1);
      return shared.bytes[0] as number;
    }
    expect(Io.of(io.scheduler, needsShared).sync()).toBe(8);
    release();
    await first;
    await turns(20);
    expect([...shared.bytes]).toEqual([8, 9, 10, 11]);
  });

  it("all settles every operation before it throws; settle gives every outcome", async () => {
    const io = open({ mode: "async" });
    let finished = 0;
    function* ends(at: number): Routine<number> {
      const value = yield* readInto(io, at, 1);
      yield* readInto(io, at, 1);
      finished++;
      return value[0] as number;
    }
    const make = () => [
      readInto(io, 5000, 1).map(() => 0),
      Io.of(io.scheduler, ends, 4),
      Io.of(io.scheduler, ends, 6),
    ];
    await expect(all(make()).promise()).rejects.toThrow(/0x1388/);
    expect(finished).toBe(2);
    const outcomes = await settle(make());
    expect(outcomes.map((outcome) => (outcome.ok ? outcome.value : "failed"))).toEqual(["failed", 4, 6]);
    expect(await all([])).toEqual([]);
  });

  it("an operation that fails throws where it is awaited, synchronously and in a routine", async () => {
    // biome-ignore lint/correctness/useYield: it throws before it could wait.
    function* fails(): Routine<never> {
      throw new Error("no");
    }
    const scheduler = new Scheduler();
    await expect(Io.of(scheduler, fails).promise()).rejects.toThrow("no");
    expect(() => Io.of(scheduler, fails).sync()).toThrow("no");
    function* catches(): Routine<string> {
      try {
        return yield* Io.of(scheduler, fails);
      } catch {
        return "caught";
      }
    }
    expect(await Io.of(scheduler, catches)).toBe("caught");
  });
});

/** A layer that waits, synchronously driven, for whatever `io` has in flight. */
function inFlightOf(io: SourceIo) {
  return layer(io.scheduler, (_: number, view: BoundView) => {
    io.reissue();
    view.complete();
  });
}

describe("sequences", () => {
  function* upTo(sink: Sink<number>, io: SourceIo, count: number): Routine<void> {
    for (let i = 0; i < count; i++) yield sink.emit((yield* readInto(io, i, 1))[0] as number);
  }

  it("give the same items awaited, synchronously, collected, and item by item in a routine", async () => {
    const io = open({ mode: "both" });
    const sequence = IoSequence.of(io.scheduler, upTo, io, 5);
    const items: number[] = [];
    for await (const item of sequence) items.push(item);
    expect(items).toEqual([0, 1, 2, 3, 4]);
    expect([...sequence.sync()]).toEqual(items);
    expect(await sequence.toArray()).toEqual(items);
    expect(
      sequence
        .map((item) => item * 2)
        .toArray()
        .sync(),
    ).toEqual([0, 2, 4, 6, 8]);
    function* sum(): Routine<number> {
      const cursor = sequence.cursor();
      let total = 0;
      for (let next = yield* cursor.next(); !next.done; next = yield* cursor.next()) total += next.value;
      return total;
    }
    expect(Io.of(io.scheduler, sum).sync()).toBe(10);
  });

  it("end early when the consumer does, and run their finally", async () => {
    const io = open();
    let closed = 0;
    function* endless(sink: Sink<number>): Routine<void> {
      try {
        for (let i = 0; ; i++) yield sink.emit(i);
      } finally {
        closed++;
      }
    }
    const sequence = IoSequence.of(io.scheduler, endless);
    for await (const item of sequence) if (item === 3) break;
    for (const item of sequence.sync()) if (item === 3) break;
    expect(closed).toBe(2);
  });

  it("throw what their routine throws, after the items before it", async () => {
    const io = open();
    function* short(sink: Sink<number>): Routine<void> {
      yield sink.emit(1);
      yield* readInto(io, 9999, 1);
    }
    const items: number[] = [];
    const consume = async () => {
      for await (const item of IoSequence.of(io.scheduler, short)) items.push(item);
    };
    await expect(consume()).rejects.toThrow(/0x270f/);
    expect(items).toEqual([1]);
  });
});
