/**
 * Writes BTF from a plain description of types, slowly and by the book (Documentation/bpf/btf.rst): for tests that read it back.
 * A type is named by its number: 0 is `void`, 1 the first one written (in split BTF: the first behind the base's).
 */

/** A member. */
export interface WrittenMember {
  readonly name: string;
  readonly type: number;
  /** Bits from the structure's beginning. */
  readonly bit: number;
  /** Bits of a bit-field; 0 for none. */
  readonly bits?: number;
}

/** A type. */
export type WrittenType =
  | {
      readonly kind: "int";
      readonly name: string;
      readonly size: number;
      readonly signed?: boolean;
      readonly bool?: boolean;
      /** How old-style bit-fields are written: an integer of these bits, that begin at `offset`. */
      readonly bits?: number;
      readonly offset?: number;
    }
  | { readonly kind: "float"; readonly name: string; readonly size: number }
  | {
      readonly kind: "pointer" | "const" | "volatile" | "restrict";
      readonly type: number;
    }
  | { readonly kind: "typedef" | "typeTag"; readonly name: string; readonly type: number }
  | { readonly kind: "array"; readonly element: number; readonly index: number; readonly count: number }
  | {
      readonly kind: "struct" | "union";
      readonly name: string;
      readonly size: number;
      readonly members: readonly WrittenMember[];
      /** Without `kind_flag`: members are at whole offsets, and bit-fields by integers of their own. */
      readonly oldStyle?: boolean;
    }
  | {
      readonly kind: "enum" | "enum64";
      readonly name: string;
      readonly size: number;
      readonly signed: boolean;
      readonly constants: readonly { readonly name: string; readonly value: bigint }[];
    }
  | { readonly kind: "forward"; readonly name: string; readonly union: boolean }
  | { readonly kind: "function"; readonly name: string; readonly type: number }
  | {
      readonly kind: "prototype";
      readonly returns: number;
      readonly parameters: readonly { readonly name: string; readonly type: number }[];
      readonly variadic?: boolean;
    }
  | { readonly kind: "variable"; readonly name: string; readonly type: number }
  | {
      readonly kind: "section";
      readonly name: string;
      readonly size: number;
      readonly variables: readonly {
        readonly type: number;
        readonly offset: number;
        readonly size: number;
      }[];
    }
  | {
      readonly kind: "declarationTag";
      readonly name: string;
      readonly type: number;
      readonly component: number;
    };

/** BTF_KIND_… of include/uapi/linux/btf.h. */
const NUMBERS = {
  int: 1,
  pointer: 2,
  array: 3,
  struct: 4,
  union: 5,
  enum: 6,
  forward: 7,
  typedef: 8,
  volatile: 9,
  const: 10,
  restrict: 11,
  function: 12,
  prototype: 13,
  variable: 14,
  section: 15,
  float: 16,
  declarationTag: 17,
  typeTag: 18,
  enum64: 19,
} as const;

/** How to write. */
export interface BtfWriterOptions {
  readonly littleEndian?: boolean;
  /** Bytes of strings of what this goes on from: offsets of its own begin behind them. */
  readonly baseStrings?: number;
}

/** BTF of these types, and the size of its strings. */
export function writeBtf(
  types: readonly WrittenType[],
  { littleEndian = true, baseStrings = 0 }: BtfWriterOptions = {},
): { readonly bytes: Uint8Array; readonly strings: number } {
  const strings: number[] = baseStrings === 0 ? [0] : [];
  const known = new Map<string, number>();
  const words: number[] = [];

  function text(name: string): number {
    if (name === "") return 0;
    let at = known.get(name);
    if (at === undefined) {
      at = baseStrings + strings.length;
      known.set(name, at);
      strings.push(...[...name].map((character) => character.charCodeAt(0)), 0);
    }
    return at;
  }

  function head(name: string, kind: keyof typeof NUMBERS, count: number, flag: boolean, sizeOrType: number) {
    words.push(text(name), ((flag ? 0x8000_0000 : 0) | (NUMBERS[kind] << 24) | count) >>> 0, sizeOrType);
  }

  for (const type of types) {
    switch (type.kind) {
      case "int": {
        head(type.name, "int", 0, false, type.size);
        const encoding = (type.signed === true ? 1 : 0) | (type.bool === true ? 4 : 0);
        words.push((encoding << 24) | ((type.offset ?? 0) << 16) | (type.bits ?? 8 * type.size));
        break;
      }
      case "float":
        head(type.name, "float", 0, false, type.size);
        break;
      case "pointer":
      case "const":
      case "volatile":
      case "restrict":
        head("", type.kind, 0, false, type.type);
        break;
      case "typedef":
      case "typeTag":
        head(type.name, type.kind, 0, false, type.type);
        break;
      case "array":
        head("", "array", 0, false, 0);
        words.push(type.element, type.index, type.count);
        break;
      case "struct":
      case "union":
        head(type.name, type.kind, type.members.length, type.oldStyle !== true, type.size);
        for (const { name, type: of, bit, bits = 0 } of type.members) {
          words.push(text(name), of, type.oldStyle === true ? bit : ((bits << 24) | bit) >>> 0);
        }
        break;
      case "enum":
      case "enum64":
        head(type.name, type.kind, type.constants.length, type.signed, type.size);
        for (const { name, value } of type.constants) {
          words.push(text(name), Number(value & 0xffff_ffffn));
          if (type.kind === "enum64") words.push(Number((value >> 32n) & 0xffff_ffffn));
        }
        break;
      case "forward":
        head(type.name, "forward", 0, type.union, 0);
        break;
      case "function":
        head(type.name, "function", 1, false, type.type);
        break;
      case "prototype": {
        const count = type.parameters.length + (type.variadic === true ? 1 : 0);
        head("", "prototype", count, false, type.returns);
        for (const parameter of type.parameters) words.push(text(parameter.name), parameter.type);
        if (type.variadic === true) words.push(0, 0);
        break;
      }
      case "variable":
        head(type.name, "variable", 0, false, type.type);
        words.push(1);
        break;
      case "section":
        head(type.name, "section", type.variables.length, false, type.size);
        for (const variable of type.variables) words.push(variable.type, variable.offset, variable.size);
        break;
      case "declarationTag":
        head(type.name, "declarationTag", 0, false, type.type);
        words.push(type.component >>> 0);
        break;
    }
  }

  const bytes = new Uint8Array(24 + 4 * words.length + strings.length);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, 0xeb9f, littleEndian);
  view.setUint8(2, 1);
  [24, 0, 4 * words.length, 4 * words.length, strings.length].forEach((value, i) => {
    view.setUint32(4 + 4 * i, value, littleEndian);
  });
  words.forEach((word, i) => {
    view.setUint32(24 + 4 * i, word, littleEndian);
  });
  bytes.set(strings, 24 + 4 * words.length);
  return { bytes, strings: strings.length };
}
