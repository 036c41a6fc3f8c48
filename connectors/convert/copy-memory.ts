/** Goes over the memory of a machine in order, window by window, and tells what each part of it is. */
import type { DumpPlan } from "../../src/formats/index.js";
import { type AbortSignalLike, type FaultState, type Hole, MemtoolError } from "../../src/io/index.js";
import type { PhysicalMemory, PhysicalRange } from "../../src/memory/index.js";

/** Bytes that are read at once. */
export const WINDOW = 4 * 2 ** 20;
/** Ranges of a window; where there are more, it is cut short. */
const MAX_RANGES = 65_536;

/** Takes what was read, in ascending order. Bytes are the receiver's until its `settled` is called for the next window. */
export interface MemoryReceiver {
  /** Bytes that were read. */
  present(start: number, bytes: Uint8Array): void;
  /** RAM that the source does not have. */
  excluded(range: PhysicalRange): void;
  /** Bytes that should have been there and could not be read. */
  failed(start: number, end: number, state: FaultState): void;
  /** Waits until the memory of the last window is no longer needed. */
  settled?(): Promise<void>;
  /** A window is over; so many bytes of it were present, or should have been. */
  windowEnd?(bytes: number): void | Promise<void>;
}

/**
 * Reads all that the plan says is present. A window is read while what became of the one before is still being written.
 *
 * @param window Bytes that are read at once, at multiples of it.
 * @throws {MemtoolError} `ABORTED` once the signal has fired; what the receiver throws.
 */
export async function copyMemory(
  physical: PhysicalMemory,
  plan: DumpPlan,
  receiver: MemoryReceiver,
  signal: AbortSignalLike | undefined,
  window = WINDOW,
): Promise<void> {
  let items: PhysicalRange[] = [];
  let number = -1;
  const spares = [new Uint8Array(window), new Uint8Array(window)];
  const options = signal === undefined ? undefined : { signal };

  const dealWith = async (ranges: readonly PhysicalRange[]) => {
    const present = ranges.filter(({ state }) => state === "present");
    const start = present[0]?.start ?? 0;
    const length = (present[present.length - 1]?.end ?? 0) - start;
    const memory = spares.shift() as (typeof spares)[number];
    spares.push(memory);
    const read = memory.subarray(0, length);
    let holes: readonly Hole[] = [];
    if (length > 0) ({ holes } = await physical.readPartial(start, read, options));
    // Lets signals and timers have their turn, also where nothing had to be waited for.
    await new Promise<void>((done) => setImmediate(done));
    if (signal?.aborted === true) throw new MemtoolError("ABORTED", "interrupted");
    await receiver.settled?.();
    let bytes = 0;
    let next = 0;
    for (const range of ranges) {
      if (range.state !== "present") {
        receiver.excluded(range);
        continue;
      }
      bytes += range.end - range.start;
      for (let at = range.start; at < range.end; ) {
        while (next < holes.length && start + (holes[next] as Hole).end <= at) next++;
        const hole = holes[next];
        const from = hole === undefined ? range.end : Math.min(range.end, start + hole.start);
        if (from > at) {
          receiver.present(at, read.subarray(at - start, from - start));
          at = from;
        } else {
          const to = Math.min(range.end, start + (hole as Hole).end);
          receiver.failed(at, to, (hole as Hole).state);
          at = to;
        }
      }
    }
    await receiver.windowEnd?.(bytes);
  };

  for (const range of plan.ranges()) {
    if (items.length >= MAX_RANGES) {
      await dealWith(items);
      items = [];
      number = -1;
    }
    if (range.state !== "present") {
      items.push(range);
      continue;
    }
    for (let at = range.start; at < range.end; ) {
      const here = Math.floor(at / window);
      if (number >= 0 && here !== number) {
        await dealWith(items);
        items = [];
      }
      number = here;
      const end = Math.min(range.end, (here + 1) * window);
      items.push({ start: at, end, state: "present" });
      at = end;
    }
  }
  if (items.length > 0) await dealWith(items);
}
