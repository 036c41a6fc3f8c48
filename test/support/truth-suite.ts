/**
 * A dump of the fixture's guest against what the guest itself printed: one suite for the committed dump, for fresh
 * dumps in every form, and for a running guest. Nothing here compares memtool with memtool.
 */
import { createHash } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Machine, type OpenTarget, open } from "../../connectors/index.js";
import type { Truth } from "../../fixtures/vm/truth.mjs";
import { patternPage } from "../../fixtures/vm/truth.mjs";
import { all, settle } from "../../src/index.js";
import { bytesOf, leftOut, type Page, pagesOf } from "./pattern-pages.js";

/** What is under test. */
export interface TruthSubject {
  readonly target: OpenTarget;
  readonly truth: Truth;
  /** The format that must be detected, where it is a dump. */
  readonly format?: string;
}

interface Run {
  readonly start: bigint;
  end: bigint;
  readonly physical: number;
}

/** Runs that continue each other in both spaces, as one: how mappings are cut up is not a matter of truth. */
function joined(runs: Iterable<{ start: bigint; end: bigint; physical: number }>): Run[] {
  const result: Run[] = [];
  for (const { start, end, physical } of runs) {
    const last = result[result.length - 1];
    if (last?.end === start && last.physical + Number(last.end - last.start) === physical) last.end = end;
    else result.push({ start, end, physical });
  }
  return result;
}

/**
 * Runs the suite.
 *
 * @param committed Whether the truth has what the writer of the committed dump noted: page hashes, and what it left out.
 */
export function truthSuite(
  name: string,
  make: () => Promise<TruthSubject> | TruthSubject,
  committed = false,
): void {
  describe(`${name} agrees with what the guest printed`, () => {
    let machine: Machine;
    let truth: Truth;
    let format: string | undefined;
    let pages: Page[];

    beforeAll(async () => {
      const subject = await make();
      truth = subject.truth;
      format = subject.format;
      pages = pagesOf(truth);
      machine = await open(subject.target);
    });
    afterAll(async () => {
      await machine?.close();
    });

    it("is recognised, and its kernel is found with nothing given", async () => {
      if (format !== undefined) expect(machine.format).toBe(format);
      const linux = await machine.linux();
      expect(linux.release).toBe(truth.kernel.release);
      expect(linux.origin.verified).toBe(true);
      const banner = (await linux.symbol("linux_banner")).address;
      expect((await linux.memory.readString(banner, 512)).trimEnd()).toBe(truth.kernel.version.trimEnd());
    });

    it("gives every symbol the address that the guest gave it", async () => {
      const kallsyms = await (await machine.linux()).kallsyms();
      const wrong: string[] = [];
      let checked = 0;
      for (const { name, address, type, module } of truth.symbols) {
        if (module !== undefined) continue;
        checked++;
        const found = kallsyms.symbol(name);
        if (!found.some((symbol) => symbol.address === BigInt(address) && symbol.type === type))
          wrong.push(name);
      }
      expect(wrong).toEqual([]);
      expect(checked).toBeGreaterThan(3000);
    });

    it("names addresses by the symbol at or below them", async () => {
      const kallsyms = await (await machine.linux()).kallsyms();
      const text = truth.symbols.filter(({ type, module }) => /[tT]/.test(type) && module === undefined);
      for (const { address } of text.slice(100, 400)) {
        const at = BigInt(address);
        const names = truth.symbols.filter((symbol) => symbol.address === address).map(({ name }) => name);
        const found = kallsyms.nameOf(at);
        expect(found?.offset).toBe(0n);
        // The committed truth is trimmed: a name that it does not list may share the address.
        if (truth.fixture === undefined) expect(names).toContain(found?.name);
        else expect(kallsyms.symbol(found?.name ?? "").map((symbol) => symbol.address)).toContain(at);
      }
    });

    for (const stop of ["kernel", "user"] as const) {
      it(`maps, from the ${stop} stop's root, exactly what QEMU's TLB listing maps`, async () => {
        const { root, mappings } = truth.stops[stop];
        const runs = await machine.addressSpace(Number(root)).maps().toArray();
        const unreadable = runs.filter((run) => run.state !== undefined);
        expect(unreadable.map(({ start, state }) => [start, state])).toEqual(
          pages.filter(({ state }) => state === "paged-out").map(({ va }) => [va, "swapped"]),
        );
        // What PROT_NONE hides is not mapped for the processor, and so for QEMU; the guest's pagemap has it.
        const mapped = runs.flatMap((run) => (run.state === undefined ? [run] : []));
        expect(joined(mapped.filter((run) => run.rights === 0))).toEqual(
          joined(
            pages.flatMap(({ va, physical, state }) =>
              state === "prot-none" && physical !== undefined
                ? [{ start: va, end: va + 4096n, physical }]
                : [],
            ),
          ),
        );
        const mine = joined(mapped.filter((run) => run.rights !== 0));
        const theirs = joined(
          mappings.map(({ start, end, physical }) => ({
            start: BigInt(start),
            end: BigInt(end),
            physical: Number(physical),
          })),
        );
        expect(mine).toEqual(theirs);
      });

      it(`grants, from the ${stop} stop's root, no right that the last entry denies`, async () => {
        const { root, mappings } = truth.stops[stop];
        const space = machine.addressSpace(Number(root));
        const samples = mappings.flatMap(({ start, end, flags }) => [
          { va: BigInt(start), flags },
          { va: BigInt(end) - 4096n, flags },
        ]);
        const columns = await space.translateMany(BigUint64Array.from(samples.map(({ va }) => va)));
        samples.forEach(({ va, flags }, i) => {
          const row = columns.row(i);
          if (row.state !== undefined) throw new Error(`${va.toString(16)}: ${row.state}`);
          const [noExecute, , , , , , , user, writable] = flags;
          if (row.executable) expect(noExecute).toBe("-");
          if (row.user) expect(user).toBe("U");
          if (row.writable) expect(writable).toBe("W");
        });
      });
    }

    it("gives user pages the rights that the guest's maps give them", async () => {
      const space = machine.addressSpace(Number(truth.stops.user.root));
      let checked = 0;
      for (const region of truth.regions) {
        for (const run of region.runs) {
          if (run.physical === null || run.state === "prot-none") continue;
          const found = await space.translate(BigInt(run.start));
          if (found.state !== undefined) throw new Error(`${region.name} ${run.start}: ${found.state}`);
          expect([region.name, found.user, found.executable]).toEqual([
            region.name,
            true,
            region.permissions[2] === "x",
          ]);
          // A page that may be written later (copy on write, a clean shared page) is read-only in its entry.
          if (found.writable) expect(region.permissions[1]).toBe("w");
          checked++;
        }
      }
      expect(checked).toBeGreaterThan(400);
    });

    for (const stop of ["kernel", "user"] as const) {
      it(`translates every page of the pattern program from the ${stop} stop's root as its pagemap does`, async () => {
        const space = machine.addressSpace(Number(truth.stops[stop].root));
        const columns = await space.translateMany(BigUint64Array.from(pages.map(({ va }) => va)));
        const wrong: unknown[] = [];
        const states = new Set<string>();
        pages.forEach((page, i) => {
          const row = columns.row(i);
          states.add(page.state);
          const right =
            page.physical !== undefined
              ? row.state === undefined && row.physical === page.physical
              : row.state === (page.state === "paged-out" ? "swapped" : "not-present");
          if (!right) wrong.push({ page, row });
        });
        expect(wrong).toEqual([]);
        expect(columns.failed).toBeGreaterThan(100);
        for (const state of [
          "written",
          "dontneed",
          "prot-none",
          "huge",
          "never-touched",
          "file-read",
          "zero-read",
        ]) {
          expect(states).toContain(state);
        }
      });
    }

    it("shows where a PROT_NONE page is, that it has no rights, and its entry, which is not present", async () => {
      const space = machine.addressSpace(Number(truth.stops.user.root));
      const hidden = pages.filter(({ state }) => state === "prot-none");
      expect(hidden.length).toBeGreaterThan(0);
      for (const { va, physical } of hidden) {
        const { steps, result } = await space.walk(va);
        expect(result).toMatchObject({ physical, rights: 0 });
        expect(await space.translate(va)).toEqual(result);
        expect(steps.at(-1)).toMatchObject({ present: false, absent: { kind: "prot-none", physical } });
      }
    });

    it("reads every page of the pattern program, and reports every hole with its reason", async () => {
      const space = machine.addressSpace(Number(truth.stops.user.root));
      const reads = await all(pages.map(({ va }) => space.readPartial(va, 4096)));
      const wrong: unknown[] = [];
      const seen = { good: 0, notPresent: 0, excluded: 0 };
      pages.forEach((page, i) => {
        const { bytes, holes } = reads[i] as (typeof reads)[number];
        const present = page.physical !== undefined;
        const excluded = present && leftOut(truth, page.physical ?? 0);
        const absent = page.state === "paged-out" ? "swapped" : "not-present";
        const expectedState = !present ? absent : excluded ? "excluded" : undefined;
        if (expectedState !== undefined) {
          const whole = holes.length === 1 && holes[0]?.start === 0 && holes[0].end === 4096;
          if (!whole || holes[0]?.state !== expectedState) wrong.push({ page, holes });
          if (expectedState === "excluded") seen.excluded++;
          else seen.notPresent++;
        } else {
          // (Pages behind PROT_NONE have their pattern; the guest can't read it.)
          const expected =
            page.state === "prot-none"
              ? patternPage(page.va, page.generation)
              : page.content === null
                ? undefined
                : bytesOf(page);
          if (holes.length > 0 || (expected !== undefined && !Buffer.from(bytes).equals(expected))) {
            wrong.push({ page, holes });
          }
          seen.good++;
        }
      });
      expect(wrong).toEqual([]);
      expect(seen.good).toBeGreaterThan(2000);
      expect(seen.notPresent).toBeGreaterThan(1000);
    });

    it("reads a region with holes in one piece: the same bytes and the same holes", () => {
      const space = machine.addressSpace(Number(truth.stops.kernel.root));
      const region = truth.regions.find(({ name }) => name === "sparse");
      if (region === undefined) throw new Error("no region sparse");
      const start = BigInt(region.start);
      const { bytes, holes } = space.readPartial(start, Number(BigInt(region.end) - start)).sync();
      const inRegion = pages.filter(({ va }) => va >= start && va < BigInt(region.end));
      for (const page of inRegion) {
        const at = Number(page.va - start);
        const hole = holes.find((range) => range.start <= at && at + 4096 <= range.end);
        if (page.physical === undefined) expect(hole?.state).toBe("not-present");
        else {
          expect(hole).toBeUndefined();
          expect(Buffer.from(bytes.subarray(at, at + 4096)).equals(bytesOf(page))).toBe(true);
        }
      }
    });

    it("knows which physical memory there is", async () => {
      const { physical } = machine;
      if (physical === undefined) throw new Error("no physical memory");
      for (const { start, end, name: what, depth } of truth.iomem) {
        if (depth !== 0 || what !== "System RAM") continue;
        for (const address of [Number(start), Number(end) - 1]) {
          expect(physical.map.stateOf(address)).not.toBe("outside");
        }
      }
      const beyond = await physical.readPartial(2 ** 40, 16);
      expect(beyond.holes).toMatchObject([{ start: 0, end: 16, state: "outside" }]);
    });

    it.runIf(committed)("decodes stored pages to their hashes, and tells what was left out", async () => {
      const { fixture } = truth;
      const { physical } = machine;
      if (fixture === undefined || physical === undefined) throw new Error("no fixture facts");
      const reads = await all(fixture.pages.map((page) => physical.read(Number(page.physical), 4096)));
      fixture.pages.forEach((page, i) => {
        const digest = createHash("sha256")
          .update(reads[i] as Uint8Array)
          .digest("hex");
        expect([page.physical, digest]).toEqual([page.physical, page.sha256]);
      });
      for (const { start, end } of fixture.leftOut) {
        for (const address of [Number(start), Number(end) - 4096]) {
          const { holes } = await physical.readPartial(address, 4096);
          expect(holes).toMatchObject([{ start: 0, end: 4096, state: "excluded" }]);
        }
      }
    });

    it("costs at most a batch a level and one for the bytes, however many pages are asked for at once", async () => {
      const fresh = await open((await make()).target, { kernel: "none" });
      try {
        const space = fresh.addressSpace(Number(truth.stops.user.root));
        const before = fresh.source.counters.batches;
        await settle(pages.map(({ va }) => space.read(va, 64)));
        const batches = fresh.source.counters.batches - before;
        // Four levels and the bytes; a kdump file looks up each batch's pages in its descriptors first.
        expect(batches).toBeLessThanOrEqual(fresh.format === "kdump" ? 10 : 5);
      } finally {
        await fresh.close();
      }
    });
  });
}
