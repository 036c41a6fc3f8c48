import fc from "fast-check";
import { expect, it } from "vitest";
import { hostWasm } from "../../connectors/host-wasm.js";
import { Scheduler } from "../../src/io/index.js";
import { PhysicalMap, PhysicalMemory, u64 } from "../../src/memory/index.js";
import {
  type MmuDef,
  TableCache,
  type Translation,
  type TranslationColumns,
  VirtualMemory,
  X86_64,
} from "../../src/paging/index.js";
import { DummyMachine } from "../support/dummy-machine.js";
import * as reference from "../support/reference-walker.js";

const INDICES = [0, 1, 2, 255, 256, 511];
const FRAMES = 12;
function entry(machine: DummyMachine): bigint {
  const { random } = machine;
  if (random() % 100 < 20) return (BigInt(random()) << 32n) | BigInt(random() & ~1);
  let frame = BigInt(machine.base + (random() % FRAMES) * 4096);
  const kind = random() % 16;
  let bits = 1n | BigInt(random() & 0x1e) | (random() % 2 === 0 ? 1n << 63n : 0n) | BigInt(random() & 0x100);
  if (random() % 2 === 0) bits |= 6n;
  if (kind === 2 || kind === 0) {
    frame &= ~0x3fff_ffffn;
    bits |= 0x80n | BigInt(random() & 0x1000);
  }
  if (kind === 3) {
    frame &= ~0x3fff_ffffn;
    bits |= 0x80n | (1n << BigInt(12 + (random() % 18)));
  }
  return frame | bits;
}
function chaos(seed: number, base: number): DummyMachine {
  const machine = new DummyMachine({ seed, frames: FRAMES, base });
  for (let f = 0; f < FRAMES; f++)
    for (const i of INDICES)
      if (machine.random() % 100 < 70) machine.writeEntry(base + f * 4096 + i * 8, entry(machine));
  return machine;
}
function plain(t: Translation): unknown {
  if (t.state !== undefined) {
    const { state, level, entry, cause } = t;
    return { state, level, entry, ...(cause === undefined ? {} : { cause }) };
  }
  const { physical, pageSize, virtual: _, ...rights } = t;
  return { physical: BigInt(physical), pageSize: BigInt(pageSize), ...rights };
}
const address = fc
  .tuple(...Array.from({ length: 4 }, () => fc.constantFrom(...INDICES)), fc.integer({ min: 0, max: 4095 }))
  .map((p) => {
    const [a, b, c, d, o] = p.map(BigInt) as [bigint, bigint, bigint, bigint, bigint];
    const low = (a << 39n) | (b << 30n) | (c << 21n) | (d << 12n) | o;
    return a >= 256n ? low | 0xffff_0000_0000_0000n : low;
  });
const op = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      op: fc.constant("translate" as const),
      root: fc.nat({ max: 2 }),
      at: fc.array(address, { minLength: 1, maxLength: 3 }),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      op: fc.constant("many" as const),
      root: fc.nat({ max: 2 }),
      at: fc.array(address, { minLength: 1, maxLength: 12 }),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      op: fc.constant("read" as const),
      root: fc.nat({ max: 2 }),
      at: fc.array(address, { minLength: 1, maxLength: 3 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      op: fc.constant("gather" as const),
      root: fc.nat({ max: 2 }),
      at: fc.array(address, { minLength: 1, maxLength: 8 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      op: fc.constant("maps" as const),
      root: fc.nat({ max: 2 }),
      at: fc.array(address, { minLength: 1, maxLength: 1 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      op: fc.constant("write" as const),
      root: fc.nat({ max: FRAMES - 1 }),
      at: fc.array(address, { minLength: 1, maxLength: 1 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      op: fc.constant("flush" as const),
      root: fc.nat({ max: FRAMES - 1 }),
      at: fc.array(address, { minLength: 1, maxLength: 1 }),
    }),
  },
);
it("operations in any order agree with the reference at every moment", async () => {
  let checks = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.integer(),
      fc.constantFrom(1, 2, 3, 5, 100),
      fc.constantFrom(0, 8, 1024),
      fc.constantFrom(1, Number.MAX_SAFE_INTEGER),
      fc.constantFrom("inline", "source", "delayed"),
      fc.boolean(),
      fc.constantFrom(0, undefined),
      fc.array(op, { minLength: 2, maxLength: 25 }),
      async (seed, tables, translations, compileAfter, kind, live, cacheBytes, ops) => {
        const machine = chaos(seed, 0x10_0000);
        const scheduler = new Scheduler();
        const low =
          kind === "inline"
            ? machine.inlineIo(scheduler)
            : machine.sourceIo(kind === "source" ? { scheduler } : { scheduler, turns: 3 });
        const map = PhysicalMap.single(0x10_0000, FRAMES * 4096);
        const physical = new PhysicalMemory(low, {
          map,
          ...(cacheBytes === 0 ? { cacheBytes: 0 } : {}),
          live,
        });
        const tableCache = new TableCache({
          bytes: tables * 6174,
          translations,
          compileAfter,
          wasm: hostWasm,
        });
        const spaces = [0, 1, 2].map(
          (i) => new VirtualMemory(physical, { root: 0x10_0000 + i * 4096, tableCache, live, scheduler }),
        );
        let columns: TranslationColumns | undefined;
        for (const { op, root, at } of ops) {
          const space = spaces[root % 3] as VirtualMemory;
          const expected = () =>
            at.map((va) => reference.walk(machine.reader(), BigInt(space.root), va).result);
          checks++;
          if (op === "translate") {
            expect((await Promise.all(at.map((va) => space.translate(va).promise()))).map(plain)).toEqual(
              expected(),
            );
          } else if (op === "many") {
            const many = await space.translateMany(BigUint64Array.from(at), columns);
            columns = many;
            expect(at.map((_, i) => plain(many.row(i)))).toEqual(expected());
          } else if (op === "read") {
            const parts = await Promise.all(at.map((va) => space.readPartial(va & ~7n, 8).promise()));
            parts.forEach(({ bytes, holes }, i) => {
              const r = reference.walk(machine.reader(), BigInt(space.root), (at[i] as bigint) & ~7n).result;
              const state = "state" in r ? r.state : machine.has(Number(r.physical)) ? undefined : "outside";
              expect(holes[0]?.state).toBe(state);
              if (state === undefined && "physical" in r)
                expect(bytes).toEqual(
                  machine.bytes.slice(
                    Number(r.physical) - machine.base,
                    Number(r.physical) - machine.base + 8,
                  ),
                );
            });
          } else if (op === "gather") {
            await space.gather(BigUint64Array.from(at.map((va) => va & ~7n)), 8);
          } else if (op === "maps") {
            await space.maps({ start: at[0] as bigint, end: 1n << 64n }).toArray();
          } else if (op === "write") {
            const index = INDICES[Number((at[0] as bigint) % 6n)] as number;
            const value = BigInt.asUintN(64, entry(machine));
            await physical.write(u64, 0x10_0000 + root * 4096 + index * 8, value);
            expect(machine.readEntry(0x10_0000 + root * 4096 + index * 8)).toBe(value);
          } else {
            const index = INDICES[Number((at[0] as bigint) % 6n)] as number;
            if (cacheBytes === 0) machine.writeEntry(0x10_0000 + root * 4096 + index * 8, entry(machine));
            spaces[0]!.flush();
          }
        }
      },
    ),
    { numRuns: 400 },
  );
  expect(checks).toBeGreaterThan(1000);
}, 100_000);

const L5: MmuDef = {
  ...X86_64,
  name: "x86-64-5",
  splits: [9, 9, 9, 9, 9, 12],
  entryNames: ["PML5E", ...X86_64.entryNames],
  reserved: [...X86_64.reserved, { level: 5, of: "table", bits: [7, 7] }],
};
const ZEROS: MmuDef = {
  ...X86_64,
  name: "zeros39",
  splits: [9, 9, 9, 12],
  entryNames: ["a", "b", "c"],
  canonical: "zeros",
  reserved: X86_64.reserved.filter((r) => r.level < 4),
};
const ONES: MmuDef = { ...ZEROS, name: "ones39", canonical: "ones" };
const SV39: MmuDef = { ...ZEROS, name: "sv39", canonical: "sign-extended" };
it("formats: every way gives what walk gives", () => {
  fc.assert(
    fc.property(
      fc.integer(),
      fc.constantFrom(L5, ZEROS, ONES, SV39),
      fc.constantFrom(2, 5, 100),
      fc.constantFrom(1, Number.MAX_SAFE_INTEGER),
      fc.array(
        fc.oneof(
          fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
          fc
            .tuple(
              fc.constantFrom(0n, -1n, 1n, -2n, 1n << 61n, 1n << 62n),
              fc.constantFrom(...INDICES),
              fc.constantFrom(...INDICES),
              fc.constantFrom(...INDICES),
              fc.constantFrom(...INDICES),
              fc.constantFrom(...INDICES),
              fc.nat({ max: 4095 }),
            )
            .map(([top, a, b, c, d, e, o]) => {
              return { top, a, b, c, d, e, o };
            }),
        ),
        { minLength: 1, maxLength: 30 },
      ),
      (seed, mmu, tables, compileAfter, raw) => {
        const machine = chaos(seed, 0x10_0000);
        const bits = mmu.splits.length === 6 ? 57n : 39n;
        const list = raw.map((r) =>
          typeof r === "bigint"
            ? r
            : BigInt.asUintN(
                64,
                (mmu === L5 ? (BigInt(r.a) << 48n) | (BigInt(r.b) << 39n) : 0n) |
                  (BigInt(r.c) << 30n) |
                  (BigInt(r.d) << 21n) |
                  (BigInt(r.e) << 12n) |
                  BigInt(r.o) |
                  (r.top << bits),
              ),
        );
        const memory = new VirtualMemory(machine.inlineIo(new Scheduler()), {
          root: 0x10_0000,
          mmu,
          tableCache: new TableCache({ bytes: tables * 6174, compileAfter, wasm: hostWasm }),
        });
        const expected = list.map((va) => plain(memory.walk(va).sync().result));
        for (let i = 0; i < 2; i++) {
          const c = memory.translateMany(BigUint64Array.from(list)).sync();
          expect(list.map((_, i) => plain(c.row(i)))).toEqual(expected);
          expect(list.map((va) => plain(memory.translate(va).sync()))).toEqual(expected);
        }
        // maps of every run contains what translate says
        for (const run of memory.maps().sync()) {
          for (const va of [run.start, run.end - 1n]) {
            const t = memory.translate(va).sync();
            if (run.state === undefined) {
              expect(t.state).toBe(undefined);
              if (t.state === undefined) {
                expect(BigInt(t.physical)).toBe(BigInt(run.physical) + va - run.start);
                expect(t.writable).toBe(run.writable);
                expect(t.pageSize).toBe(run.pageSize);
              }
            }
          }
        }
      },
    ),
    { numRuns: 300 },
  );
}, 60_000);
