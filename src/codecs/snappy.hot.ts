/** The loop of snappy's block format, written from google/snappy's format_description.txt. */
import { copyLiterals, copyMatch } from "./copy.hot.js";
import { BAD_DISTANCE, CUT, OVERFLOW } from "./errors.js";

/**
 * Runs the elements of a block: literals and copies from the output so far.
 *
 * @param at     Where they begin: behind the length.
 * @param end    Where they end, exclusive, within the input.
 * @param output Filled from its start; nothing is written beyond its end.
 * @returns      Bytes written; or one of the negative numbers of `errors.ts`.
 */
export function runSnappy(input: Uint8Array, at: number, end: number, output: Uint8Array): number {
  const outputEnd = output.length;
  let to = 0;
  while (at < end) {
    const tag = input[at++] as number;
    let length: number;
    let distance: number;
    switch (tag & 3) {
      case 0: {
        length = (tag >>> 2) + 1;
        if (length > 60) {
          // The length less one follows, in 1 to 4 bytes, the least significant first.
          const bytes = length - 60;
          if (at + bytes > end) return CUT;
          length = input[at] as number;
          if (bytes > 1) length += (input[at + 1] as number) * 0x100;
          if (bytes > 2) length += (input[at + 2] as number) * 0x10000;
          if (bytes > 3) length += (input[at + 3] as number) * 0x1000000;
          length++;
          at += bytes;
        }
        if (at + length > end) return CUT;
        if (to + length > outputEnd) return OVERFLOW;
        copyLiterals(input, at, output, to, length);
        at += length;
        to += length;
        continue;
      }
      case 1:
        if (at >= end) return CUT;
        length = 4 + ((tag >>> 2) & 7);
        distance = ((tag >>> 5) << 8) | (input[at] as number);
        at++;
        break;
      case 2:
        if (at + 2 > end) return CUT;
        length = 1 + (tag >>> 2);
        distance = (input[at] as number) | ((input[at + 1] as number) << 8);
        at += 2;
        break;
      default:
        if (at + 4 > end) return CUT;
        length = 1 + (tag >>> 2);
        distance =
          ((input[at] as number) |
            ((input[at + 1] as number) << 8) |
            ((input[at + 2] as number) << 16) |
            ((input[at + 3] as number) << 24)) >>>
          0;
        at += 4;
    }
    if (distance === 0 || distance > to) return BAD_DISTANCE;
    if (to + length > outputEnd) return OVERFLOW;
    copyMatch(output, to, distance, length);
    to += length;
  }
  return to;
}
