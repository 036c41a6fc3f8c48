/** The picture of `memtool coverage` and `memtool info` as SVG: a file that stands by itself, with its title, addresses and legend in it. */
import { type Block, type BlockKind, type Coverage, kindOf, type Row } from "../coverage.js";
import { ramOf, type Totals } from "../totals.js";
import type { CoverageWords } from "./coverage.js";
import { bytesText, hex } from "./numbers.js";
import { reasonWords } from "./reasons.js";
import { MONO, shorten, textAt, xml } from "./svg.js";

/** Blocks of a row, and rows before blocks become larger. */
export const SVG_PER_ROW = 128;
export const SVG_ROWS = 48;

/** Light to dark green by share present; orange stands out of it also for who sees no green, and is hatched. */
const FILL: Readonly<Record<BlockKind, string>> = {
  present: "#1a7f37",
  most: "#57ab6a",
  some: "#96cfa3",
  few: "#cfeed6",
  zero: "#6cb6ff",
  excluded: "url(#left-out)",
  outside: "#eaeef2",
};
const TEXT = "#1f2328";
const FAINT = "#59636e";

const CELL = 7;
const ROW = 14;
const ROW_GAP = 2;
const MARGIN = 24;
/** Of the column of facts' names. */
const NAME_WIDTH = 130;
/** Width of a digit in the font of addresses, 12 pixels high. */
const DIGIT = 7.3;

/** What the picture says besides its blocks. */
export interface SvgText {
  readonly title: string;
  /** A line below it: the format. */
  readonly subtitle: string;
  /** Facts below that: names, and what they are. */
  readonly facts?: readonly (readonly [string, string])[];
  readonly totals: Totals;
  readonly words: CoverageWords;
}

/** The picture. Texts from the target are escaped. */
export function coverageSvg(coverage: Coverage, text: SvgText, perRow = SVG_PER_ROW): string {
  return new Picture(coverage, text, perRow).draw();
}

class Picture {
  readonly #coverage: Coverage;
  readonly #text: SvgText;
  readonly #perRow: number;
  readonly #parts: string[] = [];
  readonly #left: number;
  readonly #width: number;
  readonly #digits: number;
  readonly #kinds = new Set<BlockKind>();
  #y = 0;

  constructor(coverage: Coverage, text: SvgText, perRow: number) {
    this.#coverage = coverage;
    this.#text = text;
    this.#perRow = perRow;
    this.#digits = Math.max(0, coverage.end - 1).toString(16).length;
    this.#left = Math.ceil(MARGIN + (this.#digits + 2) * DIGIT + 12);
    this.#width = this.#left + Math.max(perRow * CELL, 560) + MARGIN;
  }

  draw(): string {
    const { title, subtitle } = this.#text;
    const { blockSize } = this.#coverage;
    this.#y = MARGIN + 16;
    this.#line(title, 18, TEXT, "600");
    this.#line(subtitle, 13, FAINT);
    this.#facts(this.#text.facts ?? []);
    this.#line(
      `each square is ${bytesText(blockSize)}, each row ${bytesText(blockSize * this.#perRow)}`,
      13,
      FAINT,
    );
    this.#y += 8;
    this.#axis();
    for (const row of this.#coverage.rows(this.#perRow)) this.#row(row);
    this.#y += 14;
    this.#legend();
    this.#y += 10;
    this.#totals();
    const height = Math.ceil(this.#y + MARGIN - 8);
    const about = xml(`${title}. ${subtitle}.`);
    return `<?xml version="1.0" encoding="UTF-8"?>
<svg xmlns="http://www.w3.org/2000/svg" width="${this.#width}" height="${height}" viewBox="0 0 ${this.#width} ${height}" role="img" aria-labelledby="title about">
<title id="title">${xml(title)}</title>
<desc id="about">${about}</desc>
<defs><pattern id="left-out" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="5" height="5" fill="#ffd8a8"/><rect width="2" height="5" fill="#e8590c"/></pattern></defs>
<rect width="${this.#width}" height="${height}" fill="#ffffff"/>
${this.#parts.join("\n")}
</svg>
`;
  }

  #line(text: string, size: number, fill: string, weight = "400"): void {
    this.#parts.push(textAt(MARGIN, this.#y, shorten(text), { size, fill, weight }));
    this.#y += Math.round(size * 1.5);
  }

  #facts(facts: readonly (readonly [string, string])[]): void {
    if (facts.length === 0) return;
    this.#y += 6;
    for (const [name, value] of facts) {
      this.#parts.push(
        textAt(MARGIN, this.#y, shorten(name), { size: 13, fill: FAINT }),
        textAt(MARGIN + NAME_WIDTH, this.#y, shorten(value), { size: 13, fill: TEXT }),
      );
      this.#y += 19;
    }
    this.#y += 12;
  }

  /** How far each quarter of a row is from its beginning. */
  #axis(): void {
    const { blockSize } = this.#coverage;
    for (let quarter = 0; quarter < 4; quarter++) {
      const blocks = (quarter * this.#perRow) / 4;
      const x = this.#left + blocks * CELL;
      const label = quarter === 0 ? "+0" : `+${bytesText(blocks * blockSize)}`;
      this.#parts.push(textAt(x, this.#y, label, { size: 11, fill: FAINT }));
      this.#parts.push(`<path d="M${x + 0.5} ${this.#y + 3}v4" stroke="#d1d9e0"/>`);
    }
    this.#y += 9;
  }

  #row({ start, end, blocks }: Row): void {
    const { words } = this.#text;
    const y = this.#y;
    if (blocks === undefined) {
      const label = `${bytesText(end - start)} ${words.outside}, up to ${hex(end)}`;
      const middle = y + ROW / 2;
      this.#parts.push(
        `<path d="M${this.#left} ${middle}h${this.#perRow * CELL}" stroke="#d1d9e0" stroke-dasharray="2 3"/>`,
        `<rect x="${this.#left + 12}" y="${y}" width="${Math.ceil(label.length * 6.6) + 16}" height="${ROW}" fill="#ffffff"/>`,
        textAt(this.#left + 20, y + 11, label, { size: 12, fill: FAINT }),
      );
      this.#y += ROW + ROW_GAP + 4;
      return;
    }
    const address = `0x${start.toString(16).padStart(this.#digits, "0")}`;
    this.#parts.push(
      textAt(this.#left - 10, y + 11, address, { size: 12, fill: TEXT, font: MONO, anchor: "end" }),
    );
    // Neighbours of one kind are one rectangle: a picture has thousands of blocks.
    for (let from = 0; from < blocks.length; ) {
      const kind = kindOf(blocks[from] as Block);
      let to = from + 1;
      while (to < blocks.length && kindOf(blocks[to] as Block) === kind) to++;
      this.#kinds.add(kind);
      const x = this.#left + from * CELL;
      const about = xml(describeBlocks(blocks.slice(from, to), words));
      this.#parts.push(
        `<rect x="${x}" y="${y}" width="${(to - from) * CELL}" height="${ROW}" fill="${FILL[kind]}"><title>${about}</title></rect>`,
      );
      from = to;
    }
    this.#grid(y, blocks.length);
    this.#y += ROW + ROW_GAP;
  }

  /** Thin lines between the squares of a row. */
  #grid(y: number, blocks: number): void {
    const lines = Array.from({ length: blocks - 1 }, (_, i) => `M${this.#left + (i + 1) * CELL} ${y}v${ROW}`);
    if (lines.length > 0) {
      this.#parts.push(
        `<path d="${lines.join("")}" stroke="#ffffff" stroke-width="1" stroke-opacity="0.3"/>`,
      );
    }
  }

  #legend(): void {
    const { present, outside } = this.#text.words;
    const entries: readonly (readonly [readonly BlockKind[], string])[] = [
      [["present"], present],
      [["most", "some", "few"], `partly ${present} (over ⅔, over ⅓, less)`],
      [["zero"], "present, all zero"],
      [["excluded"], "excluded"],
      [["outside"], outside],
    ];
    let x = this.#left;
    for (const [kinds, label] of entries) {
      if (!kinds.some((kind) => this.#kinds.has(kind))) continue;
      const width = kinds.length * 14 + 6 + Math.ceil(label.length * 6.6) + 22;
      if (x > this.#left && x + width > this.#width) {
        x = this.#left;
        this.#y += 22;
      }
      for (const kind of kinds) {
        this.#parts.push(
          `<rect x="${x}" y="${this.#y}" width="13" height="13" fill="${FILL[kind]}" stroke="#afb8c1" stroke-width="0.5"/>`,
        );
        x += 14;
      }
      this.#parts.push(textAt(x + 6, this.#y + 11, label, { size: 12, fill: TEXT }));
      x += width - kinds.length * 14;
    }
    this.#y += 22;
  }

  #totals(): void {
    const { totals, words } = this.#text;
    const { present, zero, excluded, outside, end } = totals;
    const rows: [string, string, string][] = [[words.present, bytesText(present), presentNote(totals)]];
    if (zero !== undefined) rows.push(["", bytesText(zero), "of it marked as zero"]);
    for (const [i, [reason, bytes]] of Object.entries(excluded).entries()) {
      rows.push([i === 0 ? "excluded" : "", bytesText(bytes), reasonWords(reason)]);
    }
    if (outside > 0) rows.push([words.outside, bytesText(outside), `below ${hex(end)}`]);
    for (const [name, bytes, note] of rows) {
      const y = this.#y + 11;
      this.#parts.push(
        textAt(this.#left, y, name, { size: 12, fill: TEXT, weight: "600" }),
        textAt(this.#left + 190, y, bytes, { size: 12, fill: TEXT, anchor: "end" }),
        textAt(this.#left + 202, y, note, { size: 12, fill: FAINT }),
      );
      this.#y += 18;
    }
  }
}

function presentNote(totals: Totals): string {
  if (Object.keys(totals.excluded).length === 0) return "";
  const most = "or outside" in totals.excluded ? " at most" : "";
  return `of ${bytesText(ramOf(totals))} RAM${most}`;
}

/** A tooltip: what is there of blocks that lie side by side. */
function describeBlocks(blocks: readonly Block[], words: CoverageWords): string {
  const [first, last] = [blocks[0] as Block, blocks[blocks.length - 1] as Block];
  const sum = (bytes: (block: Block) => number) => blocks.reduce((total, block) => total + bytes(block), 0);
  const present = sum((block) => block.present);
  const zero = sum((block) => block.zero);
  const excluded = sum((block) => block.excluded);
  const outside = last.end - first.start - present - excluded;
  const parts = [
    present > 0
      ? `${bytesText(present)} ${words.present}${zero > 0 ? ` (${bytesText(zero)} zero)` : ""}`
      : "",
    excluded > 0 ? `${bytesText(excluded)} excluded` : "",
    outside > 0 ? `${bytesText(outside)} ${words.outside}` : "",
  ];
  return `${hex(first.start)} to ${hex(last.end)}: ${parts.filter((part) => part !== "").join(", ")}`;
}
