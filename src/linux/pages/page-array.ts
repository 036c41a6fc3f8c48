/**
 * Where the kernel keeps a `struct page` for each page frame, and which frame one is of.
 *
 * Facts: include/asm-generic/memory_model.h (`__pfn_to_page`: FLATMEM's `mem_map`, which begins at `ARCH_PFN_OFFSET`; SPARSEMEM's
 * `section_mem_map`; SPARSEMEM_VMEMMAP's `vmemmap`), include/linux/mmzone.h (`struct mem_section`, `__section_mem_map_addr`,
 * `SECTION_HAS_MEM_MAP`, `SECTIONS_PER_ROOT`), mm/sparse.c (`sparse_encode_mem_map`: what a section holds is the address that frame 0
 * would have, so it serves both kinds of SPARSEMEM), kernel/vmcore_info.c (`SYMBOL(mem_section)`: the table itself, `LENGTH(mem_section)`).
 * Bits of a section: each architecture's sparsemem.h. What `vmemmap` is where sections can't be read: arch/x86/include/asm/pgtable_64.h,
 * arch/arm64/include/asm/memory.h and pgtable.h (frame 0's is below VMEMMAP_START by `memstart_addr`), arch/riscv/include/asm/pgtable.h
 * (by `phys_ram_base`, or by `vmemmap_start_pfn`, whichever the kernel has).
 */
import { MemtoolError, type Routine } from "../../io/index.js";
import type { KernelData } from "../kernel-data.js";
import { symbolAddress } from "../kernel-data.js";
import { damage, type OnDamage } from "../objects/damage.js";
import { pointersAt } from "../objects/pointers.js";
import { needStruct } from "../objects/record.js";
import { sizeOf } from "../types/c-type.js";
import { type MemSections, readSections } from "./mem-sections.js";

/** How a kernel finds the `struct page` of a frame. */
export type MemoryModel = "flat" | "sparse" | "vmemmap";

/** Page frame numbers, half-open. */
export interface FrameRange {
  readonly start: number;
  readonly end: number;
}

/** One run of frames whose structures lie one behind the other. */
interface Part extends FrameRange {
  /** Address of the structure of `start`. */
  readonly address: bigint;
}

/** Every `struct page` that a kernel has, by frame and by address. Pure arithmetic: nothing is read. */
export class PageArray {
  readonly model: MemoryModel;
  /** Bytes of a page. */
  readonly pageSize: number;
  /** Bytes of a `struct page`. */
  readonly structSize: number;
  /** Ascending by frame. */
  readonly #parts: readonly Part[];
  readonly #byAddress: readonly Part[];

  /** Use {@link findPageArray}. @internal */
  constructor(model: MemoryModel, pageSize: number, structSize: number, parts: readonly Part[]) {
    this.model = model;
    this.pageSize = pageSize;
    this.structSize = structSize;
    this.#parts = parts;
    this.#byAddress = [...parts].sort((a, b) => (a.address < b.address ? -1 : 1));
  }

  /** Frames that have a structure, ascending. A frame in between that is no RAM may have one too. */
  get frames(): readonly FrameRange[] {
    return this.#parts.map(({ start, end }) => ({ start, end }));
  }

  /** Address of the `struct page` of a frame; `undefined` if it has none (firmware, devices). */
  addressOf(pfn: number): bigint | undefined {
    const part = lastUpTo(this.#parts, (each) => each.start <= pfn);
    if (part === undefined || !(pfn < part.end)) return undefined;
    return part.address + BigInt((pfn - part.start) * this.structSize);
  }

  /** The frame of the structure at an address; `undefined` if none begins there. */
  pfnOf(address: bigint): number | undefined {
    const part = lastUpTo(this.#byAddress, (each) => each.address <= address);
    if (part === undefined) return undefined;
    const index = Number(address - part.address) / this.structSize;
    return Number.isInteger(index) && index < part.end - part.start ? part.start + index : undefined;
  }

  /** The frame of the structure that an address lies in; `undefined` if it lies in none. */
  pfnAround(address: bigint): number | undefined {
    const part = lastUpTo(this.#byAddress, (each) => each.address <= address);
    if (part === undefined) return undefined;
    const index = Math.floor(Number(address - part.address) / this.structSize);
    return index < part.end - part.start ? part.start + index : undefined;
  }
}

/** The last of some that are in order for which something holds. */
function lastUpTo(parts: readonly Part[], holds: (part: Part) => boolean): Part | undefined {
  let low = 0;
  let high = parts.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (holds(parts[middle] as Part)) low = middle + 1;
    else high = middle;
  }
  return parts[low - 1];
}

/**
 * Finds the structures of a kernel's page frames.
 *
 * @throws {TypesError} without the type `page`. @throws {MemtoolError} `NO_PAGES`, if nothing that can be read tells where they are.
 */
export function* findPageArray(data: KernelData, report: OnDamage): Routine<PageArray> {
  const pageSize = data.kernel.vmcoreinfo.pageSize ?? 4096;
  const structSize = sizeOf(needStruct(data.types, "page"));
  const sections = yield* readSections(data, report);
  if (sections !== undefined && sections.maps.size > 0) {
    const parts = partsOf(data, sections, structSize);
    const model = parts.every(({ base }) => base === parts[0]?.base) ? "vmemmap" : "sparse";
    return new PageArray(model, pageSize, structSize, joined(parts, structSize));
  }
  const bare = (yield* flatArray(data, structSize, report)) ?? (yield* vmemmapArray(data, structSize));
  if (bare !== undefined) return new PageArray(bare.model, pageSize, structSize, [bare.part]);
  throw new MemtoolError(
    "NO_PAGES",
    "where the kernel has its page structures is not known: neither mem_section, mem_map nor vmemmap_base can be read " +
      "(symbols may be missing: --symbols System.map)",
  );
}

/** Each section's frames. */
function partsOf(
  { kernel }: KernelData,
  { maps, bits }: MemSections,
  structSize: number,
): (Part & { readonly base: bigint })[] {
  const pageSize = kernel.vmcoreinfo.pageSize ?? 4096;
  const frames = 2 ** bits / pageSize;
  const wrap = 8 * kernel.memory.pointerSize;
  return [...maps]
    .sort(([a], [b]) => a - b)
    .map(([section, base]) => {
      const start = section * frames;
      const address = BigInt.asUintN(wrap, base + BigInt(start) * BigInt(structSize));
      return { start, end: start + frames, address, base };
    });
}

/** Parts that follow each other, in frames and in addresses, as one. */
function joined(parts: readonly Part[], structSize: number): Part[] {
  const all: Part[] = [];
  for (const { start, end, address } of parts) {
    const last = all.at(-1);
    if (
      last !== undefined &&
      last.end === start &&
      last.address + BigInt((start - last.start) * structSize) === address
    ) {
      all[all.length - 1] = { ...last, end };
    } else {
      all.push({ start, end, address });
    }
  }
  return all;
}

/** Frames that are believed in where nothing says how many there are: those of 2^52 bytes. */
const MOST = 2 ** 40;

interface Bare {
  readonly model: MemoryModel;
  readonly part: Part;
}

/** FLATMEM: one array, of as many as the kernel says. */
function* flatArray(data: KernelData, structSize: number, report: OnDamage): Routine<Bare | undefined> {
  const { memory } = data;
  const at = yield* symbolAddress(data, "mem_map");
  if (at === undefined) return undefined;
  const start = yield* pointersAt(memory, at, 1);
  if (typeof start === "number") {
    report(damage("mem_map", at, "unreadable", start));
    return undefined;
  }
  const [first, count] = yield* flatFrames(data);
  const size = BigInt(structSize) * BigInt(count);
  const limit = 1n << BigInt(8 * memory.pointerSize);
  if (start[0] === 0n || (start[0] as bigint) + size > limit) {
    report(damage("mem_map", at, "invalid", 0, `${count} pages from ${String(start[0])} on`));
    return undefined;
  }
  return { model: "flat", part: { start: first, end: first + count, address: start[0] as bigint } };
}

/** First frame, and number of frames, of the one node that FLATMEM has. */
function* flatFrames(data: KernelData): Routine<[number, number]> {
  const { kernel, memory } = data;
  const { offsets, symbols } = kernel.vmcoreinfo;
  const node = symbols.get("contig_page_data") ?? (yield* symbolAddress(data, "contig_page_data"));
  const firstAt = offsets.get("pglist_data.node_start_pfn");
  const spannedAt = offsets.get("pglist_data.node_spanned_pages");
  const last = kernel.memory.pointerSize === 4 ? 2 ** 20 : 2 ** 32;
  if (node === undefined || firstAt === undefined || spannedAt === undefined) return [0, last];
  const first = yield* pointersAt(memory, node + BigInt(firstAt), 1);
  const spanned = yield* pointersAt(memory, node + BigInt(spannedAt), 1);
  if (typeof first === "number" || typeof spanned === "number") return [0, last];
  const from = Number(first[0]);
  // (`mem_map` begins at ARCH_PFN_OFFSET: 0 on x86.)
  const base = data.kernel.architecture === "i386" || data.kernel.architecture === "x86_64" ? 0 : from;
  return from + Number(spanned[0]) <= MOST ? [base, from - base + Number(spanned[0])] : [0, last];
}

/** SPARSEMEM_VMEMMAP by its base alone: which frames really have a structure is then told by what can be read. */
function* vmemmapArray(data: KernelData, structSize: number): Routine<Bare | undefined> {
  const { kernel, memory } = data;
  const { numbers, pageSize = 4096 } = kernel.vmcoreinfo;
  const of = function* (name: string): Routine<bigint | undefined> {
    const at = yield* symbolAddress(data, name);
    const found = at === undefined ? undefined : yield* pointersAt(memory, at, 1);
    return found === undefined || typeof found === "number" ? undefined : found[0];
  };
  const start = BigInt.asUintN(64, numbers.get("VMEMMAP_START") ?? 0n);
  let base: bigint | undefined;
  if (kernel.architecture === "x86_64") base = yield* of("vmemmap_base");
  else if (start !== 0n && kernel.architecture === "aarch64") {
    const first = yield* of("memstart_addr");
    // (It may be negative, with 52 bits of address.)
    if (first !== undefined) {
      base = start - (BigInt.asIntN(64, first) / BigInt(pageSize)) * BigInt(structSize);
    }
  } else if (start !== 0n && kernel.architecture === "riscv64") {
    const offset = yield* of("vmemmap_start_pfn");
    const ram = numbers.get("phys_ram_base") ?? (yield* of("phys_ram_base"));
    const pfn = offset ?? (ram === undefined ? undefined : ram / BigInt(pageSize));
    if (pfn !== undefined) base = start - pfn * BigInt(structSize);
  }
  if (base === undefined) return undefined;
  const bytes = BigInt(MOST) * BigInt(structSize);
  const end = base + bytes > 1n << 64n ? Number(((1n << 64n) - base) / BigInt(structSize)) : MOST;
  return end <= 0 ? undefined : { model: "vmemmap", part: { start: 0, end, address: base } };
}
