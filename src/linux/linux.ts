/** A Linux kernel and all that can be asked of it. What each answer is, is in the folders beside: a file for each subsystem. */
import { Io, type IoSequence, type Routine } from "../io/index.js";
import type { AddressSpace } from "../memory/index.js";
import type { VirtualMemory } from "../paging/virtual-memory.js";
import { type BpfItem, listBpf } from "./bpf/bpf.js";
import { type Cgroup, type CgroupOptions, listCgroups } from "./cgroups/cgroup.js";
import { listFiles, type OpenFile, type OpenFileOptions } from "./files/file.js";
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
import { type ProcessStrings, readArguments, readEnvironment } from "./tasks/arguments.js";
import { listTasks, memoryOfTask, needTask, type Task, type TaskOptions } from "./tasks/task.js";
import { listVmas, type Vma, type VmaOptions } from "./tasks/vma.js";
import type { Btf } from "./types/btf/btf.js";

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

  /** BPF's programs, maps and links. */
  bpf(options: DamageOptions = {}): IoSequence<BpfItem> {
    return listBpf(this, options);
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

  /** Its command line. */
  arguments(options: DamageOptions = {}): Io<ProcessStrings | undefined> {
    return readArguments(this.linux, this.task, options);
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
