/** Fresh guests of every page-table format: memtool's page tables against pagemap and QEMU, every mapping. */
import { readFileSync } from "node:fs";
import { afterAll, describe, expect, it } from "vitest";
import { open } from "../../connectors/index.js";
import { bootGuest, type Guest } from "../../fixtures/vm/machine.mjs";
import type { MachineName } from "../../fixtures/vm/machines.mjs";
import type { Stop } from "../../fixtures/vm/truth.mjs";
import { KERNEL_EXECUTABLE, type MappedRun, USER_EXECUTABLE, VirtualMemory } from "../../src/index.js";
import { cpuSuite } from "../support/cpu-suite.js";
import { filesSuite } from "../support/files-suite.js";
import { irqSuite } from "../support/irq-suite.js";
import { linuxSuite } from "../support/linux-suite.js";
import { skipIfMissing } from "../support/missing.js";
import { ownersSuite } from "../support/owners-suite.js";
import { pagecacheSuite } from "../support/pagecache-suite.js";
import { pagingSuite } from "../support/paging-suite.js";
import { plainRun } from "../support/reference/core-formats.js";
import { maps as referenceMaps } from "../support/reference/walk.js";
import { slabSuite } from "../support/slab-suite.js";
import { stackSuite } from "../support/stack-suite.js";
import { timerSuite } from "../support/timer-suite.js";
import { ttySuite } from "../support/tty-suite.js";
import { kernelHalf, mappedRuns, mmuOf, referenceOf, rootOf } from "../support/vm-truth.js";
import { processNumbers, withoutVmcoreinfo } from "../support/without-vmcoreinfo.js";

/** One boot each. `amd64` itself, with its swap in RAM, is `guest.test.ts`'s. */
const NAMES: readonly MachineName[] = [
  "amd64-disk",
  "amd64-la57",
  "i386",
  "i386-pae",
  "arm64",
  "arm64-16k",
  "riscv64-sv39",
  "riscv64-sv48",
  "riscv64-sv57",
];

/** Debian builds its kernels for i386 without BTF. */
const WITH_TYPES: ReadonlySet<MachineName> = new Set(NAMES.filter((name) => !name.startsWith("i386")));

for (const name of NAMES) {
  describe(name, () => {
    let guest: Promise<Guest> | undefined;
    const boot = (): Promise<Guest> => {
      guest ??= bootGuest({ machine: name, log: (line: string) => console.log(line) });
      return guest;
    };
    afterAll(async () => {
      await (await guest?.catch(() => undefined))?.close();
    });

    pagingSuite(
      `a fresh ${name} guest`,
      async () => {
        const { elfFile, truth, swapFile } = await boot();
        return { target: elfFile, truth, swapFile };
      },
      skipIfMissing,
    );

    // Kernels without BTF have no types of their own.
    if (WITH_TYPES.has(name)) {
      for (const suite of [
        linuxSuite,
        filesSuite,
        ttySuite,
        slabSuite,
        pagecacheSuite,
        cpuSuite,
        timerSuite,
        irqSuite,
        stackSuite,
        ownersSuite,
      ]) {
        suite(`a fresh ${name} guest`, async () => {
          const { elfFile, truth, swapFile } = await boot();
          return { target: elfFile, truth, swapFile };
        });
      }
    }

    if (WITH_TYPES.has(name)) {
      it("lists its processes without VMCOREINFO, by a search for roots", async () => {
        const { elfFile, truth } = await boot();
        await withoutVmcoreinfo(
          elfFile,
          () => ({ searchRoots: true }),
          async (linux) => {
            const { found, listed } = await processNumbers(linux, truth);
            expect(found).toEqual(listed);
          },
        );
      });
    }

    manualsSuite(boot);
    // RISC-V's listing is QEMU's too, but this asks the processor's own walk, which knows pages of 64 KiB.
    if (name.startsWith("arm64") || name.startsWith("riscv64")) kernelHalfSuite(boot);
  });
}

/** What QEMU doesn't list (on arm64 and RISC-V, page sizes), and all else again: by a slow reading of the tables after the manuals. */
function manualsSuite(boot: () => Promise<Guest>): void {
  it.each(["user", "kernel"] as const)(
    "every run of the %s stop has the frame, page size and rights that the manuals give its entries",
    async (which) => {
      const guest = await boot();
      const { truth } = guest;
      if (truth.paging === undefined) throw new Error("no paging in the truth");
      const ram = readFileSync(guest.rawFile);
      const read = (physical: bigint, bytes: 4 | 8): bigint | string => {
        const at = Number(physical) - guest.ramBase;
        if (at < 0 || at + bytes > ram.length) return "outside";
        return bytes === 4 ? BigInt(ram.readUInt32LE(at)) : ram.readBigUInt64LE(at);
      };
      const machine = await open(guest.elfFile, { kernel: "none" });
      try {
        const stop = truth.stops[which];
        if (machine.physical === undefined) throw new Error("no physical memory");
        const space = new VirtualMemory(machine.physical, { root: rootOf(stop), mmu: mmuOf(truth.paging) });
        const mine = await space.maps().toArray();
        expect(mine.map(plainRun)).toEqual(referenceMaps(read, referenceOf(truth.paging, stop)));
        expect(mine.length).toBeGreaterThan(100);
      } finally {
        await machine.close();
      }
    },
  );
}

/** The kernel's half at the kernel stop, where the machine stands: page by page, by QEMU's own translation. */
function kernelHalfSuite(boot: () => Promise<Guest>): void {
  describe("the kernel's half, asked page by page", () => {
    const runsOf = async (guest: Guest, stop: Stop): Promise<MappedRun[]> => {
      const machine = await open(guest.elfFile, { kernel: "none" });
      try {
        const { paging } = guest.truth;
        if (machine.physical === undefined || paging === undefined) throw new Error("no physical memory");
        const space = new VirtualMemory(machine.physical, { root: rootOf(stop), mmu: mmuOf(paging) });
        return mappedRuns(await space.maps().toArray()).filter(
          ({ start }) => start >= kernelHalf(guest.truth),
        );
      } finally {
        await machine.close();
      }
    };

    it("is mapped where QEMU's processor finds it, and not beside", async (context) => {
      const guest = await boot().catch((error: unknown) => skipIfMissing(context, error));
      const size = BigInt(guest.truth.pageSize ?? 4096);
      const runs = await runsOf(guest, guest.truth.stops.kernel);
      const wrong: string[] = [];
      let asked = 0;
      const ask = async (va: bigint, wanted: number | undefined) => {
        const answer = await guest.hmp(`gva2gpa 0x${va.toString(16)}`);
        const found = /^gpa: (0x[0-9a-f]+)/.exec(answer)?.[1];
        asked++;
        if ((found === undefined ? undefined : Number(found)) !== wanted)
          wrong.push(`${va.toString(16)}: memtool ${wanted?.toString(16)}, QEMU ${answer.trim()}`);
      };
      // RISC-V's listing names the frame of every page; here its runs over 512 pages are asked by samples.
      const samples = guest.truth.processor === "riscv64" ? 512 : Number.POSITIVE_INFINITY;
      for (const [i, run] of runs.entries()) {
        const pages = Number((run.end - run.start) / size);
        const step = Math.max(1, Math.ceil(pages / samples));
        for (let page = 0; page < pages; page += step)
          await ask(run.start + BigInt(page) * size, run.physical + page * Number(size));
        await ask(run.end - 1n, run.physical + Number(run.end - run.start) - 1);
        if (runs[i - 1]?.end !== run.start) await ask(run.start - 1n, undefined);
        const next = run.end < 1n << 64n ? run.end : undefined;
        if (next !== undefined && runs[i + 1]?.start !== next) await ask(next, undefined);
      }
      expect(wrong.slice(0, 20)).toEqual([]);
      expect(asked).toBeGreaterThan(4000);
    });

    it("holds all that the kernel says it has there: RAM, its symbols, and every area of vmalloc", async (context) => {
      const guest = await boot().catch((error: unknown) => skipIfMissing(context, error));
      const { truth } = guest;
      const size = BigInt(truth.pageSize ?? 4096);
      const runs = await runsOf(guest, truth.stops.kernel);
      const physicalOf = (va: bigint): number | undefined => {
        const run = runs.find(({ start, end }) => va >= start && va < end);
        return run === undefined ? undefined : run.physical + Number(va - run.start);
      };
      const missing: string[] = [];
      const addressOf = (wanted: string) =>
        BigInt(truth.symbols.find(({ name }) => name === wanted)?.address ?? 0);
      const [text, textEnd] = [addressOf("_stext"), addressOf("_etext")];
      const functions = truth.symbols.filter(
        ({ address }) => BigInt(address) >= text && BigInt(address) < textEnd,
      );
      for (const { name, address } of functions)
        if (physicalOf(BigInt(address)) === undefined) missing.push(name);
      expect(missing).toEqual([]);
      expect(functions.length).toBeGreaterThan(10_000);

      let areas = 0;
      for (const line of (truth.texts["/proc/vmallocinfo"] ?? "").split("\n")) {
        const match = /^(0x[0-9a-f]+)-(0x[0-9a-f]+) +\d+ \S+ .*\b(pages=(\d+)|phys=(0x[0-9a-f]+))/.exec(line);
        // The kernel's own image, of which what was for the start only is unmapped by now (arch/arm64/mm/init.c, free_initmem).
        if (match === null || /paging_init|declare_kernel|declare_vma/.test(line)) continue;
        const start = BigInt(match[1] as string);
        const end = BigInt(match[2] as string) - size; // its guard page
        for (let va = start; va < end; va += size) if (physicalOf(va) === undefined) missing.push(line);
        if (match[5] !== undefined) {
          const page = Number(match[5]) - (Number(match[5]) % Number(size));
          expect([line, physicalOf(start)]).toEqual([line, page]);
        }
        areas++;
      }
      expect(missing).toEqual([]);
      expect(areas).toBeGreaterThan(30);

      // The direct map: every page of RAM is somewhere in the kernel's half, but for what firmware keeps.
      const mapped = new Set<number>();
      for (const run of runs)
        for (let at = 0; at < Number(run.end - run.start); at += Number(size)) mapped.add(run.physical + at);
      const free = truth.freeMemory.flatMap(({ start, end }) => {
        const absent: number[] = [];
        for (let at = Number(start); at < Number(end); at += Number(size))
          if (!mapped.has(at)) absent.push(at);
        return absent;
      });
      expect(free).toEqual([]);
    });

    it("has the rights that Linux gives its text, its read-only data and its data", async (context) => {
      const guest = await boot().catch((error: unknown) => skipIfMissing(context, error));
      const { truth } = guest;
      const runs = await runsOf(guest, truth.stops.kernel);
      const symbol = (name: string) => BigInt(truth.symbols.find((one) => one.name === name)?.address ?? 0);
      const [text, textEnd] = [symbol("_stext"), symbol("_etext")];
      const kinds = new Set<string>();
      for (const run of runs) {
        const kernelX = (run.rights & KERNEL_EXECUTABLE) !== 0;
        const userX = (run.rights & USER_EXECUTABLE) !== 0;
        const at = `${run.start.toString(16)}-${run.end.toString(16)}`;
        expect([at, run.user, run.readable]).toEqual([at, false, true]);
        // Nothing of the kernel's half is a user's, so on arm64 nothing there is executable for one.
        if (truth.processor === "aarch64") expect([at, userX]).toEqual([at, false]);
        // CONFIG_STRICT_KERNEL_RWX: nothing is both.
        expect([at, run.writable && kernelX]).toEqual([at, false]);
        const inText = run.start < textEnd && run.end > text;
        if (inText) expect([at, run.writable, kernelX]).toEqual([at, false, true]);
        kinds.add(`${run.writable ? "w" : "-"}${kernelX ? "x" : "-"}${inText ? " text" : ""}`);
      }
      expect([...kinds]).toEqual(expect.arrayContaining(["-x text", "--", "w-"]));
    });
  });
}
