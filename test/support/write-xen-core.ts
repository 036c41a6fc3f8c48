/**
 * Cores of Xen guests for tests, as libxc's xc_core.c writes them, from the structures of xc_core.h, elfnote.h and
 * arch-x86/xen.h, field by field in the order of their declaration; shares nothing with the reader.
 */
import { ByteWriter } from "./bytes.js";

const PAGE = 4096;
const NONE = 0xffff_ffff_ffff_ffffn;

export interface XenPage {
  /** `undefined`: XC_CORE_INVALID_PFN, a page of zeros that belongs to nobody. */
  readonly pfn: number | bigint | undefined;
  /** 4096 bytes. */
  readonly bytes: Uint8Array;
}

export interface XenOptions {
  /** Default `hvm`. */
  readonly guest?: "hvm" | "pv";
  /** Contexts of the CPUs, all of one size. */
  readonly vcpus?: readonly Uint8Array[];
  /** As Xen 3.1: the table of frames before the pages. */
  readonly tableFirst?: boolean;
  readonly machine?: number;
  /** More sections than the header can count: the counts go into section header 0. */
  readonly extended?: boolean;
  /** 2: big-endian. */
  readonly order?: number;
  /** Overrides for damage. */
  readonly pages?: number | bigint;
  readonly pageSize?: number | bigint;
  readonly magic?: number;
  readonly formatVersion?: bigint;
  /** Entries that the table's section claims to have, more or fewer than there are. */
  readonly tableEntries?: number;
  readonly pagesSectionSize?: number;
  readonly withoutNote?: boolean;
  readonly withoutNames?: boolean;
}

interface Section {
  readonly name: string;
  readonly type: number;
  readonly content: Uint8Array;
  readonly align: number;
  readonly entrySize: number;
  readonly claimedSize?: number | undefined;
}

export function writeXenCore(pages: readonly XenPage[], options: XenOptions = {}): Uint8Array {
  const bigEndian = options.order === 2;
  const writer = () => new ByteWriter(bigEndian);
  const pv = options.guest === "pv";
  const vcpus = options.vcpus ?? [];
  const names = writer().text("\0.shstrtab\0");
  const nameOf = (name: string) => {
    const at = names.length;
    names.text(name, name.length + 1);
    return options.withoutNames === true ? 0 : at;
  };

  const table = writer();
  for (const { pfn } of pages) {
    table.u64(pfn ?? NONE);
    if (pv) table.u64(pfn === undefined ? NONE : BigInt(pfn) + 0x123456n); // gmfn
  }
  const memory = new Uint8Array(pages.length * PAGE);
  pages.forEach(({ bytes }, i) => {
    memory.set(bytes, i * PAGE);
  });

  const entrySize = pv ? 16 : 8;
  const before: Section[] = [];
  if (options.withoutNote !== true) {
    const content = xenNotes(pages.length, vcpus.length, options);
    before.push({ name: ".note.Xen", type: 7, content, align: 0, entrySize: 0 });
  }
  const contextSize = vcpus[0]?.length ?? 0;
  const contexts = new Uint8Array(contextSize * vcpus.length);
  vcpus.forEach((context, i) => {
    contexts.set(context, i * contextSize);
  });
  before.push({ name: ".xen_prstatus", type: 1, content: contexts, align: 8, entrySize: contextSize });
  before.push({
    name: ".xen_shared_info",
    type: 1,
    content: new Uint8Array(PAGE),
    align: 8,
    entrySize: PAGE,
  });
  const frames: Section = {
    name: pv ? ".xen_p2m" : ".xen_pfn",
    type: 1,
    content: table.done(),
    align: 8,
    entrySize,
    claimedSize: options.tableEntries === undefined ? undefined : options.tableEntries * entrySize,
  };
  const memorySection: Section = {
    name: ".xen_pages",
    type: 1,
    content: memory,
    align: PAGE,
    entrySize: PAGE,
    claimedSize: options.pagesSectionSize,
  };
  const sections = options.tableFirst
    ? [...before, frames, memorySection]
    : [...before, memorySection, frames];
  // Section 0 is null, section 1 the names', which lie at the end of the file.
  const count = sections.length + 2;
  const headers = sections.map((section) => ({ ...section, nameAt: nameOf(section.name) }));

  const out = writer();
  out
    .text("\x7fELF")
    .u8(2)
    .u8(options.order ?? 1)
    .u8(1)
    .u8(0)
    .u8(1)
    .upTo(16); // e_ident
  out
    .u16(4)
    .u16(options.machine ?? 62)
    .u32(1)
    .u64(0); // type, machine, version, entry
  out.u64(0).u64(64).u32(0); // phoff, shoff, flags
  out.u16(64).u16(56).u16(0); // ehsize, phentsize, phnum
  out
    .u16(64)
    .u16(options.extended ? 0 : count)
    .u16(options.extended ? 0xffff : 1); // shentsize, shnum, shstrndx

  const offsets: number[] = [];
  let at = 64 + count * 64;
  for (const { content, align } of headers) {
    if (align === PAGE) at = Math.ceil(at / PAGE) * PAGE;
    offsets.push(at);
    at += content.length;
  }
  const header = (
    nameAt: number,
    type: number,
    offset: number,
    size: number,
    link: number,
    align: number,
    each: number,
  ) => {
    out.u32(nameAt).u32(type).u64(0).u64(0); // name, type, flags, addr
    out.u64(offset).u64(size).u32(link).u32(0); // offset, size, link, info
    out.u64(align).u64(each); // addralign, entsize
  };
  header(0, 0, 0, options.extended ? count : 0, options.extended ? 1 : 0, 0, 0);
  header(1, 3, options.withoutNames ? 2 ** 40 : at, names.length, 0, 0, 0);
  headers.forEach(({ nameAt, type, content, claimedSize, align, entrySize: each }, i) => {
    header(nameAt, type, offsets[i] as number, claimedSize ?? content.length, 0, align, each);
  });
  headers.forEach(({ content }, i) => {
    out.upTo(offsets[i] as number).bytes(content);
  });
  return out.bytes(names.done()).done();
}

function xenNotes(pages: number, vcpus: number, options: XenOptions): Uint8Array {
  const out = new ByteWriter(options.order === 2);
  /** struct elfnote: namesz, descsz, type, name. */
  const note = (type: number, size: number) => out.u32(4).u32(size).u32(type).text("Xen", 4);
  note(0x2000000, 0); // XEN_ELFNOTE_DUMPCORE_NONE
  note(0x2000001, 32); // XEN_ELFNOTE_DUMPCORE_HEADER
  out.u64(options.magic ?? (options.guest === "pv" ? 0xf00febed : 0xf00febee)); // xch_magic
  out
    .u64(vcpus)
    .u64(options.pages ?? pages)
    .u64(options.pageSize ?? PAGE); // nr_vcpus, nr_pages, page_size
  note(0x2000002, 8 + 8 + 16 + 144 + 1024 + 64 + 8 + 8); // XEN_ELFNOTE_DUMPCORE_XEN_VERSION
  out.u64(4).u64(17).text(".1", 16); // major_version, minor_version, extra_version
  out.text("gcc", 64).text("root", 16).text("example", 32).text("today", 32); // compile_info
  out.text("xen-3.0-x86_64", 1024).text("changeset", 64).u64(0xffff800000000000n).u64(PAGE);
  note(0x2000003, 8).u64(options.formatVersion ?? 1n); // XEN_ELFNOTE_DUMPCORE_FORMAT_VERSION: 0, 1
  return out.done();
}

/** A `vcpu_guest_context` of 64 bits (5168 bytes), with registers from `base` on. */
export function xenVcpu64(base: number, cr3: number): Uint8Array {
  const out = new ByteWriter();
  out.bytes(new Uint8Array(512)).u64(1); // fpu_ctxt, flags
  for (let i = 0; i < 15; i++) out.u64(base + i); // r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi
  out.u32(0xe).u32(0xf); // error_code, entry_vector
  out
    .u64(base + 15)
    .u16(0x10)
    .u16(0)
    .u8(1)
    .u8(0)
    .u8(0)
    .u8(0); // rip, cs, _pad0, saved_upcall_mask, _pad1
  out.u64(base + 16).u64(base + 17); // rflags, rsp
  for (const selector of [0x18, 0x20, 0x28, 0x30, 0x38]) out.u16(selector).u16(7).u16(7).u16(7); // ss es ds fs gs
  for (let i = 0; i < 256; i++) out.u8(i).u8(0).u16(0x10).u32(0).u64(0xdead); // trap_ctxt
  out.u64(0x1d).u64(2); // ldt_base, ldt_ents
  for (let i = 0; i < 16; i++) out.u64(0x900 + i); // gdt_frames
  out.u64(512).u64(0x18).u64(0x5000); // gdt_ents, kernel_ss, kernel_sp
  out.u64(0x80050033).u64(0x11).u64(0xabc).u64(cr3).u64(0x6f0).u64(5).u64(6).u64(7); // ctrlreg
  for (let i = 0; i < 8; i++) out.u64(0xd0 + i); // debugreg
  out.u64(1).u64(2).u64(3).u64(0xf); // event, failsafe, syscall callbacks; vm_assist
  out.u64(0xf5).u64(0x65).u64(0x66); // fs_base, gs_base_kernel, gs_base_user
  return out.done();
}

/** A `vcpu_guest_context` of 32 bits (2800 bytes). @param room Bytes that it is stored in: a 64-bit Xen's. */
export function xenVcpu32(base: number, cr3: number, room = 2800): Uint8Array {
  const out = new ByteWriter();
  out.bytes(new Uint8Array(512)).u32(1); // fpu_ctxt, flags
  for (let i = 0; i < 7; i++) out.u32(base + i); // ebx ecx edx esi edi ebp eax
  out
    .u16(0xe)
    .u16(0xf)
    .u32(base + 7); // error_code, entry_vector, eip
  out
    .u16(0x61)
    .u8(1)
    .u8(0)
    .u32(base + 8)
    .u32(base + 9); // cs, saved_upcall_mask, _pad0, eflags, esp
  for (const selector of [0x69, 0x7b, 0x7c, 0x7d, 0x7e]) out.u16(selector).u16(7); // ss es ds fs gs
  for (let i = 0; i < 256; i++) out.u8(i).u8(0).u16(0x61).u32(0xdead); // trap_ctxt
  out.u32(0x1d).u32(2); // ldt_base, ldt_ents
  for (let i = 0; i < 16; i++) out.u32(0x900 + i); // gdt_frames
  out.u32(512).u32(0x69).u32(0x5000); // gdt_ents, kernel_ss, kernel_sp
  out.u32(0x8005003b).u32(0x11).u32(0xabc).u32(cr3).u32(0x660).u32(5).u32(6).u32(7); // ctrlreg
  for (let i = 0; i < 8; i++) out.u32(0xd0 + i); // debugreg
  out.u32(0x61).u32(1).u32(0x61).u32(2).u32(0xf); // callbacks with their selectors; vm_assist
  return out.upTo(room).done();
}
