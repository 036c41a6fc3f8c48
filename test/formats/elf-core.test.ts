import { describe, expect, it } from "vitest";
import { openDump } from "../../src/formats/index.js";
import { readInto, readPartial } from "../../src/io/index.js";
import { pattern } from "../support/bytes.js";
import { expectImage, ImageModel, openBytes, testFile } from "../support/dump.js";
import { writePaging } from "../support/formats/elf-core-paging.js";
import { sparseFile } from "../support/sparse-file.js";
import {
  type ElfOptions,
  prstatus,
  prstatusOf,
  qemuState,
  virtualBoxCore,
  virtualBoxCpu,
  writeElf,
} from "../support/write-elf.js";

const bytes = pattern(4096, 1);

describe("as QEMU 7.2 writes it", () => {
  // e_ehsize 8, section table at 64, program headers after it, the firmware's ROM under 4 GiB.
  const rom = pattern(256, 9);
  const image = openBytes(
    writeElf(
      [
        { physical: 0, bytes },
        { physical: 0xfffc0000, bytes: rom },
      ],
      {
        likeQemu: true,
        notes: [
          prstatus(1, 100),
          qemuState(200, 0x55cf000),
          {
            name: "VMCOREINFO",
            type: 0,
            description: Uint8Array.from("PAGESIZE=4096\n", (c) => c.charCodeAt(0)),
          },
        ],
      },
    ),
  );

  it("RAM and the ROM under 4 GiB are read, and what lies between is outside", () => {
    expect(readInto(image.io, 0, 4096).sync()).toEqual(bytes);
    expect(readInto(image.io, 0xfffc0000, 256).sync()).toEqual(rom);
    expect(readPartial(image.io, 0xfffbfff8, 16).sync().holes).toMatchObject([
      { start: 0, end: 8, state: "outside" },
    ]);
    expect([...image.map.ranges()]).toEqual([
      { start: 0, end: 4096, state: "present" },
      { start: 0xfffc0000, end: 0xfffc0100, state: "present" },
    ]);
    expect(image.warnings).toEqual([]);
  });

  it("its notes give the CPU's registers, control registers and VMCOREINFO", () => {
    expect(image.notes.cpus).toHaveLength(1);
    expect(image.notes.cpus[0]).toMatchObject({
      pid: 1,
      registers: {
        rip: 216n,
        r15: 215n,
        orig_rax: 115n,
        cr3: 0x55cf000n,
        kernel_gs_base: 0xffff888000000000n,
      },
    });
    expect(image.notes.pageSize).toBe(4096);
    expect(image.notes.architecture).toBe("x86_64");
  });
});

it("where segments overlap the first one with bytes wins, in any order", () => {
  const model = new ImageModel(700);
  const [a, b, c] = [pattern(300, 1), pattern(300, 2), pattern(200, 3)];
  const d = pattern(50, 4);
  model.mark(400, 700, "excluded");
  model.present(600, d);
  model.present(0, c);
  model.present(50, b);
  model.present(100, a);
  const image = openBytes(
    writeElf([
      { physical: 100, bytes: a, memorySize: 600 },
      { physical: 50, bytes: b },
      { physical: 0, bytes: c },
      { physical: 600, bytes: d },
    ]),
  );
  expectImage(image, model);
});

it("segments that overlap by physical addresses alone are no mappings: what has no bytes was left out", () => {
  const image = openBytes(
    writeElf(
      [
        { physical: 0, bytes, memorySize: 8192 },
        { physical: 2048, bytes: pattern(2048, 2) },
      ],
      { notes: [prstatus(1, 100), qemuState(200, 0x1000)] },
    ),
  );
  expect(image.map.reasonOf(5000)).toBe("unknown");
  expect(image.warnings).toEqual([]);
});

it("a core whose segments are all empty is an error", () => {
  const none = new Uint8Array(0);
  expect(() => openBytes(writeElf([{ physical: 0x1000, bytes: none }]))).toThrow(/no usable PT_LOAD segment/);
});

it("66,000 segments (PN_XNUM), scattered and overlapping, are opened in a moment", () => {
  const segments = Array.from({ length: 66_000 }, (_, i) => ({
    physical: ((i * 7919) % 66_000) * 16,
    bytes: Uint8Array.from({ length: 24 }, (_unused, k) => (i + k) & 255),
  }));
  const image = openBytes(writeElf(segments, { extended: true }));
  expect(image.details.segments).toBe(66_000);
  expect(image.map.bytesPresent).toBe(66_000 * 16 + 8);
  // Address 16 * p belongs to the earlier of the segments that begin at it and 16 before it.
  const indexOf = (page: number) => segments.findIndex(({ physical }) => physical === page * 16);
  for (const page of [1, 500, 65_999]) {
    const here = indexOf(page);
    const before = indexOf(page - 1);
    const expected = here < before ? here & 255 : (before + 16) & 255;
    expect(readInto(image.io, page * 16, 1).sync()[0]).toBe(expected);
  }
});

it("a file cut inside a segment reads what is there, marks the rest excluded, and names the segment", () => {
  const file = writeElf([
    { physical: 0, bytes },
    { physical: 0x10000, bytes },
  ]);
  const image = openBytes(file.subarray(0, file.length - 96));
  expect(image.warnings).toEqual([
    expect.stringMatching(
      /inside the segment of program header 2: physical memory 0x10fa0 to 0x11000 is missing/,
    ),
  ]);
  expect(image.map.stateOf(0x10fa0)).toBe("excluded");
  expect(readPartial(image.io, 0x10000, 4096).sync().holes).toMatchObject([
    { start: 4000, end: 4096, state: "excluded" },
  ]);
});

it("a dump by virtual address only is opened with a warning", () => {
  const image = openBytes(
    writeElf([
      { physical: 0, virtual: 0xffffffff81000000n, bytes },
      { physical: 0, virtual: 0xffffffff82000000n, bytes },
    ]),
  );
  expect(image.warnings.join()).toMatch(/every p_paddr is 0/);
});

it("arm64 cores are read, with their registers", () => {
  const description = new Uint8Array(392);
  const view = new DataView(description.buffer);
  for (let i = 0; i < 34; i++) view.setBigUint64(112 + 8 * i, BigInt(i), true);
  const image = openBytes(
    writeElf([{ physical: 0x40000000, bytes }], {
      machine: 183,
      notes: [{ name: "CORE", type: 1, description }],
    }),
  );
  expect(image.notes.cpus[0]?.registers).toMatchObject({ x0: 0n, x30: 30n, sp: 31n, pc: 32n, pstate: 33n });
  expect(readInto(image.io, 0x40000000, 16).sync()).toEqual(bytes.slice(0, 16));
});

it.each([
  ["EI_CLASS", { class: 7 }, /neither 1/],
  ["EI_DATA", { order: 3 }, /neither 1/],
  ["e_type", { type: 2 }, /this ELF file is a program, not a core dump/],
] as const)("what is not read is refused by its %s", (field, options, message) => {
  expect(() => openBytes(writeElf([{ physical: 0, bytes }], options))).toThrow(
    expect.objectContaining({ field, message: expect.stringMatching(message) }),
  );
});

describe("classes and byte orders", () => {
  it.each([
    ["32-bit little-endian (arm)", { class: 1, machine: 40 }, "arm", undefined],
    ["32-bit big-endian (arm)", { class: 1, order: 2, machine: 40 }, "arm", "big"],
    ["64-bit big-endian (s390x)", { order: 2, machine: 22 }, "s390x", "big"],
    ["64-bit big-endian (ppc64)", { order: 2, machine: 21 }, "ppc64", "big"],
    ["64-bit little-endian (ppc64)", { machine: 21 }, "ppc64", undefined],
    ["64-bit (riscv64)", { machine: 243 }, "riscv64", undefined],
    ["32-bit (i386)", { class: 1, machine: 3 }, "i386", undefined],
  ] as const)("a %s core is read, and says whose it is", (_, options, architecture, byteOrder) => {
    const image = openBytes(writeElf([{ physical: 0x1000, bytes, memorySize: 5000 }], options));
    expect(readInto(image.io, 0x1000, 4096).sync()).toEqual(bytes);
    expect([...image.map.ranges()]).toEqual([
      { start: 0x1000, end: 0x2000, state: "present" },
      { start: 0x2000, end: 0x1000 + 5000, state: "excluded", reason: "unknown" },
    ]);
    expect(image.notes).toMatchObject({ architecture, cpus: [] });
    expect(image.notes.byteOrder).toBe(byteOrder);
    expect(image.warnings).toEqual([]);
  });

  it.each([
    ["31-bit s390", { class: 1, order: 2, machine: 22 }, 4],
    ["32-bit powerpc", { class: 1, order: 2, machine: 20 }, 4],
    ["mips64", { order: 2, machine: 8 }, 8],
  ] as const)(
    "memory of a machine that is not known (%s) is read, with a warning",
    (_, options, pointerSize) => {
      const image = openBytes(writeElf([{ physical: 0x1000, bytes }], options));
      expect(readInto(image.io, 0x1000, 4096).sync()).toEqual(bytes);
      expect(image.notes).toMatchObject({ architecture: undefined, pointerSize, byteOrder: "big" });
      expect(image.warnings).toEqual([
        expect.stringMatching(/e_machine is \d+, which memtool does not know/),
      ]);
    },
  );

  it("32-bit addresses up to 4 GiB, and more than 65,535 segments, are read", () => {
    const segments = Array.from({ length: 66_000 }, (_, i) => ({
      physical: 0xffff_fff0 - 32 * i,
      bytes: Uint8Array.of(i, i >> 8, 3),
    }));
    const image = openBytes(writeElf(segments, { class: 1, order: 2, machine: 40, extended: true }));
    expect(image.details.segments).toBe(66_000);
    for (const i of [0, 40_000, 65_999]) {
      const { physical, bytes: expected } = segments[i] as (typeof segments)[0];
      expect(readInto(image.io, physical, 3).sync()).toEqual(expected);
    }
    expect(image.map.end).toBe(0xffff_fff3);
  });
});

describe("a 32-bit guest of QEMU", () => {
  // Firmware ends at 4 GiB, so that QEMU writes ELFCLASS64 with EM_386 (target/i386/arch_dump.c, cpu_get_dump_info).
  const registers = Array.from({ length: 17 }, (_, i) => 0x1000 + i);
  const options: ElfOptions = {
    machine: 3,
    likeQemu: true,
    notes: [prstatusOf({ pid: 1, registers, wordSize: 4 }), qemuState(0x2000, 0x55cf000)],
  };

  it.each([2, 1])(
    "in ELFCLASS %d has its registers by their 32-bit names, and QEMU's own note with them",
    (of) => {
      const image = openBytes(writeElf([{ physical: 0, bytes }], { ...options, class: of }));
      expect(image.notes.architecture).toBe("i386");
      expect(image.notes.cpus).toHaveLength(1);
      expect(image.notes.cpus[0]).toMatchObject({
        pid: 1,
        registers: {
          orig_eax: 0x100bn,
          eax: 0x2000n,
          eip: 0x2010n,
          eflags: 0x2011n,
          cr3: 0x55cf000n,
          gs_base: 0x4000n,
        },
      });
      const { registers: found } = image.notes.cpus[0] as { registers: object };
      expect(Object.keys(found).filter((name) => /^r/.test(name) || name === "kernel_gs_base")).toEqual([]);
    },
  );

  it("without QEMU's note has those of NT_PRSTATUS", () => {
    const notes = options.notes?.slice(0, 1) ?? [];
    const image = openBytes(writeElf([{ physical: 0, bytes }], { ...options, notes }));
    expect(image.notes.cpus[0]?.registers).toMatchObject({
      ebx: 0x1000n,
      eip: 0x100cn,
      esp: 0x100fn,
      ss: 0x1010n,
    });
  });
});

describe("QEMU's paging variant", () => {
  const page = 4096;
  const low = pattern(4 * page, 1);
  const high = pattern(2 * page, 2);
  const blocks = [
    { start: 0, bytes: low },
    { start: 8 * page, bytes: high },
  ];

  it("with 66,000 mappings that overlap is opened, and read by physical address", () => {
    const mappings = Array.from({ length: 66_000 }, (_, i) => ({
      physical: [0, 1, 2, 3, 8, 9][(i * 7919) % 6]! * page,
      length: page,
    }));
    const image = openBytes(writePaging(blocks, mappings, true));
    expect(image.details.segments).toBe(66_000);
    expect(readInto(image.io, 0, 4 * page).sync()).toEqual(low);
    expect(readInto(image.io, 8 * page, 2 * page).sync()).toEqual(high);
    expect([...image.map.ranges()]).toEqual([
      { start: 0, end: 4 * page, state: "present" },
      { start: 8 * page, end: 10 * page, state: "present" },
    ]);
    expect(image.warnings).toEqual([expect.stringMatching(/made with paging/)]);
  });

  it("says of a mapping's rest behind its block that it may be no RAM, and nothing of mapped devices", () => {
    const mappings = [
      { physical: 0, length: 6 * page },
      { physical: page, length: page },
      { physical: 0xfec00000, length: page },
    ];
    const image = openBytes(writePaging(blocks, mappings, false));
    expect([...image.map.ranges()]).toEqual([
      { start: 0, end: 4 * page, state: "present" },
      { start: 4 * page, end: 6 * page, state: "excluded", reason: "or outside" },
    ]);
    expect(image.details.segmentsOfNoMemory).toBe(1);
    expect(readPartial(image.io, 4 * page, 8).sync().holes).toMatchObject([{ state: "excluded" }]);
    expect(image.warnings).toHaveLength(1);
  });
});

it("what makedumpfile -E left out of a guest's dump is excluded, though QEMU's notes are still there", () => {
  const image = openBytes(
    writeElf(
      [
        { physical: 0, virtual: 0xffff888000000000n, bytes, memorySize: 3 * 4096 },
        { physical: 3 * 4096, virtual: 0xffff888000003000n, bytes },
      ],
      { notes: [prstatus(1, 100), qemuState(100, 0x1000)] },
    ),
  );
  expect([...image.map.ranges()]).toEqual([
    { start: 0, end: 4096, state: "present" },
    { start: 4096, end: 3 * 4096, state: "excluded", reason: "unknown" },
    { start: 3 * 4096, end: 4 * 4096, state: "present" },
  ]);
  expect(image.warnings).toEqual([]);
});

describe("as VirtualBox writes it", () => {
  const write = (formatVersion?: number) =>
    writeElf(
      [
        { physical: 0, bytes },
        // Device memory: a range without bytes.
        { physical: 0xe0000000, bytes: new Uint8Array(0), memorySize: 0x1000000 },
        { physical: 0x100000, bytes },
      ],
      {
        notes: [virtualBoxCore(2, formatVersion), virtualBoxCpu(0x100, 0xa000), virtualBoxCpu(0x200, 0xb000)],
        notePadding: 8,
      },
    );

  it("RAM is read, and device memory is no RAM", () => {
    const image = openBytes(write());
    expect([...image.map.ranges()]).toEqual([
      { start: 0, end: 4096, state: "present" },
      { start: 0x100000, end: 0x101000, state: "present" },
    ]);
    expect(readInto(image.io, 0x100000, 4096).sync()).toEqual(bytes);
    expect(image.warnings).toEqual([]);
    expect(image.details).toMatchObject({ virtualBox: "7.0.12 r159484", virtualBoxFormat: "0x10006" });
  });

  it("its notes give each CPU's registers", () => {
    const { cpus } = openBytes(write()).notes;
    expect(cpus).toHaveLength(2);
    expect(cpus[0]?.registers).toMatchObject({
      rax: 0x100n,
      rdi: 0x105n,
      r8: 0x106n,
      rip: 0x10en,
      rsp: 0x10fn,
      rbp: 0x110n,
      rflags: 0x111n,
      cs: 8n,
      gs: 0x28n,
      gs_base: 0x28000n,
      cr0: 0x80050033n,
      cr2: 0xabcn,
      cr3: 0xa000n,
      cr4: 0x6f0n,
      gdt_base: 0xfffffe0000001000n,
      idt_base: 0xfffffe0000000000n,
      ldt: 0x50n,
      tr: 0x40n,
      efer: 0xd01n,
      lstar: 0x53n,
      kernel_gs_base: 0xffff888000000000n,
    });
    expect(cpus[1]?.registers).toMatchObject({ rax: 0x200n, cr3: 0xb000n });
  });

  it("of a format version with another layout of CPUs shows none of their registers, and says so", () => {
    const image = openBytes(write(0x10000));
    expect(image.notes.cpus).toEqual([]);
    expect(image.warnings).toEqual([expect.stringMatching(/format version 0x10000 has a layout of CPUs/)]);
    expect(readInto(image.io, 0, 4096).sync()).toEqual(bytes);
  });
});

describe("odd segments", () => {
  it.each([1, 2])("without a physical address (p_paddr -1) are ignored with one warning (class %d)", (of) => {
    const image = openBytes(
      writeElf(
        [
          { physical: -1n, virtual: 0xffffffff81000000n, bytes: pattern(100, 3) },
          { physical: 0x1000, virtual: 0xffff888000001000n, bytes },
          { physical: -1n, virtual: 0xffffffffa0000000n, bytes: pattern(100, 4) },
        ],
        { class: of },
      ),
    );
    expect([...image.map.ranges()]).toEqual([{ start: 0x1000, end: 0x2000, state: "present" }]);
    expect(image.warnings).toEqual([expect.stringMatching(/^2 segments have no physical address/)]);
  });

  it("of which none has a physical address make an error that says why", () => {
    expect(() => openBytes(writeElf([{ physical: -1n, virtual: 0x1000, bytes }]))).toThrow(
      /no usable PT_LOAD segment, so no memory; 1 segments have no physical address/,
    );
  });

  it("whose p_filesz is more than p_memsz are read as stored, with a warning", () => {
    const image = openBytes(writeElf([{ physical: 0x1000, bytes, memorySize: 100 }]));
    expect(readInto(image.io, 0x1000, 4096).sync()).toEqual(bytes);
    expect(image.warnings).toEqual([expect.stringMatching(/p_filesz 0x1000 is more than p_memsz 0x64/)]);
  });

  it("that share bytes of the file each read them", () => {
    const file = writeElf([
      { physical: 0x1000, bytes },
      { physical: 0x8000, bytes: new Uint8Array(0), fileSize: 50, memorySize: 50, offset: 64 + 3 * 56 + 20 },
    ]);
    const image = openBytes(file);
    expect(readInto(image.io, 0x1000, 4096).sync()).toEqual(bytes);
    expect(readInto(image.io, 0x8000, 50).sync()).toEqual(bytes.slice(20, 70));
  });

  it("of no length say nothing, wherever they are", () => {
    const none = new Uint8Array(0);
    const image = openBytes(
      writeElf([
        { physical: 0x1800, bytes: none },
        { physical: 0x1000, bytes },
        { physical: 2n ** 52n, bytes: none },
      ]),
    );
    expect([...image.map.ranges()]).toEqual([{ start: 0x1000, end: 0x2000, state: "present" }]);
    expect(image.details.segments).toBe(1);
    expect(image.warnings).toEqual([]);
  });
});

it("a process's core says that it is one, and whose", () => {
  const description = new Uint8Array(136);
  description.set(
    Uint8Array.from("sleep", (c) => c.charCodeAt(0)),
    40,
  );
  const segments = [
    { physical: 0, virtual: 0x400000, bytes },
    { physical: 0, virtual: 0x7fff00000000n, bytes },
  ];
  const image = openBytes(
    writeElf(segments, { notes: [prstatus(77, 1), { name: "CORE", type: 3, description }] }),
  );
  expect(image.warnings).toEqual([expect.stringMatching(/every p_paddr is 0.*the core of process "sleep"/)]);
});

it("a core without memory segments is an error that says so", () => {
  expect(() => openBytes(writeElf([]))).toThrow(/no usable PT_LOAD segment/);
});

describe("many headers", () => {
  it("notes of every PT_NOTE segment are read", () => {
    const image = openBytes(
      writeElf([{ physical: 0, bytes: pattern(8, 1) }], { notes: [prstatus(7, 100)], extraNoteHeaders: 2 }),
    );
    expect(image.notes.cpus.map(({ pid }) => pid)).toEqual([7, 7, 7]);
  });

  it("one segment at 0, as it is in physical memory, looks like no dump by virtual address", () => {
    const bytes = pattern(8, 1);
    expect(openBytes(writeElf([{ physical: 0, virtual: 0, bytes }])).warnings).toEqual([]);
    expect(openBytes(writeElf([{ physical: 0, virtual: 0x1000, bytes }])).warnings.join()).toMatch(
      /p_vaddr is not/,
    );
  });

  it("forty thousand take a few reads, and a warning names the one that is odd", () => {
    const bytes = new Uint8Array(0);
    const segments = Array.from({ length: 40_000 }, (_, i) => ({ physical: i * 4096, bytes, memorySize: 1 }));
    const odd = { physical: 40_000 * 4096, bytes, fileSize: 8, offset: 2 ** 52 };
    const file = testFile(writeElf([...segments, odd]));
    const image = openDump(file).sync();
    expect(image.warnings).toEqual([expect.stringMatching(/segment of program header 40001:/)]);
    expect(file.source.counters.batches).toBeLessThan(10);
    expect(image.map.length).toBe(40_001);
  });
});

describe("program headers that are not what the header says", () => {
  const segments = [
    { physical: 0x1000, bytes },
    { physical: 0x5000, bytes: pattern(4096, 2) },
  ];
  const phnum = (file: Uint8Array, count: number) => {
    const out = file.slice();
    new DataView(out.buffer).setUint16(56, count, true);
    return out;
  };

  it("memory that looks like program headers is memory, whatever e_phnum says", () => {
    // The guest's own: a PT_LOAD of physical address 0x9000, at file offset 0, of 64 bytes.
    const forged = new Uint8Array(56);
    const view = new DataView(forged.buffer);
    view.setUint32(0, 1, true);
    for (const [at, value] of [
      [24, 0x9000n],
      [32, 64n],
      [40, 64n],
    ] as const) {
      view.setBigUint64(at, value, true);
    }
    const memory = [
      { physical: 0x1000, bytes: forged },
      { physical: 0x2000, bytes: new Uint8Array(100) },
    ];
    const image = openBytes(phnum(writeElf(memory), 4));
    expect([...image.map.ranges()]).toEqual([
      { start: 0x1000, end: 0x1038, state: "present" },
      { start: 0x2000, end: 0x2064, state: "present" },
    ]);
    expect(image.warnings).toEqual([
      expect.stringMatching(
        /e_phnum is 4, and the bytes of a segment begin at file offset 0xe8: only the 3 /,
      ),
    ]);
  });

  it("PN_XNUM with a damaged section header has all that lies before the first segment's bytes", () => {
    const file = writeElf(segments, { extended: true });
    for (const damage of [
      (view: DataView) => view.setBigUint64(40, 0n, true), // e_shoff
      (view: DataView) => view.setBigUint64(40, 2n ** 40n, true),
      (view: DataView) => view.setUint32(64 + 44, 0, true), // sh_info
      (view: DataView) => view.setUint32(64 + 44, 1, true),
    ]) {
      const damaged = file.slice();
      damage(new DataView(damaged.buffer));
      const image = openBytes(damaged);
      expect(image.map.bytesPresent).toBe(8192);
      expect(readInto(image.io, 0x5000, 4096).sync()).toEqual(segments[1]?.bytes);
      expect(image.warnings.join()).toMatch(/the first 65535 program headers are read/);
    }
  });

  it("a table of program headers of 64 KiB each, in a sparse file, is refused, not read for minutes", () => {
    const head = writeElf(segments, { extended: true }).slice(0, 128);
    const view = new DataView(head.buffer);
    view.setUint16(54, 0xffff, true);
    view.setUint32(64 + 44, 7_000_000, true);
    const file = sparseFile(2 ** 40, [{ at: 0, bytes: head }]);
    expect(() => openDump(file).sync()).toThrow(
      /e_phentsize at file offset 0x36: 7000000 program headers of/,
    );
    expect(file.asked.bytes).toBeLessThan(2 ** 20);
  });
});

it("an odd address near 2^53 reads its own byte, not its neighbour's", () => {
  // The bytes begin at file offset 176: from some on, the sum of both is beyond 2^53.
  const start = 2 ** 53 - 4098;
  const image = openBytes(writeElf([{ physical: start, bytes }]));
  for (const offset of [1, 3999, 4001, 4095]) {
    expect(readInto(image.io, start + offset, 1).sync()).toEqual(bytes.subarray(offset, offset + 1));
  }
});

it("an error lists its warnings one after the other", () => {
  const none = new Uint8Array(0);
  const wild = { physical: 2n ** 60n, bytes: none, memorySize: 1 };
  expect(() => openBytes(writeElf([wild, wild]))).toThrow(
    /so no memory; program header 1: [^;]*ignored; program header 2: /,
  );
});
