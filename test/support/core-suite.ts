/** Cores of a guest's processes, page by page against what its program says that it put there. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Machine, open } from "../../connectors/index.js";
import { patternPage, type Truth } from "../../fixtures/vm/truth.mjs";
import {
  type CoreOptions,
  type CoreSummary,
  type LinuxKernel,
  type ProcessCore,
  readCore,
} from "../../src/linux/index.js";
import type { LinuxSubject } from "./linux-suite.js";
import { bytesOf, leftOut, type Page, pagesOf } from "./pattern-pages.js";
import { CoreFile } from "./read-core.js";

/** A core as it would be written. */
export async function coreOf(
  kernel: LinuxKernel,
  pid: number,
  options: CoreOptions = {},
): Promise<{ file: CoreFile; summary: CoreSummary; core: ProcessCore; damage: string[] }> {
  const damage: string[] = [];
  const core = await readCore(kernel, pid, { onDamage: ({ message }) => damage.push(message), ...options });
  const pieces = await core.pieces().toArray();
  const { summary } = core;
  const bytes = Buffer.alloc(summary.size);
  for (const piece of pieces) bytes.set(piece.bytes, piece.offset);
  return { file: new CoreFile(bytes), summary, core, damage };
}

/** Runs the suite. @param get Is called once. */
export function coreSuite(name: string, get: () => Promise<LinuxSubject>): void {
  describe(`cores of processes: ${name}`, () => {
    let machine: Machine;
    let kernel: LinuxKernel;
    let truth: Truth;
    let hasSwap = false;
    let program: Awaited<ReturnType<typeof coreOf>>;
    beforeAll(async () => {
      const subject = await get();
      truth = subject.truth;
      hasSwap = subject.swapFile !== undefined && subject.swapFile !== "";
      machine = await open(subject.target, hasSwap ? { swap: [subject.swapFile as string] } : {});
      kernel = await machine.linux();
      await machine.swapTypes();
      program = await coreOf(kernel, truth.pid, { registers: machine.image?.notes.cpus });
    });
    afterAll(() => machine?.close());

    /** What a core must have of a page; `undefined` for a hole. */
    function expected(page: Page): Uint8Array | undefined {
      if (page.physical !== undefined && leftOut(truth, page.physical)) return undefined;
      if (page.content !== null) return bytesOf(page);
      // Behind PROT_NONE the page is there; of files, what the process has not read yet is in the cache.
      const kept = ["prot-none", "file-never-touched", ...(hasSwap ? ["paged-out"] : [])];
      return kept.includes(page.state) ? patternPage(page.va, 0) : undefined;
    }

    it("have every page of the pattern regions as the program filled it, and holes where it has none", () => {
      const wrong: string[] = [];
      let compared = 0;
      let holes = 0;
      for (const page of pagesOf(truth)) {
        const wanted = expected(page);
        const found = program.file.read(page.va, 4096);
        if (wanted === undefined) holes++;
        else compared++;
        const isRight = wanted === undefined ? found === undefined : found?.equals(wanted) === true;
        if (!isRight)
          wrong.push(`${page.va.toString(16)} ${page.state}: ${found === undefined ? "a hole" : "others"}`);
      }
      expect(wrong).toEqual([]);
      expect(compared).toBeGreaterThan(1000);
      expect(holes).toBeGreaterThan(500);
    });

    it("have no byte that no segment's file part holds, and none twice", () => {
      const { segments } = program.file;
      for (const [i, { address, fileBytes, memoryBytes, offset }] of segments.entries()) {
        // (What a segment has in memory and not in the file, debuggers take for zeros.)
        expect(memoryBytes).toBe(fileBytes);
        expect(offset + fileBytes).toBeLessThanOrEqual(program.summary.size);
        const last = segments[i - 1];
        if (last !== undefined) expect(address).toBeGreaterThanOrEqual(last.address + BigInt(last.fileBytes));
      }
      expect(segments.reduce((sum, { fileBytes }) => sum + fileBytes, 0)).toBe(program.summary.bytes);
    });

    it("without the cache of files have holes for their pages that the program has not read", async () => {
      const { file, summary } = await coreOf(kernel, truth.pid, { pageCache: false });
      const untouched = pagesOf(truth).filter(
        ({ state, content }) => state === "file-never-touched" && content === null,
      );
      expect(untouched.length).toBeGreaterThan(10);
      for (const { va } of untouched) expect(file.read(va, 4096)).toBeUndefined();
      expect(summary.cached).toBe(0);
      expect(program.summary.bytes - program.summary.cached).toBe(summary.bytes);
      expect(program.summary.cached).toBeGreaterThanOrEqual(4096 * untouched.length);
    });

    it("are of the process that was asked for: another has other bytes at the same addresses", async () => {
      const { file } = await coreOf(kernel, truth.witnessPid);
      let compared = 0;
      for (const { start, end, content, generation } of truth.witnessPages) {
        for (let va = BigInt(start); va < BigInt(end); va += 4096n) {
          const found = file.read(va, 4096);
          if (content !== "pattern") {
            expect(found).toBeUndefined();
            continue;
          }
          expect(found?.equals(patternPage(va, generation))).toBe(true);
          compared++;
        }
      }
      expect(compared).toBeGreaterThan(10);
    });

    it("have a note of registers for each thread, and tell no damage", () => {
      const { threads } = truth.processes.find(({ pid }) => pid === truth.pid) as Truth["processes"][number];
      expect(program.damage).toEqual([]);
      expect(program.file.notes.filter((type) => type === 1)).toHaveLength(threads.length);
    });
  });
}
