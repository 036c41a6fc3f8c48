import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { aarch64 } from "../support/reference/aarch64.js";
import { EPT4 } from "../support/reference/ept.js";
import type { ReadEntry, ReferenceFormat, ReferenceMapping } from "../support/reference/format.js";
import { TESTED_FORMATS } from "../support/reference/formats.js";
import { addressIn, RandomMachine, randomAddress, randomTables } from "../support/reference/random-tables.js";
import { SV39, SV48 } from "../support/reference/riscv.js";
import { clip, maps, reverse, walk } from "../support/reference/walk.js";
import { X86_32, X86_64, X86_64_LA57, X86_PAE } from "../support/reference/x86.js";
import * as older from "../support/reference-walker.js";

/** The judge is judged first: by entries written down by hand, and by the older walker of x86-64. */

/** Memory of the given entries; all else of the tables that they lie in is zero. */
function memory(entries: Record<string, bigint>): ReadEntry {
  const values = new Map(Object.entries(entries).map(([at, value]) => [BigInt(at), value]));
  return (physical) => values.get(physical) ?? 0n;
}

function result(format: ReferenceFormat, root: bigint, va: bigint, entries: Record<string, bigint>) {
  return walk(memory(entries), { parts: [{ format, root }] }, va).result;
}

const NOTHING = {
  readable: true,
  writable: false,
  user: false,
  userExecutable: true,
  kernelExecutable: true,
  global: false,
};

describe("the reference, by hand", () => {
  it("x86, two levels: PSE-36 puts bits 39:32 of the address in bits 20:13, bit 21 is reserved", () => {
    // Linear address 0xc0812345: directory entry 0x302.
    const at = { 7176: 0x4000_00e3n };
    expect(result(X86_32, 0x1000n, 0xc081_2345n, at)).toEqual({
      ...NOTHING,
      physical: 0x4000_0000n + 0x01_2345n,
      pageSize: 0x40_0000n,
      writable: true,
    });
    const high = { 7176: 0x4000_00e3n | (0xa3n << 13n) };
    expect(result(X86_32, 0x1000n, 0xc081_2345n, high)).toMatchObject({ physical: 0xa3_4001_2345n });
    const reserved = { 7176: 0x4020_00e3n };
    expect(result(X86_32, 0x1000n, 0xc081_2345n, reserved)).toMatchObject({ state: "malformed", level: 2 });
    expect(result(X86_32, 0x1000n, 1n << 32n, at)).toMatchObject({ state: "non-canonical" });
    const tables = { 7176: 0x2007n, 8264: 0x8000_0025n };
    expect(result(X86_32, 0x1000n, 0xc081_2345n, tables)).toEqual({
      ...NOTHING,
      physical: 0x8000_0345n,
      pageSize: 4096n,
      user: true,
    });
  });

  it("x86, PAE: the four-entry root anywhere at 32 bytes, no rights in it, XD below it", () => {
    // 0xbfe03123: PDPTE 2, PDE 0x1ff, PTE 3.
    const at = {
      4144: 0x5001n,
      24568: 0x6007n,
      24600: 0x8000_0000_1234_5107n,
    };
    expect(result(X86_PAE, 0x1020n, 0xbfe0_3123n, at)).toEqual({
      physical: 0x1234_5123n,
      pageSize: 4096n,
      readable: true,
      writable: true,
      user: true,
      userExecutable: false,
      kernelExecutable: false,
      global: true,
    });
    expect(result(X86_PAE, 0x1020n, 0xbfe0_3123n, { ...at, 4144: 0x5003n })).toMatchObject({
      state: "malformed",
      level: 3,
    });
  });

  it("x86, four and five levels: sign-extension, 1 GiB pages, PS at the top is malformed", () => {
    const user = 0x7fff_ffff_f000n;
    const at = { 6136: 0x2067n, 12280: 0x8000_0001_c000_00e7n | 0x100n };
    expect(result(X86_64, 0x1000n, user, at)).toEqual({
      physical: 0x1_c000_0000n + 0x3fff_f000n,
      pageSize: 1n << 30n,
      readable: true,
      writable: true,
      user: true,
      userExecutable: false,
      kernelExecutable: false,
      global: true,
    });
    expect(result(X86_64, 0x1000n, 0x8000_0000_0000n, at)).toMatchObject({ state: "non-canonical" });
    expect(result(X86_64, 0x1000n, user, { 6136: 0x20e7n })).toMatchObject({ state: "malformed", level: 4 });
    // 0xff11_0000_0000_0000, a five-level kernel's direct map: PML5E 0x111.
    const five = { 6280: 0x2063n, 8192: 0x3063n, 12288: 0x8000_0000_0000_01e3n };
    expect(result(X86_64_LA57, 0x1000n, 0xff11_0000_1234_5678n, five)).toMatchObject({
      physical: 0x1234_5678n,
    });
    expect(result(X86_64_LA57, 0x1000n, 0xfe11_0000_1234_5678n, five)).toMatchObject({
      state: "non-canonical",
    });
  });

  it("AArch64: Linux's own descriptors of kernel text, user data and execute-only pages", () => {
    const kernel = aarch64({ granule: 4096, bits: 48, half: "upper" });
    // A block as PAGE_KERNEL_ROX makes it: UXN, AF, shareable, read-only, global.
    const text = {
      6144: 0x2003n,
      8192: 0x3003n,
      12296: 0x0040_0000_4020_0781n,
    };
    expect(result(kernel, 0x1000n, 0xffff_8000_0021_0000n, text)).toEqual({
      physical: 0x4021_0000n,
      pageSize: 0x20_0000n,
      readable: true,
      writable: false,
      user: false,
      userExecutable: false,
      kernelExecutable: true,
      global: true,
    });
    const lower = aarch64({ granule: 4096, bits: 39, half: "lower" });
    const page = (descriptor: bigint) => ({ 4096: 0x2003n, 8192: 0x3003n, 12288: descriptor });
    expect(result(lower, 0x1000n, 0x123n, page(0x00e8_0000_5555_5f43n))).toEqual({
      physical: 0x5555_5123n,
      pageSize: 4096n,
      readable: true,
      writable: true,
      user: true,
      userExecutable: false,
      kernelExecutable: false,
      global: false,
    });
    // Execute-only: AP = 10, UXN clear.
    expect(result(lower, 0x1000n, 0n, page(0x00a0_0000_5555_5f83n))).toMatchObject({
      user: false,
      writable: false,
      userExecutable: true,
      kernelExecutable: false,
    });
    expect(result(lower, 0x1000n, 0n, page(0x00e8_0000_5555_5f41n))).toMatchObject({
      state: "not-present",
      level: 1,
    });
    // Hierarchical: APTable forbids writing and EL0, UXNTable and PXNTable execution; HPD switches that off.
    const restricted = { ...page(0x5555_5f43n), 4096: 0x7800_0000_0000_2003n };
    expect(result(lower, 0x1000n, 0n, restricted)).toMatchObject({
      writable: false,
      user: false,
      userExecutable: false,
      kernelExecutable: false,
    });
    const ignoring = aarch64({ granule: 4096, bits: 39, half: "lower", hierarchicalDisabled: true });
    // What EL0 may write, EL1 never executes: here without PXN.
    expect(result(ignoring, 0x1000n, 0n, restricted)).toMatchObject({
      writable: true,
      user: true,
      userExecutable: true,
      kernelExecutable: false,
    });
    const readOnly = { ...page(0x5555_5f43n), 4096: 0x4000_0000_0000_2003n };
    expect(result(lower, 0x1000n, 0n, readOnly)).toMatchObject({ user: true, kernelExecutable: true });
    const private_ = { ...page(0x5555_5f43n), 4096: 0x2000_0000_0000_2003n };
    expect(result(lower, 0x1000n, 0n, private_)).toMatchObject({ writable: true, kernelExecutable: true });
  });

  it("AArch64: levels, roots and blocks of each granule", () => {
    const shape = (format: ReferenceFormat) => format.levels.map(({ high, low }) => [high, low]);
    const of = (granule: 4096 | 16384 | 65536, bits: number) => aarch64({ granule, bits, half: "lower" });
    expect(shape(of(4096, 48))).toEqual([
      [47, 39],
      [38, 30],
      [29, 21],
      [20, 12],
    ]);
    expect(shape(of(4096, 52))[0]).toEqual([51, 48]);
    expect(shape(of(4096, 36))[0]).toEqual([35, 30]);
    expect(shape(of(16384, 47))).toEqual([
      [46, 36],
      [35, 25],
      [24, 14],
    ]);
    expect(shape(of(16384, 48))[0]).toEqual([47, 47]);
    expect(shape(of(16384, 52))[0]).toEqual([51, 47]);
    expect(shape(of(65536, 42))).toEqual([
      [41, 29],
      [28, 16],
    ]);
    expect(shape(of(65536, 48))[0]).toEqual([47, 42]);
    expect(shape(of(65536, 52))[0]).toEqual([51, 42]);
    // A block of 4 TiB needs LPA; its address bits 51:48 are in bits 15:12.
    const block = { 65536: (1n << 42n) | 0xa741n };
    const large = aarch64({ granule: 65536, bits: 48, half: "lower", largeAddresses: true });
    expect(result(large, 0x1_0000n, 5n, block)).toMatchObject({
      physical: (0xan << 48n) + (1n << 42n) + 5n,
      pageSize: 1n << 42n,
    });
    expect(result(of(65536, 48), 0x1_0000n, 5n, block)).toMatchObject({ state: "not-present", level: 3 });
    // LPA2: bits 51:50 are in bits 9:8, bits 49:48 in their place.
    const lpa2 = { 16384: (3n << 48n) | (2n << 8n) | 0x8000n | 3n };
    const sixteen = aarch64({ granule: 16384, bits: 25, half: "lower", largeAddresses: true });
    expect(result(sixteen, 0x4000n, 1n, lpa2)).toMatchObject({ physical: (0xbn << 48n) + 0x8001n });
  });

  it("RISC-V: NAPOT takes four page-number bits from the address; what is reserved is malformed", () => {
    const at = (leaf: bigint) => ({ 4096: 0x801n, 8192: 0xc01n, 12312: leaf });
    // PPN 0x12348: a 64 KiB range at 0x12340000; RWXU off but R, A, D, G.
    const napot = (1n << 63n) | (0x1_2348n << 10n) | 0xe3n;
    expect(result(SV39, 0x1000n, 0x3456n, at(napot))).toEqual({
      physical: 0x1234_3456n,
      pageSize: 0x1000n,
      readable: true,
      writable: false,
      user: false,
      userExecutable: false,
      kernelExecutable: false,
      global: true,
    });
    const malformed = (leaf: bigint) =>
      expect(result(SV39, 0x1000n, 0x3456n, at(leaf))).toMatchObject({ state: "malformed", level: 1 });
    malformed(napot ^ (1n << 10n));
    malformed((0x1_2348n << 10n) | 0xe5n);
    malformed((0x1_2348n << 10n) | 0xe3n | (3n << 61n));
    malformed((0x1_2348n << 10n) | 0xe3n | (1n << 54n));
    malformed((0x1_2348n << 10n) | 0x01n);
    // A superpage of 2 MiB, aligned and not; user pages are not executable for the supervisor.
    const mega = (ppn: bigint) => ({ 4096: 0x801n, 8192: (ppn << 10n) | 0xdfn });
    expect(result(SV39, 0x1000n, 0x1234n, mega(0x200n))).toMatchObject({
      physical: 0x20_1234n,
      pageSize: 0x20_0000n,
      userExecutable: true,
      kernelExecutable: false,
    });
    expect(result(SV39, 0x1000n, 0x1234n, mega(0x201n))).toMatchObject({ state: "malformed", level: 2 });
    // G of a table is not passed down (see riscv.ts).
    const underGlobal = { 4096: 0x821n, 8192: (0xcn << 26n) | 0xc3n };
    expect(result(SV48, 0x1000n, 0n, underGlobal)).toMatchObject({ global: false, pageSize: 1n << 30n });
    expect(result(SV39, 0x1000n, 0n, { 4096: 0x841n })).toMatchObject({ state: "malformed", level: 3 });
  });

  it("EPT: execute-only is a right, write-only and reserved memory types are misconfigurations", () => {
    const at = (leaf: bigint) => ({ 4096: 0x2007n, 8192: 0x3007n, 12288: leaf });
    expect(result(EPT4, 0x1000n, 0x123n, at(0x4000_00b4n))).toEqual({
      physical: 0x4000_0123n,
      pageSize: 0x20_0000n,
      readable: false,
      writable: false,
      user: true,
      userExecutable: true,
      kernelExecutable: true,
      global: false,
    });
    expect(result(EPT4, 0x1000n, 0x123n, at(0x4000_00b2n))).toMatchObject({ state: "malformed", level: 2 });
    expect(result(EPT4, 0x1000n, 0x123n, at(0x4000_0097n))).toMatchObject({ state: "malformed", level: 2 });
    expect(result(EPT4, 0x1000n, 0x123n, at(0x4000_0000n))).toMatchObject({ state: "not-present" });
    expect(result(EPT4, 0x1000n, 1n << 48n, at(0x4000_00b7n))).toMatchObject({ state: "non-canonical" });
  });
});

it("the reference's x86-64 is the older walker's", () => {
  const format = TESTED_FORMATS.find(({ name }) => name === "x86-64");
  if (format === undefined) throw new Error("no x86-64");
  fc.assert(
    fc.property(randomTables, fc.array(randomAddress, { maxLength: 40 }), (tables, addresses) => {
      const machine = new RandomMachine(format, tables);
      const [root] = machine.roots as [number];
      const read = (physical: bigint) => machine.reader()(physical, 8);
      /** In the older one's words. (On x86-64, nothing but `user` tells both modes' execution apart.) */
      const older64 = (value: object): object => {
        if ("state" in value) return value;
        const { userExecutable: _, kernelExecutable, ...rest } = value as ReferenceMapping;
        const { writable, user, global } = rest;
        const bits =
          32 + (writable ? 1 : 0) + (user ? 2 : 0) + (kernelExecutable ? 20 : 0) + (global ? 8 : 0);
        return { ...rest, executable: kernelExecutable, rights: bits };
      };
      for (const address of addresses) {
        const va = addressIn(format, address);
        const { result } = walk(machine.reader(), machine.space, va);
        expect(older64(result)).toEqual(older.walk(read, BigInt(root), va).result);
      }
      const runs = maps(machine.reader(), machine.space);
      expect(runs.map(older64)).toEqual(older.maps(read, BigInt(root)));
    }),
    { numRuns: 40 },
  );
});

describe.each(TESTED_FORMATS.map((format) => [format.name, format] as const))(
  "the reference, %s",
  (_, format) => {
    it("lists in runs what it translates, and finds it again from the other end", () => {
      fc.assert(
        fc.property(randomTables, fc.array(randomAddress, { maxLength: 20 }), (tables, addresses) => {
          const machine = new RandomMachine(format, tables);
          const read = machine.reader();
          const runs = maps(read, machine.space);
          for (const address of addresses) {
            const va = addressIn(format, address);
            const { result } = walk(read, machine.space, va);
            const [run] = clip(runs, va, va + 1n);
            if (run === undefined) {
              expect("state" in result && ["not-present", "non-canonical"].includes(result.state)).toBe(true);
            } else if ("state" in run) {
              // Of a loop, the list says so; a walk follows it.
              if (run.state !== "malformed") expect(result).toEqual(without(run));
            } else {
              expect(result).toEqual(without(run));
              expect(reverse(runs, run.physical)).toContain(va);
            }
          }
        }),
        { numRuns: 15 },
      );
    });
  },
);

function without<T extends { start: bigint; end: bigint }>(run: T): Omit<T, "start" | "end"> {
  const { start: _, end: __, ...rest } = run;
  return rest;
}
