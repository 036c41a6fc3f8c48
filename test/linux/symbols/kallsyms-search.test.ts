import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Machine } from "../../../connectors/machine.js";
import { open } from "../../../connectors/open.js";
import { findKallsyms, findKallsymsTables } from "../../../src/linux/symbols/kallsyms-search.js";
import { KallsymsError, kallsymsTables } from "../../../src/linux/symbols/kallsyms-tables.js";
import {
  type AddressForm,
  type KernelOrder,
  type WrittenKallsyms,
  type WrittenSymbol,
  writeKernelKallsyms,
} from "../../support/kallsyms.js";
import { WindowsIo } from "../../support/windows.js";

const TEXT = { 8: 0xffff_ffff_8100_0000n, 4: 0xc100_0000n };
/** Tables lie this far behind the text. */
const BEHIND = 0x80_0000n;

/** Each layout that a kernel has had. */
const LAYOUTS: Record<string, KernelOrder & { form: AddressForm }> = {
  "64-bit before 4.6": {
    form: "absolute",
    pointerSize: 8,
    order: "early",
    align: 8,
    markerSize: 8,
    seqs: false,
  },
  "64-bit from 4.6": {
    form: "relative",
    pointerSize: 8,
    order: "early",
    align: 8,
    markerSize: 8,
    seqs: false,
  },
  "x86-64 from 4.6": {
    form: "per-cpu",
    pointerSize: 8,
    order: "early",
    align: 8,
    markerSize: 8,
    seqs: false,
  },
  "arm64 from 4.6": {
    form: "relative",
    pointerSize: 8,
    order: "early",
    align: 256,
    markerSize: 8,
    seqs: false,
  },
  "x86-64 from 4.20": {
    form: "per-cpu",
    pointerSize: 8,
    order: "early",
    align: 8,
    markerSize: 4,
    seqs: false,
  },
  "arm64 from 4.20": {
    form: "relative",
    pointerSize: 8,
    order: "early",
    align: 256,
    markerSize: 4,
    seqs: false,
  },
  "64-bit from 4.20": {
    form: "absolute",
    pointerSize: 8,
    order: "early",
    align: 8,
    markerSize: 4,
    seqs: false,
  },
  "x86-64 of 6.2": { form: "per-cpu", pointerSize: 8, order: "early", align: 8, markerSize: 4, seqs: true },
  "x86-64 from 6.4": { form: "per-cpu", pointerSize: 8, order: "late", align: 8, markerSize: 4, seqs: true },
  "64-bit from 6.4": { form: "absolute", pointerSize: 8, order: "late", align: 8, markerSize: 4, seqs: true },
  "64-bit from 6.11": {
    form: "relative",
    pointerSize: 8,
    order: "late",
    align: 8,
    markerSize: 4,
    seqs: true,
  },
  "64-bit of 2026": {
    form: "pc-relative",
    pointerSize: 8,
    order: "late",
    align: 8,
    markerSize: 4,
    seqs: true,
  },
  "32-bit before 4.6": {
    form: "absolute",
    pointerSize: 4,
    order: "early",
    align: 4,
    markerSize: 4,
    seqs: false,
  },
  "arm before 4.20": {
    form: "relative",
    pointerSize: 4,
    order: "early",
    align: 16,
    markerSize: 4,
    seqs: false,
  },
  "32-bit from 4.6": {
    form: "relative",
    pointerSize: 4,
    order: "early",
    align: 4,
    markerSize: 4,
    seqs: false,
  },
  "32-bit of 6.2": { form: "relative", pointerSize: 4, order: "early", align: 4, markerSize: 4, seqs: true },
  "32-bit from 6.4": { form: "relative", pointerSize: 4, order: "late", align: 4, markerSize: 4, seqs: true },
};
const names = Object.keys(LAYOUTS);
const TOKENS = ["_t", "start", "init_", "alloc", "ab", "bc", "tT", "__", "zz"];

/** Symbols of a kernel: some hundred names by a number, ascending. */
function symbolsOf(
  count: number,
  seed: number,
  layout: KernelOrder & { form: AddressForm },
): WrittenSymbol[] {
  let state = seed * 2 + 1;
  const next = (below: number) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  const word = (length: number) => Array.from({ length }, () => "abcstartinit_loczT012"[next(21)]).join("");
  const perCpu = layout.form === "per-cpu" ? 20 : 0;
  let address = TEXT[layout.pointerSize];
  const list: WrittenSymbol[] = Array.from({ length: perCpu }, (_, i) => ({
    name: word(3 + next(9)),
    type: "A",
    address: BigInt(i * 64),
  }));
  list.push({ name: "_text", type: "T", address });
  for (let i = 1; i < count; i++) {
    address += BigInt(next(3) === 0 ? 0 : next(0x4000));
    list.push({
      name: word(next(60) === 0 ? 200 + next(300) : 1 + next(30)),
      type: "tTdDb"[next(5)] as string,
      address,
    });
  }
  list.push({ name: "_end", type: "B", address: TEXT[layout.pointerSize] + 0x200_0000n });
  return list;
}

/** Memory with garbage before and behind the tables, in which they are searched for. */
function place(written: WrittenKallsyms, at: bigint, garbage: Uint8Array) {
  const io = new WindowsIo();
  const before = garbage.subarray(0, Math.min(garbage.length, 4096));
  const all = new Uint8Array(before.length + written.bytes.length + garbage.length);
  all.set(before);
  all.set(written.bytes, before.length);
  all.set(garbage, before.length + written.bytes.length);
  const start = at - BigInt(before.length);
  io.put(start, all);
  return { io, ranges: [{ start: start - 0x3000n, end: start + BigInt(all.length) + 0x3000n }] };
}

function written(count: number, seed: number, layout: KernelOrder & { form: AddressForm }) {
  const list = symbolsOf(count, seed, layout);
  const at = TEXT[layout.pointerSize] + BEHIND;
  return { list, at, tables: writeKernelKallsyms(list, { at, form: layout.form, tokens: TOKENS }, layout) };
}

const garbageOf = fc.oneof(
  fc.uint8Array({ maxLength: 3000 }),
  fc.constantFrom(0, 1, 255).map((fill) => new Uint8Array(2000).fill(fill)),
  // Numbers that ascend, as a token index does.
  fc.constant(new Uint8Array(Uint16Array.from({ length: 1024 }, (_, i) => 3 * (i % 300)).buffer)),
);

describe("kallsyms that nothing names", () => {
  it.each(names)("are found by their shape: %s", (name) => {
    const layout = LAYOUTS[name] as KernelOrder & { form: AddressForm };
    const { list, at, tables } = written(1000, 7, layout);
    const { io, ranges } = place(tables, at, new Uint8Array(64).fill(0));
    const found = findKallsyms(io, { ranges, pointerSize: layout.pointerSize }).sync();
    expect(found.tables).toEqual({ ...kallsymsTables(tables.symbols) });
    expect([...found.kallsyms]).toEqual(list);
  });

  it("are found among any garbage, with any number of symbols of three markers and more, wherever they lie", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...names),
        fc.integer({ min: 513, max: 1400 }),
        fc.nat(),
        garbageOf,
        fc.nat(300),
        (name, count, seed, garbage, shift) => {
          const layout = LAYOUTS[name] as KernelOrder & { form: AddressForm };
          const list = symbolsOf(count, seed, layout);
          const at = TEXT[layout.pointerSize] + BEHIND + BigInt(shift * Math.max(4096, layout.align));
          const tables = writeKernelKallsyms(list, { at, form: layout.form, tokens: TOKENS }, layout);
          const { io, ranges } = place(tables, at, garbage);
          const known = new Map([["_text", TEXT[layout.pointerSize]]]);
          const found = findKallsyms(io, { ranges, known, pointerSize: layout.pointerSize }).sync();
          expect(found.tables).toEqual(kallsymsTables(tables.symbols));
          expect([...found.kallsyms]).toEqual(list);
        },
      ),
      { numRuns: 60 },
    );
  });

  it("damaged anywhere, give an error that names a part, or the right tables, never others", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...names),
        fc.array(fc.tuple(fc.nat({ max: 0xffff_fff }), fc.nat(255)), { minLength: 1, maxLength: 6 }),
        fc.boolean(),
        (name, changes, tail) => {
          const layout = LAYOUTS[name] as KernelOrder & { form: AddressForm };
          const { at, tables } = written(700, 3, layout);
          // Half of the time where the small tables are, which are hit too seldom otherwise.
          const from = tail ? (tables.starts.get("kallsyms_markers") as number) : 0;
          for (const [offset, value] of changes) {
            tables.bytes[from + (offset % (tables.bytes.length - from))] = value;
          }
          const { io, ranges } = place(tables, at, new Uint8Array(0));
          const known = new Map([["_text", TEXT[layout.pointerSize]]]);
          try {
            const found = findKallsymsTables(io, { ranges, known, pointerSize: layout.pointerSize }).sync();
            expect(found).toEqual(kallsymsTables(tables.symbols));
          } catch (error) {
            expect(error).toBeInstanceOf(KallsymsError);
            expect((error as KallsymsError).part).toMatch(/^kallsyms_/);
          }
        },
      ),
      { numRuns: 100 },
    );
  });

  describe("with damage that leaves them readable, but with other symbols", () => {
    const layout = LAYOUTS["x86-64 from 6.4"] as KernelOrder & { form: AddressForm };
    const refused = (change: (bytes: Uint8Array, at: (table: string) => number) => void) => {
      const { at, tables } = written(700, 5, layout);
      change(tables.bytes, (table) => tables.starts.get(`kallsyms_${table}`) as number);
      const { io, ranges } = place(tables, at, new Uint8Array(0));
      try {
        findKallsyms(io, { ranges }).sync();
      } catch (error) {
        if (error instanceof KallsymsError) return error.part;
        throw error;
      }
      return "found";
    };
    const tokenAt = (bytes: Uint8Array, at: (table: string) => number, token: number) => {
      const index = at("token_index") + 2 * token;
      return at("token_table") + (bytes[index] as number) + 256 * (bytes[index + 1] as number);
    };

    it("undamaged, are found", () => {
      expect(refused(() => {})).toBe("found");
    });

    it("refuses markers that disagree with the names", () => {
      expect(
        refused((bytes, at) => {
          bytes[at("markers") + 4] = ((bytes[at("markers") + 4] as number) + 1) & 255;
        }),
      ).toBe("kallsyms_names");
    });

    it("refuses a count that disagrees with the names", () => {
      expect(
        refused((bytes, at) => {
          bytes[at("num_syms")] = ((bytes[at("num_syms")] as number) - 1) & 255;
        }),
      ).toBe("kallsyms_names");
    });

    it("refuses a token that runs into the next one", () => {
      expect(
        refused((bytes, at) => {
          // The first is of several characters.
          bytes[tokenAt(bytes, at, 1) - 1] = 0x74;
        }),
      ).toBe("kallsyms_token_index");
    });

    it("refuses a character that is another's token", () => {
      expect(
        refused((bytes, at) => {
          bytes[tokenAt(bytes, at, 0x62)] = 0x61;
        }),
      ).toBe("kallsyms_token_index");
    });

    it("refuses addresses that do not ascend, as the kernel itself could not search them", () => {
      expect(
        refused((bytes, at) => {
          const offsets = new DataView(bytes.buffer, at("offsets"));
          offsets.setInt32(4 * 300, offsets.getInt32(4 * 500, true), true);
        }),
      ).toBe("kallsyms_offsets");
    });
  });

  it("are refused where two tables of addresses fit, unless a known symbol tells which", () => {
    const layout = LAYOUTS["64-bit from 4.20"] as KernelOrder & { form: AddressForm };
    const list = symbolsOf(700, 2, layout);
    const at = TEXT[8] + BEHIND;
    const tables = writeKernelKallsyms(list, { at, form: "absolute", tokens: TOKENS }, layout);
    // Another kernel's addresses, where a later one has them.
    const other = list.map(({ address }) => address - 0x10_0000n);
    const behind = (tables.symbols.get("kallsyms_token_index") as bigint) + 512n;
    const io = new WindowsIo()
      .put(at, tables.bytes)
      .put(behind, new Uint8Array(BigUint64Array.from(other).buffer));
    const ranges = [{ start: at, end: at + 0x10_0000n }];
    expect(() => findKallsyms(io, { ranges }).sync()).toThrow(/which one can't be told/);
    for (const text of [TEXT[8], TEXT[8] - 0x10_0000n]) {
      const { kallsyms } = findKallsyms(io, { ranges, known: new Map([["_text", text]]) }).sync();
      expect(kallsyms.at(0)).toMatchObject({ name: "_text", address: text });
    }
  });

  it("are refused where the symbols that are known lie elsewhere", () => {
    const layout = LAYOUTS["x86-64 from 6.4"] as KernelOrder & { form: AddressForm };
    const { at, tables } = written(700, 1, layout);
    const { io, ranges } = place(tables, at, new Uint8Array(0));
    const known = new Map([["_text", TEXT[8] + 0x20_0000n]]);
    expect(() => findKallsyms(io, { ranges, known }).sync()).toThrow(/not where VMCOREINFO says/);
  });

  it("are not searched for without an end where every place looks like names", () => {
    // A name of one token, whose bytes are also a number of names; and markers that agree with that everywhere.
    const count = 0x10001;
    const layout = LAYOUTS["32-bit from 4.6"] as KernelOrder & { form: AddressForm };
    const { tables } = written(700, 5, layout);
    const [table, index] = ["kallsyms_token_table", "kallsyms_token_index"].map(
      (name) => tables.starts.get(name) as number,
    ) as [number, number];
    const names = new Uint8Array(1 << 21).map((_, i) => (i + 1) % 2);
    const markers = Uint32Array.from({ length: Math.ceil(count / 256) }, (_, i) => 512 * i);
    const at = TEXT[4] + BEHIND;
    const parts = [names, new Uint8Array(markers.buffer), tables.bytes.subarray(table, index + 512)];
    const io = new WindowsIo();
    let end = at;
    for (const part of parts) {
      io.put(end, part);
      end += BigInt(part.length);
    }
    const ranges = [{ start: end - 4096n, end }];
    expect(() => findKallsyms(io, { ranges, pointerSize: 4 }).sync()).toThrow(/no names with their markers/);
  });

  it("say how far the search went where there are none", () => {
    const io = new WindowsIo().put(TEXT[8], new Uint8Array(0x2000));
    const ranges = [{ start: TEXT[8], end: TEXT[8] + 0x10_0000n }];
    expect(() => findKallsyms(io, { ranges }).sync()).toThrow(
      /kallsyms_token_index: .* 8192 bytes that can be read of the 1048576 searched/,
    );
    expect(() => findKallsyms(io, { ranges: [] }).sync()).toThrow(KallsymsError);
  });

  it("are found across the pieces in which memory is read", () => {
    const layout = LAYOUTS["x86-64 from 6.4"] as KernelOrder & { form: AddressForm };
    const { at, tables } = written(700, 1, layout);
    const index = tables.symbols.get("kallsyms_token_index") as bigint;
    for (const before of [8, 256, 504, 512, 520]) {
      // A piece is 1 MiB: this many bytes of the index are in the first. (A range begins at a page.)
      const base = (index + BigInt(before) - 0x10_0000n) & -4096n;
      const shift = index + BigInt(before) - 0x10_0000n - base;
      const io = new WindowsIo().put(at - shift, tables.bytes);
      const moved = new Map([...tables.symbols].map(([name, address]) => [name, address - shift]));
      const found = findKallsymsTables(io, { ranges: [{ start: base, end: base + 0x20_0000n }] }).sync();
      expect(found.tokenIndex).toBe(moved.get("kallsyms_token_index"));
    }
  });
});

describe("kallsyms of the committed dump", () => {
  let machine: Machine;
  beforeAll(async () => {
    machine = await open("fixtures/linux-6.1-x86_64.kdump");
  });
  afterAll(() => machine.close());

  it("are found where VMCOREINFO names them, without its names", async () => {
    const linux = await machine.linux();
    const start = linux.vmcoreinfo.symbols.get("_stext") as bigint;
    const ranges = [{ start, end: start + (64n << 20n) }];
    const found = await findKallsymsTables(linux.memory, { ranges });
    expect(found).toEqual(kallsymsTables(linux.vmcoreinfo.symbols));
  });

  it.each<[string, (symbols: Map<string, bigint>, name: string) => void]>([
    ["names none", (symbols, name) => symbols.delete(name)],
    [
      "names them elsewhere",
      (symbols, name) => symbols.set(name, (symbols.get(name) as bigint) ^ 0x40_0000n),
    ],
    ["names only some", (symbols, name) => name > "kallsyms_o" && symbols.delete(name)],
  ])("are what a kernel gives whose VMCOREINFO %s", async (_, change) => {
    const kallsyms = await (await machine.linux()).kallsyms();
    const other = await open("fixtures/linux-6.1-x86_64.kdump");
    const linux = await other.linux();
    const symbols = linux.vmcoreinfo.symbols as Map<string, bigint>;
    const names = [...symbols.keys()].filter((name) => name.startsWith("kallsyms_"));
    expect(names.length).toBeGreaterThan(4);
    for (const name of names) change(symbols, name);
    const found = await linux.kallsyms();
    expect(found.addresses).toEqual(kallsyms.addresses);
    expect(found.symbol("init_task")).toEqual(kallsyms.symbol("init_task"));
    await other.close();
  });
});
