import { readFileSync } from "node:fs";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Machine, open } from "../../connectors/index.js";
import {
  findMappings,
  type PhysicalSpan,
  type ReverseMapping,
  type ReverseResult,
  TableCache,
  VirtualMemory,
} from "../../src/paging/index.js";
import { DummyMachine } from "../support/dummy-machine.js";
import { type KinSpaces, kinSpaces, referenceRuns } from "../support/kin-spaces.js";

/** As one line that can be compared and sorted. */
const line = (root: number, virtual: bigint, physical: number, length: number, rest: string) =>
  `${root.toString(16)} ${virtual.toString(16).padStart(16, "0")} ${physical} ${length} ${rest}`;

/** What the reference's runs say: every pair of a run and a target, without any search. */
function expected(kin: KinSpaces, root: number, targets: readonly PhysicalSpan[]): string[] {
  return referenceRuns(kin, root).flatMap((run) => {
    if ("state" in run) return [line(root, run.start, -1, Number(run.end - run.start), run.state)];
    const start = Number(run.physical);
    const end = start + Number(run.end - run.start);
    return targets
      .map((target) => ({ from: Math.max(start, target.start), to: Math.min(end, target.end) }))
      .filter(({ from, to }) => from < to)
      .map(({ from, to }) => {
        const { pageSize, writable, user, executable, global } = run;
        const rest = [pageSize, writable, user, executable, global].join();
        return line(root, run.start + BigInt(from - start), from, to - from, rest);
      });
  });
}

function found(results: Iterable<ReverseResult>): string[] {
  return [...results].flatMap((result) => {
    expect(result.root).toBe(result.roots[0]);
    return result.roots.map((root) => {
      if (typeof root !== "number") throw new Error("a pair");
      if (result.state !== undefined)
        return line(root, result.start, -1, Number(result.end - result.start), result.state);
      const { virtual, physical, length, pageSize, writable, user, executable, global } = result;
      return line(root, virtual, physical, length, [pageSize, writable, user, executable, global].join());
    });
  });
}

/** Byte addresses around the frames that are used, and around 1 GiB; the same one now and then. */
const addresses = fc.array(
  fc.oneof(
    fc.integer({ min: 2 ** 32 - 7 * 4096, max: 2 ** 32 + 7 * 4096 }),
    fc.integer({ min: 2 ** 30 - 4096, max: 2 ** 30 + 2 ** 21 }),
    fc.integer({ min: 0, max: 2 ** 22 }),
    fc.constantFrom(0, 2 ** 32, 2 ** 53 - 1),
  ),
  { maxLength: 40 },
);

const spansOf = (points: readonly number[]): PhysicalSpan[] =>
  [...new Set(points)].map((start) => ({ start, end: start + 1 }));

/** The union of ranges, byte boundary by byte boundary. */
function union(ranges: readonly PhysicalSpan[]): PhysicalSpan[] {
  const bounds = [...new Set(ranges.flatMap(({ start, end }) => [start, end]))].sort((a, b) => a - b);
  const merged: { start: number; end: number }[] = [];
  for (let i = 1; i < bounds.length; i++) {
    const [start, end] = [bounds[i - 1] as number, bounds[i] as number];
    if (!ranges.some((range) => range.start <= start && end <= range.end)) continue;
    const last = merged[merged.length - 1];
    if (last?.end === start) last.end = end;
    else merged.push({ start, end });
  }
  return merged;
}

/** 512^3 last tables to visit: each entry of three tables leads to the next one. */
function crowded(): DummyMachine {
  const dummy = new DummyMachine({ frames: 16 });
  const tables = [dummy.root, dummy.frame(), dummy.frame(), dummy.frame()];
  for (let level = 0; level < 3; level++) {
    for (let index = 0; index < 512; index++) {
      dummy.writeEntry((tables[level] as number) + 8 * index, BigInt(tables[level + 1] as number) | 7n);
    }
  }
  dummy.writeEntry(tables[3] as number, 0x5007n);
  return dummy;
}

describe("reverse", () => {
  it("finds what a comparison of every run with every address finds, in the order of virtual addresses", () => {
    let hits = 0;
    fc.assert(
      fc.property(fc.nat({ max: 2 ** 30 }), addresses, (seed, wanted) => {
        const kin = kinSpaces(seed, 1);
        const memory = kin.spaces[0] as VirtualMemory;
        const results = [...memory.reverse(wanted).sync()];
        const order = results.map((result) => (result.state === undefined ? result.virtual : result.start));
        expect(order).toEqual([...order].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0)));
        const model = wanted.length === 0 ? [] : expected(kin, memory.root, spansOf(wanted));
        expect(found(results).sort()).toEqual(model.sort());
        hits += results.length;
      }),
      { numRuns: 150 },
    );
    expect(hits).toBeGreaterThan(500);
  });

  it("of ranges gives each mapped piece once, also where the ranges overlap", () => {
    const ranges = fc.array(
      fc
        .tuple(
          fc.oneof(fc.integer({ min: 2 ** 32 - 30_000, max: 2 ** 32 + 30_000 }), fc.nat(2 ** 22)),
          fc.nat(20_000),
        )
        .map(([start, length]) => ({ start, end: start + length })),
      { minLength: 1, maxLength: 8 },
    );
    fc.assert(
      fc.property(fc.nat({ max: 2 ** 30 }), ranges, (seed, wanted) => {
        const kin = kinSpaces(seed, 1);
        const memory = kin.spaces[0] as VirtualMemory;
        const targets = union(wanted);
        const model = targets.length === 0 ? [] : expected(kin, memory.root, targets);
        expect(found(memory.reverse(wanted).sync()).sort()).toEqual(model.sort());
      }),
      { numRuns: 150 },
    );
  });

  it("takes one address, or one range, as it is", () => {
    const dummy = new DummyMachine({ frames: 16 });
    const { physical } = dummy.map(0x7000n, { executable: false });
    dummy.map(0xffff_8000_0000_1000n, { user: false }, 1, physical);
    const memory = new VirtualMemory(dummy.inlineIo(), { root: dummy.root });
    const rights = { writable: true, global: false };
    const { root } = dummy;
    const both = [
      { virtual: 0x7010n, physical: physical + 16, ...rights, user: true, executable: false },
      { virtual: 0xffff_8000_0000_1010n, physical: physical + 16, ...rights, user: false, executable: true },
    ].map((each) => ({ ...each, pageSize: 4096, root, roots: [root] }));
    expect([...memory.reverse(physical + 16).sync()]).toMatchObject(
      both.map((one) => ({ ...one, length: 1 })),
    );
    expect([...memory.reverse({ start: physical + 16, end: 2 ** 40 }).sync()]).toMatchObject(
      both.map((one) => ({ ...one, length: 4080 })),
    );
    expect([...memory.reverse(physical, { start: 1n << 63n, end: 1n << 64n }).sync()]).toHaveLength(1);
    expect([...memory.reverse([]).sync()]).toEqual([]);
    expect([...memory.reverse({ start: physical, end: physical }).sync()]).toEqual([]);
  });

  it("refuses what is no physical address", () => {
    const dummy = new DummyMachine({ frames: 4 });
    const memory = new VirtualMemory(dummy.inlineIo(), { root: dummy.root });
    for (const wrong of [-1, 0.5, Number.NaN, 2 ** 53, [0, -1]]) {
      expect(() => memory.reverse(wrong)).toThrow(RangeError);
    }
    expect(() => memory.reverse({ start: 5, end: 4 })).toThrow(RangeError);
    expect(() => memory.reverse([1, { start: 1, end: 2 }] as unknown as number[])).toThrow(TypeError);
    expect(() => findMappings([], 0)).toThrow(RangeError);
  });

  it("of tables that all point to each other ends, and says what it did not look at", () => {
    const dummy = crowded();
    const memory = new VirtualMemory(dummy.inlineIo(), { root: dummy.root });
    const results = [...memory.reverse(0x5000).sync()];
    const mapped = results.filter((result) => result.state === undefined);
    expect(mapped.length).toBeGreaterThan(512);
    expect(mapped.length).toBeLessThan(6000);
    expect(results.at(-1)).toMatchObject({ state: "malformed", end: 1n << 64n });
  });

  it("is what findMappings finds in that space alone, of such tables too", () => {
    const dummy = crowded();
    // (Parts of the space that nothing lies between are looked at as one.)
    for (let index = 0; index < 512; index += 2) dummy.writeEntry(dummy.root + 8 * index, 0n);
    const memory = new VirtualMemory(dummy.inlineIo(), { root: dummy.root });
    const results = [...memory.reverse(0x5000).sync()];
    expect([...findMappings([memory], 0x5000).sync()]).toEqual(results);
  });
});

describe("findMappings", () => {
  it("finds for each root what a search of that root alone finds, however much they share", () => {
    let shared = 0;
    let own = 0;
    fc.assert(
      fc.property(
        fc.nat({ max: 2 ** 30 }),
        fc.integer({ min: 1, max: 5 }),
        addresses,
        (seed, count, wanted) => {
          const kin = kinSpaces(seed, count);
          const results = [...findMappings(kin.spaces, wanted).sync()];
          const targets = spansOf(wanted);
          const model = wanted.length === 0 ? [] : kin.roots.flatMap((root) => expected(kin, root, targets));
          expect(joined(found(results)).sort()).toEqual(joined(model).sort());
          for (const { roots } of results) {
            if (roots.length > 1) shared++;
            else own++;
          }
        },
      ),
      { numRuns: 200 },
    );
    // There was something to compare. (A hundred cases have 81 to 198 shared ones: too near.)
    expect(shared).toBeGreaterThan(100);
    expect(own).toBeGreaterThan(100);
  });

  it("visits the tables of a shared half once, and says in which roots its results hold", () => {
    const dummy = new DummyMachine({ frames: 64 });
    for (let i = 0n; i < 8n; i++) dummy.map(0xffff_8000_0000_0000n + i * 0x20_0000n, {}, 1, 0x1000);
    const roots = [dummy.root, dummy.frame(), dummy.frame()];
    for (const root of roots.slice(1))
      dummy.writeEntry(root + 8 * 256, dummy.readEntry(dummy.root + 8 * 256));
    dummy.writeEntry(dummy.entryAt(0x4000n, 1, roots[1]), 0x1007n);
    const source = dummy.sourceIo();
    // A cache each: what is visited is read.
    const spaces = roots.map((root) => new VirtualMemory(source, { root, tableCache: new TableCache({}) }));
    const results = [...findMappings(spaces, 0x1008).sync()] as ReverseMapping[];
    // Roots; the shared half's two upper tables and eight last ones; the second root's own three.
    expect(source.counters.bytes).toBe((3 + 2 + 8 + 3) * 4096);
    expect(results.map(({ virtual, roots: of }) => [virtual, of])).toEqual([
      ...Array.from({ length: 8 }, (_, i) => [0xffff_8000_0000_0008n + BigInt(i) * 0x20_0000n, roots]),
      [0x4008n, [roots[1]]],
    ]);
  });

  it("takes spaces of several machines, each for itself", () => {
    const machines = [1, 2].map((seed) => new DummyMachine({ seed, frames: 16 }));
    const spaces = machines.map((dummy, i) => {
      dummy.map(0x1000n * BigInt(i + 1), {}, 1, 0x8000);
      return new VirtualMemory(dummy.inlineIo(), { root: dummy.root });
    });
    const results = [...findMappings(spaces, 0x8000).sync()] as ReverseMapping[];
    expect(results.map(({ virtual, roots }) => [virtual, roots])).toEqual([
      [0x1000n, [machines[0]?.root]],
      [0x2000n, [machines[1]?.root]],
    ]);
  });
});

/** Broken runs side by side as one: a part's bounds cut them. */
function joined(lines: readonly string[]): string[] {
  const result: string[] = [];
  for (const text of lines) {
    const [root, start, physical, length, state] = text.split(" ") as [
      string,
      string,
      string,
      string,
      string,
    ];
    const i = result.findIndex((other) => {
      const [itsRoot, itsStart, itsPhysical, itsLength, itsState] = other.split(" ") as string[];
      const end = BigInt(`0x${itsStart}`) + BigInt(itsLength as string);
      return (
        physical === "-1" &&
        itsPhysical === "-1" &&
        itsRoot === root &&
        itsState === state &&
        end === BigInt(`0x${start}`)
      );
    });
    if (i < 0) result.push(text);
    else {
      const [, itsStart = "", , itsLength = ""] = (result[i] as string).split(" ");
      const sum = Number(itsLength) + Number(length);
      result[i] = `${root} ${itsStart} -1 ${sum} ${state}`;
    }
  }
  return result;
}

describe("reverse over the shipped dump", () => {
  const truth = JSON.parse(readFileSync("fixtures/linux-6.1-x86_64.truth.json", "utf8"));
  const { root, mappings } = truth.stops.kernel;
  let machine: Machine;
  beforeAll(async () => {
    machine = await open("fixtures/linux-6.1-x86_64.kdump");
  });
  afterAll(() => machine.close());

  it("finds for every page that the guest saw in its pattern regions the address that it saw it at", async () => {
    const memory = machine.addressSpace(Number(root));
    const seen = new Map<number, Set<bigint>>();
    for (const region of truth.regions) {
      for (const run of region.runs) {
        if (run.physical === null) continue;
        for (
          let at = BigInt(run.start), to = Number(run.physical);
          at < BigInt(run.end);
          at += 4096n, to += 4096
        ) {
          seen.set(to, (seen.get(to) ?? new Set()).add(at));
        }
      }
    }
    expect(seen.size).toBeGreaterThan(1500);
    const results = memory.reverse([...seen.keys()], { start: 0n, end: 1n << 47n });
    for await (const result of results) {
      if (result.state !== undefined) throw new Error(`${result.state} at ${result.start}`);
      seen.get(result.physical)?.delete(result.virtual);
    }
    const left = [...seen.values()].flatMap((addresses) => [...addresses]);
    expect(left).toEqual([]);
  });

  it("finds exactly the addresses for which QEMU listed that physical address", async () => {
    const listed: { start: bigint; end: bigint; physical: number }[] = mappings.map(
      (each: Record<string, string>) => ({
        start: BigInt(each.start as string),
        end: BigInt(each.end as string),
        physical: Number(each.physical),
      }),
    );
    // The second page of each, or its first.
    const wanted = new Set(
      listed.map((each) => each.physical + Math.min(4096, Number(each.end - each.start) - 1)),
    );
    const model = [...wanted].flatMap((physical) =>
      listed
        .map((each) => ({ ...each, at: each.start + BigInt(physical - each.physical) }))
        .filter(({ start, end, at }) => at >= start && at < end)
        .map(({ at }) => `${physical} ${at}`),
    );
    const found: string[] = [];
    for await (const result of machine.addressSpace(Number(root)).reverse([...wanted])) {
      if (result.state !== undefined) throw new Error(`${result.state} at ${result.start}`);
      // (For QEMU, a page that Linux hides is none.)
      if (result.readable) found.push(`${result.physical} ${result.virtual}`);
    }
    expect(found.length).toBeGreaterThan(wanted.size);
    expect(found.sort()).toEqual(model.sort());
  });
});
