import type { Batch } from "./batch.hot.js";
import type { AddressRanges } from "./ranges.js";

/**
 * What the author of a connector writes; `SourceIo` makes a `PacketIo` of it.
 *
 * The connector moves the bytes of each row straight into (or out of) `batch.memory[row]` and sets a status a row:
 * `batch.done(row)`, `batch.fail(row, fault)` or `batch.failRange(row, start, end, fault)`. A row without a status
 * fails as `unanswered`; an exception fails the rows without a status as `io`, and is kept as the error's cause.
 */
export interface Source {
  /** For messages, in the command line's form: `file:vmcore`, `proc:1234`. */
  readonly name: string;
  readonly supports: {
    /** Writes. */
    readonly write: boolean;
    /** Its bytes and ranges change by themselves, so nothing of it may be cached for long. */
    readonly live: boolean;
    /** Trades the bytes of a row atomically; default `false`. */
    readonly exchange?: boolean;
  };
  /** What exists, ascending. Asked again each time where `live`; rows outside are then the connector's to refuse. */
  ranges(): AddressRanges;
  /** Transfers before it returns. At least one of the two must be there. */
  transferSync?(batch: Batch): void;
  /**
   * Transfers, and resolves when every row has its status. Called again before that for reads, not for writes.
   *
   * In a source that has both doors, rows that are under way here may be transferred by `transferSync` meanwhile, and
   * the batch's memory is exchanged: ask for `batch.bytes(row)` anew after every `await`, and hand it to nobody who
   * writes into it later. (With this door alone, the memory stays the caller's until the promise is settled.)
   */
  transfer?(batch: Batch): Promise<void>;
  /** Releases the target. Called once, when nothing is in flight. */
  close?(): void | Promise<void>;
}
