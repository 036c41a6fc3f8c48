/** Dumps whose size, not whose damage, is the difficulty: each takes seconds to minutes if work is not linear. */
import { describe, expect, it } from "vitest";
import { dumpFile, openDump } from "../../src/formats/index.js";
import { type PacketIo, readPartial } from "../../src/io/index.js";
import { pattern } from "../support/bytes.js";
import { openBytes } from "../support/dump.js";
import { flatten } from "../support/flatten.js";
import { prstatus, writeElf } from "../support/write-elf.js";
import { writeKdump } from "../support/write-kdump.js";
import { writeWindowsDump } from "../support/write-windows-dump.js";

const PAGE = 512;

/** A kdump file of `pages` pages, all RAM, of which every second is stored; no descriptor says anything. */
function scattered(pages: number): Uint8Array {
  const head = writeKdump([], { blockSize: PAGE, maxPages: pages, dumpLevel: 1 });
  const file = new Uint8Array(head.length + (pages / 2) * 24);
  file.set(head);
  const bitmap = pages / 8;
  const at = head.length - 2 * bitmap;
  file.fill(0xff, at, at + bitmap);
  file.fill(0x55, at + bitmap, head.length);
  return file;
}

describe("a kdump file with pages left out all over RAM", () => {
  const pages = 2 ** 20;
  const file = scattered(pages);

  it("has a map in time that grows with it, not with its square", () => {
    const image = openBytes(file);
    expect(image.map.length).toBe(pages);
    expect(image.map.stateOf(PAGE)).toBe("excluded");
    expect(image.map.end).toBe(pages * PAGE);
  });

  it("is read in time that grows with it, not with its square", () => {
    const image = openBytes(file);
    const { good, holes } = readPartial(image.io, 0, pages * PAGE).sync();
    expect(good).toEqual([]);
    expect(holes.at(-1)?.end).toBe(pages * PAGE);
  });
});

describe("a Windows dump whose bitmap has every second page of 128 GiB", () => {
  const pages = 2 ** 25;
  const head = writeWindowsDump([], { type: 5, descriptor: "unset", bitmapPages: pages });
  const bitmapAt = 0x2038;
  head.fill(0x55, bitmapAt, bitmapAt + pages / 8);
  new DataView(head.buffer).setBigUint64(0x2028, BigInt(pages / 2), true);
  let read = 0;
  const io: PacketIo<number> = {
    sendIo: (offset, view) => {
      read += view.length;
      const bytes = new Uint8Array(view.length);
      bytes.set(head.subarray(offset, offset + view.length));
      view.transfer(bytes);
    },
  };

  it("is opened by reading its bitmap, and its map counts what it has", () => {
    const image = openDump(dumpFile(io, head.length + (pages / 2) * 4096, "large")).sync();
    expect(read).toBeLessThan(pages / 8 + 100_000);
    expect(image.map.bytesPresent).toBe((pages / 2) * 4096);
    expect(image.map.nextInside((pages - 2) * 4096)).toBe((pages - 2) * 4096);
    expect(image.map.stateOf((pages - 1) * 4096)).toBe("excluded");
  });
});

describe("a flattened dump whose copy stopped, in a file that was made as long as it should be", () => {
  it("ends where the zeros begin", () => {
    const kdump = writeKdump([{ pfn: 0, bytes: pattern(PAGE, 1) }], { blockSize: PAGE, maxPages: 1 });
    const stream = flatten(kdump, { endMarker: false });
    const file = new Uint8Array(stream.length + 64 * 2 ** 20);
    file.set(stream);
    const image = openBytes(file);
    expect(image.warnings.join()).toMatch(/cut short/);
    expect(image.details.flattenedBlocks).toBeLessThan(100);
    expect(readPartial(image.io, 0, PAGE).sync().bytes).toEqual(pattern(PAGE, 1));
  });
});

describe("an ELF core with a thousand note segments that are all the same 16 MiB", () => {
  it("has 64 MiB of notes read, not 16 GiB", () => {
    const notes = [
      prstatus(1, 100),
      { name: "BIG", type: 7, description: new Uint8Array(16 * 2 ** 20 - 1024) },
    ];
    const file = writeElf([{ physical: 0, bytes: pattern(100, 1) }], { notes, extraNoteHeaders: 1000 });
    const image = openBytes(file);
    expect(image.notes.cpus.length).toBeLessThanOrEqual(5);
    expect(image.warnings.join()).toMatch(/notes of more than 67108864 bytes/);
  });
});

describe("an ELF core that claims four thousand million program headers, in a sparse file that has room for them", () => {
  it("is refused before they are read", () => {
    const head = writeElf([{ physical: 0, bytes: pattern(100, 1) }], { extended: true });
    new DataView(head.buffer).setUint32(64 + 44, 0xffffffff, true);
    let read = 0;
    const io: PacketIo<number> = {
      sendIo: (offset, view) => {
        read += view.length;
        const bytes = new Uint8Array(view.length);
        bytes.set(head.subarray(offset, offset + view.length));
        view.transfer(bytes);
      },
    };
    expect(() => openDump(dumpFile(io, 2 ** 40, "sparse")).sync()).toThrow(
      /e_phnum.*4294967295 program headers/,
    );
    expect(read).toBeLessThan(2 ** 20);
  });
});
