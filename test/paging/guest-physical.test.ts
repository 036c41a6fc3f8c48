/** Guests inside: physical memory by nested page tables. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type Address,
  type BoundView,
  EPT4,
  EXCLUDED_REASONS,
  fault,
  guestPhysical,
  layer,
  MemoryIo,
  NPT4,
  NPT5,
  nestedRoot,
  OUTSIDE,
  type PacketIo,
  PhysicalMap,
  PhysicalMemory,
  pointer,
  Scheduler,
  SourceIo,
  VirtualMemory,
  withDetail,
  X86_64,
} from "../../src/index.js";
import { memorySource, packetIoSuite } from "../suite/index.js";
import { pattern } from "../support/bytes.js";
import { type NestedKind, NestedTables } from "../support/write-nested.js";

const PAGE = 4096;
const MiB = 2 ** 20;
const GiB = 2 ** 30;

const DATA = pattern(16 * MiB, 5);

/** A host of 16 MiB: its first 8 hold data, the rest the tables, in the order of a shuffle. */
class Host {
  readonly bytes = DATA.slice();
  #next = 0;

  /** A free page of zeros, the frames far from each other. */
  readonly allocate = (): number => {
    const frame = 2048 + ((this.#next++ * 1031) % 2048);
    if (this.#next > 2048) throw new Error("the host is full");
    this.bytes.fill(0, frame * PAGE, (frame + 1) * PAGE);
    return frame * PAGE;
  };

  tables(kind: NestedKind, levels: 4 | 5): NestedTables {
    return new NestedTables(this.bytes, kind, levels, this.allocate);
  }

  /** As physical memory of which only what the map says can be read. */
  memory(map = PhysicalMap.single(0, this.bytes.length)): PhysicalMemory {
    const below: PacketIo<number> = new MemoryIo(this.bytes);
    const io = layer<number>(undefined, (address, view: BoundView) => {
      let at = address;
      let rest: BoundView | undefined = view;
      while (rest !== undefined) {
        const piece: BoundView = rest;
        const room = PAGE - (at % PAGE);
        rest = piece.length > room ? piece.split(room) : undefined;
        const { length } = piece;
        const state = map.stateOf(at);
        if (state === "present") below.sendIo(at, piece);
        else if (state === "outside") piece.fail(OUTSIDE);
        else {
          const reason = EXCLUDED_REASONS.indexOf(map.reasonOf(at) ?? "unknown");
          piece.fail(withDetail(fault("excluded", "memory", "format"), reason));
        }
        at += length;
      }
    });
    return new PhysicalMemory(io, { map });
  }
}

packetIoSuite("a guest's physical memory by EPT, in shuffled frames of its host", () => {
  const host = new Host();
  const source = new SourceIo(memorySource(host.bytes), new Scheduler());
  const physical = new PhysicalMemory(source, { map: PhysicalMap.single(0, host.bytes.length) });
  const tables = host.tables("ept", 4);
  const frames = [700, 3, 1200, 11, 9, 10];
  const base = 5 * GiB + 7 * PAGE;
  for (const [i, frame] of frames.entries()) {
    tables.map({ guest: base + i * PAGE, host: frame * PAGE, size: PAGE });
  }
  const truth = () =>
    Uint8Array.from(frames.flatMap((frame) => [...host.bytes.subarray(frame * PAGE, (frame + 1) * PAGE)]));
  const io = guestPhysical(physical, { root: tables.root }).sync();
  return { io, base, truth, writable: true, missing: { bytes: 40, state: "not-present" } };
});

const size = fc.constantFrom(PAGE, PAGE, PAGE, 2 * MiB, GiB);
const guestAddress = fc
  .tuple(
    fc.constantFrom(0, 0, GiB, 4 * GiB, 2 ** 39, 2 ** 47, 2 ** 50),
    fc.integer({ min: 0, max: 1100 }),
    size,
  )
  .map(([base, page, unit]) => base + page * Math.min(unit, 2 * MiB));
const mappings = fc.array(
  fc.record({ at: guestAddress, frame: fc.integer({ min: 0, max: 2047 }), size, writable: fc.boolean() }),
  { minLength: 1, maxLength: 60 },
);
/** Parts of the host's memory that its dump left out, or that are none. */
const missing = fc.array(
  fc.record({
    page: fc.integer({ min: 0, max: 4095 }),
    pages: fc.integer({ min: 1, max: 300 }),
    state: fc.constantFrom("excluded" as const, "outside" as const),
  }),
  { maxLength: 4 },
);

describe("a guest's physical memory", () => {
  it("is what a walk entry by entry finds, in every format and with any part of the host missing", () => {
    fc.assert(
      fc.property(
        fc.constantFrom<NestedKind>("ept", "npt"),
        fc.constantFrom<4 | 5>(4, 5),
        mappings,
        missing,
        fc.array(guestAddress, { maxLength: 10 }),
        (kind, levels, list, gaps, others) => {
          const host = new Host();
          const tables = host.tables(kind, levels);
          const limit = levels === 4 ? 2 ** 48 : 2 ** 52;
          const mapped = list
            .map(({ at, frame, size, writable }) => {
              const bytes = frame * PAGE;
              return { guest: at - (at % size), host: bytes - (bytes % size), size, writable };
            })
            .filter((mapping) => mapping.guest < limit && tables.map(mapping));
          tables.set(3 * GiB, 1, 0x6n | (1n << 60n)); // KVM's mark of a device's page: malformed as EPT
          const map = PhysicalMap.from([
            ...gaps
              // The root is there: without it there is no guest.
              .filter(
                ({ page, pages }) => !(page * PAGE <= tables.root && tables.root < (page + pages) * PAGE),
              )
              .map(({ page, pages, state }) => ({
                start: page * PAGE,
                end: (page + pages) * PAGE,
                state,
                ...(state === "excluded" ? { reason: "user" as const } : {}),
              })),
            { start: 0, end: host.bytes.length, state: "present" as const },
          ]);
          const physical = host.memory(map);
          const readable = (at: number) => map.stateOf(at) === "present";
          const format = `${kind}${levels}` as const;
          const reached = mapped.filter(({ guest }) => tables.walk(guest, readable).state === "mapped");
          if (reached.length === 0) {
            expect(() => guestPhysical(physical, { root: tables.root, mmu: format }).sync()).toThrow(
              "nothing is mapped",
            );
            return;
          }
          const guest = guestPhysical(physical, { root: tables.root, mmu: format }).sync();

          let present = 0;
          for (const { host: from, size } of reached) {
            for (let at = from; at < Math.min(from + size, host.bytes.length); at += PAGE) {
              if (readable(at)) present += PAGE;
            }
          }
          expect(guest.map.bytesPresent).toBe(present);
          expect(guest.facts.bytesMapped).toBe(reached.reduce((sum, { size }) => sum + size, 0));

          const asked = [
            ...mapped.flatMap(({ guest: at, size }) => [at - 8, at, at + size / 2, at + size - 8, at + size]),
            ...others,
            3 * GiB,
          ].filter((at) => at >= 0 && at < limit);
          for (const at of asked) {
            const wanted = tables.walk(at, readable);
            const got = guest.tables.translate(at).sync();
            const read = guest.readPartial(at, 8).sync();
            if (wanted.state !== "mapped") {
              expect(got).toMatchObject({ state: wanted.state, level: wanted.level });
              expect(read.holes).toMatchObject([{ state: wanted.state }]);
              const unknown = wanted.state === "table-missing" && wanted.level <= 2;
              expect([at, guest.map.stateOf(at)]).toEqual([at, unknown ? "excluded" : "outside"]);
              expect(guest.map.reasonOf(at)).toBe(unknown ? "or outside" : undefined);
            } else {
              expect(got).toMatchObject({
                physical: wanted.host,
                pageSize: wanted.size,
                readable: true,
                writable: wanted.writable,
                executable: true,
              });
              const state = map.stateOf(wanted.host);
              expect(guest.map.stateOf(at)).toBe(state);
              expect(guest.map.reasonOf(at)).toBe(map.reasonOf(wanted.host));
              expect(read.holes).toMatchObject(state === "present" ? [] : [{ start: 0, end: 8, state }]);
              if (state === "present") {
                expect(
                  Buffer.from(read.bytes).equals(host.bytes.subarray(wanted.host, wanted.host + 8)),
                ).toBe(true);
              }
            }
          }
        },
      ),
      { numRuns: 60 },
    );
  });

  it("tells the format by its tables, and by an EPTP", () => {
    for (const kind of ["ept", "npt"] as const) {
      for (const levels of [4, 5] as const) {
        const host = new Host();
        const physical = host.memory();
        const tables = host.tables(kind, levels);
        for (let i = 0; i < 600; i++)
          tables.map({ guest: i * PAGE, host: ((i * 7) % 2048) * PAGE, size: PAGE });
        tables.map({ guest: GiB, host: 2 * MiB, size: 2 * MiB });
        const found = guestPhysical(physical, { root: tables.root }).sync();
        expect([found.mmu.name, found.formatSource]).toEqual([`${kind}${levels}`, "tables"]);
        const asked = guestPhysical(physical, { root: tables.root, mmu: kind }).sync();
        expect(asked.mmu.name).toBe(`${kind}${levels}`);
        if (kind === "ept") {
          const eptp = tables.root + 6 + 8 * (levels - 1) + 64;
          const told = guestPhysical(physical, { root: eptp }).sync();
          expect([told.root, told.mmu.name, told.formatSource]).toEqual([
            tables.root,
            `ept${levels}`,
            "EPTP",
          ]);
        }
      }
    }
  });

  it("takes no kernel's tables and no data for a guest's", () => {
    const host = new Host();
    const tables = host.tables("npt", 4);
    for (let i = 0; i < 100; i++) {
      tables.map({ guest: i * PAGE, host: i * PAGE, size: PAGE });
      // As a kernel has them: not for user mode.
      tables.set(i * PAGE, 1, BigInt(i * PAGE) | 0x63n);
    }
    const physical = host.memory();
    const open = (root: number, mmu?: "npt4") => () => guestPhysical(physical, { root, mmu }).sync();
    expect(open(tables.root)).toThrow(/no nested page tables at 0x[0-9a-f]+: too few lead to memory/);
    expect(open(0x4000)).toThrow(/no nested page tables at 0x4000/);
    expect(open(host.allocate())).toThrow("nothing is mapped there");
    expect(open(tables.root, "npt4")().map.bytesPresent).toBe(100 * PAGE);
    expect(open(64 * MiB, "npt4")).toThrow("1 of them can't be read, and nothing is mapped there");
  });

  it.each([
    [0x1234_5000, undefined, ["ept5", "ept4", "npt5", "npt4"], "tables"],
    [0x1234_5000, "ept", ["ept5", "ept4"], "tables"],
    [0x1234_5000, "npt5", ["npt5"], "given"],
    [0x1234_501e, undefined, ["ept4"], "EPTP"],
    [0x1234_505e, undefined, ["ept4"], "EPTP"],
    [0x1234_5026, "ept", ["ept5"], "EPTP"],
    [0x1234_5018, "ept4", ["ept4"], "EPTP"],
  ] as const)(
    "tells a root by its low bits and the format that was given (%#)",
    (value, format, names, source) => {
      const { root, candidates, source: told } = nestedRoot(value, format);
      expect([root, candidates.map(({ name }) => name), told]).toEqual([0x1234_5000, names, source]);
    },
  );

  it("refuses what is no root: other low bits, other formats, no address", () => {
    for (const [value, format] of [
      [0x1001], // memory type 1
      [0x1016], // three levels
      [0x141e], // a reserved bit
      [0x101e, "ept5"],
      [0x101e, "npt"],
      [-4096],
      [2 ** 52],
      [0.5],
      [0x1000, "x86-64"],
    ] as const) {
      expect(() => nestedRoot(value, format as "ept")).toThrow(RangeError);
    }
  });

  it("is followed through writes of the host to its tables, and written through", async () => {
    const host = new Host();
    const physical = host.memory();
    const tables = host.tables("ept", 4);
    for (let i = 0; i < 8; i++) tables.map({ guest: i * PAGE, host: i * PAGE, size: PAGE });
    const guest = await guestPhysical(physical, { root: tables.root });
    expect(await guest.read(0x1000, 4)).toEqual(host.bytes.slice(0x1000, 0x1004));
    await guest.write(0x1004, Uint8Array.of(1, 2, 3, 4));
    expect(await physical.read(0x1004, 4)).toEqual(Uint8Array.of(1, 2, 3, 4));
    const entry = new Uint8Array(8);
    new DataView(entry.buffer).setBigUint64(0, 0x7_f037n, true);
    await physical.write(tables.entryAt(0x1000, 1) as number, entry);
    expect(await guest.read(0x1000, 4)).toEqual(host.bytes.slice(0x7_f000, 0x7_f004));
  });

  it("has address spaces that follow what the host writes into the guest's tables, and into those below them", async () => {
    const host = new Host();
    const physical = host.memory();
    const tables = host.tables("ept", 4);
    for (let i = 0; i < 32; i++) tables.map({ guest: i * PAGE, host: i * PAGE, size: PAGE });
    const guest = await guestPhysical(physical, { root: tables.root });
    const space = new VirtualMemory(guest, { root: 0x1000 });
    const entry = (at: number, value: bigint) => {
      const bytes = new Uint8Array(8);
      new DataView(bytes.buffer).setBigUint64(0, value, true);
      return physical.write(at, bytes);
    };
    // Two last tables, in frames 4 and 5; the first one is used.
    for (let level = 1; level <= 3; level++) await entry(level * PAGE, BigInt((level + 1) * PAGE) | 7n);
    await entry(4 * PAGE, 0x6007n);
    await entry(5 * PAGE, 0x7007n);
    const leads = async () => {
      const many = await space.translateMany(BigUint64Array.of(0n));
      const { bytes } = await space.readPartial(0n, 4);
      expect(await space.translate(0n)).toMatchObject({ physical: many.physical[0] });
      expect(bytes).toEqual(await guest.read(many.physical[0] as number, 4));
      return many.physical[0];
    };
    expect(await leads()).toBe(0x6000);
    await entry(4 * PAGE, 0x8007n);
    expect(await leads()).toBe(0x8000);
    // Guest-physical 0x4000 is another frame of the host now.
    await entry(tables.entryAt(0x4000, 1) as number, 0x5037n);
    expect(await leads()).toBe(0x7000);
  });

  it("in a live host follows tables that change behind memtool's back, and is live itself", async () => {
    const host = new Host();
    const tables = host.tables("ept", 4);
    for (let i = 0; i < 8; i++) tables.map({ guest: i * PAGE, host: i * PAGE, size: PAGE });
    const map = PhysicalMap.single(0, host.bytes.length);
    const physical = new PhysicalMemory(new MemoryIo(host.bytes), { map, live: true, cacheBytes: 0 });
    const guest = await guestPhysical(physical, { root: tables.root });
    expect([guest.live, await guest.read(0x1000, 4)]).toEqual([true, host.bytes.slice(0x1000, 0x1004)]);
    tables.set(0x1000, 1, 0x7_f037n);
    expect(await guest.read(0x1000, 4)).toEqual(host.bytes.slice(0x7_f000, 0x7_f004));
    // As old as is allowed for; and what is forgotten at once.
    const aged = await guestPhysical(physical, { root: tables.root, maxAge: 1e9 });
    await aged.read(0x1000, 4);
    tables.set(0x1000, 1, 0x7_e037n);
    expect(await aged.read(0x1000, 4)).toEqual(host.bytes.slice(0x7_f000, 0x7_f004));
    aged.tables.flush();
    expect(await aged.read(0x1000, 4)).toEqual(host.bytes.slice(0x7_e000, 0x7_e004));
  });

  it("has its host's byte order and size of pointers", async () => {
    const host = new Host();
    const tables = host.tables("ept", 4);
    tables.map({ guest: 0, host: 0x5000, size: PAGE });
    host.bytes.set([1, 2, 3, 4, 5, 6, 7, 8], 0x5000);
    const physical = new PhysicalMemory(new MemoryIo(host.bytes), {
      map: PhysicalMap.single(0, host.bytes.length),
      pointerSize: 4,
      littleEndian: false,
    });
    const guest = await guestPhysical(physical, { root: tables.root });
    expect(await guest.read(pointer, 0)).toBe(0x01020304n);
  });

  it("is found by tables of which much leads to what the dump left out, but not if most leads to no memory", () => {
    const open = (state: "excluded" | "outside", pages: number) => {
      const host = new Host();
      const tables = host.tables("npt", 4);
      // No two of them make one run.
      for (let i = 0; i < 100; i++) tables.map({ guest: i * PAGE, host: 2 * i * PAGE, size: PAGE });
      const map = PhysicalMap.from([
        { start: 0, end: 2 * pages * PAGE, state },
        { start: 2 * pages * PAGE, end: host.bytes.length, state: "present" },
      ]);
      return guestPhysical(host.memory(map), { root: tables.root }).sync().mmu.name;
    };
    expect(open("excluded", 90)).toBe("npt4");
    expect(open("outside", 40)).toBe("npt4");
    expect(() => open("outside", 60)).toThrow(/40 of 100 runs as npt4/);
  });

  it("holds address spaces of its own, and guests of its own", async () => {
    const host = new Host();
    const physical = host.memory();
    // The outer guest has the host's first 4 MiB at 1 GiB, pages in reverse.
    const outer = host.tables("npt", 4);
    for (let i = 0; i < 1024; i++) outer.map({ guest: GiB + i * PAGE, host: (1023 - i) * PAGE, size: PAGE });
    const toHost = (at: number) => (1023 - Math.floor((at - GiB) / PAGE)) * PAGE + (at % PAGE);
    const first = await guestPhysical(physical, { root: outer.root });
    // The inner guest's tables are written into the outer one's memory, by its addresses.
    const inOuter = new Uint8Array(64 * PAGE);
    const base = GiB + 256 * PAGE;
    let next = base;
    const allocate = () => {
      next += PAGE;
      return next - PAGE;
    };
    const inner = new NestedTables(inOuter, "ept", 4, allocate, base);
    for (let i = 0; i < 16; i++) inner.map({ guest: i * PAGE, host: GiB + (512 + i) * PAGE, size: PAGE });
    await first.write(base, inOuter);
    const second = await guestPhysical(first, { root: inner.root });
    expect([second.mmu, second.host, second.map.bytesPresent]).toEqual([EPT4, first, 16 * PAGE]);
    expect(await second.read(0x3010, 16)).toEqual(
      host.bytes.slice(toHost(GiB + 515 * PAGE) + 0x10, toHost(GiB + 515 * PAGE) + 0x20),
    );
    // An address space in the inner guest, whose table lies in a page that the outer guest's tables do not map.
    const entry = new Uint8Array(8);
    new DataView(entry.buffer).setBigUint64(0, 0x10_0007n, true);
    await second.write(0x2000, entry);
    const space = new VirtualMemory(second, { root: 0x2000, mmu: X86_64 });
    expect(await space.translate(0x1234n)).toMatchObject({
      state: "table-missing",
      level: 3,
      cause: "not-present",
    });
  });

  it("with the same tables over and over ends, with a map that says where it ends", () => {
    const host = new Host();
    const tables = host.tables("npt", 4);
    const leaves = host.allocate();
    const view = new DataView(host.bytes.buffer);
    for (let i = 0; i < 512; i++) {
      view.setBigUint64(leaves + 8 * i, 0xe7n, true); // 1 GiB at 0
      view.setBigUint64(tables.root + 8 * i, BigInt(leaves) | 0x27n, true);
    }
    // Every second page of the host is left out.
    const ranges = Array.from({ length: 4096 }, (_, i) => ({
      start: i * PAGE,
      end: (i + 1) * PAGE,
      state: i % 2 === 0 || i >= 2048 ? ("present" as const) : ("excluded" as const),
    }));
    const guest = guestPhysical(host.memory(PhysicalMap.from(ranges)), {
      root: tables.root,
      mmu: NPT4,
    }).sync();
    expect(guest.facts.bytesMapped).toBe(2 ** 48);
    expect(guest.facts.warnings).toEqual([expect.stringContaining("map more than can be listed")]);
    expect(guest.map.length).toBeLessThanOrEqual(2 ** 22);
    expect(guest.map.stateOf(2 ** 47)).toBe("outside");
    expect(guest.read(2 ** 47 + 0x2010, 4).sync()).toEqual(host.bytes.slice(0x2010, 0x2014));
  });

  it("whose tables point to themselves has them as malformed, once", () => {
    const host = new Host();
    const tables = host.tables("npt", 5);
    tables.map({ guest: 0, host: 0x5000, size: PAGE });
    tables.set(2 ** 48, 5, BigInt(tables.root) | 0x27n);
    const guest = guestPhysical(host.memory(), { root: tables.root, mmu: NPT5 }).sync();
    expect([guest.map.bytesPresent, guest.facts.malformed]).toEqual([PAGE, 1]);
  });

  it("of an address that is too high for it is refused", async () => {
    const host = new Host();
    const tables = host.tables("ept", 4);
    tables.map({ guest: 0, host: 0x5000, size: PAGE });
    const guest = await guestPhysical(host.memory(), { root: tables.root });
    const holes = async (at: Address) => (await guest.readPartial(at, 4)).holes;
    expect(await holes(2 ** 48)).toMatchObject([{ start: 0, end: 4, state: "non-canonical" }]);
    expect(() => guest.read(2n ** 53n, 4)).toThrow(RangeError);
  });
});
