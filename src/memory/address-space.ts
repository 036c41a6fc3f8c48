/** Typed access over any `PacketIo` of addresses: one for physical memory, one for each virtual address space. */
import { HIGH, split, splitVirtual, toPhysical, toVirtual } from "../io/address.js";
import { type Column, type ColumnIo, SAFE_HIGH, sendColumn } from "../io/column.js";
import { hex } from "../io/errors.js";
import { Io } from "../io/io.js";
import { asBytes, type PacketMemory } from "../io/packet.js";
import type { Address, PacketIo } from "../io/packet-io.js";
import { PacketRequest, type RequestKind, type RequestOptions } from "../io/request.js";
import {
  EXCHANGE,
  type PartialTransfer,
  READ,
  READ_PART,
  schedulerOf,
  WRITE,
  WRITE_PART,
} from "../io/requests.js";
import type { Scheduler } from "../io/scheduler.js";
import { IoSequence } from "../io/sequence.js";
import type { BoundView, Fragment } from "../io/view.js";
import { type Chunk, chunksRoutine } from "./chunks.js";
import { fragmentsRoutine } from "./fragments.js";
import { type AddressColumn, columnOf, type Gathered, gatherRoutine } from "./gather.js";
import { type CallerMemory, checkLength, type ShownAddress } from "./space.js";
import { readStringRoutine, type StringOptions } from "./strings.js";
import type { Abi, Type } from "./type.js";
import { READ_VALUE, WRITE_VALUE, writeTypeRoutine } from "./values.js";

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
export class AddressSpace<P extends Address = Address> implements PacketIo<P>, ColumnIo {
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

  /** Forwards to the layer below. @internal */
  sendColumn(column: Column, from: number, view: BoundView): void {
    sendColumn(this.io, column, from, view);
  }

  /**
   * An address as the layer below takes it: a `number` where that is exact, else a `bigint`.
   *
   * @throws {RangeError} for what is no address of this space.
   */
  protected param(at: Address): P {
    if (typeof at === "number" && Number.isSafeInteger(at) && at >= 0) return at as P;
    if (this.#narrow) return toPhysical(at) as P;
    const address = toVirtual(at);
    splitVirtual(address);
    return (split.hi < SAFE_HIGH ? split.hi * HIGH + split.lo : address) as P;
  }

  /** An address as people see it. */
  protected shown(at: Address): ShownAddress<P> {
    return (this.#narrow ? Number(at) : BigInt(at)) as ShownAddress<P>;
  }

  #request<T>(
    param: P,
    kind: RequestKind<T, PacketMemory, undefined>,
    memory: PacketMemory,
    options: RequestOptions | undefined,
  ): Io<T> {
    return new PacketRequest(this.scheduler, this.io, param, options, kind, memory, undefined);
  }

  /** Reads `length` bytes into new memory. @throws {PartialReadError} if one is missing. */
  read(at: Address, length: number, options?: RequestOptions): Io<Uint8Array>;
  /** Reads a value. @throws {PartialReadError} if a byte of it is missing: never half a value. */
  read<T>(type: Type<T>, at: Address, options?: RequestOptions): Io<T>;
  read<T>(first: Address | Type<T>, second: Address, options?: RequestOptions): Io<Uint8Array> | Io<T> {
    if (typeof first === "object") {
      const type = first.under(this.abi);
      const kind = READ_VALUE as RequestKind<T, Type<T>, undefined>;
      return new PacketRequest(this.scheduler, this.io, this.param(second), options, kind, type, undefined);
    }
    const param = this.param(first);
    const length = checkLength(second, this.name);
    return this.#request(param, READ, length, options);
  }

  /** Reads into the caller's memory, all of it. @throws {PartialReadError} if a byte is missing. */
  readInto(at: Address, memory: CallerMemory, options?: RequestOptions): Io<Uint8Array> {
    const param = this.param(at);
    return this.#request(param, READ, memory, options);
  }

  /** Reads what there is, into the caller's memory or as many new bytes. Holes are data, not errors. */
  readPartial(at: Address, memory: PacketMemory, options?: RequestOptions): Io<PartialTransfer> {
    const param = this.param(at);
    if (typeof memory === "number") checkLength(memory, this.name);
    return this.#request(param, READ_PART, memory, options);
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
    const column = columnOf(addresses, size, this.#narrow ? 53 : 64, this.name);
    const memory = into === undefined ? undefined : asBytes(into);
    if (memory !== undefined && memory.length < total) {
      throw new RangeError(`gather of ${addresses.length} times ${size} bytes into ${memory.length}`);
    }
    return Io.of(this.scheduler, gatherRoutine<P>, this as AddressSpace<P>, column, memory, options);
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
      if (type.solid) {
        const kind = WRITE_VALUE as RequestKind<void, Type<T>, T>;
        return new PacketRequest(this.scheduler, this.io, param, fourth, kind, type, third as T);
      }
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
    return this.#request(param, WRITE, memory, options);
  }

  /** Writes what can be written. */
  writePartial(at: Address, bytes: CallerMemory, options?: RequestOptions): Io<PartialTransfer> {
    const param = this.param(at);
    return this.#request(param, WRITE_PART, bytes, options);
  }

  /** Trades the caller's bytes for the memory's. @throws {PartialTransferError} if one was not traded. */
  exchange(at: Address, bytes: CallerMemory, options?: RequestOptions): Io<Uint8Array> {
    const param = this.param(at);
    return this.#request(param, EXCHANGE, bytes, options);
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

  /** What `param` and `shown` are, for the routines of its requests. @internal */
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

/** A bound of a range: an address, or 2^64. */
function rangeEnd(end: Address): bigint {
  return end === 1n << 64n ? end : toVirtual(end);
}
