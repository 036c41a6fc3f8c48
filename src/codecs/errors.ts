import { MemtoolError } from "../io/errors.js";

/** What is wrong with compressed bytes. */
export type CodecErrorCode =
  /** They are not what the codec writes: an impossible instruction, a reference to before the first byte, a wrong sum. */
  | "BAD_CODE"
  /** They end within an instruction, or before the end is marked. */
  | "CODE_TRUNCATED"
  /** They decompress to less than they must. */
  | "OUTPUT_TOO_SHORT"
  /** They decompress to more than they must. */
  | "OUTPUT_TOO_LONG"
  /** A variant that memtool knows and does not decompress. */
  | "UNSUPPORTED_CODE";

/** Compressed bytes that do not decompress to what they must. The caller knows which file and page they are of. */
export class CodecError extends MemtoolError {
  declare readonly code: CodecErrorCode;
  /** Name of the codec. */
  readonly codec: string;

  constructor(code: CodecErrorCode, codec: string, problem: string, options?: { cause?: unknown }) {
    super(code, `${codec}: ${problem}`, options);
    this.codec = codec;
  }
}

// What the loops of `*.hot.ts` return in place of the number of bytes that they wrote: they throw nothing.
export const CUT = -1;
export const OVERFLOW = -2;
export const BAD_DISTANCE = -3;
export const BAD_INSTRUCTION = -4;
export const UNSUPPORTED = -5;

/**
 * What a loop's result means.
 *
 * @param result Bytes written, or one of the negative numbers above.
 * @param needed Bytes that must have been written.
 * @throws {CodecError} unless it is just that.
 */
export function checkResult(codec: string, result: number, needed: number, inputLength: number): void {
  if (result === needed) return;
  if (result >= 0) {
    throw new CodecError("OUTPUT_TOO_SHORT", codec, `decompresses to ${result} bytes, not to ${needed}`);
  }
  if (result === OVERFLOW) {
    throw new CodecError("OUTPUT_TOO_LONG", codec, `decompresses to more than ${needed} bytes`);
  }
  if (result === CUT) {
    throw new CodecError("CODE_TRUNCATED", codec, `its ${inputLength} bytes end before their end is marked`);
  }
  if (result === BAD_DISTANCE) {
    throw new CodecError("BAD_CODE", codec, "copies from before the first byte, or from nowhere");
  }
  throw new CodecError("BAD_CODE", codec, "has an instruction that cannot be");
}
