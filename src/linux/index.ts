/** Linux kernels in memory. Start with `find-kernel.ts`. @module */

export { isKnownArch, mmuOfVmcoreinfo } from "./arch/index.js";
export {
  type BpfItem,
  type BpfKind,
  type BpfLink,
  type BpfMap,
  type BpfProgram,
  listBpf,
} from "./bpf/bpf.js";
export { type Cgroup, type CgroupOptions, listCgroups } from "./cgroups/cgroup.js";
export type { Checked, CheckNote, CheckOptions, CheckSeverity } from "./checks/check.js";
export { CHECK_NAMES, type CheckName, checkNamed, describeCheck, listChecked } from "./checks/checks.js";
export { type BootComparison, compareBoots, describeBoots } from "./compare/boots.js";
export { type ChangedFile, diffCachedFiles } from "./compare/cached-files.js";
export type {
  ChangeKind,
  ComparedPart,
  ComparedValue,
  CompareOptions,
  Difference,
  DifferenceKind,
  FieldChange,
} from "./compare/difference.js";
export { diffFiles } from "./compare/files.js";
export {
  COMPARED,
  type ComparedMachine,
  type ComparedName,
  type DiffMachinesOptions,
  diffMachines,
  type MachineDifference,
} from "./compare/machines.js";
export { diffModules } from "./compare/modules.js";
export { diffMounts } from "./compare/mounts.js";
export { diffProcesses } from "./compare/processes.js";
export { diffSockets } from "./compare/sockets.js";
export { type ChangedText, diffText } from "./compare/text.js";
export {
  type ConfigOption,
  type KernelConfig,
  parseKernelConfig,
  readKernelConfig,
} from "./config/config.js";
export type { Gunzip, Gunzipped } from "./config/gunzip.js";
export type { FilePiece } from "./core/core-layout.js";
export type { MemoryRange } from "./core/memory-pieces.js";
export {
  type CoreHoles,
  type CoreOptions,
  type CoreRange,
  type CoreSummary,
  type CoreThread,
  ProcessCore,
  readCore,
} from "./core/process-core.js";
export { type Cpu, type CpuOptions, type CpuTask, listCpus } from "./cpus/cpu.js";
export type { Arm64Processor } from "./cpus/cpu-arm64.js";
export type { CpuRegisters } from "./cpus/cpu-states.js";
export type { X86Processor } from "./cpus/cpu-x86.js";
export {
  CAPABILITIES,
  capabilityNames,
  listCapabilities,
  type TaskCapabilities,
} from "./credentials/capabilities.js";
export { type LinuxEntriesOptions, linuxEntries } from "./entries/absent-entries.js";
export type { EntryFormat, LinuxAbsentEntries } from "./entries/entries-base.js";
export { type ExportIsfOptions, exportIsf, type KernelIsf } from "./export-isf.js";
export {
  type FileRole,
  listFiles,
  type OpenFile,
  type OpenFileOptions,
} from "./files/file.js";
export { deviceText, type FileType, fileFlagNames, fileType } from "./files/file-flags.js";
export type { FileHolder } from "./files/file-holders.js";
export { type FindKernelOptions, findKernel, KernelNotFoundError } from "./find/find-kernel.js";
export { KERNEL_MAP } from "./find/image.js";
export { parseVmcoreinfo, type Vmcoreinfo } from "./find/vmcoreinfo.js";
export { type ColourBits, type Framebuffer, listFramebuffers } from "./graphics/framebuffer.js";
export { framebufferLines, type PictureLine } from "./graphics/picture.js";
export type { ModifiedPage } from "./injected/modified-pages.js";
export {
  type SuspicionKind,
  type SuspiciousMemory,
  type SuspiciousMemoryOptions,
  suspiciousMemory,
} from "./injected/suspicious-memory.js";
export type { InterruptCount } from "./irqs/counters.js";
export { type Interrupt, type IrqOptions, listIrqs } from "./irqs/irq.js";
export type { IrqAction } from "./irqs/irq-action.js";
export { listSoftirqs, type Softirq } from "./irqs/softirq.js";
export { type KernelOrigin, LinuxKernel } from "./kernel.js";
export { CpuError } from "./kernel-objects.js";
export { Linux, Process } from "./linux.js";
export { LINUX_LANDMARKS, rootsOfKernel } from "./linux-roots.js";
export { listLog } from "./log/log.js";
export { LOG_FACILITIES, LOG_LEVELS, type LogRecord } from "./log/log-record.js";
export { type ExtractedModule, type ExtractModuleOptions, extractModules } from "./modules/extract-module.js";
export { type LoadedModule, listModules } from "./modules/module.js";
export type { ModuleFilePiece, ModuleSection, ModuleSectionState } from "./modules/module-elf.js";
export type { ModuleHole } from "./modules/module-memory.js";
export { ModuleSymbols } from "./modules/module-symbols.js";
export { readModuleTypes } from "./modules/module-types.js";
export type { ModuleParameter } from "./modules/parameter.js";
export { listMounts, type Mount, type MountOptions } from "./mounts/mount.js";
export {
  listNamespaces,
  type Namespace,
  type NamespaceOptions,
  type NamespaceType,
} from "./namespaces/namespace.js";
export { listInterfaces, type NetworkInterface } from "./net/interface.js";
export type { InterfaceAddress } from "./net/interface-addresses.js";
export { type KernelSocket, listSockets, type SocketAddress, type SocketOptions } from "./net/socket.js";
export type { SocketOwner } from "./net/socket-owners.js";
export type { SocketSource } from "./net/socket-tables.js";
export {
  listTrackedConnections,
  type TrackedConnection,
  type TrackedDirection,
} from "./netfilter/connection.js";
export { listNetfilterHooks, type NetfilterHook } from "./netfilter/hook.js";
export type { NetfilterChain } from "./netfilter/nf-tables.js";
export { listNetfilterTables, type NetfilterTable, type NfTable, type XTable } from "./netfilter/table.js";
export type { IndexedEntry, RangeEntry } from "./objects/containers.js";
export {
  type Damage,
  DamageError,
  type DamageOptions,
  type DamageReason,
  type OnDamage,
} from "./objects/damage.js";
export { ObjectApi } from "./objects/object-api.js";
export { type ObjectRow, type PartialFields, readAll } from "./objects/object-reads.js";
export { type Missing, ObjectReadError } from "./objects/reference.js";
export type {
  ArrayOf,
  AtPath,
  FieldValues,
  KernelObject,
  KernelStructs,
  KernelVariables,
  PathOf,
  Ptr,
  StructOf,
  TypeOfName,
  Unlisted,
  ValueOf,
} from "./objects/schema.js";
export type { KernelValue } from "./objects/value.js";
export { listOwners, type OwnerOptions } from "./owners/list-owners.js";
export type {
  CodeOwner,
  FileOwner,
  FreeOwner,
  ImageOwner,
  Owner,
  OwnerKind,
  PageArrayOwner,
  PageOwner,
  PerCpuOwner,
  PlainOwner,
  ProcessOwner,
  ReservedOwner,
  SlabOwner,
  StackOwner,
  SwapCacheOwner,
  TableOwner,
  VmallocOwner,
  ZeroOwner,
} from "./owners/owner.js";
export { ownerText } from "./owners/owner-text.js";
export type { OwnerTargets } from "./owners/targets.js";
export type {
  CachedContent,
  CachedFile,
  CachedName,
  CachedRun,
  FileRange,
  SwappedRun,
} from "./pagecache/cached-file.js";
export { cachedFileMemory, type FilePart, fileParts, readCachedFile } from "./pagecache/file-bytes.js";
export { type CachedFileOptions, listCachedFiles } from "./pagecache/list-cached-files.js";
export type { KeptColumn, Need, PagedBytes } from "./paged-bytes.js";
export type { PerfEventSource } from "./perf/find-events.js";
export { listPerfEvents, type PerfEvent, type PerfEventOptions, type PerfTask } from "./perf/perf-event.js";
export { type KernelProfiles, ProfileError } from "./profile/profile.js";
export type { NamedRegisters } from "./registers/saved-frames.js";
export type { UserRegisters } from "./registers/user-registers.js";
export { listResources, type Resource, type ResourceOptions } from "./resources/resource.js";
export { listSlabs, type SlabCache, type SlabConstructor } from "./slab/slab.js";
export {
  type ScannedSocket,
  type ScanSocketsOptions,
  type SocketStatus,
  scanSockets,
} from "./socket-scan/scan-sockets.js";
export {
  type KernelStack,
  type KernelStackOptions,
  listKernelStacks,
  type StackFrame,
} from "./stacks/kernel-stack.js";
export { readSwapTypes } from "./swap/read-swap-types.js";
export { openSwapFile, SwapFile, type SwapFileOptions } from "./swap/swap-file.js";
export { SwapFileError, type SwapFileErrorCode, type SwapHeader } from "./swap/swap-header.js";
export { type SwapTypeFacts, type SwapTypeKind, type SwapTypes, swapTypesOf } from "./swap/swap-types.js";
export { symbolsFor } from "./symbols/given-symbols.js";
export { Kallsyms } from "./symbols/kallsyms.js";
export {
  type FoundKallsyms,
  findKallsyms,
  findKallsymsTables,
  type KallsymsSearch,
} from "./symbols/kallsyms-search.js";
export {
  type KallsymsIndex,
  type KallsymsState,
  kallsymsFromState,
  kallsymsState,
} from "./symbols/kallsyms-state.js";
export {
  KallsymsError,
  type KallsymsTables,
  kallsymsTables,
  readKallsyms,
} from "./symbols/kallsyms-tables.js";
export { type KernelSymbol, type NamedAddress, SymbolError } from "./symbols/symbol.js";
export {
  parseSystemMap,
  type SystemMap,
  SystemMapError,
  type SystemMapOptions,
} from "./symbols/system-map.js";
export { type Banner, readBanner } from "./system/banner.js";
export {
  type ScannedTask,
  type ScanTasksOptions,
  scanTasks,
  type TaskStatus,
} from "./task-scan/scan-tasks.js";
export type { TaskList } from "./task-scan/task-lists.js";
export { type ProcessStrings, readArguments, readEnvironment } from "./tasks/arguments.js";
export { findProcess, listTasks, memoryOfTask, type Task, type TaskOptions } from "./tasks/task.js";
export { TASK_STATES } from "./tasks/task-state.js";
export { listTraced, type Traced, type TracedOptions } from "./tasks/traced.js";
export { findUserRoot } from "./tasks/user-root.js";
export { listVmas, type Vma, type VmaOptions } from "./tasks/vma.js";
export type { PageCounts } from "./tasks/vma-pages.js";
export { isoTime, type KernelClocks, readClocks } from "./time/clocks.js";
export { type KernelTimer, listTimers, type TimerOptions } from "./time/timer.js";
export type { TimerOwner } from "./time/timer-owners.js";
export {
  TIMELINE_KINDS,
  type TimelineClock,
  type TimelineEntry,
  type TimelineKind,
  type TimelineOptions,
} from "./timeline/entry.js";
export { listTimeline } from "./timeline/timeline.js";
export { listTtys, type Tty, type TtyOptions, type TtyUser } from "./tty/tty.js";
export { listTtyDrivers, type TtyDriver, type TtyRange, ttyRanges } from "./tty/tty-driver.js";
export * from "./types/index.js";
export { type BashHistoryOptions, listBashHistory, type ShellCommand } from "./userland/bash-history.js";
export {
  type ElfOptions,
  type FoundElf,
  listElfs,
  listPhysicalElfs,
  type PhysicalElfOptions,
} from "./userland/elf.js";
export { type ElfFile, type ElfFilePiece, elfFile } from "./userland/elf-file.js";
export type { ElfHeader, ElfSegment } from "./userland/elf-header.js";
export type { ElfDynamic, ElfImage, ElfLayout } from "./userland/elf-image.js";
export { type LibraryOptions, type LoadedLibrary, listLibraries } from "./userland/library.js";
export type { LinkListOrigin } from "./userland/link-map.js";
export type { ElfHow, ElfKind } from "./userland/process-images.js";
export { readProcessSymbols, UserSymbolTable } from "./userland/process-symbols.js";
export { type NamedUserAddress, type UserSymbol, UserSymbols } from "./userland/user-symbols.js";
export { KNOWN_VARIABLES } from "./variables.js";
export { readZeroPages, type ZeroPages, zeroPageAt } from "./zero-page.js";
