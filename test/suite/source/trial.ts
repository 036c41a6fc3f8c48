/** One run of one rule over a fresh subject: rows with guards around them, and what must come of them. */
import { expect } from "vitest";
import {
  type Address,
  Batch,
  type Direction,
  type FaultState,
  faultState,
  offsetAddress,
  type PartialTransfer,
  ROW_PARTIAL,
  ROW_UNANSWERED,
  Scheduler,
  type Source,
  SourceIo,
} from "../../../src/io/index.js";
import type { BadRange, SourceSubject } from "./subject.js";

export const PAGE = 4096;
/** Bytes between the rows of a batch, and what they hold. */
const GUARD = 16;
const GUARD_BYTE = 0xa5;

/** A place relative to the subject's base. */
export interface Place {
  readonly start: number;
  readonly length: number;
}

/** A hole without its detail, which is the connector's to choose. */
export interface PlainHole {
  readonly start: number;
  readonly end: number;
  readonly state: FaultState;
}

/** A way into a source. */
export interface Door {
  readonly name: "transferSync" | "transfer";
  run(batch: Batch): void | Promise<void>;
}

/** A batch whose rows lie in one piece of memory, guards between them. */
export interface GuardedBatch {
  readonly batch: Batch;
  readonly places: readonly Place[];
  readonly memory: Uint8Array;
  /** The memory as it was made. */
  readonly before: Uint8Array;
}

/** See the module's comment. */
export class Trial {
  readonly subject: SourceSubject;
  readonly source: Source;
  readonly io: SourceIo;
  /** As it was when the subject was made. */
  readonly truth: Uint8Array;
  readonly bad: readonly BadRange[];
  /** The bytes that the suite knows about: up to here. */
  readonly end: number;
  #isClosed = false;

  private constructor(subject: SourceSubject, truth: Uint8Array) {
    this.subject = subject;
    this.source = subject.source;
    this.io = new SourceIo(subject.source, new Scheduler());
    this.truth = truth.slice();
    this.bad = subject.bad ?? [];
    this.end = Math.max(truth.length, ...this.bad.map(({ end }) => end));
    let known = truth.length;
    for (const { start, end } of this.bad) {
      if (start > known) throw new Error(`the subject does not say what is at ${known}`);
      known = Math.max(known, end);
    }
    const good = this.bad[0]?.start ?? truth.length;
    if (Math.min(good, truth.length) < 64)
      throw new Error("the subject has less than 64 good bytes at first");
  }

  /** A trial of a subject. If the subject is not as it should be, it is closed. */
  static async of(subject: SourceSubject): Promise<Trial> {
    try {
      return new Trial(subject, await subject.truth());
    } catch (error) {
      await subject.source.close?.();
      await subject.close?.();
      throw error;
    }
  }

  /** Makes a subject, runs `body` over it, and closes both. */
  static async run(
    make: () => SourceSubject | Promise<SourceSubject>,
    body: (trial: Trial) => Promise<void>,
  ): Promise<void> {
    const trial = await Trial.of(await make());
    try {
      await body(trial);
    } finally {
      await trial.close();
    }
  }

  /** To be called by whoever closed the source. */
  leaveClosed(): void {
    this.#isClosed = true;
  }

  /** Closes the source, unless it is, and the subject. */
  async close(): Promise<void> {
    try {
      if (!this.#isClosed) await this.within(this.io.close(), "close");
    } finally {
      await this.subject.close?.();
    }
  }

  at(offset: number): Address {
    const { base } = this.subject;
    return typeof base === "number" ? base + offset : offsetAddress(base, offset);
  }

  /** What is there now, by the subject's own account. */
  async now(): Promise<Uint8Array> {
    return (await this.subject.truth()).slice();
  }

  get doors(): Door[] {
    const { source } = this;
    const doors: Door[] = [];
    if (source.transferSync !== undefined) {
      doors.push({ name: "transferSync", run: (batch) => source.transferSync?.(batch) });
    }
    if (source.transfer !== undefined) {
      doors.push({
        name: "transfer",
        run: (batch) => this.within(source.transfer?.(batch) ?? Promise.resolve(), "transfer"),
      });
    }
    return doors;
  }

  /** A promise that must settle; an error that says what did not. */
  within<T>(promise: PromiseLike<T>, what: string): Promise<T> {
    const { patience = 10_000 } = this.subject;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`${what} has not ended after ${patience} ms`)), patience);
    });
    return Promise.race([Promise.resolve(promise), late]).finally(() => clearTimeout(timer));
  }

  /** Offsets at which something begins or ends: what is there, pages, what is bad. */
  get edges(): number[] {
    const { base } = this.subject;
    const inPage = Number(BigInt(base) % BigInt(PAGE));
    const first = (PAGE - inPage) % PAGE;
    const pages = [first, first + PAGE, first + 2 * PAGE].filter((edge) => edge < this.end);
    const bad = this.bad.slice(0, 4).flatMap(({ start, end }) => [start, end]);
    return [...new Set([0, ...pages, ...bad, this.truth.length])].sort((a, b) => a - b);
  }

  /** Places of all sizes at all edges, good and bad. */
  placesAt(sizes: readonly number[]): Place[] {
    const places: Place[] = [];
    const seen = new Set<string>();
    for (const edge of this.edges) {
      for (const length of sizes) {
        for (const start of [
          edge - length,
          edge - length + 1,
          edge - (length >> 1),
          edge - 1,
          edge,
          edge + 1,
        ]) {
          if (start < 0 || start + length > this.end || seen.has(`${start} ${length}`)) continue;
          seen.add(`${start} ${length}`);
          places.push({ start, length });
        }
      }
    }
    return places;
  }

  /** Up to `count` good places of `length` bytes, in no order. */
  scattered(count: number, length: number): Place[] {
    const good: number[] = [];
    for (let start = 0; start + length <= this.truth.length; start += length) {
      if (this.expected({ start, length }).length === 0) good.push(start);
    }
    return Array.from({ length: count }, (_, i) => {
      const start = good[(i * 7919) % good.length] as number;
      return { start, length };
    });
  }

  /** Whether the core would hand such a row to the source: it cuts what lies outside the ranges of one that is not live. */
  reaches({ start, length }: Place): boolean {
    if (this.source.supports.live) return true;
    const first = Number(this.at(start));
    const ranges = this.source.ranges();
    const i = ranges.indexAfter(first);
    return (ranges.starts[i] ?? Infinity) <= first && (ranges.ends[i] as number) >= first + length;
  }

  /** What a place must report as missing, relative to its first byte. */
  expected({ start, length }: Place): PlainHole[] {
    return mergeHoles(
      this.bad
        .map((bad) => ({
          start: Math.max(0, bad.start - start),
          end: Math.min(length, bad.end - start),
          state: bad.state,
        }))
        .filter((hole) => hole.start < hole.end),
    );
  }

  /** What a batch gave for a place, checked; `bytes` may be longer than the place is. */
  check(
    place: Place,
    holes: readonly PlainHole[],
    bytes: Uint8Array,
    what: string,
    truth = this.truth,
  ): void {
    const where = `${what}: ${place.length} bytes at +0x${place.start.toString(16)}`;
    this.#checkHoles(place, holes, where);
    let at = 0;
    for (const hole of [...this.expected(place), { start: place.length, end: place.length }]) {
      const from = place.start + at;
      expectSame(bytes.subarray(at, hole.start), truth.subarray(from, place.start + hole.start), where);
      at = hole.end;
    }
  }

  #checkHoles(place: Place, holes: readonly PlainHole[], where: string): void {
    const expected = this.expected(place);
    // `expect` costs more than all else here, where there are thousands of rows.
    if (holes.length + expected.length !== 0) expect(mergeHoles(holes), where).toEqual(expected);
  }

  /** As `check`, of what a request gave. */
  checkRead(place: Place, { bytes, good, holes }: PartialTransfer, what: string, truth = this.truth): void {
    this.check(place, holes, bytes, what, truth);
    const covered = [...good, ...holes].reduce((sum, range) => sum + range.end - range.start, 0);
    expect(covered, `${what}: bytes that were answered`).toBe(place.length);
  }

  /** A batch as the core makes them; reads are sorted. `fill` gives the bytes of a write. */
  batch(
    direction: Direction,
    places: readonly Place[],
    fill?: (place: Place, row: number) => Uint8Array,
  ): GuardedBatch {
    const rows = direction === "read" ? [...places].sort((a, b) => a.start - b.start) : [...places];
    const size = rows.reduce((sum, { length }) => sum + length + GUARD, GUARD + 3);
    const memory = new Uint8Array(size).fill(GUARD_BYTE);
    const batch = new Batch();
    batch.reset(direction, rows.length);
    // Not aligned to anything.
    let offset = GUARD + 3;
    rows.forEach((place, row) => {
      if (fill === undefined) memory.fill(0x5a, offset, offset + place.length);
      else memory.set(fill(place, row), offset);
      const address = BigInt(this.at(place.start));
      const lo = Number(address & 0xffff_ffffn);
      batch.push(lo, Number(address >> 32n), memory, offset, place.length);
      offset += place.length + GUARD;
    });
    return { batch, places: rows, memory, before: memory.slice() };
  }

  /** Every row has one answer, the right one; nothing else was touched. */
  checkBatch(guarded: GuardedBatch, what: string): void {
    const { batch, places, memory, before } = guarded;
    expect(batch.length, `${what}: rows of the batch`).toBe(places.length);
    let offset = GUARD + 3;
    let guard = 0;
    for (const [row, place] of places.entries()) {
      const where = `${what}, row ${row}`;
      expectEqual(batch.addresses[row], BigInt(this.at(place.start)), where, "its address");
      expectEqual(batch.offsets[row], offset, where, "its place in memory");
      expectEqual(batch.lengths[row], place.length, where, "its length");
      expectSame(
        memory.subarray(guard, offset),
        before.subarray(guard, offset),
        `${where}: memory before it`,
      );
      guard = offset + place.length;
      const bytes = memory.subarray(offset, guard);
      if (batch.direction === "read") {
        this.check(place, answerOf(batch, row), bytes, where);
      } else {
        this.#checkHoles(place, answerOf(batch, row), where);
        expectSame(bytes, before.subarray(offset, guard), `${where}: the caller's bytes`);
      }
      offset += place.length + GUARD;
    }
    expectSame(memory.subarray(guard), before.subarray(guard), `${what}: memory behind the last row`);
  }
}

/** What a row's status says is missing. */
export function answerOf(batch: Batch, row: number): PlainHole[] {
  const status = batch.status[row] as number;
  if (status === 0) return [];
  if (status === ROW_PARTIAL) {
    return batch.faults
      .filter((entry) => entry.row === row)
      .map(({ start, end, fault }) => ({ start, end, state: faultState(fault) }));
  }
  if (status === ROW_UNANSWERED) throw new Error(`row ${row} has no answer`);
  if (status < 0) throw new Error(`row ${row} has the status ${status}, which is none`);
  return [{ start: 0, end: batch.lengths[row] as number, state: faultState(status) }];
}

/** Sorted, with those joined that touch and have one state. */
export function mergeHoles(holes: readonly PlainHole[]): PlainHole[] {
  const merged: { start: number; end: number; state: FaultState }[] = [];
  for (const { start, end, state } of [...holes].sort((a, b) => a.start - b.start)) {
    const last = merged[merged.length - 1];
    if (last !== undefined && last.state === state && start <= last.end) last.end = Math.max(last.end, end);
    else merged.push({ start, end, state });
  }
  return merged;
}

function expectEqual(actual: unknown, expected: unknown, where: string, what: string): void {
  if (actual !== expected) expect(actual, `${where}: ${what}`).toBe(expected);
}

/** Fails where the two differ, naming the first byte that does. */
export function expectSame(actual: Uint8Array, expected: Uint8Array, what: string): void {
  let at = 0;
  while (at < expected.length && actual[at] === expected[at]) at++;
  if (at === expected.length && actual.length === expected.length) return;
  expect({ at, byte: actual[at], length: actual.length }, `${what}: the first byte that differs`).toEqual({
    at: expected.length,
    byte: expected[at],
    length: expected.length,
  });
}

/** Some turns of the event loop. */
export function pause(milliseconds = 20): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
