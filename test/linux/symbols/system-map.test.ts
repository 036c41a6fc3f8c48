import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { KernelSymbol } from "../../../src/linux/symbols/symbol.js";
import { parseSystemMap, SystemMapError } from "../../../src/linux/symbols/system-map.js";
import { encodeText } from "../../../src/memory/index.js";

const TEXT = 0xffff_ffff_8100_0000n;

function lineOf({ address, type, name }: KernelSymbol, digits = 16): string {
  return `${address.toString(16).padStart(digits, "0")} ${type} ${name}`;
}

const parse = (text: string, kaslr?: bigint) => parseSystemMap(encodeText(text, "latin-1"), { kaslr });

const MAP = `0000000000000000 D __per_cpu_start
0000000001000000 A phys_startup_64
000000000001f000 D cpu_number
ffffffff80000123 A below
ffffffff81000000 T _stext
ffffffff81000000 T _text
ffffffff81000100 t twin
ffffffff81000200 t twin
ffffffff82c1aa40 D init_task
ffffffff83000000 A __end_rodata_hpage_align
`;

describe("a System.map", () => {
  it("gives its symbols by name, by address and by pattern", () => {
    const { kallsyms, damaged, firstDamaged, modules } = parse(MAP);
    expect({ damaged, firstDamaged, modules }).toEqual({ damaged: 0, firstDamaged: 0, modules: 0 });
    expect([...kallsyms].map((symbol) => lineOf(symbol)).join("\n")).toBe(MAP.trimEnd());
    expect(kallsyms.symbol("twin")).toHaveLength(2);
    expect(kallsyms.nameOf(TEXT + 0x108n)).toMatchObject({ name: "twin", offset: 8n });
    expect([...kallsyms.match("init_*")].map(({ name }) => name)).toEqual(["init_task"]);
    expect(kallsyms.near("init_taks")[0]?.name).toBe("init_task");
  });

  it("is moved by what KASLR added, but for the per-CPU area and absolute symbols below the image", () => {
    const { kallsyms } = parse(MAP, 0x3820_0000n);
    const moved = new Map([...kallsyms].map(({ name, address }) => [name, address]));
    expect(moved.get("_text")).toBe(TEXT + 0x3820_0000n);
    expect(moved.get("init_task")).toBe(0xffffffffbae1aa40n);
    expect(moved.get("__end_rodata_hpage_align")).toBe(0xffffffffbb200000n);
    expect(moved.get("cpu_number")).toBe(0x1f000n);
    expect(moved.get("__per_cpu_start")).toBe(0n);
    expect(moved.get("phys_startup_64")).toBe(0x1000000n);
    expect(moved.get("below")).toBe(0xffffffff80000123n);
    expect(kallsyms.nameOf(TEXT + 0x3820_0108n)?.name).toBe("twin");
  });

  it("of a 32-bit kernel is moved too, within 32 bits", () => {
    const text = "00000004 A small\nc1000000 T _text\nffffffff T top\n";
    expect([...parse(text, 0x400_0000n).kallsyms].map(({ address }) => address)).toEqual([
      4n,
      0xc500_0000n,
      0x03ff_ffffn,
    ]);
  });

  it("with damaged lines gives the others, and says how many and which is the first", () => {
    const lines = MAP.trimEnd().split("\n");
    const bad = [
      "",
      "zzz T x",
      "ffffffff81000000",
      "ffffffff81000000 T",
      "ffffffff81000000 T ",
      "1 TT x",
      "12345678901234567 T x",
      "1 T a b",
      "\0\0\0",
      `1 T ${"n".repeat(2000)}`,
      "1 # x",
    ];
    const mixed = lines.flatMap((line, i) => [line, ...(i < bad.length ? [bad[i] as string] : [])]);
    const { kallsyms, damaged, firstDamaged } = parse(mixed.join("\r\n"));
    expect([...kallsyms].map((symbol) => lineOf(symbol))).toEqual(lines);
    // (An empty line harms nothing.)
    expect(damaged).toBe(lines.length - 1);
    expect(firstDamaged).toBe(4);
  });

  it("may be a saved /proc/kallsyms, of which the modules' symbols are counted and left out", () => {
    const { kallsyms, modules, damaged } = parse(`${MAP}ffffffffc0000000 t helper\t[nf_tables]\n`);
    expect({ modules, damaged }).toEqual({ modules: 1, damaged: 0 });
    expect(kallsyms.symbol("helper")).toEqual([]);
    expect(() => parse("0000000000000000 T _text\n0000000000000000 t x\n")).toThrow(/address 0/);
  });

  it("that is none is refused", () => {
    for (const text of ["", "\n\n", "hello\nworld\n", "\0".repeat(1000)]) {
      expect(() => parse(text)).toThrow(SystemMapError);
    }
  });

  it("of any symbols gives these, and lookups by name find every one", () => {
    const symbol = fc.record({
      name: fc.oneof(fc.stringMatching(/^[a-zA-Z_.$0-9]{1,30}$/), fc.stringMatching(/^[a-c]{100,600}$/)),
      type: fc.constantFrom(..."TtDdBbRrAVWw"),
      address: fc.bigInt(1n, 2n ** 64n - 1n),
    });
    fc.assert(
      fc.property(fc.array(symbol, { minLength: 1, maxLength: 40 }), (list) => {
        const { kallsyms } = parse(list.map((one) => lineOf(one)).join("\n"));
        expect([...kallsyms]).toEqual(list);
        for (const { name } of list) {
          expect(kallsyms.symbol(name)).toEqual(list.filter((other) => other.name === name));
        }
      }),
    );
  });

  it("of any bytes gives symbols or an error", () => {
    const text = encodeText(MAP, "latin-1");
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(text.length - 1), fc.nat(255)), { maxLength: 40 }), (changes) => {
        const copy = text.slice();
        for (const [offset, value] of changes) copy[offset] = value;
        try {
          const { kallsyms } = parseSystemMap(copy, { kaslr: 0x100_0000n });
          for (const { name } of kallsyms) expect(kallsyms.symbol(name).length).toBeGreaterThan(0);
        } catch (error) {
          expect(error).toBeInstanceOf(SystemMapError);
        }
      }),
    );
  });
});
