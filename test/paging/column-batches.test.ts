/** How few batches it takes, whatever others do meanwhile: one a level, and one for what is read. */
import { describe, expect, it } from "vitest";
import { hostWasm } from "../../connectors/host-wasm.js";
import { all, type Io, Scheduler, type SourceIo } from "../../src/io/index.js";
import type { Gathered } from "../../src/memory/index.js";
import {
  type MmuDef,
  TableCache,
  type TranslationColumns,
  VirtualMemory,
  X86_64,
} from "../../src/paging/index.js";
import { DummyMachine, randomBits } from "../support/dummy-machine.js";

/** Bytes of one table in a cache, and of what belongs to it. */
const TABLE = 6174;
const LEVELS = 4;

const cacheOf = (tables: number, compileAfter: number) =>
  new TableCache({ compileAfter, wasm: hostWasm, bytes: tables * TABLE });

/** Addresses whose pages share tables of each level, with rights of their own; some tables can't be read, or only in part. */
function mapped(machine: DummyMachine, random: () => number, count: number, broken: boolean): bigint[] {
  const some = (options: number) => BigInt((random() >>> 5) % options);
  const addresses = new Set<bigint>();
  for (let i = 0; i < count; i++) {
    const address = (some(3) << 39n) | (some(3) << 30n) | (some(4) << 21n) | (some(512) << 12n);
    if (!addresses.has(address)) machine.map(address);
    addresses.add(address);
  }
  const list = [...addresses];
  for (const address of list) {
    const entry = machine.entryAt(address, 1 + (random() % 4));
    const withheld = [0n, 2n, 4n][random() % 3] as bigint;
    machine.writeEntry(entry, machine.readEntry(entry) & ~withheld);
  }
  for (let i = 0; broken && i < 4; i++) {
    const table = machine.entryAt(list[random() % list.length] as bigint, 1 + (random() % 3)) & ~4095;
    machine.lose(table + 512 * (random() % 8), 512 * (1 + (random() % 8)));
  }
  return list;
}

/** By itself, and at once. */
const aloneOn = (machine: DummyMachine) =>
  new VirtualMemory(machine.inlineIo(new Scheduler()), { root: machine.root });

/** What walks entry by entry say of each address. */
async function truth(machine: DummyMachine, addresses: readonly bigint[]): Promise<Map<bigint, unknown>> {
  const memory = aloneOn(machine);
  const results = new Map<bigint, unknown>();
  for (const address of addresses) results.set(address, (await memory.walk(address)).result);
  return results;
}

/** Begins requests together. @returns their results, and how many batches had been asked for when the last one came. */
async function together(source: SourceIo, requests: readonly Io<unknown>[]) {
  const before = source.counters.batches;
  const results = await Promise.all(requests.map((request) => request.promise()));
  return { results, batches: source.counters.batches - before };
}

describe.each([
  ["generated code", 1],
  ["the plain loop", Number.MAX_SAFE_INTEGER],
])("under %s", (_, compileAfter) => {
  it("requests begun together take no more, however few tables there is room for", async () => {
    const most = { cold: 0, warm: 0 };
    for (let seed = 1; seed <= 400; seed++) {
      const random = randomBits(seed);
      const pick = (list: readonly bigint[], count: number) =>
        BigUint64Array.from({ length: count }, () => list[random() % list.length] as bigint);
      const machine = new DummyMachine({ frames: 1024, seed });
      const addresses = mapped(machine, random, 40, seed % 2 === 0);
      const expected = await truth(machine, addresses);
      const source = machine.sourceIo({ scheduler: new Scheduler(), turns: 1 });
      const tables = [1, 2, 3, 5, 9, 20, 100][random() % 7] as number;
      const memory = new VirtualMemory(source, {
        root: machine.root,
        tableCache: cacheOf(tables, compileAfter),
      });
      const isWarm = random() % 2 === 0;
      if (isWarm) await memory.translateMany(pick(addresses, 8));
      const columns = Array.from({ length: 1 + (random() % 3) }, () => pick(addresses, 10));
      const translations = columns.map((column) => memory.translateMany(column));
      const records = pick(addresses, 10);
      const others: readonly Io<unknown>[] = [
        memory.gather(records, 8),
        ...Array.from(pick(addresses, 10), (address) => memory.readPartial(address, 16)),
        memory.translate(addresses[0] as bigint),
      ];
      const { results, batches } = await together(source, [
        ...translations,
        ...others.slice(0, random() % (others.length + 1)),
      ]);
      const gathered = results[translations.length] as Gathered | undefined;
      if (gathered !== undefined) {
        const { bytes, failed, faults } = aloneOn(machine).gather(records, 8).sync();
        expect(gathered).toMatchObject({ bytes, failed, faults });
      }
      const label = isWarm ? "warm" : "cold";
      most[label] = Math.max(most[label], batches);
      for (const [i, column] of columns.entries()) {
        for (const [row, address] of column.entries()) {
          const result = (results[i] as TranslationColumns).row(row);
          expect(result, `seed ${seed}, 0x${address.toString(16)}`).toEqual(expected.get(address));
        }
      }
    }
    expect(most).toEqual({ cold: LEVELS + 1, warm: LEVELS + 1 });
  });

  it("requests that begin while others wait, and all is forgotten, wait no longer than by themselves", async () => {
    // A batch takes so many microtasks; what goes on between two of them takes some, too.
    const [batch, between] = [400, 40];
    for (let seed = 1; seed <= 150; seed++) {
      const random = randomBits(seed);
      const machine = new DummyMachine({ frames: 1024, seed });
      const addresses = mapped(machine, random, 40, seed % 2 === 0);
      const tables = [1, 2, 3, 5, 9, 20, 100][random() % 7] as number;
      const memory = new VirtualMemory(machine.sourceIo({ scheduler: new Scheduler(), turns: batch }), {
        root: machine.root,
        tableCache: cacheOf(tables, compileAfter),
      });
      const starts = Array.from({ length: 5 }, () => (random() % 4) * 150);
      const flushes = Array.from({ length: random() % 3 }, () => random() % 2500);
      const ends: number[] = [];
      for (let now = 0; ends.length < starts.length; now++) {
        for (const start of starts) {
          if (start !== now) continue;
          const column = BigUint64Array.from(
            { length: 10 },
            () => addresses[random() % addresses.length] as bigint,
          );
          const isRead = random() % 2 === 0;
          const request: Io<unknown> = isRead ? memory.gather(column, 8) : memory.translateMany(column);
          void request.promise().then(() => {
            ends.push((now - start) / (isRead ? LEVELS + 1 : LEVELS));
          });
        }
        if (flushes.includes(now)) memory.flush();
        await null;
      }
      expect(Math.max(...ends), `seed ${seed}`).toBeLessThan(batch + between);
    }
  });

  it.each([1, 2, 3, 4])(
    "what is forgotten during batch %d, and makes room for other tables, costs no more",
    async (during) => {
      for (const live of [false, true]) {
        const machine = new DummyMachine({ frames: 512, seed: 3 });
        const addresses = mapped(machine, randomBits(3), 16, false);
        const scheduler = new Scheduler();
        const source = machine.sourceIo({ scheduler, turns: 40 });
        const options = { root: machine.root, live, tableCache: cacheOf(300, compileAfter) };
        const memory = new VirtualMemory(source, options);
        // Where the one has an address, the other has the next 512 GiB; it is read apart, to be counted apart.
        const root = machine.frame();
        for (let i = 0; i < 4; i++) {
          machine.writeEntry(root + 8 * i, machine.readEntry(machine.root + 8 * ((i + 1) % 4)));
        }
        const other = new VirtualMemory(machine.sourceIo({ scheduler, turns: 2 }), { ...options, root });
        const expected = await truth(machine, addresses);
        const column = BigUint64Array.from(addresses);
        const running = memory.translateMany(column).promise();
        while (source.counters.batches < during) await null;
        const { generation } = options.tableCache;
        if (!live) memory.flush();
        await other.translateMany(column);
        expect(options.tableCache.generation).toBeGreaterThan(generation);
        const columns = await running;
        expect(source.counters.batches).toBeLessThanOrEqual(LEVELS);
        for (const [row, address] of addresses.entries())
          expect(columns.row(row)).toEqual(expected.get(address));
      }
    },
  );

  it("what is forgotten while a part of a long column waits leaves nothing behind for the rest", async () => {
    const machine = new DummyMachine({ frames: 512, seed: 3 });
    const addresses = mapped(machine, randomBits(3), 40, false);
    const expected = await truth(machine, addresses);
    const scheduler = new Scheduler();
    const source = machine.sourceIo({ scheduler, turns: 100 });
    const options = { root: machine.root, tableCache: cacheOf(300, compileAfter) };
    const memory = new VirtualMemory(source, options);
    const quick = new VirtualMemory(machine.sourceIo({ scheduler, turns: 2 }), options);
    const ascending = BigUint64Array.from(addresses).sort();
    const long = BigUint64Array.from(
      { length: 140_000 },
      (_, i) => ascending[i % ascending.length] as bigint,
    );
    const running = memory.translateMany(long).promise();
    while (source.counters.batches < 3) await null;
    memory.flush();
    // Descending: tables get each other's places.
    await all(Array.from(ascending, (address) => quick.translate(address)).reverse());
    expect(source.counters.batches).toBe(3);
    const columns = await running;
    for (const start of [0, 70_000, 140_000 - addresses.length]) {
      for (let row = start; row < start + addresses.length; row++)
        expect(columns.row(row)).toEqual(expected.get(long[row] as bigint));
    }
  });

  it.each([1, 2, 3])(
    "tables that entries share cost no more if all is forgotten during batch %d",
    async (during) => {
      const machine = new DummyMachine({ frames: 512 });
      const at = (entry: number, page: number) =>
        (BigInt(entry) << 39n) | (5n << 30n) | (BigInt(page) << 21n);
      for (let page = 0; page < 4; page++) machine.map(at(1, page));
      machine.writeEntry(machine.root + 16, machine.readEntry(machine.root + 8));
      const source = machine.sourceIo({ scheduler: new Scheduler(), turns: 40 });
      const memory = new VirtualMemory(source, {
        root: machine.root,
        tableCache: cacheOf(300, compileAfter),
      });
      // From the first entry, the way down to the shared table is known.
      const beside = (1n << 39n) | (9n << 30n);
      await memory.translate(beside);
      await memory.translate(beside);
      const { batches } = source.counters;
      const column = BigUint64Array.of(
        at(1, 0),
        at(2, 1),
        at(1, 2),
        at(2, 3),
        at(1, 0) | 16n,
        at(2, 3) | 16n,
      );
      const running = memory.gather(column, 8).promise();
      while (source.counters.batches < batches + during) await null;
      memory.flush();
      expect((await running).failed.length).toBe(0);
      // Two levels were there.
      expect(source.counters.batches - batches).toBe(LEVELS + 1 - 2);
    },
  );

  it("what is forgotten while hundreds of tables come leaves each page its rights", async () => {
    const machine = new DummyMachine({ frames: 2000, seed: 3 });
    const random = randomBits(3);
    const addresses = Array.from({ length: 700 }, (_, i) => BigInt(i) << 21n);
    for (const address of addresses) {
      machine.map(address);
      const entry = machine.entryAt(address, 2);
      machine.writeEntry(entry, machine.readEntry(entry) & ~([0n, 2n, 4n][random() % 3] as bigint));
    }
    for (const address of addresses.slice(0, 300)) {
      if (random() % 3 === 0) machine.lose(machine.entryAt(address, 1) & ~4095);
    }
    const expected = await truth(machine, addresses);
    const source = machine.sourceIo({ scheduler: new Scheduler(), turns: 4 });
    const memory = new VirtualMemory(source, {
      root: machine.root,
      tableCache: cacheOf(2000, compileAfter),
    });
    const running = memory.translateMany(BigUint64Array.from(addresses)).promise();
    while (source.counters.batches < LEVELS) await null;
    memory.flush();
    const columns = await running;
    for (const [row, address] of addresses.entries()) expect(columns.row(row)).toEqual(expected.get(address));
  });

  it.each([1, 2, 3, 4])(
    "a table that is its own next one costs no more if all is forgotten during batch %d",
    async (during) => {
      const machine = new DummyMachine({ frames: 512 });
      const address = 5n << 39n;
      machine.map(address);
      machine.writeEntry(machine.root + 510 * 8, BigInt(machine.root) | 7n);
      // By way of entry 510, the root is a table of the next level, whose tables are those of the level after that.
      const itself = 0xffff_0000_0000_0000n | (510n << 39n) | (5n << 30n);
      const source = machine.sourceIo({ scheduler: new Scheduler(), turns: 40 });
      const memory = new VirtualMemory(source, {
        root: machine.root,
        tableCache: cacheOf(300, compileAfter),
      });
      const column = BigUint64Array.of(
        address,
        itself,
        itself | 8n,
        itself | 16n,
        address | 8n,
        itself | 24n,
      );
      const running = memory.gather(column, 8).promise();
      while (source.counters.batches < during) await null;
      memory.flush();
      expect((await running).failed.length).toBe(0);
      expect(source.counters.batches).toBe(LEVELS + 1);
    },
  );
});

it("more bits of an address than any processor has are told apart", async () => {
  const mmu: MmuDef = {
    ...X86_64,
    name: "63 bits",
    splits: [6, 9, 9, 9, 9, 9, 12],
    entryNames: ["a", "b", "c", "d", "e", "f"],
    reserved: [],
  };
  const machine = new DummyMachine({ frames: 64 });
  // A chain of tables for each of two root entries, and a page at its end.
  const pages = [1, 2].map((index) => {
    let entry = machine.root + 8 * index;
    let next = 0;
    for (let level = 6; level > 0; level--) {
      next = machine.frame();
      machine.writeEntry(entry, BigInt(next) | 7n);
      entry = next;
    }
    return next;
  });
  const source = machine.sourceIo({ scheduler: new Scheduler(), turns: 20 });
  const memory = new VirtualMemory(source, { root: machine.root, mmu, tableCache: cacheOf(300, 1) });
  const running = memory.translateMany(BigUint64Array.of(1n << 57n, 2n << 57n)).promise();
  while (source.counters.batches < 2) await null;
  memory.flush();
  expect([...(await running).physical.subarray(0, 2)]).toEqual(pages);
});
