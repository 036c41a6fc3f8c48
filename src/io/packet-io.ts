import type { Scheduler } from "./scheduler.js";
import type { BoundView, Fragment, Output } from "./view.js";

/**
 * The one interface of every layer: memory, files, dump formats, page tables, processes.
 *
 * `Param` says where: an offset or physical address (`number`), a virtual address (`VirtualAddress`), a request of
 * any shape, or `NoPosition` for streams. A layer may change it on each hop.
 */
export interface PacketIo<Param> {
  /**
   * Takes a bound view. Never throws for an I/O failure (it answers the view with a fault) and never waits: it may
   * answer at once, keep the view, split it, or forward parts under other parameters.
   */
  sendIo(param: Param, view: BoundView): void;
  /** Who drives this layer's unsent work; the process-wide one if absent. */
  readonly scheduler?: Scheduler | undefined;
}

/** An address as a person writes it: a `bigint` of 64 bits, or a `number` while it is a safe integer. */
export type Address = bigint | number;

/** The parameter of position-less I/O: bytes come and go in order. */
export type NoPosition = undefined;

/** An output that calls a function for each fragment. */
export function toCallback(onFragment: (fragment: Fragment) => void): Output {
  return { onFragment };
}
