/** Prints rows for people. */
import type { Group, Measured, Ratio } from "./row.js";

const NAME = 58;

/** How a table is written. */
export interface Style {
  readonly heading: (group: Group) => string;
  readonly line: (row: Measured) => string;
  /** What is said below a table. */
  readonly summary: (lines: readonly string[]) => string;
}

/** Columns of text. */
export const TEXT: Style = {
  heading: ({ title }) =>
    `\n${title.padEnd(NAME)} ${"M/s CPU".padStart(9)} ${"M/s wall".padStart(9)} ${"noise".padStart(6)}  ratio of`,
  line: (row) => {
    const { name, first, second, noise, rest } = cells(row);
    return `${name.padEnd(NAME)} ${first.padStart(9)} ${second.padStart(9)} ${noise.padStart(6)}  ${rest.join(" | ")}`;
  },
  summary: (lines) => lines.join("\n"),
};

/** For docs/performance.md. */
export const MARKDOWN: Style = {
  heading: ({ title }) =>
    `\n### ${title}\n\n| Row | M/s CPU | M/s wall | Noise | Ratio of |\n| --- | ---: | ---: | ---: | --- |`,
  line: (row) => {
    const { name, first, second, noise, rest } = cells(row);
    return `| ${name.replace("  ", ": ")} | ${first} | ${second} | ${noise} | ${rest.join("<br>")} |`;
  },
  summary: (lines) => `\n\`\`\`text\n${lines.join("\n")}\n\`\`\``,
};

function cells(row: Measured): {
  name: string;
  first: string;
  second: string;
  noise: string;
  rest: string[];
} {
  const { name, figure, against, note } = row;
  const noise = `${(row.spread * 100).toFixed(1)}%`;
  const notes = note === undefined ? [] : [note];
  if (figure !== undefined) {
    const bound =
      figure.most === undefined ? [] : [`at most ${figure.most}: ${figure.met ? "met" : "MISSED"}`];
    return { name, first: shown(figure.value), second: figure.unit, noise, rest: [...bound, ...notes] };
  }
  const ratios = row.isLimit && against.length === 0 ? ["(limit)"] : against.map(ratioText);
  return {
    name,
    first: shown(row.cpu ?? 0),
    second: shown(row.wall ?? 0),
    noise,
    rest: [...ratios, ...notes],
  };
}

function ratioText({ limit, ratio, goals }: Ratio): string {
  const marks = goals.map((goal) => `${goal.name} ${shown(goal.ratio)} ${goal.met ? "met" : "MISSED"}`);
  return `${shown(ratio)} ${limit}${marks.length === 0 ? "" : ` (${marks.join(", ")})`}`;
}

/** Three significant digits, or all of the whole number. */
function shown(value: number): string {
  if (value === 0) return "0";
  const digits = 2 - Math.floor(Math.log10(Math.abs(value)));
  return value.toFixed(Math.max(0, Math.min(6, digits)));
}
