/** What QEMU's `dump-guest-memory -z` writes, as seen in its files. */
import { describe, expect, it } from "vitest";
import type { DumpImage } from "../../src/formats/index.js";
import { readInto, readPartial } from "../../src/io/index.js";
import { findKernel } from "../../src/linux/index.js";
import { PhysicalMemory } from "../../src/memory/index.js";
import { pattern } from "../support/bytes.js";
import { openBytes } from "../support/dump.js";
import { flatten } from "../support/flatten.js";
import { text } from "../support/formats/text.js";
import { DummyKernel } from "../support/kernel.js";
import { elfNotes } from "../support/write-elf.js";
import { type KdumpOptions, type KdumpPage, writeKdump } from "../support/write-kdump.js";

const PAGE = 4096;

/** A file as QEMU writes it: flattened, no release, both bitmaps alike, one body of zeros, level 1, "zlib". */
function writeLikeQemu(
  pages: readonly { readonly pfn: number; readonly bytes: Uint8Array }[],
  options: Partial<KdumpOptions> & { readonly maxPages: number },
): Uint8Array {
  const stored = pages.map(({ pfn, bytes }): KdumpPage => {
    return { pfn, bytes, stored: bytes.every((byte) => byte === 0) ? "zero" : "raw" };
  });
  const file = writeKdump(stored, {
    release: "",
    dumpLevel: 1,
    status: 1,
    sameBitmaps: true,
    timestamp: 0,
    ...options,
  });
  return flatten(file, { blockSize: 70_000, rewrite: false });
}

const pagesOf = (ram: Uint8Array) =>
  Array.from({ length: ram.length / PAGE }, (_, pfn) => ({
    pfn,
    bytes: ram.subarray(pfn * PAGE, (pfn + 1) * PAGE),
  }));

describe("QEMU's dump of a kernel", () => {
  const kernel = new DummyKernel();
  const image: DumpImage = openBytes(
    writeLikeQemu(pagesOf(kernel.ram), {
      maxPages: 2048,
      vmcoreinfo: kernel.note,
      // A decimal that QEMU took for hexadecimal.
      physBase: -15370438006,
    }),
  );

  it("is read where its blocks lie, though it is flattened, and keeps its slab", () => {
    expect(image.details).toMatchObject({ flattened: true, release: "" });
    expect(Buffer.compare(readInto(image.io, 0, kernel.ram.length).sync(), kernel.ram)).toBe(0);
    expect(image.slab).toBeDefined();
    expect(image.warnings).toEqual([]);
  });

  it("names zlib though its pages are stored as they are", () => {
    expect(image.details).toMatchObject({ compression: "zlib", compressionOfLastPages: "stored" });
    const none = openBytes(writeLikeQemu(pagesOf(kernel.ram.subarray(0, 8 * PAGE)), { maxPages: 8 }), {
      decoders: {},
    });
    expect(readInto(none.io, 0, 8 * PAGE).sync()).toEqual(kernel.ram.slice(0, 8 * PAGE));
  });

  it("has a wrong phys_base, which nobody takes for the kernel's", () => {
    expect(image.notes.physBase).toBe(-15370438006);
    const memory = new PhysicalMemory(image.io, { map: image.map, slab: image.slab });
    const linux = findKernel(memory, { map: image.map, note: image.notes.vmcoreinfo }).sync();
    expect(linux.physBase).toBe(Number(kernel.physBase));
    expect(linux.origin).toMatchObject({ vmcoreinfo: "note", verified: true });
  });

  it("can't tell what it left out from what is no RAM, and says so", () => {
    const [present, missing] = [...image.map.ranges()];
    expect(present).toMatchObject({ start: 0, end: kernel.ram.length, state: "present" });
    expect(missing).toMatchObject({ end: 2048 * PAGE, state: "excluded", reason: "or outside" });
    expect(image.details.tellsOutsideFromExcluded).toBe(false);
  });

  it("marks its pages of zeros", () => {
    const empty = pagesOf(kernel.ram).filter(({ bytes }) => bytes.every((byte) => byte === 0));
    expect(empty.length).toBeGreaterThan(0);
    expect(image.mapWithZeros?.().sync().bytesZero).toBe(empty.length * PAGE);
  });
});

describe("QEMU's dump of an arm64 guest", () => {
  const BLOCK = 65_536;
  const GIB = 2 ** 30;
  const ram = [0, 1, 3].map((i) => ({ pfn: GIB / BLOCK + i, bytes: pattern(BLOCK, i) }));
  const registers = new Uint8Array(392);
  const view = new DataView(registers.buffer);
  view.setUint32(32, 1, true);
  for (let i = 0; i < 34; i++) view.setBigUint64(112 + 8 * i, BigInt(1000 + i), true);
  const image = openBytes(
    writeLikeQemu(ram, {
      blockSize: BLOCK,
      maxPages: GIB / BLOCK + 4,
      machine: "Unknown",
      physBase: GIB,
      vmcoreinfo: text("OSRELEASE=6.1\nPAGESIZE=4096\n"),
      notes: elfNotes([{ name: "CORE", type: 1, description: registers }]),
    }),
  );

  it("has blocks of 64 KiB, and the guest's pages are those of VMCOREINFO", () => {
    expect(image.details.blockSize).toBe(BLOCK);
    expect(image.notes.pageSize).toBe(4096);
    expect(image.slab?.pageSize).toBe(4096);
  });

  it("has RAM from 1 GiB on", () => {
    expect(readInto(image.io, GIB + 100, BLOCK).sync()).toEqual(
      Uint8Array.from([...pattern(BLOCK, 0).subarray(100), ...pattern(BLOCK, 1).subarray(0, 100)]),
    );
    expect(readPartial(image.io, GIB - 8, 8).sync().holes).toMatchObject([{ state: "excluded" }]);
    expect(image.map.bytesPresent).toBe(3 * BLOCK);
  });

  it("is known by its registers, since its header does not name it", () => {
    expect(image.notes.architecture).toBe("aarch64");
    expect(image.notes.cpus[0]?.registers).toMatchObject({ x0: 1000n, sp: 1031n, pc: 1032n });
  });
});
