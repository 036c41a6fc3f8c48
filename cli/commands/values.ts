/** Values of simple types at addresses, as `watch` and `freeze` know them. */
import { type Fault, faultState } from "../../src/io/index.js";
import type { Type } from "../../src/memory/index.js";
import * as schema from "../../src/memory/schema.js";
import { UsageError } from "../errors.js";
import { hex } from "../render/numbers.js";
import type { Session } from "../session.js";

type Value = number | bigint | boolean;

/** The types by name. Those without a byte order have that of the target. */
const { u8, i8, bool8, u16, u16le, u16be, i16, i16le, i16be, u32, u32le, u32be, i32, i32le, i32be } = schema;
const { u64, u64le, u64be, i64, i64le, i64be, f32, f32le, f32be, f64, f64le, f64be, pointer } = schema;
const TYPES: Readonly<Record<string, Type<Value>>> = {
  ...{ u8, u16, u32, u64, i8, i16, i32, i64, f32, f64, pointer, bool: bool8 },
  ...{ u16le, u32le, u64le, i16le, i32le, i64le, f32le, f64le },
  ...{ u16be, u32be, u64be, i16be, i32be, i64be, f32be, f64be },
} as Readonly<Record<string, Type<Value>>>;

/** What `--type` may be. */
export const VALUE_TYPES: readonly string[] = Object.keys(TYPES);

/** A type by its name. @throws {UsageError} that lists them. */
export function parseValueType(name: string): Type<Value> {
  const type = Object.hasOwn(TYPES, name) ? TYPES[name] : undefined;
  if (type === undefined) {
    throw new UsageError(
      `--type ${name.slice(0, 80)}: one of u8, u16, u32, u64, i8, i16, i32, i64, f32, f64, pointer, bool; with le or be behind it for another byte order`,
    );
  }
  return type;
}

/** A value of a type: decimal, `0x…`, with a minus; `true` or `false`; a fraction for a float. @throws {UsageError} */
export function parseValue(type: Type<Value>, text: string): Value {
  const value = numberIn(type, text);
  try {
    if (value !== undefined) type.encode(value);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new UsageError(`${text.slice(0, 80)}: ${error.message}`);
  }
  if (value === undefined)
    throw new UsageError(`not a value of the type ${type.name}: "${text.slice(0, 80)}"`);
  return value;
}

function numberIn(type: Type<Value>, text: string): Value | undefined {
  const sample = type.decode(new Uint8Array(Math.max(8, type.size)));
  if (typeof sample === "boolean") return text === "true" ? true : text === "false" ? false : undefined;
  if (type.name.startsWith("f")) {
    const value = /^-?(\d[\d_]*\.?\d*(e[-+]?\d+)?|inf|nan)$/i.test(text)
      ? Number(text.replace(/_/g, "").replace(/inf/i, "Infinity").replace(/nan/i, "NaN"))
      : undefined;
    return value;
  }
  const digits = /^(-?)(0x[0-9a-f][0-9a-f_]*|\d[\d_]*)$/i.exec(text);
  if (digits === null || text.length > 80) return undefined;
  const whole = BigInt((digits[2] as string).replace(/_/g, ""));
  const value = digits[1] === "-" ? -whole : whole;
  return typeof sample === "bigint" ? value : Number(value);
}

/** A value for people: integers in both bases, pointers and addresses in hex. */
export function valueText(type: Type<Value>, value: Value): string {
  if (type.name.startsWith("pointer")) return hex(value as bigint);
  const isInteger = typeof value === "bigint" || (typeof value === "number" && !type.name.startsWith("f"));
  return isInteger && (value < 0 || value > 9) ? `${value} (${hex(value)})` : String(value);
}

/** A value for programs: those of 64 bits as `0x…`; floats that JSON has no number for as text. */
export function valueJson(value: Value): unknown {
  if (typeof value === "bigint") return hex(value);
  return typeof value === "number" && !Number.isFinite(value) ? String(value) : value;
}

/** A value, or why it could not be read. */
export type Seen = { readonly value: Value; readonly bytes: Uint8Array } | { readonly fault: Fault };

/** The values at addresses, read together. */
export async function readValues(
  { space }: Session,
  type: Type<Value>,
  addresses: readonly bigint[],
): Promise<Seen[]> {
  const resolved = type.under(space.memory.abi);
  const reads = addresses.map((address) => space.memory.readPartial(address, resolved.size).promise());
  return (await Promise.all(reads)).map(({ bytes, holes }) => {
    const [hole] = holes;
    return hole === undefined ? { value: resolved.decode(bytes), bytes } : { fault: hole.fault };
  });
}

/** Whether the target itself went away. */
export function isGone(seen: Seen): boolean {
  return "fault" in seen && faultState(seen.fault) === "gone";
}
