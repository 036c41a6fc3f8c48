/** Machines of several architectures in their firmware, and odd ones of x86: every byte that QEMU saves is compared. */
import { createCipheriv } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, type TestContext } from "vitest";
import { type Machine, type OpenOptions, type OpenTarget, open } from "../../connectors/index.js";
import { type BareMachine, startBare } from "../../fixtures/vm/bare.mjs";
import { buildWriter } from "../../fixtures/vm/boot-writer.mjs";
import { migrate } from "../../fixtures/vm/forms.mjs";
import { compareMemory } from "../support/compare-memory.js";
import { skipIfMissing } from "../support/missing.js";

const KiB = 2 ** 10;
const MiB = 2 ** 20;
const GiB = 2 ** 30;

/** Physical memory: start and size. */
type Window = readonly [start: number, size: number];

/** A MiB that nothing compresses, the same each time; QEMU puts it into RAM. */
let directory: string;
let noise: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "memtool-noise-"));
  noise = join(directory, "noise");
  const cipher = createCipheriv("aes-128-ctr", Buffer.alloc(16), Buffer.alloc(16));
  await writeFile(noise, cipher.update(Buffer.alloc(MiB)));
});
afterAll(async () => {
  await rm(directory, { recursive: true, force: true });
});

const noiseAt = (address: number): string[] => [
  "-device",
  `loader,file=${noise},addr=${address},force-raw=on`,
];

/** Starts a machine, and ends it when the test has ended; skips the test where QEMU lacks the system. */
async function withMachine(
  context: TestContext,
  system: string,
  options: readonly string[],
  milliseconds: number,
  use: (machine: BareMachine) => Promise<void>,
): Promise<void> {
  const machine = await startBare(system, [...options], {}, milliseconds).catch((error: unknown) =>
    skipIfMissing(context, error),
  );
  try {
    await use(machine);
  } finally {
    await machine.close();
  }
}

/** Saves windows of a stopped machine's memory. @returns their files. */
async function save(machine: BareMachine, windows: readonly Window[]): Promise<string[]> {
  const paths: string[] = [];
  for (const [start, size] of windows) {
    const path = join(machine.directory, `save-${start}`);
    await machine.save(path, start, size);
    paths.push(path);
  }
  return paths;
}

/** How many of the files hold the noise, so that a comparison is one of more than zeros. */
async function withNoise(files: readonly string[]): Promise<number> {
  const sample = (await readFile(noise)).subarray(100 * KiB, 101 * KiB);
  const found = await Promise.all(files.map(async (path) => (await readFile(path)).includes(sample)));
  return found.filter(Boolean).length;
}

/** Opens a dump, compares it with the windows that were saved, and shows it to `check`. */
async function compare(
  target: OpenTarget,
  windows: readonly Window[],
  files: readonly string[],
  check: (machine: Machine) => void = () => {},
  options: OpenOptions = {},
): Promise<void> {
  const machine = await open(target, { kernel: "none", ...options });
  try {
    for (const [i, [start, size]] of windows.entries()) {
      const found = await compareMemory(machine, files[i] as string, start);
      const { same, different, firstDifference, missing } = found;
      expect([start, same, different, firstDifference, missing]).toEqual([start, size, 0, undefined, {}]);
    }
    check(machine);
  } finally {
    await machine.close();
  }
}

interface Firmware {
  readonly name: string;
  readonly system: string;
  readonly options: readonly string[];
  /** Where the noise is put. */
  readonly noise: number;
  /** How long the firmware runs. */
  readonly milliseconds: number;
  /** All memory that QEMU dumps. */
  readonly windows: readonly Window[];
  readonly architecture: string | undefined;
  /** That of its kdump, if another one. */
  readonly kdumpArchitecture?: string;
  readonly byteOrder: "little" | "big";
  /** The ELF's e_ident[EI_CLASS]: 1 of 32 bits, 2 of 64. */
  readonly elfClass: 1 | 2;
  /** The program counter in `info registers`, and its name in the dump; none where the dump has no registers. */
  readonly counter?: readonly [RegExp, string];
}

const FIRMWARE: readonly Firmware[] = [
  {
    name: "i386, a PC of 64 MiB (in ELFCLASS64, since its ROM ends at 4 GiB)",
    system: "i386",
    options: ["-M", "pc", "-m", "64", "-smp", "2"],
    noise: 16 * MiB,
    milliseconds: 1500,
    windows: [
      [0, 64 * MiB],
      [4 * GiB - 256 * KiB, 256 * KiB],
    ],
    architecture: "i386",
    byteOrder: "little",
    elfClass: 2,
    counter: [/EIP=(\w+)/, "eip"],
  },
  {
    name: "x86-64, a PC with RAM above 4 GiB",
    system: "x86_64",
    options: ["-M", "pc,max-ram-below-4g=64M", "-m", "128", "-smp", "2"],
    noise: 4 * GiB + 16 * MiB,
    milliseconds: 1500,
    windows: [
      [0, 64 * MiB],
      [4 * GiB - 256 * KiB, 256 * KiB],
      [4 * GiB, 64 * MiB],
    ],
    // QEMU's ELF goes by the CPU, which is not in long mode; its kdump by the name of the system.
    architecture: "i386",
    kdumpArchitecture: "x86_64",
    byteOrder: "little",
    elfClass: 2,
    counter: [/EIP=(\w+)/, "eip"],
  },
  {
    name: "ppc64, pseries (big-endian)",
    system: "ppc64",
    options: ["-M", "pseries", "-m", "256", "-smp", "2", "-cpu", "power9"],
    noise: 64 * MiB,
    milliseconds: 2500,
    windows: [[0, 256 * MiB]],
    architecture: "ppc64",
    byteOrder: "big",
    elfClass: 2,
    counter: [/NIP (\w+)/, "nip"],
  },
  {
    name: "ppc, g3beige (ELFCLASS32, big-endian)",
    system: "ppc",
    options: ["-M", "g3beige", "-m", "64"],
    noise: 16 * MiB,
    milliseconds: 2500,
    windows: [
      [0, 64 * MiB],
      [4 * GiB - 4 * MiB, 4 * MiB],
    ],
    architecture: undefined,
    byteOrder: "big",
    elfClass: 1,
  },
  {
    name: "s390x (big-endian)",
    system: "s390x",
    // There is nothing to boot: its firmware stops the machine.
    options: ["-M", "s390-ccw-virtio", "-m", "64", "-smp", "2", "-no-shutdown", "-action", "panic=pause"],
    noise: 16 * MiB,
    milliseconds: 1000,
    windows: [[0, 64 * MiB]],
    architecture: "s390x",
    byteOrder: "big",
    elfClass: 2,
    counter: [/PSW=mask \w+ addr (\w+)/, "psw_addr"],
  },
  {
    name: "aarch64, RAM from 1 GiB on",
    system: "aarch64",
    options: ["-M", "virt", "-m", "64", "-smp", "2", "-cpu", "cortex-a57"],
    noise: GiB + 16 * MiB,
    milliseconds: 500,
    windows: [[GiB, 64 * MiB]],
    architecture: "aarch64",
    byteOrder: "little",
    elfClass: 2,
    counter: [/PC=(\w+)/, "pc"],
  },
  {
    name: "arm (ELFCLASS32)",
    system: "arm",
    options: ["-M", "virt", "-m", "64", "-smp", "2", "-cpu", "cortex-a15"],
    noise: GiB + 16 * MiB,
    milliseconds: 500,
    windows: [[GiB, 64 * MiB]],
    architecture: "arm",
    byteOrder: "little",
    elfClass: 1,
    counter: [/R15=(\w+)/, "pc"],
  },
  {
    name: "riscv64",
    system: "riscv64",
    options: ["-M", "virt", "-m", "64", "-smp", "2"],
    noise: 2 * GiB + 16 * MiB,
    milliseconds: 1000,
    windows: [
      [0x1000, 0xf000], // the ROM that starts it
      [2 * GiB, 64 * MiB],
    ],
    architecture: "riscv64",
    byteOrder: "little",
    elfClass: 2,
    counter: [/pc\s+(\w+)/, "pc"],
  },
];

describe("a machine in its firmware", () => {
  for (const firmware of FIRMWARE) {
    it(`${firmware.name}: its ELF and its kdump read as its memory`, async (context) => {
      const { system, options, windows, counter, architecture, byteOrder } = firmware;
      const given = [...options, ...noiseAt(firmware.noise)];
      await withMachine(context, system, given, firmware.milliseconds, async (machine) => {
        const files = await save(machine, windows);
        expect(await withNoise(files)).toBe(1);
        const total = windows.reduce((sum, [, size]) => sum + size, 0);
        const found = counter?.[0].exec(await machine.hmp("info registers"))?.[1];
        const elf = join(machine.directory, "dump.elf");
        await machine.qmp("dump-guest-memory", { paging: false, protocol: `file:${elf}` });
        expect((await readFile(elf)).readUInt8(4)).toBe(firmware.elfClass);
        await compare(elf, windows, files, ({ format, image, physical }) => {
          expect(format).toBe("elf-core");
          expect(physical?.map.bytesPresent).toBe(total);
          expect(image?.notes.architecture).toBe(architecture);
          expect(physical?.abi.littleEndian).toBe(byteOrder === "little");
          if (counter === undefined) return;
          expect(image?.notes.cpus[0]?.registers[counter[1]]).toBe(BigInt(`0x${found}`));
        });
        const kdump = join(machine.directory, "dump.kdump");
        const format = "kdump-zlib";
        const { formats } = await machine.qmp("query-dump-guest-memory-capability");
        expect(formats).toContain(format);
        await machine.qmp("dump-guest-memory", { paging: false, protocol: `file:${kdump}`, format });
        await compare(kdump, windows, files, (opened) => {
          expect(opened.format).toBe("kdump");
          expect(opened.image?.notes.architecture).toBe(firmware.kdumpArchitecture ?? architecture);
          expect(opened.physical?.abi.littleEndian).toBe(byteOrder === "little");
        });
      });
    });
  }
});

/** A window around 3 GiB and 4 GiB each, and one at the end of a machine's 4 GiB of RAM. */
const LARGE = [
  { machine: "pc", low: 3 * GiB },
  { machine: "q35", low: 2 * GiB },
] as const;

describe("a PC with 4 GiB of RAM, and a hole under 4 GiB", () => {
  for (const { machine: type, low } of LARGE) {
    const top = 8 * GiB - low; // what has no place under the hole follows 4 GiB
    const windows: readonly Window[] = [
      [0, 640 * KiB],
      [MiB, 4 * MiB],
      [low - 4 * MiB, 4 * MiB],
      [4 * GiB, 4 * MiB],
      [top - 4 * MiB, 4 * MiB],
    ];
    const noises = () => [low - MiB, 4 * GiB + MiB, top - MiB].flatMap(noiseAt);

    it(`${type}: its RAM's file reads with a memory map`, async (context) => {
      const options = [
        ...["-machine", `${type},memory-backend=ram`, "-m", "4G"],
        ...["-object", "memory-backend-file,id=ram,size=4G,mem-path=ram,share=on"],
      ];
      await withMachine(context, "x86_64", [...options, ...noises()], 0, async (machine) => {
        const files = await save(machine, windows);
        expect(await withNoise(files)).toBe(3);
        const connector = `file:${join(machine.directory, "ram")}:map=0-${low}@0,4G-${top}@${low}`;
        await compare({ connector }, windows, files, ({ format, physical }) => {
          expect(format).toBe("raw");
          expect(physical?.map.bytesPresent).toBe(4 * GiB);
          expect([low, 4 * GiB - 1, top].map((at) => physical?.map.stateOf(at))).toEqual(
            Array(3).fill("outside"),
          );
        });
      });
    });

    it(`${type}: its migration stream reads at its addresses, BIOS included`, async (context) => {
      const options = ["-machine", type, "-m", "4G", ...noises()];
      await withMachine(context, "x86_64", options, 0, async (machine) => {
        const all: readonly Window[] = [...windows, [4 * GiB - 256 * KiB, 256 * KiB]];
        const files = await save(machine, all);
        expect(await withNoise(files)).toBe(3);
        const stream = join(machine.directory, "stream");
        await migrate(machine.qmp, stream);
        await compare(stream, all, files, ({ format, physical }) => {
          expect(format).toBe("qemu-stream");
          expect(physical?.map.bytesPresent).toBe(4 * GiB + 256 * KiB);
          expect([low, 4 * GiB - MiB, top].map((at) => physical?.map.stateOf(at))).toEqual(
            Array(3).fill("outside"),
          );
        });
      });
    });
  }
});

describe("a migration stream", () => {
  it("of an arm64 machine reads at 1 GiB", async (context) => {
    const options = ["-M", "virt", "-m", "64", "-cpu", "cortex-a57", ...noiseAt(GiB + 16 * MiB)];
    await withMachine(context, "aarch64", options, 500, async (machine) => {
      const windows: readonly Window[] = [[GiB, 64 * MiB]];
      const files = await save(machine, windows);
      const stream = join(machine.directory, "stream");
      await migrate(machine.qmp, stream);
      await compare(stream, windows, files);
    });
  });

  it("of a machine with two NUMA nodes reads as one piece of RAM", async (context) => {
    const nodes = [0, 1].flatMap((node) => [
      ...["-object", `memory-backend-ram,id=ram-node${node},size=32M`],
      ...["-numa", `node,memdev=ram-node${node}`],
    ]);
    const options = ["-machine", "pc", "-m", "64", "-smp", "2", ...nodes, ...noiseAt(31.5 * MiB)];
    await withMachine(context, "x86_64", options, 1000, async (machine) => {
      const windows: readonly Window[] = [[0, 64 * MiB]];
      const files = await save(machine, windows);
      const stream = join(machine.directory, "stream");
      await migrate(machine.qmp, stream);
      await compare(stream, windows, files);
    });
  });

  it("with a map of its own is read by what it is told", async (context) => {
    const options = ["-M", "pc,max-ram-below-4g=64M", "-m", "128", ...noiseAt(4 * GiB + MiB)];
    await withMachine(context, "x86_64", options, 1000, async (machine) => {
      const windows: readonly Window[] = [
        [0, 64 * MiB],
        [4 * GiB, 64 * MiB],
      ];
      const files = await save(machine, windows);
      const stream = join(machine.directory, "stream");
      await migrate(machine.qmp, stream);
      const memoryMap = "0-64M@0,4G-4160M@64M";
      await compare(stream, windows, files, () => {}, { memoryMap });
    });
  });

  it("of a machine that goes on writing holds the last copy of each page, XBZRLE deltas and all", async (context) => {
    const boot = await buildWriter(directory).catch((error: unknown) => skipIfMissing(context, error));
    const options = [
      "-machine",
      "q35",
      "-m",
      "64M",
      "-drive",
      `file=${boot},format=raw`,
      ...noiseAt(16 * MiB),
    ];
    await withMachine(context, "x86_64", options, 1500, async (machine) => {
      await machine.qmp("migrate-set-capabilities", {
        capabilities: [{ capability: "xbzrle", state: true }],
      });
      // So slow that the same pages are sent again and again; then it may end. (In a time that is fixed, a busy machine sends them
      // once.)
      await machine.qmp("migrate-set-parameters", { "max-bandwidth": 3_000_000, "downtime-limit": 1 });
      await machine.qmp("cont");
      // (One that is not at it yet is sent away before it wrote anything.)
      const written = async () => await readFile((await save(machine, [[64 * KiB, 4 * KiB]]))[0] as string);
      for (const first = await written(); first.equals(await written()); );
      const stream = join(machine.directory, "stream");
      const deltas = async () => (await machine.qmp("query-migrate"))["xbzrle-cache"]?.pages ?? 0;
      let ending = false;
      await migrate(machine.qmp, stream, async (milliseconds) => {
        if (ending || milliseconds < 2500 || (await deltas()) <= 100) return;
        ending = true;
        await machine.qmp("migrate-set-parameters", { "downtime-limit": 2000 });
      });
      expect(await deltas()).toBeGreaterThan(100);
      const windows: readonly Window[] = [[0, 64 * MiB]];
      await compare(stream, windows, await save(machine, windows));
    });
  });
});
