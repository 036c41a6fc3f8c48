import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Address, layer, Scheduler } from "../../../src/io/index.js";
import type { Kallsyms } from "../../../src/linux/symbols/kallsyms.js";
import { KallsymsError, kallsymsTables, readKallsyms } from "../../../src/linux/symbols/kallsyms-tables.js";
import { type AddressForm, type WrittenSymbol, writeKallsyms } from "../../support/kallsyms.js";
import { WindowsIo } from "../../support/windows.js";

const AT = 0xffff_ffff_8200_1000n;
const TEXT = 0xffff_ffff_8100_0000n;
const FORMS: AddressForm[] = ["relative", "per-cpu", "pc-relative", "absolute"];

const LIST: WrittenSymbol[] = [
  { name: "_text", type: "T", address: TEXT },
  { name: "_stext", type: "T", address: TEXT },
  { name: "startup_64", type: "t", address: TEXT + 0x10n },
  { name: "twin", type: "t", address: TEXT + 0x100n },
  { name: "twin", type: "d", address: TEXT + 0x200n },
  { name: "init_task", type: "D", address: TEXT + 0x1000n },
  { name: "_end", type: "B", address: TEXT + 0x100_0000n },
];
const PER_CPU: WrittenSymbol[] = [
  { name: "fixed_percpu_data", type: "A", address: 0n },
  { name: "cpu_number", type: "A", address: 0x1f000n },
];

function read(list: readonly WrittenSymbol[], form: AddressForm, tokens: string[] = []): Kallsyms {
  const { bytes, symbols } = writeKallsyms(list, { at: AT, form, tokens });
  return readKallsyms(new WindowsIo().put(AT, bytes), kallsymsTables(symbols)).sync();
}

/** What went wrong. */
function failure(action: () => unknown): KallsymsError {
  try {
    action();
  } catch (error) {
    if (error instanceof KallsymsError) return error;
    throw error;
  }
  throw new Error("nothing went wrong");
}

describe("kallsyms", () => {
  it.each(FORMS)("reads what was written, with addresses in the %s form", (form) => {
    const list = form === "per-cpu" || form === "absolute" ? [...PER_CPU, ...LIST] : LIST;
    expect([...read(list, form, ["_t", "start", "init_"])]).toEqual(list);
  });

  it("any names and addresses survive, names of up to 511 characters too", () => {
    const symbol = fc.record({
      name: fc.oneof(fc.stringMatching(/^[a-z_.$0-9]{1,30}$/), fc.stringMatching(/^[a-c]{100,511}$/)),
      type: fc.constantFrom(..."TtDdBbRrAVWw"),
      address: fc.bigInt(TEXT, TEXT + 0x7000_0000n),
    });
    fc.assert(
      fc.property(
        fc.array(symbol, { minLength: 1, maxLength: 40 }),
        fc.constantFrom(...FORMS),
        fc.array(fc.stringMatching(/^[a-c_]{2,6}$/), { maxLength: 20 }),
        (list, form, tokens) => {
          const kallsyms = read(list, form, tokens);
          expect([...kallsyms]).toEqual(list);
          for (const { name } of list) {
            expect(kallsyms.symbol(name)).toEqual(list.filter((other) => other.name === name));
          }
          for (const { address } of list) expect(kallsyms.nameOf(address)?.address).toBe(address);
        },
      ),
    );
  });

  it("a name gives every symbol that has it", () => {
    const kallsyms = read(LIST, "relative");
    expect(kallsyms.symbol("twin").map(({ address }) => address)).toEqual([TEXT + 0x100n, TEXT + 0x200n]);
    expect(kallsyms.symbol("triplet")).toEqual([]);
    expect(kallsyms.symbol("")).toEqual([]);
  });

  it("many symbols of one name do not slow the lookup of others down", () => {
    const list = Array.from({ length: 30_000 }, (_, i) => ({
      name: "same",
      type: "t",
      address: TEXT + BigInt(i),
    }));
    const kallsyms = read([...list, { name: "other", type: "t", address: TEXT + 0x10_0000n }], "relative");
    expect(kallsyms.symbol("other")).toHaveLength(1);
    expect(kallsyms.symbol("same")).toHaveLength(30_000);
  });

  it("an address has the name of the nearest symbol below, the first of those that share it", () => {
    const kallsyms = read([...PER_CPU, ...LIST], "per-cpu");
    expect(kallsyms.nameOf(TEXT + 0x18n)).toMatchObject({ name: "startup_64", offset: 8n, type: "t" });
    expect(kallsyms.nameOf(TEXT)).toMatchObject({ name: "_text", offset: 0n });
    expect(kallsyms.nameOf(TEXT - 1n)).toBeUndefined();
    expect(kallsyms.nameOf(TEXT + 0x100_0010n)).toMatchObject({ name: "_end", offset: 0x10n });
    expect(kallsyms.nameOf(TEXT + 0x200_0000n)).toBeUndefined();
    expect(kallsyms.nameOf(0x20n)).toMatchObject({ name: "fixed_percpu_data", offset: 0x20n });
    expect(kallsyms.nameOf(0x7fff_0000_0000n)).toBeUndefined();
  });

  it("a table that is out of order is searched all the same", () => {
    const kallsyms = read([...LIST].reverse(), "absolute");
    expect(kallsyms.nameOf(TEXT + 0x18n)?.name).toBe("startup_64");
    expect([...kallsyms]).toEqual([...LIST].reverse());
  });

  it("finds names by pattern and by likeness", () => {
    const kallsyms = read(LIST, "relative");
    expect([...kallsyms.match("_*t")].map(({ name }) => name)).toEqual(["_text", "_stext"]);
    expect(kallsyms.near("init_taks").map(({ name }) => name)).toEqual(["init_task"]);
    expect(kallsyms.near("twins").map(({ name }) => name)).toEqual(["twin"]);
    expect(kallsyms.near("startup").map(({ name }) => name)).toContain("startup_64");
    expect(kallsyms.near("x".repeat(100_000))).toEqual([]);
  });
});

describe("kallsyms that are not there, or damaged", () => {
  const { bytes, symbols, starts } = writeKallsyms(LIST, { at: AT, form: "relative", tokens: ["_t"] });
  const damaged = (change: (view: DataView) => void) => {
    const copy = bytes.slice();
    change(new DataView(copy.buffer));
    return failure(() => readKallsyms(new WindowsIo().put(AT, copy), kallsymsTables(symbols)).sync());
  };
  const at = (name: string) => starts.get(name) as number;

  it("a table that VMCOREINFO does not name is named", () => {
    for (const name of ["kallsyms_names", "kallsyms_num_syms", "kallsyms_token_table", "kallsyms_offsets"]) {
      const without = new Map(symbols);
      without.delete(name);
      const error = failure(() => kallsymsTables(without));
      expect(error.part).toBe(name);
      expect(error.message).toContain("Linux 6.0");
    }
  });

  it("a table that cannot be read is named with its address", () => {
    for (const [name, start] of starts) {
      if (name === "kallsyms_token_table") continue;
      // A page of nothing where the table should be.
      const tables = kallsymsTables(new Map([...symbols, [name, 0x1000n]]));
      const error = failure(() => readKallsyms(new WindowsIo().put(AT, bytes), tables).sync());
      expect(error.part).toBe(name);
      expect(error.message).toContain("0x1000 (outside)");
      expect(start).toBeGreaterThanOrEqual(0);
    }
  });

  it("counts that cannot be are refused before anything is allocated for them", () => {
    expect(damaged((view) => view.setUint32(at("kallsyms_num_syms"), 0, true)).part).toBe(
      "kallsyms_num_syms",
    );
    expect(damaged((view) => view.setUint32(at("kallsyms_num_syms"), 0xffffffff, true)).part).toBe(
      "kallsyms_num_syms",
    );
    const error = damaged((view) => view.setUint32(at("kallsyms_num_syms"), 4_000_000, true));
    expect(error.part).toBe("kallsyms_offsets");
    expect(error.message).toContain("(outside)");
  });

  it("names without an end, empty or far too long are refused", () => {
    expect(damaged((view) => view.setUint8(at("kallsyms_names"), 0)).message).toContain(
      "impossible length 0",
    );
    expect(damaged((view) => view.setUint16(at("kallsyms_names"), 0xffff, true)).part).toBe("kallsyms_names");
    const tokens = damaged((view) => view.setUint16(at("kallsyms_token_index"), 0xffff, true));
    expect(tokens.part).toBe("kallsyms_token_table");
    expect(tokens.message).toContain("(outside)");
  });

  it("names of more characters than any has are refused, however few tokens they take", () => {
    const list = (length: number) => [{ name: "ab".repeat(length / 2), type: "t", address: TEXT }];
    expect(read(list(1024), "relative", ["ab"]).at(0)).toEqual(list(1024)[0]);
    const error = failure(() => read(list(1026), "relative", ["ab"]));
    expect(error.part).toBe("kallsyms_names");
    expect(error.message).toContain("has a type and name of 1027 characters");
    expect(failure(() => read(list(1026), "relative")).message).toContain("impossible length 1027");
  });

  it("tables that disagree with what is known otherwise are refused", () => {
    const tables = kallsymsTables(symbols);
    const io = new WindowsIo().put(AT, bytes);
    const wrong = failure(() => readKallsyms(io, tables, new Map([["init_task", 0x1234n]])).sync());
    expect(wrong.message).toContain("init_task is at 0xffffffff81001000 there, but VMCOREINFO says 0x1234");
    const known = new Map([
      ["mem_section", 0x1234n],
      ["init_task", TEXT + 0x1000n],
    ]);
    expect(readKallsyms(io, tables, known).sync().length).toBe(LIST.length);
  });

  it("any damage gives symbols or an error, never a hang", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(bytes.length - 1), fc.integer({ min: 0, max: 255 })), {
          minLength: 1,
          maxLength: 30,
        }),
        (changes) => {
          const copy = bytes.slice();
          for (const [offset, value] of changes) copy[offset] = value;
          try {
            const kallsyms = readKallsyms(new WindowsIo().put(AT, copy), kallsymsTables(symbols)).sync();
            kallsyms.symbol("init_task");
            kallsyms.nameOf(TEXT);
          } catch (error) {
            expect(error).toBeInstanceOf(KallsymsError);
          }
        },
      ),
    );
  });
});

describe("tables without an end", () => {
  /** Every byte of the address space is `fill`, but for what is put over it. */
  function endless(fill: number, parts: readonly [bigint, Uint8Array][]) {
    return layer<Address>(new Scheduler(), (at, view) => {
      const bytes = new Uint8Array(view.length).fill(fill);
      for (const [start, part] of parts) {
        const from = Number(BigInt(at) - start);
        if (from > -bytes.length && from < part.length) {
          const skip = Math.max(0, -from);
          bytes.set(part.subarray(Math.max(0, from), Math.max(0, from) + bytes.length - skip), skip);
        }
      }
      view.transfer(bytes);
    });
  }
  const [num, names, table, index, offsets] = [0x1000n, 0x1000_0000n, 0x2000n, 0x3000n, 0x4000_0000n];
  const tables = { numSyms: num, names, tokenTable: table, tokenIndex: index, offsets };

  it("names that take more than any kernel's are refused before all are read", () => {
    const tokens = Uint8Array.from({ length: 512 }, (_, i) => (i % 2 === 0 ? 97 : 0));
    const starts = new Uint8Array(Uint16Array.from({ length: 256 }, (_, i) => 2 * i).buffer);
    const count = Uint8Array.of(0, 0, 0x40, 0);
    const io = endless(100, [
      [num, count],
      [table, tokens],
      [index, starts],
    ]);
    expect(failure(() => readKallsyms(io, tables).sync()).message).toMatch(
      /67108864 bytes: not a table of names/,
    );
  });

  it("a token that is longer than any is refused", () => {
    const tokens = new Uint8Array(700).fill(97, 0, 600);
    const starts = new Uint8Array(Uint16Array.from({ length: 256 }, (_, i) => (i === 0 ? 0 : 601)).buffer);
    const io = endless(100, [
      [num, Uint8Array.of(1, 0, 0, 0)],
      [table, tokens],
      [index, starts],
    ]);
    expect(failure(() => readKallsyms(io, tables).sync()).message).toMatch(/token 0 has 600 characters/);
  });
});
