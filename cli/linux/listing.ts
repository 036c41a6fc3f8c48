/** Lists of what a kernel has: a table for people, an object a line for programs, and what was damaged on standard error. */
import type { Damage } from "../../src/linux/index.js";
import { statusOf } from "../errors.js";
import { escapeText, toJson } from "../render/escape.js";
import { hex } from "../render/numbers.js";
import { table } from "../render/table.js";
import type { Session } from "../session.js";

/** A column of a table, and the field of the JSON objects. */
export interface ListColumn<T> {
  /** Name of the JSON field. */
  readonly field: string;
  /** Heading of the table; without one, the field is for programs only. */
  readonly title?: string;
  /** Numbers line up on the right. */
  readonly right?: boolean;
  /** `undefined` for what could not be read: "?" in a table, null in JSON. Bigints are shown as hex. */
  readonly value: (item: T) => ListValue;
  /** The cell, where it is not `value` as text. */
  readonly cell?: (item: T) => string | undefined;
}

/** What a field may hold. */
export type ListValue =
  | string
  | number
  | bigint
  | boolean
  | null
  | undefined
  | readonly ListValue[]
  | { readonly [name: string]: ListValue };

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
    session.warn(
      this.#count === 1 ? "one thing could not be read:" : `${this.#count} things could not be read:`,
      lines,
    );
  }
}

/**
 * Shows items as they come (JSON) or once all are there (table), then what was damaged.
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
  const json = session.options.json === true;
  const shown = columns.filter(({ title }) => title !== undefined);
  const rows: string[][] = [];
  let count = 0;
  for await (const item of items) {
    count++;
    if (json) {
      session.out.text(`${toJson(jsonOf(item, columns))}\n`);
      await session.out.settle();
    } else {
      rows.push(shown.map((column) => cellOf(item, column)));
    }
  }
  session.clearProgress();
  if (!json && rows.length > 0) {
    const heads = shown.map(({ title, right }) => ({ title: title as string, right: right === true }));
    session.out.text(table(heads, rows));
  }
  if (count === 0 && none !== undefined && (isFailure || damage.count === 0)) session.warn(none);
  damage.report(session);
  const isMissing = count === 0 && isFailure;
  return statusOf(count > 0 || (damage.count === 0 && !isMissing), damage.count > 0 || isMissing);
}

function jsonOf<T>(item: T, columns: readonly ListColumn<T>[]): Record<string, unknown> {
  return Object.fromEntries(columns.map(({ field, value }) => [field, jsonValue(value(item))]));
}

/** Bigints as `0x…`, and null for what is not known. */
export function jsonValue(value: ListValue): unknown {
  if (value === undefined) return null;
  if (typeof value === "bigint") return hex(value);
  if (Array.isArray(value)) return value.map(jsonValue);
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, jsonValue(each)]));
  }
  return value;
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
