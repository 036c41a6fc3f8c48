/**
 * Types and symbols of an ISF file: Volatility 3's Intermediate Symbol Format, as dwarf2json and btf2json make it.
 *
 * What the format can't say: names of typedefs (a file has what they stand for), qualifiers, what functions take and give.
 *
 * Facts: as isf-document.ts.
 */
import {
  ArrayType,
  type CType,
  type Enumerator,
  EnumType,
  FloatType,
  ForwardType,
  FunctionType,
  IntType,
  Member,
  PointerType,
  StructType,
  VOID,
} from "../c-type.js";
import type { NamedType, TypeKind, TypeTable } from "../type-table.js";
import {
  Checks,
  type IsfDocument,
  type IsfField,
  type IsfType,
  type IsfUserType,
  isDigits,
  parseIsfDocument,
} from "./isf-document.js";

/** Options of {@link parseIsf}. */
export interface IsfOptions {
  /** For messages; default "the ISF file". */
  readonly name?: string | undefined;
}

/** A symbol of an ISF file. */
export interface IsfSymbol {
  readonly name: string;
  /** As linked: without what KASLR adds. */
  readonly address: bigint;
  /** Its type, where the file says it; `void` is what files say of one that is unknown. */
  readonly type: CType | undefined;
  /** What is there, of a few constants such as `linux_banner`: base64. */
  readonly constantData: string | undefined;
}

/** Reads an ISF file. @throws {TypesError} `ISF` naming the part of it that is wrong. */
export function parseIsf(data: Uint8Array | string, options: IsfOptions = {}): IsfTypes {
  const name = options.name ?? "the ISF file";
  return new IsfTypes(parseIsfDocument(data, name), name);
}

/** How what has no name in C is named: dwarf2json's `unnamed_…`, pdbconv's `__unnamed_…`. */
const UNNAMED = /^(?:__)?unnamed_/;

/** Types of one ISF file, made when they are asked for. */
export class IsfTypes implements TypeTable {
  readonly name: string;
  readonly pointerSize: 4 | 8;
  readonly littleEndian: boolean;
  /** Version of the format: "6.2.0". */
  readonly format: string;
  readonly #document: IsfDocument;
  readonly #bases = new Map<string, CType>();
  readonly #structs = new Map<string, StructType>();
  readonly #enums = new Map<string, EnumType>();

  /** Use {@link parseIsf}. @internal */
  constructor(document: IsfDocument, name: string) {
    this.name = name;
    this.format = document.format;
    this.#document = document;
    const { baseTypes } = document;
    const guess = ["pointer", "long unsigned int", "unsigned long"].find((key) =>
      Object.hasOwn(baseTypes, key),
    );
    this.pointerSize = guess !== undefined && baseTypes[guess]?.size === 4 ? 4 : 8;
    const first = guess ?? Object.keys(baseTypes)[0];
    this.littleEndian = first === undefined || baseTypes[first]?.endian !== "big";
  }

  find(kind: TypeKind, name: string): CType | undefined {
    switch (kind) {
      case "enum":
        return this.#enum(name);
      case "name":
        // A structure without a tag is named as its typedef is.
        return this.#base(name) ?? this.#struct(name) ?? this.#enum(name);
      default: {
        const found = this.#struct(name);
        return found?.kind === kind ? found : undefined;
      }
    }
  }

  variable(name: string): CType | undefined {
    // "void" is what writers give a symbol whose type they don't know.
    const type = this.symbol(name)?.type;
    return type === VOID ? undefined : type;
  }

  *all(): Generator<NamedType, void, void> {
    const { baseTypes, userTypes, enums } = this.#document;
    for (const name of Object.keys(baseTypes)) {
      const type = this.#base(name);
      if (type !== undefined && type !== VOID) yield { kind: "name", name, type };
    }
    for (const name of Object.keys(userTypes)) {
      const type = this.#struct(name);
      if (type !== undefined && type.name !== "") yield { kind: type.kind, name, type };
    }
    for (const name of Object.keys(enums)) {
      const type = this.#enum(name);
      if (type !== undefined && type.name !== "") yield { kind: "enum", name, type };
    }
  }

  /** Symbols of the file. */
  get symbolCount(): number {
    return Object.keys(this.#document.symbols).length;
  }

  /**
   * A symbol by name.
   *
   * @throws {TypesError} `ISF` if what the file says of it is wrong.
   */
  symbol(name: string): IsfSymbol | undefined {
    const { symbols } = this.#document;
    const raw = Object.hasOwn(symbols, name) ? symbols[name] : undefined;
    if (raw === undefined) return undefined;
    const check = new Checks(this.name);
    const part = `symbols.${name}`;
    const record = check.record(raw, part);
    const address = check.own(record, "address");
    if (!Number.isSafeInteger(address) && !isDigits(address)) {
      throw check.error(`${part}.address`, "is missing, or not an address");
    }
    const described = check.own(record, "type");
    if (described !== undefined) check.type(described, `${part}.type`);
    const data = check.own(record, "constant_data");
    if (data !== undefined && typeof data !== "string") {
      throw check.error(`${part}.constant_data`, "is no text");
    }
    return {
      name,
      address: BigInt.asUintN(64, BigInt(address as number | string)),
      type: described === undefined ? undefined : this.#type(described as IsfType),
      constantData: data,
    };
  }

  /** Every symbol, in the file's order. @throws {TypesError} as {@link symbol}. */
  *symbols(): Generator<IsfSymbol, void, void> {
    for (const name of Object.keys(this.#document.symbols)) {
      const symbol = this.symbol(name);
      if (symbol !== undefined) yield symbol;
    }
  }

  #base(name: string): CType | undefined {
    const { baseTypes } = this.#document;
    const raw = Object.hasOwn(baseTypes, name) ? baseTypes[name] : undefined;
    if (raw === undefined) return undefined;
    let type = this.#bases.get(name);
    if (type === undefined) {
      const { size, signed, kind } = raw;
      if (kind === "void") type = VOID;
      else if (kind === "float") type = new FloatType(name, size);
      else if (name === "pointer") type = new PointerType(this.pointerSize, () => VOID);
      else type = new IntType(name, size, signed, kind === "bool");
      this.#bases.set(name, type);
    }
    return type;
  }

  #struct(name: string): StructType | undefined {
    const { userTypes } = this.#document;
    const raw = Object.hasOwn(userTypes, name) ? userTypes[name] : undefined;
    if (raw === undefined) return undefined;
    let type = this.#structs.get(name);
    if (type === undefined) {
      const kind = raw.kind === "union" ? "union" : "struct";
      type = new StructType(kind, UNNAMED.test(name) ? "" : name, raw.size, () => this.#members(raw));
      this.#structs.set(name, type);
    }
    return type;
  }

  #enum(name: string): EnumType | undefined {
    const { enums, baseTypes } = this.#document;
    const raw = Object.hasOwn(enums, name) ? enums[name] : undefined;
    if (raw === undefined) return undefined;
    let type = this.#enums.get(name);
    if (type === undefined) {
      const constants = (): Enumerator[] =>
        Object.keys(raw.constants).map((each) => ({
          name: each,
          value: BigInt(raw.constants[each] as number | string),
        }));
      const base = Object.hasOwn(baseTypes, raw.base) ? baseTypes[raw.base] : undefined;
      const isSigned = base?.signed ?? true;
      type = new EnumType(UNNAMED.test(name) ? "" : name, raw.size, isSigned, constants);
      this.#enums.set(name, type);
    }
    return type;
  }

  /** By offset, as C has them: the file's order may be that of the names. */
  #members({ fields }: IsfUserType): Member[] {
    return Object.keys(fields)
      .map((name) => this.#member(name, fields[name] as IsfField))
      .sort((a, b) => a.bitOffset - b.bitOffset);
  }

  #member(key: string, { type, offset, anonymous }: IsfField): Member {
    const name = anonymous === true ? "" : key;
    if (type.kind !== "bitfield") return new Member(name, 8 * offset, 0, () => this.#type(type));
    const { bit_position: position, bit_length: length } = type;
    // The position is counted from the lowest bit of the value; a member's offset in memory's order.
    const unit = this.#unitOf(type.type);
    const first = this.littleEndian ? position : 8 * unit - position - length;
    return new Member(name, 8 * offset + Math.max(0, first), length, () => this.#type(type.type));
  }

  #unitOf(type: IsfType): number {
    const found = this.#type(type);
    return "size" in found ? found.size : 0;
  }

  #type(raw: IsfType): CType {
    switch (raw.kind) {
      case "pointer": {
        const size = raw.base === undefined ? undefined : this.#base(String(raw.base));
        const bytes = size !== undefined && "size" in size ? size.size : this.pointerSize;
        return new PointerType(bytes, () => this.#type(raw.subtype));
      }
      case "base":
        return this.#base(raw.name) ?? VOID;
      case "array":
        return new ArrayType(raw.count, () => this.#type(raw.subtype));
      case "bitfield":
        return this.#type(raw.type);
      case "function":
        return new FunctionType(
          () => VOID,
          false,
          () => [],
        );
      case "enum":
        return this.#enum(raw.name) ?? new ForwardType("enum", raw.name);
      default: {
        const of = raw.kind === "union" ? "union" : "struct";
        return this.#struct(raw.name) ?? new ForwardType(of, raw.name);
      }
    }
  }
}
