import { Io, IoSequence, type Routine } from "../io/index.js";
import type { Root } from "../paging/tables/root.js";
import type { VirtualMemory } from "../paging/virtual-memory.js";
import type { KernelArch } from "./arch/kernel-arch.js";
import { KERNEL_MAP } from "./arch/x86-64.js";
import type { Gunzip } from "./config/gunzip.js";
import { imageSymbols, searchRanges } from "./find/image.js";
import { findBtf, findInitTask, type ImageRange } from "./find/image-search.js";
import type { Vmcoreinfo } from "./find/vmcoreinfo.js";
import { objectAtRoutine, objectRoutine, perCpuRoutine } from "./kernel-objects.js";
import {
  kallsymsOrWhy,
  kallsymsRoutine,
  moduleSymbolsRoutine,
  nameOfRoutine,
  readOwnKallsyms,
  symbolRoutine,
  symbolsRoutine,
} from "./kernel-symbols.js";
import { readBtf } from "./kernel-types.js";
import { type ModuleSymbols, readModuleSymbols } from "./modules/module-symbols.js";
import type { KernelObject, KernelVariables, TypeOfName, Unlisted } from "./objects/schema.js";
import type { KernelProfiles } from "./profile/profile.js";
import { type FittingProfile, loadProfile, OWN_BTF, saveProfile } from "./profile/profile-use.js";
import type { Kallsyms } from "./symbols/kallsyms.js";
import { KallsymsError } from "./symbols/kallsyms-tables.js";
import { type KernelSymbol, type NamedAddress, SymbolError } from "./symbols/symbol.js";
import { Btf } from "./types/btf/btf.js";
import type { CType } from "./types/c-type.js";
import { typeNamed } from "./types/type-name.js";
import { TypesError, type TypeTable } from "./types/type-table.js";

/** How a kernel was found. */
export interface KernelOrigin {
  /** Where its text was; "none": it was found by its image, and its `vmcoreinfo` has what that tells. */
  readonly vmcoreinfo: "note" | "scan" | "none";
  /** Physical address of the text, where a scan found it. */
  readonly vmcoreinfoAddress: number | undefined;
  /** By its symbol, given, or (without VMCOREINFO) a processor's or one that a search found. */
  readonly root: "swapper_pg_dir" | "given" | "found";
  /** Whether the root's tables map the kernel's own symbols where they should be. */
  readonly verified: boolean;
  readonly warnings: readonly string[];
}

/** A Linux kernel in memory; made by `findKernel`. */
export class LinuxKernel {
  readonly vmcoreinfo: Vmcoreinfo;
  /** The kernel's address space. */
  readonly memory: VirtualMemory;
  /** The architecture, as dumps name it: `x86_64`, `i386`, `aarch64`, `riscv64`. */
  readonly architecture: KernelArch["architecture"];
  /** What is added to an address in the image for its physical one; `undefined` if nothing says it. */
  readonly imageOffset: bigint | undefined;
  /** How it was found, and what is doubtful. */
  readonly origin: KernelOrigin;
  /** What the host decompresses gzip with. @internal */
  readonly gunzip: Gunzip | undefined;
  readonly #arch: KernelArch;
  readonly #spaceOf: (root: Root) => VirtualMemory;
  #kallsyms: Kallsyms | undefined;
  /** Why there are no kallsyms, once that is known. */
  #noKallsyms: KallsymsError | undefined;
  #types: TypeTable | undefined;
  #initTask: bigint | undefined;
  #moduleSymbols: ModuleSymbols | undefined;
  #noTypes: TypesError | undefined;
  #kaslr: bigint | undefined;
  #image: ImageRange | undefined;
  readonly #profiles: KernelProfiles | undefined;
  /** What is kept of this build; `null` before it was looked for. */
  #profile: FittingProfile | string | undefined | null = null;
  /** Why no profile of this build can be kept. */
  #notKept: string | undefined;
  /** Where `kallsyms_names` is, once kallsyms were read from memory. */
  #namesAt: bigint | undefined;

  /** Use `findKernel`. @internal */
  constructor(
    info: Vmcoreinfo,
    memory: VirtualMemory,
    arch: KernelArch,
    imageOffset: bigint | undefined,
    origin: KernelOrigin,
    spaceOf: (root: Root) => VirtualMemory,
    profiles?: KernelProfiles,
    gunzip?: Gunzip,
  ) {
    this.gunzip = gunzip;
    // Of a kernel whose own tables are doubtful, nothing is kept, and nothing kept is believed.
    this.#profiles = origin.verified ? profiles : undefined;
    this.vmcoreinfo = info;
    this.memory = memory;
    this.architecture = arch.architecture;
    this.imageOffset = imageOffset;
    this.origin = origin;
    this.#arch = arch;
    this.#spaceOf = spaceOf;
  }

  /**
   * The address space of a process.
   *
   * @param root Physical address of its top table. Where the kernel has one of its own (AArch64), that of the lower half.
   * @throws {RangeError} for a root that the format can't have.
   */
  addressSpace(root: number): VirtualMemory {
    const { roots } = this.memory;
    return this.#spaceOf(typeof roots === "number" ? root : { ...roots, lower: root });
  }

  /**
   * `phys_base` of x86-64: what the physical address of the image is off its link-time one. May be negative. `undefined` on
   * other architectures, which have `imageOffset` only.
   */
  get physBase(): number | undefined {
    if (this.imageOffset === undefined || this.architecture !== "x86_64") return undefined;
    return Number(this.imageOffset + KERNEL_MAP);
  }

  /** Addresses in the image that VMCOREINFO names. @internal */
  get named(): Map<string, bigint> {
    return imageSymbols(this.vmcoreinfo, this.#arch);
  }

  /** Such as "6.1.0-56-cloud-amd64"; "" if VMCOREINFO does not say. */
  get release(): string {
    return this.vmcoreinfo.release ?? "";
  }

  /** Physical address of the top page table. */
  get root(): number {
    return this.memory.root;
  }

  /** What KASLR added to the addresses of the image; 0 without it. */
  get kaslrOffset(): bigint {
    return this.#kaslr ?? this.vmcoreinfo.kernelOffset ?? 0n;
  }

  /** Whether that was given, or VMCOREINFO says it. @internal */
  get isKaslrKnown(): boolean {
    return (this.#kaslr ?? this.vmcoreinfo.kernelOffset) !== undefined;
  }

  /**
   * The table of the kernel's own symbols, read when first asked for. Those of modules are apart: see `moduleSymbols`.
   *
   * @throws {KallsymsError} naming the part that is missing or damaged.
   */
  kallsyms(): Io<Kallsyms> {
    return Io.of(this.memory.scheduler, kallsymsRoutine, this as LinuxKernel);
  }

  /** @internal */
  *loadKallsyms(): Routine<Kallsyms> {
    if (this.#kallsyms !== undefined) return this.#kallsyms;
    if (this.#noKallsyms !== undefined) throw this.#noKallsyms;
    try {
      const profile = yield* this.#loadProfile();
      if (profile !== undefined) {
        this.#kallsyms = profile.kallsyms;
        return this.#kallsyms;
      }
      const pointerSize = this.architecture === "i386" ? 4 : 8;
      const known = this.named;
      const found = yield* readOwnKallsyms(this.memory, this.vmcoreinfo, known, pointerSize);
      this.#kallsyms = found.kallsyms;
      this.#namesAt = found.tables.names;
      return this.#kallsyms;
    } catch (error) {
      // A live kernel's memory may be readable later; damaged or missing tables stay so.
      if (error instanceof KallsymsError) this.#noKallsyms = error;
      throw error;
    }
  }

  /** The profile of this build, if it is kept and fits. */
  *#loadProfile(): Routine<FittingProfile | undefined> {
    if (this.#profile === null) {
      const found = this.#profiles === undefined ? undefined : yield* loadProfile(this.#profiles, this);
      // (Several may look at once: symbols and types are then of one.)
      if (this.#profile === null) this.#profile = found;
    }
    return typeof this.#profile === "string" ? undefined : (this.#profile ?? undefined);
  }

  /**
   * Why what is kept of this build (`profiles` of `findKernel`) was not used, once it was looked at, or why nothing can be kept of it;
   * `undefined` if there is nothing to say.
   */
  get profileNote(): string | undefined {
    return this.#notKept ?? (typeof this.#profile === "string" ? this.#profile : undefined);
  }

  /**
   * What is wrong with the kernel's own table of symbols, once it was read: some have no address, and are missing. `undefined` for a whole
   * one.
   */
  get symbolDamage(): string | undefined {
    return this.#kallsyms?.damage;
  }

  /** Keeps a profile, if kallsyms came from memory. */
  *#saveProfile(types: Btf | undefined, btfAt?: bigint): Routine<void> {
    if (this.#profiles === undefined || this.#kallsyms === undefined || this.#namesAt === undefined) return;
    const at = { names: this.#namesAt, btf: btfAt };
    this.#notKept = yield* saveProfile(this.#profiles, this, this.#kallsyms, at, types);
  }

  /**
   * The kernel's types: its own BTF, read when first asked for, or what `useTypes` gave.
   *
   * @throws {TypesError} `NO_TYPES` for a kernel without BTF, `BTF` for one that is damaged or left out.
   */
  types(): Io<TypeTable> {
    return Io.of(this.memory.scheduler, typesRoutine, this as LinuxKernel);
  }

  /** What is wrong with the types, once they were read: those behind are missing. `undefined` for whole ones. */
  get typeDamage(): string | undefined {
    return this.#types instanceof Btf ? this.#types.damage : undefined;
  }

  /** Takes these symbols instead of the kernel's own table. */
  useSymbols(kallsyms: Kallsyms): void {
    this.#kallsyms = kallsyms;
    // They are no build's own: no profile is made of them.
    this.#namesAt = undefined;
  }

  /** Takes this offset of KASLR's instead of VMCOREINFO's, for a table of symbols that is to be moved by it. */
  useKaslr(offset: bigint): void {
    this.#kaslr = offset;
  }

  /** Where the image is, for a kernel of which no symbols may be known. @internal */
  useImage(range: ImageRange): void {
    this.#image = range;
  }

  /** Takes these types instead of the kernel's own: a file's, for a kernel or a dump without BTF. */
  useTypes(types: TypeTable): void {
    this.#types = types;
    // They were read with others, or not at all.
    this.#moduleSymbols = undefined;
  }

  /** A type by name: "task_struct", "struct list_head *", "char[16]". @throws {TypesError} as `types`; `NO_TYPE`. */
  type(name: string): Io<CType> {
    return Io.of(this.memory.scheduler, typeRoutine, this as LinuxKernel, name);
  }

  /**
   * A variable of the kernel as an object: `object("init_task")`, `object("jiffies", "unsigned long")`. Nothing of it is read.
   *
   * @param type Its type; by default what the types say, or what is known of the commonest variables.
   * @throws {SymbolError} as `symbol`; {TypesError} as `type`, or `NO_TYPE` if nothing says its type.
   */
  object<const T extends string>(name: string, type: T | CType): Io<KernelObject<TypeOfName<T>>>;
  object<const N extends keyof KernelVariables>(name: N): Io<KernelObject<KernelVariables[N]>>;
  object<T extends string = string>(name: string): Io<KernelObject<TypeOfName<T>>>;
  object(name: string, type?: string | CType): Io<Unlisted> {
    return Io.of(this.memory.scheduler, objectRoutine, this as LinuxKernel, name, type);
  }

  /** What lies at a virtual address, as an object of a type. @throws {TypesError} as `type`. */
  objectAt<const T extends string>(address: bigint, type: T | CType): Io<KernelObject<TypeOfName<T>>> {
    return Io.of(this.memory.scheduler, objectAtRoutine, this as LinuxKernel, address, type);
  }

  /**
   * A CPU's own copy of a per-CPU variable: `perCpu("runqueues", 0)`.
   *
   * @param cpu From 0 on.
   * @throws {SymbolError}, {TypesError} as `object`; {CpuError} for a CPU that the kernel has not.
   */
  perCpu<const T extends string = string>(
    name: string,
    cpu: number,
    type?: T | CType,
  ): Io<KernelObject<TypeOfName<T>>> {
    if (!(Number.isSafeInteger(cpu) && cpu >= 0)) throw new RangeError(`${cpu} is no number of a CPU`);
    return Io.of(this.memory.scheduler, perCpuRoutine, this as LinuxKernel, name, cpu, type);
  }

  /** @internal */
  *loadTypes(): Routine<TypeTable> {
    if (this.#types !== undefined) return this.#types;
    if (this.#noTypes !== undefined) throw this.#noTypes;
    try {
      const kept = (yield* this.#loadProfile())?.types;
      if (kept !== undefined) {
        this.#types = kept;
        return kept;
      }
      let start = yield* this.findAddress("__start_BTF");
      let end = yield* this.findAddress("__stop_BTF");
      if (start === undefined || end === undefined) {
        // Not all kernels list what are no functions (CONFIG_KALLSYMS_ALL).
        const found = yield* findBtf(this.memory, this.searchRanges);
        start = found?.start;
        end = found === undefined ? undefined : found.start + BigInt(found.size);
      }
      if (start === undefined || end === undefined) {
        if (this.#kallsyms !== undefined) yield* this.#saveProfile(undefined);
        const symbols = yield* kallsymsOrWhy(this);
        const named = symbols instanceof KallsymsError ? symbols.message : "no symbol __start_BTF";
        throw new TypesError(
          "NO_TYPES",
          "__start_BTF",
          `this kernel has no BTF (${named}; and none in its image; CONFIG_DEBUG_INFO_BTF, since Linux 5.2): ` +
            "give its types another way (--types FILE: BTF or an ISF file of this very kernel)",
        );
      }
      const bytes = yield* readBtf(this.memory, start, end, OWN_BTF);
      const btf = new Btf(bytes, { name: OWN_BTF, pointerSize: this.memory.pointerSize });
      this.#types = btf;
      yield* this.#saveProfile(btf, start);
      return btf;
    } catch (error) {
      // A live kernel's memory may be readable later; what a kernel does not have stays so.
      if (error instanceof TypesError && error.code === "NO_TYPES") this.#noTypes = error;
      throw error;
    }
  }

  /** Where the image may be, by the symbols that VMCOREINFO names, or where it is. @internal */
  get searchRanges(): readonly ImageRange[] {
    if (this.#image !== undefined) return [this.#image];
    return searchRanges([...this.named.values()]);
  }

  /**
   * Address of the first task, `init_task`; searched for in the image where kallsyms doesn't list variables.
   *
   * @throws {SymbolError} `NO_SYMBOL`. @internal
   */
  *findInitTask(): Routine<bigint> {
    this.#initTask ??= yield* this.findAddress("init_task");
    if (this.#initTask === undefined) {
      this.#initTask = yield* findInitTask(this.memory, yield* this.loadTypes(), this.searchRanges);
    }
    if (this.#initTask !== undefined) return this.#initTask;
    throw new SymbolError(
      "NO_SYMBOL",
      "init_task",
      [],
      "nor does the image have what looks like the first task; a table of symbols may name it: --symbols System.map",
    );
  }

  /** The address of the first symbol of a name; `undefined` if there is none, or no kallsyms. @internal */
  *findAddress(name: string): Routine<bigint | undefined> {
    const kallsyms = yield* kallsymsOrWhy(this);
    const found = kallsyms instanceof KallsymsError ? undefined : kallsyms.symbol(name)[0];
    return found?.address ?? this.named.get(name);
  }

  /**
   * Symbols of modules and of what BPF has translated: /proc/kallsyms has them with a name in brackets. Read when first asked
   * for, or when the kernel's own symbols give no answer, and kept: on a live kernel, what is loaded later is not among them.
   *
   * Never throws for what can't be read: it says so itself.
   */
  moduleSymbols(): Io<ModuleSymbols> {
    return Io.of(this.memory.scheduler, moduleSymbolsRoutine, this as LinuxKernel);
  }

  /** @internal */
  *loadModuleSymbols(): Routine<ModuleSymbols> {
    this.#moduleSymbols ??= yield* readModuleSymbols(this);
    return this.#moduleSymbols;
  }

  /**
   * The one symbol of a name: kallsyms', or one that only VMCOREINFO names (its type is "?" then), or else a module's or BPF's.
   *
   * @throws {SymbolError} `NO_SYMBOL` with similar names, `AMBIGUOUS_SYMBOL` with the candidates.
   */
  symbol(name: string): Io<KernelSymbol> {
    return Io.of(this.memory.scheduler, symbolRoutine, this as LinuxKernel, name);
  }

  /**
   * The nearest symbol at or below an address, if there is one near enough to say anything: the kernel's own, or in memory of a
   * module or a BPF program one of its.
   */
  nameOf(address: bigint): Io<NamedAddress | undefined> {
    return Io.of(this.memory.scheduler, nameOfRoutine, this as LinuxKernel, address);
  }

  /**
   * Symbols whose whole name matches a pattern (`*`, `?`, `[a-z]`), ascending by address; all of them by default.
   * Those that only VMCOREINFO names are among them, with type "?", and those of modules and BPF; of a name that is no
   * pattern, modules' are given only if the kernel itself has none.
   */
  symbols(pattern = "*"): IoSequence<KernelSymbol> {
    return IoSequence.of(this.memory.scheduler, symbolsRoutine, this as LinuxKernel, pattern);
  }
}

function* typesRoutine(kernel: LinuxKernel): Routine<TypeTable> {
  return yield* kernel.loadTypes();
}

function* typeRoutine(kernel: LinuxKernel, name: string): Routine<CType> {
  return typeNamed(yield* kernel.loadTypes(), name);
}
