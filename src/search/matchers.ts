/** Finds a pattern's matches in bytes, one after the other. */
import { decodeLatin1 } from "../memory/text.js";
import type { CompiledPattern, Literal } from "./patterns.js";
import type { ScanPart } from "./scan.js";

/** Looks through a part at a time. @internal */
export interface Matcher {
  /** Bytes of the match that was found last. */
  length: number;
  /** Begins with a part: matches may begin at `from` to `until`, and reach up to its end. */
  begin(part: ScanPart): void;
  /** The first match that begins at `at` or behind, or -1. */
  next(at: number): number;
}

/** @internal */
export function matcherOf(pattern: CompiledPattern): Matcher {
  if (pattern.kind === "literal") return new LiteralMatcher(pattern);
  return pattern.kind === "regex"
    ? new RegexMatcher(pattern.regex, pattern.length)
    : new PointerMatcher(pattern);
}

/** How common a byte is in memory, by guess: the rarest byte of a literal is looked for first. */
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
    const { values, masks } = literal;
    this.#literal = literal;
    this.length = values.length;
    let anchor = -1;
    for (let i = 0; i < values.length; i++) {
      if (masks[i] !== 255) continue;
      if (anchor < 0 || commonness(values[i] as number) < commonness(values[anchor] as number)) anchor = i;
    }
    this.#anchor = anchor;
  }

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
  readonly #pattern: CompiledPattern & { kind: "pointer" };
  #part: ScanPart | undefined;
  #view: DataView = new DataView(new ArrayBuffer(0));

  constructor(pattern: CompiledPattern & { kind: "pointer" }) {
    this.#pattern = pattern;
    this.length = pattern.size;
  }

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

class RegexMatcher implements Matcher {
  length = 0;
  readonly #limit: number;
  readonly #search: RegExp;
  readonly #here: RegExp;
  /** Address behind the last match: matches do not overlap. */
  #free = 0n;
  #part: ScanPart | undefined;
  #text = "";

  constructor(regex: RegExp, limit: number) {
    const flags = regex.flags.replace("g", "");
    this.#search = new RegExp(regex.source, `${flags}g`);
    this.#here = new RegExp(regex.source, `${flags}y`);
    this.#limit = limit;
  }

  begin(part: ScanPart): void {
    this.#part = part;
    this.#text = decodeLatin1(part.bytes);
  }

  next(from: number): number {
    const { address, until } = this.#part as ScanPart;
    const taken = this.#free - address;
    this.#search.lastIndex = taken > BigInt(from) ? Number(taken) : from;
    while (this.#search.lastIndex < until) {
      const candidate = this.#search.exec(this.#text);
      if (candidate === null || candidate.index >= until) return -1;
      // What matches may depend on nothing behind the limit: where pieces end must not show.
      const at = candidate.index;
      this.#here.lastIndex = 0;
      const length = this.#here.exec(this.#text.slice(at, at + this.#limit))?.[0].length ?? 0;
      if (length > 0) {
        this.length = length;
        this.#free = address + BigInt(at + length);
        return at;
      }
      this.#search.lastIndex = at + 1;
    }
    return -1;
  }
}
