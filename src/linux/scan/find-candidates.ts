/** Goes through physical memory for what looks like a structure of some kind. */
import type { ByteRange, PacketIo, Routine } from "../../io/index.js";
import { readPartial } from "../../io/requests.js";

/** Bytes read at once. */
const PIECE = 1 << 20;
/** Candidates that are kept, with some KiB each: a machine with more is most likely made to have them. */
export const MAX_CANDIDATES = 1 << 18;

/** What is looked for. @internal */
export interface CandidateShape {
  /** Bytes of its beginning that `find` looks at, and that are kept of each; a multiple of four. */
  readonly length: number;
  /**
   * Adds to `found` the byte offsets of places that look like it.
   *
   * @param from  First place, in words of 32 bits.
   * @param until Places up to there (exclusive), in words; as many as `length` has lie behind each.
   * @param step  Words from one place to the next.
   */
  find(words: Int32Array, from: number, until: number, step: number, found: number[]): void;
}

/** A place, and its bytes. @internal */
export interface Candidate {
  readonly physical: number;
  /** Of its beginning, as many as the shape's `length`. */
  readonly bytes: Uint8Array;
}

/** What a pass found. @internal */
export interface Candidates {
  readonly found: readonly Candidate[];
  /** Bytes that could be read. */
  readonly read: number;
  /** Where the pass ended early, for there were too many. */
  readonly stopped: number | undefined;
}

/**
 * Each place at a multiple of `step` that looks like the structure, ascending. What a hole cuts is not looked at.
 *
 * @param step Bytes; a power of two, 4 at least. @internal
 */
export function* findCandidates(
  physical: PacketIo<number>,
  ranges: readonly ByteRange[],
  shape: CandidateShape,
  step: number,
  onProgress: ((done: number, total: number) => void) | undefined,
): Routine<Candidates> {
  const found: Candidate[] = [];
  const { length } = shape;
  const buffer = new Uint8Array(PIECE + Math.ceil(length / step) * step);
  const words = new Int32Array(buffer.buffer);
  const total = ranges.reduce((sum, { start, end }) => sum + end - start, 0);
  let done = 0;
  let read = 0;
  const offsets: number[] = [];
  for (const range of ranges) {
    for (let at = Math.floor(range.start / step) * step; at < range.end; at += PIECE) {
      const start = Math.max(at, range.start);
      const target = buffer.subarray(start - at, Math.min(buffer.length, range.end - at));
      const { good } = yield* readPartial(physical, start, target);
      offsets.length = 0;
      for (const part of good) {
        const from = start - at + part.start;
        const until = Math.min(start - at + part.end - length + 1, PIECE);
        read += Math.max(0, Math.min(start - at + part.end, PIECE) - from);
        const first = Math.ceil(from / step) * step;
        if (first < until) shape.find(words, first / 4, until / 4, step / 4, offsets);
      }
      for (const offset of offsets) {
        if (found.length === MAX_CANDIDATES) return { found, read, stopped: at };
        found.push({ physical: at + offset, bytes: buffer.slice(offset, offset + length) });
      }
      done += Math.min(PIECE, range.end - at);
      onProgress?.(Math.min(done, total), total);
    }
  }
  return { found, read, stopped: undefined };
}
