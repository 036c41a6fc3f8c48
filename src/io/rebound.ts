/**
 * Layers that send packets of their own: fetch what they need to answer (`fetchPacket`), or send a view on and decide
 * part by part what becomes of it (`sendRebound`, after mfio's `ReboundPacket`).
 */
import { type Fault, UNANSWERED } from "./fault.js";
import { Packet } from "./packet.js";
import type { PacketIo } from "./packet-io.js";
import { type BoundView, type Fragment, type Output, sendKept } from "./view.js";
import type { Waker } from "./wait.js";

/** A waker that is a callback. */
class Callback implements Waker {
  readonly #packet: Packet;
  readonly #onComplete: (packet: Packet) => void;

  constructor(packet: Packet, onComplete: (packet: Packet) => void) {
    this.#packet = packet;
    this.#onComplete = onComplete;
  }

  wake(): void {
    this.#onComplete(this.#packet);
  }
}

/**
 * Sends a packet of a layer's own and calls back, once, when every byte of it is accounted for: maybe before this
 * returns. For layers; callers use `send`. Bytes that a layer below dropped fail as `unanswered`, so the callback
 * always comes once those below have answered what they kept.
 */
export function fetchPacket<P>(
  io: PacketIo<P>,
  param: P,
  packet: Packet,
  onComplete: (packet: Packet) => void,
): void {
  const view = packet.view();
  if (packet.length !== 0) sendOwn(io, param, view.bind());
  if (!packet.park(new Callback(packet, onComplete))) onComplete(packet);
}

/**
 * Sends the whole view of a packet of a layer's own. What a layer below throws must not keep those from being answered who wait
 * for it: it is the holes' cause. What was neither answered nor kept fails as `unanswered`; no output is told of that, so
 * see then whether the packet is complete. What was kept before a layer threw is still waited for.
 */
export function sendOwn<P>(io: PacketIo<P>, param: P, view: BoundView): void {
  const { packet } = view;
  try {
    io.sendIo(param, view);
  } catch (error) {
    if (!view.isStale) packet.cause ??= error;
  }
  if (!view.isStale) packet.dropUncovered();
}

/**
 * Decides about a part of a rebound view: answer it (`part.complete()`, `part.fail(fault)`) or send it elsewhere. (Or keep it,
 * `part.keep()`, and do so later: that is a promise, whatever is thrown after it.)
 *
 * @param part   A piece of the original view; its bytes have been moved already where `fault` is 0.
 * @param offset Of the part's first byte, relative to the original view's.
 */
export type OnPart = (part: BoundView, offset: number, fault: Fault) => void;

/** Pieces of the original view that are not decided yet. */
class Rebound implements Output {
  /** What is left of the view is in `pieces`; this knows where it began, and its submission. */
  readonly #view: BoundView;
  readonly #pieces: BoundView[];
  readonly #onPart: OnPart;

  constructor(view: BoundView, onPart: OnPart) {
    this.#view = view;
    this.#pieces = [view];
    this.#onPart = onPart;
  }

  onFragment({ packet, start, end, fault }: Fragment): void {
    if (fault !== 0) this.#takeCause(packet);
    this.#decide(start, end, fault);
  }

  /** What a layer dropped reached no output. */
  onComplete(packet: Packet): void {
    this.#takeCause(packet);
    for (const { start, end } of packet.dropped()) this.#decide(start, end, UNANSWERED);
  }

  /** (Not into a later submission: who is told of the last part may begin one.) */
  #takeCause({ cause }: Packet): void {
    if (cause !== undefined && !this.#view.isStale) this.#view.packet.cause ??= cause;
  }

  #decide(start: number, end: number, fault: Fault): void {
    const from = this.#view.start + start;
    const to = this.#view.start + end;
    const i = this.#pieces.findIndex((piece) => piece.start <= from && to <= piece.end);
    let part = this.#pieces[i] as BoundView;
    const after = to < part.end ? part.split(to - part.start) : undefined;
    let before: BoundView | undefined;
    if (from > part.start) {
      before = part;
      part = part.split(from - part.start);
    }
    this.#pieces.splice(i, 1, ...[before, after].filter((piece) => piece !== undefined));
    sendKept(part, () => {
      try {
        this.#onPart(part, start, fault);
      } catch (error) {
        if (!part.isStale) part.packet.outputError ??= error;
      }
    });
  }
}

/**
 * Sends a view's bytes to `io` while the original stays here: each fragment comes back as a part of the original,
 * to be answered or sent elsewhere. So a layer can try one source and then another, or verify what came.
 */
export function sendRebound<P>(io: PacketIo<P>, param: P, view: BoundView, onPart: OnPart): void {
  const { packet, direction } = view;
  const memory = packet.bytes.subarray(view.start, view.end);
  const options = { direct: packet.direct };
  const shadow =
    direction === "read"
      ? Packet.reading(memory, options)
      : direction === "write"
        ? Packet.writing(memory, options)
        : Packet.exchanging(memory, options);
  const rebound = new Rebound(view, onPart);
  view.keep();
  const bound = shadow.view(view.tag).bind(rebound);
  if (packet.abortFault !== 0) shadow.abort(packet.abortFault);
  else packet.whenAborted(() => shadow.abort(packet.abortFault));
  sendOwn(io, param, bound);
  const finish = (complete: Packet) => rebound.onComplete(complete);
  if (!shadow.park(new Callback(shadow, finish))) finish(shadow);
}

/**
 * A layer that asks `first`, and asks `second` (at the same address) for what that could not give.
 *
 * @param when Which faults are worth asking again for; default: all.
 */
export function withFallback(
  first: PacketIo<number>,
  second: PacketIo<number>,
  when: (fault: Fault) => boolean = () => true,
): PacketIo<number> {
  return {
    scheduler: first.scheduler,
    sendIo(address, view) {
      sendRebound(first, address, view, (part, offset, fault) => {
        if (fault === 0) part.complete();
        else if (part.abortFault !== 0) part.fail(part.abortFault);
        else if (when(fault)) second.sendIo(address + offset, part);
        else part.fail(fault);
      });
    },
  };
}
