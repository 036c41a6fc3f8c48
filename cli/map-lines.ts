/** Where the cells of an address space go in a picture: lines of them, at log scale, broken at large gaps. */
import type { Cell } from "./map-cells.js";

/** A cell, and where it begins and how wide it is, in pixels. */
export interface PlacedCell {
  readonly cell: Cell;
  readonly x: number;
  readonly width: number;
}

/** A gap within a line. */
export interface PlacedGap {
  readonly pages: number;
  readonly x: number;
  readonly width: number;
}

/** One line. */
export interface MapLine {
  readonly cells: PlacedCell[];
  readonly gaps: PlacedGap[];
  /** Pages of the gap above a line that begins a region; 0 for one that goes on. */
  readonly gap: number;
  /** What the region holds, beside its last line. */
  region: Region | undefined;
}

/** What lies together: no gap in it is as large as those around it. */
export interface Region {
  readonly from: number;
  to: number;
  /** Pages of 4 KiB that are not a gap. */
  mapped: number;
}

/** A gap of 1 GiB is large. */
const LARGE_GAP = 2 ** 18;
/** Regions of a picture: the largest gaps part them. */
const MAX_REGIONS = 40;

/** Pixels of so many pages of 4 KiB: 4 at least, and 2.4 for each doubling. */
export function cellWidth(pages: number): number {
  return 4 + 2.4 * Math.log2(Math.max(1, pages));
}

/** Pixels of a gap: 3 at least, and 0.8 for each doubling. */
export function gapWidth(pages: number): number {
  return 3 + 0.8 * Math.log2(Math.max(1, pages));
}

/**
 * Places cells, ascending, in lines of so many pixels.
 *
 * @param start Page that was looked from on: what is below it is no gap.
 */
export function placeCells(cells: readonly Cell[], width: number, start = 0): MapLine[] {
  const least = leastLargeGap(cells);
  const lines: MapLine[] = [];
  let line: MapLine | undefined;
  let x = 0;
  let region: Region | undefined;
  let before: Cell | undefined;
  let regions = 0;
  const beginLine = (gap: number): MapLine => {
    const begun = { cells: [], gaps: [], gap, region: undefined };
    lines.push(begun);
    x = 0;
    return begun;
  };
  for (const cell of cells) {
    const gap = cell.from - (before === undefined ? start : before.to);
    const wide = cellWidth(cell.to - cell.from);
    if (line === undefined || region === undefined || (gap >= least && regions < MAX_REGIONS)) {
      if (line !== undefined) line.region = region;
      region = { from: cell.from, to: cell.to, mapped: 0 };
      regions++;
      line = beginLine(gap);
    } else {
      const space = gap === 0 ? 0 : gapWidth(gap);
      if (x + space + wide > width) line = beginLine(0);
      if (gap !== 0) {
        line.gaps.push({ pages: gap, x, width: space });
        x += space;
      }
    }
    line.cells.push({ cell, x, width: wide });
    x += wide;
    region.to = cell.to;
    for (const pages of cell.pages.values()) region.mapped += pages;
    before = cell;
  }
  if (line !== undefined) line.region = region;
  return lines;
}

/** The least gap that parts regions: a large one, and one of the largest. */
function leastLargeGap(cells: readonly Cell[]): number {
  const gaps = Float64Array.from(
    { length: Math.max(0, cells.length - 1) },
    (_, i) => (cells[i + 1] as Cell).from - (cells[i] as Cell).to,
  ).sort();
  return Math.max(LARGE_GAP, gaps[gaps.length - (MAX_REGIONS - 1)] ?? 0);
}
