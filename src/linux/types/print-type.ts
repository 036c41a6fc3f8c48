/** Types as C defines them: members with their offsets, what has no name in its place. */
import { type CType, declare, type EnumType, type StructType, sizeOf } from "./c-type.js";

/** How deep structures without a name are shown inside one another; C code has a handful. */
const MAX_DEPTH = 16;
/** Members and constants shown in all: damaged types may hold one another many times over. */
const MAX_LINES = 8192;

/**
 * The definition of a type, ending with a semicolon: of a structure or union with its members and, as comments, their
 * offsets in bytes from its beginning (`0x10`, of bit-fields `0x10:3` with the bit) and its size; of an enumeration with
 * its constants; of a typedef what it stands for. Others are named only. What has no name is shown where it is.
 *
 * Names are as the table has them: what prints damaged ones escapes them.
 */
export function printType(type: CType): string {
  const printer = new Printer();
  switch (type.kind) {
    case "struct":
    case "union":
      return `${printer.structure(type, 0, 0, 0)}; /* ${bytes(type)} */`;
    case "enum":
      return `${printer.enumeration(type, 0)}; /* ${bytes(type)} */`;
    case "typedef":
      return `typedef ${printer.declaration(type.target, type.name, 0, 0, 0)}; /* ${bytes(type)} */`;
    default:
      return `${declare(type, "")};`;
  }
}

class Printer {
  #left = MAX_LINES;

  structure(type: StructType, base: number, indent: number, depth: number): string {
    const lines: string[] = [];
    const tabs = "\t".repeat(indent + 1);
    for (const member of type.members) {
      if (this.#left-- <= 0) {
        lines.push(`${tabs}/* … */`);
        break;
      }
      const bit = base + member.bitOffset;
      const text = this.declaration(member.type, member.name, bit, indent + 1, depth + 1);
      const offset = `0x${Math.floor(bit / 8).toString(16)}`;
      const isField = member.bitSize > 0;
      lines.push(
        `${tabs}${text}${isField ? ` : ${member.bitSize}` : ""}; /* ${offset}${isField ? `:${bit % 8}` : ""} */`,
      );
    }
    return `${heading(type)} {\n${lines.map((line) => `${line}\n`).join("")}${"\t".repeat(indent)}}`;
  }

  enumeration(type: EnumType, indent: number): string {
    const lines: string[] = [];
    const tabs = "\t".repeat(indent + 1);
    for (const { name, value } of type.enumerators) {
      if (this.#left-- <= 0) {
        lines.push(`${tabs}/* … */`);
        break;
      }
      lines.push(`${tabs}${name} = ${value},`);
    }
    return `${heading(type)} {\n${lines.map((line) => `${line}\n`).join("")}${"\t".repeat(indent)}}`;
  }

  /** A declaration, with the members of what has no name in it. `base`: in bits from the outermost's beginning. */
  declaration(type: CType, name: string, base: number, indent: number, depth: number): string {
    const text = declare(type, name);
    const inner = depth < MAX_DEPTH && text.includes("{…}") ? innermost(type) : undefined;
    if (inner === undefined) return text;
    const body =
      inner.kind === "enum" ? this.enumeration(inner, indent) : this.structure(inner, base, indent, depth);
    // A function as the second argument: the text may hold "$".
    return text.replace(`${inner.kind} {…}`, () => body);
  }
}

/** A structure or enumeration without a name below pointers and arrays. */
function innermost(type: CType): StructType | EnumType | undefined {
  let found = type;
  for (let depth = 0; depth < MAX_DEPTH; depth++) {
    if (found.kind === "pointer" || found.kind === "qualified") found = found.target;
    else if (found.kind === "array") found = found.element;
    else break;
  }
  if (found.kind !== "struct" && found.kind !== "union" && found.kind !== "enum") return undefined;
  return found.name === "" ? found : undefined;
}

function heading({ kind, name }: StructType | EnumType): string {
  return name === "" ? kind : `${kind} ${name}`;
}

function bytes(type: CType): string {
  const size = sizeOf(type);
  return `0x${size.toString(16)} ${size === 1 ? "byte" : "bytes"}`;
}
