/** Reads ranges of any length in bounded memory: pieces of bytes, and holes with their reason. */
import type { MappedRange } from "../connectors/connectors.js";
import {
  type Fault,
  faultDetail,
  faultState,
  hex,
  levelOf,
  OUTSIDE,
  type PartialTransfer,
} from "../src/io/index.js";
import type { RangeSpace } from "../src/memory/index.js";
import type { Space } from "./space.js";

/** A part of a range, ascending; together they cover it. */
export type Piece =
  | { readonly address: bigint; readonly bytes: Uint8Array }
  | { readonly address: bigint; readonly length: bigint; readonly fault: Fault };

/** Options of {@link readPieces}. */
export interface PieceOptions {
  /** Pages that a dump left out because they were zero are zeros. */
  readonly zeroExcluded?: boolean;
  readonly onProgress?: ((done: bigint, total: bigint) => void) | undefined;
}

/** Bytes read at a time: a pipe and a disk stream well, and memory stays small. */
export const CHUNK = 1 << 20;
/** Physical addresses end at 2^52 on every architecture; a `number` holds them exactly. */
const END_OF_PHYSICAL = 1n << 53n;

/** Reads a range piece by piece. Holes that touch and have one reason are one piece, however long. */
export async function* readPieces(
  space: Space,
  start: bigint,
  length: bigint,
  options: PieceOptions = {},
): AsyncGenerator<Piece, void, void> {
  const end = start + length;
  let hole: { address: bigint; length: bigint; fault: Fault } | undefined;
  for (let at = start; at < end; ) {
    if (space.map !== undefined && at >= END_OF_PHYSICAL) {
      yield* joined(hole, { address: at, length: end - at, fault: OUTSIDE });
      return;
    }
    const limit = space.map !== undefined && end > END_OF_PHYSICAL ? END_OF_PHYSICAL : end;
    // Later pieces begin at multiples of the chunk, so that pages and tables are read whole.
    const room = BigInt(CHUNK) - (at % BigInt(CHUNK));
    const size = least(limit - at, room);
    const transfer = await space.memory.readPartial(at, new Uint8Array(Number(size)));
    let last: Piece | undefined;
    for (const piece of piecesOf(at, transfer, options)) {
      if (!("fault" in piece)) {
        if (hole !== undefined) yield hole;
        hole = undefined;
        yield piece;
      } else if (hole?.fault === piece.fault) {
        hole.length += piece.length;
      } else {
        if (hole !== undefined) yield hole;
        hole = { ...piece };
      }
      last = piece;
    }
    at += size;
    if (hole !== undefined && last !== undefined && "fault" in last) {
      const next = holeEnd(space, at - 1n, hole.fault);
      if (next > at) {
        const until = least(next, end);
        hole.length += until - at;
        at = until;
      }
    }
    options.onProgress?.(at - start, length);
  }
  if (hole !== undefined) yield hole;
}

/** `Math.min` of bigints. */
function least(a: bigint, b: bigint): bigint {
  if (a < b) return a;
  return b;
}

function* joined(hole: Piece | undefined, next: Piece): Generator<Piece, void, void> {
  if (hole !== undefined && "fault" in hole && "fault" in next && hole.fault === next.fault) {
    yield { ...hole, length: hole.length + next.length };
    return;
  }
  if (hole !== undefined) yield hole;
  yield next;
}

/** The pieces of one transfer that began at `start`, ascending. */
export function* piecesOf(
  start: bigint,
  { bytes, holes }: PartialTransfer,
  options: PieceOptions = {},
): Generator<Piece, void, void> {
  let at = 0;
  for (const hole of holes) {
    if (options.zeroExcluded === true && isZero(hole.fault)) {
      bytes.fill(0, hole.start, hole.end);
      continue;
    }
    if (hole.start > at) yield { address: start + BigInt(at), bytes: bytes.subarray(at, hole.start) };
    yield { address: start + BigInt(hole.start), length: BigInt(hole.end - hole.start), fault: hole.fault };
    at = hole.end;
  }
  if (at < bytes.length) yield { address: start + BigInt(at), bytes: bytes.subarray(at) };
}

/** Whether a dump left a page out only because it was zero: detail 1 of an `excluded` fault. */
function isZero(fault: Fault): boolean {
  return faultState(fault) === "excluded" && faultDetail(fault) === 1;
}

/**
 * Up to where nothing can be but the hole that holds `address`, so that a hole of 2^47 bytes is not read a piece at a
 * time: the next RAM, the end of what the absent entry covers, the end of the non-canonical addresses.
 */
function holeEnd(space: Space, address: bigint, fault: Fault): bigint {
  const { map, ranges, virtual } = space;
  if (ranges !== undefined) return processHoleEnd(ranges, address, fault);
  if (map !== undefined) {
    const start = map.nextInside(Number(address));
    if (start === undefined) return 1n << 64n;
    return start > Number(address) ? BigInt(start) : 0n;
  }
  if (virtual === undefined) return 0n;
  const state = faultState(fault);
  const { splits, canonical } = virtual.mmu;
  // What lies between the halves, or above all that there is.
  if (state === "non-canonical")
    return canonical === "sign-extended" ? (1n << 64n) - (1n << (bitsOf(splits) - 1n)) : 1n << 64n;
  if (state !== "not-present") return 0n;
  const { level } = levelOf(fault);
  if (level < 1 || level > splits.length - 1) return 0n;
  const covered = 1n << bitsOf(splits.slice(-level));
  return (address / covered + 1n) * covered;
}

function bitsOf(splits: readonly number[]): bigint {
  return BigInt(splits.reduce((sum, bits) => sum + bits, 0));
}

/** The same for a process: a hole ends where the next mapping begins; one that is gone has nothing any more. */
function processHoleEnd(space: RangeSpace<MappedRange>, address: bigint, fault: Fault): bigint {
  const state = faultState(fault);
  if (state !== "outside" && state !== "gone") return 0n;
  const next = space.ranges().find(({ end }) => end > address);
  if (next === undefined) return 1n << 64n;
  return next.start > address ? next.start : 0n;
}

/** `0x… to 0x…` (exclusive) for messages. */
export function rangeText(start: bigint, length: bigint): string {
  return `${hex(start)} to ${hex(start + length)}`;
}
