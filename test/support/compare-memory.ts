/** Compares an opened dump with a raw image of the same moment, every byte of it. */
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import type { Machine } from "../../connectors/index.js";
import { readPartial } from "../../src/index.js";

/** What was found; all in bytes. */
export interface Comparison {
  /** Read, and the same. */
  readonly same: number;
  /** Read, and other than in the raw image. */
  readonly different: number;
  /** Address of the first of those. */
  readonly firstDifference: number | undefined;
  /** Not read: by the state and reason of the fault. */
  readonly missing: Readonly<Record<string, number>>;
  /** Not read, and not zero in the raw image. */
  readonly missingNotZero: number;
  /** Bytes where a fault's state is not what the map says. */
  readonly unlikeMap: number;
}

const CHUNK = 4 * 2 ** 20;
const PAGE = 4096;

/**
 * Reads a dump from `start` on, as far as the raw file goes.
 *
 * @param start Physical address of the raw file's first byte.
 */
export async function compareMemory(machine: Machine, rawFile: string, start = 0): Promise<Comparison> {
  const { physical } = machine;
  if (physical === undefined) throw new Error("no physical memory");
  const fd = openSync(rawFile, "r");
  const { size } = fstatSync(fd);
  const raw = new Uint8Array(CHUNK);
  const missing: Record<string, number> = {};
  let [same, different, missingNotZero, unlikeMap] = [0, 0, 0, 0];
  let firstDifference: number | undefined;
  try {
    for (let at = 0; at < size; at += CHUNK) {
      const length = readSync(fd, raw, 0, Math.min(CHUNK, size - at), at);
      const { bytes, good, holes } = await readPartial(physical, start + at, length);
      for (const range of good) {
        for (let from = range.start; from < range.end; from += PAGE) {
          const to = Math.min(range.end, from + PAGE);
          if (Buffer.compare(bytes.subarray(from, to), raw.subarray(from, to)) === 0) {
            same += to - from;
          } else {
            different += to - from;
            firstDifference ??= start + at + from;
          }
        }
      }
      for (const hole of holes) {
        const said = physical.map.stateOf(start + at + hole.start);
        if (said !== hole.state) unlikeMap += hole.end - hole.start;
        const reason = physical.map.reasonOf(start + at + hole.start);
        const key = reason === undefined ? hole.state : `${hole.state} (${reason})`;
        missing[key] = (missing[key] ?? 0) + hole.end - hole.start;
        for (let i = hole.start; i < hole.end; i++) if (raw[i] !== 0) missingNotZero++;
      }
    }
  } finally {
    closeSync(fd);
  }
  return { same, different, firstDifference, missing, missingNotZero, unlikeMap };
}
