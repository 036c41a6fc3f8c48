import fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import type { DamageError } from "../../../src/linux/index.js";
import { ObjectReadError, readAll } from "../../../src/linux/index.js";
import { makeObject } from "../../../src/linux/objects/object.js";
import { type ObjectContext, referenceAt } from "../../../src/linux/objects/reference.js";
import type { Unlisted } from "../../../src/linux/objects/schema.js";
import { StructType } from "../../../src/linux/types/c-type.js";
import { typeNamed } from "../../../src/linux/types/type-name.js";
import { TypesError } from "../../../src/linux/types/type-table.js";
import { EXCLUDED, HandMemory, HandTypes } from "../../support/kernel-memory.js";

/** Structures with whatever C has. */
function typesFor(pointerSize: 4 | 8, littleEndian: boolean): HandTypes {
  return new HandTypes(pointerSize, littleEndian)
    .typedef("u8", "unsigned char")
    .typedef("pid_t", "int")
    .struct("list_head", ["next", "list_head *"], ["prev", "list_head *"])
    .enumeration("color", { RED: 0, GREEN: 5 })
    .struct("point", ["x", "int"], ["y", "int"])
    .struct(
      "thing",
      ["pid", "pid_t"],
      ["flag", "bool"],
      ["comm", "char[8]"],
      ["mac", "u8[6]"],
      ["unit", "unsigned int"],
      ["a", "unsigned int", 3],
      ["b", "int", 7],
      ["big", "unsigned long long"],
      ["color", "enum color"],
      [
        "union",
        [
          ["word", "unsigned int"],
          ["half", "short[2]"],
        ],
      ],
      ["points", "struct point[3]"],
      ["then", "int"],
      ["read", "unsigned int"],
      ["next", "struct thing *"],
      ["text", "char *"],
      ["node", "list_head"],
      ["hole", "void *"],
      ["tail", "unsigned int[0]"],
    );
}

describe.each([
  [8, true],
  [8, false],
  [4, true],
  [4, false],
] as const)("an object in a %i-byte kernel, little-endian: %s", (pointerSize, littleEndian) => {
  let types: HandTypes;
  let memory: HandMemory;
  let context: ObjectContext;
  let at: bigint;
  let thing: Unlisted;
  const objectAt = (address: bigint, type: string): Unlisted =>
    makeObject(referenceAt(context, address, typeNamed(types, type)));
  const put = (base: bigint, path: string, value: bigint | number, size: number = pointerSize) =>
    memory.put(base + BigInt(types.offset("thing", path)), value, size);

  beforeEach(() => {
    types = typesFor(pointerSize, littleEndian);
    memory = new HandMemory(types);
    context = {
      memory: memory.space,
      types,
      *namer() {
        return (address: bigint) => (address === at ? "the_thing" : undefined);
      },
    };
    at = memory.take(4096);
    thing = objectAt(at, "thing");
    put(at, "pid", -7, 4);
    put(at, "flag", 1, 1);
    memory.bytes(at + BigInt(types.offset("thing", "comm")), new TextEncoder().encode("swapper\0"));
    memory.bytes(at + BigInt(types.offset("thing", "mac")), Uint8Array.of(1, 2, 3, 4, 5, 6));
    const word = littleEndian ? (0b1111110 << 3) | 5 : (5 << 29) | (0b1111110 << 22);
    put(at, "a", word >>> 0, 4);
    put(at, "big", 0xfedcba9876543210n, 8);
    put(at, "color", 5, 4);
    put(at, "half[0]", -2, 2);
    put(at, "half[1]", 3, 2);
    put(at, "points[2].y", -9, 4);
    put(at, "then", 4, 4);
    put(at, "read", 0xffffffff, 4);
    put(at, "next", at);
    for (const [i, value] of [10, 20, 30].entries()) put(at, `tail[${i}]`, value, 4);
  });

  it("gives each kind of member as JavaScript has it", () => {
    const { mac, half } = thing;
    expect(thing.pid.$.read().sync()).toBe(-7);
    expect(thing.flag.$.read().sync()).toBe(true);
    expect(thing.comm.$.read().sync()).toBe("swapper");
    expect(mac.$.read().sync()).toEqual([1, 2, 3, 4, 5, 6]);
    expect(thing.a.$.read().sync()).toBe(5);
    expect(thing.b.$.read().sync()).toBe(-2);
    expect(thing.big.$.read().sync()).toBe(0xfedcba9876543210n);
    expect(thing.color.$.read().sync()).toBe("GREEN");
    put(at, "color", 6, 4);
    expect(thing.color.$.read().sync()).toBe(6);
    expect(half.$.read().sync()).toEqual([-2, 3]);
    expect(half[1].$.read().sync()).toBe(3);
    expect(thing.points[2].y.$.read().sync()).toBe(-9);
    expect(thing.next.$.read().sync()).toBe(at);
    expect(thing.next.next.next.points[2].y.$.read().sync()).toBe(-9);
    expect(thing.tail.$.read().sync()).toEqual([]);
    expect(thing.tail.$.elements(3).sync()).toEqual([10, 20, 30]);
    expect(thing.tail[1].$.read().sync()).toBe(20);
    expect([...thing.points].map((point) => point.x.$.read().sync())).toEqual([0, 0, 0]);
  });

  it("reads a structure whole, members of members without a name among its own", () => {
    const value = thing.$.read().sync();
    expect(value).toMatchObject({
      pid: -7,
      comm: "swapper",
      half: [-2, 3],
      points: [{}, {}, { x: 0, y: -9 }],
    });
    expect(value.word).toBe(thing.word.$.read().sync());
    expect(Object.keys(value).slice(0, 4)).toEqual(["pid", "flag", "comm", "mac"]);
  });

  it("is no promise, even with a member then, and keeps C's names for itself", async () => {
    expect(await thing).toBe(thing);
    expect(thing.then.$.read().sync()).toBe(4);
    expect(thing.read.$.read().sync()).toBe(0xffffffff);
  });

  it("reads members of many objects, and through pointers, in a batch a round", () => {
    const things = Array.from({ length: 50 }, (_, i) => {
      const each = memory.take(types.offset("thing", "tail"));
      put(each, "pid", i, 4);
      put(each, "next", i % 2 === 0 ? at : 0n);
      return objectAt(each, "thing");
    });
    memory.space.gathers = 0;
    const rows = readAll<Unlisted, string>(things, "pid", "next.pid", "next.next.points[2].y", "next").sync();
    // Two rounds of pointers, and one gather for each size of value.
    expect(memory.space.gathers).toBe(pointerSize === 4 ? 3 : 4);
    for (const [i, { value, values, missing }] of rows.entries()) {
      expect(values).toMatchObject({ pid: i, next: i % 2 === 0 ? at : 0n });
      if (i % 2 === 0) expect(value).toMatchObject({ "next.pid": -7, "next.next.points[2].y": -9 });
      else {
        expect(value).toBe(undefined);
        expect(missing.map(({ fault }) => fault)).toEqual([0, 0]);
      }
    }
  });

  it("says which members are on a page that is missing, and gives the others", () => {
    const edge = at + 4096n - BigInt(types.offset("thing", "big"));
    memory.take(4096);
    const torn = objectAt(edge, "thing");
    put(edge, "pid", 3, 4);
    memory.missing.set((at + 4096n) / 4096n, EXCLUDED);
    const { values, missing } = torn.$.fieldsPartial("pid", "big", "a").sync();
    expect(values).toEqual({ pid: 3, a: 0 });
    expect(missing).toMatchObject([{ address: at + 4096n, fault: EXCLUDED }]);
    let error: unknown;
    try {
      torn.$.fields("pid", "big").sync();
    } catch (caught) {
      error = caught;
    }
    expect(error).toBeInstanceOf(ObjectReadError);
    expect(error).toMatchObject({ code: "UNREADABLE_MEMBER", partial: { pid: 3 } });
    expect(String(error)).toMatch(/\.big: .*excluded/);
    expect(torn.$.toC().sync()).toMatch(/\.pid = 3,\n(?:.*\n)*\t\.big = … \/\* .*excluded.* \*\/,\n/);
  });

  it("prints as C", () => {
    put(at, "comm", 0x0122, 2);
    const lines = thing.$.toC().sync().split("\n");
    expect(lines[0]).toBe("(struct thing){");
    expect(lines).toContain("\t.pid = -7,");
    expect(lines).toContain("\t.flag = true,");
    expect(lines).toContain(littleEndian ? '\t.comm = "\\"\\001apper",' : '\t.comm = "\\001\\"apper",');
    expect(lines).toContain("\t.mac = { 1, 2, 3, 4, 5, 6 },");
    expect(lines).toContain("\t.big = 0xfedcba9876543210,");
    expect(lines).toContain("\t.color = GREEN,");
    expect(lines).toContain(`\t.next = 0x${at.toString(16)} /* the_thing */,`);
    expect(lines).toContain("\t.hole = 0x0,");
    expect(lines).toContain("\t.tail = {},");
    expect(lines).toContain("\t\t\t.y = -9,");
    expect(lines.at(-1)).toBe("}");
  });

  it("reads text behind a pointer, and elements", () => {
    const text = memory.take(16);
    memory.bytes(text, new TextEncoder().encode("hello\0"));
    put(at, "text", text);
    expect(thing.text.$.string().sync()).toBe("hello");
    expect(thing.text.$.string(3).sync()).toBe("hel");
    expect(thing.text[4].$.read().sync()).toBe("o".charCodeAt(0));
    expect(thing.comm.$.string().sync()).toBe("swapper");
    expect(thing.text.$.elements(5).sync()).toEqual([...new TextEncoder().encode("hello")]);
    // Without a NUL, an array's text ends with the array.
    memory.bytes(at + BigInt(types.offset("thing", "comm")), new TextEncoder().encode("eightchr"));
    expect(thing.comm.$.string().sync()).toBe("eightchr");
    expect(thing.comm.$.read().sync()).toBe("eightchr");
  });

  it("refuses what can't be: indices beyond the end, values too large, types without values", () => {
    expect(() => thing.points[3]).toThrow(RangeError);
    expect(() => thing.points[-1]).toThrow(RangeError);
    expect(() => thing.pid[0]).toThrow(TypesError);
    expect(() => thing.pid.nothing).toThrow(/int has no member nothing|pid_t has no member nothing/);
    expect(() => thing.pid.$.deref()).toThrow(TypesError);
    expect(() => thing.tail.$.elements(2 ** 21)).toThrow(RangeError);
    expect(() => thing.comm.$.elements(9)).toThrow(RangeError);
    expect(() => thing.hole.$.deref().$.read().sync()).toThrow(/void has no values|null pointer/);
    expect(() => thing.$.cast("char[2000000]").$.read().sync()).toThrow(RangeError);
    expect(() => thing.$.cast("unsigned int[2000000000]").$.toC().sync()).toThrow(RangeError);
  });

  it("walks a list of its kind, and reports where it breaks after the last", () => {
    const node = BigInt(types.offset("thing", "node"));
    const others = [1, 2, 3].map((pid) => {
      const each = memory.take(types.offset("thing", "tail"));
      put(each, "pid", pid, 4);
      return each;
    });
    const ring = [at, ...others];
    for (const [i, each] of ring.entries()) {
      const next = ring[(i + 1) % ring.length] as bigint;
      put(each, "node.next", next + node);
      put(next, "node.prev", each + node);
    }
    const list = () => thing.node.$.list("thing", "node");
    expect([...list().sync()].map((each) => each.pid.$.read().sync())).toEqual([1, 2, 3]);
    // Broken in the middle: both ends are given.
    put(others[0] as bigint, "node.next", 0x10n);
    const seen: number[] = [];
    let error: DamageError | undefined;
    try {
      for (const each of list().sync()) seen.push(each.pid.$.read().sync());
    } catch (caught) {
      error = caught as DamageError;
    }
    expect(seen).toEqual([1, 2, 3]);
    expect(error).toMatchObject({ code: "DAMAGED", count: 1, damage: [{ reason: "unreadable" }] });
  });
});

describe("objects of damaged types", () => {
  it("end with an error, however their structures nest", () => {
    const types = new HandTypes();
    const memory = new HandMemory(types);
    const at = memory.take(64);
    const loop: StructType = new StructType("struct", "loop", 8, () => [
      { name: "a", bitOffset: 0, bitSize: 0, type: loop } as never,
      { name: "b", bitOffset: 0, bitSize: 0, type: loop } as never,
    ]);
    const nameless: StructType = new StructType("struct", "nameless", 8, () => [
      { name: "", bitOffset: 0, bitSize: 0, type: nameless } as never,
    ]);
    const context: ObjectContext = {
      memory: memory.space,
      types,
      *namer() {
        return () => undefined;
      },
    };
    const object: Unlisted = makeObject(referenceAt(context, at, loop));
    expect(() => object.$.read().sync()).toThrow(TypesError);
    expect(object.$.toC().sync().length).toBeLessThan(20_000_000);
    const other: Unlisted = makeObject(referenceAt(context, at, nameless));
    expect(other.$.members).toEqual([]);
    expect(() => other.nothing).toThrow(TypesError);
  });

  it("are read within their own bytes, whatever offsets their members claim", () => {
    const member = fc.record({
      bitOffset: fc.nat(2000),
      bitSize: fc.constantFrom(0, 0, 1, 7, 33, 64),
      type: fc.constantFrom("char", "int", "unsigned long", "char[9]", "short[70]", "void *"),
    });
    fc.assert(
      fc.property(fc.array(member, { maxLength: 8 }), fc.nat(80), (members, size) => {
        const types = new HandTypes();
        const memory = new HandMemory(types);
        const at = memory.take(128);
        const type = new StructType("struct", "odd", size, () =>
          members.map((each, i) => ({ ...each, name: `m${i}`, type: typeNamed(types, each.type) }) as never),
        );
        const context: ObjectContext = {
          memory: memory.space,
          types,
          *namer() {
            return () => undefined;
          },
        };
        const object: Unlisted = makeObject(referenceAt(context, at, type));
        for (const io of [object.$.read(), object.$.toC(), object.$.fieldsPartial(...object.$.members)]) {
          try {
            io.sync();
          } catch (error) {
            expect(error).toBeInstanceOf(TypesError);
          }
        }
      }),
    );
  });
});
