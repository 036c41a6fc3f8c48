import { describe, expect, it } from "vitest";
import { dumpFile, openDump } from "../../src/formats/index.js";
import { type PacketIo, readInto, readPartial } from "../../src/io/index.js";
import { pattern } from "../support/bytes.js";
import { openBytes, testFile } from "../support/dump.js";
import { sparseFile } from "../support/sparse-file.js";
import { writeXenCore, type XenPage, xenVcpu32, xenVcpu64 } from "../support/write-xen-core.js";

const PAGE = 4096;
const pages: readonly XenPage[] = [5, 6, 0].map((pfn) => ({ pfn, bytes: pattern(PAGE, pfn) }));

describe("a guest with hardware's help (.xen_pfn)", () => {
  const image = openBytes(
    writeXenCore(pages, { vcpus: [xenVcpu64(0x100, 0x7000), xenVcpu64(0x200, 0x8000)] }),
  );

  it("is read by its physical addresses", () => {
    expect(image.format).toBe("xen-core");
    for (const { pfn, bytes } of pages) {
      expect(readInto(image.io, Number(pfn) * PAGE, PAGE).sync()).toEqual(bytes);
    }
    expect([...image.map.ranges()]).toEqual([
      { start: 0, end: PAGE, state: "present" },
      { start: 5 * PAGE, end: 7 * PAGE, state: "present" },
    ]);
    expect(readPartial(image.io, 4 * PAGE, 8).sync().holes).toMatchObject([{ state: "outside" }]);
    expect(image.warnings).toEqual([]);
  });

  it("says what Xen wrote of it", () => {
    expect(image.description).toBe("Xen core dump, x86_64, auto-translated guest, 3 pages");
    expect(image.details).toEqual({
      machine: 62,
      guest: "auto-translated",
      magic: "0xf00febee",
      xenVersion: "4.17.1",
      formatVersion: "0.1",
      vcpus: 2,
      pageSize: 4096,
      pages: 3,
      unusedPages: 0,
    });
    expect(image.notes).toMatchObject({ architecture: "x86_64", pageSize: 4096 });
  });

  it("has the registers of each CPU", () => {
    expect(image.notes.cpus).toHaveLength(2);
    expect(image.notes.cpus[0]?.registers).toEqual({
      ...Object.fromEntries(
        "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi rip rflags rsp"
          .split(" ")
          .map((name, i) => [name, BigInt(0x100 + i)]),
      ),
      cs: 0x10n,
      ss: 0x18n,
      es: 0x20n,
      ds: 0x28n,
      fs: 0x30n,
      gs: 0x38n,
      cr0: 0x80050033n,
      cr1: 0x11n,
      cr2: 0xabcn,
      cr3: 0x7000n,
      cr4: 0x6f0n,
      fs_base: 0xf5n,
      gs_base_kernel: 0x65n,
      gs_base_user: 0x66n,
    });
    expect(image.notes.cpus[1]?.registers).toMatchObject({ rip: 0x20fn, cr3: 0x8000n });
  });
});

describe("a paravirtualised guest (.xen_p2m)", () => {
  it("is read by its own frame numbers, and a warning says that its page tables hold the machine's", () => {
    const image = openBytes(writeXenCore(pages, { guest: "pv" }));
    expect(readInto(image.io, 6 * PAGE, PAGE).sync()).toEqual(pages[1]?.bytes);
    expect(image.details).toMatchObject({ guest: "paravirtualised", magic: "0xf00febed" });
    expect(image.warnings).toEqual([expect.stringMatching(/page tables hold frame numbers of the machine/)]);
  });

  it.each([
    ["of a 32-bit Xen", 2800, 3],
    ["of 32 bits under a 64-bit Xen", 5168, 62],
  ])("%s has the registers of 32-bit CPUs", (_, room, machine) => {
    const image = openBytes(
      writeXenCore(pages, { guest: "pv", machine, vcpus: [xenVcpu32(0x100, 0x7000, room)] }),
    );
    expect(image.notes.architecture).toBe("i386");
    expect(image.notes.cpus[0]?.registers).toMatchObject({
      ebx: 0x100n,
      eax: 0x106n,
      eip: 0x107n,
      cs: 0x61n,
      eflags: 0x108n,
      esp: 0x109n,
      ss: 0x69n,
      gs: 0x7en,
      cr0: 0x8005003bn,
      cr3: 0x7000n,
      cr4: 0x660n,
    });
  });
});

describe("pages", () => {
  it("that belong to nobody (XC_CORE_INVALID_PFN) are no memory", () => {
    const image = openBytes(
      writeXenCore([
        { pfn: 1, bytes: pattern(PAGE, 1) },
        { pfn: undefined, bytes: new Uint8Array(PAGE) },
        { pfn: 2, bytes: pattern(PAGE, 2) },
        { pfn: undefined, bytes: new Uint8Array(PAGE) },
      ]),
    );
    expect([...image.map.ranges()]).toEqual([{ start: PAGE, end: 3 * PAGE, state: "present" }]);
    expect(readInto(image.io, 2 * PAGE, PAGE).sync()).toEqual(pattern(PAGE, 2));
    expect(image.details).toMatchObject({ pages: 2, unusedPages: 2 });
    expect(image.warnings).toEqual([]);
  });

  it("at 2^53 and beyond are ignored with a warning", () => {
    const beyond = [2n ** 41n - 1n, 2n ** 41n].map((pfn) => ({ pfn, bytes: pattern(PAGE, 1) }));
    const image = openBytes(writeXenCore([...beyond, ...pages]));
    expect(image.map.bytesPresent).toBe(3 * PAGE);
    expect(image.warnings).toEqual([expect.stringMatching(/^2 pages have frame numbers beyond 2\^53 bytes/)]);
    expect(readInto(image.io, 5 * PAGE, PAGE).sync()).toEqual(pages[0]?.bytes);
  });

  it("of whose number the header lies are as many as there are", () => {
    const image = openBytes(writeXenCore(pages, { pages: 2n ** 60n }));
    expect(image.warnings).toEqual(["xch_nr_pages is 1152921504606846976, and 3 pages were found"]);
    const other = openBytes(writeXenCore(pages, { pages: 1000 }));
    expect(other.warnings).toEqual(["xch_nr_pages is 1000, and 3 pages were found"]);
    for (const { io } of [image, other])
      expect(readInto(io, 6 * PAGE, 8).sync()).toEqual(pattern(PAGE, 6).slice(0, 8));
  });

  it("that the table claims beyond those of the file are ignored with a warning, however many", () => {
    const image = openBytes(writeXenCore(pages, { tableFirst: true, tableEntries: 2 ** 40 }));
    expect(image.warnings.join()).toMatch(
      /\.xen_pfn has 1099511627776 entries, and \.xen_pages room for 3 pages/,
    );
    expect(image.map.bytesPresent).toBe(3 * PAGE);
    const both = openBytes(writeXenCore(pages, { tableEntries: 2 ** 40, pagesSectionSize: 2 ** 52 }));
    expect(both.warnings.join()).toMatch(/inside the table of frames/);
    expect(readInto(both.io, 5 * PAGE, PAGE).sync()).toEqual(pages[0]?.bytes);
  });

  it("that the table names beyond the end of their section are not what follows it in the file", () => {
    const image = openBytes(writeXenCore(pages, { pagesSectionSize: 2 * PAGE }));
    expect(image.warnings.join()).toMatch(/\.xen_pfn has 3 entries, and \.xen_pages room for 2 pages/);
    expect([...image.map.ranges()]).toEqual([{ start: 5 * PAGE, end: 7 * PAGE, state: "present" }]);
  });

  it("of an impossible size have that of the section's entries", () => {
    for (const pageSize of [0, 4095, 2 ** 40, -1n]) {
      const image = openBytes(writeXenCore(pages, { pageSize }));
      expect(image.details.pageSize).toBe(4096);
      expect(image.warnings).toEqual([
        expect.stringMatching(/xch_page_size is \d+: pages of 4096 bytes are assumed/),
      ]);
      expect(readInto(image.io, 5 * PAGE, PAGE).sync()).toEqual(pages[0]?.bytes);
    }
  });
});

describe("a file that was cut", () => {
  const old = writeXenCore(pages, { tableFirst: true });
  const pagesAt = Math.floor((old.length - 3 * PAGE) / PAGE) * PAGE;

  it("inside the pages, with the table before them, has those that are there; the rest is excluded", () => {
    const image = openBytes(old.subarray(0, pagesAt + PAGE + 100));
    expect(readInto(image.io, 5 * PAGE, PAGE).sync()).toEqual(pages[0]?.bytes);
    expect([...image.map.ranges()]).toEqual([
      { start: 0, end: PAGE, state: "excluded", reason: "truncated" },
      { start: 5 * PAGE, end: 6 * PAGE + 100, state: "present" },
      { start: 6 * PAGE + 100, end: 7 * PAGE, state: "excluded", reason: "truncated" },
    ]);
    expect(image.warnings.join("\n")).toMatch(/names of the sections are missing/);
    expect(image.warnings.join("\n")).toMatch(/8092 bytes of its pages are missing/);
    expect(image.details.xenVersion).toBe("4.17.1");
  });

  it("inside the pages, with the table behind them, is an error that says what is missing", () => {
    const file = writeXenCore(pages);
    expect(() => openBytes(file.subarray(0, file.length - PAGE))).toThrow(
      expect.objectContaining({
        code: "TRUNCATED_DUMP",
        message: expect.stringMatching(/none of its pages has an address.*inside the table of frames/),
      }),
    );
  });
});

it("an ELF file of sections that are not Xen's is an error that names what is missing", () => {
  const file = writeXenCore(pages);
  const at = file.length - 40;
  const names = Buffer.from(file.buffer, at);
  names.fill(0x78, names.indexOf(".xen_pages"), names.indexOf(".xen_pages") + 4);
  expect(() => openBytes(file)).toThrow(/no program headers, and no section \.xen_pages: so no memory/);
});

it("more sections than the header can count are found through section header 0", () => {
  const image = openBytes(writeXenCore(pages, { extended: true }));
  expect(image.map.bytesPresent).toBe(3 * PAGE);
  // Their names, too.
  expect(image.warnings).toEqual([]);
});

describe("a guest of 8 GiB whose pages lie in any order", () => {
  const count = 2 ** 21;
  /** Every page of the guest once, no two of them neighbours. */
  const pfnOf = (i: number) => (i * 786433) % count;
  const head = writeXenCore([{ pfn: 0, bytes: new Uint8Array(PAGE) }], {
    pages: count,
    tableEntries: count,
    pagesSectionSize: count * PAGE,
    tableFirst: true,
  });

  it("is opened in time and reads that grow with it, and read where its table says", () => {
    // The writer's head, with the sections' offsets as they are for so many pages.
    const file = testFile(head);
    const view = new DataView(head.buffer);
    const sections = Array.from({ length: 7 }, (_, i) => 64 + 64 * i);
    const sizeOf = (at: number) => Number(view.getBigUint64(at + 32, true));
    const table = sections.find((at) => sizeOf(at) === count * 8) as number;
    const pagesSection = sections.find((at) => sizeOf(at) === count * PAGE) as number;
    const tableAt = 2 ** 30;
    const pagesAt = 2 ** 31;
    const sparse = head.slice();
    new DataView(sparse.buffer).setBigUint64(table + 24, BigInt(tableAt), true);
    new DataView(sparse.buffer).setBigUint64(pagesSection + 24, BigInt(pagesAt), true);
    let batches = 0;
    const io: PacketIo<number> = {
      scheduler: file.scheduler,
      sendIo: (offset, bound) => {
        batches++;
        const bytes = new Uint8Array(bound.length);
        const out = new DataView(bytes.buffer);
        if (offset >= pagesAt) out.setFloat64(0, offset, true);
        else if (offset < tableAt) bytes.set(sparse.subarray(offset, offset + bytes.length));
        else
          for (let i = 0; i < bytes.length; i += 8) out.setUint32(i, pfnOf((offset - tableAt + i) / 8), true);
        bound.transfer(bytes);
      },
    };
    const image = openDump(dumpFile(io, pagesAt + count * PAGE, "big")).sync();
    expect(batches).toBeLessThan(30);
    expect([...image.map.ranges()]).toEqual([{ start: 0, end: count * PAGE, state: "present" }]);
    for (const i of [0, 1, 999_999, count - 1]) {
      const bytes = readInto(image.io, pfnOf(i) * PAGE, 8).sync();
      expect(new DataView(bytes.buffer).getFloat64(0, true)).toBe(pagesAt + i * PAGE);
    }
  });
});

it("a page whose frame number can't be read in part is not shown at another address", () => {
  const file = writeXenCore(pages);
  const view = new DataView(file.buffer);
  const numbers = pages.map(({ pfn }) => BigInt(pfn as number));
  const table = Array.from({ length: file.length - 24 }, (_, at) => at).find((at) =>
    numbers.every((pfn, i) => view.getBigUint64(at + 8 * i, true) === pfn),
  ) as number;
  for (const [start, end] of [
    [0, 4],
    [8, 12],
    [9, 10],
    [4, 12],
  ] as const) {
    const broken = { start: table + start, end: table + end };
    const image = openDump(sparseFile(file.length, [{ at: 0, bytes: file }], "x", broken)).sync();
    const lost = pages.filter((_, i) => start < 8 * i + 8 && end > 8 * i);
    expect(image.map.bytesPresent).toBe((pages.length - lost.length) * PAGE);
    for (const { pfn } of lost) expect(image.map.stateOf(Number(pfn) * PAGE)).toBe("outside");
    expect(image.warnings.join()).toMatch(/bytes of the table of frames could not be read/);
  }
});

it("section headers of 64 KiB each are refused, not read into memory", () => {
  const head = writeXenCore(pages).slice(0, 64);
  const view = new DataView(head.buffer);
  view.setUint16(58, 0xffff, true);
  view.setUint16(60, 0xffff, true);
  const file = sparseFile(2 ** 40, [{ at: 0, bytes: head }]);
  expect(() => openDump(file).sync()).toThrow(
    /e_shentsize at file offset 0x3a: 65535: must be from 64 to 256/,
  );
  expect(file.asked.bytes).toBeLessThan(2 ** 20);
});
