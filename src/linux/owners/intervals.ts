/** What lies around an address. */

/** A range of virtual addresses. */
interface Interval {
  readonly start: bigint;
  /** Exclusive. */
  readonly end: bigint;
}

/** Ranges, by what lies in them. Where several overlap, the last one to begin counts. */
export class Intervals<T extends Interval> {
  readonly #parts: readonly T[];

  constructor(parts: readonly T[]) {
    this.#parts = [...parts].sort((a, b) => (a.start < b.start ? -1 : a.start > b.start ? 1 : 0));
  }

  get length(): number {
    return this.#parts.length;
  }

  /** The one around an address; `undefined` if there is none. */
  at(address: bigint): T | undefined {
    let low = 0;
    let high = this.#parts.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#parts[middle] as T).start <= address) low = middle + 1;
      else high = middle;
    }
    const part = this.#parts[low - 1];
    return part !== undefined && address < part.end ? part : undefined;
  }
}
