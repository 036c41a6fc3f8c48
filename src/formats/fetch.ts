/** A stretch of a file that is being read, for whoever waits for parts of it: pages of a kdump, chunks of a container. */
import { type BoundView, type Fault, type Fragment, type Output, Packet, sendOwn } from "../io/index.js";
import type { DumpFile } from "./types.js";

/** A part of a page that a view wants. */
export interface Want {
  /** Byte in the page. */
  readonly offset: number;
  readonly view: BoundView;
}

/** A stretch of the file that is being read. */
export abstract class Fetch implements Output {
  readonly packet: Packet;
  #handled = false;

  /** @param memory To read to, or how many bytes. */
  constructor(memory: number | Uint8Array) {
    this.packet = Packet.reading(memory);
  }

  send(file: DumpFile, offset: number): void {
    sendOwn(file, offset, this.packet.view().bind(this));
    this.onFragment();
  }

  onFragment(_fragment?: Fragment): void {
    if (this.#handled || !this.packet.complete) return;
    this.#handled = true;
    this.handle();
  }

  protected abstract handle(): void;

  /** Fails a view that waited for it. */
  fail(view: BoundView, why: Fault): void {
    if (this.packet.cause !== undefined) view.packet.cause ??= this.packet.cause;
    view.fail(why);
  }

  /** The fault of the first missing byte in a range of the packet; 0 if it is all there. */
  protected faultIn(start: number, end: number): Fault {
    if (this.packet.firstFault === 0) return 0;
    for (const hole of this.packet.holes()) {
      if (hole.start < end && hole.end > start) return hole.fault;
    }
    return 0;
  }
}
