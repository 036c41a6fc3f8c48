/** A page bitmap that is written ascending, in bounded memory. */
import type { DumpSink } from "./sink.js";

/** Bytes that are written at once. */
const PIECE = 65_536;
const PIECE_BITS = PIECE * 8;

/** Bits are numbered from the least significant one of the first byte. What is never set is not written: zeros. */
export class BitmapStream {
  readonly #sink: DumpSink;
  readonly #at: number;
  readonly #length: number;
  #bytes = new Uint8Array(PIECE);
  #piece = 0;
  #dirty = false;
  /** Bits that were set. */
  count = 0;

  /** @param at File offset of its first byte. @param length Its bytes: behind them is something else. */
  constructor(sink: DumpSink, at: number, length: number) {
    this.#sink = sink;
    this.#at = at;
    this.#length = length;
  }

  /** Sets the bits from `from` to `to` (exclusive); none before `from` may have been, or will be set. */
  set(from: number, to: number): void {
    this.count += to - from;
    for (let bit = from; bit < to; ) {
      const piece = Math.floor(bit / PIECE_BITS);
      if (piece !== this.#piece) this.#goTo(piece);
      const first = piece * PIECE_BITS;
      const stop = Math.min(to, first + PIECE_BITS);
      this.#dirty = true;
      this.#setInPiece(bit - first, stop - first);
      bit = stop;
    }
  }

  #setInPiece(from: number, to: number): void {
    const bytes = this.#bytes;
    let bit = from;
    for (; bit < to && (bit & 7) !== 0; bit++) (bytes[bit >>> 3] as number) |= 1 << (bit & 7);
    const whole = to >>> 3;
    if (bit >>> 3 < whole) {
      bytes.fill(0xff, bit >>> 3, whole);
      bit = whole * 8;
    }
    for (; bit < to; bit++) (bytes[bit >>> 3] as number) |= 1 << (bit & 7);
  }

  #goTo(piece: number): void {
    this.finish();
    this.#piece = piece;
  }

  /** Hands over to the sink what has been set. */
  finish(): void {
    if (!this.#dirty) return;
    const start = this.#piece * PIECE;
    this.#sink.write(this.#at + start, this.#bytes.subarray(0, Math.min(PIECE, this.#length - start)));
    // Memory of the sink's from now on.
    this.#bytes = new Uint8Array(PIECE);
    this.#dirty = false;
  }
}
