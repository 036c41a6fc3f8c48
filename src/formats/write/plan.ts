/** What of a memory goes into a dump: a map, cut to the ranges that are kept. */
import type { ExcludedReason } from "../../io/index.js";
import type { PhysicalMap, PhysicalRange } from "../../memory/physical-map.js";

/** A range of physical addresses; `end` is exclusive. */
export interface KeptRange {
  readonly start: number;
  readonly end: number;
}

/** Options of a {@link DumpPlan}. */
export interface DumpPlanOptions {
  /** Ranges to keep, in any order; what else is present becomes excluded. Default: everything. */
  readonly keep?: readonly KeptRange[] | undefined;
  /** Kept ranges are widened to whole pages of this many bytes. Default: 1. */
  readonly pageSize?: number | undefined;
}

/**
 * The ranges of a dump to be written, and their totals. Goes over the map anew each time that it is asked, so that a
 * map of any number of ranges costs no memory.
 */
export class DumpPlan {
  readonly map: PhysicalMap;
  /** Bytes that are present and kept. */
  readonly bytesPresent: number;
  /** Bytes that are RAM and not in the dump, by reason. */
  readonly excluded: ReadonlyMap<ExcludedReason, number>;
  /** Where the last range that is present ends; 0 if there is none. */
  readonly presentEnd: number;
  /** Where the last range of any state ends. */
  readonly end: number;
  /** Number of ranges. */
  readonly length: number;
  readonly #keep: readonly KeptRange[] | undefined;

  constructor(map: PhysicalMap, options: DumpPlanOptions = {}) {
    this.map = map;
    this.#keep = options.keep === undefined ? undefined : union(options.keep, options.pageSize ?? 1);
    const excluded = new Map<ExcludedReason, number>();
    let present = 0;
    let presentEnd = 0;
    let end = 0;
    let length = 0;
    for (const range of this.ranges()) {
      const size = range.end - range.start;
      if (range.state === "present") {
        present += size;
        presentEnd = range.end;
      } else {
        const reason = range.reason ?? "unknown";
        excluded.set(reason, (excluded.get(reason) ?? 0) + size);
      }
      end = range.end;
      length++;
    }
    this.bytesPresent = present;
    this.excluded = excluded;
    this.presentEnd = presentEnd;
    this.end = end;
    this.length = length;
  }

  /** Bytes that are RAM and not in the dump. */
  get bytesExcluded(): number {
    let sum = 0;
    for (const bytes of this.excluded.values()) sum += bytes;
    return sum;
  }

  /** Present and excluded ranges, ascending; those of one state that touch are one. */
  *ranges(): Generator<PhysicalRange, void, void> {
    let last: PhysicalRange | undefined;
    for (const range of this.#cut()) {
      if (last !== undefined && last.end === range.start && alike(last, range)) {
        last = { ...last, end: range.end };
        continue;
      }
      if (last !== undefined) yield last;
      last = range;
    }
    if (last !== undefined) yield last;
  }

  *#cut(): Generator<PhysicalRange, void, void> {
    const keep = this.#keep;
    let i = 0;
    for (const { start, end, state, reason } of this.map.ranges()) {
      if (state !== "present" || keep === undefined) {
        yield state === "present"
          ? { start, end, state }
          : { start, end, state, reason: reason ?? "unknown" };
        continue;
      }
      let at = start;
      while (i < keep.length && (keep[i] as KeptRange).end <= at) i++;
      for (let k = i; at < end; k++) {
        const next = keep[k];
        const from = next === undefined ? end : Math.min(end, Math.max(at, next.start));
        if (from > at) yield { start: at, end: from, state: "excluded", reason: "unknown" };
        const to = next === undefined ? end : Math.min(end, Math.max(from, next.end));
        if (to > from) yield { start: from, end: to, state: "present" };
        at = to;
      }
    }
  }
}

function alike(a: PhysicalRange, b: PhysicalRange): boolean {
  return a.state === b.state && a.reason === b.reason;
}

/** The ranges widened to whole pages, ascending, disjoint. */
function union(ranges: readonly KeptRange[], pageSize: number): KeptRange[] {
  const sorted = ranges
    .filter(({ start, end }) => end > start)
    .map(({ start, end }) => ({
      start: Math.floor(start / pageSize) * pageSize,
      end: Math.ceil(end / pageSize) * pageSize,
    }))
    .sort((a, b) => a.start - b.start);
  const merged: { start: number; end: number }[] = [];
  for (const range of sorted) {
    const last = merged[merged.length - 1];
    if (last !== undefined && range.start <= last.end) last.end = Math.max(last.end, range.end);
    else merged.push(range);
  }
  return merged;
}
