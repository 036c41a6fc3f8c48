/** What a kdump dump says of physical memory, answered from its bitmaps: no table of ranges, however many there are. */
import { EXCLUDED_REASONS, type ExcludedReason } from "../../io/index.js";
import { PhysicalMap, type PhysicalRange, type RangeState } from "../../memory/physical-map.js";
import type { PageBitmap } from "../bitmap.hot.js";
import { type KdumpLayout, missingEnd, whyMissing } from "./kdump-layout.js";

/** What a page is: one of these, or a reason for which it is missing, as `EXCLUDED` and its index. */
type Kind = number;
const OUTSIDE = 0;
const PRESENT = 1;
const ZERO = 2;
const EXCLUDED = 3;

/** See the module's comment. What counts ranges walks all of them. */
export class KdumpMap extends PhysicalMap {
  readonly bytesPresent: number;
  readonly bytesExcluded: number;
  readonly end: number;
  readonly #layout: KdumpLayout;
  /** Pages that have a descriptor and no data. */
  readonly #lost: PageBitmap | undefined;
  readonly #zeros: PageBitmap | undefined;
  #length: number | undefined;

  /**
   * @param lost  Pages that have a descriptor and no data.
   * @param zeros Pages among those present that are marked as zero, if that was looked at.
   */
  constructor(layout: KdumpLayout, lost: PageBitmap | undefined, zeros?: PageBitmap) {
    super();
    this.#layout = layout;
    this.#lost = lost;
    this.#zeros = zeros;
    const { base, blockSize, parts, stored, anywhere = stored, ram } = layout;
    let present = -(lost?.count ?? 0);
    for (const { start, describedEnd } of parts.list) {
      present += rankAt(stored, describedEnd) - rankAt(stored, start);
    }
    // What has a bit in any bitmap is RAM.
    const all = ram === undefined ? stored.length : anywhere.count + ram.countWithout(anywhere);
    this.bytesPresent = present * blockSize;
    this.bytesExcluded = (all - present) * blockSize;
    const end = ram === undefined ? stored.length : Math.max(endOf(anywhere), endOf(ram));
    this.end = end === 0 ? 0 : base + end * blockSize;
  }

  override get bytesZero(): number {
    return (this.#zeros?.count ?? 0) * this.#layout.blockSize;
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
    return kind === OUTSIDE ? "outside" : kind < EXCLUDED ? "present" : "excluded";
  }

  reasonOf(address: number): ExcludedReason | undefined {
    return reasonOf(this.#kindOf(this.#pageOf(address)));
  }

  isPresent(start: number, end: number): boolean {
    if (end <= start) return true;
    const { base, blockSize } = this.#layout;
    const last = Math.ceil((end - base) / blockSize);
    let pfn = this.#pageOf(start);
    while (pfn < last) {
      const kind = this.#kindOf(pfn);
      if (kind !== PRESENT && kind !== ZERO) return false;
      pfn = pfn + 1 >= last ? last : this.#runEnd(pfn, kind, last);
    }
    return true;
  }

  nextInside(address: number): number | undefined {
    const { base, blockSize, stored } = this.#layout;
    const from = Math.max(base, address);
    const pfn = this.#pageOf(from);
    if (this.#kindOf(pfn) !== OUTSIDE) return from;
    const next = pfn < stored.length ? this.#runEnd(pfn, OUTSIDE, stored.length) : pfn;
    return next < stored.length ? base + next * blockSize : undefined;
  }

  range(i: number): PhysicalRange {
    let at = 0;
    for (const range of this.ranges()) if (at++ === i) return range;
    throw new RangeError(`range ${i} of ${this.length}`);
  }

  protected *each(): Generator<PhysicalRange, void, void> {
    const { base, blockSize, stored } = this.#layout;
    const pages = stored.length;
    for (let pfn = 0; pfn < pages; ) {
      const kind = this.#kindOf(pfn);
      const stop = this.#runEnd(pfn, kind, pages);
      const start = base + pfn * blockSize;
      const end = base + stop * blockSize;
      pfn = stop;
      if (kind === PRESENT) yield { start, end, state: "present" };
      else if (kind === ZERO) yield { start, end, state: "present", zero: true };
      else if (kind !== OUTSIDE) yield { start, end, state: "excluded", reason: reasonOf(kind) ?? "unknown" };
    }
  }

  #pageOf(address: number): number {
    const { base, blockSize } = this.#layout;
    return Math.floor((address - base) / blockSize);
  }

  #isPresent(pfn: number): boolean {
    const { stored, parts } = this.#layout;
    return stored.has(pfn) && pfn < parts.of(pfn).describedEnd && this.#lost?.has(pfn) !== true;
  }

  #kindOf(pfn: number): Kind {
    if (pfn >= 0 && this.#isPresent(pfn)) return this.#zeros?.has(pfn) === true ? ZERO : PRESENT;
    const why = whyMissing(this.#layout, pfn);
    return why === undefined ? OUTSIDE : EXCLUDED + EXCLUDED_REASONS.indexOf(why);
  }

  /** Where the pages end that are of a kind, as `pfn` is; or `limit`. */
  #runEnd(pfn: number, kind: Kind, limit: number): number {
    let end = this.#stretchEnd(pfn, limit);
    while (end < limit && this.#kindOf(end) === kind) end = this.#stretchEnd(end, limit);
    return end;
  }

  /** A part of that, in which no bitmap changes. */
  #stretchEnd(pfn: number, limit: number): number {
    const { stored, parts } = this.#layout;
    if (!stored.has(pfn)) return missingEnd(this.#layout, pfn, limit);
    const part = parts.of(pfn);
    let end = stored.runEnd(pfn, Math.min(limit, pfn < part.describedEnd ? part.describedEnd : part.end));
    if (this.#lost !== undefined) end = this.#lost.runEnd(pfn, end);
    return this.#zeros === undefined ? end : this.#zeros.runEnd(pfn, end);
  }
}

function reasonOf(kind: Kind): ExcludedReason | undefined {
  return EXCLUDED_REASONS[kind - EXCLUDED];
}

/** Set bits before a page, which may be behind the last. */
function rankAt(bitmap: PageBitmap, page: number): number {
  return page < bitmap.length ? bitmap.rank(page) : bitmap.count;
}

/** Where the last set bit of a bitmap ends. */
function endOf(bitmap: PageBitmap): number {
  return bitmap.count === 0 ? 0 : bitmap.select(bitmap.count - 1) + 1;
}
