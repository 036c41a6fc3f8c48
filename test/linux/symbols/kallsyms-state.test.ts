import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Kallsyms } from "../../../src/linux/symbols/kallsyms.js";
import {
  areAscending,
  fromBase,
  fromBasePerCpu,
  fromOwnPlace,
  slideAddresses,
} from "../../../src/linux/symbols/kallsyms-addresses.hot.js";
import {
  type KallsymsIndex,
  type KallsymsState,
  kallsymsFromState,
  kallsymsIndex,
  kallsymsState,
} from "../../../src/linux/symbols/kallsyms-state.js";
import { KallsymsError, kallsymsTables, readKallsyms } from "../../../src/linux/symbols/kallsyms-tables.js";
import { parseSystemMap } from "../../../src/linux/symbols/system-map.js";
import { encodeText } from "../../../src/memory/index.js";
import { type WrittenSymbol, writeKallsyms } from "../../support/kallsyms.js";
import { WindowsIo } from "../../support/windows.js";

const AT = 0xffff_ffff_8200_1000n;
const TEXT = 0xffff_ffff_8100_0000n;
const LIST: WrittenSymbol[] = [
  { name: "fixed_percpu_data", type: "A", address: 0n },
  { name: "cpu_number", type: "A", address: 0x1f000n },
  { name: "_text", type: "T", address: TEXT },
  { name: "twin", type: "t", address: TEXT + 0x100n },
  { name: "twin", type: "d", address: TEXT + 0x200n },
  { name: "long".repeat(60), type: "t", address: TEXT + 0x300n },
  { name: "init_task", type: "D", address: TEXT + 0x1000n },
];

function read(): Kallsyms {
  const { bytes, symbols } = writeKallsyms(LIST, { at: AT, form: "per-cpu", tokens: ["_t", "init_"] });
  return readKallsyms(new WindowsIo().put(AT, bytes), kallsymsTables(symbols)).sync();
}

describe("the state of kallsyms", () => {
  it("makes the same table again, also when it went through bytes", () => {
    const { names, tokens, addresses } = kallsymsState(read());
    const stored = {
      names: names.slice(),
      tokens: tokens.slice(),
      addresses: new BigUint64Array(addresses.slice().buffer),
    };
    const kallsyms = kallsymsFromState(stored);
    expect([...kallsyms]).toEqual(LIST);
    expect(kallsyms.symbol("twin")).toEqual(LIST.slice(3, 5));
    expect(kallsyms.nameOf(TEXT + 0x1010n)).toMatchObject({ name: "init_task", offset: 0x10n });
  });

  it("makes the same table with an index of it, whatever its names", () => {
    const symbol = fc.record({
      name: fc.stringMatching(/^[a-c_]{1,5}$/),
      type: fc.constantFrom(..."TtDd"),
      address: fc.bigInt(TEXT, TEXT + 0x7000_0000n),
    });
    fc.assert(
      fc.property(fc.array(symbol, { minLength: 1, maxLength: 60 }), (list) => {
        const { bytes, symbols } = writeKallsyms(list, { at: AT, form: "relative", tokens: ["a_", "bb"] });
        const whole = readKallsyms(new WindowsIo().put(AT, bytes), kallsymsTables(symbols)).sync();
        const kallsyms = kallsymsFromState(kallsymsState(whole), 0n, kallsymsIndex(whole));
        expect([...kallsyms]).toEqual(list);
        for (const { name, address } of list) {
          expect(kallsyms.symbol(name)).toEqual(list.filter((other) => other.name === name));
          expect(kallsyms.nameOf(address)).toEqual(whole.nameOf(address));
        }
      }),
    );
  });

  it("with an index of other sizes is refused, with one of other numbers ends", () => {
    const whole = read();
    const state = kallsymsState(whole);
    const index = kallsymsIndex(whole);
    const withIndex = (change: Partial<KallsymsIndex>) =>
      kallsymsFromState(state, 0n, { ...index, ...change });
    for (const change of [
      { starts: index.starts.subarray(1) },
      { lengths: index.lengths.subarray(1) },
      { hashes: index.hashes.subarray(1) },
      { next: index.next.subarray(1) },
      { heads: index.heads.subarray(1) },
      { heads: new Int32Array(0) },
    ]) {
      expect(() => withIndex(change)).toThrow(KallsymsError);
    }
    const number = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
    const some = (column: ArrayLike<number>) =>
      fc.array(fc.oneof(number, fc.nat(LIST.length)), { minLength: column.length, maxLength: column.length });
    fc.assert(
      fc.property(
        some(index.starts),
        some(index.next),
        some(index.heads),
        some(index.hashes),
        (starts, next, heads, hashes) => {
          const kallsyms = withIndex({
            starts: Uint32Array.from(starts),
            next: Int32Array.from(next),
            heads: Int32Array.from(heads),
            hashes: Int32Array.from(hashes),
          });
          expect([...kallsyms]).toHaveLength(LIST.length);
          expect(kallsyms.symbol("twin").length).toBeLessThanOrEqual(LIST.length);
        },
      ),
    );
  });

  it("is moved to where KASLR has put the kernel since, in either direction, but for the per-CPU area", () => {
    for (const slide of [0x1000_0000n, -0x100_0000n]) {
      const state = kallsymsState(read());
      const kallsyms = kallsymsFromState(state, slide);
      const moved = LIST.map((symbol) =>
        symbol.address < TEXT ? symbol : { ...symbol, address: symbol.address + slide },
      );
      expect([...kallsyms]).toEqual(moved);
      expect(kallsyms.nameOf(TEXT + slide + 0x108n)?.name).toBe("twin");
      // What it was made of is as it was.
      expect([...kallsymsFromState(state)]).toEqual(LIST);
    }
  });

  it("of a System.map is one as well, of a 32-bit kernel too", () => {
    const text = "00000004 A small\nc1000000 T _text\nc1000010 t other\n";
    const state = kallsymsState(parseSystemMap(encodeText(text)).kallsyms);
    expect([...kallsymsFromState(state, 0x400_0000n)].map(({ name, address }) => [name, address])).toEqual([
      ["small", 4n],
      ["_text", 0xc500_0000n],
      ["other", 0xc500_0010n],
    ]);
  });

  it("that was damaged in a file is refused with the part, or gives a table of as many symbols", () => {
    const state = kallsymsState(read());
    const refused = (change: Partial<KallsymsState>) => {
      try {
        kallsymsFromState({ ...state, ...change });
      } catch (error) {
        if (error instanceof KallsymsError) return error.part;
        throw error;
      }
      return "accepted";
    };
    expect(refused({ addresses: new BigUint64Array(0) })).toBe("kallsyms_num_syms");
    expect(refused({ addresses: new BigUint64Array(LIST.length + 1) })).toBe("kallsyms_names");
    expect(refused({ names: state.names.subarray(0, 20) })).toBe("kallsyms_names");
    expect(refused({ names: new Uint8Array(state.names.length) })).toBe("kallsyms_names");
    expect(refused({ tokens: state.tokens.subarray(0, -1) })).toBe("kallsyms_token_table");
    expect(refused({ tokens: state.tokens.subarray(0, 100) })).toBe("kallsyms_token_table");
    expect(refused({ tokens: new Uint8Array(1 << 20) })).toBe("kallsyms_token_table");
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(state.names.length - 1), fc.nat(255)), { minLength: 1, maxLength: 9 }),
        fc.array(fc.tuple(fc.nat(state.tokens.length - 1), fc.nat(255)), { maxLength: 3 }),
        (inNames, inTokens) => {
          const names = state.names.slice();
          const tokens = state.tokens.slice();
          for (const [offset, value] of inNames) names[offset] = value;
          for (const [offset, value] of inTokens) tokens[offset] = value;
          try {
            const kallsyms = kallsymsFromState({ ...state, names, tokens });
            expect([...kallsyms]).toHaveLength(LIST.length);
            for (const symbol of kallsyms) expect(kallsyms.symbol(symbol.name)).toContainEqual(symbol);
          } catch (error) {
            expect(error).toBeInstanceOf(KallsymsError);
          }
        },
      ),
    );
  });
});

describe("addresses made as words", () => {
  const offsets = fc.array(fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }), { maxLength: 20 });
  const place = fc.bigInt(0n, 2n ** 64n - 1n);
  const u64 = (value: bigint) => BigInt.asUintN(64, value);

  it("are what bigints give, in every form", () => {
    fc.assert(
      fc.property(offsets, place, (list, base) => {
        const column = Int32Array.from(list);
        const low = BigInt.asUintN(32, base);
        expect([...fromBase(column, base, true)]).toEqual(
          list.map((offset) => u64(base + BigInt(offset >>> 0))),
        );
        expect([...fromBase(column, low, false)]).toEqual(
          list.map((offset) => BigInt.asUintN(32, low + BigInt(offset))),
        );
        expect([...fromBasePerCpu(column, base)]).toEqual(
          list.map((offset) => (offset >= 0 ? BigInt(offset) : u64(base - 1n - BigInt(offset)))),
        );
        expect([...fromOwnPlace(column, base, true)]).toEqual(
          list.map((offset, i) => u64(base + BigInt(4 * i) + BigInt(offset))),
        );
        expect([...fromOwnPlace(column, low, false)]).toEqual(
          list.map((offset, i) => BigInt.asUintN(32, low + BigInt(4 * i) + BigInt(offset))),
        );
      }),
    );
  });

  it("ascend, and are moved, as bigints are", () => {
    const near = fc.bigInt(0xffff_fff0n, 0x1_0000_0010n);
    fc.assert(
      fc.property(fc.array(fc.oneof(place, near), { maxLength: 6 }), place, place, (list, from, by) => {
        const column = BigUint64Array.from(list);
        const ascends = list.every((value, i) => i === 0 || (list[i - 1] as bigint) <= value);
        expect(areAscending(column)).toBe(ascends);
        expect(areAscending(BigUint64Array.from(list).sort())).toBe(true);
        slideAddresses(column, from, by);
        expect([...column]).toEqual(list.map((value) => (value >= from ? u64(value + by) : value)));
      }),
    );
  });
});
