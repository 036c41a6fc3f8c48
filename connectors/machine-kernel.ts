/** The kernel of a machine: looked for once, by what its dump and the options tell. */
import { Io, type Routine } from "../src/io/index.js";
import {
  findKernel,
  IsfTypes,
  isKnownArch,
  KernelNotFoundError,
  type Linux,
  parseVmcoreinfo,
  readZeroPages,
  type SwapTypes,
  symbolsFor,
  TypesError,
  type TypeTable,
  type Vmcoreinfo,
  type ZeroPages,
} from "../src/linux/index.js";
import { swapTypesRoutine } from "../src/linux/swap/read-swap-types.js";
import type { PhysicalMap } from "../src/memory/index.js";
import type { Layers, Machine } from "./machine.js";
import type { MachineFormats } from "./machine-formats.js";
import { machineOf, type Told } from "./machine-paging.js";
import { nodeGunzip } from "./node-gunzip.js";
import type { OpenOptions } from "./open-options.js";
import type { ProfileFolder } from "./profile-cache.js";
import { waitFor } from "./wait-for.js";

/** What the machine's own layers have for it. */
export interface KernelHelp extends Pick<Layers, "findZeros" | "types" | "symbols"> {
  readonly formats: MachineFormats;
  readonly profiles: ProfileFolder | undefined;
}

/** See the module's comment. @internal */
export class MachineKernel {
  readonly #machine: Machine;
  readonly #options: OpenOptions;
  readonly #formats: MachineFormats;
  readonly #profiles: ProfileFolder | undefined;
  readonly #findZeros: Layers["findZeros"];
  readonly #types: TypeTable | undefined;
  readonly #symbols: Uint8Array | undefined;
  #kernel: Linux | undefined;
  #noKernel: KernelNotFoundError | undefined;
  /** Whether all that can be done to find a kernel has been done. */
  #searched = false;

  constructor(machine: Machine, options: OpenOptions, help: KernelHelp) {
    this.#machine = machine;
    this.#options = options;
    this.#formats = help.formats;
    this.#profiles = help.profiles;
    this.#findZeros = help.findZeros;
    this.#types = help.types;
    this.#symbols = help.symbols;
  }

  /** The kernel, if it has been found already. */
  get found(): Linux | undefined {
    return this.#kernel;
  }

  /** Why there is none, if one was looked for. */
  get missing(): KernelNotFoundError | undefined {
    return this.#noKernel;
  }

  get #isLive(): boolean {
    return this.#machine.source.source.supports.live;
  }

  /** What the target tells of its machine. */
  get told(): Told | undefined {
    const { notes, image } = this.#machine;
    return notes === undefined ? undefined : { notes, details: image?.details ?? {} };
  }

  /** What is known of the kernel without looking for it. */
  get vmcoreinfo(): Vmcoreinfo | undefined {
    if (this.#kernel !== undefined) return this.#kernel.vmcoreinfo;
    const note = this.#machine.notes?.vmcoreinfo;
    return note === undefined ? undefined : parseVmcoreinfo(note);
  }

  /**
   * The kernel, looked for if it has not been found yet.
   *
   * @param mayWait Whether a scan may wait for what can't be had synchronously.
   * @param searchRoots Whether to look for page-table roots where nothing else leads to a kernel.
   * @throws {KernelNotFoundError}
   */
  *find(scan: boolean, mayWait: boolean, searchRoots: boolean): Routine<Linux> {
    if (this.#kernel !== undefined) return this.#kernel;
    // (A dump that had none a moment ago, looked through as well as is asked for now, has none.)
    if (this.#noKernel !== undefined && this.#searched && !this.#isLive) throw this.#noKernel;
    const { physical, notes, name } = this.#machine;
    if (physical === undefined) {
      throw new KernelNotFoundError("NO_KERNEL", `${name} is one process's memory: there is no kernel in it`);
    }
    const architecture = machineOf(this.told);
    try {
      if (!isKnownArch(architecture)) {
        throw new KernelNotFoundError(
          "OTHER_ARCHITECTURE",
          `no Linux kernel looked for: this is a dump of ${architecture}, whose page tables memtool doesn't know; ` +
            "--physical reads its physical memory",
        );
      }
      const kernel = yield* findKernel(physical, {
        map: physical.map,
        note: notes?.vmcoreinfo,
        architecture,
        mmu: this.#options.mmu,
        root: this.#options.root,
        roots: () => this.#machine.dumpRoots,
        searchRoots,
        kaslr: this.#options.kaslr,
        symbols: this.#symbols,
        scan,
        zeros: mayWait ? this.#zeros() : undefined,
        live: this.#isLive,
        tableCacheOf: (mmu) => this.#formats.cacheOf(mmu),
        spaceOf: (root) => this.#machine.addressSpace(root),
        maxAge: this.#options.maxAge,
        profiles: this.#profiles,
        gunzip: nodeGunzip,
        onProgress: this.#options.onProgress,
        formatOf: (paging, info) => this.#formats.ofLinux(paging, info),
      });
      if (this.#types !== undefined) useTypes(kernel, this.#types);
      if (this.#symbols !== undefined) {
        kernel.useSymbols(symbolsFor(kernel, this.#symbols, this.#options.symbols ?? "the table of symbols"));
      }
      this.#kernel = kernel;
      this.#noKernel = undefined;
      return kernel;
    } catch (error) {
      if (error instanceof KernelNotFoundError) {
        this.#noKernel = error;
        this.#searched ||= scan && searchRoots;
      }
      throw error;
    }
  }

  /** What a scan asks for what is zero. */
  #zeros(): (() => Routine<PhysicalMap | undefined>) | undefined {
    const find = this.#findZeros;
    return find === undefined ? undefined : () => waitFor(find());
  }

  /** Goes as far for it as is asked for; that there is none is no error. */
  async prepare(how: "search" | "scan" | "note"): Promise<void> {
    const { scheduler } = this.#machine;
    try {
      await Io.of(scheduler, linuxRoutine, this as MachineKernel, how !== "note", true, how === "search");
      // Processes' page tables have what the kernel's own has not.
      if (this.#options.root !== undefined) await Io.of(scheduler, swapTypesRoutineOf, this as MachineKernel);
    } catch (error) {
      if (!(error instanceof KernelNotFoundError)) throw error;
    }
  }

  /** What the kernel's numbers of swap areas stand for; `undefined` while no kernel was found. */
  *findSwapTypes(): Routine<SwapTypes | undefined> {
    const kernel = this.#kernel;
    if (this.#formats.swapTypes === undefined && kernel !== undefined) {
      this.#formats.useSwapTypes(yield* swapTypesRoutine(kernel, kernel.architecture));
    }
    return this.#formats.swapTypes;
  }
}

/** Gives a kernel its types, unless they are of another one for sure. */
function useTypes(kernel: Linux, types: TypeTable): void {
  const { pointerSize } = kernel.memory;
  if (types.pointerSize !== pointerSize) {
    throw new TypesError(
      "NO_TYPES",
      types.name,
      `${types.name} has pointers of ${types.pointerSize} bytes, and this kernel of ${pointerSize}: it is of another kernel`,
    );
  }
  const { release } = kernel;
  const banner = types instanceof IsfTypes ? types.banner : undefined;
  if (banner !== undefined && release !== "" && !banner.startsWith(`Linux version ${release} `)) {
    throw new TypesError(
      "NO_TYPES",
      types.name,
      `${types.name} is of another kernel: it says "${banner.slice(0, 80)}…", and this one is ${release}`,
    );
  }
  // VMCOREINFO says how large some structures are.
  for (const [name, size] of kernel.vmcoreinfo.sizes) {
    const type = types.find("struct", name);
    if (type?.kind !== "struct" || type.size === size) continue;
    throw new TypesError(
      "NO_TYPES",
      types.name,
      `${types.name} is of another kernel: its struct ${name} has ${type.size} bytes, and this one's ${size}`,
    );
  }
  kernel.useTypes(types);
}

/** See {@link MachineKernel.find}. */
export function* linuxRoutine(
  kernel: MachineKernel,
  scan: boolean,
  mayWait: boolean,
  searchRoots: boolean,
): Routine<Linux> {
  return yield* kernel.find(scan, mayWait, searchRoots);
}

/** Where the pages of zeros of a kernel are; nowhere where there is none. */
export function* zeroPagesOf(kernel: Linux | undefined): Routine<ZeroPages> {
  if (kernel === undefined) return { pageSize: 4096, page: undefined, huge: undefined };
  return yield* readZeroPages(kernel);
}

/** See {@link MachineKernel.findSwapTypes}. */
export function* swapTypesRoutineOf(kernel: MachineKernel): Routine<SwapTypes | undefined> {
  return yield* kernel.findSwapTypes();
}
