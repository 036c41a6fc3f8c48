/** Writes that may not have landed yet: until they have, what a read brings may be the bytes from before them. */

import { type Column, type ColumnIo, sendColumn, sendRecords } from "../io/column.js";
import type { Packet } from "../io/packet.js";
import type { PacketIo } from "../io/packet-io.js";
import type { BoundView } from "../io/view.js";

const FIRST_LIMIT = 64;

/** See the module's comment. */
export class Writes {
  /** Packets that are not known to have landed, with the submission that each was seen in. */
  #packets: Packet[] = [];
  #flights: number[] = [];
  /** From so many on, those that have landed are looked for. */
  #limit = FIRST_LIMIT;
  #count = 0;
  /** Whether it was counted that the last write has landed. */
  #counted = false;
  readonly #below: Writes | undefined;

  /** @param below Those to the memory that this one lies in: they may change what is here. */
  constructor(below?: Writes) {
    this.#below = below;
  }

  /** Packets remembered. */
  get length(): number {
    return this.#packets.length;
  }

  /** Notes a view that is about to be sent. A packet may come in many of them. */
  note(view: BoundView): void {
    const { packet } = view;
    const last = this.#packets.length - 1;
    this.#counted = false;
    if (this.#packets[last] === packet && this.#flights[last] === packet.flight) return;
    this.#packets.push(packet);
    this.#flights.push(packet.flight);
    if (this.#packets.length < this.#limit) return;
    // Writes that overlap without end must not be remembered without end.
    const landed = (packet: Packet, i: number) => packet.flight !== this.#flights[i] || packet.complete;
    const left = this.#packets.filter((packet, i) => !landed(packet, i));
    this.#flights = this.#flights.filter((_, i) => !landed(this.#packets[i] as Packet, i));
    this.#packets = left;
    this.#limit = Math.max(FIRST_LIMIT, 2 * left.length);
  }

  /** Whether a write is under way. */
  underWay(): boolean {
    return this.#isUnderWay() || this.#below?.underWay() === true;
  }

  #isUnderWay(): boolean {
    const packets = this.#packets;
    const flights = this.#flights;
    let last = packets.length - 1;
    // The last one first: as long as it is under way there is nothing more to know.
    while (last >= 0) {
      const packet = packets[last] as Packet;
      if (packet.flight === flights[last] && !packet.complete) return true;
      packets.pop();
      flights.pop();
      last--;
    }
    return false;
  }

  /** A number that stays the same as long as what was read before may be kept: no write came, nor was under way. */
  version(): number {
    if (this.#isUnderWay()) {
      this.#count++;
    } else if (!this.#counted) {
      this.#counted = true;
      this.#count++;
    }
    // (Neither ever becomes less.)
    return this.#count + (this.#below?.version() ?? 0);
  }
}

/** A layer that changes nothing, and notes the writes. */
export class WritesIo implements PacketIo<number>, ColumnIo {
  readonly writes: Writes;
  readonly #io: PacketIo<number>;

  constructor(io: PacketIo<number>, below?: Writes) {
    this.#io = io;
    this.writes = new Writes(below);
  }

  get scheduler() {
    return this.#io.scheduler;
  }

  sendIo(address: number, view: BoundView): void {
    if (view.direction !== "read") this.writes.note(view);
    this.#io.sendIo(address, view);
  }

  /** @internal */
  sendColumn(column: Column, from: number, view: BoundView): void {
    if (view.direction === "read") sendColumn(this.#io, column, from, view);
    else sendRecords(this, column, from, view);
  }
}
