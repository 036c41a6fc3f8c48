import { describe, expect, it } from "vitest";
import { Btf } from "../../../src/linux/types/btf/btf.js";
import { type CType, declare, sizeOf } from "../../../src/linux/types/c-type.js";
import { typeNamed } from "../../../src/linux/types/type-name.js";
import { writeBtf } from "../../support/btf-writer.js";
import { INT } from "../../support/written-types.js";

describe("split BTF", () => {
  it("goes on where the kernel's ends: types and strings of a module", () => {
    const base = writeBtf([
      INT,
      { kind: "struct", name: "file", size: 4, members: [{ name: "f", type: 1, bit: 0 }] },
    ]);
    const kernel = new Btf(base.bytes);
    const module = writeBtf(
      [
        { kind: "pointer", type: 2 },
        { kind: "struct", name: "mine", size: 8, members: [{ name: "file", type: 3, bit: 0 }] },
        { kind: "struct", name: "file", size: 64, members: [] },
      ],
      { baseStrings: base.strings },
    );
    const split = new Btf(module.bytes, { base: kernel });
    expect([split.firstId, split.count]).toEqual([3, 3]);
    const mine = split.find("struct", "mine");
    expect(mine?.kind === "struct" && mine.members.map(({ type, name }) => declare(type, name))).toEqual([
      "struct file *file",
    ]);
    expect(sizeOf(split.find("name", "int") as CType)).toBe(4);
    expect(typeNamed(split, "struct mine *").kind).toBe("pointer");
    // Its own is found first, as in C the nearer definition is.
    expect(sizeOf(split.find("struct", "file") as CType)).toBe(64);
    expect(sizeOf(kernel.find("struct", "file") as CType)).toBe(4);
  });
});
