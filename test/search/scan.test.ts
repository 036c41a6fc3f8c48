import fc from "fast-check";
import { expect, test } from "vitest";
import { SourceIo } from "../../src/io/index.js";
import { AddressSpace, PhysicalMap, PhysicalMemory } from "../../src/memory/index.js";
import { type ScanHole, scan } from "../../src/search/index.js";
import { testSource } from "../memory/support.js";

const SIZE = 400;
const BYTES = Uint8Array.from({ length: SIZE }, (_, i) => (i * 37 + (i >> 4)) & 255);

const holesOf = fc
  .array(fc.record({ start: fc.nat(SIZE - 1), length: fc.integer({ min: 1, max: 60 }) }), { maxLength: 6 })
  .map((list) => list.map(({ start, length }) => ({ start, end: Math.min(SIZE, start + length) })));

/** Runs of readable bytes, found the slow way. */
function runsOf(holes: readonly { start: number; end: number }[], from: number, to: number) {
  const runs: { start: number; end: number }[] = [];
  for (let at = from; at < to; at++) {
    if (holes.some(({ start, end }) => at >= start && at < end)) continue;
    const last = runs.at(-1);
    if (last?.end === at) last.end++;
    else runs.push({ start: at, end: at + 1 });
  }
  return runs;
}

const scans = fc.record({
  holes: holesOf,
  piece: fc.integer({ min: 1, max: 70 }),
  overlap: fc.nat(90),
  before: fc.nat(20),
  from: fc.nat(SIZE),
  length: fc.nat(SIZE),
});

test("every place is told of once, with what follows it up to the overlap or the hole", () => {
  fc.assert(
    fc.property(scans, ({ holes, piece, overlap, before, from, length }) => {
      const to = Math.min(SIZE, from + length);
      const space = new AddressSpace<number>(new SourceIo(testSource(BYTES, { holes })), { addressBits: 53 });
      const runs = runsOf(holes, from, to);
      const told: number[] = [];
      const range = { start: from, end: to };
      for (const part of scan(space, { ranges: range, piece, overlap, before }).sync()) {
        const base = Number(part.address);
        // (The end of a run is told of in a part of no bytes, where the scan keeps none.)
        const run = runs.find(
          ({ start, end }) =>
            base >= start && (base < end || (part.isLast && part.bytes.length === 0 && base === end)),
        );
        expect(run).toBeDefined();
        if (run === undefined) return;
        expect([...part.bytes]).toEqual([...BYTES.subarray(base, base + part.bytes.length)]);
        expect(part.isFirst).toBe(base === run.start);
        if (part.isLast) expect([part.until, base + part.until]).toEqual([part.bytes.length, run.end]);
        expect(part.from).toBe(Math.min(before, base + part.from - run.start));
        for (let i = part.from; i < part.until; i++) {
          told.push(base + i);
          expect(base + part.bytes.length).toBeGreaterThanOrEqual(Math.min(run.end, base + i + overlap + 1));
        }
      }
      expect(told).toEqual(
        runs.flatMap(({ start, end }) => Array.from({ length: end - start }, (_, i) => start + i)),
      );
    }),
  );
});

test("what could not be read is told of as ranges", () => {
  fc.assert(
    fc.property(scans, ({ holes, piece, from, length }) => {
      const to = Math.min(SIZE, from + length);
      const space = new AddressSpace<number>(new SourceIo(testSource(BYTES, { holes })), { addressBits: 53 });
      const found: ScanHole[] = [];
      const range = { start: from, end: to };
      for (const _ of scan(space, { ranges: range, piece, onHole: (hole) => found.push(hole) }).sync());
      const missing = found.flatMap(({ start, end }) =>
        Array.from({ length: Number(end - start) }, (_, i) => Number(start) + i),
      );
      const good = new Set(
        runsOf(holes, from, to).flatMap(({ start, end }) => [...Array(end - start)].map((_, i) => start + i)),
      );
      expect(missing).toEqual(
        Array.from({ length: to - from }, (_, i) => from + i).filter((at) => !good.has(at)),
      );
    }),
  );
});

test("of physical memory, what the map has is scanned, and what the dump left out is a hole", () => {
  const map = PhysicalMap.from([
    { start: 16, end: 32, state: "present" },
    { start: 32, end: 48, state: "excluded", reason: "unknown" },
    { start: 64, end: 80, state: "present" },
  ]);
  const memory = new PhysicalMemory(new SourceIo(testSource(BYTES)), { map });
  const holes: ScanHole[] = [];
  const parts = [
    ...scan(memory, { onHole: (hole) => holes.push(hole) })
      .map(({ address, until }) => [address, until])
      .sync(),
  ];
  expect(parts.filter(([, until]) => until !== 0)).toEqual([
    [16n, 16],
    [64n, 16],
  ]);
  expect(holes).toEqual([{ start: 32n, end: 48n, state: "excluded" }]);
});
