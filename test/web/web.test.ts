import { describe, expect, it } from "vitest";
import {
  MemoryIo,
  PartialReadError,
  readInto,
  readPartial,
  readStream,
  readStreamToEnd,
  Scheduler,
  SourceIo,
  write,
} from "../../src/index.js";
import { blobSource, fromReadableStream, toReadableStream, toWritableStream } from "../../src/web/index.js";
import { packetIoSuite, refusing } from "../suite/index.js";

const counted = (length: number) => Uint8Array.from({ length }, (_, i) => (i * 3) & 255);

packetIoSuite("a Blob", () => {
  const bytes = counted(5000);
  const io = new SourceIo(blobSource(new Blob([bytes])), new Scheduler());
  return { io, base: 0, truth: () => bytes, asyncOnly: true, missing: { bytes: 9, state: "outside" } };
});

describe("Web streams", () => {
  it("a range streams out in chunks and back in", async () => {
    const bytes = counted(1000);
    const target = new MemoryIo(1000);
    await toReadableStream(new MemoryIo(bytes), { start: 100, end: 900, chunkSize: 64 }).pipeTo(
      toWritableStream(target, 100),
    );
    expect(target.bytes.subarray(100, 900)).toEqual(bytes.subarray(100, 900));
    expect(target.bytes[99]).toBe(0);
    expect(target.bytes[900]).toBe(0);
  });

  it("a fault errors the stream with what was missing", async () => {
    const io = refusing(new MemoryIo(counted(100)), 10, (block) => block === 5);
    const reader = toReadableStream(io, { end: 100, chunkSize: 30 }).getReader();
    expect((await reader.read()).value?.length).toBe(30);
    await expect(reader.read()).rejects.toBeInstanceOf(PartialReadError);
  });

  it("a stream is position-less I/O: requests in order, the end told from an error", async () => {
    const chunks = [counted(10), counted(3), counted(20)];
    const whole = Uint8Array.from(chunks.flatMap((chunk) => [...chunk]));
    const io = fromReadableStream(ReadableStream.from(chunks) as ReadableStream<Uint8Array>);
    const memory = new Uint8Array(12);
    const pending = readStream(io, memory).promise();
    const rest = readStreamToEnd(io).promise();
    expect(await pending).toBe(12);
    expect(memory).toEqual(whole.slice(0, 12));
    expect(await rest).toEqual(whole.slice(12));
    const broken = fromReadableStream(
      new ReadableStream<Uint8Array>({
        pull(controller) {
          controller.error(new Error("unplugged"));
        },
      }),
    );
    await expect(readInto(broken, undefined, 4).promise()).rejects.toMatchObject({
      cause: { message: "unplugged" },
      holes: [{ state: "io" }],
    });
  });

  it("a read of a stream that is aborted ends at once, and takes nothing from those behind it", async () => {
    let feed: ReadableStreamDefaultController<Uint8Array> | undefined;
    const io = fromReadableStream(
      new ReadableStream<Uint8Array>({
        start(controller) {
          feed = controller;
        },
      }),
    );
    const controllers = [new AbortController(), new AbortController()];
    const aborted = controllers.map(({ signal }) => readStream(io, 4, { signal }).promise());
    const memory = new Uint8Array(3);
    const next = readStream(io, memory).promise();
    controllers[1]?.abort();
    await expect(aborted[1]).rejects.toThrow(/aborted/);
    controllers[0]?.abort();
    await expect(aborted[0]).rejects.toThrow(/aborted/);
    feed?.enqueue(counted(3));
    expect(await next).toBe(3);
    expect(memory).toEqual(counted(3));
  });

  it("a stream of something else than bytes is a fault, and nothing hangs", async () => {
    const io = fromReadableStream(
      ReadableStream.from(["text", "more"]) as unknown as ReadableStream<Uint8Array>,
    );
    for (let i = 0; i < 2; i++) {
      await expect(readInto(io, undefined, 4).promise()).rejects.toMatchObject({
        holes: [{ start: 0, end: 4, state: "malformed" }],
      });
    }
  });

  it("an aborted write to a stream is refused", async () => {
    const io = fromReadableStream(ReadableStream.from([counted(4)]) as ReadableStream<Uint8Array>);
    await expect(write(io, undefined, counted(2)).promise()).rejects.toMatchObject({
      holes: [{ state: "read-only" }],
    });
    expect(await readStream(io, 4)).toBe(4);
  });

  it("chunks of nothing are refused", () => {
    for (const chunkSize of [0, -1, Number.NaN]) {
      expect(() => toReadableStream(new MemoryIo(8), { end: 8, chunkSize })).toThrow(RangeError);
    }
  });
});

describe("a Blob", () => {
  it("that gives fewer bytes than it has leaves a hole, not zeros", async () => {
    const blob = new Blob([counted(100)]);
    const short = {
      size: 200,
      slice: (start: number, end: number) => blob.slice(start, end),
    } as unknown as Blob;
    const io = new SourceIo(blobSource(short), new Scheduler());
    const { bytes, good, holes } = await readPartial(io, 90, 20);
    expect(good).toEqual([{ start: 0, end: 10 }]);
    expect(bytes.subarray(0, 10)).toEqual(counted(100).subarray(90));
    expect(holes).toMatchObject([{ start: 10, end: 20, state: "io" }]);
    expect((await readPartial(io, 150, 4)).holes).toMatchObject([{ start: 0, end: 4, state: "io" }]);
  });

  it("of which one part fails is waited for before memory goes back to the caller", async () => {
    const blob = new Blob([counted(200_000)]);
    let release: () => void = () => {};
    const late = new Promise<void>((resolve) => {
      release = resolve;
    });
    const flaky = {
      size: blob.size,
      slice(start: number, end: number) {
        if (start === 0) return { arrayBuffer: () => Promise.reject(new Error("moved")) };
        return { arrayBuffer: () => late.then(() => blob.slice(start, end).arrayBuffer()) };
      },
    } as unknown as Blob;
    const io = new SourceIo(blobSource(flaky), new Scheduler());
    const far = readPartial(io, 150_000, 4).promise();
    const near = readPartial(io, 0, 4).promise();
    await Promise.resolve();
    release();
    expect((await near).holes).toMatchObject([{ state: "io" }]);
    expect((await far).holes).toEqual([]);
    expect((await far).bytes).toEqual(counted(200_000).slice(150_000, 150_004));
  });
});
