/**
 * The sections of memory of a kernel with SPARSEMEM.
 *
 * Facts: include/linux/mmzone.h (`struct mem_section`, `SECTION_HAS_MEM_MAP`, `SECTION_NR_TO_ROOT`); with SPARSEMEM_EXTREME the table
 * is one of pointers to pages full of sections, else an array of all of them.
 */
import type { Routine } from "../../io/index.js";
import type { KernelData } from "../kernel-data.js";
import { symbolAddress } from "../kernel-data.js";
import { type Damage, damage, type OnDamage } from "../objects/damage.js";
import { pointersAt, pointersIn } from "../objects/pointers.js";
import { hasStruct, needStruct, offsetOf } from "../objects/record.js";
import { sizeOf } from "../types/c-type.js";

/** Sections that have structures of pages. */
export interface MemSections {
  /** log2 of the bytes of a section. */
  readonly bits: number;
  /** By number: where the structure of frame 0 would be. */
  readonly maps: ReadonlyMap<number, bigint>;
}

const HAS_MEM_MAP = 2;
/** Where `mem_map`s begin, and the pages of a section fill whole pages of structures: all bits below are flags. */
const FLAGS = 0xfffn;
/** Sections that are believed in: 2^20 of 128 MiB are 128 TiB. */
const MAX_SECTIONS = 1 << 20;
/** Entries of the table that are read: five levels have 2^17. */
const MAX_ROOTS = 1 << 20;
const PIECE = 4096;
/** Wrong places after which the rest is not looked at. */
const MAX_BROKEN = 4096;

/** Bits of a section and of physical addresses, where VMCOREINFO does not say them. */
const BITS: Readonly<Record<string, readonly [number, number] | undefined>> = {
  x86_64: [27, 46],
  aarch64: [27, 48],
  riscv64: [27, 56],
  i386: [29, 36],
};

/** Every section that has a map; `undefined` for a kernel without sections. @internal */
export function* readSections(data: KernelData, report: OnDamage): Routine<MemSections | undefined> {
  const { kernel, memory } = data;
  const { numbers, symbols, lengths, sizes, pageSize = 4096 } = kernel.vmcoreinfo;
  const variable = yield* symbolAddress(data, "mem_section");
  let table = symbols.get("mem_section");
  const size = sizes.get("mem_section") ?? sizeIf(data);
  if ((table === undefined && variable === undefined) || size === undefined || size < 8) return undefined;
  const [usual, most] = BITS[kernel.architecture] ?? [27, 46];
  const bits = Number(numbers.get("SECTION_SIZE_BITS") ?? usual);
  const physical = Number(numbers.get("MAX_PHYSMEM_BITS") ?? most);
  if (!(bits >= 20 && bits <= 40 && physical >= bits && physical <= 56)) {
    report(damage("mem_section", table ?? 0n, "invalid", 0, `sections of 2^${bits} bytes in 2^${physical}`));
    return undefined;
  }
  const count = 2 ** (physical - bits);
  const perRoot = Math.floor(pageSize / size);
  let roots = lengths.get("mem_section") ?? Math.ceil(count / perRoot);
  // A table that is as long as there are sections is the sections themselves.
  const extreme = roots < count;
  if (table === undefined && extreme) {
    const found = yield* pointersAt(memory, variable as bigint, 1);
    if (typeof found === "number") {
      report(damage("mem_section", variable as bigint, "unreadable", found));
      return undefined;
    }
    table = found[0];
  }
  table ??= variable as bigint;
  if (table === 0n) return undefined;
  roots = Math.min(roots, MAX_ROOTS);
  const reader = new SectionReader(data, size, report);
  if (!extreme) {
    for (let from = 0; from < roots; from += PIECE) {
      const step = Math.min(PIECE, roots - from);
      yield* reader.read(table + BigInt(from * size), from, step);
    }
    return { bits, maps: reader.maps };
  }
  const seen = new Set<bigint>();
  for (let from = 0; from < roots && !reader.isHopeless; from += PIECE) {
    const step = Math.min(PIECE, roots - from);
    const at = table + BigInt(from * memory.pointerSize);
    const { bytes, holes } = yield* memory.readPartial(at, step * memory.pointerSize);
    for (const hole of holes)
      report(damage("mem_section", at + BigInt(hole.start), "unreadable", hole.fault));
    for (const [i, root] of pointersIn(memory, bytes).entries()) {
      const offset = i * memory.pointerSize;
      if (root === 0n || holes.some(({ start, end }) => start < offset + 8 && end > offset)) continue;
      if (reader.isHopeless) break;
      if (seen.has(root)) reader.broken(damage("a root of mem_section", root, "loop"));
      else yield* reader.read(root, (from + i) * perRoot, perRoot);
      seen.add(root);
    }
  }
  return { bits, maps: reader.maps };
}

function sizeIf({ types }: KernelData): number | undefined {
  return hasStruct(types, "mem_section") ? sizeOf(needStruct(types, "mem_section")) : undefined;
}

/** Reads sections that lie one behind the other. */
class SectionReader {
  readonly maps = new Map<number, bigint>();
  readonly #data: KernelData;
  readonly #size: number;
  readonly #report: OnDamage;
  readonly #offset: number;
  #broken = 0;

  constructor(data: KernelData, size: number, report: OnDamage) {
    this.#data = data;
    this.#size = size;
    this.#report = report;
    const told = data.kernel.vmcoreinfo.offsets.get("mem_section.section_mem_map");
    this.#offset =
      told ??
      (hasStruct(data.types, "mem_section") ? offsetOf(data.types, "mem_section", "section_mem_map") : 0);
  }

  /** Whether so much is wrong that the table is none. */
  get isHopeless(): boolean {
    return this.#broken >= MAX_BROKEN;
  }

  /** Tells what is wrong, up to a point. */
  broken(found: Damage): void {
    this.#broken++;
    if (this.#broken < MAX_BROKEN) this.#report(found);
    else if (this.isHopeless)
      this.#report(damage("mem_section", found.address, "too long", 0, "no more is read of it"));
  }

  *read(at: bigint, first: number, count: number): Routine<void> {
    const { memory } = this.#data;
    const { bytes, holes } = yield* memory.readPartial(at, count * this.#size);
    for (const { start, fault } of holes) {
      this.broken(damage("sections of memory", at + BigInt(start), "unreadable", fault));
    }
    const step = this.#size;
    for (let i = 0; i < count; i++) {
      const place = i * step + this.#offset;
      if (holes.some(({ start, end }) => start < place + memory.pointerSize && end > place)) continue;
      const [map = 0n] = pointersIn(memory, bytes.subarray(place, place + memory.pointerSize));
      if ((Number(map & 0xffn) & HAS_MEM_MAP) === 0) continue;
      if (this.maps.size >= MAX_SECTIONS) {
        this.#report(damage("sections of memory", at, "too long"));
        return;
      }
      this.maps.set(first + i, map & ~FLAGS);
    }
  }
}
