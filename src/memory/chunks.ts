/** Long ranges, piece by piece. */
import type { ByteRange, Hole } from "../io/errors.js";
import { asBytes, Packet } from "../io/packet.js";
import type { RequestOptions } from "../io/request.js";
import { sendRoutine } from "../io/requests.js";
import type { Sink } from "../io/sequence.js";
import type { Routine } from "../io/wait.js";
import type { ShownAddress, Space } from "./space.js";

/** A piece of a long range, see {@link AddressSpace.chunks}. */
export interface Chunk<A> {
  readonly address: A;
  readonly bytes: Uint8Array;
  /** Relative to the chunk, ascending, disjoint. */
  readonly good: readonly ByteRange[];
  readonly holes: readonly Hole[];
}

/** The routine of `AddressSpace.chunks`. */
export function* chunksRoutine<P>(
  sink: Sink<Chunk<ShownAddress<P>>>,
  space: Space<P>,
  start: bigint,
  end: bigint,
  size: number,
  options: RequestOptions | undefined,
): Routine<void> {
  for (let at = start; at < end; ) {
    const left = end - at;
    const length = left < BigInt(size) ? Number(left) : size;
    const { param, shown } = space.addressOf(at);
    const packet = yield* sendRoutine(space.io, param, Packet.reading(asBytes(length)), undefined, options);
    yield sink.emit({ address: shown, bytes: packet.bytes, good: packet.good(), holes: packet.holes() });
    at += BigInt(length);
  }
}
