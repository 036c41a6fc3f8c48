/** Where each type of BTF begins, and types by name: one pass over all of them. */
import { KIND, KIND_SIZES } from "./btf-header.js";

/** Words and bytes of `struct btf_type`. */
export const TYPE_WORDS = 3;
const TYPE_SIZE = 4 * TYPE_WORDS;

/** For each kind, the bytes behind `struct btf_type`: `[always, for each of vlen]`, flat. -1 for what is no kind. */
const SIZES = new Int32Array(64);
SIZES.fill(-1);
KIND_SIZES.forEach((sizes, kind) => {
  if (sizes === undefined) return;
  SIZES[2 * kind] = sizes[0];
  SIZES[2 * kind + 1] = sizes[1];
});

/** What one pass over the types finds. */
export interface BtfIndex {
  /** Of each type in their order: where it begins, in words of 4 bytes. */
  readonly starts: Uint32Array;
  readonly count: number;
  /** Where the pass ended, in words: behind the last type, unless something there is no type. */
  readonly end: number;
}

/**
 * Finds every type.
 *
 * @param words All of the BTF as words of the host's byte order.
 * @param from  The first word of the types; `to` is the one behind them.
 */
export function indexTypes(words: Uint32Array, from: number, to: number): BtfIndex {
  let starts = new Uint32Array(Math.min(1 << 16, Math.ceil((to - from) / 3)));
  let count = 0;
  let at = from;
  while (at + TYPE_WORDS <= to) {
    const info = words[at + 1] as number;
    const kind = (info >>> 24) & 31;
    const fixed = SIZES[2 * kind] as number;
    if (fixed < 0) break;
    const next = at + (TYPE_SIZE + fixed + (info & 0xffff) * (SIZES[2 * kind + 1] as number)) / 4;
    if (next > to) break;
    if (count === starts.length) {
      const larger = new Uint32Array(2 * count);
      larger.set(starts);
      starts = larger;
    }
    starts[count++] = at;
    at = next;
  }
  return { starts: starts.subarray(0, count), count, end: at };
}

/** Words that the type at a word takes, as {@link indexTypes} has it; 0 if there is none that ends at `to` or before. */
export function typeWords(words: Uint32Array, at: number, to: number): number {
  if (!(at + TYPE_WORDS <= to)) return 0;
  const info = words[at + 1] as number;
  const kind = (info >>> 24) & 31;
  const fixed = SIZES[2 * kind] as number;
  if (fixed < 0) return 0;
  const size = (TYPE_SIZE + fixed + (info & 0xffff) * (SIZES[2 * kind + 1] as number)) / 4;
  return at + size <= to ? size : 0;
}

/** FNV-1a of the bytes up to a NUL or the end. */
export function hashBytes(bytes: Uint8Array, start: number, end: number): number {
  let hash = 0x811c9dc5;
  for (let i = start; i < end; i++) {
    const byte = bytes[i] as number;
    if (byte === 0) break;
    hash = Math.imul(hash ^ byte, 0x01000193);
  }
  return hash >>> 0;
}

/** Kinds that are found by name. */
const NAMED = new Uint8Array(32);
for (const kind of [
  KIND.int,
  KIND.struct,
  KIND.union,
  KIND.enum,
  KIND.forward,
  KIND.typedef,
  KIND.variable,
  KIND.float,
  KIND.enum64,
]) {
  NAMED[kind] = 1;
}

/** Types by the hash of their names: chains of one bucket, in the types' order. */
export interface NameIndex {
  /** Of each bucket, its first type's number plus one; 0 for none. A power of two of them. */
  readonly buckets: Uint32Array;
  /** Of each type, the next one's number plus one in its bucket. */
  readonly next: Uint32Array;
}

/**
 * Makes the index of names.
 *
 * @param strings Where strings begin in `bytes`: the offset of one is added to it. Names of a base's strings are not indexed.
 * @param base    Offsets below this are the base's.
 */
export function indexNames(
  words: Uint32Array,
  bytes: Uint8Array,
  starts: Uint32Array,
  strings: number,
  stringsEnd: number,
  base: number,
): NameIndex {
  let size = 1024;
  while (size < starts.length / 2) size *= 2;
  const buckets = new Uint32Array(size);
  const next = new Uint32Array(starts.length);
  // Backwards, so that a chain begins with its first type.
  for (let i = starts.length - 1; i >= 0; i--) {
    const at = starts[i] as number;
    const info = words[at + 1] as number;
    const offset = (words[at] as number) - base;
    if (NAMED[(info >>> 24) & 31] === 0 || offset < 0 || (base === 0 && offset === 0)) continue;
    if (strings + offset >= stringsEnd) continue;
    const bucket = hashBytes(bytes, strings + offset, stringsEnd) & (size - 1);
    next[i] = buckets[bucket] as number;
    buckets[bucket] = i + 1;
  }
  return { buckets, next };
}
