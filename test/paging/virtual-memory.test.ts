import { expect, it } from "vitest";
import {
  AddressRanges,
  all,
  type BoundView,
  faultState,
  type Output,
  Packet,
  type PacketIo,
  readInto,
  readPartial,
  Scheduler,
  SourceIo,
  write,
} from "../../src/io/index.js";
import { PhysicalMap, PhysicalMemory, u64 } from "../../src/memory/index.js";
import { aarch64, PageTableIo, TableCache, VirtualMemory } from "../../src/paging/index.js";
import { DummyMachine, type DummyPage, randomBits } from "../support/dummy-machine.js";

const KERNEL = 0xffff_8880_0000_0000n;
const TABLE = 6174;

/** Pages scattered over user and kernel space; every seventh frame is lost. */
function scattered(pages: number, seed = 7): DummyMachine {
  const machine = new DummyMachine({ seed, frames: 6 * pages + 64, base: 0x1_0000_0000 });
  const random = randomBits(seed + 1);
  for (let i = 0; i < pages; i++) {
    // Two levels' worth of spread: some share tables, most do not.
    const low =
      (BigInt(random() % 3) << 39n) | (BigInt(random() % 4) << 30n) | (BigInt(random() % 16) << 21n);
    const va = low | (BigInt(random() % 512) << 12n);
    const page = machine.map(i % 2 === 0 ? va : va | 0xffff_8000_0000_0000n, {
      writable: random() % 2 === 0,
      user: random() % 2 === 0,
      executable: random() % 2 === 0,
      global: random() % 2 === 0,
    });
    if (i % 7 === 0) machine.lose(page.physical);
  }
  return machine;
}

function bytesAt(machine: DummyMachine, page: DummyPage, offset: number, length: number): Uint8Array {
  const at = page.physical - machine.base + offset;
  return machine.bytes.subarray(at, at + length);
}

it("scattered reads through four levels cost at most five batches, and one once the tables are known", async () => {
  for (const turns of [undefined, 2]) {
    const machine = scattered(300);
    const scheduler = new Scheduler();
    const source = machine.sourceIo(turns === undefined ? { scheduler } : { scheduler, turns });
    const memory = new VirtualMemory(source, { root: machine.root });
    const pages = [...machine.pages];
    const readAll = () => all(pages.map(([vpn]) => readPartial(memory, (vpn << 12n) + 100n, 8)));
    const check = (results: Awaited<ReturnType<typeof readAll>>) => {
      results.forEach(({ bytes, holes }, i) => {
        const page = (pages[i] as [bigint, DummyPage])[1];
        if (machine.has(page.physical)) expect([...bytes]).toEqual([...bytesAt(machine, page, 100, 8)]);
        else expect(holes.map((hole) => hole.state)).toEqual(["outside"]);
      });
    };
    check(await readAll());
    expect(source.counters.batches).toBe(5);
    const tables = source.counters.fragments - pages.filter(([, page]) => machine.has(page.physical)).length;
    expect(tables).toBe(memory.tableCache.count);
    check(await readAll());
    expect(source.counters.batches).toBe(6);
  }
});

it("the synchronous drive of side-by-side reads batches just the same", () => {
  const machine = scattered(100);
  const source = machine.sourceIo({ scheduler: new Scheduler() });
  const memory = new VirtualMemory(source, { root: machine.root });
  all([...machine.pages].map(([vpn]) => readPartial(memory, vpn << 12n, 4096))).sync();
  expect(source.counters.batches).toBe(5);
});

it("duplicate reads fetch each table once", async () => {
  const machine = scattered(1);
  const source = machine.sourceIo({ scheduler: new Scheduler() });
  const memory = new VirtualMemory(source, { root: machine.root });
  const [vpn] = [...machine.pages.keys()] as [bigint];
  await all(Array.from({ length: 50 }, () => memory.translate(vpn << 12n)));
  expect(source.counters).toMatchObject({ batches: 4, fragments: 4, bytes: 4 * 4096 });
});

it("translateMany costs a batch a level, cold, and none when warm", async () => {
  const machine = scattered(300);
  const source = machine.sourceIo({ scheduler: new Scheduler(), turns: 1 });
  const memory = new VirtualMemory(source, { root: machine.root });
  const addresses = BigUint64Array.from([...machine.pages.keys()], (vpn) => (vpn << 12n) + 5n);
  const columns = await memory.translateMany(addresses);
  expect(source.counters.batches).toBe(4);
  [...machine.pages.values()].forEach((page, i) => {
    expect(columns.row(i)).toEqual({
      virtual: addresses[i],
      ...page,
      physical: page.physical + 5,
    });
  });
  expect(memory.translateMany(addresses, columns).sync().failed).toBe(0);
  expect(source.counters.batches).toBe(4);
});

it("a cache of a few tables is as right as a large one, through thousands of evictions", async () => {
  const machine = scattered(120);
  for (const turns of [undefined, 1]) {
    for (const tables of [1, 2, 3, 5, 8, 20]) {
      const scheduler = new Scheduler();
      const source = machine.sourceIo(turns === undefined ? { scheduler } : { scheduler, turns });
      const tableCache = new TableCache({ bytes: tables * TABLE });
      expect(tableCache.capacity).toBe(tables);
      const memory = new VirtualMemory(source, { root: machine.root, tableCache });
      const random = randomBits(tables);
      const known = [...machine.pages];
      for (let round = 0; round < 30; round++) {
        const chosen = Array.from(
          { length: 12 },
          () => known[random() % known.length] as [bigint, DummyPage],
        );
        const columns = await memory.translateMany(BigUint64Array.from(chosen, ([vpn]) => vpn << 12n));
        chosen.forEach(([, page], i) => {
          expect(columns.physical[i]).toBe(page.physical);
        });
        const singles = await all(chosen.map(([vpn]) => memory.translate(vpn << 12n)));
        expect(singles.map((single) => single.state === undefined && single.physical)).toEqual(
          chosen.map(([, page]) => page.physical),
        );
        for (const [vpn, page] of chosen.slice(0, 4)) {
          const { bytes } = await readPartial(memory, (vpn << 12n) + 8n, 4);
          if (machine.has(page.physical)) expect([...bytes]).toEqual([...bytesAt(machine, page, 8, 4)]);
        }
      }
      expect(tableCache.count).toBeLessThanOrEqual(tables);
      expect(tableCache.evictions).toBeGreaterThan(100);
    }
  }
});

it("two roots share a cache: tables that both use are read once", async () => {
  const machine = scattered(10);
  const other = machine.frame();
  machine.bytes.copyWithin(
    other - machine.base,
    machine.root - machine.base,
    machine.root - machine.base + 4096,
  );
  const source = machine.sourceIo({ scheduler: new Scheduler() });
  const tableCache = new TableCache();
  const first = new VirtualMemory(source, { root: machine.root, tableCache });
  const second = new VirtualMemory(source, { root: other, tableCache });
  const addresses = BigUint64Array.from(machine.pages.keys(), (vpn) => vpn << 12n);
  await first.translateMany(addresses);
  const before = source.counters.fragments;
  const columns = await second.translateMany(addresses);
  expect(source.counters.fragments).toBe(before + 1);
  for (let pass = 0; pass < 3; pass++) {
    for (const memory of [first, second]) await memory.translateMany(addresses, columns);
    expect([...columns.physical]).toEqual([...machine.pages.values()].map((page) => page.physical));
  }
});

it("large pages translate with their own offset and size, at both levels, and many at a time", async () => {
  const machine = new DummyMachine({ frames: 32 });
  machine.map(KERNEL, { user: false, global: true }, 3, 0x80_4000_0000);
  machine.map(KERNEL + 0x4000_0000n, { executable: false }, 2, 0xf_ff20_0000);
  machine.map(KERNEL + 0x4020_0000n, { writable: false });
  const memory = new VirtualMemory(machine.inlineIo(), { root: machine.root });
  const giant = await memory.translate(KERNEL + 0x3fff_fffen);
  expect(giant).toMatchObject({ physical: 0x80_7fff_fffe, pageSize: 2 ** 30, user: false, global: true });
  const large = await memory.translate(KERNEL + 0x401f_fff1n);
  expect(large).toMatchObject({
    physical: 0xf_ff3f_fff1,
    pageSize: 2 ** 21,
    executable: false,
    global: false,
  });
  const addresses = BigUint64Array.of(KERNEL + 0x3fff_fffen, KERNEL + 0x401f_fff1n, KERNEL + 0x4020_0000n);
  for (let pass = 0; pass < 3; pass++) {
    const columns = memory.translateMany(addresses).sync();
    expect([columns.row(0), columns.row(1)]).toEqual([giant, large]);
    expect([...columns.levels]).toEqual([3, 2, 1]);
    expect([0, 1, 2].map((row) => columns.pageSize(row))).toEqual([2 ** 30, 2 ** 21, 4096]);
  }
  expect(() => memory.translateMany(addresses).sync().row(3)).toThrow(RangeError);
});

it("maps lists every run, with neighbours merged, in ascending order over both halves", async () => {
  const machine = new DummyMachine({ frames: 64, base: 0x1000_0000 });
  const { physical } = machine.map(0x1000n);
  machine.map(0x2000n, {}, 1, physical + 4096);
  machine.map(0x3000n, { writable: false }, 1, physical + 8192);
  machine.map(0x5000n, { writable: false }, 1, physical + 16384);
  machine.map(0x1f_f000n, {}, 1, 0x2000_0000);
  machine.map(0x20_0000n, {}, 1, 0x2000_1000);
  machine.map(KERNEL, {}, 2, 0x4000_0000);
  machine.map(KERNEL + 0x20_0000n, {}, 2, 0x4020_0000);
  machine.map(0xffff_ffff_ffff_f000n, {}, 1, 0x3000_0000);
  const memory = new VirtualMemory(machine.sourceIo({ scheduler: new Scheduler() }), { root: machine.root });
  const runs = await memory.maps().toArray();
  expect(runs.map((run) => [run.start, run.end, run.state === undefined ? run.physical : run.state])).toEqual(
    [
      [0x1000n, 0x3000n, physical],
      [0x3000n, 0x4000n, physical + 8192],
      [0x5000n, 0x6000n, physical + 16384],
      [0x1f_f000n, 0x20_1000n, 0x2000_0000],
      [KERNEL, KERNEL + 0x40_0000n, 0x4000_0000],
      [0xffff_ffff_ffff_f000n, 1n << 64n, 0x3000_0000],
    ],
  );
  const some = memory.maps({ start: 0x2800n, end: 0x3800 });
  expect([...some.sync()].map(({ start, end }) => [start, end])).toEqual([
    [0x2000n, 0x3000n],
    [0x3000n, 0x4000n],
  ]);
  expect([...memory.maps({ start: 5n, end: 5n }).sync()]).toEqual([]);
  expect(() => memory.maps({ start: 2n, end: 1n })).toThrow(RangeError);
  expect(() => memory.maps({ end: (1n << 64n) + 1n, start: 0 })).toThrow(RangeError);
});

it("maps fetches the children of a table as one batch", async () => {
  const machine = new DummyMachine({ frames: 600 });
  for (let i = 0; i < 200; i++) machine.map((BigInt(i) << 21n) + 0x1000n);
  const source = machine.sourceIo({ scheduler: new Scheduler(), turns: 1 });
  const memory = new VirtualMemory(source, { root: machine.root });
  expect(await memory.maps().toArray()).toHaveLength(200);
  expect(source.counters.batches).toBe(4);
});

it("a root that points to itself: translations end, and maps says malformed", async () => {
  const machine = new DummyMachine({ frames: 8 });
  for (let i = 0; i < 512; i++) machine.writeEntry(machine.root + i * 8, BigInt(machine.root) | 7n);
  const memory = new VirtualMemory(machine.inlineIo(), { root: machine.root });
  expect(await memory.translate(0x1234_5678_9abcn)).toMatchObject({
    physical: machine.root + 0xabc,
    pageSize: 4096,
  });
  const runs = await memory.maps().toArray();
  expect(runs).toEqual([
    {
      start: 0n,
      end: 1n << 47n,
      state: "malformed",
      level: 4,
      entry: BigInt(machine.root) | 7n,
      fault: expect.any(Number),
    },
    {
      start: 0xffff_8000_0000_0000n,
      end: 1n << 64n,
      state: "malformed",
      level: 4,
      entry: BigInt(machine.root) | 7n,
      fault: expect.any(Number),
    },
  ]);
});

it("tables whose entries all point to one next table end with malformed runs, not after 512^4 visits", async () => {
  const machine = new DummyMachine({ frames: 8 });
  const tables = [machine.root, machine.frame(), machine.frame(), machine.frame(), machine.frame()];
  for (let level = 0; level < 4; level++) {
    const next = tables[level + 1] as number;
    for (let i = 0; i < 512; i++) machine.writeEntry((tables[level] as number) + i * 8, BigInt(next) | 7n);
  }
  const memory = new VirtualMemory(machine.inlineIo(), { root: machine.root });
  let mapped = 0;
  let malformed = 0;
  let end = 0n;
  for (const run of memory.maps().sync()) {
    if (run.start < end) expect.fail(`runs are not ascending at ${run.start}`);
    end = run.end;
    if (run.state === undefined) mapped++;
    else if (run.state === "malformed") malformed++;
    if (mapped > 4097 * 512) break;
  }
  expect(malformed).toBeGreaterThan(0);
  expect(mapped).toBeLessThanOrEqual(4097 * 512);
  expect(end).toBe(1n << 64n);
}, 60_000);

it("a root outside RAM is a missing table of level 4", async () => {
  const machine = new DummyMachine({ frames: 8 });
  for (const turns of [undefined, 1]) {
    const source = machine.sourceIo(turns === undefined ? {} : { turns });
    const memory = new VirtualMemory(source, { root: 0x10_0000_0000 });
    const missing = { state: "table-missing", level: 4, cause: "outside", entry: 0n };
    expect(await memory.translate(KERNEL)).toMatchObject({ virtual: KERNEL, ...missing });
    expect((await memory.walk(0)).result).toMatchObject({ virtual: 0n, ...missing });
    expect((await memory.walk(0)).steps).toEqual([]);
    const columns = await memory.translateMany(BigUint64Array.of(KERNEL, 1n << 50n, 0n));
    expect([columns.row(0), columns.row(1), columns.row(2)]).toMatchObject([
      missing,
      { state: "non-canonical", level: 0 },
      missing,
    ]);
    expect(await memory.maps().toArray()).toMatchObject([
      { start: 0n, end: 1n << 47n, ...missing },
      { start: 0xffff_8000_0000_0000n, end: 1n << 64n, ...missing },
    ]);
    const { holes } = await readPartial(memory, KERNEL, 10000);
    expect(holes.map(({ start, end, state }) => [start, end, state])).toEqual([[0, 10000, "table-missing"]]);
  }
});

it("a table of which a part is unreadable serves the entries of the rest", async () => {
  const machine = new DummyMachine({ frames: 32 });
  const good = machine.map(0x0000n);
  machine.map(0x1f_f000n);
  const table = machine.entryAt(0n, 1);
  machine.lose(table + 3584, 512);
  const memory = new VirtualMemory(machine.sourceIo(), { root: machine.root });
  for (let pass = 0; pass < 2; pass++) {
    const columns = await memory.translateMany(BigUint64Array.of(5n, 0x1f_f000n, 0x1b_f000n));
    expect(columns.physical[0]).toBe(good.physical + 5);
    expect(columns.row(1)).toMatchObject({ state: "table-missing", level: 1, cause: "outside" });
    expect(columns.row(2)).toMatchObject({ state: "not-present", level: 1 });
    expect([...(await readInto(memory, 0, 16))]).toEqual([...bytesAt(machine, good, 0, 16)]);
    const runs = await memory.maps().toArray();
    expect(runs.map((run) => [run.start, run.end, run.state])).toEqual([
      [0n, 0x1000n, undefined],
      [0x1c_0000n, 0x20_0000n, "table-missing"],
    ]);
  }
});

it("a failed read of a table that may work next time is asked for again", async () => {
  const machine = scattered(1);
  const inner = machine.inlineIo();
  let broken = true;
  const flaky: PacketIo<number> = {
    sendIo(address, view) {
      if (broken) view.fail(9 | (1 << 20));
      else inner.sendIo(address, view);
    },
  };
  expect(faultState(9)).toBe("io");
  const memory = new VirtualMemory(flaky, { root: machine.root });
  const [vpn] = [...machine.pages.keys()] as [bigint];
  expect(await memory.translate(vpn << 12n)).toMatchObject({ state: "table-missing", cause: "io" });
  broken = false;
  expect((await memory.translate(vpn << 12n)).state).toBeUndefined();
});

it("a physical layer that drops a table's view makes the table missing, not the walk endless", async () => {
  const memory = new VirtualMemory({ sendIo() {} }, { root: 0x1000 });
  expect(await memory.translate(0n)).toMatchObject({ state: "table-missing", level: 4, cause: "unanswered" });
  const { holes } = await readPartial(memory, 0n, 8);
  expect(holes.map((hole) => hole.state)).toEqual(["table-missing"]);
});

it("an address that is not canonical is a fault of its own", async () => {
  const machine = scattered(1);
  const memory = new VirtualMemory(machine.inlineIo(), { root: machine.root });
  for (const va of [1n << 47n, 0xffff_7fff_ffff_ffffn, 0xdead_0000_0000_0100n]) {
    expect(await memory.translate(va)).toEqual({
      virtual: va,
      state: "non-canonical",
      level: 0,
      entry: 0n,
      fault: expect.any(Number),
    });
    expect((await memory.walk(va)).steps).toEqual([]);
  }
  expect(() => memory.translate(-1n)).toThrow(RangeError);
  expect(() => memory.translate(1n << 64n)).toThrow(RangeError);
  expect(() => memory.walk(0.5)).toThrow(RangeError);
});

it("ranges across the canonical hole and the end of the address space are split where they change", async () => {
  const machine = new DummyMachine({ frames: 32 });
  const low = machine.map(0x7fff_ffff_f000n);
  const first = machine.map(0xffff_8000_0000_0000n);
  const last = machine.map(0xffff_ffff_ffff_f000n);
  for (const io of [machine.inlineIo(), machine.sourceIo(), machine.sourceIo({ turns: 2 })]) {
    // A layer, because typed access may refuse such a range at its door.
    const memory = new PageTableIo(io, { root: machine.root });
    const over = await readPartial(memory, 0x7fff_ffff_fff0n, 32);
    expect(over.holes.map(({ start, end, state }) => [start, end, state])).toEqual([
      [16, 32, "non-canonical"],
    ]);
    expect([...over.bytes.subarray(0, 16)]).toEqual([...bytesAt(machine, low, 4080, 16)]);
    const into = await readPartial(memory, 0xffff_7fff_ffff_fff0n, 32);
    expect(into.holes.map(({ start, end, state }) => [start, end, state])).toEqual([
      [0, 16, "non-canonical"],
    ]);
    expect([...into.bytes.subarray(16)]).toEqual([...bytesAt(machine, first, 0, 16)]);
    const past = await readPartial(memory, 0xffff_ffff_ffff_fff0n, 32);
    expect(past.holes.map(({ start, end, state }) => [start, end, state])).toEqual([[16, 32, "outside"]]);
    expect([...past.bytes.subarray(0, 16)]).toEqual([...bytesAt(machine, last, 4080, 16)]);
  }
});

it("a not-mapped range fails in one piece for each absent entry, at once", () => {
  const machine = new DummyMachine({ frames: 8 });
  const memory = new PageTableIo(machine.inlineIo(), { root: machine.root });
  const packet = Packet.reading(64 * 1024 * 1024);
  const seen: [number, number, string][] = [];
  const output: Output = {
    onFragment: ({ start, end, fault }) => {
      seen.push([start, end, faultState(fault)]);
    },
  };
  memory.sendIo(0x7f_fe00_0000n, packet.view().bind(output));
  expect(seen).toEqual([
    [0, 32 * 1024 * 1024, "not-present"],
    [32 * 1024 * 1024, 64 * 1024 * 1024, "not-present"],
  ]);
});

it("pages that continue each other physically are forwarded as one view", async () => {
  const machine = new DummyMachine({ frames: 80, seed: 3 });
  for (let i = 0; i < 16; i++) machine.map(0x40_0000n + BigInt(i * 4096), {}, 1, 0x10_0000 + i * 4096);
  const sent: [number, number][] = [];
  const inner = machine.inlineIo();
  const watched: PacketIo<number> = {
    sendIo(address: number, view: BoundView) {
      sent.push([address, view.length]);
      if (address >= 0x10_0000) view.fail(1);
      else inner.sendIo(address, view);
    },
  };
  const memory = new PageTableIo(watched, { root: machine.root });
  await readPartial(memory, 0x40_0800, 12 * 4096);
  expect(sent.filter(([address]) => address >= 0x10_0000)).toEqual([[0x10_0800, 12 * 4096]]);
});

it("a write lands at the right physical bytes, split over scattered pages", async () => {
  for (const turns of [undefined, 1]) {
    const machine = new DummyMachine({ frames: 64, seed: 5 });
    const pages = [0, 1, 2].map((i) => machine.map(KERNEL + BigInt(i * 4096), { writable: i !== 1 }));
    const before = machine.bytes.slice();
    const memory = new VirtualMemory(machine.sourceIo(turns === undefined ? {} : { turns }), {
      root: machine.root,
    });
    const bytes = Uint8Array.from({ length: 6000 }, (_, i) => i * 7);
    await write(memory, KERNEL + 2000n, bytes);
    const expected = before;
    bytes.forEach((byte, i) => {
      const page = pages[Math.floor((2000 + i) / 4096)] as DummyPage;
      expected[page.physical + ((2000 + i) % 4096)] = byte;
    });
    expect(Buffer.compare(machine.bytes, expected)).toBe(0);
  }
});

it("entries that are absent with other bits set are not present, with the entry's value", async () => {
  const machine = new DummyMachine({ frames: 32 });
  machine.map(0x1000n);
  const value = 0xfff8_1234_5678_9182n;
  machine.writeEntry(machine.entryAt(0x3000n, 1), value);
  machine.writeEntry(machine.entryAt(0x20_0000n, 2), 0x80n);
  const memory = new VirtualMemory(machine.inlineIo(), { root: machine.root });
  const expected = { state: "not-present", level: 1, entry: value };
  expect(await memory.translate(0x3000n)).toMatchObject(expected);
  expect(await memory.translate(0x20_0000)).toMatchObject({ state: "not-present", level: 2, entry: 0x80n });
  const columns = await memory.translateMany(BigUint64Array.of(0x1000n, 0x3000n));
  expect(columns.row(1)).toMatchObject(expected);
  expect([columns.entry(0), columns.entry(1)]).toEqual([0n, value]);
  const { steps } = await memory.walk(0x3000n);
  expect(steps.map(({ name, present }) => [name, present])).toEqual([
    ["PML4E", true],
    ["PDPTE", true],
    ["PDE", true],
    ["PTE", false],
  ]);
  expect(await memory.maps().toArray()).toHaveLength(1);
});

/** A live machine of which one table's reads stay in flight, with the bytes of when they were sent, until `release`. */
function heldMachine() {
  const machine = new DummyMachine({ seed: 5 });
  const first = machine.map(0x1000n).physical;
  machine.map(0x80_0000_0000n);
  const second = machine.frame();
  const held = { table: -1, release: () => {} };
  const gate = new Promise<void>((resolve) => {
    held.release = resolve;
  });
  const source = new SourceIo(
    {
      name: "held",
      supports: { write: false, live: true },
      ranges: () => AddressRanges.single(machine.base, machine.base + machine.bytes.length),
      transfer: async (batch) => {
        let wait = false;
        for (let row = 0; row < batch.length; row++) {
          const at = batch.address(row) - machine.base;
          batch.bytes(row).set(machine.bytes.subarray(at, at + (batch.lengths[row] as number)));
          batch.done(row);
          wait ||= at + machine.base === held.table;
        }
        await (wait ? gate : null);
      },
    },
    new Scheduler(),
  );
  const remap = () => {
    const at = machine.entryAt(0x1000n, 1);
    machine.writeEntry(at, (machine.readEntry(at) & ~0xf_ffff_ffff_f000n) | BigInt(second));
  };
  return {
    machine,
    first,
    second,
    held,
    remap,
    live: new VirtualMemory(source, { root: machine.root, live: true }),
  };
}

it("a live source's tables are not kept for as long as any other request is under way", async () => {
  const { machine, first, second, held, remap, live } = heldMachine();
  held.table = machine.entryAt(0x80_0000_0000n, 1) & ~0xfff;
  const other = live.translate(0x80_0000_0000n).promise();
  for (let turn = 0; turn < 100; turn++) await null;
  expect(await live.translate(0x1000)).toMatchObject({ physical: first });
  remap();
  expect(await live.translate(0x1000)).toMatchObject({ physical: second });
  expect((await live.translateMany(BigUint64Array.of(0x1000n))).physical[0]).toBe(second);
  held.release();
  expect(await other).toMatchObject({ pageSize: 4096 });
});

it("a live source's table that was read before a request began does not serve it, also if it arrives later", async () => {
  const { machine, second, held, remap, live } = heldMachine();
  held.table = machine.entryAt(0x1000n, 1) & ~0xfff;
  const before = live.translate(0x1000).promise();
  for (let turn = 0; turn < 100; turn++) await null;
  remap();
  const after = live.translate(0x1000).promise();
  for (let turn = 0; turn < 100; turn++) await null;
  held.release();
  await before;
  expect(await after).toMatchObject({ physical: second });
  expect(await live.translate(0x1000)).toMatchObject({ physical: second });
});

it.each([undefined, 0])(
  "a page table that is written through physical memory is read anew (cache of %s)",
  async (cacheBytes) => {
    for (const turns of [undefined, 3]) {
      const machine = new DummyMachine({ seed: 5 });
      const first = machine.map(0x1000n).physical;
      const second = machine.frame();
      const scheduler = new Scheduler();
      const source = machine.sourceIo(turns === undefined ? { scheduler } : { scheduler, turns });
      const map = PhysicalMap.single(machine.base, machine.base + machine.bytes.length);
      const physical = new PhysicalMemory(source, { map, cacheBytes });
      const memory = new VirtualMemory(physical, { root: machine.root });
      const at = machine.entryAt(0x1000n, 1);
      const entries = [second, first].map(
        (page) => (machine.readEntry(at) & ~0xf_ffff_ffff_f000n) | BigInt(page),
      );
      expect(await memory.translate(0x1000)).toMatchObject({ physical: first });
      await physical.write(u64, at, entries[0] as bigint);
      expect(await memory.translate(0x1000)).toMatchObject({ physical: second });
      // Walked while the write is under way: before or after, but not for long.
      const writing = physical.write(u64, at, entries[1] as bigint).promise();
      await memory.translate(0x1000);
      await writing;
      expect(await memory.translate(0x1000)).toMatchObject({ physical: first });
      const { batches } = source.counters;
      await memory.translate(0x1000);
      expect(source.counters.batches).toBe(batches);
    }
  },
);

it("a live source's tables are shared within a batch and not beyond", async () => {
  const machine = new DummyMachine({ frames: 32 });
  const first = machine.map(0x1000n);
  const second = machine.frame();
  machine.fill(second);
  const source = machine.sourceIo({ scheduler: new Scheduler(), turns: 1 });
  const live = new VirtualMemory(source, { root: machine.root, live: true });
  const still = new VirtualMemory(source, { root: machine.root });
  const both = () => all([readInto(live, 0x1000, 8), readInto(live, 0x1800, 8)]);
  expect([...(await both())[0]]).toEqual([...bytesAt(machine, first, 0, 8)]);
  expect(source.counters.batches).toBe(5);
  await still.translate(0x1000);
  machine.writeEntry(machine.entryAt(0x1000n, 1), BigInt(second) | 7n);
  expect([...(await both())[1]]).toEqual([...machine.bytes.subarray(second + 0x800, second + 0x808)]);
  expect(await live.translate(0x1000)).toMatchObject({ physical: second });
  expect((await live.translateMany(BigUint64Array.of(0x1000n))).physical[0]).toBe(second);
  expect(await still.translate(0x1000)).toMatchObject({ physical: first.physical });
  still.tableCache.flush();
  expect(await still.translate(0x1000)).toMatchObject({ physical: second });
});

it("views that wait for a table when the request is aborted fail as aborted, and are not sent", async () => {
  const machine = new DummyMachine({ frames: 32 });
  machine.map(0x1000n);
  const source = machine.sourceIo({ scheduler: new Scheduler(), turns: 5 });
  const memory = new PageTableIo(source, { root: machine.root });
  const packet = Packet.reading(16);
  const done = new Promise<void>((resolve) => {
    const output = { onFragment: () => resolve() };
    memory.sendIo(0x1000n, packet.view().bind(output));
  });
  await null;
  packet.abort();
  await done;
  expect(packet.holes().map((hole) => hole.state)).toEqual(["aborted"]);
  expect(source.counters.fragments).toBe(1);
});

it("a root or cache that can't be is refused at the door", () => {
  const machine = new DummyMachine({ frames: 8 });
  const physical = machine.inlineIo();
  for (const root of [0x1001, 0.5]) {
    expect(() => new VirtualMemory(physical, { root })).toThrow(/multiple of 4096/);
  }
  const tableCache = new TableCache({ mmu: aarch64({ granule: 65_536, bits: 48 }) });
  expect(() => new VirtualMemory(physical, { root: 0, tableCache })).toThrow(/8192 entries/);
});

it("translateMany of more rows than wait at a time, over tables that are all missing at first", async () => {
  const machine = new DummyMachine({ frames: 512, seed: 9 });
  const pages = Array.from({ length: 50 }, (_, i) => {
    const va = BigInt(i % 25) * 0x4000_0000n + BigInt(i) * 0x20_0000n;
    return [va, machine.map(va)] as const;
  });
  const source = machine.sourceIo({ scheduler: new Scheduler() });
  const memory = new VirtualMemory(source, { root: machine.root });
  const rows = 100_000;
  const columns = await memory.translateMany(
    BigUint64Array.from({ length: rows }, (_, i) => (pages[i % 50] as readonly [bigint, DummyPage])[0]),
  );
  expect(columns.failed).toBe(0);
  for (let i = 0; i < rows; i++) {
    if (columns.physical[i] !== (pages[i % 50] as readonly [bigint, DummyPage])[1].physical)
      expect.fail(`row ${i}`);
  }
  expect(source.counters.batches).toBe(4);
});

it("what translateMany remembers of a region goes when its tables are evicted", () => {
  const machine = new DummyMachine({ frames: 100 });
  const pages = Array.from({ length: 40 }, (_, i) => {
    const va = BigInt(i) * 0x20_0000n;
    return [va, machine.map(va)] as const;
  });
  // (Without translations that outlive their tables: then few would be fetched twice.)
  const tableCache = new TableCache({ bytes: 8 * TABLE, translations: 0 });
  const memory = new VirtualMemory(machine.inlineIo(new Scheduler()), { root: machine.root, tableCache });
  for (let round = 0; round < 300; round++) {
    const [va, page] = pages[round % 3] as (typeof pages)[number];
    // Found, linked, remembered, used.
    for (let pass = 0; pass < 4; pass++) {
      expect(memory.translateMany(BigUint64Array.of(va)).sync().physical[0]).toBe(page.physical);
    }
    // Others take its place.
    for (let i = 0; i < 7; i++) {
      const [other, its] = pages[3 + ((round * 7 + i) % 37)] as (typeof pages)[number];
      expect(memory.translate(other).sync()).toMatchObject({ physical: its.physical });
    }
  }
  expect(tableCache.evictions).toBeGreaterThan(1000);
});

it.each([
  ["a large", undefined],
  ["a small", 20 * TABLE],
  ["a tiny", 10 * TABLE],
])(
  "translateMany with %s cache holds a bounded number of tables: what is beyond waits a round longer",
  async (_, bytes) => {
    const tables = 8192 + 500;
    const machine = new DummyMachine({ frames: tables + 100 });
    const addresses = BigUint64Array.from({ length: tables }, (_, i) => KERNEL + BigInt(i) * 0x20_0000n);
    addresses.forEach((va, i) => {
      machine.map(va, {}, 1, 0x8000_0000 + i * 4096);
    });
    const source = machine.sourceIo({ scheduler: new Scheduler() });
    const tableCache = new TableCache(bytes === undefined ? {} : { bytes });
    const memory = new VirtualMemory(source, { root: machine.root, tableCache });
    const columns = await memory.translateMany(addresses);
    expect(source.counters.batches).toBe(5);
    for (let i = 0; i < tables; i++) {
      if (columns.physical[i] !== 0x8000_0000 + i * 4096) expect.fail(`row ${i}`);
    }
  },
);

it("what waits in a part of a long column is not what waits in the next, where that has its place", async () => {
  const tables = 8192 + 4000;
  const machine = new DummyMachine({ frames: 2 * tables + 200 });
  for (let i = 0; i < 2 * tables; i++)
    machine.map(KERNEL + BigInt(i) * 0x20_0000n, {}, 1, 2 ** 31 + i * 4096);
  // As many rows as wait at a time, and then others.
  const tableOf = (row: number) => (row < 65_536 ? row % tables : row - 65_536 + tables);
  const addresses = BigUint64Array.from(
    { length: 65_536 + tables },
    (_, row) => KERNEL + BigInt(tableOf(row)) * 0x20_0000n,
  );
  // Nothing is remembered of single pages: each part begins with tables.
  const tableCache = new TableCache({ bytes: 60 * TABLE, translations: 0 });
  const source = machine.sourceIo({ scheduler: new Scheduler(), turns: 2 });
  const memory = new VirtualMemory(source, { root: machine.root, tableCache });
  const running = memory.translateMany(addresses).promise();
  while (source.counters.batches < 5) await null;
  // So the tables of the next part come to where those of this one were.
  memory.flush();
  const { physical } = await running;
  for (let row = 0; row < addresses.length; row++) {
    if (physical[row] !== 2 ** 31 + tableOf(row) * 4096) expect.fail(`row ${row}`);
  }
});

it("of any number of tables that can't be read, some are remembered", async () => {
  const machine = new DummyMachine({ frames: 64 });
  const addresses = new BigUint64Array(4 * 512);
  for (let i = 0; i < addresses.length; i++) {
    const virtual = BigInt(i) << 30n;
    addresses[i] = virtual;
    machine.writeEntry(machine.entryAt(virtual, 3), BigInt(2 ** 40 + i * 4096) | 7n);
  }
  const source = machine.sourceIo({ scheduler: new Scheduler() });
  const memory = new VirtualMemory(source, { root: machine.root });
  const columns = await memory.translateMany(addresses);
  expect(columns.failed).toBe(addresses.length);
  expect(columns.row(2047)).toMatchObject({ state: "table-missing", cause: "outside", level: 2 });
  expect(memory.tableCache.broken.size).toBe(1024);
});

it("pages of which only the low halves of their addresses continue each other are apart", async () => {
  const machine = new DummyMachine({ frames: 32 });
  const { physical } = machine.map(0x1000n);
  for (const above of [2 ** 32, 2 ** 51]) {
    machine.map(0x2000n, {}, 1, above + ((physical + 4096) % 2 ** 32));
    const memory = new VirtualMemory(machine.sourceIo({ scheduler: new Scheduler() }), {
      root: machine.root,
    });
    const { holes } = await readPartial(memory, 0x1000, 8192);
    expect(holes).toMatchObject([{ start: 4096, end: 8192, state: "outside" }]);
    expect(await memory.maps().toArray()).toMatchObject([
      { physical },
      { physical: above + physical + 4096 },
    ]);
  }
});
