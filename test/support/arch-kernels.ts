/**
 * Kernels of every architecture in a megabyte or two of RAM: an image of some pages, its page tables written by hand from the
 * manuals, and the VMCOREINFO that such a kernel leaves. Shares no code with src.
 */
import { MemoryIo, type PacketIo, withMapping } from "../../src/io/index.js";
import { PhysicalMap } from "../../src/memory/index.js";

/** How an architecture writes its tables. */
interface Layout {
  /** Lowest address bit of each level's index, root first; the bits up to the next are the index. */
  readonly shifts: readonly number[];
  /** Bits of the root's index. */
  readonly rootBits: number;
  readonly entryBytes: 4 | 8;
  readonly table: (physical: bigint) => bigint;
  readonly page: (physical: bigint) => bigint;
  /** Entry of a root, where that is not like other tables. */
  readonly rootEntry?: (physical: bigint) => bigint;
}

const x86 = (shifts: readonly number[], rootBits: number): Layout => ({
  shifts,
  rootBits,
  entryBytes: 8,
  table: (at) => at | 0x63n,
  page: (at) => at | 0x8000_0000_0000_0161n,
});
const arm = (shifts: readonly number[], rootBits: number): Layout => ({
  shifts,
  rootBits,
  entryBytes: 8,
  table: (at) => at | 3n,
  page: (at) => at | 0x0060_0000_0000_0783n,
});
const riscv = (shifts: readonly number[]): Layout => ({
  shifts,
  rootBits: 9,
  entryBytes: 8,
  table: (at) => (at >> 2n) | 1n,
  page: (at) => (at >> 2n) | 0xe3n,
});

/** A kernel to make. */
export interface ArchKernelOptions {
  readonly layout: Layout;
  readonly pageSize: number;
  /** Where RAM begins, and how long it is. */
  readonly base: number;
  readonly length: number;
  /** Virtual address of the image's first page, and how far from RAM's beginning it lies. */
  readonly image: bigint;
  readonly imageAt: number;
  /** Bytes from `swapper_pg_dir` to the root that the hardware takes. */
  readonly rootShift?: number;
  /** Lines of VMCOREINFO that only this architecture has; `OFFSET` stands for virtual minus physical, in hex. */
  readonly lines: readonly string[];
}

const MIB = 1 << 20;
/** Pages of the image; the second is `swapper_pg_dir`'s. */
const IMAGE_PAGES = 6;

/** What is made of it. */
export interface ArchKernel {
  readonly bytes: Uint8Array;
  readonly io: PacketIo<number>;
  readonly map: PhysicalMap;
  readonly text: string;
  readonly note: Uint8Array;
  /** Physical address of the root. */
  readonly root: number;
  /** Virtual and physical address of a word of the image, and what it holds. */
  readonly word: { readonly virtual: bigint; readonly physical: number; readonly value: number };
}

/** Kernels by what they are. */
export const ARCH_KERNELS: Readonly<Record<string, ArchKernelOptions & { readonly mmu: string }>> = {
  "x86-64, five levels": {
    mmu: "x86-64-la57",
    layout: x86([48, 39, 30, 21, 12], 9),
    pageSize: 4096,
    base: 0,
    length: MIB,
    image: 0xffff_ffff_9100_0000n,
    imageAt: 0x40000,
    // phys_base = physical - (virtual - __START_KERNEL_map)
    lines: [
      `NUMBER(phys_base)=${0x40000 - 0x1100_0000}`,
      "NUMBER(pgtable_l5_enabled)=1",
      "KERNELOFFSET=10000000",
    ],
  },
  "x86-64, four levels, with memory encryption": {
    mmu: "x86-64",
    layout: {
      ...x86([39, 30, 21, 12], 9),
      table: (at) => at | 0x63n | (1n << 47n),
      page: (at) => at | 0x161n | (1n << 47n),
    },
    pageSize: 4096,
    base: 0,
    length: MIB,
    image: 0xffff_ffff_9100_0000n,
    imageAt: 0x40000,
    lines: [
      `NUMBER(phys_base)=${0x40000 - 0x1100_0000}`,
      "NUMBER(pgtable_l5_enabled)=0",
      `NUMBER(sme_mask)=${2 ** 47}`,
    ],
  },
  "i386, two levels": {
    mmu: "x86-32",
    layout: {
      ...x86([22, 12], 10),
      entryBytes: 4,
      table: (at) => at | 0x63n,
      page: (at) => at | 0x163n,
    },
    pageSize: 4096,
    base: 0,
    length: MIB,
    image: 0xc004_0000n,
    imageAt: 0x40000,
    lines: ["SYMBOL(mem_section)=c0050000"],
  },
  "i386 with PAE, split at 2 GiB": {
    mmu: "x86-pae",
    layout: { ...x86([30, 21, 12], 2), rootEntry: (at) => at | 1n },
    pageSize: 4096,
    base: 0,
    length: MIB,
    image: 0x8004_0000n,
    imageAt: 0x40000,
    lines: ["CONFIG_X86_PAE=y"],
  },
  "arm64, 4 KiB, 48 bits": {
    mmu: "aarch64-4k-48",
    layout: arm([39, 30, 21, 12], 9),
    pageSize: 4096,
    base: 0x4000_0000,
    length: MIB,
    image: 0xffff_d5f7_1521_0000n,
    imageAt: 0x40000,
    lines: ["NUMBER(VA_BITS)=48", "NUMBER(kimage_voffset)=0xOFFSET", "NUMBER(TCR_EL1_T1SZ)=0x10"],
  },
  "arm64, 4 KiB, 39 bits": {
    mmu: "aarch64-4k-39",
    layout: arm([30, 21, 12], 9),
    pageSize: 4096,
    base: 0x4000_0000,
    length: MIB,
    image: 0xffff_ffc0_1521_0000n,
    imageAt: 0x40000,
    // Before 5.8, the processor's choice is the kernel's.
    lines: ["NUMBER(VA_BITS)=39", "NUMBER(kimage_voffset)=0xOFFSET"],
  },
  "arm64, 64 KiB, built for 52 bits on a processor of 48": {
    mmu: "aarch64-64k-48-lpa",
    layout: arm([42, 29, 16], 6),
    pageSize: 65_536,
    base: 0x4000_0000,
    length: 2 * MIB,
    image: 0xffff_d5f7_1521_0000n,
    imageAt: 0x100000,
    rootShift: 960 * 8,
    lines: ["NUMBER(VA_BITS)=52", "NUMBER(kimage_voffset)=0xOFFSET", "NUMBER(TCR_EL1_T1SZ)=0x10"],
  },
  "riscv64, Sv39": {
    mmu: "riscv-sv39",
    layout: riscv([30, 21, 12]),
    pageSize: 4096,
    base: 0x8000_0000,
    length: MIB,
    image: 0xffff_ffff_8000_0000n,
    imageAt: 0x40000,
    lines: ["NUMBER(VA_BITS)=39", "NUMBER(va_kernel_pa_offset)=0xOFFSET", "NUMBER(phys_ram_base)=2147483648"],
  },
  "riscv64, Sv57": {
    mmu: "riscv-sv57",
    layout: riscv([48, 39, 30, 21, 12]),
    pageSize: 4096,
    base: 0x8000_0000,
    length: MIB,
    image: 0xffff_ffff_8000_0000n,
    imageAt: 0x40000,
    lines: ["NUMBER(VA_BITS)=57", "NUMBER(va_kernel_pa_offset)=0xOFFSET"],
  },
};

/** Makes one. @param textAt Where VMCOREINFO lies in RAM, in bytes from its beginning; by default nowhere. */
export function makeArchKernel(options: ArchKernelOptions, textAt?: number): ArchKernel {
  const { layout, pageSize, base, length, image, imageAt, rootShift = 0 } = options;
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  const physical = base + imageAt;
  const root = physical + pageSize + rootShift;
  // Tables lie behind the image, a page each.
  let free = imageAt + (IMAGE_PAGES + 1) * pageSize;
  const write = (at: number, value: bigint) => {
    if (layout.entryBytes === 8) view.setBigUint64(at - base, value, true);
    else view.setUint32(at - base, Number(value), true);
  };
  const read = (at: number) =>
    layout.entryBytes === 8 ? view.getBigUint64(at - base, true) : BigInt(view.getUint32(at - base, true));
  const made = new Map<number, number>();
  for (let page = 0; page < IMAGE_PAGES; page++) {
    const virtual = image + BigInt(page * pageSize);
    let table = root;
    for (const [depth, shift] of layout.shifts.entries()) {
      const above = layout.shifts[depth - 1];
      const indexBits = above === undefined ? layout.rootBits : above - shift;
      const index = Number((virtual >> BigInt(shift)) & ((1n << BigInt(indexBits)) - 1n));
      const at = table + index * layout.entryBytes;
      if (depth === layout.shifts.length - 1) {
        write(at, layout.page(BigInt(physical + page * pageSize)));
      } else {
        if (read(at) === 0n) {
          made.set(at, base + free);
          const form = depth === 0 ? (layout.rootEntry ?? layout.table) : layout.table;
          write(at, form(BigInt(base + free)));
          free += pageSize;
        }
        table = made.get(at) as number;
      }
    }
  }
  const offset = BigInt.asUintN(64, image - BigInt(physical)).toString(16);
  const symbol = (name: string, page: number, more = 0) =>
    `SYMBOL(${name})=${(image + BigInt(page * pageSize + more)).toString(16)}`;
  const text = [
    "OSRELEASE=6.1.0-dummy",
    `PAGESIZE=${pageSize}`,
    symbol("init_uts_ns", 3, 0x40),
    symbol("_stext", 0),
    symbol("swapper_pg_dir", 1),
    symbol("node_online_map", 4),
    ...options.lines.map((line) => line.replace("OFFSET", offset)),
    "",
  ].join("\n");
  const note = Uint8Array.from(text, (character) => character.charCodeAt(0));
  if (textAt !== undefined) bytes.set(note, textAt);
  const word = {
    virtual: image + BigInt(5 * pageSize + 8),
    physical: physical + 5 * pageSize + 8,
    value: 0x1234_5678,
  };
  view.setUint32(word.physical - base, word.value, true);
  const io = withMapping(new MemoryIo(bytes), [{ start: base, size: length, target: 0 }]);
  return { bytes, io, map: PhysicalMap.single(base, base + length), text, note, root, word };
}
