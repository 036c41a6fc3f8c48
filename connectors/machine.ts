/** An opened target: the layers of its machine, all on one scheduler. */
import type { DumpImage, DumpNotes } from "../src/formats/index.js";
import {
  type Address,
  defaultScheduler,
  Io,
  MemtoolError,
  type Scheduler,
  type SourceIo,
} from "../src/io/index.js";
import {
  type KernelNotFoundError,
  LINUX_LANDMARKS,
  type Linux,
  rootsOfKernel,
  type SwapTypes,
  type TypeTable,
  type ZeroPages,
} from "../src/linux/index.js";
import { AddressSpace, type PhysicalMap, RangeSpace, type SpaceRange } from "../src/memory/index.js";
import type { PhysicalMemory } from "../src/memory/physical-memory.js";
import {
  alignRoot,
  type FoundRoots,
  findRoots,
  formatsOf,
  type KnownRoot,
  type MmuDef,
  type Root,
  rootName,
  VirtualMemory,
  X86_64,
} from "../src/paging/index.js";
import type { GuestMemory } from "../src/paging/nested/guest-physical.js";
import { type Connector, isMortal, type MachineSource } from "./connector.js";
import type { DecodePool } from "./decode-pool.js";
import type { FileSource } from "./file.js";
import type { FilesBeside } from "./files-beside.js";
import { IdentityIo } from "./identity-io.js";
import { MachineFormats } from "./machine-formats.js";
import { linuxRoutine, MachineKernel, swapTypesRoutineOf, zeroPagesOf } from "./machine-kernel.js";
import { formatHint, type MachinePaging, machineOf, pagingOfDump, rootsOfDump } from "./machine-paging.js";
import type { MeteredSource, SourceMetrics } from "./middleware/metrics.js";
import type { OpenOptions } from "./open-options.js";
import type { ProcessMap } from "./proc/maps.js";
import { type ProfileFolder, profileCache } from "./profile-cache.js";
import type { SwapFiles } from "./swap-files.js";

/** What `open` put together. @internal */
export interface Layers {
  readonly image: DumpImage | undefined;
  /** What a live machine says, where there is no dump. */
  readonly notes?: DumpNotes | undefined;
  readonly physical: PhysicalMemory | undefined;
  /** The same memory, where it is that of a guest inside. */
  readonly guest?: GuestMemory;
  /** Helps to decompress the dump's pages. */
  readonly pool?: DecodePool;
  readonly files?: FilesBeside;
  /** Tells zeros apart in the map of `physical`; `undefined` where nobody can tell. */
  readonly findZeros?: (() => Promise<PhysicalMap | undefined>) | undefined;
  /** Where pages are read from that were swapped out. */
  readonly swap?: SwapFiles | undefined;
  /** Types for the kernel, instead of its own. */
  readonly types?: TypeTable | undefined;
  /** The text of the file that `OpenOptions.symbols` names. */
  readonly symbols?: Uint8Array | undefined;
}

/** A range of an address space without page tables, with as much as the connector knows of it. */
export type MappedRange = SpaceRange & Partial<ProcessMap>;

/** An opened target: its memory, and what was found in it. */
export class Machine {
  /** As opened: `file:vmcore`, `proc:1234`. */
  readonly name: string;
  /** As `FORMATS` name it: `raw`, `elf-core`; the connector's kind where there is no dump. */
  readonly format: string;
  /** The dump's headers, map and notes. None where a guest inside was opened: they are about its host. */
  readonly image: DumpImage | undefined;
  /**
   * What the target says of its machine: a dump's notes; of a live machine, its registers when it was opened, and more as its
   * connector knows it. None of a guest inside.
   */
  readonly notes: DumpNotes | undefined;
  /** Physical memory, where the target is one. */
  readonly physical: PhysicalMemory | undefined;
  /** The same, where a guest inside was opened (`OpenOptions.ept`): how, and the physical memory of its host. */
  readonly guest: GuestMemory | undefined;
  /** The address space, where the target is none of physical memory: the mappings of a process. */
  readonly ranges: RangeSpace<MappedRange> | undefined;
  /** The source at the bottom, with its counters. */
  readonly source: SourceIo;
  /** Drives every layer of this machine. */
  readonly scheduler: Scheduler;
  readonly #options: OpenOptions;
  readonly #pool: DecodePool | undefined;
  readonly #files: FilesBeside | undefined;
  readonly #profiles: ProfileFolder | undefined;
  readonly #swap: SwapFiles | undefined;
  readonly #identity: AddressSpace<Address>;
  /** The address space of the root that was given, with the tables that it has read. */
  #ofRoot: VirtualMemory | undefined;
  readonly #kernel: MachineKernel;
  readonly #formats = new MachineFormats();

  /** Use {@link open}. @internal */
  constructor(source: SourceIo, kind: Connector["kind"], layers: Layers, options: OpenOptions) {
    this.name = source.name;
    this.source = source;
    this.scheduler = source.scheduler ?? defaultScheduler;
    this.image = layers.guest === undefined ? layers.image : undefined;
    this.notes = this.image?.notes ?? (layers.guest === undefined ? layers.notes : undefined);
    this.physical = layers.physical;
    this.guest = layers.guest;
    this.#pool = layers.pool;
    this.#files = layers.files;
    this.#profiles = profileCache(options.cache);
    this.#swap = layers.swap;
    this.format = layers.image?.format ?? kind;
    this.#options = options;
    this.#kernel = new MachineKernel(this, options, {
      ...layers,
      formats: this.#formats,
      profiles: this.#profiles,
      findZeros: layers.guest === undefined ? layers.findZeros : undefined,
    });
    const { physical } = layers;
    if (physical === undefined) {
      this.ranges = new RangeSpace(source, () => rangesOf(source), { name: source.name });
      this.#identity = this.ranges;
    } else {
      this.#identity = new AddressSpace(new IdentityIo(physical), {
        name: "physical memory",
        ...physical.abi,
      });
    }
  }

  /**
   * The address space that is used by default, addressed by `bigint`: that of `root` where one was given; the
   * kernel's where one was found; the process's own; else physical memory.
   */
  get memory(): AddressSpace<Address> {
    const { root } = this.#options;
    if (root === undefined || this.physical === undefined) return this.kernel?.memory ?? this.#identity;
    this.#ofRoot ??= this.rootSpace(root);
    return this.#ofRoot;
  }

  /** The kernel, if it has been found already. */
  get kernel(): Linux | undefined {
    return this.#kernel.found;
  }

  /** Why no kernel was found, if one was looked for. */
  get noKernel(): KernelNotFoundError | undefined {
    return this.#kernel.missing;
  }

  /**
   * The Linux kernel in this memory, looked for if it has not been found yet.
   *
   * @param options.searchRoots Whether to look through RAM for page-table roots where nothing else leads to a kernel; default true.
   * @throws {KernelNotFoundError} with what to give instead.
   */
  linux(options: { readonly searchRoots?: boolean | undefined } = {}): Io<Linux> {
    return Io.of(this.scheduler, linuxRoutine, this.#kernel, true, false, options.searchRoots ?? true);
  }

  /** Does what `OpenOptions.kernel` asks for, and checks what else was given by what was found. @internal */
  async prepare(): Promise<void> {
    const kernel = this.#options.kernel ?? "scan";
    if (this.physical !== undefined && kernel !== "none") await this.#kernel.prepare(kernel);
    const pageSize = this.#kernel.vmcoreinfo?.pageSize;
    if (pageSize !== undefined) this.#swap?.checkPageSize(pageSize);
  }

  /**
   * Finds out, once, what the kernel's numbers of swap areas stand for; reads its kallsyms. Until then, all address spaces go by
   * its release alone. The answer is `undefined` while no kernel was found.
   */
  swapTypes(): Io<SwapTypes | undefined> {
    return Io.of(this.scheduler, swapTypesRoutineOf, this.#kernel);
  }

  /** Where the kernel's pages of zeros are, as far as it was found and its symbols tell. */
  zeroPages(): Io<ZeroPages> {
    return Io.of(this.scheduler, zeroPagesOf, this.kernel);
  }

  /** Swap areas that were given, ascending by number. */
  get swapAreas(): ReturnType<SwapFiles["list"]> {
    return this.#swap?.list() ?? [];
  }

  /**
   * The format of the machine's page tables, and what says so: the option `mmu`, the kernel if it was found, else the dump.
   * `undefined` where nothing does.
   */
  get paging(): MachinePaging | undefined {
    const { mmu } = this.#options;
    if (mmu !== undefined) return { mmu, source: "given" };
    if (this.kernel !== undefined)
      return { mmu: this.#formats.plainOf(this.kernel.memory.mmu), source: "the kernel" };
    const ofText = this.noKernel?.mmu;
    return ofText === undefined ? pagingOfDump(this.#kernel.told) : { mmu: ofText, source: "VMCOREINFO" };
  }

  /**
   * The address space of a page-table root. All of a machine's of one format keep their tables in one cache.
   *
   * @param root Physical address of the top table (x86-64: CR3 without its low 12 bits). Of a format with two roots, a number
   * is that of the lower half, beside the kernel's if that was found; or the kernel's own.
   * @param mmu  The format, instead of the machine's (see `paging`).
   * @throws {MemtoolError} `NO_PHYSICAL_MEMORY` where the target is a process; `OTHER_PAGING` where the dump is of a machine
   * whose page tables memtool does not know, `UNKNOWN_PAGING` where nothing tells which of several formats they have.
   * @throws {RangeError} for a root that the format can't have.
   */
  addressSpace(root: Root, mmu = this.#needMmu()): VirtualMemory {
    const { physical } = this;
    if (physical === undefined) {
      throw new MemtoolError(
        "NO_PHYSICAL_MEMORY",
        `${this.name} has no page tables: it is one process's memory`,
      );
    }
    const { live } = this.source.source.supports;
    const roots = typeof root === "number" && mmu.halves !== undefined ? this.#halvesOf(root) : root;
    this.#swap?.checkPageSize(2 ** (mmu.splits.at(-1) as number));
    return new VirtualMemory(physical, {
      root: roots,
      mmu: this.#formats.ofLinux(mmu, this.#kernel.vmcoreinfo),
      swap: this.#swap?.area,
      live,
      name: `root ${rootName(root)}`,
      tableCache: this.#formats.cacheOf(mmu),
      maxAge: this.#options.maxAge,
    });
  }

  /** As `addressSpace`, of a root as a register holds it: without the bits that are no address in the machine's format. */
  rootSpace(root: number): VirtualMemory {
    const mmu = this.#needMmu();
    return this.addressSpace(alignRoot(root, mmu), mmu);
  }

  /** Both roots, from one. */
  #halvesOf(root: number): Root {
    const ofKernel = this.kernel?.memory.roots;
    const ofDump = rootsOfDump(this.#kernel.told).filter(({ half }) => half === "upper");
    const upper = typeof ofKernel === "object" ? ofKernel.upper : ofDump[0]?.root;
    if (root === upper || ofDump.some((known) => known.root === root)) return { upper: root };
    return { lower: root, ...(upper === undefined ? {} : { upper }) };
  }

  /** Tables of another format, walked as x86-64's of four levels, would give wrong addresses without a word. */
  #needMmu(): MmuDef {
    const { paging } = this;
    if (paging !== undefined) return paging.mmu;
    const architecture = machineOf(this.#kernel.told);
    if (architecture === undefined) return X86_64;
    if (formatsOf(architecture).length === 0) {
      throw new MemtoolError(
        "OTHER_PAGING",
        `${this.name}: memtool doesn't know page tables of ${architecture}; --physical reads its physical memory`,
      );
    }
    throw new MemtoolError(
      "UNKNOWN_PAGING",
      `${this.name}: nothing in it tells which format its page tables have, of those of ${architecture}: give it${formatHint(architecture)}, ` +
        "or look for roots (memtool roots)",
    );
  }

  /** The roots that the dump tells of: its processors' and its header's. One that several tell of is there for each. */
  get dumpRoots(): readonly KnownRoot[] {
    return rootsOfDump(this.#kernel.told);
  }

  /**
   * Looks for page-table roots in all of physical memory, by shape and by what they map; those that registers or the kernel
   * tell of are among them. One pass over RAM: as long as reading it takes.
   *
   * @param options.all Try every format of the architecture, also where something tells which it is.
   * @throws {MemtoolError} `NO_PHYSICAL_MEMORY` where the target is a process.
   */
  findRoots(options: { readonly all?: boolean | undefined } = {}): Io<FoundRoots> {
    const { physical } = this;
    if (physical === undefined) {
      throw new MemtoolError(
        "NO_PHYSICAL_MEMORY",
        `${this.name} has no page tables: it is one process's memory`,
      );
    }
    const mmu = options.all === true ? undefined : this.paging?.mmu;
    return findRoots(physical, {
      map: physical.map,
      formats: mmu === undefined ? formatsOf(machineOf(this.#kernel.told)) : [mmu],
      landmarks: LINUX_LANDMARKS,
      known: [...(this.kernel === undefined ? [] : rootsOfKernel(this.kernel)), ...this.dumpRoots],
      live: this.source.source.supports.live,
      onProgress: this.#options.onProgress,
    });
  }

  /** Whether the target has vanished, as far as reads have met it: what fails now, fails for that. */
  get isGone(): boolean {
    const { gone, source } = this.source;
    return gone !== 0 && isMortal(source);
  }

  /** What did not go as it should when a live target was opened (see `MachineSource`). */
  get warnings(): readonly string[] {
    return (this.source.source as Partial<MachineSource>).warnings ?? [];
  }

  /** What its connector leaves out of a live target, or does not know of it. */
  get remarks(): readonly string[] {
    return (this.source.source as Partial<MachineSource>).remarks ?? [];
  }

  /** Paths of the files that it is read from. */
  get paths(): readonly string[] {
    const { path } = this.source.source as Partial<FileSource>;
    return [...(path === undefined ? [] : [path]), ...(this.#files?.paths ?? [])];
  }

  /** What passed through the source, where its target was opened with `metrics=true`. */
  get metrics(): SourceMetrics | undefined {
    return (this.source.source as Partial<MeteredSource>).metrics?.();
  }

  /** Bytes of the source; of a dump of several files, of all of them. */
  get size(): number {
    return this.source.ranges.end + (this.#files?.size ?? 0);
  }

  /** Waits for what is in flight, and lets go of the target. Idempotent. */
  async close(): Promise<void> {
    try {
      await this.source.close();
    } finally {
      // (Also where a machine that was paused can't be resumed.)
      await this.#closeRest();
    }
  }

  async #closeRest(): Promise<void> {
    try {
      await this.#files?.close();
      await this.#swap?.close();
    } finally {
      this.#profiles?.close();
      await this.#pool?.close();
    }
  }

  /** For `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** The ranges as the connector knows them; bounds alone where it knows no more. */
function rangesOf({ source, ranges }: SourceIo): readonly MappedRange[] {
  const { maps } = source as { maps?: () => readonly ProcessMap[] };
  if (maps !== undefined) return maps.call(source);
  return [...ranges].map(({ start, end }) => ({ start: BigInt(start), end: BigInt(end) }));
}
