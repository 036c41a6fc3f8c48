/**
 * Drives routines, and decides when queued I/O is sent.
 *
 * Asynchronously, the flush is deferred until some microtasks in a row added nothing, so that operations started in
 * the same turn travel as one batch. Synchronously (`.sync()`), it flushes as soon as nothing else can run. There is
 * one scheduler for each `open`; layers and sources of that machine share it.
 */
import { WouldBlockError } from "./errors.js";
import { Fifo } from "./fifo.js";
import { type Receiver, type Running, type Step, Task } from "./task.js";
import type { Routine, Wait, Waker } from "./wait.js";

/** A layer with unsent work, known to its scheduler through `enqueue`. */
export interface Drain {
  /** Shown in `WouldBlockError`. */
  readonly name: string;
  /**
   * Sends everything that is unsent. `sync`: must answer before it returns if it can; what it can't send
   * synchronously stays queued, and it returns `false`.
   */
  flush(sync: boolean): boolean;
  /** Answers synchronously what was begun asynchronously, if it can; returns whether it answered anything. */
  reissue?(): boolean;
}

/** Options of a scheduler. */
export interface SchedulerOptions {
  /**
   * Rows queued or in flight at sources from which on new operations wait to start (default 65,536: one batch of
   * that many rows costs a few MiB of columns).
   */
  readonly highWaterMark?: number;
  /**
   * Microtasks in a row that must add nothing before a flush (default 4: tasks whose await depths differ by three
   * still travel together).
   */
  readonly quietTurns?: number;
  /** Runs a function after the current turn (such as `setImmediate`), instead of counting microtasks. */
  readonly afterTurn?: (run: () => void) => void;
}

const QUIET_TURNS = 4;
const HIGH_WATER_MARK = 65_536;

/**
 * Schedulers that may have ready routines or unsent work: a synchronous drive may need another machine's bytes as
 * well. Those that have none any more leave when the next one enters, since a drive of one read should not pay for it.
 */
const busy = new Set<Scheduler>();

const resolved = Promise.resolve();

/** Is told the end of a task by way of two functions. */
class Callbacks<T> implements Receiver<T> {
  readonly done: (value: T) => void;
  readonly failed: (error: unknown) => void;

  constructor(done: (value: T) => void, failed: (error: unknown) => void) {
    this.done = done;
    this.failed = failed;
  }
}

/** Keeps the end of a task for the drive that waits for it. */
class SyncOutcome<T> implements Receiver<T> {
  value: T | undefined = undefined;
  failure: { readonly error: unknown } | undefined = undefined;

  done(value: T): void {
    this.value = value;
  }

  failed(error: unknown): void {
    this.failure = { error };
  }
}

/** Notes that what a synchronous drive waits for has happened. */
class Flag implements Waker {
  up = false;

  wake(): void {
    this.up = true;
  }
}

/** See the module's comment. */
export class Scheduler {
  readonly highWaterMark: number;
  readonly #quietTurns: number;
  readonly #afterTurn: ((run: () => void) => void) | undefined;
  readonly #ready = new Fifo<Step>();
  readonly #unsent: Drain[] = [];
  /** What a flush under way has not reached yet; one from within it takes over from here. */
  readonly #flushing: Drain[] = [];
  /** Drains with rows in flight on this thread's event loop. */
  readonly #inFlight = new Set<Drain>();
  readonly #admission = new Fifo<Step>();
  #pending = 0;
  /** Changes with every new piece of work; the deferral watches it. */
  #activity = 0;
  #armed = false;
  /** While a turn is awaited: the activity last seen, and for how many microtasks it has been that. */
  #seen = 0;
  #quiet = 0;
  readonly #turn = () => this.#takeTurn();
  #syncDepth = 0;
  /** A turn was asked for during a synchronous drive; it needs one only for what that leaves behind. */
  #wanted = false;
  #running = false;
  /** Whether it is in the set of those that a synchronous drive asks. */
  #listed = false;

  constructor(options: SchedulerOptions = {}) {
    this.highWaterMark = options.highWaterMark ?? HIGH_WATER_MARK;
    if (!(this.highWaterMark >= 1)) {
      throw new RangeError(`high-water mark of ${this.highWaterMark} rows: nothing could ever start`);
    }
    this.#quietTurns = options.quietTurns ?? QUIET_TURNS;
    this.#afterTurn = options.afterTurn;
  }

  /** Rows queued or in flight at this scheduler's sources. */
  get pending(): number {
    return this.#pending;
  }

  /** Whether a new operation should wait before it starts. */
  get full(): boolean {
    return this.#pending >= this.highWaterMark;
  }

  /** Whether a synchronous drive is on this stack. Where none can be, one was cut off, and what it held is lost. @internal */
  get driving(): boolean {
    return this.#syncDepth !== 0;
  }

  /** Operations that wait to be admitted. */
  get waiting(): number {
    return this.#admission.length;
  }

  /**
   * Starts a routine asynchronously, now, or once there is room (see `highWaterMark`).
   * Exactly one of the callbacks is called, once; never before `start` returns unless the routine never waits.
   */
  start<T>(routine: Routine<T>, onDone: (value: T) => void, onFailed: (error: unknown) => void): Running {
    return this.startFor(routine, new Callbacks(onDone, onFailed), 0);
  }

  /** As `start`, for a receiver of many. @internal */
  startFor<T>(routine: Routine<T>, receiver: Receiver<T>, index: number): Running {
    const task = new Task(this, routine, receiver, index);
    if (!this.admits()) {
      this.queue(task);
    } else {
      this.#activity++;
      task.step();
    }
    return task;
  }

  /**
   * Whether an operation may start now. Nobody overtakes: of two writes, the one that was started last counts.
   *
   * @internal
   */
  admits(): boolean {
    return this.#admission.length === 0 && !this.full;
  }

  /** Runs a step once there is room. @internal */
  queue(step: Step): void {
    this.#admission.push(step);
    this.#wantTurn();
  }

  /**
   * Runs a routine to its end on this stack, flushing as needed. Nests.
   *
   * @throws what the routine throws; {@link WouldBlockError} (through the routine) if only the event loop could go on.
   */
  runSync<T>(routine: Routine<T>): T {
    const outcome = new SyncOutcome<T>();
    const task = new Task<T>(this, routine, outcome, 0);
    this.#syncDepth++;
    try {
      this.makeRoom();
      task.step();
      while (!task.done) {
        try {
          if (drainAll(this)) continue;
        } catch (thrown) {
          task.step({ error: thrown });
          continue;
        }
        task.step({ error: new WouldBlockError(blockedNames(this)) });
      }
    } finally {
      this.leaveSync();
    }
    if (outcome.failure !== undefined) throw outcome.failure.error;
    return outcome.value as T;
  }

  /** What is sent from here on is driven on this stack, until `leaveSync`. @internal */
  enterSync(): void {
    this.#syncDepth++;
  }

  /** Flushes until there is room for an operation, if that can be had. @internal */
  makeRoom(): void {
    while (this.full && this.#drainOnce());
  }

  /** @internal */
  leaveSync(): void {
    this.#syncDepth--;
    if (this.#syncDepth === 0 && this.#wanted) this.#rest();
  }

  /**
   * Between `enterSync` and `leaveSync`: flushes until a wait is over.
   *
   * @throws {WouldBlockError} if only the event loop could go on; what a flush threw.
   * @internal
   */
  waitSync(wait: Wait): void {
    const flag = new Flag();
    if (!wait.park(flag)) return;
    while (!flag.up) {
      if (!drainAll(this)) throw new WouldBlockError(blockedNames(this));
    }
  }

  /** A layer has unsent work. It is flushed once and must enqueue itself again for more. */
  enqueue(drain: Drain): void {
    this.#unsent.push(drain);
    this.#activity++;
    this.#wantTurn();
  }

  /** Work was added to a layer that is enqueued already: the flush may wait for more. */
  noteActivity(): void {
    this.#activity++;
  }

  /** Rows were queued at a source. */
  addPending(rows: number): void {
    this.#pending += rows;
  }

  /** Rows were answered; operations that waited for room may start. */
  removePending(rows: number): void {
    this.#pending -= rows;
    if (this.#admission.length !== 0 && !this.full) this.#wantTurn();
  }

  /** A drain has begun, or ended, transfers that this thread's event loop will finish. */
  setInFlight(drain: Drain, inFlight: boolean): void {
    if (inFlight) {
      this.#inFlight.add(drain);
      if (!this.#listed) this.#list();
    } else {
      this.#inFlight.delete(drain);
      this.#rest();
    }
  }

  /** A parked task can go on. @internal */
  ready(task: Step): void {
    this.#ready.push(task);
    this.#wantTurn();
  }

  /** Runs what is ready. Called by sources when a transfer has ended. */
  run(): boolean {
    if (this.#running && this.#syncDepth === 0) return false;
    return this.#runReady();
  }

  #runReady(): boolean {
    if (this.#ready.length === 0 && this.#admission.length === 0) return false;
    const running = this.#running;
    this.#running = true;
    let any = false;
    try {
      for (;;) {
        const task = this.#ready.shift() ?? this.#admit();
        if (task === undefined) return any;
        any = true;
        task.run();
      }
    } finally {
      this.#running = running;
    }
  }

  #admit(): Step | undefined {
    if (this.#admission.length === 0 || this.full) return undefined;
    this.#activity++;
    return this.#admission.shift();
  }

  #hasWork(): boolean {
    return (
      this.#ready.length !== 0 ||
      this.#unsent.length !== 0 ||
      this.#flushing.length !== 0 ||
      (this.#admission.length !== 0 && !this.full)
    );
  }

  /** Arms a turn if there is work. */
  #rest(): void {
    this.#wanted = false;
    if (this.#hasWork()) this.#wantTurn();
  }

  get #idle(): boolean {
    return !this.#armed && this.#syncDepth === 0 && this.#inFlight.size === 0 && !this.#hasWork();
  }

  #list(): void {
    for (const other of busy) {
      if (!other.#idle) continue;
      other.#listed = false;
      busy.delete(other);
    }
    this.#listed = true;
    busy.add(this);
  }

  /** Sees to it that a turn of the event loop will run and flush. */
  #wantTurn(): void {
    if (!this.#listed) this.#list();
    if (this.#syncDepth !== 0) this.#wanted = true;
    if (this.#armed || this.#syncDepth !== 0) return;
    this.#armed = true;
    this.#seen = this.#activity;
    this.#quiet = 0;
    if (this.#afterTurn === undefined) void resolved.then(this.#turn);
    else this.#afterTurn(this.#turn);
  }

  #takeTurn(): void {
    let over = true;
    let armed = true;
    try {
      this.run();
      if (this.#activity !== this.#seen) {
        this.#seen = this.#activity;
        this.#quiet = 0;
      } else {
        this.#quiet++;
      }
      over = this.#afterTurn !== undefined || this.#quiet >= this.#quietTurns;
      if (!over) {
        void resolved.then(this.#turn);
        return;
      }
      this.#armed = false;
      armed = false;
      this.#flush(false);
      this.run();
    } finally {
      // Also after a callback that threw: the others must not hang for it.
      if (over) {
        if (armed) this.#armed = false;
        this.#rest();
      }
    }
  }

  #flush(sync: boolean): boolean {
    if (this.#unsent.length === 0 && this.#flushing.length === 0) return false;
    const flushing = this.#flushing;
    for (let drain = this.#unsent.shift(); drain !== undefined; drain = this.#unsent.shift())
      flushing.push(drain);
    let later: Drain[] | undefined;
    let any = false;
    try {
      for (let drain = flushing.shift(); drain !== undefined; drain = flushing.shift()) {
        if (drain.flush(sync)) {
          any = true;
        } else {
          later ??= [];
          later.push(drain);
        }
      }
    } finally {
      if (later !== undefined) for (const drain of later) this.#unsent.push(drain);
    }
    return any;
  }

  /** One round of synchronous progress; whether there was any. @internal */
  #drainOnce(): boolean {
    if (this.#runReady()) return true;
    if (this.#flush(true)) return true;
    for (const drain of this.#inFlight) {
      if (drain.reissue?.() === true) return true;
    }
    return false;
  }

  /** @internal */
  static drain(scheduler: Scheduler): boolean {
    return scheduler.#drainOnce();
  }

  /** Names of what could not be drained synchronously. @internal */
  get blocked(): string[] {
    return [...new Set([...this.#unsent, ...this.#inFlight].map((drain) => drain.name))];
  }
}

function drainAll(own: Scheduler): boolean {
  if (Scheduler.drain(own)) return true;
  for (const other of busy) {
    if (other !== own && Scheduler.drain(other)) return true;
  }
  return false;
}

function blockedNames(own: Scheduler): string[] {
  return own.blocked.length > 0 ? own.blocked : [...busy].flatMap((other) => other.blocked);
}

/** The scheduler of layers that were given none. */
export const defaultScheduler = new Scheduler();
