/**
 * What a server of memory and its clients say to each other. docs/net.md has the protocol.
 *
 * Nothing is allocated by a length that the other side claims: a message is read as its bytes arrive, up to the limits here.
 */
import { createHmac, timingSafeEqual } from "node:crypto";
import { type Direction, type Fault, type Hole, joinAddress } from "../../src/io/index.js";
import { ByteReader, ByteWriter, MalformedError } from "../byte-code.js";

export const VERSION = 1;

/** Types of messages. */
export const MESSAGE = {
  /** The server's first: its version, and what it wants to be signed. */
  challenge: 1,
  /** The client's first: the proof that it has the token. */
  login: 2,
  /** The server's proof, and what its source is. */
  welcome: 3,
  /** A batch of reads or of writes. */
  batch: 4,
  /** What became of it. */
  answer: 5,
  /** What exists now. */
  ranges: 6,
  /** A question about the machine's notes, and what they are. */
  ask: 7,
  notes: 8,
  /** The end: why. */
  goodbye: 9,
} as const;

/** Bytes of a header; the body follows. */
export const HEADER_BYTES = 12;
/** Bytes of rows that one batch may ask for. */
export const BATCH_BYTES = 2 ** 20;
/** Rows of one batch. */
export const BATCH_ROWS = 16_384;
/** Bytes of any message's body: the rows of a batch, or the text of many ranges. */
export const MESSAGE_BYTES = 8 * 2 ** 20;
/** Bytes of a message before the other side is known. */
export const STRANGER_BYTES = 4096;
/** Batches, and bytes of them, that a client may have under way. */
export const WINDOW_BATCHES = 64;
export const WINDOW_BYTES = 8 * 2 ** 20;

/** A row of a batch: its address in two words. */
export interface WireRow {
  readonly lo: number;
  readonly hi: number;
  readonly length: number;
}

/** A batch as a message has it. */
export interface WireBatch {
  readonly id: number;
  readonly direction: Exclude<Direction, "exchange">;
  readonly rows: readonly WireRow[];
  /** Of all rows together. */
  readonly bytes: number;
  /** What is to be written. */
  readonly payload: Uint8Array;
}

/** @param payload What is to be written, one row after the other. */
export function encodeBatch(
  id: number,
  direction: WireBatch["direction"],
  rows: readonly WireRow[],
  payload: readonly Uint8Array[],
): Uint8Array {
  const into = new ByteWriter(64 + rows.length * 8);
  into.number(id);
  into.number(direction === "read" ? 0 : 1);
  into.number(rows.length);
  let endLo = 0;
  let endHi = 0;
  for (const { lo, hi, length } of rows) {
    into.words((lo - endLo) >>> 0, (hi - endHi - (lo < endLo ? 1 : 0)) >>> 0);
    into.number(length);
    const end = lo + length;
    endLo = end >>> 0;
    endHi = (hi + (end - endLo) / 2 ** 32) >>> 0;
  }
  for (const bytes of payload) into.bytes(bytes);
  return into.written;
}

/** @throws {MalformedError} */
export function decodeBatch(body: Uint8Array): WireBatch {
  const from = new ByteReader(body);
  const id = from.number();
  const direction = from.number(1) === 0 ? "read" : "write";
  const count = from.number(BATCH_ROWS);
  const rows: WireRow[] = [];
  let bytes = 0;
  let endLo = 0;
  let endHi = 0;
  for (let i = 0; i < count; i++) {
    from.words();
    const length = from.number(BATCH_BYTES);
    const sum = endLo + from.lo;
    const lo = sum >>> 0;
    const hi = (endHi + from.hi + (sum - lo) / 2 ** 32) >>> 0;
    bytes += length;
    if (length === 0 || bytes > BATCH_BYTES)
      throw new MalformedError("a batch asks for nothing, or too much");
    if (hi === 0xffff_ffff && lo + length > 2 ** 32)
      throw new MalformedError("a row crosses the end of addresses");
    rows.push({ lo, hi, length });
    const end = lo + length;
    endLo = end >>> 0;
    endHi = (hi + (end - endLo) / 2 ** 32) >>> 0;
  }
  const payload = from.bytes(from.left);
  if (payload.length !== (direction === "write" ? bytes : 0)) {
    throw new MalformedError("a batch has not as many bytes as its rows");
  }
  return { id, direction, rows, bytes, payload };
}

/** An address of a row. */
export function addressOf({ lo, hi }: WireRow): bigint {
  return joinAddress(lo, hi);
}

/** A range of a batch's bytes, its rows one after the other, that did not move. */
export interface WireHole {
  readonly start: number;
  readonly end: number;
  readonly fault: Fault;
}

/** @param bytes Of a read: the bytes of all rows, holes among them. */
export function encodeAnswer(id: number, holes: readonly Hole[], bytes: Uint8Array | undefined): Uint8Array {
  const into = new ByteWriter(64 + (bytes?.length ?? 0) + holes.length * 8);
  into.number(id);
  into.number(holes.length);
  let at = 0;
  for (const { start, end, fault } of holes) {
    into.number(start - at);
    into.number(end - start);
    into.number(fault);
    at = end;
  }
  if (bytes === undefined) return into.written;
  at = 0;
  for (const { start, end } of holes) {
    into.bytes(bytes.subarray(at, start));
    at = end;
  }
  into.bytes(bytes.subarray(at));
  return into.written;
}

/** The id of the batch that an answer is for. @throws {MalformedError} */
export function answerId(body: Uint8Array): number {
  return new ByteReader(body).number();
}

/**
 * @param total     Bytes of the batch.
 * @param direction Answers to reads have bytes.
 * @throws {MalformedError}
 */
export function decodeAnswer(
  body: Uint8Array,
  total: number,
  direction: Direction,
): { readonly holes: readonly WireHole[]; readonly bytes: Uint8Array } {
  const from = new ByteReader(body);
  from.number();
  const count = from.number(total);
  const holes: WireHole[] = [];
  let at = 0;
  let missing = 0;
  for (let i = 0; i < count; i++) {
    const start = at + from.number(total);
    const length = from.number(total);
    const fault = from.fault();
    at = start + length;
    missing += length;
    if (length === 0 || at > total || fault === 0) throw new MalformedError("a hole that is none");
    holes.push({ start, end: at, fault });
  }
  const bytes = from.bytes(from.left);
  if (bytes.length !== (direction === "read" ? total - missing : 0)) {
    throw new MalformedError("an answer has not as many bytes as it should");
  }
  return { holes, bytes };
}

/** The proof of one side that it has the token, for this connection only. */
export function proofOf(token: string, side: "client" | "server", nonces: string): string {
  return createHmac("sha256", token).update(`memtool net ${VERSION} ${side} ${nonces}`).digest("base64");
}

/** Whether a proof is right; takes as long for every wrong one. */
export function isProof(given: unknown, token: string, side: "client" | "server", nonces: string): boolean {
  const right = Buffer.from(proofOf(token, side, nonces));
  const bytes = Buffer.from(typeof given === "string" ? given : "");
  return bytes.length === right.length && timingSafeEqual(bytes, right);
}
