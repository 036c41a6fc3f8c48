/** Finds a pattern's matches in bytes, one after the other. */

import type { CompiledPattern, Literal, PointerRange } from "./patterns.js";
import { RegexMatcher } from "./regex-matcher.js";
import type { ScanPart } from "./scan.js";

/** Looks through a part at a time. @internal */
export interface Matcher {
  /** Bytes of the match that was found last. */
  length: number;
  /** Forgets the parts before. Matches that may not overlap begin at the address `free` or behind. */
  reset(free: bigint): void;
  /** Begins with a part: matches may begin at `from` to `until`, and reach up to its end. */
  begin(part: ScanPart): void;
  /** The first match that begins at `at` or behind, or -1. */
  next(at: number): number;
}

/** What a host may do for regular expressions. @internal */
export interface MatcherHost {
  /** Does the work, which returns within seconds or is given up: then it throws a `MemtoolError` with the code `REGEX_TIME`. */
  readonly bound?: ((work: () => void) => void) | undefined;
  /** Bytes as text, one character each. */
  readonly decodeLatin1?: ((bytes: Uint8Array) => string) | undefined;
}

/** Without WebAssembly. @internal */
export function matcherOf(pattern: CompiledPattern, host: MatcherHost): Matcher {
  if (pattern.kind === "literal") return new LiteralMatcher(pattern);
  return pattern.kind === "regex" ? new RegexMatcher(pattern, host) : new PointerMatcher(pattern);
}

/** Where a literal's two bytes are that tell most; one place twice if no other tells anything. @internal */
export function tellingBytes({ values, masks }: Literal): readonly [number, number] {
  // Of bytes that all of memory has (0, say), runs have one after the other: the two should not be neighbours then.
  const order = [...values.keys()]
    .filter((i) => masks[i] !== 0)
    .sort((a, b) => rank(values, masks, a) - rank(values, masks, b));
  const first = order[0] as number;
  const rest = order.slice(1);
  const other = rest.find((i) => masks[i] === masks[first] && values[i] !== values[first]);
  const best = rest[0];
  if (best === undefined) return [first, first];
  if (other === undefined || rank(values, masks, other) > rank(values, masks, best)) return [first, best];
  return [first, other];
}

function rank(values: Uint8Array, masks: Uint8Array, at: number): number {
  let unknown = 0;
  for (let bits = ~(masks[at] as number) & 255; bits > 0; bits &= bits - 1) unknown++;
  return commonness(values[at] as number) + 4 * unknown;
}

/** How common a byte is in memory, by guess: the rarest bytes of a literal are looked for first. */
function commonness(byte: number): number {
  if (byte === 0) return 5;
  if (byte === 255) return 4;
  if (byte === 0x20 || byte === 0x65 || byte === 0x74) return 3;
  return byte < 16 || (byte >= 0x61 && byte <= 0x7a) ? 2 : 1;
}

/** The first place at or behind `at` that has the alignment. */
function aligned(at: number, part: ScanPart, align: number): number {
  if (align === 1) return at;
  const over = (Number(part.address % BigInt(align)) + at) % align;
  return over === 0 ? at : at + align - over;
}

class LiteralMatcher implements Matcher {
  readonly length: number;
  readonly #literal: Literal;
  /** The byte that is looked for, all of whose bits count; -1 if there is none. */
  readonly #anchor: number;
  #part: ScanPart | undefined;

  constructor(literal: Literal) {
    this.#literal = literal;
    this.length = literal.values.length;
    const [first] = tellingBytes(literal);
    this.#anchor = literal.masks[first] === 255 ? first : -1;
  }

  reset(): void {}

  begin(part: ScanPart): void {
    this.#part = part;
  }

  next(from: number): number {
    const part = this.#part as ScanPart;
    const { bytes } = part;
    const { values, align } = this.#literal;
    const end = Math.min(part.until, bytes.length - this.length + 1);
    const anchor = this.#anchor;
    for (let at = aligned(from, part, align); at < end; at = aligned(at + 1, part, align)) {
      if (anchor >= 0) {
        const found = bytes.indexOf(values[anchor] as number, at + anchor);
        if (found < 0 || found - anchor >= end) return -1;
        at = found - anchor;
        if (aligned(at, part, align) !== at) continue;
      }
      if (this.#isAt(bytes, at)) return at;
    }
    return -1;
  }

  #isAt(bytes: Uint8Array, at: number): boolean {
    const { values, masks } = this.#literal;
    for (let i = 0; i < values.length; i++)
      if (((bytes[at + i] as number) & (masks[i] as number)) !== values[i]) return false;
    return true;
  }
}

class PointerMatcher implements Matcher {
  readonly length: number;
  readonly #pattern: PointerRange;
  #part: ScanPart | undefined;
  #view: DataView = new DataView(new ArrayBuffer(0));

  constructor(pattern: PointerRange) {
    this.#pattern = pattern;
    this.length = pattern.size;
  }

  reset(): void {}

  begin(part: ScanPart): void {
    this.#part = part;
    this.#view = new DataView(part.bytes.buffer, part.bytes.byteOffset, part.bytes.length);
  }

  next(from: number): number {
    const part = this.#part as ScanPart;
    const { size, littleEndian, align, start, end } = this.#pattern;
    const stop = Math.min(part.until, part.bytes.length - size + 1);
    // High halves are numbers: most words are out of the range by theirs already.
    const [low, high] = [Number(start >> 32n), Number((end - 1n) >> 32n)];
    for (let at = aligned(from, part, align); at < stop; at += align) {
      if (size === 8) {
        const half = this.#view.getUint32(littleEndian ? at + 4 : at, littleEndian);
        if (half < low || half > high) continue;
      }
      const value =
        size === 8
          ? this.#view.getBigUint64(at, littleEndian)
          : BigInt(this.#view.getUint32(at, littleEndian));
      if (value >= start && value < end) return at;
    }
    return -1;
  }
}
