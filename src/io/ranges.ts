/**
 * Ascending, disjoint, half-open address ranges, in two flat arrays.
 *
 * Bounds are doubles: exact below 2^53, and for every multiple of 4096 up to 2^64 (52 significant bits), which is
 * all that address spaces of processes need.
 */
export class AddressRanges {
  readonly starts: Float64Array;
  readonly ends: Float64Array;

  private constructor(starts: Float64Array, ends: Float64Array) {
    this.starts = starts;
    this.ends = ends;
  }

  static readonly none = new AddressRanges(new Float64Array(0), new Float64Array(0));

  /** One range, `end` exclusive. Empty if `end` is not above `start`. */
  static single(start: number, end: number): AddressRanges {
    return end > start ? AddressRanges.from([{ start, end }]) : AddressRanges.none;
  }

  /** Sorts, drops empty ones, and merges what touches or overlaps. */
  static from(ranges: Iterable<{ readonly start: number; readonly end: number }>): AddressRanges {
    const sorted = [...ranges].filter((range) => range.end > range.start).sort((a, b) => a.start - b.start);
    const starts: number[] = [];
    const ends: number[] = [];
    for (const { start, end } of sorted) {
      const last = ends.length - 1;
      if (last >= 0 && start <= (ends[last] as number)) {
        ends[last] = Math.max(ends[last] as number, end);
      } else {
        starts.push(start);
        ends.push(end);
      }
    }
    return new AddressRanges(Float64Array.from(starts), Float64Array.from(ends));
  }

  get length(): number {
    return this.starts.length;
  }

  /** The sum of the ranges' sizes in bytes. */
  get bytes(): number {
    let sum = 0;
    for (let i = 0; i < this.length; i++) sum += (this.ends[i] as number) - (this.starts[i] as number);
    return sum;
  }

  /** The end of the last range, exclusive; 0 if there is none. */
  get end(): number {
    return this.length === 0 ? 0 : (this.ends[this.length - 1] as number);
  }

  /** Index of the first range that ends above `address`; `length` if there is none. */
  indexAfter(address: number): number {
    return firstEndingAfter(this.ends, address);
  }

  /** Whether a range holds `address`. */
  has(address: number): boolean {
    const i = this.indexAfter(address);
    return i < this.length && (this.starts[i] as number) <= address;
  }

  /** The ranges as objects, ascending. */
  *[Symbol.iterator](): Generator<{ start: number; end: number }, void, void> {
    for (let i = 0; i < this.length; i++) {
      yield { start: this.starts[i] as number, end: this.ends[i] as number };
    }
  }
}

/** Index of the first of the `length` ascending `ends` that lies above `address`; `length` if none does. */
export function firstEndingAfter(ends: Float64Array, address: number, length = ends.length): number {
  let low = 0;
  let high = length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((ends[middle] as number) > address) high = middle;
    else low = middle + 1;
  }
  return low;
}
