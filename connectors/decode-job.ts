/**
 * A job of the decode pool, in shared memory: compressed pages, who has claimed which, and the pages decompressed.
 *
 * Whoever takes part (the thread that asks and its helpers) claims `CLAIM` pages at a time with an atomic counter,
 * until none is left. So a helper that comes late, or not at all, costs nothing but its help.
 */
import type { CodecName, Decoder, Decoders } from "../src/formats/index.js";

const NEXT = 0;
const DONE = 1;
const ENTERED = 2;
const LEFT = 3;
const COUNT = 4;
const OUTPUT_LENGTH = 5;
const CODEC = 6;
const HEADER_WORDS = 8;

/** Pages claimed at a time: some 0.2 ms of work. */
const CLAIM = 16;
/** `NEXT` of a job that is over: no claim is below any `COUNT`, however many come. */
const CLOSED = 2 ** 30;
/**
 * Milliseconds without progress after which what helpers have claimed is not waited for: about what doing it again
 * costs. A helper whose processor is needed for other things may be gone for much longer.
 */
const PATIENCE = 0.3;

const CODECS: readonly CodecName[] = ["inflate", "lzo", "snappy", "zstd"];

/** The memory of one job after the other, for up to so many pages and bytes. */
export class DecodeJob {
  readonly memory: SharedArrayBuffer;
  readonly pages: number;
  /** Bytes of decompressed pages, and of compressed ones, that it has room for. */
  readonly bytes: number;
  /** The decompressed pages, one after the other. */
  readonly output: Uint8Array;
  /** Nonzero for each page of `output` that is valid by now; for whoever uses them, see `finish`. */
  readonly valid: Uint8Array;
  readonly #finished: Uint8Array;
  readonly #words: Int32Array;
  readonly #ends: Int32Array;
  readonly #input: Uint8Array;

  constructor(pages: number, bytes: number, memory?: SharedArrayBuffer) {
    this.pages = pages;
    this.bytes = bytes;
    const endsAt = HEADER_WORDS * 4;
    const validAt = endsAt + pages * 4;
    const inputAt = validAt + pages;
    this.memory = memory ?? new SharedArrayBuffer(inputAt + 2 * bytes);
    this.#words = new Int32Array(this.memory, 0, HEADER_WORDS);
    this.#ends = new Int32Array(this.memory, endsAt, pages);
    this.valid = new Uint8Array(this.memory, validAt, pages);
    // Only whoever made the job finishes it.
    this.#finished = new Uint8Array(memory === undefined ? pages : 0);
    this.#input = new Uint8Array(this.memory, inputAt, bytes);
    this.output = new Uint8Array(this.memory, inputAt + bytes, bytes);
    if (memory === undefined) this.#words[NEXT] = CLOSED;
  }

  /** Whether nobody is at work in it, so that it can be filled anew. */
  get idle(): boolean {
    return Atomics.load(this.#words, ENTERED) === Atomics.load(this.#words, LEFT);
  }

  /** Fills it and opens it. It must be idle, and large enough. */
  open(codec: CodecName, inputs: readonly Uint8Array[], outputLength: number): void {
    let end = 0;
    for (let i = 0; i < inputs.length; i++) {
      const input = inputs[i] as Uint8Array;
      this.#input.set(input, end);
      end += input.length;
      this.#ends[i] = end;
    }
    this.valid.fill(0, 0, inputs.length);
    this.#words[DONE] = 0;
    this.#words[COUNT] = inputs.length;
    this.#words[OUTPUT_LENGTH] = outputLength;
    this.#words[CODEC] = CODECS.indexOf(codec);
    // Last: from here on there is something to claim.
    Atomics.store(this.#words, NEXT, 0);
  }

  /** Takes part until nothing is left to claim. A page that does not decompress stays invalid. */
  work(decoders: Decoders): void {
    const words = this.#words;
    Atomics.add(words, ENTERED, 1);
    try {
      for (;;) {
        const first = Atomics.add(words, NEXT, CLAIM);
        const count = Atomics.load(words, COUNT);
        if (first >= count) return;
        const last = Math.min(first + CLAIM, count);
        const decode = decoders[CODECS[words[CODEC] as number] as CodecName];
        if (decode !== undefined) this.#decode(decode, first, last);
        Atomics.add(words, DONE, last - first);
        Atomics.notify(words, DONE);
      }
    } finally {
      Atomics.add(words, LEFT, 1);
    }
  }

  #decode(decode: Decoder, first: number, last: number): void {
    const length = this.#words[OUTPUT_LENGTH] as number;
    for (let i = first; i < last; i++) {
      const start = i === 0 ? 0 : (this.#ends[i - 1] as number);
      try {
        const page = decode(this.#input.subarray(start, this.#ends[i] as number), length);
        if (page.length !== length) continue;
        this.output.set(page, i * length);
      } catch {
        // Whoever asked decompresses it again, and gets the error.
        continue;
      }
      Atomics.store(this.valid, i, 1);
    }
  }

  /**
   * Closes it, once what others have claimed is done or took too long.
   *
   * @returns nonzero for each page of `output` that is valid; helpers that are late change nothing in it.
   */
  finish(): Uint8Array {
    const words = this.#words;
    for (;;) {
      const done = Atomics.load(words, DONE);
      if (done >= (words[COUNT] as number)) break;
      if (Atomics.wait(words, DONE, done, PATIENCE) === "timed-out") break;
    }
    Atomics.store(words, NEXT, CLOSED);
    // By atomic reads: after a plain one, a processor may read of a page what was there before it was decompressed.
    const count = words[COUNT] as number;
    for (let i = 0; i < count; i++) this.#finished[i] = Atomics.load(this.valid, i);
    return this.#finished;
  }
}
