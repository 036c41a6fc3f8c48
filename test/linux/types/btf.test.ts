import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Machine } from "../../../connectors/machine.js";
import { open } from "../../../connectors/open.js";
import type { LinuxKernel, TypeTable } from "../../../src/linux/index.js";
import { Btf } from "../../../src/linux/types/btf/btf.js";
import { type CType, declare, sizeOf, stripped, typeName } from "../../../src/linux/types/c-type.js";
import { findMember, findPlace, needPlace } from "../../../src/linux/types/member-path.js";
import { typeNamed } from "../../../src/linux/types/type-name.js";
import { TypesError } from "../../../src/linux/types/type-table.js";
import { type WrittenType, writeBtf } from "../../support/btf-writer.js";
import { walkTypes } from "../../support/walk-types.js";

const INT: WrittenType = { kind: "int", name: "int", size: 4, signed: true };
const LONG: WrittenType = { kind: "int", name: "long unsigned int", size: 8 };

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

  it("a definition is found before a declaration of that name, wherever each stands", () => {
    const types: WrittenType[] = [
      { kind: "forward", name: "late", union: false },
      { kind: "struct", name: "late", size: 12, members: [] },
      { kind: "struct", name: "late", size: 24, members: [] },
    ];
    expect(sizeOf(new Btf(writeBtf(types).bytes).find("struct", "late") as CType)).toBe(12);
  });

  it("of an unknown kind, keeps what is in front of it and says where it stands", () => {
    const { bytes } = writeBtf([INT, LONG, { kind: "pointer", type: 1 }]);
    // The third type begins behind two of 16 bytes; kind 31 is none.
    bytes[24 + 32 + 7] = 31;
    const btf = new Btf(bytes, { name: "a BTF" });
    expect(btf.count).toBe(2);
    expect(btf.damage).toContain("a BTF: type 3 at offset 0x38 can't be read (its kind is 31)");
    expect(btf.find("name", "int")?.kind).toBe("int");
  });

  it.each([
    ["no bytes", () => new Uint8Array(0), "header"],
    ["another magic", () => writeBtf([INT]).bytes.fill(0, 0, 2), "magic"],
    ["another version", () => writeBtf([INT]).bytes.fill(9, 2, 3), "version"],
    ["a header that is too short", () => writeBtf([INT]).bytes.fill(4, 4, 5), "hdr_len"],
    ["types that end behind its end", () => writeBtf([INT]).bytes.fill(0xff, 12, 16), "types"],
    ["strings that end behind its end", () => writeBtf([INT]).bytes.fill(0xff, 20, 24), "strings"],
  ])("is refused with %s", (_what, make, part) => {
    try {
      new Btf(make());
      expect.unreachable();
    } catch (error) {
      expect(error).toBeInstanceOf(TypesError);
      expect((error as TypesError).code).toBe("BTF");
      expect((error as TypesError).part).toBe(part);
    }
  });
});

/** A graph of types: every number may be that of any type, also of one behind it. */
const graph: fc.Arbitrary<WrittenType[]> = fc.integer({ min: 1, max: 12 }).chain((count) => {
  const id = fc.integer({ min: 0, max: count });
  const name = fc.constantFrom("", "a", "b", "list_head", "task_struct");
  const given = fc.constantFrom("a", "b", "c", "d", "e");
  const constants = (bits: bigint) =>
    fc.tuple(fc.boolean(), fc.uniqueArray(given, { maxLength: 3 })).chain(([signed, names]) =>
      fc
        .array(
          signed
            ? fc.bigInt({ min: -(1n << (bits - 1n)), max: (1n << (bits - 1n)) - 1n })
            : fc.bigInt({ min: 0n, max: (1n << bits) - 1n }),
          { minLength: names.length, maxLength: names.length },
        )
        .map((values) => ({
          signed,
          constants: names.map((each, i) => ({ name: each, value: values[i] as bigint })),
        })),
    );
  const member = fc.record({
    name,
    type: id,
    bit: fc.integer({ min: 0, max: 4000 }),
    bits: fc.constantFrom(0, 0, 1, 7, 31),
  });
  const type: fc.Arbitrary<WrittenType> = fc.oneof(
    fc.record({
      kind: fc.constant("int" as const),
      name: given,
      size: fc.constantFrom(1, 2, 4, 8),
      signed: fc.boolean(),
    }),
    fc.record({ kind: fc.constant("float" as const), name: given, size: fc.constantFrom(4, 8) }),
    fc.record({ kind: fc.constantFrom("pointer", "const", "volatile", "restrict"), type: id }),
    fc.record({ kind: fc.constantFrom("typedef", "typeTag"), name: given, type: id }),
    fc.record({
      kind: fc.constant("array" as const),
      element: id,
      index: id,
      count: fc.integer({ min: 0, max: 99 }),
    }),
    fc.record({
      kind: fc.constantFrom("struct", "union"),
      name,
      size: fc.integer({ min: 0, max: 512 }),
      members: fc.array(member, { maxLength: 5 }),
    }),
    constants(32n).chain((of) =>
      fc
        .record({ kind: fc.constant("enum" as const), name, size: fc.constant(4) })
        .map((head) => ({ ...head, ...of })),
    ),
    constants(64n).chain((of) =>
      fc
        .record({ kind: fc.constant("enum64" as const), name, size: fc.constant(8) })
        .map((head) => ({ ...head, ...of })),
    ),
    fc.record({ kind: fc.constant("forward" as const), name: given, union: fc.boolean() }),
    fc.record({
      kind: fc.constant("prototype" as const),
      returns: id,
      parameters: fc.array(fc.record({ name: given, type: id }), { maxLength: 3 }),
      variadic: fc.boolean(),
    }),
    fc.record({ kind: fc.constant("variable" as const), name: given, type: id }),
  );
  return fc.array(type, { minLength: count, maxLength: count });
});

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
      fc.property(graph, fc.boolean(), (types, littleEndian) => {
        const btf = new Btf(writeBtf(types, { littleEndian }).bytes, { pointerSize: 8 });
        expect(btf.count).toBe(types.length);
        types.forEach((type, i) => {
          expect(found(btf, btf.type(i + 1))).toEqual(expected(type));
        });
        walkTypes(
          btf,
          [...Array(btf.count + 1).keys()].map((i) => btf.type(i)),
        );
      }),
      { numRuns: 300 },
    );
  });

  it("are found by name and kind: the first that is defined, else the first that is declared", () => {
    const kinds = { struct: "struct", union: "union", enum: "enum", enum64: "enum" } as const;
    fc.assert(
      fc.property(graph, (types) => {
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

  it("with bytes changed or cut off are refused, or every type that is left can be looked at", () => {
    fc.assert(
      fc.property(
        graph,
        fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { maxLength: 6 }),
        fc.option(fc.nat()),
        (types, changes, cut) => {
          const { bytes } = writeBtf(types);
          for (const [at, value] of changes) bytes[at % bytes.length] = value;
          const left = cut === null ? bytes : bytes.subarray(0, cut % (bytes.length + 1));
          let btf: Btf;
          try {
            btf = new Btf(left);
          } catch (error) {
            expect(error).toBeInstanceOf(TypesError);
            return;
          }
          walkTypes(
            btf,
            [...Array(btf.count + 1).keys()].map((i) => btf.type(i)),
          );
        },
      ),
      { numRuns: 500 },
    );
  });
});

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

describe("the kernel of the committed dump", () => {
  let machine: Machine;
  let kernel: LinuxKernel;
  let types: TypeTable;
  beforeAll(async () => {
    machine = await open("fixtures/linux-6.1-x86_64.kdump");
    kernel = await machine.linux();
    types = await kernel.types();
  });
  afterAll(() => machine.close());

  it("says the same sizes and offsets by BTF as by VMCOREINFO", () => {
    const { sizes, offsets } = kernel.vmcoreinfo;
    let compared = 0;
    for (const [name, size] of sizes) {
      const type = types.find("struct", name) ?? types.find("name", name);
      if (type === undefined) continue;
      expect([name, sizeOf(type)]).toEqual([name, size]);
      compared++;
    }
    for (const [path, offset] of offsets) {
      const dot = path.indexOf(".");
      const type = types.find("struct", path.slice(0, dot));
      if (type === undefined) continue;
      expect([path, needPlace(type, path.slice(dot + 1)).bitOffset]).toEqual([path, 8 * offset]);
      compared++;
    }
    expect(compared).toBeGreaterThan(30);
  });

  it("has no damage, and every type can be looked at", () => {
    expect((types as Btf).damage).toBeUndefined();
    walkTypes(
      types,
      [...types.all()].map(({ type }) => type),
    );
  });

  it("has members by paths, through members without a name", () => {
    const task = typeNamed(types, "task_struct");
    expect(needPlace(task, "tasks.prev").bitOffset - needPlace(task, "tasks").bitOffset).toBe(64);
    expect(needPlace(task, "comm[3]").bitOffset - needPlace(task, "comm").bitOffset).toBe(24);
    expect(findPlace(task, "comm[16]")).toBeUndefined();
    expect(findPlace(task, "nosuch")).toBeUndefined();
    expect(findPlace(typeNamed(types, "pid"), "numbers[7].ns")).toBeDefined();
    expect(findMember(typeNamed(types, "page") as never, "compound_head")?.bitOffset).toBe(64);
    expect(() => needPlace(task, "nosuch")).toThrowError(expect.objectContaining({ code: "NO_MEMBER" }));
    expect(() => findPlace(task, "a..b")).toThrowError(expect.objectContaining({ code: "NO_MEMBER" }));
  });
});
