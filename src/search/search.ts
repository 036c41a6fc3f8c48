/** Searches memory for patterns, in one pass and bounded memory. */
import type { Address } from "../io/packet-io.js";
import { IoSequence, type Sink } from "../io/sequence.js";
import type { Routine } from "../io/wait.js";
import type { AddressSpace } from "../memory/address-space.js";
import { type Matcher, matcherOf } from "./matchers.js";
import {
  type CompiledPattern,
  compilePattern,
  matchLength,
  PatternError,
  type SearchPattern,
} from "./patterns.js";
import { type ScanOptions, type ScanPart, scan } from "./scan.js";

/** A match. */
export interface SearchHit {
  /** Of its first byte, in the space that was searched. */
  readonly address: bigint;
  /** In bytes. */
  readonly length: number;
  /** Which pattern: its place in the list. */
  readonly pattern: number;
}

/** Options of {@link search}. */
export type SearchOptions = Pick<ScanOptions, "ranges" | "piece" | "onHole" | "onProgress">;

/**
 * Every match of the patterns, ascending by address (then by pattern), streaming. A match never spans a hole.
 *
 * @param space `machine.physical`, `linux.memory`, a process's memory; of others, `ranges` says where to look.
 * @throws {PatternError} for a pattern that can't be; {RangeError} as `scan`.
 * @example
 * for await (const hit of search(machine.physical, [{ text: "password=" }])) console.log(hit.address);
 */
export function search(
  space: AddressSpace<Address> | AddressSpace<number>,
  patterns: readonly SearchPattern[],
  options: SearchOptions = {},
): IoSequence<SearchHit> {
  if (patterns.length === 0) throw new PatternError("nothing to search for: give a pattern");
  const compiled = patterns.map((pattern) => compilePattern(pattern, space.abi));
  const overlap = Math.max(...compiled.map(matchLength)) - 1;
  const parts = scan(space, { ...options, overlap });
  return IoSequence.of(space.scheduler, searchRoutine, parts, compiled);
}

function* searchRoutine(
  sink: Sink<SearchHit>,
  parts: IoSequence<ScanPart>,
  patterns: readonly CompiledPattern[],
): Routine<void> {
  const matchers = patterns.map(matcherOf);
  const cursor = parts.cursor();
  try {
    for (;;) {
      const next = yield* cursor.next();
      if (next.done === true) return;
      const part = next.value;
      const places = matchers.map((matcher) => {
        matcher.begin(part);
        return matcher.next(part.from);
      });
      for (;;) {
        const pattern = firstOf(places);
        if (pattern < 0) break;
        const matcher = matchers[pattern] as Matcher;
        const at = places[pattern] as number;
        yield sink.emit({ address: part.address + BigInt(at), length: matcher.length, pattern });
        places[pattern] = matcher.next(at + 1);
      }
    }
  } finally {
    yield* cursor.end();
  }
}

/** Which of the places is the lowest; -1 if all are. */
function firstOf(places: readonly number[]): number {
  let first = -1;
  for (let i = 0; i < places.length; i++) {
    const at = places[i] as number;
    if (at >= 0 && (first < 0 || at < (places[first] as number))) first = i;
  }
  return first;
}
