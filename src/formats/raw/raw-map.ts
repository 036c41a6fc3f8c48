/**
 * Memory maps of raw images, as people write them: where each stretch of the file belongs in physical memory.
 *
 * Two forms, also mixed, separated by commas or line ends; `#` begins a comment:
 *
 * - `start-end@offset`: physical addresses (`end` exclusive) and the file offset of the first byte. Numbers are decimal
 *   or `0x…`, and may have a unit (`3G`). Without `@offset` the range's bytes follow those of the range before it.
 * - Lines of Linux's /proc/iomem: `00100000-bffdffff : System RAM`, hexadecimal, `end` *inclusive* (kernel/resource.c,
 *   `r_show`; a resource's children are indented further). System RAM counts (also `System RAM (kmem)`), inside of other
 *   resources too but not inside of System RAM, each range after the one before it: what LiME's raw format writes (its
 *   main.c, in the version of March 2026, walks `iomem_resource` depth first and skips what is below RAM).
 */
import { hex } from "../../io/index.js";
import { FormatError } from "../errors.js";
import type { RawRange } from "../types.js";

/** More ranges than any machine has; so that a file that is no map is refused soon. */
const MAX_RANGES = 1_000_000;
/** What is shown of a part that is wrong. */
const SHOWN = 60;

const NUMBER = "(0[xX][0-9a-fA-F_]+|[0-9][0-9_]*)([kmgtKMGT](?:[iI]?[bB])?)?";
const RANGE = new RegExp(`^${NUMBER}\\s*-\\s*${NUMBER}(?:\\s*@\\s*${NUMBER})?$`);
const IOMEM = /^(\s*)([0-9a-fA-F]+)-([0-9a-fA-F]+) : (.*)$/;

const UNITS: Readonly<Record<string, number>> = {
  "": 1,
  K: 2 ** 10,
  M: 2 ** 20,
  G: 2 ** 30,
  T: 2 ** 40,
};

/**
 * Ranges of a text, in its order; see the module's comment for its forms.
 *
 * @param name For messages: the text's file, or what holds it. Default "memory map".
 * @throws {FormatError} `BAD_MEMORY_MAP`, naming the line and what is wrong with it.
 */
export function parseRawMap(text: string, name = "memory map"): RawRange[] {
  const parser = new Parser(name);
  const lines = text.split(/\r?\n/);
  for (const [i, line] of lines.entries()) {
    parser.line = lines.length > 1 ? `line ${i + 1}: ` : "";
    const iomem = IOMEM.exec(line);
    if (iomem !== null) {
      parser.iomem(iomem[1] as string, iomem[2] as string, iomem[3] as string, iomem[4] as string);
      continue;
    }
    for (const part of line.replace(/#.*$/, "").split(",")) {
      const trimmed = part.trim();
      if (trimmed !== "") parser.range(trimmed);
    }
  }
  return parser.done();
}

class Parser {
  /** Where the parser is, for messages. */
  line = "";
  readonly #name: string;
  readonly #ranges: RawRange[] = [];
  #next = 0;
  #iomem = false;
  /** Indentation of the System RAM that the lines before this one belong to. */
  #inside = Number.POSITIVE_INFINITY;
  #hidden = false;

  constructor(name: string) {
    this.#name = name;
  }

  range(text: string): void {
    const match = RANGE.exec(text);
    if (match === null) {
      this.#refuse(`"${cut(text)}" is no range: write start-end@offset, as in 0x100000000-0x140000000@3G`);
    }
    const [, from, fromUnit, to, toUnit, at, atUnit] = match;
    const start = this.#number(from as string, fromUnit);
    const end = this.#number(to as string, toUnit);
    if (end <= start) this.#refuse(`"${cut(text)}" ends where it begins or before that; ends are exclusive`);
    this.#add(start, end, at === undefined ? this.#next : this.#number(at, atUnit));
  }

  iomem(indent: string, from: string, to: string, what: string): void {
    this.#iomem = true;
    if (indent.length > this.#inside) return;
    this.#inside = Number.POSITIVE_INFINITY;
    if (!/^System RAM(?: \(.*\))?\s*$/.test(what)) return;
    this.#inside = indent.length;
    const start = Number.parseInt(from, 16);
    const end = Number.parseInt(to, 16) + 1;
    if (start === 0 && end === 1) {
      this.#hidden = true;
      return;
    }
    if (!Number.isSafeInteger(start) || !Number.isSafeInteger(end) || end <= start) {
      this.#refuse(`"${cut(`${from}-${to}`)}" is no range of physical addresses`);
    }
    this.#add(start, end, this.#next);
  }

  done(): RawRange[] {
    this.line = "";
    if (this.#hidden) {
      this.#refuse(
        "its addresses are all 0, as /proc/iomem shows them to users without rights: save it again as root",
      );
    }
    if (this.#ranges.length === 0) {
      this.#refuse(
        this.#iomem ? "no line in it is System RAM" : "there is no range in it (start-end@offset,…)",
      );
    }
    return this.#ranges;
  }

  #add(start: number, end: number, offset: number): void {
    if (this.#ranges.length === MAX_RANGES) this.#refuse(`more than ${MAX_RANGES} ranges`);
    this.#ranges.push({ start, end, offset });
    this.#next = offset + end - start;
  }

  #number(digits: string, unit = ""): number {
    const value = Number(digits.replaceAll("_", "")) * (UNITS[unit.charAt(0).toUpperCase()] ?? 1);
    if (!Number.isSafeInteger(value)) this.#refuse(`${cut(digits)}${unit} is 2^53 or more, or no number`);
    return value;
  }

  #refuse(problem: string): never {
    throw badMap(this.#name, this.line + problem);
  }
}

function cut(text: string): string {
  return text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text;
}

function badMap(name: string, problem: string): FormatError {
  return new FormatError("BAD_MEMORY_MAP", { file: name }, problem);
}

/**
 * Checks the ranges of a map: bounds that are physical addresses, offsets that are file offsets, and no address twice.
 * (Two ranges may show the same bytes.)
 *
 * @param name For messages: the file whose map it is.
 * @throws {FormatError} `BAD_MEMORY_MAP`, naming the ranges that are wrong.
 */
export function checkRawMap(ranges: readonly RawRange[], name: string): void {
  if (ranges.length === 0) throw badMap(name, "the memory map has no ranges");
  for (const { start, end, offset } of ranges) {
    const fits = [start, end, offset, offset + end - start].every(
      (value) => Number.isSafeInteger(value) && value >= 0,
    );
    if (!fits || end <= start) {
      throw badMap(
        name,
        `memory map: ${rangeName({ start, end, offset })}: bounds and offsets are 0 to 2^53 - 1, ends above starts`,
      );
    }
  }
  const sorted = [...ranges].sort((a, b) => a.start - b.start);
  for (let i = 1; i < sorted.length; i++) {
    const [before, range] = [sorted[i - 1] as RawRange, sorted[i] as RawRange];
    if (range.start < before.end) {
      throw badMap(name, `memory map: ${rangeName(before)} and ${rangeName(range)} overlap`);
    }
  }
}

/** Bytes of what has `size` of them that some range shows. */
export function bytesCovered(ranges: readonly RawRange[], size: number): number {
  let covered = 0;
  let at = 0;
  for (const { start, end, offset } of [...ranges].sort((a, b) => a.offset - b.offset)) {
    const until = Math.min(size, offset + end - start);
    if (until > at) covered += until - Math.max(at, offset);
    at = Math.max(at, until);
  }
  return covered;
}

function rangeName({ start, end, offset }: RawRange): string {
  return `${boundName(start)}-${boundName(end)}@${boundName(offset)}`;
}

function boundName(value: number): string {
  return Number.isSafeInteger(value) && value >= 0 ? hex(value) : String(value);
}
