import { expect, it } from "vitest";
import { all, type BoundView, fault, type PacketIo, readPartial, Scheduler } from "../../src/io/index.js";
import { PhysicalMap, PhysicalMemory, u64 } from "../../src/memory/index.js";
import { TableCache, VirtualMemory, X86_64 } from "../../src/paging/index.js";
import { DummyMachine } from "../support/dummy-machine.js";

const TABLE = 6174;

it("rights that the upper levels withhold are not granted by what a read remembered", async () => {
  const machine = new DummyMachine({ frames: 64 });
  // Two pages in tables of their own; the entry of level 3 above the first one is read-only, supervisor, NX.
  machine.map(0x1000n);
  machine.map(0x8000_0000_00n);
  const at = machine.entryAt(0x1000n, 3);
  machine.writeEntry(at, (machine.readEntry(at) & ~6n) | (1n << 63n));
  const source = machine.sourceIo({ scheduler: new Scheduler() });
  const expected = await new VirtualMemory(source, { root: machine.root }).translate(0x1000n);
  expect(expected).toMatchObject({ writable: false, user: false, executable: false });
  for (const bytes of [TABLE, 2 * TABLE, 3 * TABLE]) {
    const memory = new VirtualMemory(source, { root: machine.root, tableCache: new TableCache({ bytes }) });
    await readPartial(memory, 0x1000n, 8);
    await readPartial(memory, 0x8000_0000_00n, 8);
    expect(await memory.translate(0x1000n)).toEqual(expected);
    expect((await memory.translateMany(BigUint64Array.of(0x1000n))).row(0)).toEqual(expected);
  }
});

it("also at default size: cold read, then flooded cache", async () => {
  const PAGES = 40;
  const machine = new DummyMachine({ frames: 4 * PAGES });
  const vas = Array.from({ length: PAGES }, (_, i) => BigInt(i) * 0x20_0000n + 0x5000n);
  for (const va of vas) machine.map(va);
  for (const va of vas) {
    const at = machine.entryAt(va, 2);
    machine.writeEntry(at, machine.readEntry(at) & ~2n);
  }
  const source = machine.sourceIo({ scheduler: new Scheduler() });
  const memory = new VirtualMemory(source, {
    root: machine.root,
    tableCache: new TableCache({ bytes: 8 * TABLE }),
  });
  await all(vas.map((va) => readPartial(memory, va, 8)));
  let wrong = 0;
  for (const va of vas) {
    const t = await memory.translate(va);
    if (t.state === undefined && t.writable) wrong++;
  }
  expect(wrong).toBe(0);
});

/** RAM of which a read takes its bytes when it is sent, and brings them when it is released. */
class Slow implements PacketIo<number> {
  readonly scheduler = new Scheduler();
  readonly machine: DummyMachine;
  hold = false;
  readonly held: (() => void)[] = [];
  reads = 0;

  constructor(machine: DummyMachine) {
    this.machine = machine;
  }

  sendIo(address: number, view: BoundView): void {
    this.reads++;
    const { machine } = this;
    if (view.direction === "write") {
      view.transfer(machine.bytes, address - machine.base);
      return;
    }
    const there = machine.has(address);
    const bytes = machine.bytes.slice(address - machine.base, address - machine.base + view.length);
    const answer = () => {
      if (there) view.transfer(bytes);
      else view.fail(fault("outside", "memory", "backend"));
    };
    if (!this.hold) {
      answer();
      return;
    }
    view.keep();
    this.held.push(answer);
  }

  release(): void {
    for (const each of this.held.splice(0)) each();
  }
}

it("flush() forgets what is on its way too", async () => {
  const machine = new DummyMachine({ frames: 32 });
  const first = machine.map(0x1000n).physical;
  const second = machine.frame();
  const io = new Slow(machine);
  const memory = new VirtualMemory(io, { root: machine.root });
  io.hold = true;
  const under = memory.translate(0x1000n).promise();
  // root, level 3, level 2; the table of level 1 has been read, and is held.
  for (let i = 0; i < 3; i++) {
    io.release();
    await null;
    await null;
  }
  await new Promise((done) => setImmediate(done));
  expect(io.held.length).toBe(1);
  machine.writeEntry(machine.entryAt(0x1000n, 1), BigInt(second) | 7n);
  memory.flush();
  const after = memory.translate(0x1000n).promise();
  for (let i = 0; i < 8; i++) {
    io.release();
    await new Promise((done) => setImmediate(done));
  }
  expect(await under).toMatchObject({ physical: first });
  expect.soft(await after).toMatchObject({ physical: second });
  io.hold = false;
  // And for ever after.
  expect.soft(await memory.translate(0x1000n)).toMatchObject({ physical: second });
});

/** Kills: `forgetBefore` and `beginAged` that leave flights: what was read before is then joined after. */
it("a table that was sent for before a write, or longer ago than maxAge, does not serve a later request", async () => {
  for (const how of ["write", "age"]) {
    const machine = new DummyMachine({ frames: 32 });
    const first = machine.map(0x1000n).physical;
    const second = machine.frame();
    const at = machine.entryAt(0x1000n, 1);
    const io = new Slow(machine);
    const physical = new PhysicalMemory(io, {
      map: PhysicalMap.single(0, machine.bytes.length),
      cacheBytes: 0,
    });
    let now = 0;
    const aged = how === "age" ? { live: true, maxAge: 100, clock: () => now } : {};
    const memory = new VirtualMemory(physical, { root: machine.root, ...aged });
    io.hold = true;
    const under = memory.translate(0x1000n).promise();
    for (let i = 0; i < 3; i++) {
      io.release();
      await new Promise((done) => setImmediate(done));
    }
    expect(io.held.length).toBe(1);
    if (how === "write") await physical.write(u64, at, BigInt(second) | 7n);
    else machine.writeEntry(at, BigInt(second) | 7n);
    now += 200;
    const after = memory.translate(0x1000n).promise();
    for (let i = 0; i < 8; i++) {
      io.release();
      await new Promise((done) => setImmediate(done));
    }
    expect(await under).toMatchObject({ physical: first });
    expect(await after).toMatchObject({ physical: second });
    io.hold = false;
    expect(await memory.translate(0x1000n)).toMatchObject({ physical: second });
  }
});

it("a table that could not be read before flush() is not known as broken after it", async () => {
  const machine = new DummyMachine({ frames: 32 });
  const { physical } = machine.map(0x1000n);
  const table = machine.entryAt(0x1000n, 1) - 8;
  machine.lose(table);
  const io = new Slow(machine);
  const memory = new VirtualMemory(io, { root: machine.root });
  io.hold = true;
  const under = memory.translate(0x1000n).promise();
  for (let i = 0; i < 3; i++) {
    io.release();
    await new Promise((done) => setImmediate(done));
  }
  expect(io.held.length).toBe(1);
  machine.missing.clear();
  memory.flush();
  io.release();
  expect((await under).state).toBe("table-missing");
  io.hold = false;
  expect(await memory.translate(0x1000n)).toMatchObject({ physical });
});

it("flush() forgets what could not be read, too: one address, a column, a whole space", async () => {
  const machine = new DummyMachine({ frames: 32 });
  const { physical } = machine.map(0x1000n);
  machine.lose(machine.entryAt(0x1000n, 1) - 8);
  const memory = new VirtualMemory(new Slow(machine), { root: machine.root });
  const ask = async () => [
    (await memory.translate(0x1000n)).state,
    (await memory.translateMany(BigUint64Array.of(0x1000n))).physical[0],
    (await memory.maps().toArray()).map(({ state }) => state),
  ];
  expect(await ask()).toEqual(["table-missing", -1, ["table-missing"]]);
  machine.missing.clear();
  // What is not live, is taken to stay as it is until somebody says otherwise.
  expect(await ask()).toEqual(["table-missing", -1, ["table-missing"]]);
  memory.flush();
  expect(await ask()).toEqual([undefined, physical, [undefined]]);
});

it("flush() is of use over a physical memory with its default page cache", async () => {
  const machine = new DummyMachine({ frames: 32 });
  machine.map(0x1000n);
  const second = machine.frame();
  const physical = new PhysicalMemory(machine.sourceIo(), {
    map: PhysicalMap.single(0, machine.bytes.length),
  });
  const memory = new VirtualMemory(physical, { root: machine.root });
  await memory.translate(0x1000n);
  machine.writeEntry(machine.entryAt(0x1000n, 1), BigInt(second) | 7n);
  memory.flush();
  expect(await memory.translate(0x1000n)).toMatchObject({ physical: second });
});

it("links that another format left are not followed by a view that waited", async () => {
  // In the other format, bit 7 makes no large page: tables below are walked further.
  const other = { ...X86_64, name: "no large pages", large: { bits: [9], means: "set" as const } };
  const machine = new DummyMachine({ frames: 4096 });
  const va = 0x20_0000n;
  machine.map(va, {}, 2, 0x40_0000);
  machine.bytes.fill(0xaa, 0x40_0000, 0x40_1000);
  const io = new Slow(machine);
  const tableCache = new TableCache();
  const a = new VirtualMemory(io, { root: machine.root, tableCache });
  const b = new VirtualMemory(io, { root: machine.root, tableCache, mmu: other });
  // b walks everything: links say "table" for the entry of level 2.
  await b.translate(va);
  io.hold = true;
  // a's root is found in the cache, ...: give a another root that leads to the same level 3 table.
  const root = machine.frame();
  machine.writeEntry(root, machine.readEntry(machine.root));
  const a2 = new VirtualMemory(io, { root, tableCache });
  const reading = a2.readPartial(va, 8).promise();
  await new Promise((done) => setImmediate(done));
  await b.translate(va);
  await b.translate(va);
  for (let i = 0; i < 10; i++) {
    io.release();
    await new Promise((done) => setImmediate(done));
  }
  const { bytes, holes } = await reading;
  expect(holes).toEqual([]);
  expect([...bytes]).toEqual(new Array(8).fill(0xaa));
  void a;
});

it("an empty range has no runs", () => {
  const machine = new DummyMachine({ frames: 32 });
  machine.map(0x1000n);
  const memory = new VirtualMemory(machine.inlineIo(new Scheduler()), { root: machine.root });
  expect([...memory.maps({ start: 0x1800n, end: 0x1800n }).sync()]).toEqual([]);
});

it("writes through a layer above physical memory", async () => {
  const machine = new DummyMachine({ frames: 32 });
  machine.map(0x1000n);
  const second = machine.frame();
  const at = machine.entryAt(0x1000n, 1);
  const physical = new PhysicalMemory(machine.sourceIo(), {
    map: PhysicalMap.single(0, machine.bytes.length),
  });
  const memory = new VirtualMemory(physical, { root: machine.root });
  machine.map(0x2000n, {}, 1, at - (at % 4096));
  await memory.translate(0x1000n);
  await memory.write(u64, 0x2008n, BigInt(second) | 7n);
  expect(await memory.translate(0x1000n)).toMatchObject({ physical: second });
  // gather, translateMany and reads too
  await memory.write(u64, 0x2008n, BigInt(at - (at % 4096)) | 7n);
  expect((await memory.gather(BigUint64Array.of(0x1008n), 8)).bytes).toEqual(await memory.read(0x2008n, 8));
});
