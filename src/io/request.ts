/**
 * A request: an operation that is one packet. Most operations are; they need no generator and no task, only the packet
 * and something that is told when it is complete.
 */
import { Io, OVER } from "./io.js";
import type { Packet } from "./packet.js";
import type { PacketIo } from "./packet-io.js";
import type { Scheduler } from "./scheduler.js";
import type { Receiver, Running, Step } from "./task.js";
import type { BoundView, Output } from "./view.js";
import type { Routine, Waker } from "./wait.js";

/** What this module needs of an `AbortSignal`. */
export interface AbortSignalLike {
  readonly aborted: boolean;
  /** As an `EventTarget`'s. */
  addEventListener(type: "abort", listener: () => void): void;
  /** As an `EventTarget`'s. */
  removeEventListener(type: "abort", listener: () => void): void;
}

/** Options of every request. */
export interface RequestOptions {
  /** Once it fires, what was not sent yet fails as `aborted`; what is in flight is waited for. */
  readonly signal?: AbortSignalLike | undefined;
  /** The bytes are not read again: caches need not keep them, which costs more than a copy where memory is fresh. Default: they may be. */
  readonly once?: boolean | undefined;
}

/**
 * What a kind of request does, as two functions of its two arguments. (Not a subclass a kind: V8 makes objects of a base
 * class with many subclasses by a slow path, which costs a request several times what it needs.)
 */
export class RequestKind<T, A, B> {
  /** The packet to send; asked for once, when the request is driven. */
  readonly packet: (a: A, b: B) => Packet;
  /** What the complete packet gives. @throws what the caller is to get instead. */
  readonly result: (packet: Packet, param: unknown, a: A, b: B) => T;
  /** Whether `b` is to be told of every fragment. */
  readonly tellsOutput: boolean;

  constructor(
    packet: (a: A, b: B) => Packet,
    result: (packet: Packet, param: unknown, a: A, b: B) => T,
    tellsOutput = false,
  ) {
    this.packet = packet;
    this.result = result;
    this.tellsOutput = tellsOutput;
  }
}

/** See the module's comment. */
export class PacketRequest<P, T, A, B> extends Io<T> {
  private readonly io: PacketIo<P>;
  private readonly param: P;
  private readonly options: RequestOptions | undefined;
  private readonly kind: RequestKind<T, A, B>;
  private readonly a: A;
  private readonly b: B;

  constructor(
    scheduler: Scheduler,
    io: PacketIo<P>,
    param: P,
    options: RequestOptions | undefined,
    kind: RequestKind<T, A, B>,
    a: A,
    b: B,
  ) {
    super(scheduler);
    this.io = io;
    this.param = param;
    this.options = options;
    this.kind = kind;
    this.a = a;
    this.b = b;
  }

  /**
   * Sends the packet; it may be complete when this returns, and even submitted again by its output: so what is waited
   * for is the end of the view's submission. @internal
   */
  begin(): BoundView {
    const { kind, b } = this;
    const packet = kind.packet(this.a, b);
    const view = packet.bind(kind.tellsOutput ? (b as Output | undefined) : undefined);
    if (packet.length === 0 || (this.options !== undefined && isOver(view, this.options))) return view;
    try {
      this.io.sendIo(this.param, view);
    } catch (error) {
      // A layer that throws is wrong; what it sent before that must not land in the caller's memory later.
      if (!view.isOver) packet.giveUp();
      throw error;
    }
    return view;
  }

  /** What a complete packet gives. @internal */
  end(packet: Packet): T {
    if (packet.outputError !== undefined) throw packet.outputError;
    return this.kind.result(packet, this.param, this.a, this.b);
  }

  sync(): T {
    this.claim();
    const { scheduler } = this;
    let view: BoundView;
    scheduler.enterSync();
    try {
      if (scheduler.full) scheduler.makeRoom();
      view = this.begin();
      if (!view.isOver) waitFor(view, scheduler);
    } finally {
      scheduler.leaveSync();
    }
    return this.end(view.packet);
  }

  [Symbol.iterator](): Routine<T> {
    this.claim();
    return requestRoutine(this);
  }

  start(receiver: Receiver<T>, index: number): Running {
    this.claim();
    const { scheduler } = this;
    const pending = new Pending(this, receiver, index);
    if (!scheduler.admits()) {
      scheduler.queue(pending);
      return pending;
    }
    scheduler.noteActivity();
    pending.run();
    return pending.over ? OVER : pending;
  }
}

/** Flushes until a view is answered. */
function waitFor(view: BoundView, scheduler: Scheduler): void {
  try {
    scheduler.waitSync(view.packet);
  } finally {
    // A drive that would block: unsent parts must not land in this memory later.
    if (!view.isOver) view.packet.giveUp();
  }
}

/** Heeds the options. Gives whether the caller's signal has fired already: the view is then answered. */
function isOver(view: BoundView, { signal, once }: RequestOptions): boolean {
  const { packet } = view;
  if (once === true) packet.markOnce();
  if (signal !== undefined) followSignal(packet, signal);
  if (packet.abortFault === 0) return false;
  view.fail(packet.abortFault);
  return true;
}

function* requestRoutine<P, T, A, B>(request: PacketRequest<P, T, A, B>): Routine<T> {
  const view = request.begin();
  if (!view.isOver) {
    try {
      yield view.packet;
    } finally {
      if (!view.isOver) view.packet.giveUp();
    }
  }
  return request.end(view.packet);
}

/** Aborts the packet when the signal fires, as long as it is not complete. */
export function followSignal(packet: Packet, signal: AbortSignalLike): void {
  if (signal.aborted) return packet.abort();
  const onAbort = () => packet.abort();
  signal.addEventListener("abort", onAbort);
  packet.whenOver(() => signal.removeEventListener("abort", onAbort));
}

/** A request as `Pending` sees it. */
interface Operation<T> {
  begin(): BoundView;
  end(packet: Packet): T;
}

/** A request that was started asynchronously. */
class Pending<T> implements Running, Step, Waker {
  private readonly request: Operation<T>;
  private readonly receiver: Receiver<T>;
  private readonly index: number;
  private view: BoundView | undefined = undefined;
  over = false;

  constructor(request: Operation<T>, receiver: Receiver<T>, index: number) {
    this.request = request;
    this.receiver = receiver;
    this.index = index;
  }

  /** Begins. */
  run(): void {
    if (this.over) return;
    try {
      const view = this.request.begin();
      this.view = view;
      if (!view.isOver && view.packet.park(this)) return;
    } catch (error) {
      this.over = true;
      this.receiver.failed(error, this.index);
      return;
    }
    this.wake();
  }

  /** The packet is complete. */
  wake(): void {
    if (this.over) return;
    this.over = true;
    let value: T;
    try {
      value = this.request.end((this.view as BoundView).packet);
    } catch (error) {
      this.receiver.failed(error, this.index);
      return;
    }
    this.receiver.done(value, this.index);
  }

  giveUp(error: unknown): void {
    if (this.over) return;
    this.over = true;
    if (this.view?.isOver === false) this.view.packet.giveUp();
    this.receiver.failed(error, this.index);
  }
}
