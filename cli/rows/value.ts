/** What a field of a row may hold, and how the formats write it. */
import { toJson } from "../render/escape.js";
import { hex } from "../render/numbers.js";

/** What a field may hold: `undefined` could not be read, `null` is not there. Files have nothing for both. */
export type ListValue =
  | string
  | number
  | bigint
  | boolean
  | null
  | undefined
  | readonly ListValue[]
  | { readonly [name: string]: ListValue };

/**
 * What a column holds, for formats whose columns have types: `address` is a u64 that people read as hex, `unsigned` one that they
 * read as a number, `integer` has up to 64 bits with a sign, `number` may have a fraction, `json` is a list or an object. Where
 * nothing is said, a column is `text`, which holds everything.
 */
export type FieldType = "address" | "unsigned" | "integer" | "number" | "boolean" | "text" | "json";

/** A column of rows. */
export interface RowField {
  readonly name: string;
  readonly type: FieldType;
}

/** Takes rows, one after the other. */
export interface RowWriter {
  /** Of formats whose columns have types. */
  readonly misfits?: Misfits;
  /** A value for each field, in their order. */
  write(values: readonly ListValue[]): void | Promise<void>;
  /** Everything is there: a file gets its name. */
  end(): void | Promise<void>;
  /** Something went wrong: nothing stays. */
  discard(): void;
}

/** Bigints as `0x…`, and null for what is not known. */
export function jsonValue(value: ListValue): unknown {
  if (value === undefined) return null;
  if (typeof value === "bigint") return hex(value);
  if (Array.isArray(value)) return value.map(jsonValue);
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, jsonValue(each)]));
  }
  return value;
}

/** A value as text: texts as they are, bigints as `0x…`, lists and objects as JSON. */
export function plainText(value: Exclude<ListValue, null | undefined>): string {
  if (typeof value === "string") return value;
  if (typeof value === "bigint") return hex(value);
  return typeof value === "object" ? toJson(jsonValue(value)) : String(value);
}

/** What a hostile dump may hold, and a typed column can't: left empty, and told. */
export class Misfits {
  count = 0;
  first: string | undefined;

  /** @returns null, for the cell. */
  add(value: ListValue, { name, type }: RowField): null {
    this.count++;
    const text = value === undefined || value === null ? String(value) : plainText(value);
    this.first ??= `${name}: "${text.slice(0, 80)}" is no ${type} of 64 bits`;
    return null;
  }
}

const UNSIGNED_END = 1n << 64n;
const INTEGER_END = 1n << 63n;

const DECIMAL = /^-?\d{1,20}$/;

/** A whole number that its column can hold; a text is one in decimal. */
export function wholeNumber(value: ListValue, field: RowField, misfits: Misfits): bigint | null {
  const isWhole = typeof value === "string" ? DECIMAL.test(value) : Number.isInteger(value);
  const whole = isWhole ? BigInt(value as string | number) : value;
  if (typeof whole !== "bigint") return misfits.add(value, field);
  const [least, end] = field.type === "integer" ? [-INTEGER_END, INTEGER_END] : [0n, UNSIGNED_END];
  return whole >= least && whole < end ? whole : misfits.add(value, field);
}
