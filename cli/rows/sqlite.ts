/**
 * A table of a SQLite database. Its integers have 63 bits and a sign, which kernel addresses exceed: addresses are text, `0x` and 16
 * digits, so that they are exact, and sort and compare as the numbers do.
 */
import { closeSync, openSync } from "node:fs";
import type { NewFile } from "../new-file.js";
import { openSqlite, type SqliteDatabase } from "../packages.js";
import { hex, hex16 } from "../render/numbers.js";
import {
  type FieldType,
  type ListValue,
  Misfits,
  plainText,
  type RowField,
  type RowWriter,
  wholeNumber,
} from "./value.js";

const TYPES: Readonly<Record<FieldType, string>> = {
  address: "TEXT",
  unsigned: "INTEGER",
  integer: "INTEGER",
  number: "REAL",
  boolean: "INTEGER",
  text: "TEXT",
  json: "TEXT",
};

/** Rows of a transaction. */
const TRANSACTION = 16_384;
const LARGEST = (1n << 63n) - 1n;

/** Writes rows into a new database of one table. */
export class SqliteRows implements RowWriter {
  readonly misfits = new Misfits();
  readonly #fields: readonly RowField[];
  readonly #file: NewFile;
  readonly #database: SqliteDatabase;
  readonly #insert: ReturnType<SqliteDatabase["prepare"]>;
  #count = 0;

  /** @throws {MemtoolError} `NO_PACKAGE`. */
  constructor(fields: readonly RowField[], file: NewFile, table: string) {
    this.#fields = fields;
    this.#file = file;
    // (So that it is nobody else's.)
    closeSync(openSync(file.temporary, "wx"));
    this.#database = openSqlite(file.temporary);
    // Nobody sees the file before it is complete: it needs no journal.
    this.#database.exec("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF");
    const columns = fields.map(({ name, type }) => `${quoted(name)} ${TYPES[type]}`);
    this.#database.exec(`CREATE TABLE ${quoted(table)} (${columns.join(", ")}); BEGIN`);
    this.#insert = this.#database.prepare(
      `INSERT INTO ${quoted(table)} VALUES (${fields.map(() => "?").join(", ")})`,
    );
  }

  write(values: readonly ListValue[]): void {
    this.#insert.run(...this.#fields.map((field, i) => sqliteValue(values[i], field, this.misfits)));
    this.#count++;
    if (this.#count % TRANSACTION === 0) this.#database.exec("COMMIT; BEGIN");
  }

  end(): void {
    this.#database.exec("COMMIT");
    this.#database.close();
    this.#file.place();
  }

  discard(): void {
    this.#database.close();
    this.#file.discard();
  }
}

function sqliteValue(value: ListValue, field: RowField, misfits: Misfits): string | number | bigint | null {
  if (value === null || value === undefined) return null;
  switch (field.type) {
    case "address": {
      const address = wholeNumber(value, field, misfits);
      return address === null ? null : hex16(address);
    }
    case "unsigned":
    case "integer": {
      const number = wholeNumber(value, field, misfits);
      return number !== null && number > LARGEST ? hex(number) : number;
    }
    case "number":
      return typeof value === "number" ? value : misfits.add(value, field);
    case "boolean":
      return typeof value === "boolean" ? Number(value) : misfits.add(value, field);
    default:
      return plainText(value);
  }
}

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
