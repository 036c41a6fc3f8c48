/**
 * `Io<T>`: an operation without colour. It has not started; the caller chooses how it is driven, once:
 * awaited, with `.sync()`, or with `yield*` inside a routine.
 */
import { MemtoolError } from "./errors.js";
import { defaultScheduler, type Scheduler } from "./scheduler.js";
import type { Running } from "./task.js";
import { Countdown, type Routine, type Wait } from "./wait.js";

// biome-ignore lint/suspicious/noExplicitAny: arguments of any routine; the constructor's signature ties them to it.
type AnyRoutine = (...args: any[]) => Routine<unknown>;

/**
 * One operation, lazy and driven once.
 *
 * @example
 * await memory.read(u32, 0n);          // asynchronously
 * memory.read(u32, 0n).sync();         // synchronously, no promise anywhere
 * yield* memory.read(u32, 0n);         // in a routine, whoever drives that
 */
export class Io<T> implements PromiseLike<T> {
  readonly scheduler: Scheduler;
  readonly #routine: AnyRoutine;
  readonly #a: unknown;
  readonly #b: unknown;
  readonly #c: unknown;
  readonly #d: unknown;
  readonly #e: unknown;
  #driven = false;

  /** Use {@link Io.of}, whose types tie the arguments to the routine. */
  private constructor(
    scheduler: Scheduler,
    routine: AnyRoutine,
    a: unknown,
    b: unknown,
    c: unknown,
    d: unknown,
    e: unknown,
  ) {
    this.scheduler = scheduler;
    this.#routine = routine;
    this.#a = a;
    this.#b = b;
    this.#c = c;
    this.#d = d;
    this.#e = e;
  }

  /**
   * An operation that runs `routine(...args)` when it is driven.
   *
   * @param routine A *static* generator function. (One made anew for each operation costs twenty times as much.)
   */
  static of<T>(scheduler: Scheduler, routine: () => Routine<T>): Io<T>;
  static of<T, A>(scheduler: Scheduler, routine: (a: A) => Routine<T>, a: A): Io<T>;
  static of<T, A, B>(scheduler: Scheduler, routine: (a: A, b: B) => Routine<T>, a: A, b: B): Io<T>;
  static of<T, A, B, C>(
    scheduler: Scheduler,
    routine: (a: A, b: B, c: C) => Routine<T>,
    a: A,
    b: B,
    c: C,
  ): Io<T>;
  static of<T, A, B, C, D>(
    scheduler: Scheduler,
    routine: (a: A, b: B, c: C, d: D) => Routine<T>,
    a: A,
    b: B,
    c: C,
    d: D,
  ): Io<T>;
  static of<T, A, B, C, D, E>(
    scheduler: Scheduler,
    routine: (a: A, b: B, c: C, d: D, e: E) => Routine<T>,
    a: A,
    b: B,
    c: C,
    d: D,
    e: E,
  ): Io<T>;
  static of(
    scheduler: Scheduler,
    routine: AnyRoutine,
    a?: unknown,
    b?: unknown,
    c?: unknown,
    d?: unknown,
    e?: unknown,
  ): Io<unknown> {
    return new Io<unknown>(scheduler, routine, a, b, c, d, e);
  }

  /** An operation that is over already. */
  static value<T>(value: T, scheduler: Scheduler = defaultScheduler): Io<T> {
    return Io.of(scheduler, valueRoutine<T>, value);
  }

  /** Starts it, to be driven by the caller. @throws {MemtoolError} `DRIVEN_TWICE` the second time. */
  #start(): Routine<T> {
    if (this.#driven) {
      throw new MemtoolError("DRIVEN_TWICE", "an Io is driven once: make a new one, or keep its promise()");
    }
    this.#driven = true;
    return this.#routine(this.#a, this.#b, this.#c, this.#d, this.#e) as Routine<T>;
  }

  /** Runs it to its end on this stack. @throws what it throws; `WouldBlockError` if it can't be finished here. */
  sync(): T {
    return this.scheduler.runSync(this.#start());
  }

  /** Runs it inside a routine. */
  [Symbol.iterator](): Routine<T> {
    return this.#start();
  }

  /** Starts it asynchronously. */
  promise(): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.scheduler.start(this.#start(), resolve, reject);
    });
  }

  // biome-ignore lint/suspicious/noThenProperty: awaiting an operation is what it is for.
  then<R = T, F = never>(
    onDone?: ((value: T) => R | PromiseLike<R>) | null,
    onFailed?: ((error: unknown) => F | PromiseLike<F>) | null,
  ): Promise<R | F> {
    return this.promise().then(onDone, onFailed);
  }

  /** As a promise's. */
  catch<F = never>(onFailed?: ((error: unknown) => F | PromiseLike<F>) | null): Promise<T | F> {
    return this.promise().catch(onFailed);
  }

  /** As a promise's. */
  finally(onEnd?: (() => void) | null): Promise<T> {
    return this.promise().finally(onEnd);
  }

  /** What `await` gives, as an operation that goes on: `convert` is called with the result. */
  map<R>(convert: (value: T) => R): Io<R> {
    return Io.of(this.scheduler, mapRoutine<T, R>, this as Io<T>, convert);
  }
}

// biome-ignore lint/correctness/useYield: a routine that never waits.
function* valueRoutine<T>(value: T): Routine<T> {
  return value;
}

function* mapRoutine<T, R>(io: Io<T>, convert: (value: T) => R): Routine<R> {
  return convert(yield* io);
}

/** The outcome of one of several operations. */
export type Settled<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly error: unknown };

/** The results of operations, in their order. */
export type Results<L extends readonly Io<unknown>[]> = {
  -readonly [K in keyof L]: L[K] extends Io<infer T> ? T : never;
};
/** The outcomes of operations, in their order. */
export type Outcomes<L extends readonly Io<unknown>[]> = {
  -readonly [K in keyof L]: L[K] extends Io<infer T> ? Settled<T> : never;
};

/**
 * Runs operations side by side, so that they batch. Starts no more than the scheduler admits at a time, settles every
 * one, and then throws the first error (in the list's order) if there was any.
 */
export function all<const L extends readonly Io<unknown>[]>(operations: L): Io<Results<L>> {
  return Io.of(schedulerOf(operations), allRoutine, operations) as Io<unknown> as Io<Results<L>>;
}

/** As {@link all}, but gives every outcome and throws nothing. */
export function settle<const L extends readonly Io<unknown>[]>(operations: L): Io<Outcomes<L>> {
  return Io.of(schedulerOf(operations), settleRoutine, operations) as Io<unknown> as Io<Outcomes<L>>;
}

function schedulerOf(operations: readonly Io<unknown>[]): Scheduler {
  return operations[0]?.scheduler ?? defaultScheduler;
}

function* settleRoutine(operations: readonly Io<unknown>[]): Routine<Settled<unknown>[]> {
  const outcomes = new Array<Settled<unknown>>(operations.length);
  const rest = new Countdown(operations.length);
  const running: Running[] = [];
  for (let i = 0; i < operations.length; i++) {
    const operation = operations[i] as Io<unknown>;
    const onFailed = (error: unknown) => {
      outcomes[i] = { ok: false, error };
      rest.done();
    };
    let routine: Routine<unknown>;
    try {
      routine = operation[Symbol.iterator]();
    } catch (error) {
      onFailed(error);
      continue;
    }
    const onDone = (value: unknown) => {
      outcomes[i] = { ok: true, value };
      rest.done();
    };
    running.push(operation.scheduler.start(routine, onDone, onFailed));
  }
  let why: { error: unknown } | undefined;
  try {
    yield rest as Wait;
    return outcomes;
  } catch (error) {
    why = { error };
    throw error;
  } finally {
    // What its parts would still bring must not land in memory that the caller has back.
    if (!rest.over) {
      const error =
        why === undefined
          ? new MemtoolError("GIVEN_UP", "an operation was given up with its sequence")
          : why.error;
      for (const each of running) each.giveUp(error);
    }
  }
}

function* allRoutine(operations: readonly Io<unknown>[]): Routine<unknown[]> {
  const outcomes = yield* settleRoutine(operations);
  const values = new Array<unknown>(outcomes.length);
  for (let i = 0; i < outcomes.length; i++) {
    const outcome = outcomes[i] as Settled<unknown>;
    if (!outcome.ok) throw outcome.error;
    values[i] = outcome.value;
  }
  return values;
}
