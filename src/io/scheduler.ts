/**
 * Drives routines, and decides when queued I/O is sent.
 *
 * Asynchronously, the flush is deferred until some microtasks in a row added nothing, so that operations started in
 * the same turn travel as one batch. Synchronously (`.sync()`), it flushes as soon as nothing else can run. There is
 * one scheduler for each `open`; layers and sources of that machine share it.
 */
import { WouldBlockError } from "./errors.js";
import { Fifo } from "./fifo.js";
import { type Running, type Step, Task } from "./task.js";
import type { Routine } from "./wait.js";

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

/** Schedulers with ready routines or unsent work: a synchronous drive may need another machine's bytes as well. */
const busy = new Set<Scheduler>();

/** See the module's comment. */
export class Scheduler {
  readonly highWaterMark: number;
  readonly #quietTurns: number;
  readonly #afterTurn: ((run: () => void) => void) | undefined;
  readonly #ready = new Fifo<Step>();
  #unsent: Drain[] = [];
  /** What a flush under way has not reached yet; one from within it takes over from here. */
  readonly #flushing: Drain[] = [];
  /** Drains with rows in flight on this thread's event loop. */
  readonly #inFlight = new Set<Drain>();
  readonly #admission = new Fifo<Step>();
  #pending = 0;
  /** Changes with every new piece of work; the deferral watches it. */
  #activity = 0;
  #armed = false;
  #syncDepth = 0;
  #running = false;

  constructor(options: SchedulerOptions = {}) {
    this.highWaterMark = options.highWaterMark ?? HIGH_WATER_MARK;
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

  /** Operations that wait to be admitted. */
  get waiting(): number {
    return this.#admission.length;
  }

  /**
   * Starts a routine asynchronously, now, or once there is room (see `highWaterMark`).
   * Exactly one of the callbacks is called, once; never before `start` returns unless the routine never waits.
   */
  start<T>(routine: Routine<T>, onDone: (value: T) => void, onFailed: (error: unknown) => void): Running {
    const task = new Task(this, routine, onDone, onFailed);
    // Nobody overtakes: of two writes, the one that was started last counts.
    if (this.full || this.#admission.length !== 0) {
      this.#admission.push(task);
      this.#wantTurn();
      return task;
    }
    this.#activity++;
    task.step();
    return task;
  }

  /**
   * Runs a routine to its end on this stack, flushing as needed. Nests.
   *
   * @throws what the routine throws; {@link WouldBlockError} (through the routine) if only the event loop could go on.
   */
  runSync<T>(routine: Routine<T>): T {
    let value: T | undefined;
    let error: unknown;
    let failed = false;
    const task = new Task<T>(
      this,
      routine,
      (result) => {
        value = result;
      },
      (thrown) => {
        failed = true;
        error = thrown;
      },
    );
    this.#syncDepth++;
    try {
      while (this.full && this.#drainOnce());
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
      this.#syncDepth--;
      if (this.#syncDepth === 0) this.#rest();
    }
    if (failed) throw error;
    return value as T;
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

  /** Arms a turn if there is work; else leaves the set of those that a synchronous drive asks. */
  #rest(): void {
    if (this.#hasWork()) this.#wantTurn();
    else if (!this.#armed && this.#inFlight.size === 0) busy.delete(this);
  }

  /** Sees to it that a turn of the event loop will run and flush. */
  #wantTurn(): void {
    busy.add(this);
    if (this.#armed || this.#syncDepth !== 0) return;
    this.#armed = true;
    let seen = this.#activity;
    let quiet = 0;
    const turn = () => {
      let over = true;
      let armed = true;
      try {
        this.run();
        if (this.#activity !== seen) {
          seen = this.#activity;
          quiet = 0;
        } else {
          quiet++;
        }
        over = this.#afterTurn !== undefined || quiet >= this.#quietTurns;
        if (!over) {
          void Promise.resolve().then(turn);
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
    };
    if (this.#afterTurn === undefined) void Promise.resolve().then(turn);
    else this.#afterTurn(turn);
  }

  #flush(sync: boolean): boolean {
    const flushing = this.#flushing;
    for (const drain of this.#unsent) flushing.push(drain);
    this.#unsent = [];
    const later: Drain[] = [];
    let any = false;
    try {
      for (let drain = flushing.shift(); drain !== undefined; drain = flushing.shift()) {
        if (drain.flush(sync)) any = true;
        else later.push(drain);
      }
    } finally {
      for (const drain of later) this.#unsent.push(drain);
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
