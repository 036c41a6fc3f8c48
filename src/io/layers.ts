/** Small layers: split, shift, map by ranges. Each forwards views under other parameters. */
import { OUTSIDE } from "./fault.js";
import type { PacketIo } from "./packet-io.js";
import { firstEndingAfter } from "./ranges.js";
import type { Scheduler } from "./scheduler.js";
import type { BoundView } from "./view.js";

/** A layer that is one function over another layer. */
class ForwardingLayer<P> implements PacketIo<P> {
  readonly scheduler: Scheduler | undefined;
  readonly sendIo: (param: P, view: BoundView) => void;

  constructor(scheduler: Scheduler | undefined, sendIo: (param: P, view: BoundView) => void) {
    this.scheduler = scheduler;
    this.sendIo = sendIo;
  }
}

/** A layer from a function; `scheduler` is that of the layer it forwards to. */
export function layer<P>(
  scheduler: Scheduler | undefined,
  sendIo: (param: P, view: BoundView) => void,
): PacketIo<P> {
  return new ForwardingLayer(scheduler, sendIo);
}

/** Cuts every view at multiples of `size` of its address. */
export function withSplitting(io: PacketIo<number>, size: number): PacketIo<number> {
  if (!(Number.isSafeInteger(size) && size > 0)) throw new RangeError(`split size ${size}: must be positive`);
  return layer(io.scheduler, (address: number, view) => {
    let at = address;
    let rest = view;
    for (;;) {
      const room = size - (at % size);
      if (rest.length <= room) break;
      const tail = rest.split(room);
      io.sendIo(at, rest);
      at += room;
      rest = tail;
    }
    io.sendIo(at, rest);
  });
}

/** One contiguous piece of a {@link withMapping} layer; `size` in bytes. */
export interface Mapping {
  /** Address in the new layer. */
  readonly start: number;
  readonly size: number;
  /** Address in the layer below. */
  readonly target: number;
}

/**
 * A layer whose addresses are mapped piecewise onto those of another; everything else is `outside`.
 * For a guest's RAM inside a process, or a raw file with a PCI hole.
 *
 * @param pieces disjoint, in any order. @throws {RangeError} if they overlap.
 */
export function withMapping(io: PacketIo<number>, pieces: readonly Mapping[]): PacketIo<number> {
  const sorted = pieces.filter((piece) => piece.size > 0).sort((a, b) => a.start - b.start);
  const starts = Float64Array.from(sorted, (piece) => piece.start);
  const ends = Float64Array.from(sorted, (piece) => piece.start + piece.size);
  const targets = Float64Array.from(sorted, (piece) => piece.target);
  for (let i = 1; i < starts.length; i++) {
    if ((starts[i] as number) < (ends[i - 1] as number)) {
      throw new RangeError(`mapping at 0x${(starts[i] as number).toString(16)} overlaps the one before it`);
    }
  }
  return layer(io.scheduler, (address: number, view) => {
    let at = address;
    let rest: BoundView | undefined = view;
    let i = firstEndingAfter(ends, at);
    while (rest !== undefined) {
      const piece: BoundView = rest;
      const start = starts[i] ?? Number.POSITIVE_INFINITY;
      const inside = start <= at;
      const room = (inside ? (ends[i] as number) : start) - at;
      rest = piece.length > room ? piece.split(room) : undefined;
      const length = piece.length;
      if (inside) {
        io.sendIo((targets[i] as number) + (at - start), piece);
        i++;
      } else {
        piece.fail(OUTSIDE);
      }
      at += length;
    }
  });
}
