/** memtool/connectors: what opens targets on Node. @module */
export { type ConvertOptions, type ConvertSummary, convert } from "./convert.js";
export { ConnectorError } from "./errors.js";
export { type FileOptions, type FileSource, openFile } from "./file.js";
export type { FileHole, Holes } from "./file-holes.js";
export { type InlineSource, isInline, type MappedFileSource, mapFile } from "./mapped-file.js";
export { readMemoryMap } from "./memory-map.js";
export { nodeDecoders } from "./node-decoders.js";
export { nodeEncoders } from "./node-encoders.js";
export { Machine, type OpenOptions, type OpenTarget, open } from "./open.js";
export { OutputError } from "./output-file.js";
export { openProcess, type ProcessMap, type ProcessOptions, type ProcessSource } from "./proc-mem.js";
export {
  type Connector,
  type ConnectorTarget,
  listConnectors,
  type OptionKind,
  type OptionValues,
  openTarget,
  parseTarget,
  registerConnector,
} from "./registry.js";
export type { Verified } from "./verify-dump.js";
export { openInWorker, type WorkerSourceOptions } from "./worker-source.js";
export { CONVERT_FORMATS, type ConvertFormat, type FailedRange } from "./write-dump.js";
