/** Where two physical memories differ, page by page, at the speed of reading both. */
import { all, IoSequence, type Routine, type Sink } from "../io/index.js";
import type { PhysicalMap } from "./physical-map.js";
import type { PhysicalMemory } from "./physical-memory.js";
import { sameBytes, sameWords } from "./same-words.hot.js";

const PAGE = 4096;
/** Bytes of each that are read at a time: what is compared is in the caches of a core still. */
const PIECE = 1 << 20;

/**
 * What is known of a range of two memories. `changed`: both have it, and it is not the same. `before`: only the first has it,
 * `after`: only the second; such pages are not compared. `neither`: both say that they have it, and neither can read it.
 */
export type ComparedState = "changed" | "before" | "after" | "neither";

/** Whole pages of one state, side by side; `end` is exclusive. (Where memory ends within a page, a part of one.) */
export interface ComparedRange {
  readonly start: number;
  readonly end: number;
  readonly state: ComparedState;
  /** Pages of 4 KiB that it touches. */
  readonly pages: number;
}

/** Options of {@link compareMemory}. */
export interface CompareMemoryOptions {
  /** Is told how many bytes were looked at, of how many. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  /** Is told, at the end, how many pages both have that are the same. */
  readonly onSame?: ((pages: number) => void) | undefined;
}

/**
 * The ranges of two physical memories that are not the same, ascending. What both have and is equal is left out, and so is what
 * neither has. Two pieces of memory are all that is held.
 *
 * @example
 * for await (const { start, end, state } of compareMemory(before.physical, after.physical)) console.log(state, start, end);
 */
export function compareMemory(
  before: PhysicalMemory,
  after: PhysicalMemory,
  options: CompareMemoryOptions = {},
): IoSequence<ComparedRange> {
  return IoSequence.of(before.scheduler, compareRoutine, before, after, options);
}

function* compareRoutine(
  sink: Sink<ComparedRange>,
  before: PhysicalMemory,
  after: PhysicalMemory,
  { onProgress, onSame }: CompareMemoryOptions,
): Routine<void> {
  const total = Math.max(before.map.end, after.map.end);
  const pieces = [new Piece(before), new Piece(after)] as const;
  const runs = new Runs();
  let same = 0;
  for (const { start, end, inBefore, inAfter } of segments(before.map, after.map)) {
    if (!inBefore || !inAfter) {
      const done = runs.add(start, end, inBefore ? "before" : "after");
      if (done !== undefined) yield sink.emit(done);
      continue;
    }
    for (let at = start; at < end; ) {
      const to = Math.min(end, at - (at % PIECE) + PIECE);
      yield* all([pieces[0].read(at, to), pieces[1].read(at, to)]);
      for (let page = at; page < to; ) {
        const next = Math.min(to, page - (page % PAGE) + PAGE);
        const state = pieces[0].stateBeside(pieces[1], page, next);
        if (state === "same") same++;
        else {
          const done = runs.add(page, next, state);
          if (done !== undefined) yield sink.emit(done);
        }
        page = next;
      }
      at = to;
      onProgress?.(at, total);
    }
  }
  const last = runs.end();
  if (last !== undefined) yield sink.emit(last);
  onSame?.(same);
}

/** A piece of one memory. */
class Piece {
  readonly #memory: PhysicalMemory;
  readonly #bytes = new Uint8Array(PIECE);
  readonly #words = new Int32Array(this.#bytes.buffer);
  #start = 0;
  #holes: readonly { readonly start: number; readonly end: number }[] = [];

  constructor(memory: PhysicalMemory) {
    this.#memory = memory;
  }

  read(start: number, end: number) {
    this.#start = start;
    return this.#memory.readPartial(start, this.#bytes.subarray(0, end - start)).map(({ holes }) => {
      this.#holes = holes;
      return holes;
    });
  }

  /** A page, or the part of one, compared with the same of another memory. */
  stateBeside(other: Piece, start: number, end: number): ComparedState | "same" {
    const from = start - this.#start;
    const to = end - this.#start;
    const mine = this.#has(from, to);
    const others = other.#has(from, to);
    if (!mine || !others) return mine ? "before" : others ? "after" : "neither";
    const isSame =
      (from | to) % 4 === 0
        ? sameWords(this.#words, other.#words, from / 4, to / 4)
        : sameBytes(this.#bytes, other.#bytes, from, to);
    return isSame ? "same" : "changed";
  }

  #has(from: number, to: number): boolean {
    return this.#holes.length === 0 || !this.#holes.some((hole) => hole.start < to && hole.end > from);
  }
}

/** Joins neighbours of one state. */
class Runs {
  #last: { start: number; end: number; state: ComparedState } | undefined;

  /** @returns the range before, if this one does not continue it. */
  add(start: number, end: number, state: ComparedState): ComparedRange | undefined {
    const last = this.#last;
    if (last !== undefined && last.end === start && last.state === state) {
      last.end = end;
      return undefined;
    }
    const done = this.end();
    this.#last = { start, end, state };
    return done;
  }

  end(): ComparedRange | undefined {
    const last = this.#last;
    if (last === undefined) return undefined;
    return { ...last, pages: Math.ceil(last.end / PAGE) - Math.floor(last.start / PAGE) };
  }
}

interface Segment {
  readonly start: number;
  readonly end: number;
  readonly inBefore: boolean;
  readonly inAfter: boolean;
}

/** What one map or the other says is present, in pieces in which neither changes. */
function* segments(before: PhysicalMap, after: PhysicalMap): Generator<Segment, void, void> {
  const first = present(before);
  const second = present(after);
  let a = first.next().value;
  let b = second.next().value;
  let at = 0;
  while (a !== undefined || b !== undefined) {
    const start = Math.max(at, Math.min(a?.start ?? Infinity, b?.start ?? Infinity));
    const inBefore = a !== undefined && a.start <= start;
    const inAfter = b !== undefined && b.start <= start;
    const end = Math.min(
      inBefore ? (a?.end as number) : (a?.start ?? Infinity),
      inAfter ? (b?.end as number) : (b?.start ?? Infinity),
    );
    yield { start, end, inBefore, inAfter };
    at = end;
    if (a !== undefined && a.end <= at) a = first.next().value;
    if (b !== undefined && b.end <= at) b = second.next().value;
  }
}

function* present(map: PhysicalMap): Generator<{ start: number; end: number }, undefined, void> {
  for (const { start, end, state } of map.ranges()) {
    if (state === "present" && end > start) yield { start, end };
  }
  return undefined;
}
