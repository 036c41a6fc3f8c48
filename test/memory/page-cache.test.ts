import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  all,
  type Batch,
  type BoundView,
  type Hole,
  layer,
  MemoryIo,
  Packet,
  SourceIo,
  send,
} from "../../src/io/index.js";
import {
  AddressSpace,
  PhysicalMap,
  PhysicalMemory,
  u32,
  u64,
  withPageCache,
} from "../../src/memory/index.js";
import { pattern, sameBytes, testSource } from "./support.js";

const PAGES = 8;
const PAGE = 4096;
const BYTES = PAGES * 4096 + 1000;

const address = fc.oneof(
  fc.nat(BYTES + 50),
  fc.record({ page: fc.nat(PAGES + 1), delta: fc.integer({ min: -12, max: 12 }) }).map(({ page, delta }) => {
    return Math.max(0, page * 4096 + delta);
  }),
);
const length = fc.oneof({ weight: 5, arbitrary: fc.nat(24) }, { weight: 1, arbitrary: fc.nat(9000) });
const step = fc.oneof(
  { weight: 8, arbitrary: fc.record({ kind: fc.constant("read" as const), address, length }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("write" as const), address, length }) },
  { weight: 1, arbitrary: fc.constant({ kind: "flush" as const, address: 0, length: 0 }) },
);
const holes = fc.array(
  fc.record({ start: fc.nat(BYTES), length: fc.integer({ min: 1, max: 5000 }) }).map(({ start, length }) => ({
    start,
    end: start + length,
  })),
  { maxLength: 3 },
);

function spaces(options: {
  holes: readonly { start: number; end: number }[];
  wholeRows: boolean;
  delay: number | undefined;
  pages: number;
  live: boolean;
}) {
  const sourceOptions = { ...options, ...(options.delay === undefined ? {} : { delay: options.delay }) };
  const { delay, ...without } = sourceOptions;
  const open = (bytes: Uint8Array) =>
    new SourceIo(testSource(bytes, delay === undefined ? without : { ...without, delay }));
  const plainBytes = pattern(BYTES);
  const cachedBytes = pattern(BYTES);
  const plain = new AddressSpace<number>(open(plainBytes), { addressBits: 53 });
  const cache = withPageCache(open(cachedBytes), { bytes: options.pages * 4096, live: options.live });
  const cached = new AddressSpace<number>(cache, { addressBits: 53 });
  return { plain, cached, cache, plainBytes, cachedBytes };
}

interface Transfer {
  readonly bytes: Uint8Array;
  readonly good: readonly { start: number; end: number }[];
  readonly holes: readonly Hole[];
}

/**
 * The same bytes and holes. A source that fails rows as a whole may fail less where the cache asks page by page: then
 * all that came without the cache comes with it, and what comes is right.
 */
function expectSame(
  actual: Transfer,
  expected: Transfer,
  wholeRows: boolean,
  address: number,
  truth: Uint8Array,
) {
  if (!wholeRows) expect(actual.holes).toEqual(expected.holes);
  let at = 0;
  for (const { start, end } of [...actual.good, ...actual.holes].sort((a, b) => a.start - b.start)) {
    expect(start).toBe(at);
    at = end;
  }
  expect(at).toBe(expected.bytes.length);
  for (const { start, end } of actual.good) {
    const right = truth.subarray(address + start, address + end);
    expect(sameBytes(actual.bytes.subarray(start, end), right)).toBe(true);
  }
  for (const { start, end } of expected.good) {
    expect(actual.good.some((range) => range.start <= start && range.end >= end)).toBe(true);
  }
}

const setting = fc.record({
  holes,
  wholeRows: fc.boolean(),
  pages: fc.integer({ min: 1, max: 6 }),
  live: fc.boolean(),
});

describe("a page cache", () => {
  it("gives the same bytes and holes as no cache, synchronously", () => {
    fc.assert(
      fc.property(setting, fc.array(step, { maxLength: 40 }), (options, steps) => {
        const { plain, cached, cache, plainBytes, cachedBytes } = spaces({ ...options, delay: undefined });
        for (const [i, { kind, address, length }] of steps.entries()) {
          if (kind === "flush") {
            cache.flush();
          } else if (kind === "write") {
            const data = Uint8Array.from({ length }, (_, k) => k * 3 + i);
            const expected = plain.writePartial(address, data).sync();
            expect(cached.writePartial(address, data).sync().holes).toEqual(expected.holes);
          } else {
            const expected = plain.readPartial(address, length).sync();
            const actual = cached.readPartial(address, length).sync();
            expectSame(actual, expected, options.wholeRows, address, plainBytes);
          }
          expect(cache.size).toBeLessThanOrEqual(options.pages);
        }
        expect(sameBytes(cachedBytes, plainBytes)).toBe(true);
      }),
      { numRuns: 150 },
    );
  });

  it("gives the same bytes and holes as no cache, with rounds of reads in flight together", async () => {
    await fc.assert(
      fc.asyncProperty(
        setting,
        fc.nat(3),
        fc.array(fc.record({ write: fc.boolean(), steps: fc.array(step, { maxLength: 8 }) }), {
          maxLength: 8,
        }),
        async (options, delay, rounds) => {
          const { plain, cached, plainBytes } = spaces({ ...options, delay });
          for (const [i, round] of rounds.entries()) {
            if (round.write) {
              for (const { address, length } of round.steps) {
                const data = Uint8Array.from({ length }, (_, k) => k * 5 + i);
                await all([plain.writePartial(address, data), cached.writePartial(address, data)]);
              }
            } else {
              const expected = await all(
                round.steps.map(({ address, length }) => plain.readPartial(address, length)),
              );
              const actual = await all(
                round.steps.map(({ address, length }) => cached.readPartial(address, length)),
              );
              for (const [k, { address }] of round.steps.entries()) {
                expectSame(actual[k]!, expected[k]!, options.wholeRows, address, plainBytes);
              }
            }
          }
        },
      ),
      { numRuns: 200 },
    );
  });

  it("never serves bytes from before a write that has landed, however reads and writes overlap", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.nat(30), { minLength: 1, maxLength: 5 }),
        fc.boolean(),
        fc.array(fc.record({ write: fc.boolean(), page: fc.nat(2), wait: fc.nat(12) }), {
          minLength: 5,
          maxLength: 40,
        }),
        async (delay, live, steps) => {
          const bytes = new Uint8Array(3 * 4096);
          const cached = new AddressSpace<number>(
            withPageCache(new SourceIo(testSource(bytes, { delay })), { live }),
          );
          // Values only grow; a read that begins after a write was over must give at least its value.
          const landed = [0, 0, 0];
          let value = 0;
          const running: Promise<void>[] = [];
          for (const { write, page, wait } of steps) {
            if (write) {
              const mine = ++value;
              running.push(
                cached
                  .write(u32, page * 4096 + 8, mine)
                  .promise()
                  .then(() => {
                    landed[page] = Math.max(landed[page] as number, mine);
                  }),
              );
            } else {
              const least = landed[page] as number;
              running.push(
                cached
                  .read(u32, page * 4096 + 8)
                  .promise()
                  .then((seen) => expect(seen).toBeGreaterThanOrEqual(least)),
              );
            }
            for (let i = 0; i < wait; i++) await null;
          }
          await Promise.all(running);
          for (const page of [0, 1, 2]) {
            expect(await cached.read(u32, page * 4096 + 8)).toBe(
              new DataView(bytes.buffer).getUint32(page * 4096 + 8, true),
            );
          }
        },
      ),
      { numRuns: 200 },
    );
  });

  it("forgets every page of a write that is longer than the cache", () => {
    const space = new AddressSpace<number>(withPageCache(new MemoryIo(new Uint8Array(8 * 4096))));
    for (const page of [0, 2]) space.read(u32, page * 4096).sync();
    space.write(0, new Uint8Array(8 * 4096).fill(1)).sync();
    expect([0, 2].map((page) => space.read(u32, page * 4096).sync())).toEqual([0x01010101, 0x01010101]);
  });

  it("fetches a page once for many concurrent misses", async () => {
    for (const delay of [undefined, 2]) {
      const io = new SourceIo(testSource(pattern(BYTES), delay === undefined ? {} : { delay }));
      const cache = withPageCache(io);
      const space = new AddressSpace<number>(cache);
      await all(Array.from({ length: 500 }, (_, i) => space.read(u64, i * 8)));
      expect(io.counters).toEqual({ batches: 1, fragments: 1, bytes: 4096, merged: 0 });
      expect(cache.counters).toMatchObject({ hits: 0, misses: 500, shared: 499, fetches: 1 });
      await all(Array.from({ length: 500 }, (_, i) => space.read(u64, i * 8)));
      expect(io.counters.batches).toBe(1);
      expect(cache.counters.hits).toBe(500);
    }
  });

  it("keeps nothing of a live source beyond a batch, but shares within it", async () => {
    const bytes = pattern(BYTES);
    const io = new SourceIo(testSource(bytes, { live: true }));
    const cache = withPageCache(io, { live: true });
    const space = new AddressSpace<number>(cache);
    await all([space.read(u32, 0), space.read(u32, 100)]);
    expect(io.counters).toMatchObject({ batches: 1, fragments: 1 });
    bytes[0] = 99;
    expect((await space.read(0, 1))[0]).toBe(99);
    bytes[0] = 98;
    expect(space.read(0, 1).sync()[0]).toBe(98);
    bytes[0] = 97;
    expect(space.read(0, 1).sync()[0]).toBe(97);
    expect(cache.size).toBe(0);
    expect(cache.find(0)).toBe(-1);
  });

  it("lets nobody join a fetch of a live source that was sent before", async () => {
    const bytes = new Uint8Array(4096);
    let release = () => {};
    const io = new SourceIo({
      ...testSource(bytes, { live: true }),
      transferSync: undefined,
      async transfer(batch: Batch) {
        // Reads at once, answers late.
        for (let row = 0; row < batch.length; row++) batch.bytes(row).fill(bytes[0] as number);
        await new Promise<void>((resolve) => {
          release = resolve;
        });
        for (let row = 0; row < batch.length; row++) batch.done(row);
      },
    } as never);
    const space = new AddressSpace<number>(withPageCache(io, { live: true }));
    const first = space.read(0, 1).promise();
    for (let i = 0; i < 20; i++) await null;
    const releaseFirst = release;
    bytes[0] = 1;
    const second = space.read(0, 1).promise();
    for (let i = 0; i < 20; i++) await null;
    releaseFirst();
    release();
    expect((await first)[0]).toBe(0);
    expect((await second)[0]).toBe(1);
  });

  it("charges a fault only for its own bytes, and asks a page that has a hole no second time as a whole", () => {
    const bytes = pattern(BYTES);
    const log: string[] = [];
    const source = testSource(bytes, { holes: [{ start: 100, end: 104 }], wholeRows: true, log });
    const cache = withPageCache(new SourceIo(source));
    const space = new AddressSpace<number>(cache);
    expect(space.read(0, 100).sync()).toEqual(bytes.slice(0, 100));
    expect(log).toEqual(["read 0+4096", "read 0+100"]);
    expect(() => space.read(100, 1).sync()).toThrow(/in io state/);
    expect(space.read(104, 8).sync()).toEqual(bytes.slice(104, 112));
    expect(log.slice(2)).toEqual(["read 100+1", "read 104+8"]);
    expect(cache.size).toBe(0);
  });

  it("does not try pages that the map has not whole", () => {
    const log: string[] = [];
    const io = new SourceIo(testSource(pattern(BYTES), { log }));
    const memory = new PhysicalMemory(io, { map: PhysicalMap.single(0, BYTES) });
    memory.read(u32, BYTES - 4).sync();
    memory.read(u32, 4096).sync();
    expect(log).toEqual([`read ${BYTES - 4}+4`, "read 4096+4096"]);
    expect(memory.cache?.counters).toMatchObject({ fetches: 1, failed: 0 });
    expect(memory.name).toBe("physical memory");
    expect(new PhysicalMemory(io, { map: PhysicalMap.none, cacheBytes: 0 }).cache).toBeUndefined();
  });

  it("passes views of a page or more through, and does not keep them", () => {
    const io = new SourceIo(testSource(pattern(BYTES)));
    const cache = withPageCache(io);
    const space = new AddressSpace<number>(cache);
    space.read(0, 4096).sync();
    space.read(10, 9000).sync();
    expect(cache.counters).toMatchObject({ hits: 0, misses: 0, fetches: 0 });
    expect(io.counters.bytes).toBe(4096 + 9000);
  });

  it("is not emptied of its hot pages by a scan", () => {
    const pages = 400;
    const io = new SourceIo(testSource(new Uint8Array(pages * 4096)));
    const cache = withPageCache(io, { bytes: 32 * 4096 });
    const space = new AddressSpace<number>(cache);
    const hot = [0, 1, 2, 3, 4, 5, 6, 7];
    const touch = () => {
      for (const page of hot) space.read(u32, page * 4096).sync();
    };
    for (let i = 0; i < 3; i++) touch();
    const before = cache.counters.fetches;
    let scanned = 0;
    for (let page = 50; page < pages; page++) {
      // A sequential scan touches each page several times, one touch after the other.
      for (let at = 0; at < 4096; at += 512) space.read(u32, page * 4096 + at).sync();
      scanned++;
      if (scanned % 20 === 0) touch();
    }
    expect(cache.counters.fetches - before).toBe(scanned);
    expect(cache.size).toBe(32);
  });

  it("finds cached pages in its slab without a packet", () => {
    const bytes = pattern(BYTES);
    const cache = withPageCache(new MemoryIo(bytes), { bytes: 4096 * 3 });
    const space = new AddressSpace<number>(cache);
    expect(cache.find(2)).toBe(-1);
    space.read(u32, 8192 + 40).sync();
    const at = cache.find(2);
    expect(cache.slab.subarray(at, at + 4096)).toEqual(bytes.subarray(8192, 12288));
    cache.flush();
    expect(cache.find(2)).toBe(-1);
    expect(cache.size).toBe(0);
  });

  it("finds every page it holds, and no other, after any insertions and removals", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 40 }),
        fc.array(fc.record({ page: fc.nat(120), write: fc.boolean() }), { maxLength: 300 }),
        (capacity, steps) => {
          // Page numbers far apart and close by, so that they collide in the table.
          const base = (page: number) => (page % 3 === 0 ? page : page * 2 ** 32 + page) * 4096;
          const io = layer<number>(undefined, (address, view) => {
            const page = Uint8Array.from(
              { length: view.length },
              () => (Math.floor(address / 4096) * 7) & 255,
            );
            view.transfer(page);
          });
          const cache = withPageCache(io, { bytes: capacity * 4096 });
          const space = new AddressSpace<number>(cache);
          const held = new Set<number>();
          for (const { page, write } of steps) {
            const at = base(page % 60);
            if (write) {
              space.write(at, new Uint8Array(1)).sync();
              held.delete(at);
              expect(cache.find(at / 4096)).toBe(-1);
            } else {
              expect(space.read(at, 1).sync()[0]).toBe(((at / 4096) * 7) & 255);
              held.add(at);
              const found = cache.find(at / 4096);
              expect(cache.slab[found]).toBe(((at / 4096) * 7) & 255);
            }
          }
          const found = [...held].filter((at) => cache.find(at / 4096) >= 0);
          expect(found.length).toBe(cache.size);
        },
      ),
      { numRuns: 200 },
    );
  });

  it("reports what a layer below drops, instead of waiting for it", async () => {
    let calls = 0;
    const dropping = layer<number>(undefined, (_address, _view) => {
      calls++;
    });
    const space = new AddressSpace<number>(withPageCache(dropping));
    await expect(space.read(u32, 0)).rejects.toThrow(/unanswered/);
    await expect(space.read(u32, 4)).rejects.toThrow(/unanswered/);
    expect(calls).toBe(3);
  });

  it("writes nothing into the memory of a caller who gave up", async () => {
    const io = new SourceIo(testSource(pattern(BYTES).fill(7), { delay: 3 }));
    const space = new AddressSpace<number>(withPageCache(io));
    const memory = new Uint8Array(8);
    expect(() => space.readInto(0, memory).sync()).toThrow(/asynchronous only/);
    for (let i = 0; i < 50; i++) await null;
    expect([...memory]).toEqual([0, 0, 0, 0, 0, 0, 0, 0]);
    expect((await space.read(0, 1))[0]).toBe(7);
  });

  it("gives a gather what reads without a cache give, record by record, cold and warm", async () => {
    await fc.assert(
      fc.asyncProperty(
        setting,
        fc.constantFrom(undefined, 1),
        fc.array(address, { maxLength: 30 }),
        fc.oneof(fc.integer({ min: 1, max: 24 }), fc.constantFrom(4096, 5000)),
        async (options, delay, addresses, size) => {
          const { plain, cached, cache, plainBytes } = spaces({ ...options, delay });
          for (let pass = 0; pass < 2; pass++) {
            const gathered = await cached.gather(addresses, size);
            for (const [i, at] of addresses.entries()) {
              const { holes } = await plain.readPartial(at, size);
              const bytes = gathered.at(i);
              if (!options.wholeRows) expect(gathered.faultOf(i)).toBe(holes[0]?.fault ?? 0);
              if (holes.length === 0) expect(bytes).toBeDefined();
              if (bytes !== undefined)
                expect(sameBytes(bytes, plainBytes.subarray(at, at + size))).toBe(true);
            }
          }
          if (size < 4096) {
            const { hits, misses } = cache.counters;
            expect(hits + misses).toBeGreaterThanOrEqual(2 * addresses.filter((at) => at < BYTES).length);
          }
        },
      ),
      { numRuns: 120 },
    );
  });

  it("serves a gather of cached records without asking below", () => {
    const io = new SourceIo(testSource(pattern(BYTES)));
    const cache = withPageCache(io);
    const space = new AddressSpace<number>(cache, { addressBits: 53 });
    const addresses = [5, 4096, 8190, 12_288 - 4, 4100];
    space.gather(addresses, 4).sync();
    const before = io.counters;
    const { hits } = cache.counters;
    expect(space.gather(addresses, 4).sync().failed.length).toBe(0);
    expect(io.counters).toEqual(before);
    // One of them lies in two pages.
    expect(cache.counters.hits - hits).toBe(6);
  });

  it("refuses a size that is none, and passes on an address that is none", async () => {
    expect(() => withPageCache(new MemoryIo(1), { bytes: -1 })).toThrow(RangeError);
    expect(() => withPageCache(new MemoryIo(1), { bytes: 0.5 })).toThrow(RangeError);
    const cache = withPageCache(new SourceIo(testSource(new Uint8Array(8))));
    for (const address of [-1, 0.5, 2 ** 60, Number.NaN]) {
      for (const packet of [Packet.reading(4), Packet.writing(4)]) {
        await send(cache, address, packet);
        expect(packet.holes()).toHaveLength(1);
      }
    }
  });
});

it("memory of a page whose layer threw is not the next page's: that layer may still write there", async () => {
  let late: Uint8Array | undefined;
  const kept: BoundView[] = [];
  const io = layer(undefined, (at: number, view: BoundView) => {
    if (at >= PAGE) {
      view.keep();
      kept.push(view);
      return;
    }
    if (view.length === PAGE) late = view.claim();
    throw new Error("broken");
  });
  const cache = withPageCache(io);
  await send(cache, 0, Packet.reading(8)).promise();
  const packet = Packet.reading(8);
  const pending = send(cache, PAGE, packet).promise();
  const [view] = kept as [BoundView];
  const tail = view.split(PAGE / 2);
  view.transfer(new Uint8Array(PAGE / 2).fill(1));
  late?.fill(0xbb);
  tail.transfer(new Uint8Array(PAGE / 2).fill(1));
  await pending;
  expect([...packet.bytes]).toEqual(new Array(8).fill(1));
});
