/** Mappings of a process, as its system tells them. */
import type { MappedRange } from "../../connectors/connectors.js";
import type { RangeTranslation } from "../../src/memory/index.js";
import { type PageAt, type PageCounts, pageJson, pageText } from "../process-pages.js";
import { escapeText } from "./escape.js";
import { hex, hex16 } from "./numbers.js";

/** A line of /proc/PID/maps, or as much of one as a connector knows. */
export type Mapping = MappedRange & {
  /** How many of its pages are what, where that was asked for. */
  readonly pages?: PageCounts;
};

/** The headings of {@link mappingText}. */
export const MAPPING_HEADING = "START               END (EXCLUSIVE)     RIGHTS       FILE";

/** The same with `--pages`: columns of {@link PageCounts}. */
export const MAPPING_PAGES_HEADING =
  "START               END (EXCLUSIVE)      PRESENT  SWAPPED EXCLUSIVE SOFT-DIRTY  RIGHTS       FILE";

/** The part of a mapping from `start` to `end`; the offset in a file moves along. */
export function partOf(mapping: Mapping, start: bigint, end: bigint): Mapping {
  const { offset, inode = 0 } = mapping;
  if (offset === undefined || inode === 0) return { ...mapping, start, end };
  return { ...mapping, start, end, offset: offset + start - mapping.start };
}

/** One line of `maps` of a process. */
export function mappingText(mapping: Mapping): string {
  const range = `${hex16(mapping.start)}  ${hex16(mapping.end)}`;
  return `${range}${countsText(mapping)}  ${rightsText(mapping)}${escapeText(mapping.path ?? "")}`.trimEnd();
}

function countsText({ pages }: Mapping): string {
  if (pages === undefined) return "";
  const { present, swapped, exclusive, softDirty } = pages;
  const cell = (count: number, width: number) => ` ${String(count).padStart(width)}`;
  return ` ${cell(present, 8)}${cell(swapped, 8)}${cell(exclusive, 9)}${cell(softDirty, 10)}`;
}

/** One line of `maps --json` of a process; `offset` is that of the first byte in the file. */
export function mappingJson(mapping: Mapping): Record<string, unknown> {
  const { pages } = mapping;
  const counts = pages === undefined ? {} : { pages };
  return { start: hex(mapping.start), end: hex(mapping.end), ...factsJson(mapping), ...counts };
}

/**
 * One line of `translate` of a process: the rights, the file with the offset of the byte in it, and where the page is if the
 * system tells.
 */
export function mappedText(result: RangeTranslation<Mapping>, page?: PageAt): string {
  const address = hex16(result.virtual);
  if (result.state !== undefined) return `${address}  not mapped`;
  const { path = "", offset = 0n, inode = 0 } = partOf(result.range, result.virtual, result.range.end);
  const place = inode === 0 ? "" : `+${hex(offset)}`;
  const where = page === undefined ? "" : `  ${pageText(page)}`;
  return `${address}  ${rightsText(result.range)}${`${escapeText(path)}${place}${where}`.trim()}`.trimEnd();
}

/** The same of `translate --json`; `start` and `end` are those of the mapping, `offset` that of the byte. */
export function mappedJson(result: RangeTranslation<Mapping>, page?: PageAt): Record<string, unknown> {
  const { virtual } = result;
  if (result.state !== undefined) return { virtual: hex(virtual), state: result.state };
  const { start, end } = result.range;
  const facts = factsJson(partOf(result.range, virtual, end));
  return {
    virtual: hex(virtual),
    start: hex(start),
    end: hex(end),
    ...facts,
    ...(page === undefined ? {} : pageJson(page)),
  };
}

/** `rw-p`, as /proc/PID/maps has it; `undefined` where the connector does not tell. */
export function mappingRights({ readable, writable, executable, shared }: Mapping): string | undefined {
  if (readable === undefined) return undefined;
  return `${readable ? "r" : "-"}${writable ? "w" : "-"}${executable ? "x" : "-"}${shared ? "s" : "p"}`;
}

function rightsText(mapping: Mapping): string {
  const rights = mappingRights(mapping);
  if (rights === undefined) return "";
  return `${rights.slice(0, 3)} ${mapping.shared ? "shared " : "private"}  `;
}

function factsJson({
  readable,
  writable,
  executable,
  shared,
  offset,
  path,
}: Mapping): Record<string, unknown> {
  if (readable === undefined) return {};
  return { readable, writable, executable, shared, offset: hex(offset ?? 0n), path };
}
