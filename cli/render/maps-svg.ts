/**
 * The picture of `memtool maps --svg`: an address space from low to high, in lines. What is mapped has a width by the
 * logarithm of its size, and so have gaps, but less of it; regions that large gaps part are lines of their own. It stands
 * by itself, with its legend in it, and follows the viewer's preference for light or dark.
 */
import type { Cell, Content } from "../map-cells.js";
import { cellWidth, gapWidth, type MapLine, placeCells, type Region } from "../map-lines.js";
import { bytesText, hex16 } from "./numbers.js";
import { MONO, shorten, textAt, xml } from "./svg.js";
import { rightsText } from "./translation.js";

/** What the picture says besides its cells. */
export interface MapsSvgText {
  readonly title: string;
  /** A line below it: which address space. */
  readonly subtitle: string;
}

/** What is drawn: see `MapCells`. */
export interface MapsSvgCells {
  readonly cells: readonly Cell[];
  readonly contents: ReadonlyMap<number, Content>;
  readonly totals: ReadonlyMap<number, number>;
  /** Page that was looked from on (default 0). */
  readonly start?: number;
}

const PAGE = 4096n;
const MARGIN = 24;
/** Width of a digit in the font of addresses, 12 pixels high. */
const DIGIT = 7.3;
/** Pixels of the lines' cells. */
const STRIP = 860;
/** Beside the last line of a region: what it holds. */
const ASIDE = 190;
const BAR = 26;
const LEFT = Math.ceil(MARGIN + 18 * DIGIT + 12);
const WIDTH = LEFT + STRIP + ASIDE + MARGIN;

const TEXT = "#1f2328";
const FAINT = "#59636e";
const LINE = "#afb8c1";

/** Light colours are the user's, dark ones the kernel's; red is what may be both written and executed. */
const COLOURS = {
  none: ["#d4c5f9", "#8250df"],
  read: ["#b6bec7", "#7d8590"],
  write: ["#79b8ff", "#2f6fdb"],
  execute: ["#6fdd8b", "#2da44e"],
  both: ["#ff8f87", "#cf222e"],
} as const;

/** The colour of pages. */
function colourOf({ access, swapped }: Content): string {
  if (access === undefined) return swapped ? "#e3b341" : "url(#unknown)";
  const { readable, writable, executable, user } = access;
  const kind = writable
    ? executable
      ? "both"
      : "write"
    : executable
      ? "execute"
      : readable
        ? "read"
        : "none";
  return COLOURS[kind][user ? 0 : 1];
}

/** What they are, in words. */
function nameOf({ access, swapped }: Content): string {
  if (access !== undefined) return rightsText(access);
  return swapped ? "swapped out" : "unknown: page tables are missing or malformed";
}

/** Over the colour of pages by size: the smallest plain, then hatched, then crossed. */
const HATCHES = [undefined, "url(#hatched)", "url(#crossed)"] as const;

const DEFINITIONS = `<defs>
<pattern id="unknown" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="6" height="6" fill="#ffd8a8"/><rect width="2.5" height="6" fill="#e8590c"/></pattern>
<pattern id="hatched" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="1.6" height="5" fill="#ffffff" fill-opacity="0.55"/></pattern>
<pattern id="crossed" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><path d="M0 0.8H5M0.8 0V5" stroke="#ffffff" stroke-opacity="0.7" stroke-width="1.6"/></pattern>
</defs>`;

/** Where the viewer likes it dark. (Who knows no style sheets sees it light.) */
const STYLES = `<style>
@media (prefers-color-scheme: dark) {
.paper { fill: #0d1117 } .text { fill: #e6edf3 } .faint { fill: #9198a1 } .line { stroke: #6e7681 }
}
</style>`;

/** The picture. Texts from the target are escaped. */
export function mapsSvg(drawn: MapsSvgCells, text: MapsSvgText): string {
  return new Picture(drawn, text).draw();
}

class Picture {
  readonly #drawn: MapsSvgCells;
  readonly #text: MapsSvgText;
  readonly #parts: string[] = [];
  /** Page sizes that occur, ascending. */
  readonly #sizes: readonly number[];
  #y = MARGIN + 16;

  constructor(drawn: MapsSvgCells, text: MapsSvgText) {
    this.#drawn = drawn;
    this.#text = text;
    const sizes = [...drawn.contents.values()].map(({ pageSize }) => pageSize).filter((size) => size !== 0);
    this.#sizes = [...new Set(sizes)].sort((a, b) => a - b);
  }

  draw(): string {
    const { title, subtitle } = this.#text;
    const { cells, start } = this.#drawn;
    this.#line(title, 18, "text", "600");
    this.#line(subtitle, 13, "faint");
    this.#line(
      "low addresses first; widths grow with the logarithm of sizes, those of gaps a third as fast",
      13,
      "faint",
    );
    this.#y += 10;
    if (cells.length === 0) this.#line("nothing is mapped", 13, "text");
    const lines = placeCells(cells, STRIP, start);
    for (const line of lines) this.#row(line);
    this.#y += 12;
    this.#legend(lines);
    this.#totals();
    const height = Math.ceil(this.#y + MARGIN - 8);
    return `<?xml version="1.0" encoding="UTF-8"?>
<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-labelledby="title about">
<title id="title">${xml(title)}</title>
<desc id="about">${xml(`${title}. ${subtitle}.`)}</desc>
${STYLES}
${DEFINITIONS}
<rect class="paper" width="${WIDTH}" height="${height}" fill="#ffffff"/>
${this.#parts.join("\n")}
</svg>
`;
  }

  #put(x: number, y: number, text: string, size: number, kind: "text" | "faint", weight = "400"): void {
    const fill = kind === "text" ? TEXT : FAINT;
    this.#parts.push(textAt(round(x), y, text, { size, fill, weight, class: kind }));
  }

  #line(text: string, size: number, kind: "text" | "faint", weight?: string): void {
    this.#put(MARGIN, this.#y, shorten(text), size, kind, weight);
    this.#y += Math.round(size * 1.5);
  }

  #row({ cells, gaps, gap, region }: MapLine): void {
    const [first, last] = [cells[0], cells[cells.length - 1]];
    if (first === undefined || last === undefined) return;
    if (gap !== 0) this.#gapAbove(gap, first.cell.from);
    const y = this.#y;
    const address = addressText(first.cell.from);
    const style = { size: 12, fill: TEXT, font: MONO, anchor: "end", class: "text" } as const;
    this.#parts.push(textAt(LEFT - 10, y + BAR / 2 + 4, address, style));
    for (const { x, width, pages } of gaps) this.#gapIn(LEFT + x, y, width, pages);
    for (const { cell, x, width } of cells) this.#cell(cell, LEFT + x, y, width);
    if (region !== undefined) this.#aside(region, LEFT + last.x + last.width + 10, y + BAR / 2 + 4);
    this.#y += BAR + 6;
  }

  /** What parts two regions, or lies below the first one. */
  #gapAbove(pages: number, to: number): void {
    const middle = 2 ** 51;
    const between = to >= middle && to - pages < middle && to - pages > 0 ? ", between the halves" : "";
    this.#y += 4;
    const x = LEFT + 4;
    const dots = [0, 4, 8].map((step) => `M${x} ${this.#y - 2 + step}v1.5`).join("");
    this.#parts.push(`<path class="line" d="${dots}" stroke="${LINE}" stroke-width="1.5"/>`);
    const text = `${bytesText(BigInt(pages) * PAGE)} not mapped${between}`;
    this.#put(LEFT + 14, this.#y + 6, text, 11, "faint");
    this.#y += 16;
  }

  /** A thin line where nothing is. */
  #gapIn(x: number, y: number, width: number, pages: number): void {
    const about = `${bytesText(BigInt(pages) * PAGE)} not mapped`;
    this.#parts.push(
      `<path class="line" d="M${round(x)} ${y + BAR / 2}h${round(width)}" stroke="${LINE}" stroke-width="1"><title>${about}</title></path>`,
    );
  }

  /** A cell of several kinds shows them on top of each other, by their share of bytes. */
  #cell(cell: Cell, x: number, y: number, width: number): void {
    const { contents } = this.#drawn;
    const kinds = [...cell.pages].sort(([, some], [, others]) => others - some);
    const sum = kinds.reduce((total, [, pages]) => total + pages, 0);
    const lowest = Math.min(3, BAR / kinds.length);
    const spare = BAR - lowest * kinds.length;
    const at = round(x);
    // (The paper shows between neighbours.)
    const wide = round(width - 0.6);
    const rects: string[] = [];
    let top = y;
    for (const [key, pages] of kinds) {
      const content = contents.get(key) as Content;
      const high = lowest + (spare * pages) / sum;
      const place = `x="${at}" y="${round(top)}" width="${wide}" height="${round(high)}"`;
      rects.push(`<rect ${place} fill="${colourOf(content)}"/>`);
      const hatch = this.#hatchOf(content.pageSize);
      if (hatch !== undefined) rects.push(`<rect ${place} fill="${hatch}"/>`);
      top += high;
    }
    this.#parts.push(`<g><title>${xml(this.#about(cell, kinds))}</title>${rects.join("")}</g>`);
  }

  #hatchOf(pageSize: number): string | undefined {
    return HATCHES[Math.min(this.#sizes.indexOf(pageSize), HATCHES.length - 1)];
  }

  /** A tooltip. */
  #about(cell: Cell, kinds: readonly (readonly [number, number])[]): string {
    const { contents } = this.#drawn;
    const parts = kinds.map(([key, pages]) => {
      const content = contents.get(key) as Content;
      const size = `${bytesText(BigInt(pages) * PAGE)} ${nameOf(content)}`;
      return content.pageSize === 0 ? size : `${size} in pages of ${bytesText(content.pageSize)}`;
    });
    return `${addressText(cell.from)} to ${addressText(cell.to)}: ${parts.join(", ")}`;
  }

  #aside({ from, to, mapped }: Region, x: number, y: number): void {
    const span = bytesText(BigInt(to - from) * PAGE);
    const held = bytesText(BigInt(mapped) * PAGE);
    this.#put(x, y, to - from === mapped ? held : `${held} in ${span}`, 11, "faint");
  }

  /** Colours and hatches that occur, and what widths mean. */
  #legend(lines: readonly MapLine[]): void {
    const { contents } = this.#drawn;
    const colours = new Map<string, string>();
    for (const content of contents.values()) colours.set(nameOf(content), colourOf(content));
    const swatch = (fill: string, hatch: string | undefined) => (x: number, y: number) => {
      const place = `x="${x}" y="${y}" width="16" height="13"`;
      this.#parts.push(`<rect ${place} fill="${fill}"/>`);
      if (hatch !== undefined) this.#parts.push(`<rect ${place} fill="${hatch}"/>`);
      return 16;
    };
    this.#entries(
      [...colours].sort(byName).map(([name, colour]) => [swatch(colour, undefined), name] as const),
    );
    this.#entries(
      this.#sizes
        .map((size, i) => {
          const more = i === HATCHES.length - 1 && this.#sizes.length > HATCHES.length ? " and larger" : "";
          return [
            swatch(COLOURS.write[1], this.#hatchOf(size)),
            `pages of ${bytesText(size)}${more}`,
          ] as const;
        })
        .slice(0, HATCHES.length),
    );
    if (lines.length === 0) return;
    const bar = (pages: number) => (x: number, y: number) => {
      const wide = round(cellWidth(pages));
      this.#parts.push(`<rect x="${x}" y="${y}" width="${wide}" height="13" fill="${COLOURS.read[1]}"/>`);
      return wide;
    };
    const gap = (pages: number) => (x: number, y: number) => {
      const wide = gapWidth(pages);
      this.#gapIn(x, y - BAR / 2 + 6.5, wide, pages);
      return round(wide);
    };
    this.#entries([
      ...[1, 2 ** 9, 2 ** 18, 2 ** 28].map((pages) => [bar(pages), bytesText(pages * 4096)] as const),
      [gap(1), "a gap of 4 KiB"] as const,
      [gap(2 ** 17), "of 512 MiB"] as const,
    ]);
  }

  /** Signs with their meaning, side by side. */
  #entries(entries: readonly (readonly [(x: number, y: number) => number, string])[]): void {
    let x = LEFT;
    for (const [draw, label] of entries) {
      const room = 90 + label.length * 6.6;
      if (x > LEFT && x + room > WIDTH - MARGIN) {
        x = LEFT;
        this.#y += 22;
      }
      x += draw(x, this.#y) + 6;
      this.#put(x, this.#y + 11, label, 12, "text");
      x = round(x + Math.ceil(label.length * 6.6) + 20);
    }
    this.#y += 24;
  }

  /** Bytes by rights. */
  #totals(): void {
    const { contents, totals } = this.#drawn;
    const rows = new Map<string, { pages: number; sizes: Set<number> }>();
    for (const [key, pages] of totals) {
      const content = contents.get(key) as Content;
      const name = content.access === undefined && !content.swapped ? "unknown" : nameOf(content);
      const { pageSize } = content;
      const row = rows.get(name) ?? { pages: 0, sizes: new Set() };
      row.pages += pages;
      if (pageSize !== 0) row.sizes.add(pageSize);
      rows.set(name, row);
    }
    this.#y += 6;
    for (const [name, { pages, sizes }] of [...rows].sort(byName)) {
      const y = this.#y + 11;
      const list = [...sizes].sort((a, b) => a - b).map((size) => bytesText(size));
      this.#parts.push(textAt(LEFT, y, name, { size: 12, fill: TEXT, font: MONO, class: "text" }));
      const amount = { size: 12, fill: TEXT, anchor: "end", class: "text" } as const;
      this.#parts.push(textAt(LEFT + 200, y, bytesText(BigInt(pages) * PAGE), amount));
      if (list.length !== 0) this.#put(LEFT + 214, y, `in pages of ${list.join(", ")}`, 12, "faint");
      this.#y += 18;
    }
  }
}

function byName([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Of a page; that behind the last one is 2^64. */
function addressText(page: number): string {
  const address = BigInt(page) * PAGE;
  return address === 1n << 64n ? "2^64" : hex16(address);
}

/** Pixels, to a tenth. */
function round(pixels: number): number {
  return Math.round(pixels * 10) / 10;
}
