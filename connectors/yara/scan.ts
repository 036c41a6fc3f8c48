/** Scans memory with YARA rules. */
import type { Address } from "../../src/io/index.js";
import type { AddressSpace } from "../../src/memory/index.js";
import { type ScanHole, type ScanPart, type ScanRanges, scan } from "../../src/search/index.js";
import type { EngineMatch, YaraRules } from "./rules.js";

/** A match of a rule's pattern; or a rule that is true of a stretch of memory, and has no pattern that is there. */
export interface YaraHit {
  readonly rule: string;
  /** The source of the rule: its file. */
  readonly source: string;
  readonly tags: readonly string[];
  /** As the rule has it. (The package gives true and false as "unknown".) */
  readonly meta: Readonly<Record<string, unknown>>;
  /** Such as "$a"; `undefined` for a rule without any. */
  readonly pattern: string | undefined;
  /** Of the match's first byte; without a pattern, of the stretch's. */
  readonly address: bigint;
  /** In bytes; 0 without a pattern. */
  readonly length: number;
  /** The first 64 of the match. */
  readonly bytes: Uint8Array;
  /** Whether the rule saw the whole stretch of readable memory that this is in, and not only a piece of it. */
  readonly whole: boolean;
}

/** Options of {@link yaraScan}. */
export interface YaraOptions {
  /**
   * What is scanned, ascending: no rule sees two of these at once (a process's mappings, say). Default what there is, as `scan` has
   * it.
   */
  readonly regions?: readonly ScanRanges[] | undefined;
  /** Bytes that a rule sees at once at most; default 32 MiB, 64 KiB to 1 GiB. */
  readonly whole?: number | undefined;
  /** Bytes that a piece of a longer stretch has in common with the next one; default 64 KiB, less than half of `whole`. */
  readonly overlap?: number | undefined;
  /** Matches of one pattern in one piece at most; default 100,000. */
  readonly maxMatches?: number | undefined;
  /** Is told of each range that could not be scanned, ascending. */
  readonly onHole?: ((hole: ScanHole) => void) | undefined;
  /** Is told up to where (exclusive) the scan has come. */
  readonly onProgress?: ((address: bigint) => void) | undefined;
  /** Is told of a pattern that had `maxMatches`: there may be more. */
  readonly onLimit?: ((where: { readonly rule: string; readonly pattern: string }) => void) | undefined;
}

const WHOLE = 1 << 25;
const MIN_WHOLE = 1 << 16;
const MAX_WHOLE = 1 << 30;
const OVERLAP = 1 << 16;
const MAX_MATCHES = 100_000;
const MAX_BYTES = 64;

/**
 * What YARA rules match in memory, ascending by address within each stretch of it.
 *
 * A rule sees one stretch of readable memory at a time, as it would a file: `filesize`, `at` and modules go by it; it ends at a hole,
 * and where a region does. A stretch longer than `whole` comes in pieces that overlap: then these go by the piece, a rule is true
 * only if all that it needs is in one piece, and a match that is longer than the overlap may be missed. No match is told twice.
 *
 * Memory: `whole` bytes, whatever is scanned.
 *
 * @throws {RangeError} for options that can't be.
 */
export function yaraScan(
  space: AddressSpace<Address> | AddressSpace<number>,
  rules: YaraRules,
  options: YaraOptions = {},
): AsyncGenerator<YaraHit, void, void> {
  const { whole = WHOLE, overlap = Math.min(OVERLAP, whole >>> 2), maxMatches = MAX_MATCHES } = options;
  if (!(Number.isInteger(whole) && whole >= MIN_WHOLE && whole <= MAX_WHOLE))
    throw new RangeError(`yaraScan: ${whole} bytes at once: ${MIN_WHOLE} to ${MAX_WHOLE}`);
  if (!(Number.isInteger(overlap) && overlap >= 0 && overlap < whole / 2))
    throw new RangeError(`yaraScan: overlap of ${overlap} bytes: less than half of ${whole}`);
  if (!(Number.isInteger(maxMatches) && maxMatches >= 1 && maxMatches <= 1_000_000))
    throw new RangeError(`yaraScan: ${maxMatches} matches of a pattern: 1 to 1000000`);
  return stretches(space, rules, { ...options, whole, overlap, maxMatches });
}

async function* stretches(
  space: AddressSpace<Address> | AddressSpace<number>,
  rules: YaraRules,
  options: YaraOptions & { readonly whole: number; readonly overlap: number; readonly maxMatches: number },
): AsyncGenerator<YaraHit, void, void> {
  const { onHole, onProgress, whole, overlap } = options;
  const window = new Window(rules, options);
  for (const ranges of options.regions ?? [undefined]) {
    // (Small pieces: they are copied, so that a stretch lies in one place wherever pieces begin.)
    for await (const part of scan(space, { ranges, onHole, onProgress, piece: Math.min(whole, 1 << 20) })) {
      yield* window.add(part, overlap);
    }
  }
}

/** Readable bytes side by side, as many as a rule sees at once. */
class Window {
  readonly #rules: YaraRules;
  readonly #options: Pick<YaraOptions, "onLimit"> & { readonly maxMatches: number };
  readonly #memory: Buffer;
  #length = 0;
  #address = 0n;
  /** Whether there was a piece of this stretch before. */
  #isLater = false;
  /** What was told of the bytes that come again, and rules that were told for the stretch. */
  #told = new Set<string>();

  constructor(
    rules: YaraRules,
    options: Pick<YaraOptions, "onLimit"> & { readonly whole: number; readonly maxMatches: number },
  ) {
    this.#rules = rules;
    this.#options = options;
    this.#memory = Buffer.alloc(options.whole);
    for (const { engine } of rules.engines) engine.setMaxMatchesPerPattern(options.maxMatches);
  }

  *add({ bytes, address, from, until, isLast }: ScanPart, overlap: number): Generator<YaraHit, void, void> {
    if (this.#length === 0) {
      this.#address = address + BigInt(from);
      this.#isLater = false;
      this.#told = new Set();
    }
    for (let at = from; at < until; ) {
      if (this.#length === this.#memory.length) {
        yield* this.#scan(overlap);
        const kept = this.#length - overlap;
        this.#memory.copyWithin(0, kept, this.#length);
        this.#address += BigInt(kept);
        this.#length = overlap;
        this.#isLater = true;
      }
      const size = Math.min(until - at, this.#memory.length - this.#length);
      this.#memory.set(bytes.subarray(at, at + size), this.#length);
      this.#length += size;
      at += size;
    }
    if (!isLast) return;
    if (this.#length > 0) yield* this.#scan(0);
    this.#length = 0;
  }

  /** @param overlap So many bytes at the end come again. */
  *#scan(overlap: number): Generator<YaraHit, void, void> {
    const data = this.#memory.subarray(0, this.#length);
    const again = overlap === 0 ? this.#length : this.#length - overlap;
    const told = new Set<string>();
    const hits: YaraHit[] = [];
    for (const [index, { name, engine }] of this.#rules.engines.entries()) {
      for (const match of engine.scan(data)) {
        const rule = `${index} ${match.ruleIdentifier}`;
        this.#limits(match);
        if (match.matches.length === 0) {
          if (!this.#told.has(rule)) hits.push(this.#hit(name, match, undefined, 0, 0, overlap));
          told.add(rule);
        }
        for (const { identifier, offset, length } of match.matches) {
          // What ends with the piece may be longer, and comes again.
          if (offset >= again && overlap > 0 && offset + length === this.#length) continue;
          const key = `${rule} ${identifier} ${this.#address + BigInt(offset)}`;
          if (offset >= again) told.add(key);
          if (!this.#told.has(key)) hits.push(this.#hit(name, match, identifier, offset, length, overlap));
        }
      }
    }
    this.#told = told;
    hits.sort((a, b) => (a.address < b.address ? -1 : a.address > b.address ? 1 : 0));
    yield* hits;
  }

  #hit(
    source: string,
    { ruleIdentifier, tags, meta }: EngineMatch,
    pattern: string | undefined,
    offset: number,
    length: number,
    overlap: number,
  ): YaraHit {
    return {
      rule: ruleIdentifier,
      source,
      tags,
      meta: meta as Record<string, unknown>,
      pattern,
      address: this.#address + BigInt(offset),
      length,
      bytes: new Uint8Array(this.#memory.subarray(offset, offset + Math.min(length, MAX_BYTES))),
      whole: !this.#isLater && overlap === 0,
    };
  }

  #limits({ ruleIdentifier, matches }: EngineMatch): void {
    const { onLimit, maxMatches } = this.#options;
    if (onLimit === undefined || matches.length < maxMatches) return;
    const counts = new Map<string, number>();
    for (const { identifier } of matches) counts.set(identifier, (counts.get(identifier) ?? 0) + 1);
    for (const [pattern, count] of counts)
      if (count >= maxMatches) onLimit({ rule: ruleIdentifier, pattern });
  }
}
