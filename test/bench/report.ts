/** Prints rows for people. */
import type { Group, Measured, Ratio } from "./row.js";

const NAME = 44;

/** The head of a group's table. */
export function heading(group: Group): string {
  return `\n${group.title.padEnd(NAME)} ${"M/s CPU".padStart(9)} ${"M/s wall".padStart(9)} ${"noise".padStart(6)}  ratio of`;
}

/** A row's line. */
export function line(row: Measured): string {
  const { figure } = row;
  const name = row.name.padEnd(NAME);
  const noise = `${(row.spread * 100).toFixed(1)}%`.padStart(6);
  const note = row.note === undefined ? "" : `; ${row.note}`;
  if (figure !== undefined) {
    const bound =
      figure.most === undefined ? "" : `(at most ${figure.most}: ${figure.met ? "met" : "MISSED"})`;
    return `${name} ${shown(figure.value).padStart(9)} ${figure.unit.padEnd(9)} ${noise}  ${bound}${note}`;
  }
  const figures = [name, shown(row.cpu ?? 0).padStart(9), shown(row.wall ?? 0).padStart(9), noise].join(" ");
  const ratios = row.isLimit && row.against.length === 0 ? "(limit)" : row.against.map(ratioText).join(" | ");
  return `${figures}  ${ratios}${note}`;
}

function ratioText({ limit, ratio, goals }: Ratio): string {
  const marks = goals.map((goal) => `${goal.name} ${shown(goal.ratio)} ${goal.met ? "met" : "MISSED"}`);
  return `${shown(ratio)} ${limit}${marks.length === 0 ? "" : ` (${marks.join(", ")})`}`;
}

/** Four significant digits at most. */
function shown(value: number): string {
  if (value === 0) return "0";
  const digits = 3 - Math.floor(Math.log10(Math.abs(value)));
  return value.toFixed(Math.max(0, Math.min(6, digits)));
}
