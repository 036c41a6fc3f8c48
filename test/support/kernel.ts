/** A kernel's image and page tables in a few megabytes of RAM, made by hand for tests of finding it. */
import { MemoryIo, type Scheduler } from "../../src/io/index.js";
import { type WrittenSymbol, writeKallsyms } from "./kallsyms.js";

/** Where the image begins: KASLR has moved it by 0x10000000, and its physical address is as linked. */
export const IMAGE = 0xffff_ffff_9100_0000n;
const KERNEL_MAP = 0xffff_ffff_8000_0000n;
const IMAGE_PHYSICAL = 0x200000;
const ROOT_IN_IMAGE = 0x10000;
const UTS_IN_IMAGE = 0x20000;
const KALLSYMS_IN_IMAGE = 0x100000;
const TABLES = 0x1000;

/** What can be wrong with it. */
export interface DummyKernelOptions {
  /** Where the text of VMCOREINFO lies; undefined: nowhere. */
  readonly textAt?: number | undefined;
  /** As an ELF note instead. */
  readonly asNote?: boolean;
  readonly fiveLevel?: boolean;
  /** Lines to leave out, by how they begin. */
  readonly without?: readonly string[];
  /** What `phys_base` is off by. */
  readonly physBaseError?: bigint;
  readonly scheduler?: Scheduler;
}

/** 4 MiB of RAM with a kernel. */
export class DummyKernel {
  readonly ram = new Uint8Array(4 << 20);
  readonly io: MemoryIo;
  readonly text: string;
  /** Physical address of `swapper_pg_dir`. */
  readonly root = IMAGE_PHYSICAL + ROOT_IN_IMAGE;
  readonly physBase = BigInt(IMAGE_PHYSICAL) - (IMAGE - KERNEL_MAP);
  readonly list: WrittenSymbol[] = [
    { name: "_stext", type: "T", address: IMAGE },
    { name: "init_top_pgt", type: "D", address: IMAGE + BigInt(ROOT_IN_IMAGE) },
    { name: "init_uts_ns", type: "D", address: IMAGE + BigInt(UTS_IN_IMAGE) },
    { name: "twin", type: "t", address: IMAGE + 0x30000n },
    { name: "twin", type: "t", address: IMAGE + 0x30010n },
    { name: "init_task", type: "D", address: IMAGE + 0x40000n },
    { name: "\x1b[31mred\u{9b}", type: "d", address: IMAGE + 0x50000n },
    { name: "_end", type: "B", address: IMAGE + 0x1f0000n },
  ];

  constructor(options: DummyKernelOptions = {}) {
    this.io = new MemoryIo(this.ram, options.scheduler === undefined ? {} : { scheduler: options.scheduler });
    const kallsyms = writeKallsyms(this.list, { at: IMAGE + BigInt(KALLSYMS_IN_IMAGE), form: "per-cpu" });
    this.ram.set(kallsyms.bytes, IMAGE_PHYSICAL + KALLSYMS_IN_IMAGE);
    this.#map();
    const lines = [
      "OSRELEASE=6.1.0-dummy",
      "PAGESIZE=4096",
      `SYMBOL(_stext)=${IMAGE.toString(16)}`,
      `SYMBOL(swapper_pg_dir)=${(IMAGE + BigInt(ROOT_IN_IMAGE)).toString(16)}`,
      `SYMBOL(init_uts_ns)=${(IMAGE + BigInt(UTS_IN_IMAGE)).toString(16)}`,
      "SYMBOL(mem_section)=ffff888000001000",
      ...[...kallsyms.symbols].map(([name, address]) => `SYMBOL(${name})=${address.toString(16)}`),
      `NUMBER(phys_base)=${this.physBase + (options.physBaseError ?? 0n)}`,
      `NUMBER(pgtable_l5_enabled)=${options.fiveLevel === true ? 1 : 0}`,
      "KERNELOFFSET=10000000",
    ].filter((line) => options.without?.some((start) => line.startsWith(start)) !== true);
    this.text = `${lines.join("\n")}\n`;
    if (options.textAt !== undefined) this.put(this.text, options.textAt, options.asNote);
  }

  /** The note's bytes. */
  get note(): Uint8Array {
    return Uint8Array.from(this.text, (character) => character.charCodeAt(0));
  }

  /** Puts a text into RAM. */
  put(text: string, at: number, asNote = false): void {
    const bytes = Uint8Array.from(text, (character) => character.charCodeAt(0));
    if (!asNote) {
      this.ram.set(bytes, at);
      return;
    }
    new DataView(this.ram.buffer).setUint32(at, 11, true);
    new DataView(this.ram.buffer).setUint32(at + 4, bytes.length, true);
    this.ram.set(
      Uint8Array.from("VMCOREINFO\0", (character) => character.charCodeAt(0)),
      at + 12,
    );
    this.ram.set(bytes, at + 24);
  }

  /** Another root, which maps nothing but itself (as good as a user copy). */
  emptyRoot(at: number): number {
    this.ram.fill(0, at, at + 4096);
    return at;
  }

  /** A copy of the root, as a process has it. */
  copyRoot(at: number): number {
    this.ram.copyWithin(at, this.root, this.root + 4096);
    return at;
  }

  /** Intel SDM vol. 3A, 4.5: PML4, PDPT and PD entries with the present and writable bits; one 2 MiB page. */
  #map(): void {
    const view = new DataView(this.ram.buffer);
    const index = (shift: bigint) => Number((IMAGE >> shift) & 511n);
    const entry = (table: number, i: number, value: number) =>
      view.setBigUint64(table + 8 * i, BigInt(value), true);
    entry(this.root, index(39n), TABLES | 3);
    entry(TABLES, index(30n), (TABLES + 0x1000) | 3);
    entry(TABLES + 0x1000, index(21n), IMAGE_PHYSICAL | 0x83);
  }
}
