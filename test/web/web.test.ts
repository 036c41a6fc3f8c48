import { describe, expect, it } from "vitest";
import {
  MemoryIo,
  PartialReadError,
  readInto,
  readStream,
  readStreamToEnd,
  Scheduler,
  SourceIo,
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
});
