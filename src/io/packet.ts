/**
 * Packets: the unit of I/O.
 *
 * A packet is a piece of the caller's memory plus an account of it. Its view is bound to an output and sent to a
 * `PacketIo`; layers split it, refuse parts and forward parts; the packet is complete when every byte is accounted
 * for. Facts of the model: mfio 0.1 (crate documentation), `mfio::io::packet`.
 */
import { type ByteRange, type Hole, hole, MemtoolError } from "./errors.js";
import { ABORTED, type Fault, UNANSWERED } from "./fault.js";
import { View } from "./view.js";
import type { Wait, Waker } from "./wait.js";

/**
 * What the caller wants. mfio names the same three from the packet's side: a `read` is its `Write` packet (the
 * backend may write into it), a `write` its `Read` packet, an `exchange` its `ReadWrite` packet.
 */
export type Direction = "read" | "write" | "exchange";

/** What a packet can be made over: memory of the caller's, or a length to allocate. */
export type PacketMemory = ArrayBuffer | SharedArrayBuffer | ArrayBufferView | number;

/** Options of a packet. */
export interface PacketOptions {
  /**
   * `false` makes the packet refuse direct slices of its memory, so that layers copy through `transfer`
   * (default: `true`). For memory that must not be handed out.
   */
  readonly direct?: boolean;
}

/** The bytes of any piece of memory, without a copy; a number allocates that many. */
export function asBytes(memory: PacketMemory): Uint8Array {
  if (memory instanceof Uint8Array) return memory;
  if (ArrayBuffer.isView(memory)) return new Uint8Array(memory.buffer, memory.byteOffset, memory.byteLength);
  if (typeof memory === "number") return new Uint8Array(memory);
  return new Uint8Array(memory);
}

/**
 * A packet over the caller's memory. Reusable: once complete, `view()` starts it afresh.
 *
 * @example
 * const packet = Packet.reading(bytes);
 * io.sendIo(address, packet.view().bind());
 * yield packet;                                  // in a routine; or use `send(io, address, packet)`
 * for (const { start, end, state } of packet.holes()) report(start, end, state);
 */
export class Packet implements Wait {
  readonly bytes: Uint8Array;
  readonly direction: Direction;
  readonly direct: boolean;
  /** What a connector threw while it served this packet, if it did. */
  cause: unknown = undefined;
  /** What an output threw; operations such as `send` throw it once the packet is complete. */
  outputError: unknown = undefined;

  /** Counts submissions, so that a view of an earlier one can't touch this one. 0: never submitted. @internal */
  flight = 0;
  /** Bytes not yet answered. */
  #remaining = 0;
  /** Bytes answered, or kept by a layer that promised to answer. */
  #covered = 0;
  #dropped = 0;
  #clamp = 0;
  #firstFault: Fault = 0;
  // Good bytes: one run that grows at either end, and a list for what doesn't touch it.
  #goodStart = 0;
  #goodEnd = 0;
  #goodMore: ByteRange[] | undefined;
  #failed: Hole[] | undefined;
  #waiter: Waker | undefined;
  #abortFault: Fault = 0;
  /** What layers dropped, once the packet is complete. */
  #droppedRanges: ByteRange[] | undefined;
  #onAbort: (() => void)[] | undefined;
  /** Set once uncovered bytes were failed: views that nobody kept may not answer any more. @internal */
  sealed = false;
  /** The caller has its memory back although parts are still kept. @internal */
  givenUp = false;

  private constructor(direction: Direction, memory: PacketMemory, options?: PacketOptions) {
    this.direction = direction;
    this.bytes = asBytes(memory);
    this.direct = options?.direct ?? true;
  }

  /** A packet that a backend fills (mfio: `Write`). */
  static reading(memory: PacketMemory, options?: PacketOptions): Packet {
    return new Packet("read", memory, options);
  }

  /** A packet whose bytes go to the backend (mfio: `Read`). */
  static writing(memory: PacketMemory, options?: PacketOptions): Packet {
    return new Packet("write", memory, options);
  }

  /** A packet that trades its bytes for the backend's (mfio: `ReadWrite`). */
  static exchanging(memory: PacketMemory, options?: PacketOptions): Packet {
    return new Packet("exchange", memory, options);
  }

  get length(): number {
    return this.bytes.length;
  }

  /** Whether every byte of the last submission is accounted for (`false` before the first). */
  get complete(): boolean {
    return this.flight !== 0 && this.#remaining === 0;
  }

  /** Packet-relative offset of the lowest byte that failed so far; the length if none did. */
  get clamp(): number {
    return this.#clamp;
  }

  /** The fault at `clamp`, or 0. */
  get firstFault(): Fault {
    return this.#firstFault;
  }

  /**
   * Starts a submission and gives its whole view; bind it, or parts of it, and send those.
   *
   * @throws {MemtoolError} `IN_FLIGHT` if the last submission is not complete.
   */
  view(tag = 0): View {
    if (this.#remaining !== 0) {
      throw new MemtoolError(
        "IN_FLIGHT",
        `packet of ${this.length} bytes: ${this.#remaining} still in flight`,
      );
    }
    this.flight++;
    this.#remaining = this.length;
    this.#covered = 0;
    this.#dropped = 0;
    this.#clamp = this.length;
    this.#firstFault = 0;
    this.#goodStart = 0;
    this.#goodEnd = 0;
    this.#goodMore = undefined;
    this.#failed = undefined;
    this.#waiter = undefined;
    this.#abortFault = 0;
    if (this.sealed) {
      this.sealed = false;
      this.#droppedRanges = undefined;
    }
    if (this.givenUp) this.givenUp = false;
    this.cause = undefined;
    this.outputError = undefined;
    return new View(this, 0, this.length, tag);
  }

  /** What failed, ascending and merged; empty if nothing did. Complete once the packet is. */
  holes(): Hole[] {
    const failed = this.#failed;
    if (failed === undefined) return [];
    failed.sort((a, b) => a.start - b.start);
    const merged: Hole[] = [];
    for (const next of failed) {
      const last = merged[merged.length - 1];
      if (last !== undefined && last.end === next.start && last.fault === next.fault) {
        merged[merged.length - 1] = hole(last.start, next.end, next.fault);
      } else {
        merged.push(next);
      }
    }
    return merged;
  }

  /** What moved, ascending and merged. */
  good(): ByteRange[] {
    const ranges = this.#goodMore === undefined ? [] : [...this.#goodMore];
    if (this.#goodEnd > this.#goodStart) ranges.push({ start: this.#goodStart, end: this.#goodEnd });
    ranges.sort((a, b) => a.start - b.start);
    const merged: ByteRange[] = [];
    for (const next of ranges) {
      const last = merged[merged.length - 1];
      if (last !== undefined && last.end === next.start) {
        merged[merged.length - 1] = { start: last.start, end: next.end };
      } else {
        merged.push(next);
      }
    }
    return merged;
  }

  /**
   * Asks layers to fail what they have not sent yet (as `aborted`). What is in flight is waited for, since it may
   * still land in this memory.
   */
  abort(reason: Fault = ABORTED): void {
    if (this.#remaining === 0 || this.#abortFault !== 0) return;
    this.#abortFault = reason;
    const listeners = this.#onAbort;
    this.#onAbort = undefined;
    if (listeners !== undefined) for (const listener of listeners) listener();
  }

  /** The fault to fail unsent parts with, once `abort` was called; else 0. */
  get abortFault(): Fault {
    return this.#abortFault;
  }

  /** Calls a layer that keeps views for as long as it takes, such as a pipe, when they are to be failed. */
  whenAborted(listener: () => void): void {
    this.#onAbort ??= [];
    this.#onAbort.push(listener);
  }

  /**
   * Aborts, and gives the memory back to the caller now: layers that answer later find none to copy into. For those
   * who can't wait: a synchronous drive that would block, a layer that threw.
   *
   * @internal
   */
  giveUp(): void {
    this.dropUncovered();
    if (this.#remaining === 0) return;
    this.givenUp = true;
    this.abort();
  }

  /** Ranges that layers dropped: they failed as `unanswered`, and no output was told. Known once complete. */
  dropped(): readonly ByteRange[] {
    return this.#droppedRanges ?? [];
  }

  /**
   * Waits for completion. Bytes that no layer has answered or kept by now will never be: they fail as `unanswered`.
   *
   * @throws {MemtoolError} `NOT_SUBMITTED` before the first `view()`; `ALREADY_AWAITED` with two waiters.
   */
  park(waker: Waker): boolean {
    if (this.flight === 0) {
      throw new MemtoolError(
        "NOT_SUBMITTED",
        "waiting for a packet that was never submitted would never end",
      );
    }
    this.dropUncovered();
    if (this.#remaining === 0) return false;
    if (this.#waiter !== undefined) throw new MemtoolError("ALREADY_AWAITED", "a packet has one waiter");
    this.#waiter = waker;
    return true;
  }

  /** Fails what was neither answered nor kept. Called when the sender has sent all it will. @internal */
  dropUncovered(): void {
    const dropped = this.length - this.#covered;
    if (dropped === 0) return;
    this.sealed = true;
    this.#covered = this.length;
    this.#dropped += dropped;
    this.settle(dropped)?.wake();
  }

  /** Counts bytes as promised or answered. @internal */
  cover(bytes: number): void {
    this.#covered += bytes;
  }

  /** Records bytes that moved. @internal */
  noteGood(start: number, end: number): void {
    if (start === this.#goodEnd) {
      this.#goodEnd = end;
    } else if (this.#goodEnd === this.#goodStart) {
      this.#goodStart = start;
      this.#goodEnd = end;
    } else if (end === this.#goodStart) {
      this.#goodStart = start;
    } else {
      this.#goodMore ??= [];
      this.#goodMore.push({ start: this.#goodStart, end: this.#goodEnd });
      this.#goodStart = start;
      this.#goodEnd = end;
    }
  }

  /** Records bytes that did not move. The strictly lowest offset keeps the first fault. @internal */
  noteFailed(start: number, end: number, fault: Fault): void {
    if (start === end) return;
    if (start < this.#clamp) {
      this.#clamp = start;
      this.#firstFault = fault;
    }
    this.#failed ??= [];
    this.#failed.push(hole(start, end, fault));
  }

  /** Takes bytes off the account; gives the waiter to wake if they were the last. @internal */
  settle(bytes: number): Waker | undefined {
    this.#remaining -= bytes;
    if (this.#remaining !== 0) return undefined;
    if (this.#dropped !== 0) this.#noteDropped();
    const waiter = this.#waiter;
    this.#waiter = undefined;
    if (this.#onAbort !== undefined) this.#onAbort = undefined;
    return waiter;
  }

  /** What is neither good nor failed was dropped by some layer. */
  #noteDropped(): void {
    const known = [...this.good(), ...this.holes()].sort((a, b) => a.start - b.start);
    const ranges: ByteRange[] = [];
    let at = 0;
    for (const range of known) {
      if (range.start > at) ranges.push({ start: at, end: range.start });
      at = range.end;
    }
    if (at < this.length) ranges.push({ start: at, end: this.length });
    for (const { start, end } of ranges) this.noteFailed(start, end, UNANSWERED);
    this.#droppedRanges = ranges;
    this.#dropped = 0;
  }
}
