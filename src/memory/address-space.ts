/** Typed access over any `PacketIo` of addresses: one for physical memory, one for each virtual address space. */
import { HIGH, toPhysical, toVirtual } from "../io/address.js";
import { type ByteRange, type Hole, hex, hole, PartialReadError } from "../io/errors.js";
import { type Fault, type FaultState, faultState, OUTSIDE } from "../io/fault.js";
import { Io } from "../io/io.js";
import { asBytes, type BoundView, type Fragment, Packet, type PacketMemory } from "../io/packet.js";
import type { Address, PacketIo } from "../io/packet-io.js";
import {
  fragments,
  type PartialTransfer,
  partialError,
  type RequestOptions,
  schedulerOf,
  sendRoutine,
} from "../io/requests.js";
import type { Scheduler } from "../io/scheduler.js";
import { IoSequence, type Sink } from "../io/sequence.js";
import type { Routine } from "../io/wait.js";
import { decodeText, type TextEncoding } from "./text.js";
import type { Abi, Type } from "./type.js";

/** Bytes that one request moves at most, 4 GiB: what one buffer holds on every runtime. `chunks` goes beyond. */
export const MAX_REQUEST = 4294967296;

/** Pieces of a string are read up to the end of a page of this size, so that no page that holds none of it is. */
const PAGE_SIZE = 4096;
/** The first piece of a string; few are longer. */
const FIRST_PIECE = 256;
const DEFAULT_CHUNK = 1048576;

/** Options of an {@link AddressSpace}. */
export interface AddressSpaceOptions {
  /** For messages. */
  readonly name?: string | undefined;
  /** Bytes of `pointer`; default 8. */
  readonly pointerSize?: 4 | 8 | undefined;
  /** Byte order of types that have none of their own; default `true`. */
  readonly littleEndian?: boolean | undefined;
  /** Default: that of the layer below. */
  readonly scheduler?: Scheduler | undefined;
  /**
   * Width of its addresses (default 64): with 53, layers below get every address as a `number`, and one that does not
   * fit is a `RangeError`. For file offsets and physical memory.
   */
  readonly addressBits?: 64 | 53 | undefined;
}

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

/** How people see the addresses of a space: `number` in physical ones, else `bigint`. */
export type ShownAddress<P> = [P] extends [number] ? number : bigint;

/** A piece of a long range, see {@link AddressSpace.chunks}. */
export interface Chunk<A> {
  readonly address: A;
  readonly bytes: Uint8Array;
  /** Relative to the chunk, ascending, disjoint. */
  readonly good: readonly ByteRange[];
  readonly holes: readonly Hole[];
}

/** Options of {@link AddressSpace.readString}. */
export interface StringOptions extends RequestOptions {
  readonly encoding?: TextEncoding | undefined;
}

/**
 * Typed access over a layer. It is a `PacketIo` itself, so that it can stand wherever a layer can.
 *
 * Every operation is lazy (see `Io`). A mistake in its arguments (an address that is none, a negative or huge
 * length) is a `RangeError` at the call; a byte that can't be read is a `PartialReadError` when it is driven.
 *
 * @example
 * const magic = await memory.read(u32, 0x1000);
 * const page = memory.read(0x1000, 4096).sync();
 */
export class AddressSpace<P extends Address = Address> implements PacketIo<P> {
  readonly io: PacketIo<P>;
  readonly scheduler: Scheduler;
  readonly name: string;
  readonly abi: Abi;
  readonly #narrow: boolean;

  constructor(io: PacketIo<P>, options: AddressSpaceOptions = {}) {
    this.io = io;
    this.scheduler = options.scheduler ?? schedulerOf(io);
    this.name = options.name ?? "memory";
    this.abi = { littleEndian: options.littleEndian ?? true, pointerSize: options.pointerSize ?? 8 };
    this.#narrow = options.addressBits === 53;
  }

  get pointerSize(): 4 | 8 {
    return this.abi.pointerSize;
  }

  get littleEndian(): boolean {
    return this.abi.littleEndian;
  }

  /** Forwards to the layer below. */
  sendIo(param: P, view: BoundView): void {
    this.io.sendIo(param, view);
  }

  /**
   * An address as the layer below takes it: a `number` where that is exact, else a `bigint`.
   *
   * @throws {RangeError} for what is no address of this space.
   */
  protected param(at: Address): P {
    if (typeof at === "number") {
      if (Number.isSafeInteger(at) && at >= 0) return at as P;
    } else if (!this.#narrow) {
      const address = toVirtual(at);
      return (address <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(address) : address) as P;
    }
    return (this.#narrow ? toPhysical(at) : toVirtual(at)) as P;
  }

  /** An address as people see it. */
  protected shown(at: Address): ShownAddress<P> {
    return (this.#narrow ? Number(at) : BigInt(at)) as ShownAddress<P>;
  }

  /** Reads `length` bytes into new memory. @throws {PartialReadError} if one is missing. */
  read(at: Address, length: number, options?: RequestOptions): Io<Uint8Array>;
  /** Reads a value. @throws {PartialReadError} if a byte of it is missing: never half a value. */
  read<T>(type: Type<T>, at: Address, options?: RequestOptions): Io<T>;
  read<T>(first: Address | Type<T>, second: Address, options?: RequestOptions): Io<Uint8Array> | Io<T> {
    if (typeof first === "object") {
      const type = first.under(this.abi);
      return Io.of(this.scheduler, readTypeRoutine<P, T>, this.io, type, this.param(second), options);
    }
    const param = this.param(first);
    const length = checkLength(second, this.name);
    return Io.of(this.scheduler, wholeRoutine<P>, this.io, param, "reading" as const, length, options);
  }

  /** Reads into the caller's memory, all of it. @throws {PartialReadError} if a byte is missing. */
  readInto(at: Address, memory: CallerMemory, options?: RequestOptions): Io<Uint8Array> {
    const param = this.param(at);
    return Io.of(this.scheduler, wholeRoutine<P>, this.io, param, "reading" as const, memory, options);
  }

  /** Reads what there is, into the caller's memory or as many new bytes. Holes are data, not errors. */
  readPartial(at: Address, memory: PacketMemory, options?: RequestOptions): Io<PartialTransfer> {
    const param = this.param(at);
    if (typeof memory === "number") checkLength(memory, this.name);
    return Io.of(this.scheduler, partialRoutine<P>, this.io, param, "reading" as const, memory, options);
  }

  /**
   * Reads `size` bytes at each address into one memory, as one packet and one batch (one for each `highWaterMark`
   * addresses). Records that could not be read are named in the result; the others are there.
   *
   * @param into Memory for all of them; default new.
   * @throws {RangeError} for an address that is none (before anything is sent), or if `into` is too short.
   */
  gather(
    addresses: AddressColumn,
    size: number,
    into?: CallerMemory,
    options?: RequestOptions,
  ): Io<Gathered> {
    checkLength(size, this.name);
    const total = checkLength(size * addresses.length, this.name);
    const params = this.#params(addresses);
    const memory = into === undefined ? undefined : asBytes(into);
    if (memory !== undefined && memory.length < total) {
      throw new RangeError(`gather of ${addresses.length} times ${size} bytes into ${memory.length}`);
    }
    return Io.of(this.scheduler, gatherRoutine<P>, this as AddressSpace<P>, params, size, memory, options);
  }

  /** The addresses as the layer below takes them. No bigint is made of those that are exact as a number. */
  #params(addresses: AddressColumn): P[] {
    const params: P[] = [];
    if (addresses instanceof BigUint64Array) {
      const words = new Uint32Array(addresses.buffer, addresses.byteOffset, addresses.length * 2);
      for (let i = 0; i < addresses.length; i++) {
        const hi = words[2 * i + 1] as number;
        const exact = hi < 0x200000;
        params.push(this.param(exact ? hi * HIGH + (words[2 * i] as number) : (addresses[i] as bigint)));
      }
    } else {
      for (let i = 0; i < addresses.length; i++) params.push(this.param(addresses[i] as Address));
    }
    return params;
  }

  /** Writes bytes. @throws {PartialWriteError} if one did not arrive. */
  write(at: Address, bytes: CallerMemory, options?: RequestOptions): Io<void>;
  /**
   * Writes a value. Padding and gaps of structs are left alone; where bit-fields cover only some bits of their unit,
   * the value's bytes are read first (reading and writing is then not atomic).
   *
   * @throws {RangeError} if the value does not fit its type; {PartialWriteError} if a byte did not arrive.
   */
  write<T>(type: Type<T>, at: Address, value: T, options?: RequestOptions): Io<void>;
  write<T>(
    first: Address | Type<T>,
    second: CallerMemory | Address,
    third?: T | RequestOptions,
    fourth?: RequestOptions,
  ): Io<void> {
    if (typeof first === "object") {
      const type = first.under(this.abi);
      const param = this.param(second as Address);
      return Io.of(
        this.scheduler,
        writeTypeRoutine<P, T>,
        this as AddressSpace<P>,
        type,
        param,
        third as T,
        fourth,
      );
    }
    const param = this.param(first);
    const memory = second as CallerMemory;
    const options = third as RequestOptions | undefined;
    return Io.of(this.scheduler, writeRoutine<P>, this.io, param, memory, options);
  }

  /** Writes what can be written. */
  writePartial(at: Address, bytes: CallerMemory, options?: RequestOptions): Io<PartialTransfer> {
    const param = this.param(at);
    return Io.of(this.scheduler, partialRoutine<P>, this.io, param, "writing" as const, bytes, options);
  }

  /** Trades the caller's bytes for the memory's. @throws {PartialTransferError} if one was not traded. */
  exchange(at: Address, bytes: CallerMemory, options?: RequestOptions): Io<Uint8Array> {
    const param = this.param(at);
    return Io.of(this.scheduler, wholeRoutine<P>, this.io, param, "exchanging" as const, bytes, options);
  }

  /** Reads, and gives each fragment as it is answered, in the order of the answers; see its `fault`. */
  fragments(at: Address, memory: PacketMemory, options?: RequestOptions): IoSequence<Fragment> {
    const param = this.param(at);
    if (typeof memory === "number") checkLength(memory, this.name);
    return IoSequence.of(this.scheduler, fragmentsRoutine<P>, this.io, param, memory, options);
  }

  /**
   * Reads a string that ends at a NUL, or after `maxLength` bytes. Reads in pieces that do not cross a page, so that
   * what lies behind the NUL need not be readable.
   *
   * @throws {PartialReadError} if a byte before the NUL is missing; its `bytes` begin with what was read.
   */
  readString(at: Address, maxLength: number, options?: StringOptions): Io<string> {
    const param = this.param(at);
    const limit = checkLength(maxLength, this.name);
    return Io.of(this.scheduler, readStringRoutine<P>, this as AddressSpace<P>, param, limit, options);
  }

  /**
   * Reads from `start` to `end` (exclusive) in pieces of `size` bytes (default 1 MiB), in bounded memory. Each piece
   * tells its holes; none throws. Each has memory of its own. For a sparse space, ask per mapped range.
   *
   * @throws {RangeError} unless 0 <= start <= end <= 2^64, and 0 < size <= 2^32.
   */
  chunks(
    start: Address,
    end: Address,
    size = DEFAULT_CHUNK,
    options?: RequestOptions,
  ): IoSequence<Chunk<ShownAddress<P>>> {
    const first = rangeEnd(start);
    const last = rangeEnd(end);
    if (last < first)
      throw new RangeError(`chunks from ${hex(first)} to ${hex(last)}: the end is before the start`);
    if (checkLength(size, this.name) === 0) throw new RangeError("chunks of 0 bytes would never end");
    if (first < last) {
      this.param(first);
      this.param(last - 1n);
    }
    return IoSequence.of(
      this.scheduler,
      chunksRoutine<P>,
      this as AddressSpace<P>,
      first,
      last,
      size,
      options,
    );
  }

  /** What `param` and `shown` are, for the routines of this module. @internal */
  addressOf(at: bigint): { readonly param: P; readonly shown: ShownAddress<P> } {
    const param = this.param(at);
    return { param, shown: this.shown(param) };
  }

  /** `at + delta`, or `undefined` beyond the end of the space. @internal */
  plus(at: P, delta: number): P | undefined {
    if (typeof at === "number" && at + delta <= Number.MAX_SAFE_INTEGER) return this.param(at + delta);
    const sum = BigInt(at) + BigInt(delta);
    return sum >= (this.#narrow ? 1n << 53n : 1n << 64n) ? undefined : this.param(sum);
  }
}

/** The caller's memory (a bare length is for reads only). */
export type CallerMemory = Exclude<PacketMemory, number>;

function checkLength(length: Address, name: string): number {
  if (!(typeof length === "number" && Number.isSafeInteger(length) && length >= 0)) {
    throw new RangeError(`${name}: not a length in bytes: ${String(length)}`);
  }
  if (length > MAX_REQUEST) {
    throw new RangeError(
      `${name}: ${length} bytes are more than one request moves (2^32); read them with chunks(start, end)`,
    );
  }
  return length;
}

/** A bound of a range: an address, or 2^64. */
function rangeEnd(end: Address): bigint {
  return end === 1n << 64n ? end : toVirtual(end);
}

/** The caller's memory, or as much new one. @throws {RangeError} that says what to do, where the runtime's does not. */
function memoryOf(memory: PacketMemory): Uint8Array {
  try {
    return asBytes(memory);
  } catch (cause) {
    throw new RangeError(`no memory for ${String(memory)} bytes; read them with chunks(start, end)`, {
      cause,
    });
  }
}

type Verb = "reading" | "writing" | "exchanging";

function* wholeRoutine<P>(
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

function* writeRoutine<P>(
  io: PacketIo<P>,
  param: P,
  memory: PacketMemory,
  options: RequestOptions | undefined,
): Routine<void> {
  const packet = yield* sendRoutine(io, param, Packet.writing(memory), undefined, options);
  if (packet.firstFault !== 0) throw partialError(packet, param);
}

function* partialRoutine<P>(
  io: PacketIo<P>,
  param: P,
  verb: Verb,
  memory: PacketMemory,
  options: RequestOptions | undefined,
): Routine<PartialTransfer> {
  const packet = yield* sendRoutine(io, param, Packet[verb](memoryOf(memory)), undefined, options);
  return { bytes: packet.bytes, good: packet.good(), holes: packet.holes() };
}

function* readTypeRoutine<P, T>(
  io: PacketIo<P>,
  type: Type<T>,
  param: P,
  options: RequestOptions | undefined,
): Routine<T> {
  const packet = yield* sendRoutine(io, param, Packet.reading(memoryOf(type.size)), undefined, options);
  if (packet.firstFault !== 0) throw partialError(packet, param);
  return type.get(packet.bytes, 0);
}

/** Forwards the runs of a value that writing it touches; the gaps between them need no write. */
class RunsIo<P extends Address> implements PacketIo<P> {
  readonly #space: AddressSpace<P>;
  /** `[start, end)` pairs, ascending. */
  readonly #runs: readonly number[];

  constructor(space: AddressSpace<P>, runs: readonly number[]) {
    this.#space = space;
    this.#runs = runs;
  }

  sendIo(param: P, view: BoundView): void {
    const { length } = view;
    let rest: BoundView | undefined = view;
    let from = 0;
    for (let i = 0; i <= this.#runs.length && rest !== undefined; i++) {
      // Even bounds begin a run, odd ones end it; behind the last comes the tail.
      const to = this.#runs[i] ?? length;
      if (to === from) continue;
      const piece: BoundView = rest;
      rest = to < length ? piece.split(to - from) : undefined;
      const target = i % 2 === 1 ? this.#space.plus(param, from) : undefined;
      if (i % 2 === 0) piece.complete();
      else if (target === undefined) piece.fail(OUTSIDE);
      else this.#space.io.sendIo(target, piece);
      from = to;
    }
  }
}

function* writeTypeRoutine<P extends Address, T>(
  space: AddressSpace<P>,
  type: Type<T>,
  param: P,
  value: T,
  options: RequestOptions | undefined,
): Routine<void> {
  const bytes = memoryOf(type.size);
  // A value that does not fit must not cost a read first.
  type.set(bytes, 0, value);
  if (type.bitwise) {
    const before = yield* sendRoutine(space.io, param, Packet.reading(bytes), undefined, options);
    if (before.firstFault !== 0) throw partialError(before, param);
    type.set(bytes, 0, value);
  }
  const runs: number[] = [];
  type.touched(0, runs);
  const packet = yield* sendRoutine(
    new RunsIo(space, runs),
    param,
    Packet.writing(bytes),
    undefined,
    options,
  );
  if (packet.firstFault !== 0) throw partialError(packet, param);
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

function* gatherRoutine<P extends Address>(
  space: AddressSpace<P>,
  params: readonly P[],
  size: number,
  into: Uint8Array | undefined,
  options: RequestOptions | undefined,
): Routine<Gathered> {
  const count = params.length;
  const bytes = into?.subarray(0, count * size) ?? memoryOf(count * size);
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

function* fragmentsRoutine<P>(
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

function* readStringRoutine<P extends Address>(
  space: AddressSpace<P>,
  param: P,
  limit: number,
  options: StringOptions | undefined,
): Routine<string> {
  let bytes = new Uint8Array(Math.min(limit, FIRST_PIECE));
  let length = 0;
  let most = FIRST_PIECE;
  while (length < limit) {
    const at = space.plus(param, length);
    if (at === undefined) {
      throw stringError(param, bytes.slice(0, length + 1), length, [], [hole(0, 1, OUTSIDE)], undefined);
    }
    const inPage = typeof at === "number" ? at % PAGE_SIZE : Number(BigInt.asUintN(12, at));
    const want = Math.min(limit - length, PAGE_SIZE - inPage, most);
    most = PAGE_SIZE;
    if (length + want > bytes.length) {
      const longer = new Uint8Array(Math.min(limit, Math.max(2 * bytes.length, length + want)));
      longer.set(bytes);
      bytes = longer;
    }
    const packet = Packet.reading(bytes.subarray(length, length + want));
    yield* sendRoutine(space.io, at, packet, undefined, options);
    const end = length + packet.clamp;
    const nul = bytes.indexOf(0, length);
    if (nul >= 0 && nul < end) return decodeText(bytes, 0, nul, options?.encoding);
    if (packet.firstFault !== 0) {
      const read = bytes.slice(0, length + want);
      throw stringError(param, read, length, packet.good(), packet.holes(), packet.cause);
    }
    length = end;
  }
  return decodeText(bytes, 0, length, options?.encoding);
}

/** The error of a string whose last piece has holes; `good` and `holes` are relative to that piece. */
function stringError(
  param: Address,
  bytes: Uint8Array,
  before: number,
  good: readonly ByteRange[],
  holes: readonly Hole[],
  cause: unknown,
): PartialReadError {
  const ranges: ByteRange[] = before > 0 ? [{ start: 0, end: before }] : [];
  for (const { start, end } of good) {
    if (start === 0 && before > 0) ranges[0] = { start: 0, end: before + end };
    else ranges.push({ start: before + start, end: before + end });
  }
  const missing = holes.map(({ start, end, fault }) => hole(before + start, before + end, fault));
  return new PartialReadError("read", ` of a string at ${hex(param)}`, bytes, ranges, missing, cause);
}

function* chunksRoutine<P extends Address>(
  sink: Sink<Chunk<ShownAddress<P>>>,
  space: AddressSpace<P>,
  start: bigint,
  end: bigint,
  size: number,
  options: RequestOptions | undefined,
): Routine<void> {
  for (let at = start; at < end; ) {
    const left = end - at;
    const length = left < BigInt(size) ? Number(left) : size;
    const { param, shown } = space.addressOf(at);
    const packet = yield* sendRoutine(space.io, param, Packet.reading(memoryOf(length)), undefined, options);
    yield sink.emit({ address: shown, bytes: packet.bytes, good: packet.good(), holes: packet.holes() });
    at += BigInt(length);
  }
}
