/**
 * The memory of a process, range by range: bytes, and holes with their reason. Where the page tables have nothing of a file's mapping, the
 * bytes are those that are cached of the file: the process would read them. In bounded memory, and in time by what is mapped: only page
 * tables that are there are walked.
 */
import {
  EXCLUDED_REASONS,
  type Fault,
  faultDetail,
  faultState,
  type Hole,
  hex,
  type Routine,
} from "../../io/index.js";
import { firstPage, kindOfRow, pageAddress, pageCount, UNKNOWN } from "../../paging/maps/run-pages.js";
import type { VirtualMemory } from "../../paging/virtual-memory.js";
import { damage, type OnDamage } from "../objects/damage.js";
import type { FilePart } from "../pagecache/file-bytes.js";
import type { MappedFile } from "../pagecache/mapped-files.js";

/** A range of virtual addresses; `end` is exclusive. */
export interface MemoryRange {
  readonly start: bigint;
  readonly end: bigint;
}

/** Where bytes are from: pages that the process has in its page tables, or such of the file that are only cached. */
export type PieceOrigin = "pages" | "cache";

/** The file that a range maps. @internal */
export interface Backing {
  readonly file: MappedFile;
  /** Where in the file the range begins. */
  readonly offset: bigint;
}

/** What takes the memory of ranges, ascending. @internal */
export interface PieceReceiver {
  /** Bytes of range number `index`. They are the receiver's. What is returned is waited for. */
  bytes(index: number, address: bigint, bytes: Uint8Array, from: PieceOrigin): Routine<void>;
  /** What can't be read. */
  hole(index: number, address: bigint, length: bigint, fault: Fault | undefined): void;
}

/** Bytes that are read at once, at multiples of it. */
const WINDOW = 1n << 20n;

/** The file that a range maps, by its number; `undefined` if it maps none, or nothing of it is cached. @internal */
export type BackingOf = (index: number) => Routine<Backing | undefined>;

// biome-ignore lint/correctness/useYield: there is nothing to wait for
function* noBacking(): Routine<undefined> {
  return undefined;
}

/**
 * Goes over ranges that ascend and don't overlap.
 *
 * @param limit Bytes that are read at most: beyond it, the rest is a hole, and told. (Tables that repeat map more than there is.)
 * @param backingOf Asked of ranges that have holes.
 * @internal
 */
export function* readRanges(
  memory: VirtualMemory,
  ranges: readonly MemoryRange[],
  receiver: PieceReceiver,
  limit: number,
  report: OnDamage,
  backingOf: BackingOf = noBacking,
): Routine<void> {
  const [first, last] = [ranges[0], ranges.at(-1)];
  if (first === undefined || last === undefined) return;
  const pass = new Pass(memory, ranges, receiver, limit, backingOf);
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
  yield* pass.finish();
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
  readonly #backingOf: BackingOf;
  #bytes = 0;
  #index = 0;
  /** Up to where of the current range everything was given. */
  #at: bigint;

  constructor(
    memory: VirtualMemory,
    ranges: readonly MemoryRange[],
    receiver: PieceReceiver,
    limit: number,
    backingOf: BackingOf,
  ) {
    this.#backingOf = backingOf;
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
          yield* this.#skipTo(from);
          yield* this.#hole(to, fault);
        } else {
          yield* this.#read(from, to, range);
        }
      }
      if (range.end > end) return;
      yield* this.#next();
    }
  }

  /** What is left is not there. */
  *finish(): Routine<void> {
    while (this.#index < this.#ranges.length) yield* this.#next();
  }

  *#next(): Routine<void> {
    yield* this.#skipTo((this.#ranges[this.#index] as MemoryRange).end);
    this.#index++;
    const next = this.#ranges[this.#index];
    if (next !== undefined) this.#at = next.start;
  }

  *#skipTo(address: bigint): Routine<void> {
    if (address > this.#at) yield* this.#hole(address, undefined);
  }

  *#hole(end: bigint, fault: Fault | undefined): Routine<void> {
    const isAbsent = fault === undefined || faultState(fault) === "not-present";
    if (isAbsent && this.stoppedAt === undefined) {
      const backing = yield* this.#backingOf(this.#index);
      if (backing !== undefined) yield* this.#fill(end, fault, backing);
    }
    this.#holeTo(end, fault);
  }

  #holeTo(end: bigint, fault: Fault | undefined): void {
    if (end > this.#at) this.#receiver.hole(this.#index, this.#at, end - this.#at, fault);
    this.#at = end;
  }

  /** Gives what is cached of the file up to an address. */
  *#fill(end: bigint, fault: Fault | undefined, { file, offset }: Backing): Routine<void> {
    // Where in memory the file's first byte would be.
    const origin = (this.#ranges[this.#index] as MemoryRange).start - offset;
    const [from, to] = [Number(this.#at - origin), Number(end - origin)];
    // (The end of a range of 2^60 bytes is rounded, and far behind every file.)
    for (let i = partBehind(file.there, from); i < file.there.length; i++) {
      const part = file.there[i] as FilePart;
      if (part.start >= to) return;
      const last = Math.min(part.end, to);
      for (let at = Math.max(part.start, from); at < last; ) {
        if (this.#bytes >= this.#limit) {
          this.stoppedAt = origin + BigInt(at);
          return;
        }
        const length = Math.min(last - at, Number(WINDOW));
        this.#holeTo(origin + BigInt(at), fault);
        yield* this.#give(yield* file.memory.readPartial(at, length), "cache");
        at += length;
      }
    }
  }

  /** Gives what was read, from where everything was given on. */
  *#give(
    { bytes, holes }: { readonly bytes: Uint8Array; readonly holes: readonly Hole[] },
    from: PieceOrigin,
  ): Routine<void> {
    const begin = this.#at;
    let done = 0;
    for (const hole of [...holes, { start: bytes.length, end: bytes.length, fault: 0 as Fault }]) {
      if (hole.start > done) {
        this.#bytes += hole.start - done;
        this.#at = begin + BigInt(hole.start);
        const piece = bytes.subarray(done, hole.start);
        yield* this.#receiver.bytes(this.#index, begin + BigInt(done), piece, from);
      }
      if (hole.end > hole.start) {
        if (from === "pages") yield* this.#hole(begin + BigInt(hole.end), hole.fault);
        else this.#holeTo(begin + BigInt(hole.end), hole.fault);
      }
      done = hole.end;
    }
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
      yield* this.#skipTo(begin);
      if (this.stoppedAt !== undefined) return;
      yield* this.#give(yield* this.#memory.readPartial(begin, Number(end - begin)), "pages");
      if (this.stoppedAt !== undefined) return;
      at = end;
    }
  }
}

/** Index of the first part that ends behind an offset. */
function partBehind(parts: readonly FilePart[], offset: number): number {
  let low = 0;
  let high = parts.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((parts[middle] as FilePart).end > offset) high = middle;
    else low = middle + 1;
  }
  return low;
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
