/** `--limit`. */

/** So many hits at most, over all places that are searched. */
export class Limit {
  #left: number;

  constructor(most: number) {
    this.#left = most;
  }

  get isReached(): boolean {
    return this.#left === 0;
  }

  over<T>(hits: AsyncIterable<T>): AsyncIterable<T> {
    return this.#left === Number.POSITIVE_INFINITY ? hits : this.#first(hits);
  }

  async *#first<T>(hits: AsyncIterable<T>): AsyncGenerator<T, void, void> {
    for await (const hit of hits) {
      this.#left--;
      yield hit;
      if (this.#left === 0) return;
    }
  }
}
