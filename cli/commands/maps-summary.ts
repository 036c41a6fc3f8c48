import type { MapSummary, SummaryRow, VirtualMemory, VirtualRange } from "../../src/paging/index.js";
import { statusOf } from "../errors.js";
import { toJson } from "../render/escape.js";
import { bytesText, within } from "../render/numbers.js";
import { fields, table } from "../render/table.js";
import { rightsJson, rightsText } from "../render/translation.js";
import type { Session } from "../session.js";

/** What is counted over all page sizes. */
const KINDS: readonly (readonly [string, (row: SummaryRow) => boolean])[] = [
  ["user", (row) => row.user],
  ["kernel", (row) => !row.user && !isHidden(row)],
  ["writable", (row) => row.writable],
  ["executable", (row) => row.executable],
  ["writable and executable", isWx],
];

/** Nobody may do anything with it: Linux hides pages like that (PROT_NONE). */
function isHidden(row: SummaryRow): boolean {
  return !row.readable && !row.writable && !row.executable;
}

function isWx(row: SummaryRow): boolean {
  return row.writable && row.executable;
}

/** `memtool maps --summary`. @returns the exit status. */
export async function mapsSummary(
  session: Session,
  memory: VirtualMemory,
  range: VirtualRange,
): Promise<number> {
  const summary = await memory.summary(range);
  const { rows, swapped, unknown } = summary;
  const any = rows.length !== 0 || swapped.ranges !== 0;
  const json = session.options.json === true;
  if (json) session.out.text(`${toJson(summaryJson(summary))}\n`);
  else if (any) session.out.text(summaryText(summary, session.environment.style.heading));
  else session.warn(`nothing is mapped${within(range)}`);
  await session.out.flush();
  if (unknown.ranges !== 0) {
    const ranges = unknown.ranges === 1 ? "1 range" : `${unknown.ranges} ranges`;
    session.warn(
      `${bytesText(unknown.bytes)} in ${ranges} could not be told of: page tables are missing or malformed (maps shows which)`,
    );
  }
  return statusOf(any, unknown.ranges !== 0);
}

/** Sum of bytes. */
const bytesOf = (rows: readonly SummaryRow[]) => rows.reduce((sum, { bytes }) => sum + bytes, 0n);

/** Rows by rights: what is both writable and executable first, then the user's, then the kernel's. */
function byRights(rows: readonly SummaryRow[]): Map<string, SummaryRow[]> {
  const groups = new Map<string, SummaryRow[]>();
  for (const row of rows) {
    const rights = rightsText(row);
    groups.set(rights, [...(groups.get(rights) ?? []), row]);
  }
  const rank = ([first]: readonly SummaryRow[]) =>
    first === undefined ? 0 : (isWx(first) ? 0 : isHidden(first) ? 4 : 2) + (first.user ? 0 : 1);
  return new Map(
    [...groups].sort(([a, some], [b, others]) => rank(some) - rank(others) || (a < b ? -1 : a > b ? 1 : 0)),
  );
}

/** Pages of each size by rights, and what they come to. */
export function summaryText({ rows, swapped }: MapSummary, heading: (text: string) => string): string {
  const sizes = [...new Set(rows.map(({ pageSize }) => pageSize))].sort((a, b) => a - b);
  const line = (name: string, some: readonly SummaryRow[]) => [
    name,
    ...sizes.map((size) => {
      const pages = some.reduce((sum, row) => sum + (row.pageSize === size ? row.pages : 0), 0);
      return pages === 0 ? "-" : String(pages);
    }),
    bytesText(bytesOf(some)),
  ];
  const groups = [...byRights(rows)].map(([rights, some]) => line(rights, some));
  const text = table(
    [
      { title: "RIGHTS" },
      ...sizes.map((size) => ({ title: `PAGES OF ${bytesText(size)}`, right: true })),
      { title: "BYTES", right: true },
    ],
    [...groups, line("all", rows)],
  );
  const [first = "", ...rest] = text.split("\n");
  const totals: (readonly [string, string | undefined])[] = KINDS.map(([name, is]) => [
    name,
    bytesText(bytesOf(rows.filter(is))),
  ]);
  const hidden = bytesOf(rows.filter(isHidden));
  totals.push(["hidden (no rights)", hidden === 0n ? undefined : bytesText(hidden)]);
  totals.push(["swapped out", swapped.ranges === 0 ? undefined : bytesText(swapped.bytes)]);
  return `${heading(first)}\n${rest.join("\n")}\n${fields(totals)}`;
}

/** One object; bytes are numbers (multiples of 4096: exact). */
function summaryJson({ rows, swapped, unknown }: MapSummary): Record<string, unknown> {
  const sums = KINDS.map(([name, is]) => [
    name === "writable and executable" ? "writableAndExecutable" : name,
    Number(bytesOf(rows.filter(is))),
  ]);
  return {
    bytes: Number(bytesOf(rows)),
    ...Object.fromEntries(sums),
    hidden: Number(bytesOf(rows.filter(isHidden))),
    swapped: Number(swapped.bytes),
    unknown: { ranges: unknown.ranges, bytes: Number(unknown.bytes) },
    rows: rows.map((row) => ({
      pageSize: row.pageSize,
      pages: row.pages,
      bytes: Number(row.bytes),
      ...rightsJson(row),
    })),
  };
}
