import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Btf } from "../../../src/linux/types/btf/btf.js";
import { type CType, sizeOf } from "../../../src/linux/types/c-type.js";
import { type WrittenType, writeBtf } from "../../support/btf-writer.js";
import { writtenTypes } from "../../support/written-types.js";

describe("types of a BTF", () => {
  it("are found by name and kind: the first that is defined, else the first that is declared", () => {
    const kinds = { struct: "struct", union: "union", enum: "enum", enum64: "enum" } as const;
    fc.assert(
      fc.property(writtenTypes, (types) => {
        const btf = new Btf(writeBtf(types).bytes);
        for (const kind of ["struct", "union", "enum", "name"] as const) {
          for (const name of ["a", "b", "c", "d", "e", "list_head", "task_struct"]) {
            const of = (type: WrittenType) => {
              if (type.kind === "forward") return type.union ? "union" : "struct";
              if (type.kind === "int" || type.kind === "float" || type.kind === "typedef") return "name";
              return type.kind in kinds ? kinds[type.kind as keyof typeof kinds] : undefined;
            };
            const matches = types
              .map((type, i) => ({ type, id: i + 1 }))
              .filter(({ type }) => "name" in type && type.name === name && of(type) === kind);
            const wanted = matches.find(({ type }) => type.kind !== "forward") ?? matches[0];
            const type = btf.find(kind, name);
            expect(type).toBe(wanted === undefined ? undefined : btf.type(wanted.id));
          }
        }
      }),
      { numRuns: 200 },
    );
  });

  it("are found by their definition before a declaration of that name, wherever each stands", () => {
    const types: WrittenType[] = [
      { kind: "forward", name: "late", union: false },
      { kind: "struct", name: "late", size: 12, members: [] },
      { kind: "struct", name: "late", size: 24, members: [] },
    ];
    expect(sizeOf(new Btf(writeBtf(types).bytes).find("struct", "late") as CType)).toBe(12);
  });
});
