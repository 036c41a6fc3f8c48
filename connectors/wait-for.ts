/** Waits of routines for what Node promises. */
import type { Routine, Wait, Waker } from "../src/io/index.js";

/** A promise that a routine waits for. One that is rejected is over too. */
class Settled implements Wait {
  #over = false;
  #waker: Waker | undefined;

  constructor(promise: Promise<unknown>) {
    const settle = () => {
      this.#over = true;
      this.#waker?.wake();
    };
    promise.then(settle, settle);
  }

  park(waker: Waker): boolean {
    if (this.#over) return false;
    this.#waker = waker;
    return true;
  }
}

/** What a promise gives. A routine that waits for one can't be driven synchronously. @throws what it is rejected with. */
export function* waitFor<T>(promise: Promise<T>): Routine<T> {
  let value: { readonly of: T } | undefined;
  let error: unknown;
  yield new Settled(
    promise.then(
      (of) => {
        value = { of };
      },
      (reason) => {
        error = reason;
      },
    ),
  );
  if (value === undefined) throw error;
  return value.of;
}
