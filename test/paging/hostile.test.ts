import { describe, expect, it, vi } from "vitest";
import { type BoundView, fault, layer, MemoryIo, readPartial, Scheduler } from "../../src/io/index.js";
import { PhysicalMap, PhysicalMemory } from "../../src/memory/index.js";
import {
  aarch64,
  type MmuDef,
  type RunColumns,
  TableCache,
  VirtualMemory,
  X86_64,
} from "../../src/paging/index.js";
import { TableFetch } from "../../src/paging/tables/table-fetch.js";
import { Tlb } from "../../src/paging/tables/tlb.hot.js";
import { DummyMachine } from "../support/dummy-machine.js";

it("flush() over a page cache that holds the table's page", async () => {
  const machine = new DummyMachine({ frames: 32 });
  machine.map(0x1000n);
  const second = machine.frame();
  const at = machine.entryAt(0x1000n, 1);
  const physical = new PhysicalMemory(machine.sourceIo(), {
    map: PhysicalMap.single(0, machine.bytes.length),
  });
  const memory = new VirtualMemory(physical, { root: machine.root });
  await physical.read(at, 8);
  await memory.translate(0x1000n);
  machine.writeEntry(at, BigInt(second) | 7n);
  memory.flush();
  expect(await memory.translate(0x1000n)).toMatchObject({ physical: second });
});

it("links of one format do not poison another's after a view that waited", async () => {
  // Bit 1 grants the right to write when it is clear.
  const other: MmuDef = {
    ...X86_64,
    name: "other",
    rights: X86_64.rights.map((rule) => (rule.right === "writable" ? { ...rule, when: "clear" } : rule)),
  };
  const machine = new DummyMachine({ frames: 64 });
  machine.map(0x1000n, { writable: false });
  machine.writeEntry(machine.root, machine.readEntry(machine.root) & ~2n);
  const tableCache = new TableCache();
  const scheduler = new Scheduler();
  const source = machine.sourceIo({ scheduler, turns: 2 });
  const b = new VirtualMemory(source, { root: machine.root, tableCache, mmu: other });
  const expected = await b.translate(0x1000n);
  expect(expected).toMatchObject({ writable: false });
  const root = machine.frame();
  machine.writeEntry(root, machine.readEntry(machine.root));
  const a = new VirtualMemory(source, { root, tableCache });
  // a's view waits for its root; b begins a request, so links are b's; a's view goes on, and makes some.
  const reading = readPartial(a, 0x1000n, 8).promise();
  await b.translate(1n << 50n);
  await reading;
  expect(await b.translate(0x1000n)).toEqual(expected);
});

it("generation of the TLB wraps", () => {
  const tlb = new Tlb(16);
  tlb.insert(4096, 0x1000, 0, 1, 15, 0, 7, 0);
  tlb.flush();
  expect(tlb.find(4096, 0x1000, 0)).toBe(false);
});

it("a subarray at an odd place, and a shared buffer", () => {
  const machine = new DummyMachine({ frames: 64 });
  const { physical } = machine.map(0x1000n);
  const memory = new VirtualMemory(machine.inlineIo(new Scheduler()), { root: machine.root });
  const all = BigUint64Array.of(5n, 0x1008n, 7n);
  expect(memory.translateMany(all.subarray(1, 2)).sync().physical[0]).toBe(physical + 8);
});

it("self-mapping root", () => {
  const machine = new DummyMachine({ frames: 64 });
  machine.writeEntry(machine.root + 8 * 0x1ed, BigInt(machine.root) | 3n | (1n << 63n));
  machine.map(0x1000n, { writable: false, user: false });
  const memory = new VirtualMemory(machine.inlineIo(new Scheduler()), { root: machine.root });
  const self = 0xffff_f6fb_7dbe_d000n;
  for (let i = 0; i < 3; i++) {
    expect(memory.translate(self + 8n).sync()).toMatchObject({
      physical: machine.root + 8,
      executable: false,
      user: false,
    });
    expect(
      memory
        .translateMany(BigUint64Array.of(self + 8n, 0x1000n, 0xffff_f680_0000_0008n))
        .sync()
        .row(2),
    ).toMatchObject({ executable: false, user: false, writable: false || true });
    expect(memory.translate(0x1000n).sync()).toMatchObject({ writable: false, executable: true });
  }
});

it("a layer that throws in sendIo: those who come later are not left waiting", async () => {
  const machine = new DummyMachine({ frames: 32 });
  const { physical } = machine.map(0x1000n);
  const inner = machine.inlineIo(new Scheduler());
  let bad = true;
  const io = {
    scheduler: inner.scheduler,
    sendIo(at: number, view: never) {
      if (bad) throw new Error("bug");
      inner.sendIo(at, view);
    },
  };
  const memory = new VirtualMemory(io as never, { root: machine.root });
  // For whoever asked, the table could not be read.
  expect(memory.translate(0x1000n).sync()).toMatchObject({ state: "table-missing", level: 4 });
  bad = false;
  expect(await memory.translate(0x1000n)).toMatchObject({ physical });
});

it("not-present in the middle of a 65,536+ column, MAX_PENDING, many tables", async () => {
  const machine = new DummyMachine({ frames: 16 });
  machine.map(0x1000n);
  // Every level 2 entry to the same level 1 table.
  const l2 = machine.entryAt(0x1000n, 2);
  const e = machine.readEntry(l2);
  const base = l2 - (l2 % 4096);
  for (let i = 0; i < 512; i++) machine.writeEntry(base + 8 * i, e);
  const source = machine.sourceIo({ scheduler: new Scheduler(), turns: 2 });
  const memory = new VirtualMemory(source, {
    root: machine.root,
    tableCache: new TableCache({ bytes: 6174 }),
  });
  const n = 150_000;
  const column = BigUint64Array.from(
    { length: n },
    (_, i) =>
      BigInt(i % 512) * 0x20_0000n + (i % 5 === 0 ? 0x2000n : 0x1000n) + (i % 7 === 0 ? 1n << 50n : 0n),
  );
  const out = await memory.translateMany(column);
  const p = machine.readEntry(machine.entryAt(0x1000n, 1)) & 0xffff_f000n;
  for (let i = 0; i < n; i++) {
    const want = i % 7 === 0 ? -1 : i % 5 === 0 ? -1 : Number(p);
    if (out.physical[i] !== want) throw new Error(`${i} ${out.physical[i]} ${want}`);
  }
});
void fault;

it("runs() call by call through tables that lead to each other comes to an end, and then says malformed", () => {
  // 300 tables, of which more are visited in a call than there are: no call alone sees that it goes round.
  const frames = 300;
  const machine = new DummyMachine({ frames });
  for (let table = 0; table < frames; table++) {
    for (let index = 0; index < 512; index++) {
      machine.writeEntry(
        table * 4096 + 8 * index,
        BigInt(((table * 7 + index * 11 + 1) % frames) * 4096) | 7n,
      );
    }
  }
  const memory = new VirtualMemory(machine.inlineIo(new Scheduler()), { root: 0 });
  const end = 1n << 64n;
  let runs: RunColumns | undefined;
  let calls = 0;
  let last: unknown;
  for (let at = 0n; at < end && calls < 200; at = runs.end) {
    runs = memory.runs({ start: at, end }, runs).sync();
    last = runs.row(runs.length - 1);
    calls++;
  }
  expect(runs?.end).toBe(end);
  expect(last).toMatchObject({ end, state: "malformed" });
  // From the beginning, it is as new.
  const again = memory.runs({ start: 0n, end: 0x1000n }, runs).sync();
  expect(again.row(0)).toMatchObject({ start: 0n, end: 0x1000n, pageSize: 4096 });
});

it("tables of 64 KiB that point to hundreds of others are fetched as there is need of them, each once", () => {
  const size = 65_536;
  const tables = 600;
  let bytes = 0;
  // The root at 0, and behind it the tables that it points to, of one page each.
  const io = layer<number>(new Scheduler(), (address, view: BoundView) => {
    const out = new Uint8Array(view.length);
    const words = new DataView(out.buffer);
    for (let at = 0; at < view.length; at += 8) {
      const [table, index] = [Math.floor((address + at) / size), ((address + at) % size) / 8];
      const entry =
        table === 0 ? (index < tables ? (index + 1) * size : 0) : index === 0 ? 2 * table * size : 0;
      if (entry !== 0) words.setBigUint64(at, BigInt(entry) | 0x403n, true);
    }
    bytes += view.length;
    view.transfer(out);
  });
  const memory = new VirtualMemory(io, { root: { lower: 0 }, mmu: aarch64({ granule: size, bits: 42 }) });
  const physical: number[] = [];
  for (const run of memory.maps().sync()) {
    if (physical.length === 0) expect(bytes).toBeLessThan(16 * 2 ** 20);
    physical.push("physical" in run ? run.physical : -1);
  }
  expect(physical).toEqual(Array.from({ length: tables }, (_, i) => 2 * (i + 1) * size));
  expect(bytes).toBe((tables + 1) * size);
});

describe("a column whose rows all lead to tables of 64 KiB of their own", () => {
  const size = 65_536;
  const rows = 3000;

  /** The root at 0; its last entry can't be read if it is `partly` readable. Answers when the flush comes. */
  function spaceOf(isPartly: boolean) {
    const scheduler = new Scheduler();
    const asked: (() => void)[] = [];
    const most = { tables: 0 };
    const drain = {
      name: "tables",
      flush() {
        most.tables = Math.max(most.tables, asked.length);
        for (const answer of asked.splice(0)) answer();
        return true;
      },
    };
    const physical = layer<number>(scheduler, (address, view: BoundView) => {
      const fill = (part: BoundView, from: number) => {
        const out = new DataView(new ArrayBuffer(part.length));
        for (let at = 0; at < part.length; at += 8) {
          const [table, index] = [Math.floor((from + at) / size), ((from + at) % size) / 8];
          const entry = table === 0 ? (index + 1) * size : index === 0 ? (10_000 + table) * size : 0;
          if (entry !== 0) out.setBigUint64(at, BigInt(entry) | 0x403n, true);
        }
        part.transfer(new Uint8Array(out.buffer));
      };
      view.keep();
      if (asked.length === 0) scheduler.enqueue(drain);
      asked.push(() => {
        if (!isPartly || address !== 0) return fill(view, address);
        view.split(size - 8).fail(fault("io", "memory", "application"));
        fill(view, address);
      });
    });
    const memory = new VirtualMemory(physical, {
      root: { lower: 0 },
      mmu: aarch64({ granule: size, bits: 42 }),
      tableCache: new TableCache({ mmu: aarch64({ granule: size, bits: 42 }), bytes: 40 * 98_304 }),
    });
    return { memory, most };
  }

  it.each([
    ["whole", false],
    ["read in part", true],
  ])("has 32 MiB of them in hand at a time, or twice that, not all (the root: %s)", (_, isPartly) => {
    const { memory, most } = spaceOf(isPartly);
    const addresses = BigUint64Array.from({ length: rows }, (_one, i) => (BigInt(i) << 29n) + 5n);
    const columns = memory.translateMany(addresses).sync();
    for (let i = 0; i < rows; i++) expect(columns.physical[i]).toBe((10_001 + i) * size + 5);
    expect(most.tables).toBeGreaterThan(256);
    expect(most.tables).toBeLessThanOrEqual(1024);
  });
});

it("rows that must wait for room at cached tables hold copies of so many of these as may be fetched, too, at a time", () => {
  // Of each table the first entry leads on: from the root over 60 tables to 30,720, each of which has one of its own below.
  const [first, second, third, page] = [2, 1000, 100_000, 1_000_000];
  const rows = 60 * 512;
  const entryOf = (table: number, index: number): number => {
    if (table === 1) return index < 60 ? first + index : 0;
    if (table < second) return second + (table - first) * 512 + index;
    if (table < third) return index === 0 ? third + table - second : 0;
    return index === 0 ? page + table - third : 0;
  };
  let copies = 0;
  let most = 0;
  const physical = layer<number>(new Scheduler(), (address, view: BoundView) => {
    // (They are made before the tables of a round are sent for.)
    most = Math.max(most, copies);
    copies = 0;
    const out = new DataView(new ArrayBuffer(view.length));
    for (let at = 0; at < view.length; at += 8) {
      const next = entryOf(Math.floor((address + at) / 4096), ((address + at) % 4096) / 8);
      if (next !== 0) out.setBigUint64(at, (BigInt(next) * 4096n) | 7n, true);
    }
    view.transfer(new Uint8Array(out.buffer));
  });
  const tableCache = new TableCache({ bytes: 2 ** 28 });
  const memory = new VirtualMemory(physical, { root: 4096, tableCache });
  const columnOf = (offset: bigint) =>
    BigUint64Array.from({ length: rows }, (_, i) => (BigInt(i) << 30n) + offset);
  // All but the last tables are cached.
  memory.translateMany(columnOf(1n << 21n)).sync();
  const original = TableFetch.copyOf;
  const copyOf = vi.spyOn(TableFetch, "copyOf").mockImplementation((...args) => {
    copies++;
    return original(...args);
  });
  const columns = memory.translateMany(columnOf(0n)).sync();
  copyOf.mockRestore();
  for (let i = 0; i < rows; i++) expect(columns.physical[i]).toBe((page + i) * 4096);
  expect(most).toBeGreaterThan(0);
  expect(most).toBeLessThanOrEqual(8192);
});

it("a cache keeps as many bytes of spare and of broken tables, whatever their size", () => {
  const sizes = [
    [X86_64, 1024],
    [aarch64({ granule: 65_536, bits: 42 }), 64],
  ] as const;
  for (const [mmu, most] of sizes) {
    const cache = new TableCache({ mmu });
    const given = Array.from({ length: most + 50 }, () => new Uint32Array(cache.tableWords));
    for (const words of given) cache.giveMemory(words);
    const spare = new Set<Uint32Array>(given);
    let again = 0;
    while (spare.delete(cache.takeMemory())) again++;
    expect(again).toBe(most);

    // A root that leads to tables beyond all memory.
    const { storedBytes } = cache;
    const bytes = new Uint8Array(2 * storedBytes);
    const view = new DataView(bytes.buffer);
    const count = storedBytes / 8;
    const root = mmu === X86_64 ? storedBytes : { lower: storedBytes };
    for (let i = 0; i < count; i++)
      view.setBigUint64(storedBytes + 8 * i, (BigInt(i) << 20n) | (1n << 40n) | 3n, true);
    const memory = new VirtualMemory(new MemoryIo(bytes, { scheduler: new Scheduler() }), {
      mmu,
      root,
      tableCache: cache,
    });
    const shift = mmu === X86_64 ? 39n : 29n;
    const half = BigUint64Array.from({ length: Math.min(count / 2, 1500) }, (_, i) => BigInt(i) << shift);
    const columns = memory.translateMany(half).sync();
    expect(columns.row(half.length - 1)).toMatchObject({ state: "table-missing" });
    expect(cache.broken.size).toBe(Math.min(most, half.length));
  }
});
