/** A bounded store of equally large blocks in one flat piece of memory, keyed by number; the clock evicts. */
import { copyBytes } from "../../io/copy.hot.js";

const FIRST_SLOTS = 16;

/** See the module's comment. */
export class PageStore {
  readonly blockSize: number;
  readonly #maxSlots: number;
  /** The blocks, one after another. Replaced when the store grows: read it anew after each `put`. */
  memory = new Uint8Array(0);
  readonly #slots = new Map<number, number>();
  #keys = new Float64Array(0);
  #used = new Uint8Array(0);
  #count = 0;
  #hand = 0;

  /** @param bytes What it may hold at most; less than one block: nothing. */
  constructor(blockSize: number, bytes: number) {
    this.blockSize = blockSize;
    this.#maxSlots = Math.floor(bytes / blockSize);
  }

  /** Number of blocks held. */
  get count(): number {
    return this.#count;
  }

  /** Where in `memory` the block of `key` begins; -1 if it is not held. */
  find(key: number): number {
    const slot = this.#slots.get(key);
    if (slot === undefined) return -1;
    this.#used[slot] = 1;
    return slot * this.blockSize;
  }

  /** Copies a block in, `bytes` at most `blockSize` long. */
  put(key: number, bytes: Uint8Array): void {
    if (this.#maxSlots === 0 || this.#slots.has(key)) return;
    const slot = this.#count < this.#maxSlots ? this.#newSlot() : this.#evict();
    this.#slots.set(key, slot);
    this.#keys[slot] = key;
    copyBytes(bytes, 0, this.memory, slot * this.blockSize, bytes.length);
  }

  #newSlot(): number {
    const slot = this.#count;
    if (slot === this.#keys.length) {
      const slots = Math.min(this.#maxSlots, Math.max(FIRST_SLOTS, slot * 2));
      const memory = new Uint8Array(slots * this.blockSize);
      memory.set(this.memory);
      this.memory = memory;
      const keys = new Float64Array(slots);
      keys.set(this.#keys);
      this.#keys = keys;
      const used = new Uint8Array(slots);
      used.set(this.#used);
      this.#used = used;
    }
    this.#count++;
    return slot;
  }

  #evict(): number {
    for (;;) {
      const slot = this.#hand;
      this.#hand = slot + 1 === this.#count ? 0 : slot + 1;
      if (this.#used[slot] === 0) {
        this.#slots.delete(this.#keys[slot] as number);
        return slot;
      }
      this.#used[slot] = 0;
    }
  }
}
