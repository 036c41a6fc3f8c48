import { deflateSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { nodeDecoders } from "../../connectors/node-decoders.js";
import { type Decoders, dumpFile, openDump } from "../../src/formats/index.js";
import {
  all,
  EXCLUDED_REASONS,
  fault,
  faultFields,
  MemoryIo,
  Packet,
  type PacketIo,
  type PartialTransfer,
  readInto,
  readPartial,
  toCallback,
  withSplitting,
  writePartial,
} from "../../src/io/index.js";
import { PhysicalMemory } from "../../src/memory/index.js";
import { pattern, random } from "../support/bytes.js";
import { expectImage, ImageModel, openBytes, testFile } from "../support/dump.js";
import { elfNotes, prstatus, qemuState } from "../support/write-elf.js";
import { type KdumpPage, writeKdump } from "../support/write-kdump.js";

const PAGE = 4096;
const page = (pfn: number, stored?: KdumpPage["stored"]): KdumpPage => ({
  pfn,
  bytes: pattern(PAGE, pfn),
  ...(stored === undefined ? {} : { stored }),
});
const many = (count: number) => Array.from({ length: count }, (_, pfn) => page(pfn));
const reasonOf = (fault: number) =>
  faultFields(fault).state === "excluded" ? EXCLUDED_REASONS[faultFields(fault).detail] : undefined;
const only = (transfer: PartialTransfer) =>
  transfer.holes.map(({ start, end, state }) => [start, end, state]);

describe("reading pages", () => {
  const count = 2000;
  const file = writeKdump(many(count), { maxPages: count });

  it("N reads anywhere cost two batches of the file: descriptors, then data", async () => {
    for (const mode of ["sync", "async"] as const) {
      const source = testFile(file, mode);
      const image = await openDump(source, { decoders: nodeDecoders });
      const before = source.source.counters.batches;
      const next = random(5);
      const addresses = Array.from({ length: 1000 }, () => next(count) * PAGE + next(PAGE - 8));
      const results = await all(addresses.map((at) => readInto(image.io, at, 8)));
      expect(source.source.counters.batches - before).toBe(2);
      for (const [i, at] of addresses.entries()) {
        const offset = at % PAGE;
        expect(results[i]).toEqual(pattern(PAGE, Math.floor(at / PAGE)).slice(offset, offset + 8));
      }
    }
  });

  it("a long read costs two batches, with pages that follow each other read as one", () => {
    // Even seeds: pages that compress.
    const pages = Array.from({ length: count }, (_, pfn) => ({ pfn, bytes: pattern(PAGE, 2 * pfn) }));
    const source = testFile(writeKdump(pages, { maxPages: count }));
    const image = openDump(source, { decoders: nodeDecoders }).sync();
    const before = source.source.counters;
    readInto(image.io, 0, count * PAGE).sync();
    const { batches, fragments } = source.source.counters;
    expect(batches - before.batches).toBe(2);
    // One for 256 descriptors each, and not many more.
    expect(fragments - before.fragments).toBeLessThan(20);
  });

  it("several reads of one page decompress it once, and later ones not at all", async () => {
    let inflated = 0;
    const decoders: Decoders = {
      inflate: (input, length) => {
        inflated++;
        return (nodeDecoders.inflate as NonNullable<Decoders["inflate"]>)(input, length);
      },
    };
    const image = openBytes(file, { decoders });
    await all([readInto(image.io, 0, 8), readInto(image.io, 100, 8), readInto(image.io, 4000, 96)]);
    await readInto(image.io, 8, 8);
    expect(inflated).toBe(1);
  });

  it("keeps no more than its cache may hold, and none at all with 0", async () => {
    for (const [cacheBytes, expected] of [
      [0, 20],
      [2 * PAGE, 20],
      [16 * PAGE, 10],
    ] as const) {
      let inflated = 0;
      const decoders: Decoders = {
        inflate: (input, length) => {
          inflated++;
          return (nodeDecoders.inflate as NonNullable<Decoders["inflate"]>)(input, length);
        },
      };
      const image = openBytes(file, { decoders, cacheBytes });
      // Even pages: they are stored compressed.
      for (let round = 0; round < 2; round++) {
        for (let pfn = 0; pfn < 20; pfn += 2) readInto(image.io, pfn * PAGE, 8).sync();
      }
      expect(inflated).toBe(expected);
    }
  });

  it.each([4096, 65_536])(
    "keeps pages of blocks of %i bytes for whoever comes again, in one place",
    async (blockSize) => {
      let inflated = 0;
      const decoders: Decoders = {
        inflate: (input, length) => {
          inflated++;
          return (nodeDecoders.inflate as NonNullable<Decoders["inflate"]>)(input, length);
        },
      };
      const pages = Array.from({ length: 8 }, (_, pfn) => ({ pfn, bytes: pattern(blockSize, 2 * pfn) }));
      const image = openBytes(writeKdump(pages, { maxPages: 8, blockSize }), { decoders });
      const { io, map, slab } = image;
      const memory = new PhysicalMemory(io, { map, slab });
      const all = Uint8Array.from(pages.flatMap(({ bytes }) => [...bytes]));
      for (let round = 0; round < 2; round++) {
        expect(memory.read(0, all.length).sync()).toEqual(all);
        for (const pfn of [3, 5]) {
          const at = pfn * blockSize;
          expect(memory.read(at, 4096).sync()).toEqual(all.slice(at, at + 4096));
          expect(memory.read(at + 4090, 8).sync()).toEqual(all.slice(at + 4090, at + 4098));
          expect(await memory.read(at - 3000, 7000)).toEqual(all.slice(at - 3000, at + 4000));
        }
        expect(inflated).toBe(8);
      }
      expect(memory.cache?.slab).toBe(slab?.bytes);
      expect(slab?.size).toBe((8 * blockSize) / 4096);
    },
  );

  it("serves what it has kept when the caller's own reads push pages out meanwhile", () => {
    const blockSize = 16_384;
    const pages = Array.from({ length: 8 }, (_, pfn) => ({ pfn, bytes: pattern(blockSize, 2 * pfn) }));
    const image = openBytes(writeKdump(pages, { maxPages: 8, blockSize }), { cacheBytes: 4 * PAGE });
    readInto(image.io, 0, 8).sync();
    const packet = Packet.reading(blockSize);
    let told = 0;
    const output = toCallback(() => {
      told++;
      for (const pfn of [3, 4]) readInto(image.io, pfn * blockSize, 100).sync();
    });
    image.io.sendIo(0, packet.view().bind(output));
    // A page that is in no cache, so that it is driven.
    readInto(image.io, 7 * blockSize, 8).sync();
    expect(packet.holes()).toEqual([]);
    expect(packet.complete).toBe(true);
    expect(packet.bytes).toEqual(pattern(blockSize, 0));
    expect(told).toBeGreaterThan(1);
  });

  it("pages stored as they are go from the file to the caller, through any layer", () => {
    const stored = writeKdump(
      many(4).map(({ pfn }) => page(pfn, "raw")),
      { maxPages: 4 },
    );
    const image = openBytes(stored);
    const bytes = readInto(withSplitting(image.io, 100), 50, 4 * PAGE - 50).sync();
    expect(bytes).toEqual(Uint8Array.from(many(4).flatMap(({ bytes: b }) => [...b])).slice(50));
  });

  it("reads over a file that answers at once, in pieces, or out of order", async () => {
    const memory = new MemoryIo(file, { readOnly: true });
    const reversed: PacketIo<number> = {
      scheduler: memory.scheduler,
      sendIo: (offset, view) => {
        const tail = view.length > 1000 ? view.split(1000) : undefined;
        if (tail !== undefined) reversed.sendIo(offset + 1000, tail);
        memory.sendIo(offset, view);
      },
    };
    for (const io of [memory, withSplitting(memory, 7), reversed]) {
      const image = openDump(dumpFile(io, file.length, "pieces"), { decoders: nodeDecoders }).sync();
      const bytes = readInto(image.io, 10, 50 * PAGE).sync();
      expect(bytes.subarray(0, PAGE - 10)).toEqual(pattern(PAGE, 0).subarray(10));
      expect(bytes.subarray(-10)).toEqual(pattern(PAGE, 50).subarray(0, 10));
    }
  });

  it("bytes that a layer below drops are unanswered, not waited for", () => {
    const memory = new MemoryIo(file, { readOnly: true });
    let dropping = false;
    const io: PacketIo<number> = {
      scheduler: memory.scheduler,
      sendIo: (offset, view) => {
        if (!dropping) memory.sendIo(offset, view);
      },
    };
    const image = openDump(dumpFile(io, file.length, "dropping"), { decoders: nodeDecoders }).sync();
    dropping = true;
    expect(only(readPartial(image.io, 0, 100).sync())).toEqual([[0, 100, "unanswered"]]);
  });

  it("more than 64 MiB of compressed pages are read in turns, not all at once", async () => {
    const blockSize = 2 ** 20;
    const stored = { flags: 4, bytes: new Uint8Array(blockSize).fill(5) };
    const pages = Array.from({ length: 150 }, (_, pfn) => ({ pfn, bytes: stored.bytes, stored }));
    const source = testFile(writeKdump(pages, { maxPages: 150, blockSize }), "async");
    const image = await openDump(source, { decoders: { snappy: (input) => input }, cacheBytes: 0 });
    const before = source.source.counters.batches;
    const reads = await all(pages.map(({ pfn }) => readInto(image.io, pfn * blockSize + 7, 8)));
    for (const bytes of reads) expect(bytes).toEqual(new Uint8Array(8).fill(5));
    // Descriptors, then three turns.
    expect(source.source.counters.batches - before).toBe(4);
  });

  it("a read that is aborted before its descriptors came reads no data", async () => {
    const source = testFile(file, "async");
    const image = await openDump(source, { decoders: nodeDecoders });
    const listeners: (() => void)[] = [];
    const signal = {
      aborted: false,
      addEventListener: (_: "abort", listener: () => void) => void listeners.push(listener),
      removeEventListener: () => {},
    };
    const before = source.source.counters.batches;
    const reading = readPartial(image.io, 0, 8, { signal });
    const done = reading.promise();
    for (const listener of listeners) listener();
    expect(only(await done)).toEqual([[0, 8, "aborted"]]);
    expect(source.source.counters.batches - before).toBeLessThanOrEqual(1);
  });

  it("is read-only", () => {
    const { holes } = writePartial(openBytes(file).io, 0, new Uint8Array(8)).sync();
    expect(holes).toMatchObject([{ start: 0, end: 8, state: "read-only" }]);
  });
});

describe("damaged pages", () => {
  const deflated = (bytes: Uint8Array) => {
    const file = writeKdump([{ pfn: 0, bytes, stored: "zlib" }], { maxPages: 1 });
    return file.slice(4096 * 4 + 24);
  };

  it.each([
    ["too little", deflated(pattern(2048, 2))],
    ["too much", deflated(pattern(8192, 2))],
    ["garbage", pattern(200, 1)],
    ["an empty page", new Uint8Array(0)],
    ["more bytes than a page has", pattern(5000, 1)],
  ])("a page that decompresses to %s is malformed, and its neighbours are read", (_what, bytes) => {
    const file = writeKdump([page(0), page(1, { flags: 1, bytes }), page(2)], { maxPages: 3 });
    const transfer = readPartial(openBytes(file).io, 0, 3 * PAGE).sync();
    expect(only(transfer)).toEqual([[PAGE, 2 * PAGE, "malformed"]]);
    expect(transfer.bytes.subarray(0, PAGE)).toEqual(pattern(PAGE, 0));
    expect(transfer.bytes.subarray(2 * PAGE)).toEqual(pattern(PAGE, 2));
  });

  it("a page that decompresses to a gigabyte is refused before it is that long", () => {
    const bomb = new Uint8Array(deflateSync(new Uint8Array(2 ** 22)));
    expect(() => nodeDecoders.inflate?.(bomb, PAGE)).toThrow(/larger than 4096/);
  });

  it("a raw page of another length is malformed", () => {
    const file = writeKdump([page(0, { flags: 0, bytes: pattern(100, 1) })], { maxPages: 1 });
    expect(only(readPartial(openBytes(file).io, 0, PAGE).sync())).toEqual([[0, PAGE, "malformed"]]);
  });

  it.each([
    [2, "LZO"],
    [4, "snappy"],
    [0x20, "zstd"],
  ])("pages with flags %i are unsupported without the codec, and a warning names %s", (flags, name) => {
    const file = writeKdump([page(0, { flags, bytes: pattern(100, 1) }), page(1)], {
      maxPages: 2,
      status: flags,
    });
    const image = openBytes(file, { decoders: { inflate: nodeDecoders.inflate } });
    expect(image.warnings.join()).toContain(name);
    const transfer = readPartial(image.io, 0, 2 * PAGE).sync();
    expect(only(transfer)).toEqual([[0, PAGE, "unsupported"]]);
    expect(faultFields(transfer.holes[0]?.fault ?? 0).subject).toBe("codec");
  });

  it("a codec that is injected is used", () => {
    const file = writeKdump([page(0, { flags: 4, bytes: Uint8Array.of(7) })], { maxPages: 1, status: 4 });
    const image = openBytes(file, {
      decoders: { snappy: (input, n) => new Uint8Array(n).fill(input[0] as number) },
    });
    expect(image.warnings).toEqual([]);
    expect(readInto(image.io, 0, 2).sync()).toEqual(Uint8Array.of(7, 7));
  });

  it("an incomplete dump gives what it holds, and says that it is incomplete", () => {
    const file = writeKdump([page(0), page(2), page(4)], { maxPages: 5, status: 1 | 8, unwritten: [2, 4] });
    const image = openBytes(file);
    expect(image.warnings.join()).toContain("incomplete");
    const { holes } = readPartial(image.io, 2 * PAGE, 10).sync();
    expect(holes.map(({ fault }) => reasonOf(fault))).toEqual(["incomplete"]);
    expect(readInto(image.io, 0, PAGE).sync()).toEqual(pattern(PAGE, 0));
    expect([0, 2, 4].map((pfn) => image.map.reasonOf(pfn * PAGE))).toEqual([
      undefined,
      "incomplete",
      "incomplete",
    ]);
    expect(image.map.stateOf(0)).toBe("present");
  });

  it("an incomplete dump may lack pages anywhere, and its map has them all", () => {
    const file = writeKdump(many(600), { maxPages: 600, status: 1 | 8, unwritten: [3, 4, 100] });
    const image = openBytes(file);
    expect([3, 4, 5, 100].map((pfn) => image.map.reasonOf(pfn * PAGE))).toEqual([
      "incomplete",
      "incomplete",
      undefined,
      "incomplete",
    ]);
    expect(image.warnings.join()).toContain("3 of the dump's pages have no data");
    expect(only(readPartial(image.io, 0, 600 * PAGE).sync())).toEqual([
      [3 * PAGE, 5 * PAGE, "excluded"],
      [100 * PAGE, 101 * PAGE, "excluded"],
    ]);
  });

  it("a file that ends inside its pages says how many are lost, and its map shows which", () => {
    const file = writeKdump(many(700), { maxPages: 700 });
    const cut = file.subarray(0, file.length - 200_000);
    const image = openBytes(cut);
    const { good, holes } = readPartial(image.io, 0, 700 * PAGE).sync();
    expect(holes.map(({ fault }) => reasonOf(fault))).toEqual(["truncated"]);
    expect(image.map.reasonOf(699 * PAGE)).toBe("truncated");
    expect(image.warnings.join()).toContain(
      `${700 - (good[0]?.end ?? 0) / PAGE} of the dump's pages have no data`,
    );
    expect([...image.map.ranges()].map(({ start, end, state }) => ({ start, end, state }))).toEqual([
      { start: 0, end: good[0]?.end, state: "present" },
      { start: good[0]?.end, end: 700 * PAGE, state: "excluded" },
    ]);
    expect(openBytes(file).warnings).toEqual([]);
  });

  it("a file that ends inside its descriptors says from where on memory is missing, also in its map", () => {
    const file = writeKdump(many(600), { maxPages: 600 });
    const image = openBytes(file.subarray(0, 4096 * 4 + 24 * 300));
    expect(image.warnings.join()).toContain(`from 0x${(300 * PAGE).toString(16)} on is missing`);
    // The data come after the descriptors, so none are left.
    expect(image.map.bytesPresent).toBe(0);
    expect(image.map.bytesExcluded).toBe(600 * PAGE);
    expect(new Set([...image.map.ranges()].map(({ reason }) => reason))).toEqual(new Set(["truncated"]));
  });
});

describe("what is missing, and why", () => {
  it("tells no RAM from RAM that was left out, by the two bitmaps", () => {
    const model = new ImageModel(6 * PAGE);
    for (const pfn of [0, 5]) model.present(pfn * PAGE, pattern(PAGE, pfn));
    model.mark(2 * PAGE, 4 * PAGE, "excluded");
    expectImage(openBytes(writeKdump([page(0), page(5)], { maxPages: 6, leftOut: [2, 3] })), model);
  });

  it.each([
    [1, "zero"],
    [2, "cache"],
    [6, "cache"],
    [8, "user"],
    [16, "free"],
    [31, "unknown"],
  ])("with dump level %i the reason is %s", (dumpLevel, reason) => {
    const image = openBytes(writeKdump([page(0)], { maxPages: 2, leftOut: [1], dumpLevel }));
    expect([...image.map.ranges()][1]).toMatchObject({ state: "excluded", reason });
  });

  it("where QEMU wrote both bitmaps alike, what is missing may be outside", () => {
    const image = openBytes(writeKdump([page(0), page(2)], { maxPages: 4, leftOut: [1], sameBitmaps: true }));
    expect([...image.map.ranges()][1]).toMatchObject({
      start: PAGE,
      state: "excluded",
      reason: "or outside",
    });
    expect(only(readPartial(image.io, 3 * PAGE, 2 * PAGE).sync())).toEqual([
      [0, PAGE, "excluded"],
      [PAGE, 2 * PAGE, "outside"],
    ]);
  });

  it("where both bitmaps are alike and nothing was filtered, what is missing is outside", () => {
    const image = openBytes(writeKdump([page(0), page(2)], { maxPages: 4, dumpLevel: 0 }));
    expect(image.map.stateOf(PAGE)).toBe("outside");
    expect(only(readPartial(image.io, PAGE, 8).sync())).toEqual([[0, 8, "outside"]]);
  });

  it("old diskdump files have one bitmap", () => {
    const file = writeKdump([page(1)], { signature: "DISKDUMP", version: 1, maxPages: 3, oneBitmap: true });
    const image = openBytes(file);
    expect(readInto(image.io, PAGE, PAGE).sync()).toEqual(pattern(PAGE, 1));
    expect(image.map.stateOf(0)).toBe("excluded");
  });

  it("pages of which the bitmap can't be read are not said to be zero", () => {
    const file = writeKdump(many(10), { maxPages: 11, dumpLevel: 1, leftOut: [10] });
    const memory = new MemoryIo(file, { readOnly: true });
    const bitmap = 3 * PAGE;
    const io: PacketIo<number> = {
      scheduler: memory.scheduler,
      sendIo: (offset, view) => {
        if (offset === bitmap) view.fail(fault("io", "file", "connector"));
        else memory.sendIo(offset, view);
      },
    };
    const image = openDump(dumpFile(io, file.length, "unreadable"), { decoders: nodeDecoders }).sync();
    expect(image.warnings.join()).toContain("bytes of the second bitmap are missing");
    expect(image.map.reasonOf(0)).toBe("unknown");
  });
});

describe("headers", () => {
  it.each([0, 1, 2, 3, 4, 5, 6, 7])("of version %i have the fields that this version has", (version) => {
    const vmcoreinfo = Uint8Array.from("PAGESIZE=4096\n", (c) => c.charCodeAt(0));
    const notes = elfNotes([prstatus(1, 1000)]);
    const image = openBytes(writeKdump([page(1)], { version, maxPages: 3, leftOut: [2], vmcoreinfo, notes }));
    expect(image.map.reasonOf(2 * PAGE)).toBe(version >= 1 ? "zero" : "unknown");
    expect(image.details).toMatchObject({ dumpLevel: version >= 1 ? 1 : 0, split: false, maxPages: 3 });
    expect(image.notes.vmcoreinfo).toEqual(version >= 3 ? vmcoreinfo : undefined);
    expect(image.notes.cpus).toHaveLength(version >= 4 ? 1 : 0);
    expect(readInto(image.io, PAGE, PAGE).sync()).toEqual(pattern(PAGE, 1));
  });

  it.each([2, 5, 6])("of version %i say where a part of a split dump begins and ends", (version) => {
    const image = openBytes(writeKdump(many(10), { version, maxPages: 10, part: { start: 3, end: 6 } }));
    expect(image.map.bytesPresent).toBe(3 * PAGE);
    expect(readInto(image.io, 3 * PAGE, PAGE).sync()).toEqual(pattern(PAGE, 3));
  });

  it("of version 6 count pages in 64 bits", () => {
    const image = openBytes(writeKdump([page(2)], { maxPages: 3, narrowMaxPages: 1 }));
    expect(readInto(image.io, 2 * PAGE, PAGE).sync()).toEqual(pattern(PAGE, 2));
  });

  it("gives VMCOREINFO, registers and the header's fields", () => {
    const vmcoreinfo = Uint8Array.from("OSRELEASE=6.1.0-test\nPAGESIZE=4096\n", (c) => c.charCodeAt(0));
    const notes = elfNotes([
      prstatus(1, 1000),
      prstatus(2, 2000),
      qemuState(5000, 0x1234000),
      qemuState(6000, 7),
    ]);
    const image = openBytes(writeKdump([page(0)], { maxPages: 1, vmcoreinfo, notes, physBase: -4096 }));
    expect(image.notes.vmcoreinfo).toEqual(vmcoreinfo);
    expect(image.notes).toMatchObject({ pageSize: 4096, physBase: -4096, architecture: "x86_64" });
    expect(image.notes.cpus).toHaveLength(2);
    // rip is the 17th register of NT_PRSTATUS, and the 17th of QEMU's state, which knows more.
    expect(image.notes.cpus[0]).toMatchObject({
      pid: 1,
      registers: { rip: 5016n, cr3: 0x1234000n, cr2: 0xabcn },
    });
    expect(image.notes.cpus[1]).toMatchObject({
      pid: 2,
      registers: { cr3: 7n, fs_base: 0x3000n, tr_base: 0x7000n },
    });
    expect(image.details).toMatchObject({ release: "6.1.0-test", headerVersion: 6, pages: 1 });
  });

  it.each([
    ["block_size", 428, 4, 1000],
    ["block_size", 428, 4, 0],
    ["bitmap_blocks", 436, 4, 0],
    ["header_version", 8, 4, 0xffffffff],
  ])("a %s that cannot be is named with its offset", (field, at, _width, value) => {
    const file = writeKdump([page(0)], { maxPages: 1 });
    new DataView(file.buffer).setUint32(at, value, true);
    expect(() => openBytes(file)).toThrow(
      expect.objectContaining({ code: "MALFORMED_DUMP", field, offset: at }),
    );
  });
});
