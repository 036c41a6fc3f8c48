/** Values of hostile dumps in each format of rows. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { asyncBufferFromFile, parquetReadObjects } from "hyparquet";
import { afterAll, expect, it, vi } from "vitest";
import { NewFile } from "../../cli/new-file.js";
import { CsvWriter, csvCell } from "../../cli/rows/csv.js";
import { ParquetRows } from "../../cli/rows/parquet.js";
import { FileTarget } from "../../cli/rows/text-target.js";
import { writeRows } from "../../cli/rows/write-rows.js";
import type { Session } from "../../cli/session.js";

const folder = mkdtempSync(join(tmpdir(), "memtool-rows-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const HOSTILE = [
  'a "b", c',
  "two\nlines\r\n",
  "\u001b[2J",
  "",
  "'",
  "=1+1",
  "-x",
  "@SUM(A1)",
  "\t=1",
  "ü€😀",
  "-5",
];
const hasPython = spawnSync("python3", ["--version"]).status === 0;

it.each([
  ["=cmd|'/c calc'!A1", "'=cmd|'/c calc'!A1"],
  ["+x", "'+x"],
  ["@x", "'@x"],
  ["'x", "''x"],
  ["-12", "-12"],
  ["+1.5", "+1.5"],
])("a spreadsheet takes %j for no formula: %j", (text, cell) => {
  expect(csvCell(text)).toBe(cell);
});

it("CSV tells a text without characters from nothing, and nothing is never 0", () => {
  expect([csvCell(""), csvCell(null), csvCell(undefined), csvCell(0)]).toEqual(['""', "", "", "0"]);
});

it("a whole number below 0 has its sign in front", () => {
  expect([csvCell(-5n), csvCell(5n)]).toEqual(["-0x5", "0x5"]);
});

it("any text comes back out of a cell of CSV", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (text) => {
      const cell = csvCell(text);
      const plain = cell.startsWith('"') ? cell.slice(1, -1).replaceAll('""', '"') : cell;
      return (plain.startsWith("'") ? plain.slice(1) : plain) === text;
    }),
  );
});

it.skipIf(!hasPython)(
  "Python's csv reads texts with quotes, lines and escapes back (needs python3)",
  async () => {
    const path = join(folder, "hostile.csv");
    const writer = new CsvWriter([{ name: "text", type: "text" }], new FileTarget(new NewFile(path, false)));
    for (const text of HOSTILE) await writer.write([text]);
    writer.end();
    const program =
      "import csv,json,sys; print(json.dumps([r[0] for r in list(csv.reader(open(sys.argv[1], newline='', encoding='utf-8')))[1:]]))";
    const { stdout } = spawnSync("python3", ["-c", program, path], { encoding: "utf8" });
    const read = (JSON.parse(stdout) as string[]).map((text) => text.replace(/^'/, ""));
    expect(read).toEqual(HOSTILE);
  },
);

it("Parquet keeps every text, the largest address, and null for what is not known", async () => {
  const path = join(folder, "hostile.parquet");
  const writer = new ParquetRows(
    [
      { name: "text", type: "text" },
      { name: "address", type: "address" },
    ],
    new NewFile(path, false),
  );
  const texts = [...HOSTILE, "a\0b"];
  for (const text of texts) await writer.write([text, 2n ** 64n - 1n]);
  await writer.write([undefined, undefined]);
  await writer.end();
  const read = await parquetReadObjects({ file: await asyncBufferFromFile(path) });
  expect(read.slice(0, -1)).toEqual(texts.map((text) => ({ text, address: 2n ** 64n - 1n })));
  expect(Object.values(read.at(-1) ?? {}).filter((each) => each !== null && each !== undefined)).toEqual([]);
});

it("a number that a typed column can't hold is left empty and counted, and the rest is written", async () => {
  const path = join(folder, "misfit.parquet");
  const writer = new ParquetRows([{ name: "size", type: "integer" }], new NewFile(path, false));
  for (const value of [1, 2 ** 63, 1.5, -5, "-7", "7x"]) await writer.write([value]);
  await writer.end();
  expect(writer.misfits).toMatchObject({ count: 3, first: expect.stringContaining("size") });
  const read = await parquetReadObjects({ file: await asyncBufferFromFile(path) });
  expect(read.map(({ size }) => size ?? null)).toEqual([1n, null, null, -5n, -7n, null]);
});

it("nothing stays of a file that was given up", async () => {
  const writer = new ParquetRows(
    [{ name: "a", type: "text" }],
    new NewFile(join(folder, "gone.parquet"), false),
  );
  await writer.write(["x"]);
  writer.discard();
  expect(readdirSync(folder).filter((name) => name.startsWith("gone"))).toEqual([]);
});

it.each(["csv", "parquet"] as const)("nothing stays of a %s that can't be given its name", async (format) => {
  const path = join(folder, `late.${format}`);
  const rows = { format, path, force: false, table: "late" };
  const session = { rows, machine: { paths: [] } } as unknown as Session;
  const items = (function* () {
    yield "x";
    writeFileSync(path, "another's");
  })();
  const column = { field: "a", value: (item: string) => item };
  await expect(writeRows(session, items, [column])).rejects.toMatchObject({ code: "WRITE_FAILED" });
  expect(readdirSync(folder).filter((name) => name.startsWith(`late.${format}`))).toEqual([`late.${format}`]);
});

it("a disk that is full is told with the file's name, and nothing stays", async () => {
  const path = join(folder, "full.csv");
  const rows = { format: "csv", path, force: false, table: "full" };
  const session = { rows, machine: { paths: [] } } as unknown as Session;
  const full = Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC" });
  const write = vi.spyOn(FileTarget.prototype, "end").mockImplementation(() => {
    throw full;
  });
  const column = { field: "a", value: (item: string) => item };
  try {
    await expect(writeRows(session, ["x"], [column])).rejects.toMatchObject({
      code: "WRITE_FAILED",
      message: expect.stringContaining(path),
    });
  } finally {
    write.mockRestore();
  }
  expect(readdirSync(folder).filter((name) => name.startsWith("full"))).toEqual([]);
});

it("a bar is taken away before a row is written to the same terminal", async () => {
  const seen: string[] = [];
  const out = { columns: 80, text: (text: string) => seen.push(text), settle: async () => {} };
  const session = { out, clearProgress: () => seen.push("(no bar)") } as unknown as Session;
  await writeRows(session, ["x", "y"], [{ field: "a", value: (item: string) => item }]);
  expect(seen).toEqual(["(no bar)", '{"a":"x"}\n', "(no bar)", '{"a":"y"}\n']);
});
