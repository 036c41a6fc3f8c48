/** Formats that share one cache of tables, over the same memory: each sees what its manual says, whatever others asked before. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { hostWasm } from "../../connectors/host-wasm.js";
import { all, readPartial, Scheduler } from "../../src/io/index.js";
import { PhysicalMap, PhysicalMemory, u64 } from "../../src/memory/index.js";
import { type Root, TableCache, VirtualMemory } from "../../src/paging/index.js";
import { mmuOf, plain, plainRun } from "../support/reference/core-formats.js";
import type { ReferenceSpace } from "../support/reference/format.js";
import { TESTED_FORMATS, type TestedFormat } from "../support/reference/formats.js";
import {
  addressIn,
  type RandomAddress,
  RandomMachine,
  randomAddress,
  randomTables,
} from "../support/reference/random-tables.js";
import * as reference from "../support/reference/walk.js";

/** Formats whose tables one cache takes, together. */
const GROUPS: TestedFormat[][] = [];
for (const format of TESTED_FORMATS) {
  const group = GROUPS.find(([first]) => {
    const cache = new TableCache({ mmu: mmuOf(first as TestedFormat), bytes: 1 << 20 });
    return cache.takes(mmuOf(format));
  });
  if (group === undefined) GROUPS.push([format]);
  else group.push(format);
}
const SHARED = GROUPS.filter(({ length }) => length > 1);

/** An address space in one of the formats, with what it must say. */
function spaceOf(format: TestedFormat, frames: readonly number[]): { root: Root; space: ReferenceSpace } {
  const [first = 0, second = 0] = frames.map((at) => at - (at % format.frame));
  const roots = [first, second];
  const parts = format.parts.map((part, i) => ({ format: part, root: BigInt(roots[i] as number) }));
  return { root: format.parts.length === 1 ? first : { lower: first, upper: second }, space: { parts } };
}

const operation = fc.record({
  kind: fc.constantFrom(
    "translate",
    "many",
    "together",
    "together",
    "walk",
    "read",
    "maps",
    "write",
    "flush",
  ),
  space: fc.nat({ max: 3 }),
  /** Of a few addresses that all ask for: what one has left behind is met by others. */
  at: fc.array(fc.nat({ max: 4 }), { minLength: 1, maxLength: 8 }),
  frame: fc.nat({ max: 17 }),
  index: fc.constantFrom(0, 1, 2, 255, 256, 511),
  from: fc.nat({ max: 17 }),
});

describe.each(SHARED.map((group) => [group.map(({ name }) => name).join("; "), group] as const))(
  "%s",
  (_, group) => {
    it("agree with their manuals at every moment", async () => {
      let checks = 0;
      await fc.assert(
        fc.asyncProperty(
          fc.array(fc.constantFrom(...group), { minLength: 2, maxLength: 4 }),
          randomTables,
          fc.array(fc.constantFrom(0, 0, 0, 1, 1, 2, 6), { minLength: 8, maxLength: 8 }),
          fc.array(randomAddress, { minLength: 5, maxLength: 5 }),
          fc.record({
            room: fc.constantFrom(1, 2, 3, 5, 9, 100),
            translations: fc.constantFrom(0, 4, 1024),
            compileAfter: fc.constantFrom(0, 1, Number.MAX_SAFE_INTEGER),
            io: fc.constantFrom("inline" as const, undefined, 3),
            live: fc.boolean(),
          }),
          fc.array(operation, { minLength: 2, maxLength: 16 }),
          async (
            formats,
            tables,
            frames,
            pool,
            { room, translations, compileAfter, io, live },
            operations,
          ) => {
            const [base] = formats as [TestedFormat];
            const machine = new RandomMachine(base, tables);
            const scheduler = new Scheduler();
            const low = machine.io(scheduler, io);
            const physical = new PhysicalMemory(low, {
              map: PhysicalMap.from(
                base.islands.map((start) => ({
                  start,
                  end: start + 9 * base.frame,
                  state: "present" as const,
                })),
              ),
              live,
              cacheBytes: 0,
            });
            const bytes = room * (1.5 * base.frame + 30);
            const tableCache = new TableCache({
              mmu: mmuOf(base),
              bytes,
              translations,
              compileAfter,
              wasm: hostWasm,
            });
            const spaces = formats.map((format, i) => {
              const { root, space } = spaceOf(format, [
                machine.frameAt(frames[2 * i] as number),
                machine.frameAt(frames[2 * i + 1] as number),
              ]);
              const memory = new VirtualMemory(physical, { root, mmu: mmuOf(format), live, tableCache });
              return { format, space, memory };
            });
            const read = machine.reader();
            for (const { kind, space: which, at, frame, index, from } of operations) {
              const { format, space, memory } = spaces[which % spaces.length] as (typeof spaces)[0];
              const list = at.map((one) => addressIn(format, pool[one] as RandomAddress));
              const expected = list.map((va) => reference.walk(read, space, va).result);
              checks++;
              if (kind === "translate") {
                expect((await all(list.map((va) => memory.translate(va)))).map(plain)).toEqual(expected);
              } else if (kind === "many") {
                const columns = await memory.translateMany(BigUint64Array.from(list));
                expect(list.map((_, i) => plain(columns.row(i)))).toEqual(expected);
              } else if (kind === "together") {
                // Each waits for its tables while the others go on.
                const wanted = spaces.map((one) =>
                  at.map((i) => {
                    const va = addressIn(one.format, pool[i] as RandomAddress);
                    return { va, result: reference.walk(read, one.space, va).result };
                  }),
                );
                const asked = spaces.map((one, nth) => {
                  const column = wanted[nth]?.map(({ va }) => va) ?? [];
                  const columns = one.memory.translateMany(BigUint64Array.from(column)).promise();
                  return [columns, all(column.map((va) => one.memory.translate(va))).promise()] as const;
                });
                for (const [nth, [columns, singles]] of asked.entries()) {
                  const results = wanted[nth]?.map(({ result }) => result);
                  const many = await columns;
                  expect(results?.map((_, i) => plain(many.row(i)))).toEqual(results);
                  expect((await singles).map(plain)).toEqual(results);
                }
              } else if (kind === "walk") {
                for (const [i, va] of list.entries())
                  expect(plain((await memory.walk(va)).result)).toEqual(expected[i]);
              } else if (kind === "maps") {
                expect((await memory.maps().toArray()).map(plainRun)).toEqual(reference.maps(read, space));
              } else if (kind === "read") {
                const parts = await all(list.map((va) => readPartial(memory, va, new Uint8Array(1))));
                for (const [i, { bytes, holes }] of parts.entries()) {
                  const result = expected[i];
                  if (result === undefined || "state" in result) {
                    expect(holes[0]?.state).toBe(result?.state);
                    continue;
                  }
                  const byte = machine.byte(result.physical);
                  if (typeof byte === "string") expect(holes[0]?.state).toBe(byte);
                  else expect([...bytes]).toEqual([byte]);
                }
              } else if (kind === "flush") {
                memory.flush();
              } else {
                const target = machine.frameAt(frame) + 8 * index;
                const source = machine.frameAt(from) + 8 * ((index + 1) % 512);
                const value = read(BigInt(source), 8);
                if (typeof value === "bigint" && typeof read(BigInt(target), 8) === "bigint")
                  await physical.write(u64, target, value);
              }
            }
          },
        ),
        { numRuns: Number(process.env.RUNS ?? 60) },
      );
      expect(checks).toBeGreaterThan(200);
    }, 600_000);
  },
);
