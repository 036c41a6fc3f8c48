import { toVirtual } from "../io/address.js";
import { type Address, Io, IoSequence, type PacketIo } from "../io/index.js";
import { AddressSpace } from "../memory/address-space.js";
import type { MmuDef } from "./formats/mmu-def.js";
import { areasRoutine, type MapArea } from "./maps/areas.js";
import { diffMapsRoutine, type MapDifference } from "./maps/map-diff.js";
import { type MapSummary, summaryRoutine } from "./maps/map-summary.js";
import { mapsRoutine, runBatchesRoutine, runsRoutine, type VirtualRange } from "./maps/maps.js";
import { findMappingsRoutine, type ReverseResult, reverseRoutine } from "./maps/reverse.js";
import { type PhysicalTargets, Targets } from "./maps/reverse-targets.js";
import type { MapRun, RunColumns } from "./maps/run-columns.js";
import { PageTableIo, type PageTableOptions, type SwapAreas } from "./page-table-io.js";
import type { Root } from "./tables/root.js";
import type { TableCache } from "./tables/table-cache.hot.js";
import { translateNow, translateRoutine } from "./walk/translate.js";
import { translateManyRoutine } from "./walk/translate-many.js";
import type { Translation, TranslationColumns } from "./walk/translation.js";
import { type Walk, walkRoutine } from "./walk/walk-steps.js";

/**
 * A virtual address space: typed access over page tables, and the questions one can ask of them.
 *
 * @example
 * const kernel = new VirtualMemory(physical, { root: 0x2a10000 });
 * await kernel.read(u64, 0xffffffff82a00000n);
 */
export class VirtualMemory extends AddressSpace<Address> {
  readonly #pages: PageTableIo;

  /**
   * @throws {RangeError} if the root is no aligned physical address, or not what the format has; if `tableCache` is for tables of
   * another size or form; if `maxAge` is no number of milliseconds.
   */
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

  /** The physical memory below. */
  get physical(): PacketIo<number> {
    return this.#pages.physical;
  }

  /** Where the bytes of swapped pages are, where that is at hand. */
  get swap(): SwapAreas | undefined {
    return this.#pages.swap;
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

  /**
   * The runs of a range as columns, batch by batch, in one pass: the fast way through a whole space. No run is in two
   * batches. As `maps` otherwise.
   *
   * @returns The same columns again and again: each batch is of meaning until the next one is asked for.
   * @throws {RangeError} for a range that is none.
   */
  runBatches(range?: VirtualRange): IoSequence<RunColumns> {
    const { from, to } = this.#pagesOf(range);
    return IoSequence.of(this.scheduler, runBatchesRoutine, this.#pages, from, to);
  }

  /**
   * Mapped areas, ascending: runs side by side with the same rights are one, whatever their frames and page sizes. (That
   * a translation is global is no right.) What is swapped out or can't be told is an area by its reason.
   *
   * @throws {RangeError} for a range that is none.
   */
  areas(range?: VirtualRange): IoSequence<MapArea> {
    const { from, to } = this.#pagesOf(range);
    return IoSequence.of(this.scheduler, areasRoutine, this.#pages, from, to);
  }

  /** How much is mapped, by page size and rights. @throws {RangeError} for a range that is none. */
  summary(range?: VirtualRange): Io<MapSummary> {
    const { from, to } = this.#pagesOf(range);
    return Io.of(this.scheduler, summaryRoutine, this.#pages, from, to);
  }

  /**
   * Every virtual address that maps physical ones, ascending by virtual address, in one pass over the space however
   * many are asked for: its time is that of `runBatches`, its memory that of what is asked for.
   *
   * @param physical An address or a range, or many of either. Addresses are answered each for itself (twice given,
   * once answered); ranges that touch are one, and answered in pieces that are contiguous in both address spaces.
   * @param range Of virtual addresses to look at; default all.
   * @returns also the parts of the space that can't be told of, with their `state`.
   * @throws {RangeError} for what is no physical address, or no range. @throws {TypeError} for addresses and ranges
   * side by side.
   * @see {@link findMappings} for many address spaces.
   */
  reverse(physical: PhysicalTargets, range?: VirtualRange): IoSequence<ReverseResult> {
    const { from, to } = this.#pagesOf(range);
    return IoSequence.of(this.scheduler, reverseRoutine, this.#pages, Targets.of(physical), from, to);
  }

  /** @internal */
  static pagesOf(memory: VirtualMemory): PageTableIo {
    return memory.#pages;
  }

  /** Page numbers of a range; the last one is exclusive. */
  #pagesOf(range: VirtualRange | undefined): { from: number; to: number } {
    return pageRange(range, this.#pages.mmu.size[1] as number);
  }
}

/**
 * As `reverse`, in many address spaces. Parts that several of them map through the same entries of their top tables (the
 * kernel's half, say) are visited once, and their results carry all of those `roots`. (Where tables loop back to a root,
 * that is `malformed` as seen from the first of them.)
 *
 * @param spaces Of any formats and machines; at least one.
 * @returns by the first root that has them, then ascending by virtual address.
 * @throws {RangeError} {TypeError} as `reverse`.
 */
export function findMappings(
  spaces: readonly VirtualMemory[],
  physical: PhysicalTargets,
): IoSequence<ReverseResult> {
  const [first] = spaces;
  if (first === undefined) throw new RangeError("no address space to look in");
  const pages = spaces.map((space) => VirtualMemory.pagesOf(space));
  return IoSequence.of(first.scheduler, findMappingsRoutine, pages, Targets.of(physical));
}

/**
 * Where two address spaces differ, ascending: what only one of them maps, and what both map otherwise (other frames,
 * rights or page sizes). Differences of one kind side by side are one. Parts that both map through the same entries of
 * their top tables are the same, and not visited. The spaces may be of different machines, or of one at two times.
 *
 * @param range Of virtual addresses to compare; default all.
 * @throws {RangeError} for a range that is none.
 */
export function diffMaps(
  first: VirtualMemory,
  second: VirtualMemory,
  range?: VirtualRange,
): IoSequence<MapDifference> {
  const { from, to } = pageRange(range, 4096);
  const [one, other] = [VirtualMemory.pagesOf(first), VirtualMemory.pagesOf(second)];
  return IoSequence.of(first.scheduler, diffMapsRoutine, one, other, from, to);
}

/** Page numbers of a range; the last one is exclusive. @throws {RangeError} for a range that is none. */
function pageRange(range: VirtualRange | undefined, pageSize: number): { from: number; to: number } {
  const size = BigInt(pageSize);
  const start = BigInt(range?.start ?? 0n);
  const end = BigInt(range?.end ?? 1n << 64n);
  if (start < 0n || end < start || end > 1n << 64n) {
    throw new RangeError(`not a range of virtual addresses: ${String(start)} to ${String(end)}`);
  }
  if (start === end) return { from: 0, to: 0 };
  return { from: Number(start / size), to: Number((end + size - 1n) / size) };
}
