/** What passes through a source, and how long it takes. */
import { type Batch, faultState, type Source } from "../../src/io/index.js";
import { MovedParts } from "./moved.js";
import { wrapSource } from "./wrap-source.js";

/** How long batches took, in milliseconds. Percentiles are exact to 5 %. */
export interface Latency {
  readonly least: number;
  readonly mean: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly most: number;
}

/** What passed through a source since {@link withMetrics}; plain data, fit for JSON. */
export interface SourceMetrics {
  /** Calls of the source. */
  readonly batches: number;
  /** Rows of those calls, and those among them that write. */
  readonly rows: number;
  readonly rowsWritten: number;
  /** Bytes asked for; `bytesMoved` of them were read or written. */
  readonly bytes: number;
  readonly bytesMoved: number;
  /** Rows with a byte that did not move, and how many of them by the state of the first one. */
  readonly rowsFailed: number;
  readonly failures: Readonly<Record<string, number>>;
  /** Batches that the source threw at. */
  readonly thrown: number;
  /** Milliseconds from the first call's begin to the last one's end, and those of all calls together (side by side, it is more). */
  readonly elapsed: number;
  readonly busy: number;
  /** `undefined` before the first batch. */
  readonly latency: Latency | undefined;
}

/** A source that counts. */
export interface MeteredSource extends Source {
  /** A snapshot. */
  metrics(): SourceMetrics;
}

/**
 * Counts what passes through a source, and measures how long each batch takes.
 *
 * @example
 * const source = withMetrics(openProcess(1234));
 * const bytes = await readInto(new SourceIo(source), 0x1000, 64);
 * console.log(source.metrics().latency);
 */
export function withMetrics<S extends Source>(source: S): S & MeteredSource {
  const meter = new Meter();
  const { transfer, transferSync } = source;
  return wrapSource(source, {
    metrics: () => meter.snapshot(),
    transferSync:
      transferSync === undefined
        ? undefined
        : (batch: Batch) => {
            const begin = performance.now();
            let thrown = true;
            try {
              transferSync.call(source, batch);
              thrown = false;
            } finally {
              meter.add(batch, begin, thrown);
            }
          },
    transfer:
      transfer === undefined
        ? undefined
        : async (batch: Batch) => {
            const begin = performance.now();
            let thrown = true;
            try {
              await transfer.call(source, batch);
              thrown = false;
            } finally {
              meter.add(batch, begin, thrown);
            }
          },
  });
}

/** Buckets of times: each is 2^(1/16) times as long as the one before; the first ends at a microsecond, the last at 4.8 hours. */
const STEPS = 16;
const BUCKETS = 34 * STEPS;
const FIRST = 0.001;

class Meter {
  #batches = 0;
  #rows = 0;
  #rowsWritten = 0;
  #bytes = 0;
  #bytesMoved = 0;
  #rowsFailed = 0;
  #thrown = 0;
  readonly #failures = new Map<string, number>();
  #first = 0;
  #last = 0;
  #busy = 0;
  #least = Number.POSITIVE_INFINITY;
  #most = 0;
  readonly #times = new Float64Array(BUCKETS);

  add(batch: Batch, begin: number, thrown: boolean): void {
    const end = performance.now();
    const took = end - begin;
    if (this.#batches === 0) this.#first = begin;
    this.#last = Math.max(this.#last, end);
    this.#batches++;
    this.#busy += took;
    this.#least = Math.min(this.#least, took);
    this.#most = Math.max(this.#most, took);
    const bucket = Math.ceil(Math.log2(Math.max(took, FIRST) / FIRST) * STEPS);
    this.#times[Math.min(bucket, BUCKETS - 1)] = (this.#times[Math.min(bucket, BUCKETS - 1)] as number) + 1;
    if (thrown) this.#thrown++;
    this.#count(batch);
  }

  #count(batch: Batch): void {
    this.#rows += batch.length;
    if (batch.direction !== "read") this.#rowsWritten += batch.length;
    let parts: MovedParts | undefined;
    for (let row = 0; row < batch.length; row++) {
      const length = batch.lengths[row] as number;
      this.#bytes += length;
      if (batch.status[row] === 0) {
        this.#bytesMoved += length;
        continue;
      }
      parts ??= new MovedParts(batch);
      let first: string | undefined;
      for (const { start, end, fault } of parts.of(row)) {
        if (fault === 0) this.#bytesMoved += end - start;
        else first ??= faultState(fault);
      }
      if (first === undefined) continue;
      this.#rowsFailed++;
      this.#failures.set(first, (this.#failures.get(first) ?? 0) + 1);
    }
  }

  /** The time that so many of all batches did not exceed. */
  #percentile(part: number): number {
    let left = Math.ceil(part * this.#batches);
    for (let i = 0; i < BUCKETS; i++) {
      left -= this.#times[i] as number;
      if (left <= 0) return Math.min(Math.max(FIRST * 2 ** (i / STEPS), this.#least), this.#most);
    }
    return this.#most;
  }

  snapshot(): SourceMetrics {
    const batches = this.#batches;
    const latency: Latency | undefined =
      batches === 0
        ? undefined
        : {
            least: this.#least,
            mean: this.#busy / batches,
            p50: this.#percentile(0.5),
            p90: this.#percentile(0.9),
            p99: this.#percentile(0.99),
            most: this.#most,
          };
    return {
      batches,
      rows: this.#rows,
      rowsWritten: this.#rowsWritten,
      bytes: this.#bytes,
      bytesMoved: this.#bytesMoved,
      rowsFailed: this.#rowsFailed,
      failures: Object.fromEntries(this.#failures),
      thrown: this.#thrown,
      elapsed: this.#last - this.#first,
      busy: this.#busy,
      latency,
    };
  }
}
