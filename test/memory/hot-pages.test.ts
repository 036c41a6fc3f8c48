/** What stays in the page cache: hot pages, whatever scans go through it. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MemoryIo, PageSlab } from "../../src/io/index.js";
import { AddressSpace, u64, withPageCache } from "../../src/memory/index.js";
import { randomBits } from "../support/dummy-machine.js";

const PAGE = 4096;

/** A cache over pages of zeros, that knows which pages are hot. */
class Workload {
  readonly #slab: PageSlab;
  readonly #hot: number;
  readonly #page = new Uint8Array(PAGE);
  /** Pages that were wanted and not there. */
  hotMisses = 0;
  scanMisses = 0;
  hotUses = 0;
  #scanned = 1_000_000;
  readonly #random = randomBits(7);

  constructor(capacity: number, hot: number) {
    this.#slab = new PageSlab(capacity * PAGE);
    this.#hot = hot;
  }

  use(page: number): void {
    const slot = this.#slab.find(page);
    if (slot >= 0) {
      this.#slab.use(slot);
      return;
    }
    if (page < this.#hot) this.hotMisses++;
    else this.scanMisses++;
    this.#slab.keep(page, this.#page);
  }

  useHot(count: number): void {
    for (let i = 0; i < count; i++) {
      this.hotUses++;
      this.use(this.#random() % this.#hot);
    }
  }

  useAllHot(): void {
    for (let page = 0; page < this.#hot; page++) this.use(page);
  }

  /** Scans `pages` new ones side by side in `streams`, with hot uses after each touch, and after each page. */
  scan(pages: number, streams: number, touches: number, hotPerTouch: number, hotPerPage: number): void {
    for (let i = 0; i < pages; i += streams) {
      for (let t = 0; t < touches; t++) {
        for (let k = 0; k < streams; k++) {
          this.use(this.#scanned + k * 1_000_000 + i);
          this.useHot(hotPerTouch);
        }
      }
      this.useHot(hotPerPage);
    }
    this.#scanned += 100_000_000;
  }
}

describe("hot pages and scans", () => {
  it("a scan of many times the size costs a fetch for each of its pages, and hot pages in use stay", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(64, 200, 512),
        fc.constantFrom(8, 4, 2),
        fc.constantFrom(1, 2, 4),
        fc.constantFrom(1, 8, 64),
        fc.constantFrom(0, 1),
        (capacity, part, streams, touches, hotPerTouch) => {
          const hot = Math.floor(capacity / part);
          const load = new Workload(capacity, hot);
          load.useAllHot();
          load.useAllHot();
          const pages = 12 * capacity - (capacity % streams);
          load.scan(pages, streams, touches, hotPerTouch, 2);
          // What no cache can save: each page of the scan once.
          expect(load.scanMisses).toBeLessThanOrEqual(Math.ceil(pages / streams) * streams);
          // Each hot page once to begin with, and once more at most for each that was not seen to be hot in time.
          expect(load.hotMisses).toBeLessThanOrEqual(2 * hot);
        },
      ),
      { numRuns: 60 },
    );
  });

  it("pages that were hot before a scan of ten times the size are there after it", () => {
    for (const touches of [1, 8, 512]) {
      const load = new Workload(256, 100);
      for (let round = 0; round < 10; round++) {
        load.useAllHot();
        load.scan(40, 1, 1, 0, 0);
      }
      load.hotMisses = 0;
      load.scan(2560, 1, touches, 0, 0);
      load.useAllHot();
      expect(load.hotMisses).toBe(0);
    }
  });

  it("a set that is no longer hot makes room for the next one", () => {
    const capacity = 128;
    const slab = new PageSlab(capacity * PAGE);
    const page = new Uint8Array(PAGE);
    const random = randomBits(3);
    for (let set = 0; set < 6; set++) {
      let late = 0;
      for (let i = 0; i < 4000; i++) {
        const wanted = set * 10_000 + (random() % 96);
        const slot = slab.find(wanted);
        if (slot >= 0) {
          slab.use(slot);
        } else {
          if (i > 2000) late++;
          slab.keep(wanted, page);
        }
      }
      expect(late).toBe(0);
    }
  });

  it("8-byte reads through the cache, a hot one between them, fetch the scan's pages once and the hot ones at most twice", () => {
    const pages = 700;
    const cache = withPageCache(new MemoryIo(new Uint8Array(pages * PAGE)), { bytes: 64 * PAGE });
    const space = new AddressSpace<number>(cache);
    const random = randomBits(11);
    const hot = 20;
    for (let page = hot; page < pages; page++) {
      for (let at = 0; at < PAGE; at += 256) {
        space.read(u64, page * PAGE + at).sync();
        space.read(u64, (random() % hot) * PAGE + 8).sync();
      }
    }
    expect(cache.counters.fetches).toBeLessThanOrEqual(pages - hot + 2 * hot);
  });
});

it("a slab that has room drops nothing, and one of no bytes keeps nothing", () => {
  const page = new Uint8Array(PAGE).fill(9);
  const slab = new PageSlab(50 * PAGE + 100);
  for (let i = 0; i < 50; i++) slab.keep(i, page);
  expect([slab.size, slab.capacity, slab.evictions]).toEqual([50, 50, 0]);
  slab.keep(50, page);
  expect([slab.size, slab.evictions]).toEqual([50, 1]);
  const none = new PageSlab(PAGE - 1);
  none.keep(1, page);
  expect([none.size, none.find(1), none.bytes.length]).toEqual([0, -1, 0]);
});

it("a slab holds what it says it holds, after any keeping, using, forgetting and clearing", () => {
  const step = fc.tuple(fc.constantFrom("keep", "keep", "use", "forget", "range", "clear"), fc.nat(90));
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 30 }), fc.array(step, { maxLength: 400 }), (capacity, steps) => {
      const slab = new PageSlab(capacity * PAGE);
      const held = new Map<number, number>();
      for (const [i, [kind, page]] of steps.entries()) {
        if (kind === "keep") {
          slab.keep(page, new Uint8Array(PAGE).fill(i));
          held.set(page, i & 255);
        } else if (kind === "use") {
          const slot = slab.find(page);
          if (slot >= 0) slab.use(slot);
        } else if (kind === "forget") {
          slab.forget(page);
          held.delete(page);
        } else if (kind === "range") {
          slab.forgetRange(page, page + 5);
          for (let k = page; k <= page + 5; k++) held.delete(k);
        } else if (i % 7 === 0) {
          slab.clear();
          held.clear();
        }
        expect(slab.size).toBeLessThanOrEqual(capacity);
      }
      let found = 0;
      for (let page = 0; page < 100; page++) {
        const slot = slab.find(page);
        if (slot < 0) continue;
        found++;
        expect(slab.bytes[slot * PAGE + 77]).toBe(held.get(page));
      }
      expect(found).toBe(slab.size);
    }),
    { numRuns: 300 },
  );
});
