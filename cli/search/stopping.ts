/** Expressions that take too long: what was found before is shown, and the rest is not looked through. */
import { RegexTimeError } from "../../src/search/regex-matcher.js";
import type { Session } from "../session.js";

/** Ends a search where its expression takes too long, rather than to lose what it found. */
export class Stopping {
  readonly #session: Session;
  #error: RegexTimeError | undefined;

  constructor(session: Session) {
    this.#session = session;
  }

  get isStopped(): boolean {
    return this.#error !== undefined;
  }

  async *over<T>(hits: AsyncIterable<T>): AsyncGenerator<T, void, void> {
    try {
      yield* hits;
    } catch (error) {
      if (!(error instanceof RegexTimeError)) throw error;
      this.#error = error;
    }
  }

  /** Says why and where it ended. */
  report(): void {
    if (this.#error !== undefined)
      this.#session.warn(`${this.#error.message}. Nothing behind was searched (--from goes on elsewhere)`);
  }
}
