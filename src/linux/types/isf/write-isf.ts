/**
 * Writes types and symbols as an ISF file, for Volatility 3.
 *
 * Facts: as isf-document.ts; how names are made, what is put where: dwarf2json (`unnamed_field_…`, `anonymous`,
 * `constant_data`).
 */
import type { CType, EnumType, Member, StructType } from "../c-type.js";
import { sizeOf, stripped, VOID } from "../c-type.js";
import type { TypeTable } from "../type-table.js";
import { IsfNames } from "./isf-names.js";

/** A symbol to write. */
export interface WrittenIsfSymbol {
  readonly name: string;
  /** As linked: without what KASLR adds. */
  readonly address: bigint;
  /** Default: what the table knows of a variable of that name, else `void`. */
  readonly type?: CType | undefined;
  /** What is there, for Volatility to find the file by: of `linux_banner` all of its bytes. */
  readonly constantData?: Uint8Array | undefined;
}

/** What to write. */
export interface IsfContents {
  readonly types: TypeTable;
  /** The first of a name is written: the format has one of each. */
  readonly symbols: Iterable<WrittenIsfSymbol>;
  /** Who made the file. */
  readonly producer: { readonly name: string; readonly version: string };
  /** Where symbols and types are from, for the metadata. */
  readonly sources?: { readonly symbols: string; readonly types: string } | undefined;
}

/** Characters of a piece, about. */
const PIECE = 1 << 16;

/**
 * The text of a file of format 6.2.0, in pieces of some 64 KiB. Types that share a name are told apart by what is added to those behind
 * the first; members without a name that are no structures (padding) are left out.
 *
 * Work and what is kept are of the number of types, and of symbols' names.
 */
export function* writeIsf(contents: IsfContents): Generator<string, void, void> {
  let piece = "";
  for (const text of parts(contents)) {
    piece += text;
    if (piece.length < PIECE) continue;
    yield piece;
    piece = "";
  }
  yield piece;
}

function* parts({ types, symbols, producer, sources }: IsfContents): Generator<string, void, void> {
  const names = new IsfNames(types);
  const { name, version } = producer;
  yield `{"metadata":${JSON.stringify({
    format: "6.2.0",
    producer: { name, version },
    linux: {
      symbols: [{ kind: "symtab", name: sources?.symbols ?? "kallsyms" }],
      types: [{ name: sources?.types ?? types.name }],
    },
  })}`;
  // Types that have no names are met on the way, and written behind what refers to them: symbols come first, base types last.
  yield `,\n"symbols":{`;
  yield* entries(symbolEntries(symbols, types, names));
  yield `},\n"user_types":{`;
  yield* entries(structEntries(names, types.littleEndian));
  yield `},\n"enums":{`;
  yield* entries(enumEntries(names));
  yield `},\n"base_types":{`;
  yield* entries(names.baseTypes(types.pointerSize));
  yield "}}\n";
}

/** Keys and values of an object, one a line. */
function* entries(of: Iterable<readonly [string, object | string]>): Generator<string, void, void> {
  let separator = "\n";
  for (const [key, value] of of) {
    yield `${separator}${JSON.stringify(key)}:${typeof value === "string" ? value : JSON.stringify(value)}`;
    separator = ",\n";
  }
}

function* symbolEntries(
  symbols: Iterable<WrittenIsfSymbol>,
  types: TypeTable,
  names: IsfNames,
): Generator<[string, string], void, void> {
  const written = new Set<string>();
  for (const { name, address, type, constantData } of symbols) {
    if (written.has(name)) continue;
    written.add(name);
    // Without a type at all, Volatility refuses to use a symbol; dwarf2json gives those of the symbol table this one, too.
    const known = type ?? types.variable(name) ?? VOID;
    const ofType = `,"type":${JSON.stringify(names.describe(known))}`;
    const data = constantData === undefined ? "" : `,"constant_data":"${base64(constantData)}"`;
    // By hand: a number of JSON has as many digits as it takes, one of JavaScript has not.
    yield [name, `{"address":${address}${ofType}${data}}`];
  }
}

function* structEntries(names: IsfNames, littleEndian: boolean): Generator<[string, object], void, void> {
  // The list grows while it is written.
  for (let i = 0; i < names.structs.length; i++) {
    const type = names.structs[i] as StructType;
    yield [
      names.structName(type),
      { kind: type.kind, size: type.size, fields: fieldsOf(type, names, littleEndian) },
    ];
  }
}

function fieldsOf(type: StructType, names: IsfNames, littleEndian: boolean): object {
  const fields: Record<string, object> = Object.create(null);
  let unnamed = 0;
  for (const member of type.members) {
    const offset = Math.floor(member.bitOffset / 8);
    if (member.name !== "") {
      fields[member.name] ??=
        member.bitSize > 0
          ? bitField(member, names, littleEndian)
          : { type: names.describe(member.type), offset };
      continue;
    }
    const { kind } = stripped(member.type);
    if (kind !== "struct" && kind !== "union") continue;
    fields[`unnamed_field_${unnamed++}`] = { type: names.describe(member.type), anonymous: true, offset };
  }
  return fields;
}

/** A bit-field lies in an aligned value of its type, or in one that begins with its first byte where it crosses the end of that. */
function bitField(member: Member, names: IsfNames, littleEndian: boolean): object {
  const { bitOffset, bitSize } = member;
  const unit = sizeOf(member.type) || 1;
  let offset = Math.floor(bitOffset / 8 / unit) * unit;
  if (bitOffset + bitSize > 8 * (offset + unit)) offset = Math.floor(bitOffset / 8);
  const first = bitOffset - 8 * offset;
  const bit_position = littleEndian ? first : Math.max(0, 8 * unit - first - bitSize);
  return {
    type: { kind: "bitfield", bit_position, bit_length: bitSize, type: names.describe(member.type) },
    offset,
  };
}

function* enumEntries(names: IsfNames): Generator<[string, string], void, void> {
  for (let i = 0; i < names.enums.length; i++) {
    const type = names.enums[i] as EnumType;
    const seen = new Set<string>();
    const constants: string[] = [];
    for (const { name, value } of type.enumerators) {
      if (seen.has(name)) continue;
      seen.add(name);
      constants.push(`${JSON.stringify(name)}:${value}`);
    }
    const base = JSON.stringify(names.baseOfEnum(type));
    yield [names.enumName(type), `{"size":${type.size},"base":${base},"constants":{${constants.join(",")}}}`];
  }
}

const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/** Base64 with padding (RFC 4648, 4). @internal */
export function base64(bytes: Uint8Array): string {
  let text = "";
  for (let i = 0; i < bytes.length; i += 3) {
    const [a = 0, b = 0, c = 0] = bytes.subarray(i, i + 3);
    const word = (a << 16) | (b << 8) | c;
    const left = bytes.length - i;
    text += `${DIGITS[word >>> 18]}${DIGITS[(word >>> 12) & 63]}`;
    text += `${left > 1 ? DIGITS[(word >>> 6) & 63] : "="}${left > 2 ? DIGITS[word & 63] : "="}`;
  }
  return text;
}
