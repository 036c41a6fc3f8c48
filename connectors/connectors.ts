/** memtool/connectors: what opens targets on Node. @module */

export type {
  Connector,
  FreezableSource,
  KindedSource,
  MachineSource,
  MortalSource,
  OptionKind,
  OptionValues,
  StillSource,
} from "./connector.js";
export { type ConvertOptions, type ConvertSummary, convert } from "./convert/convert.js";
export { OutputError } from "./convert/output-file.js";
export type { Verified } from "./convert/verify-dump.js";
export { CONVERT_FORMATS, type ConvertFormat, type FailedRange } from "./convert/write-dump.js";
export { type DevmemOptions, openDevmem } from "./devmem/open-devmem.js";
export { ConnectorError, TargetGoneError } from "./errors.js";
export { type FileOptions, type FileSource, openFile } from "./file.js";
export type { FileHole, Holes } from "./file-holes.js";
export { type GdbOptions, type GdbSource, openGdb } from "./gdb/gdb.js";
export { openKcore } from "./kcore/open-kcore.js";
export { LEECHCORE_OPTIONS, LEECHCORE_RESULTS } from "./leechcore/abi.js";
export { type LeechCoreOptions, type LeechCoreSource, openLeechCore } from "./leechcore/source.js";
export { Machine, type MappedRange } from "./machine.js";
export type { MachinePaging } from "./machine-paging.js";
export { type InlineSource, isInline, type MappedFileSource, mapFile } from "./mapped-file.js";
export { readMemoryMap } from "./memory-map.js";
export { withDelay } from "./middleware/delay.js";
export { type Latency, type MeteredSource, type SourceMetrics, withMetrics } from "./middleware/metrics.js";
export { withReadOnly } from "./middleware/read-only.js";
export { withRecording } from "./middleware/record.js";
export { withMap } from "./middleware/remap.js";
export { openRecording, type RecordedSource } from "./middleware/replay.js";
export type { ConnectOptions } from "./net/connection.js";
export type { Compression } from "./net/message-stream.js";
export { openNet, serveSource } from "./net/net.js";
export type { NetOptions, NetSource } from "./net/net-source.js";
export type { NetPlace } from "./net/place.js";
export type { ServedSource, ServeOptions } from "./net/serve.js";
export { nodeDecoders } from "./node-decoders.js";
export { nodeEncoders } from "./node-encoders.js";
export { open } from "./open.js";
export type { GuestTables, OpenOptions, OpenTarget } from "./open-options.js";
export type { PageFrame } from "./proc/frames.js";
export type { ProcessMap } from "./proc/maps.js";
export { openProcess, type ProcessOptions, type ProcessSource } from "./proc/open-process.js";
export type { ProcessPage } from "./proc/pagemap.js";
export type { ProcessThread } from "./proc/tasks.js";
export { openQemu, type PlacedRam, type QemuOptions, type QemuSource } from "./qemu/qemu.js";
export {
  type ConnectorTarget,
  listConnectors,
  openTarget,
  parseTarget,
  registerConnector,
  type TargetWishes,
} from "./registry.js";
export { nodeSearchHost } from "./search-host.js";
export { type SearchMachineOptions, search, searchMachine } from "./search-machine.js";
export type { SwapArea } from "./swap-files.js";
export { openInWorker, type WorkerSourceOptions } from "./worker-source.js";
export { type WriteCoreOptions, type WrittenCore, writeCore } from "./write-core.js";
export {
  compileYara,
  YaraError,
  type YaraProblem,
  type YaraRules,
  type YaraSource,
} from "./yara/rules.js";
export { type YaraHit, type YaraOptions, yaraScan } from "./yara/scan.js";
