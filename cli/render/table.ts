import { displayWidth } from "../packages.js";

/** A column: its heading, and whether numbers line up on the right. */
export interface Column {
  readonly title: string;
  readonly right?: boolean;
}

/**
 * Rows in columns as wide as their widest cell, two spaces apart, without trailing spaces. Cells are safe text
 * already (see `escapeText`), and may be coloured.
 */
export function table(columns: readonly Column[], rows: readonly (readonly string[])[]): string {
  const widths = columns.map((column, i) =>
    rows.reduce((width, row) => Math.max(width, displayWidth(row[i] ?? "")), displayWidth(column.title)),
  );
  const line = (cells: readonly string[]) =>
    columns
      .map((column, i) => {
        const cell = cells[i] ?? "";
        const padding = " ".repeat((widths[i] as number) - displayWidth(cell));
        return column.right === true ? padding + cell : cell + padding;
      })
      .join("  ")
      .trimEnd();
  return [columns.map(({ title }) => title), ...rows].map((cells) => `${line(cells)}\n`).join("");
}

/** Names and values in two columns; rows without a value are left out. */
export function fields(rows: readonly (readonly [string, string | undefined])[]): string {
  const width = rows.reduce((widest, [name]) => Math.max(widest, displayWidth(name)), 0);
  return rows
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name}${" ".repeat(width - displayWidth(name))}  ${value}\n`)
    .join("");
}
