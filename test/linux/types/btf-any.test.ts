import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Btf } from "../../../src/linux/types/btf/btf.js";
import type { CType } from "../../../src/linux/types/c-type.js";
import { type WrittenType, writeBtf } from "../../support/btf-writer.js";
import { walkTypes } from "../../support/walk-types.js";
import { typesOf, writtenTypes } from "../../support/written-types.js";

/** What a written type should be, said again from the description alone; what it refers to by number. */
function expected(type: WrittenType): Record<string, unknown> {
  switch (type.kind) {
    case "int":
      return { kind: "int", name: type.name, size: type.size, signed: type.signed };
    case "float":
      return { kind: "float", name: type.name, size: type.size };
    case "pointer":
      return { kind: "pointer", size: 8, target: type.type };
    case "const":
    case "volatile":
    case "restrict":
      return { kind: "qualified", qualifier: type.kind, target: type.type };
    case "typedef":
    case "typeTag":
    case "variable":
      return { kind: "typedef", name: type.name, target: type.type };
    case "array":
      return { kind: "array", element: type.element, count: type.count };
    case "struct":
    case "union":
      return {
        kind: type.kind,
        name: type.name,
        size: type.size,
        members: type.members.map(({ name, type: of, bit, bits = 0 }) => [name, of, bit, bits]),
      };
    case "enum":
    case "enum64":
      return {
        kind: "enum",
        name: type.name,
        size: type.size,
        signed: type.signed,
        constants: type.constants,
      };
    case "forward":
      return { kind: "forward", of: type.union ? "union" : "struct", name: type.name };
    case "prototype":
      return {
        kind: "function",
        returns: type.returns,
        variadic: type.variadic,
        parameters: type.parameters.map(({ name, type: of }) => [name, of]),
      };
    default:
      throw new Error(type.kind);
  }
}

/** The same, of what was read. */
function found(btf: Btf, type: CType): Record<string, unknown> {
  const id = (of: CType) => (of.kind === "void" ? 0 : numbers.get(of));
  const numbers = new Map<CType, number>();
  for (let i = 1; i <= btf.count; i++) numbers.set(btf.type(i), i);
  switch (type.kind) {
    case "int":
      return { kind: "int", name: type.name, size: type.size, signed: type.signed };
    case "float":
      return { kind: "float", name: type.name, size: type.size };
    case "pointer":
      return { kind: "pointer", size: type.size, target: id(type.target) };
    case "qualified":
      return { kind: "qualified", qualifier: type.qualifier, target: id(type.target) };
    case "typedef":
      return { kind: "typedef", name: type.name, target: id(type.target) };
    case "array":
      return { kind: "array", element: id(type.element), count: type.count };
    case "struct":
    case "union":
      return {
        kind: type.kind,
        name: type.name,
        size: type.size,
        members: type.members.map((each) => [each.name, id(each.type), each.bitOffset, each.bitSize]),
      };
    case "enum":
      return {
        kind: "enum",
        name: type.name,
        size: type.size,
        signed: type.signed,
        constants: type.enumerators,
      };
    case "forward":
      return { kind: "forward", of: type.of, name: type.name };
    case "function":
      return {
        kind: "function",
        returns: id(type.returns),
        variadic: type.variadic,
        parameters: type.parameters.map((each) => [each.name, id(each.type)]),
      };
    default:
      throw new Error(type.kind);
  }
}

describe("any types", () => {
  it("are read as they were written, in both byte orders, also where they go in circles", () => {
    fc.assert(
      fc.property(writtenTypes, fc.boolean(), (types, littleEndian) => {
        const btf = new Btf(writeBtf(types, { littleEndian }).bytes, { pointerSize: 8 });
        expect(btf.count).toBe(types.length);
        types.forEach((type, i) => {
          expect(found(btf, btf.type(i + 1))).toEqual(expected(type));
        });
        walkTypes(btf, typesOf(btf));
      }),
      { numRuns: 300 },
    );
  });
});
