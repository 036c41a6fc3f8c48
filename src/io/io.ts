/**
 * `Io<T>`: an operation without colour. It has not started; the caller chooses how it is driven, once:
 * awaited, with `.sync()`, or with `yield*` inside a routine.
 *
 * There are two kinds: a routine (`Io.of`), and a request of one packet (`request.ts`), which needs no generator.
 */
import { MemtoolError } from "./errors.js";
import { defaultScheduler, type Scheduler } from "./scheduler.js";
import type { Receiver, Running } from "./task.js";
import { Countdown, type Routine, type Wait } from "./wait.js";

// biome-ignore lint/suspicious/noExplicitAny: arguments of any routine; the signature of `Io.of` ties them to it.
type Arguments = any[];
type AnyRoutine = (...args: Arguments) => Routine<unknown>;
type AnyAttempt = (...args: Arguments) => unknown;

/**
 * One operation, lazy and driven once.
 *
 * @example
 * await memory.read(u32, 0n);          // asynchronously
 * memory.read(u32, 0n).sync();         // synchronously, no promise anywhere
 * yield* memory.read(u32, 0n);         // in a routine, whoever drives that
 */
export abstract class Io<T> implements PromiseLike<T> {
  readonly scheduler: Scheduler;
  private driven = false;

  /** Use {@link Io.of}. @internal */
  constructor(scheduler: Scheduler) {
    this.scheduler = scheduler;
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
    return new RoutineIo<unknown>(scheduler, undefined, routine, a, b, c, d, e);
  }

  /**
   * As {@link Io.of}, for what can often be done at once: when it is driven, `attempt(...args)` gives the result, or
   * `undefined` if that would take I/O; then the routine runs from its start. An attempt must send nothing.
   */
  static quick<T extends object, A, B>(
    scheduler: Scheduler,
    attempt: (a: A, b: B) => T | undefined,
    routine: (a: A, b: B) => Routine<T>,
    a: A,
    b: B,
  ): Io<T> {
    return new RoutineIo<T>(scheduler, attempt, routine, a, b, undefined, undefined, undefined);
  }

  /** An operation that is over already. */
  static value<T>(value: T, scheduler: Scheduler = defaultScheduler): Io<T> {
    return Io.of(scheduler, valueRoutine<T>, value);
  }

  /** To be called when it is driven. @throws {MemtoolError} `DRIVEN_TWICE` the second time. @internal */
  protected claim(): void {
    if (this.driven) {
      throw new MemtoolError("DRIVEN_TWICE", "an Io is driven once: make a new one, or keep its promise()");
    }
    this.driven = true;
  }

  /** Runs it to its end on this stack. @throws what it throws; `WouldBlockError` if it can't be finished here. */
  abstract sync(): T;

  /** Runs it inside a routine. */
  abstract [Symbol.iterator](): Routine<T>;

  /** Starts it asynchronously, now or once there is room; tells the receiver, once, how it ended. @internal */
  abstract start(receiver: Receiver<T>, index: number): Running;

  /** Starts it asynchronously. */
  promise(): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.start(new Settler(resolve, reject), 0);
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

/** Settles a promise. */
class Settler<T> implements Receiver<T> {
  readonly done: (value: T) => void;
  readonly failed: (error: unknown) => void;

  constructor(resolve: (value: T) => void, reject: (error: unknown) => void) {
    this.done = resolve;
    this.failed = reject;
  }
}

/** What was started and is over. */
export const OVER: Running = { giveUp: () => {} };

/** An operation that is a routine, maybe with an attempt to do without it. */
class RoutineIo<T> extends Io<T> {
  private readonly attempt: AnyAttempt | undefined;
  private readonly routine: AnyRoutine;
  private readonly a: unknown;
  private readonly b: unknown;
  private readonly c: unknown;
  private readonly d: unknown;
  private readonly e: unknown;

  constructor(
    scheduler: Scheduler,
    attempt: AnyAttempt | undefined,
    routine: AnyRoutine,
    a: unknown,
    b: unknown,
    c: unknown,
    d: unknown,
    e: unknown,
  ) {
    super(scheduler);
    this.attempt = attempt;
    this.routine = routine;
    this.a = a;
    this.b = b;
    this.c = c;
    this.d = d;
    this.e = e;
  }

  /** The result, if it can be had at once. */
  private try(): T | undefined {
    return this.attempt === undefined ? undefined : (this.attempt(this.a, this.b) as T | undefined);
  }

  private run(): Routine<T> {
    return this.routine(this.a, this.b, this.c, this.d, this.e) as Routine<T>;
  }

  sync(): T {
    this.claim();
    const result = this.try();
    return result === undefined ? this.scheduler.runSync(this.run()) : result;
  }

  [Symbol.iterator](): Routine<T> {
    this.claim();
    return this.run();
  }

  start(receiver: Receiver<T>, index: number): Running {
    this.claim();
    const result = this.try();
    if (result === undefined) return this.scheduler.startFor(this.run(), receiver, index);
    receiver.done(result, index);
    return OVER;
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

/** Collects the ends of operations that run side by side. */
class Join implements Receiver<unknown> {
  readonly values: unknown[];
  /** What was thrown, by the operation's number. */
  errors: Map<number, unknown> | undefined = undefined;
  readonly rest: Countdown;

  constructor(count: number) {
    this.values = new Array<unknown>(count);
    this.rest = new Countdown(count);
  }

  done(value: unknown, index: number): void {
    this.values[index] = value;
    this.rest.done();
  }

  failed(error: unknown, index: number): void {
    // A hole in the array would be skipped by whoever maps it.
    this.values[index] = undefined;
    this.errors ??= new Map();
    this.errors.set(index, error);
    this.rest.done();
  }
}

function* joinRoutine(operations: readonly Io<unknown>[]): Routine<Join> {
  const join = new Join(operations.length);
  const { rest } = join;
  const running: Running[] = [];
  for (let i = 0; i < operations.length; i++) {
    try {
      const started = (operations[i] as Io<unknown>).start(join, i);
      if (started !== OVER) running.push(started);
    } catch (error) {
      join.failed(error, i);
    }
  }
  let why: { error: unknown } | undefined;
  try {
    yield rest as Wait;
    return join;
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

function* settleRoutine(operations: readonly Io<unknown>[]): Routine<Settled<unknown>[]> {
  const { values, errors } = yield* joinRoutine(operations);
  return values.map((value, i) =>
    errors?.has(i) === true ? { ok: false, error: errors.get(i) } : { ok: true, value },
  );
}

function* allRoutine(operations: readonly Io<unknown>[]): Routine<unknown[]> {
  const { values, errors } = yield* joinRoutine(operations);
  if (errors !== undefined) throw errors.get(Math.min(...errors.keys()));
  return values;
}
