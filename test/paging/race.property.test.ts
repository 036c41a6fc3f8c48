import fc from "fast-check";
import { expect, it } from "vitest";
import { hostWasm } from "../../connectors/host-wasm.js";
import { Scheduler } from "../../src/io/index.js";
import { PhysicalMap, PhysicalMemory, u64 } from "../../src/memory/index.js";
import { TableCache, VirtualMemory } from "../../src/paging/index.js";
import { DummyMachine } from "../support/dummy-machine.js";
import * as reference from "../support/reference-walker.js";

const INDICES = [0, 1, 256, 511];
const FRAMES = 10;
const BASE = 0x10_0000;
function entry(machine: DummyMachine): bigint {
  const { random } = machine;
  if (random() % 100 < 20)
    return BigInt.asUintN(64, (BigInt(random()) << 32n) | BigInt((random() & ~1) >>> 0));
  const frame = BigInt(BASE + (random() % FRAMES) * 4096);
  return frame | 7n | BigInt(random() & 0x60);
}
const address = fc.tuple(...Array.from({ length: 4 }, () => fc.constantFrom(...INDICES))).map((p) => {
  const [a, b, c, d] = p.map(BigInt) as [bigint, bigint, bigint, bigint];
  const low = (a << 39n) | (b << 30n) | (c << 21n) | (d << 12n);
  return a >= 256n ? low | 0xffff_0000_0000_0000n : low;
});
const op = fc.record({
  op: fc.constantFrom("translate", "many", "read", "gather", "maps", "write", "write", "wait"),
  root: fc.nat({ max: 2 }),
  frame: fc.nat({ max: FRAMES - 1 }),
  turns: fc.nat({ max: 8 }),
  at: fc.array(address, { minLength: 1, maxLength: 5 }),
});
it("after a race of requests and writes nothing stale is left", async () => {
  let n = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.integer(),
      fc.constantFrom(1, 2, 4, 9, 100),
      fc.constantFrom(1, Number.MAX_SAFE_INTEGER),
      fc.constantFrom(0, 1024),
      fc.constantFrom(0, 2, 3, 5),
      fc.boolean(),
      fc.boolean(),
      fc.array(op, { minLength: 2, maxLength: 25 }),
      async (seed, tables, compileAfter, translations, turns, live, cached, ops) => {
        const machine = new DummyMachine({ seed, frames: FRAMES, base: BASE });
        for (let f = 0; f < FRAMES; f++)
          for (const i of INDICES) machine.writeEntry(BASE + f * 4096 + i * 8, entry(machine));
        const scheduler = new Scheduler();
        const low = turns === 0 ? machine.sourceIo({ scheduler }) : machine.sourceIo({ scheduler, turns });
        const map = PhysicalMap.single(BASE, FRAMES * 4096);
        const physical = new PhysicalMemory(low, { map, live, ...(cached ? {} : { cacheBytes: 0 }) });
        const tableCache = new TableCache({
          bytes: tables * 6174,
          translations,
          compileAfter,
          wasm: hostWasm,
        });
        const spaces = [0, 1, 2].map(
          (i) => new VirtualMemory(physical, { root: BASE + i * 4096, tableCache, live, scheduler }),
        );
        const running: Promise<unknown>[] = [];
        const touched = new Set<bigint>();
        for (const { op, root, frame, turns, at } of ops) {
          const space = spaces[root] as VirtualMemory;
          for (const va of at) touched.add(va);
          const go = (io: { promise(): Promise<unknown> }) => void running.push(io.promise().catch(() => 0));
          if (op === "translate") for (const va of at) go(space.translate(va));
          else if (op === "many") go(space.translateMany(BigUint64Array.from(at)));
          else if (op === "read") for (const va of at) go(space.readPartial(va, 8));
          else if (op === "gather") go(space.gather(BigUint64Array.from(at), 8));
          else if (op === "maps") go(space.runs());
          else if (op === "write")
            go(physical.write(u64, BASE + frame * 4096 + (INDICES[turns % 4] as number) * 8, entry(machine)));
          for (let i = 0; i < turns * 2; i++) await null;
        }
        await Promise.all(running);
        for (let pass = 0; pass < 2; pass++)
          for (const va of touched)
            for (const space of spaces) {
              const r = reference.walk(machine.reader(), BigInt(space.root), va).result;
              const t = await space.translate(va);
              n++;
              expect(t.state ?? BigInt(t.physical)).toEqual("state" in r ? r.state : r.physical);
              const m = await space.translateMany(BigUint64Array.of(va));
              expect(m.row(0).state ?? BigInt(m.physical[0] as number)).toEqual(
                "state" in r ? r.state : r.physical,
              );
            }
      },
    ),
    { numRuns: 400 },
  );
  expect(n).toBeGreaterThan(10_000);
}, 120_000);
