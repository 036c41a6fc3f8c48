/**
 * The loop of LZO1X, bitstream version 0, written from the description of the stream in the kernel's
 * Documentation/staging/lzo.rst ("as understood by Linux's LZO decompressor").
 *
 * An instruction copies bytes from the output so far, then 0 to 3 literals; how many literals the one before copied
 * decides what opcodes 0 to 15 mean. The end is a copy from distance 16384 by opcode 17, with length 3.
 */
import { copyLiterals, copyMatch } from "./copy.hot.js";
import { BAD_DISTANCE, BAD_INSTRUCTION, CUT, OVERFLOW, UNSUPPORTED } from "./errors.js";

/** State after a run of four literals or more. */
const MANY = 4;
/** A stream that says its version is no shorter: 17, the version, and the end. */
const SHORTEST_VERSIONED = 5;

/**
 * @param output Filled from its start; nothing is written beyond its end.
 * @returns      Bytes written, all of the input being used up; or one of the negative numbers of `errors.ts`.
 */
export function runLzo1x(input: Uint8Array, output: Uint8Array): number {
  const inputEnd = input.length;
  const outputEnd = output.length;
  let at = 0;
  let to = 0;
  let state = 0;
  if (inputEnd >= SHORTEST_VERSIONED && input[0] === 17) {
    // Version 1 is LZO-RLE, which zram uses and no dump.
    if (input[1] !== 0) return UNSUPPORTED;
    at = 2;
  }
  if (at < inputEnd && (input[at] as number) > 17) {
    const length = (input[at++] as number) - 17;
    if (at + length > inputEnd) return CUT;
    if (length > outputEnd) return OVERFLOW;
    copyLiterals(input, at, output, 0, length);
    at += length;
    to = length;
    state = Math.min(length, MANY);
  }
  for (;;) {
    if (at >= inputEnd) return CUT;
    const opcode = input[at++] as number;
    let length: number;
    let distance: number;
    let literals: number;
    if (opcode >= 64) {
      if (at >= inputEnd) return CUT;
      distance = ((input[at++] as number) << 3) + ((opcode >>> 2) & 7) + 1;
      length = opcode >= 128 ? 5 + ((opcode >>> 5) & 3) : 3 + ((opcode >>> 5) & 1);
      literals = opcode & 3;
    } else if (opcode >= 16) {
      const mask = opcode >= 32 ? 31 : 7;
      length = opcode & mask;
      if (length === 0) {
        // 255 more for each zero byte, of which there are no more than the input has: the sum stays exact.
        let byte = 0;
        let zeros = 0;
        for (;;) {
          if (at >= inputEnd) return CUT;
          byte = input[at++] as number;
          if (byte !== 0) break;
          zeros++;
        }
        length = mask + 255 * zeros + byte;
      }
      length += 2;
      if (at + 2 > inputEnd) return CUT;
      const word = (input[at] as number) | ((input[at + 1] as number) << 8);
      at += 2;
      literals = word & 3;
      if (opcode >= 32) {
        distance = (word >>> 2) + 1;
      } else {
        distance = 16384 + ((opcode & 8) << 11) + (word >>> 2);
        if (distance === 16384) {
          if (length !== 3 || literals !== 0) return BAD_INSTRUCTION;
          return at === inputEnd ? to : BAD_INSTRUCTION;
        }
      }
    } else if (state === 0) {
      length = opcode;
      if (length === 0) {
        let byte = 0;
        let zeros = 0;
        for (;;) {
          if (at >= inputEnd) return CUT;
          byte = input[at++] as number;
          if (byte !== 0) break;
          zeros++;
        }
        length = 15 + 255 * zeros + byte;
      }
      length += 3;
      if (at + length > inputEnd) return CUT;
      if (to + length > outputEnd) return OVERFLOW;
      copyLiterals(input, at, output, to, length);
      at += length;
      to += length;
      state = MANY;
      continue;
    } else {
      if (at >= inputEnd) return CUT;
      distance = ((input[at++] as number) << 2) + (opcode >>> 2) + 1;
      length = 2;
      literals = opcode & 3;
      if (state === MANY) {
        distance += 2048;
        length = 3;
      }
    }
    if (distance > to) return BAD_DISTANCE;
    if (to + length > outputEnd) return OVERFLOW;
    copyMatch(output, to, distance, length);
    to += length;
    if (literals > 0) {
      if (at + literals > inputEnd) return CUT;
      if (to + literals > outputEnd) return OVERFLOW;
      output[to] = input[at] as number;
      if (literals > 1) output[to + 1] = input[at + 1] as number;
      if (literals > 2) output[to + 2] = input[at + 2] as number;
      at += literals;
      to += literals;
    }
    state = literals;
  }
}
