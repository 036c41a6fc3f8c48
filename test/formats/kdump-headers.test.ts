import { describe, expect, it } from "vitest";
import { nodeDecoders } from "../../connectors/node-decoders.js";
import type { Decoder } from "../../src/formats/index.js";
import { readInto, readPartial } from "../../src/io/index.js";
import { PhysicalMemory } from "../../src/memory/index.js";
import { pattern } from "../support/bytes.js";
import { expectImage, ImageModel, openBytes } from "../support/dump.js";
import { text } from "../support/formats/text.js";
import { elfNotes, prstatus } from "../support/write-elf.js";
import { type KdumpOptions, writeKdump } from "../support/write-kdump.js";

const PAGE = 4096;
const pages = [0, 1, 3].map((pfn) => ({ pfn, bytes: pattern(PAGE, pfn) }));
const vmcoreinfo = text("OSRELEASE=6.1\nPAGESIZE=4096\n");
const notes = elfNotes([prstatus(1, 1000)]);
const write = (options: Partial<KdumpOptions>) =>
  writeKdump(pages, { maxPages: 4, leftOut: [2], dumpLevel: 8, ...options });

describe("a dump of another machine", () => {
  it.each<[string, Partial<KdumpOptions>, string, string | undefined]>([
    ["i386", { abi: "i386", machine: "i686" }, "32-bit packed, little-endian", "i386"],
    ["arm", { abi: "arm", machine: "armv7l" }, "32-bit, little-endian", "arm"],
    ["arm, by QEMU", { abi: "i386", machine: "Unknown" }, "32-bit packed, little-endian", undefined],
    ["ppc", { abi: "arm", machine: "ppc", bigEndian: true }, "32-bit, big-endian", undefined],
    [
      "i386 with a 64-bit time",
      { abi: "i386-time64", machine: "i686" },
      "32-bit packed with 64-bit time, little-endian",
      "i386",
    ],
    [
      "arm with a 64-bit time",
      { abi: "arm-time64", machine: "armv8l" },
      "32-bit with 64-bit time, little-endian",
      "arm",
    ],
    ["i386 with memory beyond 4 GiB, by QEMU", { machine: "i686" }, "64-bit, little-endian", "i386"],
    ["s390x", { machine: "s390x", bigEndian: true }, "64-bit, big-endian", "s390x"],
    ["s390x, by QEMU", { machine: "S390X", bigEndian: true }, "64-bit, big-endian", "s390x"],
    ["ppc64", { machine: "ppc64", bigEndian: true }, "64-bit, big-endian", "ppc64"],
    ["ppc64le", { machine: "ppc64le" }, "64-bit, little-endian", "ppc64"],
    ["riscv64", { machine: "riscv64" }, "64-bit, little-endian", "riscv64"],
    ["a machine without a name", { machine: "" }, "64-bit, little-endian", undefined],
  ])("of %s is read by its own layout", (name, options, layout, architecture) => {
    // QEMU never wrote another version.
    for (const version of name.endsWith("by QEMU") ? [6] : [1, 2, 3, 4, 5, 6]) {
      const image = openBytes(write({ version, vmcoreinfo, ...options }));
      expect(image.details).toMatchObject({ layout, headerVersion: version, dumpLevel: 8, split: false });
      // A name that memtool doesn't know is told; no name is none.
      expect(image.notes.otherMachine).toBe(name === "ppc" ? "ppc" : undefined);
      expect(image.notes).toMatchObject({ architecture, byteOrder: options.bigEndian ? "big" : "little" });
      expect(image.notes.vmcoreinfo).toEqual(version >= 3 ? vmcoreinfo : undefined);
      const model = new ImageModel(4 * PAGE);
      for (const { pfn, bytes } of pages) model.present(pfn * PAGE, bytes);
      model.mark(2 * PAGE, 3 * PAGE, "excluded");
      expectImage(image, model);
    }
  });

  it.each([
    ["i386" as const, "i686"],
    ["arm" as const, "ppc"],
  ])("of 32 bits (%s) may be split", (abi, machine) => {
    for (const version of [2, 5, 6]) {
      const image = openBytes(write({ abi, machine, version, part: { start: 1, end: 3 } }));
      expect(image.map.bytesPresent).toBe(PAGE);
      expect(readInto(image.io, PAGE, PAGE).sync()).toEqual(pattern(PAGE, 1));
    }
  });

  it("of 32 bits that has no name is packed or not as its members make sense", () => {
    for (const abi of ["i386", "arm"] as const) {
      for (const options of [
        {},
        { vmcoreinfo },
        { notes },
        { vmcoreinfo, version: 3 },
        { vmcoreinfo, version: 4 },
        { notes, version: 4 },
      ]) {
        const image = openBytes(write({ abi, machine: "", release: "", narrowMaxPages: 4, ...options }));
        expect(image.details.layout).toBe(
          abi === "arm" ? "32-bit, little-endian" : "32-bit packed, little-endian",
        );
        expect(image.warnings).toEqual([]);
      }
    }
  });

  it("says phys_base with its sign, whatever its width", () => {
    for (const options of [{}, { bigEndian: true }, { abi: "i386" as const, machine: "i686" }]) {
      expect(openBytes(write({ physBase: -4096, ...options })).notes.physBase).toBe(-4096);
    }
  });

  it("of arm begins at phys_base if makedumpfile wrote it, and at 0 if QEMU did", () => {
    const base = 0xc000_0000;
    const arm = { abi: "arm", machine: "armv7l", physBase: base } as const;
    let inflated = 0;
    const inflate: Decoder = (input, length) => {
      inflated++;
      return (nodeDecoders.inflate as Decoder)(input, length);
    };
    const image = openBytes(write(arm), { decoders: { inflate } });
    expect([...image.map.ranges({ gaps: true })].map(({ start, end, state }) => [start, end, state])).toEqual(
      [
        [0, base, "outside"],
        [base, base + 2 * PAGE, "present"],
        [base + 2 * PAGE, base + 3 * PAGE, "excluded"],
        [base + 3 * PAGE, base + 4 * PAGE, "present"],
      ],
    );
    // With the slab shared, by physical page.
    const memory = new PhysicalMemory(image.io, { map: image.map, slab: image.slab });
    for (let round = 0; round < 2; round++) {
      expect(memory.read(base, 2 * PAGE).sync()).toEqual(
        Uint8Array.from([...pattern(PAGE, 0), ...pattern(PAGE, 1)]),
      );
    }
    // Page 1 is stored as it is.
    expect(inflated).toBe(1);
    readInto(image.io, base + 5, 8).sync();
    expect(inflated).toBe(1);
    const { holes, good } = readPartial(image.io, base - 100, 200).sync();
    expect(holes.map(({ start, end, state }) => [start, end, state])).toEqual([[0, 100, "outside"]]);
    expect(good).toMatchObject([{ start: 100, end: 200 }]);
    expect(readPartial(image.io, base - 100, 50).sync().holes).toMatchObject([
      { start: 0, end: 50, state: "outside" },
    ]);
    expect(openBytes(write({ ...arm, release: "" })).map.stateOf(0)).toBe("present");
  });

  it.each<[number, Partial<KdumpOptions>, string | undefined]>([
    [336, {}, "x86_64"],
    [376, {}, "riscv64"],
    [392, {}, "aarch64"],
    [504, {}, "ppc64"],
    [336, { bigEndian: true }, "s390x"],
    [504, { bigEndian: true }, "ppc64"],
    [144, { abi: "i386" }, "i386"],
    [148, { abi: "i386" }, "arm"],
    [200, {}, undefined],
  ])(
    "whose name QEMU does not know is told by its registers: %i bytes, %o",
    (size, options, architecture) => {
      const note = elfNotes([{ name: "CORE", type: 1, description: new Uint8Array(size) }]);
      const bytes = options.bigEndian === true ? swapped(note) : note;
      for (const machine of ["Unknown", ""]) {
        const image = openBytes(write({ machine, release: "", notes: bytes, ...options }));
        expect(image.notes.architecture).toBe(architecture);
        // Its notes are in its byte order.
        expect(image.warnings).toEqual([]);
      }
      expect(openBytes(write({ machine: "m68k", notes: bytes, ...options })).notes.architecture).toBe(
        undefined,
      );
    },
  );
});

/** A note's header in the other byte order. */
function swapped(note: Uint8Array): Uint8Array {
  const copy = note.slice();
  for (const at of [0, 4, 8]) copy.subarray(at, at + 4).reverse();
  return copy;
}

describe("a diskdump", () => {
  const old = { signature: "DISKDUMP", version: 1 };

  it("has flags of its own: 8 says compressed, 1 incomplete", () => {
    const whole = openBytes(write({ ...old, status: 8 }));
    expect(whole.details).toMatchObject({ compression: "zlib", incomplete: false });
    expect(whole.warnings).toEqual([]);
    const partly = openBytes(write({ ...old, status: 1, unwritten: [3] }));
    expect(partly.details).toMatchObject({ compression: "none", incomplete: true });
    expect(partly.map.reasonOf(3 * PAGE)).toBe("incomplete");
  });

  it("has no dump level, notes or parts, whatever lies where kdump has them", () => {
    const image = openBytes(write({ ...old, version: 6, notes, vmcoreinfo, part: { start: 0, end: 9 } }));
    expect(image.details).toMatchObject({ dumpLevel: 0, split: false });
    expect(image.notes.vmcoreinfo).toBe(undefined);
    expect(image.notes.cpus).toEqual([]);
    expect(readInto(image.io, PAGE, PAGE).sync()).toEqual(pattern(PAGE, 1));
  });
});

describe("a header that makes no sense", () => {
  it("is reported by the layout that is likeliest", () => {
    const narrow = write({ abi: "arm", machine: "armv7l" });
    new DataView(narrow.buffer).setUint32(416, 1000, true);
    expect(() => openBytes(narrow)).toThrow(expect.objectContaining({ field: "block_size", offset: 416 }));
    const big = write({ bigEndian: true, machine: "s390x" });
    new DataView(big.buffer).setUint32(428, 1000, false);
    expect(() => openBytes(big)).toThrow(expect.objectContaining({ field: "block_size", offset: 428 }));
    expect(() => openBytes(big)).toThrow(/1000: must be a power of two/);
  });
});
