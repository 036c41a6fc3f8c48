/** Areas of `maps --rights`: what is mapped with one set of rights, wherever it lies. */
import type { MapArea, UnmappedArea } from "../../src/paging/index.js";
import { reasonText } from "./hole.js";
import { bytesText, hex, hex16 } from "./numbers.js";
import { rightsJson, rightsText } from "./translation.js";

/** The headings of {@link areaText}. */
export const AREA_HEADING = "START               END (EXCLUSIVE)              SIZE  RIGHTS      PAGES";

/** One line of `maps --rights`. */
export function areaText(area: MapArea): string {
  const range = `${hex16(area.start)}  ${hex16(area.end)}  ${sizeText(area)}`;
  if (area.state !== undefined) return `${range}  ${reasonText(reasonOf(area))}`;
  return `${range}  ${rightsText(area).padEnd(10)}  ${area.pageSizes.map(bytesText).join(", ")}`;
}

/** Bytes of a range, in a column. */
export function sizeText({ start, end }: { readonly start: bigint; readonly end: bigint }): string {
  return bytesText(end - start).padStart(14);
}

/** One line of `maps --rights --json`; `end` is exclusive, and may be 2^64. */
export function areaJson(area: MapArea): Record<string, unknown> {
  if (area.state !== undefined) return { start: hex(area.start), end: hex(area.end), ...reasonOf(area) };
  return { start: hex(area.start), end: hex(area.end), ...rightsJson(area), pageSizes: area.pageSizes };
}

function reasonOf({ state, level, cause }: UnmappedArea): Pick<UnmappedArea, "state" | "level" | "cause"> {
  return cause === undefined ? { state, level } : { state, level, cause };
}
