import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { scanPieces, scanWindows } from "../../../src/linux/find/scan-order.js";
import { findKernel } from "../../../src/linux/index.js";
import { PhysicalMap, type PhysicalRange } from "../../../src/memory/physical-map.js";
import { DummyKernel } from "../../support/kernel.js";
import { type SparsePart, sparseFile } from "../../support/sparse-file.js";

const MIB = 2 ** 20;
const GIB = 2 ** 30;
const UNIT = MIB;

/** Ranges of RAM, in units of 256 bytes so that pieces may begin anywhere, below and above 4 GiB. */
const ranges = fc
  .array(
    fc.record({
      gap: fc.oneof(fc.constant(0), fc.nat({ max: 4096 }), fc.nat({ max: 24 * 2 ** 20 })),
      size: fc.oneof(fc.integer({ min: 1, max: 8192 }), fc.integer({ min: 1, max: 8 * 2 ** 20 })),
      kind: fc.constantFrom("present", "zero", "excluded" as const),
    }),
    { minLength: 1, maxLength: 12 },
  )
  .map((parts) => {
    let at = 0;
    return parts.map(({ gap, size, kind }): PhysicalRange => {
      const start = at + 256 * gap;
      at = start + 256 * size;
      return kind === "excluded"
        ? { start, end: at, state: "excluded", reason: "user" }
        : { start, end: at, state: "present", ...(kind === "zero" ? { zero: true } : {}) };
    });
  });

/** What is present, with ranges that touch as one. */
function present(of: Iterable<{ readonly start: number; readonly end: number }>): number[][] {
  const merged: number[][] = [];
  for (const { start, end } of [...of].sort((a, b) => a.start - b.start)) {
    const last = merged.at(-1);
    if (last !== undefined && last[1] === start) last[1] = end;
    else merged.push([start, end]);
  }
  return merged;
}

describe("the order of a scan", () => {
  it("has every present byte once, in pieces that no page of 64 KiB is cut by, wherever RAM lies", () => {
    fc.assert(
      fc.property(ranges, (list) => {
        const map = PhysicalMap.from(list);
        const windows = scanWindows(map, UNIT);
        expect(windows.length).toBeLessThanOrEqual(14);
        const pieces = windows.flatMap((window) => [...scanPieces({ map }, window, UNIT)]);
        expect(present(pieces)).toEqual(present(list.filter(({ state }) => state === "present")));
        const cut = (start: number, end: number) => Math.floor((end - 1) / UNIT) !== Math.floor(start / UNIT);
        expect(pieces.filter(({ start, end, zero }) => end <= start || (!zero && cut(start, end)))).toEqual(
          [],
        );
      }),
      { numRuns: 100 },
    );
  });

  it("has every present byte once, too, if zeros are told of in its midst", () => {
    fc.assert(
      fc.property(ranges, fc.nat({ max: 40 }), (list, after) => {
        const told = PhysicalMap.from(list);
        const map = PhysicalMap.from(list.map(({ zero: _, ...range }) => range));
        const from = { map };
        const pieces = [];
        let early = 0;
        for (const window of scanWindows(map, UNIT)) {
          for (const piece of scanPieces(from, window, UNIT)) {
            if (piece.zero && from.map === map) early++;
            pieces.push(piece);
            if (pieces.length === after) from.map = told;
          }
        }
        expect(early).toBe(0);
        expect(present(pieces)).toEqual(present(list.filter(({ state }) => state === "present")));
      }),
      { numRuns: 100 },
    );
  });

  it("comes by a text that lies D bytes from an end of RAM before it has read 16 * D", () => {
    const map = PhysicalMap.from([
      { start: 0, end: 3 * GIB, state: "present" },
      { start: 4 * GIB, end: 64 * GIB, state: "present" },
    ]);
    const windows = scanWindows(map, UNIT);
    for (const distance of [16, 40, 64, 65, 200, 300, 1000].map((mib) => mib * MIB)) {
      for (const at of [distance, 3 * GIB - distance, 4 * GIB + distance, 64 * GIB - distance]) {
        let read = 0;
        for (const { start, end } of windows) {
          if (at >= start && at < end) {
            read += at - start;
            break;
          }
          read += end - start;
        }
        expect(read).toBeLessThanOrEqual(16 * distance);
      }
    }
  });
});

/** Memory of a kernel (in its first 4 MiB), and texts elsewhere. */
function machine(size: number, texts: readonly SparsePart[]) {
  return sparseFile(size, [{ at: 0, bytes: new DummyKernel().ram }, ...texts]);
}

const { note: text } = new DummyKernel();
const { note: stale } = new DummyKernel({ physBaseError: 0x1000n });
describe("a scan for the kernel", () => {
  it("finds the text that holds up wherever it lies, whatever lies elsewhere, and reads nothing twice", () => {
    const size = 192 * MIB;
    const page = fc.nat({ max: size / 4096 - 1 - 1024 }).map((n) => 4 * MIB + n * 4096);
    fc.assert(
      fc.property(page, fc.array(page, { maxLength: 3 }), (at, others) => {
        const decoys = others.filter((other) => other !== at).map((other) => ({ at: other, bytes: stale }));
        const file = machine(size, [...decoys, { at, bytes: text }]);
        const { origin } = findKernel(file, { map: PhysicalMap.single(0, size) }).sync();
        expect(origin).toMatchObject({ verified: true, vmcoreinfoAddress: at });
        // Page tables are read besides.
        expect(file.asked.bytes).toBeLessThanOrEqual(size + MIB);
      }),
      { numRuns: 12 },
    );
  });

  // The last 64 MiB come before the part in the middle, and after the first ones.
  it.each([
    [150, 100],
    [20, 150],
    [100, 20],
  ])("takes the text at the lowest address if none holds up (at %d and %d MiB)", (one, other) => {
    const size = 192 * MIB;
    const file = machine(
      size,
      [one, other].map((mib) => ({ at: mib * MIB, bytes: stale })),
    );
    const map = PhysicalMap.single(0, size);
    expect(findKernel(file, { map }).sync().origin).toMatchObject({
      verified: false,
      vmcoreinfoAddress: Math.min(one, other) * MIB,
    });
  });

  it("reads little where the text lies in a likely place of much memory", () => {
    const ram = [
      { start: 0, end: 3 * GIB, state: "present" as const },
      { start: 4 * GIB, end: 64 * GIB, state: "present" as const },
    ];
    // As measured: just above 4 GiB, near the start of low RAM, near its end, near the end of all.
    for (const at of [4 * GIB + 8 * MIB, 25 * MIB, 3 * GIB - 2 * MIB, 64 * GIB - 3 * MIB]) {
      const file = machine(64 * GIB, [{ at, bytes: text }]);
      const { origin } = findKernel(file, { map: PhysicalMap.from(ram) }).sync();
      expect(origin).toMatchObject({ verified: true, vmcoreinfoAddress: at });
      expect(file.asked.bytes).toBeLessThan(257 * MIB);
    }
  });

  it("reads no zeros that it is told of, and asks once, after 32 MiB of blank pages", () => {
    const size = 16 * GIB;
    const at = 9 * GIB;
    const file = machine(size, [{ at, bytes: text }]);
    let asked = 0;
    const progress: number[] = [];
    const { origin } = findKernel(file, {
      map: PhysicalMap.single(0, size),
      // biome-ignore lint/correctness/useYield: nothing to wait for.
      zeros: function* () {
        asked++;
        return PhysicalMap.from([
          { start: 0, end: 4 * MIB, state: "present" },
          { start: 4 * MIB, end: at, state: "present", zero: true },
          { start: at, end: at + 4096, state: "present" },
          { start: at + 4096, end: size, state: "present", zero: true },
        ]);
      },
      onProgress: (done) => progress.push(done),
    }).sync();
    expect(origin).toMatchObject({ verified: true, vmcoreinfoAddress: at });
    expect(asked).toBe(1);
    expect(file.asked.bytes).toBeGreaterThanOrEqual(32 * MIB);
    expect(file.asked.bytes).toBeLessThan(40 * MIB);
    expect(progress).toEqual([...progress].sort((a, b) => a - b));
    expect(progress.at(-1)).toBeLessThanOrEqual(size);
  });

  it("tells the search for page tables of them, too", () => {
    const size = 2 ** 34;
    // biome-ignore lint/correctness/useYield: nothing to wait for.
    const zeros = function* () {
      return PhysicalMap.from([
        { start: 0, end: 4 * MIB, state: "present" },
        { start: 4 * MIB, end: size - 4096, state: "present", zero: true },
        { start: size - 4096, end: size, state: "present" },
      ]);
    };
    const file = machine(size, []);
    const find = () =>
      findKernel(file, { map: PhysicalMap.single(0, size), searchRoots: true, zeros }).sync();
    expect(find).toThrow("no Linux kernel found");
    expect(file.asked.bytes).toBeLessThan(64 * MIB);
  });

  it("counts up to all of memory where there is no kernel, also where nobody can tell zeros apart", () => {
    const size = 96 * MIB;
    let last: number[] = [];
    const find = () =>
      findKernel(sparseFile(size, []), {
        map: PhysicalMap.single(0, size),
        // biome-ignore lint/correctness/useYield: nothing to wait for.
        zeros: function* () {
          return undefined;
        },
        onProgress: (done, total) => {
          last = [done, total];
        },
      }).sync();
    expect(find).toThrow("no Linux kernel found");
    expect(last).toEqual([size, size]);
  });
});
