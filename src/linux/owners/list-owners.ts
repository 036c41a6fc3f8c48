/**
 * Who owns physical memory: processes and files, the kernel's parts, or nobody.
 *
 * Pages are told by their `struct page`, by page tables, and by what the kernel's own lists say of its virtual memory; the modules
 * beside this one say from which sources.
 */
import { IoSequence, type Routine, type Sink } from "../../io/index.js";
import { listTables, type TablePage } from "../../paging/tables/list-tables.js";
import { VirtualMemory } from "../../paging/virtual-memory.js";
import type { LinuxKernel } from "../kernel.js";
import { type KernelData, kernelData, symbolAddress } from "../kernel-data.js";
import { DamageLog, type DamageOptions, type OnDamage, once } from "../objects/damage.js";
import { findPageArray, type PageArray, type PageNames, pageNames } from "../pages/index.js";
import { readResources } from "../resources/resource.js";
import type { Task } from "../tasks/task.js";
import { readZeroPages, type ZeroPages, zeroPageAt } from "../zero-page.js";
import { attempt } from "./attempt.js";
import { orderAround, readCpuLists } from "./free-pages.js";
import { KernelMemory } from "./kernel-memory.js";
import { findPageMappings, type PageMapping } from "./mappings.js";
import type { Owner, PageOwner, PlainOwner } from "./owner.js";
import { type FactsOfPages, type PageFacts, readFacts, swapCacheOf } from "./page-facts.js";
import { Processes } from "./processes.js";
import { readSlabInfos, type SlabInfo } from "./slab-objects.js";
import { addressesOf, type OwnerTargets } from "./targets.js";

/** Options of {@link listOwners}. */
export interface OwnerOptions extends DamageOptions {
  /** Whether to look for processes that map a page, which takes a pass over the page tables of all; default true. */
  readonly processes?: boolean | undefined;
}

/** Addresses that are answered together: memory is bounded by them and by what owns them, time by a pass over page tables for each. */
const PIECE = 1 << 16;

/**
 * Every owner of physical addresses, in the order in which they are given: processes first. There is one at least for each; a page that
 * several own is told for each of them. A range is answered page by page.
 *
 * What the owners are found by is read once for a call, and page tables once for 65,536 addresses. On a live kernel, what is told
 * together need not have been so at one time.
 *
 * @throws {TypesError} without types; {MemtoolError} `NO_PAGES`, if it can't be told where the kernel's `struct page`s are.
 * @throws {RangeError} for what is no physical address, or no range.
 */
export function listOwners(
  kernel: LinuxKernel,
  targets: OwnerTargets,
  options: OwnerOptions = {},
): IoSequence<PageOwner> {
  return IoSequence.of(kernel.memory.scheduler, ownersRoutine, kernel, targets, options);
}

function* ownersRoutine(
  sink: Sink<PageOwner>,
  kernel: LinuxKernel,
  targets: OwnerTargets,
  options: OwnerOptions,
): Routine<void> {
  const log = new DamageLog(options);
  const data = yield* kernelData(kernel);
  const finder = yield* OwnerFinder.make(data, options.processes !== false, once(log.report));
  let piece: number[] = [];
  for (const address of addressesOf(targets, finder.pageSize)) {
    piece.push(address);
    if (piece.length < PIECE) continue;
    yield* finder.tell(sink, piece);
    piece = [];
  }
  if (piece.length > 0) yield* finder.tell(sink, piece);
  log.end();
}

/** What is known of some addresses' pages. */
interface Known {
  readonly facts: FactsOfPages;
  readonly mappings: ReadonlyMap<number, readonly PageMapping[]>;
  readonly slabs: ReadonlyMap<bigint, SlabInfo>;
}

/** A range of the machine's physical memory, as /proc/iomem names it. */
interface NamedRange {
  readonly start: bigint;
  readonly end: bigint;
  readonly name: string | undefined;
}

/** Finds owners, piece by piece. */
class OwnerFinder {
  readonly #data: KernelData;
  readonly #report: OnDamage;
  readonly #array: PageArray;
  readonly #names: PageNames;
  readonly #kernel: KernelMemory;
  readonly #processes: Processes | undefined;
  readonly #zeros: ZeroPages;
  readonly #ranges: readonly NamedRange[];
  /** Virtual less physical addresses of the linear map; `undefined` if nothing tells it. */
  readonly #linear: bigint | undefined;
  /** What is read when it is first needed. */
  #tables: ReadonlyMap<number, TablePage> | undefined;
  #tablePairs = false;
  #cpuLists: ReadonlyMap<number, number> | undefined | null = null;

  private constructor(
    data: KernelData,
    report: OnDamage,
    array: PageArray,
    parts: {
      readonly kernel: KernelMemory;
      readonly processes: Processes | undefined;
      readonly zeros: ZeroPages;
      readonly ranges: readonly NamedRange[];
      readonly linear: bigint | undefined;
    },
  ) {
    this.#data = data;
    this.#report = report;
    this.#array = array;
    this.#names = pageNames(data);
    this.#kernel = parts.kernel;
    this.#processes = parts.processes;
    this.#zeros = parts.zeros;
    this.#ranges = parts.ranges;
    this.#linear = parts.linear;
  }

  static *make(data: KernelData, withProcesses: boolean, report: OnDamage): Routine<OwnerFinder> {
    const array = yield* findPageArray(data, report);
    const processes = yield* attempt("the processes", report, Processes.read(data, report));
    const task = processes?.spaces[0]?.task.address;
    return new OwnerFinder(data, report, array, {
      kernel: yield* KernelMemory.read(data, report),
      processes: withProcesses ? processes : undefined,
      zeros: yield* readZeroPages(data.kernel),
      ranges: (yield* attempt("the ranges of physical memory", report, namedRanges(data, report))) ?? [],
      linear: task === undefined ? undefined : yield* linearOffset(data, task),
    });
  }

  get pageSize(): number {
    return this.#array.pageSize;
  }

  *tell(sink: Sink<PageOwner>, addresses: readonly number[]): Routine<void> {
    const size = this.pageSize;
    const all = Float64Array.from(addresses, (address) => Math.floor(address / size)).sort();
    const pfns = all.filter((pfn, i) => i === 0 || pfn !== all[i - 1]);
    const facts = yield* readFacts(this.#data, this.#array, this.#names, [...pfns], this.#report);
    const mappings = yield* findPageMappings(this.#data, this.#processes, pfns, size, this.#report);
    const tasks = [...mappings.values()].flatMap((each) => each.flatMap(({ task }) => task ?? []));
    if (this.#processes !== undefined) {
      yield* attempt("the ranges of processes", this.#report, this.#processes.load(tasks));
    }
    const slabs = yield* this.#slabsOf(facts);
    for (const physical of addresses) {
      const page = facts.pages.get(Math.floor(physical / size)) as PageFacts;
      for (const owner of yield* this.#ownersOf(physical, page, { facts, mappings, slabs })) {
        yield sink.emit({ physical, ...owner });
      }
    }
  }

  *#slabsOf({ pages }: FactsOfPages): Routine<ReadonlyMap<bigint, SlabInfo>> {
    const places = new Map<bigint, bigint>();
    for (const { use, head } of pages.values()) {
      if (use === "slab" && head !== undefined)
        places.set(head.address, this.#linearOf(head.pfn * this.pageSize));
    }
    const wanted = [...places].map(([address, start]) => ({ address, start }));
    if (wanted.length === 0) return new Map();
    const found = yield* attempt(
      "the slabs",
      this.#report,
      readSlabInfos(this.#data, wanted, this.#kernel.cpus, this.#report),
    );
    return found ?? new Map();
  }

  /** Virtual address in the linear map; nonsense for what is not in it. */
  #linearOf(physical: number): bigint {
    const bits = 8 * this.#data.memory.pointerSize;
    return BigInt.asUintN(bits, BigInt(physical) + (this.#linear ?? 0n));
  }

  /** All owners of an address; one at least. */
  *#ownersOf(physical: number, page: PageFacts, known: Known): Routine<Owner[]> {
    const within = BigInt(physical % this.pageSize);
    const mapped = known.mappings.get(page.pfn) ?? [];
    const owners: Owner[] = [];
    for (const { virtual, task } of mapped) {
      if (task !== null) owners.push(this.#processOwner(task, virtual + within));
    }
    const zero = zeroPageAt(this.#zeros, physical);
    if (zero !== undefined) owners.push({ kind: "zero page", isHuge: zero === "huge" });
    for (const owner of yield* this.#pageOwners(physical, page, known)) owners.push(owner);
    return owners.length > 0 ? owners : [this.#plain("unknown", page, known)];
  }

  #processOwner(task: Task, virtual: bigint): Owner {
    const range = this.#processes?.rangeOf(task, virtual);
    const { tgid: pid, comm } = task;
    return { kind: "process", pid, comm, virtual, path: range?.path, rights: range?.rights };
  }

  /** Owners by what the page's structure says. */
  *#pageOwners(physical: number, page: PageFacts, known: Known): Routine<Owner[]> {
    const { facts } = known;
    const mapped = known.mappings.get(page.pfn) ?? [];
    const inProcess = mapped.some(({ task }) => task !== null);
    switch (page.use) {
      case "free":
      case "unreferenced":
        return yield* this.#unreferenced(physical, page, known);
      case "slab":
        return [this.#slabOwner(physical, page, known)];
      case "hugetlb":
        return [this.#plain("hugetlb", page, known)];
      case "anonymous": {
        const swap = swapCacheOf(page, this.#names, this.#data.memory.pointerSize);
        const own: Owner[] = inProcess ? [] : [this.#plain("anonymous", page, known)];
        return swap === undefined ? own : [...own, swap];
      }
      case "file": {
        const { head, pfn } = page;
        const file = head === undefined ? undefined : facts.files.get(head.mapping);
        if (file === undefined || head === undefined) return yield* this.#kernels(physical, page, known);
        const offset = (Number(head.index) + pfn - head.pfn) * this.pageSize + (physical % this.pageSize);
        return [{ kind: "page cache", offset, ...file }];
      }
      default:
        return yield* this.#kernels(physical, page, known);
    }
  }

  /** What nobody refers to: free, or the rest of an allocation that is told by its first page alone. */
  *#unreferenced(physical: number, page: PageFacts, known: Known): Routine<Owner[]> {
    const block = known.facts.free.get(page.pfn);
    if (block !== undefined) return [block];
    if (this.#cpuLists === null) {
      const lists = readCpuLists(this.#data, this.#array, this.#kernel.cpus, this.#report);
      this.#cpuLists = yield* attempt("the lists of free pages of CPUs", this.#report, lists);
    }
    const order = this.#cpuLists === undefined ? undefined : orderAround(this.#cpuLists, page.pfn);
    if (order !== undefined) return [{ kind: "free", order, list: "cpu" }];
    const owners = yield* this.#kernels(physical, page, known);
    // Where CPUs' lists can't be read, what has no other owner is free.
    const isBare = owners.every(({ kind }) => kind === "kernel pages");
    return isBare && this.#cpuLists === undefined
      ? [{ kind: "free", order: undefined, list: undefined }]
      : owners;
  }

  #slabOwner(physical: number, page: PageFacts, { slabs }: Known): Owner {
    const info = slabs.get(page.head?.address ?? 0n);
    const none = { object: undefined, objectOffset: undefined, isFree: undefined };
    const virtual = this.#linear === undefined ? undefined : this.#linearOf(physical);
    const object = virtual === undefined ? undefined : info?.objectAt(virtual);
    return { kind: "slab", virtual, cache: info?.cache, ...(object ?? none) };
  }

  /** Owners among the kernel's own parts. */
  *#kernels(physical: number, page: PageFacts, known: Known): Routine<Owner[]> {
    const within = BigInt(physical % this.pageSize);
    const owners: Owner[] = [];
    const isReserved = page.use === "reserved" || page.use === "unreadable" || page.use === "none";
    const mapped = known.mappings.get(page.pfn) ?? [];
    for (const { virtual, task } of mapped) {
      if (task !== null) continue;
      const at = virtual + within;
      const image = isReserved ? yield* this.#kernel.imageAt(at) : undefined;
      const owner = image ?? this.#structuresAt(at) ?? (yield* this.#kernel.ownerAt(at));
      if (owner !== undefined) owners.push(owner);
    }
    if (owners.length > 0) return owners;
    const table = yield* this.#tableOwner(page);
    if (table !== undefined) return [table];
    if (page.use === "reserved") return [{ kind: "reserved", name: this.#rangeName(physical) }];
    if (page.use === "none") return [{ kind: "no page structure", name: this.#rangeName(physical) }];
    if (page.use === "unreadable") return [];
    return [this.#plain("kernel pages", page, known)];
  }

  #structuresAt(virtual: bigint): Owner | undefined {
    const pfn = this.#array.pfnAround(virtual);
    return pfn === undefined
      ? undefined
      : { kind: "page structures", virtual, describes: pfn * this.pageSize };
  }

  *#tableOwner(page: PageFacts): Routine<Owner | undefined> {
    const isTable = page.use === "table";
    const spaces = [this.#data.memory, ...(this.#processes?.spaces.map(({ memory }) => memory) ?? [])];
    if (this.#tables === undefined) {
      this.#tables = pageTables(
        yield* listTables(spaces.map((space) => VirtualMemory.pagesOf(space))),
        this.pageSize,
      );
      // With CONFIG_PAGE_TABLE_ISOLATION, the top table of x86-64 has a second one behind it, for user mode.
      const isolated = yield* symbolAddress(this.#data, "pti_init", "pti_check_boottime_disable");
      this.#tablePairs = isolated !== undefined && this.#data.kernel.architecture === "x86_64";
    }
    const own = this.#tables.get(page.pfn) ?? this.#firstOfPair(page.pfn);
    if (own === undefined) {
      return isTable ? { kind: "page table", pid: undefined, comm: undefined, level: undefined } : undefined;
    }
    if (own.space === 0) return { kind: "page table", pid: null, comm: undefined, level: own.level };
    const task = this.#processes?.spaces[own.space - 1]?.task;
    return { kind: "page table", pid: task?.tgid, comm: task?.comm, level: own.level };
  }

  #firstOfPair(pfn: number): TablePage | undefined {
    if (!this.#tablePairs || pfn % 2 === 0) return undefined;
    const first = this.#tables?.get(pfn - 1);
    const levels = this.#data.memory.mmu.splits.length - 1;
    return first?.level === levels ? first : undefined;
  }

  /** What /proc/iomem calls a place: the innermost range around it. */
  #rangeName(physical: number): string | undefined {
    let found: NamedRange | undefined;
    for (const range of this.#ranges) {
      if (physical >= range.start && physical < range.end) found = range;
    }
    return found?.name;
  }

  #plain(kind: PlainOwner["kind"], page: PageFacts, { facts }: Known): PlainOwner {
    const frame = page.head ?? page.row.page;
    const order = facts.orders.get(frame?.pfn ?? -1);
    return {
      kind,
      flags: frame === undefined ? [] : this.#names.flags(frame.flags),
      type: frame === undefined ? undefined : this.#names.type(frame.type),
      order,
      why: frame === undefined ? "its struct page can't be read" : undefined,
    };
  }
}

/** By page: several tables may share one. */
function pageTables(
  tables: ReadonlyMap<number, TablePage>,
  pageSize: number,
): ReadonlyMap<number, TablePage> {
  return new Map([...tables.values()].map((table) => [Math.floor(table.physical / pageSize), table]));
}

/** Virtual less physical address of a task, which is in the linear map like all that slabs hold. */
function* linearOffset({ memory }: KernelData, task: bigint): Routine<bigint | undefined> {
  const found = yield* memory.translate(task);
  return "physical" in found ? task - BigInt(found.physical as number) : undefined;
}

function* namedRanges(data: KernelData, report: OnDamage): Routine<NamedRange[]> {
  const found = yield* readResources(data, false, report);
  return found.map(({ start, end, name }) => ({ start, end, name: name ?? undefined }));
}
