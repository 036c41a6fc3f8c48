import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { hostWasm } from "../../connectors/host-wasm.js";
import * as wa from "../../src/wasm/assemble.js";
import { instantiate, type Wasm } from "../../src/wasm/platform.js";

/** Runs the code of a function of two parameters, with one more local of 32 and one of 64 bits, over a page of memory. */
function run(body: wa.Code, a = 0, b = 0, bytes: readonly number[] = []): number {
  const wasm = hostWasm as Wasm;
  const memory = new wasm.Memory({ initial: 1, maximum: 1 });
  new Uint8Array(memory.buffer).set(bytes);
  const code = wa.assemble({ name: "f", parameters: 2, locals: { i32: 1, i64: 1 }, body }, 1);
  const { f } = instantiate(wasm, new wasm.Module(code), memory);
  return (f as (a: number, b: number) => number)(a, b);
}

const words = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
const longs = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n });

describe("the assembler", () => {
  it("writes numbers that mean themselves", () => {
    fc.assert(
      fc.property(words, longs, (word, long) => {
        expect(run(wa.i32.const(word))).toBe(word);
        expect(run(wa.i64.ne(wa.i64.const(long), wa.i64.const(long)))).toBe(0);
        expect(run(wa.i32.wrap(wa.i64.const(long)))).toBe(Number(BigInt.asIntN(32, long)));
        expect(run(wa.i32.wrap(wa.i64.shrU(wa.i64.const(long), wa.i64.const(32n))))).toBe(
          Number(BigInt.asIntN(32, long >> 32n)),
        );
      }),
    );
    expect([wa.unsigned(0), wa.unsigned(127), wa.unsigned(128), wa.unsigned(2 ** 32 - 1)]).toEqual([
      [0],
      [127],
      [128, 1],
      [255, 255, 255, 255, 15],
    ]);
    expect([wa.signed(63n), wa.signed(64n), wa.signed(-64n), wa.signed(-65n)]).toEqual([
      [63],
      [192, 0],
      [64],
      [191, 127],
    ]);
    for (const none of [-1, 0.5, 2 ** 32]) expect(() => wa.unsigned(none)).toThrow(RangeError);
  });

  it("has instructions that do what their names say", () => {
    const binary: [keyof typeof wa.i32, (a: number, b: number) => number][] = [
      ["add", (a, b) => (a + b) | 0],
      ["and", (a, b) => a & b],
      ["or", (a, b) => a | b],
      ["shl", (a, b) => a << b],
      ["shrU", (a, b) => (a >>> b) | 0],
      ["eq", (a, b) => Number(a === b)],
      ["ne", (a, b) => Number(a !== b)],
      ["geU", (a, b) => Number(a >>> 0 >= b >>> 0)],
      ["gtU", (a, b) => Number(a >>> 0 > b >>> 0)],
      ["remU", (a, b) => ((a >>> 0) % ((b | 1) >>> 0)) | 0],
      ["xor", (a, b) => a ^ b],
    ];
    fc.assert(
      fc.property(words, words, fc.constantFrom(...binary), (a, b, [name, expected]) => {
        const instruction = wa.i32[name] as (a: wa.Code, b: wa.Code) => wa.Code;
        // (There is no remainder of a division by 0.)
        const right = name === "remU" ? b | 1 : b;
        expect(run(instruction(wa.get(0), wa.get(1)), a, right)).toBe(expected(a, right));
      }),
    );
  });

  it("has instructions on 64-bit numbers that do what their names say", () => {
    const unsignedLong = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
    fc.assert(
      fc.property(unsignedLong, unsignedLong, (a, b) => {
        const ctz = a === 0n ? 64 : a.toString(2).length - a.toString(2).replace(/0+$/, "").length;
        expect(run(wa.i32.wrap(wa.i64.ctz(wa.i64.const(a))))).toBe(ctz);
        expect(run(wa.i64.gtU(wa.i64.const(a), wa.i64.const(b)))).toBe(Number(a > b));
        expect(run(wa.i32.wrap(wa.i64.sub(wa.i64.const(a), wa.i64.const(b))))).toBe(
          Number(BigInt.asIntN(32, a - b)),
        );
        const word = Number(BigInt.asIntN(32, a));
        expect(run(wa.i64.eqz(wa.i64.shrU(wa.i64.extendU(wa.i32.const(word)), wa.i64.const(32n))))).toBe(1);
      }),
      { numRuns: 30 },
    );
  });

  it("has instructions on vectors that do what their names say", () => {
    const vectors = fc.uint8Array({ minLength: 32, maxLength: 32, max: 3 });
    const a = wa.v128.load(wa.i32.const(0));
    const b = wa.v128.load(wa.i32.const(0), 16);
    const bits = (list: readonly boolean[]) => list.reduce((sum, each, i) => sum + (each ? 2 ** i : 0), 0);
    fc.assert(
      fc.property(vectors, (bytes) => {
        const [one, two] = [bytes.subarray(0, 16), bytes.subarray(16)];
        const view = new DataView(bytes.buffer, bytes.byteOffset);
        const lanes = <T>(count: number, of: (lane: number) => T) =>
          Array.from({ length: count }, (_, i) => of(i));
        const go = (body: wa.Code) => run(body, 0, 0, [...bytes]);
        const each = (of: (x: number, y: number) => number) =>
          bits([...one].map((x, i) => of(x, two[i] as number) === 1));
        const equalTo1 = (vector: wa.Code) =>
          wa.i8x16.bitmask(wa.i8x16.eq(vector, wa.i8x16.splat(wa.i32.const(1))));
        expect(go(wa.i8x16.bitmask(wa.i8x16.eq(a, b)))).toBe(each((x, y) => Number(x === y)));
        expect(go(equalTo1(wa.v128.and(a, b)))).toBe(each((x, y) => x & y));
        expect(go(equalTo1(wa.v128.or(a, b)))).toBe(each((x, y) => x | y));
        expect(go(equalTo1(wa.v128.xor(a, b)))).toBe(each((x, y) => x ^ y));
        expect(go(equalTo1(wa.v128.not(wa.v128.not(a))))).toBe(each((x) => x));
        expect(go(wa.v128.anyTrue(a))).toBe(Number(one.some((x) => x !== 0)));
        const order = lanes(16, (i) => 15 - i);
        expect(go(equalTo1(wa.i8x16.shuffle(a, order)))).toBe(bits([...one].reverse().map((x) => x === 1)));
        const u32 = (i: number) => view.getUint32(4 * i, true);
        const u64 = (i: number) => view.getBigInt64(8 * i, true);
        expect(go(wa.i32x4.bitmask(wa.i32x4.gtU(a, b)))).toBe(bits(lanes(4, (i) => u32(i) > u32(4 + i))));
        expect(go(wa.i32x4.bitmask(wa.i32x4.sub(a, b)))).toBe(
          bits(lanes(4, (i) => ((u32(i) - u32(4 + i)) | 0) < 0)),
        );
        expect(go(wa.i64x2.bitmask(wa.i64x2.gtS(a, b)))).toBe(bits(lanes(2, (i) => u64(i) > u64(2 + i))));
        expect(go(wa.i64x2.bitmask(wa.i64x2.sub(a, b)))).toBe(
          bits(lanes(2, (i) => BigInt.asIntN(64, u64(i) - u64(2 + i)) < 0n)),
        );
        const first = u32(0);
        expect(go(wa.i32x4.bitmask(wa.i32x4.gtU(a, wa.i32x4.splat(wa.i32.const(first)))))).toBe(
          bits(lanes(4, (i) => u32(i) > first)),
        );
        expect(go(wa.i64x2.bitmask(wa.i64x2.gtS(a, wa.i64x2.splat(wa.i64.const(u64(0))))))).toBe(
          bits(lanes(2, (i) => u64(i) > u64(0))),
        );
      }),
      { numRuns: 30 },
    );
  });

  it("makes code for memory that threads share", () => {
    const wasm = hostWasm as Wasm;
    const memory = new wasm.Memory({ initial: 1, maximum: 1, shared: true });
    const body = wa.giveBack(wa.i32.load8U(wa.i32.const(3)));
    const code = wa.assemble({ name: "f", parameters: 0, locals: { i32: 0, i64: 0 }, body }, "shared");
    const { f } = instantiate(wasm, new wasm.Module(code), memory);
    new Uint8Array(memory.buffer)[3] = 77;
    expect(memory.buffer).toBeInstanceOf(SharedArrayBuffer);
    expect((f as () => number)()).toBe(77);
  });

  it("loops, and leaves", () => {
    // The sum of b bytes from a on.
    const sum: wa.Code = [
      ...wa.block(
        wa.loop(
          wa.leaveIf(1, wa.i32.eqz(wa.get(1))),
          wa.set(2, wa.i32.add(wa.get(2), wa.i32.load8U(wa.get(0), 3))),
          wa.set(0, wa.i32.add(wa.get(0), wa.i32.const(1))),
          wa.set(1, wa.i32.add(wa.get(1), wa.i32.const(-1))),
          wa.leave(0),
        ),
      ),
      ...wa.get(2),
    ];
    expect(run(sum, 1, 3, [0, 0, 0, 0, 10, 200, 255, 99])).toBe(465);
  });
});
