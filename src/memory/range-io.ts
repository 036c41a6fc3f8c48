/** Address spaces without page tables: ranges of 64-bit addresses, each mapped to addresses of the layer below. */
import { HIGH, joinAddress, split, splitAddress, splitVirtual, toVirtual } from "../io/address.js";
import { SAFE_HIGH } from "../io/column.js";
import {
  type Address,
  type BoundView,
  type Fault,
  fault,
  hex,
  OUTSIDE,
  type PacketIo,
  type Scheduler,
} from "../io/index.js";

/** A range of an address space; what else is known of it is up to who lists it. */
export interface SpaceRange {
  readonly start: bigint;
  /** Exclusive; may be 2^64. */
  readonly end: bigint;
  /** Address of its first byte in the layer below; the same address where absent. */
  readonly target?: Address | undefined;
}

const NOT_AN_ADDRESS: Fault = fault("malformed", "address", "memory");
const END = 1n << 64n;

/**
 * Ranges as they are to be: ascending, without empty ones.
 *
 * @throws {RangeError} for bounds that are no addresses, and ranges that overlap.
 */
export function sortRanges<R extends SpaceRange>(ranges: Iterable<R>): R[] {
  const sorted = [...ranges]
    .filter(({ start, end }) => start !== end)
    .sort((a, b) => (a.start < b.start ? -1 : a.start > b.start ? 1 : 0));
  let before = 0n;
  for (const { start, end, target } of sorted) {
    if (start < 0n || end <= start || end > END) {
      throw new RangeError(`not a range of 64-bit addresses: ${String(start)} to ${String(end)}`);
    }
    if (start < before) throw new RangeError(`range at ${hex(start)} overlaps the one before it`);
    if (target !== undefined && toVirtual(target) + end - start > END) {
      throw new RangeError(`range at ${hex(start)}: it leads beyond 2^64`);
    }
    before = end;
  }
  return sorted;
}

/** The same of a list that was read while it changed: what overlaps the range before is clipped. Never throws. */
export function settleRanges<R extends SpaceRange>(ranges: Iterable<R>): R[] {
  const settled: R[] = [];
  let before = 0n;
  for (const range of [...ranges].sort((a, b) => (a.start < b.start ? -1 : a.start > b.start ? 1 : 0))) {
    const start = range.start > before ? range.start : before;
    if (start >= range.end || range.end > END) continue;
    if (start === range.start) settled.push(range);
    else if (range.target === undefined) settled.push({ ...range, start });
    else settled.push({ ...range, start, target: BigInt(range.target) + start - range.start });
    before = range.end;
  }
  return settled;
}

/**
 * The layer of a list of ranges: a view that crosses ranges is split, what lies between them is `outside`.
 *
 * Forwards addresses below 2^53 as a `number`, so that the layer below may be one of physical addresses.
 */
export class RangeIo implements PacketIo<Address> {
  readonly scheduler: Scheduler | undefined;
  readonly #io: PacketIo<Address>;
  /** Columns of words as doubles (2^32 is a high word here): start, end and target of each range. */
  readonly #startLo: Float64Array;
  readonly #startHi: Float64Array;
  readonly #endLo: Float64Array;
  readonly #endHi: Float64Array;
  readonly #targetLo: Float64Array;
  readonly #targetHi: Float64Array;

  /** @param ranges As {@link sortRanges} gives them. */
  constructor(io: PacketIo<Address> | PacketIo<number>, ranges: readonly SpaceRange[]) {
    this.#io = io as PacketIo<Address>;
    this.scheduler = io.scheduler;
    const column = () => new Float64Array(ranges.length);
    this.#startLo = column();
    this.#startHi = column();
    this.#endLo = column();
    this.#endHi = column();
    this.#targetLo = column();
    this.#targetHi = column();
    ranges.forEach(({ start, end, target = start }, i) => {
      splitVirtual(start);
      this.#startLo[i] = split.lo;
      this.#startHi[i] = split.hi;
      // 2^64 - 1 is an address; 2^64 is none.
      splitVirtual(end - 1n);
      this.#endLo[i] = (split.lo + 1) % HIGH;
      this.#endHi[i] = split.hi + (split.lo + 1 === HIGH ? 1 : 0);
      splitAddress(target);
      this.#targetLo[i] = split.lo;
      this.#targetHi[i] = split.hi;
    });
  }

  sendIo(address: Address, view: BoundView): void {
    if (!splitAddress(address)) {
      view.fail(NOT_AN_ADDRESS);
      return;
    }
    let { lo, hi } = split;
    let i = this.#endingAfter(lo, hi);
    let rest: BoundView | undefined = view;
    while (rest !== undefined) {
      const piece: BoundView = rest;
      const none = i === this.#startLo.length;
      const startLo = none ? 0 : (this.#startLo[i] as number);
      const startHi = none ? 0 : (this.#startHi[i] as number);
      const inside = !none && (startHi < hi || (startHi === hi && startLo <= lo));
      // Differences beyond 2^53 are not exact, and far more than any view's length.
      const room = inside
        ? ((this.#endHi[i] as number) - hi) * HIGH + ((this.#endLo[i] as number) - lo)
        : (startHi - hi) * HIGH + (startLo - lo);
      // Behind the last range is nothing, up to the end of all addresses and beyond.
      rest = !none && piece.length > room ? piece.split(room) : undefined;
      const { length } = piece;
      if (inside) {
        this.#io.sendIo(this.#targetOf(i, lo - startLo, hi - startHi), piece);
        i++;
      } else {
        piece.fail(OUTSIDE);
      }
      lo += length;
      hi += Math.floor(lo / HIGH);
      lo %= HIGH;
    }
  }

  /** The address below that is a difference behind the start of a range. */
  #targetOf(i: number, lo: number, hi: number): Address {
    const sum = (this.#targetLo[i] as number) + lo;
    const high = (this.#targetHi[i] as number) + hi + Math.floor(sum / HIGH);
    const low = sum - Math.floor(sum / HIGH) * HIGH;
    return high < SAFE_HIGH ? high * HIGH + low : joinAddress(low, high);
  }

  /** Index of the first range that ends above an address. */
  #endingAfter(lo: number, hi: number): number {
    let low = 0;
    let high = this.#endLo.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const endHi = this.#endHi[middle] as number;
      if (endHi > hi || (endHi === hi && (this.#endLo[middle] as number) > lo)) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}
