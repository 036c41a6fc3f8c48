/** Layers for tests: they delay, refuse and count, on purpose and repeatably. */
import { type BoundView, type Fault, fault, layer, type PacketIo } from "../../src/io/index.js";

/** The fault that `refusing` gives. */
export const REFUSED: Fault = fault("io", "memory", "application");

/**
 * Fails whole blocks: those for which `refuses(block number)` holds.
 *
 * @param size of a block in bytes.
 */
export function refusing(
  io: PacketIo<number>,
  size: number,
  refuses: (block: number) => boolean,
  why: Fault = REFUSED,
): PacketIo<number> {
  return layer(io.scheduler, (address: number, view) => {
    let at = address;
    let rest: BoundView | undefined = view;
    while (rest !== undefined) {
      const piece: BoundView = rest;
      const room = size - (at % size);
      rest = piece.length > room ? piece.split(room) : undefined;
      const length = piece.length;
      if (refuses(Math.floor(at / size))) piece.fail(why);
      else io.sendIo(at, piece);
      at += length;
    }
  });
}

/** Holds every view back for `turns` microtasks, so that it is answered asynchronously only. */
export function delaying(io: PacketIo<number>, turns = 1): PacketIo<number> {
  return layer(io.scheduler, (address: number, view) => {
    view.keep();
    let wait = Promise.resolve();
    for (let i = 0; i < turns; i++) wait = wait.then(() => {});
    void wait.then(() => {
      if (view.abortFault === 0) io.sendIo(address, view);
      else view.fail(view.abortFault);
    });
  });
}

/** What `counting` saw. */
export interface Traffic {
  views: number;
  bytes: number;
  readonly requests: { readonly address: number; readonly length: number }[];
}

/** Notes what passes, and forwards it. */
export function counting(io: PacketIo<number>): { io: PacketIo<number>; traffic: Traffic } {
  const traffic: Traffic = { views: 0, bytes: 0, requests: [] };
  const counted = layer(io.scheduler, (address: number, view: BoundView) => {
    traffic.views++;
    traffic.bytes += view.length;
    traffic.requests.push({ address, length: view.length });
    io.sendIo(address, view);
  });
  return { io: counted, traffic };
}
