/**
 * Packets: the unit of I/O.
 *
 * A packet is a piece of the caller's memory plus an account of it. Its view is bound to an output and sent to a
 * `PacketIo`; layers split it, refuse parts and forward parts; the packet is complete when every byte is accounted
 * for. Facts of the model: mfio 0.1 (crate documentation), `mfio::io::packet`.
 */
import { type ByteRange, type Hole, hole, MemtoolError } from "./errors.js";
import { ABORTED, type Fault, UNANSWERED } from "./fault.js";
import { BoundView, type Output, View } from "./view.js";
import { type Wait, type Waker, wake } from "./wait.js";

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

/** The bytes of any piece of memory, without a copy; a number allocates that many. @throws {TypeError} for what is none. */
export function asBytes(memory: PacketMemory): Uint8Array {
  if (memory instanceof Uint8Array) return memory;
  if (ArrayBuffer.isView(memory)) return new Uint8Array(memory.buffer, memory.byteOffset, memory.byteLength);
  if (typeof memory === "number") return allocate(memory);
  if (!BUFFERS.has(Object.prototype.toString.call(memory))) {
    throw new TypeError(
      `no memory to read into or write from: ${typeof memory}; give bytes (a typed array, a DataView, a buffer); a value is ` +
        "written by write(type, address, value)",
    );
  }
  return new Uint8Array(memory);
}

/** By their names: those of other realms are as good. (Scripts without types give arrays of numbers to be written.) */
const BUFFERS = new Set(["[object ArrayBuffer]", "[object SharedArrayBuffer]", "[object Array]"]);

function allocate(length: number): Uint8Array {
  try {
    return new Uint8Array(length);
  } catch (cause) {
    throw new RangeError(`no memory for ${String(length)} bytes; read them with chunks(start, end)`, {
      cause,
    });
  }
}

/** Counts `abort`s, so that queues look for aborted views only where there may be some. @internal */
export const aborts = { count: 0 };

/** Packets that allocate no more than this share a buffer. */
const SMALL = 64;
const SLAB = 4096;
let slab = new Uint8Array(SLAB);
let slabAt = 0;

function isSmall(length: number): boolean {
  return length > 0 && length <= SMALL && Math.floor(length) === length;
}

/** A place for so many bytes in `slab`: a typed array of its own costs more than the whole way through the layers. */
function takeSmall(length: number): number {
  const align = length >= 8 ? 8 : length >= 4 ? 4 : length >= 2 ? 2 : 1;
  let base = (slabAt + align - 1) & -align;
  // The slab's length is 0 once somebody has transferred it to another thread.
  if (base + length > slab.length) {
    slab = new Uint8Array(SLAB);
    base = 0;
  }
  slabAt = base + length;
  return base;
}

/** What most submissions never need: kept apart, so that a packet is small and quickly made. */
class Trouble {
  cause: unknown = undefined;
  outputError: unknown = undefined;
  clamp = Number.POSITIVE_INFINITY;
  firstFault: Fault = 0;
  failed: Hole[] | undefined = undefined;
  /** Good bytes behind a gap, in the order of their answers. */
  good: ByteRange[] | undefined = undefined;
  abortFault: Fault = 0;
  onAbort: (() => void)[] | undefined = undefined;
  sealed = false;
  givenUp = false;
  once = false;
  /** Some bytes were dropped; which ones is known once the packet is complete. */
  dropped = false;
  droppedRanges: ByteRange[] | undefined = undefined;
  onEnd: (() => void) | undefined = undefined;

  /** Nobody is to be told of an abort any more. */
  end(): void {
    const { onEnd } = this;
    this.onEnd = undefined;
    onEnd?.();
  }
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
  readonly direction: Direction;
  readonly direct: boolean;
  /** Bytes in the packet. */
  readonly length: number;
  /** The memory that holds the packet's bytes, from `base` on. @internal */
  readonly memory: Uint8Array;
  /** Where in `memory` the packet's bytes begin. @internal */
  readonly base: number;
  /** Counts submissions, so that a view of an earlier one can't touch this one. 0: never submitted. @internal */
  flight = 0;
  /** Bytes not yet answered. */
  private remaining = 0;
  /** Of those, bytes that a layer promised to answer. */
  private kept = 0;
  /** Good bytes from the first on, without a gap; others are in the trouble. */
  private goodEnd = 0;
  private waiter: Waker | undefined = undefined;
  private trouble: Trouble | undefined = undefined;
  /** `bytes`, once asked for. */
  private whole: Uint8Array | undefined = undefined;

  // Small, so that V8 inlines it: what memory a packet is over is found out before.
  private constructor(
    direction: Direction,
    memory: Uint8Array,
    base: number,
    length: number,
    options: PacketOptions | undefined,
  ) {
    this.direction = direction;
    this.direct = options === undefined || options.direct !== false;
    this.memory = memory;
    this.base = base;
    this.length = length;
  }

  private static over(
    direction: Direction,
    memory: PacketMemory,
    options: PacketOptions | undefined,
  ): Packet {
    if (typeof memory === "number" && isSmall(memory)) {
      const base = takeSmall(memory);
      return new Packet(direction, slab, base, memory, options);
    }
    const bytes = asBytes(memory);
    return new Packet(direction, bytes, 0, bytes.length, options);
  }

  /** A packet that a backend fills (mfio: `Write`). */
  static reading(memory: PacketMemory, options?: PacketOptions): Packet {
    return Packet.over("read", memory, options);
  }

  /** A packet whose bytes go to the backend (mfio: `Read`). */
  static writing(memory: PacketMemory, options?: PacketOptions): Packet {
    return Packet.over("write", memory, options);
  }

  /** A packet that trades its bytes for the backend's (mfio: `ReadWrite`). */
  static exchanging(memory: PacketMemory, options?: PacketOptions): Packet {
    return Packet.over("exchange", memory, options);
  }

  /** The packet's memory: the caller's own, or what was allocated (up to 64 bytes: a part of a shared buffer). */
  get bytes(): Uint8Array {
    this.whole ??= this.makeBytes();
    return this.whole;
  }

  private makeBytes(): Uint8Array {
    const { memory, base, length } = this;
    return memory.length === length ? memory : memory.subarray(base, base + length);
  }

  /** One byte, without making `bytes`: that costs a small packet more than its way through the layers. */
  byteAt(offset: number): number | undefined {
    return offset >= 0 && offset < this.length ? this.memory[this.base + offset] : undefined;
  }

  /** Whether every byte of the last submission is accounted for (`false` before the first). */
  get complete(): boolean {
    return this.remaining === 0 && this.flight !== 0;
  }

  /** Packet-relative offset of the lowest byte that failed so far; the length if none did. */
  get clamp(): number {
    if (this.flight === 0) return 0;
    const clamp = this.trouble?.clamp ?? this.length;
    return Math.min(clamp, this.length);
  }

  /** The fault at `clamp`, or 0. */
  get firstFault(): Fault {
    return this.trouble === undefined ? 0 : this.trouble.firstFault;
  }

  /** What a connector threw while it served this packet, if it did. */
  get cause(): unknown {
    return this.trouble?.cause;
  }

  set cause(thrown: unknown) {
    this.inTrouble().cause = thrown;
  }

  /** What an output threw; operations such as `send` throw it once the packet is complete. */
  get outputError(): unknown {
    return this.trouble?.outputError;
  }

  set outputError(thrown: unknown) {
    this.inTrouble().outputError = thrown;
  }

  /** Uncovered bytes were failed: views that nobody kept may not answer any more. @internal */
  get sealed(): boolean {
    return this.trouble?.sealed === true;
  }

  /** The caller has its memory back although parts are still kept. @internal */
  get givenUp(): boolean {
    return this.trouble?.givenUp === true;
  }

  private inTrouble(): Trouble {
    this.trouble ??= new Trouble();
    return this.trouble;
  }

  /**
   * Starts a submission and gives its whole view; bind it, or parts of it, and send those.
   *
   * @throws {MemtoolError} `IN_FLIGHT` if the last submission is not complete.
   */
  view(tag = 0): View {
    this.submit();
    return new View(this, 0, this.length, tag);
  }

  /** As `view().bind(output)`. */
  bind(output?: Output): BoundView {
    this.submit();
    return new BoundView(this, 0, this.length, 0, output);
  }

  /** Whether nobody wants its bytes a second time (see `RequestOptions`): no layer need keep them. */
  get once(): boolean {
    return this.trouble?.once === true;
  }

  /** Says so of this submission. @internal */
  markOnce(): void {
    this.inTrouble().once = true;
  }

  private submit(): void {
    if (this.remaining !== 0) {
      throw new MemtoolError(
        "IN_FLIGHT",
        `packet of ${this.length} bytes: ${this.remaining} still in flight`,
      );
    }
    this.flight++;
    this.remaining = this.length;
    this.goodEnd = 0;
    if (this.trouble !== undefined) this.trouble = undefined;
  }

  /** What failed, ascending and merged; empty if nothing did. Complete once the packet is. */
  holes(): Hole[] {
    const failed = this.trouble?.failed;
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
    const ranges = [...(this.trouble?.good ?? [])];
    if (this.goodEnd > 0) ranges.push({ start: 0, end: this.goodEnd });
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
    if (this.remaining === 0 || this.abortFault !== 0) return;
    const trouble = this.inTrouble();
    trouble.abortFault = reason;
    aborts.count++;
    const listeners = trouble.onAbort;
    trouble.onAbort = undefined;
    if (listeners !== undefined) for (const listener of listeners) listener();
  }

  /** The fault to fail unsent parts with, once `abort` was called; else 0. */
  get abortFault(): Fault {
    return this.trouble === undefined ? 0 : this.trouble.abortFault;
  }

  /** Calls a layer that keeps views for as long as it takes, such as a pipe, when they are to be failed. */
  whenAborted(listener: () => void): void {
    const trouble = this.inTrouble();
    trouble.onAbort ??= [];
    trouble.onAbort.push(listener);
  }

  /** Calls once when the submission is complete or given up; for whoever would abort it. @internal */
  whenOver(listener: () => void): void {
    this.inTrouble().onEnd = listener;
  }

  /**
   * Aborts, and gives the memory back to the caller now: layers that answer later find none to copy into. For those
   * who can't wait: a synchronous drive that would block, a layer that threw.
   *
   * @internal
   */
  giveUp(): void {
    this.dropUncovered();
    if (this.remaining === 0) return;
    const trouble = this.inTrouble();
    trouble.givenUp = true;
    this.abort();
    trouble.end();
  }

  /** Ranges that layers dropped: they failed as `unanswered`, and no output was told. Known once complete. */
  dropped(): readonly ByteRange[] {
    return this.trouble?.droppedRanges ?? [];
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
    if (this.remaining === 0) return false;
    if (this.waiter !== undefined) throw new MemtoolError("ALREADY_AWAITED", "a packet has one waiter");
    this.waiter = waker;
    return true;
  }

  /** Fails what was neither answered nor kept. Called when the sender has sent all it will. @internal */
  dropUncovered(): void {
    const dropped = this.remaining - this.kept;
    if (dropped === 0) return;
    const trouble = this.inTrouble();
    trouble.sealed = true;
    trouble.dropped = true;
    const waiter = this.settle(dropped);
    if (waiter !== undefined) wake(waiter);
  }

  /** Counts bytes as promised. @internal */
  keep(bytes: number): void {
    this.kept += bytes;
  }

  /**
   * Takes an answered range off the account; gives the waiter to wake if it was the last.
   *
   * @param kept Whether it had been promised. @internal
   */
  answered(start: number, end: number, fault: Fault, kept: boolean): Waker | undefined {
    if (kept) this.kept -= end - start;
    if (fault !== 0) this.noteFailed(start, end, fault);
    else if (start === this.goodEnd) this.goodEnd = end;
    else this.noteGood(start, end);
    return this.settle(end - start);
  }

  /** Records good bytes behind a gap: as the list's last run, if they touch that. */
  private noteGood(start: number, end: number): void {
    const trouble = this.inTrouble();
    trouble.good ??= [];
    const { good } = trouble;
    const last = good[good.length - 1];
    if (last !== undefined && last.end === start) good[good.length - 1] = { start: last.start, end };
    else if (last !== undefined && last.start === end) good[good.length - 1] = { start, end: last.end };
    else good.push({ start, end });
  }

  /** Records bytes that did not move. The strictly lowest offset keeps the first fault. */
  private noteFailed(start: number, end: number, fault: Fault): void {
    if (start === end) return;
    const trouble = this.inTrouble();
    if (start < trouble.clamp) {
      trouble.clamp = start;
      trouble.firstFault = fault;
    }
    trouble.failed ??= [];
    trouble.failed.push(hole(start, end, fault));
  }

  private settle(bytes: number): Waker | undefined {
    this.remaining -= bytes;
    if (this.remaining !== 0) return undefined;
    const trouble = this.trouble;
    if (trouble !== undefined) {
      if (trouble.dropped) this.noteDropped(trouble);
      trouble.onAbort = undefined;
      trouble.end();
    }
    const waiter = this.waiter;
    if (waiter !== undefined) this.waiter = undefined;
    return waiter;
  }

  /** What is neither good nor failed was dropped by some layer. */
  private noteDropped(trouble: Trouble): void {
    const known = [...this.good(), ...this.holes()].sort((a, b) => a.start - b.start);
    const ranges: ByteRange[] = [];
    let at = 0;
    for (const range of known) {
      if (range.start > at) ranges.push({ start: at, end: range.start });
      at = range.end;
    }
    if (at < this.length) ranges.push({ start: at, end: this.length });
    for (const { start, end } of ranges) this.noteFailed(start, end, UNANSWERED);
    trouble.droppedRanges = ranges;
  }
}
