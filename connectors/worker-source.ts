/** Sources that can only answer asynchronously, opened in a worker so that `.sync()` works on them too. */
import { Worker } from "node:worker_threads";
import { AddressRanges, type Batch, MemtoolError, type Source } from "../src/index.js";
import { packBatch, type SharedHeader, STATE_WORD, sharedSize, unpackBatch } from "../src/io/shared-batch.js";
import type { WorkerAnswer, WorkerHello, WorkerRequest, WorkerStart } from "./worker/source-worker.js";
import { workerUrl } from "./worker-url.js";

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
  const worker = new Worker(workerUrl("source-worker"), { workerData: start });
  const hello = await new Promise<WorkerHello>((resolve) => {
    worker.once("message", resolve);
    worker.once("error", (error) => resolve({ error }));
    worker.once("exit", (code) => resolve({ error: new Error(`worker ended with ${code}`) }));
  });
  if ("error" in hello) {
    await worker.terminate();
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
  return new WorkerSource(worker, hello, options.timeout ?? 60_000);
}

class WorkerSource implements Source {
  readonly name: string;
  readonly supports: Source["supports"];
  readonly #worker: Worker;
  readonly #timeout: number;
  #ranges: AddressRanges;
  /** Buffers of earlier messages, for the next ones. */
  readonly #spare: SharedArrayBuffer[] = [];
  /** Answers come in the order of the requests; those of parked callers are skipped. */
  readonly #expected: ((answer: WorkerAnswer) => void)[] = [];
  #gone: Error | undefined;

  constructor(worker: Worker, hello: Exclude<WorkerHello, { error: unknown }>, timeout: number) {
    this.name = `worker:${hello.name}`;
    this.supports = hello.supports;
    this.#worker = worker;
    this.#timeout = timeout;
    this.#ranges = toRanges(hello);
    worker.on("message", (answer: WorkerAnswer) => {
      if (answer.ranges !== undefined) this.#ranges = toRanges(answer.ranges);
      this.#expected.shift()?.(answer);
    });
    worker.on("error", (error) => this.#end(error instanceof Error ? error : new Error(String(error))));
    worker.on("exit", (code) => this.#end(new Error(`${this.name}: the worker ended with ${code}`)));
  }

  ranges(): AddressRanges {
    return this.#ranges;
  }

  transferSync(batch: Batch): void {
    for (const [from, to] of messages(batch)) {
      const header = this.#send(batch, from, to, () => {});
      const control = new Int32Array(header.buffer);
      if (Atomics.load(control, STATE_WORD) === 0) {
        const outcome = Atomics.wait(control, STATE_WORD, 0, this.#timeout);
        if (outcome === "timed-out") {
          throw new MemtoolError("TIMEOUT", `${this.name}: no answer within ${this.#timeout} ms`);
        }
      }
      unpackBatch(header, batch, from);
      this.#spare.push(header.buffer);
    }
  }

  async transfer(batch: Batch): Promise<void> {
    let failed: unknown;
    for (const [from, to] of messages(batch)) {
      let header: SharedHeader | undefined;
      const answer = await new Promise<WorkerAnswer>((resolve) => {
        header = this.#send(batch, from, to, resolve);
      });
      if (header !== undefined && Atomics.load(new Int32Array(header.buffer), STATE_WORD) === 1) {
        unpackBatch(header, batch, from);
        this.#spare.push(header.buffer);
      }
      failed ??= answer.error;
    }
    if (failed !== undefined) throw failed;
  }

  async close(): Promise<void> {
    if (this.#gone !== undefined) return;
    const ended = new Promise<void>((resolve) => this.#worker.once("exit", () => resolve()));
    this.#post({ close: true });
    await ended;
  }

  #send(batch: Batch, from: number, to: number, onAnswer: (answer: WorkerAnswer) => void): SharedHeader {
    if (this.#gone !== undefined) throw this.#gone;
    const size = sharedSize(batch, from, to);
    const spare = this.#spare.pop();
    const buffer =
      spare !== undefined && spare.byteLength >= size
        ? spare
        : new SharedArrayBuffer(Math.max(FIRST_BUFFER, 2 ** Math.ceil(Math.log2(size))));
    const header = packBatch(batch, from, to, buffer);
    this.#expected.push((answer) => {
      if (this.#expected.length === 0) this.#worker.unref();
      onAnswer(answer);
    });
    this.#worker.ref();
    this.#post({ header });
    return header;
  }

  #post(request: WorkerRequest): void {
    this.#worker.postMessage(request);
  }

  #end(error: Error): void {
    this.#gone ??= error;
    for (const expected of this.#expected.splice(0)) expected({ error });
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
