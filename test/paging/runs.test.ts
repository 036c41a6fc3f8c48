import fc from "fast-check";
import { expect, it } from "vitest";
import { all, Scheduler } from "../../src/io/index.js";
import { compileMmu } from "../../src/paging/formats/mmu.js";
import { type MapRun, RunColumns, TableCache, VirtualMemory, X86_64 } from "../../src/paging/index.js";
import { DummyMachine, randomBits } from "../support/dummy-machine.js";
import { maps as referenceMaps } from "../support/reference-walker.js";

const PAGE = 4096n;

/** Long and short runs of all page sizes side by side, with changes of rights and every kind of mistake. */
function machine(seed: number): DummyMachine {
  const dummy = new DummyMachine({ seed, frames: 300, base: 0x1_0000_0000 });
  const random = randomBits(seed + 1);
  const bases = [0n, 0xffff_8880_0000_0000n, 0x7fff_c000_0000n, 0xffff_ffff_8000_0000n];
  for (const base of bases) {
    for (let part = 0; part < 6; part++) {
      const level = part === 5 ? 1 + (random() % 3) : 1;
      const size = 2 ** (12 + 9 * (level - 1));
      let at = base + BigInt(random() % 3) * 0x4000_0000n + BigInt((random() % 8) * 0x20_0000);
      at += BigInt(level === 1 ? (random() % 512) * 4096 : 0);
      if (level === 3) at -= at % 0x4000_0000n;
      // Around 4 GiB and 1 TiB, where the words of an address carry.
      let physical = 2 ** (random() % 2 === 0 ? 32 : 40) - (random() % 4) * size;
      if (level === 3) physical -= physical % size;
      let rights = { writable: true };
      // Pages that differ in their frame alone, so that nearly each is a run of its own.
      const scattered = random() % 2 === 0;
      for (let i = 0; i < 1 + (random() % (scattered ? 120 : 40)); i++) {
        if (at >= (base === 0n || base === 0x7fff_c000_0000n ? 1n << 47n : 1n << 64n)) break;
        const kind = random() % 24;
        if (kind === 0) rights = { writable: random() % 2 === 0 };
        if (kind === 1) physical += size;
        // Now and then one follows the other after all, or its low word alone does.
        const jump = random() % 16;
        if (scattered && jump > 1) physical = 2 ** 32 * (random() % 3) + size * (random() % 2048);
        if (scattered && jump === 1) physical = (physical + 2 ** 32) % 2 ** 42;
        const entry = dummy.entryAt(at, level);
        if (kind === 2) dummy.writeEntry(entry, BigInt(random() & ~1));
        else if (kind === 3 && level > 1) dummy.writeEntry(entry, 0x83n | (1n << 14n));
        else if (kind === 4 && level > 1) dummy.writeEntry(entry, BigInt(2 ** 41) | 7n);
        else if ((dummy.readEntry(entry) & 1n) === 0n) {
          dummy.map(at, rights, level, physical);
          // Accessed and dirty bits are not rights.
          if (!scattered) dummy.writeEntry(entry, dummy.readEntry(entry) | BigInt(random() & 0x60));
        }
        physical += size;
        at += BigInt(size);
      }
    }
  }
  return dummy;
}

function rows(runs: RunColumns): MapRun[] {
  return Array.from({ length: runs.length }, (_, row) => runs.row(row));
}

/** A run without its fault, which the reference doesn't know. */
function plain(run: MapRun): unknown {
  if (run.state === undefined) return run;
  const { fault: _, ...rest } = run;
  return rest;
}

function expected(dummy: DummyMachine): unknown[] {
  return referenceMaps(dummy.reader(), BigInt(dummy.root)).map((run) =>
    "state" in run ? run : { ...run, physical: Number(run.physical), pageSize: Number(run.pageSize) },
  );
}

it("runs and maps are the reference's, whatever the room for rows", () => {
  const seen = { sizes: new Set<number>(), long: false, broken: false, scattered: 0 };
  fc.assert(
    fc.property(fc.nat({ max: 2 ** 30 }), fc.constantFrom(2, 3, 10, 1000), (seed, capacity) => {
      const dummy = machine(seed);
      const memory = new VirtualMemory(dummy.inlineIo(new Scheduler()), { root: dummy.root });
      const all = expected(dummy);
      const found = rows(memory.runs().sync());
      let scattered = 0;
      for (const run of found) {
        scattered = run.state === undefined && run.end - run.start === PAGE ? scattered + 1 : 0;
        seen.scattered = Math.max(seen.scattered, scattered);
        if (run.state !== undefined) seen.broken = true;
        else seen.sizes.add(run.pageSize);
        if (run.state === undefined && run.end - run.start > BigInt(run.pageSize)) seen.long = true;
      }
      expect(found.map(plain)).toEqual(all);
      expect([...memory.maps().sync()].map(plain)).toEqual(all);
      // In pieces: each goes on where the columns ended.
      const columns = new RunColumns(compileMmu(X86_64), capacity);
      const pieces: MapRun[] = [];
      for (let at = 0n; at < 1n << 64n; at = columns.end) {
        expect(memory.runs({ start: at, end: 1n << 64n }, columns).sync()).toBe(columns);
        expect(columns.length).toBeLessThanOrEqual(capacity);
        pieces.push(...rows(columns));
      }
      expect(pieces.map(plain)).toEqual(all);
    }),
    { numRuns: 150 },
  );
  expect(seen).toMatchObject({ sizes: new Set([4096, 2 ** 21, 2 ** 30]), long: true, broken: true });
  expect(seen.scattered).toBeGreaterThan(20);
});

it("a consumer of maps() that has other tables read between two runs gets the same runs", () => {
  const dummy = new DummyMachine({ frames: 64, base: 0x1_0000_0000 });
  // Two last tables full of scattered pages: more runs than are made before the first is handed out.
  for (let i = 0; i < 1024; i++) dummy.map(PAGE * BigInt(i), {}, 1, 2 ** 33 + ((i * 7) % 1024) * 4096);
  for (let i = 0; i < 16; i++) dummy.map(0x7f00_0000_0000n + 0x20_0000n * BigInt(i));
  const wanted = expected(dummy);
  for (const tables of [1, 2, 5, 64]) {
    const tableCache = new TableCache({ bytes: tables * 6200 });
    const memory = new VirtualMemory(dummy.inlineIo(new Scheduler()), { root: dummy.root, tableCache });
    const found: MapRun[] = [];
    for (const run of memory.maps().sync()) {
      found.push(run);
      if (found.length % 100 === 0)
        memory.translate(0x7f00_0000_0000n + 0x20_0000n * BigInt((found.length / 100) % 16)).sync();
      if (found.length % 300 === 0) memory.flush();
    }
    expect(found.map(plain)).toEqual(wanted);
  }
});

it("runs of a range are clipped, down to a part of a large page", () => {
  fc.assert(
    fc.property(
      fc.nat({ max: 2 ** 30 }),
      fc.nat(),
      fc.integer({ min: 1, max: 2000 }),
      (seed, first, count) => {
        const dummy = machine(seed);
        const memory = new VirtualMemory(dummy.inlineIo(new Scheduler()), { root: dummy.root });
        const whole = [...memory.maps().sync()];
        const run = whole[first % whole.length] as MapRun;
        const start = run.start + PAGE * (BigInt(first) % ((run.end - run.start) / PAGE));
        const end = start + PAGE * BigInt(count) > 1n << 64n ? 1n << 64n : start + PAGE * BigInt(count);
        const wanted = whole
          .filter((each) => each.end > start && each.start < end)
          .map((each) => {
            const from = each.start > start ? each.start : start;
            const to = each.end < end ? each.end : end;
            if (each.state !== undefined) return { ...each, start: from, end: to };
            return { ...each, start: from, end: to, physical: each.physical + Number(from - each.start) };
          });
        const runs = memory.runs({ start, end }).sync();
        expect(rows(runs)).toEqual(wanted);
        expect(runs.end).toBe(end);
      },
    ),
    { numRuns: 150 },
  );
});

it("a run ends where the low word of its frames begins anew and the high one does not go on", () => {
  const dummy = new DummyMachine({ frames: 16 });
  const frames = [0x1_ffff_e000n, 0x1_ffff_f000n, 0x1_0000_0000n, 0x1_0000_1000n];
  frames.forEach((frame, i) => {
    dummy.writeEntry(dummy.entryAt(BigInt(i) * 4096n, 1), frame | 7n);
  });
  const memory = new VirtualMemory(dummy.inlineIo(new Scheduler()), { root: dummy.root });
  expect([...memory.maps().sync()]).toMatchObject([
    { start: 0n, end: 0x2000n, physical: 0x1_ffff_e000 },
    { start: 0x2000n, end: 0x4000n, physical: 0x1_0000_0000 },
  ]);
});

it("rows can be read as columns", () => {
  const dummy = new DummyMachine({ frames: 16 });
  for (let i = 0; i < 3; i++)
    dummy.map(0x7000n + PAGE * BigInt(i), { executable: false }, 1, 2 ** 40 + i * 4096);
  const memory = new VirtualMemory(dummy.inlineIo(new Scheduler()), { root: dummy.root });
  const runs = memory.runs().sync();
  expect([runs.length, runs.starts[0], runs.lengths[0], runs.physical[0]]).toEqual([
    1,
    0x7000n,
    12288,
    2 ** 40,
  ]);
  expect([runs.levels[0], runs.pageSize(0), runs.end]).toEqual([1, 4096, 1n << 64n]);
  expect(() => runs.row(1)).toThrow(RangeError);
  expect(() => memory.runs({ start: 5n, end: 4n })).toThrow(RangeError);
});

it("columns that failed rows were in are as good as new", () => {
  const dummy = new DummyMachine({ frames: 16 });
  dummy.writeEntry(dummy.entryAt(0x4000_0000n, 2), 0x83n | (1n << 14n));
  dummy.map(0x1000n);
  const memory = new VirtualMemory(dummy.inlineIo(new Scheduler()), { root: dummy.root });
  const both = memory.runs().sync();
  expect(rows(both).map((run) => run.state)).toEqual([undefined, "malformed"]);
  for (let i = 0; i < 2; i++) dummy.map(0x8000_0000n + BigInt(i) * 0x2000n);
  memory.tableCache.flush();
  const later = memory.runs({ start: 0x8000_0000n, end: 0x9000_0000n }, both).sync();
  expect(rows(later).map((run) => run.state)).toEqual([undefined, undefined]);
});

it("tables that come from afar are fetched a level at a time, for runs as for maps", async () => {
  const dummy = machine(5);
  const all5 = expected(dummy);
  const source = dummy.sourceIo({ scheduler: new Scheduler(), turns: 2 });
  const memory = new VirtualMemory(source, { root: dummy.root });
  const [runs, maps] = await all([memory.runs(), memory.maps().toArray()]);
  expect(rows(runs).map(plain)).toEqual(all5);
  expect(maps.map(plain)).toEqual(all5);
});
