/** Search: walks memory in bounded pieces, and looks for patterns in it. Start with `scan.ts`. @module */

export type { MatcherHost } from "./matchers.js";
export { PatternError, type SearchPattern } from "./patterns.js";
export {
  MAX_OVERLAP,
  SCAN_PIECE,
  type ScanHole,
  type ScanOptions,
  type ScanPart,
  scan,
  scanMemorySize,
} from "./scan.js";
export type { ScanRange, ScanRanges } from "./scan-ranges.js";
export { type SearchHit, type SearchOptions, searchSpace } from "./search.js";
export type { SearchHelpers, SearchHost } from "./search-host.js";
export { helpSearch, type SearchTask } from "./search-task.js";
export {
  type FoundString,
  STRING_ENCODINGS,
  type StringEncoding,
  type StringsOptions,
  strings,
} from "./strings.js";
