import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { hostWasm } from "../../connectors/host-wasm.js";
import { all, readInto, Scheduler } from "../../src/io/index.js";
import { u64 } from "../../src/memory/index.js";
import { compileMmu } from "../../src/paging/formats/mmu.js";
import { type MmuDef, TableCache, VirtualMemory, X86_64 } from "../../src/paging/index.js";
import type { Wasm } from "../../src/wasm/platform.js";
import { DummyMachine, randomBits } from "../support/dummy-machine.js";

const LARGE_AT_2: MmuDef["entries"] = [
  { is: "absent", clear: [0] },
  { is: "page", levels: [1] },
  { is: "page", levels: [2], set: [7] },
  { is: "table" },
];

/** Formats whose tables have other sizes: 64 KiB granule (AArch64's: 42 bits), and 16 KiB. No reserved bits. */
const GRANULE_64: MmuDef = {
  ...X86_64,
  name: "64 KiB granule",
  splits: [13, 13, 16],
  entryNames: ["a", "b"],
  entries: LARGE_AT_2,
  address: [16, 47],
  reserved: [{ level: 1, of: "page", bits: [12, 13] }],
};
const GRANULE_16: MmuDef = {
  ...X86_64,
  name: "16 KiB granule",
  splits: [4, 11, 11, 14],
  entryNames: ["a", "b", "c"],
  canonical: "zeros",
  entries: LARGE_AT_2,
  address: [14, 47],
  reserved: [],
};

/** RAM of small random entries, nearly all of which point to other tables of it. */
function ram(seed: number, tableBytes: number, tables: number, indices: readonly number[]): DummyMachine {
  const machine = new DummyMachine({ seed, frames: (tables * tableBytes) / 4096 });
  for (let table = 0; table < tables; table++) {
    for (const index of indices) {
      const target = BigInt((machine.random() % tables) * tableBytes);
      const kind = machine.random() % 8;
      // Absent, large, reserved bits of a last table; else a table or a page.
      const flags = kind === 0 ? 0n : kind === 1 ? 0x81n : kind === 2 ? 0x1003n : 7n;
      machine.writeEntry(
        table * tableBytes + index * 8,
        target | flags | (BigInt(machine.random() & 1) << 63n),
      );
    }
  }
  return machine;
}

describe("generated code", () => {
  it("or not: columns are translated as a walk entry by entry does, whatever the size of tables", () => {
    fc.assert(
      fc.property(
        fc.integer(),
        fc.constantFrom(
          { mmu: GRANULE_64, tableBytes: 65_536, shifts: [29n, 16n] },
          { mmu: GRANULE_16, tableBytes: 16_384, shifts: [36n, 25n, 14n] },
        ),
        fc.constantFrom(1, 3, 40),
        fc.constantFrom(1, Number.MAX_SAFE_INTEGER),
        fc.array(fc.tuple(fc.nat(63), fc.nat(65_535), fc.boolean()), { minLength: 1, maxLength: 40 }),
        (seed, { mmu, tableBytes, shifts }, tables, compileAfter, raw) => {
          const indices = [0, 1, 7, 15];
          const machine = ram(seed, tableBytes, 6, indices);
          const addresses = raw.map(([path, offset, wrong]) =>
            shifts.reduce(
              (address, shift, i) => address | (BigInt(indices[(path >> (2 * i)) & 3] as number) << shift),
              (BigInt(offset) % (1n << (shifts.at(-1) as bigint))) | (wrong ? 1n << 60n : 0n),
            ),
          );
          const memory = new VirtualMemory(machine.inlineIo(new Scheduler()), {
            root: 0,
            mmu,
            tableCache: new TableCache({
              mmu,
              bytes: tables * (1.5 * tableBytes + 30),
              compileAfter,
              wasm: hostWasm,
            }),
          });
          const expected = addresses.map((address) => memory.walk(address).sync().result);
          for (let pass = 0; pass < 2; pass++) {
            const columns = memory.translateMany(BigUint64Array.from(addresses)).sync();
            expect(addresses.map((_, row) => columns.row(row))).toEqual(expected);
          }
          if (tables === 40) expect(memory.tableCache.compiled).toBe(compileAfter === 1);
        },
      ),
      { numRuns: 200 },
    );
  });

  it("of many blocks gives what the plain loop gives, also in blocks that are not full", () => {
    const machine = new DummyMachine({ frames: 400, seed: 5 });
    const random = randomBits(9);
    for (let page = 0; page < 300; page++) {
      if (page % 7 !== 0)
        machine.map(BigInt(page) << 12n, { writable: page % 2 === 0, user: page % 3 === 0 });
    }
    machine.map(0x8000_0000n, { global: true }, 3, 0x40_0000_0000);
    const io = machine.inlineIo(new Scheduler());
    const [code, loop] = [1, Number.MAX_SAFE_INTEGER].map(
      (compileAfter) =>
        new VirtualMemory(io, {
          root: machine.root,
          tableCache: new TableCache({ compileAfter, wasm: hostWasm }),
        }),
    ) as [VirtualMemory, VirtualMemory];
    for (const count of [1, 2047, 2048, 2049, 70_001]) {
      const addresses = BigUint64Array.from({ length: count }, () =>
        random() % 5 === 0 ? 0x8000_0000n + BigInt(random() >>> 3) : BigInt(random() % (310 * 4096)),
      );
      const [a, b] = [code, loop].map((memory) => memory.translateMany(addresses).sync());
      expect(a?.failed).toBe(b?.failed);
      for (const column of ["physical", "faults", "levels", "rights"] as const)
        expect(a?.[column].subarray(0, count)).toEqual(b?.[column].subarray(0, count));
    }
    expect([code.tableCache.compiled, loop.tableCache.compiled]).toEqual([true, false]);
  });

  it.each([1, Number.MAX_SAFE_INTEGER])(
    "asks about nothing unless it is told to (code after %d)",
    (compileAfter) => {
      const machine = new DummyMachine();
      machine.map(0x1000n);
      const tableCache = new TableCache({ wasm: hostWasm, compileAfter, bytes: 100_000 });
      const memory = new VirtualMemory(machine.inlineIo(new Scheduler()), { root: machine.root, tableCache });
      memory.translate(0x1000n).sync();
      const walker = tableCache.walker(compileMmu(X86_64), 1);
      const root = tableCache.find(machine.root);
      walker.addresses[0] = 1n << 40n;
      const links = tableCache.links.slice();
      expect([walker.walk(root, 1, false), walker.askedCount]).toEqual([1, 0]);
      expect(tableCache.links).toEqual(links);
    },
  );

  it("starts once it pays", () => {
    const machine = new DummyMachine();
    machine.map(0x1000n);
    const tableCache = new TableCache({ wasm: hostWasm });
    const memory = new VirtualMemory(machine.inlineIo(new Scheduler()), { root: machine.root, tableCache });
    const column = new BigUint64Array(40_000).fill(0x1000n);
    memory.translateMany(column).sync();
    expect(memory.tableCache.compiled).toBe(false);
    memory.translateMany(column).sync();
    expect(memory.tableCache.compiled).toBe(true);
  });

  it.each([
    ["there is no WebAssembly", undefined],
    ["code may not be compiled", { ...(hostWasm as Wasm), Module: Refused }],
    ["there is no memory", { ...(hostWasm as Wasm), Memory: Refused }],
  ])("if %s, the plain loop translates", (_, wasm) => {
    const machine = new DummyMachine({ seed: 3 });
    // A format of its own, so that no other test has compiled for it.
    const mmu = { ...X86_64 };
    const { physical } = machine.map(0x7000n);
    const tableCache = new TableCache({ compileAfter: 1, wasm });
    const memory = new VirtualMemory(machine.inlineIo(new Scheduler()), {
      root: machine.root,
      mmu,
      tableCache,
    });
    for (let pass = 0; pass < 2; pass++) {
      const columns = memory.translateMany(BigUint64Array.of(0x7123n, 0x9000n)).sync();
      expect([...columns.physical.subarray(0, 2)]).toEqual([physical + 0x123, -1]);
    }
    expect(tableCache.compiled).toBe(false);
  });
});

class Refused {
  readonly buffer = new ArrayBuffer(0);

  constructor() {
    throw new Error("refused by the page's policy");
  }
}

describe("tables that are fetched as a column", () => {
  /** 300 pages, each with a table of its own, over a source that takes its time. */
  function scattered(
    live = false,
    spoil: (machine: DummyMachine, addresses: readonly bigint[]) => void = () => {},
  ) {
    const machine = new DummyMachine({ frames: 700, seed: 2 });
    const addresses = Array.from({ length: 300 }, (_, i) => 0x1_0000_0000n + BigInt(i) * 0x20_0000n);
    for (const address of addresses) machine.fill(machine.map(address).physical);
    spoil(machine, addresses);
    const source = machine.sourceIo({ scheduler: new Scheduler(), turns: 2 });
    const tableCache = new TableCache({ compileAfter: 1, wasm: hostWasm });
    const memory = new VirtualMemory(source, { root: machine.root, live, tableCache });
    const value = (address: bigint) =>
      machine.readEntry((machine.pages.get(address >> 12n) as { physical: number }).physical);
    return { machine, addresses, source, memory, value };
  }

  it("are read once, whoever else asks for them in the same turn", async () => {
    const { addresses, source, memory, value } = scattered();
    const column = BigUint64Array.from(addresses);
    const [gathered, columns, word] = await all([
      memory.gather(column, 8),
      memory.translateMany(column),
      memory.read(u64, addresses[7] as bigint),
    ]);
    expect([...new BigUint64Array(gathered.bytes.buffer)]).toEqual(addresses.map(value));
    expect(columns.failed).toBe(0);
    expect(word).toBe(value(addresses[7] as bigint));
    // Root, one table, one table, 300 tables; 300 records and one.
    expect(source.counters.fragments).toBe(3 + 300 + 301);
    expect(source.counters.batches).toBe(5);
  });

  it("come to whoever waits for them, if all is forgotten meanwhile", async () => {
    const { addresses, memory, value } = scattered();
    const column = BigUint64Array.from(addresses);
    for (let turns = 0; turns < 40; turns++) {
      memory.flush();
      const gathered = memory.gather(column, 8).promise();
      const word = memory.read(u64, addresses[9] as bigint).promise();
      for (let turn = 0; turn < turns; turn++) await null;
      memory.flush();
      // These reuse slots, if any were given up too early.
      const others = memory.translateMany(column.slice(100)).promise();
      expect([...new BigUint64Array((await gathered).bytes.buffer)]).toEqual(addresses.map(value));
      expect(await word).toBe(value(addresses[9] as bigint));
      expect((await others).failed).toBe(0);
    }
  });

  it("of live memory serve overlapping requests, each with what it asked for", async () => {
    const { addresses, memory, value } = scattered(true);
    const running: Promise<unknown>[] = [];
    for (let i = 0; i < 30; i++) {
      const some = addresses.slice(i, i + 100);
      const check = async () => {
        const { bytes, failed } = await memory.gather(BigUint64Array.from(some), 8);
        expect(failed.length).toBe(0);
        expect([...new BigUint64Array(bytes.buffer)]).toEqual(some.map(value));
      };
      running.push(check());
      for (let turn = 0; turn < i % 7; turn++) await null;
    }
    await Promise.all(running);
  });

  it("that can't be read cost only what they translate", async () => {
    const { machine, addresses, memory, source } = scattered(false, (machine, addresses) => {
      const tableOf = (i: number) =>
        Number(machine.readEntry(machine.entryAt(addresses[i] as bigint, 2)) & 0xffff_ffff_f000n);
      // The table of page 5 is gone, that of page 6 in part: its second half.
      for (let at = 0; at < 4096; at += 512) machine.missing.add(tableOf(5) + at);
      for (let at = 2048; at < 4096; at += 512) machine.missing.add(tableOf(6) + at);
    });
    const column = BigUint64Array.from([...addresses, (addresses[6] as bigint) + 0x1ff000n]);
    const columns = await memory.translateMany(column);
    expect(columns.failed).toBe(2);
    expect(columns.row(5)).toMatchObject({ state: "table-missing", level: 1, cause: "outside" });
    expect(columns.row(300)).toMatchObject({ state: "table-missing", level: 1, cause: "outside" });
    expect(columns.row(6)).toMatchObject({
      physical: machine.pages.get((addresses[6] as bigint) >> 12n)?.physical,
    });
    expect(source.counters.batches).toBe(4);
    // They are known as such.
    const { fragments } = source.counters;
    expect((await memory.translateMany(column)).failed).toBe(2);
    expect(source.counters.fragments).toBe(fragments);
  });

  it("take a place that was given up, and leave it when their request is abandoned", async () => {
    const { addresses, memory, value } = scattered();
    const controller = new AbortController();
    const given = readInto(memory, addresses[0] as bigint, new Uint8Array(8), {
      signal: controller.signal,
    }).promise();
    const gathered = memory
      .gather(BigUint64Array.from(addresses), 8, undefined, { signal: controller.signal })
      .promise();
    await null;
    controller.abort();
    await expect(given).rejects.toThrow();
    await gathered.catch(() => undefined);
    for (let i = 0; i < 40; i++) await null;
    const again = await memory.gather(BigUint64Array.from(addresses), 8);
    expect([...new BigUint64Array(again.bytes.buffer)]).toEqual(addresses.map(value));
  });
});
