/**
 * `IoSequence<T>`: many results, without colour. `for await (… of seq)`, `for (… of seq.sync())`,
 * `yield* seq.toArray()`, or item by item in a routine through a cursor.
 */
import { MemtoolError } from "./errors.js";
import { Io } from "./io.js";
import type { Scheduler } from "./scheduler.js";
import type { Routine, Wait, Waker } from "./wait.js";

/** What a sequence's routine hands its items to: `yield sink.emit(item)`. */
export class Sink<T> implements Wait {
  /** @internal */
  item: T | undefined;

  /** Gives an item to whoever consumes the sequence; yield what this returns. */
  emit(item: T): Wait {
    this.item = item;
    return this;
  }

  /** A sink is not waited for: the cursor takes its item. */
  park(_waker: Waker): boolean {
    return false;
  }
}

// biome-ignore lint/suspicious/noExplicitAny: arguments of any routine; `IoSequence.of` ties them to it.
type AnySequence = (sink: Sink<any>, ...args: any[]) => Routine<void>;

/** The state of one pass over a sequence. */
export class SequenceCursor<T> {
  readonly #scheduler: Scheduler;
  readonly #sink: Sink<T>;
  readonly #routine: Routine<void>;
  #ended = false;
  #busy = false;

  /** @internal */
  constructor(scheduler: Scheduler, sink: Sink<T>, routine: Routine<void>) {
    this.#scheduler = scheduler;
    this.#sink = sink;
    this.#routine = routine;
  }

  /** The next item, or `done`. */
  next(): Io<IteratorResult<T, undefined>> {
    return Io.of(this.#scheduler, nextRoutine<T>, this as SequenceCursor<T>);
  }

  /** As `end`, for callers that can't wait: `finally` blocks run up to where one waits. */
  close(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#routine.return();
  }

  /** Ends the pass early; the routine's `finally` blocks run, and what they wait for is waited for. */
  end(): Io<void> {
    return Io.of(this.#scheduler, endRoutine<T>, this as SequenceCursor<T>);
  }

  /** @internal */
  *finish(): Routine<void> {
    if (this.#ended) return;
    this.#ended = true;
    let result = this.#routine.return();
    while (result.done !== true) {
      // Items that a `finally` emits have no taker.
      try {
        if (result.value !== this.#sink) yield result.value;
      } catch (error) {
        result = this.#routine.throw(error);
        continue;
      }
      result = this.#routine.next();
    }
  }

  /** @internal */
  *advance(): Routine<IteratorResult<T, undefined>> {
    this.#enter();
    try {
      let wait = this.#step(undefined);
      while (wait !== undefined) {
        let failure: { error: unknown } | undefined;
        try {
          yield wait;
        } catch (error) {
          failure = { error };
        }
        wait = this.#step(failure);
      }
    } finally {
      this.#busy = false;
    }
    return this.#taken();
  }

  /** As `next().sync()`, without anything made for each item but the result. @internal */
  nextSync(): IteratorResult<T, undefined> {
    this.#enter();
    const scheduler = this.#scheduler;
    scheduler.enterSync();
    try {
      scheduler.makeRoom();
      let wait = this.#step(undefined);
      while (wait !== undefined) {
        let failure: { error: unknown } | undefined;
        try {
          scheduler.waitSync(wait);
        } catch (error) {
          failure = { error };
        }
        wait = this.#step(failure);
      }
    } finally {
      this.#busy = false;
      scheduler.leaveSync();
    }
    return this.#taken();
  }

  /** Whether there is nothing left to end. @internal */
  get ended(): boolean {
    return this.#ended;
  }

  #enter(): void {
    if (this.#busy) {
      throw new MemtoolError("CURSOR_BUSY", "another next() of this cursor is under way: wait for it first");
    }
    this.#busy = true;
  }

  /** Runs on to the next item, or to the end: `undefined`. Else what is to be waited for. */
  #step(failure: { readonly error: unknown } | undefined): Wait | undefined {
    if (this.#ended) return undefined;
    let result: IteratorResult<Wait, void>;
    try {
      result = failure === undefined ? this.#routine.next() : this.#routine.throw(failure.error);
    } catch (error) {
      this.#ended = true;
      throw error;
    }
    if (result.done === true) this.#ended = true;
    return result.done === true || result.value === this.#sink ? undefined : result.value;
  }

  #taken(): IteratorResult<T, undefined> {
    if (this.#ended) return { done: true, value: undefined };
    const value = this.#sink.item as T;
    this.#sink.item = undefined;
    return { done: false, value };
  }
}

function nextRoutine<T>(cursor: SequenceCursor<T>): Routine<IteratorResult<T, undefined>> {
  return cursor.advance();
}

function endRoutine<T>(cursor: SequenceCursor<T>): Routine<void> {
  return cursor.finish();
}

/** A synchronous pass. (A generator would cost more than the items of a short sequence do.) */
class SyncPass<T> implements IterableIterator<T, undefined> {
  readonly #cursor: SequenceCursor<T>;

  constructor(cursor: SequenceCursor<T>) {
    this.#cursor = cursor;
  }

  next(): IteratorResult<T, undefined> {
    return this.#cursor.nextSync();
  }

  return(): IteratorResult<T, undefined> {
    if (!this.#cursor.ended) this.#cursor.end().sync();
    return { done: true, value: undefined };
  }

  throw(error: unknown): never {
    this.return();
    throw error;
  }

  [Symbol.iterator](): this {
    return this;
  }
}

/** A lazy sequence; each pass over it runs its routine anew. */
export class IoSequence<T> implements AsyncIterable<T> {
  readonly scheduler: Scheduler;
  readonly #routine: AnySequence;
  readonly #args: readonly unknown[];

  private constructor(scheduler: Scheduler, routine: AnySequence, args: readonly unknown[]) {
    this.scheduler = scheduler;
    this.#routine = routine;
    this.#args = args;
  }

  /** A sequence of what `routine(sink, ...args)` emits. */
  static of<T, A extends readonly unknown[]>(
    scheduler: Scheduler,
    routine: (sink: Sink<T>, ...args: A) => Routine<void>,
    ...args: A
  ): IoSequence<T> {
    return new IoSequence<T>(scheduler, routine as AnySequence, args);
  }

  /** Begins a pass. */
  cursor(): SequenceCursor<T> {
    const sink = new Sink<T>();
    return new SequenceCursor<T>(this.scheduler, sink, this.#routine(sink, ...this.#args));
  }

  /** Asynchronously, item by item. */
  [Symbol.asyncIterator](): AsyncIterator<T, undefined> {
    const cursor = this.cursor();
    // One after the other, as an async generator's: consumers may ask for several items at once.
    let last: Promise<unknown> | undefined;
    const queued = <R>(run: () => Promise<R>): Promise<R> => {
      const result = last === undefined ? run() : last.then(run, run);
      last = result;
      const forget = () => {
        if (last === result) last = undefined;
      };
      result.then(forget, forget);
      return result;
    };
    return {
      next: () => queued(() => cursor.next().promise()),
      return: () => queued(() => cursor.end().promise()).then(() => ({ done: true, value: undefined })),
    };
  }

  /** Synchronously, item by item. */
  sync(): IterableIterator<T, undefined> {
    return new SyncPass(this.cursor());
  }

  /** Every item. */
  toArray(): Io<T[]> {
    return Io.of(this.scheduler, toArrayRoutine<T>, this as IoSequence<T>);
  }

  /** Each item through `convert`. */
  map<R>(convert: (item: T) => R): IoSequence<R> {
    return IoSequence.of(this.scheduler, mapSequence<T, R>, this as IoSequence<T>, convert);
  }
}

function* toArrayRoutine<T>(sequence: IoSequence<T>): Routine<T[]> {
  const items: T[] = [];
  const cursor = sequence.cursor();
  try {
    for (;;) {
      const result = yield* cursor.advance();
      if (result.done === true) return items;
      items.push(result.value);
    }
  } finally {
    yield* cursor.finish();
  }
}

function* mapSequence<T, R>(sink: Sink<R>, sequence: IoSequence<T>, convert: (item: T) => R): Routine<void> {
  const cursor = sequence.cursor();
  try {
    for (;;) {
      const result = yield* cursor.advance();
      if (result.done === true) return;
      yield sink.emit(convert(result.value));
    }
  } finally {
    yield* cursor.finish();
  }
}
