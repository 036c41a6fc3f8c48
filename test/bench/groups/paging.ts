/** Every page-table format against x86-64's four levels: half a million pages, through the public calls. */
import type { RunColumns, TranslationColumns } from "../../../src/index.js";
import { FORMAT_PAGES, FORMATS, type FormatTables, formatTables } from "../format-tables.js";
import { sumNumbers } from "../limits.js";
import { memorySpace } from "../memory-space.js";
import type { Group, Row } from "../row.js";

const COLUMN = 2 ** 18;
const SINGLES = 20_000;
/** What the project asks of each format. */
const GOAL = 0.7;

const [FIRST] = Object.keys(FORMATS) as [string];

/** The tables of the format that is being measured: they take tens of MiB. */
let last: { readonly name: string; readonly tables: FormatTables } | undefined;
function tablesOf(name: string): FormatTables {
  if (last?.name !== name) last = { name, tables: formatTables(name) };
  return last.tables;
}

const spaceOver = ({ bytes, root, mmu }: FormatTables, plain = false) =>
  memorySpace(bytes, root, { plain, mmu });

function rowsOf(name: string): Row[] {
  const row = (what: string, rest: Omit<Row, "name">): Row =>
    name === FIRST
      ? { ...rest, name: `${what}, ${name}`, isLimit: true }
      : {
          ...rest,
          name: `${what}, ${name}`,
          against: [{ limit: `${what}, ${FIRST}`, goals: [{ name: "goal", ratio: GOAL }] }],
        };
  const columns = (what: string, plain: boolean, cold: boolean) =>
    row(what, {
      operations: COLUMN,
      prepare: () => {
        const tables = tablesOf(name);
        const { addresses, physical } = tables.random(COLUMN);
        const memory = spaceOver(tables, plain);
        let out: TranslationColumns | undefined;
        const run = () => {
          out = (cold ? spaceOver(tables, plain) : memory).translateMany(addresses, out).sync();
          return out.failed;
        };
        const check = () => sumNumbers(out?.physical ?? new Float64Array(0));
        return { run, check, expected: sumNumbers(physical) };
      },
    });
  return [
    columns("translateMany", false, false),
    columns("translateMany without WebAssembly", true, false),
    columns("translateMany, no table read yet", true, true),
    row("translate().sync()", {
      operations: SINGLES,
      prepare: () => {
        const tables = tablesOf(name);
        const { addresses, physical } = tables.random(SINGLES);
        const memory = spaceOver(tables);
        const few = [...addresses];
        const run = () => {
          let sum = 0;
          for (let i = 0; i < SINGLES; i++) {
            const result = memory.translate(few[i] as bigint).sync();
            if (result.state === undefined) sum += result.physical;
          }
          return sum;
        };
        return { run, expected: physical.reduce((a, b) => a + b, 0) };
      },
    }),
    row("runs()", {
      operations: FORMAT_PAGES,
      prepare: () => {
        const tables = tablesOf(name);
        const memory = spaceOver(tables);
        const { base: start, pageSize } = tables;
        const end = start + BigInt(FORMAT_PAGES) * BigInt(pageSize);
        let runs: RunColumns | undefined;
        const run = () => {
          let pages = 0;
          for (let at = start; at < end; at = runs.end) {
            runs = memory.runs({ start: at, end }, runs).sync();
            for (let i = 0; i < runs.length; i++) pages += (runs.lengths[i] as number) / pageSize;
          }
          return pages;
        };
        return { run, expected: FORMAT_PAGES };
      },
    }),
  ];
}

export const paging: Group = {
  name: "paging",
  title: "Page-table formats",
  rows: Object.keys(FORMATS).flatMap(rowsOf),
  close: () => {
    last = undefined;
  },
};
