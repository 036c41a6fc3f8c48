import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Machine } from "../../../connectors/machine.js";
import { open } from "../../../connectors/open.js";
import { exportIsf, KNOWN_VARIABLES, type LinuxKernel, type TypeTable } from "../../../src/linux/index.js";
import { Btf } from "../../../src/linux/types/btf/btf.js";
import {
  type CType,
  declare,
  type StructType,
  sizeOf,
  stripped,
  typeName,
} from "../../../src/linux/types/c-type.js";
import { type IsfTypes, parseIsf } from "../../../src/linux/types/isf/isf.js";
import { base64, writeIsf } from "../../../src/linux/types/isf/write-isf.js";
import { findMember, needPlace } from "../../../src/linux/types/member-path.js";
import { typeNamed } from "../../../src/linux/types/type-name.js";
import { TypesError } from "../../../src/linux/types/type-table.js";
import { type WrittenType, writeBtf } from "../../support/btf-writer.js";
import { walkTypes } from "../../support/walk-types.js";

const BASE = {
  int: { size: 4, signed: true, kind: "int", endian: "little" },
  char: { size: 1, signed: true, kind: "char", endian: "little" },
  _Bool: { size: 1, signed: false, kind: "bool", endian: "little" },
  double: { size: 8, signed: true, kind: "float", endian: "little" },
  "long unsigned int": { size: 8, signed: false, kind: "int", endian: "little" },
  pointer: { size: 8, signed: false, kind: "int", endian: "little" },
  void: { size: 0, signed: false, kind: "void", endian: "little" },
};

/** A file as dwarf2json would make it, of two structures. */
const FILE = {
  metadata: { format: "6.2.0", producer: { name: "dwarf2json", version: "0.8.0" }, linux: {} },
  base_types: BASE,
  user_types: {
    node: {
      kind: "struct",
      size: 48,
      fields: {
        next: { type: { kind: "pointer", subtype: { kind: "struct", name: "node" } }, offset: 0 },
        comm: { type: { kind: "array", count: 16, subtype: { kind: "base", name: "char" } }, offset: 8 },
        three: {
          type: { kind: "bitfield", bit_position: 5, bit_length: 3, type: { kind: "base", name: "int" } },
          offset: 24,
        },
        unnamed_field_0: { type: { kind: "union", name: "unnamed_3f2a" }, offset: 32, anonymous: true },
        call: { type: { kind: "pointer", subtype: { kind: "function" } }, offset: 40 },
        gone: { type: { kind: "struct", name: "nowhere" }, offset: 44 },
        state: { type: { kind: "enum", name: "state" }, offset: 28 },
      },
    },
    unnamed_3f2a: {
      kind: "union",
      size: 8,
      fields: {
        number: { type: { kind: "base", name: "long unsigned int" }, offset: 0 },
        flag: { type: { kind: "base", name: "_Bool" }, offset: 0 },
      },
    },
    ["__proto__"]: { kind: "struct", size: 7, fields: {} },
  },
  enums: { state: { size: 4, base: "int", constants: { BAD: -1, GOOD: 2 } } },
  symbols: {
    first: { address: 4096, type: { kind: "pointer", subtype: { kind: "struct", name: "node" } } },
    unknown: { address: 1, type: { kind: "base", name: "void" } },
    linux_banner: { address: 5, constant_data: "TGludXg=" },
  },
};

/** The file's text; `JSON.stringify` of an object with a key `__proto__` that is its own. */
function textOf(file: unknown): string {
  return JSON.stringify(file);
}

/** The file with something else at a path. */
function changed(path: string, value: unknown): string {
  const copy = structuredClone(FILE) as Record<string, unknown>;
  const keys = path.split("/");
  let at = copy;
  for (const key of keys.slice(0, -1)) at = at[key] as Record<string, unknown>;
  const key = keys.at(-1) as string;
  if (value === undefined) delete at[key];
  else at[key] = value;
  return textOf(copy);
}

describe("an ISF file", () => {
  it("has structures, members, bit-fields, enumerations and symbols as it says them", () => {
    const isf = parseIsf(new TextEncoder().encode(textOf(FILE)));
    expect([isf.pointerSize, isf.littleEndian, isf.format, isf.symbolCount]).toEqual([8, true, "6.2.0", 3]);
    const node = isf.find("struct", "node") as StructType;
    expect(
      node.members.map(({ name, bitOffset, bitSize, type }) => [bitOffset, bitSize, declare(type, name)]),
    ).toEqual([
      [0, 0, "struct node *next"],
      [64, 0, "char comm[16]"],
      [197, 3, "int three"],
      [224, 0, "enum state state"],
      [256, 0, "union {…}"],
      [320, 0, "void (*call)(void)"],
      [352, 0, "struct nowhere gone"],
    ]);
    expect(needPlace(node, "number").bitOffset).toBe(256);
    const state = isf.find("enum", "state");
    expect(state?.kind === "enum" && [state.signed, state.nameOf(-1n), state.constant("GOOD")]).toEqual([
      true,
      "BAD",
      2n,
    ]);
    expect(typeName(isf.variable("first") as CType)).toBe("struct node *");
    expect([isf.variable("unknown"), isf.variable("linux_banner"), isf.variable("nosuch")]).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
    expect(isf.symbol("linux_banner")).toEqual({
      name: "linux_banner",
      address: 5n,
      type: undefined,
      constantData: "TGludXg=",
    });
    expect([...isf.symbols()].map(({ name }) => name)).toEqual(["first", "unknown", "linux_banner"]);
    expect([...isf.all()].map(({ kind, name }) => `${kind} ${name}`)).toEqual([
      "name int",
      "name char",
      "name _Bool",
      "name double",
      "name long unsigned int",
      "name pointer",
      "struct node",
      "struct __proto__",
      "enum state",
    ]);
    walkTypes(
      isf,
      [...isf.all()].map(({ type }) => type),
    );
  });

  it("knows no names that every object of JavaScript has, and those that it has itself", () => {
    const isf = parseIsf(textOf(FILE));
    expect(isf.find("struct", "constructor")).toBeUndefined();
    expect(isf.find("name", "toString")).toBeUndefined();
    expect(isf.symbol("hasOwnProperty")).toBeUndefined();
    expect(sizeOf(isf.find("struct", "__proto__") as CType)).toBe(7);
  });

  it("has addresses and constants of 64 bits to the last digit, and texts as they are", () => {
    const text = textOf(FILE)
      .replace('"address":4096', '"address": 18446744071578845185')
      .replace('"BAD":-1', '"BAD": -9223372036854775807 , "a\\": 12345678901234567890, b" :3');
    const isf = parseIsf(text);
    expect(isf.symbol("first")?.address).toBe(18446744071578845185n);
    const state = isf.find("enum", "state");
    expect(state?.kind === "enum" && state.enumerators.map(({ name, value }) => [name, value])).toEqual([
      ["BAD", -9223372036854775807n],
      ['a": 12345678901234567890, b', 3n],
      ["GOOD", 2n],
    ]);
  });

  it("of a big-endian machine counts bits of a field from the other end", () => {
    const big = structuredClone(FILE);
    for (const type of Object.values(big.base_types)) type.endian = "big";
    const node = parseIsf(textOf(big)).find("struct", "node") as StructType;
    expect(node.own("three")?.bitOffset).toBe(8 * 24 + 32 - 5 - 3);
  });

  it("of 32 bits has pointers of 4 bytes", () => {
    const small = structuredClone(FILE);
    small.base_types.pointer.size = 4;
    const isf = parseIsf(textOf(small));
    expect([isf.pointerSize, sizeOf(typeNamed(isf, "node *"))]).toEqual([4, 4]);
  });

  it.each(["4.0.0", "4.1.0", "6.0.0", "6.1.0", "6.2.0"])("is read in format %s", (format) => {
    expect(parseIsf(changed("metadata/format", format)).find("struct", "node")?.kind).toBe("struct");
  });

  it.each([
    ["{", "the file"],
    ["[]", "the file"],
    ["\u0000", "the file"],
    ["[".repeat(100_000), "the file"],
    [changed("metadata", undefined), "metadata"],
    [changed("metadata/format", "1.0.0"), "metadata.format"],
    [changed("base_types", []), "base_types"],
    [changed("base_types/int/size", -1), "base_types.int.size"],
    [changed("base_types/int/size", 1e300), "base_types.int.size"],
    [changed("base_types/int/kind", "number"), "base_types.int.kind"],
    [changed("base_types/int/signed", undefined), "base_types.int.signed"],
    [changed("base_types/int/endian", "middle"), "base_types.int.endian"],
    [changed("user_types/node", null), "user_types.node"],
    [changed("user_types/node/size", undefined), "user_types.node.size"],
    [changed("user_types/node/kind", "enum"), "user_types.node.kind"],
    [changed("user_types/node/fields", "none"), "user_types.node.fields"],
    [changed("user_types/node/fields/next/offset", "0"), "user_types.node.fields.next.offset"],
    [changed("user_types/node/fields/next/type", undefined), "user_types.node.fields.next.type"],
    [changed("user_types/node/fields/next/type/subtype", 5), "user_types.node.fields.next.type"],
    [changed("user_types/node/fields/comm/type/count", 0.5), "user_types.node.fields.comm.type.count"],
    [
      changed("user_types/node/fields/three/type/bit_length", 0),
      "user_types.node.fields.three.type.bit_length",
    ],
    [
      changed("user_types/node/fields/three/type/kind", "constructor"),
      "user_types.node.fields.three.type.kind",
    ],
    [changed("enums/state/base", 4), "enums.state.base"],
    [changed("enums/state/constants/BAD", "x"), "enums.state.constants.BAD"],
    [changed("enums/state/constants/BAD", 1.5), "enums.state.constants.BAD"],
    [changed("symbols/first", 3), "symbols.first"],
  ])("is refused where it is wrong, naming the part: %#", (text, part) => {
    try {
      parseIsf(text, { name: "kernel.json" });
      expect.unreachable();
    } catch (error) {
      if (!(error instanceof TypesError)) throw error;
      expect([error.code, error.part]).toEqual(["ISF", part]);
      expect(error.message).toContain("kernel.json");
    }
  });

  it("tells of a wrong symbol when it is asked for, and of no other", () => {
    for (const symbol of [{}, { address: "x" }, { address: 1, type: 7 }, { address: 1, constant_data: 1 }]) {
      const isf = parseIsf(changed("symbols/first", symbol));
      expect(() => isf.symbol("first")).toThrowError(expect.objectContaining({ code: "ISF" }));
      expect(isf.symbol("unknown")?.address).toBe(1n);
    }
  });

  it("whose types go in circles or are nested without an end is read in bounded time", () => {
    let deep: unknown = { kind: "base", name: "int" };
    for (let i = 0; i < 63; i++) deep = { kind: "pointer", subtype: deep };
    const isf = parseIsf(changed("user_types/node/fields/next/type", deep));
    walkTypes(
      isf,
      [...isf.all()].map(({ type }) => type),
    );
    const deeper = { kind: "pointer", subtype: { kind: "pointer", subtype: deep } };
    expect(() => parseIsf(changed("user_types/node/fields/next/type", deeper))).toThrowError(TypesError);
    const self = { kind: "struct", name: "node" };
    const fields = Object.fromEntries(
      [1, 2, 3, 4, 5].map((n) => [`unnamed_field_${n}`, { type: self, offset: 0, anonymous: true }]),
    );
    const circle = parseIsf(changed("user_types/node/fields", fields));
    expect(findMember(circle.find("struct", "node") as StructType, "nosuch")).toBeUndefined();
    walkTypes(
      circle,
      [...circle.all()].map(({ type }) => type),
    );
  });

  it("with anything changed is refused, or can be looked at", () => {
    const text = textOf(FILE);
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(text.length - 1), fc.constantFrom('"', "{", "}", "9", "-", "x", ",", "")), {
          maxLength: 4,
        }),
        (changes) => {
          let damaged = text;
          for (const [at, by] of changes) damaged = damaged.slice(0, at) + by + damaged.slice(at + 1);
          try {
            const isf = parseIsf(damaged);
            for (const name of ["first", "linux_banner"]) isf.symbol(name);
            walkTypes(
              isf,
              [...isf.all()].map(({ type }) => type),
            );
          } catch (error) {
            expect(error).toBeInstanceOf(TypesError);
          }
        },
      ),
      { numRuns: 500 },
    );
  });
});

describe("types written as ISF", () => {
  const written = (types: readonly WrittenType[], littleEndian = true) => {
    const btf = new Btf(writeBtf(types, { littleEndian }).bytes);
    const text = [...writeIsf({ types: btf, symbols: [], producer: { name: "test", version: "1" } })].join(
      "",
    );
    return { btf, isf: parseIsf(text), text };
  };
  const INT: WrittenType = { kind: "int", name: "int", size: 4, signed: true };

  it.each([true, false])("keep bit-fields where they are (little-endian: %s)", (littleEndian) => {
    fc.assert(
      fc.property(
        fc.array(
          fc
            .integer({ min: 1, max: 31 })
            .chain((bits) => fc.tuple(fc.constant(bits), fc.integer({ min: 0, max: 32 - bits }), fc.nat(20))),
          { maxLength: 8 },
        ),
        (fields) => {
          const members = fields.map(([bits, bit, unit], i) => ({
            name: `m${i}`,
            type: 1,
            bit: 32 * unit + bit,
            bits,
          }));
          const { btf, isf } = written([INT, { kind: "struct", name: "s", size: 84, members }], littleEndian);
          const places = (table: TypeTable) => {
            const type = table.find("struct", "s") as StructType;
            return members.map(({ name }) => [type.own(name)?.bitOffset, type.own(name)?.bitSize]);
          };
          expect(places(isf)).toEqual(places(btf));
        },
      ),
    );
  });

  it("that share a name are told apart, and what refers to each still does", () => {
    const { isf } = written([
      INT,
      { kind: "struct", name: "twin", size: 4, members: [] },
      { kind: "struct", name: "twin", size: 8, members: [] },
      {
        kind: "struct",
        name: "both",
        size: 12,
        members: [
          { name: "a", type: 2, bit: 0 },
          { name: "b", type: 3, bit: 32 },
        ],
      },
    ]);
    const both = isf.find("struct", "both") as StructType;
    expect(both.members.map(({ type }) => sizeOf(type))).toEqual([4, 8]);
    expect(sizeOf(isf.find("struct", "twin") as CType)).toBe(4);
  });

  it("without a name have their typedef's, if they have one", () => {
    const { isf } = written([
      INT,
      { kind: "struct", name: "", size: 4, members: [{ name: "counter", type: 1, bit: 0 }] },
      { kind: "typedef", name: "atomic_t", type: 2 },
      { kind: "struct", name: "user", size: 4, members: [{ name: "count", type: 3, bit: 0 }] },
    ]);
    expect(needPlace(typeNamed(isf, "user"), "count.counter").bitOffset).toBe(0);
    expect(sizeOf(typeNamed(isf, "atomic_t"))).toBe(4);
  });

  it("that go in circles are written in bounded time, and read back", () => {
    const { isf } = written([
      { kind: "pointer", type: 1 },
      { kind: "typedef", name: "again", type: 2 },
      { kind: "array", element: 3, index: 3, count: 2 },
      {
        kind: "struct",
        name: "s",
        size: 8,
        members: [
          { name: "a", type: 1, bit: 0 },
          { name: "b", type: 2, bit: 0 },
          { name: "c", type: 3, bit: 0 },
          { name: "__proto__", type: 1, bit: 8 },
          { name: "", type: 4, bit: 0 },
        ],
      },
    ]);
    const s = isf.find("struct", "s") as StructType;
    expect(s.members.map(({ name }) => name).sort()).toEqual(["", "__proto__", "a", "b", "c"]);
    walkTypes(isf, [s]);
  });

  it("have base64 as RFC 4648 has it", () => {
    const of = (text: string) => base64(new TextEncoder().encode(text));
    expect(["", "f", "fo", "foo", "foob", "fooba", "foobar"].map(of)).toEqual([
      "",
      "Zg==",
      "Zm8=",
      "Zm9v",
      "Zm9vYg==",
      "Zm9vYmE=",
      "Zm9vYmFy",
    ]);
  });
});

describe("the kernel of the committed dump, exported", () => {
  let machine: Machine;
  let kernel: LinuxKernel;
  let types: TypeTable;
  let text: string;
  let isf: IsfTypes;
  beforeAll(async () => {
    machine = await open("fixtures/linux-6.1-x86_64.kdump");
    kernel = await machine.linux();
    types = await kernel.types();
    const { pieces, warnings } = await exportIsf(kernel, { producer: { name: "memtool", version: "9" } });
    expect(warnings).toEqual([]);
    const all = [...pieces];
    // No piece is the whole: who writes them keeps little.
    expect(Math.max(...all.map((piece) => piece.length))).toBeLessThan(1 << 18);
    text = all.join("");
    isf = parseIsf(text);
  });
  afterAll(() => machine.close());

  it("has every structure with the same size and the same places of members", () => {
    let compared = 0;
    for (const { kind, name, type } of types.all()) {
      if ((kind !== "struct" && kind !== "union") || types.find(kind, name) !== type || type.kind !== kind)
        continue;
      const other = isf.find(kind, name);
      if (other === undefined) {
        // Structures and unions share names here; the first has it.
        expect(isf.find(kind === "struct" ? "union" : "struct", name), name).toBeDefined();
        continue;
      }
      compareMembers(name, type as StructType, stripped(other) as StructType, 0);
      compared++;
    }
    expect(compared).toBeGreaterThan(5000);
  });

  it("has every enumeration with the same constants", () => {
    let compared = 0;
    for (const { kind, name, type } of types.all()) {
      if (type.kind !== "enum" || types.find(kind, name) !== type) continue;
      const other = isf.find("enum", name);
      expect(other?.kind === "enum" && [other.size, other.enumerators]).toEqual([
        type.size,
        type.enumerators,
      ]);
      compared++;
    }
    expect(compared).toBeGreaterThan(500);
  });

  it("has every symbol without what KASLR added, per-CPU ones as they are", async () => {
    expect(kernel.kaslrOffset).toBeGreaterThan(0n);
    const kallsyms = await kernel.kallsyms();
    const first = new Map<string, bigint>();
    for (const { name, address } of kallsyms) if (!first.has(name)) first.set(name, address);
    const text = first.get("_text") as bigint;
    for (const [name, address] of first) {
      const wanted = address >= text ? address - kernel.kaslrOffset : address;
      if (isf.symbol(name)?.address !== wanted)
        expect([name, isf.symbol(name)?.address]).toEqual([name, wanted]);
    }
    expect(isf.symbolCount).toBeGreaterThanOrEqual(first.size);
    expect(isf.symbol("_text")?.address).toBe(0xffffffff81000000n);
  });

  it("has the types of well-known variables, and of per-CPU ones that BTF tells", () => {
    expect(typeName(isf.variable("init_task") as CType)).toBe("struct task_struct");
    expect(typeName(isf.variable("idt_table") as CType)).toBe("struct gate_struct[256]");
    const known = Object.keys(KNOWN_VARIABLES).filter((name) => isf.symbol(name) !== undefined);
    expect(known.filter((name) => isf.variable(name) === undefined)).toEqual([]);
    expect(known.length).toBeGreaterThan(40);
    expect(typeName(isf.variable("current_task") as CType)).toBe("struct task_struct *");
  });

  it("has the banner's bytes, by which Volatility finds the file", () => {
    const data = Buffer.from(isf.symbol("linux_banner")?.constantData ?? "", "base64").toString("latin1");
    expect(data.startsWith(`Linux version ${kernel.release} `)).toBe(true);
    expect(data.endsWith("\n\0")).toBe(true);
  });

  it("says who made it, in the form that Volatility's schema asks for", () => {
    const { metadata } = JSON.parse(text);
    expect(metadata).toEqual({
      format: "6.2.0",
      producer: { name: "memtool", version: "9" },
      linux: { symbols: [{ kind: "symtab", name: "kallsyms" }], types: [{ name: "the kernel's BTF" }] },
    });
  });
});

/** Members of one as of the other: names, places, and the same of what has no name. */
function compareMembers(path: string, a: StructType, b: StructType, depth: number): void {
  const rows = (type: StructType) =>
    [...type.members]
      .filter((member) => member.name !== "" || "members" in stripped(member.type))
      .sort((x, y) => x.bitOffset - y.bitOffset || (x.name < y.name ? -1 : x.name > y.name ? 1 : 0))
      .map((member) => ({
        member,
        row: [member.name, member.bitOffset, member.bitSize, sizeOf(member.type)],
      }));
  const [left, right] = [rows(a), rows(b)];
  const same =
    a.size === b.size &&
    JSON.stringify(left.map((each) => each.row)) === JSON.stringify(right.map((each) => each.row));
  if (!same) {
    expect([path, b.size, right.map((each) => each.row)]).toEqual([
      path,
      a.size,
      left.map((each) => each.row),
    ]);
  }
  if (depth === 8) return;
  left.forEach(({ member }, i) => {
    const [x, y] = [stripped(member.type), stripped((right[i] as (typeof right)[number]).member.type)];
    if (member.name === "" && "members" in x && "members" in y) {
      // Of several at one offset, which is which only their order says; that is kept.
      compareMembers(`${path}.`, x, y, depth + 1);
    }
  });
}
