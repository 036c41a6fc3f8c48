/**
 * What the Rust original makes of the packet rows: the marks to beat.
 *
 * mfio 0.1.0, its in-memory `SampleIo` (1 MiB, one queue per direction, drained by its driver), in millions of
 * operations per second of CPU time, median of 5, on a two-core machine where the two yardsticks of limits.ts, run
 * with Node 20, gave `gather` 460 to 630 and `pages` 2.1 to 2.6 million steps a second. An absolute figure means nothing
 * on another machine: a mark is mfio's figure over the middle of the yardstick's range, and a row is compared by its
 * own ratio to the yardstick in the same run.
 */
import type { Against, Goal } from "./row.js";

/** Millions of steps a second that a yardstick made beside mfio: both ends of what was seen. */
export const YARDSTICKS = {
  gather: [460, 630],
  pages: [2.1, 2.6],
} as const;

/** `block`: under mfio's own `block_on`. `best`: under the fastest executor; two figures are a range. */
interface MfioRow {
  readonly block?: number;
  readonly best?: readonly [number] | readonly [number, number];
  readonly workload: string;
}

/** The rows, as they were measured. */
export const MFIO = {
  S1: { block: 1.1, best: [4.7], workload: "one 1-byte read at 100 outstanding, 500,000 times" },
  S3: { block: 1.4, best: [5.3], workload: "a reused packet of 1 byte, one outstanding, at i & 0xfffff" },
  S5: { block: 1.0, workload: "S1 through the synchronous API" },
  S6: { block: 1.1, best: [5.4], workload: "read of a u64 at (i * 8) & 0xffff8" },
  W1: { block: 1.1, best: [5.3], workload: "write of a u64 at the same places" },
  Q1: {
    block: 14.4,
    best: [12.7],
    workload: "16,384 fresh 1-byte packets in flight, at i & 0xfffff, 2 million",
  },
  B256: { block: 2.7, best: [14.0, 15.9], workload: "256 reused 1-byte packets: send all, await each" },
  B256p: { block: 2.2, best: [4.9], workload: "the same with 4,096 bytes, at (i * 4096) & 0xfffff" },
  "J 256": { block: 5.1, best: [6.1], workload: "256 operations on reused packets, joined" },
  "J 16384": { block: 2.5, best: [2.1], workload: "16,384 operations on reused packets, joined" },
  F: {
    block: 16.2,
    best: [17.8, 20.2],
    workload: "a 1,024-byte read that a layer splits into 64 (counts those)",
  },
  P: { block: 1.1, best: [2.5, 3.3], workload: "read 200 at 199 of 200 as a stream: 1 good, 199 failed" },
  V1: { best: [18.1], workload: "inline backend, no queue: read of a u64" },
  V2: { best: [21.9], workload: "inline backend: a reused packet" },
  V3: { best: [40.7], workload: "inline backend: bare sendIo" },
  T3: { best: [4.85], workload: "page tables over 16 MiB: random reads of 8 bytes" },
  T4: { best: [1.6], workload: "page tables: random reads of 4 KiB" },
  T1: { best: [0.16], workload: "page tables: random reads of 64 KiB" },
  T2: { best: [0.18], workload: "T1 with every seventh page unmapped" },
} as const satisfies Record<string, MfioRow>;

export type MfioName = keyof typeof MFIO;

/** A yardstick as a limit, with mfio's ratios to it as the goals. Of a range, the upper end is the mark. */
export function mfioMarks(name: MfioName, yardstick: keyof typeof YARDSTICKS): Against {
  const { block, best }: MfioRow = MFIO[name];
  const [low, high] = YARDSTICKS[yardstick];
  const middle = (low + high) / 2;
  const goals: Goal[] = [];
  if (block !== undefined) goals.push({ name: "mfio block_on", ratio: block / middle });
  const top = best?.at(-1);
  if (top !== undefined) goals.push({ name: "mfio best", ratio: top / middle });
  return { limit: `yardstick ${yardstick}`, goals };
}
