/** What memtool finds in a guest's page tables is what the guest and QEMU said: every mapping, in both directions. */
import { afterAll, beforeAll, beforeEach, describe, expect, it, type TestContext } from "vitest";
import { type Machine, open } from "../../connectors/index.js";
import { SwapFiles } from "../../connectors/swap-files.js";
import { type Paging, patternPage, type Stop, solidPage, type Truth } from "../../fixtures/vm/truth.mjs";
import {
  all,
  diffMaps,
  linuxEntries,
  type MappedRun,
  USER_EXECUTABLE,
  VirtualMemory,
  withAbsentEntries,
} from "../../src/index.js";
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

/** What a page holds that the program filled, and that its page tables do not lead to. */
function patternOf(page: TruthPage, size: number): Uint8Array {
  return contentOf({ ...page, content: "pattern" }, size);
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
    let target: string;
    let machine: Machine;
    let truth: Truth;
    let pages: TruthPage[];
    let swapFile: string | undefined;
    let size: number;
    const runs = new Map<Stop, MappedRun[]>();

    const spaceOf = (stop: Stop): VirtualMemory => {
      if (machine.physical === undefined || truth.paging === undefined) throw new Error("no physical memory");
      return new VirtualMemory(machine.physical, { root: rootOf(stop), mmu: mmuOf(truth.paging) });
    };
    /** The same with Linux's own entries, and its swap area where there is one. */
    const linuxSpaceOf = (stop: Stop, swap?: SwapFiles): VirtualMemory => {
      if (machine.physical === undefined || truth.paging === undefined) throw new Error("no physical memory");
      const paging = mmuOf(truth.paging);
      const architecture = truth.processor ?? "x86_64";
      // How many areas there can be is the kernel's configuration (`Machine.swapTypes` reads it). A broken page has the first
      // number that is none of theirs (include/linux/swap.h, SWP_HWPOISON).
      const maxSwapFiles = pages.find(({ state }) => state === "poisoned")?.swap?.type;
      const entries = linuxEntries({ architecture, paging, release: truth.kernel.release, maxSwapFiles });
      if (entries === undefined) throw new Error(`no entries of ${architecture}`);
      const mmu = withAbsentEntries(paging, entries);
      return new VirtualMemory(machine.physical, {
        root: rootOf(stop),
        mmu,
        ...(swap && { swap: swap.area }),
      });
    };
    const runsOf = async (stop: Stop): Promise<MappedRun[]> => {
      let found = runs.get(stop);
      if (found === undefined) {
        found = mappedRuns(await spaceOf(stop).maps().toArray());
        runs.set(stop, found);
      }
      return found;
    };
    /** Whether the dump has a page: committed ones have been left out most of the large ones'. */
    const isKept = ({ physical }: TruthPage): boolean =>
      physical !== undefined &&
      (truth.fixture === undefined || machine.physical?.map.stateOf(physical) !== "excluded");
    const inUserHalf = (run: MappedRun): boolean => run.start < kernelHalf(truth);

    let failure: unknown;
    beforeAll(async () => {
      const subject = await Promise.resolve(make()).catch((error: unknown) => {
        failure = error;
      });
      if (subject === undefined) return;
      target = subject.target;
      truth = subject.truth;
      swapFile = subject.swapFile === "" ? undefined : subject.swapFile;
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

    it("the format and the kernel's own root are found without being told, and map what the stop's do", async () => {
      if (truth.paging === undefined) throw new Error("no paging in the truth");
      const untold = await open(target);
      try {
        const mmu = mmuOf(truth.paging);
        expect(untold.paging?.mmu.name).toBe(mmu.name);
        const kernel = await untold.linux();
        expect([kernel.origin.verified, kernel.origin.warnings]).toEqual([true, []]);
        expect(kernel.release).toBe(truth.kernel.release);
        // The kernel's part is in every process's root: all of it lies where it does in the kernel's own.
        const stop = untold.addressSpace(rootOf(truth.stops.kernel), mmu);
        const half = { start: kernelHalf(truth), end: truth.processor === "i386" ? 1n << 32n : 1n << 64n };
        expect(await diffMaps(stop, kernel.memory, half).toArray()).toEqual([]);
      } finally {
        await untold.close();
      }
    });

    it("a search of all formats finds the machine's, and that the program's root is a process's", async () => {
      const untold = await open(target);
      try {
        const { mmu, certain, roots } = await untold.findRoots({ all: true });
        expect([mmu?.name, certain]).toEqual([mmuOf(truth.paging as Paging).name, true]);
        const found = roots.find(({ root }) => root === Number(truth.stops.kernel.root));
        expect(found).toMatchObject({ kind: "process", counted: true });
        expect(found?.half).toBe(truth.processor === "aarch64" ? "lower" : undefined);
        expect(found?.score).toBeGreaterThanOrEqual(70);
        expect(roots.filter(({ kind }) => kind === "kernel")).not.toEqual([]);
      } finally {
        await untold.close();
      }
    });

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
        if (page.state === "written" && page.permissions[1] === "w" && !several && page.region !== "guarded")
          expect([page.region, page.va, found.writable]).toEqual([page.region, page.va, true]);
      }
    });

    it("every page reads as the program filled it", async () => {
      const space = spaceOf(truth.stops.user);
      const filled = pages.filter((page) => page.content !== null && isKept(page));
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

    it("with Linux's entries, all that pagemap calls present is in RAM, hidden pages too, and no more", async () => {
      const space = linuxSpaceOf(truth.stops.user);
      const found = mappedRuns(await space.maps().toArray()).filter(inUserHalf);
      const untold = untoldRanges(truth);
      const mine = joined(
        found
          .filter((run) => !untold.some(({ start, end }) => run.start >= start && run.end <= end))
          .map(({ start, end, physical }) => ({ start, end, physical, how: "" })),
      );
      expect(differences(mine, expectedOfPagemap(truth.programPages ?? [], []))).toEqual([]);
      const text = ({ start, end, physical }: { start: bigint; end: bigint; physical: number }) =>
        joined([{ start, end, physical, how: "" }]);
      const hidden = joined(found.filter((run) => !run.readable && !run.user).flatMap(text));
      const wanted = joined(
        hiddenRuns(truth).map(({ start, end, physical }) => ({
          start: BigInt(start),
          end: BigInt(end),
          physical: Number(physical),
          how: "",
        })),
      );
      expect(differences(hidden, wanted)).toEqual([]);
      expect(wanted.length).toBeGreaterThan(0);
    });

    it("PROT_NONE pages are readable to memtool, with no right at all for the program", async () => {
      const space = linuxSpaceOf(truth.stops.kernel);
      const hidden = pages.filter((page) => page.state === "prot-none" && isKept(page));
      expect(hidden.length).toBeGreaterThan(0);
      for (const page of hidden) {
        const found = await space.translate(page.va);
        expect(found).toMatchObject({
          physical: page.physical,
          readable: false,
          writable: false,
          user: false,
        });
        expect(Buffer.from(await space.read(page.va, size)).equals(patternOf(page, size))).toBe(true);
      }
    });

    it("swapped pages name the area and the page that pagemap names", async () => {
      const space = linuxSpaceOf(truth.stops.user);
      const swapped = pages.filter(({ swap }) => swap !== undefined);
      expect(swapped.length).toBeGreaterThan(0);
      for (const page of swapped) {
        const found = await space.translate(page.va);
        if (found.state === undefined) throw new Error(`${page.va.toString(16)} is mapped`);
        const described = space.mmu.absentEntries?.describe(found.level, found.entry);
        const physical = (page.swap?.offset ?? 0) * size;
        // Of userfaultfd's notes there is no page; of a broken page, what pagemap calls the offset is the frame.
        if (page.state === "guarded") expect(described).toMatchObject({ kind: "marker" });
        else if (page.state === "poisoned") expect(described).toMatchObject({ kind: "hwpoison", physical });
        else {
          expect(found.state).toBe("swapped");
          expect(described).toMatchObject({ kind: "swap", ...page.swap });
        }
      }
    });

    it("swapped pages read from the swap area that is given", async (context) => {
      if (swapFile === undefined) return context.skip("the swap area is not at hand");
      const files = await SwapFiles.open([swapFile], machine.scheduler);
      try {
        const space = linuxSpaceOf(truth.stops.user, files);
        const swapped = pages.filter(({ state, swap }) => state === "paged-out" && swap !== undefined);
        expect(swapped.length).toBe(16);
        for (const page of swapped) {
          const same = Buffer.from(await space.read(page.va, size)).equals(patternOf(page, size));
          expect([page.va, same]).toEqual([page.va, true]);
        }
      } finally {
        await files.close();
      }
    });
  });
}
