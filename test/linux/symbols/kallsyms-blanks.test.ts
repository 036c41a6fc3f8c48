import { describe, expect, it } from "vitest";
import { KallsymsError, kallsymsTables, readKallsyms } from "../../../src/linux/symbols/kallsyms-tables.js";
import { type AddressForm, type WrittenSymbol, writeKallsyms } from "../../support/kallsyms.js";
import { WindowsIo } from "../../support/windows.js";

const AT = 0xffff_ffff_8200_1000n;
const TEXT = 0xffff_ffff_8100_0000n;
const FORMS: AddressForm[] = ["relative", "per-cpu", "pc-relative", "absolute"];
const PAGE = 4096;

/** A few of the lowest address, as `_text` and `_stext` are, then one every 16 bytes. */
function symbolsOf(form: AddressForm): WrittenSymbol[] {
  const list = Array.from({ length: 4000 }, (_, i) => ({
    name: `symbol_${i}`,
    type: "t",
    address: TEXT + BigInt(16 * Math.max(0, i - 5)),
  }));
  const first = { name: "fixed_percpu_data", type: "A", address: 0n };
  return form === "per-cpu" || form === "absolute" ? [first, ...list] : list;
}

/** Reads a table in which pages of zeros lie: those from `from` to before `to`, counted from the first that it reaches into. */
function readWithout(form: AddressForm, from: number, to: number) {
  const list = symbolsOf(form);
  const { bytes, symbols, starts } = writeKallsyms(list, { at: AT, form });
  const table = form === "absolute" ? "kallsyms_addresses" : "kallsyms_offsets";
  const size = form === "absolute" ? 8 : 4;
  const start = starts.get(table) ?? 0;
  const end = start + size * list.length;
  const firstPage = Math.floor(start / PAGE);
  const blankStart = Math.max(start, (firstPage + from) * PAGE);
  const blankEnd = Math.min(end, (firstPage + to) * PAGE);
  bytes.fill(0, blankStart, blankEnd);
  const rows = { from: Math.ceil((blankStart - start) / size), to: Math.floor((blankEnd - start) / size) };
  const io = new WindowsIo().put(AT, bytes);
  return { list, rows, table, read: () => readKallsyms(io, kallsymsTables(symbols)).sync() };
}

describe("pages of zeros among the addresses of kallsyms", () => {
  it.each(FORMS)("are told, and their symbols unknown: in the middle, %s", (form) => {
    const { list, rows, table, read } = readWithout(form, 1, 3);
    const kallsyms = read();
    expect(rows.to - rows.from).toBeGreaterThan(900);
    expect([...kallsyms]).toEqual([...list.slice(0, rows.from), ...list.slice(rows.to)]);
    expect(kallsyms.damage).toContain(`${table}: ${rows.to - rows.from} of ${list.length} symbols`);
    const [before, lost, after] = [list[rows.from - 1], list[rows.from + 9], list[rows.to]];
    if (before === undefined || lost === undefined || after === undefined) throw new Error("too few symbols");
    expect(kallsyms.symbol(lost.name)).toEqual([]);
    expect(kallsyms.nameOf(lost.address)).toBe(undefined);
    expect(kallsyms.symbol(after.name)).toEqual([after]);
    expect(kallsyms.nameOf(after.address + 4n)).toMatchObject({ name: after.name, offset: 4n });
    expect(kallsyms.nameOf(before.address)?.name).toBe(before.name);
  });

  it.each(FORMS)("are told, and their symbols unknown: at either end, %s", (form) => {
    const first = readWithout(form, 0, 1);
    const withoutFirst = first.read();
    expect([...withoutFirst]).toEqual(first.list.slice(first.rows.to));
    expect(withoutFirst.damage).toContain("have no address");
    const last = readWithout(form, 2, 99);
    const withoutLast = last.read();
    expect([...withoutLast]).toEqual(last.list.slice(0, last.rows.from));
    expect(withoutLast.damage).toContain("have no address");
  });

  it.each(FORMS)("are an error where they are all that there is, %s", (form) => {
    const { read, table } = readWithout(form, 0, 99);
    expect(read).toThrow(KallsymsError);
    expect(read).toThrow(`${table}: 400`);
  });

  it.each(FORMS)("are not seen in a whole table, %s", (form) => {
    const { read, list } = readWithout(form, 0, 0);
    const kallsyms = read();
    expect([...kallsyms]).toEqual(list);
    expect(kallsyms.damage).toBe(undefined);
  });
});
