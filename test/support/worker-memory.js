/** A source for tests of `openInWorker`: memory that only answers asynchronously. Runs inside the worker. */
import { AddressRanges } from "../../dist/core.js";

/** @param {{ size: number, delay?: number, broken?: [number, number], fail?: string, exitOn?: number }} options */
export async function openSource(options) {
  if (options.fail !== undefined) throw new Error(options.fail);
  const bytes = new Uint8Array(options.size);
  for (let i = 0; i < bytes.length; i++) bytes[i] = i * 3;
  const [brokenStart, brokenEnd] = options.broken ?? [0, 0];
  return {
    name: "slow-memory",
    supports: { write: true, live: false },
    ranges: () => AddressRanges.single(0, options.size),
    /** @param {import("../../dist/core.js").Batch} batch */
    async transfer(batch) {
      await new Promise((resolve) => setTimeout(resolve, options.delay ?? 0));
      for (let row = 0; row < batch.length; row++) {
        const at = batch.address(row);
        if (at === options.exitOn) process.exit(3);
        const mine = batch.bytes(row);
        if (batch.direction === "read") mine.set(bytes.subarray(at, at + mine.length));
        else bytes.set(mine, at);
        batch.done(row);
        batch.failRange(row, Math.max(0, brokenStart - at), Math.min(mine.length, brokenEnd - at), 5);
      }
    },
  };
}
