/**
 * The memory of a process, range by range: bytes, and holes with their reason. In bounded memory, and in time by what is mapped:
 * only page tables that are there are walked.
 */
import { EXCLUDED_REASONS, type Fault, faultDetail, faultState, hex, type Routine } from "../../io/index.js";
import { firstPage, kindOfRow, pageAddress, pageCount, UNKNOWN } from "../../paging/maps/run-pages.js";
import type { VirtualMemory } from "../../paging/virtual-memory.js";
import { damage, type OnDamage } from "../objects/damage.js";

/** A range of virtual addresses; `end` is exclusive. */
export interface MemoryRange {
  readonly start: bigint;
  readonly end: bigint;
}

/** What takes the memory of ranges, ascending. @internal */
export interface PieceReceiver {
  /** Bytes of range number `index`. They are the receiver's. What is returned is waited for. */
  bytes(index: number, address: bigint, bytes: Uint8Array): Routine<void>;
  /** What can't be read. */
  hole(index: number, address: bigint, length: bigint, fault: Fault | undefined): void;
}

/** Bytes that are read at once, at multiples of it. */
const WINDOW = 1n << 20n;

/**
 * Goes over ranges that ascend and don't overlap.
 *
 * @param limit Bytes that are read at most: beyond it, the rest is a hole, and told. (Tables that repeat map more than there is.)
 * @internal
 */
export function* readRanges(
  memory: VirtualMemory,
  ranges: readonly MemoryRange[],
  receiver: PieceReceiver,
  limit: number,
  report: OnDamage,
): Routine<void> {
  const [first, last] = [ranges[0], ranges.at(-1)];
  if (first === undefined || last === undefined) return;
  const pass = new Pass(memory, ranges, receiver, limit);
  const cursor = memory.runBatches({ start: first.start, end: last.end }).cursor();
  try {
    while (!pass.isDone) {
      const next = yield* cursor.next();
      if (next.done === true) break;
      const runs = next.value;
      for (let row = 0; row < runs.length && !pass.isDone; row++) {
        const from = firstPage(runs, row);
        const start = pageAddress(from);
        const end = pageAddress(from + pageCount(runs, row));
        const unknown = kindOfRow(runs, row) === UNKNOWN;
        yield* pass.run(start, end, unknown ? (runs.faults[row] as Fault) : undefined);
      }
    }
  } finally {
    yield* cursor.end();
  }
  pass.finish();
  if (pass.stoppedAt !== undefined) {
    const more = `more than ${limit} bytes are mapped, which is more than there can be; the rest is left out`;
    report(damage("the memory of the process", pass.stoppedAt, "too long", 0, more));
  }
}

/** Where a pass over the ranges is. */
class Pass {
  stoppedAt: bigint | undefined;
  readonly #memory: VirtualMemory;
  readonly #ranges: readonly MemoryRange[];
  readonly #receiver: PieceReceiver;
  readonly #limit: number;
  #bytes = 0;
  #index = 0;
  /** Up to where of the current range everything was given. */
  #at: bigint;

  constructor(memory: VirtualMemory, ranges: readonly MemoryRange[], receiver: PieceReceiver, limit: number) {
    this.#memory = memory;
    this.#ranges = ranges;
    this.#receiver = receiver;
    this.#limit = limit;
    this.#at = (ranges[0] as MemoryRange).start;
  }

  get isDone(): boolean {
    return this.#index >= this.#ranges.length || this.stoppedAt !== undefined;
  }

  /** A run of pages that are there, or of which the fault says why nothing is known. It may go over several ranges. */
  *run(start: bigint, end: bigint, fault: Fault | undefined): Routine<void> {
    for (;;) {
      const range = this.#ranges[this.#index];
      if (range === undefined || this.stoppedAt !== undefined || range.start >= end) return;
      const from = start > this.#at ? start : this.#at;
      const to = end < range.end ? end : range.end;
      if (from < to) {
        if (fault !== undefined) {
          this.#skipTo(from);
          this.#hole(to, fault);
        } else {
          yield* this.#read(from, to, range);
        }
      }
      if (range.end > end) return;
      this.#next();
    }
  }

  /** What is left is not there. */
  finish(): void {
    while (this.#index < this.#ranges.length) this.#next();
  }

  #next(): void {
    this.#skipTo((this.#ranges[this.#index] as MemoryRange).end);
    this.#index++;
    const next = this.#ranges[this.#index];
    if (next !== undefined) this.#at = next.start;
  }

  #skipTo(address: bigint): void {
    if (address > this.#at) this.#hole(address, undefined);
  }

  #hole(end: bigint, fault: Fault | undefined): void {
    this.#receiver.hole(this.#index, this.#at, end - this.#at, fault);
    this.#at = end;
  }

  /** Whole windows around what is there: many pages that are scattered are one read. */
  *#read(from: bigint, to: bigint, range: MemoryRange): Routine<void> {
    for (let at = from; at < to; ) {
      const window = at - (at % WINDOW);
      const begin = window > this.#at ? window : this.#at;
      const end = window + WINDOW < range.end ? window + WINDOW : range.end;
      // (Read already, with what was in front of it.)
      if (end <= this.#at) {
        at = this.#at;
        continue;
      }
      if (this.#bytes >= this.#limit) {
        this.stoppedAt = begin;
        return;
      }
      this.#skipTo(begin);
      const { bytes, holes } = yield* this.#memory.readPartial(begin, Number(end - begin));
      let done = 0;
      for (const hole of [...holes, { start: bytes.length, end: bytes.length, fault: 0 as Fault }]) {
        if (hole.start > done) {
          this.#bytes += hole.start - done;
          this.#at = begin + BigInt(hole.start);
          yield* this.#receiver.bytes(this.#index, begin + BigInt(done), bytes.subarray(done, hole.start));
        }
        if (hole.end > hole.start) this.#hole(begin + BigInt(hole.end), hole.fault);
        done = hole.end;
      }
      at = end;
    }
  }
}

/** Why a hole is one, for a summary: the state of the read, and which filter of the dump left it out. */
export function holeReason(fault: Fault | undefined): string {
  if (fault === undefined) return "not-present";
  const state = faultState(fault);
  const filter = state === "excluded" ? EXCLUDED_REASONS[faultDetail(fault)] : undefined;
  return filter === undefined || filter === "unknown" ? state : `${state} (${filter})`;
}

/** @throws {RangeError} for a range that is none. @internal */
export function checkRange({ start, end }: MemoryRange): void {
  if (start < 0n || start >= end || end > 1n << 64n)
    throw new RangeError(`${hex(start)} to ${hex(end)} is no range of addresses`);
}

/** The parts of ranges that lie within others; both ascend and don't overlap. @internal */
export function clipped<T extends MemoryRange>(ranges: readonly T[], wanted: readonly MemoryRange[]): T[] {
  return ranges.flatMap((range) =>
    wanted.flatMap(({ start, end }) => {
      const from = larger(start, range.start);
      const to = smaller(end, range.end);
      return from < to ? [{ ...range, start: from, end: to }] : [];
    }),
  );
}

/** `Math.min` of bigints. @internal */
export function smaller(a: bigint, b: bigint): bigint {
  if (a < b) return a;
  return b;
}

/** `Math.max` of bigints. @internal */
export function larger(a: bigint, b: bigint): bigint {
  if (a > b) return a;
  return b;
}
