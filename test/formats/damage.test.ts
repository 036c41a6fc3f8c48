import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { nodeDecoders } from "../../connectors/node-decoders.js";
import { type DumpImage, FormatError, openDump } from "../../src/formats/index.js";
import { readPartial } from "../../src/io/index.js";
import { pattern } from "../support/bytes.js";
import { openBytes, testFile } from "../support/dump.js";
import { flatten } from "../support/flatten.js";
import { elfNotes, prstatus, qemuState, writeElf } from "../support/write-elf.js";
import { writeKdump } from "../support/write-kdump.js";

const text = (value: string) => Uint8Array.from(value, (c) => c.charCodeAt(0));
const notes = [
  prstatus(1, 100),
  qemuState(100, 0x1000),
  { name: "VMCOREINFO", type: 0, description: text("OSRELEASE=6.1\nPAGESIZE=4096\n") },
];

const elf = writeElf(
  [
    { physical: 0x1000, bytes: pattern(300, 1) },
    { physical: 0x3000, bytes: pattern(200, 2), memorySize: 400 },
    { physical: 0x0, bytes: pattern(64, 3) },
  ],
  { notes, likeQemu: true },
);
const kdump = writeKdump(
  [0, 1, 3, 4, 9].map((pfn) => ({
    pfn,
    bytes: pattern(512, pfn),
    stored: pfn === 3 ? ("raw" as const) : "zlib",
  })),
  {
    blockSize: 512,
    maxPages: 11,
    leftOut: [2, 5],
    vmcoreinfo: text("PAGESIZE=4096\n"),
    notes: elfNotes(notes),
  },
);
const flattened = flatten(kdump, { blockSize: 600, seed: 7, rewrite: true });

const SIZE = 0x4000;

/** Every byte that can be read of a damaged dump; the rest is undefined. Fails on anything but a clear error. */
function readAll(file: Uint8Array): (number | undefined)[] | FormatError {
  let image: DumpImage;
  try {
    image = openBytes(file);
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    expect(error.message).toMatch(/^test\.dump/);
    return error;
  }
  const out = new Array<number | undefined>(SIZE);
  const { bytes, good, holes } = readPartial(image.io, 0, SIZE).sync();
  let covered = 0;
  for (const { start, end } of good) {
    covered += end - start;
    for (let i = start; i < end; i++) out[i] = bytes[i];
  }
  for (const { start, end, state } of holes) {
    covered += end - start;
    expect(state).not.toBe("unanswered");
  }
  expect(covered).toBe(SIZE);
  let at = 0;
  for (const { start, end } of image.map.ranges()) {
    expect(start).toBeGreaterThanOrEqual(at);
    expect(end).toBeGreaterThan(start);
    at = end;
  }
  return out;
}

describe.each([
  ["ELF core", elf],
  ["kdump", kdump],
  ["flattened kdump", flattened],
])("%s", (name, file) => {
  const whole = readAll(file) as (number | undefined)[];

  it("cut at any byte gives an error that names the file, or bytes that are the dump's", () => {
    expect(whole).not.toBeInstanceOf(FormatError);
    // Every byte of headers, and some of the flattened form's 4096 byte header.
    for (
      let length = 1;
      length < file.length;
      length += length > 32 && length < 4000 && name[0] === "f" ? 97 : 1
    ) {
      const cut = readAll(file.subarray(0, length));
      // A file so short that its magic is gone is a raw image.
      if (cut instanceof FormatError || length < 16) continue;
      for (let i = 0; i < SIZE; i++) {
        if (cut[i] !== undefined && cut[i] !== whole[i])
          expect({ length, i, byte: cut[i] }).toEqual({ length, i, byte: whole[i] });
      }
    }
  });

  it("cut anywhere says so in a warning or an error", () => {
    for (let length = 600; length < file.length; length += 13) {
      let warnings: readonly string[];
      try {
        warnings = openBytes(file.subarray(0, length)).warnings;
      } catch (error) {
        expect((error as FormatError).code).toMatch(/TRUNCATED_DUMP|MALFORMED_DUMP/);
        continue;
      }
      // kdump's page data are indexed by descriptors that are read on demand: pages fail, and nothing is said before.
      if (name === "ELF core") expect(warnings.join()).toMatch(/the file ends|missing/);
      if (name === "flattened kdump") expect(warnings.join()).toMatch(/cut short/);
    }
  });

  it("with any header field set to 0, 1, its maximum or minimum neither hangs nor crashes", () => {
    const interesting = name === "flattened kdump" ? [16, 24, 4096, 4104] : undefined;
    const end = Math.min(file.length, name === "ELF core" ? 2400 : 1600);
    for (let at = 0; at < end; at += 4) {
      if (interesting !== undefined && at < 4200 && !interesting.includes(at)) continue;
      for (const width of [4, 8]) {
        for (const value of [
          0n,
          1n,
          -1n,
          1n << BigInt(8 * width - 1),
          (1n << BigInt(8 * width - 1)) - 1n,
          1n << 52n,
        ]) {
          const damaged = file.slice();
          const view = new DataView(damaged.buffer);
          if (at + width > file.length) continue;
          if (width === 4) view.setUint32(at, Number(BigInt.asUintN(32, value)), true);
          else view.setBigUint64(at, BigInt.asUintN(64, value), name !== "flattened kdump");
          readAll(damaged);
        }
      }
    }
  }, 60_000);

  it("with any bytes changed neither hangs nor crashes", () => {
    const change = fc.tuple(fc.nat(file.length - 1), fc.nat(255));
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 6 }), (changes) => {
        const damaged = file.slice();
        for (const [at, byte] of changes) damaged[at] = byte;
        readAll(damaged);
      }),
      { numRuns: 1500 },
    );
  }, 60_000);

  it("with any bytes changed answers asynchronously too", async () => {
    const change = fc.tuple(fc.nat(Math.min(file.length - 1, 6000)), fc.nat(255));
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 6 }), async (changes) => {
        const damaged = file.slice();
        for (const [at, byte] of changes) damaged[at] = byte;
        try {
          const image = await openDump(testFile(damaged, "async"), { decoders: nodeDecoders });
          const { good, holes } = await readPartial(image.io, 0, SIZE);
          const covered = [...good, ...holes].reduce((sum, range) => sum + range.end - range.start, 0);
          expect(covered).toBe(SIZE);
        } catch (error) {
          if (!(error instanceof FormatError)) throw error;
        }
      }),
      { numRuns: 150 },
    );
  });
});

describe("claims that the file cannot hold", () => {
  /** Fails unless an error names the field, without much memory having been asked for. */
  const refuses = (file: Uint8Array, field: string | RegExp) => {
    let error: unknown;
    try {
      openBytes(file);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(FormatError);
    expect((error as FormatError).message).toMatch(field);
  };

  const kdumpWith = (at: number, width: 4 | 8, value: bigint) => {
    const file = kdump.slice();
    const view = new DataView(file.buffer);
    if (width === 4) view.setUint32(at, Number(BigInt.asUintN(32, value)), true);
    else view.setBigUint64(at, BigInt.asUintN(64, value), true);
    return file;
  };

  it("a bitmap of terabytes is an error, not an allocation", () => {
    refuses(kdumpWith(436, 4, -1n), /bitmap_blocks.*the bitmaps end at/);
  });

  it("a sub-header of terabytes is an error, not an allocation", () => {
    refuses(kdumpWith(432, 4, 0x7fffffffn), /the bitmaps end at/);
    refuses(kdumpWith(432, 4, -1n), /sub_hdr_size/);
  });

  it("an offset of VMCOREINFO of 2^53 and more names the field and its place in the file", () => {
    try {
      openBytes(kdumpWith(512 + 32, 8, -1n));
      expect.unreachable();
    } catch (error) {
      expect(error).toMatchObject({ code: "MALFORMED_DUMP", field: "offset_vmcoreinfo", offset: 512 + 32 });
    }
  });

  it("more pages than the bitmap has bits are cut, with a warning", () => {
    const image = openBytes(kdumpWith(512 + 96, 8, 1n << 40n));
    expect(image.warnings.join()).toMatch(/max_mapnr says 1099511627776 pages/);
    expect(image.map.end).toBeLessThanOrEqual(2 * 512 * 8 * 512);
  });

  it("notes beyond the end of the file are a warning, and the memory is readable", () => {
    const image = openBytes(kdumpWith(512 + 56, 8, 1n << 45n));
    expect(image.warnings.join()).toMatch(/size_note/);
    expect(readPartial(image.io, 0, 512).sync().holes).toEqual([]);
  });

  it("program headers beyond the end of the file name e_phoff", () => {
    const file = elf.slice();
    new DataView(file.buffer).setBigUint64(32, 1n << 40n, true);
    refuses(file, /e_phoff.*program headers at 0x10000000000/);
  });

  it("four thousand million program headers are as many as the file has room for", () => {
    const file = writeElf([{ physical: 0x1000, bytes: pattern(100, 1) }], { extended: true });
    new DataView(file.buffer).setUint32(64 + 44, 0xffffffff, true);
    expect(openBytes(file).warnings.join()).toMatch(/e_phnum is 4294967295/);
  });

  it("a segment at 2^53 and beyond is ignored with a warning, and the others are read", () => {
    const bytes = pattern(100, 1);
    for (const segment of [
      { physical: 1n << 53n, bytes },
      { physical: 0x9000, bytes, offset: -1n },
      { physical: 0x9000, bytes, fileSize: -1n },
      { physical: 0x9000, bytes, memorySize: 1n << 63n },
    ]) {
      const image = openBytes(writeElf([segment, { physical: 0x1000, bytes }]));
      expect(image.warnings.join()).toMatch(/program header 1: p_\w+ 0x[0-9a-f]+ is beyond 2\^53/);
      expect(readPartial(image.io, 0x1000, 100).sync().holes).toEqual([]);
    }
  });

  it("notes that claim more than there is are cut, and those before them kept", () => {
    const long = elfNotes([...notes, { name: "X", type: 0, description: new Uint8Array(8) }]);
    new DataView(long.buffer).setUint32(long.length - 8 - 4 - 8, 0xffffffff, true);
    const image = openBytes(writeKdump([], { blockSize: 4096, maxPages: 1, notes: long }));
    expect(image.notes.cpus).toHaveLength(1);
    expect(image.warnings.join()).toMatch(/ELF note at file offset/);
  });
});
