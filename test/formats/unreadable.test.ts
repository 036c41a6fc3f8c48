/** Every format over files of which parts can't be read: what is read is the dump's, and what is not is a hole. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { nodeDecoders } from "../../connectors/node-decoders.js";
import { type DumpImage, FormatError, openDump } from "../../src/formats/index.js";
import { readInto, readPartial, Scheduler } from "../../src/io/index.js";
import { badSectors } from "../support/bad-sectors.js";
import { ByteWriter, pattern } from "../support/bytes.js";
import { openBytes } from "../support/dump.js";
import { readDamaged } from "../support/format-suite.js";
import { FORMAT_CASES } from "../support/formats/index.js";
import { writeKdump } from "../support/write-kdump.js";
import { writeLime } from "../support/write-lime.js";

const PAGE = 4096;

it.each(Object.values(FORMAT_CASES).map((each) => [each.name, each] as const))("%s", (_, each) => {
  const { small, size } = each;
  // What is damaged may not be what is opened.
  if ((each.victim ?? small.file) !== small.file) return;
  const whole = readDamaged(small, size) as (number | undefined)[];
  const sectors = fc.array(fc.nat(10_000), { minLength: 1, maxLength: 3 });
  fc.assert(
    fc.property(fc.constantFrom(16, 64, 512), sectors, (sector, chosen) => {
      const scheduler = new Scheduler();
      const open = (bytes: Uint8Array, name: string, salt: number) => {
        const count = Math.ceil(bytes.length / sector);
        const starts = [...new Set(chosen.map((i) => ((i + salt) % count) * sector))].sort((a, b) => a - b);
        const bad = starts.map((start) => ({ start, end: start + sector }));
        return badSectors(bytes, bad, name, scheduler);
      };
      let image: DumpImage;
      try {
        image = openDump(open(small.file, small.name ?? "test.dump", 0), {
          decoders: nodeDecoders,
          parts: small.parts?.map((bytes, i) => open(bytes, `part-${i}.dump`, 77 * (i + 1))),
          beside: (name) => {
            const bytes = Object.hasOwn(small.beside ?? {}, name) ? small.beside?.[name] : undefined;
            return bytes && open(bytes, name, 33);
          },
          format: small.format,
          memoryMap: small.memoryMap,
        }).sync();
      } catch (error) {
        if (!(error instanceof FormatError)) throw error;
        expect(error.message).toMatch(/\.(dump|vm\w+)/);
        return;
      }
      const { bytes, good, holes } = readPartial(image.io, 0, size).sync();
      for (const { start, end } of good) {
        for (let at = start; at < end; at++) {
          if (bytes[at] !== whole[at])
            expect({ at, byte: bytes[at] }).toEqual({ at, byte: whole[at] ?? "none" });
          if (at % 64 === 0 && image.map.stateOf(at) !== "present") expect.unreachable(`the map lacks ${at}`);
        }
      }
      for (const { start, state } of holes) {
        const said = image.map.stateOf(start);
        if (said !== "present") expect(state).toBe(said);
      }
    }),
    { numRuns: 60 },
  );
});

describe("a dump is known by what can be read of its first bytes", () => {
  const bytes = pattern(2 * PAGE, 1);

  it("whatever can't be read behind that", () => {
    const file = writeLime([{ start: 0x1000, bytes }]);
    const image = openDump(badSectors(file, [{ start: 512, end: 1024 }])).sync();
    expect(image.format).toBe("lime");
    expect(readInto(image.io, 0x1400, PAGE).sync()).toEqual(bytes.subarray(0x400, 0x400 + PAGE));
  });

  it("unless nothing is known by them: then it may be anything", () => {
    for (const start of [0, 512]) {
      const file = () => badSectors(bytes, [{ start, end: start + 512 }]);
      expect(() => openDump(file()).sync()).toThrow(
        /test.dump: first bytes at file offset 0x0: could not be/,
      );
      expect(openDump(file(), { format: "raw" }).sync().format).toBe("raw");
    }
  });
});

describe("a flattened dump", () => {
  const pages = Array.from({ length: 8 }, (_, pfn) => ({
    pfn,
    bytes: pattern(PAGE, pfn),
    stored: "raw" as const,
  }));
  const inner = writeKdump(pages, { maxPages: 8, dumpLevel: 0 });
  const out = new ByteWriter(true).text("makedumpfile", 16).u64(1).u64(1).upTo(PAGE);
  for (let at = 0; at < inner.length; at += PAGE) {
    const block = inner.subarray(at, at + PAGE);
    out.u64(at).u64(block.length).bytes(block);
  }
  const flat = out.u64(-1).u64(-1).done();

  it("of which a block's header can't be read is there up to that", () => {
    const start = PAGE + 9 * (PAGE + 16);
    const image = openDump(badSectors(flat, [{ start, end: start + 16 }]), { decoders: nodeDecoders }).sync();
    expect(image.warnings.join()).toMatch(/the block header at 0xa090 could not be read/);
    expect(readInto(image.io, 0, PAGE).sync()).toEqual(pattern(PAGE, 0));
    expect(readPartial(image.io, 7 * PAGE, PAGE).sync().good).toEqual([]);
  });

  it("that was cut in a file of the full length ends at the first header of zeros, not at the last", () => {
    const cut = flat.slice();
    cut.fill(0, PAGE + 9 * (PAGE + 16));
    const image = openBytes(cut);
    expect(image.warnings.join()).toMatch(/the block header at 0xa090 is all zeros/);
    expect(image.details).toMatchObject({ flattenedBlocks: 9 });
    expect(readPartial(image.io, 7 * PAGE, PAGE).sync().holes).toMatchObject([{ state: "excluded" }]);
  });

  it("is all there where only bytes around the headers can't be read", () => {
    const bad = [
      { start: 512, end: 1024 },
      { start: PAGE + 6 * (PAGE + 16) + 16 + 100, end: PAGE + 6 * (PAGE + 16) + 16 + 200 },
    ];
    const image = openDump(badSectors(flat, bad), { decoders: nodeDecoders }).sync();
    expect(image.warnings).toEqual([]);
    expect(image.map.bytesPresent).toBe(openBytes(flat).map.bytesPresent);
  });
});
