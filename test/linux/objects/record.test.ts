/** Members of many structures, by types that may be damaged. */
import { describe, expect, it } from "vitest";
import { record, text, textAt } from "../../../src/linux/objects/record.js";
import { Btf } from "../../../src/linux/types/btf/btf.js";
import { writeBtf } from "../../support/btf-writer.js";

describe("a record", () => {
  it("refuses a member that its types say to be larger than any that is read", () => {
    const types = (count: number) =>
      new Btf(
        writeBtf([
          { kind: "int", name: "char", size: 1, signed: true, bits: 8 },
          { kind: "array", element: 1, index: 1, count },
          { kind: "struct", name: "task", size: 4 + count, members: [{ name: "comm", type: 2, bit: 32 }] },
        ]).bytes,
      );
    const plan = record("task", { comm: text("comm") });
    expect(plan.on(types(16)).offsetOf("comm")).toBe(4);
    expect(() => plan.on(types(2 ** 26))).toThrow("its types are damaged");
  });

  it("takes a text up to its NUL, or to the end of its own member", () => {
    const bytes = Uint8Array.from([97, 98, 99, 100, 0]);
    expect([textAt(bytes, 0, 3), textAt(bytes, 2, 5)]).toEqual(["abc", "cd"]);
  });
});
