import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  all,
  type BoundView,
  Cursor,
  fault,
  layer,
  MemoryIo,
  type NoPosition,
  Packet,
  PartialReadError,
  pipe,
  readPartial,
  readStream,
  readStreamToEnd,
  Scheduler,
  SourceIo,
  sendRebound,
  toCallback,
  withFallback,
  writeStream,
} from "../../src/index.js";
import { delaying, memorySource, refusing } from "../suite/index.js";

const counted = (length = 200) => Uint8Array.from({ length }, (_, i) => i & 255);

describe("a cursor", () => {
  it("moves to 128 after writing 128 bytes; rewound, reading to the end gives them and the rest", async () => {
    const cursor = new Cursor(new MemoryIo(new Uint8Array(150)));
    await cursor.write(counted(128));
    expect(cursor.position).toBe(128);
    cursor.rewind();
    const all = await cursor.readToEnd();
    expect([...all]).toEqual([...counted(128), ...new Array(22).fill(0)]);
    expect(cursor.position).toBe(150);
  });

  it("reserves its range when an operation starts, so reads in flight together never overlap", async () => {
    const cursor = new Cursor(new SourceIo(memorySource(counted(), { mode: "async" }), new Scheduler()));
    const parts = Array.from({ length: 20 }, () => new Uint8Array(10));
    expect(await all(parts.map((part) => cursor.read(part)))).toEqual(new Array(20).fill(10));
    expect(Uint8Array.from(parts.flatMap((part) => [...part]))).toEqual(counted());
    expect(cursor.position).toBe(200);
  });

  it("gives fewer bytes at the end, and stays there", () => {
    const cursor = new Cursor(new MemoryIo(counted()), 195);
    expect(cursor.read(10).sync()).toBe(5);
    expect([cursor.read(10).sync(), cursor.position]).toEqual([0, 200]);
  });

  it("reports a fault instead of taking it for the end, with what came before", async () => {
    const io = refusing(new MemoryIo(counted()), 10, (block) => block === 7);
    const error = await new Cursor(io).readToEnd({ chunk: 16 }).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(PartialReadError);
    expect((error as PartialReadError).good).toEqual([{ start: 0, end: 70 }]);
    expect([...(error as PartialReadError).bytes.subarray(0, 70)]).toEqual([...counted(70)]);
    expect(() => new Cursor(io, 68).read(20).sync()).toThrow(PartialReadError);
    expect(() => new Cursor(new MemoryIo(counted()), 190).write(counted(20)).sync()).toThrow(
      /write of 20 bytes/,
    );
  });

  it("refuses positions that are none", () => {
    const cursor = new Cursor(new MemoryIo(1));
    for (const position of [-1, 0.5, Number.NaN, 2 ** 53])
      expect(() => cursor.seek(position)).toThrow(RangeError);
  });
});

describe("a pipe", () => {
  it("keeps bytes and order through concurrent echo, whatever the sizes", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 1, maxLength: 12 }),
        fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 1, maxLength: 12 }),
        fc.integer({ min: 1, max: 500 }),
        async (writes, reads, capacity) => {
          const there = pipe(capacity);
          const back = pipe(capacity);
          const total = writes.reduce((sum, size) => sum + size, 0);
          const sent = counted(total);
          const echo = async () => {
            const chunk = new Uint8Array(37);
            for (;;) {
              const length = await readStream(there.readable, chunk);
              if (length > 0) await writeStream(back.writable, chunk.slice(0, length));
              if (length < chunk.length) break;
            }
            back.end();
          };
          const echoed = echo();
          let at = 0;
          const pending: Promise<void>[] = [];
          for (const size of writes) {
            pending.push(writeStream(there.writable, sent.subarray(at, at + size)).promise());
            at += size;
          }
          const received: number[] = [];
          const receive = async () => {
            for (let i = 0; ; i++) {
              const memory = new Uint8Array(reads[i % reads.length] as number);
              const length = await readStream(back.readable, memory);
              received.push(...memory.subarray(0, length));
              if (length < memory.length) break;
            }
          };
          const receiving = receive();
          await Promise.all(pending);
          there.end();
          await Promise.all([echoed, receiving]);
          expect(Uint8Array.from(received)).toEqual(sent);
        },
      ),
      { numRuns: 60 },
    );
  });

  it("reads to the end, and tells the end from an error", async () => {
    const { readable, writable, end } = pipe();
    writeStream(writable, counted(100)).sync();
    end();
    expect(await readStreamToEnd(readable, { chunk: 7 })).toEqual(counted(100));
    expect(readStream(readable, 4).sync()).toBe(0);
    expect(() => writeStream(writable, counted(1)).sync()).toThrow(/stream in outside state/);
    const broken = layer(undefined, (_: NoPosition, view: BoundView) => {
      const rest = view.split(3);
      view.transfer(counted(3));
      rest.fail(fault("io", "stream", "backend"));
    });
    await expect(readStreamToEnd(broken).promise()).rejects.toBeInstanceOf(PartialReadError);
    await expect(readStream(broken, 8).promise()).rejects.toBeInstanceOf(PartialReadError);
  });

  it("is read to a limit and no further", async () => {
    const { readable, writable } = pipe();
    await writeStream(writable, counted(20));
    expect(await readStreamToEnd(readable, { chunk: 4, maxBytes: 10 })).toEqual(counted(10));
    const rest = new Uint8Array(10);
    await readStream(readable, rest);
    expect(rest).toEqual(counted(20).slice(10));
  });

  it("does not end where only a part in the middle is missing; the error has its cause", async () => {
    const cause = new Error("cable");
    const holed = (ends: [number, number][]) =>
      layer(undefined, (_: NoPosition, view: BoundView) => {
        view.packet.cause = cause;
        let rest: BoundView | undefined = view;
        for (const [start, end] of ends) {
          const hole: BoundView = (rest as BoundView).split(start - (rest as BoundView).start);
          (rest as BoundView).transfer(counted(start));
          rest = end < hole.end ? hole.split(end - start) : undefined;
          hole.fail(fault("outside", "memory", "backend"));
        }
        rest?.transfer(counted());
      });
    for (const ends of [
      [[2, 4]],
      [
        [2, 4],
        [6, 8],
      ],
    ] as [number, number][][]) {
      await expect(readStreamToEnd(holed(ends), { chunk: 8 }).promise()).rejects.toMatchObject({
        cause,
        good: [{ start: 0, end: 2 }],
      });
      await expect(new Cursor(holed(ends) as never).read(8).promise()).rejects.toBeInstanceOf(
        PartialReadError,
      );
    }
    expect((await readStreamToEnd(holed([[3, 8]]), { chunk: 8 })).length).toBe(3);
  });

  it("keeps the order when outputs of its reads and writes submit more", async () => {
    const { readable, writable } = pipe(8);
    const sent: Packet[] = [];
    const submit = () => {
      const packet = Packet.writing(counted(40).slice(4 * sent.length, 4 * sent.length + 4));
      sent.push(packet);
      writable.sendIo(undefined, packet.view().bind(toCallback(() => sent.length < 10 && submit())));
    };
    submit();
    const got: Packet[] = [];
    const take = () => {
      const packet = Packet.reading(2);
      got.push(packet);
      readable.sendIo(undefined, packet.view().bind(toCallback(() => got.length < 20 && take())));
    };
    take();
    expect(got.flatMap(({ bytes }) => [...bytes])).toEqual([...counted(40)]);
  });

  it("answers reads in the order in which they were asked", async () => {
    const { readable, writable } = pipe();
    const first = readStream(readable, new Uint8Array(2));
    const a = new Uint8Array(3);
    const b = new Uint8Array(2);
    const pending = [first, readStream(readable, a), readStream(readable, b)].map((io) => io.promise());
    await Promise.resolve();
    await writeStream(writable, counted(7));
    expect(await Promise.all(pending)).toEqual([2, 3, 2]);
    expect([...a, ...b]).toEqual([2, 3, 4, 5, 6]);
  });

  it("lets go of an aborted read", async () => {
    const { readable, writable } = pipe();
    const controller = new AbortController();
    const aborted = readStream(readable, 4, { signal: controller.signal }).promise();
    await Promise.resolve();
    controller.abort();
    const next = readStream(readable, 4).promise();
    await writeStream(writable, counted(4));
    await expect(aborted).rejects.toThrow(/aborted/);
    expect(await next).toBe(4);
  });
});

describe("a rebound view", () => {
  it("comes back part by part, to be answered or sent elsewhere", async () => {
    const bytes = counted();
    const other = counted().map((byte) => 255 - byte);
    const io = withFallback(
      refusing(new MemoryIo(bytes), 10, (block) => block % 2 === 1),
      delaying(refusing(new MemoryIo(other), 10, (block) => block === 3)),
    );
    const { bytes: got, holes } = await readPartial(io, 5, 40);
    expect([...got.subarray(0, 25)]).toEqual([
      ...bytes.subarray(5, 10),
      ...other.subarray(10, 20),
      ...bytes.subarray(20, 30),
    ]);
    expect(holes.map(({ start, end }) => [start, end])).toEqual([[25, 35]]);
  });

  it("counts what a layer below dropped, so that the caller's packet never hangs", async () => {
    const drops = layer(undefined, (_: number, view: BoundView) => {
      view.split(6);
      view.transfer(counted(6));
    });
    const parts: [number, number, number][] = [];
    const io = layer(undefined, (address: number, view: BoundView) => {
      sendRebound(drops, address, view, (part, offset, why) => {
        parts.push([offset, part.length, why === 0 ? 0 : 1]);
        if (why === 0) part.complete();
        else part.fail(why);
      });
    });
    const { holes } = await readPartial(io, 0, 10);
    expect(parts).toEqual([
      [0, 6, 0],
      [6, 4, 1],
    ]);
    expect(holes).toMatchObject([{ start: 6, end: 10, state: "unanswered" }]);
  });
});
