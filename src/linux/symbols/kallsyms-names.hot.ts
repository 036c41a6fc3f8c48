/**
 * The loops over kallsyms' compressed names: where each begins, how long it is, and its hash, in one pass and without a string.
 *
 * A name is a length, then that many bytes, each the number of a token. The length is one byte; since Linux 6.1
 * (73bbb94466fd), with its high bit set, seven low bits, and the next byte holds the rest (scripts/kallsyms.c, `write_src`).
 * Longest length: 0x3fff (there too).
 */
import type { TokenTable } from "./kallsyms-tokens.js";

/** Longest name believed, in characters: `KSYM_NAME_LEN` is 512 since Linux 6.1 (b8a94bfb3395), 128 before. */
export const MAX_NAME = 1024;

/** What is known of each name, by its number. */
export interface NameColumns {
  /** Where its first token is. */
  readonly starts: Uint32Array;
  /** Tokens. */
  readonly lengths: Uint16Array;
  /** Hash of the name without its type. */
  readonly hashes: Int32Array;
}

/** Where a pass over names stands; it goes on with more bytes. */
export interface NameScan {
  /** The next name's first byte (of its length). */
  at: number;
  /** Its number. */
  index: number;
  /** Why the pass stopped: all names are there, more bytes are needed, or that name can't be. */
  stop: "complete" | "more" | "length" | "text";
  /** `length`: of that name, in tokens; `text`: in characters. */
  value: number;
}

/** A pass that has not begun. */
export function nameScan(): NameScan {
  return { at: 0, index: 0, stop: "more", value: 0 };
}

/**
 * Goes over the names in `bytes` before `end`, until `count` of them are known.
 *
 * @param into Columns of at least `count` rows.
 */
export function scanNames(
  scan: NameScan,
  bytes: Uint8Array,
  end: number,
  count: number,
  tokens: TokenTable,
  into: NameColumns,
): void {
  const { lengths: sizes, hashes: tokenHashes, factors, tails } = tokens;
  const { starts, lengths, hashes } = into;
  let at = scan.at;
  let index = scan.index;
  scan.stop = "complete";
  for (; index < count; index++) {
    if (at >= end) {
      scan.stop = "more";
      break;
    }
    let length = bytes[at] as number;
    let first = at + 1;
    if (length >= 128) {
      if (first >= end) {
        scan.stop = "more";
        break;
      }
      length = (length & 127) | ((bytes[first++] as number) << 7);
    }
    if (length === 0 || length > MAX_NAME + 1 || (first === at + 2 && length < 128)) {
      scan.stop = "length";
      scan.value = length;
      break;
    }
    const last = first + length;
    if (last > end) {
      scan.stop = "more";
      break;
    }
    let token = bytes[first] as number;
    let hash = tails[token] as number;
    let size = sizes[token] as number;
    // (A name can't begin with nothing: its first character is the type.)
    if (size === 0) {
      scan.stop = "text";
      scan.value = 0;
      break;
    }
    for (let i = first + 1; i < last; i++) {
      token = bytes[i] as number;
      hash = (Math.imul(hash, factors[token] as number) + (tokenHashes[token] as number)) | 0;
      size += sizes[token] as number;
    }
    if (size < 2 || size > MAX_NAME + 1) {
      scan.stop = "text";
      scan.value = size;
      break;
    }
    starts[index] = first;
    lengths[index] = length;
    hashes[index] = hash;
    at = last;
  }
  scan.at = at;
  scan.index = index;
}

/** The first row from `from` on that has a hash; as many as there are, if none has. */
export function rowOf(hashes: Int32Array, hash: number, from: number): number {
  let i = from;
  while (i < hashes.length && hashes[i] !== hash) i++;
  return i;
}

/**
 * Chains of rows whose hashes fall into the same bucket: `heads[bucketOf(hash)]` is the first row, `next[row]` the one after it,
 * ascending; -1 ends a chain.
 */
export interface HashChains {
  readonly heads: Int32Array;
  readonly next: Int32Array;
  /** Bits that a bucket's number has not. */
  readonly shift: number;
}

/** Bits of the most buckets: more are slower to fill than they save. */
const MOST_BITS = 17;

/** Puts rows into chains. */
export function chainHashes(hashes: Int32Array): HashChains {
  let bits = 4;
  while (bits < MOST_BITS && 1 << bits < hashes.length) bits++;
  const shift = 32 - bits;
  const heads = new Int32Array(1 << bits).fill(-1);
  const next = new Int32Array(hashes.length);
  for (let i = hashes.length - 1; i >= 0; i--) {
    const bucket = bucketOf(hashes[i] as number, shift);
    next[i] = heads[bucket] as number;
    heads[bucket] = i;
  }
  return { heads, next, shift };
}

/** The bucket of a hash: its bits mixed (by the golden ratio of 2^32), as the low ones know of the last characters only. */
export function bucketOf(hash: number, shift: number): number {
  return Math.imul(hash ^ (hash >>> 15), 0x9e3779b1) >>> shift;
}
