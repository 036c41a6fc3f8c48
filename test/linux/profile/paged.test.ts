import { crc32 } from "node:zlib";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Machine, open } from "../../../connectors/index.js";
import {
  type Kallsyms,
  type KernelSymbol,
  kallsymsFromState,
  kallsymsState,
} from "../../../src/linux/index.js";
import { decodeProfile, encodeProfile } from "../../../src/linux/profile/profile.js";
import { moveImage } from "../../../src/linux/symbols/kallsyms-addresses.hot.js";
import { kallsymsIndex } from "../../../src/linux/symbols/kallsyms-state.js";
import { Btf } from "../../../src/linux/types/btf/btf.js";
import { printType } from "../../../src/linux/types/print-type.js";

/** Bytes that come at a time: few, so that whoever looks at more than was asked for sees what is not there. */
const GRAIN = 8;
const SLIDE = 0x1a0_0000n;

describe("a profile that comes as it is needed", () => {
  let machine: Machine;
  let whole: { kallsyms: Kallsyms; types: Btf };
  let bytes: Uint8Array;
  beforeAll(async () => {
    machine = await open("fixtures/linux-6.1-x86_64.kdump");
    const linux = await machine.linux();
    whole = { kallsyms: await linux.kallsyms(), types: (await linux.types()) as Btf };
    const state = kallsymsState(whole.kallsyms);
    const addresses = state.addresses.slice();
    moveImage(addresses, -SLIDE);
    bytes = encodeProfile({
      buildId: "00",
      lines: "lines",
      banner: "banner",
      kallsyms: { ...state, addresses },
      kallsymsIndex: kallsymsIndex(whole.kallsyms),
      namesAt: 0n,
      btfAt: 0n,
      btf: whole.types.bytes,
      btfIndex: Btf.indexOf(whole.types),
    });
  });
  afterAll(() => machine?.close());

  /** Its symbols and types, of which nothing has come yet. */
  function paged(): { kallsyms: Kallsyms; types: Btf } {
    // (Zeros may be what is right.)
    const here = new Uint8Array(bytes.length).fill(0xa5);
    const need = (start: number, end: number) => {
      if (!(start >= 0 && start < end && end <= bytes.length))
        throw new Error(`bytes ${start} to ${end} needed`);
      const from = Math.floor(start / GRAIN) * GRAIN;
      const to = Math.ceil(end / GRAIN) * GRAIN;
      here.set(bytes.subarray(from, to), from);
    };
    const profile = decodeProfile({ bytes: here, need });
    if (profile?.btf === undefined) throw new Error("no profile");
    return {
      kallsyms: kallsymsFromState(profile.kallsyms, SLIDE, profile.kallsymsIndex, profile.need),
      types: new Btf(profile.btf, { pointerSize: 8, index: profile.btfIndex, need: profile.need }),
    };
  }

  it("has the symbols of the whole one, whatever is asked for first", () => {
    const { length } = whole.kallsyms;
    fc.assert(
      fc.property(fc.array(fc.nat(length - 1), { minLength: 1, maxLength: 20 }), (rows) => {
        const { kallsyms } = paged();
        for (const row of rows) {
          const symbol = whole.kallsyms.at(row);
          expect(kallsyms.nameOf(symbol.address + 1n)).toEqual(whole.kallsyms.nameOf(symbol.address + 1n));
          expect(kallsyms.symbol(symbol.name)).toEqual(whole.kallsyms.symbol(symbol.name));
          expect(kallsyms.at(row)).toEqual(symbol);
        }
        expect(kallsyms.symbol("no such symbol")).toEqual([]);
      }),
      { numRuns: 30 },
    );
  });

  it("has all of them in order, by pattern, and by likeness", () => {
    expect(textOf(paged().kallsyms)).toBe(textOf(whole.kallsyms));
    expect(textOf(paged().kallsyms.addresses)).toBe(textOf(whole.kallsyms.addresses));
    expect([...paged().kallsyms.match("init_*")]).toEqual([...whole.kallsyms.match("init_*")]);
    expect(paged().kallsyms.near("init_tusk")).toEqual(whole.kallsyms.near("init_tusk"));
  });

  it("has the types of the whole one, by number and by name", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(whole.types.count), { minLength: 1, maxLength: 20 }), (ids) => {
        const { types } = paged();
        for (const id of ids) {
          const type = whole.types.type(id);
          expect(printType(types.type(id))).toBe(printType(type));
          if (!("name" in type) || type.name === "") continue;
          expect([...types.idsOf(type.name)]).toEqual([...whole.types.idsOf(type.name)]);
          // By name only: nothing of it has come before.
          expect([...paged().types.idsOf(type.name)]).toEqual([...whole.types.idsOf(type.name)]);
        }
        expect(types.find("struct", "no such type")).toBe(undefined);
      }),
      { numRuns: 30 },
    );
  });

  it("can be kept again, of which nothing has come", () => {
    expect(sumOf(kallsymsState(paged().kallsyms))).toEqual(sumOf(kallsymsState(whole.kallsyms)));
    expect(sumOf(kallsymsIndex(paged().kallsyms))).toEqual(sumOf(kallsymsIndex(whole.kallsyms)));
    expect(sumOf(Btf.indexOf(paged().types))).toEqual(sumOf(Btf.indexOf(whole.types)));
    expect(sumOf({ bytes: paged().types.bytes })).toEqual(sumOf({ bytes: whole.types.bytes }));
  });

  it("has the variables and per-CPU offsets of the whole one", () => {
    expect(paged().types.perCpuOffset("runqueues")).toBe(whole.types.perCpuOffset("runqueues"));
    expect(paged().types.variable("runqueues")?.kind).toBe(whole.types.variable("runqueues")?.kind);
    expect([...paged().types.all()].length).toBe([...whole.types.all()].length);
  });
});

/** Of columns. */
function sumOf(columns: object): Record<string, number> {
  const entries = Object.entries(columns as Record<string, Uint8Array>);
  return Object.fromEntries(
    entries.map(([name, { buffer, byteOffset, byteLength }]) => [
      name,
      crc32(new Uint8Array(buffer, byteOffset, byteLength)),
    ]),
  );
}

/** For what is too long to be compared as objects. */
function textOf(list: Iterable<bigint | KernelSymbol>): string {
  return Array.from(list, (each) =>
    typeof each === "bigint" ? `${each}` : `${each.address} ${each.type} ${each.name}`,
  ).join("\n");
}
