import { describe, expect, it } from "vitest";
import { Btf } from "../../../src/linux/types/btf/btf.js";
import { sizeOf, typeName } from "../../../src/linux/types/c-type.js";
import { typeNamed } from "../../../src/linux/types/type-name.js";
import type { TypeTable } from "../../../src/linux/types/type-table.js";
import { writeBtf } from "../../support/btf-writer.js";
import { INT, LONG } from "../../support/written-types.js";

describe("names of types", () => {
  const table: TypeTable = new Btf(
    writeBtf([
      INT,
      LONG,
      { kind: "int", name: "char", size: 1 },
      { kind: "struct", name: "list_head", size: 16, members: [{ name: "next", type: 5, bit: 0 }] },
      { kind: "pointer", type: 4 },
      { kind: "typedef", name: "pid_t", type: 1 },
      { kind: "union", name: "sigval", size: 8, members: [] },
      { kind: "enum", name: "pid_type", size: 4, signed: false, constants: [] },
    ]).bytes,
  );

  it.each([
    ["list_head", "struct list_head", 16],
    ["struct list_head *", "struct list_head *", 8],
    ["const struct list_head **", "struct list_head **", 8],
    ["char[16]", "char[16]", 16],
    ["list_head[2][3]", "struct list_head[2][3]", 96],
    ["char *[4]", "char *[4]", 32],
    ["unsigned long", "long unsigned int", 8],
    ["  union   sigval ", "union sigval", 8],
    ["pid_type", "enum pid_type", 4],
    ["pid_t", "pid_t", 4],
    ["void *", "void *", 8],
    ["char[]", "char[]", 0],
  ])('"%s" is %s', (text, name, size) => {
    const type = typeNamed(table, text);
    expect([typeName(type), sizeOf(type)]).toEqual([name, size]);
  });

  it.each([
    ["nosuch", "NO_TYPE"],
    ["union list_head", "NO_TYPE"],
    ["", "BAD_TYPE_NAME"],
    ["char[4]*", "BAD_TYPE_NAME"],
    ["a.b", "BAD_TYPE_NAME"],
    ["char[99999999999999]", "BAD_TYPE_NAME"],
    [`char${"*".repeat(99)}`, "BAD_TYPE_NAME"],
  ])('"%s" is refused: %s', (text, code) => {
    expect(() => typeNamed(table, text)).toThrowError(expect.objectContaining({ code }));
  });
});
