/** Records of one size from many addresses, as one request. */
import { split, splitAddress } from "../io/address.js";
import { type Column, SAFE_HIGH, sendColumn } from "../io/column.js";
import { copyBytes } from "../io/copy.hot.js";
import type { ByteRange } from "../io/errors.js";
import { type Fault, type FaultState, faultState } from "../io/fault.js";
import { asBytes, Packet } from "../io/packet.js";
import type { Address, PacketIo } from "../io/packet-io.js";
import { ascendingOrder } from "../io/radix-order.hot.js";
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

/** Sends the records of a column from an index on. */
class GatherIo implements PacketIo<number> {
  readonly #io: PacketIo<never>;
  readonly #column: Column;

  constructor(io: PacketIo<never>, column: Column) {
    this.#io = io;
    this.#column = column;
  }

  sendIo(from: number, view: BoundView): void {
    sendColumn(this.#io, this.#column, from, view);
  }
}

/**
 * The addresses as a column of words, copied, so that the caller may use the array again.
 *
 * @throws {RangeError} for what is no address, or none of `bits` bits.
 */
export function columnOf(addresses: AddressColumn, size: number, bits: 64 | 53, name: string): Column {
  const { length } = addresses;
  let words: Uint32Array;
  if (addresses instanceof BigUint64Array) {
    words = new Uint32Array(addresses.slice().buffer);
  } else {
    words = new Uint32Array(2 * length);
    for (let i = 0; i < length; i++) {
      if (!splitAddress(addresses[i] as Address)) throw notAnAddress(name, addresses[i] as Address);
      words[2 * i] = split.lo;
      words[2 * i + 1] = split.hi;
    }
  }
  if (bits === 53) {
    for (let i = 0; i < length; i++) {
      if ((words[2 * i + 1] as number) >= SAFE_HIGH) throw notAnAddress(name, addresses[i] as Address);
    }
  }
  return { words, size };
}

function notAnAddress(name: string, address: Address): RangeError {
  return new RangeError(`gather from ${name}: not an address of it: ${String(address)}`);
}

/** The routine of `AddressSpace.gather`: one packet for each high-water mark of addresses. */
export function* gatherRoutine<P>(
  space: Space<P>,
  column: Column,
  into: Uint8Array | undefined,
  options: RequestOptions | undefined,
): Routine<Gathered> {
  const { size } = column;
  const count = column.words.length / 2;
  const bytes = into?.subarray(0, count * size) ?? asBytes(count * size);
  const order = count > space.scheduler.highWaterMark && size <= SORTED_SIZE ? orderOf(column) : undefined;
  if (order === undefined) return yield* gatherSlices(space, column, bytes, options);
  const holes: ByteRange[] = [];
  const sorted = yield* gatherSlices(space, inOrder(column, order), asBytes(count * size), options, holes);
  unsort(sorted.bytes, order, size, holes, bytes);
  const failed = sorted.failed.map((i) => order[i] as number);
  const byIndex = [...failed.keys()].sort((a, b) => (failed[a] as number) - (failed[b] as number));
  return new Gathered(
    bytes,
    size,
    count,
    Uint32Array.from(byIndex, (k) => failed[k] as number),
    Int32Array.from(byIndex, (k) => sorted.faults[k] as number),
  );
}

/** Records of up to so many bytes are worth sorting: that is a copy more of each. */
const SORTED_SIZE = 256;

/**
 * The order of a column's pages, or `undefined` if it is ascending already. Records that need several packets would
 * otherwise have every page fetched again for each packet that wants something of it.
 */
function orderOf({ words }: Column): Uint32Array | undefined {
  const count = words.length / 2;
  let sorted = true;
  for (let i = 2; i < words.length && sorted; i += 2) {
    const hi = words[i + 1] as number;
    const before = words[i - 1] as number;
    if (hi < before || (hi === before && (words[i] as number) < (words[i - 2] as number))) sorted = false;
  }
  // The lowest byte need not be in order: one pass less.
  return sorted ? undefined : ascendingOrder(words, count, 1).slice(0, count);
}

function inOrder({ words, size }: Column, order: Uint32Array): Column {
  const ordered = new Uint32Array(words.length);
  for (let k = 0; k < order.length; k++) {
    const i = order[k] as number;
    ordered[2 * k] = words[2 * i] as number;
    ordered[2 * k + 1] = words[2 * i + 1] as number;
  }
  return { words: ordered, size };
}

/** Copies every byte that was read to its record's own place; the others stay there as they were. */
function unsort(
  sorted: Uint8Array,
  order: Uint32Array,
  size: number,
  holes: readonly ByteRange[],
  bytes: Uint8Array,
): void {
  let next = 0;
  for (let k = 0; k < order.length; k++) {
    const to = (order[k] as number) * size;
    const end = (k + 1) * size;
    let at = k * size;
    for (let hole = holes[next]; hole !== undefined && hole.start < end; hole = holes[next]) {
      if (hole.start > at) copyBytes(sorted, at, bytes, to + at - k * size, hole.start - at);
      at = Math.min(hole.end, end);
      if (hole.end > end) break;
      next++;
    }
    if (at < end) copyBytes(sorted, at, bytes, to + at - k * size, end - at);
  }
}

/** @param holes Is told of every range that did not move, relative to `bytes`, ascending. */
function* gatherSlices<P>(
  space: Space<P>,
  column: Column,
  bytes: Uint8Array,
  options: RequestOptions | undefined,
  holes?: ByteRange[],
): Routine<Gathered> {
  const { size } = column;
  const count = column.words.length / 2;
  const failed: number[] = [];
  const faults: number[] = [];
  const io = new GatherIo(space.io, column);
  const most = space.scheduler.highWaterMark;
  for (let from = 0; from < count && size > 0; from += most) {
    const until = Math.min(count, from + most);
    const packet = Packet.reading(bytes.subarray(from * size, until * size));
    yield* sendRoutine(io, from, packet, undefined, options);
    if (packet.firstFault === 0) continue;
    for (const { start, end, fault } of packet.holes()) {
      holes?.push({ start: from * size + start, end: from * size + end });
      for (let i = from + Math.floor(start / size); i * size < from * size + end; i++) {
        if (failed[failed.length - 1] === i) continue;
        failed.push(i);
        faults.push(fault);
      }
    }
  }
  return new Gathered(bytes, size, count, Uint32Array.from(failed), Int32Array.from(faults));
}
