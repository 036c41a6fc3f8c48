/**
 * The verbs over any `PacketIo`: send a packet, read, write, exchange; whole or in part; fragment by fragment.
 * All are lazy: nothing is sent before they are driven.
 */
import { type ByteRange, type Hole, hex, PartialReadError, PartialWriteError } from "./errors.js";
import { UNANSWERED } from "./fault.js";
import type { Io } from "./io.js";
import { asBytes, Packet, type PacketMemory } from "./packet.js";
import type { PacketIo } from "./packet-io.js";
import { followSignal, PacketRequest, RequestKind, type RequestOptions } from "./request.js";
import { defaultScheduler, type Scheduler } from "./scheduler.js";
import { IoSequence, type Sink } from "./sequence.js";
import type { Fragment, Output } from "./view.js";
import type { Routine, Wait, Waker } from "./wait.js";

/** What a partial transfer gives. Offsets are relative to the request's first byte. */
export interface PartialTransfer {
  /** The caller's (or new) memory; only `good` ranges hold data. */
  readonly bytes: Uint8Array;
  readonly good: readonly ByteRange[];
  /** Ascending, with adjacent holes of one fault merged. Empty if everything moved. */
  readonly holes: readonly Hole[];
}

/** The scheduler that drives a layer. */
export function schedulerOf(io: PacketIo<never>): Scheduler {
  return io.scheduler ?? defaultScheduler;
}

const SEND = new RequestKind<Packet, Packet, Output | undefined>(
  (packet) => packet,
  (packet) => packet,
  true,
);

// Bytes that the caller keeps get a buffer of their own, however few: hence `asBytes`.
const reading = (memory: PacketMemory) => Packet.reading(asBytes(memory));
const writing = (memory: PacketMemory) => Packet.writing(asBytes(memory));
const exchanging = (memory: PacketMemory) => Packet.exchanging(asBytes(memory));

function all(packet: Packet, param: unknown): Uint8Array {
  if (packet.firstFault !== 0) throw partialError(packet, param);
  return packet.bytes;
}

function nothing(packet: Packet, param: unknown): void {
  if (packet.firstFault !== 0) throw partialError(packet, param);
}

function part(packet: Packet): PartialTransfer {
  return { bytes: packet.bytes, good: packet.good(), holes: packet.holes() };
}

/** A read of all bytes into the caller's memory, or as many new ones. */
export const READ = new RequestKind<Uint8Array, PacketMemory, undefined>(reading, all);
/** A read of what there is. */
export const READ_PART = new RequestKind<PartialTransfer, PacketMemory, undefined>(reading, part);
/** A write of all bytes. */
export const WRITE = new RequestKind<void, PacketMemory, undefined>(writing, nothing);
/** A write of what can be written. */
export const WRITE_PART = new RequestKind<PartialTransfer, PacketMemory, undefined>(writing, part);
/** An exchange of all bytes. */
export const EXCHANGE = new RequestKind<Uint8Array, PacketMemory, undefined>(exchanging, all);

/**
 * Sends a packet and waits until every byte is accounted for. Never throws for holes: ask the packet.
 *
 * @throws what an output threw; `WouldBlockError` when driven synchronously over an asynchronous source.
 */
export function send<P>(
  io: PacketIo<P>,
  param: P,
  packet: Packet,
  output?: Output,
  options?: RequestOptions,
): Io<Packet> {
  return new PacketRequest(schedulerOf(io), io, param, options, SEND, packet, output);
}

/** {@link send} as a routine. */
export function sendRoutine<P>(
  io: PacketIo<P>,
  param: P,
  packet: Packet,
  output?: Output,
  options?: RequestOptions,
): Routine<Packet> {
  return send(io, param, packet, output, options)[Symbol.iterator]();
}

/** Reads into the caller's memory. @throws {PartialReadError} if a byte is missing. */
export function readInto<P>(
  io: PacketIo<P>,
  param: P,
  memory: PacketMemory,
  options?: RequestOptions,
): Io<Uint8Array> {
  return new PacketRequest(schedulerOf(io), io, param, options, READ, memory, undefined);
}

/** Reads what there is, into the caller's memory or as many new bytes. Holes are data, not errors. */
export function readPartial<P>(
  io: PacketIo<P>,
  param: P,
  memory: PacketMemory,
  options?: RequestOptions,
): Io<PartialTransfer> {
  return new PacketRequest(schedulerOf(io), io, param, options, READ_PART, memory, undefined);
}

/** Writes the caller's bytes. @throws {PartialWriteError} if a byte did not arrive. */
export function write<P>(
  io: PacketIo<P>,
  param: P,
  memory: PacketMemory,
  options?: RequestOptions,
): Io<void> {
  return new PacketRequest(schedulerOf(io), io, param, options, WRITE, memory, undefined);
}

/** Writes what can be written. */
export function writePartial<P>(
  io: PacketIo<P>,
  param: P,
  memory: PacketMemory,
  options?: RequestOptions,
): Io<PartialTransfer> {
  return new PacketRequest(schedulerOf(io), io, param, options, WRITE_PART, memory, undefined);
}

/** Trades the caller's bytes for the target's. @throws {PartialTransferError} if a byte was not traded. */
export function exchange<P>(
  io: PacketIo<P>,
  param: P,
  memory: PacketMemory,
  options?: RequestOptions,
): Io<Uint8Array> {
  return new PacketRequest(schedulerOf(io), io, param, options, EXCHANGE, memory, undefined);
}

/** The error of a packet that is complete with holes. */
export function partialError(packet: Packet, param: unknown): PartialReadError | PartialWriteError {
  const where = typeof param === "number" || typeof param === "bigint" ? ` at ${hex(param)}` : "";
  const Kind = packet.direction === "read" ? PartialReadError : PartialWriteError;
  // Of a small packet a copy: its buffer holds other packets' bytes, too.
  const bytes = packet.memory.length === packet.length ? packet.bytes : packet.bytes.slice();
  return new Kind(packet.direction, where, bytes, packet.good(), packet.holes(), packet.cause);
}

/**
 * Sends a packet and gives its fragments in the order of their answers (mfio: `io_to_stream`). Nothing is sent
 * before the first item is asked for; ending early leaves the rest to be answered unseen.
 */
export function fragments<P>(
  io: PacketIo<P>,
  param: P,
  packet: Packet,
  options?: RequestOptions,
): IoSequence<Fragment> {
  return IoSequence.of(schedulerOf(io), fragmentsRoutine<P>, io, param, packet, options);
}

/** Fragments that were answered and not yet consumed. */
class FragmentList implements Output, Wait {
  readonly #packet: Packet;
  #answered: Fragment[] = [];
  #head = 0;
  #waker: Waker | undefined;

  constructor(packet: Packet) {
    this.#packet = packet;
  }

  onFragment(fragment: Fragment): void {
    this.#answered.push(fragment);
    const waker = this.#waker;
    this.#waker = undefined;
    waker?.wake();
  }

  shift(): Fragment | undefined {
    const next = this.#answered[this.#head];
    if (next === undefined) {
      this.#answered = [];
      this.#head = 0;
    } else {
      this.#head++;
    }
    return next;
  }

  /** Waits for the next fragment. Over at once if there is one, or none will come. */
  park(waker: Waker): boolean {
    this.#packet.dropUncovered();
    if (this.#head < this.#answered.length || this.#packet.complete) return false;
    this.#waker = waker;
    return true;
  }
}

function* fragmentsRoutine<P>(
  sink: Sink<Fragment>,
  io: PacketIo<P>,
  param: P,
  packet: Packet,
  options?: RequestOptions,
): Routine<void> {
  const list = new FragmentList(packet);
  const view = packet.bind(list);
  if (packet.length === 0) return;
  if (options?.signal !== undefined) followSignal(packet, options.signal);
  try {
    if (packet.abortFault !== 0) view.fail(packet.abortFault);
    else io.sendIo(param, view);
    for (;;) {
      const fragment = list.shift();
      if (fragment !== undefined) yield sink.emit(fragment);
      else if (packet.complete) break;
      else yield list;
    }
  } catch (error) {
    // Also for a layer that throws: what it sent before that must not land in the caller's memory later.
    packet.giveUp();
    throw error;
  }
  // What a layer dropped was answered by nobody, and so reached no output.
  for (const { start, end } of packet.dropped()) {
    yield sink.emit({ packet, start, end, length: end - start, tag: 0, fault: UNANSWERED });
  }
}
