/** Values of C in bytes as JavaScript has them. */
import { type CType, type StructType, sizeOf, stripped, typeName } from "../types/c-type.js";
import { TypesError } from "../types/type-table.js";
import { integerAt } from "./integer.js";
import { textAt } from "./record.js";

/**
 * A value of C: integers of up to 32 bits are numbers, longer ones bigints; `_Bool` is a boolean; a constant of an enumeration is
 * its name, and another value its number; an array of `char` is text up to its NUL; a pointer is a bigint; structures and unions
 * are objects without a prototype, with the members of members that have no name among their own; arrays are arrays.
 */
// biome-ignore lint/suspicious/noExplicitAny: what a type known only at run time gives; the schema says more for common ones.
export type KernelValue = any;

/** A stretch of bytes that holds a value; `bitOffset` is from its first bit. */
export interface BitPlace {
  readonly type: CType;
  readonly bitOffset: number;
  /** Bits of a bit-field; 0 for what is none. */
  readonly bitSize: number;
}

/** Values within one that is read: no real structure has as many, and damaged types may nest without end. */
const MAX_VALUES = 1 << 20;
/** How deep structures nest. */
const MAX_DEPTH = 32;

/** Whether an array of it is text: C's `char`, but not `u8`, which is `unsigned char`. */
export function isText(element: CType): boolean {
  const type = stripped(element);
  return type.kind === "int" && type.size === 1 && !type.bool && type.name === "char";
}

/** Members that are looked at of one structure: real ones have a few hundred. */
const MAX_MEMBERS = 65_536;

/** Members as they are seen: those of members without a name are their parent's. `bitOffset` is from the beginning of `type`. */
export function* membersOf(
  type: StructType,
  base = 0,
  depth = 0,
  left = { members: MAX_MEMBERS },
): Generator<BitPlace & { readonly name: string }> {
  for (const member of type.members) {
    // (Damaged types may hold one another: each way through them would be gone.)
    if (left.members-- <= 0) return;
    const bitOffset = base + member.bitOffset;
    const inner = member.name === "" ? stripped(member.type) : undefined;
    if (inner === undefined)
      yield { name: member.name, type: member.type, bitOffset, bitSize: member.bitSize };
    else if ((inner.kind === "struct" || inner.kind === "union") && depth < MAX_DEPTH) {
      yield* membersOf(inner, bitOffset, depth + 1, left);
    }
  }
}

/** Bytes of a place, from the one that holds its first bit. */
export function bytesOf({ type, bitOffset, bitSize }: BitPlace): number {
  return bitSize === 0 ? sizeOf(type) : Math.ceil(((bitOffset % 8) + bitSize) / 8);
}

/** Decodes values of one byte order. */
export class ValueDecoder {
  readonly #bytes: Uint8Array;
  readonly #littleEndian: boolean;
  #left = MAX_VALUES;

  constructor(bytes: Uint8Array, littleEndian: boolean) {
    this.#bytes = bytes;
    this.#littleEndian = littleEndian;
  }

  /** The value of a place in the bytes. @throws {TypesError} `NO_TYPE` for types that nest without end, or have no values. */
  value(place: BitPlace, depth = 0): KernelValue {
    const type = stripped(place.type);
    const at = Math.floor(place.bitOffset / 8);
    this.#left--;
    if (this.#left < 0 || depth > MAX_DEPTH || at + bytesOf(place) > this.#bytes.length) {
      const name = typeName(place.type);
      throw new TypesError("NO_TYPE", name, `${name} can't be read: it has more within than its size`);
    }
    switch (type.kind) {
      case "int": {
        const value = this.#integer(place, at);
        return type.bool ? Number(value) !== 0 : value;
      }
      case "enum": {
        const value = this.#integer(place, at);
        return type.nameOf(BigInt(value)) ?? value;
      }
      case "pointer":
        return BigInt(this.#integer(place, at));
      case "float":
        return this.#float(type.size, at);
      case "array":
        return this.#array(type.element, type.count, place.bitOffset, depth);
      case "struct":
      case "union": {
        const value = Object.create(null) as Record<string, KernelValue>;
        for (const member of membersOf(type)) {
          value[member.name] = this.value(
            { ...member, bitOffset: place.bitOffset + member.bitOffset },
            depth + 1,
          );
        }
        return value;
      }
      default:
        throw new TypesError(
          "NO_TYPE",
          typeName(type),
          `${typeName(type)} has no values: cast to another type`,
        );
    }
  }

  #integer(place: BitPlace, at: number): number | bigint {
    return integerAt(this.#bytes, at, place, this.#littleEndian);
  }

  #float(size: number, at: number): KernelValue {
    const view = new DataView(this.#bytes.buffer, this.#bytes.byteOffset + at, size);
    if (size === 8) return view.getFloat64(0, this.#littleEndian);
    return size === 4 ? view.getFloat32(0, this.#littleEndian) : this.#bytes.slice(at, at + size);
  }

  #array(element: CType, count: number, bitOffset: number, depth: number): KernelValue {
    const at = Math.floor(bitOffset / 8);
    if (isText(element)) return textAt(this.#bytes, at, at + count);
    const size = 8 * sizeOf(element);
    const values: KernelValue[] = [];
    for (let i = 0; i < count; i++) {
      values.push(this.value({ type: element, bitOffset: bitOffset + i * size, bitSize: 0 }, depth + 1));
    }
    return values;
  }
}
