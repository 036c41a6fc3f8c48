/**
 * DEFLATE (RFC 1951), for a small stream that may be damaged: what came before the damage is kept. (Pages of dumps are inflated by
 * the host's zlib, which is faster, must be handed in, and gives all or nothing.)
 *
 * Codes are canonical: a symbol is found by counting how many there are of each length, so no tables are built.
 */
import { copyMatch } from "./copy.hot.js";
import { BAD_DISTANCE, BAD_INSTRUCTION, CUT, OVERFLOW } from "./errors.js";

/** Where a stream is. */
export interface InflateState {
  readonly input: Uint8Array;
  /** The next byte of the input. */
  at: number;
  /** Bits of the last byte that are still to be used, and how many. */
  bits: number;
  bitCount: number;
  /** Filled from its start. */
  readonly output: Uint8Array;
  to: number;
}

/** Codes of up to 15 bits: how many there are of each length, and the symbols in the order of their codes. */
interface Codes {
  readonly counts: Uint16Array;
  readonly symbols: Uint16Array;
}

const MAX_BITS = 15;
/** RFC 1951, 3.2.5: what the symbols 257 to 285 begin at, and how many bits more say the length. */
const LENGTHS = Uint16Array.of(
  ...[3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31],
  ...[35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258],
);
const LENGTH_BITS = Uint8Array.of(
  ...[0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2],
  ...[3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0],
);
const DISTANCES = Uint16Array.of(
  ...[1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385],
  ...[513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577],
);
/** RFC 1951, 3.2.7: the order of the code lengths' own lengths. */
const ORDER = Uint8Array.of(16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15);

const literalCodes = newCodes(288);
const distanceCodes = newCodes(32);
const lengthCodes = newCodes(19);
const widths = new Uint8Array(320);
const offsets = new Uint16Array(MAX_BITS + 1);

function newCodes(symbols: number): Codes {
  return { counts: new Uint16Array(MAX_BITS + 1), symbols: new Uint16Array(symbols) };
}

/**
 * Inflates until the last block ends. What was written before an error is in `output`, up to `state.to`.
 *
 * @returns 0, or one of the negative numbers of `errors.ts`. Bytes behind the end are left: `state.at` is where.
 */
export function runInflate(state: InflateState): number {
  for (;;) {
    const header = takeBits(state, 3);
    if (header < 0) return CUT;
    const kind = header >> 1;
    let result: number;
    if (kind === 0) result = stored(state);
    else if (kind === 1) result = fixed(state);
    else if (kind === 2) result = dynamic(state);
    else return BAD_INSTRUCTION;
    if (result !== 0) return result;
    if ((header & 1) === 1) return 0;
  }
}

/** The next bits as a number, or -1 where the input ends. At most 16. */
function takeBits(state: InflateState, count: number): number {
  let { bits, bitCount } = state;
  while (bitCount < count) {
    if (state.at >= state.input.length) return -1;
    bits |= (state.input[state.at++] as number) << bitCount;
    bitCount += 8;
  }
  state.bits = bits >>> count;
  state.bitCount = bitCount - count;
  return bits & ((1 << count) - 1);
}

/** The next symbol, -1 where the input ends, or -2 for a code that stands for none. */
function takeSymbol(state: InflateState, { counts, symbols }: Codes): number {
  let { bits, bitCount } = state;
  let code = 0;
  let first = 0;
  let index = 0;
  for (let length = 1; length <= MAX_BITS; length++) {
    if (bitCount === 0) {
      if (state.at >= state.input.length) return -1;
      bits = state.input[state.at++] as number;
      bitCount = 8;
    }
    code |= bits & 1;
    bits >>>= 1;
    bitCount--;
    const count = counts[length] as number;
    if (code - count < first) {
      state.bits = bits;
      state.bitCount = bitCount;
      return symbols[index + (code - first)] as number;
    }
    index += count;
    first = (first + count) << 1;
    code <<= 1;
  }
  return -2;
}

/** @returns whether the widths make codes: more of a length than there is room for make none. */
function makeCodes({ counts, symbols }: Codes, from: number, to: number): boolean {
  counts.fill(0);
  for (let i = from; i < to; i++) (counts[widths[i] as number] as number)++;
  counts[0] = 0;
  let left = 1;
  offsets[1] = 0;
  for (let length = 1; length <= MAX_BITS; length++) {
    left = 2 * left - (counts[length] as number);
    if (left < 0) return false;
    if (length < MAX_BITS) offsets[length + 1] = (offsets[length] as number) + (counts[length] as number);
  }
  for (let i = from; i < to; i++) {
    const width = widths[i] as number;
    if (width !== 0) symbols[(offsets[width] as number)++] = i - from;
  }
  return true;
}

/** A block that is not compressed. */
function stored(state: InflateState): number {
  const { input, output } = state;
  // Whole bytes that were taken ahead are part of it.
  state.at -= state.bitCount >> 3;
  state.bits = 0;
  state.bitCount = 0;
  if (state.at + 4 > input.length) return CUT;
  const length = (input[state.at] as number) | ((input[state.at + 1] as number) << 8);
  const inverse = (input[state.at + 2] as number) | ((input[state.at + 3] as number) << 8);
  if (length !== (~inverse & 0xffff)) return BAD_INSTRUCTION;
  state.at += 4;
  const there = Math.min(length, input.length - state.at);
  const room = Math.min(there, output.length - state.to);
  output.set(input.subarray(state.at, state.at + room), state.to);
  state.at += room;
  state.to += room;
  if (room < there) return OVERFLOW;
  return there < length ? CUT : 0;
}

/** A block by the codes of RFC 1951, 3.2.6. */
function fixed(state: InflateState): number {
  widths.fill(8, 0, 144).fill(9, 144, 256).fill(7, 256, 280).fill(8, 280, 288).fill(5, 288, 320);
  makeCodes(literalCodes, 0, 288);
  makeCodes(distanceCodes, 288, 320);
  return block(state);
}

/** A block that begins with its codes. */
function dynamic(state: InflateState): number {
  const sizes = takeBits(state, 14);
  if (sizes < 0) return CUT;
  const literals = 257 + (sizes & 31);
  const distances = 1 + ((sizes >> 5) & 31);
  if (literals > 286 || distances > 30) return BAD_INSTRUCTION;
  widths.fill(0, 0, 19);
  for (let i = 0; i < 4 + (sizes >> 10); i++) {
    const width = takeBits(state, 3);
    if (width < 0) return CUT;
    widths[ORDER[i] as number] = width;
  }
  if (!makeCodes(lengthCodes, 0, 19)) return BAD_INSTRUCTION;
  const all = literals + distances;
  for (let i = 0; i < all; ) {
    const symbol = takeSymbol(state, lengthCodes);
    if (symbol < 0) return symbol === -1 ? CUT : BAD_INSTRUCTION;
    if (symbol < 16) {
      widths[i++] = symbol;
      continue;
    }
    if (symbol === 16 && i === 0) return BAD_INSTRUCTION;
    const before = symbol === 16 ? (widths[i - 1] as number) : 0;
    const more = takeBits(state, symbol === 16 ? 2 : symbol === 17 ? 3 : 7);
    if (more < 0) return CUT;
    const end = i + more + (symbol === 18 ? 11 : 3);
    if (end > all) return BAD_INSTRUCTION;
    widths.fill(before, i, end);
    i = end;
  }
  // Without a code for its end, a block has none.
  if (widths[256] === 0) return BAD_INSTRUCTION;
  if (!makeCodes(literalCodes, 0, literals) || !makeCodes(distanceCodes, literals, all)) {
    return BAD_INSTRUCTION;
  }
  return block(state);
}

/** What a block holds, by `literalCodes` and `distanceCodes`. */
function block(state: InflateState): number {
  const { output } = state;
  for (;;) {
    const symbol = takeSymbol(state, literalCodes);
    if (symbol < 0) return symbol === -1 ? CUT : BAD_INSTRUCTION;
    if (symbol < 256) {
      if (state.to === output.length) return OVERFLOW;
      output[state.to++] = symbol;
      continue;
    }
    if (symbol === 256) return 0;
    if (symbol > 285) return BAD_INSTRUCTION;
    const more = takeBits(state, LENGTH_BITS[symbol - 257] as number);
    if (more < 0) return CUT;
    const length = (LENGTHS[symbol - 257] as number) + more;
    const far = takeSymbol(state, distanceCodes);
    if (far < 0) return far === -1 ? CUT : BAD_INSTRUCTION;
    if (far > 29) return BAD_INSTRUCTION;
    const further = takeBits(state, far < 4 ? 0 : (far >> 1) - 1);
    if (further < 0) return CUT;
    const from = state.to - (DISTANCES[far] as number) - further;
    if (from < 0) return BAD_DISTANCE;
    const end = Math.min(length, output.length - state.to);
    copyMatch(output, state.to, state.to - from, end);
    state.to += end;
    if (end < length) return OVERFLOW;
  }
}
