/**
 * CSV, as RFC 4180 quotes it: a line of names, then a line a row, each ending in a line feed. What could not be read, or is not
 * there, is empty; a text without characters is "".
 */
import { escapeText } from "../render/escape.js";
import type { TextTarget } from "./text-target.js";
import { type ListValue, plainText, type RowField, type RowWriter } from "./value.js";

/** Spreadsheets take a cell that begins so for a formula; `'` in front is what they take for "a text", and is told apart from ours. */
const FORMULA = /^[=+\-@\t\r']/;
/** What looks like a formula, and is a number. */
const NUMBER = /^[+-]?[0-9]+(\.[0-9]+)?$/;
const NEEDS_QUOTES = /[",\r\n]/;

/** Writes rows as CSV. */
export class CsvWriter implements RowWriter {
  readonly #target: TextTarget;

  constructor(fields: readonly RowField[], target: TextTarget) {
    this.#target = target;
    void target.write(`${fields.map(({ name }) => quoted(name)).join(",")}\n`);
  }

  async write(values: readonly ListValue[]): Promise<void> {
    const line = values.map(csvCell).join(",");
    await this.#target.write(`${this.#target.isTerminal ? escapeText(line) : line}\n`);
  }

  end(): void {
    this.#target.end();
  }

  discard(): void {
    this.#target.discard();
  }
}

/**
 * A cell. A text that a spreadsheet would run as a formula, or that begins with `'`, gets a `'` in front: taking one `'` away from
 * what begins with it gives every text back.
 */
export function csvCell(value: ListValue): string {
  if (value === null || value === undefined) return "";
  const text = plainText(value);
  if (text === "") return '""';
  const isFormula = typeof value === "string" && FORMULA.test(text) && !NUMBER.test(text);
  return quoted(isFormula ? `'${text}` : text);
}

function quoted(text: string): string {
  return NEEDS_QUOTES.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
