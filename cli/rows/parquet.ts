/**
 * Apache Parquet, by the package hyparquet-writer: a row group at a time, so that memory stays bounded. Addresses are unsigned
 * 64-bit integers, exact.
 */
import { closeSync, openSync, writeSync } from "node:fs";
import type { ColumnSource, ParquetWriter, SchemaElement, Writer } from "hyparquet-writer";
import type { NewFile } from "../new-file.js";
import { loadParquet } from "../packages.js";
import {
  type FieldType,
  jsonValue,
  type ListValue,
  Misfits,
  plainText,
  type RowField,
  type RowWriter,
  wholeNumber,
} from "./value.js";

/** Rows of a row group: some MiB of a wide list. */
const GROUP = 16_384;

const ELEMENTS: Readonly<Record<FieldType, Omit<SchemaElement, "name">>> = {
  address: { type: "INT64", converted_type: "UINT_64" },
  unsigned: { type: "INT64", converted_type: "UINT_64" },
  integer: { type: "INT64" },
  number: { type: "DOUBLE" },
  boolean: { type: "BOOLEAN" },
  text: { type: "BYTE_ARRAY", converted_type: "UTF8" },
  json: { type: "BYTE_ARRAY", converted_type: "JSON" },
};

/** Writes rows as Parquet. */
export class ParquetRows implements RowWriter {
  readonly misfits = new Misfits();
  readonly #fields: readonly RowField[];
  readonly #file: NewFile;
  readonly #descriptor: number;
  readonly #parquet: ParquetWriter;
  #columns: unknown[][];
  #count = 0;

  /** @throws {MemtoolError} `NO_PACKAGE`. */
  constructor(fields: readonly RowField[], file: NewFile) {
    const { ByteWriter, ParquetWriter } = loadParquet();
    this.#fields = fields;
    this.#file = file;
    this.#descriptor = openSync(file.temporary, "wx");
    const writer: Writer = new ByteWriter();
    // (Called behind each row group. `offset` counts on: places in the file are by it.)
    writer.flush = () => this.#flush(writer);
    writer.finish = () => this.#flush(writer);
    this.#parquet = new ParquetWriter({
      writer,
      schema: [
        { name: "root", num_children: fields.length },
        ...fields.map(({ name, type }) => ({
          name,
          repetition_type: "OPTIONAL" as const,
          ...ELEMENTS[type],
        })),
      ],
      createdBy: "memtool",
    });
    this.#columns = fields.map(() => []);
  }

  async write(values: readonly ListValue[]): Promise<void> {
    for (const [i, field] of this.#fields.entries()) {
      this.#columns[i]?.push(parquetValue(values[i], field, this.misfits));
    }
    this.#count++;
    if (this.#count === GROUP) await this.#group();
  }

  async end(): Promise<void> {
    if (this.#count > 0) await this.#group();
    await this.#parquet.finish();
    closeSync(this.#descriptor);
    this.#file.place();
  }

  discard(): void {
    closeSync(this.#descriptor);
    this.#file.discard();
  }

  async #group(): Promise<void> {
    const columnData = this.#fields.map(
      ({ name }, i): ColumnSource => ({ name, data: this.#columns[i] as never }),
    );
    await this.#parquet.write({ columnData, rowGroupSize: GROUP });
    this.#columns = this.#fields.map(() => []);
    this.#count = 0;
  }

  #flush(writer: Writer): void {
    const bytes = writer.getBytes();
    for (let at = 0; at < bytes.length; ) at += writeSync(this.#descriptor, bytes, at);
    (writer as { index?: number }).index = 0;
  }
}

function parquetValue(value: ListValue, field: RowField, misfits: Misfits): unknown {
  if (value === null || value === undefined) return null;
  switch (field.type) {
    case "address":
    case "unsigned":
    case "integer":
      return wholeNumber(value, field, misfits);
    case "number":
      return typeof value === "number" ? value : misfits.add(value, field);
    case "boolean":
      return typeof value === "boolean" ? value : misfits.add(value, field);
    case "json":
      return jsonValue(value);
    default:
      return plainText(value);
  }
}
