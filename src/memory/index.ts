/** Memory: typed access, address maps, the page cache. Start with `address-space.ts` and `schema.ts`. @module */
export {
  type AddressColumn,
  AddressSpace,
  type AddressSpaceOptions,
  type CallerMemory,
  type Chunk,
  Gathered,
  MAX_REQUEST,
  type ShownAddress,
  type StringOptions,
} from "./address-space.js";
export {
  PAGE_SIZE,
  PageCache,
  type PageCacheCounters,
  type PageCacheOptions,
  withPageCache,
} from "./page-cache.hot.js";
export { PhysicalMap, PhysicalMapBuilder, type PhysicalRange, type RangeState } from "./physical-map.js";
export { PhysicalMemory, type PhysicalMemoryOptions } from "./physical-memory.js";
export * from "./schema.js";
export {
  decodeLatin1,
  decodeText,
  decodeUtf8,
  encodeLatin1,
  encodeText,
  encodeUtf8,
  type TextEncoding,
} from "./text.js";
