import { AddressRanges, type Batch, fault, type Source } from "../../src/index.js";

/** Options of {@link memorySource}. */
export interface MemorySourceOptions {
  /** `"sync"` (default), `"async"`, or `"both"`. */
  readonly mode?: "sync" | "async" | "both";
  readonly write?: boolean;
  readonly exchange?: boolean;
  /** Address of the first byte (default 0). */
  readonly base?: number;
  readonly live?: boolean;
  /** Called before each batch is served; may throw. */
  readonly onBatch?: (batch: Batch) => void;
  /** Holds an asynchronous batch back until it resolves. */
  readonly gate?: () => Promise<void>;
  /** Bytes (relative to the base) that can't be read; pages of 4096 in a real source. */
  readonly broken?: readonly { readonly start: number; readonly end: number }[];
}

/** What a row of a {@link memorySource} that touches a broken range is failed with there. */
export const BROKEN_MEMORY = fault("io", "memory", "connector");

/** A source over an array, with every way to misbehave that tests need. */
export function memorySource(bytes: Uint8Array, options: MemorySourceOptions = {}): Source {
  const { mode = "sync", write = true, exchange = false, base = 0, live = false, broken = [] } = options;
  const serve = (batch: Batch): void => {
    options.onBatch?.(batch);
    for (let row = 0; row < batch.length; row++) {
      const at = batch.address(row) - base;
      const mine = batch.bytes(row);
      if (at < 0 || at + mine.length > bytes.length) {
        batch.fail(row, BROKEN_MEMORY);
        continue;
      }
      const theirs = bytes.slice(at, at + mine.length);
      const bad = (i: number) => broken.some(({ start, end }) => at + i >= start && at + i < end);
      for (let i = 0; i < mine.length; i++) {
        if (bad(i)) continue;
        if (batch.direction !== "write") mine[i] = theirs[i] as number;
      }
      if (batch.direction === "write") {
        for (let i = 0; i < mine.length; i++) if (!bad(i)) bytes[at + i] = mine[i] as number;
      }
      batch.done(row);
      for (const { start, end } of broken) {
        batch.failRange(row, Math.max(0, start - at), Math.min(mine.length, end - at), BROKEN_MEMORY);
      }
    }
  };
  const trade = (batch: Batch): void => {
    options.onBatch?.(batch);
    for (let row = 0; row < batch.length; row++) {
      const at = batch.address(row) - base;
      const mine = batch.bytes(row);
      const theirs = bytes.slice(at, at + mine.length);
      bytes.set(mine, at);
      mine.set(theirs);
      batch.done(row);
    }
  };
  const transferSync = (batch: Batch): void => (batch.direction === "exchange" ? trade(batch) : serve(batch));
  const transfer = async (batch: Batch): Promise<void> => {
    await (options.gate?.() ?? Promise.resolve());
    transferSync(batch);
  };
  return {
    name: "memory",
    supports: { write, live, exchange },
    ranges: () => AddressRanges.single(base, base + bytes.length),
    ...(mode === "async" ? {} : { transferSync }),
    ...(mode === "sync" ? {} : { transfer }),
  };
}
