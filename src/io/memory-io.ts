import { OUTSIDE, READ_ONLY } from "./fault.js";
import { asBytes, type PacketMemory } from "./packet.js";
import type { PacketIo } from "./packet-io.js";
import { defaultScheduler, type Scheduler } from "./scheduler.js";
import type { BoundView } from "./view.js";

/** Options of {@link MemoryIo}. */
export interface MemoryIoOptions {
  /** Refuse writes and exchanges. */
  readonly readOnly?: boolean;
  readonly scheduler?: Scheduler;
}

/** Memory of this program as a `PacketIo` of offsets. Answers at once: no queue, no batch. */
export class MemoryIo implements PacketIo<number> {
  readonly bytes: Uint8Array;
  readonly scheduler: Scheduler;
  readonly #readOnly: boolean;

  constructor(memory: PacketMemory, options: MemoryIoOptions = {}) {
    this.bytes = asBytes(memory);
    this.scheduler = options.scheduler ?? defaultScheduler;
    this.#readOnly = options.readOnly ?? false;
  }

  sendIo(offset: number, view: BoundView): void {
    if (this.#readOnly && view.direction !== "read") return view.fail(READ_ONLY);
    const inside = this.bytes.length - offset;
    if (!(offset >= 0 && inside > 0 && Math.floor(offset) === offset)) return view.fail(OUTSIDE);
    const rest = inside < view.length ? view.split(inside) : undefined;
    view.transfer(this.bytes, offset);
    rest?.fail(OUTSIDE);
  }
}
