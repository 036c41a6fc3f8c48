/** Virtual memory by page tables. Start with `virtual-memory.ts`, then `page-table-io.ts` and `mmu.ts`. @module */
export type { MapArea, MappedArea } from "./areas.js";
export type { DifferenceSide, MapDifference, UnknownSide } from "./map-diff.js";
export type { MapSummary, SummaryRow } from "./map-summary.js";
export type { VirtualRange } from "./maps.js";
export {
  type BitRange,
  EXECUTABLE,
  GLOBAL,
  type MmuDef,
  type ReservedBits,
  type RightBit,
  USER,
  WRITABLE,
} from "./mmu.js";
export { PageTableIo, type PageTableOptions } from "./page-table-io.js";
export type { InRoots, ReverseMapping, ReverseResult } from "./reverse.js";
export type { PhysicalSpan, PhysicalTargets } from "./reverse-targets.js";
export { type BrokenRun, type MappedRun, type MapRun, RunColumns } from "./run-columns.js";
export type { Access } from "./run-pages.js";
export { TableCache, type TableCacheOptions } from "./table-cache.hot.js";
export {
  type MappedAddress,
  type Rights,
  type Translation,
  TranslationColumns,
  type UnmappedAddress,
} from "./translation.js";
export { diffMaps, findMappings, VirtualMemory } from "./virtual-memory.js";
export type { Walk, WalkStep } from "./walk-steps.js";
export { X86_64 } from "./x86-64.js";
