/** Whether what a caller gave to read into, or to write from, is still there. */
import type { Batch } from "../../src/io/batch.hot.js";
import { type Fault, fault } from "../../src/io/fault.js";

/** It was given away since, or made smaller. */
export const NO_MEMORY: Fault = fault("io", "memory", "connector");

/**
 * Whether the first so many bytes of a row's memory are there.
 *
 * By its buffer, too: code that Node 20 has optimized may go by the length that an array had before its buffer was given away.
 */
export function hasMemory({ memory, offsets }: Batch, row: number, length: number): boolean {
  const array = memory[row] as Uint8Array;
  const end = (offsets[row] as number) + length;
  return end <= array.length && array.byteOffset + end <= array.buffer.byteLength;
}
