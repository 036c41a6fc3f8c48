/** What people type, to values. Pure; everything that is wrong is a {@link UsageError}. */
import type { GuestTables, SwapArea } from "../connectors/connectors.js";
import {
  MMU_FORMATS,
  type MmuDef,
  mmuNamed,
  NESTED_FORMATS,
  type NestedFormat,
  nestedRoot,
} from "../src/paging/index.js";
import { UsageError } from "./errors.js";

/** 2^64: the end of every address space. */
export const END_OF_SPACE = 1n << 64n;

/** An address as typed: a symbol or number, and the sum of its offsets. */
export interface AddressExpression {
  readonly text: string;
  readonly base: bigint | string;
  readonly offset: bigint;
}

/** With `_` between digits, if one likes. */
const HEXADECIMAL = "0[xX][0-9a-fA-F]+(?:_[0-9a-fA-F]+)*";
const DECIMAL = "[0-9]+(?:_[0-9]+)*";
const NUMBER = `${HEXADECIMAL}|${DECIMAL}`;
/** The program or library that has a symbol, by the name of its file. */
const OBJECT = "[A-Za-z0-9_.+~:\\[\\]-]+:";
const SYMBOL = `(?:${OBJECT})?[A-Za-z_.$][A-Za-z0-9_.$@]*`;
const EXPRESSION = new RegExp(`^(${NUMBER}|${SYMBOL})((?:[+-](?:${NUMBER}))*)$`);
const TERM = new RegExp(`([+-])(${NUMBER})`, "g");
/** Longer texts are nobody's address. */
const MAX_TEXT = 1024;

/**
 * `0x…`, decimal or a symbol, each with any number of `+offset` and `-offset`. Underscores may group digits. A symbol of a process may have
 * its object in front: `libc.so.6:malloc`.
 *
 * @throws {UsageError}
 */
export function parseAddress(text: string): AddressExpression {
  const match = text.length > MAX_TEXT ? null : EXPRESSION.exec(text);
  if (match === null) throw new UsageError(badAddress(text));
  const first = match[1] as string;
  let offset = 0n;
  for (const [, sign, digits] of (match[2] as string).matchAll(TERM)) {
    const value = toNumber(digits as string);
    offset += sign === "-" ? -value : value;
  }
  if (!/^[0-9]/.test(first) || first.includes(":")) return { text, base: first, offset };
  const base = toNumber(first);
  checkAddress(base + offset, text);
  return { text, base, offset };
}

function badAddress(text: string): string {
  const hint = /^[0-9][0-9a-fA-F_]*$/.test(text) ? `: hexadecimal is written 0x${text}` : "";
  const shown = text.length > 80 ? `${text.slice(0, 80)}…` : text;
  return `not an address: "${shown}"${hint} (0x…, decimal or a symbol, each with +offset or -offset)`;
}

function toNumber(digits: string): bigint {
  return BigInt(digits.replaceAll("_", ""));
}

/** @throws {UsageError} unless it is below 2^64. */
export function checkAddress(address: bigint, text: string): bigint {
  if (address < 0n || address >= END_OF_SPACE) {
    throw new UsageError(`address out of range: "${text}" is ${address < 0n ? "negative" : "2^64 or more"}`);
  }
  return address;
}

const UNITS: Readonly<Record<string, bigint>> = {
  "": 1n,
  K: 1n << 10n,
  M: 1n << 20n,
  G: 1n << 30n,
  T: 1n << 40n,
};

const SIZE = new RegExp(`^(?:(${HEXADECIMAL})|(${DECIMAL})(?:([kmgt])(?:ib)?)?)$`, "i");

/**
 * A number of bytes: `0x…` or decimal, the latter with K, M, G or T (powers of 1024; `KiB` and so on too).
 *
 * @throws {UsageError}
 */
export function parseSize(text: string): bigint {
  const match = SIZE.exec(text);
  const digits = match?.[1] ?? match?.[2];
  if (match === null || digits === undefined || text.length > 40) {
    throw new UsageError(
      `not a length: "${text.slice(0, 80)}" (bytes: decimal, 0x…, or with K, M, G, T, such as 4K)`,
    );
  }
  const size = BigInt(digits.replaceAll("_", "")) * (UNITS[(match[3] ?? "").toUpperCase()] ?? 1n);
  if (size > END_OF_SPACE) throw new UsageError(`length out of range: "${text}" is more than 2^64 bytes`);
  return size;
}

/** One byte: `0` to `255`, or `0x00` to `0xff`. @throws {UsageError} */
export function parseByte(text: string): number {
  const value = /^(0x[0-9a-f]{1,2}|[0-9]{1,3})$/i.test(text) ? Number(text) : -1;
  if (value < 0 || value > 255)
    throw new UsageError(`not a byte: "${text.slice(0, 80)}" (0 to 255, or 0x00 to 0xff)`);
  return value;
}

/** Bytes in hex, two digits each; spaces between bytes are fine, and one `0x` in front. @throws {UsageError} */
export function parseHex(text: string): Uint8Array {
  const digits = text.replace(/^0x/i, "").replace(/[\s_]+/g, "");
  const wrong = /[^0-9a-fA-F]/.exec(digits);
  if (wrong !== null) throw new UsageError(`not hex: "${wrong[0]}" in "${text.slice(0, 80)}"`);
  if (digits === "") throw new UsageError("no bytes to write: give them in hex, or --from FILE");
  if (digits.length % 2 !== 0) {
    throw new UsageError(`${digits.length} hex digits: bytes take two each ("0${digits.slice(0, 16)}"?)`);
  }
  return Uint8Array.from({ length: digits.length / 2 }, (_, i) =>
    Number.parseInt(digits.slice(2 * i, 2 * i + 2), 16),
  );
}

/** A line of `read --stdin`: `ADDRESS [LENGTH]`. Undefined for an empty line or a `#` comment. @throws {UsageError} */
export function parseReadLine(
  line: string,
): { address: AddressExpression; length: bigint | undefined } | undefined {
  const words = line.trim().split(/\s+/);
  const [address, length, more] = words;
  if (address === undefined || address === "" || address.startsWith("#")) return undefined;
  if (more !== undefined) throw new UsageError(`more than ADDRESS [LENGTH]: "${line.slice(0, 80)}"`);
  return { address: parseAddress(address), length: length === undefined ? undefined : parseSize(length) };
}

/**
 * A page-table root: a physical address, or the register that holds it. Bits that are no address in any of them are dropped
 * (bit 63 of a CR3 is "no flush", below 5 are flags); which others are, the format says (`alignRoot`).
 *
 * @throws {UsageError}
 */
export function parseRoot(text: string): number {
  const { base, offset } = parseAddress(text);
  if (typeof base === "string")
    throw new UsageError(`--root takes a physical address, such as a CR3: not "${text}"`);
  // Intel SDM vol. 3A, 4.4 and 4.5: bits 51 to 12 of CR3 hold the root, of PAE bits 31 to 5.
  return Number((base + offset) & 0xf_ffff_ffff_ffe0n);
}

/** A page-table format by its name. @throws {UsageError} that lists them. */
export function parseMmu(name: string): MmuDef {
  const def = mmuNamed(name);
  if (def !== undefined) return def;
  throw new UsageError(
    `no page-table format "${name.slice(0, 80)}": one of ${MMU_FORMATS.map((one) => one.name).join(", ")}`,
  );
}

/** A physical address: a number below 2^53, with offsets. @throws {UsageError} */
export function parsePhysical(text: string): number {
  const { base, offset } = parseAddress(text);
  if (typeof base === "string") {
    throw new UsageError(
      `not a physical address: "${text.slice(0, 80)}" (0x… or decimal, with +offset or -offset)`,
    );
  }
  const address = base + offset;
  if (address < 1n << 53n) return Number(address);
  throw new UsageError(`address out of range: "${text}" is no physical address (2^53 or more)`);
}

/** A swap area as `--swap` names it: `FILE`, or `TYPE=FILE` with the number that Linux has for it. @throws {UsageError} */
export function parseSwapArea(text: string): SwapArea {
  const match = /^(\d{1,3})=(.*)$/s.exec(text);
  const path = match === null ? text : (match[2] as string);
  if (path === "") throw new UsageError(`--swap: the name of the file is empty: "${text}"`);
  if (match === null) return path;
  const type = Number(match[1]);
  if (type > 31) throw new UsageError(`--swap ${text.slice(0, 80)}: swap areas have numbers from 0 to 31`);
  return { type, path };
}

/**
 * Nested page tables of a guest: `ROOT` or `ROOT:FORMAT`, where the root is the address of the top table, an nCR3 or an EPTP.
 *
 * @throws {UsageError}
 */
export function parseEpt(text: string): GuestTables {
  const colon = text.indexOf(":");
  const { base, offset } = parseAddress(colon < 0 ? text : text.slice(0, colon));
  const format = colon < 0 ? undefined : text.slice(colon + 1).toLowerCase();
  if (typeof base === "string") {
    throw new UsageError(
      `--ept takes a physical address, such as an EPTP or an nCR3: not "${text.slice(0, 80)}"`,
    );
  }
  if (format !== undefined && !NESTED_FORMATS.includes(format as NestedFormat)) {
    throw new UsageError(`--ept ${text.slice(0, 80)}: behind the colon, one of ${NESTED_FORMATS.join(", ")}`);
  }
  const tables = { root: Number(base + offset), format: format as NestedFormat | undefined };
  try {
    nestedRoot(tables.root, tables.format);
  } catch (error) {
    throw new UsageError(`--ept ${text.slice(0, 80)}: ${(error as Error).message}`);
  }
  return tables;
}

/** KASLR's offset: a number that moves by whole pages, below 2^64. @throws {UsageError} */
export function parseKaslr(text: string): bigint {
  const { base, offset } = parseAddress(text);
  const value = typeof base === "string" ? -1n : base + offset;
  if (value >= 0n && value < 1n << 64n && value % 4096n === 0n) return value;
  throw new UsageError(
    `--kaslr takes what was added to addresses, whole pages such as 0x1c000000: not "${text.slice(0, 80)}"`,
  );
}

/** A process's number. @throws {UsageError} */
export function parsePid(text: string): number {
  if (/^\d{1,10}$/.test(text) && Number(text) <= 0x7fff_ffff) return Number(text);
  throw new UsageError(`--pid takes the number of a process: not "${text.slice(0, 80)}"`);
}
