/** Conversions of files: every source that there is, and what goes wrong. */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeEach, describe, expect, it } from "vitest";
import { type ConvertOptions, convert } from "../../connectors/convert/convert.js";
import { verifyDump } from "../../connectors/convert/verify-dump.js";
import { CONVERT_FORMATS, type ConvertFormat } from "../../connectors/convert/write-dump.js";
import type { Machine } from "../../connectors/machine.js";
import { open } from "../../connectors/open.js";
import { registerConnector } from "../../connectors/registry.js";
import { DumpPlan, type RawNote } from "../../src/formats/index.js";
import type { PhysicalMemory } from "../../src/memory/index.js";
import { memorySource } from "../suite/memory-source.js";
import { pattern } from "../support/bytes.js";
import { convertedModel, type SourceModel } from "../support/convert-model.js";
import { expectImage, type ImageModel } from "../support/dump.js";
import type { DumpInput } from "../support/format-suite.js";
import { FORMAT_CASES } from "../support/formats/index.js";
import { readLime } from "../support/read-lime.js";
import { prstatus, writeElf } from "../support/write-elf.js";
import { writeKdump } from "../support/write-kdump.js";

const root = mkdtempSync(join(tmpdir(), "memtool-convert-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

let folder: string;
let count = 0;
const newFolder = () => {
  folder = join(root, String(count++));
  mkdirSync(folder);
};
beforeEach(newFolder);
const at = (name: string) => join(folder, name);
const READERS = { raw: "raw", elf: "elf-core", kdump: "kdump", lime: "lime" } as const;

/** Writes a dump's files, and opens them. */
async function openInput(input: DumpInput): Promise<Machine> {
  const { file, parts = [], beside = {}, format, memoryMap } = input;
  // Some are made to lie in a folder.
  const name = basename(input.name ?? "source.dump");
  writeFileSync(at(name), file);
  for (const [other, bytes] of Object.entries(beside)) writeFileSync(at(other), bytes);
  const paths = parts.map((bytes, i) => {
    writeFileSync(at(`part-${i}`), bytes);
    return at(`part-${i}`);
  });
  const map = memoryMap?.map(({ start, end, offset }) => `${start}-${end}@${offset}`).join(",");
  return open([at(name), ...paths], { kernel: "none", format, memoryMap: map });
}

/** The states that a conversion is to keep: the model's, and where the source can't tell, that. */
function sourceOf(machine: Machine, model: ImageModel): SourceModel {
  const states = model.states.map((state, i) =>
    state === "excluded" && machine.physical?.map.reasonOf(i) === "or outside" ? "unsure" : state,
  );
  return { bytes: model.bytes, states };
}

async function expectConverted(path: string, source: SourceModel, format: ConvertFormat, options = {}) {
  const model = convertedModel(source, format, options);
  if (format === "lime") {
    const read = readLime(new Uint8Array(readFileSync(path)), model.size);
    expect(read.states.join() === model.states.join()).toBe(true);
    expect(Buffer.compare(read.bytes, model.bytes)).toBe(0);
    return;
  }
  const machine = await open(path, { kernel: "none", format: READERS[format] });
  try {
    if (machine.image !== undefined) expectImage(machine.image, model);
  } finally {
    await machine.close();
  }
}

const note: ConvertOptions = { vmcoreinfo: "note" };

describe("every source", () => {
  for (const [name, format] of Object.entries(FORMAT_CASES)) {
    it(`${name} to any format reads as before, as far as that can say it`, async () => {
      const samples = format.samples.filter(
        ({ model, memoryMap }) =>
          model.states.includes("present") && (memoryMap === undefined || memoryMap.length > 0),
      );
      await fc.assert(
        fc.asyncProperty(samples, fc.constantFrom(...CONVERT_FORMATS), async (sample, to) => {
          newFolder();
          const machine = await openInput(sample);
          try {
            const summary = await convert(machine, at(`new.${to}`), { ...note, verify: true });
            const source = sourceOf(machine, sample.model);
            expect(summary.present).toBe(source.states.filter((state) => state === "present").length);
            expect(summary.failed).toBe(0);
            await expectConverted(at(`new.${to}`), source, to);
          } finally {
            await machine.close();
          }
        }),
        { numRuns: 8 },
      );
    });
  }
});

const RAM = pattern(10 * 4096, 3);
const elf = (memory = RAM) =>
  writeElf([{ physical: 0x10000, bytes: memory, memorySize: memory.length + 8192 }], {
    notes: [prstatus(1, 100)],
  });

async function openElf(bytes = elf()): Promise<Machine> {
  return openInput({ file: bytes });
}

describe("what can't be read", () => {
  it("of a dump that was cut is excluded in the new one", async () => {
    const whole = elf();
    const machine = await openElf(whole.subarray(0, whole.length - 5 * 4096));
    const summary = await convert(machine, at("new.kdump"), { ...note, verify: true });
    expect(summary).toMatchObject({ present: 5 * 4096, excluded: 5 * 4096 + 8192, failed: 0 });
    await machine.close();
    const back = await open(at("new.kdump"), { kernel: "none" });
    expect(back.physical?.map.stateOf(0x10000 + 4 * 4096)).toBe("present");
    expect(back.physical?.map.stateOf(0x10000 + 5 * 4096)).toBe("excluded");
    await back.close();
  });

  it("though it should be there is excluded, counted and named, in every format", async () => {
    const bad = { flags: 1, bytes: pattern(100, 1) };
    const pages = [0, 1, 2, 3, 4, 5].map((pfn) => ({
      pfn,
      bytes: pattern(4096, 2 * pfn + 2),
      ...(pfn === 2 || pfn === 3 || pfn === 5 ? { stored: bad } : {}),
    }));
    const source = {
      bytes: Uint8Array.from(pages.flatMap(({ bytes }) => [...bytes])),
      states: pages.flatMap(({ pfn }) =>
        new Array<string>(4096).fill([2, 3, 5].includes(pfn) ? "failed" : "present"),
      ),
    };
    for (const to of CONVERT_FORMATS) {
      newFolder();
      const machine = await openInput({ file: writeKdump(pages, { maxPages: 6, dumpLevel: 0 }) });
      const summary = await convert(machine, at(`new.${to}`), { ...note, verify: true });
      expect(summary).toMatchObject({
        present: 3 * 4096,
        failed: 3 * 4096,
        failedRangeCount: 2,
        failedRanges: [
          { start: 2 * 4096, end: 4 * 4096, state: "malformed" },
          { start: 5 * 4096, end: 6 * 4096, state: "malformed" },
        ],
      });
      await machine.close();
      await expectConverted(at(`new.${to}`), source, to);
      const zeros = /those 12288 bytes read as zeros/;
      if (to === "raw") expect(summary.warnings).toContainEqual(expect.stringMatching(zeros));
      else expect(summary.warnings.join()).not.toMatch(zeros);
    }
  });

  it("at all is an error, and no file", async () => {
    const pages = [{ pfn: 0, bytes: RAM.subarray(0, 4096), stored: { flags: 1, bytes: pattern(50, 1) } }];
    const machine = await openInput({ file: writeKdump(pages, { maxPages: 1, dumpLevel: 0 }) });
    await expect(convert(machine, at("new.raw"))).rejects.toMatchObject({ code: "NOTHING_READ" });
    await machine.close();
    expect(readdirSync(folder)).toEqual(["source.dump"]);
  });
});

describe("what is kept", () => {
  it("is there, and other RAM is excluded; kdump keeps whole pages", async () => {
    const machine = await openElf();
    const keep = [
      { start: 0x11800, end: 0x12800 },
      { start: 0, end: 0x10001 },
    ];
    const elfSummary = await convert(machine, at("new.elf"), { ...note, keep, verify: true });
    expect(elfSummary).toMatchObject({ present: 0x1001, excluded: RAM.length - 0x1001 + 8192 });
    const kdumpSummary = await convert(machine, at("new.kdump"), { ...note, keep, verify: true });
    expect(kdumpSummary).toMatchObject({
      present: 3 * 4096,
      warnings: [expect.stringContaining("VMCOREINFO")],
    });
    await machine.close();
  });

  it("must hold something", async () => {
    const machine = await openElf();
    await expect(
      convert(machine, at("new.elf"), { ...note, keep: [{ start: 0, end: 4096 }] }),
    ).rejects.toMatchObject({
      code: "NOTHING_PRESENT",
    });
    await machine.close();
    expect(readdirSync(folder)).toEqual(["source.dump"]);
  });
});

describe("options", () => {
  it.each([
    [{ to: "lime", exclude: "zero" }, /only kdump can leave out/],
    [{ to: "raw", compress: "zlib" }, /only kdump is compressed/],
    [{ to: "vmdk" }, /no format "vmdk": one of raw, elf, kdump, lime/],
    [{ to: "kdump", compress: "lzo" }, /no compression "lzo"/],
    [{ to: "kdump", exclude: "cache" }, /"cache" can't be excluded/],
    [{ to: "elf", keep: [{ start: 5, end: 5 }] }, /0x5 to 0x5 is none/],
    [{ to: "elf", keep: [{ start: -1, end: 5 }] }, /-1 to 0x5 is none/],
    [{}, /its name does not end in .raw, .elf, .kdump, .lime/],
  ])("%j is refused, and no file is made", async (options, problem) => {
    const machine = await openElf();
    await expect(convert(machine, at("new.dump"), options as ConvertOptions)).rejects.toThrow(problem);
    await machine.close();
    expect(readdirSync(folder)).toEqual(["source.dump"]);
  });

  it.each(["none", "zlib", "zstd"] as const)("kdump compressed with %s reads back", async (compress) => {
    const machine = await openElf(elf(pattern(40_960, 4)));
    const summary = await convert(machine, at("new.kdump"), { ...note, compress, verify: true });
    await machine.close();
    expect(summary.compress).toBe(compress);
    const back = await open(at("new.kdump"), { kernel: "none" });
    expect(back.image?.details.compression).toBe(compress);
    await back.close();
    if (compress === "none") expect(summary.size).toBeGreaterThan(40_960);
    else expect(summary.size).toBeLessThan(40_960);
  });

  it("a dump without VMCOREINFO is warned of", async () => {
    const machine = await openElf();
    const { warnings } = await convert(machine, at("new.elf"), note);
    await machine.close();
    expect(warnings).toEqual([expect.stringMatching(/no VMCOREINFO note: makedumpfile and crash may not/)]);
  });

  it("a raw image warns of what reads as zeros in it, LiME of what is no longer RAM", async () => {
    const machine = await openElf();
    const raw = await convert(machine, at("new.raw"), {});
    expect(raw.warnings.join("; ")).toMatch(
      /65536 bytes .* read as zeros; .* 8192 bytes behind it are missing/,
    );
    const lime = await convert(machine, at("new.lime"), {});
    expect(lime.warnings).toEqual([expect.stringMatching(/8192 bytes of RAM .* read as no RAM/)]);
    await machine.close();
  });
});

describe("verify", () => {
  async function planted(change: (bytes: Uint8Array) => void, format: "kdump" | "elf" | "raw" = "elf") {
    const machine = await openElf();
    const physical = machine.physical as PhysicalMemory;
    await convert(machine, at(`new.${format}`), { ...note, force: true });
    const bytes = new Uint8Array(readFileSync(at(`new.${format}`)));
    change(bytes);
    writeFileSync(at(`new.${format}`), bytes);
    try {
      return await verifyDump(physical, new DumpPlan(physical.map), at(`new.${format}`), format, {
        pageSize: 4096,
        excludeZero: false,
      });
    } finally {
      await machine.close();
    }
  }

  it("says how much is equal", async () => {
    expect(await planted(() => {})).toEqual({ bytes: RAM.length, ranges: 4 });
  });

  it("finds one byte that differs, and says where", async () => {
    const where = 0x10000 + 12_345;
    await expect(
      planted((bytes) => {
        bytes[where] = (bytes[where] as number) ^ 0x40;
      }, "raw"),
    ).rejects.toThrow(
      new RegExp(`physical address 0x${where.toString(16)}: 0x.. in the source, 0x.. in the dump`),
    );
  });

  it("finds memory that is missing, and memory that should not be there", async () => {
    const view = (bytes: Uint8Array) => new DataView(bytes.buffer);
    // The second program header's p_filesz, p_memsz.
    const segment = 64 + 56;
    await expect(
      planted((bytes) => view(bytes).setBigUint64(segment + 32, BigInt(RAM.length - 1), true)),
    ).rejects.toThrow(/there in the source, excluded in the dump/);
    await expect(
      planted((bytes) => view(bytes).setBigUint64(segment + 40, BigInt(RAM.length), true)),
    ).rejects.toThrow(/excluded in the source, outside in the dump/);
    await expect(
      planted((bytes) => view(bytes).setBigUint64(segment + 40, BigInt(RAM.length + 9000), true)),
    ).rejects.toThrow(/outside in the source, excluded in the dump/);
  });

  /** Verifies a dump as if its source failed with a page of it; `seen` is the memory as it was when that was written. */
  async function expectNotReadable(format: ConvertFormat, failed: "stored" | "zeros") {
    const pages = (bad: boolean) =>
      [0, 1, 2].map((pfn) => ({
        pfn,
        bytes: pfn === 1 && failed === "zeros" ? new Uint8Array(4096) : pattern(4096, 2 * pfn + 2),
        ...(pfn === 1 && bad ? { stored: { flags: 1, bytes: pattern(100, 1) } } : {}),
      }));
    const options = { maxPages: 3, dumpLevel: 0 };
    const whole = await openInput({ file: writeKdump(pages(false), options), name: "whole" });
    await convert(whole, at(`new.${format}`), note);
    await whole.close();
    const machine = await openInput({ file: writeKdump(pages(true), options) });
    const physical = machine.physical as PhysicalMemory;
    const plan = new DumpPlan(physical.map);
    const check = { pageSize: 4096, excludeZero: false };
    try {
      return await verifyDump(physical, plan, at(`new.${format}`), format, check);
    } finally {
      await machine.close();
    }
  }

  it.each(CONVERT_FORMATS)("finds in %s what the source can't read", async (format) => {
    await expect(expectNotReadable(format, "stored")).rejects.toThrow(
      /0x1000: not readable .*malformed.* in the source/,
    );
  });

  it("takes zeros for what could not be read in a raw image, and in nothing else", async () => {
    expect(await expectNotReadable("raw", "zeros")).toMatchObject({ bytes: 8192 });
    newFolder();
    await expect(expectNotReadable("elf", "zeros")).rejects.toThrow(/0x1000: not readable/);
  });

  it("finds bytes in a raw image where the source has none", async () => {
    const file = writeElf([
      { physical: 0, bytes: RAM.subarray(0, 4096) },
      { physical: 8192, bytes: RAM.subarray(0, 4096) },
    ]);
    const machine = await openInput({ file });
    const physical = machine.physical as PhysicalMemory;
    await convert(machine, at("new.raw"));
    const bytes = readFileSync(at("new.raw"));
    bytes[5000] = 7;
    writeFileSync(at("new.raw"), bytes);
    const check = verifyDump(physical, new DumpPlan(physical.map), at("new.raw"), "raw", {
      pageSize: 4096,
      excludeZero: false,
    });
    await expect(check).rejects.toThrow(/0x1388: missing in the source, 0x07 in the dump/);
    await machine.close();
  });

  /** Verifies a kdump of one memory as if it were of another. */
  async function verifyOther(written: Uint8Array, source: Uint8Array, exclude?: "zero") {
    const first = await openInput({ file: written, name: "written" });
    await convert(first, at("new.kdump"), { ...note, exclude, force: true });
    await first.close();
    const machine = await openInput({ file: source });
    const physical = machine.physical as PhysicalMemory;
    try {
      return await verifyDump(physical, new DumpPlan(physical.map), at("new.kdump"), "kdump", {
        pageSize: 4096,
        excludeZero: exclude === "zero",
      });
    } finally {
      await machine.close();
    }
  }

  it("finds a page that was left out and is not of zeros", async () => {
    const zeros = Uint8Array.from(RAM).fill(0, 4096, 8192);
    expect(await verifyOther(elf(zeros), elf(zeros), "zero")).toMatchObject({ bytes: RAM.length });
    await expect(verifyOther(elf(zeros), elf(), "zero")).rejects.toThrow(
      /0x11000: there in the source, excluded in the dump/,
    );
  });

  it("finds pages of a kdump that are excluded and should be no RAM, and the other way round", async () => {
    const of = (memorySize: number) =>
      writeElf([
        { physical: 0, bytes: RAM.subarray(0, 4096), memorySize },
        { physical: 65_536, bytes: RAM },
      ]);
    await expect(verifyOther(of(4096), of(12_288))).rejects.toThrow(/0x1000: excluded in .*, outside in/);
    await expect(verifyOther(of(12_288), of(4096))).rejects.toThrow(/0x1000: outside in .*, excluded in/);
  });

  it("finds notes that differ, are missing, or are too many", async () => {
    const machine = await openElf();
    const physical = machine.physical as PhysicalMemory;
    await convert(machine, at("new.elf"), note);
    await convert(machine, at("new.kdump"), note);
    const [first] = machine.image?.notes.raw ?? [];
    if (first === undefined) throw new Error("no note");
    const verify = (format: ConvertFormat, notes: readonly RawNote[]) =>
      verifyDump(physical, new DumpPlan(physical.map), at(`new.${format}`), format, {
        pageSize: 4096,
        excludeZero: false,
        notes,
      });
    const other = { ...first, description: first.description.map((byte, i) => (i === 200 ? ~byte : byte)) };
    for (const format of ["elf", "kdump"] as const) {
      expect((await verify(format, [first])).bytes).toBe(RAM.length);
      for (const notes of [[], [other], [first, first], [{ ...first, type: 6 }], [{ ...first, name: "X" }]]) {
        await expect(verify(format, notes)).rejects.toThrow(/the notes that were written differ/);
      }
    }
    await machine.close();
  });

  it("of what changes while it is read can't be asked for", async () => {
    registerConnector("convert-live", {
      kind: "physical",
      about: "for tests",
      open: () => memorySource(pattern(50_000, 5), { live: true }),
    });
    const machine = await open({ connector: "convert-live" }, { kernel: "none" });
    await expect(convert(machine, at("new.raw"), { verify: true })).rejects.toThrow(
      /nothing to compare with/,
    );
    const summary = await convert(machine, at("new.raw"));
    expect(summary.present).toBe(50_000);
    expect(Buffer.compare(readFileSync(at("new.raw")), pattern(50_000, 5))).toBe(0);
    await machine.close();
  });
});

describe("what makedumpfile can't filter", () => {
  // Layout of QEMU's PC: RAM from 0 on, and a ROM that ends at 4 GiB.
  const rom = { physical: 2 ** 32 - 8192, bytes: RAM.subarray(0, 8192) };
  const warned = async (segments: Parameters<typeof writeElf>[0], to: ConvertFormat) => {
    const machine = await openInput({ file: writeElf(segments) });
    const { warnings } = await convert(machine, at(`new.${to}`), note);
    await machine.close();
    newFolder();
    return warnings.some((warning) => /makedumpfile can't filter .* --to elf/.test(warning));
  };

  it("is a kdump whose last memory is a ROM far behind the RAM, and nothing else", async () => {
    const ram = { physical: 0, bytes: RAM };
    expect(await warned([ram, rom], "kdump")).toBe(true);
    expect(await warned([ram, rom], "elf")).toBe(false);
    expect(await warned([ram], "kdump")).toBe(false);
    const above = { physical: 2 ** 32, bytes: RAM };
    expect(await warned([ram, rom, above], "kdump")).toBe(false);
    // RAM that the same block of a bitmap covers.
    const near = { physical: 2 ** 32 - 2 ** 26, bytes: RAM };
    expect(await warned([ram, near, rom], "kdump")).toBe(false);
  });
});

describe("all or nothing", () => {
  it("looking for the kernel ends with an abort, too", async () => {
    const machine = await openElf();
    const controller = new AbortController();
    // Never answers.
    Object.defineProperty(machine, "linux", { value: () => new Promise(() => {}) });
    const promise = convert(machine, at("new.elf"), { signal: controller.signal });
    controller.abort();
    await expect(promise).rejects.toMatchObject({ code: "ABORTED" });
    await machine.close();
    expect(readdirSync(folder)).toEqual(["source.dump"]);
  });

  it("an abort leaves no file", async () => {
    const machine = await openElf();
    const controller = new AbortController();
    const promise = convert(machine, at("new.elf"), {
      ...note,
      signal: controller.signal,
      onProgress: () => controller.abort(),
      verify: true,
    });
    await expect(promise).rejects.toMatchObject({ code: "ABORTED" });
    await machine.close();
    expect(readdirSync(folder)).toEqual(["source.dump"]);
  });

  it("has its name only at the end", async () => {
    const machine = await openElf();
    let seen: string[] = [];
    await convert(machine, at("new.elf"), {
      ...note,
      onProgress: () => {
        seen = readdirSync(folder).filter((name) => name !== "source.dump");
      },
    });
    await machine.close();
    expect(seen).toEqual([expect.stringMatching(/^new\.elf\.partial-/)]);
    expect(readdirSync(folder).sort()).toEqual(["new.elf", "source.dump"]);
  });

  it("neither replaces a file nor, by force, what is read", async () => {
    const machine = await openElf();
    writeFileSync(at("new.elf"), "mine");
    await expect(convert(machine, at("new.elf"), note)).rejects.toMatchObject({ code: "OUTPUT_EXISTS" });
    const own = { ...note, force: true, to: "elf" } as const;
    await expect(convert(machine, at("source.dump"), own)).rejects.toMatchObject({ code: "SAME_FILE" });
    await convert(machine, at("new.elf"), own);
    expect(readFileSync(at("new.elf")).length).toBeGreaterThan(RAM.length);
    await machine.close();
  });

  it("a process has no physical memory to write", async () => {
    const machine = await open({ connector: `proc:${process.pid}` }, { kernel: "none" });
    await expect(convert(machine, at("new.elf"))).rejects.toMatchObject({ code: "NO_PHYSICAL_MEMORY" });
    await machine.close();
    expect(existsSync(at("new.elf"))).toBe(false);
  });
});
