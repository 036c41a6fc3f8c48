/** A JSON object a line: what `--json` writes. */
import { toJson } from "../render/escape.js";
import type { TextTarget } from "./text-target.js";
import { jsonValue, type ListValue, type RowField, type RowWriter } from "./value.js";

/** Writes rows as JSON. */
export class NdjsonWriter implements RowWriter {
  readonly #names: readonly string[];
  readonly #target: TextTarget;

  constructor(fields: readonly RowField[], target: TextTarget) {
    this.#names = fields.map(({ name }) => name);
    this.#target = target;
  }

  async write(values: readonly ListValue[]): Promise<void> {
    const row = Object.fromEntries(this.#names.map((name, i) => [name, jsonValue(values[i])]));
    await this.#target.write(`${toJson(row)}\n`);
  }

  end(): void {
    this.#target.end();
  }

  discard(): void {
    this.#target.discard();
  }
}
