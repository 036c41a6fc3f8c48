/** Snappy's block format, of google/snappy's format_description.txt. The framing format is in `snappy-frames.ts`. */
import { CodecError, checkResult } from "./errors.js";
import { runSnappy } from "./snappy.hot.js";

const CODEC = "snappy";

/** Bytes that the length at the start of a block takes at most. */
export const SNAPPY_LENGTH_BYTES = 5;

/** The length that a block says it decompresses to, and where its elements begin. */
export interface SnappyLength {
  /** Bytes; what the block claims, up to 2^32 - 1. */
  readonly length: number;
  /** Index in the input of the first element. */
  readonly start: number;
}

/**
 * Parses the length at the start of a block: seven bits a byte, the least significant first.
 *
 * @param at Where the block begins. @param end Where it (or what is there of it) ends, exclusive.
 * @throws {CodecError} if it is cut, or is 2^32 or more.
 */
export function parseSnappyLength(input: Uint8Array, at = 0, end = input.length): SnappyLength {
  let length = 0;
  for (let i = 0; i < SNAPPY_LENGTH_BYTES; i++) {
    if (at + i >= end) throw new CodecError("CODE_TRUNCATED", CODEC, "ends within its length");
    const byte = input[at + i] as number;
    length += (byte & 0x7f) * 2 ** (7 * i);
    if (byte < 0x80) {
      if (length >= 2 ** 32) break;
      return { length, start: at + i + 1 };
    }
  }
  throw new CodecError("BAD_CODE", CODEC, "says that it decompresses to 2^32 bytes or more");
}

/**
 * Decompresses one block.
 *
 * @param input        The whole block and nothing behind it.
 * @param outputLength Bytes that it must decompress to: so many are allocated, whatever the block claims.
 * @returns            A fresh array of just that length.
 * @throws {CodecError} for a block that is cut, damaged, or decompresses to another length.
 */
export function decompressSnappy(input: Uint8Array, outputLength: number): Uint8Array {
  const { length, start } = parseSnappyLength(input);
  if (length !== outputLength) {
    const code = length < outputLength ? "OUTPUT_TOO_SHORT" : "OUTPUT_TOO_LONG";
    throw new CodecError(code, CODEC, `says that it decompresses to ${length} bytes, not to ${outputLength}`);
  }
  const output = new Uint8Array(outputLength);
  checkResult(CODEC, runSnappy(input, start, input.length, output), outputLength, input.length);
  return output;
}
