/**
 * ELF core files for tests, of either class and byte order, written from the System V ABI's structures field by field
 * in the order of their declaration; shares nothing with the reader.
 */
import { ByteWriter } from "./bytes.js";

export interface ElfSegment {
  readonly physical: number | bigint;
  readonly bytes: Uint8Array;
  /** Bytes in memory; default those in the file. */
  readonly memorySize?: number | bigint;
  readonly virtual?: number | bigint;
  /** Overrides for damage. */
  readonly fileSize?: number | bigint;
  readonly offset?: number | bigint;
}

export interface ElfNote {
  readonly name: string;
  readonly type: number;
  readonly description: Uint8Array;
  /** `n_namesz`; default: with the NUL. */
  readonly nameSize?: number;
}

export interface ElfOptions {
  readonly machine?: number;
  readonly type?: number;
  /** 1: 32 bits; anything else is written as 64. */
  readonly class?: number;
  /** 2: big-endian; anything else is written as little-endian. */
  readonly order?: number;
  readonly notes?: readonly ElfNote[];
  /** Notes are padded to so many bytes; default 4. */
  readonly notePadding?: number;
  /** `p_align` of the notes' segment; default 0. */
  readonly noteAlign?: number;
  /** As QEMU 7.2: e_ehsize 8, section table at 64, program headers behind it. */
  readonly likeQemu?: boolean;
  /** More than 65,534 segments: the count goes into the first section header. */
  readonly extended?: boolean;
  /** Puts the program headers behind the data. */
  readonly headersLast?: boolean;
  /** More PT_NOTE headers, all of the same bytes; default 0. */
  readonly extraNoteHeaders?: number;
}

export function elfNotes(notes: readonly ElfNote[], padding = 4, bigEndian = false): Uint8Array {
  const out = new ByteWriter(bigEndian);
  for (const { name, type, description, nameSize } of notes) {
    out
      .u32(nameSize ?? name.length + 1)
      .u32(description.length)
      .u32(type);
    out.text(name, nameSize ?? name.length + 1).alignTo(padding);
    out.bytes(description).alignTo(padding);
  }
  return out.done();
}

export function writeElf(segments: readonly ElfSegment[], options: ElfOptions = {}): Uint8Array {
  const wide = options.class !== 1;
  const bigEndian = options.order === 2;
  const headerSize = wide ? 64 : 52;
  const entrySize = wide ? 56 : 32;
  const sectionSize = wide ? 64 : 40;
  const notes = elfNotes(options.notes ?? [], options.notePadding, bigEndian);
  const sections = options.likeQemu === true || options.extended === true;
  const noteHeaders = 1 + (options.extraNoteHeaders ?? 0);
  const count = segments.length + noteHeaders;
  const afterHeader = headerSize + (sections ? sectionSize : 0);
  const dataBytes = segments.reduce((sum, segment) => sum + segment.bytes.length, 0);
  const headersAt = options.headersLast ? afterHeader + notes.length + dataBytes : afterHeader;
  const notesAt = options.headersLast ? afterHeader : afterHeader + count * entrySize;

  const out = new ByteWriter(bigEndian);
  /** Elf64_Addr and Elf64_Off, or Elf32_Addr and Elf32_Off. */
  const word = (value: number | bigint) =>
    wide ? out.u64(value) : out.u32(Number(BigInt.asUintN(32, BigInt(value))));
  out
    .text("\x7fELF")
    .u8(options.class ?? 2)
    .u8(options.order ?? 1)
    .u8(1)
    .upTo(16); // e_ident
  out
    .u16(options.type ?? 4)
    .u16(options.machine ?? 62)
    .u32(1); // type, machine, version
  word(0); // entry
  word(headersAt); // phoff
  word(sections ? headerSize : 0); // shoff
  out.u32(0); // flags
  out
    .u16(options.likeQemu ? 8 : headerSize)
    .u16(entrySize)
    .u16(options.extended ? 0xffff : count); // ehsize, phentsize, phnum
  out
    .u16(sectionSize)
    .u16(sections ? 1 : 0)
    .u16(0); // shentsize, shnum, shstrndx
  if (sections) {
    out.u32(0).u32(0); // name, type
    word(0); // flags
    word(0); // addr
    word(0); // offset
    word(0); // size
    out.u32(0).u32(count); // link, info: the number of program headers
    word(0); // addralign
    word(0); // entsize
  }

  const programHeader = (type: number, offset: number | bigint, segment: Required<WrittenSegment>) => {
    out.u32(type);
    if (wide) out.u32(7); // flags
    word(offset);
    word(segment.virtual);
    word(segment.physical);
    word(segment.fileSize);
    word(segment.memorySize);
    if (!wide) out.u32(7); // flags
    word(segment.align);
  };
  const programHeaders = () => {
    const { length } = notes;
    const align = options.noteAlign ?? 0;
    for (let i = 0; i < noteHeaders; i++)
      programHeader(4, notesAt, { virtual: 0, physical: 0, fileSize: length, memorySize: length, align });
    let at = notesAt + notes.length;
    for (const { physical, bytes, memorySize, virtual, fileSize, offset } of segments) {
      programHeader(1, offset ?? at, {
        virtual: virtual ?? 0,
        physical,
        fileSize: fileSize ?? bytes.length,
        memorySize: memorySize ?? bytes.length,
        align: 0,
      });
      at += bytes.length;
    }
  };
  if (!options.headersLast) programHeaders();
  out.bytes(notes);
  for (const { bytes } of segments) out.bytes(bytes);
  if (options.headersLast) programHeaders();
  return out.done();
}

interface WrittenSegment {
  readonly virtual: number | bigint;
  readonly physical: number | bigint;
  readonly fileSize: number | bigint;
  readonly memorySize: number | bigint;
  readonly align: number;
}

/** An NT_PRSTATUS note of x86-64: 27 registers, each its place in the order plus `base`. */
export function prstatus(pid: number, base: number): ElfNote {
  const out = new ByteWriter();
  out
    .upTo(32)
    .u32(pid)
    .upTo(32 + 4 + 76);
  for (let i = 0; i < 27; i++) out.u64(base + i);
  out.u64(0);
  return { name: "CORE", type: 1, description: out.done() };
}

/** What {@link prstatusOf} writes. */
export interface PrstatusOptions {
  readonly pid: number;
  /** The registers, in the order of the architecture. */
  readonly registers: readonly (number | bigint)[];
  /** Bytes of each; default 8, and of the rest of the structure likewise. */
  readonly wordSize?: 4 | 8;
  /** Indices of registers of 4 bytes in a structure of 8. */
  readonly narrow?: (index: number) => boolean;
  readonly bigEndian?: boolean;
  readonly tail?: number;
}

/** An NT_PRSTATUS note of any architecture: `struct elf_prstatus` of linux/elfcore.h. */
export function prstatusOf(options: PrstatusOptions): ElfNote {
  const { pid, registers, wordSize = 8, narrow = () => false, bigEndian = false, tail = wordSize } = options;
  const out = new ByteWriter(bigEndian);
  const long = (value: number | bigint) => (wordSize === 8 ? out.u64(value) : out.u32(Number(value)));
  out.u32(0).u32(0).u32(0); // pr_info: si_signo, si_code, si_errno
  out.u16(0).alignTo(wordSize); // pr_cursig
  long(0); // pr_sigpend
  long(0); // pr_sighold
  out.u32(pid).u32(0).u32(0).u32(0); // pr_pid, pr_ppid, pr_pgrp, pr_sid
  for (let i = 0; i < 8; i++) long(0); // pr_utime, pr_stime, pr_cutime, pr_cstime
  registers.forEach((value, i) => {
    if (narrow(i)) out.u32(Number(value));
    else long(value);
  });
  out.bytes(new Uint8Array(tail)); // pr_fpvalid and padding
  return { name: "CORE", type: 1, description: out.done() };
}

/** QEMU's CPU note: 18 registers from `base` on, ten segments, five control registers, kernel_gs_base. */
export function qemuState(base: number, cr3: number | bigint, cr4 = 0x6f0): ElfNote {
  const out = new ByteWriter();
  out.u32(1).u32(440);
  for (let i = 0; i < 18; i++) out.u64(base + i);
  for (let i = 0; i < 10; i++)
    out
      .u32(8 * i)
      .u32(0xffff)
      .u32(0)
      .u32(0)
      .u64(0x1000 * i);
  out.u64(0x80050033).u64(0).u64(0xabc).u64(cr3).u64(cr4);
  out.u64(0xffff888000000000n);
  return { name: "QEMU", type: 0, description: out.done() };
}

/** VirtualBox's note of the dump: DBGFCOREDESCRIPTOR, version 7.0.12. Its name has no NUL in `n_namesz`. */
export function virtualBoxCore(cpus: number, formatVersion = 0x10006): ElfNote {
  const out = new ByteWriter();
  out.u32(0xc01ac0de).u32(formatVersion).u32(24); // u32Magic, u32FmtVersion, cbSelf
  out
    .u32((7 << 24) | (0 << 16) | 12)
    .u32(159484)
    .u32(cpus); // u32VBoxVersion, u32VBoxRevision, cCpus
  return { name: "VBCORE", nameSize: 6, type: 0xb00, description: out.done() };
}

/** VirtualBox's note of a CPU: DBGFCORECPU, with registers from `base` on. */
export function virtualBoxCpu(base: number, cr3: number): ElfNote {
  const out = new ByteWriter();
  let next = base;
  const registers = (count: number) => {
    for (let i = 0; i < count; i++) out.u64(next++);
  };
  const selector = (value: number) =>
    // uBase, uLimit, uAttr, uSel, uReserved0, uReserved1
    out
      .u64(0x1000 * value)
      .u32(0xffffffff)
      .u32(0xc093)
      .u16(value)
      .u16(0)
      .u32(0);
  const table = (address: bigint) => out.u64(address).u32(0xfff).u32(0); // uAddr, cb, uReserved0
  registers(18); // rax rbx rcx rdx rsi rdi r8 … r15 rip rsp rbp rflags
  for (let i = 1; i <= 6; i++) selector(8 * i); // cs ds es fs gs ss
  out.u64(0x80050033).u64(0xabc).u64(cr3).u64(0x6f0); // cr0 cr2 cr3 cr4
  for (let i = 0; i < 8; i++) out.u64(0xd0 + i); // dr
  table(0xfffffe0000001000n); // gdtr
  table(0xfffffe0000000000n); // idtr
  selector(0x50); // ldtr
  selector(0x40); // tr
  out.u64(0x10).u64(0xe1).u64(0xe2); // sysenter: cs, eip, esp
  out.u64(0xd01).u64(0x51).u64(0x52).u64(0x53).u64(0x54).u64(0x55); // msrEFER STAR PAT LSTAR CSTAR SFMASK
  out.u64(0xffff888000000000n).u64(0xfee00900).u64(1); // msrKernelGSBase, msrApicBase, msrTscAux
  out.u64(7).u64(0).u32(576).u32(0); // aXcr, cbExt, uPadding0
  out.bytes(new Uint8Array(0x2000)); // ext: X86XSAVEAREA
  return { name: "VBCPU", nameSize: 5, type: 0xb01, description: out.done() };
}
