/**
 * Packets and their views: the unit of I/O.
 *
 * A packet is a piece of the caller's memory plus an account of it. Its view is bound to an output and sent to a
 * `PacketIo`; layers split it, refuse parts and forward parts; the packet is complete when every byte is accounted
 * for. Facts of the model: mfio 0.1 (crate documentation), `mfio::io::packet`.
 */
import { copyBytes, swapBytes } from "./copy.hot.js";
import { type ByteRange, type Hole, hole, MemtoolError } from "./errors.js";
import { ABORTED, type Fault, UNANSWERED } from "./fault.js";
import type { Wait, Waker } from "./wait.js";

/**
 * What the caller wants. mfio names the same three from the packet's side: a `read` is its `Write` packet (the
 * backend may write into it), a `write` its `Read` packet, an `exchange` its `ReadWrite` packet.
 */
export type Direction = "read" | "write" | "exchange";

/** Is told of each fragment of a packet as it is answered. May submit more I/O. */
export interface Output {
  /** `fragment.fault` is 0 for bytes that moved. Called after the packet's account is brought up to date. */
  onFragment(fragment: Fragment): void;
}

/** An answered part of a packet: bytes `start` to `end` (exclusive, packet-relative). */
export interface Fragment {
  readonly packet: Packet;
  readonly start: number;
  readonly end: number;
  readonly length: number;
  /** The tag that the view was made with; it survives splitting. */
  readonly tag: number;
  readonly fault: Fault;
}

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

/** A part of a packet that has no output yet. Parts may go to different addresses. */
export class View {
  readonly packet: Packet;
  readonly start: number;
  readonly end: number;
  readonly tag: number;
  readonly #flight: number;

  /** @internal */
  constructor(packet: Packet, start: number, end: number, tag: number) {
    this.packet = packet;
    this.start = start;
    this.end = end;
    this.tag = tag;
    this.#flight = packet.flight;
  }

  get length(): number {
    return this.end - this.start;
  }

  /** Two views: the first `at` bytes, and the rest. `tag` is the second part's (default: the same). */
  split(at: number, tag = this.tag): [View, View] {
    checkSplit(at, this.length);
    const middle = this.start + at;
    return [
      new View(this.packet, this.start, middle, this.tag),
      new View(this.packet, middle, this.end, tag),
    ];
  }

  /** The form that a `PacketIo` takes. `output` is told of every fragment of it. */
  bind(output?: Output): BoundView {
    if (this.#flight !== this.packet.flight) {
      throw new MemtoolError("STALE_VIEW", "this view belongs to an earlier submission of its packet");
    }
    return new BoundView(this.packet, this.start, this.end, this.tag, output);
  }
}

const OPEN = 0;
const KEPT = 1;
const ANSWERED = 2;

/**
 * The only thing that a layer sees of a packet. It gets exactly one answer: `split` it (then each part gets one),
 * `transfer` bytes, fill or empty a direct slice (`claim`, then `complete`), or `fail`. Or it is forwarded to
 * another `PacketIo`, which then answers. A second answer throws; none at all is reported as `unanswered`.
 * A layer that answers after `sendIo` returned must say so in time with `keep`.
 */
export class BoundView implements Fragment {
  readonly packet: Packet;
  readonly start: number;
  readonly tag: number;
  readonly output: Output | undefined;
  /** After the answer: 0 for bytes that moved, else why not. */
  fault: Fault = 0;
  #end: number;
  #state = OPEN;
  readonly #flight: number;

  /** @internal */
  constructor(packet: Packet, start: number, end: number, tag: number, output: Output | undefined) {
    this.packet = packet;
    this.start = start;
    this.#end = end;
    this.tag = tag;
    this.output = output;
    this.#flight = packet.flight;
  }

  /** Packet-relative, exclusive; shrinks when the view is split. */
  get end(): number {
    return this.#end;
  }

  get length(): number {
    return this.#end - this.start;
  }

  get direction(): Direction {
    return this.packet.direction;
  }

  /** Whether this view has had its one answer. */
  get answered(): boolean {
    return this.#state === ANSWERED;
  }

  /** Nonzero once the caller aborted: fail the view with it instead of starting a transfer. */
  get abortFault(): Fault {
    return this.packet.abortFault;
  }

  /**
   * Keeps the first `at` bytes in this view and gives the rest as a new one.
   *
   * @throws {RangeError} unless 0 < at < length.
   */
  split(at: number): BoundView {
    this.#checkOpen();
    checkSplit(at, this.length);
    const tail = new BoundView(this.packet, this.start + at, this.#end, this.tag, this.output);
    tail.#state = this.#state;
    this.#end = this.start + at;
    return tail;
  }

  /** Promises an answer later. Needed whenever `sendIo` returns before the view is answered or forwarded. */
  keep(): void {
    this.#checkOpen();
    if (this.#state === KEPT) return;
    this.#state = KEPT;
    this.packet.cover(this.length);
  }

  /**
   * Moves the whole view to or from (or, for an exchange, trades it with) `memory` at `at`, and answers it.
   *
   * @throws {RangeError} if `memory` is too short, or `at` is no offset.
   */
  transfer(memory: Uint8Array, at = 0): void {
    this.#checkOpen();
    const length = this.length;
    if (!(at >= 0 && at + length <= memory.length && Math.floor(at) === at)) {
      throw new RangeError(`transfer of ${length} bytes at ${at}: there are ${memory.length}`);
    }
    if (this.packet.givenUp) return this.#answer(this.packet.abortFault);
    const { bytes, direction } = this.packet;
    if (direction === "read") copyBytes(memory, at, bytes, this.start, length);
    else if (direction === "write") copyBytes(bytes, this.start, memory, at, length);
    else swapBytes(bytes, this.start, memory, at, length);
    this.#answer(0);
  }

  /**
   * A direct slice of the caller's memory, to be filled (read) or taken from (write), so that bytes are copied once
   * or not at all; then answer with `complete` or `fail`. Refused (`undefined`) by packets that are not `direct`,
   * by exchanges, once the caller gave up, and when its start in the underlying buffer is not a multiple of
   * `alignment`: use your own buffer and `transfer`.
   */
  claim(alignment = 1): Uint8Array | undefined {
    this.#checkOpen();
    const { bytes, direct, direction, givenUp } = this.packet;
    if (givenUp || !direct || direction === "exchange") return undefined;
    if (alignment > 1 && (bytes.byteOffset + this.start) % alignment !== 0) return undefined;
    return bytes.subarray(this.start, this.#end);
  }

  /** Answers: every byte moved, through the slice that `claim` gave (or through a batch). */
  complete(): void {
    this.#checkOpen();
    this.#answer(0);
  }

  /** Answers: no byte of this view moved. */
  fail(fault: Fault): void {
    this.#checkOpen();
    this.#answer(fault === 0 ? UNANSWERED : fault);
  }

  #checkOpen(): void {
    if (this.#state === ANSWERED) {
      throw new MemtoolError("ANSWERED_TWICE", `view ${this.start}..${this.#end} was answered already`);
    }
    const { packet } = this;
    if (
      this.#flight !== packet.flight ||
      (packet.complete && packet.length !== 0) ||
      (packet.sealed && this.#state === OPEN)
    ) {
      throw new MemtoolError(
        "ANSWERED_LATE",
        `view ${this.start}..${this.#end}: given up as unanswered; a layer that answers later must keep() the view`,
      );
    }
  }

  // The order matters and is mfio's: the packet's account first, then the output (which may submit more, even the
  // same packet), then whoever waits.
  #answer(fault: Fault): void {
    const packet = this.packet;
    const length = this.length;
    if (this.#state !== KEPT) packet.cover(length);
    this.#state = ANSWERED;
    this.fault = fault;
    if (fault === 0) packet.noteGood(this.start, this.#end);
    else packet.noteFailed(this.start, this.#end, fault);
    const waiter = packet.settle(length);
    if (this.output === undefined) {
      waiter?.wake();
      return;
    }
    try {
      this.output.onFragment(this);
    } catch (error) {
      // An output that throws must not keep other fragments from being answered: the operation throws it later.
      packet.outputError ??= error;
    }
    waiter?.wake();
  }
}

function checkSplit(at: number, length: number): void {
  if (!(Number.isInteger(at) && at > 0 && at < length)) {
    throw new RangeError(`split at ${at}: must lie inside the view's ${length} bytes`);
  }
}
