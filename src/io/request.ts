/**
 * A request: an operation that is one packet. Most operations are; they need no generator and no task, only the packet
 * and something that is told when it is complete.
 */
import { Io, OVER } from "./io.js";
import type { Packet } from "./packet.js";
import type { PacketIo } from "./packet-io.js";
import type { Scheduler } from "./scheduler.js";
import type { Receiver, Running, Step } from "./task.js";
import type { Output } from "./view.js";
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
  readonly #io: PacketIo<P>;
  readonly #param: P;
  readonly #options: RequestOptions | undefined;
  readonly #kind: RequestKind<T, A, B>;
  readonly #a: A;
  readonly #b: B;

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
    this.#io = io;
    this.#param = param;
    this.#options = options;
    this.#kind = kind;
    this.#a = a;
    this.#b = b;
  }

  /** Sends the packet; it may be complete when this returns. @internal */
  begin(): Packet {
    const kind = this.#kind;
    const packet = kind.packet(this.#a, this.#b);
    const view = packet.bind(kind.tellsOutput ? (this.#b as Output | undefined) : undefined);
    if (packet.length === 0) return packet;
    if (this.#options?.signal !== undefined) followSignal(packet, this.#options.signal);
    if (packet.abortFault !== 0) {
      view.fail(packet.abortFault);
      return packet;
    }
    try {
      this.#io.sendIo(this.#param, view);
    } catch (error) {
      // A layer that throws is wrong; what it sent before that must not land in the caller's memory later.
      packet.giveUp();
      throw error;
    }
    return packet;
  }

  /** What a complete packet gives. @internal */
  end(packet: Packet): T {
    if (packet.outputError !== undefined) throw packet.outputError;
    return this.#kind.result(packet, this.#param, this.#a, this.#b);
  }

  sync(): T {
    this.claim();
    const { scheduler } = this;
    let packet: Packet | undefined;
    scheduler.enterSync();
    try {
      scheduler.makeRoom();
      packet = this.begin();
      if (!packet.complete) scheduler.waitSync(packet);
    } finally {
      // A drive that would block: unsent parts must not land in this memory later.
      if (packet !== undefined && !packet.complete) packet.giveUp();
      scheduler.leaveSync();
    }
    return this.end(packet);
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

function* requestRoutine<P, T, A, B>(request: PacketRequest<P, T, A, B>): Routine<T> {
  const packet = request.begin();
  if (!packet.complete) {
    try {
      yield packet;
    } finally {
      if (!packet.complete) packet.giveUp();
    }
  }
  return request.end(packet);
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
  begin(): Packet;
  end(packet: Packet): T;
}

/** A request that was started asynchronously. */
class Pending<T> implements Running, Step, Waker {
  readonly #request: Operation<T>;
  readonly #receiver: Receiver<T>;
  readonly #index: number;
  #packet: Packet | undefined = undefined;
  over = false;

  constructor(request: Operation<T>, receiver: Receiver<T>, index: number) {
    this.#request = request;
    this.#receiver = receiver;
    this.#index = index;
  }

  /** Begins. */
  run(): void {
    if (this.over) return;
    try {
      const packet = this.#request.begin();
      this.#packet = packet;
      if (!packet.complete && packet.park(this)) return;
    } catch (error) {
      this.over = true;
      this.#receiver.failed(error, this.#index);
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
      value = this.#request.end(this.#packet as Packet);
    } catch (error) {
      this.#receiver.failed(error, this.#index);
      return;
    }
    this.#receiver.done(value, this.#index);
  }

  giveUp(error: unknown): void {
    if (this.over) return;
    this.over = true;
    if (this.#packet !== undefined && !this.#packet.complete) this.#packet.giveUp();
    this.#receiver.failed(error, this.#index);
  }
}
