/** The loop of a reverse translation: which rows of a batch hold something that is looked for. */
import type { Targets } from "./reverse-targets.js";
import type { RunColumns } from "./run-columns.js";

/**
 * The first row from `row` on that holds (a part of) a target, or that can't be told what it holds; `runs.length` if
 * there is none. A comparison or two for most rows, a binary search for those between the lowest and the highest target.
 */
export function findTargets(runs: RunColumns, row: number, targets: Targets): number {
  const { physical, lengths, length } = runs;
  const { starts, ends } = targets;
  const count = starts.length;
  if (count === 0) return length;
  const lowest = starts[0] as number;
  const highest = ends[count - 1] as number;
  let at = row;
  for (; at < length; at++) {
    const start = physical[at] as number;
    // (-1: not known.)
    if (start < 0) break;
    const end = start + (lengths[at] as number);
    if (end <= lowest || start >= highest) continue;
    let low = 0;
    let high = count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((ends[middle] as number) > start) high = middle;
      else low = middle + 1;
    }
    if (low < count && (starts[low] as number) < end) break;
  }
  return at;
}
