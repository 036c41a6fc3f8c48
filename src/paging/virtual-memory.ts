import { toVirtual } from "../io/address.js";
import { type Address, Io, IoSequence, type PacketIo } from "../io/index.js";
import { AddressSpace } from "../memory/address-space.js";
import { mapsRoutine, runsRoutine, type VirtualRange } from "./maps.js";
import type { MmuDef } from "./mmu-def.js";
import { PageTableIo, type PageTableOptions } from "./page-table-io.js";
import type { Root } from "./root.js";
import type { MapRun, RunColumns } from "./run-columns.js";
import type { TableCache } from "./table-cache.hot.js";
import { translateNow, translateRoutine } from "./translate.js";
import { translateManyRoutine } from "./translate-many.js";
import type { Translation, TranslationColumns } from "./translation.js";
import { type Walk, walkRoutine } from "./walk-steps.js";

/**
 * A virtual address space: typed access over page tables, and the questions one can ask of them.
 *
 * @example
 * const kernel = new VirtualMemory(physical, { root: 0x2a10000 });
 * await kernel.read(u64, 0xffffffff82a00000n);
 */
export class VirtualMemory extends AddressSpace<Address> {
  readonly #pages: PageTableIo;

  /** @throws {RangeError} if the root is no aligned physical address, or `tableCache` is for tables of another size. */
  constructor(physical: PacketIo<number>, options: PageTableOptions) {
    const pages = new PageTableIo(physical, options);
    super(pages, {
      name: pages.name,
      scheduler: pages.scheduler,
      pointerSize: pages.mmu.addressBits > 32 ? 8 : 4,
    });
    this.#pages = pages;
  }

  /** Physical address of the top table; of AArch64's two roots, the lower half's if there is one. */
  get root(): number {
    const { root } = this.#pages;
    return typeof root === "number" ? root : ((root.lower ?? root.upper) as number);
  }

  /** The root as it was given: both, where a format has two. */
  get roots(): Root {
    return this.#pages.root;
  }

  /** The format of the tables. */
  get mmu(): MmuDef {
    return this.#pages.mmu.def;
  }

  /** The tables that are kept; share it with other roots of the machine. */
  get tableCache(): TableCache {
    return this.#pages.cache;
  }

  /**
   * Forgets all tables and translations, of every root that shares `tableCache`: for memory that was changed behind
   * memtool's back. (Writes through the same physical memory need none.)
   */
  flush(): void {
    this.#pages.cache.flush();
  }

  /** Where an address leads. Never throws for one that is not mapped. @throws {RangeError} for what is no address. */
  translate(address: Address): Io<Translation> {
    return Io.quick(this.scheduler, translateNow, translateRoutine, this.#pages, toVirtual(address));
  }

  /**
   * Where many addresses lead, as columns; missing tables of a level are fetched as one batch (of up to 65,536
   * addresses at a time). Memory beyond the columns is bounded.
   *
   * @param into Columns of an earlier call, to be used again: saves the allocation.
   */
  translateMany(addresses: BigUint64Array<ArrayBuffer>, into?: TranslationColumns): Io<TranslationColumns> {
    return Io.of(this.scheduler, translateManyRoutine, this.#pages, addresses, into);
  }

  /** Every entry on the way to an address, and the outcome. @throws {RangeError} for what is no address. */
  walk(address: Address): Io<Walk> {
    return Io.of(this.scheduler, walkRoutine, this.#pages, toVirtual(address));
  }

  /**
   * Every mapped run, ascending; tables that can't be read, malformed entries and loops are runs with a `state`.
   * Visits what is present only. A table that lies on its own path is `malformed`, and so are tables visited over and
   * over (after 4,096 repeated visits).
   *
   * @param range Clips the runs, rounded outwards to whole pages; `end` may be 2^64.
   * @throws {RangeError} for a range that is none.
   */
  maps(range?: VirtualRange): IoSequence<MapRun> {
    const { from, to } = this.#pagesOf(range);
    return IoSequence.of(this.scheduler, mapsRoutine, this.#pages, from, to);
  }

  /**
   * The runs of a range as columns, without an object a run: a whole last table at a time. As `maps` otherwise; up to
   * 65,536 runs a call.
   *
   * @param into Columns of an earlier call, to be used again.
   * @returns `end` tells where to go on, if it is not the end of the range:
   * `for (let at = start; at < end; at = runs.end) runs = await memory.runs({ start: at, end }, runs);`
   * @throws {RangeError} for a range that is none.
   */
  runs(range?: VirtualRange, into?: RunColumns): Io<RunColumns> {
    const { from, to } = this.#pagesOf(range);
    return Io.of(this.scheduler, runsRoutine, this.#pages, from, to, into);
  }

  /** Page numbers of a range; the last one is exclusive. */
  #pagesOf(range: VirtualRange | undefined): { from: number; to: number } {
    const size = BigInt(this.#pages.mmu.size[1] as number);
    const start = BigInt(range?.start ?? 0n);
    const end = BigInt(range?.end ?? 1n << 64n);
    if (start < 0n || end < start || end > 1n << 64n) {
      throw new RangeError(`not a range of virtual addresses: ${String(start)} to ${String(end)}`);
    }
    if (start === end) return { from: 0, to: 0 };
    return { from: Number(start / size), to: Number((end + size - 1n) / size) };
  }
}
