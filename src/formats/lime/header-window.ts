/**
 * Small structures that are strewn over a file, each saying where the next one is: they are read one after the other, in
 * windows. Where they lie far apart, a window holds little more than one; where they turn out close, many at once.
 */
import type { Routine } from "../../io/index.js";
import { FormatError } from "../errors.js";
import { readStructure } from "../fields.js";
import type { DumpFile } from "../types.js";

/** About what a read of a few bytes costs anyway. */
const SMALL = 512;
/** Where structures lie close together. */
const LARGE = 65_536;
/** Structures on average closer together than this are read many at once. */
const CLOSE = LARGE / 16;
/** Steps after which the average counts. */
const ENOUGH = 16;

/** See the module's comment. */
export class HeaderWindow {
  /** What was read last. */
  bytes: Uint8Array = new Uint8Array(0);
  readonly #file: DumpFile;
  readonly #what: string;
  readonly #backward: boolean;
  /** File offset of `bytes`. */
  #at = 0;
  #last = -1;
  #steps = 0;
  #distance = 0;

  /** @param what For messages. @param backward The structures are visited from the last to the first. */
  constructor(file: DumpFile, what: string, backward = false) {
    this.#file = file;
    this.#what = what;
    this.#backward = backward;
  }

  /**
   * Sees to it that a structure, which the file must have room for, is in `bytes`.
   *
   * @returns where in `bytes` it begins.
   * @throws {FormatError} if it can't be read.
   */
  *load(at: number, length: number): Routine<number> {
    if (this.#last >= 0) {
      this.#steps++;
      this.#distance += Math.abs(at - this.#last);
    }
    this.#last = at;
    const index = at - this.#at;
    if (index >= 0 && index + length <= this.bytes.length) return index;
    const close = this.#steps >= ENOUGH && this.#distance / this.#steps < CLOSE;
    const size = Math.max(length, close ? LARGE : SMALL);
    const from = this.#backward ? Math.max(0, at + length - size) : at;
    const wanted = Math.min(size, this.#file.size - from);
    try {
      this.bytes = yield* readStructure(this.#file, from, wanted, this.#what);
      this.#at = from;
    } catch (error) {
      if (!(error instanceof FormatError) || wanted === length) throw error;
      // What could not be read may lie beside it.
      this.bytes = yield* readStructure(this.#file, at, length, this.#what);
      this.#at = at;
    }
    return at - this.#at;
  }

  /** The same, but -1 for one that can't be read: what lies before it can be, and so may what lies behind. */
  *tryLoad(at: number, length: number): Routine<number> {
    try {
      return yield* this.load(at, length);
    } catch (error) {
      if (error instanceof FormatError) return -1;
      throw error;
    }
  }
}
