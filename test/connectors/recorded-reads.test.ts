/** Where a recording has which bytes: against a slow lookup, and in recordings that were made to take long. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { RecordedReads } from "../../connectors/middleware/recorded-reads.js";

/** What is read, a letter a byte: the number of the extent that it is of. */
function readAll(reads: RecordedReads, page: number, offset: number, length: number): (number | undefined)[] {
  const found: (number | undefined)[] = [];
  reads.read(page, offset, length, (start, end, version) => {
    expect(start).toBe(found.length);
    for (let i = start; i < end; i++) found.push(version?.frame);
  });
  return found;
}

interface Extent {
  readonly start: number;
  readonly end: number;
}

/** The same of one page, byte for byte. */
class SlowReads {
  readonly #pieces = new Map<string, { readonly at: Extent; readonly versions: number[]; turn: number }>();

  add(at: Extent, version: number): void {
    const key = `${at.start} ${at.end}`;
    const piece = this.#pieces.get(key) ?? { at, versions: [], turn: 0 };
    piece.versions.push(version);
    this.#pieces.set(key, piece);
  }

  read({ start, end }: Extent): (number | undefined)[] {
    const taken = new Set<{ versions: number[]; turn: number }>();
    const found = Array.from({ length: end - start }, (_, i) => {
      const here = [...this.#pieces.values()].filter(({ at }) => at.start <= start + i && start + i < at.end);
      const turns = here.filter(({ turn, versions }) => turn < versions.length);
      const [best] =
        turns.length > 0
          ? turns.sort((a, b) => (a.versions[a.turn] as number) - (b.versions[b.turn] as number))
          : here.sort((a, b) => (b.versions.at(-1) as number) - (a.versions.at(-1) as number));
      if (best === undefined) return undefined;
      taken.add(best);
      return best.versions[best.turn] ?? best.versions.at(-1);
    });
    for (const piece of taken) if (piece.turn < piece.versions.length) piece.turn++;
    return found;
  }
}

describe("reads of a recording", () => {
  const extent = fc
    .tuple(fc.nat(60), fc.integer({ min: 1, max: 30 }))
    .map(([start, length]) => ({ start, end: start + length }));

  it("are those of a slow lookup, however pieces of a page overlap and repeat", () => {
    fc.assert(
      fc.property(
        fc.array(extent, { maxLength: 80 }),
        fc.array(extent, { minLength: 1, maxLength: 10 }),
        (recorded, asked) => {
          const reads = new RecordedReads();
          const slow = new SlowReads();
          recorded.forEach((at, i) => {
            reads.add(5, at.start, at.end - at.start, 0, i, 0);
            slow.add(at, i);
          });
          for (const at of asked) {
            expect(readAll(reads, 5, at.start, at.end - at.start)).toEqual(slow.read(at));
          }
        },
      ),
      { numRuns: 60 },
    );
  });

  it("of 150,000 different pieces in one page are found in a moment", () => {
    const reads = new RecordedReads();
    let count = 0;
    for (let start = 0; count < 150_000; start++) {
      for (let end = start + 1; end <= 4096 && count < 150_000; end++) {
        reads.add(5, start, end - start, 0, count++, 0);
      }
    }
    expect(reads.length).toBe(150_000);
    // At each place, the piece that was read first.
    expect(readAll(reads, 5, 0, 4096)).toEqual(Array.from({ length: 4096 }, (_, i) => i));
  }, 10_000);
});
