/** Memory: typed access, address maps, the page cache. Start with `address-space.ts` and `schema.ts`. @module */

export { PAGE_SIZE, PageSlab } from "../io/page-slab.hot.js";
export { AddressSpace, type AddressSpaceOptions } from "./address-space.js";
export type { Chunk } from "./chunks.js";
export {
  type ComparedRange,
  type ComparedState,
  type CompareMemoryOptions,
  compareMemory,
} from "./compare-memory.js";
export { type AddressColumn, Gathered } from "./gather.js";
export { PageCache, type PageCacheCounters, type PageCacheOptions, withPageCache } from "./page-cache.hot.js";
export {
  PhysicalMap,
  PhysicalMapBuilder,
  type PhysicalRange,
  type RangeState,
  RangesMap,
} from "./physical-map.js";
export { PhysicalMemory, type PhysicalMemoryOptions } from "./physical-memory.js";
export type { SpaceRange } from "./range-io.js";
export {
  type OutsideAddress,
  type RangeAddress,
  RangeSpace,
  type RangeTranslation,
} from "./range-space.js";
export * from "./schema.js";
export { type CallerMemory, MAX_REQUEST, type ShownAddress } from "./space.js";
export type { StringOptions } from "./strings.js";
export {
  decodeLatin1,
  decodeText,
  decodeUtf8,
  encodeLatin1,
  encodeText,
  encodeUtf8,
  type TextEncoding,
} from "./text.js";
