/** Requests for bytes, fragment by fragment. */
import { asBytes, Packet, type PacketMemory } from "../io/packet.js";
import type { PacketIo } from "../io/packet-io.js";
import type { RequestOptions } from "../io/request.js";
import { fragments } from "../io/requests.js";
import type { Sink } from "../io/sequence.js";
import type { Fragment } from "../io/view.js";
import type { Routine } from "../io/wait.js";

/** Reads, and gives each fragment as it is answered. */
export function* fragmentsRoutine<P>(
  sink: Sink<Fragment>,
  io: PacketIo<P>,
  param: P,
  memory: PacketMemory,
  options: RequestOptions | undefined,
): Routine<void> {
  const cursor = fragments(io, param, Packet.reading(asBytes(memory)), options).cursor();
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
