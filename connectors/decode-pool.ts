/**
 * Threads that help to decompress many pages at once.
 *
 * The thread that asks works too, and does not return before all is done: so the answer needs no event loop, comes to
 * `.sync()` as well, and there is no moment at which pages are under way elsewhere. (A promise-based pool, such as
 * tinypool, would have left the asking thread idle, and pages in flight that a synchronous drive can't wait for.)
 */
import { availableParallelism } from "node:os";
import type { Worker } from "node:worker_threads";
import type { CodecName, PagesDecoder, UsePages } from "../src/formats/index.js";
import { DecodeJob } from "./decode-job.js";
import { nodeDecoders } from "./node-decoders.js";
import { startWorker } from "./start-worker.js";
import type { DecodeRequest } from "./worker/decode-worker.js";

/** Bytes of decompressed pages in a job: 10 ms of work, and what `.sync()` and callbacks wait for at a time. */
const JOB_BYTES = 4 * 2 ** 20;
const JOB_PAGES = JOB_BYTES / 512;
/** Jobs kept for reuse, among them those in which a helper is late. */
const SPARES = 4;
/**
 * 64 KiB: about 90 pages of 0.7 KiB, 0.9 ms of work (zlib takes 10 µs a page). A job costs 0.02 ms more than
 * decompressing here. Measured only on two processors that were busy otherwise, where up to 64 pages never gained.
 */
const WORTHWHILE = 64 * 1024;
/**
 * 4 MiB: some 60 ms of work. Starting a thread takes 26 ms of CPU time and more; what a kernel tells of itself (its symbols and
 * types, 2.2 MiB of the committed dump) should not start one just when all is read.
 */
const START_AFTER = 4 * 2 ** 20;

/** Options of a {@link DecodePool}. */
export interface DecodePoolOptions {
  /** Helpers at most; default: one for each processor but the one that asks, and no more than three. */
  readonly threads?: number;
  /** Compressed bytes in one job from which on helpers are called; default 64 KiB. */
  readonly worthwhile?: number;
  /** Compressed bytes in all before the first helper is started, and before each more; default 4 MiB. */
  readonly startAfter?: number;
}

/** Each takes some 15 MiB, and more would wait for this thread, which hands out the work. */
const MAX_HELPERS = 3;

/** See the module's comment. */
export class DecodePool implements PagesDecoder {
  readonly worthwhile: number;
  readonly bytes = JOB_BYTES;
  readonly #most: number;
  readonly #startAfter: number;
  readonly #helpers = new Set<Worker>();
  /** Jobs that nobody waits for the results of. */
  readonly #spare: DecodeJob[] = [];
  #started = 0;
  #seen = 0;
  #closed = false;

  constructor(options: DecodePoolOptions = {}) {
    this.#most = options.threads ?? Math.min(MAX_HELPERS, availableParallelism() - 1);
    this.worthwhile = this.#most === 0 ? Number.POSITIVE_INFINITY : (options.worthwhile ?? WORTHWHILE);
    this.#startAfter = options.startAfter ?? START_AFTER;
  }

  /** Threads that help. */
  get threads(): number {
    return this.#helpers.size;
  }

  helps(bytes: number): boolean {
    this.#seen += bytes;
    this.#startHelpers();
    return this.#helpers.size > 0;
  }

  decode(codec: CodecName, inputs: readonly Uint8Array[], outputLength: number, use: UsePages): void {
    const job = this.#take();
    job.open(codec, inputs, outputLength);
    const request: DecodeRequest = { memory: job.memory, pages: job.pages, bytes: job.bytes };
    for (const helper of this.#helpers) helper.postMessage(request);
    job.work(nodeDecoders);
    const valid = job.finish();
    try {
      use(job.output, valid);
    } finally {
      this.#spare.push(job);
    }
  }

  /** One that is idle. A helper that is stuck in one, or late, keeps only that one. */
  #take(): DecodeJob {
    for (let i = 0; i < this.#spare.length; i++) {
      if ((this.#spare[i] as DecodeJob).idle) return this.#spare.splice(i, 1)[0] as DecodeJob;
    }
    if (this.#spare.length >= SPARES) this.#spare.shift();
    return new DecodeJob(JOB_PAGES, JOB_BYTES);
  }

  #startHelpers(): void {
    // Each is started when as much work has been seen again as its start costs.
    while (
      !this.#closed &&
      this.#started < this.#most &&
      this.#seen >= this.#startAfter * (this.#started + 1)
    ) {
      this.#start();
    }
  }

  #start(): void {
    // One that died is not started again: what killed it would kill its successor.
    this.#started++;
    let worker: Worker;
    try {
      worker = startWorker("decode-worker", {
        resourceLimits: { maxYoungGenerationSizeMb: 4, maxOldGenerationSizeMb: 64 },
      });
    } catch {
      // Not allowed, or no room for it: the work is done without.
      this.#started = this.#most;
      return;
    }
    worker.unref();
    worker.on("error", () => this.#helpers.delete(worker));
    worker.on("exit", () => this.#helpers.delete(worker));
    this.#helpers.add(worker);
  }

  /** Ends the threads. Pages are decompressed without help from then on. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    const helpers = [...this.#helpers];
    this.#helpers.clear();
    await Promise.all(helpers.map((helper) => helper.terminate()));
  }
}
