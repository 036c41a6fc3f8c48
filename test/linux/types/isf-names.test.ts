/** Names for types in an ISF file, of which many want the same. */
import { describe, expect, it } from "vitest";
import { EnumType, IntType, StructType } from "../../../src/linux/types/c-type.js";
import { IsfNames } from "../../../src/linux/types/isf/isf-names.js";
import type { NamedType, TypeTable } from "../../../src/linux/types/type-table.js";

const COUNT = 40_000;

function namesOf(all: readonly NamedType[]): IsfNames {
  const table: TypeTable = {
    name: "types",
    pointerSize: 8,
    littleEndian: true,
    find: () => undefined,
    variable: () => undefined,
    all: () => all,
  };
  return new IsfNames(table);
}
const struct = (name: string) => new StructType("struct", name, 8, () => []);
const named = (name: string): NamedType => ({ kind: "struct", name, type: struct(name) });

describe("names of types", () => {
  it("are each one's own, in as many steps as there are types, though the made ones are taken", () => {
    // The names that would be made for the later ones.
    const taken = Array.from({ length: COUNT }, (_, i) => named(`it__${COUNT + i}`));
    const same = Array.from({ length: COUNT }, () => named("it"));
    const names = namesOf([...taken, ...same]);
    const given = [...taken, ...same].map(({ type }) => names.structName(type as StructType));
    expect(new Set(given).size).toBe(2 * COUNT);
    expect(given.slice(0, COUNT)).toEqual(taken.map(({ name }) => name));
    expect(given[COUNT]).toBe("it");
    const nameless = [struct(""), struct("")].map((type) => names.structName(type));
    expect(nameless).toEqual([`unnamed_${2 * COUNT}`, `unnamed_${2 * COUNT + 1}`]);
  });

  it("of integers that are not alike are told apart by a number, those that are share one", () => {
    const names = namesOf([]);
    const sizes = Array.from({ length: COUNT }, (_, i) => new IntType("int", i + 1, true));
    const given = sizes.map((type) => names.baseName(type));
    expect(given.slice(0, 3)).toEqual(["int", "int 2", "int 3"]);
    expect(new Set(given).size).toBe(COUNT);
    expect(names.baseName(new IntType("int", 2, true))).toBe("int 2");
    expect(names.baseName(new IntType("int", 2, false))).toBe(`int ${COUNT + 1}`);
  });

  it("of enumerations' bases are looked for once", () => {
    const ints = Array.from({ length: COUNT }, (_, i): NamedType => {
      const type = new IntType(`int${i}`, 16, true);
      return { kind: "name", name: type.name, type };
    });
    const names = namesOf([...ints, { kind: "name", name: "u32", type: new IntType("u32", 4, false) }]);
    const bases = Array.from({ length: COUNT }, () => names.baseOfEnum(new EnumType("", 4, false, () => [])));
    expect(new Set(bases)).toEqual(new Set(["u32"]));
  });
});
