/**
 * A job of the encode pool, in shared memory: pages, who has claimed which, and what they compressed to.
 *
 * Whoever takes part (the thread that asks and its helpers) claims `CLAIM` pages at a time with an atomic counter,
 * until none is left. So a helper that comes late, or not at all, costs nothing but its help.
 */
import type { Encoder, Encoders } from "../../src/formats/index.js";

const NEXT = 0;
const DONE = 1;
const ENTERED = 2;
const LEFT = 3;
const COUNT = 4;
const PAGE_SIZE = 5;
const CODEC = 6;
const HEADER_WORDS = 8;

/** Pages claimed at a time: half a millisecond of work. */
const CLAIM = 8;
/** `NEXT` of a job that is over: no claim is below any `COUNT`, however many come. */
const CLOSED = 2 ** 30;
/** Milliseconds without progress after which what helpers have claimed is not waited for; twice what doing it takes. */
const PATIENCE = 2;

/** A codec that pages are compressed with. */
export type EncoderName = keyof Encoders;

const CODECS: readonly EncoderName[] = ["deflate", "zstd"];

/** The memory of one job after the other, for up to so many pages and bytes. */
export class EncodeJob {
  readonly memory: SharedArrayBuffer;
  readonly pages: number;
  readonly bytes: number;
  readonly #words: Int32Array;
  /** What became of each page: 0 nothing yet, -1 it does not shrink, else the bytes of its output. */
  readonly #sizes: Int32Array;
  readonly #input: Uint8Array;
  readonly #output: Uint8Array;

  constructor(pages: number, bytes: number, memory?: SharedArrayBuffer) {
    this.pages = pages;
    this.bytes = bytes;
    const sizesAt = HEADER_WORDS * 4;
    const inputAt = sizesAt + pages * 4;
    this.memory = memory ?? new SharedArrayBuffer(inputAt + 2 * bytes);
    this.#words = new Int32Array(this.memory, 0, HEADER_WORDS);
    this.#sizes = new Int32Array(this.memory, sizesAt, pages);
    this.#input = new Uint8Array(this.memory, inputAt, bytes);
    this.#output = new Uint8Array(this.memory, inputAt + bytes, bytes);
    if (memory === undefined) this.#words[NEXT] = CLOSED;
  }

  /** Whether nobody is at work in it, so that it can be filled anew. */
  get idle(): boolean {
    return Atomics.load(this.#words, ENTERED) === Atomics.load(this.#words, LEFT);
  }

  /** Fills it and opens it. It must be idle, and large enough; the pages are of one size. */
  open(codec: EncoderName, pages: readonly Uint8Array[], pageSize: number): void {
    for (let i = 0; i < pages.length; i++) this.#input.set(pages[i] as Uint8Array, i * pageSize);
    this.#sizes.fill(0, 0, pages.length);
    this.#words[DONE] = 0;
    this.#words[COUNT] = pages.length;
    this.#words[PAGE_SIZE] = pageSize;
    this.#words[CODEC] = CODECS.indexOf(codec);
    // Last: from here on there is something to claim.
    Atomics.store(this.#words, NEXT, 0);
  }

  /** Takes part until nothing is left to claim. @throws what a codec throws. */
  work(encoders: Encoders): void {
    const words = this.#words;
    Atomics.add(words, ENTERED, 1);
    try {
      for (;;) {
        const first = Atomics.add(words, NEXT, CLAIM);
        const count = Atomics.load(words, COUNT);
        if (first >= count) return;
        const last = Math.min(first + CLAIM, count);
        const encode = encoders[CODECS[words[CODEC] as number] as EncoderName];
        if (encode !== undefined) for (let i = first; i < last; i++) this.#encode(encode, i);
        Atomics.add(words, DONE, last - first);
        Atomics.notify(words, DONE);
      }
    } finally {
      Atomics.add(words, LEFT, 1);
    }
  }

  #encode(encode: Encoder, i: number): void {
    const size = this.#words[PAGE_SIZE] as number;
    const bytes = encode(this.#input.subarray(i * size, (i + 1) * size));
    if (bytes.length >= size) {
      Atomics.store(this.#sizes, i, -1);
      return;
    }
    this.#output.set(bytes, i * size);
    Atomics.store(this.#sizes, i, bytes.length);
  }

  /** Closes it, once what others have claimed is done or took too long. */
  finish(): void {
    const words = this.#words;
    for (;;) {
      const done = Atomics.load(words, DONE);
      if (done >= (words[COUNT] as number)) break;
      if (Atomics.wait(words, DONE, done, PATIENCE) === "timed-out") break;
    }
    Atomics.store(words, NEXT, CLOSED);
  }

  /** What a page was compressed to: `null` if it does not shrink, `undefined` if nobody got to it. */
  result(i: number): Uint8Array | null | undefined {
    const length = Atomics.load(this.#sizes, i);
    if (length <= 0) return length < 0 ? null : undefined;
    const at = i * (this.#words[PAGE_SIZE] as number);
    return this.#output.subarray(at, at + length);
  }
}
