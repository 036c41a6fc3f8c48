/** Linux kernels in memory. Start with `find-kernel.ts`. @module */

export { isKnownArch, mmuOfVmcoreinfo } from "./arch/index.js";
export { type LinuxEntriesOptions, linuxEntries } from "./entries/absent-entries.js";
export type { EntryFormat, LinuxAbsentEntries } from "./entries/entries-base.js";
export { type FindKernelOptions, findKernel, KernelNotFoundError } from "./find-kernel.js";
export { KERNEL_MAP } from "./image.js";
export { Kallsyms } from "./kallsyms.js";
export { KallsymsError, type KallsymsTables, kallsymsTables, readKallsyms } from "./kallsyms-tables.js";
export { type KernelOrigin, LinuxKernel } from "./kernel.js";
export { CpuError } from "./kernel-objects.js";
export { LINUX_LANDMARKS, rootsOfKernel } from "./linux-roots.js";
export type { IndexedEntry, RangeEntry } from "./objects/containers.js";
export {
  type Damage,
  DamageError,
  type DamageOptions,
  type DamageReason,
  type OnDamage,
} from "./objects/damage.js";
export { ObjectApi, type ObjectRow, type PartialFields, readAll } from "./objects/object.js";
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
export { readSwapTypes } from "./swap/read-swap-types.js";
export { openSwapFile, SwapFile, type SwapFileOptions } from "./swap/swap-file.js";
export { SwapFileError, type SwapFileErrorCode, type SwapHeader } from "./swap/swap-header.js";
export { type SwapTypeFacts, type SwapTypeKind, type SwapTypes, swapTypesOf } from "./swap/swap-types.js";
export { type KernelSymbol, type NamedAddress, SymbolError } from "./symbol.js";
export { parseVmcoreinfo, type Vmcoreinfo } from "./vmcoreinfo.js";
export { readZeroPages, type ZeroPages, zeroPageAt } from "./zero-page.js";
