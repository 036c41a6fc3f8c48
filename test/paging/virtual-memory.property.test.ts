import fc from "fast-check";
import { expect, it } from "vitest";
import { hostWasm } from "../../connectors/host-wasm.js";
import { all, type PacketIo, readPartial, Scheduler } from "../../src/io/index.js";
import { type MapRun, TableCache, type Translation, VirtualMemory } from "../../src/paging/index.js";
import { DummyMachine } from "../support/dummy-machine.js";
import * as reference from "../support/reference-walker.js";

/**
 * Machines of a few frames whose entries point anywhere: at each other, at themselves, outside RAM, at lost frames,
 * with reserved bits, as large pages at every level, absent with other bits set. Indices come from few values, so
 * that walks go deep.
 */
const INDICES = [0, 1, 2, 255, 256, 511];
const FRAMES = 12;

function chaos(seed: number, density: number, absent: number): DummyMachine {
  const machine = new DummyMachine({ seed, frames: FRAMES, base: 0x10_0000_0000 });
  const { random } = machine;
  for (let i = 0; i < machine.bytes.length; i += 4) machine.words.setUint32(i, random(), true);
  for (let frame = 0; frame < FRAMES; frame++) {
    for (let index = 0; index < 512; index++) {
      const at = machine.base + frame * 4096 + index * 8;
      machine.writeEntry(
        at,
        INDICES.includes(index) && random() % 100 < density ? entry(machine, absent) : 0n,
      );
    }
  }
  for (let i = 0; i < FRAMES; i++) {
    const frame = machine.base + i * 4096;
    if (random() % 12 === 0) machine.lose(frame);
    else if (random() % 8 === 0) machine.lose(frame + (random() % 2) * 3584, 512);
  }
  return machine;
}

function entry(machine: DummyMachine, absent: number): bigint {
  const { random } = machine;
  if (random() % 100 < absent) return (BigInt(random()) << 32n) | BigInt(random() & ~1);
  let frame = BigInt(machine.base + (random() % (FRAMES + 1)) * 4096);
  const kind = random() % 16;
  let bits = 1n | BigInt(random() & 0x1e) | (random() % 2 === 0 ? 1n << 63n : 0n) | BigInt(random() & 0x100);
  if (random() % 2 === 0) bits |= 6n;
  if (kind === 0) bits |= 0x80n;
  if (kind === 1) bits |= 1n << 52n;
  if (kind === 2) {
    // A large page: aligned for 1 GiB, with or without its PAT bit.
    frame &= ~0x3fff_ffffn;
    bits |= 0x80n | BigInt(random() & 0x1000);
  }
  if (kind === 3) {
    frame &= ~0x3fff_ffffn;
    bits |= 0x80n | (1n << BigInt(12 + (random() % 18)));
  }
  return frame | bits;
}

/** Kept as numbers, so that a counterexample can be printed. */
const machines = fc.record({
  seed: fc.integer(),
  density: fc.integer({ min: 10, max: 90 }),
  absent: fc.integer({ min: 0, max: 40 }),
});

const canonicalAddress = fc
  .tuple(...Array.from({ length: 4 }, () => fc.constantFrom(...INDICES)), fc.integer({ min: 0, max: 4095 }))
  .map((parts) => {
    const [a, b, c, d, offset] = parts.map(BigInt) as [bigint, bigint, bigint, bigint, bigint];
    const low = (a << 39n) | (b << 30n) | (c << 21n) | (d << 12n) | offset;
    return a >= 256n ? low | 0xffff_0000_0000_0000n : low;
  });
const address = fc.oneof(
  { weight: 12, arbitrary: canonicalAddress },
  { weight: 1, arbitrary: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }) },
);

type Kind = "inline" | "source" | "delayed";
const kinds = fc.constantFrom<Kind>("inline", "source", "delayed");

function physicalOf(machine: DummyMachine, kind: Kind, scheduler: Scheduler): PacketIo<number> {
  if (kind === "inline") return machine.inlineIo(scheduler);
  return machine.sourceIo(kind === "source" ? { scheduler } : { scheduler, turns: 3 });
}

interface Setup {
  tablesOf: { seed: number; density: number; absent: number };
  kind: Kind;
  tables: number;
  translations: number;
  compileAfter: number;
  live: boolean;
}

const setups: fc.Arbitrary<Setup> = fc.record({
  tablesOf: machines,
  kind: kinds,
  tables: fc.constantFrom(1, 2, 3, 9, 100),
  translations: fc.constantFrom(0, 4, 1024),
  compileAfter: fc.constantFrom(1, Number.MAX_SAFE_INTEGER),
  live: fc.boolean(),
});

function build({ tablesOf, kind, tables, translations, compileAfter, live }: Setup) {
  const machine = chaos(tablesOf.seed, tablesOf.density, tablesOf.absent);
  const physical = physicalOf(machine, kind, new Scheduler());
  const tableCache = new TableCache({ bytes: tables * 6174, translations, compileAfter, wasm: hostWasm });
  const memory = new VirtualMemory(physical, { root: machine.root, live, tableCache });
  return { machine, memory, sync: kind !== "delayed" };
}

/** A translation in the reference's terms. */
function plain(translation: Translation): unknown {
  if (translation.state !== undefined) {
    const { state, level, entry: value, cause } = translation;
    return { state, level, entry: value, ...(cause === undefined ? {} : { cause }) };
  }
  const { physical, pageSize, virtual: _, ...rights } = translation;
  return { physical: BigInt(physical), pageSize: BigInt(pageSize), ...rights };
}

function plainRun(run: MapRun): unknown {
  const { start, end } = run;
  if (run.state !== undefined) {
    const { state, level, entry: value, cause } = run;
    return { start, end, state, level, entry: value, ...(cause === undefined ? {} : { cause }) };
  }
  const { physical, pageSize, ...rest } = run;
  return { ...rest, physical: BigInt(physical), pageSize: BigInt(pageSize) };
}

it("translate, one by one and side by side, agrees with the reference on any tables", async () => {
  await fc.assert(
    fc.asyncProperty(setups, fc.array(address, { minLength: 1, maxLength: 20 }), async (setup, addresses) => {
      const { machine, memory, sync } = build(setup);
      const root = BigInt(machine.root);
      const expected = addresses.map((va) => reference.walk(machine.reader(), root, va).result);
      const together = await all(addresses.map((va) => memory.translate(va)));
      expect(together.map(plain)).toEqual(expected);
      for (const [i, va] of addresses.entries()) {
        const translation = sync ? memory.translate(va).sync() : await memory.translate(va);
        expect(translation.virtual).toBe(va);
        expect(plain(translation)).toEqual(expected[i]);
      }
    }),
    { numRuns: 200 },
  );
}, 60_000);

it("translateMany agrees with the reference on any tables, cold and warm, with columns used again", async () => {
  await fc.assert(
    fc.asyncProperty(setups, fc.array(address, { maxLength: 60 }), async (setup, addresses) => {
      const { machine, memory, sync } = build(setup);
      const root = BigInt(machine.root);
      const expected = addresses.map((va) => reference.walk(machine.reader(), root, va).result);
      const column = BigUint64Array.from(addresses);
      const columns = await memory.translateMany(column);
      expect(addresses.map((_, i) => plain(columns.row(i)))).toEqual(expected);
      expect(columns.failed).toBe(expected.filter((result) => "state" in result).length);
      const backwards = column.slice().reverse();
      const again = sync
        ? memory.translateMany(backwards, columns).sync()
        : await memory.translateMany(backwards, columns);
      expect(again).toBe(columns);
      expect(addresses.map((_, i) => plain(again.row(i)))).toEqual(expected.slice().reverse());
      for (let pass = 0; pass < 3; pass++) {
        await memory.translateMany(column, columns);
        expect(addresses.map((_, i) => plain(columns.row(i)))).toEqual(expected);
      }
    }),
    { numRuns: 200 },
  );
}, 60_000);

it("walk gives every entry on the way, as the reference reads them", async () => {
  await fc.assert(
    fc.asyncProperty(setups, address, async (setup, va) => {
      const { machine, memory } = build(setup);
      const expected = reference.walk(machine.reader(), BigInt(machine.root), va);
      for (const pass of ["cold", "warm"]) {
        const { steps, result } = await memory.walk(va);
        expect({ pass, result: plain(result) }).toEqual({ pass, result: expected.result });
        expect(
          steps.map(({ level, entryAddress, entry: value }) => ({
            level,
            entryAddress: BigInt(entryAddress ?? -1),
            entry: value,
          })),
        ).toEqual(expected.steps);
        expect(steps.map((step) => step.present)).toEqual(
          expected.steps.map((step) => (step.entry & 1n) === 1n),
        );
        expect(steps.map((step) => step.name)).toEqual(
          ["PML4E", "PDPTE", "PDE", "PTE"].slice(0, steps.length),
        );
      }
    }),
    { numRuns: 200 },
  );
}, 60_000);

it("maps gives the reference's runs, sync and async", async () => {
  await fc.assert(
    fc.asyncProperty(setups, async (setup) => {
      const { machine, memory, sync } = build(setup);
      const expected = reference.maps(machine.reader(), BigInt(machine.root));
      expect((await memory.maps().toArray()).map(plainRun)).toEqual(expected);
      if (sync) expect([...memory.maps().sync()].map(plainRun)).toEqual(expected);
    }),
    { numRuns: 60 },
  );
}, 60_000);

it("maps of a range gives the same runs, clipped", async () => {
  await fc.assert(
    fc.asyncProperty(setups, address, address, async (setup, a, b) => {
      const { machine, memory } = build(setup);
      const [start, end] = a < b ? [a & ~0xfffn, b & ~0xfffn] : [b & ~0xfffn, a & ~0xfffn];
      const expected = reference
        .maps(machine.reader(), BigInt(machine.root))
        .filter((run) => start < end && run.end > start && run.start < end)
        .map((run) => {
          const first = run.start > start ? run.start : start;
          const last = run.end < end ? run.end : end;
          if ("state" in run) return { ...run, start: first, end: last };
          return { ...run, start: first, end: last, physical: run.physical + first - run.start };
        });
      expect((await memory.maps({ start, end }).toArray()).map(plainRun)).toEqual(expected);
    }),
    { numRuns: 60 },
  );
}, 60_000);

it("reads give each byte or its reason as the reference says, sync and async, scattered and together", async () => {
  const request = fc.record({ at: address, length: fc.integer({ min: 1, max: 3 * 4096 }) });
  await fc.assert(
    fc.asyncProperty(setups, fc.array(request, { minLength: 1, maxLength: 6 }), async (setup, requests) => {
      const { machine, memory, sync } = build(setup);
      const together = await all(requests.map(({ at, length }) => readPartial(memory, at, length)));
      for (const [i, { at, length }] of requests.entries()) {
        const expected = referenceRead(machine, at, length);
        const outcomes = [together[i] as (typeof together)[number]];
        if (sync) outcomes.push(readPartial(memory, at, length).sync());
        for (const { bytes, good, holes } of outcomes) {
          expect(describe(length, bytes, good, holes)).toEqual(expected);
        }
      }
    }),
    { numRuns: 200 },
  );
}, 60_000);

/** Every byte as its value or its state, joined where pages are alike. */
function referenceRead(machine: DummyMachine, at: bigint, length: number): string[] {
  const bytes: string[] = [];
  const root = BigInt(machine.root);
  let page = -1n;
  let result: reference.ReferenceResult | undefined;
  for (let i = 0; i < length; i++) {
    const va = at + BigInt(i);
    if (va >= 1n << 64n) {
      bytes.push("outside");
      continue;
    }
    if (va >> 12n !== page || result === undefined) {
      page = va >> 12n;
      result = reference.walk(machine.reader(), root, va & ~0xfffn).result;
    }
    if ("state" in result) {
      bytes.push(result.state);
      continue;
    }
    const physical = Number(result.physical) + Number(va & 0xfffn);
    bytes.push(machine.has(physical) ? String(machine.bytes[physical - machine.base]) : "outside");
  }
  return bytes;
}

function describe(
  length: number,
  bytes: Uint8Array,
  good: readonly { start: number; end: number }[],
  holes: readonly { start: number; end: number; state: string }[],
): string[] {
  const seen = new Array<string>(length).fill("nothing");
  for (const { start, end } of good) for (let i = start; i < end; i++) seen[i] = String(bytes[i]);
  for (const { start, end, state } of holes) for (let i = start; i < end; i++) seen[i] = state;
  return seen;
}

it("gather gives what a read of each record gives: cold, warm, across pages, over every fault", async () => {
  await fc.assert(
    fc.asyncProperty(
      setups,
      fc.array(address, { minLength: 1, maxLength: 24 }),
      fc.integer({ min: 1, max: 40 }),
      async (setup, addresses, size) => {
        const { memory, sync } = build(setup);
        const column = BigUint64Array.from(addresses);
        for (let pass = 0; pass < 2; pass++) {
          const gathering = memory.gather(column, size);
          const gathered = sync ? gathering.sync() : await gathering;
          for (let i = 0; i < column.length; i++) {
            const { bytes, holes } = await memory.readPartial(column[i] as bigint, size);
            expect(gathered.faultOf(i)).toBe(holes[0]?.fault ?? 0);
            if (holes.length === 0) expect(gathered.at(i)).toEqual(bytes);
          }
        }
      },
    ),
    { numRuns: 150 },
  );
});
