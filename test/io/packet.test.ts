import { describe, expect, it } from "vitest";
import {
  type BoundView,
  type Fragment,
  fault,
  fragments,
  layer,
  MemoryIo,
  Packet,
  type PacketIo,
  PartialReadError,
  readInto,
  readPartial,
  Scheduler,
  SourceIo,
  send,
  toCallback,
  UNANSWERED,
  withSplitting,
  write,
} from "../../src/index.js";
import { delaying, memorySource, refusing } from "../suite/index.js";

const counted = () => Uint8Array.from({ length: 200 }, (_, i) => i);

describe("what mfio does", () => {
  it("reading past the end fails from the first missing byte on, with state outside", async () => {
    const memory = new MemoryIo(counted());
    const outside = await send(memory, 200, Packet.reading(200));
    expect(outside.clamp).toBe(0);
    const crossing = Packet.reading(200);
    const calls: Fragment[] = [];
    await send(
      memory,
      199,
      crossing,
      toCallback((fragment) => calls.push(fragment)),
    );
    expect(crossing.clamp).toBe(1);
    expect(crossing.holes()).toMatchObject([{ start: 1, end: 200, state: "outside" }]);
    expect(calls.length).toBe(2);
    expect((await fragments(memory, 199, Packet.reading(200)).toArray()).length).toBe(2);
  });

  it("reads one byte, twice in a row, synchronously and not; writes one and reads it back", async () => {
    const bytes = counted();
    const memory = new SourceIo(memorySource(bytes, { mode: "both" }));
    expect([...readInto(memory, 100, 1).sync()]).toEqual([100]);
    expect([...readInto(memory, 100, 1).sync()]).toEqual([100]);
    expect([...(await readInto(memory, 100, 1))]).toEqual([100]);
    write(memory, 100, Uint8Array.of(42)).sync();
    expect([...(await readInto(memory, 100, 1))]).toEqual([42]);
  });

  it("moves any view of memory: a Uint32Array round-trips, a DataView reads packed fields", async () => {
    const memory = new MemoryIo(counted());
    await write(memory, 100, Uint32Array.of(1, 0xdeadbeef, 3));
    const back = new Uint32Array(3);
    await readInto(memory, 100, back);
    expect([...back]).toEqual([1, 0xdeadbeef, 3]);
  });

  it("a request enum as parameter: a shorter answer leaves older bytes, and the rest is reported outside", async () => {
    type Request = "greet" | "shout";
    const answers = { shout: "Hoooooo", greet: "Hi" };
    const io: PacketIo<Request> = layer(undefined, (request: Request, view: BoundView) => {
      const text = Uint8Array.from(answers[request], (letter) => letter.charCodeAt(0));
      const rest = text.length < view.length ? view.split(text.length) : undefined;
      view.transfer(text);
      rest?.fail(fault("outside", "stream", "backend"));
    });
    const buffer = new Uint8Array(64);
    const first = await readPartial(io, "shout", buffer);
    expect(first.good).toEqual([{ start: 0, end: 7 }]);
    const second = await readPartial(io, "greet", buffer);
    expect(second.good).toEqual([{ start: 0, end: 2 }]);
    expect(second.holes).toMatchObject([{ start: 2, end: 64, state: "outside" }]);
    expect(String.fromCharCode(...buffer.subarray(0, 7))).toBe("Hiooooo");
  });

  it("manual submission over the Fibonacci bytes", () => {
    const io = new MemoryIo(Uint8Array.of(0, 1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144));
    const five = Packet.reading(5);
    io.sendIo(3, five.view().bind());
    expect(five.complete).toBe(true);
    expect([...five.bytes]).toEqual([2, 3, 5, 8, 13]);
    const four = Packet.reading(4);
    io.sendIo(10, four.view().bind());
    expect(four.good()).toEqual([{ start: 0, end: 3 }]);
    expect(four.holes()).toMatchObject([{ start: 3, end: 4, state: "outside" }]);
    expect([...four.bytes.subarray(0, 3)]).toEqual([55, 89, 144]);
    expect(readInto(io, 3, 1).sync()[0]).toBe(2);
    const word = new Uint32Array(1);
    readInto(io, 0, word).sync();
    expect(word[0]).toBe(0x02010100);
  });

  it("a packed structure of u64, u32 and u8 reads back equal", async () => {
    const memory = new MemoryIo(counted());
    const packed = new DataView(new ArrayBuffer(13));
    packed.setBigUint64(0, 0x1122334455667788n, true);
    packed.setUint32(8, 0xdeadbeef, true);
    packed.setUint8(12, 42);
    await write(memory, 100, packed);
    const back = new DataView(new ArrayBuffer(20), 5, 13);
    await readInto(memory, 100, back);
    expect([back.getBigUint64(0, true), back.getUint32(8, true), back.getUint8(12)]).toEqual([
      0x1122334455667788n,
      0xdeadbeef,
      42,
    ]);
    expect([...new Uint8Array(back.buffer, 0, 5), ...new Uint8Array(back.buffer, 18)]).toEqual([
      0, 0, 0, 0, 0, 0, 0,
    ]);
    expect([...readInto(memory, 113, 1).sync()]).toEqual([113]);
  });
});

describe("mfio's faults that memtool does not have", () => {
  it("a write that a layer splits lands whole", async () => {
    const bytes = new Uint8Array(20);
    await write(
      withSplitting(new MemoryIo(bytes), 4),
      0,
      Uint8Array.from({ length: 12 }, (_, i) => i + 1),
    );
    expect([...bytes]).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0, 0, 0, 0, 0, 0, 0, 0]);
  });

  it("a view that nobody answers is a failure, not a success", async () => {
    const drops = layer(undefined, (_: number, view: BoundView) => {
      if (view.length > 4) {
        view.split(4);
        view.transfer(Uint8Array.of(1, 2, 3, 4));
      }
    });
    const { good, holes } = await readPartial(drops, 0, 10);
    expect(good).toEqual([{ start: 0, end: 4 }]);
    expect(holes).toMatchObject([{ start: 4, end: 10, state: "unanswered", fault: UNANSWERED }]);
    const seen = await fragments(drops, 0, Packet.reading(10)).toArray();
    expect(seen.map(({ start, end, fault }) => [start, end, fault])).toEqual([
      [0, 4, 0],
      [4, 10, UNANSWERED],
    ]);
  });

  it("a dropped part does not hide behind a part that is answered later", async () => {
    const memory = delaying(new MemoryIo(counted()), 5);
    const drops = layer(memory.scheduler, (address: number, view: BoundView) => {
      const rest = view.split(4);
      memory.sendIo(address, view);
      rest.split(2);
      memory.sendIo(address + 4, rest);
    });
    const { good, holes } = await readPartial(drops, 10, 10);
    expect(good).toEqual([{ start: 0, end: 6 }]);
    expect(holes).toMatchObject([{ start: 6, end: 10, state: "unanswered" }]);
  });

  it("a second answer to a view throws, and the first one counts", () => {
    const packet = Packet.reading(4);
    const view = packet.view().bind();
    view.transfer(Uint8Array.of(1, 2, 3, 4));
    expect(() => view.fail(UNANSWERED)).toThrow(/already/);
    expect(() => view.split(2)).toThrow(/already/);
    expect(packet.holes()).toEqual([]);
  });

  it("an answer that comes after the packet was given up throws, and touches nothing", async () => {
    let late: BoundView | undefined;
    const packet = await send(
      layer(undefined, (_: number, view: BoundView) => {
        late = view;
      }),
      0,
      Packet.reading(2),
    );
    expect(packet.holes()).toMatchObject([{ start: 0, end: 2, state: "unanswered" }]);
    expect(() => late?.transfer(Uint8Array.of(7, 7))).toThrow(/keep/);
    expect([...packet.bytes]).toEqual([0, 0]);
  });

  it("a partly read value is an error that carries the good part", async () => {
    const failed = await readInto(new MemoryIo(counted()), 198, 4).catch((error: unknown) => error);
    expect(failed).toBeInstanceOf(PartialReadError);
    const error = failed as PartialReadError;
    expect(error.good).toEqual([{ start: 0, end: 2 }]);
    expect([...error.bytes.subarray(0, 2)]).toEqual([198, 199]);
    expect(error.message).toContain("0xc6");
  });

  it("waiting for a packet that was never submitted throws instead of hanging", () => {
    expect(() => Packet.reading(4).park({ wake() {} })).toThrow(/never submitted/);
  });

  it("a reused packet wakes only who waits for it now", async () => {
    const io = new SourceIo(memorySource(counted()), new Scheduler());
    const packet = Packet.reading(1);
    let wakes = 0;
    io.sendIo(5, packet.view().bind());
    packet.park({ wake: () => wakes++ });
    io.flush(true);
    expect(wakes).toBe(1);
    io.sendIo(6, packet.view().bind());
    packet.park({ wake: () => wakes++ });
    expect(wakes).toBe(1);
    io.flush(true);
    expect(wakes).toBe(2);
    expect([...packet.bytes]).toEqual([6]);
  });

  it("a packet in flight cannot be submitted again, and can afterwards", async () => {
    const io = delaying(new MemoryIo(counted()));
    const packet = Packet.reading(1);
    const pending = send(io, 1, packet).promise();
    expect(() => packet.view()).toThrow(/in flight/);
    await pending;
    await send(io, 2, packet);
    expect([...packet.bytes]).toEqual([2]);
  });

  it("letting go of an operation in flight is safe", async () => {
    const io = new SourceIo(memorySource(counted(), { mode: "async" }), new Scheduler());
    void readInto(io, 0, 10).promise();
    expect([...(await readInto(io, 3, 1))]).toEqual([3]);
  });

  it("closing a source fails what is queued and waits for what is in flight", async () => {
    let open: () => void = () => {};
    const gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    const io = new SourceIo(memorySource(counted(), { mode: "async", gate: () => gate }), new Scheduler());
    const inFlight = readPartial(io, 0, 4).promise();
    for (let i = 0; i < 20; i++) await Promise.resolve();
    const queued = readPartial(io, 8, 4).promise();
    await Promise.resolve();
    const closed = io.close();
    expect((await queued).holes).toMatchObject([{ start: 0, end: 4, state: "gone" }]);
    open();
    await closed;
    expect((await inFlight).good).toEqual([{ start: 0, end: 4 }]);
    expect((await readPartial(io, 0, 4)).holes).toMatchObject([{ state: "gone" }]);
    await io.close();
  });
});

describe("packets", () => {
  it("keep holes in the middle, whatever the order in which fragments fail", async () => {
    const io = refusing(new MemoryIo(counted()), 10, (block) => block === 3 || block === 1 || block === 5);
    const { good, holes } = await readPartial(io, 5, 50);
    expect(holes.map(({ start, end }) => [start, end])).toEqual([
      [5, 15],
      [25, 35],
      [45, 50],
    ]);
    expect(good).toEqual([
      { start: 0, end: 5 },
      { start: 15, end: 25 },
      { start: 35, end: 45 },
    ]);
  });

  it("report the fault of the strictly lowest offset first, however fragments arrive", () => {
    const packet = Packet.reading(12);
    const first = packet.view().bind();
    const second = first.split(4);
    const third = second.split(4);
    const why = [
      fault("io", "file", "connector"),
      fault("excluded", "page", "format"),
      fault("gone", "file", "core"),
    ];
    third.fail(why[2] as number);
    expect([packet.clamp, packet.firstFault]).toEqual([8, why[2]]);
    first.fail(why[0] as number);
    second.fail(why[1] as number);
    expect([packet.clamp, packet.firstFault]).toEqual([0, why[0]]);
    expect(packet.holes().map((hole) => hole.fault)).toEqual(why);
  });

  it("update their account before the output is told, and wake after it", () => {
    const order: string[] = [];
    const packet = Packet.reading(2);
    const output = toCallback((fragment) => {
      order.push(`output ${fragment.start} complete=${packet.complete}`);
    });
    const view = packet.view().bind(output);
    view.keep();
    packet.park({ wake: () => order.push("wake") });
    const rest = view.split(1);
    rest.fail(UNANSWERED);
    view.transfer(Uint8Array.of(1));
    expect(order).toEqual(["output 1 complete=false", "output 0 complete=true", "wake"]);
  });

  it("let an output submit more I/O, even on the packet that has just completed", async () => {
    const io = new MemoryIo(counted());
    const packet = Packet.reading(1);
    const got: number[] = [];
    const output = toCallback(() => {
      got.push(packet.bytes[0] as number);
      if (got.length < 4) io.sendIo(10 * got.length, packet.view().bind(output));
    });
    io.sendIo(0, packet.view().bind(output));
    expect(got).toEqual([0, 10, 20, 30]);
  });

  it("turn an output's exception into the operation's, after every byte is answered", async () => {
    const io = withSplitting(new MemoryIo(counted()), 4);
    const packet = Packet.reading(12);
    let calls = 0;
    const output = toCallback(() => {
      calls++;
      throw new Error("from the output");
    });
    await expect(send(io, 0, packet, output).promise()).rejects.toThrow("from the output");
    expect(calls).toBe(3);
    expect(packet.complete).toBe(true);
  });

  it("hand out direct slices of the caller's memory, and refuse when told to or when misaligned", () => {
    const bytes = new Uint8Array(new ArrayBuffer(64), 8, 32);
    const direct = Packet.reading(bytes).view().bind();
    const slice = direct.claim(8);
    expect([slice?.buffer, slice?.byteOffset, slice?.length]).toEqual([bytes.buffer, 8, 32]);
    slice?.fill(9);
    direct.complete();
    expect(bytes[31]).toBe(9);
    expect(Packet.reading(bytes.subarray(1)).view().bind().claim(8)).toBeUndefined();
    expect(Packet.reading(bytes, { direct: false }).view().bind().claim()).toBeUndefined();
    expect(Packet.exchanging(bytes).view().bind().claim()).toBeUndefined();
  });

  it("trade bytes in an exchange, split or not", async () => {
    const bytes = counted();
    const packet = Packet.exchanging(Uint8Array.of(9, 8, 7, 6, 5, 4));
    await send(withSplitting(new MemoryIo(bytes), 4), 2, packet);
    expect([...packet.bytes]).toEqual([2, 3, 4, 5, 6, 7]);
    expect([...bytes.subarray(0, 9)]).toEqual([0, 1, 9, 8, 7, 6, 5, 4, 8]);
  });

  it("keep tags through splits, and take a new one for a part", () => {
    const packet = Packet.reading(8);
    const [left, right] = packet.view(5).split(4, 6);
    const a = left.bind();
    const b = a.split(2);
    expect([a.tag, b.tag, right.bind().tag]).toEqual([5, 5, 6]);
  });

  it("refuse splits outside the view", () => {
    const view = Packet.reading(4).view().bind();
    for (const at of [0, 4, 5, -1, 1.5, Number.NaN]) expect(() => view.split(at)).toThrow(RangeError);
  });

  it("refuse a transfer from memory that is too short, and stay unanswered", () => {
    const packet = Packet.reading(4);
    const view = packet.view().bind();
    expect(() => view.transfer(new Uint8Array(3))).toThrow(RangeError);
    expect(() => view.transfer(new Uint8Array(8), 5)).toThrow(RangeError);
    expect(packet.complete).toBe(false);
  });

  it("start afresh when they are reused: nothing of the last submission shows", async () => {
    const packet = Packet.reading(4);
    const bad = layer(undefined, (_: number, view: BoundView) => {
      view.packet.cause = new Error("cable");
      view.packet.abort();
      const rest = view.split(2);
      rest.fail(UNANSWERED);
      view.fail(fault("io", "file", "connector"));
    });
    const throws = toCallback(() => {
      throw new Error("output");
    });
    await expect(send(bad, 0, packet, throws).promise()).rejects.toThrow("output");
    expect([packet.clamp, packet.holes().length]).toEqual([0, 2]);
    const view = packet.view().bind();
    expect([packet.clamp, packet.firstFault, packet.abortFault]).toEqual([4, 0, 0]);
    expect([packet.cause, packet.outputError, packet.holes(), packet.good()]).toEqual([
      undefined,
      undefined,
      [],
      [],
    ]);
    view.transfer(Uint8Array.of(1, 2, 3, 4));
    expect([packet.good(), packet.holes()]).toEqual([[{ start: 0, end: 4 }], []]);
    await send(new MemoryIo(counted()), 8, packet);
    expect([...packet.bytes]).toEqual([8, 9, 10, 11]);
    // What was dropped is forgotten, too.
    await send(
      layer(undefined, () => {}),
      0,
      packet,
    );
    expect(packet.dropped()).toEqual([{ start: 0, end: 4 }]);
    await send(new MemoryIo(counted()), 9, packet);
    expect([packet.dropped(), packet.holes(), packet.bytes[0]]).toEqual([[], [], 9]);
  });

  it("have one waiter, and no use for an abort once they are complete", () => {
    const packet = Packet.reading(1);
    const view = packet.view().bind();
    view.keep();
    view.keep();
    let wakes = 0;
    expect(packet.park({ wake: () => wakes++ })).toBe(true);
    expect(() => packet.park({ wake() {} })).toThrow(/one waiter/);
    view.fail(0);
    expect([wakes, packet.firstFault]).toEqual([1, UNANSWERED]);
    expect(packet.park({ wake: () => wakes++ })).toBe(false);
    packet.abort();
    expect([packet.abortFault, wakes]).toEqual([0, 1]);
  });

  it("negotiate the copy: bytes land in the caller's memory, or in the layer's own where that is refused", async () => {
    const owned = new Uint8Array(64);
    let copies = 0;
    const device = layer(undefined, (address: number, view: BoundView) => {
      const slice = view.claim(4);
      const into = slice ?? owned.subarray(0, view.length);
      for (let i = 0; i < into.length; i++) into[i] = address + i;
      if (slice !== undefined) return view.complete();
      copies++;
      view.transfer(owned);
    });
    const aligned = new Uint8Array(new ArrayBuffer(32), 4, 8);
    for (const memory of [aligned, aligned.subarray(1, 5)]) {
      await readInto(device, 7, memory);
      expect([...memory]).toEqual(Array.from(memory, (_, i) => 7 + i));
    }
    expect(copies).toBe(1);
    const view = Packet.reading(aligned).view().bind();
    const rest = view.split(3);
    expect([view.claim(4)?.length, rest.claim(4), rest.claim()?.byteOffset]).toEqual([3, undefined, 7]);
  });

  it("refuse a view of an earlier submission", () => {
    const packet = Packet.reading(1);
    const stale = packet.view();
    stale.bind().complete();
    packet.view();
    expect(() => stale.bind()).toThrow(/earlier submission/);
  });
});
