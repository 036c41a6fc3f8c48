/** What `--output` says: a format for standard output, or a file whose name ends as its format does. */
import { UsageError } from "../errors.js";

/** Formats of rows. */
export const ROW_FORMATS = ["csv", "ndjson", "parquet", "sqlite"] as const;
/** See {@link ROW_FORMATS}. */
export type RowFormat = (typeof ROW_FORMATS)[number];

/** Where rows go, and how. */
export interface RowChoice {
  readonly format: RowFormat;
  /** `undefined`: standard output. */
  readonly path: string | undefined;
  readonly force: boolean;
  /** A database's table: the command that was asked. */
  readonly table: string;
}

const ENDINGS: Readonly<Record<string, RowFormat>> = {
  csv: "csv",
  ndjson: "ndjson",
  jsonl: "ndjson",
  parquet: "parquet",
  sqlite: "sqlite",
  sqlite3: "sqlite",
  db: "sqlite",
};

/** For the help of the option. */
export const OUTPUT_HELP =
  "rows for programs: csv or ndjson on standard output, or a file: NAME.csv, .ndjson, .parquet, .sqlite, or FORMAT:FILE";

/**
 * Reads the option.
 *
 * @throws {UsageError} for what is no format and no file's name that ends like one; for `--force` without a file.
 */
export function parseRowChoice(
  table: string,
  output: string | undefined,
  force: boolean,
): RowChoice | undefined {
  if (output === undefined) {
    if (force) throw new UsageError("--force is for --output FILE");
    return undefined;
  }
  const chosen = formatAndPath(output);
  if (chosen.path === undefined && force) throw new UsageError("--force is for a file: --output FORMAT:FILE");
  return { ...chosen, force, table };
}

function formatAndPath(output: string): Pick<RowChoice, "format" | "path"> {
  const [word = "", path] = splitOnce(output);
  const format = ROW_FORMATS.find((name) => name === word);
  if (format !== undefined) {
    if (path === "") throw new UsageError(`--output ${output}: the name of the file is empty`);
    if (path === undefined && (format === "parquet" || format === "sqlite")) {
      throw new UsageError(
        `--output ${format} needs a file, as it is no text: --output NAME.${format} or ${format}:FILE`,
      );
    }
    return { format, path };
  }
  const ending = /\.([^./\\]+)$/.exec(output)?.[1]?.toLowerCase() ?? "";
  const byName = Object.hasOwn(ENDINGS, ending) ? ENDINGS[ending] : undefined;
  if (byName !== undefined) return { format: byName, path: output };
  throw new UsageError(
    `--output ${output}: neither a format (${ROW_FORMATS.join(", ")}) nor a file that ends like one; FORMAT:FILE takes any name`,
  );
}

function splitOnce(text: string): [string, string | undefined] {
  const at = text.indexOf(":");
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)];
}
