import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { hostWasm } from "../../connectors/host-wasm.js";
import { all, readPartial, Scheduler } from "../../src/io/index.js";
import { type RunColumns, TableCache, VirtualMemory } from "../../src/paging/index.js";
import { mmuOf, plain, plainRun, rootOf } from "../support/reference/core-formats.js";
import type { ReferenceFormat } from "../support/reference/format.js";
import { TESTED_FORMATS, type TestedFormat } from "../support/reference/formats.js";
import {
  addressIn,
  EMPTY_TABLES,
  edgesOf,
  type RandomAddress,
  RandomMachine,
  type RandomTables,
  randomAddress,
  randomTables,
} from "../support/reference/random-tables.js";
import { changedEntries } from "../support/reference/single-bits.js";
import * as reference from "../support/reference/walk.js";

/** Every format of the core against the reference written from the manuals, on random tables with all that can be wrong. */

/** How the same tables are read. */
interface Setup {
  readonly tables: RandomTables;
  readonly io: "inline" | "source" | "delayed";
  /** Tables that the cache has room for. */
  readonly room: number;
  readonly translations: number;
  /** 0: by WebAssembly from the first address on. */
  readonly compileAfter: number;
  readonly live: boolean;
}

const setups: fc.Arbitrary<Setup> = fc.record({
  tables: randomTables,
  io: fc.constantFrom("inline" as const, "source" as const, "delayed" as const),
  room: fc.constantFrom(1, 2, 3, 9, 100),
  translations: fc.constantFrom(0, 4, 1024),
  compileAfter: fc.constantFrom(0, Number.MAX_SAFE_INTEGER),
  live: fc.boolean(),
});

function build(format: TestedFormat, { tables, io, room, translations, compileAfter, live }: Setup) {
  const machine = new RandomMachine(format, tables);
  const turns = io === "inline" ? "inline" : io === "source" ? undefined : 3;
  const physical = machine.io(new Scheduler(), turns);
  const mmu = mmuOf(format);
  // A table and its links, in either's size: 1.5 times a table of eight bytes an entry, and bookkeeping.
  const bytes = room * 1.5 * largestTable(format) + 30 * room;
  const tableCache = new TableCache({ mmu, bytes, translations, compileAfter, wasm: hostWasm });
  const memory = new VirtualMemory(physical, { root: rootOf(machine), mmu, live, tableCache });
  return { machine, memory, read: machine.reader(), sync: io !== "delayed" };
}

/** Bytes of a format's whole table, in entries of eight bytes. */
function largestTable({ parts }: TestedFormat): number {
  return Math.max(...parts.flatMap(({ levels }) => levels.map(({ high, low }) => 8 * 2 ** (high - low + 1))));
}

const addressLists = (maxLength: number): fc.Arbitrary<RandomAddress[]> =>
  fc.array(randomAddress, { minLength: 1, maxLength });

describe.each(TESTED_FORMATS.map((format) => [format.name, format] as const))("%s", (_, format) => {
  const resolve = (addresses: readonly RandomAddress[]) => [
    ...addresses.map((address) => addressIn(format, address)),
  ];

  it("each bit of an entry, and each two that matter, mean what the manual says", () => {
    for (const { machine, addresses } of changedEntries(format)) {
      const mmu = mmuOf(format);
      const read = machine.reader();
      const memory = new VirtualMemory(machine.io(new Scheduler(), "inline"), { root: rootOf(machine), mmu });
      const expected = addresses.map((va) => reference.walk(read, machine.space, va));
      const columns = memory.translateMany(BigUint64Array.from(addresses)).sync();
      expect(addresses.map((_, i) => plain(columns.row(i)))).toEqual(expected.map(({ result }) => result));
      for (const [i, va] of addresses.entries()) {
        const { steps, result } = memory.walk(va).sync();
        expect(plain(result)).toEqual(expected[i]?.result);
        const stored = steps
          .filter(({ entryAddress }) => entryAddress !== undefined)
          .map(({ entry }) => entry);
        expect(stored).toEqual(expected[i]?.steps.map(({ entry }) => entry));
      }
    }
  });

  it.skipIf(format.parts.length === 1)(
    "an absent half is not present, though the other's root is lost",
    () => {
      for (const halves of ["lower", "upper"] as const) {
        const missing = [{ frame: halves === "lower" ? 0 : 1, block: -1 }];
        const machine = new RandomMachine(format, { ...EMPTY_TABLES, halves, missing });
        const mmu = mmuOf(format);
        const memory = new VirtualMemory(machine.io(new Scheduler(), "inline"), {
          root: rootOf(machine),
          mmu,
        });
        const read = machine.reader();
        for (const va of edgesOf(format)) {
          const { result } = reference.walk(read, machine.space, va);
          expect(plain(memory.translate(va).sync())).toEqual(result);
        }
        expect([...memory.maps().sync()].map(plainRun)).toEqual(reference.maps(read, machine.space));
      }
    },
  );

  it("translate, one by one and side by side, gives what the manual says", async () => {
    await fc.assert(
      fc.asyncProperty(setups, addressLists(20), async (setup, addresses) => {
        const { machine, memory, read, sync } = build(format, setup);
        const list = [...resolve(addresses), ...edgesOf(format)];
        const expected = list.map((va) => reference.walk(read, machine.space, va).result);
        const together = await all(list.map((va) => memory.translate(va)));
        expect(together.map(plain)).toEqual(expected);
        for (const [i, va] of list.entries()) {
          const translation = sync ? memory.translate(va).sync() : await memory.translate(va);
          expect(translation.virtual).toBe(va);
          expect(plain(translation)).toEqual(expected[i]);
        }
      }),
      { numRuns: 30 },
    );
  });

  it("translateMany gives it for columns, cold and warm, in a loop and in WebAssembly", async () => {
    await fc.assert(
      fc.asyncProperty(setups, addressLists(60), async (setup, addresses) => {
        const { machine, memory, read, sync } = build(format, setup);
        const list = resolve(addresses);
        const expected = list.map((va) => reference.walk(read, machine.space, va).result);
        const column = BigUint64Array.from(list);
        const columns = await memory.translateMany(column);
        expect(list.map((_, i) => plain(columns.row(i)))).toEqual(expected);
        expect(columns.failed).toBe(expected.filter((result) => "state" in result).length);
        // (A cache of few tables, or tables that are there in part, take other ways.)
        const isWhole = setup.tables.missing.length === 0;
        if (setup.room === 100 && isWhole) expect(memory.tableCache.compiled).toBe(setup.compileAfter === 0);
        const backwards = column.slice().reverse();
        const again = sync
          ? memory.translateMany(backwards, columns).sync()
          : await memory.translateMany(backwards, columns);
        expect(list.map((_, i) => plain(again.row(i)))).toEqual(expected.slice().reverse());
        for (let pass = 0; pass < 2; pass++) {
          await memory.translateMany(column, columns);
          expect(list.map((_, i) => plain(columns.row(i)))).toEqual(expected);
        }
      }),
      { numRuns: 40 },
    );
  });

  it("walk gives every entry on the way as it is stored", async () => {
    await fc.assert(
      fc.asyncProperty(setups, addressLists(4), async (setup, addresses) => {
        const { machine, memory, read } = build(format, setup);
        for (const va of resolve(addresses)) {
          const expected = reference.walk(read, machine.space, va);
          for (const pass of ["cold", "warm"]) {
            const { steps, result } = await memory.walk(va);
            expect({ pass, result: plain(result) }).toEqual({ pass, result: expected.result });
            expect(
              steps
                .filter(({ entryAddress }) => entryAddress !== undefined)
                .map(({ level, entryAddress, entry }) => ({
                  level,
                  entryAddress: BigInt(entryAddress as number),
                  entry,
                })),
            ).toEqual(expected.steps.map(({ name: _, ...step }) => step));
          }
        }
      }),
      { numRuns: 30 },
    );
  });

  it("maps and runs give every run, and of a range the same ones clipped", async () => {
    await fc.assert(
      fc.asyncProperty(setups, randomAddress, randomAddress, async (setup, a, b) => {
        const { machine, memory, read, sync } = build(format, setup);
        const expected = reference.maps(read, machine.space);
        expect((await memory.maps().toArray()).map(plainRun)).toEqual(expected);
        if (sync) expect([...memory.maps().sync()].map(plainRun)).toEqual(expected);
        expect(await everyRun(memory, 0n, 1n << 64n)).toEqual(expected);
        const page = BigInt(format.frame);
        const [x, y] = resolve([a, b]).map((va) => va - (va % page)) as [bigint, bigint];
        const [start, end] = x < y ? [x, y] : [y, x];
        const clipped = reference.clip(expected, start, end);
        expect((await memory.maps({ start, end }).toArray()).map(plainRun)).toEqual(clipped);
        expect(await everyRun(memory, start, end)).toEqual(clipped);
      }),
      { numRuns: 15 },
    );
  });

  it("reads give each byte, or why there is none", async () => {
    const requests = fc.array(
      fc.record({ at: randomAddress, length: fc.integer({ min: 1, max: 3 * 4096 }) }),
      { minLength: 1, maxLength: 5 },
    );
    await fc.assert(
      fc.asyncProperty(setups, requests, async (setup, wanted) => {
        const { machine, memory, sync } = build(format, setup);
        const list = wanted.map(({ at, length }) => ({ at: addressIn(format, at), length }));
        const together = await all(list.map(({ at, length }) => readPartial(memory, at, length)));
        for (const [i, { at, length }] of list.entries()) {
          const expected = referenceRead(machine, at, length);
          const outcomes = [together[i] as (typeof together)[number]];
          if (sync) outcomes.push(readPartial(memory, at, length).sync());
          for (const { bytes, good, holes } of outcomes) {
            expect(describeBytes(length, bytes, good, holes)).toEqual(expected);
          }
        }
      }),
      { numRuns: 30 },
    );
  });

  it("reverse gives every virtual address of physical ones, and what can't be told", async () => {
    const wanted = fc.record({
      // Bytes of both islands, and of what lies beside them.
      at: fc.nat({ max: 2 ** 20 }),
      island: fc.nat({ max: 1 }),
      length: fc.constantFrom(1, 1, 8, 4096, 70_000),
    });
    await fc.assert(
      fc.asyncProperty(
        setups,
        fc.array(wanted, { minLength: 1, maxLength: 8 }),
        fc.boolean(),
        async (setup, list, asRanges) => {
          const { machine, memory, read } = build(format, setup);
          const runs = reference.maps(read, machine.space);
          const spans = list.map(({ at, island, length }) => {
            const start = (format.islands[island] as number) + (at % (20 * format.frame));
            return { start, end: asRanges ? start + length : start + 1 };
          });
          const found = await memory.reverse(asRanges ? spans : spans.map(({ start }) => start)).toArray();
          expect(
            found.map((result) => {
              const { root, roots, fault: _, ...rest } = result as typeof result & { fault?: number };
              expect([root, roots]).toEqual([memory.roots, [memory.roots]]);
              if (result.state !== undefined) return rest;
              const { virtual, physical, length } = result;
              return {
                virtual,
                length: BigInt(length),
                ...(plain({ ...result, virtual, physical }) as object),
              };
            }),
          ).toEqual(reference.reverseAll(runs, asRanges ? joined(spans) : distinct(spans)));
        },
      ),
      { numRuns: 15 },
    );
  });
});

/** Ranges that touch or overlap as one, ascending. */
function joined(spans: readonly { start: number; end: number }[]): reference.Span[] {
  const found: { start: bigint; end: bigint }[] = [];
  for (const { start, end } of [...spans].sort((a, b) => a.start - b.start)) {
    const last = found[found.length - 1];
    if (last !== undefined && BigInt(start) <= last.end) {
      if (BigInt(end) > last.end) last.end = BigInt(end);
    } else found.push({ start: BigInt(start), end: BigInt(end) });
  }
  return found;
}

/** Each address once, ascending. */
function distinct(spans: readonly { start: number; end: number }[]): reference.Span[] {
  const starts = [...new Set(spans.map(({ start }) => start))].sort((a, b) => a - b);
  return starts.map((start) => ({ start: BigInt(start), end: BigInt(start) + 1n }));
}

it.each([
  ["x86-64", "npt4", "x86-pae", "x86-64-la57", "ept4"],
  ["sv39", "sv48", "sv57"],
])("formats that share a cache don't mistake each other's tables: %s, %s, %s …", async (...names) => {
  const formats = names
    .filter((name) => typeof name === "string")
    .map((name) => TESTED_FORMATS.find((format) => format.name === name) as TestedFormat);
  const [first] = formats as [TestedFormat];
  await fc.assert(
    fc.asyncProperty(
      setups,
      fc.array(fc.tuple(fc.nat({ max: formats.length - 1 }), addressLists(6)), {
        minLength: 2,
        maxLength: 8,
      }),
      async (setup, questions) => {
        // One memory, written in the first format and read as if in all of them.
        const { machine, memory, read } = build(first, setup);
        const { tableCache } = memory;
        const physical = VirtualMemory.pagesOf(memory).physical;
        const root = machine.roots[0] as number;
        for (const [which, addresses] of questions) {
          const format = formats[which] as TestedFormat;
          const mmu = mmuOf(format);
          const other = new VirtualMemory(physical, { root, mmu, live: setup.live, tableCache });
          const space = { parts: [{ format: format.parts[0] as ReferenceFormat, root: BigInt(root) }] };
          const list = addresses.map((address) => addressIn(format, address));
          const expected = list.map((va) => reference.walk(read, space, va).result);
          const columns = await other.translateMany(BigUint64Array.from(list));
          expect(list.map((_, i) => plain(columns.row(i)))).toEqual(expected);
          for (const [i, va] of list.entries()) {
            expect(plain(await other.translate(va))).toEqual(expected[i]);
          }
        }
      },
    ),
    { numRuns: 80 },
  );
});

/** Every row of `runs`, by as many calls as it takes; rows that go on over the end of a call are one run. */
async function everyRun(memory: VirtualMemory, start: bigint, end: bigint): Promise<unknown[]> {
  const found: unknown[] = [];
  let runs: RunColumns | undefined;
  for (let at = start; at < end; at = runs.end) {
    runs = await memory.runs({ start: at, end }, runs);
    for (let row = 0; row < runs.length; row++) found.push(plainRun(runs.row(row)));
  }
  return found;
}

/** Every byte as its value or its state. */
function referenceRead(machine: RandomMachine, at: bigint, length: number): (number | string)[] {
  const read = machine.reader();
  const bytes: (number | string)[] = [];
  let page = -1n;
  let result: ReturnType<typeof reference.walk>["result"] | undefined;
  for (let i = 0; i < length; i++) {
    const va = at + BigInt(i);
    if (va >= 1n << 64n) {
      bytes.push("outside");
      continue;
    }
    if (va >> 12n !== page || result === undefined) {
      page = va >> 12n;
      result = reference.walk(read, machine.space, page << 12n).result;
    }
    if ("state" in result) bytes.push(result.state);
    else bytes.push(machine.byte(result.physical + (va & 0xfffn)));
  }
  return bytes;
}

function describeBytes(
  length: number,
  bytes: Uint8Array,
  good: readonly { start: number; end: number }[],
  holes: readonly { start: number; end: number; state: string }[],
): (number | string)[] {
  const seen = new Array<number | string>(length).fill("nothing");
  for (const { start, end } of good) for (let i = start; i < end; i++) seen[i] = bytes[i] as number;
  for (const { start, end, state } of holes) for (let i = start; i < end; i++) seen[i] = state;
  return seen;
}
