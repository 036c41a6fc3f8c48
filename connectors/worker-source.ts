/** Sources that can only answer asynchronously, opened in a worker so that `.sync()` works on them too. */
import type { Worker } from "node:worker_threads";
import type { DumpNotes } from "../src/formats/index.js";
import {
  AddressRanges,
  type Batch,
  fault,
  MemtoolError,
  ROW_UNANSWERED,
  type Source,
} from "../src/io/index.js";
import {
  awaitAnswer,
  packBatch,
  type SharedHeader,
  STATE_WORD,
  sharedSize,
  unpackBatch,
} from "../src/io/shared-batch.js";
import type { StillSource } from "./connector.js";
import { startWorker } from "./start-worker.js";
import type {
  SourceFacts,
  WorkerAnswer,
  WorkerHello,
  WorkerRequest,
  WorkerStart,
} from "./worker/source-worker.js";

/** Options of {@link openInWorker}. */
export interface WorkerSourceOptions {
  /** Name of the export that makes the source (default `openSource`): `(options) => Source | Promise<Source>`. */
  readonly factory?: string;
  /** Plain data for the factory. */
  readonly options?: unknown;
  /** Milliseconds that `.sync()` waits for one batch before it gives up (default 60,000). */
  readonly timeout?: number;
}

/** Bytes in one message to the worker; a longer batch is cut up. */
const MESSAGE_BYTES = 16 * 1024 * 1024;
const FIRST_BUFFER = 256 * 1024;
/** Buffers kept for reuse. */
const SPARES = 4;
/** What is asked of a worker that has ended. */
const GONE = fault("gone", "process", "connector");

/**
 * Opens a source inside a worker, from a module's URL and plain options. Its traffic goes through shared memory, with
 * one copy; a synchronous caller parks its thread until the worker has answered (tens of microseconds a batch).
 *
 * @param module URL of a JavaScript module that exports the factory.
 * @throws {MemtoolError} `WORKER_SOURCE`, with the factory's error as its cause.
 */
export async function openInWorker(module: string | URL, options: WorkerSourceOptions = {}): Promise<Source> {
  const start: WorkerStart = {
    module: String(module),
    factory: options.factory ?? "openSource",
    options: options.options,
  };
  const worker = startWorker("source-worker", { workerData: start });
  const hello = await new Promise<WorkerHello>((resolve) => {
    worker.once("message", resolve);
    worker.once("error", (error) => resolve({ error }));
    worker.once("exit", (code) => resolve({ error: new Error(`worker ended with ${code}`) }));
  });
  if ("error" in hello) {
    await worker.terminate();
    if (hello.code !== undefined && hello.error instanceof Error)
      Object.assign(hello.error, { code: hello.code });
    throw new MemtoolError(
      "WORKER_SOURCE",
      `cannot open ${start.module} in a worker: ${String(hello.error)}`,
      {
        cause: hello.error,
      },
    );
  }
  worker.removeAllListeners("exit");
  worker.unref();
  const source = new WorkerSource(worker, hello, options.timeout ?? 60_000);
  const { notes, freezable, still: _, ...facts } = hello.facts;
  return Object.assign(
    source,
    facts,
    notes === undefined ? {} : { notes: () => givenNotes(source.name, notes) },
    freezable === true ? { freeze: () => source.call("freeze"), thaw: () => source.call("thaw") } : {},
  );
}

function givenNotes(name: string, notes: Exclude<SourceFacts["notes"], undefined>): DumpNotes {
  if ("problem" in notes) throw new MemtoolError(notes.code, notes.problem.replace(/^/, `${name}: `));
  return notes;
}

class WorkerSource implements StillSource {
  readonly name: string;
  readonly supports: Source["supports"];
  readonly #worker: Worker;
  readonly #timeout: number;
  #ranges: AddressRanges;
  #still: string | undefined;
  /** Buffers of earlier messages, for the next ones. */
  readonly #spare: SharedArrayBuffer[] = [];
  /** Who waits for which answer. They come in any order; those of parked callers are skipped. */
  readonly #expected = new Map<number, (answer: WorkerAnswer) => void>();
  #lastId = 0;
  #gone: Error | undefined;

  constructor(worker: Worker, hello: Exclude<WorkerHello, { error: unknown }>, timeout: number) {
    this.name = `worker:${hello.name}`;
    this.supports = hello.supports;
    this.#worker = worker;
    this.#timeout = timeout;
    this.#ranges = toRanges(hello);
    this.#still = hello.facts.still;
    worker.on("message", (answer: WorkerAnswer) => {
      if (answer.ranges !== undefined) this.#ranges = toRanges(answer.ranges);
      this.#still = answer.still;
      this.#settle(answer.id, answer);
    });
    worker.on("error", (error) => this.#end("its worker ended with an error", error));
    worker.on("exit", (code) => this.#end(`its worker ended with ${code}`, undefined));
  }

  ranges(): AddressRanges {
    return this.#ranges;
  }

  /** As its source said with its last answer. */
  get still(): string | undefined {
    return this.#still;
  }

  transferSync(batch: Batch): void {
    for (const [from, to] of messages(batch)) {
      if (this.#gone !== undefined) this.#failAsGone(batch, this.#gone);
      const header = this.#send(batch, from, to, () => {});
      if (!awaitAnswer(header, this.#timeout)) {
        // An answer may never come: the program must be able to end without it. (The memory is not used again.)
        this.#settle(this.#lastId, { id: this.#lastId });
        throw new MemtoolError("TIMEOUT", `${this.name}: no answer within ${this.#timeout} ms`);
      }
      unpackBatch(header, batch, from);
      this.#keep(header.buffer);
    }
  }

  async transfer(batch: Batch): Promise<void> {
    let failed: unknown;
    for (const [from, to] of messages(batch)) {
      if (this.#gone !== undefined) this.#failAsGone(batch, this.#gone);
      let header: SharedHeader | undefined;
      const answer = await new Promise<WorkerAnswer>((resolve) => {
        header = this.#send(batch, from, to, resolve);
      });
      if (header !== undefined && Atomics.load(new Int32Array(header.buffer), STATE_WORD) === 1) {
        unpackBatch(header, batch, from);
        this.#keep(header.buffer);
      }
      failed ??= answer.error;
    }
    // (It may have ended with all of it answered.)
    const isWhole = !batch.status.subarray(0, batch.length).includes(ROW_UNANSWERED);
    if (this.#gone !== undefined && !isWhole) this.#failAsGone(batch, this.#gone);
    if (failed !== undefined) throw failed;
  }

  /** Asks the worker's source to pause its machine, or to let it go on. */
  async call(name: "freeze" | "thaw"): Promise<void> {
    if (this.#gone !== undefined) throw this.#gone;
    const { error } = await new Promise<WorkerAnswer>((resolve) => {
      const id = this.#expect(resolve);
      this.#post({ id, call: name });
    });
    if (error !== undefined) throw error;
  }

  /** @throws why, after what has no answer yet failed: it will get none. */
  #failAsGone(batch: Batch, why: Error): never {
    for (let row = 0; row < batch.length; row++) {
      if (batch.status[row] === ROW_UNANSWERED) batch.fail(row, GONE);
    }
    throw why;
  }

  async close(): Promise<void> {
    if (this.#gone !== undefined) return;
    // Nothing else may keep the program alive until then.
    this.#worker.ref();
    await new Promise<void>((resolve, reject) => {
      this.#worker.once("error", reject);
      this.#worker.once("exit", () => resolve());
      this.#post({ close: true });
    });
  }

  /** The smallest buffer that is large enough. */
  #take(size: number): SharedArrayBuffer {
    let best = -1;
    this.#spare.forEach(({ byteLength }, i) => {
      if (byteLength < size) return;
      if (best < 0 || byteLength < (this.#spare[best] as SharedArrayBuffer).byteLength) best = i;
    });
    if (best >= 0) return this.#spare.splice(best, 1)[0] as SharedArrayBuffer;
    return new SharedArrayBuffer(Math.max(FIRST_BUFFER, 2 ** Math.ceil(Math.log2(size))));
  }

  /** Keeps a buffer for the next message; of too many, the oldest goes. */
  #keep(buffer: SharedArrayBuffer): void {
    this.#spare.push(buffer);
    if (this.#spare.length > SPARES) this.#spare.shift();
  }

  #settle(id: number, answer: WorkerAnswer): void {
    const onAnswer = this.#expected.get(id);
    if (onAnswer === undefined) return;
    this.#expected.delete(id);
    if (this.#expected.size === 0) this.#worker.unref();
    onAnswer(answer);
  }

  #send(batch: Batch, from: number, to: number, onAnswer: (answer: WorkerAnswer) => void): SharedHeader {
    const header = packBatch(batch, from, to, this.#take(sharedSize(batch, from, to)));
    const id = this.#expect(onAnswer);
    this.#post({ id, header });
    return header;
  }

  /** @returns the number of a request that will be answered; the program lives until then. */
  #expect(onAnswer: (answer: WorkerAnswer) => void): number {
    const id = ++this.#lastId;
    this.#expected.set(id, onAnswer);
    this.#worker.ref();
    return id;
  }

  #post(request: WorkerRequest): void {
    this.#worker.postMessage(request);
  }

  #end(how: string, cause: unknown): void {
    const why = cause === undefined ? "" : ` (${cause instanceof Error ? cause.message : String(cause)})`;
    this.#gone ??= new MemtoolError(
      "GONE",
      `${this.name}: ${how}${why}: nothing of it can be read any more; open it again`,
      { cause },
    );
    for (const id of [...this.#expected.keys()]) this.#settle(id, { id, error: this.#gone });
  }
}

function toRanges({ starts, ends }: { starts: Float64Array; ends: Float64Array }): AddressRanges {
  return AddressRanges.from(Array.from(starts, (start, i) => ({ start, end: ends[i] as number })));
}

/** Cuts a batch into messages of at most `MESSAGE_BYTES`, but at least one row each. */
function* messages(batch: Batch): Generator<[number, number], void, void> {
  let from = 0;
  while (from < batch.length) {
    let to = from;
    let bytes = 0;
    while (to < batch.length && (to === from || bytes + (batch.lengths[to] as number) <= MESSAGE_BYTES)) {
      bytes += batch.lengths[to] as number;
      to++;
    }
    yield [from, to];
    from = to;
  }
}
