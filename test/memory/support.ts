import { AddressRanges, type Batch, fault, type Source } from "../../src/io/index.js";

/** How a test source answers. */
export interface TestSourceOptions {
  /** Answer on the event loop, after so many microtasks; of a list, each batch takes the next. */
  readonly delay?: number | readonly number[];
  readonly live?: boolean;
  /** Unreadable ranges, in any order: rows that touch one fail there, or, with `wholeRows`, as a whole. */
  readonly holes?: readonly { start: number; end: number }[];
  readonly wholeRows?: boolean;
  /** Gets a line a row. */
  readonly log?: string[];
}

export const BROKEN = fault("io", "device", "connector", 5);

/** A source over `bytes`, as a connector's author would write it. */
export function testSource(bytes: Uint8Array, options: TestSourceOptions = {}): Source {
  const { delay } = options;
  // A live source has to refuse what is outside by itself.
  const sorted = [...(options.holes ?? [])].sort((a, b) => a.start - b.start);
  const holes = [...sorted, { start: bytes.length, end: Number.POSITIVE_INFINITY }];
  let batches = 0;
  const run = (batch: Batch) => {
    for (let row = 0; row < batch.length; row++) {
      const address = batch.address(row);
      const length = batch.lengths[row] as number;
      options.log?.push(`${batch.direction} ${address}+${length}`);
      const bad = holes.filter((hole) => hole.start < address + length && hole.end > address);
      if (bad.length > 0 && options.wholeRows === true) {
        batch.fail(row, BROKEN);
        continue;
      }
      const memory = batch.bytes(row);
      let at = 0;
      for (const hole of [...bad, { start: address + length, end: 0 }]) {
        const stop = Math.max(at, hole.start - address);
        if (batch.direction === "read") memory.set(bytes.subarray(address + at, address + stop), at);
        else bytes.set(memory.subarray(at, stop), address + at);
        at = Math.min(length, Math.max(at, hole.end - address));
      }
      batch.done(row);
      for (const hole of bad) {
        batch.failRange(row, Math.max(0, hole.start - address), Math.min(length, hole.end - address), BROKEN);
      }
    }
  };
  return {
    name: "test",
    supports: { write: true, live: options.live ?? false },
    ranges: () => AddressRanges.single(0, bytes.length),
    ...(delay === undefined
      ? { transferSync: run }
      : {
          transfer: async (batch: Batch) => {
            const turns = typeof delay === "number" ? delay : (delay[batches++ % delay.length] ?? 0);
            // An odd number of turns passes after the bytes moved, an even one before.
            if (turns % 2 === 1) run(batch);
            for (let i = 0; i < turns; i++) await null;
            if (turns % 2 === 0) run(batch);
          },
        }),
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
