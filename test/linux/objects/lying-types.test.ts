/** Containers whose types are damaged: sizes and places that no kernel has are refused, or told, and nothing else ends a walk. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Io, MemtoolError, type Routine } from "../../../src/io/index.js";
import type { Damage, OnDamage } from "../../../src/linux/objects/damage.js";
import { walkMapleRanges } from "../../../src/linux/objects/maple-tree.js";
import { int, record, text, word } from "../../../src/linux/objects/record.js";
import { readStrings } from "../../../src/linux/objects/strings.js";
import { walkXarray } from "../../../src/linux/objects/xarray.js";
import { ArrayType, Member, StructType } from "../../../src/linux/types/c-type.js";
import { TypesError, type TypeTable } from "../../../src/linux/types/type-table.js";
import { buildMapleTree, buildXarray, containerTypes, radixTypes } from "../../support/kernel-containers.js";
import { HandMemory, HandTypes } from "../../support/kernel-memory.js";

interface Lie {
  readonly size?: number;
  readonly member?: string;
  readonly bit?: number;
  /** Elements of the member, an array. */
  readonly count?: number;
}

/** The same types, one of whose structures says something else. */
function lying(types: HandTypes, name: string, { size, member, bit, count }: Lie): TypeTable {
  const real = types.find("struct", name);
  if (real?.kind !== "struct") throw new Error(`no struct ${name}`);
  const members = () =>
    real.members.map((each) => {
      if (each.name !== member) return each;
      const { type } = each;
      const ref =
        count === undefined || type.kind !== "array"
          ? () => type
          : () => new ArrayType(count, () => type.element);
      return new Member(each.name, bit ?? each.bitOffset, each.bitSize, ref);
    });
  const struct = new StructType("struct", name, size ?? real.size, members);
  return {
    name: types.name,
    pointerSize: types.pointerSize,
    littleEndian: types.littleEndian,
    find: (kind, wanted) => (kind === "struct" && wanted === name ? struct : types.find(kind, wanted)),
    variable: (wanted) => types.variable(wanted),
    all: () => types.all(),
  };
}

const BITS = [1, 7, 12, 1 << 16, 2 ** 31, 2 ** 32 - 1];
const LIES: Lie[] = [0, 1, 9, 2 ** 31].map((size) => ({ size }));

describe("a walk by damaged types", () => {
  /** What a walk gives: its damage, or the error that it ends with. */
  function outcome(memory: HandMemory, routine: (report: OnDamage) => Routine<unknown>): Damage[] | Error {
    const damage: Damage[] = [];
    try {
      Io.of(memory.space.scheduler, routine, (each: Damage) => damage.push(each)).sync();
      return damage;
    } catch (error) {
      return error as Error;
    }
  }

  it.each([
    ["xarray", containerTypes, "xarray", "xa_node", ["shift", "offset", "parent", "array", "slots"]],
    ["radix tree", radixTypes, "radix_tree_root", "radix_tree_node", ["shift", "offset", "parent", "slots"]],
  ] as const)("of an %s ends with a typed error, or with damage", (_, make, root, node, members) => {
    const types = make();
    const memory = new HandMemory(types);
    const built = buildXarray(memory, types, [
      { index: 1, entry: 0x1000n, slots: 1 },
      { index: 300, entry: 0x2000n, slots: 1 },
    ]);
    const lies = [
      ...LIES.map((lie) => [node, lie] as const),
      ...members.flatMap((member) => BITS.map((bit) => [node, { member, bit }] as const)),
      ...[0, 3, 512, 4096, 2 ** 31].map((count) => [node, { member: "slots", count }] as const),
      ...BITS.map((bit) => [root, { member: root === "xarray" ? "xa_head" : "rnode", bit }] as const),
    ];
    for (const [struct, lie] of lies) {
      const table = lying(types, struct, lie);
      const found = outcome(memory, (report) => walkXarray(memory.space, table, built.root, "it", report));
      if (found instanceof Error) expect(found, JSON.stringify(lie)).toBeInstanceOf(TypesError);
    }
    const small = lying(types, node, { size: 24 });
    expect(() =>
      Io.of(memory.space.scheduler, () => walkXarray(memory.space, small, built.root, "it", () => {})).sync(),
    ).toThrow("types are damaged");
  });

  it("of a maple tree ends with a typed error, or with damage", () => {
    const types = containerTypes();
    const memory = new HandMemory(types);
    const ranges = Array.from({ length: 40 }, (_, i) => ({
      last: i === 39 ? (1n << 64n) - 1n : BigInt(i),
      entry: 0x1000n + 8n * BigInt(i),
    }));
    const { root } = buildMapleTree(memory, types, ranges, true, () => 0.5);
    const lies = [
      ...["pivot", "slot", "meta"].flatMap((member) =>
        [...BITS, 32].flatMap((bit) =>
          ["maple_range_64", "maple_arange_64"].map((node) => [node, { member, bit }] as const),
        ),
      ),
      ...[0, 64, 2 ** 31].map((count) => ["maple_arange_64", { member: "pivot", count }] as const),
      ...BITS.map((bit) => ["maple_tree", { member: "ma_root", bit }] as const),
    ];
    for (const [struct, lie] of lies) {
      const table = lying(types, struct, lie);
      const found = outcome(memory, (report) => walkMapleRanges(memory.space, table, [root], "it", report));
      if (found instanceof Error) expect(found, JSON.stringify(lie)).toBeInstanceOf(TypesError);
    }
  });

  it("of members takes no number of more than 64 bits", () => {
    const types = new HandTypes().struct("it", ["long", "unsigned long", 60], ["rest", "unsigned char[64]"]);
    const memory = new HandMemory(types);
    const at = memory.take(96);
    for (let i = 0; i < 64; i++) memory.put(at + BigInt(i), 0xff, 1);
    const real = types.find("struct", "it") as StructType;
    const wide = new StructType("struct", "it", real.size, () => [
      new Member("long", 3, 255, () => (real.members[0] as Member).type),
    ]);
    const table = { ...lying(types, "it", {}), find: () => wide };
    const routine = () =>
      record("it", { long: word("long") })
        .on(table)
        .read(memory.space, [at]);
    const [row] = Io.of(memory.space.scheduler, routine).sync();
    expect(row?.value).toEqual({ long: (1n << 64n) - 1n });
  });

  it("of many structures reads a bounded size at a time", () => {
    const types = new HandTypes().struct("it", ["name", "char[65536]"], ["number", "int"]);
    const memory = new HandMemory(types);
    const at = memory.take(66_000);
    memory.put(at + 65_536n, 7, 4);
    const routine = () =>
      record("it", { name: text("name"), number: int("number") })
        .on(types)
        .read(memory.space, new Array(1000).fill(at));
    const rows = Io.of(memory.space.scheduler, routine).sync();
    expect(rows.length).toBe(1000);
    expect(rows.every(({ value }) => value?.number === 7)).toBe(true);
    expect(memory.space.gathers).toBe(4);
  });

  it("of texts takes any pointer", () => {
    const memory = new HandMemory(new HandTypes());
    fc.assert(
      fc.property(fc.array(fc.bigInt({ min: -(1n << 70n), max: 1n << 70n })), (pointers) => {
        const found = outcome(memory, (report) => readStrings(memory.space, pointers, "it", report));
        if (found instanceof Error) expect(found).toBeInstanceOf(MemtoolError);
      }),
    );
  });
});
