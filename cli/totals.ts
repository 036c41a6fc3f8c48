/** How much of a target's memory is there, and what became of the rest. */
import type { Machine } from "../connectors/connectors.js";
import type { PhysicalMap, PhysicalRange } from "../src/memory/index.js";

/** Bytes by what became of them. */
export interface Totals {
  readonly present: number;
  /** Of those present, what the target marks as zero; undefined where it doesn't tell. */
  readonly zero: number | undefined;
  /** Left out, by reason; reasons that don't occur are absent. */
  readonly excluded: Readonly<Record<string, number>>;
  /** Below `end`, and no memory. */
  readonly outside: number;
  /** Where the last range ends, exclusive. */
  readonly end: number;
}

/** A target's memory: its ranges, and their sums. */
export interface Extent {
  readonly totals: Totals;
  /** Ascending; anew with each call. */
  ranges(): Iterable<PhysicalRange>;
}

/** Bytes of RAM: what is there, and what was left out; where the dump can't tell that from what is no RAM, the most. */
export function ramOf({ present, excluded }: Pick<Totals, "present" | "excluded">): number {
  return Object.values(excluded).reduce((sum, bytes) => sum + bytes, present);
}

/** The sums over ranges, which are ascending. */
export function totalsOf(ranges: Iterable<PhysicalRange>, tellsZeros: boolean): Totals {
  const excluded: Record<string, number> = {};
  let present = 0;
  let zero = 0;
  let outside = 0;
  let at = 0;
  for (const { start, end, state, reason = "unknown", zero: isZero } of ranges) {
    outside += start - at;
    at = end;
    if (state === "excluded") excluded[reason] = (excluded[reason] ?? 0) + end - start;
    else present += end - start;
    if (isZero === true) zero += end - start;
  }
  return { present, zero: tellsZeros ? zero : undefined, excluded, outside, end: at };
}

/** What there is of a target: of a dump, with zeros told apart where it marks them (that reads its whole index). */
export async function readExtent(machine: Machine): Promise<Extent> {
  const { image, physical, source } = machine;
  const map: PhysicalMap | undefined = (await image?.mapWithZeros?.()) ?? physical?.map;
  const live = source.ranges;
  const ranges = () => map?.ranges() ?? processRanges(live);
  return { ranges, totals: totalsOf(ranges(), image?.mapWithZeros !== undefined) };
}

/** Ranges of a process are there; their bounds are multiples of a page, so that doubles hold them. */
function* processRanges(
  ranges: Iterable<{ readonly start: number; readonly end: number }>,
): Generator<PhysicalRange, void, void> {
  for (const { start, end } of ranges) yield { start, end, state: "present" };
}
