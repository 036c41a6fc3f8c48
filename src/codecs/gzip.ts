/** gzip (RFC 1952): one member, which may be damaged. */
import { BAD_DISTANCE, BAD_INSTRUCTION, CUT, OVERFLOW } from "./errors.js";
import { type InflateState, runInflate } from "./inflate.js";

/** What a gzip member held. */
export interface Gunzipped {
  /** As much as could be decompressed. */
  readonly bytes: Uint8Array;
  /** What is wrong with it, `undefined` for a whole one. */
  readonly problem: string | undefined;
}

const HEADER = 10;
/** Bits of the header's flags: FHCRC, FEXTRA, FNAME, FCOMMENT. */
const HAS_SUM = 2;
const HAS_EXTRA = 4;
const HAS_NAME = 8;
const HAS_COMMENT = 16;
/** DEFLATE makes nothing smaller than this. */
const MOST_RATIO = 1032;

const PROBLEMS: Readonly<Record<number, string>> = {
  [CUT]: "it ends within the compressed text",
  [OVERFLOW]: "it decompresses to more than is believed",
  [BAD_DISTANCE]: "it copies from before its first byte",
  [BAD_INSTRUCTION]: "it has a code that cannot be",
};

/**
 * Decompresses a gzip member, as far as it is whole. Never throws.
 *
 * @param input Bytes behind the member are not looked at.
 * @param most  Bytes that are decompressed at most.
 */
export function gunzip(input: Uint8Array, most: number): Gunzipped {
  const start = dataStart(input);
  if (start === undefined) return { bytes: new Uint8Array(0), problem: "it has no header of gzip" };
  // A sound one can't become longer than this, and a small one need not have so much memory.
  const room = Math.min(most, MOST_RATIO * (input.length - start));
  const state: InflateState = {
    input,
    at: start,
    bits: 0,
    bitCount: 0,
    output: new Uint8Array(room),
    to: 0,
  };
  const result = runInflate(state);
  const bytes = state.output.slice(0, state.to);
  return { bytes, problem: result === 0 ? trailerProblem(state, bytes) : PROBLEMS[result] };
}

/** Where the compressed bytes begin; `undefined` for what is no gzip. */
function dataStart(input: Uint8Array): number | undefined {
  if (input.length < HEADER || input[0] !== 0x1f || input[1] !== 0x8b || input[2] !== 8) return undefined;
  const flags = input[3] as number;
  let at = HEADER;
  if ((flags & HAS_EXTRA) !== 0) at += 2 + ((input[at] ?? 0) | ((input[at + 1] ?? 0) << 8));
  for (const flag of [HAS_NAME, HAS_COMMENT]) {
    if ((flags & flag) === 0) continue;
    const nul = input.indexOf(0, at);
    if (nul < 0) return undefined;
    at = nul + 1;
  }
  if ((flags & HAS_SUM) !== 0) at += 2;
  return at > input.length ? undefined : at;
}

/** What is wrong with the sum and the length that stand behind the compressed bytes. */
function trailerProblem({ input, at, bitCount }: InflateState, bytes: Uint8Array): string | undefined {
  const from = at - (bitCount >> 3);
  if (from + 8 > input.length) return "it ends before its sum and length";
  const view = new DataView(input.buffer, input.byteOffset + from, 8);
  if (view.getUint32(0, true) !== crc32(bytes)) return "its sum is another than that of its text";
  const length = view.getUint32(4, true);
  return length === bytes.length
    ? undefined
    : `it says that its text has ${length} bytes, not ${bytes.length}`;
}

/** CRC-32 of RFC 1952, 8. */
function crc32(bytes: Uint8Array): number {
  let sum = -1;
  for (const byte of bytes) {
    sum ^= byte;
    for (let bit = 0; bit < 8; bit++) sum = (sum & 1) !== 0 ? (sum >>> 1) ^ 0xedb88320 : sum >>> 1;
  }
  return ~sum >>> 0;
}
