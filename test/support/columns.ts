/** Columns of addresses sent to a layer, for tests. */

import { type Column, sendColumn, sendRecords } from "../../src/io/column.js";
import { layer, Packet, type PacketIo, send } from "../../src/io/index.js";

/** What came of a column's records: the bytes that moved, and the holes. */
export interface ColumnOutcome {
  readonly good: readonly { readonly start: number; readonly end: number; readonly bytes: string }[];
  readonly holes: readonly { readonly start: number; readonly end: number; readonly fault: number }[];
}

/** A column of addresses below 2^53. */
export function columnOf(addresses: readonly number[], size: number): Column {
  const words = Uint32Array.from(addresses.flatMap((at) => [at >>> 0, Math.floor(at / 2 ** 32)]));
  return { words, size };
}

/** Sends the records of a column from `from` on, as a column or one by one. */
export function readColumn(
  io: PacketIo<number>,
  how: "column" | "records",
  column: Column,
  from = 0,
  options: { readonly direct?: boolean } = {},
): ColumnOutcome {
  const count = column.words.length / 2 - from;
  const packet = Packet.reading(count * column.size, options);
  const sendBy = how === "column" ? sendColumn : sendRecords;
  const sender = layer<Column>(io.scheduler, (whole, view) =>
    sendBy(io as PacketIo<never>, whole, from, view),
  );
  send(sender, column, packet).sync();
  return {
    good: packet.good().map(({ start, end }) => ({
      start,
      end,
      bytes: Buffer.from(packet.bytes.subarray(start, end)).toString("latin1"),
    })),
    holes: packet.holes().map(({ start, end, fault }) => ({ start, end, fault })),
  };
}
