import { describe, expect, it } from "vitest";
import { openDump } from "../../src/formats/index.js";
import { readInto, readPartial } from "../../src/io/index.js";
import { pattern } from "../support/bytes.js";
import { expectImage, ImageModel, openBytes, testFile } from "../support/dump.js";
import { prstatus, qemuState, writeElf } from "../support/write-elf.js";

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
  model.mark(400, 700, "excluded");
  model.present(0, c);
  model.present(50, b);
  model.present(100, a);
  const image = openBytes(
    writeElf([
      { physical: 100, bytes: a, memorySize: 600 },
      { physical: 50, bytes: b },
      { physical: 0, bytes: c },
    ]),
  );
  expectImage(image, model);
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
  ["EI_CLASS", { class: 1 }, /32-bit ELF core/],
  ["EI_CLASS", { class: 7 }, /neither 1/],
  ["EI_DATA", { order: 2 }, /big-endian ELF core/],
  ["e_type", { type: 2 }, /this ELF file is a program, not a core dump/],
] as const)("what is not read is refused by its %s", (field, options, message) => {
  expect(() => openBytes(writeElf([{ physical: 0, bytes }], options))).toThrow(
    expect.objectContaining({ field, message: expect.stringMatching(message) }),
  );
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
