import { Coverage, chooseBlock, LEAST_BLOCK } from "../coverage.js";
import { EXIT, UsageError } from "../errors.js";
import { parseSize } from "../parse.js";
import { checkPicturePath } from "../picture-file.js";
import {
  blocksPerRow,
  coverageLegend,
  coverageLines,
  kindsIn,
  OF_PHYSICAL,
  OF_PROCESS,
  totalsText,
} from "../render/coverage.js";
import { coverageSvg, SVG_PER_ROW, SVG_ROWS } from "../render/coverage-svg.js";
import { escapeText, toJson } from "../render/escape.js";
import { bytesText, hex } from "../render/numbers.js";
import type { Session } from "../session.js";
import { type Extent, readExtent } from "../totals.js";
import { writeWhole } from "../write-file.js";

/** Options as the command line has them. */
export interface CoverageCommandOptions {
  readonly block?: string;
  readonly svg?: string;
}

/** Lines of a picture before blocks become larger: it fits in a terminal. */
const MAX_ROWS = 32;
/** The width of a terminal that doesn't say, and of none. */
const WIDTH = 80;
/** Blocks a row that `--json` chooses a size for: as a terminal of 80 columns shows. */
const JSON_PER_ROW = 64;
/** Rectangles of a picture come from so many blocks. */
const SVG_BLOCKS = 2 ** 18;

/** A block's size as typed. @throws {UsageError} */
export function parseBlock(text: string): number {
  const size = parseSize(text);
  if (size < BigInt(LEAST_BLOCK) || size > 1n << 60n || (size & (size - 1n)) !== 0n) {
    throw new UsageError(`--block: "${text}" is no power of two from 4K to 2^60`);
  }
  return Number(size);
}

/** `memtool coverage`. @returns the exit status. */
export async function coverage(session: Session, options: CoverageCommandOptions): Promise<number> {
  const block = options.block === undefined ? undefined : parseBlock(options.block);
  if (options.svg !== undefined) checkPicturePath(session, options.svg);
  const extent = await readExtent(session.machine);
  const json = session.options.json === true;
  if (options.svg !== undefined) saveSvg(session, extent, block, options.svg, json);
  if (json) await writeJson(session, extent, block);
  else if (options.svg === undefined) await writePicture(session, extent, block);
  return EXIT.ok;
}

const wordsOf = (session: Session) => (session.machine.physical === undefined ? OF_PROCESS : OF_PHYSICAL);

function measure(
  extent: Extent,
  block: number | undefined,
  perRow: number,
  rows: number,
  limit?: number,
): Coverage {
  const size = block ?? chooseBlock(extent.ranges(), perRow, rows);
  return new Coverage(extent.ranges(), extent.totals.end, size, limit);
}

async function writePicture(session: Session, extent: Extent, block: number | undefined): Promise<void> {
  const { out, environment, machine } = session;
  const { style } = environment;
  const words = wordsOf(session);
  const perRow = blocksPerRow(extent.totals.end, out.columns ?? columnsOf(environment.env) ?? WIDTH);
  const measured = measure(extent, block, perRow, MAX_ROWS);
  const heading = `${machine.name} (${machine.format}): ${bytesText(measured.blockSize)} a block, ${bytesText(measured.blockSize * perRow)} a row`;
  out.text(`${style.heading(escapeText(heading))}\n\n`);
  for (const line of coverageLines(measured, perRow, style, words)) {
    out.text(line);
    await out.settle();
  }
  const legend = coverageLegend(kindsIn(measured, perRow), style, words);
  out.text(`${legend === "" ? "" : `\n${legend}\n`}${totalsText(extent.totals, words)}`);
}

/** `COLUMNS`, for output that is no terminal. */
function columnsOf(env: Readonly<Record<string, string | undefined>>): number | undefined {
  const columns = /^[0-9]{1,4}$/.test(env.COLUMNS ?? "") ? Number(env.COLUMNS) : 0;
  return columns > 0 ? columns : undefined;
}

/** One object, written piece by piece: it may have a million blocks. */
async function writeJson(session: Session, extent: Extent, block: number | undefined): Promise<void> {
  const { out, machine } = session;
  const measured = measure(extent, block, JSON_PER_ROW, MAX_ROWS);
  const { present, zero, excluded, outside, end } = extent.totals;
  const head = toJson({
    target: machine.name,
    format: machine.format,
    blockSize: measured.blockSize,
    end: hex(BigInt(end)),
    present,
    ...(zero === undefined ? {} : { zero }),
    excluded,
    outside,
    blocks: [],
  });
  out.text(head.slice(0, -"]}".length));
  let first = true;
  for (const { start, end: stop, ...bytes } of measured.blocks()) {
    const rest = stop - start - bytes.present - bytes.excluded;
    out.text(`${first ? "" : ","}${toJson({ start: hex(start), end: hex(stop), ...bytes, outside: rest })}`);
    first = false;
    await out.settle();
  }
  out.text("]}\n");
}

/** The picture in a file. */
function saveSvg(
  session: Session,
  extent: Extent,
  block: number | undefined,
  path: string,
  json: boolean,
): void {
  const { svg, blockSize } = coveragePicture(session, extent, block);
  writeWhole(path, svg);
  if (!json) session.out.text(`${escapeText(path)}: ${bytesText(blockSize)} a block\n`);
}

/** The target's memory as a picture. @param facts What is told of it beside: names, and what they are. */
export function coveragePicture(
  session: Session,
  extent: Extent,
  block: number | undefined,
  facts: readonly (readonly [string, string])[] = [],
): { readonly svg: string; readonly blockSize: number } {
  const { machine } = session;
  const measured = measure(extent, block, SVG_PER_ROW, SVG_ROWS, SVG_BLOCKS);
  const svg = coverageSvg(measured, {
    title: `Memory in ${machine.name.replace(/^file:/, "")}`,
    subtitle: machine.image?.description ?? machine.format,
    facts,
    totals: extent.totals,
    words: wordsOf(session),
  });
  return { svg, blockSize: measured.blockSize };
}
