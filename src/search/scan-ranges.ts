/** What there is to scan in a space: ranges to read, and ranges that are known to be holes. */

import type { FaultState } from "../io/fault.js";
import type { Address } from "../io/packet-io.js";
import { IoSequence, type Sink } from "../io/sequence.js";
import type { Routine } from "../io/wait.js";
import type { AddressSpace } from "../memory/address-space.js";
import { PhysicalMemory } from "../memory/physical-memory.js";
import { RangeSpace } from "../memory/range-space.js";
import { VirtualMemory } from "../paging/virtual-memory.js";

/** A range, `end` exclusive; with a `state`, one that can't be read. */
export interface ScanRange {
  readonly start: bigint;
  readonly end: bigint;
  readonly state?: FaultState | undefined;
}

/** One range: what is there within it is scanned. Or several, ascending and disjoint, each read as it is. */
export type ScanRanges = { readonly start: Address; readonly end: Address } | readonly ScanRange[];

/** The ranges of a scan, ascending; touching ones of one kind as one. */
export function scanRanges(
  space: AddressSpace<Address>,
  ranges: ScanRanges | undefined,
): IoSequence<ScanRange> {
  return IoSequence.of(space.scheduler, rangesRoutine, space, ranges);
}

function* rangesRoutine(
  sink: Sink<ScanRange>,
  space: AddressSpace<Address>,
  ranges: ScanRanges | undefined,
): Routine<void> {
  if (ranges !== undefined && "length" in ranges) {
    for (const range of ranges) if (range.start < range.end) yield sink.emit(range);
    return;
  }
  const within = ranges === undefined ? ALL : { start: BigInt(ranges.start), end: BigInt(ranges.end) };
  if (space instanceof VirtualMemory) yield* mapped(sink, space, within);
  else for (const range of merged(known(space, within))) yield sink.emit(range);
}

const ALL = { start: 0n, end: 1n << 64n };

/** What a space that is no page tables' says of itself. */
function* known(space: AddressSpace<Address>, within: ScanRange): Generator<ScanRange, void, void> {
  // (A `PhysicalMemory` is no `AddressSpace<Address>`: its addresses are numbers.)
  const any: unknown = space;
  if (any instanceof PhysicalMemory) {
    for (const { start, end, state } of any.map.ranges()) {
      const range = clip(BigInt(start), BigInt(end), within);
      if (range !== undefined && state !== "outside")
        yield state === "present" ? range : { ...range, state: "excluded" };
    }
  } else if (any instanceof RangeSpace) {
    for (const { start, end } of any.ranges()) {
      const range = clip(start, end, within);
      if (range !== undefined) yield range;
    }
  } else if (within === ALL) {
    throw new RangeError(`${space.name}: nothing tells what is there: give the range to scan`);
  } else {
    yield within;
  }
}

function clip(start: bigint, end: bigint, within: ScanRange): ScanRange | undefined {
  const from = start > within.start ? start : within.start;
  const to = end < within.end ? end : within.end;
  return from < to ? { start: from, end: to } : undefined;
}

function* merged(ranges: Iterable<ScanRange>): Generator<ScanRange, void, void> {
  let last: ScanRange | undefined;
  for (const range of ranges) {
    if (last !== undefined && last.end === range.start && last.state === range.state) {
      last = { ...last, end: range.end };
      continue;
    }
    if (last !== undefined) yield last;
    last = range;
  }
  if (last !== undefined) yield last;
}

/** The mapped areas of page tables. Those that are swapped are read too: their area may be at hand. */
function* mapped(sink: Sink<ScanRange>, space: VirtualMemory, within: ScanRange): Routine<void> {
  if (within.start >= within.end) return;
  const areas = space.areas({ start: within.start, end: within.end }).cursor();
  let last: ScanRange | undefined;
  try {
    for (;;) {
      const next = yield* areas.next();
      if (next.done === true) break;
      const area = next.value;
      const range = clip(area.start, area.end, within);
      if (range === undefined) continue;
      const state = "state" in area && area.state !== "swapped" ? (area.state as FaultState) : undefined;
      if (last !== undefined && last.end === range.start && last.state === state) {
        last = { ...last, end: range.end };
        continue;
      }
      if (last !== undefined) yield sink.emit(last);
      last = { ...range, state };
    }
    if (last !== undefined) yield sink.emit(last);
  } finally {
    yield* areas.end();
  }
}
