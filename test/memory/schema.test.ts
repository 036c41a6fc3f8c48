import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, expectTypeOf, it } from "vitest";
import {
  array,
  at,
  bigEndian,
  bits,
  bool8,
  bytes,
  cString,
  decodeText,
  decodeUtf8,
  encodeText,
  encodeUtf8,
  f32,
  f32be,
  f64,
  f64be,
  f64le,
  type Infer,
  i8,
  i16,
  i16be,
  i32,
  i32be,
  i64,
  i64be,
  littleEndian,
  type Members,
  padding,
  pointer,
  pointer32,
  pointer64,
  struct,
  type Type,
  u8,
  u16,
  u16be,
  u32,
  u32be,
  u32le,
  u64,
  u64be,
} from "../../src/memory/index.js";

type Value = number | bigint;

/** A scalar with what DataView says of it. */
interface Scalar {
  readonly type: Type<Value>;
  readonly c: string;
  readonly size: number;
  readonly values: fc.Arbitrary<Value>;
  get(view: DataView, at: number, little: boolean): Value;
}

const SCALARS: Record<string, Scalar> = {
  u8: scalar(u8, "uint8_t", 1, fc.integer({ min: 0, max: 255 }), (v, o) => v.getUint8(o)),
  i8: scalar(i8, "int8_t", 1, fc.integer({ min: -128, max: 127 }), (v, o) => v.getInt8(o)),
  u16: scalar(u16, "uint16_t", 2, fc.integer({ min: 0, max: 65535 }), (v, o, l) => v.getUint16(o, l)),
  i16: scalar(i16, "int16_t", 2, fc.integer({ min: -32768, max: 32767 }), (v, o, l) => v.getInt16(o, l)),
  u32: scalar(u32, "uint32_t", 4, fc.integer({ min: 0, max: 2 ** 32 - 1 }), (v, o, l) => v.getUint32(o, l)),
  i32: scalar(i32, "int32_t", 4, fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }), (v, o, l) =>
    v.getInt32(o, l),
  ),
  u64: scalar(u64, "uint64_t", 8, fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), (v, o, l) =>
    v.getBigUint64(o, l),
  ),
  i64: scalar(i64, "int64_t", 8, fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), (v, o, l) =>
    v.getBigInt64(o, l),
  ),
  f32: scalar(f32, "float", 4, fc.float(), (v, o, l) => v.getFloat32(o, l)),
  f64: scalar(f64, "double", 8, fc.double(), (v, o, l) => v.getFloat64(o, l)),
};

function scalar<T extends Value>(
  type: Type<T>,
  c: string,
  size: number,
  values: fc.Arbitrary<T>,
  get: (view: DataView, at: number, little: boolean) => T,
): Scalar {
  return { type: type as Type<Value>, c, size, values, get };
}

const name = fc.constantFrom(...Object.keys(SCALARS));
const memory = fc.uint8Array({ minLength: 24, maxLength: 24 });
const BE = { littleEndian: false, pointerSize: 8 } as const;

describe("scalars", () => {
  it("decode as DataView does, in both byte orders, at any offset, from bytes and views", () => {
    fc.assert(
      fc.property(name, memory, fc.nat(16), fc.nat(7), (which, raw, offset, shift) => {
        const model = SCALARS[which] as Scalar;
        const shifted = new Uint8Array(raw.length + shift);
        shifted.set(raw, shift);
        const part = shifted.subarray(shift);
        const view = new DataView(shifted.buffer, shift);
        expect(model.type.size).toBe(model.size);
        const little = model.get(view, offset, true);
        const big = model.get(view, offset, false);
        expect(model.type.decode(part, offset)).toBe(little);
        expect(model.type.decode(view, offset)).toBe(little);
        expect(littleEndian(model.type).decode(part, offset)).toBe(little);
        expect(bigEndian(model.type).decode(part, offset)).toBe(big);
        expect(model.type.under(BE).decode(part, offset)).toBe(big);
        expect(littleEndian(model.type).under(BE).decode(part, offset)).toBe(little);
        expect(bigEndian(model.type).under(BE).decode(part, offset)).toBe(big);
      }),
      { numRuns: 500 },
    );
  });

  it("encode what they decode, and touch nothing else", () => {
    const sample = name.chain((which) => SCALARS[which]!.values.map((value) => ({ which, value })));
    fc.assert(
      fc.property(sample, memory, fc.nat(16), ({ which, value }, raw, offset) => {
        const model = SCALARS[which] as Scalar;
        for (const little of [true, false]) {
          const type = little ? littleEndian(model.type) : bigEndian(model.type);
          const into = raw.slice();
          expect(type.encode(value, into, offset)).toBe(into);
          expect(model.get(new DataView(into.buffer), offset, little)).toBe(value);
          expect(into.subarray(0, offset)).toEqual(raw.subarray(0, offset));
          expect(into.subarray(offset + model.size)).toEqual(raw.subarray(offset + model.size));
        }
      }),
      { numRuns: 500 },
    );
  });

  it("have big-endian twins", () => {
    const raw = Uint8Array.of(0xc1, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef);
    const view = new DataView(raw.buffer);
    expect(u16be.decode(raw)).toBe(0xc123);
    expect(i16be.decode(raw)).toBe(0xc123 - 0x10000);
    expect(u32be.decode(raw)).toBe(0xc1234567);
    expect(i32be.decode(raw)).toBe(0xc1234567 - 2 ** 32);
    expect(u64be.decode(raw)).toBe(0xc123456789abcdefn);
    expect(i64be.decode(raw)).toBe(0xc123456789abcdefn - 2n ** 64n);
    expect(f32be.decode(raw)).toBe(view.getFloat32(0));
    expect(f64be.decode(raw)).toBe(view.getFloat64(0));
    expect(u32le.under(BE).decode(raw)).toBe(0x674523c1);
    expect(f64le.under(BE).decode(raw)).toBe(view.getFloat64(0, true));
  });

  it("refuse values that do not fit", () => {
    const bad: [Type<unknown>, unknown][] = [
      [u8, 256],
      [u8, -1],
      [u8, 1.5],
      [u8, 1n],
      [u8, "1"],
      [u8, undefined],
      [i8, 128],
      [u16, 65536],
      [i32, 2 ** 31],
      [u32, 2 ** 32],
      [u32, Number.NaN],
      [u64, 1],
      [u64, -1n],
      [u64, 2n ** 64n],
      [i64, 2n ** 63n],
      [f32, 1n],
      [bool8, 1],
      [pointer, 1],
      [pointer, -1n],
      [pointer32, 2n ** 32n],
      [bytes(2), new Uint8Array(3)],
      [array(u8, 2), [1]],
      [cString(2), "abc"],
      [cString(8), "a\0b"],
      [cString(8, "latin-1"), "ā"],
      [bits(u32, 3, 2), 4],
      [bits(i32, 3, 2), -3],
      [bits(u64, 3, 2), 1],
      [bits(u64, 3, 2), 4n],
      [struct({ a: u8, b: u8 }), { a: 1 }],
    ];
    for (const [type, value] of bad)
      expect(() => type.encode(value), `${type.name} ${String(value)}`).toThrow(RangeError);
    expect(() =>
      struct({ inner: struct({ field: u8 }) }, { name: "outer" }).encode({ inner: { field: 300 } }),
    ).toThrow("outer.inner: struct.field: u8: 300 is not an integer from 0 to 255");
  });

  it("refuse memory that ends before the value does", () => {
    for (const offset of [-1, 5, 0.5, Number.NaN, 2 ** 60]) {
      expect(() => u32.decode(new Uint8Array(8), offset)).toThrow(RangeError);
      expect(() => u32.encode(1, new Uint8Array(8), offset)).toThrow(RangeError);
    }
    expect(u32.decode(new Uint8Array(8), 4)).toBe(0);
    expect(array(u32, 0).decode(new Uint8Array(0))).toEqual([]);
  });

  it("take booleans of any non-zero byte", () => {
    expect([0, 1, 2, 255].map((byte) => bool8.decode(Uint8Array.of(byte)))).toEqual([
      false,
      true,
      true,
      true,
    ]);
    expect([...bool8.encode(true), ...bool8.encode(false)]).toEqual([1, 0]);
  });
});

describe("pointers", () => {
  const raw = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 0x88);

  it("are unsigned bigints of the address space's size and byte order", () => {
    expect(pointer.decode(raw)).toBe(0x8807060504030201n);
    expect(pointer.under({ littleEndian: true, pointerSize: 4 }).decode(raw)).toBe(0x04030201n);
    expect(pointer.under({ littleEndian: false, pointerSize: 4 }).decode(raw)).toBe(0x01020304n);
    expect(pointer64.under({ littleEndian: false, pointerSize: 4 }).decode(raw)).toBe(0x0102030405060788n);
    expect(pointer32.decode(raw)).toBe(0x04030201n);
    expect(bigEndian(pointer).under({ littleEndian: true, pointerSize: 4 }).decode(raw)).toBe(0x01020304n);
  });

  it("move what follows them in a struct", () => {
    const node = struct({ next: pointer, value: u16, list: array(pointer, 2) });
    expect([node.size, node.offsetOf("value"), node.offsetOf("list")]).toEqual([32, 8, 16]);
    const narrow = node.under({ littleEndian: true, pointerSize: 4 });
    expect(narrow.size).toBe(16);
    expect(node.under({ littleEndian: true, pointerSize: 4 })).toBe(narrow);
    expect(node.under({ littleEndian: true, pointerSize: 8 })).toBe(node);
    const value = { next: 1n, value: 2, list: [3n, 0xffffffffn] };
    expect(narrow.decode(narrow.encode(value))).toEqual(value);
  });
});

/** A member of a random struct, with what C makes of it. */
interface ModelMember {
  readonly type: Type<unknown>;
  readonly c: (name: string) => string;
  readonly size: number;
  readonly align: number;
  readonly value: fc.Arbitrary<unknown>;
}

interface ModelStruct {
  readonly members: readonly ModelMember[];
  readonly packed: boolean;
  readonly offsets: readonly number[];
  readonly size: number;
  readonly align: number;
  readonly type: Type<unknown> & { offsetOf(name: string): number };
}

function modelStruct(members: readonly ModelMember[], packed: boolean): ModelStruct {
  const offsets: number[] = [];
  let next = 0;
  let align = 1;
  for (const member of members) {
    const own = packed ? 1 : member.align;
    while (next % own !== 0) next++;
    offsets.push(next);
    next += member.size;
    align = Math.max(align, own);
  }
  while (next % align !== 0) next++;
  const fields: Record<string, Type<unknown>> = {};
  members.forEach((member, i) => {
    fields[`m${i}`] = member.type;
  });
  const type = struct(fields as Members, { packed }) as unknown as ModelStruct["type"];
  return { members, packed, offsets, size: next, align, type };
}

const { member: anyMember } = fc.letrec<{ member: ModelMember; struct: ModelStruct }>((tie) => ({
  member: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    name.map((which): ModelMember => {
      const s = SCALARS[which] as Scalar;
      return { type: s.type, c: (n) => `${s.c} ${n}`, size: s.size, align: s.size, value: s.values };
    }),
    fc.integer({ min: 1, max: 9 }).map(
      (n): ModelMember => ({
        type: bytes(n),
        c: (member) => `uint8_t ${member}[${n}]`,
        size: n,
        align: 1,
        value: fc.uint8Array({ minLength: n, maxLength: n }),
      }),
    ),
    fc.tuple(tie("member"), fc.integer({ min: 1, max: 3 })).map(
      ([m, n]): ModelMember => ({
        type: array(m.type, n),
        c: (member) => m.c(`${member}[${n}]`),
        size: m.size * n,
        align: m.align,
        value: fc.array(m.value, { minLength: n, maxLength: n }),
      }),
    ),
    tie("struct").map(
      (s): ModelMember => ({
        type: s.type,
        c: (member) => `${cStruct(s)} ${member}`,
        size: s.size,
        align: s.align,
        value: fc.record(Object.fromEntries(s.members.map((m, i) => [`m${i}`, m.value]))),
      }),
    ),
  ),
  struct: fc
    .tuple(fc.array(tie("member"), { minLength: 1, maxLength: 5 }), fc.boolean())
    .map(([m, p]) => modelStruct(m, p)),
}));
const anyStruct = fc
  .tuple(fc.array(anyMember, { minLength: 1, maxLength: 6 }), fc.boolean())
  .map(([members, packed]) => modelStruct(members, packed));

function cStruct(model: ModelStruct, tag = ""): string {
  const body = model.members.map((member, i) => `${member.c(`m${i}`)};`).join(" ");
  return `struct ${model.packed ? "__attribute__((packed)) " : ""}${tag} { ${body} }`;
}

describe("structs", () => {
  it("are laid out as a model of C does", () => {
    fc.assert(
      fc.property(anyStruct, (model) => {
        expect(model.type.size).toBe(model.size);
        expect(model.type.align).toBe(model.align);
        expect(model.members.map((_, i) => model.type.offsetOf(`m${i}`))).toEqual(model.offsets);
      }),
      { numRuns: 500 },
    );
  });

  it("decode what they encode, in both byte orders", () => {
    const sample = anyStruct.chain((model) =>
      fc
        .record(Object.fromEntries(model.members.map((m, i) => [`m${i}`, m.value])))
        .map((value) => ({ model, value })),
    );
    fc.assert(
      fc.property(sample, fc.nat(7), ({ model, value }, offset) => {
        for (const type of [model.type, bigEndian(model.type)]) {
          const into = new Uint8Array(model.size + offset);
          type.encode(value, into, offset);
          expect(type.decode(into, offset)).toEqual(value);
        }
      }),
      { numRuns: 300 },
    );
  });

  it("never read beyond their end, and give the same for any bytes after a round trip", () => {
    fc.assert(
      fc.property(anyStruct, fc.nat(), (model, seed) => {
        const raw = Uint8Array.from({ length: model.size }, (_, i) => (seed * 31 + i * 17) & 255);
        const value = model.type.decode(raw);
        expect(model.type.decode(model.type.encode(value))).toEqual(value);
        if (model.size > 0) expect(() => model.type.decode(raw.subarray(1))).toThrow(RangeError);
      }),
    );
  });

  const compiler = ["cc", "gcc", "clang"].find((candidate) => {
    try {
      execFileSync(candidate, ["--version"], { stdio: "ignore" });
      return true;
    } catch {
      return false;
    }
  });
  if (compiler === undefined) console.log("skipped: no C compiler to compare struct layouts with");
  it.skipIf(compiler === undefined)(
    "are laid out as a C compiler of this machine does",
    () => {
      const models = fc.sample(anyStruct, { seed: 20240601, numRuns: 150 });
      const tests = models.map((model, i) => {
        const offsets = model.members
          .map((_, k) => `printf(" %zu", offsetof(struct s${i}, m${k}));`)
          .join(" ");
        return `printf("%zu %zu", sizeof(struct s${i}), _Alignof(struct s${i})); ${offsets} printf("\\n");`;
      });
      // Bit-fields as well: in C they share units by their widths. (What is unused of a unit is zero in a static object only.)
      const flags = struct({ a: bits(u32, 0, 3), b: bits(u32, 3, 29), c: bits(u32, 0, 1), d: u8 });
      const raw = flags.encode({ a: 5, b: 0x1234567, c: 1, d: 0x77 });
      const source = `#include <stdint.h>\n#include <stddef.h>\n#include <stdio.h>
${models.map((model, i) => `${cStruct(model, `s${i}`)};`).join("\n")}
struct flags { uint32_t a:3; uint32_t b:29; uint32_t c:1; uint8_t d; };
int main(void) { ${tests.join("\n")}
struct flags f = { 5, 0x1234567, 1, 0x77 };
static struct { uint32_t a:3, b:29; uint32_t c:1; } g = { 5, 0x1234567, 1 };
printf("%zu", sizeof g); for (size_t i = 0; i < 9; i++) printf(" %d", ((unsigned char *)&g)[i > 7 ? 0 : i]);
(void)f; return 0; }`;
      const directory = mkdtempSync(join(tmpdir(), "memtool-layout-"));
      try {
        writeFileSync(join(directory, "layout.c"), source);
        execFileSync(compiler as string, ["-o", join(directory, "layout"), join(directory, "layout.c")]);
        const lines = execFileSync(join(directory, "layout"), { encoding: "utf8" }).trim().split("\n");
        models.forEach((model, i) => {
          const ours = [
            model.type.size,
            model.type.align,
            ...model.members.map((_, k) => model.type.offsetOf(`m${k}`)),
          ];
          expect(lines[i], cStruct(model)).toBe(ours.join(" "));
        });
        const [size, ...unit] = (lines[models.length] as string).split(" ").map(Number);
        expect(size).toBe(8);
        expect(unit.slice(0, 8)).toEqual([...raw.subarray(0, 5), 0, 0, 0]);
      } finally {
        rmSync(directory, { recursive: true });
      }
    },
    60_000,
  );

  it("take explicit offsets, sizes and alignments, and may be unions", () => {
    const task = struct(
      { pid: at(0x10, u32), comm: at(0x20, cString(16)), raw: at(0x10, u64), after: u8 },
      { size: 0x100 },
    );
    expect([task.size, task.align, task.offsetOf("after"), task.names]).toEqual([
      256,
      8,
      0x18,
      ["pid", "comm", "raw", "after"],
    ]);
    const raw = new Uint8Array(256);
    raw.set([1, 2, 0, 0, 3], 0x10);
    raw.set([104, 105], 0x20);
    expect(task.decode(raw)).toEqual({ pid: 0x201, comm: "hi", raw: 0x300000201n, after: 0 });
    expect(struct({ a: u8 }, { align: 16 }).size).toBe(16);
    expect(struct({ a: u8, b: u32 }, { packed: true, align: 4 }).size).toBe(8);
    expect(struct({}).size).toBe(0);
    expect(() => struct({ a: u64 }, { size: 4 })).toThrow(RangeError);
    for (const align of [0, 3, -1, 0.5]) expect(() => struct({ a: u8 }, { align })).toThrow(RangeError);
    for (const offset of [-1, 0.5]) expect(() => at(offset, u8)).toThrow(RangeError);
    expect(() => task.offsetOf("none" as never)).toThrow(RangeError);
    expect(() => struct({ ["__proto__"]: u8 })).toThrow(RangeError);
    // JavaScript moves such keys to the front, so the order of the members would be lost without a word.
    expect(() => struct({ b: u8, "0": u32 })).toThrow(/"0"/);
    expect(struct({ b: u8, "01": u32 }).offsetOf("01")).toBe(4);
  });

  it("keep what padding and gaps hold", () => {
    const type = struct({ a: u8, gap: padding(2), b: u8, c: u32 });
    const into = new Uint8Array(8).fill(0xee);
    expect(type.decode(type.encode({ a: 1, b: 2, c: 3 }, into))).toEqual({ a: 1, b: 2, c: 3 });
    expect([...into]).toEqual([1, 0xee, 0xee, 2, 3, 0, 0, 0]);
    expect(type.names).toEqual(["a", "b", "c"]);
  });

  it("refuse sizes that no memory has", () => {
    expect(() => array(u64, 2 ** 40)).toThrow(RangeError);
    expect(() => array(array(u8, 2 ** 31), 4)).toThrow(RangeError);
    for (const count of [-1, 1.5, Number.NaN, 2 ** 60]) {
      for (const make of [bytes, cString, padding, (n: number) => array(u8, n)]) {
        expect(() => make(count)).toThrow(RangeError);
      }
    }
  });
});

describe("bit-fields", () => {
  const field = fc
    .record({
      which: fc.constantFrom("u8", "i8", "u16", "i16", "u32", "i32", "u64", "i64"),
      a: fc.nat(),
      b: fc.nat(),
    })
    .map(({ which, a, b }) => {
      const room = (SCALARS[which] as Scalar).size * 8;
      const shift = a % room;
      return { which, room, shift, width: 1 + (b % (room - shift)) };
    });

  it("are the bits that shifting and masking give, and leave the others alone", () => {
    fc.assert(
      fc.property(
        field,
        memory,
        fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
        fc.boolean(),
        (f, raw, random, big) => {
          const { type, size } = SCALARS[f.which] as Scalar;
          const order = big ? bigEndian(type) : type;
          const type1 = bits(order as Type<number>, f.shift, f.width) as Type<Value>;
          // The unit as an unsigned bigint, byte by byte.
          const unit = (from: Uint8Array) => {
            let value = 0n;
            for (let i = 0; i < size; i++)
              value = value * 256n + BigInt(from[big ? i : size - 1 - i] as number);
            return value;
          };
          const wrap = f.which.startsWith("i") ? BigInt.asIntN : BigInt.asUintN;
          expect(BigInt(type1.decode(raw))).toBe(wrap(f.width, unit(raw) >> BigInt(f.shift)));
          const value = wrap(f.width, random);
          const into = raw.slice();
          type1.encode(size === 8 ? value : Number(value), into);
          const mask = ((1n << BigInt(f.width)) - 1n) << BigInt(f.shift);
          expect(unit(into) & mask).toBe((value << BigInt(f.shift)) & mask);
          expect(unit(into) & ~mask).toBe(unit(raw) & ~mask);
          expect(into.subarray(size)).toEqual(raw.subarray(size));
          expect(BigInt(type1.decode(into))).toBe(value);
        },
      ),
      { numRuns: 1000 },
    );
  });

  it("share a unit while they ascend, in any byte order", () => {
    const type = struct({
      a: bits(u16, 0, 4),
      b: bits(u16, 4, 12),
      c: bits(u16, 0, 1),
      d: bits(u32, 1, 1),
      e: u8,
    });
    for (const one of [type, type.under(BE), bigEndian(type)]) {
      expect(one.size).toBe(12);
      expect(one.decode(one.encode({ a: 5, b: 0xabc, c: 1, d: 0, e: 9 }))).toEqual({
        a: 5,
        b: 0xabc,
        c: 1,
        d: 0,
        e: 9,
      });
    }
    expect([
      type.offsetOf("a"),
      type.offsetOf("b"),
      type.offsetOf("c"),
      type.offsetOf("d"),
      type.offsetOf("e"),
    ]).toEqual([0, 0, 2, 4, 8]);
    expect([...type.encode({ a: 5, b: 0xabc, c: 1, d: 1, e: 9 })]).toEqual([
      0xc5, 0xab, 1, 0, 2, 0, 0, 0, 9, 0, 0, 0,
    ]);
  });

  it("refuse bits that their storage does not have", () => {
    for (const [shift, width] of [
      [0, 0],
      [0, 33],
      [31, 2],
      [-1, 2],
      [0.5, 1],
      [0, 1.5],
    ]) {
      expect(() => bits(u32, shift as number, width as number)).toThrow(RangeError);
    }
    expect(() => bits(f32, 0, 1)).toThrow(RangeError);
  });
});

describe("strings", () => {
  it("decode UTF-8 as browsers do, whatever the bytes", () => {
    const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
    const point = fc
      .oneof(fc.nat(0x7f), fc.nat(0x7ff), fc.nat(0xffff), fc.nat(0x10ffff))
      .filter((code) => code < 0xd800 || code > 0xdfff);
    const byte = fc.oneof(
      fc.nat(255),
      fc.constantFrom(
        0xe0,
        0xed,
        0xf0,
        0xf4,
        0x80,
        0x8f,
        0x90,
        0x9f,
        0xa0,
        0xbf,
        0xc0,
        0xc1,
        0xc2,
        0xf5,
        0xef,
        0xbb,
      ),
    );
    fc.assert(
      fc.property(fc.array(byte, { maxLength: 40 }), (list) => {
        const raw = Uint8Array.from(list);
        expect(decodeUtf8(raw)).toBe(decoder.decode(raw));
      }),
      { numRuns: 1000 },
    );
    fc.assert(
      fc.property(fc.array(point, { maxLength: 40 }), (points) => {
        const text = String.fromCodePoint(...points);
        const raw = new TextEncoder().encode(text);
        expect(decodeUtf8(raw)).toBe(text);
        expect(encodeUtf8(text)).toEqual(raw);
      }),
    );
    const long = "é€😀x".repeat(5000);
    expect(decodeUtf8(encodeUtf8(long))).toBe(long);
    expect(encodeUtf8("\ud800x")).toEqual(new TextEncoder().encode("\ud800x"));
  });

  it("end at the first NUL or with their field", () => {
    expect(cString(4).decode(Uint8Array.of(97, 98, 0, 99))).toBe("ab");
    expect(cString(4).decode(Uint8Array.of(97, 98, 99, 100))).toBe("abcd");
    expect(cString(2).decode(Uint8Array.of(97, 98, 99, 0))).toBe("ab");
    expect(cString(0).decode(new Uint8Array(0))).toBe("");
    expect(cString(3).decode(Uint8Array.of(0xff, 0xc3, 0))).toBe("\ufffd\ufffd");
    expect(cString(3, "latin-1").decode(Uint8Array.of(0xff, 0xc3, 0))).toBe("ÿÃ");
    expect([...cString(4).encode("é", new Uint8Array(4).fill(9))]).toEqual([0xc3, 0xa9, 0, 0]);
    expect([...cString(2).encode("ab")]).toEqual([97, 98]);
    const every = Uint8Array.from({ length: 10000 }, (_, i) => i & 255);
    expect(encodeText(decodeText(every, 0, every.length, "latin-1"), "latin-1")).toEqual(every);
  });

  it("have bytes of their own", () => {
    const raw = Uint8Array.of(1, 2, 3);
    const copy = bytes(2).decode(raw, 1);
    raw.fill(9);
    expect([...copy]).toEqual([2, 3]);
    expect(bytes(2).decode(Buffer.from([1, 2]))).not.toBeInstanceOf(Buffer);
  });
});

describe("inferred types", () => {
  it("are those of the values", () => {
    const type = struct({
      small: u32,
      large: u64,
      float: f64,
      flag: bool8,
      next: pointer,
      name: cString(16),
      raw: bytes(4),
      list: array(u8, 3),
      pad: padding(3),
      placed: at(0x80, i64),
      bit: bits(u32, 0, 1),
      bigBit: bits(u64, 0, 1),
      nested: struct({ inner: u16be, deep: array(struct({ x: i8 }), 2) }),
    });
    expectTypeOf<Infer<typeof type>>().toEqualTypeOf<{
      small: number;
      large: bigint;
      float: number;
      flag: boolean;
      next: bigint;
      name: string;
      raw: Uint8Array;
      list: number[];
      placed: bigint;
      bit: number;
      bigBit: bigint;
      nested: { inner: number; deep: { x: number }[] };
    }>();
    expectTypeOf(type.decode).returns.toEqualTypeOf<Infer<typeof type>>();
    expectTypeOf(type.offsetOf).parameter(0).toEqualTypeOf<keyof Infer<typeof type>>();
    expectTypeOf<Infer<typeof u32be>>().toEqualTypeOf<number>();
    expectTypeOf<Infer<typeof pointer32>>().toEqualTypeOf<bigint>();
    // @ts-expect-error a u64 is a bigint
    expect(() => u64.encode(1)).toThrow(RangeError);
    // @ts-expect-error no such member
    expect(() => struct({ a: u8 }).offsetOf("b")).toThrow(RangeError);
  });
});
