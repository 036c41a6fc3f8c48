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
import type { BoundView } from "../io/view.js";

const NOT_FOR_WRITING = fault("read-only", "stream", "backend");
const BROKEN = fault("io", "stream", "backend");
const NOT_BYTES = fault("malformed", "stream", "backend");
const SHRUNK = fault("io", "file", "connector");

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
  if (!(chunkSize >= 1)) throw new RangeError(`chunks of ${chunkSize} bytes: must be positive`);
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
  /** Oldest first. */
  let queue: BoundView[] = [];
  let rest = new Uint8Array(0);
  let busy = false;
  /** Gets the next chunk, or fails the oldest view. */
  const read = async (): Promise<void> => {
    try {
      const { done, value } = await reader.read();
      if (done) queue.shift()?.fail(END_OF_STREAM);
      else if (value instanceof Uint8Array) rest = value as Uint8Array<ArrayBuffer>;
      else queue.shift()?.fail(NOT_BYTES);
    } catch (error) {
      const view = queue.shift();
      if (view === undefined) return;
      view.packet.cause ??= error;
      view.fail(BROKEN);
    }
  };
  const serve = async () => {
    busy = true;
    while (queue.length > 0) {
      if (rest.length === 0) {
        await read();
        continue;
      }
      const view = queue[0] as BoundView;
      const from = rest;
      if (from.length < view.length) queue[0] = view.split(from.length);
      else queue.shift();
      rest = from.subarray(view.length);
      view.transfer(from);
    }
    busy = false;
  };
  /** A chunk may never come: aborted views are let go at once. */
  const onAbort = () => {
    const aborted = queue.filter((view) => view.abortFault !== 0);
    queue = queue.filter((view) => view.abortFault === 0);
    for (const view of aborted) view.fail(view.abortFault);
  };
  return {
    sendIo(_, view) {
      if (view.direction !== "read") return view.fail(NOT_FOR_WRITING);
      if (view.length === 0) return view.complete();
      if (view.abortFault !== 0) return view.fail(view.abortFault);
      view.keep();
      view.packet.whenAborted(onAbort);
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
      // All of them, also when one fails: the others still move bytes into the callers' memory.
      for (const outcome of await Promise.allSettled(runs)) {
        if (outcome.status === "rejected") throw outcome.reason;
      }
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
    const got = bytes.subarray(at, at + (batch.lengths[row] as number));
    batch.bytes(row).set(got);
    batch.done(row);
    batch.failRange(row, got.length, batch.lengths[row] as number, SHRUNK);
  }
}
