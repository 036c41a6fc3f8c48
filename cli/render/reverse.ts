/** What `translate --reverse` shows: mappings of physical addresses, or of ranges of them. */
import {
  type InRoots,
  type ReverseMapping,
  type ReverseResult,
  type Root,
  rootName,
} from "../../src/paging/index.js";
import { bytesText, hex16 } from "./numbers.js";
import { RUN_HEADING, rightsText, runJson, runText } from "./translation.js";

/** Roots that a line names; the rest is counted. */
const NAMED = 4;

/** The headings of {@link reverseText}. */
export function reverseHeading(areRanges: boolean, roots: readonly Root[] | undefined): string {
  const heading = areRanges ? RUN_HEADING : "PHYSICAL            VIRTUAL             PAGES  RIGHTS";
  return roots === undefined ? heading : `${heading.padEnd(heading.length - 6 + RIGHTS)}  ROOTS`;
}

/** Width of the column of rights where another one follows. */
const RIGHTS = "rwx kernel global".length;

/**
 * One line: of an address where it is mapped; of a range the run that maps (a part of) it.
 *
 * @param roots All roots that were looked in, if there are several: the line then says in which it holds.
 */
export function reverseText(
  result: ReverseMapping,
  areRanges: boolean,
  roots: readonly Root[] | undefined,
): string {
  const { virtual, physical, length, pageSize } = result;
  let text: string;
  let rights: number;
  if (areRanges) {
    text = runText({ ...result, start: virtual, end: virtual + BigInt(length), state: undefined });
    rights = RUN_HEADING.length - "RIGHTS".length;
  } else {
    const where = `${hex16(physical)}  ${hex16(virtual)}  ${bytesText(pageSize).padStart(5)}  `;
    text = `${where}${rightsText(result)}`;
    rights = where.length;
  }
  return roots === undefined ? text : `${text.padEnd(rights + RIGHTS)}  ${rootsText(result, roots)}`;
}

function rootsText({ roots }: InRoots, all: readonly Root[]): string {
  if (roots.length === all.length && all.length > 1) return `all ${all.length}`;
  const named = roots.slice(0, NAMED).map(rootName).join(", ");
  return roots.length > NAMED ? `${named} and ${roots.length - NAMED} more` : named;
}

/** One line of `--json`; with `roots`, those in which it holds. */
export function reverseJson(
  result: ReverseResult,
  areRanges: boolean,
  roots: readonly Root[] | undefined,
): Record<string, unknown> {
  const inRoots =
    roots === undefined ? { root: rootName(result.root) } : { roots: result.roots.map(rootName) };
  if (result.state !== undefined) return { ...runJson(result), ...inRoots };
  const { virtual, length } = result;
  const run = { ...result, start: virtual, end: virtual + BigInt(length), state: undefined };
  const { start, end, physical, ...rest } = runJson(run);
  if (areRanges) return { start, end, physical, ...rest, ...inRoots };
  return { physical, virtual: start, ...rest, ...inRoots };
}
