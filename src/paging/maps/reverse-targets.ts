/** What a reverse translation looks for: physical addresses or ranges, sorted for binary search. */
import { AddressRanges, firstEndingAfter } from "../../io/ranges.js";

/** A range of physical addresses; `end` is exclusive. */
export interface PhysicalSpan {
  readonly start: number;
  readonly end: number;
}

/** One physical address or range, or many: all addresses or all ranges. */
export type PhysicalTargets = number | PhysicalSpan | Iterable<number> | Iterable<PhysicalSpan>;

/** Sorted and disjoint. Addresses stay apart, each once; ranges that touch or overlap are one. */
export class Targets {
  readonly starts: Float64Array;
  readonly ends: Float64Array;

  private constructor(starts: Float64Array, ends: Float64Array) {
    this.starts = starts;
    this.ends = ends;
  }

  /**
   * @throws {RangeError} for what is no physical address or range of them. @throws {TypeError} for addresses and ranges
   * side by side.
   */
  static of(what: PhysicalTargets): Targets {
    const all: Iterable<number | PhysicalSpan> =
      typeof what === "object" && Symbol.iterator in what ? what : [what];
    const addresses: number[] = [];
    const spans: PhysicalSpan[] = [];
    for (const one of all) {
      if (typeof one === "number") addresses.push(checked(one));
      else spans.push(checkedSpan(one));
    }
    if (spans.length === 0) {
      const sorted = Float64Array.from(addresses).sort();
      const starts = sorted.filter((address, i) => i === 0 || address !== sorted[i - 1]);
      return new Targets(
        starts,
        starts.map((address) => address + 1),
      );
    }
    if (addresses.length !== 0) throw new TypeError("addresses and ranges side by side: give one kind");
    const { starts, ends } = AddressRanges.from(spans);
    return new Targets(starts, ends);
  }

  get length(): number {
    return this.starts.length;
  }

  /** Index of the first one that ends above `address`; `length` if none does. */
  indexAfter(address: number): number {
    return firstEndingAfter(this.ends, address);
  }
}

function checked(address: number): number {
  if (Number.isSafeInteger(address) && address >= 0) return address;
  throw new RangeError(`not a physical address: ${String(address)}`);
}

function checkedSpan(span: PhysicalSpan): PhysicalSpan {
  if (checked(span.start) <= checked(span.end)) return span;
  throw new RangeError(`not a range of physical addresses: ${span.start} to ${span.end}`);
}
