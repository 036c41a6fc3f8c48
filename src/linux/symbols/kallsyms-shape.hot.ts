/**
 * The loops that look for kallsyms' tables in memory, by what scripts/kallsyms.c (`write_src`, `optimize_token_table`) lets them
 * look like.
 */
import { MAX_NAME } from "./kallsyms-names.hot.js";
import { TOKENS } from "./kallsyms-tokens.js";

/** Longest token believed; `scripts/kallsyms.c` builds them of pairs, real ones have at most some twenty characters. */
export const MAX_TOKEN = 512;
/** Symbols from one marker to the next. */
export const MARKED = 256;
/** The fewest bytes that many names take: a length and a token each. */
const LEAST_STEP = 2 * MARKED;
/** The most. */
export const MOST_STEP = (MAX_NAME + 3) * MARKED;

/**
 * Where the next `kallsyms_token_index` may be: 256 u16 that begin with 0 and ascend, by no more than a token with its NUL.
 *
 * @param words Memory, as little-endian words of 32 bits; the table begins at one.
 * @param from  First word to look at.
 * @param to    Last word, exclusive; `TOKENS / 2 - 1` more are there.
 * @returns the word, or -1.
 */
export function findTokenIndex(words: Uint32Array, from: number, to: number): number {
  for (let at = from; at < to; at++) {
    const first = words[at] as number;
    if ((first & 0xffff) !== 0 || first === 0) continue;
    let last = -1;
    let k = 0;
    for (; k < TOKENS / 2; k++) {
      const word = words[at + k] as number;
      const low = word & 0xffff;
      const high = word >>> 16;
      if (low <= last || high <= low || high - low > MAX_TOKEN + 1) break;
      if (k > 0 && low - last > MAX_TOKEN + 1) break;
      last = high;
    }
    if (k === TOKENS / 2) return at;
  }
  return -1;
}

/** Whether all bytes of a range are 0. */
export function isZero(bytes: Uint8Array, from: number, to: number): boolean {
  for (let i = from; i < to; i++) if (bytes[i] !== 0) return false;
  return true;
}

/**
 * Where the last chain of markers begins that does so before `before`: 0, then offsets that grow by what 256 names take.
 *
 * @param stride Words a marker: 1, or 2 where its high half is there too.
 * @returns the word, or -1.
 */
export function findMarkers(words: Uint32Array, before: number, stride: number): number {
  for (let at = before - 1; at >= 0; at--) {
    if (words[at] === 0 && markersAt(words, at, stride, 2) === 2) return at;
  }
  return -1;
}

/** How many markers there are from a word on, at most `most`. */
export function markersAt(words: Uint32Array, at: number, stride: number, most: number): number {
  let last = 0;
  let count = 0;
  for (let i = at; i + stride <= words.length && count < most; i += stride) {
    const marker = words[i] as number;
    if (stride === 2 && words[i + 1] !== 0) break;
    const step = marker - last;
    if (count === 0 ? marker !== 0 : step < LEAST_STEP || step > MOST_STEP) break;
    last = marker;
    count++;
  }
  return count;
}

/**
 * Goes over the lengths of names, and whether the markers are where they say.
 *
 * @param start  First byte of the names.
 * @param end    Where they end at the latest.
 * @param marker Word of the first marker.
 * @returns where they end; if they are no names, -1 less how many were gone over.
 */
export function walkNames(
  bytes: Uint8Array,
  start: number,
  end: number,
  count: number,
  words: Uint32Array,
  marker: number,
  stride: number,
): number {
  let at = start;
  for (let i = 0; i < count; i++) {
    if (i % MARKED === 0 && words[marker + (i / MARKED) * stride] !== at - start) return -1 - i;
    if (at >= end) return -1 - i;
    let length = bytes[at++] as number;
    if (length >= 128) {
      if (at >= end) return -1 - i;
      length = (length & 127) | ((bytes[at++] as number) << 7);
      if (length < 128) return -1 - i;
    }
    if (length === 0 || length > MAX_NAME + 1) return -1 - i;
    at += length;
  }
  return at <= end ? at : -1 - count;
}
