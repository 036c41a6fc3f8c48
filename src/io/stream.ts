/**
 * Position-less I/O: bytes come and go in order. A stream is a `PacketIo<NoPosition>`; requests are served first in,
 * first out, and its end is a fault of its own (`END_OF_STREAM`), so that errors are never taken for the end.
 */
import { copyBytes } from "./copy.hot.js";
import { END_OF_STREAM, fault } from "./fault.js";
import { Io } from "./io.js";
import { Packet, type PacketMemory } from "./packet.js";
import type { NoPosition, PacketIo } from "./packet-io.js";
import type { RequestOptions } from "./request.js";
import { partialError, schedulerOf, sendRoutine } from "./requests.js";
import type { Scheduler } from "./scheduler.js";
import type { BoundView } from "./view.js";
import type { Routine } from "./wait.js";

const NOT_FOR_READING = fault("unsupported", "stream", "backend");
const NOT_FOR_WRITING = fault("read-only", "stream", "backend");

/** Two ends of a pipe within this program. */
export interface Pipe {
  /** Reads take what was written, in order; a read waits until it is full or the pipe has ended. */
  readonly readable: PacketIo<NoPosition>;
  /** Writes; with a full buffer they wait until readers have made room. */
  readonly writable: PacketIo<NoPosition>;
  /** No more will be written: readers get the rest, then `END_OF_STREAM`. Later writes fail the same way. */
  end(): void;
}

/**
 * Makes a pipe.
 *
 * @param capacity Bytes that the pipe holds for readers to come (default 64 KiB, a pipe's size on Linux).
 */
export function pipe(capacity = 65_536, scheduler?: Scheduler): Pipe {
  const state = new PipeState(capacity);
  return {
    readable: { scheduler, sendIo: (_, view) => state.read(view) },
    writable: { scheduler, sendIo: (_, view) => state.write(view) },
    end: () => state.end(),
  };
}

class PipeState {
  readonly #ring: Uint8Array;
  #start = 0;
  #filled = 0;
  #ended = false;
  /** Oldest first; only one of the two lists is ever non-empty for long. */
  readonly #readers: BoundView[] = [];
  readonly #writers: BoundView[] = [];
  #moving = false;
  /** Aborted views are let go at once: nobody may ever read or write again. */
  readonly #onAbort = () => {
    for (const list of [this.#readers, this.#writers]) {
      const aborted = list.filter((view) => view.abortFault !== 0);
      if (aborted.length === 0) continue;
      const others = list.filter((view) => view.abortFault === 0);
      list.splice(0, list.length, ...others);
      for (const view of aborted) view.fail(view.abortFault);
    }
    this.#move();
  };

  constructor(capacity: number) {
    this.#ring = new Uint8Array(Math.max(1, capacity));
  }

  read(view: BoundView): void {
    if (view.direction !== "read") return view.fail(NOT_FOR_WRITING);
    if (view.abortFault !== 0) return view.fail(view.abortFault);
    view.keep();
    view.packet.whenAborted(this.#onAbort);
    this.#readers.push(view);
    this.#move();
  }

  write(view: BoundView): void {
    if (view.direction !== "write") return view.fail(NOT_FOR_READING);
    if (this.#ended) return view.fail(END_OF_STREAM);
    if (view.abortFault !== 0) return view.fail(view.abortFault);
    view.keep();
    view.packet.whenAborted(this.#onAbort);
    this.#writers.push(view);
    this.#move();
  }

  end(): void {
    this.#ended = true;
    this.#move();
  }

  /** Moves bytes until nothing can. Outputs may submit more meanwhile: the outer call sees to that. */
  #move(): void {
    if (this.#moving) return;
    this.#moving = true;
    try {
      while (this.#fill() || this.#drain());
    } finally {
      this.#moving = false;
    }
  }

  #fill(): boolean {
    const writer = this.#writers[0];
    const room = this.#ring.length - this.#filled;
    if (writer === undefined) return false;
    if (writer.abortFault !== 0) {
      this.#writers.shift();
      writer.fail(writer.abortFault);
      return true;
    }
    const end = (this.#start + this.#filled) % this.#ring.length;
    const length = Math.min(writer.length, room, this.#ring.length - end);
    if (length === 0) return false;
    this.#take(this.#writers, writer, length).transfer(this.#ring, end);
    this.#filled += length;
    return true;
  }

  #drain(): boolean {
    const reader = this.#readers[0];
    if (reader === undefined) return false;
    if (reader.abortFault !== 0) {
      this.#readers.shift();
      reader.fail(reader.abortFault);
      return true;
    }
    if (this.#filled === 0) {
      if (!this.#ended) return false;
      this.#readers.shift();
      reader.fail(END_OF_STREAM);
      return true;
    }
    const length = Math.min(reader.length, this.#filled, this.#ring.length - this.#start);
    const piece = this.#take(this.#readers, reader, length);
    const from = this.#start;
    this.#start = (from + length) % this.#ring.length;
    this.#filled -= length;
    piece.transfer(this.#ring, from);
    return true;
  }

  /** The first `length` bytes of the oldest view; what is left of it stays oldest. */
  #take(list: BoundView[], view: BoundView, length: number): BoundView {
    if (length === view.length) list.shift();
    else list[0] = view.split(length);
    return view;
  }
}

/**
 * Reads from a stream into the caller's memory.
 *
 * @returns how many bytes came: fewer than asked only at the end of the stream.
 * @throws {PartialReadError} for every other fault, with the bytes that came before it.
 */
export function readStream(
  io: PacketIo<NoPosition>,
  memory: PacketMemory,
  options?: RequestOptions,
): Io<number> {
  return Io.of(schedulerOf(io), readStreamRoutine, io, memory, options);
}

function* readStreamRoutine(
  io: PacketIo<NoPosition>,
  memory: PacketMemory,
  options?: RequestOptions,
): Routine<number> {
  const packet = yield* sendRoutine(io, undefined, Packet.reading(memory), undefined, options);
  if (packet.firstFault !== 0 && packet.firstFault !== END_OF_STREAM) throw partialError(packet, undefined);
  return packet.clamp;
}

/** Options of {@link readStreamToEnd}. */
export interface ReadToEndOptions extends RequestOptions {
  /** Bytes asked for at a time (default 64 KiB). */
  readonly chunk?: number;
  /** Stop (without an error) once this many bytes have come (default: no limit). */
  readonly maxBytes?: number;
}

/** Everything up to the end of the stream. @throws {PartialReadError} for a fault, with all that came before it. */
export function readStreamToEnd(io: PacketIo<NoPosition>, options: ReadToEndOptions = {}): Io<Uint8Array> {
  return Io.of(schedulerOf(io), readToEndRoutine, nextOfStream, io, checkedChunk(options));
}

/** @throws {RangeError} for chunks with which the end would never come. */
export function checkedChunk(options: ReadToEndOptions): ReadToEndOptions {
  const { chunk = 1 } = options;
  if (!(Number.isSafeInteger(chunk) && chunk > 0))
    throw new RangeError(`chunks of ${chunk} bytes: must be positive`);
  return options;
}

function nextOfStream(io: unknown, packet: Packet, options: RequestOptions): Routine<Packet> {
  return sendRoutine(io as PacketIo<NoPosition>, undefined, packet, undefined, options);
}

/**
 * Reads chunk after chunk until one ends early.
 *
 * @param next Sends a packet for the next chunk.
 */
export function* readToEndRoutine<S>(
  next: (from: S, packet: Packet, options: RequestOptions) => Routine<Packet>,
  from: S,
  options: ReadToEndOptions,
): Routine<Uint8Array> {
  const chunk = options.chunk ?? 65_536;
  const most = options.maxBytes ?? Number.POSITIVE_INFINITY;
  let bytes = new Uint8Array(0);
  let length = 0;
  while (length < most) {
    const wanted = Math.min(chunk, most - length);
    if (length + wanted > bytes.length) {
      const grown = new Uint8Array(Math.max(length + wanted, 2 * bytes.length));
      copyBytes(bytes, 0, grown, 0, length);
      bytes = grown;
    }
    const packet = yield* next(from, Packet.reading(bytes.subarray(length, length + wanted)), options);
    length += packet.clamp;
    if (packet.firstFault === 0) continue;
    if (!isEnd(packet)) throw partialError(soFar(bytes, length, packet), undefined);
    break;
  }
  return bytes.slice(0, length);
}

/** Whether all that a packet lacks is one range at its tail, because there is no more. */
function isEnd(packet: Packet): boolean {
  const holes = packet.holes();
  const last = holes[holes.length - 1];
  return holes.length === 1 && last?.state === "outside" && last.end === packet.length;
}

/** All that came so far as one packet that ends with the fault of the last, for the error. */
function soFar(bytes: Uint8Array, length: number, last: Packet): Packet {
  const rest = last.length - last.clamp;
  const packet = Packet.reading(bytes.subarray(0, length + rest));
  const view = packet.view();
  packet.cause = last.cause;
  if (length === 0) {
    view.bind().fail(last.firstFault);
    return packet;
  }
  const [good, bad] = view.split(length);
  good.bind().complete();
  bad.bind().fail(last.firstFault);
  return packet;
}

/** Writes all bytes to a stream. @throws {PartialWriteError} if it ended or failed before the last. */
export function writeStream(
  io: PacketIo<NoPosition>,
  memory: PacketMemory,
  options?: RequestOptions,
): Io<void> {
  return Io.of(schedulerOf(io), writeStreamRoutine, io, memory, options);
}

function* writeStreamRoutine(
  io: PacketIo<NoPosition>,
  memory: PacketMemory,
  options?: RequestOptions,
): Routine<void> {
  const packet = yield* sendRoutine(io, undefined, Packet.writing(memory), undefined, options);
  if (packet.firstFault !== 0) throw partialError(packet, undefined);
}
