/**
 * memtool/web: adapters between packet I/O and the Web's streams and files. The only part of the library that names
 * platform objects (`ReadableStream`, `WritableStream`, `Blob`); browsers, workers, Node, Deno and Bun have them.
 *
 * @module
 */
import {
  AddressRanges,
  type Batch,
  END_OF_STREAM,
  fault,
  type NoPosition,
  type PacketIo,
  readInto,
  type Source,
  write,
} from "../io/index.js";
import type { BoundView } from "../io/packet.js";

const NOT_FOR_WRITING = fault("read-only", "stream", "backend");
const BROKEN = fault("io", "stream", "backend");

/** Options of {@link toReadableStream}. */
export interface ReadableRange {
  /** First byte (default 0). */
  readonly start?: number;
  /** Exclusive. */
  readonly end: number;
  /** Bytes in a chunk at most (default 64 KiB). */
  readonly chunkSize?: number;
}

/** A byte range of any positioned layer as a stream. A fault errors the stream with its `PartialReadError`. */
export function toReadableStream(io: PacketIo<number>, range: ReadableRange): ReadableStream<Uint8Array> {
  const chunkSize = range.chunkSize ?? 65_536;
  let position = range.start ?? 0;
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      const length = Math.min(chunkSize, range.end - position);
      if (length <= 0) {
        controller.close();
        return;
      }
      const at = position;
      position += length;
      controller.enqueue(await readInto(io, at, length));
    },
  });
}

/** A stream whose chunks are written one after the other from `start` on. A fault errors the stream. */
export function toWritableStream(io: PacketIo<number>, start = 0): WritableStream<Uint8Array> {
  let position = start;
  return new WritableStream<Uint8Array>({
    async write(chunk) {
      const at = position;
      position += chunk.length;
      await write(io, at, chunk);
    },
  });
}

/**
 * A Web stream as position-less I/O, for reading. Asynchronous only; requests are served in order. An error of the
 * stream is a fault (`io`, with the error as the packet's cause), its end is `END_OF_STREAM`.
 */
export function fromReadableStream(stream: ReadableStream<Uint8Array>): PacketIo<NoPosition> {
  const reader = stream.getReader();
  const queue: BoundView[] = [];
  let rest = new Uint8Array(0);
  let busy = false;
  /** Answers a view, or a first part of it; gives what is left of it. */
  const answer = async (view: BoundView): Promise<BoundView | undefined> => {
    if (view.abortFault !== 0) {
      view.fail(view.abortFault);
      return undefined;
    }
    if (rest.length === 0) {
      try {
        const { done, value } = await reader.read();
        if (done) view.fail(END_OF_STREAM);
        else rest = value as Uint8Array<ArrayBuffer>;
        return done ? undefined : view;
      } catch (error) {
        view.packet.cause ??= error;
        view.fail(BROKEN);
        return undefined;
      }
    }
    const from = rest;
    const tail = from.length < view.length ? view.split(from.length) : undefined;
    rest = from.subarray(view.length);
    view.transfer(from);
    return tail;
  };
  const serve = async () => {
    busy = true;
    for (let view = queue.shift(); view !== undefined; ) view = (await answer(view)) ?? queue.shift();
    busy = false;
  };
  return {
    sendIo(_, view) {
      if (view.direction !== "read") return view.fail(NOT_FOR_WRITING);
      view.keep();
      queue.push(view);
      if (!busy) void serve();
    },
  };
}

/**
 * A `Blob` or `File` (a dump that somebody dropped on a page) as a source of offsets. Asynchronous only; rows that
 * lie within 64 KiB of each other are read in one go.
 */
export function blobSource(blob: Blob, name = "blob"): Source {
  return {
    name: `blob:${name}`,
    supports: { write: false, live: false },
    ranges: () => AddressRanges.single(0, blob.size),
    async transfer(batch: Batch) {
      const runs: Promise<void>[] = [];
      for (let row = 0; row < batch.length; ) {
        const end = batch.runEnd(row, BLOB_GAP, BLOB_RUN);
        runs.push(readRun(blob, batch, row, end));
        row = end;
      }
      await Promise.all(runs);
    },
  };
}

// A slice of a Blob costs a round trip to the browser's storage process, whatever its size; a few KiB too many do not.
const BLOB_GAP = 65_536;
const BLOB_RUN = 16 * 1024 * 1024;

async function readRun(blob: Blob, batch: Batch, from: number, to: number): Promise<void> {
  const start = batch.address(from);
  let end = start;
  for (let row = from; row < to; row++) {
    end = Math.max(end, batch.address(row) + (batch.lengths[row] as number));
  }
  const bytes = new Uint8Array(await blob.slice(start, end).arrayBuffer());
  for (let row = from; row < to; row++) {
    const at = batch.address(row) - start;
    batch.bytes(row).set(bytes.subarray(at, at + (batch.lengths[row] as number)));
    batch.done(row);
  }
}
