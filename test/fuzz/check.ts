/** What must hold of any bytes that are opened as a dump: errors that say where, holes that agree with the map, no more. */
import { type DumpImage, FormatError } from "../../src/formats/index.js";
import { readPartial } from "../../src/io/index.js";
import { type DumpInput, openInput } from "../support/format-suite.js";

/** Ranges of a map that are looked at: a hostile one has any number. */
const MAX_RANGES = 2000;

/** Reads the first `size` bytes of physical memory and the map. @throws for whatever must not be. */
export function check(input: DumpInput, size: number): void {
  let image: DumpImage;
  try {
    image = openInput(input).sync();
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    if (!/\.(dump|vm\w+)/.test(error.message)) throw new Error(`names no file: ${error.message}`);
    return;
  }
  const { map } = image;
  const { bytes, good, holes } = readPartial(image.io, 0, size).sync();
  let covered = 0;
  for (const { start, end } of good) {
    covered += end - start;
    for (let at = start; at < end; at += 64) {
      if (map.stateOf(at) !== "present")
        throw new Error(`readable at ${at}, where the map says ${map.stateOf(at)}`);
    }
  }
  for (const { start, end, state } of holes) {
    covered += end - start;
    if (state === "unanswered") throw new Error(`unanswered at ${start}`);
    const said = map.stateOf(start);
    if (said !== "present" && said !== state)
      throw new Error(`${state} at ${start}, where the map says ${said}`);
  }
  if (covered !== size) throw new Error(`${covered} of ${size} bytes are accounted for`);
  checkRanges(map.ranges());
  const zeros = image.mapWithZeros?.().sync();
  if (zeros === undefined) return;
  checkRanges(zeros.ranges());
  if (zeros.bytesPresent !== map.bytesPresent || zeros.bytesExcluded !== map.bytesExcluded) {
    throw new Error("the map with zeros counts other bytes than the map");
  }
  const isGood = new Uint8Array(size);
  for (const { start, end } of good) isGood.fill(1, start, end);
  let seen = 0;
  for (const { start, end, zero } of zeros.ranges()) {
    if (start >= size || ++seen > MAX_RANGES) break;
    if (zero !== true) continue;
    for (let at = start; at < Math.min(end, size); at++) {
      if (isGood[at] === 1 && bytes[at] !== 0)
        throw new Error(`${bytes[at]} at ${at}, where the map says zero`);
    }
  }
}

function checkRanges(ranges: Iterable<{ readonly start: number; readonly end: number }>): void {
  let before = 0;
  let seen = 0;
  for (const { start, end } of ranges) {
    if (start < before || end <= start) throw new Error(`range ${start} to ${end} after ${before}`);
    before = end;
    if (++seen > MAX_RANGES) return;
  }
}
