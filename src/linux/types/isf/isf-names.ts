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
  /** Names of base types by what they are, and how many there are of a name. */
  readonly #baseNames = new Map<string, string>();
  readonly #baseCounts = new Map<string, number>();
  readonly #enumBases = new Map<string, string>();
  readonly #usedStructs = new UsedNames();
  readonly #usedEnums = new UsedNames();
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
    const key = `${type.size} ${negative}`;
    const known = this.#enumBases.get(key);
    if (known !== undefined) return known;
    const found = this.#findEnumBase(type, negative);
    this.#enumBases.set(key, found);
    return found;
  }

  #findEnumBase(type: EnumType, negative: boolean): string {
    for (const [name, base] of this.#bases) {
      if (base.kind === "int" && base.size === type.size && base.signed === negative && !base.bool) {
        return name;
      }
    }
    const name = `${negative ? "signed" : "unsigned"} integer of ${type.size} bytes`;
    return this.baseName({ kind: "int", name, size: type.size, signed: negative, bool: false } as IntType);
  }

  baseName(type: IntType | FloatType): string {
    const { kind, size, name: wanted } = type;
    const key = `${kind} ${size} ${kind === "int" ? `${type.signed} ${type.bool}` : ""} ${wanted}`;
    let name = this.#baseNames.get(key);
    // (From where the last one of this name was found: there may be as many as types.)
    for (let n = this.#baseCounts.get(wanted) ?? 1; name === undefined; n++) {
      const next = n === 1 ? wanted : `${wanted} ${n}`;
      const known = this.#bases.get(next);
      if (known !== undefined && !isAlike(known, type)) continue;
      if (known === undefined) this.#bases.set(next, type);
      this.#baseCounts.set(wanted, n);
      this.#baseNames.set(key, next);
      name = next;
    }
    return name;
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
    const name = this.#usedStructs.take(wanted, this.structs.length);
    this.#structNames.set(type, name);
    this.structs.push(type);
    return name;
  }

  #nameEnum(type: EnumType, wanted: string): string {
    const known = this.#enumNames.get(type);
    if (known !== undefined) return known;
    const name = this.#usedEnums.take(wanted, this.enums.length);
    this.#enumNames.set(type, name);
    this.enums.push(type);
    return name;
  }

  #aliasEnum(type: EnumType, name: string): void {
    if (!this.#enumNames.has(type) && !this.#usedEnums.has(name)) this.#nameEnum(type, name);
  }
}

/** Names that are taken. */
class UsedNames {
  readonly #used = new Set<string>();
  /** For each name that was wanted again, the number behind the last that was made of it. */
  readonly #next = new Map<string, number>();

  has(name: string): boolean {
    return this.#used.has(name);
  }

  /** The name that is wanted, if it is free; else one that says that it was made, with that number or a higher one. */
  take(wanted: string, number: number): string {
    let name = wanted;
    if (wanted === "" || this.#used.has(wanted)) {
      const stem = wanted === "" ? "unnamed_" : `${wanted}__`;
      let next = Math.max(number, this.#next.get(wanted) ?? 0);
      do name = `${stem}${next++}`;
      while (this.#used.has(name));
      this.#next.set(wanted, next);
    }
    this.#used.add(name);
    return name;
  }
}

function isAlike(a: IntType | FloatType, b: IntType | FloatType): boolean {
  if (a === b) return true;
  if (a.size !== b.size) return false;
  return a.kind === "int"
    ? b.kind === "int" && a.signed === b.signed && a.bool === b.bool
    : b.kind === "float";
}
