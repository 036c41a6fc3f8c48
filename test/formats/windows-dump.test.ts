import { describe, expect, it } from "vitest";
import { dumpFile, FormatError, openDump } from "../../src/formats/index.js";
import { type PacketIo, readInto, readPartial } from "../../src/io/index.js";
import { PhysicalMemory, u64 } from "../../src/memory/index.js";
import { pattern } from "../support/bytes.js";
import { openBytes, testFile } from "../support/dump.js";
import {
  context32,
  context64,
  type WindowsOptions,
  writeWindowsDump,
} from "../support/write-windows-dump.js";

const PAGE = 4096;
const runs = [
  { page: 1, bytes: pattern(2 * PAGE, 1) },
  { page: 5, bytes: pattern(PAGE, 3) },
];
const open = (options: WindowsOptions) => openBytes(writeWindowsDump(runs, options));
const refusal = (file: Uint8Array): FormatError => {
  try {
    openBytes(file);
  } catch (error) {
    if (error instanceof FormatError) return error;
    throw error;
  }
  throw new Error("it was opened");
};

describe("the header of a Windows dump", () => {
  it("is shown field by field: names as Microsoft's, hexadecimal addresses, times as ISO 8601", () => {
    const { details, notes, format, description, warnings } = open({
      bugCheck: [0xd1, 0xfffff80512345678n, 2n, 0n, 0xdeadn],
      exception: { code: 0x80000003, flags: 1, address: 0xfffff8054dbf0000n },
      // 2021-03-04 05:06:07.890 UTC, and 1 day 2 h 3 min 4.005 s.
      systemTime: (BigInt(Date.UTC(2021, 2, 4, 5, 6, 7, 890)) + 11644473600000n) * 10000n,
      systemUpTime: 937_840_050_000n,
      comment: "a comment",
    });
    expect(format).toBe("windows-dump");
    expect(description).toBe("Windows crash dump, 64-bit, full, 3 pages");
    expect(warnings).toEqual([]);
    expect(notes).toEqual({ cpus: [], architecture: "x86_64" });
    expect(details).toEqual({
      DumpType: "1 (full)",
      MajorVersion: 15,
      MinorVersion: 19045,
      NumberProcessors: 4,
      ProductType: 1,
      MachineImageType: "0x8664",
      DirectoryTableBase: "0x1ad000",
      PfnDataBase: "0xffffde0000000000",
      PsLoadedModuleList: "0xfffff8054e02a7b0",
      PsActiveProcessHead: "0xfffff8054e01e060",
      KdDebuggerDataBlock: "0xfffff8054dc00b20",
      BugCheckCode: "0xd1",
      BugCheckParameter1: "0xfffff80512345678",
      BugCheckParameter2: "0x2",
      BugCheckParameter3: "0x0",
      BugCheckParameter4: "0xdead",
      SuiteMask: "0x110",
      WriterStatus: "0x0",
      ExceptionCode: "0x80000003",
      ExceptionFlags: "0x1",
      ExceptionAddress: "0xfffff8054dbf0000",
      SystemTime: "2021-03-04T05:06:07.890Z",
      SystemUpTime: "PT26H3M4.005S",
      Comment: "a comment",
      RequiredDumpSpace: 0x2000 + 3 * PAGE,
      pages: 3,
    });
  });

  it("of a 32-bit machine is shown too", () => {
    const { details, notes, description } = open({
      bits: 32,
      bugCheck: [0xe2, 1n, 2n, 3n, 0xffffffffn],
      exception: { code: 0xc0000005, flags: 0, address: 0x804dcb53n },
      systemTime: (BigInt(Date.UTC(2004, 0, 2)) + 11644473600000n) * 10000n,
      systemUpTime: 10_000_000n,
    });
    expect(description).toBe("Windows crash dump, 32-bit, full, 3 pages");
    expect(notes.architecture).toBe("i386");
    expect(details).toMatchObject({
      MinorVersion: 2600,
      NumberProcessors: 1,
      PaeEnabled: 1,
      MachineImageType: "0x14c",
      DirectoryTableBase: "0x39000",
      PsLoadedModuleList: "0x805531a0",
      KdDebuggerDataBlock: "0x80544ce0",
      BugCheckCode: "0xe2",
      BugCheckParameter4: "0xffffffff",
      ExceptionCode: "0xc0000005",
      ExceptionAddress: "0x804dcb53",
      SystemTime: "2004-01-02T00:00:00.000Z",
      SystemUpTime: "PT0H0M1.000S",
    });
    expect(details).not.toHaveProperty("Comment");
  });

  it("leaves out fields that were never set, and times that are none", () => {
    const file = writeWindowsDump(runs, { systemTime: (1n << 64n) - 1n });
    const page = Uint8Array.from("PAGEPAGE", (c) => c.charCodeAt(0));
    file.set(page, 0x18);
    file.set(page, 0xfa0);
    const { details } = openBytes(file);
    for (const name of ["PfnDataBase", "RequiredDumpSpace", "SystemTime", "SystemUpTime", "Comment"]) {
      expect(details).not.toHaveProperty(name);
    }
    expect(details.DirectoryTableBase).toBe("0x1ad000");
  });

  it("has the registers of the processor that wrote the dump", () => {
    const { cpus } = open({ context: context64(0x100) }).notes;
    expect(cpus).toHaveLength(1);
    expect(cpus[0]?.registers).toMatchObject({
      rax: 0x100n,
      rcx: 0x101n,
      rsp: 0x104n,
      r15: 0x10fn,
      rip: 0x110n,
      cs: 0x10n,
      fs: 0x53n,
      ss: 0x18n,
      rflags: 0x40246n,
      dr0: 0xd0n,
      dr7: 0xd5n,
    });
    expect(open({ bits: 32, context: context32(0x100) }).notes.cpus[0]?.registers).toMatchObject({
      gs: 0x100n,
      edi: 0x104n,
      eax: 0x109n,
      eip: 0x10bn,
      eflags: 0x10dn,
      esp: 0x10en,
      ss: 0x10fn,
    });
  });

  it("has none where the record was not filled in, or is another machine's", () => {
    expect(open({}).notes.cpus).toEqual([]);
    expect(open({ context: context64(1, 0x1_003f) }).notes.cpus).toEqual([]);
    const other = open({ machine: 0x200, context: context64(1) });
    expect(other.notes).toEqual({ cpus: [], architecture: undefined });
    expect(other.warnings.join()).toMatch(/MachineImageType is 0x200/);
    expect(open({ machine: 0xaa64 }).notes.architecture).toBe("aarch64");
  });
});

describe("dumps without physical memory are refused with what to do", () => {
  it.each([
    [4, /DumpType at file offset 0xf98: 4, a small memory dump \(minidump\).*WinDbg/],
    [3, /a header alone/],
    [7777, /a type of dump that memtool does not know/],
    [0x45474150, /never set: Windows stopped/],
  ])("DumpType %i", (type, message) => {
    const file = writeWindowsDump(runs);
    new DataView(file.buffer).setUint32(0xf98, type, true);
    const error = refusal(file);
    expect(error.code).toBe("UNSUPPORTED_FORMAT");
    expect(error.message).toMatch(message);
  });
});

describe("a complete dump", () => {
  it("has each run where the ones before it end, and nothing in between", () => {
    const image = open({});
    expect([...image.map.ranges()]).toEqual([
      { start: PAGE, end: 3 * PAGE, state: "present" },
      { start: 5 * PAGE, end: 6 * PAGE, state: "present" },
    ]);
    expect(readInto(image.io, 5 * PAGE, PAGE).sync()).toEqual(pattern(PAGE, 3));
  });

  it("that was cut has its last pages missing, and says so", () => {
    const file = writeWindowsDump(runs);
    const image = openBytes(file.subarray(0, file.length - PAGE - 100));
    expect(image.warnings.join()).toMatch(
      /the file ends at 0x3f9c.*4196 bytes of physical memory are missing/,
    );
    const { holes } = readPartial(image.io, PAGE, 5 * PAGE).sync();
    expect(holes).toMatchObject([
      { start: 2 * PAGE - 100, end: 2 * PAGE, state: "excluded" },
      { start: 2 * PAGE, end: 4 * PAGE, state: "outside" },
      { start: 4 * PAGE, end: 5 * PAGE, state: "excluded" },
    ]);
    expect(image.map.reasonOf(5 * PAGE)).toBe("truncated");
  });

  it("of which NumberOfRuns claims more than the header has room for is read as far as there is room", () => {
    const image = open({ numberOfRuns: 1_000_000 });
    expect(image.warnings.join("\n")).toMatch(/NumberOfRuns is 1000000, and the header has room for 43 runs/);
    expect(image.map.bytesPresent).toBe(3 * PAGE);
    const narrow = open({ bits: 32, numberOfRuns: 0xffffffff });
    expect(narrow.warnings.join("\n")).toMatch(/the header has room for 86 runs/);
    expect(narrow.map.bytesPresent).toBe(3 * PAGE);
  });

  it("reads all the runs that there is room for", () => {
    for (const [bits, count] of [
      [64, 43],
      [32, 86],
    ] as const) {
      const many = Array.from({ length: count }, (_, i) => ({ page: 2 * i, bytes: pattern(PAGE, i) }));
      const image = openBytes(writeWindowsDump(many, { bits }));
      expect(image.warnings).toEqual([]);
      expect(image.map.length).toBe(count);
      expect(readInto(image.io, 2 * (count - 1) * PAGE, PAGE).sync()).toEqual(pattern(PAGE, count - 1));
    }
  });

  it("without a run, or whose runs were never set, is an error", () => {
    expect(refusal(writeWindowsDump([])).message).toMatch(/NumberOfRuns at file offset 0x88: no usable run/);
    expect(refusal(writeWindowsDump(runs, { descriptor: "unset" })).message).toMatch(
      /PhysicalMemoryBlock at file offset 0x88: never set/,
    );
  });

  it("whose counts of pages disagree says so", () => {
    expect(open({ numberOfPages: 7 }).warnings).toEqual([
      "NumberOfPages is 7, and the runs have 3 pages together: one of the two is wrong",
    ]);
  });

  it("with a run beyond all physical memory ends before it, since nobody knows where the next one's pages are", () => {
    for (const count of [2n ** 41n, 2n ** 53n, -1n]) {
      const descriptor = [
        { page: 1, count: 2 },
        { page: 5, count },
        { page: 8, count: 1 },
      ];
      const image = open({ descriptor });
      expect(image.warnings.join()).toMatch(/run 1 \(BasePage 0x5, PageCount 0x\w+\) is no physical memory/);
      expect([...image.map.ranges()]).toEqual([{ start: PAGE, end: 3 * PAGE, state: "present" }]);
    }
  });

  it("with runs that overlap reads the first, and each run from its own place", () => {
    const image = openBytes(
      writeWindowsDump([
        { page: 2, bytes: pattern(2 * PAGE, 1) },
        { page: 3, bytes: pattern(2 * PAGE, 3) },
      ]),
    );
    expect(image.warnings.join()).toMatch(/out of order or overlap/);
    expect(readInto(image.io, 3 * PAGE, PAGE).sync()).toEqual(pattern(2 * PAGE, 1).subarray(PAGE));
    expect(readInto(image.io, 4 * PAGE, PAGE).sync()).toEqual(pattern(2 * PAGE, 3).subarray(PAGE));
  });

  it("whose RequiredDumpSpace is not what the runs need says so", () => {
    expect(open({ requiredDumpSpace: 0x3000 }).warnings.join()).toMatch(
      /RequiredDumpSpace is 0x3000, and the pages end at 0x5000/,
    );
    expect(open({ requiredDumpSpace: 0x9000 }).warnings.join()).toMatch(/the header may lack runs/);
  });
});

const bitmap = (options: WindowsOptions) => open({ type: 5, ...options });

describe("a dump with a bitmap", () => {
  it("tells pages that were left out from what is no RAM, by the header's descriptor", () => {
    const image = bitmap({
      bitmapPages: 100,
      descriptor: [
        { page: 1, count: 3 },
        { page: 5, count: 3 },
        { page: 98, count: 4 },
      ],
    });
    expect(image.warnings).toEqual([]);
    expect([...image.map.ranges()]).toEqual([
      { start: PAGE, end: 3 * PAGE, state: "present" },
      { start: 3 * PAGE, end: 4 * PAGE, state: "excluded", reason: "unknown" },
      { start: 5 * PAGE, end: 6 * PAGE, state: "present" },
      { start: 6 * PAGE, end: 8 * PAGE, state: "excluded", reason: "unknown" },
      // RAM goes on where the bitmap ends.
      { start: 98 * PAGE, end: 102 * PAGE, state: "excluded", reason: "unknown" },
    ]);
    expect(image.map.bytesPresent).toBe(3 * PAGE);
    expect(image.map.bytesExcluded).toBe(7 * PAGE);
    expect(image.map.length).toBe(5);
    expect(image.map.end).toBe(102 * PAGE);
    expect(image.map.range(1).start).toBe(3 * PAGE);
    expect(image.map.nextInside(4 * PAGE + 1)).toBe(5 * PAGE);
    expect(image.map.nextInside(102 * PAGE)).toBeUndefined();
    expect(image.map.isPresent(PAGE, 3 * PAGE)).toBe(true);
    expect(image.map.isPresent(PAGE, 3 * PAGE + 1)).toBe(false);
    expect(image.details).toMatchObject({ bitmapPages: 100, pages: 3, tellsOutsideFromExcluded: true });
  });

  it("without a descriptor, or with one that is contradictory, says that it can't tell", () => {
    for (const options of [{ descriptor: "unset" as const }, { numberOfPages: 9 }, { numberOfRuns: 99 }]) {
      const image = bitmap({ bitmapPages: 8, ...options });
      expect(image.map.stateOf(0)).toBe("excluded");
      expect(image.map.reasonOf(0)).toBe("or outside");
      expect(image.map.stateOf(8 * PAGE)).toBe("outside");
      expect(image.details.tellsOutsideFromExcluded).toBe(false);
    }
  });

  it.each([32, 64] as const)("of %i bits is read in the earlier layout too", (bits) => {
    const image = bitmap({ bits, type: 2, earlier: true, signature: "SDMP", descriptor: "unset" });
    expect(image.warnings).toEqual([]);
    expect(image.details).toMatchObject({ DumpType: "2 (kernel)", bitmapSignature: "SDMP", pages: 3 });
    expect(readInto(image.io, 5 * PAGE, PAGE).sync()).toEqual(pattern(PAGE, 3));
  });

  it("that was cut lacks whole pages: a part of one is not shown", () => {
    const file = writeWindowsDump(runs, { type: 6 });
    const image = openBytes(file.subarray(0, file.length - PAGE - 1));
    expect(image.warnings.join()).toMatch(
      /before the last page: 2 of 3 pages are missing; copy the dump again/,
    );
    expect([...image.map.ranges()]).toEqual([
      { start: PAGE, end: 2 * PAGE, state: "present" },
      { start: 2 * PAGE, end: 3 * PAGE, state: "excluded", reason: "truncated" },
      { start: 5 * PAGE, end: 6 * PAGE, state: "excluded", reason: "truncated" },
    ]);
    expect(readPartial(image.io, PAGE, 2 * PAGE).sync().holes).toMatchObject([
      { start: PAGE, end: 2 * PAGE, state: "excluded" },
    ]);
  });

  it("that was cut in its bitmap is an error that says so", () => {
    const error = refusal(writeWindowsDump(runs, { type: 6 }).subarray(0, 0x2100));
    expect(error.code).toBe("TRUNCATED_DUMP");
    expect(error.message).toMatch(
      /FirstPage \(HeaderSize\) at file offset 0x2020: the pages begin at 0x3000/,
    );
  });

  it("whose pages would begin in its bitmap, or beyond 2^53, is an error", () => {
    for (const firstPage of [0, 0x2038, -1]) {
      expect(refusal(writeWindowsDump(runs, { type: 5, firstPage })).message).toMatch(
        /FirstPage \(HeaderSize\) at file offset 0x2020: the pages can't begin/,
      );
    }
  });

  it("whose bitmap would be longer than the file is read if the count of pages proves where it is", () => {
    for (const pages of [2 ** 50, -1]) {
      const image = bitmap({ pages, padding: 0 });
      expect(image.warnings.join()).toMatch(/Pages \(BitmapSize\) is .* and there is room for/);
      expect(readInto(image.io, 5 * PAGE, PAGE).sync()).toEqual(pattern(PAGE, 3));
    }
  });

  it("is an error if that is no proof: the bitmap would be read where it is not", () => {
    // What lies behind the bitmap is not zero: more bits than the header counts.
    const error = refusal(writeWindowsDump(runs, { type: 5, pages: 2 ** 40, presentPages: 4 }));
    expect(error.message).toMatch(
      /Pages \(BitmapSize\) at file offset 0x2030: a bitmap of 1099511627776 pages does not fit/,
    );
  });

  it("whose bitmap has more or fewer bits than its header counts says so", () => {
    expect(bitmap({ presentPages: 2 }).warnings.join()).toMatch(
      /3 bits of the bitmap are set, and its header says 2/,
    );
  });

  it("with neither signature is an error", () => {
    const file = writeWindowsDump(runs, { type: 5 });
    file[0x2000] = 0x58;
    expect(refusal(file).message).toMatch(
      /Signature at file offset 0x2000: "SDMPDUMP" or "FDMPDUMP" should be here/,
    );
  });

  it("whose bitmap can't be read to its end has what lies before", () => {
    const size = 16 * 2 ** 20;
    const pages = 2 ** 26;
    const head = writeWindowsDump([], {
      type: 5,
      descriptor: "unset",
      bitmapPages: 8,
      pages,
      firstPage: 0x900000,
    });
    const io: PacketIo<number> = {
      sendIo(offset, view) {
        // The bitmap begins at 0x2038; its second piece of 4 MiB can't be read.
        if (offset >= 0x2038 + 4 * 2 ** 20 && offset < 0x900000) return view.fail(1);
        const bytes = new Uint8Array(view.length);
        bytes.set(head.subarray(offset, offset + view.length));
        if (offset === 0x2038) bytes[0] = 0b110;
        if (offset >= 0x900000) bytes.fill(Math.floor((offset - 0x900000) / PAGE) + 1);
        view.transfer(bytes);
      },
    };
    const image = openDump(dumpFile(io, size, "half.dump")).sync();
    expect(image.warnings.join()).toMatch(
      /the bitmap can't be read from file offset 0x402038 on: physical memory from 0x2000000000 on/,
    );
    expect(readInto(image.io, 2 * PAGE, 8).sync()).toEqual(new Uint8Array(8).fill(2));
  });

  it("gathers values in one batch, wherever they lie", async () => {
    const file = testFile(writeWindowsDump(runs, { type: 5 }));
    const image = openDump(file).sync();
    const memory = new PhysicalMemory(image.io, { map: image.map, cacheBytes: 0 });
    const before = file.source.counters.batches;
    const addresses = [PAGE + 8, 5 * PAGE, 2 * PAGE - 4, 5 * PAGE + 4088];
    const values = await Promise.all(addresses.map((at) => memory.read(u64, at)));
    expect(file.source.counters.batches - before).toBe(1);
    const model = new Uint8Array(6 * PAGE);
    model.set(pattern(2 * PAGE, 1), PAGE);
    model.set(pattern(PAGE, 3), 5 * PAGE);
    const view = new DataView(model.buffer);
    expect(values).toEqual(addresses.map((at) => view.getBigUint64(at, true)));
  });
});

describe("a live dump", () => {
  const live = (options: WindowsOptions = {}) =>
    writeWindowsDump(runs, { type: 9, descriptor: "unset", ...options });

  it("has each range where the ones before it end", () => {
    const image = openBytes(live());
    expect(image.warnings).toEqual([]);
    expect(image.details.DumpType).toBe("9 (live kernel and user)");
    expect(readInto(image.io, 5 * PAGE, PAGE).sync()).toEqual(pattern(PAGE, 3));
    expect(image.map.stateOf(4 * PAGE)).toBe("outside");
  });

  it("whose pages are not where its table ends is an error", () => {
    expect(refusal(live({ firstPage: 0x2800 })).message).toMatch(
      /FirstPageOffset at file offset 0x2018: 0x2800 does not agree with MetadataSize 0xfe0/,
    );
  });

  it("with a range that is no memory ends before it", () => {
    const file = live();
    new DataView(file.buffer).setBigUint64(0x2040 + 8, 2n ** 60n, true);
    const image = openBytes(file);
    expect(image.warnings.join()).toMatch(
      /range 1 \(page 0x5, 1152921504606846976 pages\) is no physical memory/,
    );
    expect(image.map.bytesPresent).toBe(2 * PAGE);
  });

  it("without a range is an error", () => {
    const file = live();
    file.fill(0, 0x2030, 0x2050);
    expect(refusal(file).message).toMatch(/page ranges at file offset 0x2000: no usable range/);
  });
});
