/**
 * Where buffers of JavaScript's lie, for calls that move bytes straight to their place. To ask costs a foreign call (6 to
 * 10 µs), which small buffers are not worth.
 */
import { addressOf, type Ffi } from "./ffi.js";

/** Of buffers from this size on it is worth the call to know where they lie. */
const MIN_BUFFER = 2 ** 18;

/** See the module's comment. */
export class MemoryBases {
  readonly #ffi: Ffi;
  /** By buffer; 0 of one whose address can't be had. A buffer stays where it is, or is detached and empty. */
  readonly #known = new WeakMap<ArrayBufferLike, number>();
  #last: Uint8Array | undefined;
  #lastBase = 0;

  constructor(ffi: Ffi) {
    this.#ffi = ffi;
  }

  /** Address of the first byte of `memory`, or 0 if it is not to be used. */
  of(memory: Uint8Array): number {
    if (memory === this.#last) return this.#lastBase;
    const { buffer } = memory;
    if (buffer.byteLength < MIN_BUFFER) return 0;
    let base = this.#known.get(buffer);
    if (base === undefined) {
      base = this.#ask(buffer);
      this.#known.set(buffer, base);
    }
    this.#last = memory;
    this.#lastBase = base === 0 ? 0 : base + memory.byteOffset;
    return this.#lastBase;
  }

  /** Holds on to nobody's memory: call it when a batch is done. */
  forgetLast(): void {
    this.#last = undefined;
  }

  #ask(buffer: ArrayBufferLike): number {
    try {
      return Number(addressOf(this.#ffi, new Uint8Array(buffer)));
    } catch {
      return 0;
    }
  }
}
