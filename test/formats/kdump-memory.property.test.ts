import fc from "fast-check";
import { afterAll, expect, it } from "vitest";
import { DecodePool } from "../../connectors/decode-pool.js";
import { nodeDecoders } from "../../connectors/node-decoders.js";
import { openDump } from "../../src/formats/index.js";
import { all, type PartialTransfer } from "../../src/io/index.js";
import { PhysicalMemory } from "../../src/memory/index.js";
import { pattern } from "../support/bytes.js";
import { openBytes, testFile } from "../support/dump.js";
import { type KdumpPage, writeKdump } from "../support/write-kdump.js";

const pool = new DecodePool({ threads: 1, worthwhile: 1, startAfter: 0 });
afterAll(() => pool.close());
const kinds = fc.constantFrom("zlib", "raw", "bad", "huge", "missing", "out");

it("PhysicalMemory over kdump = plain", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(512, 2048, 4096, 8192, 65536),
      fc.array(kinds, { minLength: 1, maxLength: 60 }),
      fc.constantFrom(0, 100, 4096, 20000, 70000, undefined),
      fc.boolean(),
      fc.boolean(),
      fc.array(fc.tuple(fc.nat(), fc.constantFrom(1, 8, 100, 4095, 4096, 5000, 70000)), {
        minLength: 1,
        maxLength: 30,
      }),
      fc.constantFrom(1, 8, 300, 4096, 6000),
      async (block, list, cacheBytes, many, sync, reads, size) => {
        const pages: KdumpPage[] = [];
        const leftOut: number[] = [];
        for (const [pfn, kind] of list.entries()) {
          const bytes = pattern(block, 2 * (pfn + 1));
          if (kind === "missing") leftOut.push(pfn);
          else if (kind === "out") continue;
          else if (kind === "zlib" || kind === "raw") pages.push({ pfn, bytes, stored: kind });
          else if (kind === "bad") pages.push({ pfn, bytes, stored: { flags: 1, bytes: pattern(50, pfn) } });
          else pages.push({ pfn, bytes, stored: { flags: 1, bytes: pattern(block, 3) } });
        }
        const file = writeKdump(pages, { blockSize: block, maxPages: list.length, leftOut, dumpLevel: 1 });
        const plain = openBytes(file, { cacheBytes: 0 });
        const model = new PhysicalMemory(plain.io, { map: plain.map, cacheBytes: 0 });
        const decoders = { ...nodeDecoders, many: many ? pool : undefined };
        const cb = cacheBytes === undefined ? {} : { cacheBytes };
        const image = await openDump(testFile(file, sync ? "sync" : "async"), { decoders, ...cb });
        const mem = new PhysicalMemory(image.io, { map: image.map, ...cb, slab: image.slab });
        const total = list.length * block;
        const wanted = reads.map(([at, n]) => [at % (total + 500), n] as const);
        const see = (p: PartialTransfer) => ({
          holes: p.holes,
          good: p.good.map(({ start, end }) => [
            start,
            end,
            Buffer.from(p.bytes.subarray(start, end)).toString("latin1"),
          ]),
        });
        for (let round = 0; round < 2; round++) {
          const got = sync
            ? wanted.map(([at, n]) => mem.readPartial(at, n).sync())
            : await all(wanted.map(([at, n]) => mem.readPartial(at, n)));
          for (const [i, [at, n]] of wanted.entries())
            expect(see(got[i] as PartialTransfer)).toEqual(see(model.readPartial(at, n).sync()));
          const addrs = wanted.map(([at]) => at);
          const g = sync ? mem.gather(addrs, size).sync() : await mem.gather(addrs, size);
          const e = model.gather(addrs, size).sync();
          expect([...g.failed]).toEqual([...e.failed]);
          expect([...g.faults]).toEqual([...e.faults]);
          for (let i = 0; i < addrs.length; i++)
            expect(g.at(i) && Buffer.compare(g.at(i)!, e.at(i)!)).toBe(e.at(i) && 0);
          if (mem.cache) expect(mem.cache.size).toBeLessThanOrEqual(mem.cache.capacity);
          if (image.slab && cacheBytes !== undefined)
            expect(image.slab.bytes.length).toBeLessThanOrEqual(cacheBytes);
        }
      },
    ),
    { numRuns: 150 },
  );
}, 60000);
