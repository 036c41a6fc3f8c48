/** Opens a target and puts the layers of its machine together, all on one scheduler. */
import { basename, dirname, join } from "node:path";
import type { DumpFile, DumpImage, RawRange } from "../src/formats/index.js";
import { abiOf, dumpFile, openDump } from "../src/formats/index.js";
import { type Column, type ColumnIo, SAFE_HIGH, sendColumn, sendRecords } from "../src/io/column.js";
import {
  type Address,
  type BoundView,
  defaultScheduler,
  Io,
  MemtoolError,
  OUTSIDE,
  type PacketIo,
  type Routine,
  Scheduler,
  type Source,
  SourceIo,
} from "../src/io/index.js";
import { findKernel, KernelNotFoundError, type LinuxKernel, parseVmcoreinfo } from "../src/linux/index.js";
import { AddressSpace, PhysicalMap, PhysicalMemory } from "../src/memory/index.js";
import { TableCache, VirtualMemory } from "../src/paging/index.js";
import { DecodePool } from "./decode-pool.js";
import { ConnectorError } from "./errors.js";
import { type FileSource, openFile } from "./file.js";
import { hostWasm } from "./host-wasm.js";
import { isInline } from "./mapped-file.js";
import { readMemoryMap } from "./memory-map.js";
import { nodeDecoders } from "./node-decoders.js";
import { type Connector, checkOptions, findConnector, parseTarget } from "./registry.js";

/**
 * What to open: the path of a dump, the paths of all files of a dump that was split, in any order, or a connector in
 * the form `name[:target[:key=value,…]]`.
 */
export type OpenTarget = string | readonly string[] | { readonly connector: string };

/** Options of {@link open}. */
export interface OpenOptions {
  /** The dump's format, instead of what its content says: a name of `FORMATS`, such as `raw`. */
  readonly format?: string | undefined;
  /** Physical address of a page-table root: `memory` is then its address space. */
  readonly root?: number | undefined;
  /** Allow writes, where the target can; default false. */
  readonly write?: boolean | undefined;
  /**
   * Map the file into memory instead of reading it with positioned reads; default false. Random reads are faster, but
   * a file that becomes shorter meanwhile can end the program: see {@link mapFile}. Reads are then in no batch, so the
   * source's counters do not count them.
   */
  readonly map?: boolean | undefined;
  /**
   * Where a raw image's bytes belong: ranges, or a text that {@link readMemoryMap} takes (ranges such as
   * `0-3G@0,4G-5G@3G`, or the path of a file of them or of the text of /proc/iomem). Of a QEMU stream, where its main RAM
   * belongs. Other dumps say it themselves, and refuse a map.
   */
  readonly memoryMap?: readonly RawRange[] | string | undefined;
  /**
   * Tell zeros apart that the file doesn't store, as holes of the file system: a raw image's `image.mapWithZeros` is
   * then there if the file has such holes and the optional package `ffi-rs` is installed, which is loaded (some 15 ms).
   * Default false.
   */
  readonly holes?: boolean | undefined;
  /**
   * Bytes of memory to keep cached, decompressed pages of a dump among them; default 32 MiB, or none over a mapped
   * file whose pages are not compressed.
   */
  readonly cacheBytes?: number | undefined;
  /**
   * For live memory: milliseconds that page tables may be old when a request begins; default 0, so that they are shared
   * within a batch only. Until then a change of them is not seen; see `VirtualMemory.flush`.
   */
  readonly maxAge?: number | undefined;
  /**
   * How far to go for a kernel before `open` resolves: `scan` all RAM unless the dump's note will do (default), the
   * `note` only, or `none`. `linux()` scans in any case.
   */
  readonly kernel?: "scan" | "note" | "none" | undefined;
  /** Progress of a scan: bytes done, and in all. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/**
 * Opens a dump or a live target.
 *
 * @example
 * const machine = await open("vmcore");
 * const linux = await machine.linux();
 * await machine.close();
 *
 * @throws {MemtoolError} (a `ConnectorError`, a `FormatError`) for what can't be opened, with what to try.
 */
export async function open(target: OpenTarget, options: OpenOptions = {}): Promise<Machine> {
  const { connector, source, parts, memoryMap } = await openSource(target, options);
  const scheduler = new Scheduler();
  const io = new SourceIo(source, scheduler);
  const files = new FilesBeside(io);
  let machine: Machine | undefined;
  try {
    machine = new Machine(
      io,
      connector.kind,
      await layersOf(io, connector, options, files, parts, memoryMap),
      options,
    );
    await machine.prepare();
    return machine;
  } catch (error) {
    await machine?.close();
    await files.close();
    await io.close();
    throw error;
  }
}

/** A source, and what its target said besides. */
interface Opened {
  readonly connector: Connector;
  readonly source: Source;
  /** Paths of the other files of a dump that was split. */
  readonly parts: readonly string[];
  readonly memoryMap: readonly RawRange[] | undefined;
}

async function openSource(target: OpenTarget, options: OpenOptions): Promise<Opened> {
  // Before anything is opened: nobody would close it.
  const given = options.memoryMap;
  const memoryMap = typeof given === "string" ? readMemoryMap(given) : given;
  if (typeof target === "string" || !("connector" in target)) {
    const [path, ...parts] = typeof target === "string" ? [target] : target;
    if (path === undefined)
      throw new MemtoolError("NO_TARGET", "no file to open: the list of paths is empty");
    const connector = findConnector("file");
    const source = await connector.open(path, { write: options.write, map: options.map });
    return { connector, source, parts, memoryMap };
  }
  const text = target.connector;
  const parsed = parseTarget(text);
  const connector = findConnector(parsed.name);
  const asked = new Map(parsed.options);
  if (options.write === true && !asked.has("write")) {
    if (connector.options?.write !== "boolean") {
      throw new MemtoolError("READ_ONLY", `${text}: this connector can't write`);
    }
    asked.set("write", true);
  }
  if (options.map === true && !asked.has("map")) {
    if (connector.options?.map === undefined) {
      throw new MemtoolError("NO_MMAP", `${text}: this connector has nothing to map`);
    }
    asked.set("map", true);
  }
  const values = checkOptions(text, connector, asked);
  const ranges = connector.kind === "file" && typeof values.map === "string" ? values.map : undefined;
  if (memoryMap !== undefined && (connector.kind !== "file" || ranges !== undefined)) {
    throw new ConnectorError(
      "BAD_MEMORY_MAP",
      text,
      ranges === undefined
        ? "a memory map is for raw images in files, and this is none"
        : "a memory map is given twice, as an option of the connector and beside it",
    );
  }
  const ownMap = ranges === undefined ? memoryMap : readMemoryMap(ranges);
  // Ranges and a mapped file at once: what is asked for beside the connector still holds.
  const how = ranges === undefined ? values : { ...values, map: options.map };
  const source = await connector.open(parsed.target, how);
  return { connector, source, parts: [], memoryMap: ownMap };
}

/** Further files of a dump: the other parts of one that was split, and those that lie beside it. */
class FilesBeside {
  readonly #io: SourceIo;
  readonly #opened: SourceIo[] = [];

  constructor(io: SourceIo) {
    this.#io = io;
  }

  /** @throws {ConnectorError} */
  open(path: string): DumpFile {
    const io = new SourceIo(openFile(path), this.#io.scheduler);
    this.#opened.push(io);
    return fileOf(io);
  }

  /** A file in the folder of the dump; `undefined` if it can't be opened. */
  beside(name: string): DumpFile | undefined {
    const { path } = this.#io.source as Partial<FileSource>;
    if (path === undefined || basename(name) !== name) return undefined;
    try {
      return this.open(join(dirname(path), name));
    } catch (error) {
      if (error instanceof ConnectorError) return undefined;
      throw error;
    }
  }

  /** Paths of those that were opened. */
  get paths(): string[] {
    return this.#opened.flatMap(({ source }) => (source as Partial<FileSource>).path ?? []);
  }

  /** Bytes of those that were opened. */
  get size(): number {
    return this.#opened.reduce((sum, { ranges }) => sum + ranges.end, 0);
  }

  async close(): Promise<void> {
    await Promise.all(this.#opened.map((io) => io.close()));
  }
}

/** A file source as formats want it. */
function fileOf(io: SourceIo): DumpFile {
  const { source } = io;
  return dumpFile(isInline(source) ? source.inline(io) : io, io.ranges.end, io.name.replace(/^file:/, ""));
}

interface Layers {
  readonly image: DumpImage | undefined;
  readonly physical: PhysicalMemory | undefined;
  /** Helps to decompress the dump's pages. */
  readonly pool?: DecodePool;
  readonly files?: FilesBeside;
}

async function layersOf(
  io: SourceIo,
  connector: Connector,
  options: OpenOptions,
  files: FilesBeside,
  parts: readonly string[],
  memoryMap: readonly RawRange[] | undefined,
): Promise<Layers> {
  const { live } = io.source.supports;
  const cacheBytes = options.cacheBytes === undefined ? {} : { cacheBytes: options.cacheBytes };
  switch (connector.kind) {
    case "virtual":
      return { image: undefined, physical: undefined };
    case "physical": {
      const ranges = [...io.ranges].map((range) => ({ ...range, state: "present" as const }));
      const map = PhysicalMap.from(ranges);
      return {
        image: undefined,
        physical: new PhysicalMemory(io, { map, live, ...cacheBytes, name: io.name }),
      };
    }
    case "file": {
      const { source } = io;
      const holes = options.holes === true ? await (source as Partial<FileSource>).findHoles?.() : undefined;
      const file = { ...fileOf(io), zeroRanges: holes };
      const pool = new DecodePool();
      const decoders = { ...nodeDecoders, many: pool };
      let image: DumpImage;
      try {
        image = await openDump(file, {
          decoders,
          format: options.format,
          ...cacheBytes,
          memoryMap,
          parts: parts.map((path) => files.open(path)),
          beside: (name) => files.beside(name),
        });
      } catch (error) {
        await pool.close();
        throw error;
      }
      const { map, slab } = image;
      // A page of a mapped file, unless it must be decompressed, is as near as one in a cache: going without, 1,000
      // scattered values of 8 bytes took 0.5 µs each instead of 2.8, a few over and over no more than through a cache.
      const cached = isInline(source) && slab === undefined ? { cacheBytes: 0, ...cacheBytes } : cacheBytes;
      const physical = new PhysicalMemory(image.io, {
        map,
        live,
        ...cached,
        slab,
        name: file.name,
        ...abiOf(image.notes),
      });
      return { image, physical, pool, files };
    }
  }
}

/** Five-level paging, in CR4 (Intel SDM vol. 3A, 2.5). */
const CR4_LA57 = 1n << 12n;

/** An opened target: its memory, and what was found in it. */
export class Machine {
  /** As opened: `file:vmcore`, `proc:1234`. */
  readonly name: string;
  /** As `FORMATS` name it: `raw`, `elf-core`; the connector's kind where there is no dump. */
  readonly format: string;
  /** The dump's headers, map and notes. */
  readonly image: DumpImage | undefined;
  /** Physical memory, where the target is one. */
  readonly physical: PhysicalMemory | undefined;
  /** The source at the bottom, with its counters. */
  readonly source: SourceIo;
  /** Drives every layer of this machine. */
  readonly scheduler: Scheduler;
  readonly #options: OpenOptions;
  readonly #pool: DecodePool | undefined;
  readonly #files: FilesBeside | undefined;
  readonly #identity: AddressSpace<Address>;
  /** The page tables of every root: processes share the kernel's, and the bound is one for all of them. */
  readonly #tableCache = new TableCache({ wasm: hostWasm });
  /** The address space of the root that was given, with the tables that it has read. */
  #ofRoot: VirtualMemory | undefined;
  #kernel: LinuxKernel | undefined;
  #noKernel: KernelNotFoundError | undefined;

  /** Use {@link open}. @internal */
  constructor(source: SourceIo, kind: Connector["kind"], layers: Layers, options: OpenOptions) {
    this.name = source.name;
    this.source = source;
    this.scheduler = source.scheduler ?? defaultScheduler;
    this.image = layers.image;
    this.physical = layers.physical;
    this.#pool = layers.pool;
    this.#files = layers.files;
    this.format = layers.image?.format ?? kind;
    this.#options = options;
    const { physical } = layers;
    this.#identity =
      physical === undefined
        ? new AddressSpace<Address>(source, { name: source.name })
        : new AddressSpace<Address>(new IdentityIo(physical), { name: "physical memory", ...physical.abi });
  }

  /**
   * The address space that is used by default, addressed by `bigint`: that of `root` where one was given; the
   * kernel's where one was found; the process's own; else physical memory.
   */
  get memory(): AddressSpace<Address> {
    const { root } = this.#options;
    if (root === undefined || this.physical === undefined) return this.#kernel?.memory ?? this.#identity;
    this.#ofRoot ??= this.addressSpace(root);
    return this.#ofRoot;
  }

  /** The kernel, if it has been found already. */
  get kernel(): LinuxKernel | undefined {
    return this.#kernel;
  }

  /** Why no kernel was found, if one was looked for. */
  get noKernel(): KernelNotFoundError | undefined {
    return this.#noKernel;
  }

  /**
   * The Linux kernel in this memory, looked for if it has not been found yet.
   *
   * @throws {KernelNotFoundError} with what to give instead.
   */
  linux(): Io<LinuxKernel> {
    return Io.of(this.scheduler, linuxRoutine, this as Machine, true);
  }

  /** @internal */
  *findLinux(scan: boolean): Routine<LinuxKernel> {
    if (this.#kernel !== undefined) return this.#kernel;
    const { physical, image } = this;
    if (physical === undefined) {
      throw new KernelNotFoundError(
        "NO_KERNEL",
        `${this.name} is one process's memory: there is no kernel in it`,
      );
    }
    const architecture = image?.notes.architecture;
    try {
      if (architecture !== undefined && architecture !== "x86_64") {
        throw new KernelNotFoundError(
          "OTHER_ARCHITECTURE",
          `no Linux kernel looked for: this is a dump of ${architecture}, and memtool knows the page tables of x86-64 ` +
            "only; --physical reads its physical memory",
        );
      }
      this.#kernel = yield* findKernel(physical, {
        map: physical.map,
        note: image?.notes.vmcoreinfo,
        root: this.#options.root,
        scan,
        live: this.source.source.supports.live,
        tableCache: this.#tableCache,
        maxAge: this.#options.maxAge,
        onProgress: this.#options.onProgress,
      });
      this.#noKernel = undefined;
      return this.#kernel;
    } catch (error) {
      if (error instanceof KernelNotFoundError) this.#noKernel = error;
      throw error;
    }
  }

  /** Does what `OpenOptions.kernel` asks for. @internal */
  async prepare(): Promise<void> {
    const kernel = this.#options.kernel ?? "scan";
    if (this.physical === undefined || kernel === "none") return;
    try {
      await Io.of(this.scheduler, linuxRoutine, this as Machine, kernel === "scan");
    } catch (error) {
      if (!(error instanceof KernelNotFoundError)) throw error;
    }
  }

  /**
   * The address space of a page-table root. All of a machine's keep their tables in one cache.
   *
   * @param root Physical address of the top table (x86-64: CR3 without its low 12 bits).
   * @throws {MemtoolError} `NO_PHYSICAL_MEMORY` where the target is a process; `OTHER_PAGING`, `FIVE_LEVEL_PAGING`
   * where the dump says that its tables are of a format that can't be walked yet.
   */
  addressSpace(root: number): VirtualMemory {
    const { physical } = this;
    if (physical === undefined) {
      throw new MemtoolError(
        "NO_PHYSICAL_MEMORY",
        `${this.name} has no page tables: it is one process's memory`,
      );
    }
    this.#checkPaging();
    const { live } = this.source.source.supports;
    return new VirtualMemory(physical, {
      root,
      live,
      name: `root 0x${root.toString(16)}`,
      tableCache: this.#tableCache,
      maxAge: this.#options.maxAge,
    });
  }

  /** Tables of another format, walked as x86-64's of four levels, would give wrong addresses without a word. */
  #checkPaging(): void {
    const notes = this.image?.notes;
    const architecture = notes?.architecture;
    if (architecture !== undefined && architecture !== "x86_64") {
      throw new MemtoolError(
        "OTHER_PAGING",
        `${this.name}: page tables of ${architecture} aren't supported yet; --physical reads its physical memory`,
      );
    }
    const text = notes?.vmcoreinfo;
    const ofKernel = text === undefined ? undefined : parseVmcoreinfo(text).numbers.get("pgtable_l5_enabled");
    const ofCpu = notes?.cpus.some(({ registers }) => ((registers.cr4 ?? 0n) & CR4_LA57) !== 0n);
    if (ofKernel === 1n || ofCpu === true || this.#noKernel?.code === "FIVE_LEVEL_PAGING") {
      throw new MemtoolError(
        "FIVE_LEVEL_PAGING",
        `${this.name}: it runs with five-level paging, which isn't supported yet; --physical reads its physical memory`,
      );
    }
  }

  /** Paths of the files that it is read from. */
  get paths(): readonly string[] {
    const { path } = this.source.source as Partial<FileSource>;
    return [...(path === undefined ? [] : [path]), ...(this.#files?.paths ?? [])];
  }

  /** Bytes of the source; of a dump of several files, of all of them. */
  get size(): number {
    return this.source.ranges.end + (this.#files?.size ?? 0);
  }

  /** Waits for what is in flight, and lets go of the target. Idempotent. */
  async close(): Promise<void> {
    try {
      await this.source.close();
      await this.#files?.close();
    } finally {
      await this.#pool?.close();
    }
  }

  /** For `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

function* linuxRoutine(machine: Machine, scan: boolean): Routine<LinuxKernel> {
  return yield* machine.findLinux(scan);
}

/** Physical memory under 64-bit addresses. */
class IdentityIo implements PacketIo<Address>, ColumnIo {
  readonly scheduler: Scheduler;
  readonly #physical: PhysicalMemory;

  constructor(physical: PhysicalMemory) {
    this.#physical = physical;
    this.scheduler = physical.scheduler;
  }

  sendIo(address: Address, view: BoundView): void {
    const number = Number(address);
    if (Number.isSafeInteger(number)) this.#physical.sendIo(number, view);
    else view.fail(OUTSIDE);
  }

  sendColumn(column: Column, from: number, view: BoundView): void {
    const { words, size } = column;
    const until = 2 * (from + view.length / size);
    for (let i = 2 * from + 1; i < until; i += 2) {
      if ((words[i] as number) >= SAFE_HIGH) {
        sendRecords(this, column, from, view);
        return;
      }
    }
    sendColumn(this.#physical, column, from, view);
  }
}
