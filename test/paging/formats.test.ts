/** One page by each format, its entries written out by hand. (Everything at random: `formats.property.test.ts`.) */
import { describe, expect, it } from "vitest";
import { hostWasm } from "../../connectors/host-wasm.js";
import { MemoryIo, Scheduler } from "../../src/io/index.js";
import {
  type AbsentEntries,
  aarch64,
  EPT4,
  EPT5,
  type MmuDef,
  NPT5,
  READABLE,
  type Root,
  SV39,
  SV57,
  TableCache,
  USER,
  VirtualMemory,
  WRITABLE,
  withAbsentEntries,
  withoutAddressBits,
  X86_32,
  X86_64,
  X86_64_LA57,
  X86_PAE,
} from "../../src/paging/index.js";

const ABOVE = 2n ** 64n;

interface Case {
  readonly mmu: MmuDef;
  readonly root: Root;
  /** Physical address and value of each entry. */
  readonly entries: readonly (readonly [at: number, entry: bigint])[];
  readonly virtual: bigint;
  readonly physical: number;
  readonly pageSize: number;
  /** `r`, `w`, `u`, `x` for users, `k` for the kernel's execution, `g`. */
  readonly rights: string;
}

const cases: Record<string, Case> = {
  "x86, two levels, 4 KiB": {
    mmu: X86_32,
    root: 0x1000,
    entries: [
      [0x1000 + 4 * 0x300, 0x2007n],
      [0x2000 + 4 * 0x123, 0x5105n],
    ],
    virtual: 0xc0123456n,
    physical: 0x5456,
    pageSize: 4096,
    rights: "ruxkg",
  },
  "x86, two levels, 4 MiB beyond 4 GiB (PSE-36)": {
    mmu: X86_32,
    root: 0x1000,
    entries: [[0x1000 + 4 * 1, 0x00c0_0083n | (0xa5n << 13n)]],
    virtual: 0x40_0123n,
    physical: 0xa5_00c0_0123,
    pageSize: 4 << 20,
    rights: "rwxk",
  },
  "PAE, its root on a multiple of 32 bytes, its right withheld by the page alone": {
    mmu: X86_PAE,
    root: 0x1fe0,
    entries: [
      [0x1fe0 + 8 * 3, 0x2001n],
      [0x2000 + 8 * 2, 0x3007n],
      [0x3000 + 8 * 5, (1n << 63n) | 0x1_0000_5003n],
    ],
    virtual: 0xc0405fffn,
    physical: 0x1_0000_5fff,
    pageSize: 4096,
    rights: "rw",
  },
  "x86-64, five levels": {
    mmu: X86_64_LA57,
    root: 0x1000,
    entries: [
      [0x1000 + 8 * 0x1ff, 0x2007n],
      [0x2000 + 8 * 0x1fe, 0x3007n],
      [0x3000, 0x4007n],
      [0x4000 + 8, 0x40_0087n],
    ],
    virtual: ABOVE - (2n << 39n) + 0x20_1234n,
    physical: 0x40_1234,
    pageSize: 2 << 20,
    rights: "rwuxk",
  },
  "AArch64, 4 KiB, 48 bits: a level chooses the root": {
    mmu: aarch64({ granule: 4096, bits: 48 }),
    root: { lower: 0x1000, upper: 0x2000 },
    entries: [
      [0x2000 + 8 * 256, 0x3003n],
      [0x3000, 0x4003n],
      [0x4000 + 8, 0x5003n],
      [0x5000 + 8 * 7, 0x6000n | 0x783n | (1n << 54n)],
    ],
    virtual: 0xffff_8000_0020_7abcn,
    physical: 0x6abc,
    pageSize: 4096,
    rights: "rkg",
  },
  "AArch64, 16 KiB, 48 bits: both roots in one table": {
    mmu: aarch64({ granule: 16_384, bits: 48 }),
    root: { lower: 0x1040, upper: 0x1080 },
    entries: [
      [0x1040 + 8, 0x4003n],
      [0x4000, 0x8003n | (1n << 61n)],
      [0x8000 + 8 * 3, 0x200_0401n | 0x40n],
    ],
    virtual: (1n << 47n) | (3n << 25n) | 0x1_2345n,
    physical: 0x200_0000 + 0x1_2345,
    pageSize: 32 << 20,
    rights: "rwxkg",
  },
  "AArch64, 64 KiB, 52 bits of both (LPA)": {
    mmu: aarch64({ granule: 65_536, bits: 52, physical52: true }),
    root: { upper: 0x1_0000 },
    entries: [
      [0x1_0000 + 8 * 1023, 0x2_0003n],
      [0x2_0000 + 8 * 8191, 0x3_0003n],
      [0x3_0000 + 8 * 8191, 0x4_0703n | (0x9n << 12n) | (3n << 53n)],
    ],
    virtual: ABOVE - 0x1_0000n + 0xabcn,
    physical: 9 * 2 ** 48 + 0x4_0abc,
    pageSize: 65_536,
    rights: "rwg",
  },
  "AArch64, 4 KiB, 52 bits (LPA2)": {
    mmu: aarch64({ granule: 4096, bits: 52 }),
    root: { lower: 0x1000 },
    entries: [
      [0x1000 + 8 * 15, 0x2003n],
      [0x2000 + 8, 0x201n | (1n << 49n) | 0x40n | 0xc00n],
    ],
    virtual: (15n << 48n) | (1n << 39n) | 0x1234n,
    physical: 2 ** 49 + 2 ** 51 + 0x1234,
    pageSize: 2 ** 39,
    // (What EL0 may write, EL1 never executes.)
    rights: "rwux",
  },
  "AArch64, 4 KiB, 39 bits: writable for EL0 but for its table": {
    mmu: aarch64({ granule: 4096, bits: 39 }),
    root: { lower: 0x1000 },
    entries: [
      [0x1000, 0x2003n],
      [0x2000 + 8, 0x3003n | (1n << 62n)],
      [0x3000 + 8, 0x4c43n],
    ],
    virtual: 0x20_1234n,
    physical: 0x4234,
    pageSize: 4096,
    rights: "ruxk",
  },
  "AArch64, 4 KiB, 39 bits: writable for EL0 once the hardware notes it": {
    mmu: aarch64({ granule: 4096, bits: 39, dirtyState: true }),
    root: { lower: 0x1000 },
    entries: [
      [0x1000, 0x2003n],
      [0x2000 + 8, 0x3003n],
      [0x3000 + 8, 0x4cc3n | (1n << 51n)],
    ],
    virtual: 0x20_1234n,
    physical: 0x4234,
    pageSize: 4096,
    rights: "rwux",
  },
  "RISC-V, three levels, a page of 64 KiB": {
    mmu: SV39,
    root: 0x1000,
    entries: [
      [0x1000 + 8 * 256, (0x2n << 10n) | 1n],
      [0x2000, (0x3n << 10n) | 1n],
      [0x3000 + 8 * 5, (1n << 63n) | (0x1_2348n << 10n) | 0xd3n],
    ],
    virtual: 0xffff_ffc0_0000_5678n,
    physical: 0x1_2345_678,
    pageSize: 4096,
    rights: "ru",
  },
  "RISC-V, five levels, 512 GiB": {
    mmu: SV57,
    root: 0x1000,
    entries: [
      [0x1000, (0x2n << 10n) | 1n],
      [0x2000 + 8 * 3, (2n << (27n + 10n)) | 0x2fn],
    ],
    virtual: (3n << 39n) | 0x77n,
    physical: 2 * 2 ** 39 + 0x77,
    pageSize: 2 ** 39,
    rights: "rwxkg",
  },
  "extended page tables": {
    mmu: EPT4,
    root: 0x1000,
    entries: [
      [0x1000, 0x2007n],
      [0x2000, 0x3007n],
      [0x3000 + 8, 0x40_00b5n],
    ],
    virtual: 0x20_1234n,
    physical: 0x40_1234,
    pageSize: 2 << 20,
    // (There are no global pages.)
    rights: "ruxk",
  },
  "extended page tables of five levels, execute-only": {
    mmu: EPT5,
    root: 0x1000,
    entries: [
      [0x1000 + 8, 0x2007n],
      [0x2000, 0x3007n],
      [0x3000, 0x4007n],
      [0x4000, 0x5007n],
      [0x5000, 0x6034n],
    ],
    virtual: 1n << 48n,
    physical: 0x6000,
    pageSize: 4096,
    rights: "uxk",
  },
  "nested page tables of five levels": {
    mmu: NPT5,
    root: 0x1000,
    entries: [
      [0x1000 + 8 * 511, 0x2007n],
      [0x2000, 0x3007n],
      [0x3000, 0x4000_0087n],
    ],
    virtual: 511n << 48n,
    physical: 0x4000_0000,
    pageSize: 1 << 30,
    rights: "rwuxk",
  },
  "x86-64 with memory encryption: the bit is no address": {
    mmu: withoutAddressBits(X86_64, [47]),
    root: 0x1000,
    entries: [
      [0x1000, (1n << 47n) | 0x2007n],
      [0x2000, (1n << 47n) | 0x3007n],
      [0x3000, (1n << 47n) | 0x4007n],
      [0x4000, (1n << 47n) | 0x5007n],
    ],
    virtual: 0x123n,
    physical: 0x5123,
    pageSize: 4096,
    rights: "rwuxk",
  },
};

const LETTERS = { r: 32, w: 1, u: 2, x: 4, k: 16, g: 8 } as const;
const rightsOf = (text: string) =>
  [...text].reduce((sum, letter) => sum + LETTERS[letter as keyof typeof LETTERS], 0);

function memoryOf({ mmu, root, entries }: Pick<Case, "mmu" | "root" | "entries">, compileAfter: number) {
  const bytes = new Uint8Array(1 << 20);
  const view = new DataView(bytes.buffer);
  for (const [at, entry] of entries) {
    if (mmu.entryBytes === 4) view.setUint32(at, Number(entry), true);
    else view.setBigUint64(at, entry, true);
  }
  const scheduler = new Scheduler();
  const tableCache = new TableCache({ mmu, compileAfter, wasm: hostWasm });
  return new VirtualMemory(new MemoryIo(bytes, { scheduler }), { mmu, root, tableCache, scheduler });
}

describe.each(Object.entries(cases))("%s", (_, one) => {
  const { virtual, physical, pageSize, rights } = one;
  const { mmu } = one;
  const base = BigInt(pageSize) * (virtual / BigInt(pageSize));
  const offset = Number(virtual - base);

  it("is translated one by one, in columns, by code or a loop, and entry by entry", () => {
    for (const compileAfter of [1, Number.MAX_SAFE_INTEGER]) {
      const memory = memoryOf(one, compileAfter);
      const wanted = { virtual, physical, pageSize, rights: rightsOf(rights) };
      expect(memory.translate(virtual).sync()).toMatchObject(wanted);
      for (let pass = 0; pass < 2; pass++) {
        const columns = memory.translateMany(BigUint64Array.of(virtual, virtual)).sync();
        expect(columns.row(1)).toMatchObject(wanted);
      }
      expect(memory.translate(virtual).sync()).toMatchObject(wanted);
      const { result, steps } = memory.walk(virtual).sync();
      expect(result).toMatchObject(wanted);
      const stored = one.entries.map(([at, entry]) => [at, entry]);
      const seen = steps
        .filter((step) => step.entryAddress !== undefined)
        .map((step) => [step.entryAddress, step.entry]);
      // (Of a page of 64 KiB's sixteen entries, one is written here; the step shows it as it is stored.)
      expect(seen).toEqual(stored);
      expect(memory.tableCache.compiled).toBe(compileAfter === 1);
    }
  });

  it("is the only run there is", () => {
    const memory = memoryOf(one, Number.MAX_SAFE_INTEGER);
    const runs = memory.runs().sync();
    const wanted = {
      start: base,
      end: base + BigInt(pageSize),
      physical: physical - offset,
      pageSize,
      rights: rightsOf(rights),
    };
    expect(runs.length).toBe(1);
    expect(runs.row(0)).toMatchObject(wanted);
    expect([...memory.maps().sync()]).toMatchObject([wanted]);
  });

  it("has nothing beside it, and no address beyond what it translates", () => {
    const memory = memoryOf(one, Number.MAX_SAFE_INTEGER);
    const beyond = mmu.canonical === "zeros" ? ABOVE - 1n : 1n << 60n;
    expect(memory.translate(beyond).sync().state).toBe("non-canonical");
    const beside = base + BigInt(pageSize) === ABOVE ? base - 1n : base + BigInt(pageSize);
    expect(memory.translate(beside).sync().state).toBe("not-present");
  });
});

it("entries that make no sense are malformed, and shown as they are stored", () => {
  const bad: Record<string, readonly [MmuDef, number, bigint]> = {
    "RISC-V: writable but not readable": [SV39, 3, (0x4n << 10n) | 0x5n],
    "RISC-V: a large page that is not aligned": [SV39, 2, (0x201n << 10n) | 0xfn],
    "RISC-V: a large page of 64 KiB": [SV39, 2, (1n << 63n) | (0x208n << 10n) | 0xfn],
    "RISC-V: bit 54": [SV39, 3, (1n << 54n) | (0x4n << 10n) | 0xfn],
    "RISC-V: bit 55 of a pointer": [SV39, 2, (1n << 55n) | (0x3n << 10n) | 1n],
    "RISC-V: memory type 3": [SV39, 3, (3n << 61n) | (0x4n << 10n) | 0xfn],
    "RISC-V: an address that no double holds": [SV39, 3, (1n << 53n) | 0xfn],
    "PAE: a user bit in the root": [X86_PAE, 1, 0x2005n],
    "PAE: bit 52": [X86_PAE, 3, (1n << 52n) | 0x4003n],
    "EPT: writable but not readable": [EPT4, 3, 0x3002n],
    "x86: a reserved bit of a 4 MiB page": [X86_32, 1, 0x20_0083n],
  };
  for (const [name, [mmu, depth, entry]] of Object.entries(bad)) {
    const pointer =
      mmu === SV39 ? (n: number) => (BigInt(n) << 10n) | 1n : (n: number) => BigInt(n * 4096 + 1);
    const writable = mmu === EPT4 ? 7n : mmu === X86_PAE || mmu === SV39 ? 0n : 6n;
    const entries: [number, bigint][] = [];
    for (let level = 1; level < depth; level++) entries.push([level * 4096, pointer(level + 1) | writable]);
    entries.push([depth * 4096, entry]);
    const memory = memoryOf({ mmu, root: 0x1000, entries }, Number.MAX_SAFE_INTEGER);
    const level = mmu.splits.length - depth;
    const wanted = { state: "malformed", level, entry };
    expect(memory.translate(0x10n).sync(), name).toMatchObject(wanted);
    expect(memory.translateMany(BigUint64Array.of(0x10n)).sync().row(0), name).toMatchObject(wanted);
    expect(memory.runs().sync().row(0), name).toMatchObject(wanted);
  }
});

it("RISC-V entries for 64 KiB that stand where there is none are one run side by side, as they are stored", () => {
  const entry = (1n << 63n) | (0x208n << 10n) | 0xfn;
  const entries: [number, bigint][] = [
    [0x1000, (2n << 10n) | 1n],
    [0x2000, entry],
    [0x2008, entry],
  ];
  const memory = memoryOf({ mmu: SV39, root: 0x1000, entries }, Number.MAX_SAFE_INTEGER);
  const wanted = { start: 0n, end: 2n * 0x20_0000n, state: "malformed", level: 2, entry };
  expect([...memory.maps().sync()]).toMatchObject([wanted]);
});

describe("entries that an operating system uses for itself", () => {
  /** Bit 1: in RAM, in the frame that it names, for reading. Bit 2: swapped, type 3, at the page that it names. */
  const own: AbsentEntries = {
    name: "test",
    read(_level, lo, hi, page) {
      page.lo = lo & ~0xfff;
      page.hi = hi;
      page.rights = 32;
      return (lo & 2) !== 0 ? 1 : (lo & 4) !== 0 ? 2 : 0;
    },
    describe: (_level, entry) =>
      (entry & 4n) !== 0n ? { kind: "swap", type: 3, offset: Number(entry >> 12n) } : { kind: "absent" },
  };
  const mmu = withAbsentEntries(X86_64, own);
  const entries: [number, bigint][] = [
    [0x1000, 0x2007n],
    [0x2000, 0x3007n],
    [0x3000, 0x4007n],
    [0x4000, 0x6007n],
    [0x4008, 0x7002n],
    [0x4010, 0x9004n],
    [0x4018, 0x8n],
  ];

  it("give their bytes, from RAM or from the swap area, and what is neither has a reason", () => {
    const bytes = new Uint8Array(0x1_0000);
    const view = new DataView(bytes.buffer);
    for (const [at, entry] of entries) view.setBigUint64(at, entry, true);
    bytes.fill(0x66, 0x6000, 0x7000).fill(0x77, 0x7000, 0x8000);
    const scheduler = new Scheduler();
    const area = new MemoryIo(new Uint8Array(0xa000).fill(0x99, 0x9000), { scheduler });
    const physical = new MemoryIo(bytes, { scheduler });
    const swap = (type: number) => (type === 3 ? area : undefined);
    const memory = new VirtualMemory(physical, { mmu, root: 0x1000, scheduler, swap });
    const plain = new VirtualMemory(physical, { mmu, root: 0x1000, scheduler });

    expect(memory.translate(0x1010n).sync()).toMatchObject({
      physical: 0x7010,
      readable: true,
      writable: false,
    });
    expect(memory.translate(0x2010n).sync()).toMatchObject({ state: "swapped", level: 1, entry: 0x9004n });
    for (let pass = 0; pass < 2; pass++) {
      const { bytes: got, holes } = memory.readPartial(0xff8n, 0x3010).sync();
      expect([got[0], got[8], got[0x1007], got[0x1008], got[0x2007]]).toEqual([0x66, 0x77, 0x77, 0x99, 0x99]);
      expect(holes).toMatchObject([{ start: 0x2008, end: 0x3010, state: "not-present" }]);
      expect(plain.readPartial(0xff8n, 0x2008).sync().holes).toMatchObject([
        { start: 0x1008, end: 0x2008, state: "swapped" },
      ]);
    }
    const column = BigUint64Array.of(0x8n, 0x1008n, 0x2008n, 0x2108n, 0x3008n, 0x2ff8n);
    const gathered = memory.gather(column, 8).sync();
    expect([0, 8, 16, 24, 40].map((at) => gathered.bytes[at])).toEqual([0x66, 0x77, 0x99, 0x99, 0x99]);
    expect([...gathered.failed]).toEqual([4]);
    expect([...plain.gather(column, 8).sync().failed]).toEqual([2, 3, 4, 5]);
    const runs = [...memory.maps().sync()];
    expect(runs).toMatchObject([
      { start: 0n, end: 0x1000n, physical: 0x6000, rights: 55 },
      { start: 0x1000n, end: 0x2000n, physical: 0x7000, rights: 32 },
      { start: 0x2000n, end: 0x3000n, state: "swapped", entry: 0x9004n },
    ]);
    expect(runs.length).toBe(3);
    expect(memory.walk(0x2000n).sync().steps.at(-1)?.absent).toEqual({ kind: "swap", type: 3, offset: 9 });
  });

  it("have no right that a table above them takes away, whichever way they are asked for", () => {
    const bytes = new Uint8Array(0x8000);
    const view = new DataView(bytes.buffer);
    // The last table is read-only, and the kernel's.
    for (const [at, entry] of entries) view.setBigUint64(at, at === 0x3000 ? 0x4001n : entry, true);
    const generous = {
      ...own,
      read: (...all: Parameters<typeof own.read>) => {
        const answer = own.read(...all);
        all[3].rights = READABLE | WRITABLE | USER;
        return answer;
      },
    };
    const memory = new VirtualMemory(new MemoryIo(bytes, { scheduler: new Scheduler() }), {
      mmu: withAbsentEntries(X86_64, generous),
      root: 0x1000,
    });
    for (let pass = 0; pass < 3; pass++) {
      expect(memory.translate(0x1000n).sync()).toMatchObject({ physical: 0x7000, rights: READABLE });
      const columns = memory.translateMany(BigUint64Array.of(0x1000n)).sync();
      expect(columns.rights[0]).toBe(READABLE);
      expect([...memory.maps({ start: 0x1000n, end: 0x2000n }).sync()]).toMatchObject([{ rights: READABLE }]);
    }
  });
});

describe("roots", () => {
  const arm = aarch64({ granule: 4096, bits: 48 });
  const physical = new MemoryIo(new Uint8Array(0x4000), { scheduler: new Scheduler() });
  const space = (mmu: MmuDef, root: Root) => new VirtualMemory(physical, { mmu, root });

  it("that a format doesn't have are refused, with what it has", () => {
    expect(() => space(arm, 0x1000)).toThrow(/two roots/);
    expect(() => space(X86_64, { lower: 0x1000 })).toThrow(/^page-table root 0x1000: x86-64 has one root/);
    expect(() => space(X86_64, {})).toThrow(/^page-table root without an address: x86-64 has one root/);
    expect(() => space(X86_64, 0x1000n as unknown as number)).toThrow(
      /root 4096: x86-64 has one root.* a number$/,
    );
    expect(() => space(arm, {})).toThrow(/lower or upper/);
    expect(() => space(X86_PAE, 0x1010)).toThrow(/multiple of 32/);
    expect(() => space(X86_32, 0x1020)).toThrow(/multiple of 4096 \(a CR3/);
    expect(() => space(SV39, 0x1020)).toThrow(/multiple of 4096$/);
    for (const root of [2 ** 52, 2 ** 53 + 4096, -4096, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() => space(X86_64, root)).toThrow(/no physical address/);
      expect(() => space(arm, { lower: 0x1000, upper: root })).toThrow(/no physical address/);
    }
    // Without 52-bit addresses, an entry would lose bits of a root, and lead to another table.
    for (const root of [2 ** 48 + 0x1000, 2 ** 51 + 0x1000]) {
      expect(() => space(arm, { lower: root })).toThrow(/no physical address, which have 48 bits at most/);
      expect(() => space(arm, { upper: root })).toThrow(/no physical address, which have 48 bits at most/);
      const large = aarch64({ granule: 4096, bits: 52 });
      expect(space(large, { upper: root }).roots).toEqual({ upper: root });
    }
    expect(() => space(X86_64, 4096.5)).toThrow(/multiple of 4096/);
  });

  it("that are whole tables beside a shorter one's entries are a TTBR in a walk, and no entry of memory", () => {
    const mmu = aarch64({ granule: 4096, bits: 48, lowerBits: 52 });
    const names = (virtual: bigint) =>
      space(mmu, { lower: 0x1000, upper: 0x2000 })
        .walk(virtual)
        .sync()
        .steps.map(({ name, entryAddress }) => [name, entryAddress]);
    expect(names(ABOVE - 4096n)).toEqual([
      ["TTBR", undefined],
      ["level 0", 0x2ff8],
    ]);
    expect(names(1n << 51n)).toEqual([["level -1", 0x1040]]);
  });

  it("of the half that is not given map nothing; one that can't be read says so", () => {
    expect(space(arm, { upper: 0x1000 }).translate(0x1000n).sync()).toMatchObject({ state: "not-present" });
    const lost = space(arm, { upper: 0x1000, lower: 0x8000 });
    expect(lost.translate(0x1000n).sync()).toMatchObject({
      state: "table-missing",
      level: 4,
      cause: "outside",
    });
    expect(lost.translate(ABOVE - 1n).sync()).toMatchObject({ state: "not-present", level: 4 });
    const joined = space(aarch64({ granule: 16_384, bits: 48 }), { lower: 0x3ff8 - 0x38, upper: 0x4000 });
    expect(joined.translate(0n).sync()).toMatchObject({ state: "not-present", level: 4 });
    expect(joined.translate(ABOVE - 1n).sync()).toMatchObject({ state: "table-missing", level: 4 });
  });

  it("of halves of different sizes lie at addresses of their own, and nothing is between their sizes", () => {
    const mixed = aarch64({ granule: 65_536, bits: 48, lowerBits: 52, physical52: true });
    expect(() => space(mixed, { lower: 0x200 })).toThrow(/multiple of 8192/);
    expect(() => space(mixed, { upper: 0x100 })).toThrow(/multiple of 512/);
    const bytes = new Uint8Array(0x6_0000);
    const put = (at: number, entry: bigint) => new DataView(bytes.buffer).setBigUint64(at, entry, true);
    // The upper root's 64 entries: the last one, and what lies before the root, which nothing may take for an entry of it.
    put(0x1_0200 + 8 * 63, 0x2_0003n);
    put(0x1_01f8, 0x3_0003n);
    put(0x2_0000 + 8 * 8191, 0x4000_0000_0001n);
    put(0x4_0000 + 8 * 1023, 0x5_0003n);
    put(0x5_0000, 0x8000_0000_0001n);
    const io = new MemoryIo(bytes, { scheduler: new Scheduler() });
    const both = new VirtualMemory(io, { mmu: mixed, root: { lower: 0x4_0000, upper: 0x1_0200 } });
    expect(both.translate(2n ** 64n - 1n).sync()).toMatchObject({ physical: 0x4000_0000_0000 + 2 ** 29 - 1 });
    expect(both.translate(1023n << 42n).sync()).toMatchObject({ physical: 0x8000_0000_0000 });
    const beyond = 2n ** 64n - 2n ** 48n - 1n;
    expect(both.translate(beyond).sync()).toMatchObject({ state: "not-present", level: 3, entry: 0n });
    expect(both.translate(2n ** 64n - 2n ** 52n - 1n).sync()).toMatchObject({ state: "non-canonical" });
    expect(both.translate(2n ** 52n).sync()).toMatchObject({ state: "non-canonical" });
    expect(() => aarch64({ granule: 4096, bits: 48, lowerBits: 39 })).toThrow(/no table holds side by side/);
    expect(() => aarch64({ granule: 16_384, bits: 47, lowerBits: 36 })).toThrow(/no table holds/);
    expect(() => aarch64({ granule: 4096, bits: 52, physical52: false })).toThrow(/FEAT_LPA2/);
  });

  it("of the smallest AArch64 are told apart from each other, and from what is between them", () => {
    const smallest = aarch64({ granule: 4096, bits: 32 });
    expect(() => aarch64({ granule: 4096, bits: 31 })).toThrow(/no virtual addresses of 31 bits/);
    const bytes = new Uint8Array(0x1_0000);
    const put = (at: number, entry: bigint) => new DataView(bytes.buffer).setBigUint64(at, entry, true);
    // Two bits of index at the top: 1 GiB each.
    put(0x1000, 0x3003n);
    put(0x2000 + 8 * 2, 0x4003n);
    put(0x3000, 0x5003n);
    put(0x4000, 0x6003n);
    put(0x5000 + 8, 0xe003n);
    put(0x6000 + 8, 0xf003n);
    const io = new MemoryIo(bytes, { scheduler: new Scheduler() });
    const memory = new VirtualMemory(io, { mmu: smallest, root: { lower: 0x1000, upper: 0x2000 } });
    const upper = 2n ** 64n - 2n ** 31n + 0x1000n;
    const column = BigUint64Array.of(0x1000n, upper, 0x8000_1000n, 2n ** 32n + 0x1000n, upper - 2n ** 32n);
    const columns = memory.translateMany(column).sync();
    column.forEach((va, row) => {
      const found = memory.translate(va).sync();
      expect([row, found.state ?? found.physical]).toEqual([
        row,
        [0xe000, 0xf000, "not-present", "non-canonical", "non-canonical"][row],
      ]);
      expect(columns.row(row)).toEqual(found);
    });
    expect([...memory.maps().sync()].map(({ start }) => start)).toEqual([0x1000n, upper]);
    expect(memory.readPartial(upper - 8n, 16).sync().holes).toMatchObject([
      { start: 0, end: 8, state: "not-present" },
    ]);
  });

  it("of 32 bytes in one page are told apart", () => {
    const entries: [number, bigint][] = [
      [0x1000, 0x2001n],
      [0x1020, 0x3001n],
      [0x2000, 0x4007n],
      [0x3000, 0x5007n],
      [0x4000, 0x6007n],
      [0x5000, 0x7007n],
    ];
    const first = memoryOf({ mmu: X86_PAE, root: 0x1000, entries }, 1);
    expect(first.translate(0n).sync()).toMatchObject({ physical: 0x6000 });
    const bytes = new Uint8Array(0x8000);
    for (const [at, entry] of entries) new DataView(bytes.buffer).setBigUint64(at, entry, true);
    const io = new MemoryIo(bytes, { scheduler: new Scheduler() });
    const tableCache = new TableCache({ mmu: X86_PAE, bytes: 3 * 6174 });
    const both = [0x1000, 0x1020].map((root) => new VirtualMemory(io, { mmu: X86_PAE, root, tableCache }));
    for (let pass = 0; pass < 4; pass++) {
      expect(both.map((memory) => (memory.translate(0n).sync() as { physical: number }).physical)).toEqual([
        0x6000, 0x7000,
      ]);
    }
  });
});

it("formats that share a cache each read a pair of roots their own way, though it is the same pair", () => {
  const bytes = new Uint8Array(0x6000);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0x1000, 0x2003n, true);
  view.setBigUint64(0x2000, 0x3003n, true);
  view.setBigUint64(0x3000, 0x4403n, true);
  const physical = new MemoryIo(bytes, { scheduler: new Scheduler() });
  const root = { lower: 0x1000 };
  const long = aarch64({ granule: 4096, bits: 39 });
  const short = aarch64({ granule: 4096, bits: 36 });
  const tableCache = new TableCache({ mmu: long });
  for (const mmu of [long, short, long]) {
    const expected = new VirtualMemory(physical, { root, mmu }).maps().sync();
    const shared = new VirtualMemory(physical, { root, mmu, tableCache });
    expect(shared.translate(0n).sync()).toMatchObject({ physical: 0x4000 });
    expect([...shared.maps().sync()]).toEqual([...expected]);
  }
});
