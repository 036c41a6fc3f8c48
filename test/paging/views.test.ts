import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MemoryIo, Scheduler, withMapping } from "../../src/io/index.js";
import {
  ABSENT,
  aarch64,
  type DifferenceSide,
  diffMaps,
  ELSEWHERE,
  findMappings,
  type MapDifference,
  type MmuDef,
  NPT4,
  type ReverseMapping,
  type RunColumns,
  SV39,
  type SwappedSide,
  TableCache,
  VirtualMemory,
  withAbsentEntries,
  X86_32,
  X86_64,
} from "../../src/paging/index.js";
import { DummyMachine } from "../support/dummy-machine.js";
import { kinSpaces, type ReferencePage, referencePages, referenceRuns } from "../support/kin-spaces.js";
import type { ReferenceRun } from "../support/reference-walker.js";

const PAGE = 4096n;
const seeds = fc.nat({ max: 2 ** 30 });

const isBroken = (page: ReferencePage | ReferenceRun | undefined): page is ReferenceRun =>
  page !== undefined && "state" in page;
const rightsOf = ({ writable, user, executable }: ReferencePage) => ({ writable, user, executable });
const keyOf = (page: ReferencePage) => JSON.stringify(rightsOf(page));
const ascending = (a: bigint, b: bigint) => (a < b ? -1 : a > b ? 1 : 0);

describe("areas", () => {
  it("are the pages of the reference, side by side with the same rights as one", () => {
    let merged = 0;
    fc.assert(
      fc.property(seeds, (seed) => {
        const kin = kinSpaces(seed, 1);
        const runs = referenceRuns(kin, kin.machine.root);
        const wanted: Record<string, unknown>[] = [];
        for (const run of runs) {
          const last = wanted.at(-1);
          if ("state" in run) {
            const { start, end, state, level, cause } = run;
            const same =
              last?.end === start && last.state === state && last.level === level && last.cause === cause;
            if (same && last !== undefined) last.end = end;
            else wanted.push({ start, end, state, level, cause });
            continue;
          }
          const { start, end, writable, user, executable, pageSize } = run;
          const area = { start, end, writable, user, executable };
          if (
            last !== undefined &&
            last.state === undefined &&
            last.end === start &&
            keyOf(last as never) === keyOf(run as never)
          ) {
            last.end = end;
            (last.sizes as Set<number>).add(Number(pageSize));
            merged++;
          } else wanted.push({ ...area, sizes: new Set([Number(pageSize)]) });
        }
        const memory = kin.spaces[0] as VirtualMemory;
        const found = [...memory.areas().sync()].map((area) => {
          if (area.state !== undefined) return { cause: undefined, ...area };
          const { start, end, writable, user, executable, pageSizes } = area;
          expect(pageSizes).toEqual([...pageSizes].sort((a, b) => a - b));
          return { start, end, writable, user, executable, sizes: new Set(pageSizes) };
        });
        expect(found).toEqual(wanted);
      }),
      { numRuns: 100 },
    );
    expect(merged).toBeGreaterThan(100);
  });

  it("say nothing of what is global, and are clipped to the range", () => {
    const dummy = new DummyMachine({ frames: 16 });
    dummy.map(0x1000n, { global: true });
    dummy.map(0x2000n);
    dummy.map(0x3000n, { writable: false });
    const memory = new VirtualMemory(dummy.inlineIo(new Scheduler()), { root: dummy.root });
    const areas = [...memory.areas({ start: 0x1800n, end: 0x3001n }).sync()];
    expect(areas).toEqual(
      [
        {
          start: 0x1000n,
          end: 0x3000n,
          pageSizes: [4096],
          ...{ writable: true, user: true, executable: true },
        },
        {
          start: 0x3000n,
          end: 0x4000n,
          pageSizes: [4096],
          ...{ writable: false, user: true, executable: true },
        },
      ].map((area) => expect.objectContaining(area)),
    );
    expect(areas[0]).not.toHaveProperty("global");
    expect([...memory.areas({ start: 0x10_0000n, end: 0x20_0000n }).sync()]).toEqual([]);
  });
});

describe("summary", () => {
  it("counts what the reference maps, by page size and rights", () => {
    fc.assert(
      fc.property(seeds, (seed) => {
        const kin = kinSpaces(seed, 1);
        const wanted = new Map<string, { pages: bigint; bytes: bigint }>();
        const unknown = { ranges: 0, bytes: 0n };
        for (const run of referenceRuns(kin, kin.machine.root)) {
          const bytes = run.end - run.start;
          if ("state" in run) {
            unknown.ranges++;
            unknown.bytes += bytes;
            continue;
          }
          const key = `${run.pageSize} ${keyOf(run as never)}`;
          const sum = wanted.get(key) ?? { pages: 0n, bytes: 0n };
          wanted.set(key, { pages: sum.pages + bytes / run.pageSize, bytes: sum.bytes + bytes });
        }
        const summary = (kin.spaces[0] as VirtualMemory).summary().sync();
        const found = new Map(
          summary.rows.map((row) => [
            `${row.pageSize} ${keyOf(row as never)}`,
            { pages: BigInt(row.pages), bytes: row.bytes },
          ]),
        );
        expect(found).toEqual(wanted);
        expect(summary.rows).toHaveLength(wanted.size);
        expect(summary.unknown).toEqual(unknown);
      }),
      { numRuns: 100 },
    );
  });

  it("of a range counts a large page that lies in it in part as one page, and the bytes as they are", () => {
    const dummy = new DummyMachine({ frames: 16 });
    for (let i = 0n; i < 3n; i++) dummy.map(i * 0x20_0000n, {}, 2, Number(i) * 0x20_0000);
    const memory = new VirtualMemory(dummy.inlineIo(new Scheduler()), { root: dummy.root });
    const { rows } = memory.summary({ start: 0x1f_f000n, end: 0x40_1000n }).sync();
    expect(rows).toMatchObject([{ pageSize: 2 ** 21, pages: 3, bytes: 0x20_2000n }]);
  });

  it("of a root that can't be read is all unknown, up to 2^64", () => {
    const dummy = new DummyMachine({ frames: 4 });
    dummy.lose(dummy.root);
    const memory = new VirtualMemory(dummy.inlineIo(new Scheduler()), { root: dummy.root });
    expect(memory.summary().sync()).toEqual({
      rows: [],
      swapped: { ranges: 0, bytes: 0n },
      unknown: { ranges: 2, bytes: 1n << 48n },
    });
  });
});

/** Page by page, with no thought of speed: how two spaces differ. */
function differences(
  first: ReturnType<typeof referencePages>,
  second: ReturnType<typeof referencePages>,
): { at: bigint; what: string }[] {
  const all = [...new Set([...first.keys(), ...second.keys()])].sort(ascending);
  const list: { at: bigint; what: string }[] = [];
  for (const at of all) {
    const [one, other] = [first.get(at), second.get(at)];
    if (isBroken(one) || isBroken(other)) {
      const same =
        isBroken(one) && isBroken(other) && "entry" in one && "entry" in other && one.entry === other.entry;
      if (same && "entry" in one && one.entry !== 0n) continue;
      const side = (page: typeof one) => (isBroken(page) && "state" in page ? page.state : "-");
      list.push({ at, what: `unknown ${side(one)} ${side(other)}` });
    } else if (one === undefined) list.push({ at, what: `only-second ${keyOf(other as ReferencePage)}` });
    else if (other === undefined) list.push({ at, what: `only-first ${keyOf(one)}` });
    else {
      const frames = one.physical !== other.physical;
      const pageSize = one.pageSize !== other.pageSize;
      const rights = keyOf(one) !== keyOf(other);
      if (frames || rights || pageSize) {
        list.push({ at, what: `changed ${keyOf(one)} ${keyOf(other)} ${frames} ${rights} ${pageSize}` });
      }
    }
  }
  return list;
}

function whatOf(difference: MapDifference): string {
  const rights = (side: DifferenceSide | SwappedSide) => (side.state ?? keyOf(side as never)) as string;
  if (difference.kind === "only-first") return `only-first ${rights(difference.first)}`;
  if (difference.kind === "only-second") return `only-second ${rights(difference.second)}`;
  if (difference.kind === "unknown")
    return `unknown ${difference.first?.state ?? "-"} ${difference.second?.state ?? "-"}`;
  const { first, second, frames, rights: other, pageSize } = difference;
  return `changed ${rights(first)} ${rights(second)} ${frames} ${other} ${pageSize}`;
}

describe("diffMaps", () => {
  it("finds the differences that a comparison page by page finds, side by side as one", () => {
    const seen = new Set<string>();
    fc.assert(
      fc.property(seeds, fc.boolean(), (seed, swapped) => {
        const kin = kinSpaces(seed, 2);
        const order = swapped ? [1, 0] : [0, 1];
        const [first, second] = order.map((i) =>
          referencePages(referenceRuns(kin, kin.roots[i] as number)),
        ) as [ReturnType<typeof referencePages>, ReturnType<typeof referencePages>];
        const found = [
          ...diffMaps(
            kin.spaces[order[0] as number] as VirtualMemory,
            kin.spaces[order[1] as number] as VirtualMemory,
          ).sync(),
        ];
        const wide = [...first.values(), ...second.values()].some(
          (page) => "state" in page && page.end - page.start > 0x20_0000n,
        );
        // (A root that is lost in part: tens of gigabytes that can't be told of.)
        if (wide) return;
        const byPage = found.flatMap((each) =>
          Array.from({ length: Number((each.end - each.start) / PAGE) }, (_, i) => ({
            at: each.start + PAGE * BigInt(i),
            what: whatOf(each),
          })),
        );
        expect(byPage).toEqual(differences(first, second));
        found.forEach((each, i) => {
          const before = found[i - 1];
          if (before?.end === each.start) expect(whatOf(before)).not.toBe(whatOf(each));
          seen.add(each.kind);
          checkSide(each, "first", first);
          checkSide(each, "second", second);
        });
      }),
      { numRuns: 150 },
    );
    expect(seen).toEqual(new Set(["only-first", "only-second", "changed", "unknown"]));
  });

  it("of a space with itself finds nothing, and reads its top table alone", () => {
    const dummy = new DummyMachine({ frames: 32 });
    for (let i = 0n; i < 4n; i++) dummy.map(i << 39n);
    const source = dummy.sourceIo();
    const memory = new VirtualMemory(source, { root: dummy.root });
    expect([...diffMaps(memory, memory).sync()]).toEqual([]);
    expect(source.counters.bytes).toBe(4096);
  });

  it("finds nothing in what two spaces share, however few tables the cache has room for", () => {
    const bytes = new Uint8Array(0x4000);
    const put = (at: number, entry: bigint) => new DataView(bytes.buffer).setBigUint64(at, entry, true);
    put(0x1000 + 8 * 256, 0x3003n);
    put(0x2000 + 8 * 256, 0x3003n);
    // Of the table that both have, the first entries can't be read.
    const pieces = [
      { start: 0, size: 0x3000, target: 0 },
      { start: 0x3200, size: 0xe00, target: 0x3200 },
    ];
    for (const tables of [1, 2, 100]) {
      const physical = withMapping(new MemoryIo(bytes, { scheduler: new Scheduler() }), pieces);
      const tableCache = new TableCache({ bytes: tables * 6174 });
      const [one, other] = [0x1000, 0x2000].map((root) => new VirtualMemory(physical, { root, tableCache }));
      if (one === undefined || other === undefined) throw new Error("two spaces");
      for (const first of [one, other]) {
        first.translate(0n).sync();
        expect([tables, [...diffMaps(one, other).sync()]]).toEqual([tables, []]);
      }
    }
  });

  it("is clipped to the range", () => {
    const dummy = new DummyMachine({ frames: 32 });
    for (let i = 0n; i < 4n; i++) dummy.map(0x20_0000n + i * PAGE);
    const other = dummy.frame();
    const [first, second] = [dummy.root, other].map(
      (root) => new VirtualMemory(dummy.inlineIo(new Scheduler()), { root }),
    ) as [VirtualMemory, VirtualMemory];
    const range = { start: 0x20_1800n, end: 0x20_2001n };
    expect([...diffMaps(first, second, range).sync()]).toMatchObject([
      { start: 0x20_1000n, end: 0x20_3000n, kind: "only-first" },
    ]);
    expect([...diffMaps(second, first, range).sync()]).toMatchObject([{ kind: "only-second" }]);
    expect([...diffMaps(first, second, { start: 0n, end: 0n }).sync()]).toEqual([]);
    expect(() => diffMaps(first, second, { start: 2n, end: 1n })).toThrow(RangeError);
  });

  it("of two memories can't be told where a table is missing in both, or not gone through, though at the same address", () => {
    const machines = [1, 2].map(() => {
      const dummy = new DummyMachine({ frames: 32, seed: 1 });
      dummy.map(0x20_0000n);
      // The root itself, which is not gone through again.
      dummy.writeEntry(dummy.root + 8 * 300, BigInt(dummy.root) | 3n);
      dummy.lose(Number(dummy.readEntry(dummy.entryAt(0x20_0000n, 2)) & 0xf_ffff_f000n));
      return dummy;
    });
    const [one, same] = machines as [DummyMachine, DummyMachine];
    const physical = one.inlineIo(new Scheduler());
    const [first, second] = [0, 1].map(() => new VirtualMemory(physical, { root: one.root })) as [
      VirtualMemory,
      VirtualMemory,
    ];
    const elsewhere = new VirtualMemory(same.inlineIo(new Scheduler()), { root: same.root });
    expect([...diffMaps(first, second).sync()]).toEqual([]);
    const unknown = { state: "table-missing", level: 1, cause: "outside" };
    expect([...diffMaps(first, elsewhere).sync()]).toEqual([
      { start: 0x20_0000n, end: 0x40_0000n, kind: "unknown", first: unknown, second: unknown },
      expect.objectContaining({
        kind: "unknown",
        start: 0xffff_9600_0000_0000n,
        second: { state: "malformed", level: 4 },
      }),
    ]);
  });

  it("of tables that all point to each other ends: the bound is that of a pass over the whole, not of each part", () => {
    const dummy = new DummyMachine({ frames: 16 });
    const tables = [dummy.root, dummy.frame(), dummy.frame(), dummy.frame()];
    for (let level = 0; level < 3; level++) {
      for (let index = 0; index < 512; index++) {
        dummy.writeEntry((tables[level] as number) + 8 * index, BigInt(tables[level + 1] as number) | 7n);
      }
    }
    const other = dummy.frame();
    const apart = [10, 20, 30];
    for (let index = 0; index < 512; index++) {
      const entry = dummy.readEntry(dummy.root + 8 * index);
      dummy.writeEntry(other + 8 * index, apart.includes(index) ? entry | 0x20n : entry);
    }
    const physical = dummy.inlineIo(new Scheduler());
    const [first, second] = [dummy.root, other].map((root) => new VirtualMemory(physical, { root })) as [
      VirtualMemory,
      VirtualMemory,
    ];
    const found = [...diffMaps(first, second).sync()];
    expect(found.map(({ start, kind }) => [start >> 39n, kind])).toEqual([
      [20n, "unknown"],
      [30n, "unknown"],
    ]);
  });

  it("compares entries as they are stored: sixteen that are malformed in one way are so from any of them on", () => {
    const dummy = new DummyMachine({ frames: 32 });
    // RISC-V: 64 KiB (bit 63, 8 in the number's low four bits), and writable but not readable (V, W), which there is not.
    const napot = (1n << 63n) | (BigInt(dummy.frame() >> 16) << 14n) | (8n << 10n) | 5n;
    const spaces = [0, 8].map((from) => {
      const [root, middle, last] = [dummy.frame(), dummy.frame(), dummy.frame()] as [number, number, number];
      dummy.writeEntry(root, (BigInt(middle) >> 2n) | 1n);
      dummy.writeEntry(middle, (BigInt(last) >> 2n) | 1n);
      for (let index = from; index < 16; index++) dummy.writeEntry(last + 8 * index, napot);
      return new VirtualMemory(dummy.inlineIo(new Scheduler()), { root, mmu: SV39 });
    }) as [VirtualMemory, VirtualMemory];
    expect([...diffMaps(...spaces).sync()]).toEqual([
      { start: 0n, end: 8n * PAGE, kind: "unknown", first: { state: "malformed", level: 1 } },
    ]);
  });

  it("can't be told where both have a malformed entry, in formats of which each means its own by it", () => {
    const dummy = new DummyMachine({ frames: 16 });
    // Neither has large pages at the top.
    dummy.writeEntry(dummy.root, 0x87n);
    const physical = dummy.inlineIo(new Scheduler());
    const [first, second] = [X86_64, NPT4].map(
      (mmu) => new VirtualMemory(physical, { root: dummy.root, mmu }),
    ) as [VirtualMemory, VirtualMemory];
    const malformed = { state: "malformed", level: 4 };
    expect([...diffMaps(first, second).sync()]).toEqual([
      { start: 0n, end: 1n << 39n, kind: "unknown", first: malformed, second: malformed },
    ]);
  });

  it("says of a root that can't be read that nothing is known, whatever the other maps", () => {
    const dummy = new DummyMachine({ frames: 32 });
    for (let i = 0n; i < 4n; i++) dummy.map(i * 2n * PAGE);
    const lost = dummy.frame();
    dummy.lose(lost);
    const [first, second] = [dummy.root, lost].map(
      (root) => new VirtualMemory(dummy.inlineIo(new Scheduler()), { root }),
    ) as [VirtualMemory, VirtualMemory];
    const unknown = { state: "table-missing", level: 4, cause: "outside" };
    const halves = [
      { start: 0n, end: 1n << 47n, kind: "unknown" },
      { start: 0xffff_8000_0000_0000n, end: 1n << 64n, kind: "unknown" },
    ];
    expect([...diffMaps(first, second).sync()]).toEqual(halves.map((half) => ({ ...half, second: unknown })));
    expect([...diffMaps(second, first).sync()]).toEqual(halves.map((half) => ({ ...half, first: unknown })));
    expect([...diffMaps(second, second).sync()]).toEqual(
      halves.map((half) => ({ ...half, first: unknown, second: unknown })),
    );
  });
});

/** Entries whose bit 1 is set are swapped out, as are no others that aren't present. */
const SWAPPING: MmuDef = withAbsentEntries(X86_64, {
  name: "test",
  read: (_level, lo) => ((lo & 2) === 0 ? ABSENT : ELSEWHERE),
  describe: () => ({ kind: "swap" }),
});

describe("pages that are swapped out", () => {
  const dummy = new DummyMachine({ frames: 64 });
  const other = dummy.frame();
  const put = (page: bigint, first: bigint, second: bigint) => {
    dummy.writeEntry(dummy.entryAt(page * PAGE, 1), first);
    dummy.writeEntry(dummy.entryAt(page * PAGE, 1, other), second);
  };
  put(0n, 0x1000_0002n, 0x1000_0002n);
  put(1n, 0x2000_0002n, 0x3000_0002n);
  put(2n, 0x4000_0002n, 0x5007n);
  put(3n, 0x5007n, 0x6000_0002n);
  put(4n, 0x7000_0002n, 0n);
  put(5n, 0n, 0x7000_0002n);
  put(6n, 0x8000_0002n, 0x9000_0000n);
  const [first, second] = [dummy.root, other].map(
    (root) => new VirtualMemory(dummy.inlineIo(new Scheduler()), { root, mmu: SWAPPING }),
  ) as [VirtualMemory, VirtualMemory];

  it("are no mapping of a physical address, and nothing that can't be told", () => {
    expect([...first.reverse({ start: 0, end: 2 ** 50 }).sync()]).toMatchObject([
      { virtual: 3n * PAGE, physical: 0x5000, length: 4096 },
    ]);
  });

  it("are areas of their own, those side by side as one", () => {
    expect(
      [...first.areas().sync()].map(({ start, end, state }) => [start / PAGE, end / PAGE, state]),
    ).toEqual([
      [0n, 3n, "swapped"],
      [3n, 4n, undefined],
      [4n, 5n, "swapped"],
      [6n, 7n, "swapped"],
    ]);
  });

  it("are no part of an area that is not in RAM for another reason", () => {
    const dummy = new DummyMachine({ frames: 16 });
    dummy.writeEntry(dummy.entryAt(511n * PAGE, 1), 0x1000_0002n);
    dummy.writeEntry(dummy.entryAt(512n * PAGE, 2), 0xffff_f000_0007n);
    const memory = new VirtualMemory(dummy.inlineIo(new Scheduler()), { root: dummy.root, mmu: SWAPPING });
    expect(
      [...memory.areas().sync()].map(({ start, end, state }) => [start / PAGE, end / PAGE, state]),
    ).toEqual([
      [511n, 512n, "swapped"],
      [512n, 1024n, "table-missing"],
    ]);
  });

  it("are counted by themselves", () => {
    expect(first.summary().sync()).toMatchObject({
      rows: [{ pages: 1 }],
      swapped: { bytes: 5n * PAGE },
      unknown: { ranges: 0, bytes: 0n },
    });
  });

  it("differ where the slot does, and from what is mapped", () => {
    const found = [...diffMaps(first, second).sync()];
    expect(found.map((each) => [each.start / PAGE, each.end / PAGE, whatOf(each)])).toEqual([
      [1n, 2n, "changed swapped swapped true false false"],
      [2n, 3n, expect.stringMatching(/^changed swapped {.*} true false false$/)],
      [3n, 4n, expect.stringMatching(/^changed {.*} swapped true false false$/)],
      [4n, 5n, "only-first swapped"],
      [5n, 6n, "only-second swapped"],
      [6n, 7n, "only-first swapped"],
    ]);
  });

  it("don't differ in what the system has noted of a page, beside its place in a swap area", () => {
    // Bit 2 is such a note; bit 3 is the area, and the place in it is from bit 12 on.
    const mmu = withAbsentEntries(X86_64, {
      name: "test",
      read: (_level, lo) => ((lo & 2) === 0 ? ABSENT : ELSEWHERE),
      describe: (_level, entry) => ({
        kind: "swap",
        type: Number((entry >> 3n) & 1n),
        offset: Number(entry >> 12n),
      }),
    });
    put(8n, 0x1000_0002n, 0x1000_0006n);
    put(9n, 0x2000_0006n, 0x3000_0002n);
    put(10n, 0x2000_0006n, 0x2000_000an);
    const [one, noted] = [dummy.root, other].map(
      (root) => new VirtualMemory(dummy.inlineIo(new Scheduler()), { root, mmu }),
    ) as [VirtualMemory, VirtualMemory];
    const range = { start: 8n * PAGE, end: 16n * PAGE };
    expect([...diffMaps(one, noted, range).sync()]).toMatchObject([
      { start: 9n * PAGE, end: 11n * PAGE, kind: "changed" },
    ]);
    // Where nobody knows what the entries mean, they differ.
    const [first, second] = [dummy.root, other].map(
      (root) => new VirtualMemory(dummy.inlineIo(new Scheduler()), { root, mmu: SWAPPING }),
    ) as [VirtualMemory, VirtualMemory];
    expect([...diffMaps(first, second, range).sync()]).toMatchObject([{ start: 8n * PAGE, end: 11n * PAGE }]);
  });
});

describe("other formats", () => {
  const aarch = aarch64({ granule: 4096, bits: 48 });
  /** Spaces of two processes: a lower root each, and the kernel's. */
  function pairs() {
    const dummy = new DummyMachine({ frames: 64 });
    const [upper, ...lower] = [dummy.frame(), dummy.frame(), dummy.frame()];
    const put = (root: number, virtual: bigint, leaf: bigint) => {
      let table = root;
      for (let shift = 39n; shift > 12n; shift -= 9n) {
        const at = table + Number((virtual >> shift) & 511n) * 8;
        if (dummy.readEntry(at) === 0n) dummy.writeEntry(at, BigInt(dummy.frame()) | 3n);
        table = Number(dummy.readEntry(at) & 0xffff_ffff_f000n);
      }
      dummy.writeEntry(table + Number((virtual >> 12n) & 511n) * 8, leaf);
    };
    // Arm ARM, D8.3.1.2: a page's descriptor has bits 1 and 0 set; AF is bit 10.
    put(upper as number, 0xffff_0000_1234_5000n, 0x1000_0403n);
    put(lower[0] as number, 0x7000n, 0x1000_0443n);
    put(lower[1] as number, 0x9000n, 0x1000_0443n);
    const source = dummy.sourceIo();
    const roots = lower.map((root) => ({ lower: root, upper: upper as number }));
    const tableCache = new TableCache({ mmu: aarch });
    const spaces = roots.map((root) => new VirtualMemory(source, { root, mmu: aarch, tableCache }));
    return { source, roots, spaces };
  }

  it("with two roots share the kernel's half, which is visited once", () => {
    const { source, roots, spaces } = pairs();
    const found = [...findMappings(spaces, 0x1000_0010).sync()] as ReverseMapping[];
    expect(found.map(({ virtual, roots: of }) => [virtual, of])).toEqual([
      [0x7010n, [roots[0]]],
      [0xffff_0000_1234_5010n, roots],
      [0x9010n, [roots[1]]],
    ]);
    // Four tables each.
    expect(source.counters.bytes).toBe(3 * 4 * 4096);
    const [first, second] = spaces as [VirtualMemory, VirtualMemory];
    expect([...diffMaps(first, second).sync()]).toMatchObject([
      { start: 0x7000n, kind: "only-first" },
      { start: 0x9000n, kind: "only-second" },
    ]);
  });

  it("of pages of 64 KiB differ in each part of a page that a range asks for", () => {
    const [first, second] = [0x10_0000, 0x20_0000].map((frame) => {
      const mmu = aarch64({ granule: 65536, bits: 42 });
      const bytes = new Uint8Array(3 * 65536);
      const words = new DataView(bytes.buffer);
      // Two levels: bits 29 to 41, and 16 to 28.
      words.setBigUint64(0, 0x1_0003n, true);
      words.setBigUint64(0x1_0000, BigInt(frame) | 0x403n, true);
      const physical = new MemoryIo(bytes, { scheduler: new Scheduler() });
      return new VirtualMemory(physical, { root: { lower: 0 }, mmu });
    }) as [VirtualMemory, VirtualMemory];
    expect([...diffMaps(first, second, { start: 0x2000n, end: 0x5000n }).sync()]).toMatchObject([
      { start: 0x2000n, end: 0x5000n, kind: "changed", first: { physical: 0x10_2000 }, frames: true },
    ]);
  });

  it("of 32 bits are counted, and searched to their end", () => {
    const dummy = new DummyMachine({ frames: 16 });
    const [root, table] = [dummy.frame(), dummy.frame()];
    // Intel SDM vol. 3A, 4.3: entries of 4 bytes; 0x83 is a page of 4 MiB.
    dummy.words.setUint32(root + 4 * 0x3ff, 0x0080_0083, true);
    dummy.words.setUint32(root, table | 7, true);
    dummy.words.setUint32(table + 4 * 5, 0x0080_1007, true);
    const memory = new VirtualMemory(dummy.inlineIo(new Scheduler()), { root, mmu: X86_32 });
    const found = [...memory.reverse(0x80_1234).sync()] as ReverseMapping[];
    expect(found.map(({ virtual, pageSize }) => [virtual, pageSize])).toEqual([
      [0x5234n, 4096],
      [0xffc0_1234n, 4 << 20],
    ]);
    expect(
      memory
        .summary()
        .sync()
        .rows.map(({ pageSize, pages }) => [pageSize, pages]),
    ).toEqual([
      [4096, 1],
      [4 << 20, 1],
    ]);
    expect([...findMappings([memory], 0x80_1234).sync()]).toEqual(found);
    expect([...memory.areas().sync()].map(({ start, end }) => [start, end])).toEqual([
      [0x5000n, 0x6000n],
      [0xffc0_0000n, 0x1_0000_0000n],
    ]);
  });
});

/** What a side says of frames and page sizes is what its pages say. */
function checkSide(
  difference: MapDifference,
  name: "first" | "second",
  pages: ReturnType<typeof referencePages>,
): void {
  if (difference.kind === "unknown" || !(name in difference)) return;
  const side = (difference as unknown as Record<string, { physical?: number; pageSizes: number[] }>)[name];
  const sizes = new Set<number>();
  let contiguous = true;
  const start = (pages.get(difference.start) as ReferencePage).physical;
  for (let at = difference.start; at < difference.end; at += PAGE) {
    const page = pages.get(at) as ReferencePage;
    sizes.add(page.pageSize);
    contiguous &&= page.physical === start + Number(at - difference.start);
  }
  expect(side?.pageSizes).toEqual([...sizes].sort((a, b) => a - b));
  expect(side?.physical).toBe(contiguous ? start : undefined);
}

describe("runBatches", () => {
  it("gives the runs of maps(), none of them twice, in columns that are used again", () => {
    // 160,000 scattered pages: three batches.
    const dummy = new DummyMachine({ frames: 400 });
    const table = dummy.entryAt(0n, 1);
    for (let i = 0; i < 512; i++) dummy.writeEntry(table + 8 * i, BigInt(((i * 7) % 512) * 4096) | 7n);
    const above = dummy.entryAt(0n, 2);
    for (let i = 1; i < 320; i++) {
      const copy = dummy.frame();
      for (let j = 0; j < 512; j++) dummy.writeEntry(copy + 8 * j, dummy.readEntry(table + 8 * j));
      dummy.writeEntry(above + 8 * i, BigInt(copy) | 7n);
    }
    const memory = new VirtualMemory(dummy.inlineIo(new Scheduler()), { root: dummy.root });
    const columns = new Set<RunColumns>();
    let batches = 0;
    const runs = memory.maps().sync();
    for (const batch of memory.runBatches().sync()) {
      columns.add(batch);
      batches++;
      for (let row = 0; row < batch.length; row++) {
        const { value } = runs.next();
        if (batch.starts[row] !== value?.start) expect(batch.row(row)).toEqual(value);
      }
    }
    expect(runs.next().done).toBe(true);
    expect([columns.size, batches]).toEqual([1, 3]);
  });
});
