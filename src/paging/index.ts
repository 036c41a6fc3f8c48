/** Virtual memory by page tables. Start with `virtual-memory.ts`, then `page-table-io.ts` and `mmu.ts`. @module */
export { type Aarch64Options, aarch64 } from "./aarch64.js";
export {
  ABSENT,
  type AbsentEntries,
  type AbsentEntry,
  AbsentPage,
  ELSEWHERE,
  IN_RAM,
} from "./absent-entries.js";
export type { MapArea, MappedArea, UnmappedArea } from "./areas.js";
export { type FindRootsOptions, type FoundRoots, findRoots } from "./find-roots.js";
export { formatsOf, MACHINE_FORMATS, MMU_FORMATS, mmuNamed } from "./formats.js";
export type { GuestMap } from "./guest-map.js";
export { GuestMemory, type GuestPhysicalOptions, guestPhysical } from "./guest-physical.js";
export type { DifferenceSide, MapDifference, SwappedSide, UnknownSide } from "./map-diff.js";
export type { MapSummary, SummaryRow } from "./map-summary.js";
export type { VirtualRange } from "./maps.js";
export {
  type BitRange,
  type EntryAttribute,
  type EntryForm,
  type EntryPattern,
  type MmuDef,
  type ReservedBits,
  type RightRule,
  withAbsentEntries,
  withoutAddressBits,
} from "./mmu-def.js";
export { EPT4, EPT5, NPT4, NPT5 } from "./nested-formats.js";
export { NESTED_FORMATS, type NestedFormat, type NestedRoot, nestedRoot } from "./nested-root.js";
export { PageTableIo, type PageTableOptions, type SwapAreas } from "./page-table-io.js";
export {
  alignRoot,
  type ProcessorPaging,
  pagingOfRegisters,
  type RegisterValues,
} from "./registers-paging.js";
export type { InRoots, ReverseMapping, ReverseResult } from "./reverse.js";
export type { PhysicalSpan, PhysicalTargets } from "./reverse-targets.js";
export {
  EXECUTABLE,
  GLOBAL,
  KERNEL_EXECUTABLE,
  READABLE,
  type Rights,
  USER,
  USER_EXECUTABLE,
  WRITABLE,
} from "./rights.js";
export { SV39, SV48, SV57 } from "./riscv.js";
export { type Root, type RootPair, rootName } from "./root.js";
export type { KnownRoot } from "./root-evidence.js";
export type { RootHalf } from "./root-shape.hot.js";
export type { FoundRoot, RootKind } from "./root-verdict.js";
export { type BrokenRun, type MappedRun, type MapRun, RunColumns } from "./run-columns.js";
export type { Access } from "./run-pages.js";
export type { Landmark } from "./scan-roots.js";
export { TableCache, type TableCacheOptions } from "./table-cache.hot.js";
export {
  type MappedAddress,
  type Translation,
  TranslationColumns,
  type UnmappedAddress,
} from "./translation.js";
export { diffMaps, findMappings, VirtualMemory } from "./virtual-memory.js";
export type { Walk, WalkStep } from "./walk-steps.js";
export { X86_32, X86_64, X86_64_LA57, X86_PAE } from "./x86.js";
