/** What `maps --diff` shows: ranges in which two address spaces differ. */
import type { DifferenceSide, MapDifference, SwappedSide, UnknownSide } from "../../src/paging/index.js";
import { sizeText } from "./area.js";
import { reasonText } from "./hole.js";
import { bytesText, hex, hex16 } from "./numbers.js";
import { rightsJson, rightsText } from "./translation.js";

/** The headings of {@link differenceText}. */
export const DIFFERENCE_HEADING =
  "  START               END (EXCLUSIVE)              SIZE  RIGHTS      PAGES, FRAMES";

/** The first character of a line. */
const MARKS = { "only-first": "-", "only-second": "+", changed: "~", unknown: "?" } as const;

/** One line of `maps --diff`. */
export function differenceText(difference: MapDifference): string {
  const { start, end, kind } = difference;
  const range = `${MARKS[kind]} ${hex16(start)}  ${hex16(end)}  ${sizeText({ start, end })}`;
  switch (difference.kind) {
    case "only-first":
      return `${range}  ${sideText(difference.first)}`;
    case "only-second":
      return `${range}  ${sideText(difference.second)}`;
    case "changed":
      return `${range}  ${changeText(difference)}`;
    default:
      return `${range}  ${[...unknownText("first", difference.first), ...unknownText("second", difference.second)].join("; ")}`;
  }
}

type Side = DifferenceSide | SwappedSide;

function sideText(side: Side): string {
  if (side.state !== undefined) return side.state;
  const frames = side.physical === undefined ? "" : `, at ${hex(side.physical)}`;
  return `${rightsText(side).padEnd(10)}  ${sizesText(side)}${frames}`;
}

function sizesText({ pageSizes }: DifferenceSide): string {
  return pageSizes.map(bytesText).join("+");
}

/** Only what differs is shown from both sides. */
function changeText(change: Extract<MapDifference, { kind: "changed" }>): string {
  const { first, second, frames, rights, pageSize } = change;
  if (first.state !== undefined || second.state !== undefined) {
    return `${sideText(first)} → ${sideText(second)}`;
  }
  const parts: string[] = [];
  if (rights) parts.push(`${rightsText(first)} → ${rightsText(second)}`);
  else parts.push(rightsText(first).padEnd(10));
  const sizes = pageSize ? `${sizesText(first)} → ${sizesText(second)}` : sizesText(first);
  if (!frames) return [...parts, sizes].join("  ");
  const places = [first, second].map(({ physical }) => (physical === undefined ? undefined : hex(physical)));
  const known = places.every((place) => place !== undefined);
  return [...parts, `${sizes}, ${known ? `${places[0]} → ${places[1]}` : "other frames"}`].join("  ");
}

function unknownText(name: string, side: UnknownSide | undefined): string[] {
  if (side === undefined) return [];
  return [`not known of the ${name}: ${reasonText(side)}`];
}

/** One line of `maps --diff --json`; `end` is exclusive, and may be 2^64. */
export function differenceJson(difference: MapDifference): Record<string, unknown> {
  const { start, end, kind, ...rest } = difference;
  const sides: Record<string, unknown> = {};
  for (const name of ["first", "second"] as const) {
    const side = name in rest ? (rest as Partial<Record<typeof name, Side | UnknownSide>>)[name] : undefined;
    if (side !== undefined) sides[name] = side.state === undefined ? sideJson(side) : side;
  }
  const { frames, rights, pageSize } = rest as Partial<Extract<MapDifference, { kind: "changed" }>>;
  const changes = kind === "changed" ? { frames, rights, pageSize } : {};
  return { start: hex(start), end: hex(end), kind, ...changes, ...sides };
}

function sideJson(side: DifferenceSide): Record<string, unknown> {
  const frames = side.physical === undefined ? {} : { physical: hex(side.physical) };
  return { ...frames, ...rightsJson(side), pageSizes: side.pageSizes };
}
