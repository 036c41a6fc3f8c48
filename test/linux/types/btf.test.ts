import { describe, expect, it } from "vitest";
import { Btf } from "../../../src/linux/types/btf/btf.js";
import { type CType, declare, stripped, typeName } from "../../../src/linux/types/c-type.js";
import { findMember } from "../../../src/linux/types/member-path.js";
import { type WrittenType, writeBtf } from "../../support/btf-writer.js";
import { INT, LONG } from "../../support/written-types.js";

describe("BTF, read", () => {
  it.each([
    ["little-endian", true],
    ["big-endian", false],
  ])("has every kind, %s", (_order, littleEndian) => {
    const types: WrittenType[] = [
      INT, // 1
      LONG, // 2
      { kind: "int", name: "char", size: 1, signed: true }, // 3
      { kind: "int", name: "_Bool", size: 1, bool: true }, // 4
      { kind: "float", name: "double", size: 8 }, // 5
      { kind: "array", element: 3, index: 1, count: 16 }, // 6
      { kind: "const", type: 3 }, // 7
      { kind: "pointer", type: 7 }, // 8
      {
        kind: "struct",
        name: "node",
        size: 40,
        members: [
          { name: "next", type: 10, bit: 0 },
          { name: "comm", type: 6, bit: 64 },
          { name: "three", type: 1, bit: 192, bits: 3 },
          { name: "five", type: 1, bit: 195, bits: 5 },
          { name: "", type: 11, bit: 256 },
        ],
      }, // 9
      { kind: "pointer", type: 9 }, // 10
      {
        kind: "union",
        name: "",
        size: 8,
        members: [
          { name: "number", type: 2, bit: 0 },
          { name: "text", type: 8, bit: 0 },
        ],
      }, // 11
      {
        kind: "enum",
        name: "state",
        size: 4,
        signed: true,
        constants: [
          { name: "BAD", value: -1n },
          { name: "GOOD", value: 7n },
        ],
      }, // 12
      {
        kind: "enum64",
        name: "wide",
        size: 8,
        signed: false,
        constants: [{ name: "TOP", value: 0xffff_ffff_0000_0001n }],
      }, // 13
      { kind: "forward", name: "hidden", union: false }, // 14
      { kind: "typedef", name: "node_t", type: 9 }, // 15
      { kind: "volatile", type: 15 }, // 16
      { kind: "restrict", type: 10 }, // 17
      { kind: "prototype", returns: 1, parameters: [{ name: "node", type: 10 }], variadic: true }, // 18
      { kind: "function", name: "printk", type: 18 }, // 19
      { kind: "variable", name: "first", type: 10 }, // 20
      { kind: "section", name: ".data..percpu", size: 8, variables: [{ type: 20, offset: 64, size: 8 }] }, // 21
      { kind: "declarationTag", name: "user", type: 9, component: -1 }, // 22
      { kind: "typeTag", name: "rcu", type: 9 }, // 23
      { kind: "pointer", type: 23 }, // 24
      { kind: "pointer", type: 18 }, // 25
    ];
    const btf = new Btf(writeBtf(types, { littleEndian }).bytes);
    expect([btf.count, btf.damage, btf.littleEndian, btf.pointerSize]).toEqual([
      25,
      undefined,
      littleEndian,
      8,
    ]);
    const node = btf.find("struct", "node");
    if (node?.kind !== "struct") throw new Error("no node");
    expect(node.members.map(({ name, bitOffset, bitSize }) => [name, bitOffset, bitSize])).toEqual([
      ["next", 0, 0],
      ["comm", 64, 0],
      ["three", 192, 3],
      ["five", 195, 5],
      ["", 256, 0],
    ]);
    expect(node.members.map(({ type, name }) => declare(type, name))).toEqual([
      "struct node *next",
      "char comm[16]",
      "int three",
      "int five",
      "union {…}",
    ]);
    expect(findMember(node, "text")).toMatchObject({ bitOffset: 256, bitSize: 0 });
    const state = btf.find("enum", "state");
    expect(state?.kind === "enum" && [state.constant("BAD"), state.nameOf(7n), state.signed]).toEqual([
      -1n,
      "GOOD",
      true,
    ]);
    const wide = btf.find("enum", "wide");
    expect(wide?.kind === "enum" && wide.constant("TOP")).toBe(0xffff_ffff_0000_0001n);
    expect(btf.find("struct", "hidden")?.kind).toBe("forward");
    expect(btf.find("union", "hidden")).toBeUndefined();
    expect(btf.find("name", "node_t")?.kind).toBe("typedef");
    expect(stripped(btf.type(16))).toBe(node);
    expect(typeName(btf.type(17))).toBe("struct node *restrict");
    expect(declare(btf.type(18), "printk")).toBe("int printk(struct node *node, ...)");
    expect(typeName(btf.type(25))).toBe("int (*)(struct node *, ...)".replace("*,", "*node,"));
    expect(typeName(btf.variable("first") as CType)).toBe("struct node *");
    expect([btf.perCpuOffset("first"), btf.perCpuOffset("node")]).toEqual([64, undefined]);
    const tagged = btf.type(24);
    expect(tagged.kind === "pointer" && stripped(tagged.target)).toBe(node);
    expect(btf.find("name", "_Bool")).toMatchObject({ kind: "int", bool: true });
    expect(btf.find("name", "double")).toMatchObject({ kind: "float", size: 8 });
    expect([btf.find("name", "char")].map((type) => type?.kind === "int" && type.char)).toEqual([true]);
    // Functions, variables, sections and tags are no types of a name.
    expect([...btf.all()].map(({ kind, name }) => `${kind} ${name}`)).toEqual([
      "name int",
      "name long unsigned int",
      "name char",
      "name _Bool",
      "name double",
      "struct node",
      "enum state",
      "enum wide",
      "struct hidden",
      "name node_t",
      // A note about a type is a name of it here.
      "name rcu",
    ]);
  });

  it("has bit-fields as kernels before the flag wrote them: by integers of some bits", () => {
    const types: WrittenType[] = [
      { ...INT, kind: "int", name: "int", size: 4, bits: 3 },
      { ...INT, kind: "int", name: "int", size: 4, bits: 5, offset: 3 },
      INT,
      {
        kind: "struct",
        name: "old",
        size: 8,
        oldStyle: true,
        members: [
          { name: "a", type: 1, bit: 0 },
          { name: "b", type: 2, bit: 0 },
          { name: "c", type: 3, bit: 32 },
        ],
      },
    ];
    const old = new Btf(writeBtf(types).bytes).find("struct", "old");
    expect(
      old?.kind === "struct" && old.members.map(({ bitOffset, bitSize }) => [bitOffset, bitSize]),
    ).toEqual([
      [0, 3],
      [3, 5],
      [32, 0],
    ]);
  });
});
