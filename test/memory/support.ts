import type { Batch, Source } from "../../src/io/index.js";
import { memorySource } from "../suite/memory-source.js";

/** How a test source answers. */
export interface TestSourceOptions {
  /** Answer on the event loop, after so many microtasks; of a list, each batch takes the next. */
  readonly delay?: number | readonly number[];
  readonly live?: boolean;
  /** Unreadable ranges, in any order: rows that touch one fail there, or, with `wholeRows`, as a whole. */
  readonly holes?: readonly { start: number; end: number }[];
  readonly wholeRows?: boolean;
  /** For a source around it that moves addresses: see `memorySource`. */
  readonly anyOrder?: boolean;
  /** Gets a line a row. */
  readonly log?: string[];
}

/** A source over `bytes` that takes its time. */
export function testSource(bytes: Uint8Array, options: TestSourceOptions = {}): Source {
  const { delay, holes = [], live = false, wholeRows = false, anyOrder = false, log } = options;
  const onBatch = (batch: Batch) => {
    for (let row = 0; row < batch.length; row++) {
      log?.push(`${batch.direction} ${batch.address(row)}+${batch.lengths[row]}`);
    }
  };
  const { transferSync: run, ...source } = memorySource(bytes, {
    live,
    broken: holes,
    wholeRows,
    anyOrder,
    onBatch,
  });
  if (run === undefined) throw new Error("a synchronous source was asked for");
  if (delay === undefined) return { ...source, transferSync: run };
  let batches = 0;
  return {
    ...source,
    transfer: async (batch: Batch) => {
      const turns = typeof delay === "number" ? delay : (delay[batches++ % delay.length] ?? 0);
      // An odd number of turns passes after the bytes moved, an even one before.
      if (turns % 2 === 1) run(batch);
      for (let i = 0; i < turns; i++) await null;
      if (turns % 2 === 0) run(batch);
    },
  };
}

const PATTERN = Uint8Array.from({ length: 65536 }, (_, i) => (i * 131 + (i >>> 8) * 7 + 1) & 255);

/** Bytes that tell their place; at most 64 KiB. */
export function pattern(length: number): Uint8Array {
  return PATTERN.slice(0, length);
}

/** Whether two arrays hold the same bytes; vitest takes milliseconds a page. */
export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
