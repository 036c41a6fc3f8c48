import { describe, expect, it } from "vitest";
import { Warnings } from "../../src/formats/errors.js";
import { NoteCollector } from "../../src/formats/notes/notes.js";
import { pattern } from "../support/bytes.js";
import { openBytes } from "../support/dump.js";
import { text } from "../support/formats/text.js";
import {
  type ElfNote,
  type ElfOptions,
  elfNotes,
  type PrstatusOptions,
  prstatus,
  prstatusOf,
  writeElf,
} from "../support/write-elf.js";

const bytes = pattern(4096, 1);
const open = (options: ElfOptions) => openBytes(writeElf([{ physical: 0, bytes }], options));
const counted = (count: number, from = 0x1_0000_0000) => Array.from({ length: count }, (_, i) => from + i);
const at = (i: number, from = 0x1_0000_0000n) => from + BigInt(i);

describe("registers of NT_PRSTATUS, by architecture", () => {
  interface Case {
    readonly name: string;
    readonly options: ElfOptions;
    readonly status: Omit<PrstatusOptions, "pid">;
    /** Bytes of the note, as QEMU's and the kernel's structures have. */
    readonly size: number;
    readonly expected: Readonly<Record<string, bigint>>;
  }
  const cases: readonly Case[] = [
    {
      name: "x86-64 (struct user_regs_struct)",
      options: { machine: 62 },
      status: { registers: counted(27) },
      size: 336,
      expected: { r15: at(0), rbp: at(4), rax: at(10), rip: at(16), rsp: at(19), gs: at(26) },
    },
    {
      name: "arm64 (struct user_pt_regs)",
      options: { machine: 183 },
      status: { registers: counted(34) },
      size: 392,
      expected: { x0: at(0), x30: at(30), sp: at(31), pc: at(32), pstate: at(33) },
    },
    {
      name: "arm64, big-endian",
      options: { machine: 183, order: 2 },
      status: { registers: counted(34), bigEndian: true },
      size: 392,
      expected: { x0: at(0), x30: at(30), sp: at(31), pc: at(32), pstate: at(33) },
    },
    {
      name: "ppc64 (struct pt_regs, 48 words)",
      options: { machine: 21, order: 2 },
      status: { registers: counted(48), bigEndian: true },
      size: 504,
      expected: { r0: at(0), r1: at(1), r31: at(31), nip: at(32), msr: at(33), link: at(36), dsisr: at(42) },
    },
    {
      name: "s390x (s390_regs)",
      options: { machine: 22, order: 2 },
      status: {
        registers: [...counted(18), ...counted(16, 0x1000), 0x77],
        narrow: (i) => i >= 18 && i < 34,
        bigEndian: true,
      },
      size: 336,
      expected: {
        psw_mask: at(0),
        psw_addr: at(1),
        r0: at(2),
        r15: at(17),
        a0: 0x1000n,
        a15: 0x100fn,
        orig_r2: 0x77n,
      },
    },
    {
      name: "riscv64 (struct user_regs_struct)",
      options: { machine: 243 },
      status: { registers: counted(32) },
      size: 376,
      expected: { pc: at(0), ra: at(1), sp: at(2), a0: at(10), s11: at(27), t6: at(31) },
    },
    {
      name: "arm (struct pt_regs)",
      options: { machine: 40, class: 1 },
      status: { registers: counted(18, 0x8000), wordSize: 4 },
      size: 148,
      expected: { r0: 0x8000n, r12: 0x800cn, sp: 0x800dn, lr: 0x800en, pc: 0x800fn, cpsr: 0x8010n },
    },
    {
      name: "i386 (struct user_regs_struct)",
      options: { machine: 3, class: 1 },
      status: { registers: counted(17, 0x8000), wordSize: 4 },
      size: 144,
      expected: { ebx: 0x8000n, eax: 0x8006n, eip: 0x800cn, eflags: 0x800en, esp: 0x800fn },
    },
  ];

  it.each(cases)("$name", ({ options, status, size, expected }) => {
    const note = prstatusOf({ ...status, pid: 4711 });
    expect(note.description.length).toBe(size);
    const { cpus } = open({ ...options, notes: [note] }).notes;
    expect(cpus).toHaveLength(1);
    expect(cpus[0]?.pid).toBe(4711);
    expect(cpus[0]?.registers).toMatchObject(expected);
  });

  it("a note that is too short for its registers is none, and the others are shown", () => {
    const short = { ...prstatus(1, 100), description: prstatus(1, 100).description.subarray(0, 300) };
    expect(open({ notes: [short, prstatus(2, 200)] }).notes.cpus.map(({ pid }) => pid)).toEqual([2]);
  });
});

describe("s390x", () => {
  const registers = [...counted(18), ...counted(16, 0x1000), 0];
  const status = (pid: number) =>
    prstatusOf({ pid, registers, narrow: (i) => i >= 18 && i < 34, bigEndian: true });

  it("control registers and the prefix belong to the CPU before them", () => {
    const words = (value: number, count: number) => {
      const description = new Uint8Array(8 * count);
      for (let i = 0; i < count; i++) description[8 * i + 7] = value + i;
      return description;
    };
    const notes: ElfNote[] = [
      status(1),
      { name: "LINUX", type: 0x305, description: Uint8Array.of(0, 0, 0x20, 0) },
      { name: "LINUX", type: 0x304, description: words(0x40, 16) },
      status(2),
      { name: "LINUX", type: 0x304, description: words(0x60, 16) },
    ];
    const { cpus } = open({ machine: 22, order: 2, notes }).notes;
    expect(cpus[0]?.registers).toMatchObject({ prefix: 0x2000n, cr0: 0x40n, cr1: 0x41n, cr15: 0x4fn });
    expect(cpus[1]?.registers).toMatchObject({ cr0: 0x60n });
    expect(cpus[1]?.registers.prefix).toBeUndefined();
  });

  it("a process number in the byte order of QEMU's host is that number", () => {
    // QEMU, target/s390x/arch_dump.c: `pid = id`, without cpu_to_be32.
    expect(open({ machine: 22, order: 2, notes: [status(0x02000000)] }).notes.cpus[0]?.pid).toBe(2);
  });
});

describe("VMCOREINFO", () => {
  const note = (name: string, content: string): ElfNote => ({ name, type: 0, description: text(content) });

  it("is not what VMCOREINFO_XEN holds", () => {
    const xen = note("VMCOREINFO_XEN", "PAGESIZE=8192\n");
    expect(open({ notes: [xen] }).notes.vmcoreinfo).toBeUndefined();
    const both = open({ notes: [xen, note("VMCOREINFO", "PAGESIZE=4096\n")] }).notes;
    expect(both.pageSize).toBe(4096);
  });

  it("is found in big-endian notes", () => {
    const { notes } = open({ machine: 22, order: 2, notes: [note("VMCOREINFO", "PAGESIZE=4096\n")] });
    expect(notes.pageSize).toBe(4096);
  });
});

describe("padding of notes", () => {
  // Of sizes that lie elsewhere when they are padded to 4 and to 8 bytes.
  const notes: ElfNote[] = [
    { name: "AB", type: 5, description: new Uint8Array(2) },
    prstatus(1, 100),
    { name: "VMCOREINFO", type: 0, description: text("PAGESIZE=4096\n") },
    prstatus(2, 200),
  ];

  it.each([
    [4, 0],
    [4, 4],
    [4, 8],
    [8, 8],
    [8, 0],
    [8, 4],
  ])("to %d bytes is seen, whatever p_align says (%d)", (notePadding, noteAlign) => {
    const image = open({ notes, notePadding, noteAlign });
    expect(image.notes.cpus.map(({ pid, registers }) => [pid, registers.rip])).toEqual([
      [1, 116n],
      [2, 216n],
    ]);
    expect(image.notes.pageSize).toBe(4096);
    expect(image.warnings).toEqual([]);
  });

  it("is as p_align says where the list is broken either way", () => {
    const list = [prstatus(1, 100), { name: "X", type: 0, description: new Uint8Array(8) }];
    const file = writeElf([{ physical: 0, bytes }], { notes: list, notePadding: 8, noteAlign: 8 });
    // The second note's n_descsz, behind the ELF header and two program headers.
    const second = 64 + 2 * 56 + elfNotes(list.slice(0, 1), 8).length;
    new DataView(file.buffer).setUint32(second + 4, 0xffff_fff0, true);
    const image = openBytes(file);
    expect(image.notes.cpus).toMatchObject([{ pid: 1, registers: { rip: 116n } }]);
    expect(image.warnings).toEqual([
      `the ELF note at file offset 0x${second.toString(16)} claims 2 + 4294967280 bytes, beyond the end of the notes: ` +
        "it and what follows are ignored",
    ]);
  });

  it("notes of names without a NUL are read", () => {
    const { notes: found } = open({ notes: [{ ...prstatus(9, 1), nameSize: 4 }, prstatus(10, 1)] });
    expect(found.cpus.map(({ pid }) => pid)).toEqual([9, 10]);
  });

  it("room for CPUs that are not there is passed over", () => {
    const gap: ElfNote = { name: "", nameSize: 0, type: 0, description: new Uint8Array(0) };
    const { notes: found } = open({ notes: [prstatus(1, 1), gap, gap, gap, prstatus(2, 1)] });
    expect(found.cpus.map(({ pid }) => pid)).toEqual([1, 2]);
  });
});

describe("many CPUs", () => {
  it("a thousand are shown, in their order", () => {
    const notes = Array.from({ length: 1000 }, (_, i) => prstatus(i + 1, i));
    const { cpus } = open({ notes }).notes;
    expect(cpus.map(({ pid }) => pid)).toEqual(Array.from({ length: 1000 }, (_, i) => i + 1));
    expect(cpus[999]?.registers.r15).toBe(999n);
  });

  it("more than any machine has end with a warning, not with the program's memory", () => {
    const notes = Array.from({ length: 170 }, (_, i) => prstatus(i, i));
    const image = open({ notes, extraNoteHeaders: 99 });
    expect(image.notes.cpus).toHaveLength(16_384);
    expect(image.warnings).toEqual([
      "notes of more than 16384 CPUs: the registers of the rest are not shown",
    ]);
  });
});

it("a gap of two words or more between notes loses none of them", () => {
  for (const gap of [8, 12, 16, 20, 100]) {
    const [first, second] = [1, 2].map((pid) => elfNotes([prstatus(pid, 100)])) as [Uint8Array, Uint8Array];
    const list = new Uint8Array(first.length + gap + second.length + gap);
    list.set(first);
    list.set(second, first.length + gap);
    const warnings = new Warnings();
    const notes = new NoteCollector("x", "x86_64", warnings);
    notes.add(list, 0);
    expect(notes.notes().cpus.map(({ pid }) => pid)).toEqual([1, 2]);
    expect(warnings.list()).toEqual([]);
  }
});
