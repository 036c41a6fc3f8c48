/** A position over positioned I/O (mfio: `Seekable`). */
import { Io } from "./io.js";
import { Packet, type PacketMemory } from "./packet.js";
import type { PacketIo } from "./packet-io.js";
import type { RequestOptions } from "./request.js";
import { partialError, schedulerOf, sendRoutine } from "./requests.js";
import { checkedChunk, type ReadToEndOptions, readToEndRoutine } from "./stream.js";
import type { Routine } from "./wait.js";

/**
 * Reads and writes at a position that moves along.
 *
 * The range of an operation is reserved when the operation *starts*, so operations in flight together never overlap
 * and come in the order in which they were started. At the end, a read gives fewer bytes, and the position moves by
 * what came (unless a later operation has reserved further on). Faults other than the end are errors.
 */
export class Cursor {
  readonly io: PacketIo<number>;
  #position: number;

  constructor(io: PacketIo<number>, position = 0) {
    this.io = io;
    this.#position = checkedPosition(position);
  }

  /** Where the next operation begins. */
  get position(): number {
    return this.#position;
  }

  /** Moves to a position. @throws {RangeError} unless it is a safe, non-negative integer. */
  seek(position: number): void {
    this.#position = checkedPosition(position);
  }

  /** Moves to 0. */
  rewind(): void {
    this.#position = 0;
  }

  /**
   * Reads into the caller's memory.
   *
   * @returns how many bytes came; fewer only at the end. @throws {PartialReadError} for every other fault.
   */
  read(memory: PacketMemory, options?: RequestOptions): Io<number> {
    return Io.of(schedulerOf(this.io), readRoutine, this as Cursor, memory, options);
  }

  /** Everything from here to the end. @throws {PartialReadError} for a fault, with all that came before it. */
  readToEnd(options: ReadToEndOptions = {}): Io<Uint8Array> {
    const checked = checkedChunk(options);
    return Io.of(schedulerOf(this.io), readToEndRoutine<Cursor>, nextOfCursor, this as Cursor, checked);
  }

  /** Writes all bytes. @throws {PartialWriteError} if one did not arrive. */
  write(memory: PacketMemory, options?: RequestOptions): Io<void> {
    return Io.of(schedulerOf(this.io), writeRoutine, this as Cursor, memory, options);
  }

  /** Takes the next `length` bytes for an operation. @internal */
  reserve(length: number): number {
    const position = this.#position;
    this.#position = position + length;
    return position;
  }

  /** Gives back what lies past the end. @internal */
  settle(reservedEnd: number, end: number): void {
    if (this.#position === reservedEnd) this.#position = end;
  }
}

function checkedPosition(position: number): number {
  if (!(Number.isSafeInteger(position) && position >= 0)) throw new RangeError(`not a position: ${position}`);
  return position;
}

/** Sends a read; at the end of what there is, the packet is short and the position stays where the bytes ended. */
function* nextOfCursor(cursor: Cursor, packet: Packet, options?: RequestOptions): Routine<Packet> {
  const position = cursor.reserve(packet.length);
  let moved = 0;
  try {
    yield* sendRoutine(cursor.io, position, packet, undefined, options);
    moved = packet.clamp;
  } finally {
    // Also when it was given up: what comes next must not skip what never came.
    cursor.settle(position + packet.length, position + moved);
  }
  return packet;
}

function* readRoutine(cursor: Cursor, memory: PacketMemory, options?: RequestOptions): Routine<number> {
  const packet = yield* nextOfCursor(cursor, Packet.reading(memory), options);
  const holes = packet.holes();
  if (holes.length === 0) return packet.length;
  const tail = holes[0];
  if (holes.length > 1 || tail?.state !== "outside" || tail.end !== packet.length) {
    throw partialError(packet, undefined);
  }
  return tail.start;
}

function* writeRoutine(cursor: Cursor, memory: PacketMemory, options?: RequestOptions): Routine<void> {
  const packet = Packet.writing(memory);
  const position = cursor.reserve(packet.length);
  let sent = false;
  try {
    yield* sendRoutine(cursor.io, position, packet, undefined, options);
    sent = true;
  } finally {
    if (!sent) cursor.settle(position + packet.length, position);
  }
  if (packet.firstFault !== 0) throw partialError(packet, position);
}
