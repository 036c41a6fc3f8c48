/** Holes of the file system in a raw image: which physical ranges are zeros that take no room on the disk. */
import { firstEndingAfter } from "../../io/ranges.js";
import { type PhysicalMap, PhysicalMapBuilder } from "../../memory/physical-map.js";
import { AT_TRUNCATED, type Intervals } from "../pieces.js";

/** Ranges of a file that are zero, ascending; `end` exclusive. */
export type ZeroRanges = Iterable<{ readonly start: number; readonly end: number }>;

/** Ranges of the resulting map, so that many pieces over the same holes don't multiply without end. */
const MAX_RANGES = 4_000_000;

/**
 * What laid intervals say of physical memory, with zeros told apart.
 *
 * @param zeros Of the file, by offset. Those that are unordered or empty are left out: then they are like other bytes.
 * @param limit Ranges of the map from which on zeros are no longer told apart.
 */
export function zeroMap(pieces: Intervals, zeros: ZeroRanges, limit = MAX_RANGES): PhysicalMap {
  const { starts, ends } = columnsOf(zeros);
  const map = new PhysicalMapBuilder();
  for (let i = 0; i < pieces.length; i++) {
    const start = pieces.starts[i] as number;
    const end = pieces.ends[i] as number;
    const target = pieces.targets[i] as number;
    if (target < 0) {
      map.push(start, end, "excluded", target === AT_TRUNCATED ? "truncated" : "unknown");
      continue;
    }
    let at = start;
    for (let hole = firstEndingAfter(ends, target); at < end && map.length < limit; hole++) {
      const from = hole < starts.length ? (starts[hole] as number) - target + start : end;
      if (from >= end) break;
      const until = Math.min(end, (ends[hole] as number) - target + start);
      if (from > at) map.push(at, from);
      map.push(Math.max(at, from), until, "present", undefined, true);
      at = until;
    }
    map.push(at, end);
  }
  return map.build();
}

function columnsOf(ranges: ZeroRanges): { readonly starts: Float64Array; readonly ends: Float64Array } {
  const starts: number[] = [];
  const ends: number[] = [];
  let last = 0;
  for (const { start, end } of ranges) {
    if (!(start >= last && end > start)) continue;
    starts.push(start);
    ends.push(end);
    last = end;
  }
  return { starts: Float64Array.from(starts), ends: Float64Array.from(ends) };
}
