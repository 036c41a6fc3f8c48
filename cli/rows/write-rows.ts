/** Rows of a command, written as `--output` or `--json` says. */
import { MemtoolError } from "../../src/io/index.js";
import { NewFile } from "../new-file.js";
import { checkPicturePath } from "../picture-file.js";
import { escapeText } from "../render/escape.js";
import type { Session } from "../session.js";
import type { RowChoice } from "./choice.js";
import { CsvWriter } from "./csv.js";
import { NdjsonWriter } from "./ndjson.js";
import { ParquetRows } from "./parquet.js";
import { SqliteRows } from "./sqlite.js";
import { FileTarget, outputTarget, type TextTarget } from "./text-target.js";
import type { FieldType, ListValue, RowField, RowWriter } from "./value.js";

/** What a row has of an item. */
export interface RowColumn<T> {
  readonly field: string;
  readonly type?: FieldType;
  readonly value: (item: T) => ListValue;
}

/**
 * Writes a row an item, as they come.
 *
 * @returns how many there were, and how many values did not fit their columns (which was told).
 * @throws {MemtoolError} `WRITE_FAILED`, `NO_PACKAGE`; nothing stays of the file then.
 */
export async function writeRows<T>(
  session: Session,
  items: AsyncIterable<T> | Iterable<T>,
  columns: readonly RowColumn<T>[],
): Promise<{ readonly count: number; readonly misfits: number }> {
  const fields = columns.map(({ field, type = "text" }) => ({ name: field, type }));
  const { writer, file } = openRows(session, fields);
  let count = 0;
  let isWriting = false;
  try {
    for await (const item of items) {
      count++;
      const row = columns.map(({ value }) => value(item));
      // (On a terminal, rows would be written over the bar.)
      if (file === undefined) session.clearProgress();
      isWriting = true;
      await writer.write(row);
      isWriting = false;
    }
    isWriting = true;
    await writer.end();
  } catch (error) {
    try {
      writer.discard();
    } catch {
      // It was closed already, and could not be given its name.
    }
    file?.discard();
    // What the system says of a full disk names no file.
    throw isWriting && file !== undefined && !(error instanceof MemtoolError) ? file.failure(error) : error;
  }
  const { path } = session.rows ?? {};
  if (path !== undefined) {
    session.clearProgress();
    session.out.text(`${escapeText(path)}: ${count} ${count === 1 ? "row" : "rows"}\n`);
  }
  const misfits = writer.misfits?.count ?? 0;
  if (misfits > 0) {
    session.warn(`${misfits} values are left empty, as their columns can't hold them (csv and ndjson do):`, [
      writer.misfits?.first as string,
    ]);
  }
  return { count, misfits };
}

/** @returns what writes, and its file, if there is one. */
function openRows(
  session: Session,
  fields: readonly RowField[],
): { readonly writer: RowWriter; readonly file?: NewFile } {
  const choice = session.rows;
  if (choice?.path === undefined) {
    return { writer: textWriter(choice?.format, fields, outputTarget(session.out)) };
  }
  checkPicturePath(session, choice.path, "--output");
  const file = new NewFile(choice.path, choice.force);
  try {
    return { writer: fileWriter(choice, fields, file), file };
  } catch (error) {
    file.discard();
    const { code } = error as NodeJS.ErrnoException;
    throw code === "NO_PACKAGE" ? error : file.failure(error);
  }
}

function fileWriter({ format, table }: RowChoice, fields: readonly RowField[], file: NewFile): RowWriter {
  if (format === "parquet") return new ParquetRows(fields, file);
  if (format === "sqlite") return new SqliteRows(fields, file, table);
  return textWriter(format, fields, new FileTarget(file));
}

function textWriter(
  format: RowChoice["format"] | undefined,
  fields: readonly RowField[],
  target: TextTarget,
): RowWriter {
  return format === "csv" ? new CsvWriter(fields, target) : new NdjsonWriter(fields, target);
}
