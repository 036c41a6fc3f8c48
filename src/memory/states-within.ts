/** What a map knows of a range, piece by piece, without going through the rest of the map. */
import type { ExcludedReason } from "../io/index.js";
import { firstEndingAfter } from "../io/ranges.js";
import { type PhysicalMap, type RangeState, RangesMap } from "./physical-map.js";

const PAGE = 4096;

/**
 * Calls for each piece of a range, ascending, `end` exclusive; together they cover it. Neighbours may be alike.
 *
 * A list of ranges is searched; of other maps (bitmaps) every page is looked at that is not in a piece that is wholly
 * present, or outside.
 *
 * @param each Returns `false` to stop.
 */
export function statesWithin(
  map: PhysicalMap,
  start: number,
  end: number,
  each: (start: number, end: number, state: RangeState, reason: ExcludedReason | undefined) => boolean,
): void {
  if (end <= start) return;
  if (map.isPresent(start, end)) {
    each(start, end, "present", undefined);
    return;
  }
  let at = start;
  while (at < end) {
    const inside = map.nextInside(at) ?? end;
    if (inside > at) {
      const to = Math.min(inside, end);
      if (!each(at, to, "outside", undefined)) return;
      at = to;
      continue;
    }
    const to = Math.min(end, map instanceof RangesMap ? endIn(map, at) : at - (at % PAGE) + PAGE);
    if (!each(at, to, map.stateOf(at), map.reasonOf(at))) return;
    at = to;
  }
}

/** Where the range ends that holds an address. */
function endIn({ ends }: RangesMap, address: number): number {
  return ends[firstEndingAfter(ends, address)] as number;
}
