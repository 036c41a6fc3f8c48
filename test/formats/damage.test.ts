import { describe, expect, it } from "vitest";
import { FormatError } from "../../src/formats/index.js";
import { readPartial } from "../../src/io/index.js";
import { pattern } from "../support/bytes.js";
import { openBytes } from "../support/dump.js";
import { elfCore } from "../support/formats/elf-core.js";
import { smallKdump as kdump } from "../support/formats/kdump.js";
import { elfNotes, prstatus, writeElf } from "../support/write-elf.js";
import { writeKdump } from "../support/write-kdump.js";

const elf = elfCore.small.file;

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
    const long = elfNotes([prstatus(1, 100), { name: "X", type: 0, description: new Uint8Array(8) }]);
    new DataView(long.buffer).setUint32(long.length - 8 - 4 - 8, 0xffffffff, true);
    const image = openBytes(writeKdump([], { blockSize: 4096, maxPages: 1, notes: long }));
    expect(image.notes.cpus).toHaveLength(1);
    expect(image.warnings.join()).toMatch(/ELF note at file offset/);
  });
});
