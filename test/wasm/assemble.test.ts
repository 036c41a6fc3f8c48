import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { hostWasm } from "../../connectors/host-wasm.js";
import {
  assemble,
  block,
  type Code,
  get,
  i32,
  i64,
  leave,
  leaveIf,
  loop,
  set,
  signed,
  unsigned,
} from "../../src/wasm/assemble.js";
import { instantiate, type Wasm } from "../../src/wasm/platform.js";

/** Runs the code of a function of two parameters, with one more local of 32 and one of 64 bits, over a page of memory. */
function run(body: Code, a = 0, b = 0, bytes: readonly number[] = []): number {
  const wasm = hostWasm as Wasm;
  const memory = new wasm.Memory({ initial: 1, maximum: 1 });
  new Uint8Array(memory.buffer).set(bytes);
  const code = assemble({ name: "f", parameters: 2, locals: { i32: 1, i64: 1 }, body }, 1);
  const { f } = instantiate(wasm, new wasm.Module(code), memory);
  return (f as (a: number, b: number) => number)(a, b);
}

const words = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
const longs = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n });

describe("the assembler", () => {
  it("writes numbers that mean themselves", () => {
    fc.assert(
      fc.property(words, longs, (word, long) => {
        expect(run(i32.const(word))).toBe(word);
        expect(run(i64.ne(i64.const(long), i64.const(long)))).toBe(0);
        expect(run(i32.wrap(i64.const(long)))).toBe(Number(BigInt.asIntN(32, long)));
        expect(run(i32.wrap(i64.shrU(i64.const(long), i64.const(32n))))).toBe(
          Number(BigInt.asIntN(32, long >> 32n)),
        );
      }),
    );
    expect([unsigned(0), unsigned(127), unsigned(128), unsigned(2 ** 32 - 1)]).toEqual([
      [0],
      [127],
      [128, 1],
      [255, 255, 255, 255, 15],
    ]);
    expect([signed(63n), signed(64n), signed(-64n), signed(-65n)]).toEqual([
      [63],
      [192, 0],
      [64],
      [191, 127],
    ]);
    for (const none of [-1, 0.5, 2 ** 32]) expect(() => unsigned(none)).toThrow(RangeError);
  });

  it("has instructions that do what their names say", () => {
    const binary: [keyof typeof i32, (a: number, b: number) => number][] = [
      ["add", (a, b) => (a + b) | 0],
      ["and", (a, b) => a & b],
      ["or", (a, b) => a | b],
      ["shl", (a, b) => a << b],
      ["shrU", (a, b) => (a >>> b) | 0],
      ["eq", (a, b) => Number(a === b)],
      ["ne", (a, b) => Number(a !== b)],
      ["geU", (a, b) => Number(a >>> 0 >= b >>> 0)],
    ];
    fc.assert(
      fc.property(words, words, fc.constantFrom(...binary), (a, b, [name, expected]) => {
        const instruction = i32[name] as (a: Code, b: Code) => Code;
        expect(run(instruction(get(0), get(1)), a, b)).toBe(expected(a, b));
      }),
    );
  });

  it("loops, and leaves", () => {
    // The sum of b bytes from a on.
    const sum: Code = [
      ...block(
        loop(
          leaveIf(1, i32.eqz(get(1))),
          set(2, i32.add(get(2), i32.load8U(get(0), 3))),
          set(0, i32.add(get(0), i32.const(1))),
          set(1, i32.add(get(1), i32.const(-1))),
          leave(0),
        ),
      ),
      ...get(2),
    ];
    expect(run(sum, 1, 3, [0, 0, 0, 0, 10, 200, 255, 99])).toBe(465);
  });
});
