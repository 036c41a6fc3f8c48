/** What every writer of a dump format is: memory goes in, ascending; a file comes out of the sink. */
import type { ExcludedReason } from "../../io/index.js";

/**
 * Writes one dump. Ranges come ascending and disjoint, each `present` or `excluded`; what is skipped is no RAM. The
 * calls only queue writes at the sink; none waits, and the memory that one call was given may be used until the next
 * `flush` returns.
 */
export interface DumpWriter {
  /** Bytes of memory from a physical address on. */
  present(start: number, bytes: Uint8Array): void;
  /**
   * RAM from `start` to `end` (exclusive) that the dump does not have, and why.
   *
   * @param failed It should have been there and could not be read: a page that it is a part of is not stored.
   */
  excluded(start: number, end: number, reason: ExcludedReason, failed?: boolean): void;
  /** Hands over to the sink what refers to memory given since the last call. */
  flush(): void;
  /** Writes what is left, headers among it. To be called once. */
  finish(): WrittenDump;
}

/** What became of the memory in the file. */
export interface WrittenDump {
  /** Length of the file: beyond what was written it is zeros. */
  readonly size: number;
  /** Pages of zeros that were left out, in bytes. */
  readonly zeroExcluded: number;
  /** Bytes that were missing and are stored as zeros, since the format stores whole pages only. */
  readonly padded: number;
  /** Bytes that were there and are not stored, since another part of their page could not be read. */
  readonly dropped: number;
}
