/**
 * Many records of one size, each at an address of its own: what `gather` sends. A column is a parameter like an
 * address is, and its view holds the records one after the other; so a layer answers them with one call, or splits
 * off those that need another answer. Layers that don't know columns get a view a record.
 */
import { HIGH, joinAddress } from "./address.js";
import type { Address, PacketIo } from "./packet-io.js";
import type { BoundView } from "./view.js";

/** Addresses of records that are `size` bytes each. */
export interface Column {
  /** Address of record i as `[lo, hi]`, at 2i and 2i + 1. */
  readonly words: Uint32Array;
  /** Bytes of a record, at least 1. */
  readonly size: number;
}

/** A layer that takes columns. */
export interface ColumnIo {
  /**
   * Takes a view over records, the first of which is that at `from` in the column: as `PacketIo.sendIo`, it answers
   * each of them once, and never throws for an I/O failure.
   *
   * @param view Its length is a multiple of `column.size`.
   */
  sendColumn(column: Column, from: number, view: BoundView): void;
}

/**
 * Sends records to a layer, all at once if it takes columns.
 *
 * @throws {RangeError} if the view is no whole number of records, or the column has not so many.
 */
export function sendColumn(io: PacketIo<never>, column: Column, from: number, view: BoundView): void {
  check(column, from, view);
  const layer = io as PacketIo<Address> & Partial<ColumnIo>;
  if (layer.sendColumn === undefined) sendRecords(layer, column, from, view);
  else layer.sendColumn(column, from, view);
}

function check({ words, size }: Column, from: number, { length }: BoundView): void {
  const count = length / size;
  if (Number.isInteger(count) && 2 * (from + count) <= words.length) return;
  throw new RangeError(
    `column of ${words.length / 2} records of ${size} bytes: ${length} bytes from record ${from} on`,
  );
}

/** Sends each record by itself. @throws {RangeError} as `sendColumn`. */
export function sendRecords(io: PacketIo<Address>, column: Column, from: number, view: BoundView): void {
  check(column, from, view);
  const { size } = column;
  let rest = view;
  for (let i = from; ; i++) {
    const tail = rest.length > size ? rest.split(size) : undefined;
    io.sendIo(addressAt(column, i), rest);
    if (tail === undefined) return;
    rest = tail;
  }
}

/** An address of a column: a `number` where that is exact. */
export function addressAt({ words }: Column, i: number): Address {
  const lo = words[2 * i] as number;
  const hi = words[2 * i + 1] as number;
  return hi < SAFE_HIGH ? hi * HIGH + lo : joinAddress(lo, hi);
}

/** High words from here on make addresses that a double does not hold exactly. */
export const SAFE_HIGH = 2 ** 21;
