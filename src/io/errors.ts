import { describeFault, type Fault, type FaultState, faultState } from "./fault.js";

/** Base of every error that memtool throws on purpose: a literal `code`, and the values as fields. */
export class MemtoolError extends Error {
  readonly code: string;
  constructor(code: string, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }
}

/** A hole in a transfer: bytes `start` to `end` (exclusive, relative to the request) did not move, and why. */
export interface Hole {
  readonly start: number;
  readonly end: number;
  readonly fault: Fault;
  readonly state: FaultState;
}

/** A range of bytes relative to the request, `end` exclusive. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

const PARTIAL = { read: "PARTIAL_READ", write: "PARTIAL_WRITE", exchange: "PARTIAL_EXCHANGE" } as const;

/**
 * Some bytes of a transfer did not move. Carries what did: nothing that was read is lost.
 *
 * `good` and `holes` are ascending, disjoint, relative to the request's first byte, and cover it.
 */
export class PartialTransferError extends MemtoolError {
  /** The caller's memory; for a read, only the ranges in `good` hold data of the target. */
  readonly bytes: Uint8Array;
  readonly good: readonly ByteRange[];
  readonly holes: readonly Hole[];

  constructor(
    what: "read" | "write" | "exchange",
    where: string,
    bytes: Uint8Array,
    good: readonly ByteRange[],
    holes: readonly Hole[],
    cause?: unknown,
  ) {
    const first = holes[0];
    const missing = holes.reduce((sum, hole) => sum + hole.end - hole.start, 0);
    const more = holes.length > 1 ? ` and ${holes.length - 1} more` : "";
    super(
      PARTIAL[what],
      `${what} of ${bytes.length} bytes${where}: ${missing} missing, first at +0x${(first?.start ?? 0).toString(16)}` +
        ` (${describeFault(first?.fault ?? 0)})${more}`,
      cause === undefined ? undefined : { cause },
    );
    this.bytes = bytes;
    this.good = good;
    this.holes = holes;
  }

  /** Bytes that moved, in all. */
  get goodBytes(): number {
    return this.good.reduce((sum, range) => sum + range.end - range.start, 0);
  }
}

/** A read of which a part is missing. */
export class PartialReadError extends PartialTransferError {}

/** A write of which a part did not arrive. */
export class PartialWriteError extends PartialTransferError {}

/** `.sync()` would have to wait for something that only this thread's own event loop can bring. */
export class WouldBlockError extends MemtoolError {
  readonly sources: readonly string[];
  constructor(sources: readonly string[]) {
    super(
      "WOULD_BLOCK",
      `cannot finish synchronously: ${sources.length === 0 ? "a layer answers later" : sources.join(", ")} ` +
        "is asynchronous only; await the operation, or open the source in a worker",
    );
    this.sources = sources;
  }
}

/** Hex of an address for messages: `0x…`. */
export function hex(value: bigint | number): string {
  return `0x${value.toString(16)}`;
}

/** A `Hole` for the public API. */
export function hole(start: number, end: number, fault: Fault): Hole {
  return { start, end, fault, state: faultState(fault) };
}
