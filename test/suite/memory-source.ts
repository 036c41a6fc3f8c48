import { AddressRanges, type Batch, fault, type Source } from "../../src/io/index.js";

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
  /** Bytes (relative to the base, in any order) that can't be reached; pages of 4096 in a real source. */
  readonly broken?: readonly { readonly start: number; readonly end: number }[];
  /** Takes rows of reads in any order: for a source around it that moves them. Others are told of a broken promise. */
  readonly anyOrder?: boolean;
  /** A row that touches a broken range fails as a whole, not only there. */
  readonly wholeRows?: boolean;
}

/** What a row of a {@link memorySource} that touches a broken range is failed with there. */
export const BROKEN_MEMORY = fault("io", "memory", "connector");

/** A source over an array, with every way to misbehave that tests need. */
export function memorySource(bytes: Uint8Array, options: MemorySourceOptions = {}): Source {
  const { mode = "sync", write = true, exchange = false, base = 0, live = false, broken = [] } = options;
  // A live source has to refuse what is outside by itself.
  const holes = [
    { start: Number.NEGATIVE_INFINITY, end: 0 },
    ...[...broken].sort((a, b) => a.start - b.start),
    { start: bytes.length, end: Number.POSITIVE_INFINITY },
  ];
  const move = (batch: Batch, row: number, from: number, to: number): void => {
    const mine = batch.bytes(row).subarray(from, to);
    const at = batch.address(row) - base + from;
    const theirs = bytes.subarray(at, at + mine.length);
    if (batch.direction === "read") {
      mine.set(theirs);
    } else if (batch.direction === "write") {
      theirs.set(mine);
    } else {
      const before = theirs.slice();
      theirs.set(mine);
      mine.set(before);
    }
  };
  const transferSync = (batch: Batch): void => {
    options.onBatch?.(batch);
    if (batch.direction === "read" && options.anyOrder !== true) {
      // As sources may take for granted: see `Batch`.
      for (let row = 1; row < batch.length; row++)
        if (batch.address(row) < batch.address(row - 1)) throw new Error("rows of a read that do not ascend");
    }
    for (let row = 0; row < batch.length; row++) {
      const at = batch.address(row) - base;
      const length = batch.lengths[row] as number;
      const bad = holes.filter(({ start, end }) => start < at + length && end > at);
      if (bad.length > 0 && options.wholeRows === true) {
        batch.fail(row, BROKEN_MEMORY);
        continue;
      }
      let from = 0;
      for (const { start, end } of bad) {
        if (start > at + from) move(batch, row, from, start - at);
        from = Math.max(from, end - at);
      }
      if (from < length) move(batch, row, from, length);
      batch.done(row);
      for (const { start, end } of bad) {
        batch.failRange(row, Math.max(0, start - at), Math.min(length, end - at), BROKEN_MEMORY);
      }
    }
  };
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
