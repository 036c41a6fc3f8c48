/** What of a guest's physical memory there is: the runs of its nested tables, as far as the host's memory holds them. */
import { type Fault, faultState, hex, levelOf, type Routine } from "../../io/index.js";
import { type PhysicalMap, PhysicalMapBuilder } from "../../memory/physical-map.js";
import { statesWithin } from "../../memory/states-within.js";
import type { RunColumns } from "../maps/run-columns.js";
import type { VirtualMemory } from "../virtual-memory.js";

/** What of a guest's physical addresses is RAM. Sizes are bytes of guest-physical addresses. */
export interface GuestMap {
  readonly map: PhysicalMap;
  /** What the tables map, whether the host's memory holds it or not. */
  readonly bytesMapped: number;
  /** Entries of the nested tables that can't be, loops among them (KVM marks a device's addresses by such entries). */
  readonly malformed: number;
  /** Nested tables that can't be read. */
  readonly missingTables: number;
  /** What those may have mapped. */
  readonly bytesUnknown: number;
  /** What is odd, each a sentence. */
  readonly warnings: readonly string[];
}

/** Physical addresses end there (Intel SDM vol. 3A 4.1.4, AMD64 APM vol. 2 5.1: at most 52 bits). */
export const PHYSICAL_END = 2 ** 52;
/** Pieces of the host's map that are looked at: pages of 1 TiB, some seconds. */
const MAX_PIECES = 2 ** 28;
/** Ranges of the new map: 72 MiB. */
const MAX_RANGES = 2 ** 22;
/** A missing table of a level above this stands for more memory than guests have. */
const MAX_MISSING_LEVEL = 2;

/**
 * Goes through a guest's nested tables. What they map is present where the host's memory has it, else excluded or
 * outside, as the host's map says. What a table that can't be read may have mapped is excluded, as "or outside" (outside,
 * if that were 512 GiB or more).
 *
 * Of tables that map more than 2^28 pieces or 2^22 ranges, the rest is missing in the map, with a warning: reads do not go
 * by it.
 *
 * @param space The guest-physical addresses, as an address space over `host`'s.
 */
export function* mapOfGuest(space: VirtualMemory, host: PhysicalMap): Routine<GuestMap> {
  const builder = new PhysicalMapBuilder();
  const warnings: string[] = [];
  let bytesMapped = 0;
  let bytesUnknown = 0;
  let malformed = 0;
  let missingTables = 0;
  let pieces = 0;
  let cut: number | undefined;
  let columns: RunColumns | undefined;
  for (let at = 0; at < PHYSICAL_END; at = Number(columns.end)) {
    columns = yield* space.runs({ start: at, end: PHYSICAL_END }, columns);
    for (let row = 0; row < columns.length; row++) {
      const start = Number(columns.starts[row]);
      const length = columns.lengths[row] as number;
      const fault = columns.faults[row] as Fault;
      if (fault !== 0) {
        if (faultState(fault) !== "table-missing") {
          malformed++;
          continue;
        }
        const { level } = levelOf(fault);
        missingTables++;
        bytesUnknown += length;
        if (level <= MAX_MISSING_LEVEL) builder.push(start, start + length, "excluded", "or outside");
        continue;
      }
      bytesMapped += length;
      if (cut !== undefined) continue;
      const physical = columns.physical[row] as number;
      statesWithin(host, physical, physical + length, (from, to, state, reason) => {
        if (++pieces > MAX_PIECES || builder.length >= MAX_RANGES) {
          cut = start + from - physical;
          return false;
        }
        builder.push(start + from - physical, start + to - physical, state, reason);
        return true;
      });
    }
  }
  if (missingTables > 0) {
    warnings.push(
      `${missingTables} of the guest's nested tables can't be read: what of up to ${bytesUnknown} bytes they map is unknown`,
    );
  }
  if (cut !== undefined) {
    warnings.push(
      `the guest's nested tables map more than can be listed: its map ends at ${hex(cut)}, reads do not`,
    );
  }
  return { map: builder.build(), bytesMapped, malformed, missingTables, bytesUnknown, warnings };
}
