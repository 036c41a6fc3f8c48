/** Packet I/O: mfio's model. Start with `packet.ts`, then `packet-io.ts`, `io.ts`, `source.ts`. @module */
export { joinAddress, offsetAddress, toPhysical, toVirtual } from "./address.js";
export { Batch, ROW_PARTIAL, ROW_UNANSWERED, type RowFault } from "./batch.hot.js";
export { type Column, type ColumnIo, sendColumn, sendRecords } from "./column.js";
export { Cursor } from "./cursor.js";
export {
  type ByteRange,
  type Hole,
  hex,
  MemtoolError,
  PartialReadError,
  PartialTransferError,
  PartialWriteError,
  WouldBlockError,
} from "./errors.js";
export * from "./fault.js";
export { all, Io, type Outcomes, type Results, type Settled, settle } from "./io.js";
export { layer, type Mapping, withMapping, withSplitting } from "./layers.js";
export { MemoryIo, type MemoryIoOptions } from "./memory-io.js";
export { asBytes, type Direction, Packet, type PacketMemory, type PacketOptions } from "./packet.js";
export { type Address, type NoPosition, type PacketIo, toCallback } from "./packet-io.js";
export { PageSlab } from "./page-slab.hot.js";
export { AddressRanges } from "./ranges.js";
export { fetchPacket, type OnPart, sendOwn, sendRebound, withFallback } from "./rebound.js";
export type { AbortSignalLike, RequestOptions } from "./request.js";
export {
  exchange,
  fragments,
  type PartialTransfer,
  readInto,
  readPartial,
  send,
  sendRoutine,
  write,
  writePartial,
} from "./requests.js";
export {
  type Drain,
  defaultScheduler,
  Scheduler,
  type SchedulerOptions,
} from "./scheduler.js";
export { IoSequence, type SequenceCursor, type Sink } from "./sequence.js";
export type { Source } from "./source.js";
export { type Counters, SourceIo, type SourceIoOptions } from "./source-io.js";
export {
  type Pipe,
  pipe,
  type ReadToEndOptions,
  readStream,
  readStreamToEnd,
  writeStream,
} from "./stream.js";
export type { Running } from "./task.js";
export { type BoundView, type Fragment, type Output, sendKept, type View } from "./view.js";
export { Countdown, type Routine, type Wait, type Waker } from "./wait.js";
