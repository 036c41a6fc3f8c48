/** Values of what `memtool diff` compares, written as the lists of each kind write them. */
import { type DifferenceKind, deviceText, type MachineDifference } from "../../src/linux/index.js";
import { exact } from "../linux/files.js";
import type { ListValue } from "../rows/value.js";
import { hex } from "./numbers.js";

type Writers = Readonly<Record<string, (value: number | bigint) => ListValue>>;

const address = (value: number | bigint) => hex(value);
const inode = (value: number | bigint) => exact(BigInt(value));
const device = (value: number | bigint) => deviceText(Number(value));

/** Numbers that their type does not tell from others: physical addresses, devices, and what has 64 bits and is no address. */
const WRITERS: Partial<Readonly<Record<DifferenceKind, Writers>>> = {
  process: { root: address },
  file: { inode, device, special: device },
  socket: { inode },
  mount: { device },
  "cached-file": { inode, device },
  pages: { start: address, end: address },
};

/** A field that changed. */
export interface ShownChange {
  readonly [name: string]: ListValue;
  readonly field: string;
  readonly before: ListValue;
  readonly after: ListValue;
}

/** The fields of what changed. */
export function fieldsOf({ kind, fields }: MachineDifference): ShownChange[] {
  return fields.map(({ field, before, after }) => ({
    field,
    before: written(kind, field, before as ListValue),
    after: written(kind, field, after as ListValue),
  }));
}

/** Plain values of an item of a list: what the list's own `--json` has of it has more. */
export function factsOf(kind: DifferenceKind, item: object | undefined): ListValue {
  if (item === undefined) return null;
  const facts: [string, ListValue][] = [];
  const { file } = item as { readonly file?: unknown };
  // (Of a cached file, what is compared stands beside the file itself.)
  for (const [name, value] of Object.entries(typeof file === "object" ? { ...file, ...item } : item)) {
    if (["string", "number", "bigint", "boolean"].includes(typeof value))
      facts.push([name, written(kind, name, value as ListValue)]);
  }
  return Object.fromEntries(facts);
}

function written(kind: DifferenceKind, field: string, value: ListValue): ListValue {
  const writer = WRITERS[kind]?.[field];
  const isNumber = typeof value === "number" || typeof value === "bigint";
  return writer === undefined || !isNumber ? value : writer(value);
}

/** `comm sh → ls`. */
export function changeText({ field, before, after }: ShownChange): string {
  return `${field} ${valueText(before)} → ${valueText(after)}`;
}

function valueText(value: ListValue): string {
  if (value === null) return "none";
  if (typeof value === "bigint") return hex(value);
  if (Array.isArray(value)) return `[${value.map(valueText).join(" ")}]`;
  return String(value);
}
