/** What is written reads back as the model says, whatever the memory and the format. */
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { EncodePool } from "../../connectors/convert/encode-pool.js";
import { type ConvertFormat, type CopiedDump, writeDump } from "../../connectors/convert/write-dump.js";
import { nodeDecoders } from "../../connectors/node-decoders.js";
import { nodeEncoders } from "../../connectors/node-encoders.js";
import { DumpFacts, type DumpNotes, DumpPlan, type KeptRange } from "../../src/formats/index.js";
import { readPartial } from "../../src/io/index.js";
import { PhysicalMap, type PhysicalMemory } from "../../src/memory/index.js";
import { pattern } from "../support/bytes.js";
import { type ConvertModelOptions, convertedModel, type SourceModel } from "../support/convert-model.js";
import { expectImage, openBytes } from "../support/dump.js";
import { MemorySink, type ModelRun, modelMemory, modelRuns } from "../support/model-memory.js";
import { readLime } from "../support/read-lime.js";

const pool = new EncodePool(nodeEncoders, 0);
afterAll(() => pool.close());

const FORMATS = { raw: "raw", elf: "elf-core", kdump: "kdump" } as const;

interface Options extends ConvertModelOptions {
  readonly compression?: "none" | "zlib" | "zstd";
  readonly notes?: DumpNotes;
  readonly dumpLevel?: number;
}

async function write(
  physical: PhysicalMemory,
  format: ConvertFormat,
  options: Options = {},
): Promise<{ readonly file: Uint8Array; readonly copied: CopiedDump }> {
  const { keep, excludeZero = false, compression = "zlib", pageSize = 4096 } = options;
  const plan = new DumpPlan(physical.map, {
    keep: keep as readonly KeptRange[] | undefined,
    pageSize: format === "kdump" ? pageSize : 1,
  });
  const sink = new MemorySink();
  const facts = new DumpFacts(options.notes ?? { cpus: [], architecture: "x86_64" });
  const copied = await writeDump(physical, sink, {
    plan,
    facts,
    format,
    pageSize,
    compression,
    pool,
    excludeZero,
    dumpLevel: options.dumpLevel,
    window: 65_536,
  });
  return { file: sink.file(copied.written.size), copied };
}

function expectConverted(
  file: Uint8Array,
  source: SourceModel,
  format: ConvertFormat,
  options: Options = {},
): void {
  const model = convertedModel(source, format, options);
  if (format === "lime") {
    const read = readLime(file, model.size);
    expect(read.states.join() === model.states.join()).toBe(true);
    expect(Buffer.compare(read.bytes, model.bytes)).toBe(0);
  } else {
    expectImage(openBytes(file, { format: FORMATS[format], decoders: nodeDecoders }), model);
  }
}

describe("any memory", () => {
  const keeps = fc.option(
    fc.array(
      fc.tuple(fc.nat(40_000), fc.integer({ min: 1, max: 12_000 })).map(([start, length]) => ({
        start,
        end: start + length,
      })),
      { minLength: 1, maxLength: 3 },
    ),
    { nil: undefined },
  );
  const readable = (source: SourceModel, format: ConvertFormat, options: Options) =>
    convertedModel(source, format === "kdump" ? "lime" : format, options).states.includes("present");

  for (const format of ["raw", "elf", "lime"] as const) {
    it(`as ${format} reads as the model says`, async () => {
      await fc.assert(
        fc.asyncProperty(modelRuns, keeps, async (runs, keep) => {
          const { physical, source } = modelMemory(runs);
          fc.pre(readable(source, format, { keep: keep ?? undefined } as Options));
          const options = keep === undefined ? {} : { keep };
          expectConverted((await write(physical, format, options)).file, source, format, options);
        }),
        { numRuns: 50 },
      );
    });
  }

  it("as kdump reads as the model says", async () => {
    const compressions = fc.constantFrom("none", "zlib", "zstd");
    await fc.assert(
      fc.asyncProperty(
        modelRuns,
        keeps,
        compressions,
        fc.boolean(),
        async (runs, keep, compression, excludeZero) => {
          const { physical, source } = modelMemory(runs);
          const options: Options = { compression, excludeZero, ...(keep === undefined ? {} : { keep }) };
          // A dump of which no page is left has no bitmaps that could tell anything.
          fc.pre(convertedModel(source, "kdump", options).states.includes("present"));
          expectConverted((await write(physical, "kdump", options)).file, source, "kdump", options);
        },
      ),
      {
        numRuns: 50,
        examples: [
          // Nothing is known to be missing, and the last page is beyond all that is known.
          [
            [
              { state: "or outside", length: 4096, seed: 0 },
              { state: "present", length: 304, seed: 0 },
              { state: "outside", length: 3793, seed: 0 },
            ],
            undefined,
            "none",
            false,
          ],
        ],
      },
    );
  });

  it("counts what could not be read, what was padded and what was left out", async () => {
    await fc.assert(
      fc.asyncProperty(modelRuns, async (runs) => {
        const { physical, source } = modelMemory(runs);
        const count = (state: string) => source.states.filter((one) => one === state).length;
        const { copied } = await write(physical, "kdump");
        expect([copied.present, copied.failed]).toEqual([count("present"), count("failed")]);
        expect(copied.failedRanges.reduce((sum, { start, end }) => sum + end - start, 0)).toBe(
          count("failed"),
        );
        const model = convertedModel(source, "kdump");
        const stored = model.states.filter((state) => state === "present").length;
        expect(stored).toBe(copied.present - copied.written.dropped + copied.written.padded);
      }),
      { numRuns: 50 },
    );
  });
});

const run = (state: ModelRun["state"], length: number, seed = 1): ModelRun => ({ state, length, seed });

describe("particulars", () => {
  it("memory of several windows, with holes across their borders, is written whole", async () => {
    const { physical, source } = modelMemory([
      run("present", 65_536 - 5000, 3),
      run("failed", 10_000),
      run("present", 140_000, 4),
      run("outside", 65_536),
      run("present", 12_345, 7),
    ]);
    for (const format of ["raw", "elf", "kdump", "lime"] as const) {
      expectConverted((await write(physical, format)).file, source, format);
    }
  });

  it.each(["raw", "elf", "kdump", "lime"] as const)(
    "memory of %s that is still being written is not read over",
    async (format) => {
      const { physical, source } = modelMemory([run("present", 5 * 65_536, 3)]);
      const memory = new MemorySink();
      // Takes bytes only when they are waited for.
      const late: { readonly offset: number; readonly bytes: Uint8Array }[] = [];
      const sink = {
        write: (offset: number, bytes: Uint8Array) => void late.push({ offset, bytes }),
        settle: async () => {
          for (const { offset, bytes } of late.splice(0)) memory.write(offset, bytes);
        },
      };
      const { written } = await writeDump(physical, sink, {
        plan: new DumpPlan(physical.map),
        facts: new DumpFacts({ cpus: [], architecture: "x86_64" }),
        format,
        pageSize: 4096,
        compression: "none",
        pool,
        excludeZero: false,
        window: 65_536,
      });
      expectConverted(memory.file(written.size), source, format);
    },
  );

  it("pages of zeros of a kdump share one body, and a page that does not shrink is stored as it is", async () => {
    const { physical } = modelMemory([
      run("zero", 10 * 4096),
      run("present", 4096, 3),
      run("zero", 2 * 4096),
    ]);
    const { file } = await write(physical, "kdump");
    const { file: without } = await write(physical, "kdump", { excludeZero: true });
    // Header, sub-header, two bitmaps, a block of descriptors, zeros, the page of noise.
    expect(file.length).toBe(7 * 4096);
    expect(without.length).toBe(6 * 4096);
  });

  it("a kdump that lacks only zeros says so, and one that lacks anything else does not", async () => {
    const zeros = [run("present", 8192, 2), run("zero", 4096), run("present", 4096)];
    const level = async (runs: ModelRun[], excludeZero = false) => {
      const { file } = await write(modelMemory(runs).physical, "kdump", { excludeZero });
      const image = openBytes(file);
      return [image.details.dumpLevel, image.map.reasonOf(8192)];
    };
    expect(await level(zeros)).toEqual([0, undefined]);
    expect(await level(zeros, true)).toEqual([1, "zero"]);
    // So many that the room for their descriptors is larger than a page: it must not be taken for a page of zeros.
    const many = [run("present", 8192, 2), run("zero", 400 * 4096), run("present", 4096)];
    expect(await level(many, true)).toEqual([1, "zero"]);
    expect(await level([...zeros, run("truncated", 4096)], true)).toEqual([0, "unknown"]);
    expect(await level([...zeros, run("failed", 4096)], true)).toEqual([0, "unknown"]);
    expect(await level([run("present", 8192), run("user", 4096)])).toEqual([8, "user"]);
    expect(await level([run("present", 8192), run("or outside", 4096), run("present", 4096)])).toEqual([
      1,
      "or outside",
    ]);
    // Nothing is left out, so what is missing is no RAM.
    expect(await level([run("present", 8192, 3), run("outside", 4096), run("present", 4096)], true)).toEqual([
      0,
      undefined,
    ]);
  });

  it("a kdump names the filters of what it is written of, if those are all that it lacks anything for", async () => {
    const runs = [run("present", 8192, 2), run("unknown", 4096), run("zero", 4096)];
    const level = async (some: ModelRun[], dumpLevel: number, excludeZero = false) => {
      const { file } = await write(modelMemory(some).physical, "kdump", { dumpLevel, excludeZero });
      const image = openBytes(file);
      return [image.details.dumpLevel, image.map.reasonOf(8192)];
    };
    expect(await level(runs, 31)).toEqual([31, "unknown"]);
    expect(await level(runs, 30, true)).toEqual([31, "unknown"]);
    // A single filter would be taken for the reason.
    expect(await level(runs, 1)).toEqual([0, "unknown"]);
    expect(await level([...runs, run("failed", 4096)], 31)).toEqual([0, "unknown"]);
    expect(await level([...runs, run("truncated", 4096)], 31)).toEqual([0, "unknown"]);
    expect(await level([run("present", 16_384, 2)], 31)).toEqual([0, undefined]);
  });

  it("zeros of a part of a page that are left out are counted, and no byte beside them", async () => {
    const runs = [run("present", 4096, 2), run("zero", 100), run("outside", 3996), run("present", 4096)];
    const { physical, source } = modelMemory(runs);
    const { file, copied } = await write(physical, "kdump", { excludeZero: true });
    expect(copied.written).toMatchObject({ zeroExcluded: 100, padded: 0 });
    expectConverted(file, source, "kdump", { excludeZero: true });
  });

  it("an ELF core of more segments than e_phnum can say holds all of them", async () => {
    const runs: ModelRun[] = [];
    for (let i = 0; i < 70_000; i++) runs.push(run("present", 1, 1), run("outside", 1));
    const { physical } = modelMemory(runs);
    const { file } = await write(physical, "elf");
    const image = openBytes(file);
    expect(image.details.segments).toBe(70_000);
    const { good } = readPartial(image.io, 0, 140_000).sync();
    expect(good.length).toBe(70_000);
    expect(good.every(({ start, end }, i) => start === 2 * i && end === start + 1)).toBe(true);
  });

  it("an ELF core that more failures split than there is room for has its headers at the end", async () => {
    const runs: ModelRun[] = [];
    for (let i = 0; i < 600; i++) runs.push(run("present", 16, i), run("failed", 16));
    const { physical, source } = modelMemory(runs);
    const { file } = await write(physical, "elf");
    expect(openBytes(file).details.programHeaderOffset).toBeGreaterThan(64);
    expectConverted(file, source, "elf");
  });

  it("zeros take no place in a raw image, an ELF core and a LiME file", async () => {
    const { physical } = modelMemory([run("present", 4096), run("zero", 64 * 4096), run("present", 4096)]);
    for (const format of ["raw", "elf", "lime"] as const) {
      let written = 0;
      const plan = new DumpPlan(physical.map);
      const sink = {
        write: (_: number, bytes: Uint8Array) => {
          written += bytes.length;
        },
      };
      const facts = new DumpFacts({ cpus: [] });
      const options = {
        plan,
        facts,
        format,
        pageSize: 4096,
        compression: "none",
        pool,
        excludeZero: false,
      } as const;
      await writeDump(physical, sink, options);
      expect(written).toBeLessThan(40_000);
    }
  });

  it("memory beyond what kdump's bitmaps hold is refused, with what to do", async () => {
    const { physical } = modelMemory([run("present", 4096)]);
    const far = Object.create(physical, {
      map: { value: PhysicalMap.single(2 ** 46, 2 ** 46 + 4096) },
    }) as PhysicalMemory;
    await expect(write(far, "kdump")).rejects.toThrow(/kdump's bitmaps hold .* --keep/);
  });

  it("64 KiB pages are kdump's blocks, where the guest has them", async () => {
    const { physical, source } = modelMemory([
      run("present", 65_536, 2),
      run("unknown", 65_536),
      run("present", 70_000, 3),
    ]);
    const { file } = await write(physical, "kdump", { pageSize: 65_536 });
    expect(openBytes(file).details.blockSize).toBe(65_536);
    expectConverted(file, source, "kdump", { pageSize: 65_536 });
  });
});

describe("notes", () => {
  const text = "OSRELEASE=6.1.0-test\nPAGESIZE=4096\nNUMBER(phys_base)=-4096\nCRASHTIME=1700000000\n";
  const vmcoreinfo = Uint8Array.from(text, (c) => c.charCodeAt(0));
  const raw = [
    { name: "CORE", type: 1, description: pattern(336, 3) },
    { name: "CORE", type: 1, description: pattern(336, 5) },
    { name: "QEMU", type: 0, description: pattern(433, 7) },
    { name: "VMCOREINFO", type: 0, description: vmcoreinfo },
  ];
  const { physical } = modelMemory([run("present", 8192)]);

  it("go from ELF to kdump to ELF as they are", async () => {
    const notes: DumpNotes = { cpus: [], architecture: "x86_64", vmcoreinfo, raw };
    let at = openBytes((await write(physical, "elf", { notes })).file).notes;
    for (const format of ["kdump", "elf", "kdump"] as const) {
      expect(at.raw).toEqual(raw);
      expect(at.vmcoreinfo).toEqual(vmcoreinfo);
      expect(at.cpus).toHaveLength(2);
      at = openBytes((await write(physical, format, { notes: at })).file).notes;
    }
    expect(at.raw).toEqual(raw);
    expect(at.physBase).toBe(-4096);
  });

  it("a kdump's header names release, machine, processors and the time of the crash", async () => {
    const notes: DumpNotes = { cpus: [], architecture: "x86_64", vmcoreinfo, raw };
    const { file } = await write(physical, "kdump", { notes });
    const view = new DataView(file.buffer);
    const cString = (at: number) => String.fromCharCode(...file.subarray(at, file.indexOf(0, at)));
    expect([12, 12 + 2 * 65, 12 + 4 * 65].map(cString)).toEqual(["Linux", "6.1.0-test", "x86_64"]);
    expect(view.getBigUint64(408, true)).toBe(1_700_000_000n);
    expect(view.getInt32(460, true)).toBe(2);
    expect(openBytes(file).details.headerVersion).toBe(6);
  });

  it("a kdump's headers say how many pages there are, and where notes are, as makedumpfile's do", async () => {
    const notes: DumpNotes = { cpus: [], architecture: "x86_64", vmcoreinfo, raw };
    const { physical: some } = modelMemory([
      run("present", 3 * 4096, 2),
      run("unknown", 4096),
      run("outside", 4096),
      run("present", 4096, 4),
    ]);
    const { file } = await write(some, "kdump", { notes });
    const view = new DataView(file.buffer, file.byteOffset);
    // diskdump_mod.h: status to nr_cpus of `struct disk_dump_header`.
    const words = Array.from({ length: 10 }, (_, i) => view.getUint32(424 + 4 * i, true));
    expect(words).toEqual([1, 4096, 1, 2, 6, 5, 0, 4, 0, 2]);
    // `struct kdump_sub_header`.
    expect(view.getBigInt64(4096, true)).toBe(-4096n);
    expect([view.getInt32(4104, true), view.getInt32(4108, true)]).toEqual([0, 0]);
    const long = Array.from({ length: 11 }, (_, i) => Number(view.getBigUint64(4112 + 8 * i, true)));
    const [start, end, vmcoreinfoAt, vmcoreinfoSize, notesAt, notesSize, ...others] = long;
    expect([start, end, ...others]).toEqual([0, 0, 0, 0, 0, 0, 6]);
    expect(vmcoreinfoSize).toBe(vmcoreinfo.length);
    expect(file.subarray(vmcoreinfoAt, (vmcoreinfoAt as number) + vmcoreinfo.length)).toEqual(vmcoreinfo);
    // The note's own header: 12 bytes, and its name padded to 12.
    expect(vmcoreinfoAt).toBe((notesAt as number) + (notesSize as number) - ((vmcoreinfo.length + 3) & ~3));
    expect(view.getUint32((vmcoreinfoAt as number) - 20, true)).toBe(vmcoreinfo.length);
  });

  it("VMCOREINFO that lies apart from the notes is among them in the new dump", async () => {
    const notes: DumpNotes = { cpus: [], architecture: "x86_64", vmcoreinfo };
    const { file } = await write(physical, "elf", { notes });
    expect(openBytes(file).notes.vmcoreinfo).toEqual(vmcoreinfo);
  });

  it("registers that came without notes become NT_PRSTATUS notes", async () => {
    const registers = { rip: 0xffff_ffff_8100_0000n, rsp: 0x1234n, gs: 7n };
    for (const format of ["elf", "kdump"] as const) {
      const notes: DumpNotes = { architecture: "x86_64", cpus: [{ pid: 9, registers }] };
      const [cpu] = openBytes((await write(physical, format, { notes })).file).notes.cpus;
      expect(cpu?.pid ?? undefined).toBe(9);
      expect(cpu?.registers).toMatchObject({ ...registers, rax: 0n });
    }
  });

  it("a dump without notes has none, and names no machine", async () => {
    const { file } = await write(physical, "elf", { notes: { cpus: [] } });
    const image = openBytes(file);
    expect(image.notes.cpus).toEqual([]);
    expect(image.details.machine).toBe(0);
  });
});
