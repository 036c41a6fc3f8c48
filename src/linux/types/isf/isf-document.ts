/**
 * The JSON of Volatility 3's Intermediate Symbol Format, checked: what `IsfTypes` may then believe.
 *
 * Facts: Volatility 3, volatility3/schemas/schema-4.0.0.json to schema-6.2.0.json, framework/symbols/intermed.py. 4.1.0 added
 * `constant_data`, 6.0.0 the metadata of systems, 6.2.0 members without a name (`anonymous`).
 */
import { decodeUtf8 } from "../../../memory/text.js";
import { TypesError } from "../type-table.js";

/** A type as a member or a symbol names it. */
export type IsfType =
  | { readonly kind: "pointer"; readonly subtype: IsfType; readonly base?: string }
  | { readonly kind: "base"; readonly name: string }
  | { readonly kind: "array"; readonly subtype: IsfType; readonly count: number }
  | { readonly kind: "struct" | "union" | "class" | "enum"; readonly name: string }
  | { readonly kind: "function" }
  | {
      readonly kind: "bitfield";
      readonly bit_position: number;
      readonly bit_length: number;
      readonly type: IsfType;
    };

/** A member. */
export interface IsfField {
  readonly type: IsfType;
  /** Bytes. */
  readonly offset: number;
  readonly anonymous?: boolean;
}

/** A structure or union. */
export interface IsfUserType {
  readonly kind: "struct" | "union" | "class";
  /** Bytes. */
  readonly size: number;
  readonly fields: Readonly<Record<string, IsfField>>;
}

/** An integer or the like. */
export interface IsfBaseType {
  /** Bytes. */
  readonly size: number;
  readonly signed: boolean;
  readonly kind: "void" | "int" | "float" | "char" | "bool";
  readonly endian: "little" | "big";
}

/** An enumeration. */
export interface IsfEnum {
  /** Bytes. */
  readonly size: number;
  /** The name of a base type. */
  readonly base: string;
  /** Numbers; those that a `number` does not hold are their digits. */
  readonly constants: Readonly<Record<string, number | string>>;
}

/** A symbol, of which only that it is an object is checked. */
export interface IsfRawSymbol {
  readonly address?: unknown;
  readonly type?: unknown;
  readonly constant_data?: unknown;
}

/** All of a file. Its records have keys of any name: ask with `Object.hasOwn` first. */
export interface IsfDocument {
  /** Version of the format. */
  readonly format: string;
  readonly baseTypes: Readonly<Record<string, IsfBaseType>>;
  readonly userTypes: Readonly<Record<string, IsfUserType>>;
  readonly enums: Readonly<Record<string, IsfEnum>>;
  readonly symbols: Readonly<Record<string, IsfRawSymbol>>;
}

/** Pointers, arrays and the like in one another: C code has a few. */
const MAX_DEPTH = 64;
/** Larger than any structure, and what a BTF's member could have for an offset. */
const MAX_BYTES = 2 ** 32;
const BASE_KINDS: readonly unknown[] = ["void", "int", "float", "char", "bool"];

/** An error about ISF. @internal */
export function damagedIsf(name: string, part: string, what: string, cause?: unknown): TypesError {
  return new TypesError("ISF", part, `${name}: ${part} ${what}`, cause === undefined ? undefined : { cause });
}

/**
 * Reads and checks a file. All of it is looked at once: work and memory are those of parsing the JSON.
 *
 * @throws {TypesError} `ISF` naming the part that is wrong.
 */
export function parseIsfDocument(data: Uint8Array | string, name: string): IsfDocument {
  const json = parseJson(typeof data === "string" ? data : decodeUtf8(data), name);
  const check = new Checks(name);
  const top = check.record(json, "the file");
  const metadata = check.record(check.own(top, "metadata"), "metadata");
  const format = check.own(metadata, "format");
  if (typeof format !== "string" || !/^[456]\.\d{1,3}\.\d{1,3}$/.test(format)) {
    throw check.error("metadata.format", `is ${shown(format)}; 4.x to 6.x are known`);
  }
  const baseTypes = check.record(check.own(top, "base_types"), "base_types");
  for (const key of Object.keys(baseTypes)) check.baseType(baseTypes[key], `base_types.${key}`);
  const userTypes = check.record(check.own(top, "user_types"), "user_types");
  for (const key of Object.keys(userTypes)) check.userType(userTypes[key], key);
  const enums = check.record(check.own(top, "enums"), "enums");
  for (const key of Object.keys(enums)) check.enumeration(enums[key], `enums.${key}`);
  const symbols = check.record(check.own(top, "symbols"), "symbols");
  for (const key of Object.keys(symbols)) check.record(symbols[key], `symbols.${key}`);
  return { format, baseTypes, userTypes, enums, symbols } as IsfDocument;
}

/** Whether a file's first bytes are those of JSON, as far as an object's beginning says it. */
export function isJson(bytes: Uint8Array): boolean {
  let at = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? 3 : 0;
  while (at < Math.min(bytes.length, 64) && [0x20, 0x09, 0x0a, 0x0d].includes(bytes[at] as number)) at++;
  return bytes[at] === 0x7b;
}

/**
 * `JSON.parse` rounds numbers above 2^53, as kernel addresses are: these become texts first. A key's quote and colon in front
 * of the digits and a comma or bracket behind them are what numbers have and texts do not (in one, the quote has a backslash).
 */
const LONG_NUMBER = /(?<!\\)("\s*:\s*)(-?\d{16,})(?=\s*[,}])/g;

function parseJson(text: string, name: string): unknown {
  try {
    return JSON.parse(text.replace(/^\ufeff/, "").replace(LONG_NUMBER, '$1"$2"'));
  } catch (cause) {
    throw damagedIsf(name, "the file", `is no JSON (${(cause as Error).message})`, cause);
  }
}

/** Checks of values of unknown kind. @internal */
export class Checks {
  readonly #name: string;

  constructor(name: string) {
    this.#name = name;
  }

  error(part: string, what: string): TypesError {
    return damagedIsf(this.#name, part, what);
  }

  /** An object that is no array. */
  record(value: unknown, part: string): Record<string, unknown> {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      throw this.error(part, `is ${shown(value)}, not an object`);
    }
    return value as Record<string, unknown>;
  }

  /** A value by its key; `undefined` for what every object has by itself. */
  own(record: Record<string, unknown>, key: string): unknown {
    return Object.hasOwn(record, key) ? record[key] : undefined;
  }

  bytes(record: Record<string, unknown>, key: string, part: string): void {
    const value = this.own(record, key);
    if (!(Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) < MAX_BYTES)) {
      throw this.error(`${part}.${key}`, `is ${shown(value)}, not a number of bytes`);
    }
  }

  text(record: Record<string, unknown>, key: string, part: string): void {
    const value = this.own(record, key);
    if (typeof value !== "string") throw this.error(`${part}.${key}`, `is ${shown(value)}, not a text`);
  }

  baseType(value: unknown, part: string): void {
    const record = this.record(value, part);
    this.bytes(record, "size", part);
    const kind = this.own(record, "kind");
    if (!BASE_KINDS.includes(kind)) throw this.error(`${part}.kind`, `is ${shown(kind)}, no kind`);
    const signed = this.own(record, "signed");
    if (typeof signed !== "boolean") throw this.error(`${part}.signed`, `is ${shown(signed)}`);
    const endian = this.own(record, "endian");
    if (endian !== "little" && endian !== "big") {
      throw this.error(`${part}.endian`, `is ${shown(endian)}, neither "little" nor "big"`);
    }
  }

  userType(value: unknown, key: string): void {
    const part = `user_types.${key}`;
    const record = this.record(value, part);
    const kind = this.own(record, "kind");
    if (kind !== "struct" && kind !== "union" && kind !== "class") {
      throw this.error(`${part}.kind`, `is ${shown(kind)}, no kind of structure`);
    }
    this.bytes(record, "size", part);
    const fields = this.record(this.own(record, "fields"), `${part}.fields`);
    for (const name of Object.keys(fields)) {
      const field = this.record(fields[name], `${part}.fields.${name}`);
      this.bytes(field, "offset", `${part}.fields.${name}`);
      this.type(this.own(field, "type"), `${part}.fields.${name}.type`);
    }
  }

  enumeration(value: unknown, part: string): void {
    const record = this.record(value, part);
    this.bytes(record, "size", part);
    this.text(record, "base", part);
    const constants = this.record(this.own(record, "constants"), `${part}.constants`);
    for (const name of Object.keys(constants)) {
      const constant = constants[name];
      if (!Number.isSafeInteger(constant) && !isDigits(constant)) {
        throw this.error(`${part}.constants.${name}`, `is ${shown(constant)}, not an integer`);
      }
    }
  }

  /** A type that is named, down to its innermost. */
  type(value: unknown, part: string): void {
    let inner = value;
    for (let depth = 0; depth < MAX_DEPTH; depth++) {
      const record = this.record(inner, part);
      const kind = this.own(record, "kind");
      switch (kind) {
        case "pointer":
          inner = this.own(record, "subtype");
          break;
        case "array":
          this.bytes(record, "count", part);
          inner = this.own(record, "subtype");
          break;
        case "bitfield":
          this.#bits(record, part);
          inner = this.own(record, "type");
          break;
        case "base":
        case "struct":
        case "union":
        case "class":
        case "enum":
          this.text(record, "name", part);
          return;
        case "function":
          return;
        default:
          throw this.error(`${part}.kind`, `is ${shown(kind)}, no kind of type`);
      }
    }
    throw this.error(part, `has more than ${MAX_DEPTH} types in one another`);
  }

  #bits(record: Record<string, unknown>, part: string): void {
    for (const [key, from, to] of [
      ["bit_position", 0, 1024],
      ["bit_length", 1, 128],
    ] as const) {
      const value = this.own(record, key);
      if (!(Number.isInteger(value) && (value as number) >= from && (value as number) <= to)) {
        throw this.error(`${part}.${key}`, `is ${shown(value)}, not a number of bits`);
      }
    }
  }
}

/** Whether a value is the digits of a number too long for a `number`. */
export function isDigits(value: unknown): value is string {
  return typeof value === "string" && /^-?\d{1,20}$/.test(value);
}

function shown(value: unknown): string {
  if (value === undefined) return "missing";
  if (typeof value === "string") return JSON.stringify(value.slice(0, 40));
  if (typeof value !== "object" || value === null) return String(value);
  return Array.isArray(value) ? "an array" : "an object";
}
