/** What a machine's physical address space holds: RAM that can be read, RAM that a dump left out, and nothing. */
import { EXCLUDED_REASONS, type ExcludedReason, hex } from "../io/index.js";
import { firstEndingAfter } from "../io/ranges.js";

/** What is known of an address: readable, RAM that the dump left out, or no RAM at all. */
export type RangeState = "present" | "excluded" | "outside";

/** A range of a {@link PhysicalMap}; `end` is exclusive. */
export interface PhysicalRange {
  readonly start: number;
  readonly end: number;
  readonly state: RangeState;
  /** Why the dump has no bytes for it, where the state is `excluded`. */
  readonly reason?: ExcludedReason;
  /** Present, and the dump marks it as all zero; only in maps that tell zeros apart (`DumpImage.mapWithZeros`). */
  readonly zero?: true;
}

const PRESENT = 1;
const EXCLUDED = 2;
const ZERO = 3;
const STATES = ["outside", "present", "excluded", "present"] as const;

/**
 * Ranges of physical addresses with their state: ascending, disjoint, merged; gaps are `outside`.
 *
 * A list of ranges (`RangesMap`), or whatever a dump's index says: then what counts ranges may walk all of them.
 */
export abstract class PhysicalMap {
  /** Bytes that can be read. */
  abstract readonly bytesPresent: number;
  /** Bytes of RAM that are left out. */
  abstract readonly bytesExcluded: number;
  /** Bytes among those present that the dump marks as zero; 0 in a map that does not tell zeros apart. */
  get bytesZero(): number {
    return 0;
  }
  /** Number of ranges. */
  abstract readonly length: number;
  /** Where the last range ends, exclusive; 0 if there is none. */
  abstract readonly end: number;

  /** A map of nothing. */
  static get none(): PhysicalMap {
    return NONE;
  }

  /** One range that is present. */
  static single(start: number, end: number): PhysicalMap {
    return PhysicalMap.from([{ start, end, state: "present" }]);
  }

  /**
   * A map of ranges in any order. Where ranges overlap, the one that comes first in the list wins (also where it says
   * `outside`). Empty ranges are dropped.
   *
   * @throws {RangeError} for a bound that is no physical address.
   */
  static from(ranges: Iterable<PhysicalRange>): PhysicalMap {
    const builder = new PhysicalMapBuilder();
    for (const { start, end, state, reason, zero } of ranges) builder.push(start, end, state, reason, zero);
    return builder.build();
  }

  /** What is known of a byte. */
  abstract stateOf(address: number): RangeState;
  /** Why a byte is left out; `undefined` if it isn't. */
  abstract reasonOf(address: number): ExcludedReason | undefined;
  /** Whether every byte from `start` to `end` (exclusive) is present. */
  abstract isPresent(start: number, end: number): boolean;
  /** The first address from `address` on that is not `outside`; `undefined` behind the last range. */
  abstract nextInside(address: number): number | undefined;
  /** A range by its place in the list. @throws {RangeError} if there is none. */
  abstract range(i: number): PhysicalRange;
  /** The ranges, ascending. */
  protected abstract each(): Generator<PhysicalRange, void, void>;

  /** The ranges that are present or excluded, ascending; with `gaps`, also the `outside` ones between them. */
  *ranges(options: { readonly gaps?: boolean } = {}): Generator<PhysicalRange, void, void> {
    let at = 0;
    for (const range of this.each()) {
      if (options.gaps === true && range.start > at) yield { start: at, end: range.start, state: "outside" };
      yield range;
      at = range.end;
    }
  }

  /** The ranges as objects, ascending. */
  [Symbol.iterator](): Generator<PhysicalRange, void, void> {
    return this.ranges();
  }
}

/** A map that is a list of ranges: columns, 18 bytes a range. */
export class RangesMap extends PhysicalMap {
  /** Columns, one row a range: start and end (exclusive) in bytes, state (1 present, 2 excluded, 3 zero), reason (index). */
  readonly starts: Float64Array;
  readonly ends: Float64Array;
  readonly states: Uint8Array;
  readonly reasons: Uint8Array;
  readonly bytesPresent: number;
  readonly bytesExcluded: number;
  readonly #bytesZero: number;

  /** @internal Use `PhysicalMap.from`, `single` or a builder. */
  constructor(starts: Float64Array, ends: Float64Array, states: Uint8Array, reasons: Uint8Array) {
    super();
    this.starts = starts;
    this.ends = ends;
    this.states = states;
    this.reasons = reasons;
    let present = 0;
    let excluded = 0;
    let zero = 0;
    for (let i = 0; i < starts.length; i++) {
      const size = (ends[i] as number) - (starts[i] as number);
      if (states[i] === EXCLUDED) excluded += size;
      else present += size;
      if (states[i] === ZERO) zero += size;
    }
    this.bytesPresent = present;
    this.bytesExcluded = excluded;
    this.#bytesZero = zero;
  }

  override get bytesZero(): number {
    return this.#bytesZero;
  }

  get length(): number {
    return this.starts.length;
  }

  get end(): number {
    return this.ends[this.ends.length - 1] ?? 0;
  }

  stateOf(address: number): RangeState {
    const i = this.#indexOf(address);
    return i < 0 ? "outside" : (STATES[this.states[i] as number] as RangeState);
  }

  reasonOf(address: number): ExcludedReason | undefined {
    const i = this.#indexOf(address);
    return i < 0 || this.states[i] !== EXCLUDED ? undefined : EXCLUDED_REASONS[this.reasons[i] as number];
  }

  isPresent(start: number, end: number): boolean {
    if (end <= start) return true;
    let i = this.#indexOf(start);
    if (i < 0) return false;
    // Ranges of one state that touch are merged: only zeros and other bytes take turns.
    for (let at = start; at < end; i++) {
      const here = i < this.length && (this.starts[i] as number) <= at && this.states[i] !== EXCLUDED;
      if (!here) return false;
      at = this.ends[i] as number;
    }
    return true;
  }

  nextInside(address: number): number | undefined {
    const start = this.starts[firstEndingAfter(this.ends, address)];
    return start === undefined ? undefined : Math.max(start, address);
  }

  #indexOf(address: number): number {
    const i = firstEndingAfter(this.ends, address);
    return i < this.length && (this.starts[i] as number) <= address ? i : -1;
  }

  range(i: number): PhysicalRange {
    const start = this.starts[i];
    if (start === undefined) throw new RangeError(`range ${i} of ${this.length}`);
    const end = this.ends[i] as number;
    if (this.states[i] === PRESENT) return { start, end, state: "present" };
    if (this.states[i] === ZERO) return { start, end, state: "present", zero: true };
    return {
      start,
      end,
      state: "excluded",
      reason: EXCLUDED_REASONS[this.reasons[i] as number] ?? "unknown",
    };
  }

  protected *each(): Generator<PhysicalRange, void, void> {
    for (let i = 0; i < this.length; i++) yield this.range(i);
  }
}

const NONE = new RangesMap(new Float64Array(0), new Float64Array(0), new Uint8Array(0), new Uint8Array(0));

const FIRST_CAPACITY = 16;

/**
 * Collects ranges into a {@link RangesMap}. Ascending pushes cost no sorting, and ranges that touch and agree are
 * merged at once. Where pushes overlap, the first one wins.
 */
export class PhysicalMapBuilder {
  #starts = new Float64Array(FIRST_CAPACITY);
  #ends = new Float64Array(FIRST_CAPACITY);
  #states = new Uint8Array(FIRST_CAPACITY);
  #reasons = new Uint8Array(FIRST_CAPACITY);
  #length = 0;
  #ascending = true;

  /** Number of ranges so far, after merging. */
  get length(): number {
    return this.#length;
  }

  /**
   * Adds a range, `end` exclusive; an empty one adds nothing.
   *
   * @param reason Of a range that is `excluded`.
   * @param zero   Of a range that is `present`: it is marked as all zero.
   * @throws {RangeError} for a bound that is no physical address.
   */
  push(
    start: number,
    end: number,
    state: RangeState = "present",
    reason?: ExcludedReason,
    zero = false,
  ): void {
    if (!(Number.isSafeInteger(start) && start >= 0 && Number.isSafeInteger(end))) {
      throw new RangeError(`physical range ${String(start)} to ${String(end)}: bounds are 0 to 2^53 - 1`);
    }
    if (end <= start) return;
    const known = STATES.indexOf(state);
    if (known < 0) throw new RangeError(`physical range at ${hex(start)}: no such state: ${String(state)}`);
    const stateIndex = zero && known === PRESENT ? ZERO : known;
    const reasonIndex = state === "excluded" ? Math.max(0, EXCLUDED_REASONS.indexOf(reason ?? "unknown")) : 0;
    const last = this.#length - 1;
    if (last >= 0) {
      const lastEnd = this.#ends[last] as number;
      if (start < lastEnd) this.#ascending = false;
      if (start === lastEnd && this.#states[last] === stateIndex && this.#reasons[last] === reasonIndex) {
        this.#ends[last] = end;
        return;
      }
    }
    if (this.#length === this.#starts.length) this.#grow();
    this.#starts[this.#length] = start;
    this.#ends[this.#length] = end;
    this.#states[this.#length] = stateIndex;
    this.#reasons[this.#length] = reasonIndex;
    this.#length++;
  }

  #grow(): void {
    const capacity = this.#starts.length * 2;
    const starts = new Float64Array(capacity);
    starts.set(this.#starts);
    this.#starts = starts;
    const ends = new Float64Array(capacity);
    ends.set(this.#ends);
    this.#ends = ends;
    const states = new Uint8Array(capacity);
    states.set(this.#states);
    this.#states = states;
    const reasons = new Uint8Array(capacity);
    reasons.set(this.#reasons);
    this.#reasons = reasons;
  }

  /** The map of what was pushed. The builder may go on. */
  build(): RangesMap {
    return this.#ascending ? this.#compact() : this.#sweep();
  }

  /** Ascending and disjoint already: only `outside` has to go. */
  #compact(): RangesMap {
    const out = new Columns(this.#length);
    for (let i = 0; i < this.#length; i++) {
      out.add(
        this.#starts[i] as number,
        this.#ends[i] as number,
        this.#states[i] as number,
        this.#reasons[i] as number,
      );
    }
    return out.map();
  }

  /** Sweeps over the bounds with a heap of the ranges that are open, the earliest push on top. */
  #sweep(): RangesMap {
    const count = this.#length;
    const starts = this.#starts;
    const ends = this.#ends;
    const order = new Uint32Array(count);
    for (let i = 0; i < count; i++) order[i] = i;
    order.sort((a, b) => (starts[a] as number) - (starts[b] as number) || a - b);
    const out = new Columns(2 * count);
    const heap = new Heap(count);
    let next = 0;
    let at = 0;
    while (next < count || heap.length > 0) {
      if (heap.length === 0) at = starts[order[next] as number] as number;
      while (next < count && (starts[order[next] as number] as number) <= at)
        heap.push(order[next++] as number);
      const top = heap.top;
      const end = ends[top] as number;
      if (end <= at) {
        heap.pop();
        continue;
      }
      // The winner holds until it ends, or until another range opens, which may have come before it.
      const opens = next < count ? (starts[order[next] as number] as number) : Number.POSITIVE_INFINITY;
      const stop = Math.min(end, opens);
      out.add(at, stop, this.#states[top] as number, this.#reasons[top] as number);
      at = stop;
    }
    return out.map();
  }
}

/** Rows of a map in the making; merges what touches and agrees, drops `outside`. */
class Columns {
  #starts: Float64Array;
  #ends: Float64Array;
  #states: Uint8Array;
  #reasons: Uint8Array;
  #length = 0;

  constructor(capacity: number) {
    this.#starts = new Float64Array(capacity);
    this.#ends = new Float64Array(capacity);
    this.#states = new Uint8Array(capacity);
    this.#reasons = new Uint8Array(capacity);
  }

  add(start: number, end: number, state: number, reason: number): void {
    if (state === 0) return;
    const last = this.#length - 1;
    if (
      last >= 0 &&
      this.#ends[last] === start &&
      this.#states[last] === state &&
      this.#reasons[last] === reason
    ) {
      this.#ends[last] = end;
      return;
    }
    this.#starts[this.#length] = start;
    this.#ends[this.#length] = end;
    this.#states[this.#length] = state;
    this.#reasons[this.#length] = reason;
    this.#length++;
  }

  map(): RangesMap {
    const n = this.#length;
    return new RangesMap(
      this.#starts.slice(0, n),
      this.#ends.slice(0, n),
      this.#states.slice(0, n),
      this.#reasons.slice(0, n),
    );
  }
}

/** A binary heap of small integers, the least on top. */
class Heap {
  readonly #items: Uint32Array;
  length = 0;

  constructor(capacity: number) {
    this.#items = new Uint32Array(capacity);
  }

  get top(): number {
    return this.#items[0] as number;
  }

  push(item: number): void {
    const items = this.#items;
    let i = this.length++;
    while (i > 0) {
      const parent = (i - 1) >>> 1;
      if ((items[parent] as number) <= item) break;
      items[i] = items[parent] as number;
      i = parent;
    }
    items[i] = item;
  }

  pop(): void {
    const items = this.#items;
    const item = items[--this.length] as number;
    const { length } = this;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= length) break;
      if (child + 1 < length && (items[child + 1] as number) < (items[child] as number)) child++;
      if ((items[child] as number) >= item) break;
      items[i] = items[child] as number;
      i = child;
    }
    items[i] = item;
  }
}
