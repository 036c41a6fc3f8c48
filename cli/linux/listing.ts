/** Lists of what a kernel has: a table for people, an object a line for programs, and what was damaged on standard error. */
import type { Damage } from "../../src/linux/index.js";
import { statusOf } from "../errors.js";
import { escapeText } from "../render/escape.js";
import { hex } from "../render/numbers.js";
import { table } from "../render/table.js";
import { type FieldType, jsonValue, type ListValue } from "../rows/value.js";
import { writeRows } from "../rows/write-rows.js";
import type { Session } from "../session.js";

export { jsonValue, type ListValue };

/** A column of a table, and the field of the JSON objects and of other rows for programs. */
export interface ListColumn<T> {
  /** Name of the JSON field. */
  readonly field: string;
  /** What it holds, for formats whose columns have types; text by default. */
  readonly type?: FieldType;
  /** Heading of the table; without one, the field is for programs only. */
  readonly title?: string;
  /** Numbers line up on the right. */
  readonly right?: boolean;
  /** `undefined` for what could not be read: "?" in a table, null in JSON. Bigints are shown as hex. */
  readonly value: (item: T) => ListValue;
  /** The cell, where it is not `value` as text. */
  readonly cell?: (item: T) => string | undefined;
}

/** The process that an item is, or is of; an empty cell where there is none. */
export const PID_COLUMN: ListColumn<{ readonly pid: number | null | undefined }> = {
  field: "pid",
  type: "integer",
  title: "PID",
  right: true,
  value: ({ pid }) => pid,
  cell: ({ pid }) => pid?.toString() ?? "",
};

/** Lines about damage that are shown; the rest is counted. */
const LISTED = 16;

/** Counts damage, and tells of it at the end. */
export class DamageSummary {
  #count = 0;
  readonly #listed: string[] = [];

  /** To be given as `onDamage`. */
  readonly add = (damage: Damage): void => {
    this.#count++;
    if (this.#listed.length < LISTED) this.#listed.push(damage.message);
  };

  get count(): number {
    return this.#count;
  }

  /** Says on standard error what was damaged. */
  report(session: Session): void {
    if (this.#count === 0) return;
    const lines = [...this.#listed];
    if (this.#count > LISTED) lines.push(`and ${this.#count - LISTED} more`);
    const hint = session.tornHint;
    if (hint !== undefined) lines.push(hint);
    session.warn(
      this.#count === 1 ? "one thing could not be read:" : `${this.#count} things could not be read:`,
      lines,
    );
  }
}

/**
 * Shows items as they come (for programs) or once all are there (table), then what was damaged.
 *
 * @param none What to say on standard error where there is nothing; without it, nothing is said, and it is no failure.
 * @param isFailure Whether it is one. Where not, nothing is said of a list that is empty for what was damaged.
 * @returns the exit status: 3 if something could not be read, 1 if nothing could.
 */
export async function showList<T>(
  session: Session,
  items: AsyncIterable<T> | Iterable<T>,
  columns: readonly ListColumn<T>[],
  damage: DamageSummary,
  none?: string,
  isFailure = none !== undefined,
): Promise<number> {
  const { count, misfits } = session.isForPrograms
    ? await writeRows(session, items, columns)
    : { count: await showTable(session, items, columns), misfits: 0 };
  session.clearProgress();
  if (count === 0 && none !== undefined && (isFailure || damage.count === 0)) session.warn(none);
  damage.report(session);
  const isMissing = count === 0 && isFailure;
  return statusOf(
    count > 0 || (damage.count === 0 && !isMissing),
    damage.count > 0 || isMissing || misfits > 0,
  );
}

async function showTable<T>(
  session: Session,
  items: AsyncIterable<T> | Iterable<T>,
  columns: readonly ListColumn<T>[],
): Promise<number> {
  const shown = columns.filter(({ title }) => title !== undefined);
  const rows: string[][] = [];
  for await (const item of items) rows.push(shown.map((column) => cellOf(item, column)));
  session.clearProgress();
  const heads = shown.map(({ title, right }) => ({ title: title as string, right: right === true }));
  if (rows.length > 0) session.out.text(table(heads, rows));
  return rows.length;
}

/** Characters of a cell: every row of a table is as wide as its widest one. (JSON has everything.) */
const MAX_CELL = 1024;

function cellOf<T>(item: T, { value, cell }: ListColumn<T>): string {
  const text = cell === undefined ? cellText(value(item)) : (cell(item) ?? "?");
  return escapeText(text.length > MAX_CELL ? `${text.slice(0, MAX_CELL)}…` : text);
}

function cellText(value: ListValue): string {
  if (value === undefined) return "?";
  if (value === null) return "";
  if (typeof value === "bigint") return hex(value);
  if (Array.isArray(value)) return value.map(cellText).join(", ");
  if (typeof value === "object") return JSON.stringify(jsonValue(value));
  if (typeof value === "boolean") return value ? "yes" : "no";
  return String(value);
}
