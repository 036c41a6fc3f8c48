/**
 * Threads that help to compress pages; as the decode pool, which see for why the thread that asks works and waits.
 */
import { availableParallelism } from "node:os";
import type { Worker } from "node:worker_threads";
import type { Encoder, Encoders } from "../../src/formats/index.js";
import { startWorker } from "../start-worker.js";
import type { EncodeRequest } from "../worker/encode-worker.js";
import { EncodeJob, type EncoderName } from "./encode-job.js";

/** Bytes of pages in a job: 25 ms of work of two processors. */
const JOB_BYTES = 4 * 2 ** 20;
const JOB_PAGES = JOB_BYTES / 512;
/** Fewer pages are compressed without help: a job costs some 0.05 ms. */
const WORTHWHILE = 32;
/** Pages in all before helpers are started: some 25 ms of work, as much as starting one takes. */
const START_AFTER = 512;
/** Jobs kept for reuse, among them those in which a helper is late. */
const SPARES = 3;
/** Each takes some 15 MiB, and more would wait for this thread, which hands out the work. */
const MAX_HELPERS = 3;

/** See the module's comment. */
export class EncodePool {
  readonly #encoders: Encoders;
  readonly #most: number;
  readonly #helpers = new Set<Worker>();
  readonly #spare: EncodeJob[] = [];
  #seen = 0;
  #started = false;

  /** @param threads Helpers at most; default: one for each processor but the one that asks, and no more than three. */
  constructor(encoders: Encoders, threads = Math.min(MAX_HELPERS, availableParallelism() - 1)) {
    this.#encoders = encoders;
    this.#most = threads;
  }

  /** Threads that help. */
  get threads(): number {
    return this.#helpers.size;
  }

  /**
   * Compresses pages of one size, and calls `use` for each in their order: with its compressed bytes, valid during the
   * call, or `undefined` if they are no fewer than the page's.
   *
   * @throws what the codec throws.
   */
  encode(
    codec: EncoderName,
    pages: readonly Uint8Array[],
    use: (index: number, compressed: Uint8Array | undefined) => void,
  ): void {
    const encode = this.#encoders[codec];
    if (encode === undefined) throw new RangeError(`no codec ${codec}`);
    const pageSize = pages[0]?.length ?? 1;
    const most = Math.max(1, Math.floor(JOB_BYTES / pageSize));
    for (let first = 0; first < pages.length; first += most) {
      this.#encodeSome(codec, encode, pages.slice(first, first + most), (i, bytes) => use(first + i, bytes));
    }
  }

  #encodeSome(
    codec: EncoderName,
    encode: Encoder,
    pages: readonly Uint8Array[],
    use: (index: number, compressed: Uint8Array | undefined) => void,
  ): void {
    this.#seen += pages.length;
    if (this.#most > 0 && !this.#started && this.#seen >= START_AFTER) this.#start();
    const job = pages.length < WORTHWHILE || this.#helpers.size === 0 ? undefined : this.#take();
    if (job !== undefined) {
      job.open(codec, pages, (pages[0] as Uint8Array).length);
      const request: EncodeRequest = { memory: job.memory, pages: job.pages, bytes: job.bytes };
      for (const helper of this.#helpers) helper.postMessage(request);
      job.work(this.#encoders);
      job.finish();
    }
    for (let i = 0; i < pages.length; i++) {
      let bytes = job?.result(i);
      if (bytes === undefined) {
        bytes = encode(pages[i] as Uint8Array);
        if (bytes.length >= (pages[i] as Uint8Array).length) bytes = null;
      }
      use(i, bytes ?? undefined);
    }
    if (job !== undefined) this.#spare.push(job);
  }

  #take(): EncodeJob {
    for (let i = 0; i < this.#spare.length; i++) {
      if ((this.#spare[i] as EncodeJob).idle) return this.#spare.splice(i, 1)[0] as EncodeJob;
    }
    if (this.#spare.length >= SPARES) this.#spare.shift();
    return new EncodeJob(JOB_PAGES, JOB_BYTES);
  }

  #start(): void {
    this.#started = true;
    for (let i = 0; i < this.#most; i++) {
      let worker: Worker;
      try {
        worker = startWorker("encode-worker", {
          resourceLimits: { maxYoungGenerationSizeMb: 4, maxOldGenerationSizeMb: 64 },
        });
      } catch {
        // Not allowed, or no room for it: the work is done without.
        return;
      }
      worker.unref();
      worker.on("error", () => this.#helpers.delete(worker));
      worker.on("exit", () => this.#helpers.delete(worker));
      this.#helpers.add(worker);
    }
  }

  /** Ends the threads. Idempotent. */
  async close(): Promise<void> {
    this.#started = true;
    const helpers = [...this.#helpers];
    this.#helpers.clear();
    await Promise.all(helpers.map((helper) => helper.terminate()));
  }
}
