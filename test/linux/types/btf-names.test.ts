import { expect, it } from "vitest";
import { Btf } from "../../../src/linux/types/btf/btf.js";
import { writeBtf } from "../../support/btf-writer.js";

it("a name that BTF can't hold finds nothing, though the low bytes of its characters are a type's name", () => {
  const { bytes } = writeBtf([
    { kind: "struct", name: "task_struct", size: 0, members: [] },
    { kind: "struct", name: "mm_struct", size: 0, members: [] },
    { kind: "struct", name: "caf\u00e9", size: 0, members: [] },
  ]);
  const btf = new Btf(bytes);
  const at = (name: string) => [...btf.idsOf(name)];
  expect([at("task_struct"), at("mm_struct"), at("caf\u00e9")]).toEqual([[1], [2], [3]]);
  // U+0174 and U+10074, whose low byte is "t".
  for (const name of ["\u0174ask_struct", "\u{10074}ask_struct", "caf\u01e9"]) {
    expect(at(name), name).toEqual([]);
    expect(btf.find("struct", name), name).toBeUndefined();
  }
  // Two strings that lie behind one another are no name.
  expect(at("task_struct\0mm_struct")).toEqual([]);
});
