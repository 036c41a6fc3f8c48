/** Objects of the kernel as C would initialise them. */
import { describeFault, type Hole, hex, type Routine } from "../../io/index.js";
import { stripped, typeName } from "../types/c-type.js";
import { TypesError } from "../types/type-table.js";
import { integerAt } from "./integer.js";
import { textAt } from "./record.js";
import { checkSize, locate, ObjectReadError, type Reference } from "./reference.js";
import { type BitPlace, bytesOf, isText, membersOf, ValueDecoder } from "./value.js";

/** Elements of an array that are shown; what follows is counted. */
const MAX_ELEMENTS = 64;
/** Values that are shown: types that are damaged may nest without end. */
const MAX_VALUES = 1 << 16;
const MAX_DEPTH = 32;

/**
 * The routine of `object.$.toC()`.
 *
 * @throws {ObjectReadError} if a pointer on the way to it can't be read; {RangeError} if it is too large.
 */
export function* printC(ref: Reference): Routine<string> {
  const size = checkSize(ref);
  const [located] = yield* locate([ref]);
  if (located === undefined || located.missing !== undefined) {
    throw new ObjectReadError(located === undefined ? [] : [located.missing]);
  }
  const { memory } = ref.context;
  const { bytes, holes } = yield* memory.readPartial(located.address, size);
  const nameOf = yield* ref.context.namer();
  const printer = new Printer(bytes, holes, memory.littleEndian, nameOf);
  return `(${typeName(ref.type)})${printer.value({ type: ref.type, bitOffset: ref.bit, bitSize: ref.bitSize }, 0)}`;
}

class Printer {
  readonly #bytes: Uint8Array;
  readonly #holes: readonly Hole[];
  readonly #littleEndian: boolean;
  readonly #nameOf: (address: bigint) => string | undefined;
  #left = MAX_VALUES;

  constructor(
    bytes: Uint8Array,
    holes: readonly Hole[],
    littleEndian: boolean,
    nameOf: (address: bigint) => string | undefined,
  ) {
    this.#bytes = bytes;
    this.#holes = holes;
    this.#littleEndian = littleEndian;
    this.#nameOf = nameOf;
  }

  value(place: BitPlace, depth: number): string {
    const type = stripped(place.type);
    const at = Math.floor(place.bitOffset / 8);
    const size = bytesOf(place);
    if (--this.#left < 0 || depth > MAX_DEPTH || at + size > this.#bytes.length) {
      return unknown("more within than its size");
    }
    if (type.kind === "struct" || type.kind === "union") {
      const members = [...membersOf(type)].map((member) => {
        const inner = { ...member, bitOffset: place.bitOffset + member.bitOffset };
        return `.${member.name} = ${this.value(inner, depth + 1)}`;
      });
      return block(members, depth);
    }
    const text = type.kind === "array" && isText(type.element);
    if (type.kind === "array" && !text) {
      const shown = Math.min(type.count, MAX_ELEMENTS);
      const width = size / type.count;
      const elements: string[] = [];
      for (let i = 0; i < shown; i++) {
        const bitOffset = place.bitOffset + 8 * i * width;
        elements.push(this.value({ type: type.element, bitOffset, bitSize: 0 }, depth + 1));
      }
      if (shown < type.count) elements.push(unknown(`${type.count - shown} more`));
      return elements.some((element) => element.includes("\n"))
        ? block(elements, depth)
        : `{ ${elements.join(", ")} }`.replace("{  }", "{}");
    }
    const hole = this.#holes.find(({ start, end }) => start < at + size && end > at);
    if (hole !== undefined) return unknown(describeFault(hole.fault));
    return text ? quoted(textAt(this.#bytes, at, at + size)) : this.#scalar(place, at);
  }

  #scalar(place: BitPlace, at: number): string {
    const type = stripped(place.type);
    switch (type.kind) {
      case "pointer": {
        const address = BigInt(integerAt(this.#bytes, at, place, this.#littleEndian));
        const name = address === 0n ? undefined : this.#nameOf(address);
        return name === undefined ? hex(address) : `${hex(address)} /* ${commented(name)} */`;
      }
      case "int":
      case "enum":
      case "float": {
        const value: unknown = new ValueDecoder(this.#bytes, this.#littleEndian).value(place);
        // What is that large is an address or a mask more often than a count.
        return typeof value === "bigint" && value >= 1n << 32n ? hex(value) : String(value);
      }
      default:
        throw new TypesError(
          "NO_TYPE",
          typeName(type),
          `${typeName(type)} has no values: cast to another type`,
        );
    }
  }
}

function unknown(why: string): string {
  return `… /* ${commented(why)} */`;
}

/** Text from a kernel or a file must not end the comment that it stands in. */
function commented(text: string): string {
  return text.replaceAll("*/", "* /");
}

function block(items: readonly string[], depth: number): string {
  if (items.length === 0) return "{}";
  const indent = "\t".repeat(depth);
  return `{\n${items.map((item) => `${indent}\t${item},\n`).join("")}${indent}}`;
}

/** A string of C. Control characters are octal: a digit behind a hexadecimal escape would belong to it. */
function quoted(text: string): string {
  const escaped = text.replace(/[\\"]/g, "\\$&").replace(/\p{C}/gu, (each) =>
    Array.from(each, (unit) => {
      const code = unit.codePointAt(0) as number;
      return code < 256 ? `\\${code.toString(8).padStart(3, "0")}` : `\\u{${code.toString(16)}}`;
    }).join(""),
  );
  return `"${escaped}"`;
}
