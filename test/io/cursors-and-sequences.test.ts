/** Cursors and sequences that end, fail or are given up. */
import { describe, expect, it } from "vitest";
import {
  Cursor,
  Io,
  IoSequence,
  MemoryIo,
  pipe,
  type Routine,
  readInto,
  readStreamToEnd,
  type Sink,
  WouldBlockError,
} from "../../src/index.js";
import { counted, open } from "./support.js";

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
