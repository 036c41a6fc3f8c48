/** Ranges of memory, as the headers of LiME and AVML files tell of them, put in order: what `lime.ts` and `avml.ts` share. */
import { defaultScheduler, hex, Io, type Routine } from "../../io/index.js";
import type { PhysicalMap } from "../../memory/physical-map.js";
import type { Warnings } from "../errors.js";
import { AT_OR_OUTSIDE, Intervals, layIntervals, mapOfPieces } from "../pieces.js";
import type { DumpFile, DumpImage } from "../types.js";

/**
 * Ascending, disjoint pieces of ranges in the order of the file; where they overlap, the first one counts, and there is a
 * warning.
 *
 * @param gapsMayBeZero Whoever wrote the file leaves out blocks that are all zero: what lies below the last range and in
 * none is `excluded` ("or outside").
 */
export function layRanges(ranges: Intervals, gapsMayBeZero: boolean, warnings: Warnings): Intervals {
  let claimed = 0;
  let end = 0;
  for (let i = 0; i < ranges.length; i++) {
    claimed += (ranges.ends[i] as number) - (ranges.starts[i] as number);
    end = Math.max(end, ranges.ends[i] as number);
  }
  const pieces = layIntervals(ranges, "first");
  const laid = sizeOf(pieces);
  if (claimed > laid) {
    warnings.add(
      `ranges of memory overlap in ${hex(claimed - laid)} bytes: where they do, the first in the file counts`,
    );
  }
  if (!gapsMayBeZero || laid === end) return pieces;
  warnings.add(
    "memory is in blocks of 16 MiB, as AVML writes it, which leaves out blocks that are all zero: what lies between " +
      "those that are there may be such a block, or no RAM",
  );
  const filled = new Intervals();
  let at = 0;
  for (let i = 0; i < pieces.length; i++) {
    const start = pieces.starts[i] as number;
    if (start > at) filled.push(at, start, AT_OR_OUTSIDE);
    at = pieces.ends[i] as number;
    filled.push(start, at, pieces.targets[i] as number);
  }
  return filled;
}

function sizeOf({ starts, ends, length }: Intervals): number {
  let bytes = 0;
  for (let i = 0; i < length; i++) bytes += (ends[i] as number) - (starts[i] as number);
  return bytes;
}

/** `map` of an image of these pieces, and `mapWithZeros` if there are any that the file says to be zero. */
export function mapsOf(
  file: DumpFile,
  pieces: Intervals,
  zeros: number,
): Pick<DumpImage, "map" | "mapWithZeros"> {
  const map = mapOfPieces(pieces);
  if (zeros === 0) return { map };
  return { map, mapWithZeros: () => Io.of(file.scheduler ?? defaultScheduler, tellZeros, pieces) };
}

// biome-ignore lint/correctness/useYield: it is all known already.
function* tellZeros(pieces: Intervals): Routine<PhysicalMap> {
  return mapOfPieces(pieces, true);
}
