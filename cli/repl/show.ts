/** Results of a session, as people read them. Text from a dump has no say in what the terminal does. */
import { inspect } from "node:util";
import { Machine } from "../../connectors/connectors.js";
import { type Hole, IoSequence } from "../../src/io/index.js";
import { LinuxKernel, Process } from "../../src/linux/index.js";
import { ObjectApi } from "../../src/linux/objects/object-api.js";
import { AddressSpace } from "../../src/memory/index.js";
import { describeError } from "../errors.js";
import { escapeText } from "../render/escape.js";
import { HexDump } from "../render/hexdump.js";
import { reasonOf, reasonText } from "../render/hole.js";
import { hex } from "../render/numbers.js";
import { table } from "../render/table.js";
import { driven } from "./drive.js";
import { isInterrupt } from "./interrupt.js";

/** Items of a sequence that are shown, lines of an object, and bytes of memory. */
const ITEMS = 20;
const LINES = 200;
const BYTES = 4096;
/** Characters of a cell. */
const CELL = 80;

/** What the terminal can do. */
export interface ShowOptions {
  readonly columns?: number | undefined;
  readonly dim?: (text: string) => string;
}

/** A result as text, without a newline behind it. What can't be read of it is said in it. */
export function showResult(result: unknown, options: ShowOptions = {}): string {
  const value = driven(result);
  if (value instanceof IoSequence) return showSequence(value, options);
  if (value instanceof Uint8Array) return showBytes(value, [], options);
  const api = apiOf(value);
  if (api !== undefined) return showObject(api);
  if (isPartial(value)) return showBytes(value.bytes, value.holes, options);
  const owner = nameOf(value);
  if (owner !== undefined) return escapeText(owner);
  if (typeof value === "bigint") return hex(value);
  if (typeof value === "string") return lines(inspect(value, { maxStringLength: 10_000 }));
  return lines(inspectValue(value, { breakLength: options.columns ?? 100 }));
}

/** What has a whole machine behind it is shown by its name. */
function nameOf(value: unknown): string | undefined {
  if (value instanceof Machine) return `Machine ${value.name} (${value.format})`;
  if (value instanceof LinuxKernel) return `Linux ${value.release} (${value.architecture})`;
  if (value instanceof Process) return `Process ${value.pid} (${value.comm ?? "?"})`;
  if (value instanceof AddressSpace) return `AddressSpace ${value.name}`;
  return undefined;
}

function showSequence(sequence: IoSequence<unknown>, options: ShowOptions): string {
  const shown: unknown[] = [];
  const behind: string[] = [];
  const items = sequence.sync();
  try {
    for (;;) {
      const { done, value } = items.next();
      if (done === true) break;
      if (shown.length === ITEMS) {
        items.return?.();
        behind.push(`… more: these are ${ITEMS}, ….toArray() has all`);
        break;
      }
      shown.push(value);
    }
  } catch (error) {
    // Damage is thrown behind the last item.
    if (isInterrupt(error)) throw error;
    behind.push(`memtool: ${escapeText(describeError(error))}`);
  }
  if (shown.length === 0 && behind.length === 0) return "(nothing)";
  return [showItems(shown, options), ...behind].filter((text) => text !== "").join("\n");
}

/** Records as a table of what they have that fits in a cell; all else an item a line. */
function showItems(items: readonly unknown[], options: ShowOptions): string {
  if (items.length > 0 && items.every(isRecord)) {
    const all = new Set(items.flatMap((item) => Object.keys(item)));
    const names = [...all].filter((name) => items.every((item) => isScalar(item[name])));
    const isText = (name: string) => items.some((item) => typeof item[name] === "string");
    const heads = names.map((title) => ({ title, right: !isText(title) }));
    const rows = items.map((item) => names.map((name) => cellOf(item[name])));
    if (names.length > 0) return table(heads, rows).trimEnd();
  }
  return items.map((item) => showItem(item, options)).join("\n");
}

function isRecord(item: unknown): item is Record<string, unknown> {
  return typeof item === "object" && item !== null && Object.getPrototypeOf(item) === Object.prototype;
}

function isScalar(value: unknown): boolean {
  return value === null || (typeof value !== "object" && typeof value !== "function");
}

/** As tables of the command line have it: "?" could not be read. */
function cellOf(value: unknown): string {
  if (value === undefined) return "?";
  if (value === null) return "";
  if (typeof value === "bigint") return hex(value);
  if (typeof value === "boolean") return value ? "yes" : "no";
  return escapeText(String(value).slice(0, CELL));
}

/** In one line. */
function showItem(value: unknown, options: ShowOptions): string {
  if (value instanceof Uint8Array) return showBytes(value, [], options);
  return lines(inspectValue(value, { breakLength: Number.POSITIVE_INFINITY, depth: 0 }));
}

function showObject(api: ObjectApi): string {
  let text: string;
  try {
    text = api.toC().sync();
  } catch (error) {
    // What is too large for one text, or can't be read, has a place all the same.
    return `${escapeText(api.toString())}\nmemtool: ${escapeText(describeError(error))}`;
  }
  const all = text.split("\n");
  const more = all.length > LINES ? [`… ${all.length - LINES} more lines: .$.toC() has all`] : [];
  return lines([...all.slice(0, LINES), ...more].join("\n"));
}

function showBytes(bytes: Uint8Array, holes: readonly Hole[], options: ShowOptions): string {
  const dump = new HexDump(0n, { columns: options.columns, ...(options.dim && { dim: options.dim }) });
  const end = Math.min(bytes.length, BYTES);
  let text = "";
  let at = 0;
  for (const { start, end: stop, fault } of holes) {
    if (start >= end) break;
    const to = Math.min(stop, end);
    text += dump.data(bytes.subarray(at, start)) + dump.hole(BigInt(to - start), reasonText(reasonOf(fault)));
    at = to;
  }
  text += dump.data(bytes.subarray(at, end)) + dump.end();
  if (bytes.length > end) text += `… ${bytes.length - end} more bytes\n`;
  return text === "" ? "(no bytes)" : text.trimEnd();
}

function apiOf(value: unknown): ObjectApi | undefined {
  if (typeof value !== "object" || value === null || !("$" in value)) return undefined;
  return value.$ instanceof ObjectApi ? value.$ : undefined;
}

/** What `readPartial` gives. */
function isPartial(value: unknown): value is { readonly bytes: Uint8Array; readonly holes: readonly Hole[] } {
  if (typeof value !== "object" || value === null) return false;
  const { bytes, holes } = value as { bytes?: unknown; holes?: unknown };
  return bytes instanceof Uint8Array && Array.isArray(holes);
}

/** As `console.log` shows it, with bigints in hex: Node takes the function that colours values, and has no other door. */
function inspectValue(value: unknown, options: { readonly breakLength: number; readonly depth?: number }) {
  const stylize = (text: string, kind: string) =>
    kind === "bigint" ? hex(BigInt(text.replace(/n$/, ""))) : text;
  return inspect(value, { maxArrayLength: 100, maxStringLength: 1000, ...options, stylize } as object);
}

/** Tabs of C are two spaces; the rest is escaped. */
function lines(text: string): string {
  return text
    .split("\n")
    .map((line) => escapeText(line.replaceAll("\t", "  ")))
    .join("\n");
}
