/** What memtool finds in a guest's page tables is what the guest and QEMU said: every mapping, in both directions. */
import { afterAll, beforeAll, beforeEach, describe, expect, it, type TestContext } from "vitest";
import { type Machine, open } from "../../connectors/index.js";
import { patternPage, type Stop, solidPage, type Truth } from "../../fixtures/vm/truth.mjs";
import { all, type MappedRun, USER_EXECUTABLE, VirtualMemory } from "../../src/index.js";
import {
  expectedOfPagemap,
  expectedOfRiscv,
  expectedOfTlb,
  hiddenRuns,
  howOf,
  joined,
  kernelHalf,
  type ListedRun,
  mappedRuns,
  mmuOf,
  pagesOf,
  rootOf,
  type TruthPage,
  untoldRanges,
} from "./vm-truth.js";

export interface PagingSubject {
  /** Path of the dump. */
  readonly target: string;
  readonly truth: Truth;
  /** The disk with its swapped pages, where there is one. */
  readonly swapFile?: string;
}

const STOPS = ["user", "kernel"] as const;

/** Differences of two listings, a few of them: thousands of runs help nobody. */
function differences(mine: readonly ListedRun[], theirs: readonly ListedRun[]): string[] {
  const text = (run: ListedRun) =>
    `${run.start.toString(16)}-${run.end.toString(16)} ${run.physical.toString(16)} ${run.how}`;
  const [left, right] = [new Set(mine.map(text)), new Set(theirs.map(text))];
  return [
    ...[...left].filter((line) => !right.has(line)).map((line) => `only memtool: ${line}`),
    ...[...right].filter((line) => !left.has(line)).map((line) => `only the guest: ${line}`),
  ].slice(0, 40);
}

function contentOf({ va, content, generation }: TruthPage, size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size; at += 4096) {
    if (content === "pattern") bytes.set(patternPage(va + BigInt(at), generation), at);
    if (content === "solid") bytes.set(solidPage(va + BigInt(at)), at);
  }
  return bytes;
}

/**
 * @param make Called once, before the tests.
 * @param skip What becomes of an error of `make`: skips the test where the reason is good, else throws it.
 */
export function pagingSuite(
  name: string,
  make: () => Promise<PagingSubject> | PagingSubject,
  skip: (context: TestContext, error: unknown) => never = (_, error) => {
    throw error;
  },
): void {
  describe(`${name}: memtool's page tables are the guest's`, () => {
    let machine: Machine;
    let truth: Truth;
    let pages: TruthPage[];
    let size: number;
    const runs = new Map<Stop, MappedRun[]>();

    const spaceOf = (stop: Stop): VirtualMemory => {
      if (machine.physical === undefined || truth.paging === undefined) throw new Error("no physical memory");
      return new VirtualMemory(machine.physical, { root: rootOf(stop), mmu: mmuOf(truth.paging) });
    };
    const runsOf = async (stop: Stop): Promise<MappedRun[]> => {
      let found = runs.get(stop);
      if (found === undefined) {
        found = mappedRuns(await spaceOf(stop).maps().toArray());
        runs.set(stop, found);
      }
      return found;
    };
    const inUserHalf = (run: MappedRun): boolean => run.start < kernelHalf(truth);

    let failure: unknown;
    beforeAll(async () => {
      const subject = await Promise.resolve(make()).catch((error: unknown) => {
        failure = error;
      });
      if (subject === undefined) return;
      truth = subject.truth;
      pages = pagesOf(truth);
      size = truth.pageSize ?? 4096;
      machine = await open(subject.target, { kernel: "none" });
    });
    afterAll(async () => {
      await machine?.close();
    });
    beforeEach((context) => {
      if (failure !== undefined) skip(context, failure);
    });

    for (const which of STOPS) {
      it(`every mapping, frame, page size and right of the ${which} stop is what QEMU lists`, async (context) => {
        const stop = truth.stops[which];
        const riscv = truth.processor === "riscv64";
        if (truth.processor === "aarch64") return context.skip("QEMU has no listing of arm64's mappings");
        const theirs = riscv ? expectedOfRiscv(stop.mappings) : expectedOfTlb(truth, stop);
        const mine = joined(
          (await runsOf(stop)).map((run) => ({
            start: run.start,
            end: run.end,
            physical: run.physical,
            how: howOf(run, !riscv),
          })),
        );
        expect(differences(mine, theirs)).toEqual([]);
        expect(mine.length).toBeGreaterThan(100);
      });

      it(`all of the program that the ${which} stop maps, and no more, is in its pagemap`, async () => {
        const untold = untoldRanges(truth);
        const theirs = expectedOfPagemap(truth.programPages ?? [], hiddenRuns(truth));
        const mine = joined(
          (await runsOf(truth.stops[which]))
            .filter(
              (run) =>
                inUserHalf(run) && !untold.some(({ start, end }) => run.start >= start && run.end <= end),
            )
            .map(({ start, end, physical }) => ({ start, end, physical, how: "" })),
        );
        expect(differences(mine, theirs)).toEqual([]);
        expect(mine.length).toBeGreaterThan(100);
      });

      it(`every page of the pattern regions translates at the ${which} stop as its pagemap says`, async () => {
        const columns = await spaceOf(truth.stops[which]).translateMany(
          BigUint64Array.from(pages.map(({ va }) => va)),
        );
        const wrong: unknown[] = [];
        pages.forEach((page, i) => {
          const row = columns.row(i);
          const present = page.physical !== undefined && page.state !== "prot-none";
          const right = present
            ? row.state === undefined && row.physical === page.physical
            : row.state === "not-present";
          if (!right) wrong.push({ page, row });
        });
        expect(wrong.slice(0, 10)).toEqual([]);
        const states = new Set(pages.map(({ state }) => state));
        for (const state of ["written", "dontneed", "prot-none", "never-touched", "huge", "paged-out"]) {
          expect(states).toContain(state);
        }
      });
    }

    it("large pages of the pattern program have the size that the guest gave them", async () => {
      const space = spaceOf(truth.stops.user);
      const sizes = new Set<number>();
      for (const page of pages.filter(({ region }) => region === "huge" || region.startsWith("hugetlb"))) {
        const found = await space.translate(page.va);
        if (found.state !== undefined) throw new Error(`${page.va.toString(16)}: ${found.state}`);
        sizes.add(found.pageSize);
      }
      expect(Math.max(...sizes)).toBeGreaterThan(size);
    });

    it("pages of the program have the rights that its maps give them", async () => {
      const space = spaceOf(truth.stops.user);
      // Two levels have no such bit; with PAE, Linux 6.1 loses it for users: vm_get_page_prot (arch/x86/mm/pgprot.c)
      // computes in an unsigned long. QEMU sees what memtool sees.
      const noNx = truth.processor === "i386";
      for (const page of pages) {
        if (page.physical === undefined || page.state === "prot-none") continue;
        const found = await space.translate(page.va);
        if (found.state !== undefined)
          throw new Error(`${page.region} ${page.va.toString(16)}: ${found.state}`);
        const executable = (found.rights & USER_EXECUTABLE) !== 0;
        const wanted = noNx || page.permissions[2] === "x";
        expect([page.region, page.va, found.readable, found.user, executable]).toEqual([
          page.region,
          page.va,
          true,
          true,
          wanted,
        ]);
        // Regions of several VMAs have the first one's permissions in the truth.
        const several = page.region === "huge" || page.region === "striped" || page.region === "prot-none";
        if (found.writable && !several)
          expect([page.region, page.permissions[1]]).toEqual([page.region, "w"]);
        // What the program wrote last can be written again, unless it was made read-only since.
        if (page.state === "written" && page.permissions[1] === "w" && !several)
          expect([page.region, page.va, found.writable]).toEqual([page.region, page.va, true]);
      }
    });

    it("every page reads as the program filled it", async () => {
      const space = spaceOf(truth.stops.user);
      const filled = pages.filter(({ content, physical }) => content !== null && physical !== undefined);
      expect(filled.length).toBeGreaterThan(500);
      for (let i = 0; i < filled.length; i += 256) {
        const some = filled.slice(i, i + 256);
        const bytes = await all(some.map(({ va }) => space.read(va, size)));
        some.forEach((page, j) => {
          const same = Buffer.from(bytes[j] as Uint8Array).equals(contentOf(page, size));
          expect([page.region, page.va, same]).toEqual([page.region, page.va, true]);
        });
      }
    });
  });
}
