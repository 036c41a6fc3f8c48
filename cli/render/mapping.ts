/** Mappings of a process, as its system tells them. */
import type { ProcessMap } from "../../connectors/connectors.js";
import { escapeText } from "./escape.js";
import { hex, hex16 } from "./numbers.js";

/** A line of /proc/PID/maps, or as much of one as a connector knows. */
export type Mapping = Pick<ProcessMap, "start" | "end" | "offset"> & Partial<ProcessMap>;

/** The headings of {@link mappingText}. */
export const MAPPING_HEADING = "START               END (EXCLUSIVE)     RIGHTS       FILE";

/** One line of `maps` of a process. */
export function mappingText(mapping: Mapping): string {
  const { start, end, readable, writable, executable, shared, path = "" } = mapping;
  const range = `${hex16(start)}  ${hex16(end)}`;
  if (readable === undefined) return range;
  const rights = `${readable ? "r" : "-"}${writable ? "w" : "-"}${executable ? "x" : "-"}`;
  return `${range}  ${rights} ${shared ? "shared " : "private"}  ${escapeText(path)}`.trimEnd();
}

/** One line of `maps --json` of a process; `offset` is that of the first byte in the file. */
export function mappingJson(mapping: Mapping): Record<string, unknown> {
  const { start, end, readable, writable, executable, shared, offset, path } = mapping;
  const range = { start: hex(start), end: hex(end) };
  if (readable === undefined) return range;
  return { ...range, readable, writable, executable, shared, offset: hex(offset), path };
}
