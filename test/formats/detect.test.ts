import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { detectFormat, dumpFile, openDump, rearrange } from "../../src/formats/index.js";
import { Io, MemoryIo, readInto, readPartial, Scheduler, write } from "../../src/io/index.js";
import { pattern } from "../support/bytes.js";
import { openBytes, testFile } from "../support/dump.js";
import { flatten } from "../support/flatten.js";
import { writeAvml } from "../support/write-avml.js";
import { writeElf } from "../support/write-elf.js";
import { writeKdump } from "../support/write-kdump.js";
import { writeLime } from "../support/write-lime.js";
import { writeZstdSeekable } from "../support/write-zstd-seekable.js";

const latin1 = (text: string) => Uint8Array.from({ length: 5000 }, (_, i) => text.charCodeAt(i) || 0);
const kdump = writeKdump([{ pfn: 0, bytes: pattern(4096, 2) }], { maxPages: 1 });

it.each([
  ["raw", pattern(100, 1)],
  ["raw", Uint8Array.of(7)],
  ["elf-core", writeElf([{ physical: 0, bytes: pattern(10, 1) }])],
  ["kdump", kdump],
  ["flattened", flatten(kdump)],
  ["avml", writeAvml([{ start: 0, bytes: pattern(10, 1) }])],
  ["lime", writeLime([{ start: 0, bytes: pattern(10, 1) }])],
  ["zstd-seekable", writeZstdSeekable(kdump, { frame: 1000 })],
  ["lime", writeLime([{ start: 0, bytes: pattern(10, 1) }], true)],
  ["qemu-stream", latin1("QEVM\0\0\0\x03")],
  ["libvirt-save", latin1("LibvirtQemudSave")],
  ["libvirt-save", latin1("LibvirtQemudPart")],
])("detects %s by content", async (name, file) => {
  expect(await detectFormat(testFile(file))).toBe(name);
  expect(detectFormat(testFile(file)).sync()).toBe(name);
});

it("the name .vmem says what a file is only where its content does not", async () => {
  const lime = writeLime([{ start: 0x10_0000, bytes: pattern(10, 1) }]);
  expect(await detectFormat(testFile(lime, "sync", "guest.vmem"))).toBe("lime");
  expect(await detectFormat(testFile(pattern(100, 1), "sync", "guest.vmem"))).toBe("vmware");
  const gzip = testFile(gzipSync(pattern(5000, 1)), "sync", "guest.vmem");
  expect(() => detectFormat(gzip).sync()).toThrow(/gzip/);
});

describe("formats that are known and not read", () => {
  it.each([["qcow2 disk image", "QFI\xfb", /a disk, not memory/]])(
    "%s is refused by name, with what to do",
    (name, magic, advice) => {
      const file = latin1(magic);
      for (const attempt of [() => detectFormat(testFile(file)).sync(), () => openBytes(file)]) {
        expect(attempt).toThrow(expect.objectContaining({ code: "UNSUPPORTED_FORMAT" }));
        expect(attempt).toThrow(`this is a ${name} file`);
        expect(attempt).toThrow(advice);
      }
      expect(openBytes(file, { format: "raw" }).format).toBe("raw");
    },
  );

  it("RAM that begins like none of them is raw", () => {
    for (const start of ["BZh hello", "\x1f\x8b", "EMiX", "LiME is a fruit"])
      expect(openBytes(latin1(start)).format).toBe("raw");
  });
});

it("an empty file is an error that says so", () => {
  expect(() => openBytes(new Uint8Array(0))).toThrow(
    expect.objectContaining({
      code: "EMPTY_DUMP",
      message: "test.dump: the file is empty; copy the dump again",
    }),
  );
});

it("a format that is forced is not detected, and one that isn't there lists those that are", () => {
  expect(openBytes(kdump, { format: "raw" }).io).toBeDefined();
  expect(() => openBytes(kdump, { format: "dmg" })).toThrow(
    /no format is called "dmg"; there are elf-core, kdump/,
  );
  expect(() => openBytes(pattern(1000, 1), { format: "elf-core" })).toThrow(/EI_CLASS/);
});

it("containers in each other end with an error, not with a hang", () => {
  let file = kdump;
  for (let i = 0; i < 3; i++) file = flatten(file, { blockSize: 100_000 });
  expect(openBytes(file).map.bytesPresent).toBe(4096);
  file = flatten(file, { blockSize: 100_000 });
  expect(() => openBytes(file)).toThrow(/more than 4 containers/);
});

describe("raw images", () => {
  it("a length that is no multiple of a page works, and ends where it ends", () => {
    const bytes = pattern(4096 + 123, 1);
    const image = openBytes(bytes, { format: "raw" });
    const { bytes: got, holes } = readPartial(image.io, 4000, 1000).sync();
    expect(got.subarray(0, 219)).toEqual(bytes.subarray(4000));
    expect(holes).toMatchObject([{ start: 219, end: 1000, state: "outside" }]);
    expect(image.map.end).toBe(4219);
  });

  it("can be written where the file can", () => {
    const memory = new MemoryIo(new Uint8Array(100));
    const image = openDump(dumpFile(memory, 100, "writable"), { format: "raw" }).sync();
    write(image.io, 10, Uint8Array.of(1, 2, 3)).sync();
    expect(readInto(image.io, 9, 5).sync()).toEqual(Uint8Array.of(0, 1, 2, 3, 0));
  });
});

describe("flattened files", () => {
  it("what a complete one skipped reads as zeros, as makedumpfile -R would leave it", () => {
    const pages = [0, 5].map((pfn) => ({ pfn, bytes: new Uint8Array(4096), stored: "raw" as const }));
    const file = flatten(writeKdump(pages, { maxPages: 6 }), { sparse: true, blockSize: 500 });
    expect(file.length).toBeLessThan(12_000);
    expect(readInto(openBytes(file).io, 5 * 4096, 4096).sync()).toEqual(new Uint8Array(4096));
  });

  it("what one that was cut lacks is missing, not zeros", () => {
    const pages = [0, 5].map((pfn) => ({ pfn, bytes: pattern(4096, 1), stored: "raw" as const }));
    const inner = writeKdump(pages, { maxPages: 6 });
    const blocks = (size: number) => Math.ceil(inner.length / size);
    const size = 2000;
    // In order, without its last two blocks.
    const whole = flatten(inner, { blockSize: 1, seed: 1 });
    expect(whole.length).toBe(4096 + inner.length * 17 + 16);
    const header = whole.slice(0, 4096);
    const parts: Uint8Array[] = [header];
    for (let i = 0; i < blocks(size) - 2; i++) {
      const block = new Uint8Array(16 + size);
      const view = new DataView(block.buffer);
      view.setBigInt64(0, BigInt(i * size));
      view.setBigInt64(8, BigInt(size));
      block.set(inner.subarray(i * size, (i + 1) * size), 16);
      parts.push(block);
    }
    const file = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of parts) {
      file.set(part, at);
      at += part.length;
    }
    const image = openBytes(file);
    expect(image.warnings.join()).toMatch(/cut short/);
    const { holes } = readPartial(image.io, 5 * 4096, 4096).sync();
    expect(holes.at(-1)).toMatchObject({ end: 4096, state: "excluded" });
    expect(readInto(image.io, 0, 4096).sync()).toEqual(pattern(4096, 1));
  });

  it("a size of 2^62, a negative offset or a negative size ends the index there, with a warning", () => {
    for (const [at, value] of [
      [0, -5n],
      [8, -5n],
      [8, 1n << 62n],
    ] as const) {
      const file = flatten(kdump, { blockSize: 100_000 });
      const bad = new Uint8Array(16);
      new DataView(bad.buffer).setBigInt64(at, value);
      const joined = new Uint8Array([...file.subarray(0, file.length - 16), ...bad]);
      const image = openBytes(joined);
      expect(image.warnings.join()).toMatch(/cut short: the block header at 0x/);
      expect(readInto(image.io, 0, 4096).sync()).toEqual(pattern(4096, 2));
    }
  });

  it("another type or version is refused", () => {
    const file = flatten(kdump);
    file[31] = 2;
    expect(() => openBytes(file)).toThrow(/version at file offset 0x18: 2, where makedumpfile writes 1/);
  });

  it("what lies behind the last block is outside, not zeros", () => {
    const file = testFile(flatten(kdump));
    const inner = Io.of(file.scheduler ?? new Scheduler(), rearrange, file).sync();
    for (const at of [inner.size - 4, inner.size, inner.size + 1000]) {
      const missing = Math.max(0, inner.size - at);
      const { holes } = readPartial(inner, at, 8).sync();
      expect(holes).toMatchObject([{ start: missing, end: 8, state: "outside" }]);
    }
  });
});
