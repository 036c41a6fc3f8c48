/** What distance costs: a source whose every batch takes longer. */
import { setImmediate as turn, setTimeout as wait } from "node:timers/promises";
import type { Source } from "../../src/io/index.js";
import { wrapSource } from "./wrap-source.js";

/** Timers of the event loop are late by up to this many milliseconds; the rest of a delay is spent looking at the clock. */
const LATE = 1.5;

const nobody = new Int32Array(new SharedArrayBuffer(4));

/**
 * Makes each batch of a source wait before it begins, as if the source were so far away. Asynchronous batches wait side by side; a
 * synchronous one parks the thread.
 *
 * @param milliseconds 0.05 is 50 µs.
 */
export function withDelay<S extends Source>(source: S, milliseconds: number): S {
  const { transfer, transferSync } = source;
  return wrapSource(source, {
    transferSync:
      transferSync === undefined
        ? undefined
        : (batch) => {
            park(milliseconds);
            transferSync.call(source, batch);
          },
    transfer: async (batch) => {
      await pause(milliseconds);
      if (transfer !== undefined) await transfer.call(source, batch);
      else transferSync?.call(source, batch);
    },
  });
}

function park(milliseconds: number): void {
  const end = performance.now() + milliseconds;
  if (milliseconds > 1) Atomics.wait(nobody, 0, 0, Math.floor(milliseconds - 0.5));
  while (performance.now() < end);
}

async function pause(milliseconds: number): Promise<void> {
  const end = performance.now() + milliseconds;
  if (milliseconds > 1 + LATE) await wait(Math.floor(milliseconds - LATE));
  while (performance.now() < end) await turn();
}
