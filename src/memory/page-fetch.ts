/** Reads that a page cache has under way: of a page that views wait for, and of a view by itself. */
import { Packet } from "../io/packet.js";
import type { BoundView, Output } from "../io/view.js";

/** Is told when a page has come, or could not be had whole. */
export interface PageFetchOwner {
  settle(fetch: PageFetch): void;
}

/** A page on its way, with the views that wait for it. */
export class PageFetch implements Output {
  readonly owner: PageFetchOwner;
  readonly page: number;
  readonly packet: Packet;
  readonly views: BoundView[] = [];
  /** Where in the page each view begins. */
  readonly starts: number[] = [];
  /** Which flush sends it. */
  readonly epoch: number;
  /** Whether its bytes may be kept, and others may join: not once its page was written or the cache flushed. */
  fresh = true;
  settled = false;

  constructor(owner: PageFetchOwner, page: number, epoch: number, memory: Uint8Array) {
    this.owner = owner;
    this.page = page;
    this.epoch = epoch;
    this.packet = Packet.reading(memory);
  }

  onFragment(): void {
    if (this.packet.complete) this.owner.settle(this);
  }
}

/**
 * A view of a page that did not come whole, asked for by itself. It has memory of its own: a layer below that drops
 * it is found out, and nothing lands in the memory of a caller who gave up meanwhile.
 */
export class LoneRead implements Output {
  readonly view: BoundView;
  readonly packet: Packet;
  #settled = false;

  constructor(view: BoundView) {
    this.view = view;
    this.packet = Packet.reading(new Uint8Array(view.length));
  }

  onFragment(): void {
    if (this.packet.complete) this.settle();
  }

  settle(): void {
    if (this.#settled) return;
    this.#settled = true;
    const { packet, view } = this;
    if (view.abortFault !== 0) return view.fail(view.abortFault);
    if (packet.firstFault === 0) return view.transfer(packet.bytes);
    view.packet.cause ??= packet.cause;
    let rest: BoundView | undefined = view;
    let at = 0;
    for (const { start, end, fault } of packet.holes()) {
      if (rest === undefined) return;
      if (start > at) {
        const good: BoundView = rest;
        rest = good.split(start - at);
        good.transfer(packet.bytes, at);
      }
      const bad: BoundView = rest;
      rest = end < packet.length ? bad.split(end - start) : undefined;
      bad.fail(fault);
      at = end;
    }
    rest?.transfer(packet.bytes, at);
  }
}
