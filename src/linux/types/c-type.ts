/**
 * C types as a kernel describes its own: what BTF, ISF files and the like are turned into. Types that a type refers to are
 * found when they are first asked for, so that one structure of a hundred thousand costs no more than itself.
 */

/** Any C type. */
export type CType =
  | VoidType
  | IntType
  | FloatType
  | PointerType
  | ArrayType
  | StructType
  | EnumType
  | TypedefType
  | QualifiedType
  | FunctionType
  | ForwardType;

/** Finds the type that another one names; called at most once. */
export type TypeRef = () => CType;

/** `void`, and what stands for a type that nobody describes. */
export class VoidType {
  readonly kind = "void";
}

/** The one `void`. */
export const VOID = new VoidType();

/** Integers, `char` and `_Bool`. */
export class IntType {
  readonly kind = "int";
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  readonly signed: boolean;
  readonly bool: boolean;

  constructor(name: string, size: number, signed: boolean, bool = false) {
    this.name = name;
    this.size = size;
    this.signed = signed;
    this.bool = bool;
  }

  /** Whether it holds characters: C's `char` of any sign. (Compilers mark it like any number of a byte.) */
  get char(): boolean {
    return this.size === 1 && !this.bool && /\bchar$/.test(this.name);
  }
}

/** IEEE 754 numbers of 4 or 8 bytes; others are bytes to us. */
export class FloatType {
  readonly kind = "float";
  readonly name: string;
  /** Bytes. */
  readonly size: number;

  constructor(name: string, size: number) {
    this.name = name;
    this.size = size;
  }
}

/** A type with one other below it, found when asked for. */
abstract class Referring {
  #ref: TypeRef | undefined;
  #found: CType | undefined;

  constructor(ref: TypeRef) {
    this.#ref = ref;
  }

  protected get referred(): CType {
    if (this.#found === undefined) {
      this.#found = this.#ref?.() ?? VOID;
      this.#ref = undefined;
    }
    return this.#found;
  }
}

/** A pointer. */
export class PointerType extends Referring {
  readonly kind = "pointer";
  /** Bytes. */
  readonly size: number;

  constructor(size: number, ref: TypeRef) {
    super(ref);
    this.size = size;
  }

  get target(): CType {
    return this.referred;
  }
}

/** An array; without elements, one of which only its place is known (a flexible member). */
export class ArrayType extends Referring {
  readonly kind = "array";
  /** Elements; 0 for a flexible array. */
  readonly count: number;

  constructor(count: number, ref: TypeRef) {
    super(ref);
    this.count = count;
  }

  get element(): CType {
    return this.referred;
  }
}

/** A member of a structure or union. */
export class Member extends Referring {
  /** "" for one without a name, whose own members are its parent's. */
  readonly name: string;
  /** From the beginning of the structure. */
  readonly bitOffset: number;
  /** Bits of a bit-field; 0 for what is none. */
  readonly bitSize: number;

  constructor(name: string, bitOffset: number, bitSize: number, ref: TypeRef) {
    super(ref);
    this.name = name;
    this.bitOffset = bitOffset;
    this.bitSize = bitSize;
  }

  get type(): CType {
    return this.referred;
  }
}

/** A structure or union. */
export class StructType {
  readonly kind: "struct" | "union";
  /** "" for one without a name. */
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  #make: (() => readonly Member[]) | undefined;
  #members: readonly Member[] = [];
  #byName: Map<string, Member> | undefined;

  constructor(kind: "struct" | "union", name: string, size: number, members: () => readonly Member[]) {
    this.kind = kind;
    this.name = name;
    this.size = size;
    this.#make = members;
  }

  /** In the order of their declaration. */
  get members(): readonly Member[] {
    if (this.#make !== undefined) {
      this.#members = this.#make();
      this.#make = undefined;
    }
    return this.#members;
  }

  /** A member of its own; of those inside members without a name, see `findMember`. */
  own(name: string): Member | undefined {
    this.#byName ??= new Map([...this.members].reverse().map((member) => [member.name, member]));
    return name === "" ? undefined : this.#byName.get(name);
  }
}

/** A constant of an enumeration. */
export interface Enumerator {
  readonly name: string;
  readonly value: bigint;
}

/** An enumeration. */
export class EnumType {
  readonly kind = "enum";
  /** "" for one without a name. */
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  readonly signed: boolean;
  #make: (() => readonly Enumerator[]) | undefined;
  #enumerators: readonly Enumerator[] = [];
  #names: Map<bigint, string> | undefined;

  constructor(name: string, size: number, signed: boolean, enumerators: () => readonly Enumerator[]) {
    this.name = name;
    this.size = size;
    this.signed = signed;
    this.#make = enumerators;
  }

  get enumerators(): readonly Enumerator[] {
    if (this.#make !== undefined) {
      this.#enumerators = this.#make();
      this.#make = undefined;
    }
    return this.#enumerators;
  }

  /** The first constant of a value. */
  nameOf(value: bigint): string | undefined {
    this.#names ??= new Map([...this.enumerators].reverse().map((each) => [each.value, each.name]));
    return this.#names.get(value);
  }

  /** The value of a constant. */
  constant(name: string): bigint | undefined {
    return this.enumerators.find((each) => each.name === name)?.value;
  }
}

/** Another name of a type. */
export class TypedefType extends Referring {
  readonly kind = "typedef";
  readonly name: string;

  constructor(name: string, ref: TypeRef) {
    super(ref);
    this.name = name;
  }

  get target(): CType {
    return this.referred;
  }
}

/** `const`, `volatile`, `restrict`. */
export class QualifiedType extends Referring {
  readonly kind = "qualified";
  readonly qualifier: "const" | "volatile" | "restrict";

  constructor(qualifier: "const" | "volatile" | "restrict", ref: TypeRef) {
    super(ref);
    this.qualifier = qualifier;
  }

  get target(): CType {
    return this.referred;
  }
}

/** A parameter of a function. */
export interface Parameter {
  /** "" where it has none. */
  readonly name: string;
  readonly type: CType;
}

/** What a function takes and gives. */
export class FunctionType extends Referring {
  readonly kind = "function";
  /** Whether more arguments may follow. */
  readonly variadic: boolean;
  #make: (() => readonly Parameter[]) | undefined;
  #parameters: readonly Parameter[] = [];

  constructor(ref: TypeRef, variadic: boolean, parameters: () => readonly Parameter[]) {
    super(ref);
    this.variadic = variadic;
    this.#make = parameters;
  }

  get returns(): CType {
    return this.referred;
  }

  get parameters(): readonly Parameter[] {
    if (this.#make !== undefined) {
      this.#parameters = this.#make();
      this.#make = undefined;
    }
    return this.#parameters;
  }
}

/** A structure, union or enumeration of which only the name is known. */
export class ForwardType {
  readonly kind = "forward";
  readonly of: "struct" | "union" | "enum";
  readonly name: string;

  constructor(of: "struct" | "union" | "enum", name: string) {
    this.of = of;
    this.name = name;
  }
}

/** Names and qualifiers that are followed: no real type has more, and damaged ones may go in circles. */
const MAX_DEPTH = 64;

/** The type without its typedefs and qualifiers; `void` for one that goes in circles. */
export function stripped(type: CType): Exclude<CType, TypedefType | QualifiedType> {
  let found = type;
  for (let depth = 0; found.kind === "typedef" || found.kind === "qualified"; depth++) {
    if (depth === MAX_DEPTH) return VOID;
    found = found.target;
  }
  return found;
}

/** Bytes of a value; 0 for what has none (`void`, functions, flexible arrays), and for arrays that no memory could hold. */
export function sizeOf(type: CType): number {
  let count = 1;
  let found = stripped(type);
  for (let depth = 0; found.kind === "array"; depth++) {
    count *= found.count;
    if (depth === MAX_DEPTH) return 0;
    found = stripped(found.element);
  }
  const size = "size" in found ? count * found.size : 0;
  return Number.isSafeInteger(size) ? size : 0;
}

/** A type as C writes it without a variable's name: `struct list_head *`, `char[16]`, `int (*)(struct file *)`. */
export function typeName(type: CType): string {
  return declare(type, "");
}

/** The declaration of a variable of a type: `char comm[16]`. */
export function declare(type: CType, name: string): string {
  return declareIn(type, name, 0, { left: MAX_PARTS });
}

/** Parts of one declaration: functions that take functions that take themselves would have no end that is near. */
const MAX_PARTS = 256;

function declareIn(type: CType, name: string, depth: number, parts: { left: number }): string {
  if (depth > MAX_DEPTH || parts.left-- <= 0) return `… ${name}`.trimEnd();
  const spaced = (text: string) => (name === "" ? text : `${text} ${name}`);
  switch (type.kind) {
    case "void":
      return spaced("void");
    case "int":
    case "float":
    case "typedef":
      return spaced(type.name);
    case "struct":
    case "union":
    case "enum":
      return spaced(`${type.kind} ${type.name === "" ? "{…}" : type.name}`);
    case "forward":
      return spaced(`${type.of} ${type.name}`);
    case "qualified": {
      // Of a pointer, the qualifier stands behind the star.
      const { target, qualifier } = type;
      if (target.kind === "pointer")
        return declareIn(target, `${qualifier} ${name}`.trimEnd(), depth + 1, parts);
      return `${qualifier} ${declareIn(target, name, depth + 1, parts)}`;
    }
    case "pointer": {
      const { target } = type;
      const inner = target.kind === "array" || target.kind === "function" ? `(*${name})` : `*${name}`;
      return declareIn(target, inner, depth + 1, parts);
    }
    case "array": {
      const bounds = `[${type.count === 0 ? "" : type.count}]`;
      return name === ""
        ? arrayName(type, bounds, depth, parts)
        : declareIn(type.element, `${name}${bounds}`, depth + 1, parts);
    }
    case "function": {
      const parameters: string[] = [];
      for (const each of type.parameters) {
        if (parts.left <= 0) break;
        parameters.push(declareIn(each.type, each.name, depth + 1, parts));
      }
      if (parameters.length < type.parameters.length) parameters.push("…");
      if (type.variadic) parameters.push("...");
      return declareIn(
        type.returns,
        `${name}(${parameters.length === 0 ? "void" : parameters.join(", ")})`,
        depth + 1,
        parts,
      );
    }
  }
}

/** `char[16]`, without a space in front of the bounds. */
function arrayName(type: ArrayType, bounds: string, depth: number, parts: { left: number }): string {
  const marked = declareIn(type.element, `\u0000${bounds}`, depth + 1, parts);
  return marked.replace(" \u0000", "").replace("\u0000", "");
}
