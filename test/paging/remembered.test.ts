import { expect, it } from "vitest";
import { all, fault, readInto, readPartial, Scheduler, SourceIo } from "../../src/io/index.js";
import { PhysicalMap, PhysicalMemory, u64 } from "../../src/memory/index.js";
import { type PageTableOptions, TableCache, VirtualMemory } from "../../src/paging/index.js";
import { DummyMachine } from "../support/dummy-machine.js";

/** Bytes of one table in a cache, and of what belongs to it. */
const TABLE = 6174;
const PAGES = 200;

/** Pages with a last table each; every fourth is absent, and every tenth has a table outside RAM. */
function scattered() {
  const machine = new DummyMachine({ frames: 3 * PAGES, seed: 3 });
  const addresses = Array.from({ length: PAGES }, (_, i) => BigInt(i) * 0x20_0000n + 0x5123n);
  addresses.forEach((address, i) => {
    const page = address & ~0xfffn;
    if (i % 10 === 0) machine.writeEntry(machine.entryAt(page, 2), BigInt(2 ** 40 + i * 4096) | 7n);
    else if (i % 4 === 0) machine.writeEntry(machine.entryAt(page, 1), BigInt(i) << 12n);
    else machine.map(page, { writable: i % 3 === 0 });
  });
  return { machine, addresses };
}

function smallCache(translations?: number): TableCache {
  return new TableCache({ bytes: 8 * TABLE, ...(translations === undefined ? {} : { translations }) });
}

it("pages and failures whose tables made room for others cost no fetch of them again", async () => {
  const { machine, addresses } = scattered();
  const column = BigUint64Array.from(addresses);
  for (const turns of [undefined, 2]) {
    const source = machine.sourceIo(turns === undefined ? {} : { turns });
    const memory = new VirtualMemory(source, { root: machine.root, tableCache: smallCache() });
    const large = new VirtualMemory(source, { root: machine.root });
    const expected = await all(addresses.map((address) => large.translate(address)));
    const first = await memory.translateMany(column);
    expect(addresses.map((_, i) => first.row(i))).toEqual(expected);
    const { fragments } = source.counters;
    const again = await memory.translateMany(column);
    expect(addresses.map((_, i) => again.row(i))).toEqual(expected);
    expect(await all(addresses.map((address) => memory.translate(address)))).toEqual(expected);
    expect(source.counters.fragments).toBe(fragments);
    // Reads: one fragment for each page that is there, none for its tables.
    const reads = await all(addresses.map((address) => readPartial(memory, address, 8)));
    const mapped = expected.filter((each) => each.state === undefined).length;
    expect(source.counters.fragments).toBe(fragments + mapped);
    reads.forEach(({ holes }, i) => {
      expect(holes.map((hole) => hole.state)).toEqual(
        expected[i]?.state === undefined ? [] : [expected[i]?.state],
      );
    });
    // And what reads fetched serves translations.
    const reader = new VirtualMemory(source, { root: machine.root, tableCache: smallCache() });
    await all(addresses.map((address) => readPartial(reader, address, 8)));
    const before = source.counters.fragments;
    const found = addresses.filter((_, i) => expected[i]?.state !== "table-missing");
    const third = await reader.translateMany(BigUint64Array.from(found));
    expect(found.map((_, i) => third.row(i))).toEqual(
      expected.filter((each) => each.state !== "table-missing"),
    );
    expect(source.counters.fragments).toBe(before);
  }
});

it("without room for translations, tables are fetched again", async () => {
  const { machine, addresses } = scattered();
  const source = machine.sourceIo();
  const memory = new VirtualMemory(source, { root: machine.root, tableCache: smallCache(0) });
  const column = BigUint64Array.from(addresses);
  await memory.translateMany(column);
  const { fragments } = source.counters;
  await memory.translateMany(column);
  expect(source.counters.fragments).toBeGreaterThan(fragments + PAGES / 2);
});

it("roots that share a cache keep their translations apart", async () => {
  const machine = new DummyMachine({ frames: 64 });
  const roots = [machine.root, machine.frame()];
  const pages = [machine.frame(), machine.frame()];
  // One entry of each root to a chain of its own.
  machine.map(0x1000n, {}, 1, pages[0] as number);
  const chain = [machine.frame(), machine.frame(), machine.frame()] as const;
  machine.writeEntry(roots[1] as number, BigInt(chain[0]) | 7n);
  machine.writeEntry(chain[0], BigInt(chain[1]) | 7n);
  machine.writeEntry(chain[1], BigInt(chain[2]) | 7n);
  machine.writeEntry(chain[2] + 8, BigInt(pages[1] as number) | 7n);
  const tableCache = new TableCache({ bytes: TABLE });
  const source = machine.sourceIo();
  const spaces = roots.map((root) => new VirtualMemory(source, { root, tableCache }));
  for (let round = 0; round < 5; round++) {
    for (const [i, space] of spaces.entries()) {
      expect(space.translate(0x1000n).sync()).toMatchObject({ physical: pages[i] });
      expect((await space.translateMany(BigUint64Array.of(0x1008n))).physical[0]).toBe(
        (pages[i] as number) + 8,
      );
    }
  }
});

/** A page whose entry changes under the cache's feet. */
function changing(options: Partial<PageTableOptions> = {}, turns = 1) {
  const machine = new DummyMachine({ frames: 32 });
  const first = machine.map(0x1000n).physical;
  const second = machine.frame();
  const source = machine.sourceIo({ scheduler: new Scheduler(), turns });
  const memory = new VirtualMemory(source, { root: machine.root, ...options });
  const change = (to: number) => machine.writeEntry(machine.entryAt(0x1000n, 1), BigInt(to) | 7n);
  const look = async () => {
    const { physical } = await memory.translateMany(BigUint64Array.of(0x1000n));
    const one = await memory.translate(0x1000n);
    expect(one).toMatchObject({ physical: physical[0] });
    return physical[0];
  };
  return { machine, first, second, source, memory, change, look };
}

it("flush forgets tables and translations", async () => {
  for (const tableCache of [new TableCache(), new TableCache({ bytes: TABLE })]) {
    const { first, second, memory, change, look } = changing({ tableCache });
    expect(await look()).toBe(first);
    change(second);
    expect(await look()).toBe(first);
    memory.flush();
    expect(await look()).toBe(second);
  }
});

it("writes to physical memory forget translations too", async () => {
  const machine = new DummyMachine({ frames: 32 });
  const first = machine.map(0x1000n).physical;
  const second = machine.frame();
  const at = machine.entryAt(0x1000n, 1);
  const map = PhysicalMap.single(0, machine.bytes.length);
  const physical = new PhysicalMemory(machine.sourceIo(), { map, cacheBytes: 0 });
  const tableCache = new TableCache({ bytes: TABLE });
  const memory = new VirtualMemory(physical, { root: machine.root, tableCache });
  for (let round = 0; round < 3; round++) {
    for (const page of [first, second]) {
      await physical.write(u64, at, BigInt(page) | 7n);
      expect(await memory.translate(0x1000n)).toMatchObject({ physical: page });
      expect((await memory.translateMany(BigUint64Array.of(0x1000n))).physical[0]).toBe(page);
    }
  }
});

it("live memory's tables and translations live as long as they may, by the caller's clock", async () => {
  let now = 1000;
  for (const tableCache of [new TableCache(), new TableCache({ bytes: TABLE })]) {
    const live = changing({ live: true, maxAge: 100, clock: () => now, tableCache });
    expect(await live.look()).toBe(live.first);
    live.change(live.second);
    now += 99;
    const { batches } = live.source.counters;
    expect(await live.look()).toBe(live.first);
    expect(live.source.counters.batches).toBe(batches);
    now += 1;
    expect(await live.look()).toBe(live.second);
    live.change(live.first);
    now += 50;
    expect(await live.look()).toBe(live.second);
    live.memory.flush();
    expect(await live.look()).toBe(live.first);
    // A clock that was set back tells no age.
    live.change(live.second);
    now -= 500;
    expect(await live.look()).toBe(live.second);
  }
});

it("without an age, live memory remembers nothing for the next request; an age that is none is refused", async () => {
  const { first, second, memory, change, look, machine } = changing({ live: true, clock: () => 0 });
  expect(await look()).toBe(first);
  change(second);
  expect(await look()).toBe(second);
  expect(memory.tableCache.tlb.find(memory.root, 0x1000, 0)).toBe(false);
  for (const maxAge of [-1, Number.NaN]) {
    expect(() => new VirtualMemory(machine.inlineIo(), { root: 0, maxAge })).toThrow(RangeError);
  }
});

it("what was walked before everything was forgotten is not remembered after it", async () => {
  for (const start of [
    (memory: VirtualMemory) => memory.translate(0x1000n).promise(),
    (memory: VirtualMemory) => memory.translateMany(BigUint64Array.of(0x1000n)).promise(),
    (memory: VirtualMemory) => readInto(memory, 0x1000n, 8).promise(),
  ]) {
    const { machine, second, source, memory, change } = changing({ tableCache: smallCache() }, 3);
    const under = start(memory);
    // Its last table has been read, or is about to be.
    while (source.counters.batches < 4) await null;
    change(second);
    memory.flush();
    await under;
    expect(memory.tableCache.tlb.find(machine.root, 0x1000, 0)).toBe(false);
    expect(await memory.translate(0x1000n)).toMatchObject({ physical: second });
  }
});

it("failures that may pass are not remembered", async () => {
  const machine = new DummyMachine({ frames: 32 });
  const page = machine.map(0x1000n).physical;
  const table = machine.entryAt(0x1000n, 1) - 8;
  let broken = true;
  const whole = machine.sourceIo();
  const source = new SourceIo({
    name: "flaky",
    supports: { write: false, live: false },
    ranges: () => machine.present(),
    transferSync(batch) {
      for (let row = 0; row < batch.length; row++) {
        const at = batch.address(row);
        if (broken && at <= table && table < at + (batch.lengths[row] as number))
          batch.status[row] = fault("io", "memory", "backend");
        else {
          batch.bytes(row).set(readPartial(whole, at, batch.lengths[row] as number).sync().bytes);
          batch.done(row);
        }
      }
    },
  });
  const memory = new VirtualMemory(source, { root: machine.root, tableCache: smallCache() });
  for (let i = 0; i < 2; i++) expect(memory.translate(0x1000n).sync().state).toBe("table-missing");
  broken = false;
  expect(memory.translate(0x1000n).sync()).toMatchObject({ physical: page });
});

it("translations allocate next to nothing for each page", () => {
  const { machine } = scattered();
  const memory = new VirtualMemory(machine.inlineIo(new Scheduler()), { root: machine.root });
  const column = BigUint64Array.from({ length: 50_000 }, (_, i) => BigInt(i % PAGES) * 0x20_0000n + 0x5008n);
  const columns = memory.translateMany(column).sync();
  const runs = memory.runs().sync();
  const pass = () => {
    memory.translateMany(column, columns).sync();
    memory.runs(undefined, runs).sync();
  };
  const use = () => {
    const { heapUsed, arrayBuffers } = process.memoryUsage();
    return heapUsed + arrayBuffers;
  };
  // Until V8 has compiled it.
  for (let i = 0; i < 5; i++) pass();
  const growths: number[] = [];
  for (let i = 0; i < 30; i++) {
    const before = use();
    pass();
    growths.push(use() - before);
  }
  // A pass in which V8 collects says nothing, and one in which it compiles is not the middle one. Garbage counts: a number
  // on the heap for each page would be 16 bytes.
  const grown = growths.filter((growth) => growth > 0).sort((a, b) => a - b);
  expect(grown.length).toBeGreaterThan(0);
  expect(grown[grown.length >> 1]).toBeLessThan(column.length * 3);
});
