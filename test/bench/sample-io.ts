/** The backend of the packet rows: 1 MiB in memory behind a queue that its driver drains, as mfio's `SampleIo`. */
import {
  AddressRanges,
  AddressSpace,
  type Batch,
  Scheduler,
  type Source,
  SourceIo,
} from "../../src/index.js";

export const SAMPLE_BYTES = 1 << 20;

/** Memory with a pattern: words 1, 2, 3, …, with a zero as every second one, so that u64 are small. */
export function sampleBytes(size = SAMPLE_BYTES): Uint8Array<ArrayBuffer> {
  const words = new Uint32Array(size / 4);
  for (let i = 0; i < words.length; i += 2) words[i] = i + 1;
  return new Uint8Array(words.buffer);
}

/** An array as a source that answers in batches, as a file or a card would. */
export function arraySource(bytes: Uint8Array): Source {
  const transferSync = (batch: Batch): void => {
    const { words, offsets, lengths, memory, status, length: rows } = batch;
    const writes = batch.direction === "write";
    for (let row = 0; row < rows; row++) {
      const at = words[2 * row] as number;
      const length = lengths[row] as number;
      const offset = offsets[row] as number;
      const mine = memory[row] as Uint8Array;
      const from = writes ? mine : bytes;
      const to = writes ? bytes : mine;
      const start = writes ? offset : at;
      const end = writes ? at : offset;
      // Short runs are faster one by one than by way of `subarray`.
      if (length <= 64) for (let i = 0; i < length; i++) to[end + i] = from[start + i] as number;
      else to.set(from.subarray(start, start + length), end);
      status[row] = 0;
    }
  };
  return {
    name: "sample",
    supports: { write: true, live: false },
    ranges: () => AddressRanges.single(0, bytes.length),
    transferSync,
  };
}

/** The backend, with typed access on top; `io` is the layer with the queue. */
export function sampleIo(bytes: Uint8Array): { io: SourceIo; memory: AddressSpace<number> } {
  const io = new SourceIo(arraySource(bytes), new Scheduler());
  return { io, memory: new AddressSpace<number>(io, { addressBits: 53 }) };
}
