/** Requests for bytes: all of them, what there is of them, or fragment by fragment. */
import { Packet, type PacketMemory } from "../io/packet.js";
import type { PacketIo } from "../io/packet-io.js";
import {
  fragments,
  type PartialTransfer,
  partialError,
  type RequestOptions,
  sendRoutine,
} from "../io/requests.js";
import type { Sink } from "../io/sequence.js";
import type { Fragment } from "../io/view.js";
import type { Routine } from "../io/wait.js";
import { memoryOf } from "./space.js";

type Verb = "reading" | "writing" | "exchanging";

/** Moves all bytes. @throws {PartialTransferError} of its direction if one is missing. */
export function* wholeRoutine<P>(
  io: PacketIo<P>,
  param: P,
  verb: Verb,
  memory: PacketMemory,
  options: RequestOptions | undefined,
): Routine<Uint8Array> {
  const packet = yield* sendRoutine(io, param, Packet[verb](memoryOf(memory)), undefined, options);
  if (packet.firstFault !== 0) throw partialError(packet, param);
  return packet.bytes;
}

/** Writes all bytes. @throws {PartialWriteError} if one did not arrive. */
export function* writeRoutine<P>(
  io: PacketIo<P>,
  param: P,
  memory: PacketMemory,
  options: RequestOptions | undefined,
): Routine<void> {
  const packet = yield* sendRoutine(io, param, Packet.writing(memory), undefined, options);
  if (packet.firstFault !== 0) throw partialError(packet, param);
}

/** Moves what it can, and tells what that is. */
export function* partialRoutine<P>(
  io: PacketIo<P>,
  param: P,
  verb: Verb,
  memory: PacketMemory,
  options: RequestOptions | undefined,
): Routine<PartialTransfer> {
  const packet = yield* sendRoutine(io, param, Packet[verb](memoryOf(memory)), undefined, options);
  return { bytes: packet.bytes, good: packet.good(), holes: packet.holes() };
}

/** Reads, and gives each fragment as it is answered. */
export function* fragmentsRoutine<P>(
  sink: Sink<Fragment>,
  io: PacketIo<P>,
  param: P,
  memory: PacketMemory,
  options: RequestOptions | undefined,
): Routine<void> {
  const cursor = fragments(io, param, Packet.reading(memoryOf(memory)), options).cursor();
  try {
    for (;;) {
      const next = yield* cursor.advance();
      if (next.done === true) return;
      yield sink.emit(next.value);
    }
  } finally {
    cursor.close();
  }
}
