/** Numbers with a rank each, of which the one with the lowest rank is at hand: a binary heap. */
export class BestFirst {
  readonly #items: number[] = [];
  readonly #ranks: number[] = [];

  /** The item of the lowest rank. */
  get first(): number | undefined {
    return this.#items[0];
  }

  add(item: number, rank: number): void {
    let at = this.#items.length;
    while (at > 0) {
      const above = (at - 1) >> 1;
      if ((this.#ranks[above] as number) <= rank) break;
      this.#put(at, above);
      at = above;
    }
    this.#items[at] = item;
    this.#ranks[at] = rank;
  }

  /** Takes the first one out. */
  drop(): void {
    const item = this.#items.pop();
    const rank = this.#ranks.pop();
    const { length } = this.#items;
    if (item === undefined || rank === undefined || length === 0) return;
    let at = 0;
    for (;;) {
      let below = 2 * at + 1;
      if (below >= length) break;
      if (below + 1 < length && (this.#ranks[below + 1] as number) < (this.#ranks[below] as number)) below++;
      if ((this.#ranks[below] as number) >= rank) break;
      this.#put(at, below);
      at = below;
    }
    this.#items[at] = item;
    this.#ranks[at] = rank;
  }

  #put(at: number, from: number): void {
    this.#items[at] = this.#items[from] as number;
    this.#ranks[at] = this.#ranks[from] as number;
  }
}
