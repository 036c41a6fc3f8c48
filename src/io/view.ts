/** Views: parts of a packet, on their way through layers. A bound view is the only thing that a layer sees of one. */
import { copyBytes, swapBytes } from "./copy.hot.js";
import { MemtoolError } from "./errors.js";
import { type Fault, UNANSWERED } from "./fault.js";
import type { Direction, Packet } from "./packet.js";
import { wake } from "./wait.js";

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

/** A part of a packet that has no output yet. Parts may go to different addresses. */
export class View {
  readonly packet: Packet;
  readonly start: number;
  readonly end: number;
  readonly tag: number;
  private readonly flight: number;

  /** @internal */
  constructor(packet: Packet, start: number, end: number, tag: number) {
    this.packet = packet;
    this.start = start;
    this.end = end;
    this.tag = tag;
    this.flight = packet.flight;
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
    if (this.flight !== this.packet.flight) {
      throw new MemtoolError("STALE_VIEW", "this view belongs to an earlier submission of its packet");
    }
    return new BoundView(this.packet, this.start, this.end, this.tag, output);
  }
}

// What a bound view's outcome is before it has one; then it is the fault, or 0 for bytes that moved.
/** As `KEPT`, and lent to a layer that has promised nothing yet (`sendKept`). */
const LENT = -3;
const OPEN = -2;
const KEPT = -1;

/** Pieces split off from views that are lent, by whoever has them now: they must not be lost. */
let lentPieces: BoundView[] = [];

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
  private limit: number;
  private outcome: Fault | typeof OPEN | typeof KEPT | typeof LENT = OPEN;
  private readonly flight: number;

  /** @internal */
  constructor(packet: Packet, start: number, end: number, tag: number, output: Output | undefined) {
    this.packet = packet;
    this.start = start;
    this.limit = end;
    this.tag = tag;
    this.output = output;
    this.flight = packet.flight;
  }

  /** Packet-relative, exclusive; shrinks when the view is split. */
  get end(): number {
    return this.limit;
  }

  get length(): number {
    return this.limit - this.start;
  }

  get direction(): Direction {
    return this.packet.direction;
  }

  /** Whether this view has had its one answer. */
  get answered(): boolean {
    return this.outcome >= 0;
  }

  /** After the answer: 0 for bytes that moved, else why not. */
  get fault(): Fault {
    return Math.max(0, this.outcome);
  }

  /** Whether its packet was submitted again since: what becomes of this is no concern of that. @internal */
  get isStale(): boolean {
    return this.packet.flight !== this.flight;
  }

  /** Whether the submission that it is a part of is over. @internal */
  get isOver(): boolean {
    const { packet } = this;
    return packet.flight !== this.flight || packet.complete;
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
    this.checkOpen();
    checkSplit(at, this.length);
    const tail = new BoundView(this.packet, this.start + at, this.limit, this.tag, this.output);
    tail.outcome = this.outcome;
    if (this.outcome === LENT) lentPieces.push(tail);
    this.limit = this.start + at;
    return tail;
  }

  /** Promises an answer later. Needed whenever `sendIo` returns before the view is answered or forwarded. */
  keep(): void {
    this.checkOpen();
    if (this.outcome === KEPT) return;
    const before = this.outcome;
    this.outcome = KEPT;
    if (before === OPEN) this.packet.keep(this.limit - this.start);
  }

  /** Takes the promise off a kept view, until `takeBack`: the next layer is to make one of its own. @internal */
  lend(): void {
    this.keep();
    this.outcome = LENT;
  }

  /** Fails what was lent and is neither answered nor kept by now. @internal */
  takeBack(): void {
    if (this.outcome === LENT) this.fail(UNANSWERED);
  }

  /**
   * Moves the whole view to or from (or, for an exchange, trades it with) `memory` at `at`, and answers it.
   *
   * @throws {RangeError} if `memory` is too short, or `at` is no offset.
   */
  transfer(memory: Uint8Array, at = 0): void {
    this.checkOpen();
    const length = this.length;
    if (!(at >= 0 && at + length <= memory.length && Math.floor(at) === at)) {
      throw new RangeError(`transfer of ${length} bytes at ${at}: there are ${memory.length}`);
    }
    const { packet } = this;
    if (packet.givenUp) return this.settle(packet.abortFault);
    const { memory: own, direction } = packet;
    const from = packet.base + this.start;
    if (direction === "read") copyBytes(memory, at, own, from, length);
    else if (direction === "write") copyBytes(own, from, memory, at, length);
    else swapBytes(own, from, memory, at, length);
    this.settle(0);
  }

  /**
   * A direct slice of the caller's memory, to be filled (read) or taken from (write), so that bytes are copied once
   * or not at all; then answer with `complete` or `fail`. Refused (`undefined`) by packets that are not `direct`,
   * by exchanges, once the caller gave up, and when its start in the underlying buffer is not a multiple of
   * `alignment`: use your own buffer and `transfer`.
   */
  claim(alignment = 1): Uint8Array | undefined {
    this.checkOpen();
    const { memory, base, direct, direction, givenUp } = this.packet;
    if (givenUp || !direct || direction === "exchange") return undefined;
    const from = base + this.start;
    if (alignment > 1 && (memory.byteOffset + from) % alignment !== 0) return undefined;
    return memory.subarray(from, base + this.limit);
  }

  /** Answers: every byte moved, through the slice that `claim` gave (or through a batch). */
  complete(): void {
    this.checkOpen();
    this.settle(0);
  }

  /** Answers: no byte of this view moved. */
  fail(fault: Fault): void {
    this.checkOpen();
    this.settle(fault === 0 ? UNANSWERED : fault);
  }

  private checkOpen(): void {
    const { packet } = this;
    if (
      this.outcome >= 0 ||
      this.flight !== packet.flight ||
      (packet.complete && packet.length !== 0) ||
      (packet.sealed && this.outcome === OPEN)
    ) {
      this.throwClosed();
    }
  }

  private throwClosed(): never {
    if (this.answered) {
      throw new MemtoolError("ANSWERED_TWICE", `view ${this.start}..${this.limit} was answered already`);
    }
    throw new MemtoolError(
      "ANSWERED_LATE",
      `view ${this.start}..${this.limit}: given up as unanswered; a layer that answers later must keep() the view`,
    );
  }

  // The order matters and is mfio's: the packet's account first, then the output (which may submit more, even the
  // same packet), then whoever waits.
  private settle(fault: Fault): void {
    const kept = this.outcome !== OPEN;
    this.outcome = fault;
    const waiter = this.packet.answered(this.start, this.limit, fault, kept);
    if (this.output !== undefined) this.tellOutput(this.output);
    if (waiter !== undefined) wake(waiter);
  }

  private tellOutput(output: Output): void {
    try {
      output.onFragment(this);
    } catch (error) {
      // An output that throws must not keep other fragments from being answered: the operation throws it later.
      this.packet.outputError ??= error;
    }
  }
}

/**
 * Sends on a view that was kept: what `send` hands it, or parts of it, to must answer or keep those, as if it came from the
 * first sender. What it does not (pieces that it split off and lost, a layer that threw half-way) fails as `unanswered`, so that
 * nobody waits for it; what `send` throws is then the holes' cause. For layers that answer later, by asking another one.
 */
export function sendKept(view: BoundView, send: () => void): void {
  const { packet, start, end } = view;
  view.lend();
  // (What is answered meanwhile may lend other views: each has its own list.)
  const outer = lentPieces;
  const pieces: BoundView[] = [view];
  lentPieces = pieces;
  try {
    send();
  } catch (error) {
    if (!view.isStale) packet.cause ??= error;
  }
  // (Whoever is told of one may split another: the list may grow.)
  for (let i = 0; i < pieces.length; i++) {
    const piece = pieces[i] as BoundView;
    const isOwn = piece.packet === packet && piece.start >= start && piece.start < end;
    if (isOwn) piece.takeBack();
    else outer.push(piece);
  }
  lentPieces = outer;
}

function checkSplit(at: number, length: number): void {
  if (!(Number.isInteger(at) && at > 0 && at < length)) {
    throw new RangeError(`split at ${at}: must lie inside the view's ${length} bytes`);
  }
}
