/** The picture of `memtool coverage` in a terminal: a character a block. */
import { type BlockKind, type Coverage, kindOf } from "../coverage.js";
import type { Style } from "../style.js";
import { ramOf, type Totals } from "../totals.js";
import { bytesText, hex } from "./numbers.js";
import { reasonWords } from "./reasons.js";
import { fields } from "./table.js";

/** Characters tell all that colours do, for those who see none. */
const CHARACTERS: Readonly<Record<BlockKind, string>> = {
  present: "█",
  most: "▓",
  some: "▒",
  few: "░",
  zero: "0",
  excluded: "x",
  outside: "·",
};

const COLOURS: Readonly<Record<BlockKind, (style: Style) => (text: string) => string>> = {
  present: (style) => style.present,
  most: (style) => style.present,
  some: (style) => style.present,
  few: (style) => style.present,
  zero: (style) => style.zero,
  excluded: (style) => style.missing,
  outside: (style) => style.dim,
};

/** Of a process nothing is excluded, and what is not there is not mapped. */
export interface CoverageWords {
  readonly present: string;
  readonly outside: string;
}

/** Of physical memory. */
export const OF_PHYSICAL: CoverageWords = { present: "present", outside: "outside" };
/** Of a process. */
export const OF_PROCESS: CoverageWords = { present: "mapped", outside: "not mapped" };

/** Digits of addresses below `end`. */
function labelWidth(end: number): number {
  return hex(Math.max(0, end - 1)).length;
}

/** Blocks of a row that fit beside their address: a power of two, 8 at least. @param width Of the terminal, in characters. */
export function blocksPerRow(end: number, width: number): number {
  const room = width - labelWidth(end) - 1;
  return 2 ** Math.max(3, Math.min(8, Math.floor(Math.log2(Math.max(1, room)))));
}

/** The rows, a line each; gaps in one line. */
export function* coverageLines(
  coverage: Coverage,
  perRow: number,
  style: Style,
  words: CoverageWords = OF_PHYSICAL,
): Generator<string, void, void> {
  const width = labelWidth(coverage.end);
  for (const { start, end, blocks } of coverage.rows(perRow)) {
    if (blocks === undefined) {
      const gap = `… ${bytesText(end - start)} ${words.outside}, up to ${hex(end)}`;
      yield `${" ".repeat(width)} ${style.dim(gap)}\n`;
      continue;
    }
    let line = `0x${start.toString(16).padStart(width - 2, "0")} `;
    let run = "";
    let last: BlockKind | undefined;
    for (const block of blocks) {
      const kind = kindOf(block);
      if (last !== undefined && kind !== last) {
        line += COLOURS[last](style)(run);
        run = "";
      }
      run += CHARACTERS[kind];
      last = kind;
    }
    if (last !== undefined) line += COLOURS[last](style)(run);
    yield `${line}\n`;
  }
}

/** What the characters mean that occur. */
export function coverageLegend(
  kinds: ReadonlySet<BlockKind>,
  style: Style,
  words: CoverageWords = OF_PHYSICAL,
): string {
  const sign = (kind: BlockKind) => COLOURS[kind](style)(CHARACTERS[kind]);
  const parts: string[] = [];
  if (kinds.has("present")) parts.push(`${sign("present")} ${words.present}`);
  const partly = (["most", "some", "few"] as const).some((kind) => kinds.has(kind));
  if (partly) parts.push(`${sign("most")}${sign("some")}${sign("few")} partly (over 2/3, over 1/3, less)`);
  if (kinds.has("zero")) parts.push(`${sign("zero")} present, all zero`);
  if (kinds.has("excluded")) parts.push(`${sign("excluded")} excluded`);
  if (kinds.has("outside")) parts.push(`${sign("outside")} ${words.outside}`);
  return parts.length === 0 ? "" : `${parts.join("   ")}\n`;
}

/** The kinds that a picture has, those of blocks between others among them. */
export function kindsIn(coverage: Coverage, perRow: number): Set<BlockKind> {
  const kinds = new Set<BlockKind>();
  for (const { blocks = [] } of coverage.rows(perRow)) for (const block of blocks) kinds.add(kindOf(block));
  return kinds;
}

/** Names and values of the sums, for people. */
export function totalsFields(
  totals: Totals,
  words: CoverageWords = OF_PHYSICAL,
): (readonly [string, string | undefined])[] {
  const { present, zero, outside } = totals;
  const excluded = Object.entries(totals.excluded);
  const of = excluded.length === 0 ? "" : ` of ${ramText(totals)}`;
  const zeros = zero === undefined ? "" : `, ${bytesText(zero)} of it marked as zero`;
  return [
    [words.present, `${bytesText(present)}${of}${zeros}`],
    ...excluded.map(
      ([reason, bytes], i) =>
        [i === 0 ? "excluded" : "", `${bytesText(bytes)}, ${reasonWords(reason)}`] as const,
    ),
    [words.outside, outside === 0 ? undefined : `${bytesText(outside)} below ${hex(totals.end)}`],
  ];
}

/** The size of RAM, as far as the dump tells. */
function ramText(totals: Totals): string {
  const most = bytesText(ramOf(totals));
  return `${most} RAM${"or outside" in totals.excluded ? " at most" : ""}`;
}

/** The same as text. */
export function totalsText(totals: Totals, words: CoverageWords = OF_PHYSICAL): string {
  return fields(totalsFields(totals, words));
}
