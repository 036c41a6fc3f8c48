import { describe, expect, it } from "vitest";
import { Btf } from "../../../src/linux/types/btf/btf.js";
import type { CType } from "../../../src/linux/types/c-type.js";
import { printType } from "../../../src/linux/types/print-type.js";
import { type WrittenType, writeBtf } from "../../support/btf-writer.js";

const types: WrittenType[] = [
  { kind: "int", name: "int", size: 4, signed: true }, // 1
  { kind: "pointer", type: 5 }, // 2
  {
    kind: "union",
    name: "",
    size: 8,
    members: [
      { name: "number", type: 1, bit: 0 },
      { name: "$&", type: 4, bit: 0 },
    ],
  }, // 3
  { kind: "array", element: 1, index: 1, count: 2 }, // 4
  {
    kind: "struct",
    name: "node",
    size: 32,
    members: [
      { name: "next", type: 2, bit: 0 },
      { name: "three", type: 1, bit: 67, bits: 3 },
      { name: "", type: 3, bit: 128 },
      { name: "inner", type: 7, bit: 192 },
      { name: "mode", type: 6, bit: 224 },
    ],
  }, // 5
  { kind: "enum", name: "", size: 4, signed: true, constants: [{ name: "OFF", value: -1n }] }, // 6
  { kind: "array", element: 8, index: 1, count: 2 }, // 7
  { kind: "struct", name: "", size: 2, members: [{ name: "x", type: 1, bit: 8 }] }, // 8
  { kind: "typedef", name: "pair_t", type: 8 }, // 9
  {
    kind: "struct",
    name: "circle",
    size: 1,
    members: [1, 2, 3, 4].map(() => ({ name: "", type: 11, bit: 0 })),
  }, // 10
  { kind: "struct", name: "", size: 1, members: [1, 2, 3, 4].map(() => ({ name: "", type: 11, bit: 0 })) }, // 11
];
const btf = new Btf(writeBtf(types).bytes);

describe("a type, printed", () => {
  it("is C with offsets, bit-fields and what has no name in its place", () => {
    expect(printType(btf.find("struct", "node") as CType)).toBe(`struct node {
	struct node *next; /* 0x0 */
	int three : 3; /* 0x8:3 */
	union {
		int number; /* 0x10 */
		int $&[2]; /* 0x10 */
	}; /* 0x10 */
	struct {
		int x; /* 0x19 */
	} inner[2]; /* 0x18 */
	enum {
		OFF = -1,
	} mode; /* 0x1c */
}; /* 0x20 bytes */`);
  });

  it("is a typedef of what it stands for, and a name where there is no definition", () => {
    expect(printType(btf.find("name", "pair_t") as CType)).toBe(`typedef struct {
	int x; /* 0x1 */
} pair_t; /* 0x2 bytes */`);
    expect(printType(btf.type(2))).toBe("struct node *;");
  });

  it("ends, also where a damaged one holds itself many times over", () => {
    const text = printType(btf.find("struct", "circle") as CType);
    expect(text).toContain("{…}");
    expect(text.split("\n").length).toBeLessThan(200_000);
  });
});
