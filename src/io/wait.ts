/**
 * What a routine waits for. A routine is a generator that yields `Wait`s; whoever drives it (the scheduler,
 * synchronously or not) parks it until the wait is over. The core knows nothing of how time passes.
 */

/** Gets told once that what it waits for has happened. */
export interface Waker {
  /** It has happened. Called at most once a `park`. */
  wake(): void;
}

/**
 * Wakes, whatever the waker throws: that must not keep others from being answered. It is the host's to report, as of a promise
 * that nobody awaits.
 */
export function wake(waker: Waker): void {
  try {
    waker.wake();
  } catch (error) {
    void Promise.reject(error);
  }
}

/** Something that a routine can wait for. */
export interface Wait {
  /**
   * Parks the waker until this is over.
   *
   * @returns `false` if it is over already (the waker is then not kept and not called), else `true`.
   */
  park(waker: Waker): boolean;
}

/** A resumable operation: yields what it waits for, returns its result, throws its error. */
export type Routine<T> = Generator<Wait, T, void>;

/** A wait for several things, each counted down once: the join of `all`, the end of a set of packets. */
export class Countdown implements Wait {
  #left: number;
  #waker: Waker | undefined;

  constructor(count: number) {
    this.#left = count;
  }

  /** Whether all are over. */
  get over(): boolean {
    return this.#left <= 0;
  }

  /** One of them is over. */
  done(): void {
    this.#left--;
    if (this.#left === 0) {
      const waker = this.#waker;
      this.#waker = undefined;
      waker?.wake();
    }
  }

  park(waker: Waker): boolean {
    if (this.#left <= 0) return false;
    this.#waker = waker;
    return true;
  }
}
