/** Records of one size from many addresses, as one request. */
import { type Fault, type FaultState, faultState } from "../io/fault.js";
import { asBytes, Packet } from "../io/packet.js";
import type { Address, PacketIo } from "../io/packet-io.js";
import type { RequestOptions } from "../io/request.js";
import { sendRoutine } from "../io/requests.js";
import type { BoundView } from "../io/view.js";
import type { Routine } from "../io/wait.js";
import type { Space } from "./space.js";

/** Addresses for `gather`. Columns cost no object an address. */
export type AddressColumn = BigUint64Array | Float64Array | readonly Address[];

/** What `gather` gives: `count` records of `size` bytes, one after the other, in the order of their addresses. */
export class Gathered {
  /** The caller's (or new) memory. */
  readonly bytes: Uint8Array;
  /** Bytes of a record. */
  readonly size: number;
  readonly count: number;
  /** Indices of the records of which a byte is missing, ascending; empty if none. */
  readonly failed: Uint32Array;
  /** Why: the fault of the first missing byte of each failed record. */
  readonly faults: Int32Array;

  /** @internal */
  constructor(bytes: Uint8Array, size: number, count: number, failed: Uint32Array, faults: Int32Array) {
    this.bytes = bytes;
    this.size = size;
    this.count = count;
    this.failed = failed;
    this.faults = faults;
  }

  /** The fault of a record; 0 if it was read whole. */
  faultOf(index: number): Fault {
    const { failed } = this;
    let low = 0;
    let high = failed.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((failed[middle] as number) < index) low = middle + 1;
      else high = middle;
    }
    return failed[low] === index ? (this.faults[low] as number) : 0;
  }

  /** Why a record failed, or `undefined` if it was read whole. */
  stateOf(index: number): FaultState | undefined {
    const fault = this.faultOf(index);
    return fault === 0 ? undefined : faultState(fault);
  }

  /** A record's bytes, without a copy; `undefined` if one of them is missing. */
  at(index: number): Uint8Array | undefined {
    if (!(index >= 0 && index < this.count) || this.faultOf(index) !== 0) return undefined;
    return this.bytes.subarray(index * this.size, (index + 1) * this.size);
  }
}

/** Addresses of a gather that one packet serves. */
interface GatherSlice<P> {
  readonly params: readonly P[];
  readonly from: number;
}

/** Splits a packet into records, and sends each to its address. */
class GatherIo<P> implements PacketIo<GatherSlice<P>> {
  readonly #io: PacketIo<P>;
  readonly #size: number;

  constructor(io: PacketIo<P>, size: number) {
    this.#io = io;
    this.#size = size;
  }

  sendIo({ params, from }: GatherSlice<P>, view: BoundView): void {
    const size = this.#size;
    let rest = view;
    let i = from;
    while (rest.length > size) {
      const tail = rest.split(size);
      this.#io.sendIo(params[i] as P, rest);
      rest = tail;
      i++;
    }
    this.#io.sendIo(params[i] as P, rest);
  }
}

/** The routine of `AddressSpace.gather`: one packet for each high-water mark of addresses. */
export function* gatherRoutine<P>(
  space: Space<P>,
  params: readonly P[],
  size: number,
  into: Uint8Array | undefined,
  options: RequestOptions | undefined,
): Routine<Gathered> {
  const count = params.length;
  const bytes = into?.subarray(0, count * size) ?? asBytes(count * size);
  const failed: number[] = [];
  const faults: number[] = [];
  const io = new GatherIo(space.io, size);
  const most = space.scheduler.highWaterMark;
  for (let from = 0; from < count && size > 0; from += most) {
    const until = Math.min(count, from + most);
    const packet = Packet.reading(bytes.subarray(from * size, until * size));
    yield* sendRoutine(io, { params, from }, packet, undefined, options);
    if (packet.firstFault === 0) continue;
    for (const { start, end, fault } of packet.holes()) {
      for (let i = from + Math.floor(start / size); i * size < from * size + end; i++) {
        if (failed[failed.length - 1] === i) continue;
        failed.push(i);
        faults.push(fault);
      }
    }
  }
  return new Gathered(bytes, size, count, Uint32Array.from(failed), Int32Array.from(faults));
}
