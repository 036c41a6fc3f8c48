/** What a kdump file says of physical memory, answered from its bitmaps: no table of ranges, however many there are. */
import type { ExcludedReason } from "../io/index.js";
import { PhysicalMap, type PhysicalRange, type RangeState } from "../memory/physical-map.js";
import type { PageBitmap } from "./bitmap.hot.js";
import type { KdumpLayout } from "./kdump-layout.js";

const OUTSIDE = 0;
const PRESENT = 1;
/** Left out by the filter, and for a reason that nobody knows. */
const FILTERED = 2;
const UNKNOWN = 3;
type Kind = typeof OUTSIDE | typeof PRESENT | typeof FILTERED | typeof UNKNOWN;

/** See the module's comment. What counts ranges walks all of them. */
export class KdumpMap extends PhysicalMap {
  readonly bytesPresent: number;
  readonly bytesExcluded: number;
  readonly end: number;
  readonly #layout: KdumpLayout;
  /** Pages that have a descriptor and no data. */
  readonly #lost: PageBitmap | undefined;
  #length: number | undefined;

  constructor(layout: KdumpLayout, lost: PageBitmap | undefined) {
    super();
    this.#layout = layout;
    this.#lost = lost;
    const { blockSize, stored, ram, truncatedFrom } = layout;
    const described = truncatedFrom < stored.length ? stored.rank(truncatedFrom) : stored.count;
    const present = described - (lost?.count ?? 0);
    const leftOut = ram === undefined ? stored.length - stored.count : ram.countWithout(stored);
    this.bytesPresent = present * blockSize;
    this.bytesExcluded = (stored.count - present + leftOut) * blockSize;
    this.end = (ram === undefined ? stored.length : Math.max(endOf(stored), endOf(ram))) * blockSize;
  }

  get length(): number {
    if (this.#length === undefined) {
      const pages = this.#layout.stored.length;
      let length = 0;
      for (let pfn = 0; pfn < pages; ) {
        const kind = this.#kindOf(pfn);
        if (kind !== OUTSIDE) length++;
        pfn = this.#runEnd(pfn, kind, pages);
      }
      this.#length = length;
    }
    return this.#length;
  }

  stateOf(address: number): RangeState {
    const kind = this.#kindOf(this.#pageOf(address));
    return kind === OUTSIDE ? "outside" : kind === PRESENT ? "present" : "excluded";
  }

  reasonOf(address: number): ExcludedReason | undefined {
    return this.#reasonOf(this.#kindOf(this.#pageOf(address)));
  }

  isPresent(start: number, end: number): boolean {
    if (end <= start) return true;
    const { blockSize } = this.#layout;
    const last = Math.ceil(end / blockSize);
    const pfn = this.#pageOf(start);
    return this.#kindOf(pfn) === PRESENT && (pfn + 1 >= last || this.#runEnd(pfn, PRESENT, last) >= last);
  }

  nextInside(address: number): number | undefined {
    const { blockSize, stored } = this.#layout;
    const from = Math.max(0, address);
    const pfn = this.#pageOf(from);
    if (this.#kindOf(pfn) !== OUTSIDE) return from;
    const next = pfn < stored.length ? this.#runEnd(pfn, OUTSIDE, stored.length) : pfn;
    return next < stored.length ? next * blockSize : undefined;
  }

  range(i: number): PhysicalRange {
    let at = 0;
    for (const range of this.ranges()) if (at++ === i) return range;
    throw new RangeError(`range ${i} of ${this.length}`);
  }

  protected *each(): Generator<PhysicalRange, void, void> {
    const pages = this.#layout.stored.length;
    const { blockSize } = this.#layout;
    for (let pfn = 0; pfn < pages; ) {
      const kind = this.#kindOf(pfn);
      const stop = this.#runEnd(pfn, kind, pages);
      const start = pfn * blockSize;
      const end = stop * blockSize;
      pfn = stop;
      if (kind === OUTSIDE) continue;
      const reason = this.#reasonOf(kind);
      yield reason === undefined
        ? { start, end, state: "present" }
        : { start, end, state: "excluded", reason };
    }
  }

  #pageOf(address: number): number {
    return Math.floor(address / this.#layout.blockSize);
  }

  #kindOf(pfn: number): Kind {
    const { stored, ram, truncatedFrom, reason } = this.#layout;
    if (!(pfn >= 0 && pfn < stored.length)) return OUTSIDE;
    if (stored.has(pfn)) return pfn < truncatedFrom && this.#lost?.has(pfn) !== true ? PRESENT : UNKNOWN;
    if (ram !== undefined && !ram.has(pfn)) return OUTSIDE;
    return reason === "unknown" ? UNKNOWN : FILTERED;
  }

  #reasonOf(kind: Kind): ExcludedReason | undefined {
    if (kind === FILTERED) return this.#layout.reason;
    return kind === UNKNOWN ? "unknown" : undefined;
  }

  /** Where the pages end that are of a kind, as `pfn` is; or `limit`. */
  #runEnd(pfn: number, kind: Kind, limit: number): number {
    let end = this.#stretchEnd(pfn, limit);
    while (end < limit && this.#kindOf(end) === kind) end = this.#stretchEnd(end, limit);
    return end;
  }

  /** A part of that, in which no bitmap changes. */
  #stretchEnd(pfn: number, limit: number): number {
    const { stored, ram, truncatedFrom } = this.#layout;
    let end = stored.runEnd(pfn, limit);
    if (!stored.has(pfn)) return ram === undefined ? end : ram.runEnd(pfn, end);
    if (pfn < truncatedFrom) end = Math.min(end, truncatedFrom);
    return this.#lost === undefined ? end : this.#lost.runEnd(pfn, end);
  }
}

/** Where the last set bit of a bitmap ends. */
function endOf(bitmap: PageBitmap): number {
  return bitmap.count === 0 ? 0 : bitmap.select(bitmap.count - 1) + 1;
}
