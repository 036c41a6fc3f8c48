/** Requests for one value of a type. */
import { OUTSIDE } from "../io/fault.js";
import { asBytes, Packet } from "../io/packet.js";
import type { PacketIo } from "../io/packet-io.js";
import { RequestKind, type RequestOptions } from "../io/request.js";
import { partialError, sendRoutine } from "../io/requests.js";
import type { BoundView } from "../io/view.js";
import type { Routine } from "../io/wait.js";
import type { Space } from "./space.js";
import type { Type } from "./type.js";

/** A read of a value of the type `a`. */
export const READ_VALUE = new RequestKind<unknown, Type<unknown>, undefined>(
  (type) => Packet.reading(type.size),
  (packet, param, type) => {
    if (packet.firstFault !== 0) throw partialError(packet, param);
    return type.get(packet.memory, packet.base);
  },
);

/** A write of the value `b`, of the type `a`, which leaves no gaps. */
export const WRITE_VALUE = new RequestKind<void, Type<unknown>, unknown>(
  (type, value) => {
    const packet = Packet.writing(type.size);
    type.set(packet.memory, packet.base, value);
    return packet;
  },
  (packet, param) => {
    if (packet.firstFault !== 0) throw partialError(packet, param);
  },
);

/** Forwards the runs of a value that writing it touches; the gaps between them need no write. */
class RunsIo<P> implements PacketIo<P> {
  readonly #space: Space<P>;
  /** `[start, end)` pairs, ascending. */
  readonly #runs: readonly number[];

  constructor(space: Space<P>, runs: readonly number[]) {
    this.#space = space;
    this.#runs = runs;
  }

  sendIo(param: P, view: BoundView): void {
    const { length } = view;
    let rest: BoundView | undefined = view;
    let from = 0;
    for (let i = 0; i <= this.#runs.length && rest !== undefined; i++) {
      // Even bounds begin a run, odd ones end it; behind the last comes the tail.
      const to = this.#runs[i] ?? length;
      if (to === from) continue;
      const piece: BoundView = rest;
      rest = to < length ? piece.split(to - from) : undefined;
      const target = i % 2 === 1 ? this.#space.plus(param, from) : undefined;
      if (i % 2 === 0) piece.complete();
      else if (target === undefined) piece.fail(OUTSIDE);
      else this.#space.io.sendIo(target, piece);
      from = to;
    }
  }
}

/** Writes a value, and of its bytes only those that it covers. */
export function* writeTypeRoutine<P, T>(
  space: Space<P>,
  type: Type<T>,
  param: P,
  value: T,
  options: RequestOptions | undefined,
): Routine<void> {
  const bytes = asBytes(type.size);
  // A value that does not fit must not cost a read first.
  type.set(bytes, 0, value);
  if (type.bitwise) {
    const before = yield* sendRoutine(space.io, param, Packet.reading(bytes), undefined, options);
    if (before.firstFault !== 0) throw partialError(before, param);
    type.set(bytes, 0, value);
  }
  const runs: number[] = [];
  type.touched(0, runs);
  const packet = yield* sendRoutine(
    new RunsIo(space, runs),
    param,
    Packet.writing(bytes),
    undefined,
    options,
  );
  if (packet.firstFault !== 0) throw partialError(packet, param);
}
