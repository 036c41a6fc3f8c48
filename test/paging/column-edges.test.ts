import { describe, expect, it } from "vitest";
import { hostWasm } from "../../connectors/host-wasm.js";
import {
  all,
  type Batch,
  type BoundView,
  fault,
  Packet,
  type PacketIo,
  Scheduler,
  SourceIo,
  send,
  sendKept,
} from "../../src/io/index.js";
import { u64 } from "../../src/memory/index.js";
import { type MmuDef, TableCache, VirtualMemory, X86_64 } from "../../src/paging/index.js";
import { memorySource } from "../suite/memory-source.js";
import { DummyMachine, randomBits } from "../support/dummy-machine.js";

/** Bytes of one table in a cache, and of what belongs to it. */
const TABLE = 6174;
const NEVER = Number.MAX_SAFE_INTEGER;

function cacheOf(tables: number, compileAfter = 1): TableCache {
  return new TableCache({ compileAfter, wasm: hostWasm, bytes: tables * TABLE });
}

async function ticks(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await null;
}

/** How a promise ends, if it does soon. */
function fate(promise: Promise<unknown>): Promise<unknown> {
  const ended = promise.then(
    () => "ended",
    () => "threw",
  );
  return Promise.race([ended, ticks(2000).then(() => "hangs")]);
}

/** Groups of 60 pages, each page with a table of its own; every group under a root entry of its own. */
function groupsOf(machine: DummyMachine, count: number): bigint[][] {
  const groups = Array.from({ length: count }, (_, group) =>
    Array.from({ length: 60 }, (_, i) => (BigInt(group) << 39n) + 0x1_0000_0000n + BigInt(i) * 0x20_0000n),
  );
  for (const address of groups.flat()) machine.map(address);
  return groups;
}

const physicalOf = (machine: DummyMachine, addresses: readonly bigint[]) =>
  addresses.map((address) => machine.pages.get(address >> 12n)?.physical);

async function translated(memory: VirtualMemory, addresses: readonly bigint[]): Promise<number[]> {
  const columns = await memory.translateMany(BigUint64Array.from(addresses));
  return [...columns.physical.subarray(0, addresses.length)];
}

/** A source whose batches wait for what `gate.next` was when they were sent. */
function gated(machine: DummyMachine) {
  const gate = { next: Promise.resolve() as Promise<void> };
  const source = memorySource(machine.bytes, { mode: "async", gate: () => gate.next });
  return { gate, source: new SourceIo({ ...source, ranges: () => machine.present() }, new Scheduler()) };
}

const tableAt = (machine: DummyMachine, entry: number) =>
  Number(machine.readEntry(entry) & 0xf_ffff_ffff_f000n);

describe.each([
  ["generated code", 1],
  ["the plain loop", NEVER],
])("under %s, tables whose request was abandoned", (_, compileAfter) => {
  it.each([
    ["all is forgotten", 300, 2, false],
    ["all is forgotten, and others come one by one", 300, 2, true],
    ["others need their room", 140, 5, false],
  ])("land where they do no harm, when meanwhile %s", async (_, tables, count, oneByOne) => {
    const machine = new DummyMachine({ frames: 1400, seed: 2 });
    const groups = groupsOf(machine, count);
    const [first = [], ...others] = groups;
    const { gate, source } = gated(machine);
    const memory = new VirtualMemory(source, {
      root: machine.root,
      tableCache: cacheOf(tables, compileAfter),
    });
    await translated(
      memory,
      groups.map(([address]) => address as bigint),
    );
    let open = () => {};
    gate.next = new Promise<void>((resolve) => {
      open = resolve;
    });
    // It can't be answered synchronously, but is under way from then on.
    expect(() => memory.translateMany(BigUint64Array.from(first)).sync()).toThrow();
    await ticks(30);
    gate.next = Promise.resolve();
    if (count === 2) memory.flush();
    if (oneByOne) {
      // Some tables' places are free then, and are so again.
      const [other = 0n, ...rest] = others.flat();
      await memory.translate(other);
      memory.flush();
      for (const address of [other, first[0] as bigint, other, first[0] as bigint, ...rest, ...rest])
        expect(await memory.translate(address)).toMatchObject({
          physical: physicalOf(machine, [address])[0],
        });
    }
    for (const group of others) expect(await translated(memory, group)).toEqual(physicalOf(machine, group));
    open();
    await ticks(100);
    for (const group of [...others, ...groups])
      expect(await translated(memory, group)).toEqual(physicalOf(machine, group));
  });
});

it("slots of tables that came are not pinned any longer", async () => {
  const machine = new DummyMachine({ frames: 200, seed: 2 });
  const [addresses = []] = groupsOf(machine, 1);
  const tableCache = cacheOf(150);
  const memory = new VirtualMemory(machine.sourceIo({ scheduler: new Scheduler(), turns: 1 }), {
    root: machine.root,
    tableCache,
  });
  for (let i = 0; i < 20; i++) {
    if (i % 2 === 0) expect(await translated(memory, addresses)).toEqual(physicalOf(machine, addresses));
    else expect((await memory.maps().toArray()).length).toBe(addresses.length);
    memory.flush();
    expect(tableCache.count).toBe(0);
  }
});

it("slots that nobody uses are used before others have to make room", async () => {
  const machine = new DummyMachine({ frames: 300, seed: 2 });
  const [addresses = []] = groupsOf(machine, 1);
  const tableCache = cacheOf(150);
  const source = machine.sourceIo({ scheduler: new Scheduler(), turns: 9 });
  const memory = new VirtualMemory(source, { root: machine.root, live: true, tableCache });
  const running = new Set<Promise<unknown>>();
  for (let i = 0; i < 100; i++) {
    // Each forgets what the one before has under way.
    const request = translated(memory, addresses).then((physical) => {
      expect(physical).toEqual(physicalOf(machine, addresses));
      running.delete(request);
    });
    running.add(request);
    await ticks(13);
  }
  await Promise.all(running);
  expect(tableCache.evictions).toBe(0);
});

it("a table is read once for all roots that need it", async () => {
  const machine = new DummyMachine({ frames: 200, seed: 2 });
  const [addresses = []] = groupsOf(machine, 1);
  const copy = machine.frame();
  machine.writeEntry(copy, machine.readEntry(machine.root));
  const source = machine.sourceIo({ scheduler: new Scheduler(), turns: 1 });
  const tableCache = cacheOf(300);
  const spaces = [machine.root, copy].map((root) => new VirtualMemory(source, { root, tableCache }));
  // Both roots are there, and what they lead to is not.
  for (const memory of spaces) await memory.translate(1n << 40n);
  const { fragments } = source.counters;
  const column = BigUint64Array.from(addresses);
  for (const columns of await all(spaces.map((memory) => memory.translateMany(column))))
    expect([...columns.physical.subarray(0, addresses.length)]).toEqual(physicalOf(machine, addresses));
  expect(source.counters.fragments - fragments).toBe(1 + 1 + 60);
});

it("a table that is known to be broken is not read again for a column", async () => {
  const machine = new DummyMachine({ frames: 200, seed: 2 });
  const [addresses = []] = groupsOf(machine, 1);
  const [lost = 0n] = addresses;
  machine.lose(machine.entryAt(lost, 1) & ~4095, 512);
  const source = machine.sourceIo({ scheduler: new Scheduler(), turns: 1 });
  const memory = new VirtualMemory(source, { root: machine.root, tableCache: cacheOf(300) });
  await memory.translate(lost);
  const { fragments } = source.counters;
  // (Another page of that table, for what is remembered of a page needs no table at all.)
  const columns = await memory.translateMany(BigUint64Array.of(lost + 0x1000n));
  expect(columns.row(0)).toMatchObject({ state: "table-missing", level: 1 });
  expect(source.counters.fragments).toBe(fragments);
});

it("the tables of a level are asked for as one column, whoever needs one of them", async () => {
  const machine = new DummyMachine({ frames: 200, seed: 2 });
  const [addresses = []] = groupsOf(machine, 1);
  const inner = machine.sourceIo({ scheduler: new Scheduler() });
  const columns: number[] = [];
  let singles = 0;
  const io = {
    scheduler: inner.scheduler,
    sendIo(at: number, view: BoundView) {
      singles++;
      inner.sendIo(at, view);
    },
    sendColumn(
      column: { readonly words: Uint32Array; readonly size: number },
      from: number,
      view: BoundView,
    ) {
      columns.push(view.length / column.size);
      inner.sendColumn(column, from, view);
    },
  };
  const memory = new VirtualMemory(io, { root: machine.root, tableCache: cacheOf(150) });
  expect(await translated(memory, addresses)).toEqual(physicalOf(machine, addresses));
  // The root; then the rest.
  expect([singles, columns]).toEqual([1, [1, 1, 60]]);
});

describe("a gather through four levels travels in five batches", () => {
  function over(prepare: (machine: DummyMachine) => readonly bigint[], tables = 5000) {
    const machine = new DummyMachine({ frames: 900, seed: 2 });
    const addresses = prepare(machine);
    const source = machine.sourceIo({ scheduler: new Scheduler() });
    const memory = new VirtualMemory(source, { root: machine.root, tableCache: cacheOf(tables, NEVER) });
    return { source, memory, column: BigUint64Array.from([...addresses, ...addresses, ...addresses]) };
  }
  const mapped = (machine: DummyMachine, ...addresses: bigint[]) => {
    for (const address of addresses) machine.map(address);
    return addresses;
  };

  it("if two entries share a table", async () => {
    const { source, memory, column } = over((machine) => {
      mapped(machine, 0n, 0x4000_0000n);
      machine.writeEntry(machine.root + 8, machine.readEntry(machine.root));
      return [0n, 0x80_4000_0000n];
    });
    expect((await memory.gather(column, 8)).failed.length).toBe(0);
    expect(source.counters.batches).toBe(5);
  });

  it("if a table is only readable in part", async () => {
    const { source, memory, column } = over((machine) => {
      const addresses = mapped(machine, 0n, 0x80_0000_0000n);
      machine.lose(tableAt(machine, machine.root + 8) + 2048, 2048);
      return addresses;
    });
    expect((await memory.gather(column, 8)).failed.length).toBe(0);
    expect(source.counters.batches).toBe(5);
  });

  it("beside a read that needs one of its tables", async () => {
    const { source, memory, column } = over((machine) =>
      mapped(machine, 0n, 0x4000_0000n, 0x80_0000_0000n, 0x80_4000_0000n),
    );
    const [, gathered] = await all([memory.read(u64, 0n), memory.gather(column, 8)]);
    expect(gathered.failed.length).toBe(0);
    expect(source.counters.batches).toBe(5);
  });

  it("beside another", async () => {
    const { source, memory, column } = over((machine) =>
      mapped(machine, 0n, 0x4000_0000n, 0x80_0000_0000n, 0x80_4000_0000n, 0x100_0000_0000n),
    );
    await all([memory.gather(column.slice(0, 4), 8), memory.gather(column.slice(3, 8), 8)]);
    expect(source.counters.batches).toBe(5);
    // Each table once: the root, three, five and five; and the records.
    expect(source.counters.fragments).toBe(1 + 3 + 5 + 5 + 9);
  });

  it("whatever part of the tables is cached, and however the cache has grown", async () => {
    const random = randomBits(7);
    for (let run = 0; run < 60; run++) {
      const machine = new DummyMachine({ frames: 1500, seed: run + 1 });
      const width = 2 + (random() % 6);
      const some = (count: number) => BigInt((random() >>> 5) % count);
      const addresses: bigint[] = [];
      for (let i = 10 + (random() % 150); i > 0; i--) {
        const address = (some(width) << 39n) | (some(width) << 30n) | (some(width * 2) << 21n);
        if (machine.pages.has(address >> 12n)) continue;
        machine.map(address);
        addresses.push(address);
      }
      const source = machine.sourceIo({ scheduler: new Scheduler() });
      const memory = new VirtualMemory(source, { root: machine.root });
      const warm = random() % 12;
      for (const address of addresses.slice(0, warm)) await memory.translate(address);
      const { batches } = source.counters;
      await memory.gather(BigUint64Array.from([...addresses, ...addresses]), 8);
      expect(source.counters.batches - batches).toBeLessThanOrEqual(warm === 0 ? 5 : 4);
    }
  });
});

/** No large pages. */
const SMALL_PAGES: MmuDef["entries"] = [
  { is: "absent", clear: [0] },
  { is: "page", levels: [1] },
  { is: "table" },
];

it("tables of fewer entries than 512 lead where they lead entry by entry", () => {
  const mmu: MmuDef = {
    ...X86_64,
    name: "small",
    splits: [8, 8, 17],
    entryNames: ["a", "b"],
    canonical: "zeros",
    reserved: [],
    entries: SMALL_PAGES,
  };
  const machine = new DummyMachine({ frames: 64 });
  machine.writeEntry(0x1000 + 3 * 8, 0x2007n);
  machine.writeEntry(0x2000 + 3 * 8, 0x20007n);
  machine.writeEntry(0x2000 + 4 * 8, 0x40007n);
  const at = (3n << 25n) | (3n << 17n) | 0x123n;
  for (const compileAfter of [1, NEVER]) {
    const tableCache = new TableCache({ mmu, compileAfter, wasm: hostWasm });
    const memory = new VirtualMemory(machine.inlineIo(new Scheduler()), { root: 0x1000, mmu, tableCache });
    for (let pass = 0; pass < 3; pass++) {
      const { physical } = memory.translateMany(BigUint64Array.of(at, at + 0x20000n)).sync();
      expect([...physical]).toEqual([0x20123, 0x40123]);
    }
  }
});

it("another format that uses the cache meanwhile changes nothing, also under a root that is readable in part", async () => {
  // What is a large page to the one is a table to the other.
  const other: MmuDef = { ...X86_64, name: "no large pages", entries: SMALL_PAGES, reserved: [] };
  const at = 0x4020_3000n;
  for (let turns = 0; turns < 40; turns++) {
    const machine = new DummyMachine({ frames: 64, seed: 2 });
    machine.map(at);
    machine.writeEntry(machine.entryAt(at, 2), 0x87n);
    const root = machine.frame();
    for (let i = 0; i < 512; i++) machine.writeEntry(root + 8 * i, machine.readEntry(machine.root + 8 * i));
    machine.lose(root + 3584, 512);
    const source = machine.sourceIo({ scheduler: new Scheduler(), turns: 3 });
    const tableCache = cacheOf(100);
    const holed = new VirtualMemory(source, { root, tableCache });
    const expected = (await new VirtualMemory(source, { root: machine.root, tableCache }).walk(at)).result;
    const otherwise = new VirtualMemory(source, { root: machine.root, mmu: other, tableCache });
    await otherwise.translateMany(BigUint64Array.of(at));
    const running = holed.translateMany(BigUint64Array.of(at)).promise();
    await ticks(turns);
    await otherwise.translateMany(BigUint64Array.of(at));
    expect((await running).row(0)).toEqual(expected);
  }
});

it.each([1, NEVER])(
  "what was read before all was forgotten is in no table afterwards (code after %d)",
  async (compileAfter) => {
    const machine = new DummyMachine({ frames: 900, seed: 2 });
    const [addresses = []] = groupsOf(machine, 1);
    const [lost = 0n, moved = 0n, target = 0n] = [addresses[5], addresses[9], addresses[8]];
    machine.lose(machine.entryAt(lost, 1) & ~4095);
    const memory = new VirtualMemory(machine.sourceIo({ scheduler: new Scheduler(), turns: 2 }), {
      root: machine.root,
      tableCache: cacheOf(300, compileAfter),
    });
    await memory.translate(addresses[0] as bigint);
    const column = memory.translateMany(BigUint64Array.from(addresses)).promise();
    // It waits for the lost table, which is on its way in that column; whoever is told has the page moved, and says so.
    const read = send(memory.io as PacketIo<bigint>, lost, Packet.reading(new Uint8Array(8)), {
      onFragment() {
        machine.writeEntry(
          machine.entryAt(moved, 1),
          BigInt(physicalOf(machine, [target])[0] as number) | 7n,
        );
        memory.flush();
      },
    });
    await Promise.all([column, read.promise().catch(() => undefined)]);
    expect(await translated(memory, [moved])).toEqual(physicalOf(machine, [target]));
  },
);

describe("tables that are on their way when all is forgotten", () => {
  it.each([1, NEVER])("serve who waits for them, and nobody later (code after %d)", async (compileAfter) => {
    const machine = new DummyMachine({ frames: 900, seed: 2 });
    const [addresses = []] = groupsOf(machine, 1);
    const [moved = 0n, target = 0n] = [addresses[9], addresses[8]];
    const before = physicalOf(machine, addresses);
    const { gate, source } = gated(machine);
    const memory = new VirtualMemory(source, { root: machine.root, tableCache: cacheOf(300, compileAfter) });
    await translated(memory, [addresses[0] as bigint]);
    let open = () => {};
    gate.next = new Promise<void>((resolve) => {
      open = resolve;
    });
    const waiting = translated(memory, addresses);
    await ticks(30);
    memory.flush();
    gate.next = Promise.resolve();
    const { fragments } = source.counters;
    open();
    expect(await waiting).toEqual(before);
    // The pages are known by them alone.
    expect(source.counters.fragments).toBe(fragments);
    machine.writeEntry(machine.entryAt(moved, 1), BigInt(physicalOf(machine, [target])[0] as number) | 7n);
    expect(await translated(memory, [moved])).toEqual(physicalOf(machine, [target]));
  });
});

describe("a layer below that is wrong", () => {
  it("and throws at one read hangs no other that waits for the same tables", async () => {
    const machine = new DummyMachine({ frames: 900, seed: 2 });
    const [addresses = []] = groupsOf(machine, 1);
    const inner = machine.sourceIo({ scheduler: new Scheduler(), turns: 2 });
    const [bad] = physicalOf(machine, [addresses[5] as bigint]);
    const io: PacketIo<number> = {
      scheduler: inner.scheduler,
      sendIo(at, view) {
        if (at === bad) throw new Error("bad layer");
        inner.sendIo(at, view);
      },
    };
    const memory = new VirtualMemory(io, { root: machine.root, tableCache: cacheOf(300) });
    await memory.translate(addresses[0] as bigint);
    const column = memory.translateMany(BigUint64Array.from(addresses)).promise();
    const read = memory.read(u64, addresses[5] as bigint).promise();
    expect([await fate(column), await fate(read)]).toEqual(["ended", "threw"]);
    expect(physicalOf(machine, addresses)).toEqual([...(await column).physical.subarray(0, 60)]);
  });

  it("and throws at a column of records fails those, and no others", async () => {
    const machine = new DummyMachine({ frames: 900, seed: 2 });
    const [addresses = []] = groupsOf(machine, 1);
    machine.writeEntry(machine.entryAt(addresses[7] as bigint, 1), 0n);
    const inner = machine.sourceIo({ scheduler: new Scheduler(), turns: 2 });
    let thrown = 0;
    const io = {
      scheduler: inner.scheduler,
      sendIo: (at: number, view: BoundView) => inner.sendIo(at, view),
      sendColumn(
        column: { readonly words: Uint32Array; readonly size: number },
        from: number,
        view: BoundView,
      ) {
        if (column.size === 8 && thrown++ === 0) throw new Error("bad layer");
        inner.sendColumn(column, from, view);
      },
    };
    const memory = new VirtualMemory(io, { root: machine.root, tableCache: cacheOf(300) });
    const { failed } = await memory.gather(BigUint64Array.from(addresses), 8);
    expect([...failed]).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  });

  it.each([
    ["throws", true],
    ["returns", false],
  ])("and %s having lost a part of what waited for tables fails that part", async (_, throws) => {
    const machine = new DummyMachine({ frames: 900, seed: 2 });
    const [addresses = []] = groupsOf(machine, 1);
    const inner = machine.sourceIo({ scheduler: new Scheduler(), turns: 2 });
    const lose = (view: BoundView, at: number, send: () => void) => {
      view.split(at);
      send();
      if (throws) throw new Error("second bank");
    };
    const io = {
      scheduler: inner.scheduler,
      sendIo(at: number, view: BoundView) {
        if (view.length !== 16) inner.sendIo(at, view);
        else lose(view, 4, () => inner.sendIo(at, view));
      },
      sendColumn(
        column: { readonly words: Uint32Array; readonly size: number },
        from: number,
        view: BoundView,
      ) {
        if (column.size !== 8) inner.sendColumn(column, from, view);
        else lose(view, 3 * 8, () => inner.sendColumn(column, from, view));
      },
    };
    const memory = new VirtualMemory(io, { root: machine.root, tableCache: cacheOf(300) });
    const read = memory.readPartial(addresses[5] as bigint, 16).promise();
    const records = memory.gather(BigUint64Array.from(addresses), 8).promise();
    expect([await fate(read), await fate(records)]).toEqual(["ended", "ended"]);
    expect((await read).holes).toMatchObject([{ start: 4, end: 16, state: "unanswered" }]);
    expect([...(await records).failed]).toEqual(addresses.map((_one, i) => i).slice(3));
    const cold = new VirtualMemory(io, { root: machine.root, tableCache: cacheOf(300) });
    await expect(cold.read(addresses[5] as bigint, 16).promise()).rejects.toMatchObject(
      throws ? { cause: { message: "second bank" } } : { code: "PARTIAL_READ" },
    );
  });

  it("and throws at the records that are translated answers those that wait for tables all the same", async () => {
    const machine = new DummyMachine({ frames: 900, seed: 2 });
    const [addresses = []] = groupsOf(machine, 1);
    const inner = machine.sourceIo({ scheduler: new Scheduler(), turns: 2 });
    let isWrong = false;
    const io: PacketIo<number> = {
      scheduler: inner.scheduler,
      sendIo(at, view) {
        if (isWrong && view.length === 8) throw new Error("broken");
        inner.sendIo(at, view);
      },
    };
    const memory = new VirtualMemory(io, { root: machine.root, tableCache: cacheOf(300) });
    const known = addresses.slice(40, 44);
    for (let i = 0; i < 3; i++) await translated(memory, known);
    const asked = [...addresses.slice(0, 6), ...known];
    isWrong = true;
    const column = { words: new Uint32Array(BigUint64Array.from(asked).buffer), size: 8 };
    const packet = Packet.reading(8 * asked.length);
    const view = packet.bind();
    // A layer that answers later: the caller's account can't tell what was lost.
    view.keep();
    sendKept(view, () => memory.sendColumn(column, 0, view));
    const done = new Promise<void>((wake) => {
      if (!packet.park({ wake })) wake();
    });
    expect(await fate(done)).toBe("ended");
    expect(packet.cause).toMatchObject({ message: "broken" });
  });

  it("and drops a part of a column of tables fails what it translates", async () => {
    const machine = new DummyMachine({ frames: 900, seed: 2 });
    const [addresses = []] = groupsOf(machine, 1);
    const inner = machine.inlineIo(new Scheduler());
    const io: PacketIo<number> & { sendColumn(column: unknown, from: number, view: BoundView): void } = {
      scheduler: inner.scheduler,
      sendIo: (at, view) => inner.sendIo(at, view),
      sendColumn() {},
    };
    const memory = new VirtualMemory(io, { root: machine.root, tableCache: cacheOf(300) });
    const columns = await memory.translateMany(BigUint64Array.from(addresses));
    expect(columns.row(3)).toMatchObject({ state: "table-missing", level: 3, cause: "unanswered" });
  });
});

describe("a connector that gives up on tables, and writes all the same", () => {
  it.each(["throws", "leaves the rows unanswered"])("hits none of others, if it %s", async (how) => {
    for (const compileAfter of [1, NEVER]) {
      const machine = new DummyMachine({ frames: 900, seed: 2 });
      const [first = [], other = []] = groupsOf(machine, 2);
      const good = memorySource(machine.bytes);
      let late: (() => void)[] | undefined;
      const source = new SourceIo(
        {
          name: "times-out",
          supports: good.supports,
          ranges: () => machine.present(),
          transfer(batch: Batch) {
            if (late === undefined) {
              good.transferSync?.(batch);
              return Promise.resolve();
            }
            for (let row = 0; row < batch.length; row++) {
              const [into, at] = [batch.bytes(row), batch.address(row)];
              late.push(() => into.set(machine.bytes.subarray(at, at + into.length)));
            }
            return how === "throws" ? Promise.reject(new Error("timed out")) : Promise.resolve();
          },
        },
        new Scheduler(),
      );
      const memory = new VirtualMemory(source, {
        root: machine.root,
        tableCache: cacheOf(300, compileAfter),
      });
      await translated(memory, [first[0] as bigint, other[0] as bigint]);
      const writes: (() => void)[] = [];
      late = writes;
      await translated(memory, first);
      late = undefined;
      memory.flush();
      await translated(memory, other);
      expect(writes.length).toBeGreaterThan(50);
      for (const write of writes) write();
      for (const group of [other, first])
        expect(await translated(memory, group)).toEqual(physicalOf(machine, group));
    }
  });
});

it.each([1, NEVER])(
  "a request that was given up is in nobody's way (code after %d)",
  async (compileAfter) => {
    const machine = new DummyMachine({ frames: 512 });
    const [warm, shared, other] = [0x7000_0000n, 3n << 39n, 5n << 39n];
    const beside = shared | (7n << 30n) | (9n << 21n);
    for (const address of [warm, shared, other, beside]) machine.map(address);
    const source = machine.sourceIo({ scheduler: new Scheduler(), turns: 1 });
    const memory = new VirtualMemory(source, { root: machine.root, tableCache: cacheOf(300, compileAfter) });
    await memory.translate(warm);
    expect(() => memory.translateMany(BigUint64Array.of(shared)).sync()).toThrow();
    await ticks(200);
    const { batches } = source.counters;
    await translated(memory, [beside, other]);
    // One a level: the root was there.
    expect(source.counters.batches - batches).toBe(3);
  },
);

it.each([1, NEVER])(
  "a request that runs out of memory hangs no other (code after %d)",
  async (compileAfter) => {
    const machine = new DummyMachine({ frames: 512 });
    machine.map(0n);
    // Two entries share a table: one address waits for it by itself.
    machine.writeEntry(machine.root + 8, machine.readEntry(machine.root));
    const tableCache = cacheOf(300, compileAfter);
    const source = machine.sourceIo({ scheduler: new Scheduler(), turns: 1 });
    const memory = new VirtualMemory(source, { root: machine.root, tableCache });
    await memory.translate(1n << 40n);
    const { count } = tableCache;
    const takeMemory = tableCache.takeMemory.bind(tableCache);
    tableCache.takeMemory = () => {
      throw new RangeError("Array buffer allocation failed");
    };
    await expect(translated(memory, [0n, 1n << 39n])).rejects.toThrow("allocation failed");
    tableCache.takeMemory = takeMemory;
    expect(tableCache.count).toBe(count);
    const [physical] = physicalOf(machine, [0n]);
    const again = translated(memory, [0n, 1n << 39n]);
    expect(await fate(again)).toBe("ended");
    expect(await again).toEqual([physical, physical]);
  },
);

it.each([
  ["joined by another", 1],
  ["joined by another", NEVER],
  ["under an evicted one", 1],
  ["under an evicted one", NEVER],
])(
  "a part of a table that can't be read for now is asked for again: %s (code after %d)",
  async (how, compileAfter) => {
    const machine = new DummyMachine({ frames: 512 });
    const [one, two] = [1n << 39n, 2n << 39n];
    for (const address of [one, one | (5n << 30n), two | (5n << 30n)]) machine.map(address);
    const others = [10, 11, 12, 13].map((entry) => BigInt(entry) << 39n);
    for (const address of others) machine.map(address);
    // Both lead to the same table, by tables of their own.
    const shared = machine.readEntry(machine.entryAt(one, 3));
    machine.writeEntry(machine.entryAt(two, 3), shared);
    const table = Number(shared & ~0xfffn);
    let isSick = true;
    let gate: Promise<void> | undefined;
    const good = memorySource(machine.bytes);
    const transfer = async (batch: Batch) => {
      await gate;
      good.transferSync?.(batch);
      for (let row = 0; isSick && row < batch.length; row++) {
        const from = table - batch.address(row);
        if (from < 0 || from >= batch.bytes(row).length) continue;
        batch.failRange(row, from, from + 512, fault("io", "device", "connector"));
      }
    };
    const source = new SourceIo(
      { name: "flaky", supports: good.supports, ranges: () => machine.present(), transfer },
      new Scheduler(),
    );
    const tableCache = cacheOf(8, compileAfter);
    const memory = new VirtualMemory(source, { root: machine.root, tableCache });
    const quick = new VirtualMemory(machine.inlineIo(new Scheduler()), { root: machine.root, tableCache });
    await memory.translate(one | (6n << 30n));
    let open = () => {};
    gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    const joined =
      how === "joined by another" ? memory.translate(two | (7n << 30n)).promise() : Promise.resolve();
    const running = memory.translateMany(BigUint64Array.of(one, two)).promise();
    await ticks(60);
    if (how !== "joined by another") for (const address of others) await quick.translate(address);
    expect(tableCache.evictions > 0).toBe(how !== "joined by another");
    open();
    const columns = await running;
    await joined;
    for (const row of [0, 1]) expect(columns.row(row)).toMatchObject({ state: "table-missing", level: 2 });
    isSick = false;
    expect(await memory.translate(two)).toMatchObject({ physical: physicalOf(machine, [one])[0] });
  },
);

it("maps that are being read take few batches, also if all is forgotten meanwhile", async () => {
  const machine = new DummyMachine({ frames: 4096 });
  for (let i = 0; i < 400; i++) machine.map((BigInt(i) << 21n) | 0x1000n);
  const source = machine.sourceIo({ scheduler: new Scheduler(), turns: 1 });
  const memory = new VirtualMemory(source, { root: machine.root });
  let runs = 0;
  for await (const run of memory.maps()) {
    expect(run.state).toBeUndefined();
    if (++runs === 1) memory.flush();
  }
  expect(runs).toBe(400);
  expect(source.counters.batches).toBe(5);
});

it("of live memory, a table that is missing once is asked for again", async () => {
  const machine = new DummyMachine({ frames: 200, seed: 2 });
  const [addresses = []] = groupsOf(machine, 1);
  let there = false;
  const inner = machine.inlineIo(new Scheduler());
  const lost = machine.entryAt(addresses[5] as bigint, 1) & ~4095;
  const io: PacketIo<number> = {
    scheduler: inner.scheduler,
    sendIo(at, view) {
      inner.sendIo(at === lost && !there ? 2 ** 40 : at, view);
    },
  };
  const memory = new VirtualMemory(io, {
    root: machine.root,
    live: true,
    maxAge: 1e9,
    tableCache: cacheOf(300),
  });
  expect((await memory.translateMany(BigUint64Array.from(addresses))).failed).toBe(1);
  there = true;
  expect(await translated(memory, addresses)).toEqual(physicalOf(machine, addresses));
});
