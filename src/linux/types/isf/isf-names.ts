/**
 * Names for types in an ISF file, where a structure's name is its only identity: what has none in C, or shares its own, gets one.
 */
import {
  type CType,
  type EnumType,
  type FloatType,
  type IntType,
  type StructType,
  stripped,
  VOID,
} from "../c-type.js";
import type { TypeTable } from "../type-table.js";

/** Pointers, arrays and the like in one another; what is deeper (damaged types may go in circles) is `void`. */
const MAX_DEPTH = 48;

/** Gives names, and remembers what was named so that it is written. */
export class IsfNames {
  /** Structures and unions to write, in the order in which they were named. */
  readonly structs: StructType[] = [];
  readonly enums: EnumType[] = [];
  readonly #structNames = new Map<StructType, string>();
  readonly #enumNames = new Map<EnumType, string>();
  readonly #bases = new Map<string, IntType | FloatType>();
  readonly #usedStructs = new Set<string>();
  readonly #usedEnums = new Set<string>();
  readonly #littleEndian: boolean;

  /**
   * Names every type of a table that has a name, or is what a typedef stands for: the first of a name keeps it.
   *
   * @throws nothing; work is one pass over the table.
   */
  constructor(table: TypeTable) {
    this.#littleEndian = table.littleEndian;
    const aliases: { name: string; type: StructType | EnumType }[] = [];
    for (const { name, type } of table.all()) {
      if (type.kind === "struct" || type.kind === "union") this.#nameStruct(type, name);
      else if (type.kind === "enum") this.#nameEnum(type, name);
      else if (type.kind === "int" || type.kind === "float") this.#bases.set(name, type);
      else if (type.kind === "typedef") {
        const target = stripped(type);
        if ("name" in target && target.name === "" && target.kind !== "forward" && "size" in target) {
          if (target.kind === "struct" || target.kind === "union" || target.kind === "enum") {
            aliases.push({ name, type: target });
          }
        }
      }
    }
    for (const { name, type } of aliases) {
      if (type.kind === "enum") this.#aliasEnum(type, name);
      else if (!this.#structNames.has(type) && !this.#usedStructs.has(name)) this.#nameStruct(type, name);
    }
  }

  /** The name of a structure, given now if it has none yet. */
  structName(type: StructType): string {
    return this.#structNames.get(type) ?? this.#nameStruct(type, type.name);
  }

  enumName(type: EnumType): string {
    return this.#enumNames.get(type) ?? this.#nameEnum(type, type.name);
  }

  /** The base type that holds an enumeration's values. */
  baseOfEnum(type: EnumType): string {
    const negative = type.signed || type.enumerators.some(({ value }) => value < 0n);
    for (const [name, base] of this.#bases) {
      if (base.kind === "int" && base.size === type.size && base.signed === negative && !base.bool) {
        return name;
      }
    }
    const name = `${negative ? "signed" : "unsigned"} integer of ${type.size} bytes`;
    return this.baseName({ kind: "int", name, size: type.size, signed: negative, bool: false } as IntType);
  }

  baseName(type: IntType | FloatType): string {
    for (let n = 1; ; n++) {
      const name = n === 1 ? type.name : `${type.name} ${n}`;
      const known = this.#bases.get(name);
      if (known === undefined) this.#bases.set(name, type);
      else if (!isAlike(known, type)) continue;
      return name;
    }
  }

  /** Every base type that was named, with `void` and `pointer`: name and JSON. */
  *baseTypes(pointerSize: number): Generator<[string, object], void, void> {
    const endian = this.#littleEndian ? "little" : "big";
    yield ["void", { size: 0, signed: false, kind: "void", endian }];
    yield ["pointer", { size: pointerSize, signed: false, kind: "int", endian }];
    for (const [name, type] of this.#bases) {
      if (name === "void" || name === "pointer") continue;
      const kind = type.kind === "float" ? "float" : type.bool ? "bool" : type.char ? "char" : "int";
      const signed = type.kind === "float" || type.signed;
      yield [name, { size: type.size, signed, kind, endian }];
    }
  }

  /** A type as members and symbols name it. */
  describe(type: CType, depth = 0): object {
    const found = depth < MAX_DEPTH ? stripped(type) : VOID;
    switch (found.kind) {
      case "void":
        return { kind: "base", name: "void" };
      case "int":
      case "float":
        return { kind: "base", name: this.baseName(found) };
      case "pointer":
        return { kind: "pointer", subtype: this.describe(found.target, depth + 1) };
      case "array":
        return { kind: "array", subtype: this.describe(found.element, depth + 1), count: found.count };
      case "struct":
      case "union":
        return { kind: found.kind, name: this.structName(found) };
      case "enum":
        return { kind: "enum", name: this.enumName(found) };
      case "function":
        return { kind: "function" };
      case "forward":
        // Volatility looks an enumeration up at once, and gives up on what refers to one that is missing.
        if (found.of === "enum") return { kind: "base", name: "void" };
        return { kind: found.of, name: found.name };
    }
  }

  #nameStruct(type: StructType, wanted: string): string {
    const known = this.#structNames.get(type);
    if (known !== undefined) return known;
    const name = unused(this.#usedStructs, wanted, this.structs.length);
    this.#structNames.set(type, name);
    this.structs.push(type);
    return name;
  }

  #nameEnum(type: EnumType, wanted: string): string {
    const known = this.#enumNames.get(type);
    if (known !== undefined) return known;
    const name = unused(this.#usedEnums, wanted, this.enums.length);
    this.#enumNames.set(type, name);
    this.enums.push(type);
    return name;
  }

  #aliasEnum(type: EnumType, name: string): void {
    if (!this.#enumNames.has(type) && !this.#usedEnums.has(name)) this.#nameEnum(type, name);
  }
}

/** The name that is wanted, if it is free; else one that says that it was made. */
function unused(used: Set<string>, wanted: string, number: number): string {
  let name = wanted === "" ? `unnamed_${number}` : wanted;
  while (used.has(name)) name = wanted === "" ? `${name}_` : `${wanted}__${number++}`;
  used.add(name);
  return name;
}

function isAlike(a: IntType | FloatType, b: IntType | FloatType): boolean {
  if (a === b) return true;
  if (a.size !== b.size) return false;
  return a.kind === "int"
    ? b.kind === "int" && a.signed === b.signed && a.bool === b.bool
    : b.kind === "float";
}
