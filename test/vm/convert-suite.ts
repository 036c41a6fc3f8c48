/** Conversions of a real guest's memory, judged by its RAM and by other programs than memtool. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type ConvertOptions, convert, type Machine, open } from "../../connectors/index.js";
import { usualElf } from "../../fixtures/vm/forms.mjs";
import type { Guest } from "../../fixtures/vm/machine.mjs";
import { run } from "../../fixtures/vm/tools.mjs";
import { compareMemory } from "../support/compare-memory.js";
import { skipIfMissing } from "../support/missing.js";

interface Target {
  readonly name: string;
  /** Its file. */
  readonly file: string;
  readonly format: string;
  readonly options: ConvertOptions;
}

const TARGETS: readonly Target[] = [
  { name: "kdump, zlib", file: "zlib.kdump", format: "kdump", options: { compress: "zlib" } },
  { name: "kdump, zstd", file: "zstd.kdump", format: "kdump", options: { compress: "zstd" } },
  { name: "kdump, uncompressed", file: "none.kdump", format: "kdump", options: { compress: "none" } },
  { name: "ELF", file: "ours.elf", format: "elf-core", options: {} },
  { name: "LiME", file: "ours.lime", format: "lime", options: {} },
  { name: "raw", file: "ours.raw", format: "raw", options: {} },
];

/** @param subject The guest, dumped; only its files are used, so it may run. @param zeros Bytes of its pages of zeros. */
export function convertSuite(subject: () => Guest, zeros: () => number): void {
  const path = (name: string) => join(subject().directory, name);
  const withOpen = async (target: string, use: (machine: Machine) => Promise<void>): Promise<void> => {
    const machine = await open(target);
    try {
      await use(machine);
    } finally {
      await machine.close();
    }
  };

  describe("a guest's memory, converted", () => {
    for (const source of ["raw", "elf"] as const) {
      const original = () => (source === "raw" ? subject().rawFile : subject().elfFile);

      for (const target of TARGETS) {
        it(`from ${source} to ${target.name} and back is the same, and its symbols are found`, async () => {
          const guest = subject();
          const written = path(`${source}-${target.file}`);
          const back = path(`${source}-back`);
          let present: number | undefined;
          await withOpen(original(), async (machine) => {
            present = machine.physical?.map.bytesPresent; // with QEMU's ROM under 4 GiB, where it is an ELF
            const summary = await convert(machine, written, target.options);
            expect([summary.failed, summary.excluded]).toEqual([0, 0]);
          });
          const wanted = guest.truth.symbols.find(({ name }) => name === "init_task")?.address;
          await withOpen(written, async (machine) => {
            expect(machine.format).toBe(target.format);
            // A raw image can't say what is not there.
            if (target.format !== "raw") expect(machine.physical?.map.bytesPresent).toBe(present);
            const found = await compareMemory(machine, guest.rawFile);
            expect([found.same, found.different, found.unlikeMap]).toEqual([guest.ramBytes, 0, 0]);
            const kernel = await machine.linux();
            expect(kernel.release).toBe(guest.truth.kernel.release);
            expect((await kernel.symbol("init_task")).address).toBe(BigInt(wanted ?? 0));
            await convert(machine, back, { to: source, force: true });
          });
          await withOpen(back, async (machine) => {
            expect(machine.format).toBe(source === "raw" ? "raw" : "elf-core");
            const found = await compareMemory(machine, guest.rawFile);
            expect([found.same, found.different]).toEqual([guest.ramBytes, 0]);
          });
        });
      }
    }

    it("without its zero pages, it lacks those and says that they are zero", async () => {
      const guest = subject();
      const written = path("exclude.kdump");
      await withOpen(guest.rawFile, async (machine) => {
        const summary = await convert(machine, written, { exclude: "zero" });
        expect(summary.zeroExcluded).toBe(zeros());
      });
      await withOpen(written, async (machine) => {
        const found = await compareMemory(machine, guest.rawFile);
        expect([found.different, found.missingNotZero, found.missing]).toEqual([
          0,
          0,
          { "excluded (zero)": zeros() },
        ]);
      });
    });

    it("keeps the CPU's registers from ELF to kdump to ELF", async () => {
      const counter = BigInt(subject().truth.stops.kernel.registers.rip);
      const there = path("elf-zlib.kdump");
      const back = path("registers.elf");
      await withOpen(there, async (machine) => {
        expect(machine.image?.notes.cpus.map(({ registers }) => registers.rip)).toEqual([counter]);
        await convert(machine, back);
      });
      await withOpen(back, async (machine) => {
        expect(machine.image?.notes.cpus.map(({ registers }) => registers.rip)).toEqual([counter]);
      });
    });
  });

  describe("what memtool converted, in other programs", () => {
    /** Our files that makedumpfile reads as Debian builds it: without zstd. */
    const OURS = [
      "raw-zlib.kdump",
      "raw-none.kdump",
      "elf-zlib.kdump",
      "elf-none.kdump",
      "elf-ours.elf",
    ] as const;

    it.for(OURS)("makedumpfile finds the kernel's log in %s", async (name, context) => {
      const log = path("log");
      await run("makedumpfile", ["--dump-dmesg", path(name), log]).catch((error) =>
        skipIfMissing(context, error),
      );
      const text = await readFile(log, "utf8");
      await run("rm", [log]);
      expect(text).toContain(`Linux version ${subject().truth.kernel.release}`);
      // And the same as in what QEMU wrote.
      await run("makedumpfile", ["--dump-dmesg", await usualElf(subject()), log]);
      expect(text).toBe(await readFile(log, "utf8"));
      await run("rm", [log]);
    });

    // With pages beyond what the kernel uses (QEMU's ROM under 4 GiB), makedumpfile 1.7.2 filters no kdump, QEMU's neither.
    const WITHOUT_ROM = OURS.filter((name) => name.startsWith("raw") || name.endsWith(".elf"));
    it.for(WITHOUT_ROM)("makedumpfile filters %s, and leaves right pages", async (name, context) => {
      const guest = subject();
      const filtered = path("filtered");
      await run("makedumpfile", ["-c", "-d", "31", path(name), filtered]).catch((error) =>
        skipIfMissing(context, error),
      );
      const reference = path("reference");
      await run("makedumpfile", ["-c", "-d", "31", await usualElf(guest), reference]);
      const kept: number[] = [];
      for (const file of [filtered, reference]) {
        await withOpen(file, async (machine) => {
          const found = await compareMemory(machine, guest.rawFile);
          expect(found.different).toBe(0);
          kept.push(found.same);
        });
      }
      expect(kept[0]).toBe(kept[1]);
      await run("rm", [filtered, reference]);
    });

    it.for(["raw-zlib.kdump", "elf-zlib.kdump", "elf-none.kdump", "exclude.kdump"])(
      "crash recognises %s",
      async (name, context) => {
        const release = await run("crash", ["--osrelease", path(name)]).catch((error) =>
          skipIfMissing(context, error),
        );
        expect(release.trim()).toBe(subject().truth.kernel.release);
      },
    );

    it.for(["raw-ours.elf", "elf-ours.elf"])(
      "readelf finds nothing wrong with %s, and all RAM in it",
      async (name, context) => {
        const command = 'readelf -aW "$1" 2>&1';
        await run("readelf", ["--version"]).catch((error) => skipIfMissing(context, error));
        const text = await run("sh", ["-c", command, "sh", path(name)]);
        expect(text).not.toMatch(/warning|error/i);
        const loads = [...text.matchAll(/^ +LOAD +(0x\w+) 0x\w+ (0x\w+) (0x\w+) (0x\w+)/gm)];
        const [first] = loads.map((load) => load.slice(1).map(Number));
        expect(first?.slice(1)).toEqual([0, subject().ramBytes, subject().ramBytes]);
      },
    );

    it("a LiME file is its header, and then the RAM", async () => {
      const guest = subject();
      const [ours, raw] = await Promise.all([readFile(path("raw-ours.lime")), readFile(guest.rawFile)]);
      const header = Buffer.alloc(32);
      header.write("EMiL", 0, "latin1");
      header.writeUInt32LE(1, 4);
      header.writeBigUInt64LE(BigInt(guest.ramBytes - 1), 16);
      expect(ours.subarray(0, 32).equals(header)).toBe(true);
      expect(ours.subarray(32).equals(raw)).toBe(true);
    });

    it("a raw file is the RAM", async () => {
      const [ours, raw] = await Promise.all([readFile(path("raw-ours.raw")), readFile(subject().rawFile)]);
      expect(ours.equals(raw)).toBe(true);
    });
  });
}
