/** Physical memory that is plain arrays, with every state that a byte can have: what conversions are tested on. */
import fc from "fast-check";
import type { DumpSink } from "../../src/formats/index.js";
import { type ExcludedReason, fault, layer, type PacketIo, Scheduler } from "../../src/io/index.js";
import { PhysicalMap, PhysicalMemory, type PhysicalRange } from "../../src/memory/index.js";
import { pattern } from "./bytes.js";
import type { SourceModel } from "./convert-model.js";

/** A run of bytes of one state. */
export interface ModelRun {
  readonly state: "present" | "zero" | "failed" | "outside" | ExcludedReason;
  readonly length: number;
  readonly seed: number;
}

/** What reading a run that is `failed` fails with. */
const BROKEN = fault("malformed", "page", "codec");
const OUTSIDE = fault("outside", "address", "format");
const EXCLUDED = fault("excluded", "page", "format");

/** Memory of such runs, from address 0 on, and what it is. */
export function modelMemory(runs: readonly ModelRun[]): {
  readonly physical: PhysicalMemory;
  readonly source: SourceModel;
} {
  const size = runs.reduce((sum, { length }) => sum + length, 0);
  const bytes = new Uint8Array(size);
  const states: string[] = [];
  const ranges: PhysicalRange[] = [];
  let at = 0;
  for (const { state, length, seed } of runs) {
    const end = at + length;
    if (state === "present") bytes.set(pattern(length, seed), at);
    if (state === "present" || state === "zero" || state === "failed") {
      ranges.push({ start: at, end, state: "present" });
    } else if (state !== "outside") {
      ranges.push({ start: at, end, state: "excluded", reason: state });
    }
    const shown =
      state === "zero"
        ? "present"
        : state === "present" || state === "failed" || state === "outside"
          ? state
          : state === "or outside"
            ? "unsure"
            : "excluded";
    for (let i = 0; i < length; i++) states.push(shown);
    at = end;
  }
  const io: PacketIo<number> = layer(new Scheduler(), (address: number, view) => {
    let rest = view;
    for (let here = address; ; ) {
      const state = here < size ? (states[here] as string) : "outside";
      let end = here;
      while (end < here + rest.length && (end < size ? states[end] : "outside") === state) end++;
      const piece = rest;
      const more = end < here + rest.length ? rest.split(end - here) : undefined;
      if (state === "present") piece.transfer(bytes.subarray(here, end));
      else piece.fail(state === "failed" ? BROKEN : state === "outside" ? OUTSIDE : EXCLUDED);
      if (more === undefined) return;
      rest = more;
      here = end;
    }
  });
  return {
    physical: new PhysicalMemory(io, { map: PhysicalMap.from(ranges), cacheBytes: 0 }),
    source: { bytes, states },
  };
}

/** Runs of any states, some of whole pages. */
export const modelRuns: fc.Arbitrary<ModelRun[]> = fc.array(
  fc.record({
    state: fc.constantFrom<ModelRun["state"]>(
      "present",
      "present",
      "zero",
      "failed",
      "outside",
      "unknown",
      "zero",
      "user",
      "or outside",
      "truncated",
    ),
    length: fc.oneof(fc.constantFrom(4096, 8192, 12_288), fc.integer({ min: 1, max: 6000 })),
    seed: fc.nat(1000),
  }),
  { minLength: 1, maxLength: 9 },
);

/** A sink in memory. What was never written is zeros. */
export class MemorySink implements DumpSink {
  #bytes = new Uint8Array(65_536);

  write(offset: number, bytes: Uint8Array): void {
    const end = offset + bytes.length;
    if (end > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(end, 2 * this.#bytes.length));
      larger.set(this.#bytes);
      this.#bytes = larger;
    }
    this.#bytes.set(bytes, offset);
  }

  /** The file, cut or filled with zeros to a length. */
  file(size: number): Uint8Array {
    const file = new Uint8Array(size);
    file.set(this.#bytes.subarray(0, size));
    return file;
  }
}
