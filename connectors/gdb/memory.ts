/** Reads and writes of a stub's memory: rows cut into packets, as many under way as it can take. */
import type { Batch } from "../../src/io/batch.hot.js";
import { type AddressRanges, DEVICE_CODE, type Fault, fault, withDetail } from "../../src/io/index.js";
import type { GdbConnection } from "./connection.js";
import { bytesOf, decodeHex, encodeHex } from "./packets.js";

const PAGE = 4096;
const UNMAPPED: Fault = fault("outside", "address", "connector");
const FAILED: Fault = fault("io", "memory", "connector");
const GONE: Fault = fault("gone", "device", "connector");
const E = 0x45;
const B = 0x62;

/** What a stub can. */
export interface MemoryPackets {
  /** Bytes of memory in one answer, as digits. */
  readonly most: number;
  /** In one request that writes them. */
  readonly mostWritten: number;
  /** Whether it reads memory as bytes (`x`; GDB 16, `binary-upload`). */
  readonly binaryReads: boolean;
  /** Whether the digits of its errors are a decimal errno, as QEMU's are: `E14` is EFAULT. */
  readonly decimalErrors: boolean;
}

/** Bytes that one request is about, of one row. */
interface Piece {
  readonly row: number;
  readonly from: number;
  readonly to: number;
}

/**
 * Transfers a batch. Every row is answered.
 *
 * @param ranges Where the stub may be asked; `undefined`: everywhere.
 */
export async function transferBatch(
  connection: GdbConnection,
  packets: MemoryPackets,
  ranges: AddressRanges | undefined,
  batch: Batch,
): Promise<void> {
  const isRead = batch.direction === "read";
  // A write that fails costs its page: it is not told which of several.
  const most = isRead ? packets.most : Math.min(PAGE, packets.mostWritten);
  const work: Promise<void>[] = [];
  for (let row = 0; row < batch.length; row++) {
    batch.done(row);
    for (const { from, to, isThere } of stretchesOf(batch, row, ranges)) {
      if (!isThere) {
        batch.failRange(row, from, to, UNMAPPED);
        continue;
      }
      for (const piece of piecesOf(batch, row, from, to, most)) {
        if (isRead) work.push(readPiece(connection, packets, batch, piece));
        // Writes are applied one after another, in their order.
        else await writePiece(connection, packets, batch, piece);
      }
    }
  }
  await Promise.all(work);
}

/** The parts of a row that are inside and outside of the ranges. */
function* stretchesOf(
  batch: Batch,
  row: number,
  ranges: AddressRanges | undefined,
): Generator<{ readonly from: number; readonly to: number; readonly isThere: boolean }, void, void> {
  const length = batch.lengths[row] as number;
  if (ranges === undefined) return yield { from: 0, to: length, isThere: true };
  const start = batch.address(row);
  if (start + length > Number.MAX_SAFE_INTEGER) return yield { from: 0, to: length, isThere: false };
  for (let at = start; at < start + length; ) {
    const i = ranges.indexAfter(at);
    const next = ranges.starts[i] ?? Number.POSITIVE_INFINITY;
    const isThere = next <= at;
    const end = Math.min(start + length, isThere ? (ranges.ends[i] as number) : next);
    yield { from: at - start, to: end - start, isThere };
    at = end;
  }
}

/** Pieces of a row's bytes: none is larger than a packet; those that are smaller than a page lie in one. */
function* piecesOf(
  batch: Batch,
  row: number,
  from: number,
  to: number,
  most: number,
): Generator<Piece, void, void> {
  const first = (batch.words[2 * row] as number) % PAGE;
  const step = most >= PAGE ? most - (most % PAGE) : 2 ** Math.floor(Math.log2(most));
  for (let at = from; at < to; ) {
    const end = Math.min(to, at + step - ((first + at) % Math.min(step, PAGE)));
    yield { row, from: at, to: end };
    at = end;
  }
}

function addressText(batch: Batch, row: number, offset: number): string {
  return ((batch.addresses[row] as bigint) + BigInt(offset)).toString(16);
}

async function readPiece(
  connection: GdbConnection,
  { binaryReads, decimalErrors }: MemoryPackets,
  batch: Batch,
  { row, from, to }: Piece,
): Promise<void> {
  // (For a place in a page, the low word is enough.)
  const first = batch.words[2 * row] as number;
  let byPage = false;
  for (let at = from; at < to; ) {
    const pageEnd = Math.min(to, at + PAGE - ((first + at) % PAGE));
    const end = byPage ? pageEnd : to;
    let answer: Uint8Array;
    try {
      const where = `${addressText(batch, row, at)},${(end - at).toString(16)}`;
      answer = await connection.ask(`${binaryReads ? "x" : "m"}${where}`);
    } catch {
      return batch.failRange(row, at, to, GONE);
    }
    // (Asked for anew, as it may have become another while the answer was waited for.)
    const count = copyAnswer(answer, batch.bytes(row).subarray(at, end), binaryReads);
    if (count > 0) {
      // A stub may give less than was asked for.
      at += count;
    } else if (end > pageEnd) {
      // One of several pages can't be read, and it does not say which.
      byPage = true;
    } else {
      batch.failRange(row, at, pageEnd, withDetail(FAILED, errorOf(answer, decimalErrors)));
      at = pageEnd;
    }
  }
}

/** @returns bytes that the answer has, none of which is an error's; they are in `into` then. */
function copyAnswer(answer: Uint8Array, into: Uint8Array, binary: boolean): number {
  if (!binary) return Math.max(0, decodeHex(answer, into));
  if (answer[0] !== B) return 0;
  const bytes = answer.subarray(1, 1 + into.length);
  into.set(bytes);
  return bytes.length;
}

/**
 * What an error answer says, `E14`; 0 for another.
 *
 * Its digits are hexadecimal, and what they mean is the stub's own affair (GDB manual, appendix E.2): some write an errno in hexadecimal
 * (OpenOCD), some in decimal digits (kgdb), some a number of their own. So it is told as a code of the device, unless the stub is known.
 */
function errorOf(answer: Uint8Array, decimal: boolean): number {
  const digits = answer[0] === E ? String.fromCharCode(...answer.subarray(1)) : "";
  if (decimal && /^\d\d$/.test(digits)) return Number(digits);
  const number = /^[0-9a-f]{2}$/i.test(digits) ? Number.parseInt(digits, 16) : 0;
  return number === 0 ? 0 : DEVICE_CODE + number;
}

async function writePiece(
  connection: GdbConnection,
  { decimalErrors }: MemoryPackets,
  batch: Batch,
  { row, from, to }: Piece,
): Promise<void> {
  const bytes = batch.bytes(row).subarray(from, to);
  let answer: Uint8Array;
  try {
    const where = `${addressText(batch, row, from)},${bytes.length.toString(16)}:`;
    answer = await connection.ask(bytesOf(`M${where}${encodeHex(bytes)}`));
  } catch {
    return batch.failRange(row, from, to, GONE);
  }
  if (answer.length === 2 && answer[0] === 0x4f && answer[1] === 0x4b) return;
  batch.failRange(row, from, to, withDetail(FAILED, errorOf(answer, decimalErrors)));
}
