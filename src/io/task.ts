/** A routine under way: it runs until it waits, is woken, and runs on when its turn comes. */
import type { Routine, Wait, Waker } from "./wait.js";

const DONE = 0;
const READY = 1;
const PARKED = 2;
const RUNNING = 3;

/** Something that the scheduler can run on. */
export interface Step {
  /** Goes on, if it still waits for its turn. */
  run(): void;
}

/** A routine that was started. */
export interface Running {
  /** Throws an error into it where it waits, or before it begins. For whoever started it and can't wait for its end. */
  giveUp(error: unknown): void;
}

/** What a routine waits with after it was given up once: the waker before it no longer counts. */
class Successor implements Waker {
  private readonly task: { woken(waker: Waker): void };

  constructor(task: { woken(waker: Waker): void }) {
    this.task = task;
  }

  wake(): void {
    this.task.woken(this);
  }
}

/** Is told, once, how an operation ended. */
export interface Receiver<T> {
  /** @param index The number that the receiver gave the operation when it was started. */
  done(value: T, index: number): void;
  failed(error: unknown, index: number): void;
}

/** Where tasks go that can go on. */
interface ReadyQueue {
  ready(step: Step): void;
}

/** A routine under way. */
export class Task<T> implements Waker, Running, Step {
  private readonly scheduler: ReadyQueue;
  private readonly routine: Routine<T>;
  private readonly receiver: Receiver<T>;
  private readonly index: number;
  private state = READY;
  private wakes = 0;
  private waker: Waker = this;

  constructor(scheduler: ReadyQueue, routine: Routine<T>, receiver: Receiver<T>, index: number) {
    this.scheduler = scheduler;
    this.routine = routine;
    this.receiver = receiver;
    this.index = index;
  }

  /** Whether it has ended, one way or the other. */
  get done(): boolean {
    return this.state === DONE;
  }

  /** Runs until the routine waits for something that is not over; `failure` is thrown into it first. */
  step(failure?: { readonly error: unknown }): void {
    this.state = RUNNING;
    let result: IteratorResult<Wait, T>;
    try {
      if (failure === undefined) {
        result = this.routine.next();
      } else {
        // What it waited for may end later: that must not look like the end of what it waits for next.
        this.waker = new Successor(this);
        result = this.routine.throw(failure.error);
      }
      while (result.done !== true) {
        const wakes = this.wakes;
        let parked: boolean;
        try {
          parked = result.value.park(this.waker);
        } catch (error) {
          result = this.routine.throw(error);
          continue;
        }
        // Parking itself may have made it happen (a wait that flushes).
        if (parked && this.wakes === wakes) {
          this.state = PARKED;
          return;
        }
        result = this.routine.next();
      }
    } catch (thrown) {
      this.state = DONE;
      this.receiver.failed(thrown, this.index);
      return;
    }
    this.state = DONE;
    this.receiver.done(result.value, this.index);
  }

  run(): void {
    if (this.state === READY) this.step();
  }

  giveUp(error: unknown): void {
    if (this.state === PARKED || this.state === READY) this.step({ error });
  }

  wake(): void {
    this.woken(this);
  }

  woken(waker: Waker): void {
    if (waker !== this.waker) return;
    this.wakes++;
    if (this.state !== PARKED) return;
    this.state = READY;
    this.scheduler.ready(this);
  }
}
