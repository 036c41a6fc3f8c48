import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  oneUserSymbol,
  type UserObject,
  type UserSymbol,
  UserSymbols,
} from "../../../src/linux/userland/user-symbols.js";

function symbolOf(
  module: string,
  name: string,
  address: bigint,
  size = 16n,
  type = "T",
  version?: string,
): UserSymbol {
  return { module, name, address, size, type, version, path: `/lib/${module}` };
}

function objectOf(
  name: string,
  start: bigint,
  symbols: readonly UserSymbol[],
  more: Partial<UserObject> = {},
): UserObject {
  const end = start + 0x10_000n;
  return {
    name,
    soname: undefined,
    path: `/lib/${name}`,
    start,
    end,
    symbols,
    threadLocal: new Map(),
    ...more,
  };
}

const LIBC = objectOf(
  "libc.so.6",
  0x10_0000n,
  [
    symbolOf("libc.so.6", "malloc", 0x10_1000n),
    symbolOf("libc.so.6", "memcpy@OLD", 0x10_2000n, 16n, "T", "OLD"),
    symbolOf("libc.so.6", "__memcpy_internal", 0x10_3000n, 16n, "t"),
    symbolOf("libc.so.6", "memcpy", 0x10_3000n, 16n, "i", "NEW"),
  ],
  { soname: "libc.so.6", threadLocal: new Map([["errno", 0x40n]]) },
);
const LINKER = objectOf("ld.so", 0x20_0000n, [
  symbolOf("ld.so", "malloc", 0x20_1000n),
  symbolOf("ld.so", "edge", 0x20_2000n, 0n),
]);
const HIDDEN = objectOf("memfd:x", 0x30_0000n, [symbolOf("memfd:x", "evil", 0x30_1000n)]);
const SYMBOLS = new UserSymbols([HIDDEN, LINKER, LIBC]);

describe("symbols of a process", () => {
  it("of a name in two objects are told with both, and found with the object in front", () => {
    expect(() => oneUserSymbol(SYMBOLS, "malloc")).toThrow(
      '2 symbols are named "malloc": 0x101000 (T [libc.so.6]), 0x201000 (T [ld.so]); give one of these addresses, or name its object: OBJECT:NAME',
    );
    expect(oneUserSymbol(SYMBOLS, "ld.so:malloc").address).toBe(0x20_1000n);
    expect(oneUserSymbol(SYMBOLS, "/lib/libc.so.6:malloc").address).toBe(0x10_1000n);
    expect(oneUserSymbol(SYMBOLS, "memfd:x:evil").address).toBe(0x30_1000n);
  });

  it("without a version are those for who asks for none, and with one those of it", () => {
    expect(SYMBOLS.symbol("memcpy").map(({ address }) => address)).toEqual([0x10_3000n]);
    for (const name of ["memcpy@NEW", "memcpy@@NEW", "libc.so.6:memcpy@NEW"]) {
      expect(
        SYMBOLS.symbol(name).map(({ address }) => address),
        name,
      ).toEqual([0x10_3000n]);
    }
    expect(SYMBOLS.symbol("memcpy@OLD").map(({ address }) => address)).toEqual([0x10_2000n]);
  });

  it("of which each thread has its own are no addresses, and the error says so", () => {
    expect(() => oneUserSymbol(SYMBOLS, "errno")).toThrow(
      "each thread has its own, at 0x40 of its block of libc.so.6",
    );
  });

  it("that there are not are told with similar ones, and objects that there are not with the others", () => {
    expect(() => oneUserSymbol(SYMBOLS, "maloc")).toThrow(
      'no symbol of the process "maloc"; did you mean malloc?',
    );
    expect(() => oneUserSymbol(SYMBOLS, "libm.so.6:sin")).toThrow(
      'no object with symbols is named "libm.so.6": libc.so.6, ld.so, memfd:x',
    );
  });

  it("by pattern are those of all objects, or of one", () => {
    expect([...SYMBOLS.match("mal*")].map(({ module }) => module)).toEqual(["libc.so.6", "ld.so"]);
    expect([...SYMBOLS.match("libc.so.6:m*")].map(({ name }) => name)).toEqual([
      "malloc",
      "memcpy@OLD",
      "memcpy",
    ]);
  });

  it("by an address behind a symbol's end are the object and how far into it", () => {
    expect(SYMBOLS.nameOf(0x10_100fn)).toMatchObject({ name: "malloc", offset: 15n });
    expect(SYMBOLS.nameOf(0x10_1010n)).toMatchObject({ name: "libc.so.6", offset: 0x1010n, type: "?" });
    expect(SYMBOLS.nameOf(0x10_3004n)).toMatchObject({ name: "memcpy", offset: 4n });
    // What has no size goes on.
    expect(SYMBOLS.nameOf(0x20_2345n)).toMatchObject({ name: "edge", offset: 0x345n });
    expect(SYMBOLS.nameOf(0x40_0000n)).toBeUndefined();
  });

  it("by address are what a search through all of them finds", () => {
    const symbol = fc.record({ address: fc.bigInt(0n, 400n), size: fc.bigInt(1n, 24n) });
    fc.assert(
      fc.property(fc.array(symbol, { maxLength: 30 }), fc.bigInt(0n, 450n), (list, address) => {
        const symbols = list
          .map((each, i) => symbolOf("a", `s${i}`, each.address, each.size))
          .sort((a, b) => Number(a.address - b.address));
        const found = new UserSymbols([objectOf("a", 0n, symbols)]).nameOf(address);
        const holding = symbols.filter(
          (each) => each.address <= address && address < each.address + each.size,
        );
        const nearest = holding.at(-1)?.address;
        expect(found?.type === "?" ? undefined : found?.address).toBe(nearest);
      }),
    );
  });
});
