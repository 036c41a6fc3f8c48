/** What a file is made of, against a model that asks about every page. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type CachedFile, fileParts } from "../../../src/linux/index.js";

const PAGE = 4096;
const PAGES = 24;

/** What each page of a file is. */
const pages = fc.array(fc.constantFrom("memory", "stale", "swap", "none"), { maxLength: PAGES });

function fileOf(kinds: readonly string[], size: number, inMemory: boolean, whole: boolean): CachedFile {
  const place = (i: number) => ({ start: i * PAGE, end: Math.min((i + 1) * PAGE, size) });
  const inside = kinds.map((kind, i) => ({ kind, i })).filter(({ i }) => i * PAGE < size);
  return {
    ...{
      path: "/f",
      deleted: false,
      inode: 1n,
      device: "0:1",
      fileSystem: "x",
      type: "reg",
      blockDevice: null,
    },
    ...{ size, links: 1, pids: [], address: 1n, cached: 0, ranges: [], evicted: 0, dax: 0, inMemory, whole },
    runs: inside
      .filter(({ kind }) => kind === "memory" || kind === "stale")
      .map(({ kind, i }) => ({
        ...{ ...place(i), physical: (1000 + i) * PAGE, dirty: false, writeback: false },
        uptodate: kind === "memory",
      })),
    swapped: inside
      .filter(({ kind }) => kind === "swap")
      .map(({ i }) => ({ ...place(i), area: 1, offset: (2000 + i) * PAGE })),
  };
}

describe("the parts of a file", () => {
  it("follow each other from its first byte to its last, each as its pages are", () => {
    fc.assert(
      fc.property(pages, fc.nat(PAGES * PAGE), fc.boolean(), fc.boolean(), (kinds, size, inMemory, whole) => {
        const parts = fileParts(fileOf(kinds, size, inMemory, whole));
        expect(parts[0]?.start ?? 0).toBe(0);
        expect(parts.at(-1)?.end ?? 0).toBe(size);
        for (const [i, part] of parts.entries()) {
          expect(part.start).toBeLessThan(part.end);
          if (i > 0) expect(part.start).toBe(parts[i - 1]?.end);
        }
        for (let at = 0; at < size; at += 1024) {
          const part = parts.find(({ start, end }) => start <= at && at < end);
          const kind = kinds[Math.floor(at / PAGE)] ?? "none";
          if (part?.kind === "memory") {
            expect(kind).toBe("memory");
            expect(part.physical + at - part.start).toBe(1000 * PAGE + at);
          } else if (part?.kind === "swap") {
            expect(kind).toBe("swap");
            expect(part.offset + at - part.start).toBe(2000 * PAGE + at);
          } else if (part?.kind === "zeros") {
            expect(inMemory && (kind === "stale" || (kind === "none" && whole))).toBe(true);
          } else {
            expect(kind === "none" || (kind === "stale" && !inMemory)).toBe(true);
          }
        }
      }),
    );
  });

  it("that overlap lose no byte, and lead none elsewhere", () => {
    const run = fc.record({ start: fc.nat(60), length: fc.integer({ min: 1, max: 30 }), swap: fc.boolean() });
    fc.assert(
      fc.property(fc.array(run, { maxLength: 12 }), (all) => {
        const file = fileOf([], 100, true, true);
        const place = ({ start, length }: (typeof all)[number]) => ({ start, end: start + length });
        const flags = { dirty: false, writeback: false, uptodate: true };
        const parts = fileParts({
          ...file,
          runs: all.flatMap((each) =>
            each.swap ? [] : [{ ...place(each), ...flags, physical: 1000 + each.start }],
          ),
          swapped: all.flatMap((each) =>
            each.swap ? [{ ...place(each), area: 0, offset: 5000 + each.start }] : [],
          ),
        });
        let at = 0;
        for (const part of parts) {
          expect(part.start).toBe(at);
          at = part.end;
          if (part.kind === "memory") expect(part.physical).toBe(1000 + part.start);
          if (part.kind === "swap") expect(part.offset).toBe(5000 + part.start);
          for (let byte = part.start; byte < part.end; byte++) {
            const isThere = all.some(({ start, length }) => start <= byte && byte < start + length);
            expect(part.kind !== "zeros").toBe(isThere);
          }
        }
        expect(at).toBe(100);
      }),
    );
  });
});
