/** A Linux kernel and all that can be asked of it. What each answer is, is in the folders beside: a file for each subsystem. */
import { Io, IoSequence, type Routine, type Sink } from "../io/index.js";
import type { AddressSpace } from "../memory/index.js";
import type { VirtualMemory } from "../paging/virtual-memory.js";
import { type BpfItem, listBpf } from "./bpf/bpf.js";
import { type Cgroup, type CgroupOptions, listCgroups } from "./cgroups/cgroup.js";
import type { Checked, CheckOptions } from "./checks/check.js";
import { CHECK_NAMES, type CheckName, listChecked } from "./checks/checks.js";
import { type CoreOptions, type ProcessCore, readCore } from "./core/process-core.js";
import { listFiles, type OpenFile, type OpenFileOptions } from "./files/file.js";
import {
  type SuspiciousMemory,
  type SuspiciousMemoryOptions,
  suspiciousMemory,
} from "./injected/suspicious-memory.js";
import { LinuxKernel } from "./kernel.js";
import { kernelData } from "./kernel-data.js";
import { listLog } from "./log/log.js";
import type { LogRecord } from "./log/log-record.js";
import { type LoadedModule, listModules } from "./modules/module.js";
import { readModuleTypes } from "./modules/module-types.js";
import { listMounts, type Mount, type MountOptions } from "./mounts/mount.js";
import { listNamespaces, type Namespace, type NamespaceOptions } from "./namespaces/namespace.js";
import type { DamageOptions } from "./objects/damage.js";
import type { CachedFile } from "./pagecache/cached-file.js";
import { cachedFileMemory } from "./pagecache/file-bytes.js";
import { type CachedFileOptions, listCachedFiles } from "./pagecache/list-cached-files.js";
import { type ScannedTask, type ScanTasksOptions, scanTasks } from "./task-scan/scan-tasks.js";
import { type ProcessStrings, readArguments, readEnvironment } from "./tasks/arguments.js";
import { listTasks, memoryOfTask, needTask, type Task, type TaskOptions } from "./tasks/task.js";
import { listVmas, type Vma, type VmaOptions } from "./tasks/vma.js";
import { type KernelClocks, readClocks } from "./time/clocks.js";
import type { TimelineEntry, TimelineOptions } from "./timeline/entry.js";
import { listTimeline } from "./timeline/timeline.js";
import type { Btf } from "./types/btf/btf.js";
import { type BashHistoryOptions, listBashHistory, type ShellCommand } from "./userland/bash-history.js";
import { type ElfOptions, type FoundElf, listElfs } from "./userland/elf.js";
import { type LibraryOptions, type LoadedLibrary, listLibraries } from "./userland/library.js";
import { loadUserSymbols, type UserSymbolTable } from "./userland/process-symbols.js";
import {
  type NamedUserAddress,
  oneUserSymbol,
  type UserSymbol,
  userSymbolsOf,
} from "./userland/user-symbols.js";

/**
 * A kernel, its processes, and what else it knows. Made by `findKernel` and `machine.linux()`.
 *
 * Lists give what can be read, and throw a `DamageError` after their last item if something could not; with the option
 * `onDamage`, they tell it instead.
 *
 * @example
 * const linux = await machine.linux();
 * for await (const task of linux.tasks()) console.log(task.pid, task.comm);
 */
export class Linux extends LinuxKernel {
  /** Processes of all namespaces, or with `threads` every thread. */
  tasks(options: TaskOptions = {}): IoSequence<Task> {
    return listTasks(this, options);
  }

  /** Tasks wherever they lie in memory, by what they look like: those that no list has, and what is left of ended ones, too. */
  scanTasks(options: ScanTasksOptions = {}): IoSequence<ScannedTask> {
    return scanTasks(this, options);
  }

  /** Mapped ranges of all processes, or of one, with how many of their pages are there. */
  vmas(options: VmaOptions = {}): IoSequence<Vma> {
    return listVmas(this, options);
  }

  /** The kernel's log, the oldest record first. */
  log(options: DamageOptions = {}): IoSequence<LogRecord> {
    return listLog(this, options);
  }

  /** Open files of all processes, or of one: by descriptor, its directories, its program. */
  files(options: OpenFileOptions = {}): IoSequence<OpenFile> {
    return listFiles(this, options);
  }

  /** Files that are cached in memory, those that were deleted and are still open among them. */
  cachedFiles(options: CachedFileOptions = {}): IoSequence<CachedFile> {
    return listCachedFiles(this, options);
  }

  /** The bytes of a cached file, as a space: addresses are places in the file, and what is not in memory is a hole. */
  cachedFileMemory(file: CachedFile): AddressSpace<number> {
    return cachedFileMemory(this, file);
  }

  /** Mounts of a process's namespace; of process 1's by default. */
  mounts(options: MountOptions = {}): IoSequence<Mount> {
    return listMounts(this, options);
  }

  /** Namespaces and who is in them. */
  namespaces(options: NamespaceOptions = {}): IoSequence<Namespace> {
    return listNamespaces(this, options);
  }

  /** Control groups of all processes, or of one. */
  cgroups(options: CgroupOptions = {}): IoSequence<Cgroup> {
    return listCgroups(this, options);
  }

  /** Loaded modules, the last one loaded first. */
  modules(options: DamageOptions = {}): IoSequence<LoadedModule> {
    return listModules(this, options);
  }

  /**
   * The types of a module, over those of the kernel.
   *
   * @throws {MemtoolError} `NO_MODULE`. @throws {TypesError} if it has none.
   */
  moduleTypes(name: string): Io<Btf> {
    return readModuleTypes(this, name);
  }

  /**
   * What speaks for something that hides or hooks: the findings of one check, of several, or of all.
   *
   * @example
   * for await (const { what, evidence } of linux.check("syscalls")) console.log(what, evidence);
   */
  check(
    names: CheckName | readonly CheckName[] = CHECK_NAMES,
    options: CheckOptions = {},
  ): IoSequence<Checked> {
    return listChecked(this, names, options);
  }

  /** Executable memory of all processes, or of one, that is not a program's file as it is. */
  suspiciousMemory(options: SuspiciousMemoryOptions = {}): IoSequence<SuspiciousMemory> {
    return suspiciousMemory(this, options);
  }

  /** What time it is in the kernel, by each of its clocks; `undefined` if nothing tells it. */
  clocks(options: DamageOptions = {}): Io<KernelClocks | undefined> {
    return readClocks(this, options);
  }

  /** Everything that carries a time, the oldest first: processes, the log, files, timers; see {@link listTimeline}. */
  timeline(options: TimelineOptions = {}): IoSequence<TimelineEntry> {
    return listTimeline(this, options);
  }

  /** BPF's programs, maps and links. */
  bpf(options: DamageOptions = {}): IoSequence<BpfItem> {
    return listBpf(this, options);
  }

  /** Programs and libraries in the address spaces of all processes, or of one. */
  elfs(options: ElfOptions = {}): IoSequence<FoundElf> {
    return listElfs(this, options);
  }

  /** What the dynamic linkers of all processes, or of one, have loaded, and what lies in their memory beside that. */
  libraries(options: LibraryOptions = {}): IoSequence<LoadedLibrary> {
    return listLibraries(this, options);
  }

  /** Commands that shells called bash remember, or the process of a number. */
  bashHistory(options: BashHistoryOptions = {}): IoSequence<ShellCommand> {
    return listBashHistory(this, options);
  }

  /**
   * A process by its number in the first namespace, or the process of a thread's.
   *
   * @throws {MemtoolError} `NO_PROCESS`.
   */
  process(pid: number, options: DamageOptions = {}): Io<Process> {
    return Io.of(this.memory.scheduler, processRoutine, this as Linux, pid, options);
  }
}

/** One process of a kernel. */
export class Process {
  readonly linux: Linux;
  readonly task: Task;
  #memory: VirtualMemory | undefined;
  #symbols: UserSymbolTable | undefined;

  /** Use {@link Linux.process}. @internal */
  constructor(linux: Linux, task: Task) {
    this.linux = linux;
    this.task = task;
  }

  get pid(): number | undefined {
    return this.task.pid;
  }

  get comm(): string | undefined {
    return this.task.comm;
  }

  /** Its address space. @throws {MemtoolError} `NO_MEMORY` for kernel threads and zombies, which have none. */
  get memory(): VirtualMemory {
    this.#memory ??= memoryOfTask(this.linux, this.task);
    return this.#memory;
  }

  /** Its mapped ranges. */
  vmas(options: Omit<VmaOptions, "pid"> = {}): IoSequence<Vma> {
    return listVmas(this.linux, { ...options, pid: this.task.tgid });
  }

  /** As a core file that debuggers open: with its threads' registers, its mapped files, and its memory. */
  core(options: CoreOptions = {}): Io<ProcessCore> {
    return readCore(this.linux, this.task.pid ?? -1, options);
  }

  /** Its command line. */
  arguments(options: DamageOptions = {}): Io<ProcessStrings | undefined> {
    return readArguments(this.linux, this.task, options);
  }

  /** Programs and libraries in its memory. */
  elfs(options: Omit<ElfOptions, "pid"> = {}): IoSequence<FoundElf> {
    return listElfs(this.linux, { ...options, pid: this.task.tgid });
  }

  /** Executable memory of it that is not a program's file as it is. */
  suspiciousMemory(options: Omit<SuspiciousMemoryOptions, "pid"> = {}): IoSequence<SuspiciousMemory> {
    return suspiciousMemory(this.linux, { ...options, pid: this.task.tgid });
  }

  /** What its dynamic linker has loaded, and what lies in its memory beside that. */
  libraries(options: DamageOptions = {}): IoSequence<LoadedLibrary> {
    return listLibraries(this.linux, { ...options, pid: this.task.tgid });
  }

  /**
   * The table of its symbols: those of its program, its libraries and the vDSO, out of their images in its memory. Read when first asked
   * for, and kept. It says itself what could not be read.
   */
  symbolTable(): Io<UserSymbolTable> {
    return Io.of(this.linux.memory.scheduler, symbolTableRoutine, this as Process);
  }

  /**
   * The one symbol of a name in its program and libraries: "malloc", "libc.so.6:malloc", "memcpy@GLIBC_2.2.5".
   *
   * @throws {SymbolError} `NO_SYMBOL` with similar names, `AMBIGUOUS_SYMBOL` with those of each object.
   */
  symbol(name: string): Io<UserSymbol> {
    return Io.of(this.linux.memory.scheduler, userSymbolRoutine, this as Process, name);
  }

  /** The symbol that an address is in; where its object has none there, the object. `undefined` for an address of no object. */
  nameOf(address: bigint): Io<NamedUserAddress | undefined> {
    return Io.of(this.linux.memory.scheduler, userNameRoutine, this as Process, address);
  }

  /** Symbols of its objects whose whole name matches a pattern (`*`, `?`, `[a-z]`); "libc.so.6:mem*" those of one. All by default. */
  symbols(pattern = "*"): IoSequence<UserSymbol> {
    return IoSequence.of(this.linux.memory.scheduler, userSymbolsRoutine, this as Process, pattern);
  }

  /** @internal */
  *loadSymbols(): Routine<UserSymbolTable> {
    this.#symbols ??= yield* loadUserSymbols(this.linux, this.task);
    return this.#symbols;
  }

  /** The environment that it was started with. */
  environment(options: DamageOptions = {}): Io<ProcessStrings | undefined> {
    return readEnvironment(this.linux, this.task, options);
  }
}

function* processRoutine(linux: Linux, pid: number, options: DamageOptions): Routine<Process> {
  const data = yield* kernelData(linux);
  return new Process(linux, yield* needTask(data, pid, options.onDamage ?? (() => {})));
}

function* symbolTableRoutine(process: Process): Routine<UserSymbolTable> {
  return yield* process.loadSymbols();
}

function* userSymbolRoutine(process: Process, name: string): Routine<UserSymbol> {
  return oneUserSymbol(yield* process.loadSymbols(), name);
}

function* userNameRoutine(process: Process, address: bigint): Routine<NamedUserAddress | undefined> {
  return (yield* process.loadSymbols()).nameOf(address);
}

function* userSymbolsRoutine(sink: Sink<UserSymbol>, process: Process, pattern: string): Routine<void> {
  for (const each of userSymbolsOf(yield* process.loadSymbols(), pattern)) yield sink.emit(each);
}
