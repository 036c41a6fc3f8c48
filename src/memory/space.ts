/** What the requests of an address space share: the space as they see it, and the bounds and memory of one. */
import type { PacketMemory } from "../io/packet.js";
import type { Address, PacketIo } from "../io/packet-io.js";
import type { Scheduler } from "../io/scheduler.js";

/** Bytes that one request moves at most, 4 GiB: what one buffer holds on every runtime. `chunks` goes beyond. */
export const MAX_REQUEST = 4294967296;

/** The caller's memory (a bare length is for reads only). */
export type CallerMemory = Exclude<PacketMemory, number>;

/** How people see the addresses of a space: `number` in physical ones, else `bigint`. */
export type ShownAddress<P> = [P] extends [number] ? number : bigint;

/** An address space as its requests see it. */
export interface Space<P> {
  readonly io: PacketIo<P>;
  readonly scheduler: Scheduler;
  /** `at + delta`, or `undefined` beyond the end of the space. */
  plus(at: P, delta: number): P | undefined;
  /** An address as the layer below takes it, and as people see it. */
  addressOf(at: bigint): { readonly param: P; readonly shown: ShownAddress<P> };
}

/** @throws {RangeError} unless one request can move so many bytes. */
export function checkLength(length: Address, name: string): number {
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
