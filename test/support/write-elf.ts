/** ELF64 core files for tests, written from the System V ABI's structures; shares nothing with the reader. */
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
}

export interface ElfOptions {
  readonly machine?: number;
  readonly type?: number;
  readonly class?: number;
  readonly order?: number;
  readonly notes?: readonly ElfNote[];
  /** As QEMU 7.2: e_ehsize 8, section table at 64, program headers behind it. */
  readonly likeQemu?: boolean;
  /** More than 65,534 segments: the count goes into the first section header. */
  readonly extended?: boolean;
  /** Puts the program headers behind the data. */
  readonly headersLast?: boolean;
  /** More PT_NOTE headers, all of the same bytes; default 0. */
  readonly extraNoteHeaders?: number;
}

export function elfNotes(notes: readonly ElfNote[]): Uint8Array {
  const out = new ByteWriter();
  for (const { name, type, description } of notes) {
    out
      .u32(name.length + 1)
      .u32(description.length)
      .u32(type);
    out.text(name, name.length + 1).alignTo(4);
    out.bytes(description).alignTo(4);
  }
  return out.done();
}

export function writeElf(segments: readonly ElfSegment[], options: ElfOptions = {}): Uint8Array {
  const notes = elfNotes(options.notes ?? []);
  const sections = options.likeQemu === true || options.extended === true;
  const noteHeaders = 1 + (options.extraNoteHeaders ?? 0);
  const count = segments.length + noteHeaders;
  const afterHeader = 64 + (sections ? 64 : 0);
  const dataBytes = segments.reduce((sum, segment) => sum + segment.bytes.length, 0);
  const headersAt = options.headersLast ? afterHeader + notes.length + dataBytes : afterHeader;
  const notesAt = options.headersLast ? afterHeader : afterHeader + count * 56;

  const out = new ByteWriter();
  out
    .text("\x7fELF")
    .u8(options.class ?? 2)
    .u8(options.order ?? 1)
    .u8(1)
    .upTo(16); // e_ident
  out
    .u16(options.type ?? 4)
    .u16(options.machine ?? 62)
    .u32(1)
    .u64(0); // type, machine, version, entry
  out
    .u64(headersAt)
    .u64(sections ? 64 : 0)
    .u32(0); // phoff, shoff, flags
  out
    .u16(options.likeQemu ? 8 : 64)
    .u16(56)
    .u16(options.extended ? 0xffff : count); // ehsize, phentsize, phnum
  out
    .u16(64)
    .u16(sections ? 1 : 0)
    .u16(0); // shentsize, shnum, shstrndx
  if (sections) out.u32(0).u32(0).u64(0).u64(0).u64(0).u64(0).u32(0).u32(count).u64(0).u64(0); // sh_info: count

  const programHeaders = () => {
    for (let i = 0; i < noteHeaders; i++)
      out.u32(4).u32(0).u64(notesAt).u64(0).u64(0).u64(notes.length).u64(notes.length).u64(0); // PT_NOTE
    let at = notesAt + notes.length;
    for (const { physical, bytes, memorySize, virtual, fileSize, offset } of segments) {
      out
        .u32(1)
        .u32(0)
        .u64(offset ?? at); // PT_LOAD, flags, offset
      out.u64(virtual ?? 0).u64(physical); // vaddr, paddr
      out
        .u64(fileSize ?? bytes.length)
        .u64(memorySize ?? bytes.length)
        .u64(0); // filesz, memsz, align
      at += bytes.length;
    }
  };
  if (!options.headersLast) programHeaders();
  out.bytes(notes);
  for (const { bytes } of segments) out.bytes(bytes);
  if (options.headersLast) programHeaders();
  return out.done();
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
