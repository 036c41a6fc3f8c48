/** What the author of a connector gives to the suite: a source, and the truth about it. */
import type { Address, FaultState, Source } from "../../../src/io/index.js";

/** Bytes that can't be read, relative to the subject's `base`, `end` exclusive. */
export interface BadRange {
  readonly start: number;
  readonly end: number;
  /** What each of its bytes must fail with. */
  readonly state: FaultState;
}

/** One source under test, with the truth beside it. */
export interface SourceSubject {
  /** Freshly opened; the suite closes it. */
  readonly source: Source;
  /** Address of the first of `truth`'s bytes. */
  readonly base: Address;
  /**
   * What is there, got by other means than `source`. At least 64 bytes before the first bad range; three pages or more, not
   * beginning at a page, test most. What it says inside a bad range does not matter.
   */
  readonly truth: () => Uint8Array | Promise<Uint8Array>;
  /**
   * Ascending, disjoint; inside `truth`, or right behind it (as the end of a file is). Exact to the byte: all others must be
   * readable, also in one read with these.
   */
  readonly bad?: readonly BadRange[];
  /** Writes land, and show in `truth`. Else they are refused (default). */
  readonly writable?: boolean;
  /** Exchanges are atomic. Else they are refused (default). */
  readonly exchangeable?: boolean;
  /** Makes the target go away under the open source: ends the process, truncates the file, cuts the line. */
  readonly vanish?: () => void | Promise<void>;
  /** Called when the source was closed. */
  readonly close?: () => void | Promise<void>;
  /** Milliseconds after which an operation counts as hanging (default 10,000). */
  readonly patience?: number;
}
