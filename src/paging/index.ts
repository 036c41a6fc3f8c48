/** Virtual memory by page tables. Start with `virtual-memory.ts`, then `page-table-io.ts` and `formats/mmu-def.ts`. @module */
export { type Aarch64Options, aarch64 } from "./formats/aarch64.js";
export {
  ABSENT,
  type AbsentEntries,
  type AbsentEntry,
  AbsentPage,
  ELSEWHERE,
  IN_RAM,
} from "./formats/absent-entries.js";
export { formatsOf, MACHINE_FORMATS, MMU_FORMATS, mmuNamed } from "./formats/formats.js";
export {
  type BitRange,
  type EntryAttribute,
  type EntryForm,
  type EntryPattern,
  type HalfRoot,
  type MmuDef,
  type ReservedBits,
  type RightExclusion,
  type RightRule,
  withAbsentEntries,
  withoutAddressBits,
} from "./formats/mmu-def.js";
export { EPT4, EPT5, NPT4, NPT5 } from "./formats/nested-formats.js";
export {
  EXECUTABLE,
  GLOBAL,
  KERNEL_EXECUTABLE,
  READABLE,
  type Rights,
  USER,
  USER_EXECUTABLE,
  WRITABLE,
} from "./formats/rights.js";
export { SV39, SV48, SV57 } from "./formats/riscv.js";
export { X86_32, X86_64, X86_64_LA57, X86_PAE } from "./formats/x86.js";
export type { MapArea, MappedArea, UnmappedArea } from "./maps/areas.js";
export type { DifferenceSide, MapDifference, SwappedSide, UnknownSide } from "./maps/map-diff.js";
export type { MapSummary, SummaryRow } from "./maps/map-summary.js";
export type { VirtualRange } from "./maps/maps.js";
export type { InRoots, ReverseMapping, ReverseResult } from "./maps/reverse.js";
export type { PhysicalSpan, PhysicalTargets } from "./maps/reverse-targets.js";
export { type BrokenRun, type MappedRun, type MapRun, RunColumns } from "./maps/run-columns.js";
export type { Access } from "./maps/run-pages.js";
export type { GuestMap } from "./nested/guest-map.js";
export { GuestMemory, type GuestPhysicalOptions, guestPhysical } from "./nested/guest-physical.js";
export { NESTED_FORMATS, type NestedFormat, type NestedRoot, nestedRoot } from "./nested/nested-root.js";
export { PageTableIo, type PageTableOptions, type SwapAreas } from "./page-table-io.js";
export { type FindRootsOptions, type FoundRoots, findRoots } from "./roots/find-roots.js";
export {
  alignRoot,
  type ProcessorPaging,
  pagingOfRegisters,
  type RegisterValues,
} from "./roots/registers-paging.js";
export type { KnownRoot } from "./roots/root-evidence.js";
export type { RootHalf } from "./roots/root-shape.hot.js";
export type { FoundRoot, RootKind } from "./roots/root-verdict.js";
export type { Landmark } from "./roots/scan-roots.js";
export { type Root, type RootPair, rootName } from "./tables/root.js";
export { TableCache, type TableCacheOptions } from "./tables/table-cache.hot.js";
export { diffMaps, findMappings, VirtualMemory } from "./virtual-memory.js";
export {
  type MappedAddress,
  type Translation,
  TranslationColumns,
  type UnmappedAddress,
} from "./walk/translation.js";
export type { Walk, WalkStep } from "./walk/walk-steps.js";
